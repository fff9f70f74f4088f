package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"testing"
)

// TestRealFormats writes real images in all formats at once, and holds them
// against the JSON of the same scan.
func TestRealFormats(t *testing.T) {
	images, mirror := shared(t, "images"), filepath.Join(shared(t, "feeds"), "osv")
	bin, cache := buildStrata(t), t.TempDir()
	for _, ref := range []string{"oci:node-app", "oci:go-app", "alpine-311.tar.gz", "odd.oci:odd"} {
		t.Run(ref, func(t *testing.T) {
			dir := t.TempDir()
			file := func(name string) string { return filepath.Join(dir, name) }
			run := scanJSON(t, bin, cache, "--mirror", mirror, "--allow-incomplete", "--fail-on", "high", "-f", "sarif="+file("sarif"), "-f", "junit="+file("junit"),
				"-f", "gitlab="+file("gitlab"), "-f", "csv="+file("csv"), "-f", "trivy="+file("trivy"), filepath.Join(images, ref))
			var active, fails int
			for i := range run.report.Findings {
				if run.report.Findings[i].Active() {
					active++
				}
			}
			for _, v := range run.report.Verdict.Violations {
				if v.Decision == "fail" {
					fails++
				}
			}
			if len(run.report.Packages) == 0 {
				t.Fatalf("no packages: %s", run.stderr)
			}
			checkCounts(t, &run, file, active, fails)
		})
	}
}

func checkCounts(t *testing.T, run *strataRun, file func(string) string, active, fails int) {
	t.Helper()
	all := len(run.report.Findings)
	var sarif struct {
		Runs []struct {
			Results []struct{ Suppressions []any }
		}
	}
	readJSONFile(t, file("sarif"), &sarif)
	if n := len(sarif.Runs[0].Results); n != all {
		t.Errorf("SARIF has %d results of %d findings", n, all)
	}
	var gitlab struct{ Vulnerabilities []struct{ ID string } }
	readJSONFile(t, file("gitlab"), &gitlab)
	if n := len(gitlab.Vulnerabilities); n != active {
		t.Errorf("GitLab has %d of %d findings that count", n, active)
	}
	var trivy struct {
		Results []struct {
			Vulnerabilities []struct{ VulnerabilityID string }
		}
	}
	readJSONFile(t, file("trivy"), &trivy)
	var n int
	for _, r := range trivy.Results {
		n += len(r.Vulnerabilities)
	}
	for i := range run.report.Findings {
		if f := &run.report.Findings[i]; f.PackageID == "" && f.Active() {
			n++ // the distribution's end of life, which is told elsewhere
		}
	}
	if n != active {
		t.Errorf("Trivy's JSON has %d of %d findings that count", n, active)
	}
	b, err := os.ReadFile(file("csv"))
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll(); err != nil || len(rows) != all+1 {
		t.Errorf("CSV has %d rows of %d findings: %v", len(rows), all, err)
	}
	if b, err = os.ReadFile(file("junit")); err != nil {
		t.Fatal(err)
	}
	var junit struct {
		Failures int `xml:"failures,attr"`
	}
	if err := xml.Unmarshal(b, &junit); err != nil || (junit.Failures > 0) != (fails > 0) {
		t.Errorf("JUnit has %d failures, and the verdict %d violations that fail: %v", junit.Failures, fails, err)
	}
}

func readJSONFile(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
