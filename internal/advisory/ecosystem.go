package advisory

import (
	"regexp"
	"strings"
)

// A Key is where affected entries of a package are looked up: an ecosystem in
// the canonical form, and a name as the ecosystem compares names.
type Key struct{ Ecosystem, Name string }

// NewKey makes the Key of a package; both arguments may be written in any of the
// forms that records and images use.
func NewKey(ecosystem, name string) Key {
	return Key{Ecosystem: Canonical(ecosystem), Name: NormalizeName(Base(ecosystem), name)}
}

// Base is the ecosystem without its suffix: "Debian" of "Debian:12".
func Base(ecosystem string) string {
	base, _, _ := strings.Cut(ecosystem, ":")
	return base
}

// distributions are the ecosystems whose packages are an operating system's.
// OSV schema, "defined ecosystems".
var distributions = map[string]bool{
	"AlmaLinux": true, "Alpaquita": true, "Alpine": true, "Azure Linux": true,
	"BellSoft Hardened Containers": true, "Chainguard": true, "Debian": true,
	"Docker Hardened Images": true, "Echo": true, "Mageia": true, "MinimOS": true, "openEuler": true,
	"openSUSE": true, "Photon OS": true, "Red Hat": true, "Rocky Linux": true,
	"Root": true, "SUSE": true, "Ubuntu": true, "Wolfi": true,
}

// IsDistribution tells whether the ecosystem (without suffix) is that of an
// operating system's distribution.
func IsDistribution(base string) bool { return distributions[base] }

// Matchable lists the ecosystems that packages in images belong to, without
// suffix: those that an update takes unless told otherwise. Sorted.
func Matchable() []string {
	return []string{
		"AlmaLinux", "Alpaquita", "Alpine", "Azure Linux", "BellSoft Hardened Containers", "Bitnami", "CRAN",
		"Chainguard", "ConanCenter", "Debian", "Go", "Hackage", "Hex", "Julia", "Mageia", "Maven", "MinimOS",
		"NuGet", "Packagist", "Photon OS", "Pub", "PyPI", "Red Hat", "Rocky Linux", "RubyGems", "SUSE",
		"SwiftURL", "Ubuntu", "Wolfi", "crates.io", "npm", "openEuler", "openSUSE",
	}
}

var (
	leadingMajor = regexp.MustCompile(`^v?(\d+)`)
	leadingMinor = regexp.MustCompile(`^v?(\d+\.\d+)`)
	suseRelease  = regexp.MustCompile(`^[A-Za-z ]*?(\d+)(?: SP(\d+)|\.(\d+))?(?:-[A-Z]+)?$`)
	rhelRelease  = regexp.MustCompile(`^enterprise_linux:(\d+)`)
	digitsOnly   = regexp.MustCompile(`^\d+(\.\d+)*$`)
)

// Canonical writes an ecosystem with suffix in the one form that images and
// records share, so that releases are equal exactly when their strings are:
//
//	Debian:12.5                         Debian:12
//	Ubuntu:22.04:LTS                    Ubuntu:22.04
//	Ubuntu:Pro:22.04:LTS                Ubuntu:Pro:22.04 (another stream: its fixes are not for all)
//	Alpine:3.19.1, Alpine:v3.19         Alpine:v3.19
//	AlmaLinux:9.3, Rocky Linux:9        AlmaLinux:9, Rocky Linux:9
//	Red Hat:enterprise_linux:9::baseos  Red Hat:9
//	SUSE:Linux Enterprise Server 15 SP5 SUSE:15.5 (and every module of that service pack)
//	openSUSE:Leap 15.5                  openSUSE:15.5
//	Packagist:https://…                 Packagist (the registry is not part of a name)
//
// What it doesn't know it leaves as it is.
func Canonical(ecosystem string) string {
	base, suffix, ok := strings.Cut(ecosystem, ":")
	if !ok {
		return base
	}
	if !IsDistribution(base) {
		return base
	}
	return base + ":" + canonicalRelease(base, suffix)
}

func canonicalRelease(base, suffix string) string {
	switch base {
	case "Debian", "AlmaLinux", "Rocky Linux", "Mageia":
		if m := leadingMajor.FindStringSubmatch(suffix); m != nil && digitsOnly.MatchString(strings.TrimPrefix(suffix, "v")) {
			return m[1]
		}
	case "Alpine", "Alpaquita", "BellSoft Hardened Containers":
		if m := leadingMinor.FindStringSubmatch(suffix); m != nil {
			return "v" + m[1]
		}
	case "Ubuntu":
		return strings.TrimSuffix(suffix, ":LTS")
	case "Red Hat":
		if m := rhelRelease.FindStringSubmatch(suffix); m != nil {
			return m[1]
		}
		if digitsOnly.MatchString(suffix) {
			return leadingMajor.FindStringSubmatch(suffix)[1]
		}
	case "SUSE", "openSUSE":
		return suseCanonical(suffix)
	}
	return suffix
}

// suseCanonical gives "15.5" for the service pack and all its modules; the
// streams that cost extra (LTSS, ESPOS, SAP) stay apart.
func suseCanonical(suffix string) string {
	for _, apart := range [...]string{"LTSS", "ESPOS", "SAP", "Micro", "Manager", "Storage", "OpenStack", "Live Patching", "Tumbleweed"} {
		if strings.Contains(suffix, apart) {
			return suffix
		}
	}
	m := suseRelease.FindStringSubmatch(suffix)
	switch {
	case m == nil:
		return suffix
	case m[2] != "":
		return m[1] + "." + m[2]
	case m[3] != "":
		return m[1] + "." + m[3]
	}
	return m[1]
}

var pep503 = regexp.MustCompile(`[-_.]+`)

var (
	urlScheme = regexp.MustCompile(`^[a-z+]+://`)
	gitSuffix = regexp.MustCompile(`(\.git)?/?$`)
)

// Normalizing are the ecosystems whose names NormalizeName changes.
func Normalizing() []string { return []string{"PyPI", "NuGet", "Packagist", "Hex", "SwiftURL"} }

// NormalizeName writes a package's name as the ecosystem (without suffix)
// compares names: PyPI by PEP 503; NuGet, Packagist and Hex without regard to
// case; SwiftURL, whose names are URLs that some records write without scheme, as
// SwiftPM's CanonicalPackageLocation; all others exactly.
func NormalizeName(base, name string) string {
	switch base {
	case "PyPI":
		if !strings.ContainsAny(name, "_.-ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			return name
		}
		return strings.ToLower(pep503.ReplaceAllString(name, "-"))
	case "NuGet", "Packagist", "Hex":
		return strings.ToLower(name)
	case "SwiftURL":
		return gitSuffix.ReplaceAllString(urlScheme.ReplaceAllString(strings.ToLower(name), ""), "")
	}
	return name
}
