package policy

// ApplyBaseline marks what the baseline, an older image or report, has too, and
// makes rules that fail or warn pass over it, unless they include what is old.
//
// A finding is old when the baseline has the same vulnerability, by any of its
// ids, in a package of the same type and name, whatever its version: an update
// that does not fix it makes it no news. Where it was in a lower layer only, or
// set aside by a waiver, VEX or a rule, nobody lived with it as it is, so it is
// new. A package is old by type and name, its licence when that is the same too,
// and a layer by its content.
func ApplyBaseline(in, baseline *Input) {
	in.link()
	baseline.link()
	in.Compared = true
	had := baseline.content()
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
		for _, id := range f.ids() {
			f.Old = f.Old || had[f.pkg.key(f.whereabouts(), id)]
		}
	}
}

// A contentKey is something that an image has: a layer, a package, its licence,
// or a vulnerability in it.
type contentKey struct{ kind, typ, name, id string }

func (p *Package) key(kind, id string) contentKey {
	return contentKey{kind: kind, typ: p.Type, name: p.Name, id: id}
}

func (f *Finding) ids() []string { return append([]string{f.ID}, f.Aliases...) }

// whereabouts tells whether the package runs, or only ships in a lower layer.
func (f *Finding) whereabouts() string {
	if present(f.State) {
		return "finding"
	}
	return "finding in a lower layer"
}

// content is all that an image has and that counts in it.
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
	for i := range in.Findings {
		f := &in.Findings[i]
		if f.Suppressed != nil {
			continue
		}
		for _, id := range f.ids() {
			had[f.pkg.key(f.whereabouts(), id)] = true
			if present(f.State) {
				had[f.pkg.key("finding in a lower layer", id)] = true
			}
		}
	}
	return had
}
