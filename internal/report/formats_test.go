package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"strata/internal/advisory"
	"strata/internal/inventory"
	"strata/internal/license"
	"strata/internal/policy"
)

// fullSample is sample with what only some formats care for: all ways to set a
// finding aside, the end of life of a distribution and of a runtime, licences and
// violations of them, a finding that is in two packages, and hostile names.
func fullSample() *Report {
	r := sample()
	b := builder{r}
	python := b.pkg("generic", "python", "2.7.18", 4, "opt/python/bin/python2.7")
	b.finding(python, "EOL-python-2.7", advisory.Unknown, "", func(f *Finding) {
		f.Kind, f.Summary = KindEndOfLife, "Python 2.7 has had no security updates since 2020-01-01; move to 3.14"
	})
	r.Findings = append(r.Findings, Finding{
		Kind: KindEndOfLife, ID: "EOL-debian-12", PackageName: "debian", PackageVersion: "12", PackageType: "distro", Severity: advisory.Unknown,
		Layer: 0, State: inventory.Present,
	})
	r.Image.Distro.Status = DistroEndOfLife

	aside := b.pkg("pypi", "requests", "2.31.0", 4, "opt/venv/lib/python3.11/site-packages/requests-2.31.0.dist-info/METADATA")
	aside.License = &License{Expression: "Apache-2.0", Class: license.Permissive, Evidence: []LicenseEvidence{{Path: aside.Locations[0].Path, Layer: 4, Kind: "declared", Expression: "Apache-2.0"}}}
	for i, by := range []SuppressedBy{ByWaiver, ByVEX, ByDistroOwned, ByPolicy, ByNotRun} {
		b.finding(aside, "CVE-2024-3519"+string(rune('5'+i)), advisory.Medium, "2.32.0", func(f *Finding) {
			f.Suppressed = &Suppression{By: by, Reason: "set aside in a test"}
		})
	}
	readline := b.pkg("deb", "libreadline8", "8.2-1.3", 0, "var/lib/dpkg/status")
	readline.Arch, readline.SourceName = "amd64", "readline"
	readline.License = &License{Expression: "GPL-3.0-or-later", Class: license.StrongCopyleft, Evidence: []LicenseEvidence{
		{Path: "usr/share/doc/libreadline8/copyright", Layer: 0, Kind: "declared", Expression: "GPL-3.0-or-later"},
		{Path: "usr/share/common-licenses/GPL-3", Layer: 0, Kind: "text", Expression: "GPL-3.0-or-later", Coverage: 99.5},
	}}
	b.finding(readline, "CVE-2023-44487", advisory.High, "", kev) // also in nodejs

	hostile := b.pkg("npm", "=cmd|'/C calc'!A0\r\n::error::x\x1b[31m</testsuite>]]>", "1.0|`$(id)`\u202e<script>", 5, "app/\x00\xff/%0A::error::/node_modules/x, y;z:#?/package.json")
	b.finding(hostile, "CVE-2020-1234", advisory.Critical, "@everyone `2.0`", func(f *Finding) {
		f.Summary = "![x](https://evil.example/p.png) <img src=x onerror=alert(1)> @octocat #1 | `a` \ufffe ]]> &amp; %0A"
		f.References = []string{"javascript:alert(1)", "https://evil.example/a)[b](c", "https://ok.example/a?b=c&d=e", "https://user@ok.example/\n"}
		f.Aliases = []string{"GHSA-aaaa-bbbb-cccc", "=HYPERLINK(\"x\")", ""}
		f.CVSS = &CVSS{Version: "3.1", Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Score: 9.8}
	})
	r.Baseline = &Baseline{Reference: "registry.example:5000/shop/node-app:1.3"}
	for i := range r.Findings {
		isNew := i%3 == 0
		r.Findings[i].New = &isNew
		if i == 4 {
			r.Findings[i].FixedVersions = []string{r.Findings[i].FixedVersion, "20.8.1+dfsg-1"}
		}
	}
	r.Verdict = evaluate(r)
	r.Verdict.Rules = append(r.Verdict.Rules, "licenses: no-strong-copyleft", "base: fresh-base", "kev: known-exploited")
	r.Verdict.Violations = append(r.Verdict.Violations,
		policy.Violation{Policy: "licenses", Rule: "no-strong-copyleft", Decision: policy.Fail, PackageIDs: []string{readline.ID}, Message: "1 package under a strong copyleft licence"},
		policy.Violation{Policy: "base", Rule: "fresh-base", Decision: policy.Warn, Message: "the base image is older than 90 days"},
	)
	return r
}

// formatTime is the clock of tests.
var formatTime = time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC)

func formatOptions() Options {
	return Options{Started: formatTime.Add(-3 * time.Second), Ended: formatTime, Template: sampleTemplate}
}

const sampleTemplate = `{{range .Findings}}{{.ID}} {{safe .PackageName}}
{{end}}`

// written is a report in a format.
func written(t testing.TB, format string, o Options, reports ...*Report) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := WriteAll(&buf, format, reports, o); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// kinds of reports that every format has to cope with.
func formatCases() map[string][]*Report {
	return map[string][]*Report{
		"full": {fullSample()}, "empty": {{}}, "clean": {cleanReport()}, "hostile": {hostileReport()}, "incomplete": {incompleteReport()},
		"of a bill of materials": {sbomReport()}, "without advisories": {uncheckedReport()},
		"filtered":       {fullSample().Filter(FilterOptions{Severities: []Severity{advisory.Critical}, OnlyFixed: true})},
		"several images": {fullSample(), armReport(), hostileReport()},
	}
}

// armReport is the same image for another platform.
func armReport() *Report {
	r := sample()
	r.Image.Platform, r.Image.Digest = "linux/arm64/v8", digest(77)
	return r
}

// compileSchema reads a schema of testdata/schema.
func compileSchema(t testing.TB, name string) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("testdata", "schema", name))
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func parseJSON(t testing.TB, doc []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatalf("no JSON: %v\n%s", err, doc)
	}
	return v
}

// decodeStrictly reads JSON into v, and fails on fields that v does not have.
func decodeStrictly(t testing.TB, doc []byte, v any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		t.Fatalf("%v in\n%s", err, doc)
	}
	if dec.More() {
		t.Fatal("more than one document")
	}
}

func TestFormatsGolden(t *testing.T) {
	for format, file := range map[string]string{
		"sarif": "sarif.json", "junit": "junit.xml", "gitlab": "gitlab.json", "gitlab-codequality": "gitlab-codequality.json", "github": "github.txt",
		"github-summary": "github-summary.md", "markdown": "markdown.md", "csv": "findings.csv", "trivy": "trivy.json", "template": "template.txt",
	} {
		t.Run(format, func(t *testing.T) {
			golden(t, filepath.Join("formats", file), written(t, format, formatOptions(), fullSample()))
		})
	}
}

// TestFormatsAreDeterministic: the same report gives the same bytes, and none of
// them drives a terminal.
func TestFormatsAreDeterministic(t *testing.T) {
	for _, f := range Formats() {
		if f.Name == "template" {
			continue // its text is the user's
		}
		t.Run(f.Name, func(t *testing.T) {
			first := written(t, f.Name, formatOptions(), fullSample(), armReport())
			for range 5 {
				if again := written(t, f.Name, formatOptions(), fullSample(), armReport()); !bytes.Equal(first, again) {
					t.Fatal("the same report gives other bytes")
				}
			}
			checkSafe(t, strings.ReplaceAll(string(first), "\r\n", "\n"))
		})
	}
}

// TestFormatsAgree: each format has all findings, or all those that count.
func TestFormatsAgree(t *testing.T) {
	for name, r := range map[string]*Report{"full": fullSample(), "large": largeReport(300), "hostile": hostileReport(), "active": fullSample().Filter(FilterOptions{ActiveOnly: true})} {
		t.Run(name, func(t *testing.T) {
			var active, aside int
			for i := range r.Findings {
				if r.Findings[i].Active() {
					active++
				} else {
					aside++
				}
			}
			subjects := 0
			for _, v := range newListing(r).looseViolations {
				subjects += len(newListing(r).subjects(v))
			}
			var sarifAside, junitCases, quality int
			results := readSARIF(t, written(t, "sarif", formatOptions(), r)).Runs[0].Results
			for _, res := range results {
				sarifAside += len(res.Suppressions)
			}
			for _, s := range readJUnit(t, written(t, "junit", formatOptions(), r)).Suites {
				for _, c := range s.Cases {
					junitCases += count(!strings.HasSuffix(c.Class, ".policy") && !strings.HasSuffix(c.Class, ".scan"))
				}
			}
			var issues []codeIssue
			decodeStrictly(t, written(t, "gitlab-codequality", formatOptions(), r), &issues)
			quality = len(issues)
			trivy := readTrivy(t, written(t, "trivy", formatOptions(), r))
			var trivyActive, trivyAside int
			for _, res := range trivy.Results {
				trivyActive += len(res.Vulnerabilities)
				trivyAside += len(res.Modified)
			}
			for _, f := range r.Findings {
				trivyActive += count(f.PackageID == "") // the distribution's end of life, told elsewhere
			}
			for what, counts := range map[string][2]int{
				"sarif": {len(results), active + aside + subjects}, "suppressions": {sarifAside, aside}, "junit": {junitCases, active + aside},
				"gitlab": {len(readGitLab(t, written(t, "gitlab", formatOptions(), r)).Vulnerabilities), active}, "code quality": {quality, active + subjects},
				"csv": {len(readCSV(t, written(t, "csv", formatOptions(), r))) - 1, active + aside}, "trivy": {trivyActive, active}, "trivy aside": {trivyAside, aside},
			} {
				if counts[0] != counts[1] {
					t.Errorf("%s has %d, want %d", what, counts[0], counts[1])
				}
			}
		})
	}
}

// TestFormatsAreBounded: an image in which much is without end does not fill the
// formats with it; those that list all it has, JSON and the bills, it may.
func TestFormatsAreBounded(t *testing.T) {
	r := endlessReport()
	for _, f := range Formats() {
		if f.Name == "json" || slices.ContainsFunc(SBOMFormats(), func(b Format) bool { return b.Name == f.Name }) {
			continue
		}
		if n := len(written(t, f.Name, formatOptions(), r)); n > 8<<20 {
			t.Errorf("%s: %d bytes", f.Name, n)
		}
	}
}

// endlessReport has a very long instruction, and packages in very many places.
func endlessReport() *Report {
	r := largeReport(300)
	r.Layers[4].CreatedBy = "RUN " + strings.Repeat("set -eux; echo x && ", 50_000)
	for i := range r.Packages {
		if r.Packages[i].Layer == 4 {
			for j := range 1000 {
				r.Packages[i].Locations = append(r.Packages[i].Locations, Location{Path: fmt.Sprintf("app/%d/package.json", j), Layer: 4})
			}
		}
	}
	return r
}

func BenchmarkFormats(b *testing.B) {
	r := largeReport(10_000)
	for _, f := range Formats() {
		b.Run(f.Name, func(b *testing.B) {
			for b.Loop() {
				written(b, f.Name, formatOptions(), r)
			}
		})
	}
}
