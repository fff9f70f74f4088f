package report

import (
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// FuzzFormats writes a report whose every text is what the fuzzer thinks of, in
// each format: it must be read back, follow its schema, and drive neither a
// terminal nor a runner.
func FuzzFormats(f *testing.F) {
	for _, seed := range []string{
		"", "lodash", "@babel/core", "=1+1", "a|b`c\\d", "\x00\xff\u202e\ufffe", "]]></testsuite>", "\r\n::error::x", "##[error]x", "%0A%25", "CVE-2020-1234",
		"https://evil.example/)x", "{{.}}", "EOL-x", strings.Repeat("a/", 3000), "registry:5000/a/b:1@sha256:c", "<img src=x onerror=y>", "a:b", "//host/x", "../../x", "sbom:", "CVSS:3.1/AV:N",
	} {
		f.Add(seed)
	}
	schemas := map[string]*jsonschema.Schema{
		"sarif": compileSchema(f, "sarif-2.1.0.json"), "gitlab": compileSchema(f, "gitlab-container-scanning.json"),
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := reportOf(s)
		r.Findings[0].References, r.Findings[0].Aliases, r.Findings[0].Summary = []string{s, "https://ok.example/" + s}, []string{s, "x" + s}, s
		r.Findings[0].CVSS = &CVSS{Version: s, Vector: s, Score: 5}
		r.Findings = append(r.Findings, Finding{Kind: KindEndOfLife, ID: "EOL-" + s, PackageName: s, PackageVersion: s, Layer: -1})
		r.Packages[0].License = &License{Expression: s, Evidence: []LicenseEvidence{{Path: s, Kind: s, Expression: s}}}
		for _, format := range Formats() {
			switch format.Name {
			case "table", "json", "template", FormatCycloneDX, FormatCycloneDXXML, FormatSPDX, FormatSPDXTagValue:
				continue // which have fuzz targets of their own
			}
			doc := written(t, format.Name, formatOptions(), r)
			checkSafe(t, strings.ReplaceAll(string(doc), "\r\n", "\n"))
			switch format.Name {
			case "sarif", "gitlab":
				if err := schemas[format.Name].Validate(parseJSON(t, doc)); err != nil {
					t.Fatalf("%s: %v", format.Name, err)
				}
			case "gitlab-codequality", "trivy":
				parseJSON(t, doc)
			case "junit":
				checkXML(t, doc)
			case "csv":
				readCSV(t, doc)
			case "github":
				if _, rest := readCommands(t, string(doc)); len(rest) != 1 {
					t.Fatalf("%q are no commands", rest)
				}
			case "markdown", "github-summary":
				checkMarkdownTables(t, string(doc))
			}
		}
	})
}

// checkMarkdownTables holds that each row has as many cells as its table's head,
// and that what is no code has no markup but ours.
func checkMarkdownTables(t *testing.T, doc string) {
	t.Helper()
	escaped := regexp.MustCompile(`\\.`)
	spans := regexp.MustCompile("`[^`]*`|<code>[^<]*</code>|\\]\\(https://[A-Za-z0-9./_+:-]+\\)|<!-- -->|</?details>|</?summary>")
	cells := 0
	for line := range strings.SplitSeq(doc, "\n") {
		text := spans.ReplaceAllString(escaped.ReplaceAllString(line, ""), "")
		if strings.ContainsAny(text, "<`") {
			t.Fatalf("markup in %q", line)
		}
		n := strings.Count(escaped.ReplaceAllString(line, ""), "|")
		switch {
		case !strings.HasPrefix(line, "|"):
			cells = 0
		case cells == 0:
			cells = n
		case n != cells:
			t.Fatalf("%d cells in a table of %d: %q", n, cells, line)
		}
	}
}
