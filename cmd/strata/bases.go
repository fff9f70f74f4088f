package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/report"
	"strata/internal/scan"
	"strata/internal/source"
	"strata/internal/store"
)

// baseOptions are the flags about the image that the image was built from.
type baseOptions struct {
	base  string
	fetch bool
	// noFetch forbids to ask a registry for what the user did not name.
	noFetch bool
}

func (o *baseOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.base, "base", "", "`REFERENCE` of the base image, where it is not recognised; only its manifest is read")
	f.BoolVar(&o.fetch, "fetch-base", false, "ask the registry for the base image that the image's annotations name; off with --offline")
}

// recogniseBases finds out on what the images stand, and keeps that they were
// seen, so that images upon them are recognised later. That it can't be found
// out is no loss of findings: a problem at most.
func (a *app) recogniseBases(ctx context.Context, cache *store.Cache, results []*scan.Result, o *baseOptions, opts source.Options) error {
	given, err := a.givenBases(ctx, o, opts)
	if err != nil {
		return err
	}
	for _, r := range results {
		known := given
		if cache != nil {
			below, err := cache.ImagesBelow(ctx, r.Image)
			if err != nil && ctx.Err() == nil {
				a.log.Warn("known images can't be asked for the base", "error", err)
			}
			known = append(below, given...)
		}
		r.Image.Base = image.RecogniseBase(r.Image, known)
		if o.fetch && !o.noFetch && (r.Image.Base == nil || r.Image.Base.By != image.BaseByLayers) {
			if m := a.fetchedBase(ctx, r, opts); m != nil {
				given = append(given, m)
				r.Image.Base = image.RecogniseBase(r.Image, append(known, m))
			}
		}
		if o.base != "" && (r.Image.Base == nil || r.Image.Base.By != image.BaseByLayers) {
			r.Inventory.Problems = append(r.Inventory.Problems, inventory.Problem{Layer: -1, Message: fmt.Sprintf("--base %s: its layers are not the lowest of %s: an older build of it may be the base", o.base, r.Image.Reference)})
		}
	}
	for _, r := range results {
		source.NameBase(r.Image.Base)
	}
	if cache == nil {
		return nil
	}
	for _, m := range given {
		a.keepImage(ctx, cache, m)
	}
	for _, r := range results {
		a.keepImage(ctx, cache, r.Image)
	}
	return nil
}

func (a *app) keepImage(ctx context.Context, cache *store.Cache, m *image.Image) {
	if err := cache.PutImage(ctx, m, a.now()); err != nil && ctx.Err() == nil {
		a.log.Warn("image is not kept for recognising those built on it", "error", err)
	}
}

// givenBases opens the base that the user names.
func (a *app) givenBases(ctx context.Context, o *baseOptions, opts source.Options) ([]*image.Image, error) {
	if o.base == "" {
		return nil, nil
	}
	images, closer, err := source.Open(ctx, o.base, opts)
	if err != nil {
		return nil, fmt.Errorf("--base: %w", err)
	}
	return images, errors.Join(closer.Close())
}

// fetchedBase asks the registry for the base that the image names, nil when there
// is none. The name is the image's to choose, so the user's credentials of the
// command line stay at home; those of Docker's configuration go to their own
// registries only.
func (a *app) fetchedBase(ctx context.Context, r *scan.Result, opts source.Options) *image.Image {
	name, digest := r.Image.NamedBase()
	if name == "" {
		return nil
	}
	if digest != "" {
		repository, _, _ := image.SplitReference(name)
		name = repository + "@" + string(digest)
	}
	opts.Username, opts.Password, opts.Token = "", "", ""
	opts.AllPlatforms, opts.Platform = false, r.Image.Platform
	images, closer, err := source.Open(ctx, "registry:"+name, opts)
	if err == nil {
		err = closer.Close()
	}
	if err != nil {
		if ctx.Err() == nil {
			r.Inventory.Problems = append(r.Inventory.Problems, inventory.Problem{Layer: -1, Message: fmt.Sprintf("the base image that the annotations name can't be had: %s", report.Safe(err.Error()))})
		}
		return nil
	}
	m := images[0]
	if named, _ := r.Image.NamedBase(); named != "" {
		m.Reference = named
		if ref, err := source.Parse("registry:" + named); err == nil {
			m.Repository, m.Tag = ref.Name()
		}
	}
	return m
}
