package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/inventory"
)

// vexDocuments are one of each format.
var vexDocuments = map[string]string{
	"openvex": `{"@context": "https://openvex.dev/ns/v0.2.0", "author": "a", "timestamp": "2026-01-01T00:00:00Z", "statements": [
		{"vulnerability": {"name": "CVE-1", "aliases": ["GHSA-1"]}, "status": "not_affected", "justification": "component_not_present",
		 "products": [{"@id": "pkg:oci/app?repository_url=registry.example:5000/shop", "subcomponents": [{"@id": "pkg:npm/left-pad"}]}]}]}`,
	"cyclonedx": `{"bomFormat": "CycloneDX", "metadata": {"component": {"bom-ref": "root", "type": "container", "name": "registry.example:5000/shop/app", "version": "1.0"}},
		"components": [{"bom-ref": "a", "components": [{"bom-ref": "b", "purl": "pkg:npm/left-pad@1.0.0"}]}],
		"vulnerabilities": [{"id": "CVE-1", "analysis": {"state": "false_positive"}, "affects": [{"ref": "b", "versions": [{"version": "1.0.0"}]}]}]}`,
	"csaf": `{"document": {"csaf_version": "2.0"}, "product_tree": {"full_product_names": [
		{"product_id": "p", "name": "left-pad", "product_identification_helper": {"purl": "pkg:npm/left-pad"}},
		{"product_id": "i", "name": "app", "product_identification_helper": {"purl": "pkg:oci/app"}}],
		"product_groups": [{"group_id": "g", "product_ids": ["i:p"]}],
		"relationships": [{"product_reference": "p", "relates_to_product_reference": "i", "full_product_name": {"product_id": "i:p", "name": "left-pad of app"}}]},
		"vulnerabilities": [{"cve": "CVE-1", "product_status": {"known_not_affected": ["i:p"], "recommended": ["p"]}, "flags": [{"label": "component_not_present", "group_ids": ["g"]}]}]}`,
}

// pad is an image with a package and a vulnerability in it.
func pad(change ...func(*Input)) *Input {
	in := &Input{
		Now:      today,
		Image:    Image{Reference: "registry.example:5000/shop/app:1.0", Digest: "sha256:aaaa", ConfigDigest: "sha256:cccc", Platform: "linux/amd64", Distro: Distro{ID: "rhel", Version: "9.4"}},
		Packages: []Package{{ID: "p", Type: "npm", Name: "left-pad", Version: "1.0.0", PURL: "pkg:npm/left-pad@1.0.0", State: inventory.Present, Paths: []string{"app/left-pad/package.json"}}},
		Findings: []Finding{{ID: "CVE-1", Aliases: []string{"GHSA-1"}, PackageID: "p", State: inventory.Present, FixedVersion: "1.3.0"}},
	}
	for _, c := range change {
		c(in)
	}
	return in
}

func TestVEXFormats(t *testing.T) {
	reasons := map[string]string{
		"openvex":   "not affected: component not present (a, v.json)",
		"cyclonedx": "not affected: false positive (v.json)",
		"csaf":      "not affected: component not present (v.json)",
		"in-toto":   "not affected: because (v.json)",
	}
	documents := maps.Clone(vexDocuments)
	documents["in-toto"] = `{"predicateType": "https://openvex.dev/ns", "subject": [{"name": "other", "digest": {"sha256": "bbbb"}}, {"name": "app", "digest": {"sha256": "aaaa"}}],
		"predicate": {"@context": "https://openvex.dev/ns", "statements": [{"vulnerability": "CVE-1", "status": "not_affected", "impact_statement": "because"}]}}`
	for name, text := range documents {
		t.Run(name, func(t *testing.T) {
			v, err := ParseVEX("v.json", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			in := pad()
			remarks := ApplyVEX(in, v)
			want := &Suppression{By: ByVEX, Reason: reasons[name]}
			if diff := cmp.Diff(want, in.Findings[0].Suppressed); diff != "" {
				t.Errorf("suppressed (-want +got):\n%s", diff)
			}
			if in.Findings[0].Status != NotAffected || len(remarks) > 0 {
				t.Errorf("status %q, remarks %v", in.Findings[0].Status, remarks)
			}
		})
	}
}

// TestVEXProducts asks which products are meant by which identifier.
func TestVEXProducts(t *testing.T) {
	rpm := func(in *Input) {
		in.Packages[0] = Package{ID: "p", Type: "rpm", Name: "openssl-libs", Version: "1:3.0.7-6.el9", SourceName: "openssl", SourceVersion: "1:3.0.7-6.el9", PURL: "pkg:rpm/redhat/openssl-libs@3.0.7-6.el9?arch=x86_64&distro=rhel-9.4&epoch=1", State: inventory.Present}
	}
	binary := func(in *Input) {
		in.Packages = append(in.Packages, Package{ID: "q", Type: "golang", Name: "example/tool", PURL: "pkg:golang/example/tool@v1", State: inventory.Present, Paths: []string{"bin/tool"}})
		in.Packages[0].Paths = []string{"bin/tool"}
	}
	maven := func(in *Input) {
		in.Packages[0] = Package{ID: "p", Type: "maven", Name: "g:a", Version: "1", PURL: "pkg:maven/g/a@1", State: inventory.Present}
	}
	hub := func(in *Input) { in.Image.Reference = "nginx:1.25" }
	part := `{"@id": %q, "subcomponents": [{"@id": "pkg:npm/left-pad"}]}`
	tests := []struct {
		product string
		change  func(*Input)
		want    bool
	}{
		{`"pkg:npm/left-pad@1.0.0"`, nil, true},
		{`"pkg:npm/left-pad"`, nil, true},
		{`"pkg:npm/left-pad@1.0.1"`, nil, false},
		{`"pkg:npm/left-pad?repository_url=elsewhere"`, nil, false},
		{`"pkg:npm/%40left/pad"`, nil, false},
		{`"pkg:pypi/left-pad"`, nil, false},
		{`{"@id": "https://example.com/a", "identifiers": {"purl": "pkg:npm/left-pad"}}`, nil, true},
		{`"registry.example:5000/shop/app:1.0"`, nil, true},
		{`"registry.example:5000/shop/app"`, nil, true},
		{`"registry.example:5000/shop/app:2.0"`, nil, false},
		{`"registry.example:5000/shop/app@sha256:aaaa"`, nil, true},
		{`"sha256:cccc"`, nil, true},
		{`{"@id": "x", "hashes": {"sha-256": "aaaa"}}`, nil, true},
		{`"app"`, nil, false},
		{`"nginx"`, hub, false},
		{`"nginx:1.25"`, hub, true},
		{`"docker.io/library/nginx"`, hub, true},
		{`"pkg:docker/library/nginx@1.25"`, hub, true},
		{`"pkg:docker/nginx@1.24"`, hub, false},
		{`"pkg:oci/app@sha256:aaaa"`, nil, true},
		{`"pkg:oci/app@sha256:bbbb"`, nil, false},
		{`"pkg:oci/app@sha256%3Aaaaa?repository_url=registry.example:5000/shop/app&arch=amd64"`, nil, true},
		{`"pkg:oci/app@sha256:aaaa?arch=arm64"`, nil, false},
		{`"pkg:oci/app?repository_url=other.example/shop/app"`, nil, false},
		{`"pkg:oci/app?tag=1.0"`, nil, true},
		{`"pkg:oci/app?tag=2.0"`, nil, false},
		{`"pkg:oci/other@sha256:aaaa"`, nil, false},
		{fmt.Sprintf(part, "pkg:oci/app"), nil, true},
		{fmt.Sprintf(part, "pkg:oci/other"), nil, false},
		{fmt.Sprintf(part, "pkg:golang/example/tool"), nil, false},
		{fmt.Sprintf(part, "pkg:golang/example/tool"), binary, true},
		{fmt.Sprintf(part, "pkg:golang/example/tool@1"), binary, true},
		{fmt.Sprintf(part, "pkg:golang/example/tool@v2"), binary, false},
		{`{"@id": "pkg:oci/app", "subcomponents": [{"@id": "pkg:npm/right-pad"}]}`, nil, false},
		{`"pkg:rpm/redhat/openssl-libs@3.0.7-6.el9?arch=x86_64"`, rpm, true},
		{`"pkg:rpm/redhat/openssl-libs@1:3.0.7-6.el9"`, rpm, true},
		{`"pkg:rpm/redhat/openssl-libs@2:3.0.7-6.el9"`, rpm, false},
		{`"pkg:rpm/redhat/openssl-libs@3.0.7-6.el9?arch=s390x"`, rpm, false},
		{`"pkg:rpm/redhat/openssl-libs?distro=rhel-9"`, rpm, true},
		{`"pkg:rpm/redhat/openssl-libs?distro=rhel-8"`, rpm, false},
		{`"pkg:rpm/redhat/openssl@3.0.7-6.el9?arch=src&epoch=1"`, rpm, true},
		{`"pkg:rpm/redhat/openssl@3.0.7-5.el9?arch=src"`, rpm, false},
		{`"pkg:rpm/centos/openssl-libs"`, rpm, false},
		{`"pkg:maven/g/a@1?type=jar"`, maven, true},
		{`"pkg:maven/g/a@1?type=war"`, maven, false},
		{`"pkg:maven/g/a@1?classifier=sources"`, maven, false},
	}
	for _, tt := range tests {
		t.Run(tt.product, func(t *testing.T) {
			text := fmt.Sprintf(`{"@context": "https://openvex.dev/ns", "statements": [{"vulnerability": {"name": "GHSA-1"}, "status": "fixed", "products": [%s]}]}`, tt.product)
			v, err := ParseVEX("v.json", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			in := pad()
			if tt.change != nil {
				tt.change(in)
			}
			remarks := ApplyVEX(in, v)
			if got := in.Findings[0].Suppressed != nil; got != tt.want {
				t.Errorf("applies: %v, want %v", got, tt.want)
			}
			if named := len(remarks) == 1 && strings.Contains(remarks[0].Message, "in products that it has not"); named == tt.want {
				t.Errorf("remarks %v", remarks)
			}
		})
	}
}

// TestVEXOfAnotherFlaw: ids that several flaws have in common, as of an erratum,
// carry no statement from one to another, and are not written as aliases.
func TestVEXOfAnotherFlaw(t *testing.T) {
	v, err := ParseVEX("v.json", []byte(`{"@context": "https://openvex.dev/ns", "statements": [{"vulnerability": {"name": "CVE-2", "aliases": ["DSA-7-2", "GHSA-1"]}, "status": "fixed", "products": ["pkg:npm/left-pad"]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	in := pad(func(in *Input) { in.Findings[0].Aliases = []string{"DEBIAN-CVE-1", "DSA-7-2", "GHSA-1"} })
	if ApplyVEX(in, v); in.Findings[0].Suppressed != nil {
		t.Errorf("set aside by what is said of another: %v", in.Findings[0].Suppressed)
	}
	text, _, err := WriteOpenVEX(in, VEXOptions{Author: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if written := string(text); strings.Contains(written, "DSA-7") || !strings.Contains(written, `"GHSA-1"`) || !strings.Contains(written, `"DEBIAN-CVE-1"`) {
		t.Errorf("aliases:\n%s", written)
	}
}

// TestCSAFProductWithinItself: relationships that go round do not grow without end.
func TestCSAFProductWithinItself(t *testing.T) {
	one := `{"product_reference": "p", "relates_to_product_reference": "p", "full_product_name": {"product_id": "p", "name": "left-pad"}}`
	text := `{"document": {"csaf_version": "2.0"}, "product_tree": {"full_product_names": [
		{"product_id": "p", "name": "left-pad", "product_identification_helper": {"purl": "pkg:npm/left-pad@2"}}],
		"relationships": [` + strings.Repeat(one+",", 10_000) + one + `]},
		"vulnerabilities": [{"cve": "CVE-1", "product_status": {"known_not_affected": ["p"]}}]}`
	v, err := ParseVEX("v.json", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	remarks := ApplyVEX(pad(), v)
	if want := "CVE-1 of pkg:npm/left-pad@2 in pkg:npm/left-pad@2"; len(remarks) != 1 || !strings.HasSuffix(remarks[0].Message, want) {
		t.Errorf("remarks %.200v, want one that ends in %q", remarks, want)
	}
}

// TestCSAFPlatforms: a component without version is only that of the platform.
func TestCSAFPlatforms(t *testing.T) {
	const text = `{"document": {"csaf_version": "2.0"}, "product_tree": {"full_product_names": [
		{"product_id": "c", "name": "left-pad", "product_identification_helper": {"purl": %q}},
		{"product_id": "o", "name": "RHEL", "product_identification_helper": {"cpe": %q}}],
		"relationships": [{"product_reference": "c", "relates_to_product_reference": "o", "full_product_name": {"product_id": "o:c", "name": "x"}}]},
		"vulnerabilities": [{"cve": "CVE-1", "product_status": {"known_not_affected": ["o:c"]}}]}`
	tests := []struct {
		purl, cpe string
		want      bool
	}{
		{"pkg:npm/left-pad", "cpe:/o:redhat:enterprise_linux:9::baseos", true},
		{"pkg:npm/left-pad", "cpe:2.3:o:redhat:enterprise_linux:9:*:*:*:*:*:*:*", true},
		{"pkg:npm/left-pad", "cpe:/o:redhat:enterprise_linux:8", false},
		{"pkg:npm/left-pad", "cpe:/a:redhat:openshift:4", false},
		{"pkg:npm/left-pad", "", false},
		{"pkg:npm/left-pad@1.0.0", "cpe:/a:redhat:openshift:4", true},
	}
	for _, tt := range tests {
		v, err := ParseVEX("v.json", fmt.Appendf(nil, text, tt.purl, tt.cpe))
		if err != nil {
			t.Fatal(err)
		}
		in := pad()
		ApplyVEX(in, v)
		if got := in.Findings[0].Suppressed != nil; got != tt.want {
			t.Errorf("%s on %q applies: %v, want %v", tt.purl, tt.cpe, got, tt.want)
		}
	}
}

func TestVEXOfLaterCounts(t *testing.T) {
	statement := func(status, when string) *VEX {
		v, err := ParseVEX(status+".json", fmt.Appendf(nil, `{"@context": "https://openvex.dev/ns", "timestamp": %q, "statements": [{"vulnerability": "CVE-1", "status": %q, "products": ["pkg:npm/left-pad"]}]}`, when, status))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	tests := []struct {
		documents []*VEX
		want      Status
		set       bool
	}{
		{[]*VEX{statement("fixed", "2026-01-01T00:00:00Z"), statement("affected", "2026-01-02T00:00:00Z")}, Affected, false},
		{[]*VEX{statement("affected", "2026-01-02T00:00:00Z"), statement("fixed", "2026-01-01T00:00:00Z")}, Affected, false},
		{[]*VEX{statement("affected", "2026-01-01T00:00:00Z"), statement("fixed", "2026-01-01T00:00:00Z")}, Fixed, true},
		{[]*VEX{statement("under_investigation", "2026-01-01T00:00:00Z")}, UnderInvestigation, false},
	}
	for _, tt := range tests {
		in := pad()
		ApplyVEX(in, tt.documents...)
		if f := in.Findings[0]; f.Status != tt.want || (f.Suppressed != nil) != tt.set {
			t.Errorf("status %q, suppressed %v; want %q, %v", f.Status, f.Suppressed, tt.want, tt.set)
		}
	}
}

func TestVEXErrors(t *testing.T) {
	for text, want := range map[string]string{
		``:                 "v.json: not JSON",
		`{"a": 1}`:         "v.json: neither OpenVEX, CycloneDX nor CSAF",
		`{"document": {}}`: "v.json: CSAF without version: only 2.0 can be read",
		`{"@context": "openvex", "statements": 1}`: "v.json: OpenVEX: ",
	} {
		if _, err := ParseVEX("v.json", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", text, err, want)
		}
	}
}

// TestWriteOpenVEX: what is written says what is known and no more, keeps its id,
// and can be read again.
func TestWriteOpenVEX(t *testing.T) {
	set := func(by string) func(*Input) {
		return func(in *Input) { in.Findings[0].Suppressed = &Suppression{By: by, Reason: "because"} }
	}
	tests := map[string]struct {
		change func(*Input)
		want   openVEXWrittenStatement
		silent bool
	}{
		"fixable":     {func(*Input) {}, openVEXWrittenStatement{Status: Affected, ActionStatement: "Update left-pad to 1.3.0 or newer."}, false},
		"no fix":      {func(in *Input) { in.Findings[0].FixedVersion = "" }, openVEXWrittenStatement{Status: Affected, ActionStatement: "No version without it is known so far."}, false},
		"waived":      {set(ByWaiver), openVEXWrittenStatement{Status: Affected, ActionStatement: "Update left-pad to 1.3.0 or newer.", StatusNotes: "accepted for now: because"}, false},
		"not run":     {set(byNotRun), openVEXWrittenStatement{Status: NotAffected, Justification: "vulnerable_code_not_in_execute_path", ImpactStatement: "because"}, false},
		"distro":      {set("distro-owned"), openVEXWrittenStatement{}, true},
		"lower layer": {func(in *Input) { in.Findings[0].State = inventory.Removed }, openVEXWrittenStatement{}, true},
		"end of life": {func(in *Input) { in.Findings[0].Kind = kindEndOfLife }, openVEXWrittenStatement{}, true},
		"looked into": {func(in *Input) { in.Findings[0].Status = UnderInvestigation }, openVEXWrittenStatement{Status: UnderInvestigation}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := pad(tt.change)
			text, silent, err := WriteOpenVEX(in, VEXOptions{Author: "a", Made: today})
			if err != nil {
				t.Fatal(err)
			}
			var doc openVEXDocument
			if err := json.Unmarshal(text, &doc); err != nil {
				t.Fatal(err)
			}
			if tt.silent {
				if len(doc.Statements) != 0 || silent != 1 {
					t.Errorf("%d statements, %d silent", len(doc.Statements), silent)
				}
				return
			}
			got := doc.Statements[0]
			product := got.Products[0].ID + " " + got.Products[0].Subcomponents[0].ID
			if want := "pkg:oci/app@sha256:aaaa?repository_url=registry.example:5000%2Fshop%2Fapp&tag=1.0 pkg:npm/left-pad@1.0.0"; product != want {
				t.Errorf("product %s, want %s", product, want)
			}
			got.Vulnerability, got.Products = openVEXWrittenName{}, nil
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("statement (-want +got):\n%s", diff)
			}
			later, _, err := WriteOpenVEX(pad(tt.change), VEXOptions{Author: "a", Tooling: "newer", Made: today.AddDate(1, 0, 0)})
			if err != nil || !strings.Contains(string(later), doc.ID) {
				t.Errorf("the id %s did not stay: %v", doc.ID, err)
			}
			v, err := ParseVEX("again.json", text)
			if err != nil {
				t.Fatal(err)
			}
			again := pad()
			if remarks := ApplyVEX(again, v); len(remarks) > 0 || again.Findings[0].Status != doc.Statements[0].Status {
				t.Errorf("read again: status %q, remarks %v", again.Findings[0].Status, remarks)
			}
		})
	}
}
