package match

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/inventory"
)

func TestEnded(t *testing.T) {
	java8 := pkg("generic Bitnami openjdk 1.8.0_392")
	java8.KnownAs = []inventory.KnownAs{{Ecosystem: "Bitnami", Name: "java", Version: "8.0.392"}}
	java23 := pkg("generic Bitnami temurin 23.0.1")
	java23.KnownAs = []inventory.KnownAs{{Ecosystem: "Bitnami", Name: "java", Version: "23.0.1"}}
	owned := pkg("generic Bitnami python 3.8.1")
	owned.Owner = "python3.8"
	removed := pkg("generic Bitnami python 3.8.1")
	removed.State, removed.StateLayer = inventory.Removed, 2
	img := &inventory.Image{
		Distro: inventory.Distro{ID: "debian", VersionID: "9", Name: "Debian GNU/Linux 9 (stretch)"},
		Packages: []inventory.ImagePackage{
			pkg("generic Bitnami python 3.8.1"), pkg("generic Bitnami python 3.12.1"), owned, removed, java8, java23,
			pkg("generic - openssl 1.1.1w"), pkg("generic Bitnami nginx 1.21.0"), pkg("generic Bitnami redis 8.4.0"),
			pkg("npm npm python 3.8.1"), pkg("generic Bitnami dotnet 8.0.1"), pkg("generic Bitnami postgresql 9.6.24"), pkg("generic Bitnami postgresql 15.4"),
		},
	}
	var got []string
	for _, e := range ended(img, nowIs("2026-11-25")()) {
		got = append(got, fmt.Sprintf("%d %s %s: %s", e.Package, e.ID, e.Day.Format(time.DateTime), e.Summary))
	}
	want := []string{
		"-1 EOL-debian-9 2022-06-30 23:59:59: Debian GNU/Linux 9 (stretch) has had no security updates since 2022-06-30: vulnerabilities found later are in no advisory; move to Debian GNU/Linux 13 (supported until 2030-06-30) or newer",
		"0 EOL-python-3.8 2024-10-14 23:59:59: Python 3.8 has had no security updates since 2024-10-14; move to Python 3.14 (supported until 2030-10-31) or newer",
		"5 EOL-temurin-23 2025-03-18 23:59:59: Java 23 has had no security updates since 2025-03-18; move to Java 25 or newer",
		"6 EOL-openssl-1.1.1 2023-09-11 23:59:59: OpenSSL 1.1.1 has had no security updates since 2023-09-11; move to OpenSSL 3.5 (supported until 2030-04-08) or newer",
		"7 EOL-nginx-1.21 2022-06-21 23:59:59: nginx 1.21 has had no security updates since 2022-06-21; move to nginx 1.29 or newer",
		"10 EOL-dotnet-8 2026-11-10 23:59:59: .NET 8 has had no security updates since 2026-11-10; move to .NET 10 (supported until 2028-11-14) or newer",
		"11 EOL-postgresql-9.6 2021-11-11 23:59:59: PostgreSQL 9.6 has had no security updates since 2021-11-11; move to PostgreSQL 18 (supported until 2030-11-14) or newer",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestLastDayIsSupported: an end of life begins the day after.
func TestLastDayIsSupported(t *testing.T) {
	img := &inventory.Image{Packages: []inventory.ImagePackage{pkg("generic Bitnami node 20.1.0")}}
	for day, want := range map[string]int{"2026-04-30": 0, "2026-05-01": 1} {
		if got := ended(img, nowIs(day)()); len(got) != want {
			t.Errorf("on %s: %v", day, got)
		}
	}
}

func TestDistroTitle(t *testing.T) {
	for name, want := range map[string]string{
		"Debian GNU/Linux 9 (stretch)": "Debian GNU/Linux", "Alpine Linux v3.11": "Alpine Linux", "Amazon Linux 2": "Amazon Linux", "": "debian", "Arch Linux": "Arch Linux", "9": "debian",
	} {
		if got := distroTitle(inventory.Distro{ID: "debian", Name: name}); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

func TestLifecycles(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range lifecycles() {
		if len(l.products) == 0 || l.title == "" || len(l.ends) == 0 {
			t.Errorf("incomplete row %+v", l)
		}
		for _, p := range l.products {
			if seen[p] {
				t.Errorf("%s is in two rows", p)
			}
			seen[p] = true
		}
		for release, day := range l.ends {
			if _, err := time.Parse(time.DateOnly, day); err != nil || strings.Trim(release, "0123456789.") != "" {
				t.Errorf("%s %q: %q, %v", l.title, release, day, err)
			}
		}
	}
}

func TestNotRun(t *testing.T) {
	for name, want := range map[string]string{
		"deb linux-libc-dev": headersDontRun, "deb linux-headers-6.1.0-18-amd64": headersDontRun, "deb linux-image-6.1.0-18-amd64": kernelDoesntRun,
		"rpm kernel-headers": headersDontRun, "rpm kernel-modules-core": kernelDoesntRun, "rpm linux-firmware-whence": firmwareIsHosts, "rpm iwl100-firmware": firmwareIsHosts,
		"apk linux-headers": headersDontRun, "apk linux-lts": kernelDoesntRun, "alpm linux": kernelDoesntRun,
		"deb linux-perf": "", "apk linux-pam": "", "apk linux-pam-dev": "", "apk linux-lts-dev": headersDontRun, "rpm kernel-tools": "", "deb util-linux": "", "rpm kernel-srpm-macros": "", "npm linux-libc-dev": "", "deb linux-base": "",
		"deb libkernel": "", "rpm linux-firmware": firmwareIsHosts, "deb kernel-headers": "",
	} {
		typ, name, _ := strings.Cut(name, " ")
		if got := notRun(&inventory.Package{Type: typ, Name: name}); got != want {
			t.Errorf("%s %s: %q, want %q", typ, name, got, want)
		}
	}
}

// TestFindPrograms: programs known by their content are matched by all names that
// advisories have for them, once where their module is in the same file, and set
// aside where the distribution owns them.
func TestFindPrograms(t *testing.T) {
	db := records{list: parse(t,
		"BIT-java CVE-2024-0001: Bitnami/java i8.0.0 f8.0.400",
		"BIT-consul CVE-2024-0002: Bitnami/consul i0 f1.17.0",
		"GHSA-consul CVE-2024-0002 CVE-2024-0003: Go/github.com/hashicorp/consul i0 f1.17.0",
		"BIT-consul-more CVE-2024-0004: Bitnami/consul i0 f1.18.0",
		"BIT-git CVE-2024-0005: Bitnami/git i0 f2.40.0",
		"DSA-1 CVE-2024-0006: Debian:12/linux i0 f6.1.99",
	)}
	at := func(p inventory.ImagePackage, path string) inventory.ImagePackage {
		p.Locations = []inventory.Location{{Path: path}}
		return p
	}
	java := pkg("generic Bitnami temurin 1.8.0_392")
	java.KnownAs = []inventory.KnownAs{{Ecosystem: "Bitnami", Name: "java", Version: "8.0.392"}}
	git := pkg("generic Bitnami git 2.39.5")
	git.Owner = "git"
	img := &inventory.Image{Packages: []inventory.ImagePackage{
		at(java, "opt/java/release"), at(pkg("generic Bitnami consul 1.16.0"), "bin/consul"), at(pkg("golang Go github.com/hashicorp/consul v1.16.0"), "bin/consul"),
		at(git, "usr/bin/git"), pkg("deb Debian:12 linux-libc-dev 6.1.1 linux"),
	}}
	var got []string
	r := mustFind(t, img, db)
	for _, f := range r.Findings {
		s := f.ID + " " + img.Packages[f.Package].Type + " " + img.Packages[f.Package].Name + " " + f.FixedVersion
		if f.Suppressed != nil {
			s += " " + f.Suppressed.By
		}
		got = append(got, s)
	}
	want := []string{
		"CVE-2024-0001 generic temurin 8.0.400",
		"CVE-2024-0002 golang github.com/hashicorp/consul v1.17.0",
		"CVE-2024-0003 golang github.com/hashicorp/consul v1.17.0",
		"CVE-2024-0004 generic consul 1.18.0",
		"CVE-2024-0005 generic git 2.40.0 distro-owned",
		"CVE-2024-0006 deb linux-libc-dev 6.1.99 not-run",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, c := range r.Coverage {
		if c.Ecosystem == "Bitnami" && c.Packages != 2 {
			t.Errorf("%d packages need Bitnami's advisories; want 2, without the one that the distribution owns", c.Packages)
		}
	}
}
