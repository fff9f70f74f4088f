package report

import (
	"slices"
	"strings"
	"testing"
)

// TestCodeQuality holds what GitLab's documentation asks of a report: description,
// check_name, a fingerprint of its own, a severity of five, a relative path and a
// line.
func TestCodeQuality(t *testing.T) {
	for name, reports := range formatCases() {
		t.Run(name, func(t *testing.T) {
			var issues []codeIssue
			decodeStrictly(t, written(t, "gitlab-codequality", Options{}, reports...), &issues)
			seen := map[string]bool{}
			for _, i := range issues {
				if i.Description == "" || i.Check == "" || i.Fingerprint == "" || seen[i.Fingerprint] || i.Type != "issue" || i.Location.Lines.Begin < 1 ||
					i.Location.Path == "" || strings.HasPrefix(i.Location.Path, "/") || strings.HasPrefix(i.Location.Path, "./") {
					t.Errorf("%+v", i)
				}
				seen[i.Fingerprint] = true
				if !slices.Contains([]string{"info", "minor", "major", "critical", "blocker"}, i.Severity) {
					t.Errorf("severity %q", i.Severity)
				}
			}
		})
	}
	var issues []codeIssue
	decodeStrictly(t, written(t, "gitlab-codequality", Options{}, fullSample()), &issues)
	want := map[string]string{
		"CVE-2021-44906": "blocker", "CVE-2023-4911": "critical", "CVE-2023-5678": "major", "CVE-2019-9192": "minor", "DSA-5764-1": "info",
		"EOL-debian-12": "major", "licenses: no-strong-copyleft": "critical", "base: fresh-base": "major",
	}
	for _, i := range issues {
		if s, ok := want[i.Check]; ok && s != i.Severity {
			t.Errorf("%s is %s, want %s", i.Check, i.Severity, s)
		}
		delete(want, i.Check)
	}
	if len(want) > 0 {
		t.Errorf("no issues of %v", want)
	}
}
