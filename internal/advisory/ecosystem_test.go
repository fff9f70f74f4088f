package advisory

import (
	"slices"
	"testing"
)

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		"npm": "npm", "Debian": "Debian", "Debian:12": "Debian:12", "Debian:12.5": "Debian:12", "Debian:sid": "Debian:sid",
		"Ubuntu:22.04:LTS": "Ubuntu:22.04", "Ubuntu:23.10": "Ubuntu:23.10", "Ubuntu:Pro:18.04:LTS": "Ubuntu:Pro:18.04",
		"Ubuntu:Pro:FIPS-updates:20.04:LTS": "Ubuntu:Pro:FIPS-updates:20.04",
		"Alpine:v3.19":                      "Alpine:v3.19", "Alpine:3.19.1": "Alpine:v3.19", "Alpine:edge": "Alpine:edge",
		"AlmaLinux:9": "AlmaLinux:9", "AlmaLinux:9.3": "AlmaLinux:9", "Rocky Linux:8.9": "Rocky Linux:8",
		"Red Hat:enterprise_linux:9::baseos": "Red Hat:9", "Red Hat:9.4": "Red Hat:9", "Red Hat:rhel_eus:8.4::appstream": "Red Hat:rhel_eus:8.4::appstream",
		"SUSE:Linux Enterprise Server 15 SP5": "SUSE:15.5", "SUSE:Linux Enterprise Module for Basesystem 15 SP5": "SUSE:15.5",
		"SUSE:15.5": "SUSE:15.5", "SUSE:Linux Enterprise Server 12 SP5-LTSS": "SUSE:Linux Enterprise Server 12 SP5-LTSS",
		"openSUSE:Leap 15.5": "openSUSE:15.5", "openSUSE:Tumbleweed": "openSUSE:Tumbleweed",
		"Packagist:https://packages.drupal.org/8": "Packagist", "Maven:https://repo.example.org": "Maven",
	} {
		if got := Canonical(in); got != want {
			t.Errorf("Canonical(%q) = %q, want %q", in, got, want)
		}
		if again := Canonical(Canonical(in)); again != Canonical(in) {
			t.Errorf("Canonical(%q) = %q: not stable", Canonical(in), again)
		}
	}
}

func TestNormalizeName(t *testing.T) {
	for _, c := range []struct{ base, name, want string }{
		{"PyPI", "Flask_SQLAlchemy", "flask-sqlalchemy"}, {"PyPI", "zope..interface", "zope-interface"}, {"PyPI", "requests", "requests"},
		{"NuGet", "Newtonsoft.Json", "newtonsoft.json"}, {"Packagist", "Symfony/HTTP-Kernel", "symfony/http-kernel"},
		{"npm", "JSONStream", "JSONStream"}, {"crates.io", "a_b", "a_b"}, {"Maven", "G:A", "G:A"},
		{"SwiftURL", "https://github.com/vapor/vapor", "github.com/vapor/vapor"}, {"SwiftURL", "github.com/Apple/swift-nio.git", "github.com/apple/swift-nio"},
	} {
		if got := NormalizeName(c.base, c.name); got != c.want {
			t.Errorf("%s %q: %q, want %q", c.base, c.name, got, c.want)
		}
	}
}

func TestMatchable(t *testing.T) {
	list := Matchable()
	if !slices.IsSorted(list) {
		t.Error("not sorted")
	}
	for _, e := range list {
		// Those whose versions can't be ordered would only give problems.
		if _, err := ParseVersion(e, "1.0"); err != nil {
			t.Errorf("%s: %v", e, err)
		}
	}
}
