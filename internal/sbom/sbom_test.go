package sbom

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"

	"strata/internal/inventory"
)

// describe is a line for the distribution, each package and each problem.
func describe(d Document) []string {
	out := []string{d.Format + ", " + d.Inventory.Distro.String()}
	for _, p := range d.Inventory.Packages {
		s := p.Type + " " + p.Name + " " + p.Version
		for _, x := range []struct{ name, value string }{{"arch", p.Arch}, {"ecosystem", p.Ecosystem}, {"source", strings.TrimSpace(p.SourceName + " " + p.SourceVersion)}, {"licences", strings.Join(p.Licenses, "|")}} {
			if x.value != "" {
				s += " " + x.name + "=" + x.value
			}
		}
		out = append(out, s)
	}
	for _, p := range d.Inventory.Problems {
		out = append(out, "! "+p.Message)
	}
	return out
}

const (
	cycloneDXJSON = `{"bomFormat":"CycloneDX","specVersion":"1.5","version":1,
"metadata":{"component":{"type":"container","name":"app","version":"sha256:00"}},
"components":[
 {"type":"operating-system","name":"debian","version":"12"},
 {"type":"library","name":"libc6","version":"2.36-9","purl":"pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12&upstream=glibc","licenses":[{"license":{"id":"LGPL-2.1-only"}},{"license":{"name":"custom"}}]},
 {"type":"application","name":"node-app","version":"1.0.0","components":[
   {"type":"library","group":"@babel","name":"core","version":"7.0.0","purl":"pkg:npm/%40babel/core@7.0.0","licenses":[{"expression":"MIT OR Apache-2.0"}],"components":[
     {"type":"library","name":"ms","version":"2.1.2","purl":"pkg:npm/ms@2.1.2"}]}]},
 {"type":"file","name":"/etc/passwd","version":"1"},
 {"type":"library","name":"ms","version":"2.1.2","purl":"pkg:npm/ms@2.1.2"},
 {"type":"container","name":"base","purl":"pkg:oci/base@sha256%3A00"}
]}`
	cycloneDXXML = `<?xml version="1.0" encoding="UTF-8"?>
<!-- a comment -->
<bom xmlns="http://cyclonedx.org/schema/bom/1.4" version="1">
 <components>
  <component type="operating-system"><name>alpine</name><version>3.19.1</version></component>
  <component type="library"><name>musl</name><version>1.2.4-r2</version><licenses><license><id>MIT</id></license></licenses><purl>pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64</purl>
   <components><component type="library"><name>x</name><version>1</version><purl>pkg:pypi/x@1</purl></component></components>
  </component>
 </components>
</bom>`
	spdxJSONText = `{"spdxVersion":"SPDX-2.3","dataLicense":"CC0-1.0","SPDXID":"SPDXRef-DOCUMENT","name":"x","documentNamespace":"https://x.invalid/1",
"creationInfo":{"created":"2024-01-01T00:00:00Z","creators":["Tool: x"]},
"packages":[
 {"SPDXID":"SPDXRef-1","name":"bash","versionInfo":"5.1.8-6.el9","downloadLocation":"NOASSERTION","licenseDeclared":"NOASSERTION","licenseConcluded":"GPL-3.0-or-later","externalRefs":[
   {"referenceCategory":"SECURITY","referenceType":"cpe23Type","referenceLocator":"cpe:2.3:a:bash:bash:5:*:*:*:*:*:*:*"},
   {"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"pkg:rpm/redhat/bash@5.1.8-6.el9?arch=x86_64&distro=rhel-9.2&epoch=1&upstream=bash-5.1.8-6.el9.src.rpm"}]},
 {"SPDXID":"SPDXRef-2","name":"no-purl","versionInfo":"1","downloadLocation":"NOASSERTION","licenseDeclared":"NOASSERTION"},
 {"SPDXID":"SPDXRef-3","name":"image","versionInfo":"1","primaryPackagePurpose":"CONTAINER","downloadLocation":"NOASSERTION"}
]}`
	spdxText = `SPDXVersion: SPDX-2.3
DataLicense: CC0-1.0
SPDXID: SPDXRef-DOCUMENT
DocumentName: x
DocumentNamespace: https://x.invalid/1
Creator: Tool: x
Created: 2024-01-01T00:00:00Z

##### Package: left-pad
PackageName: left-pad
SPDXID: SPDXRef-Package-1
PackageVersion: 1.0.0
PackageDownloadLocation: NOASSERTION
FilesAnalyzed: false
PackageLicenseConcluded: NOASSERTION
PackageLicenseDeclared: WTFPL
PackageCopyrightText: NOASSERTION
ExternalRef: PACKAGE-MANAGER purl pkg:npm/left-pad@1.0.0
`
)

func TestRead(t *testing.T) {
	tests := []struct {
		name, content string
		want          []string
	}{
		{"CycloneDX JSON", cycloneDXJSON, []string{"CycloneDX, debian 12",
			"deb libc6 2.36-9 arch=amd64 ecosystem=Debian:12 source=glibc licences=LGPL-2.1-only|custom",
			"npm @babel/core 7.0.0 ecosystem=npm licences=MIT OR Apache-2.0", "npm ms 2.1.2 ecosystem=npm",
			`! component "node-app" "1.0.0" has no purl: it can't be matched`}},
		{"CycloneDX XML", cycloneDXXML, []string{"CycloneDX, alpine 3.19.1", "apk musl 1.2.4-r2 arch=x86_64 ecosystem=Alpine:v3.19 licences=MIT", "pypi x 1 ecosystem=PyPI"}},
		{"SPDX JSON", spdxJSONText, []string{"SPDX, rhel 9.2",
			"rpm bash 1:5.1.8-6.el9 arch=x86_64 ecosystem=Red Hat:enterprise_linux:9 source=bash 5.1.8-6.el9 licences=GPL-3.0-or-later",
			`! component "no-purl" "1" has no purl: it can't be matched`}},
		{"SPDX tag-value", spdxText, []string{"SPDX, unknown distribution", "npm left-pad 1.0.0 ecosystem=npm licences=WTFPL"}},
		{"a byte order mark and spaces", "\xef\xbb\xbf\n  " + cycloneDXXML, []string{"CycloneDX, alpine 3.19.1", "apk musl 1.2.4-r2 arch=x86_64 ecosystem=Alpine:v3.19 licences=MIT", "pypi x 1 ecosystem=PyPI"}},
		{"nothing in it", `{"bomFormat":"CycloneDX","specVersion":"1.4"}`, []string{"CycloneDX, unknown distribution"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := Read(strings.NewReader(tt.content))
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(tt.want, describe(d)); diff != "" {
				t.Errorf("document (-want +got):\n%s", diff)
			}
			requireSound(t, d)
		})
	}
}

// withPURLs is a CycloneDX document of libraries.
func withPURLs(purls ...string) string {
	var b strings.Builder
	for i, p := range purls {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"type":"library","name":"c%d","version":"1","purl":%q}`, i, p)
	}
	return `{"bomFormat":"CycloneDX","specVersion":"1.5","components":[` + b.String() + `]}`
}

func TestReadPURLs(t *testing.T) {
	tests := []struct{ purl, want string }{
		{"pkg:npm/lodash@4.17.4", "npm lodash 4.17.4 ecosystem=npm"},
		{"pkg:npm/%40babel/core@7.0.0", "npm @babel/core 7.0.0 ecosystem=npm"},
		{"pkg:npm/@babel/core@7.0.0", "npm @babel/core 7.0.0 ecosystem=npm"},
		{"pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1?type=jar", "maven org.apache.logging.log4j:log4j-core 2.14.1 ecosystem=Maven"},
		{"pkg:golang/github.com/docker/docker@v24.0.7%2Bincompatible", "golang github.com/docker/docker v24.0.7+incompatible ecosystem=Go"},
		{"pkg:golang/github.com/Masterminds/goutils@v1.1.0#sub/Path", "golang github.com/Masterminds/goutils v1.1.0 ecosystem=Go"},
		{"pkg:golang/github.com%2FMasterminds%2Fgoutils@v1.1.0", "golang github.com/Masterminds/goutils v1.1.0 ecosystem=Go"},
		{"PKG:GoLang/github.com/BurntSushi/toml@v1?x=a/b@c", "golang github.com/BurntSushi/toml v1 ecosystem=Go"},
		{"pkg:golang/stdlib@go1.21.0", "golang stdlib 1.21.0 ecosystem=Go"},
		{"pkg:pypi/Django_X@3.2", "pypi django-x 3.2 ecosystem=PyPI"},
		{"pkg:cargo/rand@0.7.2", "cargo rand 0.7.2 ecosystem=crates.io"},
		{"pkg:gem/rails@5.0.0", "gem rails 5.0.0 ecosystem=RubyGems"},
		{"pkg:composer/laravel/framework@8", "composer laravel/framework 8 ecosystem=Packagist"},
		{"pkg:nuget/Newtonsoft.Json@12.0.1", "nuget Newtonsoft.Json 12.0.1 ecosystem=NuGet"},
		{"pkg:swift/github.com/Alamofire/Alamofire@5.4.3", "swift github.com/Alamofire/Alamofire 5.4.3 ecosystem=SwiftURL"},
		{"pkg:deb/debian/curl@1:7.50.3-1?arch=i386", "deb curl 1:7.50.3-1 arch=i386"},
		{"pkg:deb/debian/libgcc-s1@12.2.0-14?upstream=gcc-12%4012.2.0-14", "deb libgcc-s1 12.2.0-14 source=gcc-12 12.2.0-14"},
		{"pkg:deb/debian/login@4.8.1-1?epoch=1", "deb login 1:4.8.1-1"},
		{"pkg:rpm/fedora/curl@7.50.3-1.fc25?epoch=0", "rpm curl 7.50.3-1.fc25"},
		{"pkg:rpm/centos/bind-libs@9.11.4-16?epoch=32&upstream=bind-9.11.4-16.src.rpm", "rpm bind-libs 32:9.11.4-16 source=bind 9.11.4-16"},
		{"pkg:rpm/centos/x@1-1?upstream=odd.src.rpm", "rpm x 1-1 source=odd"},
		{"pkg:rpm/centos/x@1-1?upstream=-1-1.src.rpm", "rpm x 1-1 source=-1-1"},
		{"pkg:apk/alpine/ssl_client@1.36?upstream=busybox", "apk ssl_client 1.36 source=busybox"},
		{"pkg:foo/some/thing@1", "foo some/thing 1"},
		{"pkg:generic/openssl@1.1.1", "generic openssl 1.1.1"},
		{"pkg:npm/a%FFb@1", "npm a\uFFFDb 1 ecosystem=npm"},
		{"pkg:npm/left-pad", `! component "c0": purl "pkg:npm/left-pad" has no version: it can't be matched`},
		{"lodash@1", `! component "c0": purl "lodash@1": purl scheme is not "pkg": "lodash@1"`},
		{"pkg:npm", `! component "c0": purl "pkg:npm": purl is missing type or name`},
		{"pkg:oci/debian@sha256%3A00", ""},
	}
	for _, tt := range tests {
		d, err := Read(strings.NewReader(withPURLs(tt.purl)))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(describe(d)[1:], "\n"); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.purl, got, tt.want)
		}
		requireSound(t, d)
	}
}

func TestReadDistro(t *testing.T) {
	system := func(name, version string) string {
		return fmt.Sprintf(`{"bomFormat":"CycloneDX","components":[{"type":"operating-system","name":%q,"version":%q},{"type":"library","name":"a","version":"1","purl":"pkg:rpm/x/a@1?distro=fedora-40"}]}`, name, version)
	}
	tests := []struct{ content, want string }{
		{withPURLs("pkg:deb/debian/a@1?distro=debian-12"), "debian 12"},
		{withPURLs("pkg:deb/debian/a@1?distro=debian-12.5", "pkg:deb/debian/b@1?distro=debian-12.5", "pkg:deb/debian/c@1?distro=debian-11"), "debian 12.5"},
		{withPURLs("pkg:npm/a@1", "pkg:deb/debian/a@1?distro=ubuntu-22.04"), "ubuntu 22.04"},
		{withPURLs("pkg:deb/debian/curl@7.50.3-1?arch=i386&distro=jessie"), "debian 8"},
		{withPURLs("pkg:deb/ubuntu/a@1?distro=jammy"), "ubuntu 22.04"},
		{withPURLs("pkg:apk/alpine/a@1?distro=3.19.1"), "alpine 3.19.1"},
		{withPURLs("pkg:rpm/redhat/a@1?distro=redhat-9.2"), "rhel 9.2"},
		{withPURLs("pkg:rpm/alma/a@1?distro=alma-8.5"), "almalinux 8.5"},
		{withPURLs("pkg:rpm/opensuse/a@1?distro=opensuse-leap-15.5"), "opensuse-leap 15.5"},
		{withPURLs("pkg:rpm/opensuse/a@1?distro=opensuse-tumbleweed-20240101"), "opensuse-tumbleweed 20240101"},
		{withPURLs("pkg:rpm/openeuler/a@1?distro=openeuler-22.03-LTS"), "openeuler 22.03-LTS"},
		{withPURLs("pkg:alpm/arch/a@1?distro=arch"), "arch"},
		{withPURLs("pkg:apk/x/a@1?distro=-"), "-"},
		{withPURLs("pkg:apk/a@1?distro=3"), "3"},
		{withPURLs("pkg:apk/a@1"), "unknown distribution"},
		{system("debian", "12"), "debian 12"},
		{system("redhat", "8.4"), "rhel 8.4"},
		{system("SUSE Linux Enterprise Server", "15.4"), "sles 15.4"},
		{system("wolfi", ""), "fedora 40"},
	}
	for _, tt := range tests {
		d, err := Read(strings.NewReader(tt.content))
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Inventory.Distro.String(); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.content, got, tt.want)
		}
	}
}

// A document of several images has packages of several distributions.
func TestReadSeveralDistros(t *testing.T) {
	d, err := Read(strings.NewReader(withPURLs(
		"pkg:rpm/almalinux/bash@4.4-1.el8?distro=almalinux-8.10",
		"pkg:rpm/almalinux/zlib@1.2-1.el8?distro=almalinux-8.10",
		"pkg:deb/debian/libssl1.1@1.1.1n-0?distro=debian-11",
		"pkg:apk/alpine/musl@1.1.24-r2?distro=3.11.5",
		"pkg:rpm/almalinux/sed@4-1.el8",
		"pkg:rpm/centos/sed@4-1.el7?distro=centos-7",
	)))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"CycloneDX, almalinux 8.10",
		"apk musl 1.1.24-r2 ecosystem=Alpine:v3.11",
		"deb libssl1.1 1.1.1n-0 ecosystem=Debian:11",
		"rpm bash 4.4-1.el8 ecosystem=AlmaLinux:8",
		"rpm sed 4-1.el7", // no advisories are about CentOS
		"rpm sed 4-1.el8 ecosystem=AlmaLinux:8",
		"rpm zlib 1.2-1.el8 ecosystem=AlmaLinux:8",
	}
	if diff := gocmp.Diff(want, describe(d)); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
}

func TestReadTrivySource(t *testing.T) {
	d, err := Read(strings.NewReader(`{"bomFormat":"CycloneDX","components":[{"type":"library","name":"libgcc-s1","version":"12.2.0-14","purl":"pkg:deb/debian/libgcc-s1@12.2.0-14?distro=debian-12.4",
"properties":[{"name":"aquasecurity:trivy:SrcName","value":"gcc-12"},{"name":"aquasecurity:trivy:SrcVersion","value":"12.2.0"},{"name":"aquasecurity:trivy:SrcRelease","value":"14"},{"name":"aquasecurity:trivy:SrcEpoch","value":"1"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff([]string{"CycloneDX, debian 12.4", "deb libgcc-s1 12.2.0-14 ecosystem=Debian:12 source=gcc-12 1:12.2.0-14"}, describe(d)); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
}

func TestReadErrors(t *testing.T) {
	tests := []struct{ name, content, want string }{
		{"nothing", "", "neither CycloneDX"},
		{"text", "hello", "neither CycloneDX"},
		{"binary", "\x1f\x8b\x08\x00", "neither CycloneDX"},
		{"JSON of another kind", `{"a":1}`, "JSON, but neither"},
		{"SPDX 3", `{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[]}`, "SPDX 2"},
		{"a list", `[{"bomFormat":"CycloneDX"}]`, "neither CycloneDX"},
		{"cut JSON", cycloneDXJSON[:500], "not JSON"},
		{"JSON of wrong types", `{"bomFormat":"CycloneDX","components":{"a":1}}`, "CycloneDX: "},
		{"HTML", "<!DOCTYPE html><html><body>404</body></html>", "CycloneDX: "},
		{"cut XML", cycloneDXXML[:400], "CycloneDX: "},
		{"cut SPDX", spdxJSONText[:300] + "}", "not JSON"},
		{"an old version of SPDX", `{"spdxVersion":"SPDX-9.9"}`, "SPDX: "},
		{"tag-value that is none", "SPDXVersion: SPDX-2.3\nnonsense\n", "SPDX: "},
		{"deep JSON", `{"bomFormat":"CycloneDX","components":` + strings.Repeat(`[{"components":`, 20_000), "not JSON"},
		{"too many objects", `{"bomFormat":"CycloneDX","components":[` + strings.Repeat("{},", maxObjects) + "{}]}", "objects"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := Read(strings.NewReader(tt.content))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v; want one with %q", err, tt.want)
			}
			if len(d.Inventory.Packages) > 0 {
				t.Error("packages besides an error")
			}
		})
	}
	broken := errors.New("broken")
	if _, err := Read(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("error %v; want that of the reader", err)
	}
}

func TestReadManyProblems(t *testing.T) {
	d, err := Read(strings.NewReader(withPURLs(slices.Repeat([]string{"nonsense"}, 3*maxProblems)...)))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(d.Inventory.Problems); n != maxProblems+1 || !strings.Contains(d.Inventory.Problems[n-1].Message, "more than 200") {
		t.Errorf("%d problems, the last %+v", n, d.Inventory.Problems[n-1])
	}
}

// requireSound holds a document to what the rest of Strata relies on.
func requireSound(t *testing.T, d Document) {
	t.Helper()
	if d.Format != "CycloneDX" && d.Format != "SPDX" {
		t.Errorf("format %q", d.Format)
	}
	ids := map[string]bool{}
	for _, p := range d.Inventory.Packages {
		if p.Type == "" || p.Name == "" || p.Version == "" || p.PURL == "" || p.ID == "" || p.State == inventory.Present && p.StateLayer != -1 {
			t.Errorf("package %+v is not whole", p)
		}
		if n := max(len(d.Layers()), 1); p.Layer < 0 || p.Layer >= n || p.StateLayer < -1 || p.StateLayer >= n || len(p.Locations) > maxLocations {
			t.Errorf("package %+v is in none of %d layers", p, n)
		}
		if ids[p.ID] {
			t.Errorf("two packages have the id %s", p.ID)
		}
		ids[p.ID] = true
		if !utf8.ValidString(p.Name + p.Version + p.PURL) {
			t.Errorf("package %+v is no valid UTF-8", p)
		}
	}
	if len(d.Layers()) != len(d.Image.Layers) {
		t.Errorf("%d layers, and %d known", len(d.Image.Layers), len(d.Layers()))
	}
	if len(d.Inventory.Problems) > maxProblems+1 {
		t.Errorf("%d problems", len(d.Inventory.Problems))
	}
	if !slices.IsSortedFunc(d.Inventory.Packages, func(a, b inventory.ImagePackage) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
	}) {
		t.Error("packages are not sorted")
	}
}

// withStrata is a CycloneDX document with what only Strata tells: the properties of
// each layer, and those of a package.
func withStrata(layers []string, properties ...string) string {
	list := func(properties string) string {
		var out []string
		for p := range strings.SplitSeq(properties, ";") {
			name, value, _ := strings.Cut(p, "=")
			out = append(out, fmt.Sprintf(`{"name":"strata:%s","value":%q}`, name, value))
		}
		return "[" + strings.Join(out, ",") + "]"
	}
	var components []string
	for _, l := range layers {
		components = append(components, fmt.Sprintf(`{"type":"file","name":"l","properties":%s}`, list(l)))
	}
	return fmt.Sprintf(`{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"component":{"type":"container","name":"x","components":[%s]}},
"components":[{"type":"library","name":"a","version":"1","purl":"pkg:npm/a@1","properties":%s}]}`, strings.Join(components, ","), list(strings.Join(properties, ";")))
}

func TestReadWhatStrataTells(t *testing.T) {
	two := []string{"layer:index=0;layer:size=5;layer:instruction=ADD x", "layer:index=1;layer:size=-3;layer:empty=true"}
	tests := []struct {
		name, document, want string
	}{
		{"a package of a layer", withStrata(two, "layer:index=1", "owner=o", "ecosystem=E"), "layers 5 -1; layer 1, present -1, owner o, E"},
		{"replaced", withStrata(two, "layer:index=0", "state=shadowed", "state:layer=1"), "layers 5 -1; layer 0, shadowed 1, owner , npm"},
		{"removed, by whom is not told", withStrata(two, "layer:index=0", "state=removed"), "layers 5 -1; layer 0, removed -1, owner , npm"},
		{"removed by no layer of the image", withStrata(two, "state=removed", "state:layer=7"), "layers 5 -1; layer 0, removed -1, owner , npm"},
		{"a state that there is not", withStrata(two, "state=gone", "state:layer=1"), "layers 5 -1; layer 0, present -1, owner , npm"},
		{"in no layer of the image", withStrata(two, "layer:index=2"), "layers 5 -1; layer 0, present -1, owner , npm"},
		{"in a negative layer", withStrata(two, "layer:index=-1"), "layers 5 -1; layer 0, present -1, owner , npm"},
		{"no number", withStrata([]string{"layer:index=x"}, "layer:index=1e9"), "layers; layer 0, present -1, owner , npm"},
		{"a layer is missing", withStrata([]string{"layer:index=0", "layer:index=2"}, "layer:index=2"), "layers; layer 0, present -1, owner , npm"},
		{"a layer beyond all bounds", withStrata([]string{"layer:index=999999999"}, "layer:index=999999999"), "layers; layer 0, present -1, owner , npm"},
		{"a layer twice", withStrata([]string{"layer:index=0;layer:size=1", "layer:index=0;layer:size=2"}, "layer:index=0"), "layers 2; layer 0, present -1, owner , npm"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := Read(strings.NewReader(tt.document))
			if err != nil {
				t.Fatal(err)
			}
			requireSound(t, d)
			got := "layers"
			for _, l := range d.Image.Layers {
				got += fmt.Sprintf(" %d", l.Size)
			}
			for _, p := range d.Inventory.Packages {
				got += fmt.Sprintf("; layer %d, %s %d, owner %s, %s", p.Layer, p.State, p.StateLayer, p.Owner, p.Ecosystem)
			}
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{cycloneDXJSON, cycloneDXXML, spdxJSONText, spdxText, withPURLs("pkg:golang/A/b@1", "pkg:rpm/x/y@1-1?epoch=1&upstream=a-1-1.src.rpm&distro=x-1"),
		withStrata([]string{"layer:index=0", "layer:index=1"}, "layer:index=1", "state=removed", "state:layer=1", "location=a/b"),
		"SPDXVersion: SPDX-2.3\nPackageName: a\nPrimaryPackagePurpose: ARCHIVE\nPackageComment: <text>strata:layer:index: 0\nstrata:layer:size: 9</text>\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Read(bytes.NewReader(b))
		if err != nil {
			if strings.Contains(err.Error(), "panicked") {
				t.Logf("the library panicked: %v", err)
			}
			return
		}
		requireSound(t, d)
		again, err := Read(bytes.NewReader(b))
		if err != nil || !slices.Equal(describe(d), describe(again)) {
			t.Errorf("read differently a second time: %v", err)
		}
	})
}
