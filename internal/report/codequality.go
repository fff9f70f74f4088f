package report

import (
	"cmp"
	"io"
	"strconv"
	"strings"

	"strata/internal/policy"
)

// CodeQuality writes the reports as one of GitLab's code quality (its
// documentation, "Code Quality report format", a part of that of Code Climate),
// which shows what a merge request adds. It has the findings that count and the
// violations that are about no finding; the path is the file in the image.
func CodeQuality(w io.Writer, reports []*Report) error {
	issues := []codeIssue{}
	for _, r := range reports {
		c := codeWriter{listing: newListing(r), seen: map[string]int{}}
		issues = append(issues, c.issues()...)
	}
	return encodeJSON(w, issues, " ")
}

type codeIssue struct {
	Type        string       `json:"type"`
	Check       string       `json:"check_name"`
	Description string       `json:"description"`
	Categories  []string     `json:"categories"`
	Fingerprint string       `json:"fingerprint"`
	Severity    string       `json:"severity"`
	Location    codeLocation `json:"location"`
}

type codeLocation struct {
	Path  string    `json:"path"`
	Lines codeLines `json:"lines"`
}

type codeLines struct {
	Begin int `json:"begin"`
}

// A codeWriter makes the issues of one image.
type codeWriter struct {
	*listing
	seen map[string]int
}

func (c *codeWriter) issues() []codeIssue {
	var issues []codeIssue
	for _, v := range c.looseViolations {
		issues = append(issues, c.violationIssues(v)...)
	}
	for _, f := range c.findings {
		if c.aside(f) == "" {
			issues = append(issues, c.issue(f.ID, strings.Join(c.tell(f, bare, bare, true), ". "), codeSeverity(f), f))
		}
	}
	return issues
}

// violationIssues are one for each package or layer that a violation is about, or
// one for the image.
func (c *codeWriter) violationIssues(v *policy.Violation) []codeIssue {
	severity := "major"
	if failing(v) {
		severity = "critical"
	}
	var issues []codeIssue
	for _, f := range c.subjects(v) {
		issues = append(issues, c.issue(f.ID, f.Summary, severity, f))
	}
	return issues
}

func (c *codeWriter) issue(check, text, severity string, f *Finding) codeIssue {
	digest := digestOf(c.report.Image.Platform, c.fingerprint(f))
	c.seen[digest]++
	return codeIssue{
		Type: "issue", Check: cutBytes(Safe(cmp.Or(check, "unknown")), sarifMaxName), Description: cutBytes(Safe(cmp.Or(text, check, "unknown")), sarifMaxText),
		Categories: []string{"Security"}, Severity: severity,
		Fingerprint: digestOf(digest, strconv.Itoa(c.seen[digest])),
		Location:    codeLocation{Path: Safe(c.path(f)), Lines: codeLines{Begin: 1}},
	}
}

// codeSeverity is in GitLab's five words.
func codeSeverity(f *Finding) string {
	if f.Kind == KindEndOfLife {
		return "major"
	}
	return [len(Counts{})]string{"blocker", "critical", "major", "minor", "info"}[column(f.Severity)]
}
