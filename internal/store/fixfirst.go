package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// A FixFirstQuery asks where to begin. The zero value asks for the first 20 layers.
type FixFirstQuery struct {
	// Bases asks for base images instead of layers: known images that others are built
	// upon.
	Bases bool
	// Scope are globs over REGISTRY/REPOSITORY; nil for all.
	Scope []string
	// Limit of rows; 20 when it is 0, at most 100.
	Limit int
}

// A FixFirst is where to begin: the layers, or base images, of which one rebuild heals
// most.
type FixFirst struct {
	Items []FixLayer `json:"items"`
	// Considered of Layers were looked at: those in most images.
	Considered int `json:"considered"`
	Layers     int `json:"layers"`
}

// A FixLayer is a layer, and what a rebuild of it heals: the open findings, for which a
// fixed version is known, in the packages that it introduces, over all images in which
// these are present. What is set aside since it is the distribution's, or is not run,
// does not count.
type FixLayer struct {
	ImpactLayer
	// BaseID is the id of the base image, for questions about these; DiffID is then that
	// of its topmost layer.
	BaseID int64 `json:"base_id,omitempty"`
	// Healed is the sum of the findings over the images; Critical and High are those
	// among them.
	Healed   int `json:"healed"`
	Critical int `json:"critical"`
	High     int `json:"high"`
	// Findings are the most of them in one image.
	Findings int `json:"findings"`
}

// maxFixLayers bounds the layers that are looked at.
const maxFixLayers = 2000

// fixable are the findings with a fix.
type fixable struct{ all, critical, high int }

func (x *fixable) add(o fixable, times int) {
	x.all, x.critical, x.high = x.all+times*o.all, x.critical+times*o.critical, x.high+times*o.high
}

// FixFirst ranks layers by how many findings one rebuild heals, over all images that
// hold them: of the 2000 layers in most images.
func (d *DB) FixFirst(ctx context.Context, q FixFirstQuery) (out *FixFirst, err error) {
	if q.Limit <= 0 {
		q.Limit = 20
	}
	q.Limit = min(q.Limit, 100)
	err = d.readFleet(ctx, func(f *fleet) error {
		r := &fixRanking{asked: asked{fleet: f, scope: q.Scope}, bases: q.Bases, healed: map[int64]*healing{}}
		out, err = d.fixFirst(ctx, r, q.Limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("fix first: %w", err)
	}
	return out, nil
}

// A fixRanking is the work on one question.
type fixRanking struct {
	asked
	bases bool
	// healed by the place of a layer, or the id of a base.
	healed map[int64]*healing
}

// A healing is what a rebuild of one thing heals.
type healing struct {
	sum     fixable
	byImage map[int32]int
	example fleetPosition
}

func (d *DB) fixFirst(ctx context.Context, r *fixRanking, limit int) (*FixFirst, error) {
	var err error
	if r.repositories, err = d.repositoriesOf(ctx, r.fleet, r.scope); err != nil {
		return nil, err
	}
	layers := r.candidates()
	out := &FixFirst{Layers: len(layers), Considered: min(len(layers), maxFixLayers)}
	layers = layers[:out.Considered]
	packages, err := d.fixables(ctx)
	if err != nil {
		return nil, err
	}
	segments, err := d.fixableSegments(ctx, r, layers, packages)
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		for _, at := range r.fleet.byLayer[l] {
			if x := segments[r.fleet.at[at.image].segmentAt(at.position)]; x != nil {
				r.add(at, x.sum, 1)
			}
		}
	}
	if err := d.takeHidden(ctx, r, segments, packages); err != nil {
		return nil, err
	}
	out.Items, err = d.fixRows(ctx, r, limit)
	return out, err
}

// segmentAt is the place of a segment of an image; -1 where there is none.
func (m *fleetImage) segmentAt(position int32) int32 {
	if m.gone || int(position) >= len(m.layers) {
		return -1
	}
	return m.layers[position].segment
}

// candidates are the layers that may be ranked, those in most images first.
func (r *fixRanking) candidates() (layers []int32) {
	f := r.fleet
	ofBases := map[int32]bool{}
	if r.bases {
		for i := range f.at {
			if base, ok := f.images.of[f.at[i].base]; ok {
				for _, l := range f.at[base].layers {
					ofBases[l.layer] = true
				}
			}
		}
	}
	for at := range f.byLayer {
		if len(f.byLayer[at]) > 0 && (!r.bases || ofBases[int32(at)]) {
			layers = append(layers, int32(at))
		}
	}
	slices.SortFunc(layers, func(a, b int32) int {
		return cmp.Or(cmp.Compare(len(f.byLayer[b]), len(f.byLayer[a])), cmp.Compare(a, b))
	})
	return layers
}

// add adds findings in a layer of an image.
func (r *fixRanking) add(at fleetPosition, x fixable, times int) {
	m := &r.fleet.at[at.image]
	l := m.layers[at.position].layer
	key := int64(l)
	if r.bases {
		base, ok := r.fleet.images.of[m.base]
		if !ok {
			return
		}
		layers := r.fleet.at[base].layers
		if int(at.position) >= len(layers) || layers[at.position].layer != l {
			return
		}
		key = m.base
	}
	if !r.fleet.seen(at.image, r.scope, r.repositories) {
		return
	}
	h := r.healed[key]
	if h == nil {
		h = &healing{byImage: map[int32]int{}, example: at}
		r.healed[key] = h
	}
	h.sum.add(x, times)
	h.byImage[at.image] += times * x.all
	if at.position > h.example.position {
		h.example = at
	}
}

// fixables reads the findings with a fix, by package version.
func (d *DB) fixables(ctx context.Context) (map[int64]fixable, error) {
	out := map[int64]fixable{}
	return out, d.each(ctx, `SELECT package, COUNT(*), SUM(CASE WHEN severity = 4 THEN 1 ELSE 0 END), SUM(CASE WHEN severity = 3 THEN 1 ELSE 0 END)
		FROM findings WHERE closed_at IS NULL AND aside = '' AND fixed_version <> '' GROUP BY package`, nil, func(scan func(...any) error) error {
		var id int64
		var x fixable
		err := scan(&id, &x.all, &x.critical, &x.high)
		out[id] = x
		return err
	})
}

// A fixSegment is what a segment introduces that can be fixed.
type fixSegment struct {
	sum      fixable
	packages map[int64]bool
}

// fixableSegments reads what the segments of layers introduce, by their place.
func (d *DB) fixableSegments(ctx context.Context, r *fixRanking, layers []int32, packages map[int64]fixable) (map[int32]*fixSegment, error) {
	seen := map[int64]bool{}
	for _, l := range layers {
		for _, at := range r.fleet.byLayer[l] {
			if s := r.fleet.at[at.image].segmentAt(at.position); s >= 0 {
				seen[r.fleet.segments.ids[s]] = true
			}
		}
	}
	out := map[int32]*fixSegment{}
	for batch := range slices.Chunk(sortedIDs(seen), 1000) {
		err := d.each(ctx, `SELECT segment, package FROM segment_packages WHERE NOT owned AND segment IN (`+inList(batch)+`)`, nil, func(scan func(...any) error) error {
			var segment, id int64
			if err := scan(&segment, &id); err != nil {
				return err
			}
			x, ok := packages[id]
			if !ok {
				return nil
			}
			at := r.fleet.segments.of[segment]
			if out[at] == nil {
				out[at] = &fixSegment{packages: map[int64]bool{}}
			}
			out[at].sum.add(x, 1)
			out[at].packages[id] = true
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// takeHidden takes out what layers above hide in full. Of the rows that hide the same,
// all but the last are marked as hiding a part.
func (d *DB) takeHidden(ctx context.Context, r *fixRanking, segments map[int32]*fixSegment, packages map[int64]fixable) error {
	ids := map[int64]bool{}
	for _, s := range segments {
		for id := range s.packages {
			ids[id] = true
		}
	}
	for batch := range slices.Chunk(sortedIDs(ids), 1000) {
		err := d.each(ctx, `SELECT DISTINCT segment, package, from_position FROM segment_hidden WHERE NOT partly AND NOT owned AND package IN (`+inList(batch)+`)`, nil, func(scan func(...any) error) error {
			var segment, id int64
			var from int32
			if err := scan(&segment, &id, &from); err != nil {
				return err
			}
			for _, at := range r.fleet.positions(segment) {
				if s := segments[r.fleet.at[at.image].segmentAt(from)]; s != nil && s.packages[id] {
					r.add(fleetPosition{at.image, from}, packages[id], -1)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fixRows are the best, with what is to be told of them.
func (d *DB) fixRows(ctx context.Context, r *fixRanking, limit int) ([]FixLayer, error) {
	keys := sortedIDs(r.healed)
	slices.SortStableFunc(keys, func(a, b int64) int { return cmp.Compare(r.healed[b].sum.all, r.healed[a].sum.all) })
	keys = slices.DeleteFunc(keys[:min(len(keys), limit)], func(k int64) bool { return r.healed[k].sum.all == 0 })
	var examples []fleetPosition
	for _, k := range keys {
		examples = append(examples, r.healed[k].example)
	}
	layers, err := d.describeLayers(ctx, r.fleet, r.scope, examples)
	if err != nil {
		return nil, err
	}
	out := []FixLayer{}
	for i, k := range keys {
		h := r.healed[k]
		row := FixLayer{ImpactLayer: layers[i], Healed: h.sum.all, Critical: h.sum.critical, High: h.sum.high}
		row.Packages = []ImpactPackage{}
		for _, n := range h.byImage {
			row.Findings = max(row.Findings, n)
			if n > 0 {
				row.Images++
			}
		}
		if r.bases {
			row.BaseID = k
		}
		out = append(out, row)
	}
	if !r.bases {
		return out, nil
	}
	references, err := d.references(ctx, keys)
	for i := range out {
		if place, ok := r.fleet.images.of[out[i].BaseID]; ok && r.fleet.seen(place, r.scope, r.repositories) {
			out[i].Example = references[out[i].BaseID]
		}
	}
	return out, err
}
