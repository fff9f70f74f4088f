package remedy

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/match"
)

// maxAlternatives is how many other bases a step names.
const maxAlternatives = 3

// A key is what makes findings of two images the same.
type key struct{ id, typ, name string }

func keyOf(f *match.Finding, inv *inventory.Image) key {
	p := &inv.Packages[f.Package]
	return key{f.ID, p.Type, p.Name}
}

// A choice is a candidate held against the base.
type choice struct {
	*Candidate
	fixes  []int
	brings []Ref
	// left are all its findings.
	left  Counts
	major bool
	risk  float64
}

// baseStep plans a newer base, when a candidate is better than the base there is.
// One of the same line of releases is preferred; others become alternatives.
func (p *planner) baseStep() {
	b := p.Image.Base
	if b == nil || p.base == 0 || b.Repository != "" && b.Repository == p.Image.Repository {
		return // an image is not to be built on another version of itself
	}
	var choices []choice
	for i := range p.Candidates {
		if c := p.weigh(&p.Candidates[i]); c.risk > 0 && len(c.fixes) > 0 {
			choices = append(choices, c)
		}
	}
	if len(choices) == 0 {
		return
	}
	slices.SortStableFunc(choices, func(a, b choice) int {
		return cmp.Or(
			compareBools(a.major, b.major),
			cmp.Compare(b.risk, a.risk),
			b.Image.Created.Compare(a.Image.Created),
			cmp.Compare(len(b.Image.Tag), len(a.Image.Tag)),
			cmp.Compare(a.Image.Name(), b.Image.Name()),
		)
	})
	best := choices[0]
	d := draft{Step: Step{
		Kind: StepBase, Layer: -1, Instruction: cmp.Or(b.Reference, string(b.Digest)), Proposed: nameOf(best.Candidate),
		Major: best.major, Brings: best.brings, Fixes: p.refs(best.fixes), Risk: best.risk,
	}, fixes: best.fixes}
	d.Title = fmt.Sprintf("Build on %s instead of %s", d.Proposed, cmp.Or(d.Instruction, "the base there is"))
	if d.Proposed == d.Instruction { // the tag has moved on
		d.Title = fmt.Sprintf("Build on what %s is today: docker build --pull", d.Proposed)
		d.Proposed = ""
		if best.Image.Digest != "" {
			d.Notes = append(d.Notes, "it is "+string(best.Image.Digest)+" now")
		}
	}
	if best.major {
		d.Notes = append(d.Notes, "it is another line of releases: test the image on it")
	}
	for _, c := range choices[1:min(len(choices), maxAlternatives+1)] {
		d.Alternatives = append(d.Alternatives, Alternative{Reference: nameOf(c.Candidate), Major: c.major, Risk: c.risk, After: c.left})
	}
	for _, f := range best.fixes {
		p.open[f] = false
	}
	p.editFrom(&d, best.Candidate)
	p.drafts = append(p.drafts, d)
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func nameOf(c *Candidate) string { return cmp.Or(c.Image.Name(), c.Image.Reference) }

// weigh holds a candidate against the base: which of the findings in the base's
// layers it has not, and which it has that those layers never had. What the
// image's own layers upgraded already, they will upgrade again.
func (p *planner) weigh(c *Candidate) choice {
	out := choice{Candidate: c, major: !p.sameLine(c)}
	has := map[key]bool{}
	for i := range c.Match.Findings {
		f := &c.Match.Findings[i]
		if planned(c.Match, c.Inventory, i) && present(f) {
			has[keyOf(f, c.Inventory)] = true
			out.left.add(f.Severity, 1)
		}
	}
	had := map[key]bool{}
	for i := range p.Match.Findings {
		f := &p.Match.Findings[i]
		if f.Layer >= p.base || f.Package < 0 || f.Package >= len(p.Inventory.Packages) {
			continue
		}
		k := keyOf(f, p.Inventory)
		had[k] = true // also what was set aside: that it is still there is no news
		if p.open[i] && !has[k] {
			out.fixes = append(out.fixes, i)
		}
	}
	own := map[key]bool{} // packages that the own layers bring or remove
	for i := range p.Inventory.Packages {
		ip := &p.Inventory.Packages[i]
		if ip.Layer >= p.base || ip.State != inventory.Present && ip.State != "" {
			own[key{"", ip.Type, ip.Name}] = true
		}
	}
	for i := range c.Match.Findings {
		f := &c.Match.Findings[i]
		if !planned(c.Match, c.Inventory, i) || !present(f) {
			continue
		}
		k := keyOf(f, c.Inventory)
		if !had[k] && !own[key{"", k.typ, k.name}] {
			had[k] = true
			out.brings = append(out.brings, refOf(f, c.Inventory))
		}
	}
	sortRefs(out.brings)
	out.risk = risks(p.refs(out.fixes)) - risks(out.brings)
	return out
}

var number = regexp.MustCompile(`\d+`)

// sameLine tells whether a candidate is of the base's line of releases: the same
// distribution and major version, and a tag that begins with the same number and
// has the same words ("slim").
func (p *planner) sameLine(c *Candidate) bool {
	a, b := p.baseDistro(), c.Inventory.Distro
	if a.ID != b.ID || line(a) != line(b) {
		return false
	}
	from, to := p.Image.Base.Tag, c.Image.Tag
	if from == "" || to == "" {
		return true
	}
	return cmp.Or(number.FindString(from), number.FindString(to)) == cmp.Or(number.FindString(to), number.FindString(from)) && flavour(from) == flavour(to)
}

// baseDistro is the distribution of the base: that of the image, which seldom
// changes it.
func (p *planner) baseDistro() inventory.Distro { return p.Inventory.Distro }

// line is the release line of a distribution: Alpine's and Ubuntu's have two
// numbers, those of others one (osv.dev, ecosystems).
func line(d inventory.Distro) string {
	n := 1
	if d.ID == "alpine" || d.ID == "ubuntu" || d.ID == "wolfi" {
		n = 2
	}
	parts := strings.SplitN(d.VersionID, ".", n+1)
	return strings.Join(parts[:min(n, len(parts))], ".")
}

// flavour are the words of a tag that are no versions and no releases' names.
func flavour(tag string) string {
	var words []string
	for _, w := range strings.FieldsFunc(tag, func(c rune) bool { return c == '-' || c == '_' }) {
		switch strings.TrimRight(w, "0123456789.") {
		case "slim", "alpine", "minimal", "micro", "distroless", "debug", "fpm", "apache", "jre", "jdk", "nonroot", "rootless", "perl", "cli":
			words = append(words, strings.TrimRight(w, "0123456789."))
		}
	}
	slices.Sort(words)
	return strings.Join(words, "-")
}

// editFrom changes the FROM of the Dockerfile.
func (p *planner) editFrom(d *draft, c *Candidate) {
	if p.Dockerfile == nil {
		return
	}
	file := p.Dockerfile
	from := &file.Stages[file.chain(p.stage)[0]].Instructions[0]
	d.File, d.Line = file.Path, from.Line
	written := file.Stages[file.chain(p.stage)[0]].from()
	globals := file.globalVariables()
	now := expand(written, globals)
	name, _, digest := image.SplitReference(now)
	if c.Image.Repository == "" || c.Image.Tag == "" || shortName(name) != shortName(p.Image.Base.Repository) {
		d.Notes = append(d.Notes, fmt.Sprintf("%s line %d names %s, which is not the base that was recognised: it stays as it is", file.Path, from.Line, now))
		return
	}
	want := name + ":" + c.Image.Tag
	if shortName(name) != shortName(c.Image.Repository) {
		want = c.Image.Name()
	}
	if digest != "" && c.Image.Digest != "" {
		want += "@" + string(c.Image.Digest)
	}
	if want == now {
		d.Notes = append(d.Notes, fmt.Sprintf("%s line %d names it already", file.Path, from.Line))
		return
	}
	e := from.setReference(written, want, globals)
	if d.edits = append(d.edits, e); e.start < from.start || e.end > from.end {
		d.Notes = append(d.Notes, lineNote(file.text, e))
	}
}

// shortName is a repository without Docker Hub's default parts.
func shortName(s string) string {
	for _, prefix := range []string{"index.docker.io/", "docker.io/", "library/"} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}
