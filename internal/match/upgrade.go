package match

import (
	"cmp"
	"slices"

	"strata/internal/advisory"
)

// An Upgrade is a newer version of a package and what it does to the findings.
type Upgrade struct {
	// Package is the index in the image's Packages.
	Package int
	// Version as the package writes it; for the package of a distribution it is
	// one of the source package that its advisories speak of.
	Version string
	// SameBranch tells that it is of the installed version's branch of releases
	// (advisory.Version.Branch).
	SameBranch bool
	// Fixes are the ids of the package's vulnerabilities that it doesn't have any
	// more, Leaves those that it still has, Brings those that it alone has.
	// Sorted.
	Fixes, Leaves, Brings []string
}

const (
	// maxUpward is how many versions are tried from the least one that can fix all.
	maxUpward = 50
	// maxInBranch is how many are tried within the installed branch.
	maxInBranch = 100
)

// upgrades finds for each package with findings the least version that is rid of
// all that have a fix and brings nothing new; and where that leaves the
// installed branch, the best within it as well.
func (m *matching) upgrades(findings []Finding) []Upgrade {
	has := map[int][]string{}
	for _, f := range findings {
		has[f.Package] = append(has[f.Package], f.ID)
	}
	var out []Upgrade
	for pkg, ids := range has {
		slices.Sort(ids)
		out = append(out, m.upgradesOf(pkg, ids)...)
	}
	slices.SortStableFunc(out, func(a, b Upgrade) int { return cmp.Compare(a.Package, b.Package) })
	return out
}

// upgradesOf are those of a package with the findings ids; the one within the
// branch comes first.
func (m *matching) upgradesOf(pkg int, ids []string) []Upgrade {
	ops := m.opinions[pkg]
	if len(ops) == 0 || slices.ContainsFunc(ops, func(o opinion) bool { return o.version.String() != ops[0].version.String() }) {
		return nil // by two names of two versions: no one version answers for both
	}
	v := ops[0].version
	var all []advisory.Affected
	var least advisory.Version
	for _, o := range ops {
		all = append(all, o.entry.Affected)
		if !o.verdict.Affected || o.verdict.Open {
			continue
		}
		own := []advisory.Affected{o.entry.Affected}
		for _, f := range advisory.FixedAfter(v, own) {
			if !o.entry.Affected.Evaluate(f).Affected {
				if c, err := f.Compare(least); least.String() == "" || err == nil && c > 0 {
					least = f
				}
				break
			}
		}
	}
	if least.String() == "" {
		return nil
	}
	w := weighing{matching: m, pkg: pkg, ids: ids, by: m.byVulnerability(ops), installed: v}
	candidates := advisory.FixedAfter(v, all)
	from := slices.IndexFunc(candidates, func(c advisory.Version) bool { return c.String() == least.String() })
	best := w.best(candidates[from:min(len(candidates), from+maxUpward)])
	if best == nil {
		return nil
	}
	if best.SameBranch {
		return []Upgrade{*best}
	}
	near := slices.DeleteFunc(slices.Clone(candidates), func(c advisory.Version) bool { return c.Branch() != v.Branch() })
	if within := w.best(near[max(0, len(near)-maxInBranch):]); within != nil {
		return []Upgrade{*within, *best}
	}
	return []Upgrade{*best}
}

// A weighing compares versions of one package.
type weighing struct {
	*matching
	pkg       int
	ids       []string
	by        map[string][]opinion
	installed advisory.Version
}

// best is the first of the versions, in order, with the fewest vulnerabilities;
// nil when none fixes any.
func (w *weighing) best(versions []advisory.Version) *Upgrade {
	var best *Upgrade
	for _, v := range versions {
		u := w.at(v)
		if len(u.Fixes) == 0 || best != nil && len(u.Leaves)+len(u.Brings) >= len(best.Leaves)+len(best.Brings) {
			continue
		}
		best = &u
		if len(u.Leaves)+len(u.Brings) == 0 {
			break
		}
	}
	return best
}

// at is what is so in version v.
func (w *weighing) at(v advisory.Version) Upgrade {
	u := Upgrade{Package: w.pkg, Version: asInstalled(&w.img.Packages[w.pkg], v.String()), SameBranch: v.Branch() == w.installed.Branch()}
	for id, about := range w.by {
		there := make([]opinion, len(about))
		for i, o := range about {
			there[i] = opinion{entry: o.entry, version: v, verdict: o.entry.Affected.Evaluate(v)}
		}
		affected := len(agree(there)) > 0
		_, had := slices.BinarySearch(w.ids, id)
		switch {
		case had && affected:
			u.Leaves = append(u.Leaves, id)
		case had:
			u.Fixes = append(u.Fixes, id)
		case affected:
			u.Brings = append(u.Brings, id)
		}
	}
	for _, list := range [][]string{u.Fixes, u.Leaves, u.Brings} {
		slices.SortFunc(list, advisory.CompareIDs)
	}
	return u
}
