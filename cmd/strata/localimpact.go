package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"strata/internal/analyzer"
	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/match"
	"strata/internal/server"
	"strata/internal/store"
)

// localAsker answers of the images that were scanned on this machine: they are put into
// a database of the form of the server's, which is thrown away, so that there is one
// way in which questions are answered.
func (a *app) localAsker(ctx context.Context, o *impactOptions) (_ *asker, closer func() error, err error) {
	dir, err := os.MkdirTemp("", "strata-impact-")
	if err != nil {
		return nil, nil, err
	}
	db, err := store.OpenDB(ctx, filepath.Join(dir, "impact.db"), store.DBOptions{Now: a.now})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	closer = func() error { return errors.Join(db.Close(), os.RemoveAll(dir)) }
	if err := a.putKnown(ctx, db, o.fixFirst || o.question.Vulnerability != ""); err != nil {
		return nil, nil, errors.Join(err, closer())
	}
	return &asker{
		impact: func(ctx context.Context) (*server.ImpactAnswer, error) {
			impact, images, err := db.FirstImpact(ctx, o.question, o.limit)
			if err != nil {
				return nil, err
			}
			out := &server.ImpactAnswer{Impact: *impact}
			out.Images.Items = images[:min(len(images), o.limit)]
			if len(images) > o.limit {
				out.Images.Next = "more"
			}
			return out, nil
		},
		fixFirst: func(ctx context.Context) (*store.FixFirst, error) {
			return db.FixFirst(ctx, store.FixFirstQuery{Bases: o.bases, Limit: o.limit})
		},
	}, closer, nil
}

// putKnown puts the images that the cache knows all layers of.
func (a *app) putKnown(ctx context.Context, db *store.DB, findings bool) (err error) {
	cache, err := a.openCache(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cache.Close()) }()
	images, err := cache.Images(ctx)
	if err != nil {
		return err
	}
	var advisories *store.Advisories
	if findings {
		if advisories, err = a.openAdvisories(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, advisories.Close()) }()
	}
	left := 0
	for i := len(images) - 1; i >= 0; i-- { // the newest gets the greatest id
		inv := cachedInventory(ctx, cache, images[i])
		if inv == nil {
			left++
			continue
		}
		if _, err := db.PutImage(ctx, store.Contents{Image: images[i], Inventory: inv, AnalyzerSet: analyzer.SetVersion}); err != nil {
			return err
		}
		if advisories == nil {
			continue
		}
		r, err := match.Find(ctx, inv, advisories, match.Options{Now: a.now})
		if err != nil {
			return err
		}
		if err := db.PutFindings(ctx, inv, r.Findings); err != nil {
			return err
		}
	}
	if left > 0 {
		a.say("%s left out: not all of their layers are in the cache; scan them again", plural(left, "image"))
	}
	return nil
}

// cachedInventory is nil when a layer is not in the cache.
func cachedInventory(ctx context.Context, cache *store.Cache, m *image.Image) *inventory.Image {
	layers := make([]*inventory.Layer, len(m.Layers))
	for i, l := range m.Layers {
		var err error
		if layers[i], err = cache.Layer(ctx, l.DiffID, analyzer.SetVersion); err != nil {
			return nil
		}
	}
	inv := inventory.Merge(layers)
	return &inv
}
