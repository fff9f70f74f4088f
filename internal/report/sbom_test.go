package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"strata/internal/advisory"
	"strata/internal/inventory"
	"strata/internal/license"
	"strata/internal/policy"
	"strata/internal/sbom"
)

// bills are the formats, with the golden file of each.
var bills = []struct{ format, file string }{
	{FormatCycloneDX, "sample.cdx.json"},
	{FormatCycloneDXXML, "sample.cdx.xml"},
	{FormatSPDX, "sample.spdx.json"},
	{FormatSPDXTagValue, "sample.spdx"},
}

func writeBill(t *testing.T, format string, r *Report, o SBOMOptions) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := Write(&buf, format, r, Options{SBOM: o}); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// billSample is the sample with licences and source packages of several kinds.
func billSample() *Report {
	r := sample()
	r.Image.Base = &Base{Reference: "debian:12", Digest: digest(7), Layers: 2, By: BaseByLayers}
	libc := &r.Packages[0]
	libc.SourceName, libc.SourceVersion, libc.Arch = "glibc", "2.36-9+deb12u4", "amd64"
	libc.PURL = "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12"
	libc.License = &License{Expression: "GPL-2.0-only AND LGPL-2.1-or-later", Class: license.StrongCopyleft, Evidence: []LicenseEvidence{
		{Path: "usr/share/doc/libc6/copyright", Kind: "declared", Expression: "GPL-2.0-only AND LGPL-2.1-or-later"},
	}}
	r.Packages[2].License = &License{Expression: "LicenseRef-zlib-like OR MIT", Class: license.Unknown, Evidence: []LicenseEvidence{
		{Path: "usr/share/doc/zlib1g/copyright", Kind: "text", Expression: "MIT", Coverage: 71.5}, {Kind: "declared", Expression: "LicenseRef-zlib-like"},
		{Kind: "declared", Expression: "MIT OR Zlib"},
	}}
	r.Packages[3].License = &License{Class: license.Unknown}
	r.Packages[4].Licenses = []string{"MIT", "see <text>LICENSE</text>\nPackageName: fake"}
	r.Packages[len(r.Packages)-1].KnownAs = []inventory.KnownAs{{Ecosystem: "Bitnami", Name: "java", Version: "8.0.392"}, {Ecosystem: "Maven", Name: "org.example:it"}}
	r.Problems = append(r.Problems, Problem{Layer: 3, Message: "blob: gzip: invalid checksum", Incomplete: true})
	return r
}

func billOptions() SBOMOptions {
	return SBOMOptions{Now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}
}

func TestSBOMGolden(t *testing.T) {
	for _, tt := range bills {
		t.Run(tt.format, func(t *testing.T) {
			golden(t, tt.file, writeBill(t, tt.format, billSample(), billOptions()))
		})
	}
}

// TestSBOMRoundTrip: what is written, package sbom reads as the same packages.
func TestSBOMRoundTrip(t *testing.T) {
	for _, all := range []bool{false, true} {
		for _, tt := range bills {
			t.Run(fmt.Sprintf("%s, removed %t", tt.format, all), func(t *testing.T) {
				r := billSample()
				o := billOptions()
				o.IncludeRemoved = all
				doc, err := sbom.Read(bytes.NewReader(writeBill(t, tt.format, r, o)))
				if err != nil {
					t.Fatal(err)
				}
				want, got := map[string]string{}, map[string]string{}
				for i := range r.Packages {
					if p := &r.Packages[i]; all || inFinalImage(p.State) {
						source := ""
						if p.SourceName != "" {
							source = p.SourceName + " " + p.SourceVersion
						}
						want[fmt.Sprint(p.Type, " ", p.Name, " ", p.Version)] = fmt.Sprint(p.Ecosystem, p.Layer, p.State, p.StateLayer, p.Owner, source, len(p.Locations), p.KnownAs)
					}
				}
				for _, p := range doc.Inventory.Packages {
					source := ""
					if p.SourceName != "" {
						source = p.SourceName + " " + p.SourceVersion
					}
					got[fmt.Sprint(p.Type, " ", p.Name, " ", p.Version)] = fmt.Sprint(p.Ecosystem, p.Layer, p.State, p.StateLayer, p.Owner, source, len(p.Locations), p.KnownAs)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("packages (-written +read):\n%s", diff)
				}
				if len(doc.Image.Layers) != len(r.Layers) || doc.Image.Layers[4].CreatedBy != Instruction(r.Layers[4].CreatedBy) || doc.Layers()[2].Entries != 0 {
					t.Errorf("layers read: %+v", doc.Image.Layers)
				}
				if b := doc.Image.Base; b == nil || b.Reference != "debian:12" || b.Layers != 2 || b.By != "layers" {
					t.Errorf("base read: %+v", b)
				}
				if d := doc.Inventory.Distro; d.ID != "debian" || d.VersionID != "12" {
					t.Errorf("distribution read: %+v", d)
				}
				var incomplete int
				for _, p := range doc.Inventory.Problems {
					incomplete += count(p.Incomplete)
				}
				if len(doc.Inventory.Problems) != 2 || incomplete != 1 {
					t.Errorf("problems read: %+v", doc.Inventory.Problems)
				}
			})
		}
	}
}

// TestSBOMWithoutAdvisories: that a scan lacked advisories does not make its bill of
// materials incomplete for ever, and waivers of a verdict are not its affair.
func TestSBOMWithoutAdvisories(t *testing.T) {
	r := cleanReport()
	r.Problems = []Problem{
		{Layer: -1, Analyzer: matching, Message: "no advisory data for Debian:12", Incomplete: true},
		{Layer: -1, Analyzer: policy.OfWaivers, Message: "w.yaml: 1 waiver ending within two weeks"},
	}
	for _, tt := range bills {
		written := writeBill(t, tt.format, r, billOptions())
		doc, err := sbom.Read(bytes.NewReader(written))
		if err != nil {
			t.Fatal(err)
		}
		if p := doc.Inventory.Problems; len(p) != 1 || p[0].Incomplete || !strings.Contains(p[0].Message, "no advisory data") {
			t.Errorf("%s: problems read: %+v", tt.format, p)
		}
		if strings.Contains(string(written), "incomplete") {
			t.Errorf("%s: is called incomplete", tt.format)
		}
	}
}

func TestSBOMIsDeterministic(t *testing.T) {
	serial := regexp.MustCompile(`urn:uuid:[0-9a-f-]{36}|spdxdocs/[^"\s]+`)
	for _, tt := range bills {
		first := writeBill(t, tt.format, billSample(), billOptions())
		if !bytes.Equal(first, writeBill(t, tt.format, billSample(), billOptions())) {
			t.Errorf("%s: two documents of one report differ", tt.format)
		}
		later, other := billOptions(), billSample()
		later.Now = later.Now.Add(time.Hour)
		other.Packages[0].Version = "9"
		id := serial.Find(first)
		if got := serial.Find(writeBill(t, tt.format, billSample(), later)); !bytes.Equal(id, got) || id == nil {
			t.Errorf("%s: the id depends on the time: %s, %s", tt.format, id, got)
		}
		if got := serial.Find(writeBill(t, tt.format, other, billOptions())); bytes.Equal(id, got) {
			t.Errorf("%s: two contents have one id %s", tt.format, id)
		}
	}
}

// cycloneDXSchemas is the folder of the official schemas, which come with the
// library's module.
func cycloneDXSchemas(t *testing.T) string {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(dir)), "schema")
}

func cycloneDXSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	for name, file := range map[string]string{
		"bom-1.6.schema.json": "bom-1.6.schema.json", "spdx.schema.json": "spdx.schema.json", "jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		b, err := os.ReadFile(filepath.Join(cycloneDXSchemas(t), file))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource("http://cyclonedx.org/schema/"+name, doc); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// documents are reports that a document must be valid for.
func documents() map[string]*Report {
	return map[string]*Report{
		"sample": billSample(), "hostile": hostileReport(), "strange": reportOf("\x1b[0m </text>\nSPDXID: x <b>&\"'\xff\u202e"),
		"empty": {}, "no advisories": uncheckedReport(), "of a bill": sbomReport(),
	}
}

func TestCycloneDXFollowsItsSchema(t *testing.T) {
	schema := cycloneDXSchema(t)
	for name, r := range documents() {
		for _, all := range []bool{false, true} {
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(writeBill(t, FormatCycloneDX, r, SBOMOptions{IncludeRemoved: all})))
			if err == nil {
				err = schema.Validate(doc)
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if err := schema.Validate(map[string]any{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []any{map[string]any{"name": "x"}}}); err == nil {
		t.Error("the schema lets anything pass")
	}
}

func TestCycloneDXXMLFollowsItsSchema(t *testing.T) {
	xmllint := tool(t, "xmllint")
	schema := filepath.Join(cycloneDXSchemas(t), "bom-1.6.xsd")
	validate := func(doc []byte) (string, error) {
		cmd := exec.CommandContext(t.Context(), xmllint, "--nonet", "--noout", "--schema", schema, "-")
		cmd.Stdin = bytes.NewReader(doc)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for name, r := range documents() {
		if out, err := validate(writeBill(t, FormatCycloneDXXML, r, SBOMOptions{IncludeRemoved: true, Now: billOptions().Now})); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	if _, err := validate([]byte(`<bom xmlns="http://cyclonedx.org/schema/bom/1.6" version="x"/>`)); err == nil {
		t.Error("the schema lets anything pass")
	}
}

// TestCycloneDXReferences: each reference is unique, and each use of one has it.
func TestCycloneDXReferences(t *testing.T) {
	for name, r := range documents() {
		var doc any
		if err := json.Unmarshal(writeBill(t, FormatCycloneDX, r, SBOMOptions{IncludeRemoved: true}), &doc); err != nil {
			t.Fatal(err)
		}
		refs, uses := map[string]int{}, map[string]bool{}
		var walk func(v any)
		walk = func(v any) {
			switch v := v.(type) {
			case map[string]any:
				if ref, ok := v["bom-ref"].(string); ok {
					refs[ref]++
				}
				if ref, ok := v["ref"].(string); ok {
					uses[ref] = true
				}
				for _, x := range v {
					walk(x)
				}
			case []any:
				for _, x := range v {
					walk(x)
				}
			}
		}
		walk(doc)
		for ref, n := range refs {
			if n > 1 {
				t.Errorf("%s: %d elements have the reference %s", name, n, ref)
			}
		}
		for ref := range uses {
			if refs[ref] == 0 {
				t.Errorf("%s: nothing has the reference %s", name, ref)
			}
		}
	}
}

func TestSBOMLeavesOutWhatIsRemoved(t *testing.T) {
	r := billSample()
	for _, tt := range bills {
		doc := string(writeBill(t, tt.format, r, SBOMOptions{}))
		if strings.Contains(doc, "pkg:npm/jquery") || strings.Contains(doc, "CVE-2020-11022") {
			t.Errorf("%s: a removed package is in it", tt.format)
		}
		if all := string(writeBill(t, tt.format, r, SBOMOptions{IncludeRemoved: true})); !strings.Contains(all, "pkg:npm/jquery@1.8.3") || !strings.Contains(all, "removed") {
			t.Errorf("%s: removed packages are not in it when asked for", tt.format)
		}
	}
}

func TestSBOMTellsWhatAFilterHid(t *testing.T) {
	r := billSample().Filter(FilterOptions{Severities: []Severity{advisory.Critical}})
	for _, tt := range bills {
		if doc := string(writeBill(t, tt.format, r, SBOMOptions{})); !strings.Contains(doc, sbom.Hidden) {
			t.Errorf("%s does not tell of hidden findings", tt.format)
		}
		if doc := string(writeBill(t, tt.format, billSample(), SBOMOptions{})); strings.Contains(doc, sbom.Hidden) {
			t.Errorf("%s tells of hidden findings where there are none", tt.format)
		}
	}
}

func TestImageURL(t *testing.T) {
	for _, tt := range []struct{ reference, digest, want string }{
		{"registry.example:5000/Shop/app:1.4", digest(9), "pkg:oci/app@" + "sha256:" + strings.TrimPrefix(digest(9), "sha256:") + "?arch=amd64&repository_url=registry.example:5000/shop/app&tag=1.4"},
		{"registry:app@" + digest(9), digest(9), "pkg:oci/app@sha256:" + strings.TrimPrefix(digest(9), "sha256:") + "?arch=amd64&repository_url=app"},
		{"app:1", "", ""}, {"app.tar", digest(9), ""}, {"./layout", digest(9), ""}, {"oci:layout:1", digest(9), ""}, {"dir:/", digest(9), ""}, {"", digest(9), ""},
	} {
		got := imageURL(&Image{Reference: tt.reference, Digest: tt.digest, Platform: "linux/amd64"})
		if strings.ReplaceAll(strings.ReplaceAll(got, "%3A", ":"), "%2F", "/") != tt.want {
			t.Errorf("imageURL(%q) = %q, want %q", tt.reference, got, tt.want)
		}
	}
}

// FuzzSBOM puts a string wherever an image has a say: every document must be one
// that its reader reads, with the same packages and no more.
func FuzzSBOM(f *testing.F) {
	f.Add("MIT")
	f.Add("</text>\nPackageName: fake\nSPDXID: SPDXRef-fake")
	f.Add("\x1b]0;t\x07\u202e\xff<![CDATA[]]>&amp;")
	f.Add("<text>0")
	f.Add(strings.Repeat("long ", 20_000))
	f.Fuzz(func(t *testing.T, s string) {
		r := reportOf(s)
		r.Packages[0].PURL = "pkg:npm/x@1"
		r.Packages[0].License = &License{Expression: s, Evidence: []LicenseEvidence{{Path: s, Kind: "declared", Expression: s}, {Kind: "declared", Expression: "MIT"}}}
		r.Findings[0].CVSS = &CVSS{Version: s, Vector: s}
		r.Findings[0].References, r.Findings[0].Aliases = []string{s, "https://" + s}, []string{s}
		for _, b := range bills {
			doc := writeBill(t, b.format, r, SBOMOptions{IncludeRemoved: true})
			if b.format == FormatCycloneDXXML {
				checkXML(t, doc)
			}
			read, err := sbom.Read(bytes.NewReader(doc))
			if err != nil {
				t.Fatalf("%s: %v\n%s", b.format, err, doc)
			}
			if n := len(read.Inventory.Packages); n != 1 {
				t.Fatalf("%s: %d packages read, want 1\n%s", b.format, n, doc)
			}
		}
	})
}

func checkXML(t *testing.T, doc []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(doc))
	for {
		switch _, err := d.Token(); err {
		case nil:
		case io.EOF:
			return
		default:
			t.Fatalf("%v\n%s", err, doc)
		}
	}
}

func TestCycloneDXVulnerabilities(t *testing.T) {
	r := &Report{}
	p := builder{r}.pkg("npm", "a", "1", 0)
	builder{r}.finding(p, "CVE-1", advisory.High, "2", kev)
	q := builder{r}.pkg("npm", "b", "1", 0)
	builder{r}.finding(q, "CVE-1", advisory.High, "3", kev)
	builder{r}.finding(q, "CVE-1", advisory.Low, "")
	builder{r}.finding(q, "CVE-2", advisory.High, "", func(f *Finding) { f.Suppressed = &Suppression{By: ByNotRun, Reason: "headers"} })
	builder{r}.finding(q, "EOL-x", advisory.Unknown, "", func(f *Finding) { f.Kind = KindEndOfLife })
	builder{r}.finding(q, "CVE-3", advisory.High, "", func(f *Finding) { f.State, f.PackageID = inventory.Removed, "gone" })
	c := &cycloneDX{bill: newBill(r, SBOMOptions{})}
	var got []string
	for _, v := range *c.vulnerabilities() {
		line := fmt.Sprintf("%s %s affects %d: %s", v.ID, (*v.Ratings)[0].Severity, len(*v.Affects), v.Recommendation)
		if v.Analysis != nil {
			line += fmt.Sprintf(" [%s %s: %s]", v.Analysis.State, v.Analysis.Justification, v.Analysis.Detail)
		}
		got = append(got, line)
	}
	want := []string{
		"CVE-1 high affects 2: update a to 2; update b to 3", "CVE-1 low affects 1: ",
		"CVE-2 high affects 1:  [not_affected code_not_reachable: not-run: headers]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
