package report

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
	"github.com/spdx/tools-golang/spdxlib"
)

// TestSPDXIsValid holds documents against what the specification demands, in both
// formats as their reader reads them.
func TestSPDXIsValid(t *testing.T) {
	for name, r := range documents() {
		s := &spdxBill{bill: newBill(r, SBOMOptions{IncludeRemoved: true}), licenses: &spdxLicenses{}}
		doc := s.document()
		if err := spdxlib.ValidateDocument(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		checkSPDX(t, name, doc)
	}
}

// TestSPDXJSONHasItsFields: SPDX 2.3's JSON has no other fields than those of its
// schema, and words of its lists only (chapters 6, 7, 10 and 11).
func TestSPDXJSONHasItsFields(t *testing.T) {
	fields := map[string]string{
		"":                            "spdxVersion dataLicense SPDXID name documentNamespace comment creationInfo packages hasExtractedLicensingInfos relationships",
		".creationInfo":               "created creators",
		".packages":                   "name SPDXID versionInfo downloadLocation filesAnalyzed checksums sourceInfo licenseConcluded licenseDeclared copyrightText comment externalRefs primaryPackagePurpose",
		".packages.checksums":         "algorithm checksumValue",
		".packages.externalRefs":      "referenceCategory referenceType referenceLocator comment",
		".hasExtractedLicensingInfos": "licenseId extractedText name",
		".relationships":              "spdxElementId relatedSpdxElement relationshipType",
	}
	wordsOf := map[string]string{
		".spdxVersion": "SPDX-2.3", ".dataLicense": "CC0-1.0", ".packages.checksums.algorithm": "SHA256", ".packages.externalRefs.referenceCategory": "PACKAGE-MANAGER SECURITY",
		".packages.externalRefs.referenceType": "purl advisory", ".packages.primaryPackagePurpose": "CONTAINER OPERATING-SYSTEM ARCHIVE LIBRARY APPLICATION",
		".relationships.relationshipType": "DESCRIBES CONTAINS HAS_PREREQUISITE", ".packages.downloadLocation": "NOASSERTION", ".packages.copyrightText": "NOASSERTION",
	}
	patterns := map[string]*regexp.Regexp{
		".creationInfo.created":                   regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`),
		".creationInfo.creators":                  regexp.MustCompile(`^Tool: \S+-\S+$`),
		".documentNamespace":                      regexp.MustCompile(`^https://[^\s#]+$`),
		".packages.SPDXID":                        regexp.MustCompile(`^SPDXRef-[A-Za-z0-9.-]+$`),
		".packages.externalRefs.referenceLocator": regexp.MustCompile(`^\S+$`),
		".packages.name":                          regexp.MustCompile(`^.+$`),
	}
	for name, r := range documents() {
		var doc any
		if err := json.Unmarshal(writeBill(t, FormatSPDX, r, SBOMOptions{IncludeRemoved: true}), &doc); err != nil {
			t.Fatal(err)
		}
		var walk func(path string, v any)
		walk = func(path string, v any) {
			switch v := v.(type) {
			case map[string]any:
				for field, x := range v {
					if !slices.Contains(strings.Fields(fields[path]), field) {
						t.Errorf("%s: %s has no field %s", name, path, field)
					}
					walk(path+"."+field, x)
				}
			case []any:
				for _, x := range v {
					walk(path, x)
				}
			case string:
				if list := strings.Fields(wordsOf[path]); len(list) > 0 && !slices.Contains(list, v) {
					t.Errorf("%s: %s is %q", name, path, v)
				}
				if p := patterns[path]; p != nil && !p.MatchString(v) {
					t.Errorf("%s: %s is %q", name, path, v)
				}
			}
		}
		walk("", doc)
	}
}

var (
	spdxElementID = regexp.MustCompile(`^[A-Za-z0-9.-]+$`)
	spdxCreator   = regexp.MustCompile(`^[A-Za-z0-9.-]+$`)
)

func checkSPDX(t *testing.T, name string, doc *v2_3.Document) {
	t.Helper()
	explained := map[string]bool{}
	for _, l := range doc.OtherLicenses {
		if explained[l.LicenseIdentifier] || !regexp.MustCompile(`^LicenseRef-[A-Za-z0-9.-]+$`).MatchString(l.LicenseIdentifier) || l.ExtractedText == "" || l.LicenseName == "" {
			t.Errorf("%s: licence %+v", name, l)
		}
		explained[l.LicenseIdentifier] = true
	}
	seen := map[common.ElementID]bool{}
	for _, p := range doc.Packages {
		if seen[p.PackageSPDXIdentifier] || !spdxElementID.MatchString(string(p.PackageSPDXIdentifier)) {
			t.Errorf("%s: identifier %q is double or not well-formed", name, p.PackageSPDXIdentifier)
		}
		seen[p.PackageSPDXIdentifier] = true
		for _, text := range []string{p.PackageName, p.PackageVersion, p.PackageLicenseDeclared, p.PackageLicenseConcluded} {
			if strings.ContainsAny(text, "\n\r") {
				t.Errorf("%s: %q has more than a line", name, text)
			}
		}
		if strings.Contains(p.PackageComment+p.PackageSourceInfo, "</text>") {
			t.Errorf("%s: text %q ends itself", name, p.PackageComment)
		}
		for _, e := range []string{p.PackageLicenseDeclared, p.PackageLicenseConcluded} {
			for _, ref := range licenseRef.FindAllString(e, -1) {
				if !explained[ref] {
					t.Errorf("%s: nothing explains %s", name, ref)
				}
			}
		}
	}
	for _, c := range doc.CreationInfo.Creators {
		if !spdxCreator.MatchString(c.Creator) {
			t.Errorf("%s: creator %q", name, c.Creator)
		}
	}
}

func TestIsExpression(t *testing.T) {
	for e, want := range map[string]bool{
		"MIT": true, "GPL-2.0+": true, "MIT OR (Apache-2.0 AND LicenseRef-x)": true, "GPL-2.0-only WITH Classpath-exception-2.0 OR MIT": true,
		"((MIT))": true, "": false, "MIT Apache-2.0": false, "MIT OR": false, "(MIT": false, "MIT)": false, "OR": false, "()": false,
		"MIT WITH (x)": false, "MIT OR see LICENSE": false, "DocumentRef-a:LicenseRef-b": false, "MIT\nOR": false, "MIT\nOR x": false, "GPL+2": false,
	} {
		if got := isExpression(e); got != want {
			t.Errorf("isExpression(%q) = %t", e, got)
		}
	}
}
