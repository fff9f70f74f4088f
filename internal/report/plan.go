package report

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"strata/internal/advisory"
	fix "strata/internal/remedy"
)

// PlanFormats are the formats of a plan; the first is the default.
func PlanFormats() []string { return []string{"text", "json", "markdown", "diff"} }

// CheckPlanFormat is an error for a format that PlanFormats does not have.
func CheckPlanFormat(format string) error {
	if slices.Contains(PlanFormats(), format) {
		return nil
	}
	return fmt.Errorf("%q is no format of a plan; there are %s", format, strings.Join(PlanFormats(), ", "))
}

// PlanOptions say how the plan looks as text. The zero value is fit for a file.
type PlanOptions struct {
	// Width in columns; 0 for DefaultWidth.
	Width int
	// Color uses ANSI colours.
	Color bool
}

// WritePlan writes a plan. What comes from the image is made Safe in text and
// Markdown; a diff is bytes of the user's own Dockerfile and of versions.
func WritePlan(w io.Writer, format string, p *fix.Plan, o PlanOptions) error {
	switch format {
	case "json":
		return planJSON(w, p)
	case "markdown":
		return planMarkdown(w, p)
	case "diff":
		_, err := io.WriteString(w, p.Diff)
		return err
	case "text":
		return planText(w, p, o)
	}
	return CheckPlanFormat(format)
}

// planJSON writes docs/plan.schema.json: no array is null, all is valid UTF-8.
func planJSON(w io.Writer, p *fix.Plan) error {
	var n fix.Plan
	normalize(reflect.ValueOf(&n).Elem(), reflect.ValueOf(*p))
	return encodeJSON(w, n, "  ")
}

// A planTable is a plan being written as text.
type planTable struct {
	canvas
	*fix.Plan
	width int
}

func planText(w io.Writer, p *fix.Plan, o PlanOptions) error {
	if o.Width == 0 {
		o.Width = DefaultWidth
	}
	t := &planTable{Plan: p, width: min(max(o.Width, MinWidth), maxWidth)}
	t.color = o.Color
	t.head()
	for i := range p.Steps {
		t.step(&p.Steps[i])
	}
	t.stays()
	t.rebuilds()
	t.end()
	_, err := w.Write(t.buf.Bytes())
	return err
}

func (t *planTable) head() {
	t.put(bold, cutMiddle(Safe(t.Image.Reference), maxWord))
	t.line()
	facts := []string{}
	if t.Image.Platform != "" {
		facts = append(facts, Safe(t.Image.Platform))
	}
	switch {
	case t.Image.Base != "":
		facts = append(facts, fmt.Sprintf("base image %s (%s)", cutMiddle(Safe(t.Image.Base), maxWord), plural(t.Image.BaseLayers, "layer")))
	case t.Image.BaseLayers > 0:
		facts = append(facts, fmt.Sprintf("base image of unknown name (%s)", plural(t.Image.BaseLayers, "layer")))
	default:
		facts = append(facts, "base image not known")
	}
	for _, f := range facts {
		t.item(dim, f, " · ", 0, t.width)
	}
	t.line()
	t.line()
	t.counts(plural(t.Before.Total(), "finding"), t.Before)
	for _, n := range t.Notes {
		t.put(yellow, "!")
		t.space(1)
		t.paragraph(plain, Safe(n), 2, t.width)
	}
	if len(t.Steps) == 0 && t.Before.Total() > 0 {
		t.line()
		t.paragraph(bold, "No change is known that would remove any of them", 0, t.width)
	}
}

// counts writes a number of findings with its severities.
func (t *planTable) counts(label string, c fix.Counts) {
	t.put(bold, label)
	at := width(label) + 2
	t.space(2)
	for _, n := range planCounts(c) {
		t.item(severityStyle(n.severity), fmt.Sprintf("%d %s", n.n, n.severity), ", ", at, t.width)
	}
	t.line()
}

type severityCount struct {
	severity Severity
	n        int
}

// planCounts are those above zero, the gravest first.
func planCounts(c fix.Counts) []severityCount {
	var out []severityCount
	for _, s := range []severityCount{{advisory.Critical, c.Critical}, {advisory.High, c.High}, {advisory.Medium, c.Medium}, {advisory.Low, c.Low}, {advisory.Unknown, c.Unknown}} {
		if s.n > 0 {
			out = append(out, s)
		}
	}
	return out
}

func countsInWords(c fix.Counts) string {
	var words []string
	for _, s := range planCounts(c) {
		words = append(words, fmt.Sprintf("%d %s", s.n, s.severity))
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// countRefs counts findings by severity.
func countRefs(refs []fix.Ref) fix.Counts {
	var c fix.Counts
	for _, r := range refs {
		switch r.Severity {
		case advisory.Critical:
			c.Critical++
		case advisory.High:
			c.High++
		case advisory.Medium:
			c.Medium++
		case advisory.Low:
			c.Low++
		default:
			c.Unknown++
		}
	}
	return c
}

const stepIndent = 4

func (t *planTable) step(s *fix.Step) {
	t.line()
	t.right(bold, fmt.Sprint(s.Number), 2)
	t.to(stepIndent)
	title := cutEnd(Safe(s.Title), maxMessage)
	if s.Major {
		title += " (another major version)"
	}
	t.paragraph(bold, title, stepIndent, t.width)
	t.instruction(s)
	t.changes(s)
	t.effect(s)
}

// instruction shows the line as it is and as it should be.
func (t *planTable) instruction(s *fix.Step) {
	where := ""
	switch {
	case s.File != "":
		where = fmt.Sprintf("%s line %d", Safe(s.File), s.Line)
	case s.Layer >= 0:
		where = fmt.Sprintf("layer %d", s.Layer)
	}
	now, then := instructionText(s)
	if where != "" {
		t.to(stepIndent)
		if then == "" && now != "" { // it stays, and only tells where
			t.paragraph(dim, cutEnd(where+": "+Safe(now), maxPlanLine), stepIndent+4, t.width)
			return
		}
		t.put(dim, where)
		t.line()
	}
	if now != "" {
		t.signed(red, "- ", now)
	}
	if then != "" {
		t.signed(green, "+ ", then)
	}
}

// instructionText is the step's instruction as it is and as proposed.
func instructionText(s *fix.Step) (now, then string) {
	now, then = s.Instruction, s.Proposed
	if s.Kind == fix.StepBase {
		if now = "FROM " + now; then != "" {
			then = "FROM " + then
		}
	}
	return now, then
}

// maxPlanLine is how much of an instruction is shown.
const maxPlanLine = 2000

func (t *planTable) signed(st style, sign, text string) {
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		t.to(stepIndent)
		t.put(st, sign)
		t.paragraph(st, cutEnd(Safe(line), maxPlanLine), stepIndent+4, t.width)
	}
}

const maxRows = 12

func (t *planTable) changes(s *fix.Step) {
	if s.Kind == fix.StepBase {
		for _, a := range s.Alternatives {
			t.to(stepIndent)
			note := ""
			if a.Major {
				note = ", another line of releases"
			}
			t.paragraph(dim, fmt.Sprintf("or %s%s: its own findings are %s", cutMiddle(Safe(a.Reference), maxWord), note, countsInWords(a.After)), stepIndent+3, t.width)
		}
		return
	}
	names, from, to := 0, 0, 0
	rows := s.Changes[:min(len(s.Changes), maxRows)]
	for i := range rows {
		names, from, to = max(names, width(t.name(rows[i].Name))), max(from, width(whole(rows[i].From))), max(to, width(whole(rows[i].To)))
	}
	for i := range rows {
		c := &rows[i]
		t.to(stepIndent)
		t.left(plain, t.name(c.Name), names+2)
		t.left(plain, whole(c.From), from+1)
		t.put(dim, "→")
		t.space(1)
		t.left(green, whole(c.To), to+2)
		t.paragraph(dim, changeNote(s, c), stepIndent+names+4, t.width)
	}
	if more := len(s.Changes) - len(rows); more > 0 {
		t.to(stepIndent)
		t.paragraph(dim, fmt.Sprintf("and %s; -f json has them all", plural(more, "more package")), stepIndent, t.width)
	}
}

func (t *planTable) name(s string) string { return cutMiddle(Safe(s), max(t.width/3, 20)) }

// changeNote tells what a version fixes, and what else is to be known of it.
func changeNote(s *fix.Step, c *fix.Change) string {
	note := ids(c.Fixes, 3)
	mixed := slices.ContainsFunc(s.Changes, func(c fix.Change) bool { return !c.Major })
	switch {
	case c.InBranch != "":
		note += fmt.Sprintf("; within its major version %s fixes %d of them", whole(c.InBranch), len(c.InBranchFixes))
	case c.Major && mixed:
		note += "; another major version"
	}
	if len(c.Brings) > 0 {
		note += "; brings " + ids(c.Brings, 3)
	}
	return note
}

// ids are the first few of a list.
func ids(list []string, few int) string {
	words := make([]string, 0, few+1)
	for _, id := range list[:min(len(list), few)] {
		words = append(words, whole(id))
	}
	if more := len(list) - few; more > 0 {
		words = append(words, fmt.Sprintf("%d more", more))
	}
	return strings.Join(words, ", ")
}

// effect tells what the step does to the findings.
func (t *planTable) effect(s *fix.Step) {
	t.to(stepIndent)
	t.paragraph(plain, "removes "+removed(s.Fixes)+brought(s.Brings), stepIndent, t.width)
	if s.Command != "" {
		t.to(stepIndent)
		t.put(green, "$ ")
		t.paragraph(green, cutEnd(Safe(s.Command), maxPlanLine), stepIndent+2, t.width)
	}
	for _, n := range s.Notes {
		t.to(stepIndent)
		t.paragraph(dim, Safe(n), stepIndent, t.width)
	}
	t.to(stepIndent)
	t.put(dim, "after it: ")
	if s.After.Total() == 0 {
		t.put(green, "none left")
	} else {
		t.put(dim, countsInWords(s.After)+" left")
	}
	t.line()
}

// removed counts what a step removes.
func removed(refs []fix.Ref) string {
	exploited := 0
	for i := range refs {
		exploited += count(refs[i].KEV)
	}
	words := countsInWords(countRefs(refs))
	if exploited > 0 {
		words += fmt.Sprintf(", %d of them known to be exploited (KEV)", exploited)
	}
	return words
}

func brought(refs []fix.Ref) string {
	if len(refs) == 0 {
		return ""
	}
	names := make([]string, len(refs))
	for i, r := range refs {
		names[i] = r.ID
	}
	return fmt.Sprintf("; brings %s (%s)", countsInWords(countRefs(refs)), ids(names, 3))
}

// nothingToFix says that there are no findings, and not that there is nothing,
// where not all was looked at.
func nothingToFix(p *fix.Plan) string {
	if p.Incomplete {
		return "No active findings in what was checked; not all was, see above"
	}
	return "No active findings: nothing to fix"
}

func (t *planTable) stays() {
	if len(t.Stays) == 0 {
		return
	}
	t.line()
	t.put(bold, "Stays")
	t.line()
	for i := range t.Stays[:min(len(t.Stays), maxRows)] {
		s := &t.Stays[i]
		t.to(2)
		t.put(plain, t.name(s.Name)+" "+whole(s.Version))
		t.space(2)
		var list []string
		for _, f := range s.Findings {
			list = append(list, f.ID)
		}
		t.paragraph(dim, fmt.Sprintf("%s (%s): %s", ids(list, 3), countsInWords(countRefs(s.Findings)), Safe(s.Text)), stepIndent, t.width)
	}
	if more := len(t.Stays) - maxRows; more > 0 {
		t.to(2)
		t.paragraph(dim, fmt.Sprintf("and %s; -f json has them all", plural(more, "more package")), 2, t.width)
	}
}

func (t *planTable) rebuilds() {
	if len(t.Rebuilds) == 0 {
		return
	}
	t.line()
	t.paragraph(bold, "Still in lower layers, but not in the running file system", 0, t.width)
	for i := range t.Rebuilds[:min(len(t.Rebuilds), maxRows)] {
		r := &t.Rebuilds[i]
		t.to(2)
		t.put(plain, t.name(r.Name)+" "+whole(r.Version))
		t.space(2)
		t.paragraph(dim, fmt.Sprintf("in layer %d (%s): %s", r.Layer, countsInWords(countRefs(r.Findings)), Safe(r.Text)), stepIndent, t.width)
	}
	if more := len(t.Rebuilds) - maxRows; more > 0 {
		t.to(2)
		t.paragraph(dim, fmt.Sprintf("and %s; -f json has them all", plural(more, "more package")), 2, t.width)
	}
}

func (t *planTable) end() {
	t.line()
	switch {
	case t.Before.Total() == 0:
		t.paragraph(bold, nothingToFix(t.Plan), 0, t.width)
	case t.After.Total() == 0:
		t.put(onGreen, "After "+plural(len(t.Steps), "step")+": no findings are left")
		t.line()
	default:
		t.counts(fmt.Sprintf("After %s: %s left", plural(len(t.Steps), "step"), plural(t.After.Total(), "finding")), t.After)
	}
	if t.Diff != "" {
		t.paragraph(dim, "The changes of the Dockerfile as a diff: -f diff, for `patch -p1` or `git apply`", 0, t.width)
	}
}
