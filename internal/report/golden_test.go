package report

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/advisory"
	"strata/internal/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update takes it over):\n%s", path, diff)
	}
}

func TestTableGolden(t *testing.T) {
	all := TableOptions{ShowRemoved: true, ShowSuppressed: true}
	color := all
	color.Color = true
	tests := []struct {
		name    string
		report  *Report
		options TableOptions
	}{
		{"table-60.txt", sample(), TableOptions{Width: 60}},
		{"table-80.txt", sample(), TableOptions{Width: 80}},
		{"table-100.txt", sample(), TableOptions{}},
		{"table-120-all.txt", sample(), with(all, 120)},
		{"table-200-all.txt", sample(), with(all, 200)},
		{"table-100-color.txt", sample(), with(color, 100)},
		{"filtered.txt", sample().Filter(FilterOptions{Severities: []Severity{advisory.Critical}, OnlyFixed: true}), TableOptions{}},
		{"clean.txt", cleanReport(), TableOptions{}},
		{"unchecked.txt", uncheckedReport(), TableOptions{}},
		{"incomplete.txt", incompleteReport(), TableOptions{}},
		{"hostile.txt", hostileReport(), with(all, 100)},
		{"many-layers.txt", manyLayersReport(), TableOptions{Width: 80}},
		{"end-of-life.txt", endOfLifeReport(), TableOptions{Width: 80}},
		{"sbom.txt", sbomReport(), TableOptions{Width: 80}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var buf bytes.Buffer
			if err := Table(&buf, tt.report, tt.options); err != nil {
				t.Fatal(err)
			}
			golden(t, tt.name, buf.Bytes())
		})
	}
}

// endOfLifeReport has nothing but a distribution and a runtime at their end.
func endOfLifeReport() *Report {
	r := cleanReport()
	python := builder{r}.pkg("generic", "python", "2.7.18", 0, "opt/python/bin/python2.7")
	// What the distribution owns is no package more.
	builder{r}.pkg("generic", "openssl", "1.1.1d", 0, "usr/bin/openssl").Owner = "openssl"
	builder{r}.finding(python, "EOL-python-2.7", advisory.Unknown, "", func(f *Finding) {
		f.Kind, f.Summary = KindEndOfLife, "Python 2.7 has had no security updates since 2020-01-01; move to Python 3.14 (supported until 2030-10-31) or newer"
	})
	r.Findings = append(r.Findings, Finding{
		Kind: KindEndOfLife, ID: "EOL-debian-9", PackageName: "debian", PackageVersion: "9", PackageType: "distro", Severity: advisory.Unknown,
		Summary: "Debian GNU/Linux 9 (stretch) has had no security updates since 2022-06-30: vulnerabilities found later are in no advisory; move to \x1b[31m debian 13",
	})
	r.Image.Distro.Status = DistroEndOfLife
	return r
}

func TestJSONGolden(t *testing.T) {
	var buf bytes.Buffer
	if err := JSON(&buf, sample()); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", buf.Bytes())
}

func with(o TableOptions, width int) TableOptions {
	o.Width = width
	return o
}

// cleanReport is one in which all was checked and nothing found.
func cleanReport() *Report {
	r := sample()
	r.Findings, r.Problems = nil, nil
	r.Advisories.Coverage[3] = Coverage{Ecosystem: "Hackage", Type: "hackage", Packages: 1, Records: 20, Status: Covered}
	r.Advisories.AgeHours = 0.2
	r.Verdict = evaluate(r)
	return r
}

// uncheckedReport is one of a distribution without advisories.
func uncheckedReport() *Report {
	r := &Report{
		Image:      Image{Reference: "fedora:35", Platform: "linux/amd64", Distro: Distro{ID: "fedora", Version: "35", Status: DistroEndOfLife}},
		Layers:     []Layer{{Index: 0, Size: 57_000_000, CreatedBy: "/bin/sh -c #(nop) ADD file:" + strings.Repeat("ab12", 16) + " in / "}},
		Advisories: Advisories{Source: "starter", Starter: true, Coverage: []Coverage{{Ecosystem: "Fedora:35", Type: "rpm", Packages: 138, Status: NoData}}},
	}
	for i := range 138 {
		builder{r}.pkg("rpm", fmt.Sprintf("package-%d", i), "0:1.0-1.fc35", 0)
	}
	r.Verdict = evaluate(r)
	return r
}

// incompleteReport is one of an image with a layer that can't be read.
func incompleteReport() *Report {
	r := cleanReport()
	r.Problems = []Problem{
		{Path: "app/x.jar", Layer: 6, Analyzer: "java/archive", Message: "zip: not a valid zip file"},
		{Layer: 4, Message: "blob sha256:0123: gzip: invalid checksum", Incomplete: true},
	}
	for i := range 20 {
		r.Problems = append(r.Problems, Problem{Path: fmt.Sprintf("app/broken-%d/package.json", i), Layer: 6, Analyzer: "npm", Message: "unexpected end of JSON input"})
	}
	return r
}

// hostileReport is one of an image that was made to deceive those who read it.
func hostileReport() *Report {
	const name = "\x1b[31mred\x1b]0;t\x07\nfake line"
	r := &Report{
		Image: Image{Reference: "evil\u202egpj.exe", Platform: "linux/\x1b[2J", Distro: Distro{ID: "x", Name: "Debian\r\nPASS  all is well"}},
		Layers: []Layer{
			{Index: 0, Size: -1, CreatedBy: "RUN \x1b[2J\x1b[H echo 日本語の名前 " + strings.Repeat("e\u0301\u0302\u0303\u0304\u0305", 40)},
			{Index: 0, Size: 1 << 62, CreatedBy: "\xff\xfe\x9b31m"},
		},
		Problems:   []Problem{{Path: strings.Repeat("a/", 4000) + "\u2066b", Layer: 99, Message: strings.Repeat("long ", 400)}},
		Advisories: Advisories{Source: "https://a\x1b[0m", Coverage: []Coverage{{Ecosystem: "\u200bnpm", Type: "npm", Status: "\x1b[8m"}}},
	}
	b := builder{r}
	p := b.pkg("npm", name, "1.0.0<script>alert(1)</script>", 0, "app/\x1b[2Jclear/node_modules/x/package.json")
	b.finding(p, "CVE-1\u0085x", "\x1b[31mcritical", "2.0.0\u202e")
	q := b.pkg("npm", "日本語パッケージ", "1.0.0", 0, "app/日本語/package.json")
	b.finding(q, "CVE-2", advisory.Low, "")
	b.finding(q, "CVE-3", advisory.High, "", func(f *Finding) { f.Suppressed = &Suppression{By: "\x1b[1m", Reason: "\nPASS"} })
	b.finding(q, "CVE-4", advisory.High, "", func(f *Finding) { f.State = "removed"; f.Layer = -7; f.PackageID = "nobody" })
	r.Verdict = policy.Verdict{Decision: "\x1b[32mpass", Rules: []string{"\x1b[1m"}}
	return r
}

// manyLayersReport has more layers than anyone wants to see.
func manyLayersReport() *Report {
	r := sample()
	for i := len(r.Layers); i < 501; i++ {
		r.Layers = append(r.Layers, Layer{Index: i, Size: 120, CreatedBy: fmt.Sprintf("RUN touch /f%d # buildkit", i)})
	}
	p := builder{r}.pkg("npm", "late", "1.0.0", 300, "srv/node_modules/late/package.json")
	builder{r}.finding(p, "CVE-2020-0001", advisory.Low, "1.0.1")
	return r
}

// sbomReport has no layers.
func sbomReport() *Report {
	r := sample()
	r.Layers, r.Image = nil, Image{Reference: "sbom:app.cdx.json"}
	return r
}

func evaluate(r *Report) policy.Verdict {
	rule, err := policy.FailOn(advisory.High)
	if err != nil {
		panic(err)
	}
	return policy.Evaluate(r.PolicyInput(time.Time{}), policy.AsWritten, rule)
}

func BenchmarkTable(b *testing.B) {
	r := largeReport(10_000)
	for b.Loop() {
		if err := Table(&bytes.Buffer{}, r, TableOptions{Color: true}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJSON(b *testing.B) {
	r := largeReport(10_000)
	for b.Loop() {
		if err := JSON(&bytes.Buffer{}, r); err != nil {
			b.Fatal(err)
		}
	}
}

// largeReport has n findings in a tenth as many packages.
func largeReport(n int) *Report {
	r := sample()
	b := builder{r}
	var p *Package
	for i := range n {
		if i%10 == 0 {
			p = b.pkg("npm", fmt.Sprintf("package-%d", i), "1.2.3", i/10%7, fmt.Sprintf("app/node_modules/package-%d/package.json", i))
		}
		b.finding(p, fmt.Sprintf("CVE-2024-%05d", i), policy.Severities()[i%5], "1.2.4")
	}
	return r
}
