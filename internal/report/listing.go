package report

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"strata/internal/image"
	"strata/internal/policy"
)

// A listing is a report as the formats for programs and pipelines see it: in
// normal form, its findings in one order, each with what the verdict says of it.
type listing struct {
	*view
	findings []*Finding
	// objections are the rules that object to a finding, by id and package.
	objections map[policy.FindingKey][]*policy.Violation
	// instructions are those of layers, on one line and not too long.
	instructions map[*Layer]string
	// looseViolations are those that name no finding: of licences, say.
	looseViolations []*policy.Violation
}

func newListing(r *Report) *listing {
	n := normal(*r)
	l := &listing{view: newView(&n), objections: map[policy.FindingKey][]*policy.Violation{}, instructions: map[*Layer]string{}}
	l.readViolations()
	for i := range n.Findings {
		l.findings = append(l.findings, &n.Findings[i])
	}
	slices.SortStableFunc(l.findings, func(a, b *Finding) int {
		return cmp.Or(
			count(l.fails(b))-count(l.fails(a)),
			count(b.Active())-count(a.Active()),
			weight(b)-weight(a),
			cmp.Compare(a.PackageName, b.PackageName),
			cmp.Compare(a.PackageVersion, b.PackageVersion),
			cmp.Compare(a.ID, b.ID),
			cmp.Compare(a.PackageID, b.PackageID),
		)
	})
	return l
}

// readViolations notes what each finding violates.
func (l *listing) readViolations() {
	open := map[policy.FindingKey]bool{} // to objections
	for i := range l.report.Findings {
		if f := &l.report.Findings[i]; f.Suppressed == nil {
			open[keyOf(f)] = true
		}
	}
	for i := range l.report.Verdict.Violations {
		v := &l.report.Verdict.Violations[i]
		if len(v.FindingIDs) == 0 {
			l.looseViolations = append(l.looseViolations, v)
			continue
		}
		for key := range objectionsOf(v, l.report.Findings) {
			if open[key] {
				l.objections[key] = append(l.objections[key], v)
			}
		}
	}
}

func keyOf(f *Finding) policy.FindingKey { return policy.FindingKey{ID: f.ID, PackageID: f.PackageID} }

// violations are the rules that object to the finding.
func (l *listing) violations(f *Finding) []*policy.Violation {
	if f.Suppressed != nil {
		return nil
	}
	return l.objections[keyOf(f)]
}

// fails tells whether the image fails because of the finding.
func (l *listing) fails(f *Finding) bool { return slices.ContainsFunc(l.violations(f), failing) }

// failing tells whether a violation fails the image: one whose decision nobody
// knows does.
func failing(v *policy.Violation) bool { return v.Decision != policy.Warn && v.Decision != policy.Pass }

// ruleName is a rule with its policy, unless that is only the command line: what
// Verdict.Rules has of it.
func ruleName(v *policy.Violation) string {
	if v.Policy == "" || v.Policy == policy.CommandLine {
		return v.Rule
	}
	return v.Policy + ": " + v.Rule
}

// objectors are the names of the rules that object to the finding.
func (l *listing) objectors(f *Finding) []string {
	var names []string
	for _, v := range l.violations(f) {
		name := ruleName(v)
		if !failing(v) {
			name += " (warning)"
		}
		names = append(names, name)
	}
	return names
}

// subjects are what a violation that names no finding is about, each as a finding
// of its rule: a package, a layer, or else the image.
func (l *listing) subjects(v *policy.Violation) []*Finding {
	var out []*Finding
	for _, id := range v.PackageIDs {
		p := l.packages[id]
		if p == nil {
			continue
		}
		about := strings.TrimSpace(fmt.Sprintf("%s %s %s", p.Type, p.Name, p.Version))
		if p.License != nil && p.License.Expression != "" {
			about += " (" + p.License.Expression + ")"
		}
		out = append(out, &Finding{
			ID: ruleName(v), PackageID: id, PackageName: p.Name, PackageVersion: p.Version, PackageType: p.Type, Layer: p.Layer, State: p.State,
			Summary: about + ": " + v.Message,
		})
	}
	if len(out) > 0 {
		return out
	}
	for _, layer := range v.Layers {
		out = append(out, &Finding{ID: ruleName(v), Layer: layer, Summary: fmt.Sprintf("layer %d: %s", layer, v.Message)})
	}
	if len(out) > 0 {
		return out
	}
	return []*Finding{{ID: ruleName(v), Layer: -1, Summary: cmp.Or(v.Message, ruleName(v))}}
}

// countsFor tells whether the finding counts: it is active, or a rule objects to it
// all the same.
func (l *listing) countsFor(f *Finding) bool { return f.Active() || len(l.violations(f)) > 0 }

// aside says why a finding does not count; it is empty for one that does.
func (l *listing) aside(f *Finding) string {
	switch {
	case f.Suppressed != nil && f.Suppressed.Reason == "":
		return string(f.Suppressed.By)
	case f.Suppressed != nil:
		return string(f.Suppressed.By) + ": " + f.Suppressed.Reason
	case !l.countsFor(f):
		return l.whereabouts(f)
	}
	return ""
}

// layerOf is the layer that brought the finding's package; nil where the report
// does not have it, as of a bill of materials.
func (l *listing) layerOf(f *Finding) *Layer {
	if place := l.place[f.Layer]; place != nil {
		return place.Layer
	}
	return nil
}

// A quote marks a name within a sentence, as the format does: mdCode, or bare.
type quote func(string) string

func bare(s string) string { return s }

// layerPhrase names a layer and its instruction: "layer 4 (RUN npm ci)".
func (l *listing) layerPhrase(layer *Layer, q quote) string {
	if instruction := cutEnd(l.instruction(layer), maxInstruction); instruction != "" {
		return fmt.Sprintf("layer %d (%s)", layer.Index, q(instruction))
	}
	return fmt.Sprintf("layer %d", layer.Index)
}

// maxInstruction is how much of an instruction is quoted in a sentence.
const maxInstruction = 120

// instruction is that of a layer, on one line and Safe. It is found once, as there
// are many findings in a layer and an image may have instructions without end.
func (l *listing) instruction(layer *Layer) string {
	text, known := l.instructions[layer]
	if !known {
		text = cutBytes(Safe(cutBytes(Instruction(cutBytes(layer.CreatedBy, 1<<16)), sarifMaxText)), sarifMaxText)
		l.instructions[layer] = text
	}
	return text
}

// title is the finding in a line: its id and what the advisory says.
func title(f *Finding) string {
	if f.Summary == "" {
		return f.ID
	}
	return f.ID + ": " + f.Summary
}

// what says in a sentence what is found, and where.
func (l *listing) what(f *Finding, q quote) string {
	p := l.findingPackage(f)
	name := q(strings.TrimSpace(p.Name + " " + p.Version))
	s := fmt.Sprintf("%s %s has %s", q(p.Type), name, q(f.ID))
	if f.Kind == KindEndOfLife {
		s = name + " is at the end of its life: nobody writes security updates for it"
	}
	if layer := l.layerOf(f); layer != nil && f.PackageID != "" {
		s += ", in " + l.layerPhrase(layer, q)
	}
	return s
}

// remedy says what to do about the finding.
func remedy(f *Finding, q quote) string {
	switch {
	case f.Kind == KindEndOfLife:
		return "Move to a release that gets security updates"
	case f.FixedVersion == "":
		return "There is no version that fixes it yet"
	}
	text := fmt.Sprintf("Update %s from %s to %s", q(f.PackageName), q(f.PackageVersion), q(f.FixedVersion))
	for _, v := range f.FixedVersions[:min(len(f.FixedVersions), maxBranches)] {
		if v != f.FixedVersion {
			text += " or " + q(v)
		}
	}
	return text
}

// tell says in sentences, without their full stops, what is found, what the
// advisory says of it and what to do, the last unless that is told elsewhere.
func (l *listing) tell(f *Finding, q, prose quote, withRemedy bool) []string {
	var out []string
	if f.Kind == KindEndOfLife && f.Summary != "" {
		out = append(out, prose(f.Summary)) // which says all
	} else {
		out = append(out, l.what(f, q))
		if f.Summary != "" {
			out = append(out, strings.TrimSuffix(prose(f.Summary), "."))
		}
		if withRemedy {
			out = append(out, remedy(f, q))
		}
	}
	if f.KEV {
		out = append(out, "It is known to be exploited (CISA KEV)")
	}
	if rules := l.objectors(f); len(rules) > 0 {
		out = append(out, "Violates "+q(strings.Join(rules, ", ")))
	}
	return out
}

// maxBranches is how many branches of releases a remedy names the fix of.
const maxBranches = 5

// notChecked says, for each ecosystem without advisories, that its packages were
// not checked, unless the problems say so already.
func (l *listing) notChecked() []string {
	if slices.ContainsFunc(l.report.Problems, aboutAdvisories) {
		return nil
	}
	if !l.report.LookedFor(ScanVulnerabilities) {
		return []string{"vulnerabilities were not looked for"}
	}
	var out []string
	for i := range l.report.Advisories.Coverage {
		c := &l.report.Advisories.Coverage[i]
		if packages := l.coveragePackages(c); !c.checked() && packages > 0 {
			out = append(out, fmt.Sprintf("no advisory data for %s: %s not checked", coverageName(c), plural(packages, "package")))
		}
	}
	return out
}

// repository is the reference without tag, digest and scheme, which changes less
// from one build to the next.
func repository(reference string) string {
	for _, path := range []string{"sbom:", "dir:", "/", "./", "../"} {
		if strings.HasPrefix(reference, path) {
			return reference // what follows the : of a layout is the image's name
		}
	}
	name, _, _ := image.SplitReference(reference)
	return cmp.Or(name, reference, "image")
}

// plainID is what the ids of advisories look like.
var plainID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._:+-]{0,99}$`)

// vulnerabilityURL is where to read on about a vulnerability; empty for an id
// that is none of a database's.
func vulnerabilityURL(id string) string {
	if !plainID.MatchString(id) || strings.HasPrefix(id, "EOL-") {
		return ""
	}
	return vulnerabilitySource(id).URL
}

// maxLinks is how many references of a finding are passed on.
const maxLinks = 10

// links are the addresses to read on about the finding, each once and fit to be
// followed: of the web, and nothing in them that ends them early.
func links(f *Finding) []string {
	var out []string
	for _, ref := range append([]string{vulnerabilityURL(f.ID)}, f.References...) {
		if link := webLink(ref); link != "" && !slices.Contains(out, link) && len(out) < maxLinks {
			out = append(out, link)
		}
	}
	return out
}

// webLink is the address in a form that needs no escape; empty when it is none of
// the web.
func webLink(s string) string {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || len(s) > 2000 {
		return ""
	}
	link := u.String()
	for _, c := range []byte(link) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("<>\"'`()[]{}|\\^*", c) >= 0 {
			return ""
		}
	}
	return link
}

// maxPaths is how many files of a package are named.
const maxPaths = 100

// pathsOf are the files that tell of the finding's package, the first of them where
// there are very many.
func (l *listing) pathsOf(f *Finding) []string {
	var paths []string
	if p := l.packages[f.PackageID]; p != nil {
		for _, loc := range p.Locations[:min(len(p.Locations), maxPaths)] {
			if path := strings.TrimLeft(loc.Path, "/"); path != "" && !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// path is the first of the files that tell of the finding's package; where there
// is none, as of a bill of materials, the image's name stands for it.
func (l *listing) path(f *Finding) string {
	if paths := l.pathsOf(f); len(paths) > 0 {
		return paths[0]
	}
	return l.imagePath()
}

// imagePath is the image's name as a path.
func (l *listing) imagePath() string {
	return cmp.Or(strings.Trim(repository(l.report.Image.Reference), "/"), "image")
}

// fingerprint tells a finding from others, and knows it again in the next build:
// it depends on what is found in which package at which place, not on layers nor
// on versions, not even where they are a part of the path. Changing it opens every
// alert of every user anew (docs/decisions/0016-findings-known-again.md).
func (l *listing) fingerprint(f *Finding) string {
	place := l.path(f)
	if f.PackageVersion != "" {
		place = strings.ReplaceAll(place, f.PackageVersion, "")
	}
	return digestOf(f.ID, f.PackageType, f.PackageName, place)
}

// digestOf is a digest of the words, in hexadecimal.
func digestOf(words ...string) string {
	h := sha256.New()
	for _, w := range words {
		fmt.Fprintf(h, "%d:%s,", len(w), w)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}
