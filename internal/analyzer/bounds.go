package analyzer

import (
	"strings"
	"unicode/utf8"

	"strata/internal/inventory"
)

// Bounds of what is kept of one package. Real names and versions are much
// shorter, and a store's index takes none that are longer.
const (
	maxName     = 1 << 10
	maxLicense  = 4 << 10
	maxLicenses = 100
)

// clean makes the package fit to be stored and compared: its texts are valid
// UTF-8 without NUL, its licences are cut to a bound. It is false for a package
// without a name or version, or with one that can't be real.
func clean(p *inventory.Package) bool {
	for _, s := range [...]*string{&p.Name, &p.Version, &p.Arch, &p.SourceName, &p.SourceVersion, &p.Member} {
		*s = validText(*s)
	}
	if p.Name == "" || p.Version == "" || len(p.Name) > maxName || len(p.Version) > maxName {
		return false
	}
	if len(p.SourceName) > maxName || len(p.SourceVersion) > maxName {
		p.SourceName, p.SourceVersion = "", ""
	}
	if len(p.Arch) > maxName {
		p.Arch = ""
	}
	p.Licenses = p.Licenses[:min(len(p.Licenses), maxLicenses)]
	for i, l := range p.Licenses {
		if len(l) > maxLicense {
			l = strings.Clone(l[:maxLicense]) // not to hold the whole
		}
		p.Licenses[i] = validText(l)
	}
	return true
}

// validText replaces what JSON and databases can't hold: a scan from the cache
// must give what the first scan gave.
func validText(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// validPath is the path with bytes that are no UTF-8 written as \xff. Two paths
// that differ stay different, unless someone means them to collide.
func validPath(p string) string {
	if utf8.ValidString(p) {
		return p
	}
	const hex = "0123456789abcdef"
	var b strings.Builder
	for len(p) > 0 {
		r, n := utf8.DecodeRuneInString(p)
		if r == utf8.RuneError && n == 1 {
			b.Write([]byte{'\\', 'x', hex[p[0]>>4], hex[p[0]&15]})
		} else {
			b.WriteString(p[:n])
		}
		p = p[n:]
	}
	return b.String()
}

// packageCost and ownedCost are about the memory that one takes, in bytes.
func packageCost(p *inventory.Package) int {
	n := 200 + len(p.Name) + len(p.Version) + len(p.Arch) + len(p.SourceName) + len(p.SourceVersion) + len(p.Member)
	for _, l := range p.Licenses {
		n += 16 + len(l)
	}
	return n
}

func licenseCost(l *inventory.LicenseFile) int {
	return 200 + len(l.Path) + len(l.Member) + len(l.Expression) + len(l.Package)
}

func ownedCost(path string) int { return 100 + len(path) }
