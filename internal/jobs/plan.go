package jobs

import (
	"context"
	"fmt"
	"strings"

	"strata/internal/image"
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
	res, err := r.known(ctx, id)
	if err != nil {
		return nil, err
	}
	found, about, err := r.find(ctx, &res.Inventory, true)
	if err != nil {
		return nil, err
	}
	if b := res.Image.Base; b != nil && b.By == image.BaseByLayers && scope != nil {
		if b.Reference, b.Repository, b.Tag, err = r.nameFor(ctx, b.Digest, scope); err != nil {
			return nil, err
		}
		if b.Reference == "" {
			b.Digest = ""
		}
	}
	in := remedy.Input{Image: res.Image, Inventory: &res.Inventory, Match: &found, Dockerfile: dockerfile}
	if base != 0 {
		if in.Candidates, err = r.candidates(ctx, base, scope); err != nil {
			return nil, err
		}
	}
	p, err := remedy.New(in)
	if err != nil {
		return nil, fmt.Errorf("plan for image %d: %w", id, err)
	}
	p.Incomplete = r.report(res, &found, about).Incomplete()
	return p, nil
}

// candidates are the images in the repositories of a base that may stand in its place.
func (r *Reports) candidates(ctx context.Context, base int64, scope []string) (out []remedy.Candidate, err error) {
	siblings, err := r.DB.Siblings(ctx, base, scope, maxCandidates)
	if err != nil {
		return nil, err
	}
	for _, id := range siblings {
		res, err := r.known(ctx, id)
		if err != nil {
			return nil, err
		}
		if m := res.Image; scope != nil {
			if m.Reference, m.Repository, m.Tag, err = r.nameFor(ctx, m.Digest, scope); err != nil {
				return nil, err
			}
		}
		found, _, err := r.find(ctx, &res.Inventory, false)
		if err != nil {
			return nil, err
		}
		out = append(out, remedy.Candidate{Image: res.Image, Inventory: &res.Inventory, Match: &found})
	}
	return out, nil
}

// nameFor is by which name who has a scope may know an image, with its parts: that by which
// it was scanned may be another's.
func (r *Reports) nameFor(ctx context.Context, digest image.Digest, scope []string) (reference, repository, tag string, err error) {
	reference, err = r.DB.NameInScope(ctx, string(digest), scope)
	if strings.Contains(reference, "@") { // by its digest, where no tag names it
		return reference, reference, "", err
	}
	repository, tag, _ = image.SplitReference(reference)
	return reference, repository, tag, err
}
