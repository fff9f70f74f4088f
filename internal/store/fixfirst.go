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
	// Layers, or base images, of which a rebuild heals something, these among them.
	Layers int `json:"layers"`
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

// fixable are the findings with a fix.
type fixable struct{ all, critical, high int }

func (x *fixable) add(o fixable) {
	x.all, x.critical, x.high = x.all+o.all, x.critical+o.critical, x.high+o.high
}

func (x *fixable) take(o fixable) {
	x.all, x.critical, x.high = x.all-o.all, x.critical-o.critical, x.high-o.high
}

// FixFirst ranks layers by how many findings one rebuild heals, over all images that
// hold them.
func (d *DB) FixFirst(ctx context.Context, q FixFirstQuery) (out *FixFirst, err error) {
	if q.Limit <= 0 {
		q.Limit = 20
	}
	q.Limit = min(q.Limit, 100)
	err = d.readFleet(ctx, func(f *fleet) error {
		r := &fixRanking{bases: q.Bases, less: map[fleetPosition]fixable{}, healed: map[int64]*healing{}}
		if r.sight, err = d.sightOf(ctx, f, q.Scope); err != nil {
			return err
		}
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
	*sight
	bases bool
	// segments is what they introduce that can be fixed, by their place, and less is what
	// does not count of it in a layer of an image.
	segments []fixable
	less     map[fleetPosition]fixable
	// healed by the place of a layer, or the id of a base.
	healed map[int64]*healing
}

// A healing is what a rebuild of one thing heals.
type healing struct {
	sum     fixable
	images  int
	most    int
	example fleetPosition
	// image is the one that was added last, of which inImage are findings.
	image   int32
	inImage int
}

func (d *DB) fixFirst(ctx context.Context, r *fixRanking, limit int) (*FixFirst, error) {
	if err := d.fixableSegments(ctx, r); err != nil {
		return nil, err
	}
	hidden, err := d.takeHidden(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := d.takeTwins(ctx, r, hidden); err != nil {
		return nil, err
	}
	for image := range r.fleet.at {
		r.addImage(int32(image))
	}
	return d.fixRows(ctx, r, limit)
}

// addImage adds the findings in the layers of an image.
func (r *fixRanking) addImage(image int32) {
	if !r.sees(image) {
		return
	}
	m := &r.fleet.at[image]
	layers := m.layers
	if r.bases {
		base, ok := r.fleet.images.of[m.base]
		if !ok || !r.sees(base) {
			return
		}
		below := r.fleet.at[base].layers
		n := 0
		for n < len(below) && n < len(layers) && below[n].layer == layers[n].layer {
			n++
		}
		layers = layers[:n]
	}
	for position := range layers {
		l := &layers[position]
		x := r.segments[l.segment]
		at := fleetPosition{image, int32(position)}
		if x.take(r.less[at]); x.all == 0 {
			continue
		}
		key := int64(l.layer)
		if r.bases {
			key = m.base
		}
		h := r.healed[key]
		if h == nil {
			h = &healing{image: -1, example: at}
			r.healed[key] = h
		}
		h.add(at, x)
	}
}

func (h *healing) add(at fleetPosition, x fixable) {
	if h.image != at.image {
		h.image, h.inImage = at.image, 0
		h.images++
	}
	h.sum.add(x)
	h.inImage += x.all
	h.most = max(h.most, h.inImage)
	if at.position > h.example.position {
		h.example = at
	}
}

// fixedFindings is the condition on findings f that a fix is known.
const fixedFindings = `f.closed_at IS NULL AND f.aside = '' AND f.fixed_version <> ''`

// fixablePackages is the query of what can be fixed in each package version.
const fixablePackages = `SELECT f.package AS package, COUNT(*) AS n, SUM(CASE WHEN f.severity = 4 THEN 1 ELSE 0 END) AS critical, SUM(CASE WHEN f.severity = 3 THEN 1 ELSE 0 END) AS high
	FROM findings f WHERE ` + fixedFindings + ` GROUP BY f.package`

// fixableSegments reads what the segments introduce.
func (d *DB) fixableSegments(ctx context.Context, r *fixRanking) error {
	r.segments = make([]fixable, len(r.fleet.segments.ids))
	return d.each(ctx, `SELECT sp.segment, SUM(x.n), SUM(x.critical), SUM(x.high) FROM segment_packages sp JOIN (`+fixablePackages+`) x ON x.package = sp.package
		WHERE NOT sp.owned GROUP BY sp.segment`, nil, func(scan func(...any) error) error {
		var segment int64
		var x fixable
		err := scan(&segment, &x.all, &x.critical, &x.high)
		if at, ok := r.fleet.segments.of[segment]; ok {
			r.segments[at] = x
		}
		return err
	})
}

// A hiddenFix is a package that is hidden in full in an image.
type hiddenFix struct {
	fleetPosition
	pkg int64
}

// takeHidden takes out what layers above hide in full; it gives what that is. Of the
// rows that hide the same, all but the last are marked as hiding a part.
func (d *DB) takeHidden(ctx context.Context, r *fixRanking) (map[hiddenFix]bool, error) {
	hidden := map[hiddenFix]bool{}
	err := d.each(ctx, `SELECT h.segment, h.package, h.from_position, x.n, x.critical, x.high FROM (
			SELECT DISTINCT segment, package, from_position FROM segment_hidden WHERE NOT partly AND NOT owned) h JOIN (`+fixablePackages+`) x ON x.package = h.package`, nil, func(scan func(...any) error) error {
		var segment, id int64
		var from int32
		var x fixable
		if err := scan(&segment, &id, &from, &x.all, &x.critical, &x.high); err != nil {
			return err
		}
		for _, at := range r.fleet.positions(segment) {
			k := hiddenFix{fleetPosition{at.image, from}, id}
			if hidden[k] || !r.sees(at.image) {
				continue
			}
			hidden[k] = true
			r.lose(k.fleetPosition, x)
		}
		return nil
	})
	return hidden, err
}

// takeTwins takes out findings in programs that are counted already in a package that
// tells of the same file: see segment_twins.
func (d *DB) takeTwins(ctx context.Context, r *fixRanking, hidden map[hiddenFix]bool) error {
	// severities of what both have, by package and vulnerability, for each image.
	shared := map[twinKey]map[int64]int{}
	err := d.each(ctx, `SELECT t.segment, t.package, f.vulnerability, f.severity FROM segment_twins t JOIN findings f ON f.package = t.package AND `+fixedFindings+`
		JOIN findings o ON o.package = t.twin AND o.vulnerability = f.vulnerability AND o.closed_at IS NULL`, nil, func(scan func(...any) error) error {
		var segment, id, vulnerability int64
		var severity int
		if err := scan(&segment, &id, &vulnerability, &severity); err != nil {
			return err
		}
		for _, at := range r.fleet.positions(segment) {
			k := twinKey{at.image, id}
			if shared[k] == nil {
				shared[k] = map[int64]int{}
			}
			shared[k][vulnerability] = severity
		}
		return nil
	})
	if err != nil || len(shared) == 0 {
		return err
	}
	return d.each(ctx, `SELECT segment, package FROM segment_packages WHERE NOT owned AND package IN (SELECT package FROM segment_twins)`, nil, func(scan func(...any) error) error {
		var segment, id int64
		if err := scan(&segment, &id); err != nil {
			return err
		}
		for _, at := range r.fleet.positions(segment) {
			if hidden[hiddenFix{at, id}] {
				continue
			}
			for _, severity := range shared[twinKey{at.image, id}] {
				r.lose(at, fixableOf(severity))
			}
		}
		return nil
	})
}

// lose notes that some of what a layer of an image introduces doesn't count.
func (r *fixRanking) lose(at fleetPosition, x fixable) {
	sum := r.less[at]
	sum.add(x)
	r.less[at] = sum
}

// fixableOf is one finding.
func fixableOf(severity int) fixable {
	x := fixable{all: 1}
	switch severity {
	case 4:
		x.critical = 1
	case 3:
		x.high = 1
	}
	return x
}

// fixRows are the best, with what is to be told of them.
func (d *DB) fixRows(ctx context.Context, r *fixRanking, limit int) (*FixFirst, error) {
	out := &FixFirst{Items: []FixLayer{}, Layers: len(r.healed)}
	keys := sortedIDs(r.healed)
	slices.SortStableFunc(keys, func(a, b int64) int { return cmp.Compare(r.healed[b].sum.all, r.healed[a].sum.all) })
	keys = keys[:min(len(keys), limit)]
	var examples []fleetPosition
	for _, k := range keys {
		examples = append(examples, r.healed[k].example)
	}
	layers, err := d.describeLayers(ctx, r.fleet, r.scope, examples)
	if err != nil {
		return nil, err
	}
	for i, k := range keys {
		h := r.healed[k]
		row := FixLayer{ImpactLayer: layers[i], Healed: h.sum.all, Critical: h.sum.critical, High: h.sum.high, Findings: h.most}
		row.Packages, row.Images = []ImpactPackage{}, h.images
		if r.bases {
			row.BaseID = k
		}
		out.Items = append(out.Items, row)
	}
	if !r.bases {
		return out, nil
	}
	names, err := d.namesOf(ctx, keys, r.scope)
	for i := range out.Items {
		out.Items[i].Example = names[out.Items[i].BaseID]
	}
	return out, err
}
