package report

import (
	"fmt"
	"io"
	"strings"

	"strata/internal/advisory"
)

// githubPerKind is how many annotations of one kind GitHub shows of a step; what
// comes after is in the log only.
const githubPerKind = 10

// A githubAnnotation is one command of a workflow: error, warning or notice.
type githubAnnotation struct {
	kind, file, title string
	lines             []string
}

// GitHubAnnotations writes the findings that count as workflow commands of GitHub
// Actions, which it shows beside the run and the pull request: an error for what
// fails the image, a warning for other findings of severity high or graver and
// for what could not be read, a notice for the rest. GitHub shows ten of each
// kind; where there are more, the tenth says how many.
func GitHubAnnotations(w io.Writer, reports []*Report) error {
	var all []githubAnnotation
	var b strings.Builder
	for _, r := range reports {
		l := newListing(r)
		all = append(all, l.annotations()...)
		fmt.Fprintf(&b, "%s\n", strings.ReplaceAll("strata: "+l.tally(), "##[", "# # [")) // which would be a command
	}
	var commands strings.Builder
	for _, kind := range []string{"error", "warning", "notice"} {
		for _, a := range githubShown(kind, all) {
			commands.WriteString(a.command())
		}
	}
	_, err := io.WriteString(w, commands.String()+b.String())
	return err
}

// githubShown are the annotations of a kind, as many as GitHub shows.
func githubShown(kind string, all []githubAnnotation) []githubAnnotation {
	var mine []githubAnnotation
	for _, a := range all {
		if a.kind == kind {
			mine = append(mine, a)
		}
	}
	if len(mine) <= githubPerKind {
		return mine
	}
	rest := mine[githubPerKind-1:]
	var titles []string
	for _, a := range rest[:min(len(rest), 50)] {
		titles = append(titles, a.title)
	}
	if more := len(rest) - len(titles); more > 0 {
		titles = append(titles, fmt.Sprintf("and %d more", more))
	}
	return append(mine[:githubPerKind-1:githubPerKind-1], githubAnnotation{kind: kind, title: fmt.Sprintf("%d more of this kind", len(rest)), lines: titles})
}

func (l *listing) annotations() []githubAnnotation {
	var all []githubAnnotation
	for _, v := range l.looseViolations {
		kind := "warning"
		if failing(v) {
			kind = "error"
		}
		all = append(all, githubAnnotation{kind: kind, title: ruleName(v), lines: []string{v.Message}})
	}
	for i := range l.report.Problems {
		if p := &l.report.Problems[i]; p.Incomplete {
			all = append(all, githubAnnotation{kind: "warning", title: "The scan is incomplete", lines: []string{p.Message}})
		}
	}
	for _, text := range l.notChecked() {
		all = append(all, githubAnnotation{kind: "warning", title: "Packages were not checked", lines: []string{text}})
	}
	for _, f := range l.findings {
		if l.aside(f) == "" {
			all = append(all, l.annotation(f))
		}
	}
	return all
}

func (l *listing) annotation(f *Finding) githubAnnotation {
	a := githubAnnotation{
		kind: "notice", file: l.path(f),
		title: fmt.Sprintf("%s %s in %s %s", f.Severity, f.ID, f.PackageName, f.PackageVersion),
	}
	if f.Kind == KindEndOfLife {
		a.title = fmt.Sprintf("%s %s is at the end of its life", f.PackageName, f.PackageVersion)
	}
	if f.New != nil && *f.New {
		a.title = "new: " + a.title
	}
	switch {
	case l.fails(f):
		a.kind = "error"
	case f.Severity == advisory.Critical, f.Severity == advisory.High, len(l.violations(f)) > 0, f.Kind == KindEndOfLife:
		a.kind = "warning"
	}
	a.lines = l.tell(f, bare, bare, true)
	return a
}

// command is the annotation as a line of output (GitHub's documentation, "Workflow
// commands"; actions/toolkit, packages/core/src/command.ts, tells what to escape).
func (a githubAnnotation) command() string {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	var properties []string
	if a.file != "" {
		properties = append(properties, "file="+property.Replace(Safe(a.file)))
	}
	properties = append(properties, "title="+property.Replace(cutBytes(Safe(a.title), sarifMaxName)))
	var lines []string
	for _, line := range a.lines {
		lines = append(lines, cutBytes(Safe(line), sarifMaxText))
	}
	return fmt.Sprintf("::%s %s::%s\n", a.kind, strings.Join(properties, ","), data.Replace(strings.Join(lines, "\n")))
}

// tally is the report in a line.
func (l *listing) tally() string {
	line := fmt.Sprintf("%s: %s", Safe(l.report.Image.Reference), plural(l.counts.Total(), "finding"))
	if words := countWords(l.counts); words != "" {
		line += " (" + words + ")"
	}
	if f := l.report.Filtered; f != nil && f.Hidden > 0 {
		line += fmt.Sprintf(", %d more left out by the filter", f.Hidden)
	}
	if l.report.Incomplete() {
		line += ", incomplete"
	}
	return line + ": " + Safe(string(l.report.Verdict.Decision))
}

// countWords are the counts that are not 0: "2 critical, 1 low".
func countWords(c Counts) string {
	var words []string
	for i, name := range [len(Counts{})]string{"critical", "high", "medium", "low", "unknown"} {
		if c[i] > 0 {
			words = append(words, fmt.Sprintf("%d %s", c[i], name))
		}
	}
	return strings.Join(words, ", ")
}
