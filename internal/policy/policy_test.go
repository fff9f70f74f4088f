package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/advisory"
	"strata/internal/inventory"
)

func finding(id, pkg string, s advisory.Severity) Finding {
	return Finding{ID: id, PackageID: pkg, Severity: s, State: inventory.Present}
}

// packagesOf are the packages that findings are in.
func packagesOf(findings []Finding) []Package {
	var packages []Package
	for _, f := range findings {
		packages = append(packages, Package{ID: f.PackageID, Name: f.PackageID, State: inventory.Present})
	}
	return packages
}

func with(f Finding, change func(*Finding)) Finding {
	change(&f)
	return f
}

func TestFailOn(t *testing.T) {
	removed := func(f *Finding) { f.State = inventory.Removed }
	shadowed := func(f *Finding) { f.State = inventory.Shadowed }
	suppressed := func(f *Finding) { f.Suppressed = &Suppression{By: ByWaiver} }

	tests := []struct {
		name      string
		threshold advisory.Severity
		findings  []Finding
		want      Verdict
	}{
		{name: "nothing found", threshold: advisory.Low, want: Verdict{Decision: Pass}},
		{
			name: "below", threshold: advisory.High,
			findings: []Finding{finding("CVE-1", "p1", advisory.Medium), finding("CVE-2", "p1", advisory.Low)},
			want:     Verdict{Decision: Pass},
		},
		{
			name: "at the threshold and above", threshold: advisory.High,
			findings: []Finding{finding("CVE-1", "p1", advisory.High), finding("CVE-2", "p1", advisory.Critical), finding("CVE-3", "p2", advisory.Low)},
			want: Verdict{Decision: Fail, Violations: []Violation{{
				Policy: CommandLine, Rule: "fail-on high", Decision: Fail,
				FindingIDs: []string{"CVE-1", "CVE-2"}, PackageIDs: []string{"p1"},
				Findings: []FindingKey{{"CVE-1", "p1"}, {"CVE-2", "p1"}},
				Message:  "2 findings of severity high or graver in 1 package",
			}}},
		},
		{
			name: "ids are named once, findings all counted", threshold: advisory.Critical,
			findings: []Finding{finding("CVE-1", "p1", advisory.Critical), finding("CVE-1", "p2", advisory.Critical)},
			want: Verdict{Decision: Fail, Violations: []Violation{{
				Policy: CommandLine, Rule: "fail-on critical", Decision: Fail,
				FindingIDs: []string{"CVE-1"}, PackageIDs: []string{"p1", "p2"},
				Findings: []FindingKey{{"CVE-1", "p1"}, {"CVE-1", "p2"}},
				Message:  "2 findings of severity critical in 2 packages",
			}}},
		},
		{
			name: "only what is present and not set aside counts", threshold: advisory.Low,
			findings: []Finding{
				with(finding("CVE-1", "p1", advisory.Critical), removed),
				with(finding("CVE-2", "p2", advisory.Critical), shadowed),
				with(finding("CVE-3", "p3", advisory.Critical), suppressed),
				with(finding("CVE-4", "p4", advisory.Unknown), suppressed),
			},
			want: Verdict{Decision: Pass},
		},
		{
			name: "an end of life is no vulnerability", threshold: advisory.Low,
			findings: []Finding{with(finding("EOL-debian-9", "p1", advisory.Unknown), func(f *Finding) { f.Kind = kindEndOfLife })},
			want:     Verdict{Decision: Pass},
		},
		{
			name: "unknown below a threshold warns", threshold: advisory.High,
			findings: []Finding{finding("CVE-1", "p1", advisory.Unknown), finding("CVE-2", "p1", advisory.Low)},
			want: Verdict{Decision: Warn, Violations: []Violation{{
				Policy: CommandLine, Rule: "fail-on high", Decision: Warn,
				FindingIDs: []string{"CVE-1"}, PackageIDs: []string{"p1"},
				Findings: []FindingKey{{"CVE-1", "p1"}},
				Message:  "1 finding of unknown severity, which may be high or graver, in 1 package",
			}}},
		},
		{
			name: "unknown reaches low", threshold: advisory.Low,
			findings: []Finding{finding("CVE-1", "p1", advisory.Unknown)},
			want: Verdict{Decision: Fail, Violations: []Violation{{
				Policy: CommandLine, Rule: "fail-on low", Decision: Fail,
				FindingIDs: []string{"CVE-1"}, PackageIDs: []string{"p1"},
				Findings: []FindingKey{{"CVE-1", "p1"}},
				Message:  "1 finding of any severity in 1 package",
			}}},
		},
		{
			name: "unknown as threshold is every finding", threshold: advisory.Unknown,
			findings: []Finding{finding("CVE-1", "p1", advisory.Low), finding("CVE-2", "p2", advisory.Unknown)},
			want: Verdict{Decision: Fail, Violations: []Violation{{
				Policy: CommandLine, Rule: "fail-on unknown", Decision: Fail,
				FindingIDs: []string{"CVE-1", "CVE-2"}, PackageIDs: []string{"p1", "p2"},
				Findings: []FindingKey{{"CVE-1", "p1"}, {"CVE-2", "p2"}},
				Message:  "2 findings of any severity in 2 packages",
			}}},
		},
		{
			name: "a severity that is no word of ours is unknown, not low", threshold: advisory.Medium,
			findings: []Finding{finding("CVE-1", "p1", "negligible")},
			want: Verdict{Decision: Warn, Violations: []Violation{{
				Policy: CommandLine, Rule: "fail-on medium", Decision: Warn,
				FindingIDs: []string{"CVE-1"}, PackageIDs: []string{"p1"},
				Findings: []FindingKey{{"CVE-1", "p1"}},
				Message:  "1 finding of unknown severity, which may be medium or graver, in 1 package",
			}}},
		},
		{
			name: "failing and unrated together", threshold: advisory.Critical,
			findings: []Finding{finding("CVE-1", "p1", advisory.Unknown), finding("CVE-2", "p2", advisory.Critical)},
			want: Verdict{Decision: Fail, Violations: []Violation{
				{
					Policy: CommandLine, Rule: "fail-on critical", Decision: Fail,
					FindingIDs: []string{"CVE-2"}, PackageIDs: []string{"p2"},
					Findings: []FindingKey{{"CVE-2", "p2"}},
					Message:  "1 finding of severity critical in 1 package",
				},
				{
					Policy: CommandLine, Rule: "fail-on critical", Decision: Warn,
					FindingIDs: []string{"CVE-1"}, PackageIDs: []string{"p1"},
					Findings: []FindingKey{{"CVE-1", "p1"}},
					Message:  "1 finding of unknown severity, which may be critical, in 1 package",
				},
			}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rule, err := FailOn(tt.threshold)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Rules = []string{"fail-on " + string(tt.threshold)}
			if diff := cmp.Diff(tt.want, Evaluate(&Input{Findings: tt.findings, Packages: packagesOf(tt.findings)}, AsWritten, rule)); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFailOnRefusesWhatIsNoSeverity(t *testing.T) {
	if _, err := FailOn("hgih"); err == nil || !strings.Contains(err.Error(), "critical, high, medium, low, unknown") {
		t.Errorf("error %v, want one that lists the severities", err)
	}
}

func TestEvaluateTakesTheGravest(t *testing.T) {
	says := func(d Decision) Rule {
		return Rule{Name: string(d), Check: func(*Input) []Violation { return []Violation{{Decision: d}} }}
	}
	silent := Rule{Name: "silent", Check: func(*Input) []Violation { return nil }}

	tests := []struct {
		name  string
		rules []Rule
		want  Decision
	}{
		{"no rules", nil, Pass},
		{"silent rule", []Rule{silent}, Pass},
		{"warn", []Rule{silent, says(Warn)}, Warn},
		{"fail before warn", []Rule{says(Fail), says(Warn)}, Fail},
		{"warn before fail", []Rule{says(Warn), says(Fail)}, Fail},
		{"a decision nobody knows", []Rule{says("maybe"), says(Warn)}, Fail},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Evaluate(&Input{}, AsWritten, tt.rules...).Decision; got != tt.want {
				t.Errorf("decision %q, want %q", got, tt.want)
			}
		})
	}
}

func TestParseSeverity(t *testing.T) {
	for in, want := range map[string]advisory.Severity{"critical": advisory.Critical, "HIGH": advisory.High, " medium ": advisory.Medium, "Low": advisory.Low, "unknown": advisory.Unknown} {
		if got, err := ParseSeverity(in); err != nil || got != want {
			t.Errorf("ParseSeverity(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "moderate", "high,low"} {
		if got, err := ParseSeverity(in); err == nil {
			t.Errorf("ParseSeverity(%q) = %q, want an error", in, got)
		}
	}
}
