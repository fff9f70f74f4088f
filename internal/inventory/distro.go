package inventory

import (
	"strings"
)

// Zero tells that no os-release was found.
func (d Distro) Zero() bool { return d.ID == "" && d.VersionID == "" && d.Name == "" }

// String is the distribution as a person writes it: "debian 12".
func (d Distro) String() string {
	if d.Zero() {
		return "unknown distribution"
	}
	id := d.ID
	if id == "" {
		id = d.Name
	}
	return strings.TrimSpace(id + " " + d.VersionID)
}

// Ecosystem is OSV's name, with the release, of the distribution's advisories:
// "Debian:12", "Alpine:v3.19", "Ubuntu:22.04:LTS", "AlmaLinux:9". It is not ok
// where OSV has no ecosystem for the distribution, or the os-release has no
// release to tell it by. Source: OSV schema, "Defined ecosystems".
func (d Distro) Ecosystem() (string, bool) {
	release := d.VersionID
	switch d.ID {
	case "debian":
		// testing and unstable have no VERSION_ID: their packages are newer than
		// any release's, so no release's ranges may be used.
		return withRelease("Debian", major(release))
	case "ubuntu":
		e, ok := withRelease("Ubuntu", release)
		if ok && ubuntuLTS(release) {
			e += ":LTS"
		}
		return e, ok
	case "alpine":
		return withRelease("Alpine", alpineBranch(release))
	case "almalinux":
		return withRelease("AlmaLinux", major(release))
	case "rocky":
		return withRelease("Rocky Linux", major(release))
	case "rhel":
		return withRelease("Red Hat:enterprise_linux", major(release))
	case "sles", "sles_sap", "sled":
		return suse(release)
	case "opensuse-leap":
		return withRelease("openSUSE:Leap", release, " ")
	case "opensuse-tumbleweed":
		return "openSUSE:Tumbleweed", true
	case "mageia":
		return withRelease("Mageia", major(release))
	case "openeuler":
		return openEuler(d)
	case "photon":
		return withRelease("Photon OS", release)
	case "azurelinux", "mariner":
		return withRelease("Azure Linux", major(release))
	case "wolfi":
		return "Wolfi", true
	case "chainguard":
		return "Chainguard", true
	case "minimos":
		return "MinimOS", true
	case "alpaquita":
		return withRelease("Alpaquita", release)
	case "bellsoft-hardened-containers":
		return withRelease("BellSoft Hardened Containers", release)
	}
	return "", false
}

func withRelease(ecosystem, release string, sep ...string) (string, bool) {
	if release == "" {
		return "", false
	}
	s := ":"
	if len(sep) > 0 {
		s = sep[0]
	}
	return ecosystem + s + release, true
}

func major(release string) string {
	m, _, _ := strings.Cut(release, ".")
	return m
}

// alpineBranch turns 3.19.1 into v3.19; edge has no branch of its own in OSV.
func alpineBranch(release string) string {
	parts := strings.Split(release, ".")
	if len(parts) < 2 {
		return ""
	}
	minor, _, _ := strings.Cut(parts[1], "_")
	return "v" + parts[0] + "." + minor
}

// ubuntuLTS: the April release of every even year is one of long-term support.
func ubuntuLTS(release string) bool {
	year, month, _ := strings.Cut(release, ".")
	return month == "04" && len(year) == 2 && (year[1]-'0')%2 == 0
}

// suse turns 15.4 into "SUSE:Linux Enterprise Server 15 SP4". There are no service
// packs since 16.
func suse(release string) (string, bool) {
	switch m, sp, ok := strings.Cut(release, "."); {
	case m != "11" && m != "12" && m != "15":
	case ok && sp != "0":
		release = m + " SP" + sp
	default:
		release = m
	}
	return withRelease("SUSE:Linux Enterprise Server", release, " ")
}

// openEuler names its releases 22.03-LTS-SP1 in OSV and "22.03 (LTS-SP1)" in
// VERSION; VERSION_ID has the number alone.
func openEuler(d Distro) (string, bool) {
	release := d.VersionID
	if _, rest, ok := strings.Cut(d.Name, "("); ok && release != "" {
		release += "-" + strings.TrimSuffix(rest, ")")
	}
	return withRelease("openEuler", release)
}
