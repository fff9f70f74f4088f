package report

import (
	"cmp"
	"slices"

	"strata/internal/inventory"
)

// A view is what the table shows of a report, counted and ordered once.
type view struct {
	report   *Report
	packages map[string]*Package
	// layers are as in the report, lowest first. Findings of a layer that the
	// report does not have (an SBOM has none) are in loose.
	layers []layerView
	loose  []*Finding
	// place finds a layer by its index in the image.
	place map[int]*layerView
	// counts are those of the active findings, present the number of packages in
	// the final file system.
	counts         Counts
	present        int
	fixable, known int
	// listed is the number of packages in all layers.
	listed int
	// ended are the ends of life, which are in no count.
	ended []*Finding
	// fresh is how many of them the baseline does not have.
	fresh int
	// removed are findings of packages that are not in the final file system,
	// suppressed those set aside.
	removed, suppressed []*Finding
}

// A layerView is a layer with what it brought.
type layerView struct {
	*Layer
	// introduced packages, and those of lower layers that this one took away.
	introduced, taken int
	counts            Counts
	fixable           int
	findings          []*Finding
	// unread tells that the layer could not be read.
	unread bool
}

// quiet tells that there is nothing to say of a layer but its size.
func (l *layerView) quiet() bool {
	return l.introduced == 0 && l.taken == 0 && len(l.findings) == 0 && !l.unread
}

func newView(r *Report) *view {
	v := &view{report: r, packages: make(map[string]*Package, len(r.Packages))}
	v.place = make(map[int]*layerView, len(r.Layers))
	v.layers = make([]layerView, len(r.Layers))
	for i := range r.Layers {
		v.layers[i].Layer = &r.Layers[i]
		v.place[r.Layers[i].Index] = &v.layers[i]
	}
	v.countPackages()
	v.sortFindings()
	for _, p := range r.Problems {
		if l := v.place[p.Layer]; l != nil && p.Incomplete {
			l.unread = true
		}
	}
	return v
}

func (v *view) countPackages() {
	for i := range v.report.Packages {
		p := &v.report.Packages[i]
		v.packages[p.ID] = p
		if p.ownersAffair() {
			continue // one installed package is one package
		}
		v.listed++
		if l := v.place[p.Layer]; l != nil {
			l.introduced++
		}
		if p.State != inventory.Shadowed && p.State != inventory.Removed {
			v.present++
		} else if l := v.place[p.StateLayer]; l != nil {
			l.taken++
		}
	}
}

func (v *view) sortFindings() {
	for i := range v.report.Findings {
		f := &v.report.Findings[i]
		switch {
		case f.Suppressed != nil:
			v.suppressed = append(v.suppressed, f)
		case f.Kind == KindEndOfLife:
			v.ended = append(v.ended, f)
		case !f.inFinalImage():
			v.removed = append(v.removed, f)
		default:
			v.countActive(f, v.place[f.Layer])
		}
	}
	for i := range v.layers {
		order(v.layers[i].findings)
	}
	order(v.loose)
	order(v.removed)
	order(v.suppressed)
}

func (v *view) countActive(f *Finding, l *layerView) {
	v.counts.Add(f.Severity, 1)
	if f.KEV {
		v.known++
	}
	if f.FixedVersion != "" {
		v.fixable++
	}
	if f.New != nil && *f.New {
		v.fresh++
	}
	if l == nil {
		v.loose = append(v.loose, f)
		return
	}
	l.findings = append(l.findings, f)
	l.counts.Add(f.Severity, 1)
	if f.FixedVersion != "" {
		l.fixable++
	}
}

// order sorts findings for reading: those of one package together, the package
// with the gravest finding first, and within it the gravest first; what is known
// to be exploited stands before others of its severity.
func order(findings []*Finding) {
	worst := make(map[string]int)
	for _, f := range findings {
		worst[f.PackageID] = max(worst[f.PackageID], weight(f))
	}
	slices.SortFunc(findings, func(a, b *Finding) int {
		return cmp.Or(
			worst[b.PackageID]-worst[a.PackageID],
			cmp.Compare(a.PackageName, b.PackageName),
			cmp.Compare(a.PackageVersion, b.PackageVersion),
			cmp.Compare(a.PackageID, b.PackageID),
			weight(b)-weight(a),
			cmp.Compare(a.ID, b.ID),
		)
	})
}

func weight(f *Finding) int {
	w := 2 * f.Severity.Rank()
	if f.KEV {
		w++
	}
	return w
}

// findingPackage is the package of a finding; a bare one with what the finding
// repeats of it where the report does not have it.
func (v *view) findingPackage(f *Finding) Package {
	p := Package{ID: f.PackageID, StateLayer: -1}
	if found := v.packages[f.PackageID]; found != nil {
		p = *found
	}
	p.Name = cmp.Or(f.PackageName, p.Name, f.PackageID)
	p.Version = cmp.Or(f.PackageVersion, p.Version)
	p.Type = cmp.Or(f.PackageType, p.Type)
	return p
}

// unchecked is how many packages were matched against nothing: all of which
// nothing says that they were.
func (v *view) unchecked() int {
	unchecked := 0
	for i := range v.report.Packages {
		if !v.report.Packages[i].ownersAffair() {
			unchecked++
		}
	}
	for i := range v.report.Advisories.Coverage {
		if c := &v.report.Advisories.Coverage[i]; c.checked() {
			unchecked -= v.coveragePackages(c)
		}
	}
	return max(unchecked, 0)
}

// coveragePackages is how many packages an ecosystem has in the image.
func (v *view) coveragePackages(c *Coverage) int {
	if c.Packages > 0 {
		return c.Packages
	}
	var n int
	for i := range v.report.Packages {
		if p := &v.report.Packages[i]; p.Ecosystem == c.Ecosystem && (c.Type == "" || p.Type == c.Type) {
			n++
		}
	}
	return n
}
