package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"strata/internal/policy"
)

// plenty is a width, in columns of a terminal, at which nothing that matters is cut.
const plenty = 300

// newHTMLImage is what the page shows of the n-th report.
func newHTMLImage(r *Report, n int) htmlImage {
	kept, endOfLife := withoutEndOfLife(r)
	h := &htmlWriter{listing: newListing(kept), id: fmt.Sprintf("i%d", n)}
	h.table = &table{TableOptions: TableOptions{Width: plenty}, view: h.view}
	out := htmlImage{
		ID: h.id, Reference: cmp.Or(Safe(r.Image.Reference), "(no name)"), Digest: Safe(r.Image.Digest),
		Facts: h.facts(), Base: h.baseLine(), Labels: h.labels(), Verdict: h.verdict(),
		Counts: severityCounts(h.counts), Total: h.counts.Total(), Fixable: h.fixable, Known: h.known,
		Warnings: h.warnings(), EndOfLife: endOfLife, Layers: h.slabs(), Groups: h.groups(),
		Removed: h.apart("removed", h.removed, h.whereabouts), RemovedCount: len(h.removed), RemovedTally: plural(len(h.removed), "finding"),
		Aside: h.apart("aside", h.suppressed, h.aside), AsideCount: len(h.suppressed), AsideTally: plural(len(h.suppressed), "finding"),
		Packages: h.packageRows(), Licenses: h.licenseRows(), Coverage: h.coverageRows(), Problems: h.problems(),
		Advisories: h.advisoryLine(), PackagesListed: h.listed,
	}
	out.PackageCount = plural(h.present, "package")
	if gone := h.listed - h.present; gone > 0 {
		out.PackageCount += fmt.Sprintf(", %d more in lower layers", gone)
	}
	if h.counts.Total() == 0 {
		out.Nothing = h.nothing()
	}
	if f := h.report.Filtered; f != nil && f.Hidden > 0 {
		out.Hidden = plural(f.Hidden, "more finding") + " hidden by the filter of the command line"
	}
	return out
}

// A htmlWriter makes the parts of a page from a report.
type htmlWriter struct {
	*listing
	table *table
	id    string
}

// withoutEndOfLife takes what is past its end of life out of the findings: it is a
// warning, and no vulnerability.
func withoutEndOfLife(r *Report) (kept *Report, warnings []string) {
	rest := *r
	rest.Findings = nil
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Kind != KindEndOfLife {
			rest.Findings = append(rest.Findings, *f)
			continue
		}
		if !f.Active() {
			continue
		}
		text := strings.TrimSpace(Safe(f.PackageName) + " " + Safe(f.PackageVersion))
		if f.Summary != "" {
			text += ": " + Safe(f.Summary)
		}
		warnings = append(warnings, text)
	}
	return &rest, warnings
}

func (h *htmlWriter) facts() []string {
	img := &h.report.Image
	facts := []string{h.table.distro()}
	for _, s := range []string{img.Platform, day(img.Created)} {
		if s = Safe(s); s != "" {
			facts = append(facts, s)
		}
	}
	if n := len(h.layers); n > 0 {
		facts = append(facts, plural(n, "layer"))
	}
	if size := sizeOf(h.layers); size > 0 {
		facts = append(facts, Size(size))
	}
	return append(facts, plural(h.present, "package"))
}

func (h *htmlWriter) baseLine() string { return h.table.baseLine() }

func (h *htmlWriter) labels() []htmlPair {
	var out []htmlPair
	for _, name := range slices.Sorted(maps.Keys(h.report.Image.Labels)) {
		out = append(out, htmlPair{Safe(name), cutEnd(Safe(h.report.Image.Labels[name]), maxMessage)})
	}
	return out
}

// verdict is what the table says of it.
func (h *htmlWriter) verdict() htmlVerdict {
	v := &h.report.Verdict
	t := &table{TableOptions: TableOptions{Width: cardWidth}, view: h.view}
	switch {
	case v.Decision != policy.Pass && v.Decision != policy.Warn && v.Decision != policy.Fail && v.Decision != "":
		return newHTMLVerdict("Fail", "fail", fmt.Sprintf("unknown decision %q", Safe(string(v.Decision))))
	case v.Decision == policy.Fail:
		return newHTMLVerdict("Fail", "fail", append(t.reasons(v), t.advice()...)...)
	case h.report.Incomplete():
		return newHTMLVerdict("Incomplete", "incomplete", t.incompleteReasons(v, "")...)
	case v.Decision == policy.Warn:
		return newHTMLVerdict("Warn", "warn", t.reasons(v)...)
	case len(v.Rules) == 0:
		return newHTMLVerdict("No verdict", "none", "no policy was asked for one")
	case h.unchecked() > 0:
		return newHTMLVerdict("Pass", "warn", ruleNames(v)+": no objection to what was checked; "+plural(h.unchecked(), "package")+" not checked")
	}
	return newHTMLVerdict("Pass", "pass", ruleNames(v)+": no objection")
}

// cardWidth is how many columns of text a reason of the verdict may have, so that
// it names some of what it is about, and not all.
const cardWidth = 120

func newHTMLVerdict(word, kind string, reasons ...string) htmlVerdict {
	out := htmlVerdict{Word: word, Kind: kind}
	for _, reason := range reasons {
		detail, isDetail := strings.CutPrefix(reason, detailMark)
		out.Reasons = append(out.Reasons, htmlReason{Text: detail, Detail: isDetail})
	}
	return out
}

func (h *htmlWriter) warnings() []string {
	if slices.ContainsFunc(h.report.Problems, aboutAdvisories) {
		return h.table.ageWarnings()
	}
	return slices.Concat(h.table.distroWarnings(), h.table.coverageWarnings(), h.table.ageWarnings())
}

// barWidth is that of the bar which severities share.
const barWidth = 1000

// severityCounts are the counts with the part of a bar that each has.
func severityCounts(c Counts) []htmlCount {
	out := make([]htmlCount, len(c))
	offset := 0
	for i, s := range policy.Severities() {
		out[i] = htmlCount{Severity: string(s), Count: c[i], Letter: strings.ToUpper(string(s)[:1]), Empty: c[i] == 0, Offset: offset}
		if total := c.Total(); total > 0 {
			out[i].Share = c[i] * barWidth / total
		}
		offset += out[i].Share
	}
	for i := len(out) - 1; i >= 0; i-- { // what rounding left over
		if out[i].Count > 0 {
			out[i].Share += barWidth - offset
			break
		}
	}
	return out
}

// worst is the gravest severity that has findings; empty for none.
func worst(c Counts) string {
	for i, s := range policy.Severities() {
		if c[i] > 0 {
			return string(s)
		}
	}
	return ""
}

// Heights of a slab in pixels.
const (
	thinnest = 30
	thickest = 96
)

// slabs are the layers as they lie on each other, the topmost first.
func (h *htmlWriter) slabs() []htmlLayer {
	largest := int64(1)
	for i := range h.layers {
		largest = max(largest, h.layers[i].Size)
	}
	var out []htmlLayer
	for i := len(h.layers) - 1; i >= 0; i-- {
		if h.layers[i].Base && (i == len(h.layers)-1 || !h.layers[i+1].Base) {
			out = append(out, htmlLayer{Rule: cmp.Or(h.baseLine(), "base image")})
		}
		if run := h.quietRun(i); run > 1 {
			out = append(out, h.quietSlab(i, run))
			i -= run - 1
			continue
		}
		out = append(out, h.slab(&h.layers[i], largest))
	}
	return out
}

func (h *htmlWriter) quietSlab(top, run int) htmlLayer {
	return htmlLayer{Quiet: run, Index: h.layers[top].Index, Size: Size(sizeOf(h.layers[top-run+1 : top+1])), Height: thinnest, Base: h.layers[top].Base}
}

func (h *htmlWriter) slab(l *layerView, largest int64) htmlLayer {
	instruction := Safe(Instruction(l.CreatedBy))
	out := htmlLayer{
		Index: l.Index, ID: h.layerID(l.Index), Instruction: cutEnd(cmp.Or(instruction, "(not recorded)"), 400), Size: Size(l.Size),
		// A square root, so that small layers beside a large one can be told apart.
		Height: thinnest + int(math.Sqrt(float64(max(l.Size, 0))/float64(largest))*(thickest-thinnest)),
		Worst:  worst(l.counts), WorstCount: l.counts.Of(Severity(worst(l.counts))), Base: l.Base, Empty: l.Empty, Unread: l.unread, Introduced: introduced(l.introduced), Taken: taken(l.taken),
		Counts: severityCounts(l.counts), Findings: len(l.findings), DiffID: Safe(l.DiffID),
	}
	out.Title = fmt.Sprintf("layer %d, %s", l.Index, out.Size)
	if w := out.Worst; w != "" {
		out.Title += fmt.Sprintf(", %s, worst %s", plural(l.counts.Total(), "finding"), w)
	}
	return out
}

func (h *htmlWriter) layerID(index int) string { return fmt.Sprintf("%s-layer-%d", h.id, index) }

// groups are the active findings by layer, the topmost first.
func (h *htmlWriter) groups() []htmlGroup {
	var out []htmlGroup
	for i := len(h.layers) - 1; i >= 0; i-- {
		l := &h.layers[i]
		if len(l.findings) == 0 {
			continue
		}
		g := htmlGroup{
			ID: h.layerID(l.Index), Title: fmt.Sprintf("Layer %d", l.Index), Note: cutEnd(Safe(Instruction(l.CreatedBy)), maxMessage),
			Tally: plural(len(l.findings), "finding"), Base: l.Base, Findings: h.findingRows(l.findings),
		}
		if l.fixable > 0 {
			g.Tally += fmt.Sprintf(", %d fixable", l.fixable)
		}
		out = append(out, g)
	}
	if len(h.loose) > 0 {
		out = append(out, htmlGroup{ID: h.id + "-packages-found", Title: "Packages", Tally: plural(len(h.loose), "finding"), Findings: h.findingRows(h.loose)})
	}
	return out
}

// apart groups findings that don't count by the reason for that.
func (h *htmlWriter) apart(id string, findings []*Finding, reason func(*Finding) string) []htmlGroup {
	var order []string
	groups := map[string][]*Finding{}
	for _, f := range findings {
		why := cutEnd(Safe(reason(f)), maxMessage)
		if groups[why] == nil {
			order = append(order, why)
		}
		groups[why] = append(groups[why], f)
	}
	var out []htmlGroup
	for i, why := range order {
		out = append(out, htmlGroup{
			ID: fmt.Sprintf("%s-%s-%d", h.id, id, i), Title: why, Tally: plural(len(groups[why]), "finding"), Findings: h.findingRows(groups[why]),
		})
	}
	return out
}

func (h *htmlWriter) findingRows(findings []*Finding) []htmlFinding {
	rows := make([]htmlFinding, len(findings))
	for i, f := range findings {
		p := h.findingPackage(f)
		row := htmlFinding{
			Severity: severityWord(f.Severity, plenty), ID: whole(f.ID), URL: vulnerabilitySource(f.ID).URL, Package: whole(p.Name), Version: whole(p.Version),
			Fix: whole(f.FixedVersion), Path: packagePath(&p), Summary: cutEnd(Safe(f.Summary), maxMessage), KEV: f.KEV, Fails: h.fails(f),
			New: f.New != nil && *f.New, Rank: weight(f),
		}
		if f.Status != Affected && f.Status != "" {
			row.Note = strings.ReplaceAll(Safe(string(f.Status)), "_", " ")
		}
		if f.EPSS > 0 {
			row.EPSS = fmt.Sprintf("%.1f %%", f.EPSS*100)
		}
		if f.CVSS != nil && f.CVSS.Score > 0 {
			row.Score = fmt.Sprintf("%.1f", f.CVSS.Score)
		}
		rows[i] = row
	}
	return rows
}

// nothing says what it means that there are no findings, as the table does.
func (h *htmlWriter) nothing() string {
	t := &table{TableOptions: TableOptions{Width: plenty}, view: h.view}
	t.nothingFound()
	return strings.TrimSpace(t.buf.String())
}
