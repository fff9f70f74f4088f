package main

import (
	"context"
	"errors"
	"fmt"

	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/remedy"
	"strata/internal/scan"
	"strata/internal/source"
	"strata/internal/store"
)

// newerTags asks the base's registry for tags that may name a newer base.
func (a *app) newerTags(ctx context.Context, res *scan.Result, o *fixOptions) ([]string, error) {
	b := res.Image.Base
	if b == nil || b.Repository == "" || b.Tag == "" {
		res.Inventory.Problems = append(res.Inventory.Problems, inventory.Problem{Layer: -1, Message: "--tags: the base image has no name with a tag, so there is no repository to look in (--base tells the base)"})
		return nil, nil
	}
	if o.offline {
		return nil, errors.New("--tags: asks a registry, which --offline forbids")
	}
	opts, err := o.open(a)
	if err != nil {
		return nil, err
	}
	tags, err := source.Tags(ctx, b.Repository, opts)
	if err != nil {
		return nil, fmt.Errorf("--tags: %w", err)
	}
	var refs []string
	for _, t := range remedy.NewerTags(b.Tag, tags, o.tags) {
		refs = append(refs, "registry:"+b.Repository+":"+t)
	}
	return refs, nil
}

// maxKnownCandidates is how many images that were scanned before are held against
// the base: the newest ones.
const maxKnownCandidates = 20

// knownCandidates are the images of the base's repository that were scanned before
// and whose layers are known.
func knownCandidates(ctx context.Context, scanner *scan.Scanner, cache *store.Cache, m *image.Image) (out []*scan.Result, err error) {
	images, err := cache.ImagesOf(ctx, m.Base.Repository, m.Platform.String())
	if err != nil {
		return nil, err
	}
	for _, k := range images {
		if len(out) == maxKnownCandidates {
			break
		}
		if isThatBase(k, m) {
			continue
		}
		known, err := scanner.Known(ctx, k)
		if err != nil {
			return nil, err
		}
		if known != nil {
			out = append(out, known)
		}
	}
	return out, nil
}

// isThatBase tells whether k has just the layers of m's base.
func isThatBase(k, m *image.Image) bool {
	n := m.Base.Layers
	return n > 0 && len(k.Layers) == n && n <= len(m.Layers) && k.ChainIDs()[n-1] == m.ChainIDs()[n-1]
}

// scanCandidate scans an image that may become the base; nil when it is for
// another platform.
func (a *app) scanCandidate(ctx context.Context, scanner *scan.Scanner, cache *store.Cache, ref string, res *scan.Result, o *fixOptions) (r *scan.Result, err error) {
	opts, err := o.open(a)
	if err != nil {
		return nil, err
	}
	opts.Platform = res.Image.Platform
	images, closer, err := source.Open(ctx, ref, opts)
	if err != nil {
		return nil, fmt.Errorf("candidate: %w", err)
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	r, err = scanner.Image(ctx, images[0])
	if err != nil {
		return nil, err
	}
	for _, p := range r.Inventory.Problems {
		if p.Incomplete { // its findings may be missing, so that it would look better than it is
			return nil, fmt.Errorf("candidate %s: %s", ref, p.Message)
		}
	}
	if cache != nil {
		a.keepImage(ctx, cache, r.Image)
	}
	return r, nil
}
