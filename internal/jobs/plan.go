package jobs

import (
	"context"
	"fmt"

	"strata/internal/match"
	"strata/internal/remedy"
)

// maxCandidates is how many images are weighed as a better base: the newest of its
// repository.
const maxCandidates = 20

// Plan says how to remedy an image: what `strata fix` says of it, with the images of the
// base's repository that are known as candidates. base is the id of the base, 0 for none
// that is known, and scope what of its repository may be named. The Dockerfile, which may
// be nil, makes the plan say where to change it.
func (r *Reports) Plan(ctx context.Context, id, base int64, scope []string, dockerfile *remedy.Dockerfile) (*remedy.Plan, error) {
	in := remedy.Input{Dockerfile: dockerfile}
	c, err := r.candidate(ctx, id, true)
	if err != nil {
		return nil, err
	}
	if b := c.Image.Base; b != nil && scope != nil && base == 0 {
		b.Reference, b.Repository, b.Tag, b.Digest = "", "", "", "" // it is another's
	}
	in.Image, in.Inventory, in.Match = c.Image, c.Inventory, c.Match
	if base != 0 {
		siblings, err := r.DB.Siblings(ctx, base, scope, maxCandidates)
		if err != nil {
			return nil, err
		}
		for _, s := range siblings {
			c, err := r.candidate(ctx, s, false)
			if err != nil {
				return nil, err
			}
			in.Candidates = append(in.Candidates, c)
		}
	}
	p, err := remedy.New(in)
	if err != nil {
		return nil, fmt.Errorf("plan for image %d: %w", id, err)
	}
	return p, nil
}

// candidate is an image with what is in it and wrong with it.
func (r *Reports) candidate(ctx context.Context, id int64, upgrades bool) (c remedy.Candidate, err error) {
	img, err := r.DB.LoadImage(ctx, id)
	if err != nil {
		return c, err
	}
	submitted, err := r.DB.LayersOfSubmission(ctx, id)
	if err != nil {
		return c, err
	}
	res, err := r.Known(ctx, img, submitted)
	if err != nil {
		return c, err
	}
	found, _, err := r.findWith(ctx, &res.Inventory, match.Options{Now: r.Now, Upgrades: upgrades})
	return remedy.Candidate{Image: img, Inventory: &res.Inventory, Match: &found}, err
}
