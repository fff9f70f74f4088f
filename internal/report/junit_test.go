package report

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func readJUnit(t testing.TB, doc []byte) junitSuites {
	t.Helper()
	var suites junitSuites
	if err := xml.Unmarshal(doc, &suites); err != nil {
		t.Fatalf("%v in\n%s", err, doc)
	}
	return suites
}

// TestJUnitCounts: the counts are those of the cases, as Azure takes them at
// their word, and names of cases differ, as GitLab takes those of one name for
// one.
func TestJUnitCounts(t *testing.T) {
	for name, reports := range formatCases() {
		t.Run(name, func(t *testing.T) {
			all := readJUnit(t, written(t, "junit", formatOptions(), reports...))
			recount := junitSuites{}
			for _, s := range all.Suites {
				bare := junitSuite{Cases: s.Cases}
				recount.add(&bare)
				if bare.Tests != s.Tests || bare.Failures != s.Failures || bare.Errors != s.Errors || bare.Skipped != s.Skipped || s.Tests == 0 {
					t.Errorf("suite %q says %d tests, %d failures, %d errors, %d skipped", s.Name, s.Tests, s.Failures, s.Errors, s.Skipped)
				}
				names := map[string]bool{}
				for _, c := range s.Cases {
					if names[c.Class+c.Name] || c.Name == "" || c.Class == "" {
						t.Errorf("case %q of %q has no name of its own", c.Name, c.Class)
					}
					names[c.Class+c.Name] = true
				}
			}
			if recount.Tests != all.Tests || recount.Failures != all.Failures || recount.Errors != all.Errors || all.Tests == 0 {
				t.Errorf("the file says %d tests, %d failures, %d errors", all.Tests, all.Failures, all.Errors)
			}
		})
	}
}

func TestJUnitOutcomes(t *testing.T) {
	outcome := func(r *Report, o Options, part string) string {
		for _, s := range readJUnit(t, written(t, "junit", o, r)).Suites {
			for _, c := range s.Cases {
				switch {
				case !strings.Contains(c.Name, part):
				case c.Failure != nil:
					return "failure"
				case c.Error != nil:
					return "error"
				case c.Skipped != nil:
					return "skipped " + c.Skipped.Message
				default:
					return "pass"
				}
			}
		}
		return "none"
	}
	noPolicy := sample()
	noPolicy.Verdict.Rules, noPolicy.Verdict.Violations = nil, nil
	tests := []struct {
		name    string
		report  *Report
		options Options
		part    string
		want    string
	}{
		{"a finding that fails", fullSample(), Options{}, "CVE-2023-4911", "failure"},
		{"one below the threshold", fullSample(), Options{}, "CVE-2023-5678", "pass"},
		{"one that was waived", fullSample(), Options{}, "CVE-2099-0001", "skipped waiver: not reachable, until 2027-01-01 (alice)"},
		{"one of a package that is gone", fullSample(), Options{}, "CVE-2020-11022", "skipped in layer 4, removed by layer 5"},
		{"a rule that is kept", fullSample(), Options{}, "known-exploited", "pass"},
		{"a rule that is broken", fullSample(), Options{}, "no-strong-copyleft", "failure"},
		{"a rule that warns", fullSample(), Options{}, "fresh-base", "pass"},
		{"nothing found", cleanReport(), Options{}, "fail-on high", "pass"},
		{"no policy", noPolicy, Options{}, "CVE-2023-4911", "pass"},
		{"no policy at all", noPolicy, Options{}, "scanned", "pass"},
		{"a layer that can't be read", incompleteReport(), Options{}, "layer 4 is read", "error"},
		{"one that may be unread", incompleteReport(), Options{AllowIncomplete: true}, "layer 4 is read", "skipped blob sha256:0123: gzip: invalid checksum"},
	}
	for _, tt := range tests {
		if got := outcome(tt.report, tt.options, tt.part); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestJUnitIsReadByOthers gives what is written to real readers: libxml2's
// xmllint, and junitparser, which merges reports of tests.
func TestJUnitIsReadByOthers(t *testing.T) {
	lint, parser := tool(t, "xmllint"), tool(t, "junitparser")
	for name, reports := range formatCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // programs are started, which takes its time
			dir := t.TempDir()
			in, out := filepath.Join(dir, "in.xml"), filepath.Join(dir, "out.xml")
			doc := written(t, "junit", formatOptions(), reports...)
			if err := os.WriteFile(in, doc, 0o600); err != nil {
				t.Fatal(err)
			}
			run(t, lint, "--noout", "--nonet", in)
			run(t, parser, "merge", in, in, out)
			merged, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := readJUnit(t, merged), readJUnit(t, doc); got.Tests != 2*want.Tests || got.Failures != 2*want.Failures {
				t.Errorf("junitparser counts %d tests and %d failures in two times %d and %d", got.Tests, got.Failures, want.Tests, want.Failures)
			}
		})
	}
}

// tool is a program that a test talks to; without it the test is skipped, unless
// all must run.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("STRATA_TEST_REQUIRE") == "all" {
			t.Fatalf("%v; scripts/test.sh installs it", err)
		}
		t.Skipf("%v; scripts/test.sh installs it", err)
	}
	return path
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}
