package report

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/policy"
)

// A rule may object to one vulnerability in one package and to another in the
// next: the two the other way round are none of it.
func TestViolationsAreOfTheirFindings(t *testing.T) {
	r := &Report{Findings: []Finding{
		{ID: "CVE-1", PackageID: "p1"}, {ID: "CVE-2", PackageID: "p1"},
		{ID: "CVE-1", PackageID: "p2"}, {ID: "CVE-2", PackageID: "p2"},
		{ID: "EOL-x-1"},
	}}
	apart := policy.Violation{
		Rule: "some", Decision: policy.Fail, FindingIDs: []string{"CVE-1", "CVE-2", "EOL-x-1"}, PackageIDs: []string{"p1", "p2"},
	}
	exact := apart
	exact.Findings = []policy.FindingKey{{ID: "CVE-1", PackageID: "p1"}, {ID: "CVE-2", PackageID: "p2"}, {ID: "EOL-x-1"}}
	for name, tt := range map[string]struct {
		violation policy.Violation
		want      []bool
	}{
		"told":          {exact, []bool{true, false, false, true, true}},
		"older reports": {apart, []bool{true, true, true, true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			r.Verdict = policy.Verdict{Decision: policy.Fail, Violations: []policy.Violation{tt.violation}}
			l := newListing(r)
			got := make([]bool, len(r.Findings))
			for i := range r.Findings {
				got[i] = l.fails(&r.Findings[i])
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("findings that fail (-want +got):\n%s", diff)
			}
		})
	}
}
