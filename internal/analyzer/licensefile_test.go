package analyzer

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/inventory"
	"strata/internal/license"
)

func TestLicenseFilesWanted(t *testing.T) {
	for path, want := range map[string]bool{
		"app/node_modules/a/LICENSE": true, "usr/share/doc/a/copyright": true, "usr/share/licenses/a/anything": true, "opt/x/licenses.txt": true,
		"usr/lib/python3/site-packages/a-1.dist-info/licenses/AUTHORS": true, "usr/share/common-licenses/GPL-2": false, "usr/share/licenses/README": false,
		"app/license.js": false, "var/db/pkg/a/b-1/LICENSE": false,
	} {
		if got := (licenseFile{}).Wants(&Candidate{Path: path, Size: 100}); got != want {
			t.Errorf("Wants(%s) = %v, want %v", path, got, want)
		}
	}
	for size, want := range map[int64]bool{0: false, 1: true, maxLicenseFile: true, maxLicenseFile + 1: false} {
		if got := (licenseFile{}).Wants(&Candidate{Path: "LICENSE", Size: size}); got != want {
			t.Errorf("a file of %d bytes: %v, want %v", size, got, want)
		}
	}
}

// TestLicenseManifests: what manifests tell of packages that other files prove to
// be there.
func TestLicenseManifests(t *testing.T) {
	texts := &license.Recogniser{}
	for name, tt := range map[string]struct {
		analyzer   Analyzer
		path, text string
		want       []inventory.LicenseFile
	}{
		"crate": {
			crateManifest{}, "root/.cargo/registry/src/index.crates.io-1/serde-1.0.200/Cargo.toml", "[package]\nname = \"serde\"\nversion = \"1.0.200\"\nlicense = \"MIT OR Apache-2.0\"\n[dependencies]\nlicense = \"GPL\"\n",
			[]inventory.LicenseFile{{Kind: inventory.LicenseDeclared, Expression: "MIT OR Apache-2.0", Package: "cargo:serde@1.0.200"}},
		},
		"crate without a licence": {crateManifest{}, "registry/src/i/x-1/Cargo.toml", "[package]\nname = \"x\"\n", nil},
		"nuspec with an expression": {
			nuspec{texts}, "root/.nuget/packages/a/1.0.0/a.nuspec", "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"windows-1252\"?><package xmlns=\"http://x\"><metadata><id>A</id><version>1.0.0</version><license type=\"expression\">MIT</license><licenseUrl>https://licenses.nuget.org/Apache-2.0</licenseUrl></metadata></package>",
			[]inventory.LicenseFile{{Kind: inventory.LicenseDeclared, Expression: "MIT", Package: "nuget:A@1.0.0"}},
		},
		"nuspec with an address": {
			nuspec{texts}, "a.nuspec", "<package><metadata><id>A</id><version>1</version><licenseUrl>http://www.apache.org/licenses/LICENSE-2.0</licenseUrl></metadata></package>",
			[]inventory.LicenseFile{{Kind: inventory.LicenseDeclared, Expression: "Apache-2.0", Package: "nuget:A@1"}},
		},
		"nuspec with a file": {nuspec{texts}, "a.nuspec", "<package><metadata><id>A</id><version>1</version><license type=\"file\">LICENSE.txt</license><licenseUrl>https://aka.ms/deprecateLicenseUrl</licenseUrl></metadata></package>", nil},
		"Gentoo": {
			gentooLicense{}, "var/db/pkg/app-shells/bash-5.1/LICENSE", "GPL-3+ || ( MIT ( BSD-2 ISC ) ) test? ( Artistic )\n",
			[]inventory.LicenseFile{{Kind: inventory.LicenseDeclared, Expression: "GPL-3.0-or-later AND (MIT OR BSD-2-Clause AND ISC) AND Artistic-1.0-Perl"}},
		},
		"no text":         {licenseFile{texts}, "LICENSE", "\x7fELF\x00\x00", nil},
		"an unknown text": {licenseFile{texts}, "LICENSE", "be nice\n", []inventory.LicenseFile{{Kind: inventory.LicenseText}}},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "no text" && !tt.analyzer.Wants(&Candidate{Path: tt.path, Size: int64(len(tt.text))}) {
				t.Errorf("%s is not wanted", tt.path)
			}
			res, err := analyzeText(t, tt.analyzer, tt.path, tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, res.Licenses); diff != "" {
				t.Errorf("licences (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPomLicenses(t *testing.T) {
	for pom, want := range map[string][]string{
		"<project><licenses><license><name>Apache-2.0</name></license><license><name>MIT</name></license></licenses></project>": {"Apache-2.0", "MIT"},
		"<licenses><license><name>Ours</name><url>https://www.eclipse.org/legal/epl-2.0/</url></license></licenses>":            {"https://www.eclipse.org/legal/epl-2.0/"},
		"<licenses><license><name>Ours</name><url>https://acme.example/</url></license></licenses>":                             {"Ours"},
		"<licenses><license><url>http://opensource.org/licenses/MIT</url></license></licenses>":                                 {"http://opensource.org/licenses/MIT"},
		"<project></project>": nil, "<licenses>": nil, "</licenses><licenses>": nil, "<licenses><license><name>x": nil, "<licenses></license></licenses>": nil,
	} {
		if diff := cmp.Diff(want, pomLicenses([]byte(pom))); diff != "" {
			t.Errorf("pomLicenses(%s) (-want +got):\n%s", pom, diff)
		}
	}
}

// TestLicenseTextsAreBounded: a layer of nothing but licences is read up to a
// bound, which is told once.
func TestLicenseTextsAreBounded(t *testing.T) {
	run := (&Runner{Analyzers: []Analyzer{licenseFile{&license.Recogniser{}}}}).start()
	f := NewFile("a/LICENSE", []byte(strings.Repeat("be nice ", license.MaxText/8)))
	for range 2 * maxTexts / int(f.Size) {
		run.analyze(t.Context(), run.analyzers[0], f, -1)
	}
	if len(run.found) != maxTexts/int(f.Size) || len(run.layer.Problems) != 1 {
		t.Errorf("%d texts, problems %v", len(run.found), run.layer.Problems)
	}
}

func FuzzLicenseManifests(f *testing.F) {
	f.Add([]byte("[package]\nname = \"x\"\nversion = \"1\"\nlicense = \"MIT\"\n"))
	f.Add([]byte("<package><metadata><id>A</id><version>1</version><license type=\"expression\">MIT</license></metadata></package>"))
	f.Add([]byte("<licenses><license><name>x</name></license></licenses>"))
	f.Add([]byte("A || ( B ( C ) ) )"))
	f.Fuzz(func(t *testing.T, b []byte) {
		pomLicenses(b)
		for _, a := range []Analyzer{crateManifest{}, nuspec{}, gentooLicense{}} {
			res, _ := a.Analyze(t.Context(), NewFile("x", b))
			for _, l := range res.Licenses {
				if _, err := license.Parse(l.Expression); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
