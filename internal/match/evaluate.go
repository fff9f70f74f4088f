package match

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"strata/internal/advisory"
	"strata/internal/inventory"
)

// A matching is the work on one image.
type matching struct {
	img     *inventory.Image
	queries []query
	// opinions of advisories on packages, by package.
	opinions map[int][]opinion
	// facts of the advisories in opinions, by id.
	facts map[string]*advisory.Facts
	// unknown are packages with a version that can't be compared with what
	// advisories say of them, with one reason each.
	unknown map[int]error
	// upgrading asks for the facts of all advisories on packages that are affected.
	upgrading bool
}

// An opinion is what one advisory says of one package.
type opinion struct {
	entry   *advisory.Entry
	version advisory.Version
	verdict advisory.Verdict
}

// evaluate asks the database and holds every version against the ranges.
func (m *matching) evaluate(ctx context.Context, db Advisories) error {
	entries, err := db.Affecting(ctx, keysOf(m.queries))
	if err != nil {
		return err
	}
	byKey := map[advisory.Key][]*advisory.Entry{}
	for i := range entries {
		byKey[entries[i].Key] = append(byKey[entries[i].Key], &entries[i])
	}
	m.opinions, m.unknown = map[int][]opinion{}, map[int]error{}
	for _, q := range m.queries {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.ask(q, byKey[q.key])
	}
	return nil
}

func (m *matching) ask(q query, entries []*advisory.Entry) {
	if len(entries) == 0 {
		return
	}
	v, err := advisory.InstalledVersion(q.key.Ecosystem, q.key.Name, q.version)
	if err != nil {
		m.unknown[q.pkg] = err
		return
	}
	for _, e := range entries {
		if otherStream(v.String(), &e.Affected) {
			continue
		}
		verdict := e.Affected.Evaluate(v)
		if verdict.Err != nil {
			m.unknown[q.pkg] = fmt.Errorf("%s: %w", e.Advisory, verdict.Err)
		}
		m.opinions[q.pkg] = append(m.opinions[q.pkg], opinion{entry: e, version: v, verdict: verdict})
	}
}

// otherStream tells that a fix is for a build of a module (".module_el8") and
// the package is not of one, or the reverse: the two streams have numbers of
// their own and are not compared.
func otherStream(version string, a *advisory.Affected) bool {
	switch advisory.Base(a.Ecosystem) {
	case "AlmaLinux", "Rocky Linux", "Red Hat":
	default:
		return false
	}
	for _, r := range a.Ranges {
		for _, e := range r.Events {
			if e.Kind == advisory.Fixed {
				return strings.Contains(e.Version, ".module") != strings.Contains(version, ".module")
			}
		}
	}
	return false
}

// join fetches the facts of the advisories that matter: those that call a
// package affected, and the others on the same package where one of the former
// may be refuted.
func (m *matching) join(ctx context.Context, db Advisories) error {
	var ids []string
	for _, ops := range m.opinions {
		open := slices.ContainsFunc(ops, func(o opinion) bool { return o.verdict.Open })
		all := m.upgrading && slices.ContainsFunc(ops, func(o opinion) bool { return o.verdict.Affected })
		for _, o := range ops {
			if all || o.verdict.Affected || open && o.verdict.Past {
				ids = append(ids, o.entry.Advisory)
			}
		}
	}
	slices.Sort(ids)
	facts, err := db.Facts(ctx, slices.Compact(ids))
	if err != nil {
		return err
	}
	m.facts = make(map[string]*advisory.Facts, len(facts))
	for i := range facts {
		m.facts[facts[i].ID] = &facts[i]
	}
	return nil
}

// findings makes one finding of all that is said of one vulnerability in one
// package.
func (m *matching) findings() []Finding {
	var out []Finding
	for pkg, ops := range m.opinions {
		for id, about := range m.byVulnerability(ops) {
			if agreed := agree(about); len(agreed) > 0 {
				out = append(out, m.finding(pkg, id, agreed))
			}
		}
	}
	out = m.once(out)
	order := make([]*Finding, len(out)) // findings are large to move
	for i := range out {
		order[i] = &out[i]
	}
	slices.SortFunc(order, func(a, b *Finding) int {
		return cmp.Or(
			cmp.Compare(b.Severity.Rank(), a.Severity.Rank()),
			cmp.Compare(b.CVSS.Score, a.CVSS.Score),
			advisory.CompareIDs(a.ID, b.ID),
			cmp.Compare(a.Package, b.Package),
		)
	})
	sorted := slices.Clone(out)
	for i, f := range order {
		sorted[i] = *f
	}
	return sorted
}

// byVulnerability sorts opinions by what they are about.
func (m *matching) byVulnerability(ops []opinion) map[string][]opinion {
	by := map[string][]opinion{}
	for _, o := range ops {
		f := m.facts[o.entry.Advisory]
		if f == nil {
			continue
		}
		for _, v := range f.Vulnerabilities {
			if !advisory.BugFix(v.ID) {
				by[v.ID] = append(by[v.ID], o)
			}
		}
	}
	return by
}

// once takes out the findings of a program known by its content that are also
// those of a package which the same file tells of: a server in Go or Java is found
// as its module, too.
func (m *matching) once(findings []Finding) []Finding {
	type at struct {
		path string
		id   string
	}
	known := map[at]bool{}
	for _, f := range findings {
		if p := &m.img.Packages[f.Package]; p.Type != generic {
			for _, l := range p.Locations {
				known[at{l.Path, f.ID}] = true
			}
		}
	}
	return slices.DeleteFunc(findings, func(f Finding) bool {
		p := &m.img.Packages[f.Package]
		return p.Type == generic && slices.ContainsFunc(p.Locations, func(l inventory.Location) bool { return known[at{l.Path, f.ID}] })
	})
}

// generic is the type of packages that are known by their content.
const generic = "generic"

// agree settles what several advisories say of one vulnerability in one package:
// it gives those that call it affected and stand. See
// docs/decisions/0004-alias-groups.md: an advisory whose range has no end only
// says that it knew of no fix; another that names an end at or before the
// installed version refutes it. Any other disagreement counts as affected.
func agree(about []opinion) []opinion {
	var open, closed []opinion
	refuted := false
	for _, o := range about {
		switch {
		case o.verdict.Affected && o.verdict.Open:
			open = append(open, o)
		case o.verdict.Affected:
			closed = append(closed, o)
		case o.verdict.Past:
			refuted = true
		}
	}
	if refuted {
		open = nil
	}
	return append(closed, open...)
}

// finding merges the facts of the advisories on one vulnerability.
func (m *matching) finding(pkg int, id string, about []opinion) Finding {
	p := &m.img.Packages[pkg]
	f := Finding{
		ID: id, Package: pkg, PackageID: p.ID, Status: Affected,
		Layer: p.Layer, State: p.State, StateLayer: p.StateLayer,
		Suppressed: suppression(p),
	}
	slices.SortFunc(about, func(a, b opinion) int { return advisory.CompareIDs(a.entry.Advisory, b.entry.Advisory) })
	var rated []advisory.Rated
	var vulnerability advisory.Vulnerability
	for _, o := range about {
		facts := m.facts[o.entry.Advisory]
		f.merge(facts)
		rating := facts.Rating
		if o.entry.Affected.Rating != (advisory.Rating{}) {
			rating = o.entry.Affected.Rating
		}
		rated = append(rated, advisory.Rated{ID: facts.ID, Rating: rating, Shared: len(facts.Vulnerabilities) > 1})
		for _, v := range facts.Vulnerabilities {
			if v.ID == id {
				vulnerability = v
			}
		}
	}
	f.describe(vulnerability, rated)
	if f.FixedVersions = fixesOf(p, about); len(f.FixedVersions) > 0 {
		f.FixedVersion = f.FixedVersions[0]
	}
	return f
}

// merge adds what one advisory tells. They come in the order of preference.
func (f *Finding) merge(facts *advisory.Facts) {
	if !slices.Contains(f.Advisories, facts.ID) {
		f.Advisories = append(f.Advisories, facts.ID)
	}
	if f.Summary == "" {
		f.Summary = facts.Summary
	}
	if f.Published.IsZero() || !facts.Published.IsZero() && facts.Published.Before(f.Published) {
		f.Published = facts.Published
	}
	if facts.Modified.After(f.Modified) {
		f.Modified = facts.Modified
	}
	for _, url := range facts.References {
		if len(f.References) < maxReferences && !slices.Contains(f.References, url) {
			f.References = append(f.References, url)
		}
	}
}

// maxReferences is how many links a finding has at most.
const maxReferences = 5

// describe adds what is known of the vulnerability as such.
func (f *Finding) describe(v advisory.Vulnerability, rated []advisory.Rated) {
	f.Aliases = slices.Clone(v.Aliases)
	for _, id := range f.Advisories {
		if id != f.ID && !slices.Contains(f.Aliases, id) {
			f.Aliases = append(f.Aliases, id)
		}
	}
	slices.SortFunc(f.Aliases, advisory.CompareIDs)
	f.KEV, f.Ransomware, f.EPSS = v.KEV, v.Ransomware, v.EPSS
	rating := ratingOf(v, rated)
	f.Severity, f.CVSS = rating.Severity, rating.CVSS
	if f.Severity == "" {
		f.Severity = advisory.Unknown
	}
}

// ratingOf is the rating by the advisories that made the finding; where none of
// them rates just this vulnerability, the best that any record of it has.
func ratingOf(v advisory.Vulnerability, rated []advisory.Rated) advisory.Rating {
	own := slices.DeleteFunc(slices.Clone(rated), func(r advisory.Rated) bool { return r.Shared })
	if best := advisory.BestRating(own); best != (advisory.Rating{}) {
		return best
	}
	if v.Rating != (advisory.Rating{}) {
		return v.Rating
	}
	return advisory.BestRating(rated)
}

// fixesOf are the smallest versions, one of each branch, that none of the
// advisories calls affected. What has no fix at all doesn't stand in the way of
// those that have one: by agree, it will be refuted then.
func fixesOf(p *inventory.ImagePackage, about []opinion) []string {
	byVersion := map[string][]advisory.Affected{}
	versions := map[string]advisory.Version{}
	for _, o := range about {
		key := o.version.String()
		versions[key] = o.version
		if !o.verdict.Open {
			byVersion[key] = append(byVersion[key], o.entry.Affected)
		}
	}
	var best []string
	for key, entries := range byVersion {
		if fixes := advisory.Fixes(versions[key], entries); len(fixes) > 0 && (best == nil || fixes[0] < best[0]) {
			best = fixes
		}
	}
	for i := range best {
		best[i] = asInstalled(p, best[i])
	}
	return best
}

// asInstalled writes a version of advisories as the package writes its own.
func asInstalled(p *inventory.ImagePackage, version string) string {
	if p.Ecosystem == "Go" && strings.HasPrefix(p.Version, "v") {
		return "v" + version
	}
	return version
}

// suppression sets aside packages of the distribution that were found by their
// files, and packages that do not run in a container.
func suppression(p *inventory.ImagePackage) *Suppression {
	if p.DistroOwned() {
		return &Suppression{By: DistroOwned, Reason: "its files belong to the distribution's package " + p.Owner + ", which the distribution patches"}
	}
	if reason := notRun(&p.Package); reason != "" {
		return &Suppression{By: NotRun, Reason: reason}
	}
	return nil
}
