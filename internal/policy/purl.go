package policy

import (
	"fmt"
	"strings"

	"github.com/package-url/packageurl-go"
)

// A purlPattern is a package URL as files of others name products by: what it
// leaves out, such as the version, can be anything (purl specification; OpenVEX
// specification, "Package URLs").
type purlPattern struct {
	text string
	url  packageurl.PackageURL
	// epoch of an rpm, wherever it stands.
	epoch      string
	qualifiers map[string]string
}

func parsePURL(text string) (*purlPattern, error) {
	if len(text) > maxPattern {
		return nil, fmt.Errorf("purl has more than %d characters", maxPattern)
	}
	u, err := packageurl.FromString(text)
	if err != nil {
		return nil, fmt.Errorf("purl %q: %w", text, err)
	}
	p := &purlPattern{text: text, url: u, qualifiers: u.Qualifiers.Map()}
	p.epoch = p.qualifiers["epoch"]
	if epoch, rest, ok := strings.Cut(u.Version, ":"); ok && u.Type == "rpm" {
		p.epoch, p.url.Version = epoch, rest
	}
	return p, nil
}

// matches tells whether a package is meant.
func (p *purlPattern) matches(pkg *Package) bool {
	if pkg.parsed == nil {
		parsed, err := parsePURL(pkg.PURL)
		if err != nil {
			parsed = &purlPattern{}
		}
		pkg.parsed = parsed
	}
	of := pkg.parsed
	if p.url.Type != of.url.Type || !sameName(p.url.Type, p.url.Namespace, of.url.Namespace) {
		return false
	}
	if p.qualifiers["arch"] == "src" || p.qualifiers["arch"] == "source" {
		return p.matchesSource(pkg)
	}
	return sameName(p.url.Type, p.url.Name, of.url.Name) &&
		(p.url.Version == "" || p.sameVersion(of) && p.sameEpoch(of)) && p.sameQualifiers(of)
}

// matchesSource compares with the source package, as of Red Hat's statements.
func (p *purlPattern) matchesSource(pkg *Package) bool {
	version := or(pkg.SourceVersion, pkg.Version)
	if epoch, rest, ok := strings.Cut(version, ":"); ok && p.url.Type == "rpm" && (p.epoch == "" || p.epoch == epoch) {
		version = rest
	}
	return sameName(p.url.Type, p.url.Name, or(pkg.SourceName, pkg.Name)) && (p.url.Version == "" || p.url.Version == version)
}

// sameVersion compares versions; those of Go are also written without the v.
func (p *purlPattern) sameVersion(of *purlPattern) bool {
	if p.url.Type == "golang" {
		return strings.TrimPrefix(p.url.Version, "v") == strings.TrimPrefix(of.url.Version, "v")
	}
	return p.url.Version == of.url.Version
}

func (p *purlPattern) sameEpoch(of *purlPattern) bool {
	return p.epoch == "" || p.epoch == of.epoch || p.epoch == "0" && of.epoch == ""
}

// sameName compares as the type does: names at PyPI and the like know no case.
func sameName(typ, a, b string) bool {
	switch typ {
	case "pypi", "nuget", "composer", "github", "bitbucket", "oci":
		fold := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }
		return fold(a) == fold(b)
	}
	return a == b
}

// sameQualifiers tells whether the package has all qualifiers that the pattern
// asks for. Some tell nothing that the package itself doesn't, and may be missing.
func (p *purlPattern) sameQualifiers(of *purlPattern) bool {
	for key, want := range p.qualifiers {
		got := of.qualifiers[key]
		switch key {
		case "epoch", "upstream", "checksum", "checksums", "download_url", "vcs_url", "file_name", "package-id", "package_id":
		case "arch":
			if got != "" && got != want && !anyArch(got) && !anyArch(want) {
				return false
			}
		case "distro", "distro_name":
			if got != "" && !sameDistro(want, got, p.url.Version != "") {
				return false
			}
		case "type":
			if got != want && (p.url.Type != "maven" || !jar(got) || !jar(want)) {
				return false
			}
		default:
			if got != want {
				return false
			}
		}
	}
	return true
}

// jar tells that a type of a Maven package is the default one (purl specification,
// type maven).
func jar(s string) bool { return s == "" || s == "jar" }

func anyArch(s string) bool { return s == "all" || s == "noarch" || s == "any" }

// sameDistro compares the qualifier: "debian-12" also is "debian-12.5". A code
// name can't be compared; it is taken for the same where the version is given.
func sameDistro(want, got string, versioned bool) bool {
	if want == got {
		return true
	}
	if !strings.ContainsAny(want, "0123456789") {
		return versioned
	}
	return strings.HasPrefix(want, got+".") || strings.HasPrefix(got, want+".")
}

// matchesImage tells whether an image is meant by a purl of type oci or docker:
// by name, digest, and the qualifiers repository_url, tag and arch (purl
// specification, type oci).
func (p *purlPattern) matchesImage(i *Image) bool {
	if p.url.Type != "oci" && p.url.Type != "docker" {
		return false
	}
	digest := p.url.Version
	isDigest := strings.Contains(digest, ":")
	if isDigest && digest != i.Digest && digest != i.ConfigDigest && digest != i.name.digest {
		return false
	}
	if !isDigest && digest != "" && digest != i.name.tag {
		return false
	}
	name := i.name.repository[strings.LastIndexByte(i.name.repository, '/')+1:]
	if name != "" && !sameName("oci", p.url.Name, name) || name == "" && !isDigest {
		return false
	}
	if p.url.Type == "docker" && p.url.Namespace != "" && p.url.Namespace+"/"+p.url.Name != i.name.repository {
		return false
	}
	if repository := p.qualifiers["repository_url"]; repository != "" && i.name.repository != "" && !i.isRepository(repository) {
		return false
	}
	if tag := p.qualifiers["tag"]; tag != "" && i.name.tag != "" && tag != i.name.tag && !isDigest {
		return false
	}
	if arch := p.qualifiers["arch"]; arch != "" && i.Platform != "" && !strings.Contains("/"+i.Platform+"/", "/"+arch+"/") {
		return false
	}
	return true
}

// isRepository compares a repository_url, which has the name of the image at its
// end or not.
func (i *Image) isRepository(url string) bool {
	url = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(url, "https://"), "http://"), "/")
	full := i.name.full()
	url = strings.Replace(url, "index.docker.io/", dockerHub+"/", 1)
	parent := full[:strings.LastIndexByte(full, '/')]
	return url == full || url == parent || url == i.name.registry || i.name.registry == dockerHub && parseImageName(url).full() == full
}
