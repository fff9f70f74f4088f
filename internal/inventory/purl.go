package inventory

import (
	"strings"

	"github.com/package-url/packageurl-go"
)

// packageURL is the package's purl, by the purl specification's types. The
// epoch of an rpm is a qualifier there, that of a deb part of the version.
func packageURL(p *Package, d Distro) string {
	namespace, name, version := "", p.Name, p.Version
	var q packageurl.Qualifiers
	switch p.Type {
	case "deb", "apk", "rpm", "alpm", "opkg":
		namespace = vendor(d)
		if p.Arch != "" {
			q = append(q, packageurl.Qualifier{Key: "arch", Value: p.Arch})
		}
		if d.ID != "" && d.VersionID != "" {
			q = append(q, packageurl.Qualifier{Key: "distro", Value: d.ID + "-" + d.VersionID})
		}
		if epoch, rest, ok := strings.Cut(version, ":"); ok && p.Type == "rpm" {
			version = rest
			q = append(q, packageurl.Qualifier{Key: "epoch", Value: epoch})
		}
	case "maven":
		if group, artifact, ok := strings.Cut(name, ":"); ok {
			namespace, name = group, artifact
		}
	case "npm", "golang", "composer", "swift", "ebuild":
		if i := strings.LastIndexByte(name, '/'); i > 0 {
			namespace, name = name[:i], name[i+1:]
		}
	case "pypi":
		name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	}
	return packageurl.NewPackageURL(p.Type, namespace, name, version, q, "").ToString()
}

// vendor is the namespace of a distribution's packages, which the purl types and
// other tools call by the vendor's name: pkg:rpm/redhat, pkg:rpm/opensuse.
func vendor(d Distro) string {
	switch {
	case d.ID == "rhel":
		return "redhat"
	case strings.HasPrefix(d.ID, "opensuse-"):
		return "opensuse"
	}
	return d.ID
}
