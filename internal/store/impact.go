package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"strata/internal/advisory"
	"strata/internal/inventory"
)

// An ImpactQuery asks where something is: one of Vulnerability, packages, License, File,
// Base and Layer. The packages are those of PURL, or of Name and Type, within Range.
type ImpactQuery struct {
	// Vulnerability is any of its names, in any case.
	Vulnerability string
	// PURL with or without version. Of its qualifiers those given must agree.
	PURL string
	// Name and Type (of purl; empty for any) of packages.
	Name, Type string
	// Range is a list with commas, all of which must hold: ">=1.2, <1.4.2". Versions
	// are in the order of the packages' ecosystem.
	Range string
	// License is an SPDX expression or id, or a class (license.Class).
	License string
	// File is the SHA-256 of a file's content, "sha256:…": of the files that have a digest
	// (analyzer.Recorded).
	File string
	// Base is an image by id, digest or name (REGISTRY/REPOSITORY:TAG): what is built
	// upon its layers.
	Base string
	// Layer is a DiffID, or a chain id with "chain:" before it.
	Layer string
	// Scope are globs over REGISTRY/REPOSITORY; nil for all.
	Scope []string
}

// ErrQuery is wrapped by the errors of questions that can't be asked.
var ErrQuery = errors.New("not a question")

// An Impact is where something is, in sum.
type Impact struct {
	// Vulnerability is the canonical name, where the question has one.
	Vulnerability string `json:"vulnerability,omitempty"`
	Summary       string `json:"summary,omitempty"`
	// File is the digest in question, and Note says of which files digests are known.
	File string `json:"file,omitempty"`
	Note string `json:"note,omitempty"`
	// Packages are the versions in question, in images or not: at most 1000.
	Packages []ImpactPackage `json:"packages"`
	// Uncompared are versions that can't be compared with the range: whether they are
	// in it is not known, and they are not in any of the numbers.
	Uncompared []string     `json:"uncompared,omitempty"`
	Totals     ImpactTotals `json:"totals"`
}

// ImpactTotals are numbers of distinct things. An image counts as present when one of
// the packages is present in it; else as shadowed when one of them is; else as removed.
type ImpactTotals struct {
	Images   int `json:"images"`
	Present  int `json:"present"`
	Shadowed int `json:"shadowed"`
	Removed  int `json:"removed"`
	// Aside are images, not among those above, in which all of it is set aside: owned by
	// a package of the distribution, not run in a container, or told of twice by a file.
	Aside int `json:"aside"`
	// Layers that introduce it, in those images.
	Layers       int `json:"layers"`
	Repositories int `json:"repositories"`
	Registries   int `json:"registries"`
	Owners       int `json:"owners"`
	// Bases are known images that those images are built upon.
	Bases int `json:"bases"`
	// Severity is the worst of each image, of what is not set aside.
	Severity Counts `json:"severity"`
}

// An ImpactPackage is a package version in question.
type ImpactPackage struct {
	ID        int64  `json:"id"`
	Type      string `json:"type"`
	Name      string `json:"name"`
	Version   string `json:"version"`
	PURL      string `json:"purl"`
	Ecosystem string `json:"ecosystem,omitempty"`
	// Severity, FixedVersion and Aside are those of the vulnerability in question.
	Severity     advisory.Severity `json:"severity,omitempty"`
	FixedVersion string            `json:"fixed_version,omitempty"`
	Aside        string            `json:"aside,omitempty"`
}

// A subject is what a question is about, in ids.
type subject struct {
	vulnerability int64
	name, summary string
	packages      map[int64]*ImpactPackage
	// licenses restricts to packages under them; nil for any.
	licenses map[int64]bool
	// others are versions of the packages in question that are not in the range; of
	// those in uncompared it can't be told.
	others, uncompared map[int64]string
	// unknown is the answer for who sees nothing of it.
	unknown error
	// positions has the layers of a question about a base or a layer.
	positions []fleetPosition
	stacks    bool
	// file is the digest of a question about one, keys the first and the last that its
	// files can have, and paths theirs, by id: they are what packages are of other
	// questions.
	file  string
	keys  []any
	paths map[int64]string
}

const (
	// maxImpactPackages bounds Impact.Packages.
	maxImpactPackages = 1000
	// maxLayerPackages bounds what is said of a layer or an image in a list.
	maxLayerPackages = 100
)

// Impact tells where something is, in sum. ErrNotFound when it is not known.
func (d *DB) Impact(ctx context.Context, q ImpactQuery) (*Impact, error) {
	out := &Impact{}
	err := d.ask(ctx, &q, func(a *asked) error {
		out.fill(a)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("impact: %w", err)
	}
	return out, nil
}

func (i *Impact) fill(a *asked) {
	i.Vulnerability, i.Summary, i.Uncompared = a.name, a.summary, slices.Compact(slices.Sorted(maps.Values(a.uncompared)))
	i.Packages, i.Totals = a.packageList(), a.totals()
	if a.file != "" {
		i.File, i.Note = a.file, fileNote
	}
}

// packageList are the packages by name and version.
func (s *subject) packageList() []ImpactPackage {
	out := []ImpactPackage{}
	for _, p := range s.packages {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b ImpactPackage) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version), cmp.Compare(a.ID, b.ID))
	})
	return out[:min(len(out), maxImpactPackages)]
}

// An asked question: what the fleet has of its subject.
type asked struct {
	*subject
	*sight
	held   []heldSegment
	hidden map[hiddenKey][]hiddenHow
	twins  map[twinKey]bool
	marks  []mark
}

// A heldSegment is a segment with packages in question.
type heldSegment struct {
	segment  int64
	packages []heldPackage
}

type heldPackage struct {
	id    int64
	owned bool
}

// A hiddenKey is a package that a layer of an image introduced and another one hid.
type hiddenKey struct {
	image, from int32
	heldPackage
}

type hiddenHow struct {
	state  inventory.State
	at     int32
	partly bool
}

// A twinKey is a program in an image that another package tells of as well.
type twinKey struct {
	image int32
	pkg   int64
}

// A mark is what an image has of the subject: ranks of states.
type mark struct {
	counted, aside, severity uint8
}

const (
	rankRemoved  = 1
	rankShadowed = 2
	rankPresent  = 3
)

func stateRank(s inventory.State) uint8 {
	switch s {
	case inventory.Present:
		return rankPresent
	case inventory.Shadowed:
		return rankShadowed
	default:
		return rankRemoved
	}
}

// A hit is a package in question in an image.
type hit struct {
	fleetPosition
	pkg   heldPackage
	state inventory.State
	// stateAt is the layer that hid it; -1 while it is present.
	stateAt int32
	// aside is why it does not count: "distro-owned", match's reason, or "twin".
	aside string
}

// ask resolves a question and gives a function what the fleet has of it.
func (d *DB) ask(ctx context.Context, q *ImpactQuery, answer func(*asked) error) error {
	s, err := d.subjectOf(ctx, q)
	if err != nil {
		return err
	}
	return d.readFleet(ctx, func(f *fleet) error {
		a := &asked{subject: s}
		if a.sight, err = d.sightOf(ctx, f, q.Scope); err != nil {
			return err
		}
		find := d.holders
		if s.stacks {
			find = func(ctx context.Context, a *asked) error { return d.positionsOf(ctx, a, q) }
		} else if s.file != "" {
			find = d.fileHolders
		}
		if err := find(ctx, a); err != nil {
			return err
		}
		a.mark()
		if s.file != "" && !slices.ContainsFunc(a.marks, func(m mark) bool { return m.counted > 0 }) {
			return unknownFile(s.file)
		}
		if err := d.limit(ctx, a); err != nil {
			return err
		}
		return answer(a)
	})
}

// limit takes the versions that who asks does not see out of what is told. Who sees none
// is told what would be told if there were none.
func (d *DB) limit(ctx context.Context, a *asked) error {
	if a.scope == nil || a.stacks || a.file != "" {
		return nil
	}
	if a.licenses != nil {
		if slices.ContainsFunc(a.marks, func(m mark) bool { return m.counted > 0 }) {
			return nil
		}
		return a.unknown
	}
	seen, err := d.imagesWith(ctx, a.sight, slices.Concat(sortedIDs(a.packages), sortedIDs(a.others), sortedIDs(a.uncompared)))
	if err != nil {
		return err
	}
	if len(seen) == 0 {
		return a.unknown
	}
	maps.DeleteFunc(a.packages, func(id int64, _ *ImpactPackage) bool { return seen[id] == 0 })
	maps.DeleteFunc(a.uncompared, func(id int64, _ string) bool { return seen[id] == 0 })
	return nil
}

// holders reads which segments introduce and hide the packages in question.
func (d *DB) holders(ctx context.Context, a *asked) error {
	ids := inList(sortedIDs(a.packages))
	condition := `package IN (` + ids + `)`
	if a.licenses != nil {
		condition = `license IN (` + inList(sortedIDs(a.licenses)) + `)`
		ids = `SELECT sp.package FROM segment_packages sp WHERE sp.` + condition
	}
	err := d.each(ctx, `SELECT segment, package, owned FROM segment_packages WHERE `+condition+` ORDER BY segment, package`, nil, func(scan func(...any) error) error {
		var segment int64
		var p heldPackage
		if err := scan(&segment, &p.id, &p.owned); err != nil {
			return err
		}
		a.hold(segment, p)
		return nil
	})
	if err != nil {
		return err
	}
	a.hidden = map[hiddenKey][]hiddenHow{}
	err = d.each(ctx, `SELECT segment, package, owned, from_position, state, partly FROM segment_hidden WHERE package IN (`+ids+`)`, nil, func(scan func(...any) error) error {
		var segment int64
		var k hiddenKey
		var how hiddenHow
		if err := scan(&segment, &k.id, &k.owned, &k.from, &how.state, &how.partly); err != nil {
			return err
		}
		a.hide(segment, k, how)
		return nil
	})
	if err != nil || a.vulnerability == 0 {
		return err
	}
	a.twins = map[twinKey]bool{}
	return d.each(ctx, `SELECT segment, package, twin FROM segment_twins WHERE package IN (`+ids+`)`, nil, func(scan func(...any) error) error {
		var segment, pkg, twin int64
		if err := scan(&segment, &pkg, &twin); err != nil {
			return err
		}
		if a.packages[twin] == nil {
			return nil
		}
		for _, p := range a.fleet.positions(segment) {
			a.twins[twinKey{p.image, pkg}] = true
		}
		return nil
	})
}

// hold adds a package that a segment introduces; they come in the order of segments.
func (a *asked) hold(segment int64, p heldPackage) {
	if n := len(a.held); n == 0 || a.held[n-1].segment != segment {
		a.held = append(a.held, heldSegment{segment: segment})
	}
	last := &a.held[len(a.held)-1]
	last.packages = append(last.packages, p)
}

// hide adds what a segment hides, for all images that have it.
func (a *asked) hide(segment int64, k hiddenKey, how hiddenHow) {
	for _, p := range a.fleet.positions(segment) {
		k.image, how.at = p.image, p.position
		a.hidden[k] = append(a.hidden[k], how)
	}
}

// hits gives all that images have of the packages of a segment to a function, which keeps
// no hit: the next one takes its place.
func (a *asked) hits(s *heldSegment, image func(int32) bool, each func(*hit)) {
	var h hit
	for _, at := range a.fleet.positions(s.segment) {
		if !image(at.image) {
			continue
		}
		for _, p := range s.packages {
			h = hit{fleetPosition: at, pkg: p, state: inventory.Present, stateAt: -1, aside: a.asideOf(at.image, p)}
			full := false
			if len(a.hidden) > 0 {
				for _, how := range a.hidden[hiddenKey{at.image, at.position, p}] {
					full = full || !how.partly
					h.state, h.stateAt = how.state, how.at
					each(&h)
				}
			}
			if !full {
				h.state, h.stateAt = inventory.Present, -1
				each(&h)
			}
		}
	}
}

// asideOf is why findings in the package are set aside; for questions that are not
// about a vulnerability nothing is.
func (a *asked) asideOf(image int32, p heldPackage) string {
	switch {
	case a.vulnerability == 0:
		return ""
	case p.owned:
		return "distro-owned"
	case a.packages[p.id].Aside != "":
		return a.packages[p.id].Aside
	case len(a.twins) > 0 && a.twins[twinKey{image, p.id}]:
		return "twin"
	}
	return ""
}

// mark writes down for each image what it has.
func (a *asked) mark() {
	a.marks = make([]mark, len(a.fleet.at))
	if a.stacks {
		for _, p := range a.positions {
			if a.sees(p.image) {
				a.marks[p.image].counted = rankPresent
			}
		}
		return
	}
	open := func(image int32) bool {
		// Where nothing is set aside nor graver than another, more can't change the mark.
		return a.sees(image) && (a.vulnerability != 0 || a.marks[image].counted < rankPresent)
	}
	for i := range a.held {
		a.hits(&a.held[i], open, func(h *hit) {
			m := &a.marks[h.image]
			if h.aside != "" {
				m.aside = max(m.aside, stateRank(h.state))
				return
			}
			m.counted = max(m.counted, stateRank(h.state))
			if a.vulnerability != 0 {
				m.severity = max(m.severity, uint8(a.packages[h.pkg.id].Severity.Rank()))
			}
		})
	}
}

// counts tells whether an image is among Totals.Images.
func (a *asked) counts(image int32) bool { return a.marks[image].counted > 0 }

// totals sums the marks up.
func (a *asked) totals() (t ImpactTotals) {
	repositories := make([]bool, len(a.repositories))
	bases := map[int64]bool{}
	for at, m := range a.marks {
		if m.counted == 0 {
			if m.aside > 0 {
				t.Aside++
			}
			continue
		}
		t.Images++
		switch m.counted {
		case rankPresent:
			t.Present++
		case rankShadowed:
			t.Shadowed++
		default:
			t.Removed++
		}
		if a.vulnerability != 0 {
			t.Severity.Add(int(m.severity), 1)
		}
		image := &a.fleet.at[at]
		if base, ok := a.fleet.images.of[image.base]; ok && a.sees(base) {
			bases[image.base] = true
		}
		for _, r := range image.repositories {
			repositories[r] = true
		}
	}
	t.Bases = len(bases)
	t.Layers = a.countLayers()
	registries, owners := map[int64]bool{}, map[string]bool{}
	for at, here := range repositories {
		r := &a.repositories[at]
		if !here || !r.exists || !r.inScope {
			continue
		}
		t.Repositories++
		registries[r.registry] = true
		if r.owner != "" {
			owners[r.owner] = true
		}
	}
	t.Registries, t.Owners = len(registries), len(owners)
	return t
}

// Add counts n more of a rank of severity.
func (c *Counts) Add(rank, n int) {
	switch rank {
	case 4:
		c.Critical += n
	case 3:
		c.High += n
	case 2:
		c.Medium += n
	case 1:
		c.Low += n
	default:
		c.Unknown += n
	}
}

// countLayers is how many layers has.
func (a *asked) countLayers() (n int) {
	seen := make([]bool, len(a.fleet.layers.ids))
	count := func(at fleetPosition, l int32, packages []heldPackage) {
		if !seen[l] && (packages == nil || slices.ContainsFunc(packages, func(p heldPackage) bool { return a.asideOf(at.image, p) == "" })) {
			seen[l] = true
			n++
		}
	}
	for _, at := range a.positions {
		if a.counts(at.image) {
			count(at, a.fleet.at[at.image].layers[at.position].layer, nil)
		}
	}
	for i := range a.held {
		place, ok := a.fleet.segments.of[a.held[i].segment]
		if !ok {
			continue
		}
		for n, at := range a.fleet.bySegment[place] {
			if a.counts(at.image) {
				count(at, a.fleet.layersOf[place][n], a.held[i].packages)
			}
		}
	}
	return n
}

// A heldLayer is a layer that introduces packages in question.
type heldLayer struct {
	layer  int32
	images []int32
	// packages in question, at most maxLayerPackages; those of segment are all in it.
	packages []int64
	segment  int64
	// example is where one of the images has it.
	example fleetPosition
}

// layers are those that introduce what counts, in images that count. Of questions
// about layers they are those themselves.
func (a *asked) layers() map[int32]*heldLayer {
	out := map[int32]*heldLayer{}
	for _, at := range a.positions {
		if a.counts(at.image) {
			a.addLayer(out, at)
		}
	}
	for i := range a.held {
		s := &a.held[i]
		for _, at := range a.fleet.positions(s.segment) {
			if a.counts(at.image) {
				a.addHeld(out, at, s)
			}
		}
	}
	for _, l := range out {
		slices.Sort(l.images)
		l.images = slices.Compact(l.images)
	}
	return out
}

// addHeld adds the packages of a segment that count in an image.
func (a *asked) addHeld(layers map[int32]*heldLayer, at fleetPosition, s *heldSegment) {
	var l *heldLayer
	for _, p := range s.packages {
		if a.asideOf(at.image, p) != "" {
			continue
		}
		if l == nil {
			if l = a.addLayer(layers, at); a.vulnerability == 0 && l.segment == s.segment {
				return // they are the same in each image
			}
			l.segment = s.segment
		}
		if len(l.packages) == maxLayerPackages {
			return
		}
		if !slices.Contains(l.packages, p.id) {
			l.packages = append(l.packages, p.id)
		}
	}
}

func (a *asked) addLayer(layers map[int32]*heldLayer, at fleetPosition) *heldLayer {
	place := a.fleet.at[at.image].layers[at.position].layer
	l := layers[place]
	if l == nil {
		l = &heldLayer{layer: place, example: at}
		layers[place] = l
	}
	l.images = append(l.images, at.image)
	return l
}

func sortedIDs[V any](m map[int64]V) []int64 {
	out := make([]int64, 0, len(m))
	for id := range m {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}
