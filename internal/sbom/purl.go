package sbom

import (
	"net/url"
	"strings"

	"github.com/package-url/packageurl-go"

	"strata/internal/inventory"
)

// packageOf turns a component's purl into a package as the analyzers would name it.
func packageOf(u packageurl.PackageURL, c component) inventory.Package {
	q := u.Qualifiers.Map()
	p := inventory.Package{Type: u.Type, Name: u.Name, Version: u.Version, Ecosystem: ecosystems[u.Type], Licenses: c.licenses}
	switch {
	case p.Distribution():
		p.Arch = q["arch"]
		// Some write the epoch of a deb in the way of an rpm.
		if e := q["epoch"]; e != "" && e != "0" && !strings.Contains(u.Version, ":") {
			p.Version = e + ":" + u.Version
		}
		p.SourceName, p.SourceVersion = sourceOf(u.Type, q["upstream"])
		if p.SourceName == "" {
			p.SourceName, p.SourceVersion = c.source, c.sourceVersion
		}
	case u.Type == "golang":
		p.Name = goModule(c.purl, u)
		if p.Name == "stdlib" {
			p.Version = strings.TrimPrefix(p.Version, "go")
		}
	case u.Type == "maven" && u.Namespace != "":
		p.Name = u.Namespace + ":" + u.Name
	case u.Namespace != "":
		p.Name = u.Namespace + "/" + u.Name
	}
	for _, s := range []*string{&p.Name, &p.Version, &p.Arch, &p.SourceName, &p.SourceVersion} {
		*s = strings.ToValidUTF8(*s, "\uFFFD") // purls may escape any byte
	}
	return p
}

// sourceOf reads the qualifier in which Syft names the source package: as
// "name", "name@version" or, of an rpm, the name of its file.
func sourceOf(typ, upstream string) (name, version string) {
	file, isFile := strings.CutSuffix(upstream, ".src.rpm")
	if typ != "rpm" || !isFile {
		name, version, _ = strings.Cut(upstream, "@")
		return name, version
	}
	release := strings.LastIndexByte(file, '-')
	if release < 0 {
		return file, ""
	}
	v := strings.LastIndexByte(file[:release], '-')
	if v <= 0 {
		return file, ""
	}
	return file[:v], file[v+1:]
}

// goModule is the path of a module as the document writes it: the purl type has
// it in lower case, but Go's advisories, like Go, tell upper case from lower.
func goModule(purl string, u packageurl.PackageURL) string {
	lower := u.Name
	if u.Namespace != "" {
		lower = u.Namespace + "/" + u.Name
	}
	raw, _, _ := strings.Cut(purl, "#")
	raw, _, _ = strings.Cut(raw, "?")
	if i := strings.LastIndexByte(raw, '@'); i > 0 {
		raw = raw[:i]
	}
	if raw, err := url.PathUnescape(raw); err == nil && len(raw) >= len(lower) {
		if path := raw[len(raw)-len(lower):]; strings.EqualFold(path, lower) {
			return path
		}
	}
	return lower
}

// distroOf is that of the operating system's component, or else the one that the
// packages' purls name most.
func distroOf(components []component) inventory.Distro {
	var system inventory.Distro
	count := map[string]int{}
	byKey := map[string]inventory.Distro{}
	for _, c := range components {
		if c.os {
			if system.VersionID == "" {
				system = inventory.Distro{ID: distroID(c.name), VersionID: c.version, Name: c.strata.first(DistroName)}
			}
			continue
		}
		u, err := packageurl.FromString(c.purl)
		if err != nil {
			continue
		}
		if d := distroOfQualifier(u.Qualifiers.Map()["distro"], u.Namespace); !d.Zero() {
			count[d.String()]++
			byKey[d.String()] = d
		}
	}
	best := ""
	for d, n := range count {
		if n > count[best] || n == count[best] && d < best {
			best = d
		}
	}
	if system.VersionID != "" || best == "" {
		return system
	}
	return byKey[best]
}

// packageDistro is the distribution of a package: that of its purl, since a document may
// be of several images, or else that of the document.
func (d *Document) packageDistro(u packageurl.PackageURL) inventory.Distro {
	if own := distroOfQualifier(u.Qualifiers.Map()["distro"], u.Namespace); own.VersionID != "" {
		return own
	}
	return d.Inventory.Distro
}

// distroOfQualifier reads "debian-12", "opensuse-leap-15.5", "bookworm", "arch" or,
// as Trivy writes it beside the namespace "alpine", "3.19.1".
func distroOfQualifier(s, namespace string) inventory.Distro {
	if s == "" {
		return inventory.Distro{}
	}
	if isDigit(s[0]) {
		return inventory.Distro{ID: distroID(namespace), VersionID: s}
	}
	for i := len(s) - 2; i > 0; i-- {
		if s[i] == '-' && isDigit(s[i+1]) {
			return inventory.Distro{ID: distroID(s[:i]), VersionID: s[i+1:]}
		}
	}
	if release, ok := codenames[strings.ToLower(s)]; ok {
		return release
	}
	return inventory.Distro{ID: distroID(s)}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// distroID is the ID of os-release(5) for the names that scanners use.
func distroID(name string) string {
	name = strings.ToLower(name)
	if id, ok := distroIDs[name]; ok {
		return id
	}
	return name
}

var distroIDs = map[string]string{
	"redhat": "rhel", "red hat enterprise linux": "rhel", "alma": "almalinux", "oracle": "ol", "amazon": "amzn",
	"cbl-mariner": "mariner", "azure": "azurelinux", "suse linux enterprise server": "sles",
	"opensuse.leap": "opensuse-leap", "opensuse.tumbleweed": "opensuse-tumbleweed",
}

// codenames of releases, which the purl specification's own examples have.
var codenames = map[string]inventory.Distro{
	"jessie": {ID: "debian", VersionID: "8"}, "stretch": {ID: "debian", VersionID: "9"}, "buster": {ID: "debian", VersionID: "10"},
	"bullseye": {ID: "debian", VersionID: "11"}, "bookworm": {ID: "debian", VersionID: "12"}, "trixie": {ID: "debian", VersionID: "13"},
	"trusty": {ID: "ubuntu", VersionID: "14.04"}, "xenial": {ID: "ubuntu", VersionID: "16.04"}, "bionic": {ID: "ubuntu", VersionID: "18.04"},
	"focal": {ID: "ubuntu", VersionID: "20.04"}, "jammy": {ID: "ubuntu", VersionID: "22.04"}, "noble": {ID: "ubuntu", VersionID: "24.04"},
}
