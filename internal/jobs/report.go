package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"strata/internal/advisory"
	"strata/internal/analyzer"
	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/match"
	"strata/internal/report"
	"strata/internal/scan"
	"strata/internal/store"
)

// Reports makes reports of images in the database: from what is known of their
// layers, and the advisories as they are now. No registry is asked. They are what
// `strata scan` makes of the image, by the same code.
type Reports struct {
	DB *store.DB
	// Cache of layers; the database itself when nil.
	Cache scan.Cache
	// Advisories gives those in force, and what is to be said of where they come from;
	// nil for those of the database.
	Advisories func(context.Context) (match.Advisories, report.Advisories, error)
	// Version of the program.
	Version string
}

// Report is that of an image by its id, without a verdict. The error wraps
// store.ErrNotFound for an image that is not known.
func (r *Reports) Report(ctx context.Context, id int64) (*report.Report, error) {
	res, err := r.known(ctx, id)
	if err != nil {
		return nil, err
	}
	rep, err := r.Matched(ctx, res)
	if err != nil {
		return nil, fmt.Errorf("report of image %d: %w", id, err)
	}
	return rep, nil
}

// known is what is in an image, by its id.
func (r *Reports) known(ctx context.Context, id int64) (*scan.Result, error) {
	img, err := r.DB.LoadImage(ctx, id)
	if err != nil {
		return nil, err
	}
	submitted, err := r.DB.LayersOfSubmission(ctx, id)
	if err != nil {
		return nil, err
	}
	res, err := r.Known(ctx, img, submitted)
	if err != nil {
		return nil, fmt.Errorf("layers of image %d: %w", id, err)
	}
	return res, nil
}

// LimitBase takes out of a report the name of a base that is another's image: it gets one
// in scope, or none. What an image says of itself stays. hidden is the name taken out.
func (r *Reports) LimitBase(ctx context.Context, rep *report.Report, scope []string) (hidden string, err error) {
	b := rep.Image.Base
	if scope == nil || b == nil || b.By != report.BaseByLayers {
		return "", nil
	}
	name, err := r.DB.NameInScope(ctx, b.Digest, scope)
	if err != nil || name == b.Reference {
		return "", err
	}
	limited := *b
	if limited.Reference = name; name == "" {
		limited.Digest, limited.Created = "", nil
	}
	rep.Image.Base = &limited
	return b.Reference, nil
}

// Matched makes the report of what Known gave.
func (r *Reports) Matched(ctx context.Context, res *scan.Result) (*report.Report, error) {
	found, about, err := r.find(ctx, &res.Inventory, false)
	if err != nil {
		return nil, err
	}
	return r.report(res, &found, about), nil
}

func (r *Reports) report(res *scan.Result, found *match.Result, about report.Advisories) *report.Report {
	return report.New(report.Scanned{
		Tool: report.Tool{Name: "strata", Version: r.Version}, Image: res.Image, Layers: res.Layers,
		Inventory: &res.Inventory, Match: found, Advisories: about,
	})
}

// find matches what is in an image, for upgrades too where they are asked for.
func (r *Reports) find(ctx context.Context, inv *inventory.Image, upgrades bool) (found match.Result, about report.Advisories, err error) {
	o := match.Options{Now: r.DB.Now, Upgrades: upgrades}
	if r.Advisories != nil {
		advisories, about, err := r.Advisories(ctx)
		if err != nil {
			return found, about, err
		}
		found, err = match.Find(ctx, inv, advisories, o)
		return found, about, err
	}
	advisories, err := r.DB.Advisories(ctx)
	if err != nil {
		return found, about, err
	}
	defer func() { err = errors.Join(err, advisories.Close()) }()
	status, err := advisories.Status(ctx)
	if err != nil {
		return found, about, err
	}
	found, err = match.Find(ctx, inv, advisories, o)
	return found, r.about(&status, inv), err
}

// about tells where the advisories of an image's packages come from, and how old the
// oldest are.
func (r *Reports) about(status *store.AdvisoryStatus, inv *inventory.Image) report.Advisories {
	out := report.Advisories{Starter: status.Starter}
	used := map[string]bool{}
	for i := range inv.Packages {
		if p := &inv.Packages[i]; p.Ecosystem != "" && !p.OwnersAffair() {
			used[advisory.Base(p.Ecosystem)] = true
		}
	}
	var mirrors []string
	for i := range status.Ecosystems {
		e := &status.Ecosystems[i]
		if !used[e.Ecosystem] {
			continue
		}
		mirrors = append(mirrors, e.Mirror)
		if out.Updated == nil || e.Synced.Before(*out.Updated) {
			out.Updated = &e.Synced
		}
	}
	slices.Sort(mirrors)
	out.Source = strings.Join(slices.Compact(mirrors), ", ")
	if out.Updated != nil {
		out.AgeHours = max(0, r.DB.Now().Sub(*out.Updated).Hours())
	}
	return out
}

// Known merges the layers that are known; extra, which may be nil, is asked for those that
// the cache does not have. One that is not known makes it incomplete, as it was when the
// image was scanned.
func (r *Reports) Known(ctx context.Context, img *image.Image, extra scan.Cache) (*scan.Result, error) {
	caches := []scan.Cache{r.Cache, extra}
	if r.Cache == nil {
		caches[0] = r.DB
	}
	res := &scan.Result{Image: img, Layers: make([]*inventory.Layer, len(img.Layers))}
	var missing []inventory.Problem
	for i, l := range img.Layers {
		var err error
		if res.Layers[i], err = firstLayer(ctx, caches, l.DiffID); err != nil {
			return nil, err
		}
		if res.Layers[i] == nil {
			missing = append(missing, inventory.Problem{Layer: i, Incomplete: true, Message: "what is in the layer is not known: it could not be read when the image was scanned"})
		}
	}
	res.Inventory = inventory.Merge(res.Layers)
	res.Inventory.Problems = append(res.Inventory.Problems, missing...)
	return res, nil
}

// firstLayer is what the first of the caches has that has it; nil when none does.
func firstLayer(ctx context.Context, caches []scan.Cache, id image.DiffID) (*inventory.Layer, error) {
	for _, c := range caches {
		if c == nil {
			continue
		}
		l, err := c.Layer(ctx, id, analyzer.SetVersion)
		if err == nil || !errors.Is(err, scan.ErrNotCached) {
			return l, err
		}
	}
	return nil, nil
}
