package match

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/advisory"
	"strata/internal/inventory"
)

func nowIs(day string) func() time.Time {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err)
	}
	return func() time.Time { return t }
}

// pkg reads "type ecosystem name version [source sourceVersion]"; spaces in an
// ecosystem are written as +.
func pkg(s string) inventory.ImagePackage {
	f := strings.Fields(s)
	p := inventory.ImagePackage{ID: s, State: inventory.Present, StateLayer: -1}
	p.Type, p.Ecosystem, p.Name, p.Version = f[0], strings.ReplaceAll(f[1], "+", " "), f[2], f[3]
	if p.Ecosystem == "-" {
		p.Ecosystem = ""
	}
	if len(f) > 4 {
		p.SourceName = f[4]
	}
	if len(f) > 5 {
		p.SourceVersion = f[5]
	}
	return p
}

// show is "ID severity fix" of each finding.
func show(findings []Finding) []string {
	out := []string{}
	for _, f := range findings {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", f.ID, f.Severity, f.FixedVersion)))
	}
	return out
}

func mustFind(t *testing.T, img *inventory.Image, db Advisories) Result {
	t.Helper()
	r, err := Find(t.Context(), img, db, Options{Now: nowIs("2024-06-02")})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Each ecosystem names packages and orders versions in its own way.
func TestFindEcosystems(t *testing.T) {
	db := records{list: parse(t,
		"DSA-1 CVE-2024-0001 high: Debian:12/openssl i0 f3.0.11-1~deb12u2 | Debian:11/openssl i0 f1.1.1w-0",
		"USN-1 CVE-2024-0002: Ubuntu:22.04:LTS/curl i0 f7.81.0-1ubuntu1.15 | Ubuntu:Pro:22.04:LTS/zlib i0 f99",
		"ALPINE-CVE-2024-0003: Alpine:v3.19/musl i0 f1.2.4-r3",
		"ALSA-1 CVE-2024-0004 CVE-2024-0005 medium: AlmaLinux:9/openssl-libs i0 f1:3.0.7-27.el9",
		"ALSA-2 CVE-2024-0006: AlmaLinux:8/nodejs i0 f1:20.1-1.module_el8.9",
		"ALBA-2019:0001: AlmaLinux:9/tzdata i0 f2024b-1.el9",
		"ALBA-2019:0002 CVE-2024-0007: AlmaLinux:9/tar i0 f2:1.34-6.el9",
		"RHSA-1: Red+Hat:enterprise_linux:9::baseos/bash i0 f5.1.8-9.el9",
		"SUSE-SU-1: SUSE:Linux+Enterprise+Module+for+Basesystem+15+SP5/zlib i0 f1.2.13-150500.4.3.1",
		"GHSA-npm: npm/@babel/core i0 f7.0.0",
		"GHSA-pypi: PyPI/Flask-SQLAlchemy i0 f3.0",
		"GHSA-maven: Maven/org.example:thing i2.0-beta9 f2.15.0",
		"GHSA-nuget: NuGet/Newtonsoft.Json i0 f13.0.1",
		"GHSA-packagist: Packagist/Symfony/http-kernel i0 f4.4.50",
		"GHSA-gem: RubyGems/nokogiri i0 f1.10.5",
		"RUSTSEC-1: crates.io/time i0 f0.2.23",
		"GO-1: Go/stdlib i0 f1.21.8 i1.22.0-0 f1.22.1 | Go/golang.org/x/net i0 f0.0.0-20220906165146-f3363e06e74c",
		"GO-2: Go/example.org/inc i0 f3.2.1+incompatible",
	)}
	for name, c := range map[string]struct {
		pkg  string
		want []string
	}{
		"deb by source, older":           {"deb Debian:12 libssl3 3.0.11-1~deb12u1 openssl", []string{"CVE-2024-0001 high 3.0.11-1~deb12u2"}},
		"deb by source version":          {"deb Debian:12 libssl3 9:99 openssl 3.0.9-1", []string{"CVE-2024-0001 high 3.0.11-1~deb12u2"}},
		"deb fixed":                      {"deb Debian:12 openssl 3.0.11-1~deb12u2", []string{}},
		"deb of another release":         {"deb Debian:11 openssl 1.1.1n-0", []string{"CVE-2024-0001 high 1.1.1w-0"}},
		"deb of a release with nothing":  {"deb Debian:13 openssl 1.0", []string{}},
		"deb by binary name":             {"deb Debian:12 openssl 1.0 other", []string{}},
		"Ubuntu":                         {"deb Ubuntu:22.04:LTS curl 7.81.0-1ubuntu1.14", []string{"CVE-2024-0002 unknown 7.81.0-1ubuntu1.15"}},
		"Ubuntu's Pro fixes":             {"deb Ubuntu:22.04:LTS zlib 1", []string{}},
		"apk by origin":                  {"apk Alpine:v3.19 musl-utils 1.2.4-r2 musl", []string{"CVE-2024-0003 unknown 1.2.4-r3"}},
		"rpm by binary name and epoch":   {"rpm AlmaLinux:9 openssl-libs 1:3.0.7-24.el9 openssl 3.0.7-24.el9", []string{"CVE-2024-0004 medium 1:3.0.7-27.el9", "CVE-2024-0005 medium 1:3.0.7-27.el9"}},
		"rpm fixed":                      {"rpm AlmaLinux:9 openssl-libs 1:3.0.7-27.el9", []string{}},
		"rpm with a bug that is no flaw": {"rpm AlmaLinux:9 tzdata 2024a-1.el9", []string{}},
		"rpm with a bug that is one":     {"rpm AlmaLinux:9 tar 2:1.34-5.el9", []string{"CVE-2024-0007 unknown 2:1.34-6.el9"}},
		"rpm of a module":                {"rpm AlmaLinux:8 nodejs 1:20.0-1.module_el8.8", []string{"CVE-2024-0006 unknown 1:20.1-1.module_el8.9"}},
		"rpm of no module":               {"rpm AlmaLinux:8 nodejs 1:10.0-1.el8", []string{}},
		"rpm of Red Hat":                 {"rpm Red+Hat:9.3 bash 5.1.8-6.el9", []string{"RHSA-1 unknown 5.1.8-9.el9"}},
		"rpm of SUSE by source name":     {"rpm SUSE:15.5 libz1 1.2.13-150500.4.1 zlib 1.2.13-150500.4.1", []string{"SUSE-SU-1 unknown 1.2.13-150500.4.3.1"}},
		"npm with scope":                 {"npm npm @babel/core 6.9.9", []string{"GHSA-npm unknown 7.0.0"}},
		"PyPI":                           {"pypi PyPI flask_sqlalchemy 2.5.1", []string{"GHSA-pypi unknown 3.0"}},
		"Maven":                          {"maven Maven org.example:thing 2.14.1", []string{"GHSA-maven unknown 2.15.0"}},
		"NuGet in another case":          {"nuget NuGet newtonsoft.json 12.0.3", []string{"GHSA-nuget unknown 13.0.1"}},
		"Packagist":                      {"composer Packagist symfony/http-kernel v4.4.1", []string{"GHSA-packagist unknown 4.4.50"}},
		"gem with platform":              {"gem RubyGems nokogiri 1.10.4-x86_64-linux", []string{"GHSA-gem unknown 1.10.5"}},
		"gem fixed, with platform":       {"gem RubyGems nokogiri 1.10.5-x86_64-linux", []string{}},
		"crate":                          {"cargo crates.io time 0.1.43", []string{"RUSTSEC-1 unknown 0.2.23"}},
		"Go standard library":            {"golang Go stdlib 1.22.0", []string{"GO-1 unknown 1.22.1"}},
		"Go standard library, fixed":     {"golang Go stdlib 1.21.8", []string{}},
		"Go pseudo-version, older":       {"golang Go golang.org/x/net v0.0.0-20210101000000-aaaaaaaaaaaa", []string{"GO-1 unknown v0.0.0-20220906165146-f3363e06e74c"}},
		"Go pseudo-version, newer":       {"golang Go golang.org/x/net v0.0.0-20230101000000-aaaaaaaaaaaa", []string{}},
		"Go of no version":               {"golang Go golang.org/x/net (devel)", []string{}},
		"Go incompatible":                {"golang Go example.org/inc v3.2.0+incompatible", []string{"GO-2 unknown v3.2.1+incompatible"}},
	} {
		t.Run(name, func(t *testing.T) {
			img := &inventory.Image{Packages: []inventory.ImagePackage{pkg(c.pkg)}}
			if diff := cmp.Diff(c.want, show(mustFind(t, img, db).Findings)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Records that share ids are one finding, and what they tell is merged.
func TestFindGroups(t *testing.T) {
	for name, c := range map[string]struct {
		records []string
		want    []string
	}{
		"two records of one flaw":             {[]string{"GHSA-1 CVE-2024-0001 high: PyPI/a i0 f2.0", "PYSEC-1 CVE-2024-0001: PyPI/a i0 f2.0"}, []string{"CVE-2024-0001 high 2.0"}},
		"the later fix holds":                 {[]string{"GHSA-1 CVE-2024-0001: PyPI/a i0 f2.0", "PYSEC-1 CVE-2024-0001: PyPI/a i0 f3.0"}, []string{"CVE-2024-0001 unknown 3.0"}},
		"one that knows no fix is refuted":    {[]string{"GHSA-1 CVE-2024-0001: PyPI/a i0 f1.0", "PYSEC-1 CVE-2024-0001: PyPI/a i0"}, []string{}},
		"but not by one that starts later":    {[]string{"GHSA-1 CVE-2024-0001: PyPI/a i1.9 f2.0", "PYSEC-1 CVE-2024-0001: PyPI/a i0"}, []string{"CVE-2024-0001 unknown"}},
		"nor by one of another flaw":          {[]string{"GHSA-1 CVE-2024-0009: PyPI/a i0 f1.0", "PYSEC-1 CVE-2024-0001: PyPI/a i0"}, []string{"CVE-2024-0001 unknown"}},
		"one that knows no fix takes another": {[]string{"GHSA-1 CVE-2024-0001: PyPI/a i0 f2.0", "PYSEC-1 CVE-2024-0001: PyPI/a i0"}, []string{"CVE-2024-0001 unknown 2.0"}},
		"other disagreement is affected":      {[]string{"GHSA-1 CVE-2024-0001: PyPI/a i0 f1.0", "PYSEC-1 CVE-2024-0001: PyPI/a v1.5"}, []string{"CVE-2024-0001 unknown"}},
		"a record of several flaws":           {[]string{"RUSTSEC-1 CVE-2024-0001 CVE-2024-0002 low: PyPI/a i0 f2.0", "GHSA-2 CVE-2024-0002 high: PyPI/b i0 f1.0"}, []string{"CVE-2024-0002 high 2.0", "CVE-2024-0001 low 2.0"}},
		"rated by a record of another package": {[]string{"GHSA-1 CVE-2024-0001: PyPI/a i0 f2.0", "GHSA-2 CVE-2024-0001 critical: npm/other i0"},
			[]string{"CVE-2024-0001 critical 2.0"}},
	} {
		t.Run(name, func(t *testing.T) {
			img := &inventory.Image{Packages: []inventory.ImagePackage{pkg("pypi PyPI a 1.5")}}
			r := mustFind(t, img, records{list: parse(t, c.records...)})
			if diff := cmp.Diff(c.want, show(r.Findings)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// All fields of a finding.
func TestFinding(t *testing.T) {
	list := parse(t, "PYSEC-1 CVE-2024-0001: PyPI/a i0 f2.0", "GHSA-1 CVE-2024-0001: PyPI/a i0 f1.9")
	list[0].Published, list[1].Published = synced.AddDate(0, -2, 0), synced.AddDate(0, -1, 0)
	list[0].References, list[1].References = []string{"https://e.org/1", "https://e.org/2"}, []string{"https://e.org/2"}
	list[0].Rating, list[1].Rating = advisory.Rating{Severity: advisory.Low}, advisory.Rating{Severity: advisory.High, CVSS: advisory.CVSS{Version: "3.1", Vector: "CVSS:3.1/…", Score: 7.5}}
	p := pkg("pypi PyPI a 1.0")
	p.Layer, p.State, p.StateLayer, p.Owner = 2, inventory.Shadowed, 4, "python3-a"
	r := mustFind(t, &inventory.Image{Packages: []inventory.ImagePackage{pkg("pypi PyPI other 1"), p}}, records{list: list, kev: []string{"CVE-2024-0001"}})
	want := []Finding{{
		ID: "CVE-2024-0001", Aliases: []string{"GHSA-1", "PYSEC-1"}, Advisories: []string{"GHSA-1", "PYSEC-1"},
		Package: 1, PackageID: "pypi PyPI a 1.0", Severity: advisory.High, CVSS: list[1].Rating.CVSS, KEV: true,
		FixedVersion: "2.0", FixedVersions: []string{"2.0"}, Status: Affected, Layer: 2, State: inventory.Shadowed, StateLayer: 4,
		Suppressed: &Suppression{By: "distro-owned", Reason: "its files belong to the distribution's package python3-a, which the distribution patches"},
		Summary:    "about GHSA-1", Published: list[0].Published, Modified: synced, References: []string{"https://e.org/2", "https://e.org/1"},
	}}
	if diff := cmp.Diff(want, r.Findings); diff != "" {
		t.Error(diff)
	}
}

// The order of packages and of the database's answers doesn't change findings.
func TestFindOrder(t *testing.T) {
	db := records{list: parse(t, "A-1 CVE-2024-10000 low: npm/a i0", "A-2 CVE-2024-9999 low: npm/a i0", "A-3 critical: npm/b i0", "A-4: npm/b i0", "A-5 CVE-2023-0001 low: npm/b i0")}
	img := &inventory.Image{Packages: []inventory.ImagePackage{pkg("npm npm b 1.0.0"), pkg("npm npm a 1.0.0")}}
	want := []string{"A-3 critical", "CVE-2023-0001 low", "CVE-2024-9999 low", "CVE-2024-10000 low", "A-4 unknown"}
	for range 5 {
		if diff := cmp.Diff(want, show(mustFind(t, img, db).Findings)); diff != "" {
			t.Fatal(diff)
		}
	}
}

// What could not be told is told.
func TestCoverageAndProblems(t *testing.T) {
	debian := inventory.Distro{ID: "debian", VersionID: "12"}
	all := parse(t, "DSA-1: Debian:12/a i0", "GHSA-1: npm/a i0 f2.0.0", "GHSA-2: PyPI/a i0 fnonsense")
	for name, c := range map[string]struct {
		distro   inventory.Distro
		packages []string
		db       records
		status   DistroState
		// want is part of each problem, with "!" before one that makes the result incomplete.
		want []string
	}{
		"all is covered":          {debian, []string{"deb Debian:12 b 1", "npm npm b 1.0.0"}, records{list: all}, Supported, nil},
		"distribution not in it":  {inventory.Distro{ID: "debian", VersionID: "13"}, []string{"deb Debian:13 b 1", "deb Debian:13 c 1"}, records{list: all}, NoData, []string{"!no advisory data for Debian:13: 2 packages were not checked"}},
		"distribution not known":  {inventory.Distro{ID: "arch"}, []string{"alpm - b 1"}, records{list: all}, NoData, []string{`!no advisory data for the distribution "arch": 1 alpm package was not checked`}},
		"no os-release":           {inventory.Distro{}, []string{"deb - b 1"}, records{list: all}, UnknownDistro, []string{"!no advisory data for an unknown distribution (no os-release): 1 deb package was"}},
		"nothing of any":          {inventory.Distro{}, nil, records{list: all}, UnknownDistro, nil},
		"language not in it":      {debian, []string{"deb Debian:12 b 1", "gem RubyGems b 1"}, records{list: all}, Supported, []string{"!no advisory data for RubyGems: 1 package was"}},
		"language never taken in": {debian, []string{"deb Debian:12 b 1", "npm npm b 1.0.0"}, records{list: all, without: []string{"npm"}}, Supported, []string{"!no advisory data for npm"}},
		"no database for these":   {debian, []string{"deb Debian:12 b 1", "generic - b 1"}, records{list: all}, Supported, []string{"no database of advisories is about generic packages: 1 package was"}},
		"end of life":             {inventory.Distro{ID: "debian", VersionID: "9"}, []string{"deb Debian:9 b 1"}, records{list: parse(t, "DSA-1: Debian:9/a i0")}, EndOfLife, nil},
		"end of life of a minor":  {inventory.Distro{ID: "alpine", VersionID: "3.11.3"}, []string{"apk Alpine:v3.11 b 1"}, records{list: parse(t, "ALPINE-1: Alpine:v3.11/a i0")}, EndOfLife, nil},
		"starter set":             {debian, []string{"deb Debian:12 b 1", "npm npm b 1.0.0"}, records{list: all, starter: true}, Supported, []string{"!only the starter set of advisories was used for Debian:12, npm"}},
		"odd version of a package that advisories name": {debian, []string{"deb Debian:12 b 1", "npm npm a latest"}, records{list: all}, Supported, []string{`npm package "a" "latest"`}},
		"odd version of one that they don't":            {debian, []string{"deb Debian:12 b 1", "npm npm b latest"}, records{list: all}, Supported, nil},
		"odd version in an advisory":                    {debian, []string{"deb Debian:12 b 1", "pypi PyPI a 1.0"}, records{list: all}, Supported, []string{`GHSA-2: advisory's version can't be compared: "nonsense"`}},
	} {
		t.Run(name, func(t *testing.T) {
			img := &inventory.Image{Distro: c.distro}
			for _, p := range c.packages {
				img.Packages = append(img.Packages, pkg(p))
			}
			r := mustFind(t, img, c.db)
			if r.Distro.Status != c.status {
				t.Errorf("status %s, want %s", r.Distro.Status, c.status)
			}
			if r.Starter != c.db.starter {
				t.Errorf("starter %v", r.Starter)
			}
			if len(r.Problems) != len(c.want) {
				t.Fatalf("problems %+v, want %q", r.Problems, c.want)
			}
			for i, want := range c.want {
				message, incomplete := strings.CutPrefix(want, "!")
				if p := r.Problems[i]; !strings.Contains(p.Message, message) || p.Incomplete != incomplete {
					t.Errorf("problem %+v, want %q", p, want)
				}
			}
		})
	}
}

func TestCoverage(t *testing.T) {
	img := &inventory.Image{Packages: []inventory.ImagePackage{pkg("deb Debian:12.5 b 1"), pkg("deb Debian:12.5 c 1"), pkg("gem RubyGems b 1"), pkg("generic - x 1")}}
	r := mustFind(t, img, records{list: parse(t, "DSA-1: Debian:12/a i0", "DSA-2: Debian:12/a i0")})
	want := []Coverage{
		{Ecosystem: "(generic)", Packages: 1},
		{Ecosystem: "Debian:12", Packages: 2, Advisories: 2, Synced: synced, Age: 24 * time.Hour},
		{Ecosystem: "RubyGems", Packages: 1},
	}
	if diff := cmp.Diff(want, r.Coverage); diff != "" {
		t.Error(diff)
	}
}

// Hundreds of packages of one odd kind are not hundreds of problems.
func TestProblemsAreBounded(t *testing.T) {
	img := &inventory.Image{}
	for range 300 {
		img.Packages = append(img.Packages, pkg("npm npm a latest"))
	}
	r := mustFind(t, img, records{list: parse(t, "GHSA-1: npm/a i0")})
	if n := len(r.Problems); n != maxUnknown+1 || !strings.Contains(r.Problems[n-1].Message, "280 more packages were") {
		t.Errorf("%d problems, the last %+v", n, r.Problems[n-1])
	}
}

type brokenDB struct{ records }

var errBroken = errors.New("broken")

func (brokenDB) Facts(context.Context, []string) ([]advisory.Facts, error) { return nil, errBroken }

func TestFindErrors(t *testing.T) {
	img := &inventory.Image{Packages: []inventory.ImagePackage{pkg("npm npm a 1.0.0")}}
	db := records{list: parse(t, "GHSA-1: npm/a i0")}
	if _, err := Find(t.Context(), img, brokenDB{db}, Options{}); !errors.Is(err, errBroken) {
		t.Errorf("error %v, want that of the database", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Find(ctx, img, db, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestReleaseEnds(t *testing.T) {
	for release, day := range releaseEnds {
		if _, err := time.Parse(time.DateOnly, day); err != nil {
			t.Errorf("%s: %v", release, err)
		}
	}
}
