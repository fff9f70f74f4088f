package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"strata/internal/license"
	"strata/internal/policy"
)

// How much GitHub takes: of a comment 65,536 characters, of a step's summary
// 1 MiB. Some room is left for what others add.
const (
	commentLimit = 65_000
	summaryLimit = 1<<20 - 1024
	// What a document names of each at most; there may be very many.
	mdMaxWarnings = 20
	mdMaxLayers   = 150
	mdMaxReasons  = 20
	// mdMaxText is how much of a sentence is shown.
	mdMaxText = 300
	// mdLeast is the least room in which an image is worth more than a line.
	mdLeast = 2000
)

// Markdown writes the reports for a comment on a pull or merge request: the
// verdict first, then findings, the gravest first, then the layers. It keeps to the
// length that GitHub takes, and says what it left out. Names from the image are
// code, in which nothing is markup and nobody is mentioned.
func Markdown(w io.Writer, reports []*Report) error { return writeMarkdown(w, reports, commentLimit) }

// GitHubSummary writes what Markdown does, in the room that the summary of a step
// has, to be appended to the file that GITHUB_STEP_SUMMARY names.
func GitHubSummary(w io.Writer, reports []*Report) error {
	return writeMarkdown(w, reports, summaryLimit)
}

func writeMarkdown(w io.Writer, reports []*Report, limit int) error {
	var doc strings.Builder
	for i, r := range reports {
		left := limit - doc.Len()
		m := mdWriter{listing: newListing(r), room: left / (len(reports) - i)}
		text := m.image()
		if len(text) > left-100 {
			fmt.Fprintf(&doc, "%s left out for want of room.\n", plural(len(reports)-i, "more image"))
			break
		}
		doc.WriteString(text)
	}
	_, err := io.WriteString(w, doc.String())
	return err
}

// An mdWriter writes one image into a room of so many bytes.
type mdWriter struct {
	*listing
	room int
}

func (m *mdWriter) image() string {
	head := m.head()
	if m.room < mdLeast {
		return head
	}
	tail := m.licenses() + m.warnings() + m.notCounted()
	if layers := m.layersTable(); len(head)+len(tail)+len(layers) < m.room/2 {
		tail = layers + tail
	}
	if len(head)+len(tail) > m.room*3/4 {
		tail = fmt.Sprintf("%s in the scan itself, for which there is no room.\n\n", plural(len(m.report.Problems), "problem"))
	}
	return head + m.findingsTable(m.room-len(head)-len(tail)) + tail
}

// head is the image with the verdict and its reasons, and the counts.
func (m *mdWriter) head() string {
	r := m.report
	var b strings.Builder
	fmt.Fprintf(&b, "### Strata: %s\n\n", mdCode(whole(cmp.Or(r.Image.Reference, "image"))))
	b.WriteString(m.verdict())
	fmt.Fprintf(&b, "| critical | high | medium | low | unknown | fixable |\n|---:|---:|---:|---:|---:|---:|\n|")
	for _, n := range m.counts {
		fmt.Fprintf(&b, " %d |", n)
	}
	fmt.Fprintf(&b, " %d |\n\n", m.fixable)

	t := table{view: m.view, TableOptions: TableOptions{Width: maxWidth}}
	facts := []string{mdText(t.distro())}
	if r.Image.Platform != "" {
		facts = append(facts, mdText(cutEnd(Safe(r.Image.Platform), 60)))
	}
	facts = append(facts, plural(len(r.Layers), "layer"), plural(m.present, "package"))
	if r.Image.Base != nil && r.Image.Base.Reference != "" {
		facts = append(facts, "base "+mdCode(whole(r.Image.Base.Reference)))
	}
	if d := shortDigest(r.Image.Digest); d != "" {
		facts = append(facts, mdCode(d))
	}
	if r.Baseline != nil {
		facts = append(facts, fmt.Sprintf("%d new since %s", m.fresh, mdCode(whole(r.Baseline.Reference))))
	}
	fmt.Fprintf(&b, "%s\n\n", strings.Join(facts, " · "))
	return b.String()
}

func (m *mdWriter) verdict() string {
	v := &m.report.Verdict
	t := table{view: m.view, TableOptions: TableOptions{Width: maxWidth}}
	var b strings.Builder
	switch {
	case v.Decision != policy.Pass && v.Decision != policy.Warn:
		b.WriteString("**FAIL**\n\n")
	case m.report.Incomplete():
		b.WriteString("**INCOMPLETE**: a part of the image or the advisories could not be had, so findings may be missing\n\n")
	case v.Decision == policy.Warn:
		b.WriteString("**WARN**\n\n")
	case len(v.Rules) == 0:
		b.WriteString("No policy was asked for a verdict.\n\n")
	default:
		fmt.Fprintf(&b, "**PASS** (%s)\n\n", mdText(cutEnd(ruleNames(v), mdMaxText)))
	}
	for i, violation := range gravest(v.Violations) {
		if i == mdMaxReasons {
			fmt.Fprintf(&b, "- and %s\n", plural(len(v.Violations)-i, "more violation"))
			break
		}
		word := "warning"
		if failing(violation) {
			word = "fails"
		}
		fmt.Fprintf(&b, "- %s: %s: %s", word, mdText(whole(ruleName(violation))), mdText(cutEnd(Safe(violation.Message), mdMaxText)))
		if about := t.about(violation); about != "" {
			fmt.Fprintf(&b, ": %s", mdCode(cutEnd(about, mdMaxText)))
		}
		b.WriteString("\n")
	}
	if len(v.Violations) > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

// findingsTable lists the findings that count in at most so many bytes.
func (m *mdWriter) findingsTable(room int) string {
	var rows []*Finding
	for _, f := range m.findings {
		if m.aside(f) == "" {
			rows = append(rows, f)
		}
	}
	if len(rows) == 0 {
		return m.nothingFound()
	}
	const footer = 200
	var b strings.Builder
	b.WriteString("| severity | finding | package | installed | fixed in | layer |\n|---|---|---|---|---|---|\n")
	for i, f := range rows {
		row := m.row(f)
		if b.Len()+len(row) > room-footer {
			fmt.Fprintf(&b, "\n%s left out for want of room, the least grave; `strata scan -f json` has all.\n", plural(len(rows)-i, "more finding"))
			break
		}
		b.WriteString(row)
	}
	b.WriteString("\n")
	return b.String()
}

func (m *mdWriter) row(f *Finding) string {
	severity := string(f.Severity)
	if f.Kind == KindEndOfLife {
		severity = "end of life"
	}
	severity = mdText(whole(severity))
	if m.fails(f) {
		severity = "**" + severity + "**"
	}
	if f.KEV {
		severity += " (exploited)"
	}
	if f.New != nil && *f.New {
		severity += " (new)"
	}
	layer := ""
	if l := m.layerOf(f); l != nil && f.PackageID != "" {
		layer = fmt.Sprint(l.Index)
		if l.Base {
			layer += " (base)"
		}
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n", severity, mdLink(whole(f.ID)),
		mdCode(whole(f.PackageName)), mdCode(whole(f.PackageVersion)), mdFix(f), layer)
}

// nothingFound says so in the table's words.
func (m *mdWriter) nothingFound() string {
	t := table{view: m.view}
	return mdText(strings.TrimSuffix(t.absence(), ", see above")) + ".\n\n"
}

// layersTable is the stack of layers, the topmost first, folded away.
func (m *mdWriter) layersTable() string {
	if len(m.layers) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("<details><summary>Layers</summary>\n\n| layer | instruction | size | packages | critical | high | medium | low | unknown |\n|---:|---|---:|---:|---:|---:|---:|---:|---:|\n")
	for i := range m.layers {
		l := &m.layers[len(m.layers)-1-i]
		if i == mdMaxLayers {
			fmt.Fprintf(&b, "| | and %s | | | | | | | |\n", plural(len(m.layers)-i, "more layer"))
			break
		}
		name := fmt.Sprint(l.Index)
		if l.Base {
			name += " base"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d |", name, mdCode(cutEnd(m.instruction(l.Layer), maxInstruction)), Size(l.Size), l.introduced)
		for _, n := range l.counts {
			fmt.Fprintf(&b, " %d |", n)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n</details>\n\n")
	return b.String()
}

// licenses counts the packages by the class of their licence.
func (m *mdWriter) licenses() string {
	counts := m.licenseCounts()
	var words []string
	for _, class := range license.All() {
		if n := counts[class]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, classWords(class)))
		}
	}
	if len(words) == 0 {
		return ""
	}
	return "**Licences**: " + strings.Join(words, " · ") + "\n\n"
}

// notCounted tells how many findings do not count, by the reason.
func (m *mdWriter) notCounted() string {
	var lines []string
	if f := m.report.Filtered; f != nil && f.Hidden > 0 {
		lines = append(lines, plural(f.Hidden, "more finding")+" left out by the filter")
	}
	if n := len(m.removed); n > 0 {
		lines = append(lines, plural(n, "finding")+" in packages that later layers removed or replaced; they still ship")
	}
	t := table{view: m.view, TableOptions: TableOptions{Width: maxWidth}}
	for _, line := range t.suppressedCounts() {
		line, _, _ = strings.Cut(line, " (--show")
		lines = append(lines, mdText(cutEnd(line, mdMaxText)))
	}
	return mdList("Not counted", lines)
}

// warnings tell what is wrong with the answer itself, as the table does.
func (m *mdWriter) warnings() string {
	t := table{view: m.view, TableOptions: TableOptions{Width: maxWidth}}
	warnings := t.ageWarnings()
	if !slices.ContainsFunc(m.report.Problems, aboutAdvisories) {
		warnings = slices.Concat(t.distroWarnings(), t.coverageWarnings(), warnings)
	}
	for i := range m.report.Problems {
		warnings = append(warnings, t.problem(&m.report.Problems[i]))
	}
	lines := make([]string, 0, len(warnings))
	for i, w := range warnings {
		if i == mdMaxWarnings {
			lines = append(lines, fmt.Sprintf("and %d more", len(warnings)-i))
			break
		}
		lines = append(lines, mdText(cutEnd(w, mdMaxText)))
	}
	return mdList("What the answer lacks", lines)
}

func mdList(title string, lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return "**" + title + "**\n\n- " + strings.Join(lines, "\n- ") + "\n\n"
}
