package policy

import (
	"slices"
	"strings"
)

// ApplyBaseline marks what the baseline, an older image or report, has too, and
// makes rules that fail or warn pass over it, unless they include what is old.
//
// A finding is old when the baseline has the same vulnerability in a package of
// the same type and name, whatever its version: an update that does not fix it
// makes it no news. Two with CVE numbers are the same by these alone, others by any
// id: an erratum is an alias of each CVE that it is about. Where it was in a lower
// layer only, or set aside by a waiver, VEX or a rule, nobody lived with it as it
// is, so it is new unless it is that still. A package is old by type and name, its
// licence when that is the same too, and a layer by its content.
func ApplyBaseline(in, baseline *Input) {
	in.link()
	baseline.link()
	in.Compared = true
	had, lived := baseline.content(), baseline.findingsByID()
	for i := range in.Layers {
		l := &in.Layers[i]
		l.Old = l.DiffID != "" && had[contentKey{kind: "layer", id: l.DiffID}]
	}
	for i := range in.Packages {
		p := &in.Packages[i]
		p.Old = had[p.key("package", "")]
		if l := p.License; l != nil {
			l.Old = had[p.key("license", l.Expression)]
		}
	}
	for i := range in.Findings {
		f := &in.Findings[i]
		f.Old = slices.ContainsFunc(f.ids(), func(id string) bool {
			return slices.ContainsFunc(lived[f.pkg.key("finding", id)], f.livedWith)
		})
	}
}

// A contentKey is something that an image has: a layer, a package, its licence,
// or a vulnerability in it.
type contentKey struct{ kind, typ, name, id string }

func (p *Package) key(kind, id string) contentKey {
	return contentKey{kind: kind, typ: p.Type, name: p.Name, id: id}
}

func (f *Finding) ids() []string { return append([]string{f.ID}, f.Aliases...) }

// livedWith tells whether the image had the vulnerability before, and no better
// hidden than now.
func (f *Finding) livedWith(before *Finding) bool {
	return sameFlaw(f.ids(), before.ids()) &&
		(before.Suppressed == nil || f.Suppressed != nil) &&
		(present(before.State) || !present(f.State))
}

// sameFlaw tells whether two that share an id are the same vulnerability: those
// with CVE numbers only if they share one of these, since an erratum is an alias of
// every CVE that it is about.
func sameFlaw(a, b []string) bool {
	return !slices.ContainsFunc(a, isCVE) || !slices.ContainsFunc(b, isCVE) ||
		slices.ContainsFunc(a, func(id string) bool { return isCVE(id) && slices.Contains(b, id) })
}

func isCVE(id string) bool { return strings.HasPrefix(id, "CVE-") }

// findingsByID are the findings of each package by each of their ids.
func (in *Input) findingsByID() map[contentKey][]*Finding {
	found := map[contentKey][]*Finding{}
	for i := range in.Findings {
		f := &in.Findings[i]
		for _, id := range f.ids() {
			k := f.pkg.key("finding", id)
			found[k] = append(found[k], f)
		}
	}
	return found
}

// content is which layers, packages and licences an image has, those that count.
func (in *Input) content() map[contentKey]bool {
	had := map[contentKey]bool{}
	for i := range in.Layers {
		had[contentKey{kind: "layer", id: in.Layers[i].DiffID}] = true
	}
	for i := range in.Packages {
		p := &in.Packages[i]
		if !present(p.State) {
			continue
		}
		had[p.key("package", "")] = true
		if l := p.License; l != nil && l.Suppressed == nil && p.Suppressed == nil {
			had[p.key("license", l.Expression)] = true
		}
	}
	return had
}
