package license

import "strings"

// A FileKind is what a file is by its name.
type FileKind int

const (
	// NoLicense: the name tells of no licence.
	NoLicense FileKind = iota
	// LicenseText: a licence's text.
	LicenseText
	// Notice: what Apache-2.0 and others ask to pass on, beside the licence.
	Notice
)

// KindOfFile tells by its base name what a file is. It does not allocate.
func KindOfFile(base string) FileKind {
	kind := NoLicense
	rest := ""
	for _, p := range [...]string{"license", "licence", "copying", "unlicense", "copyright", "licenses", "licences"} {
		if hasPrefixFold(base, p) {
			kind, rest = LicenseText, base[len(p):]
		}
	}
	if kind == NoLicense && hasPrefixFold(base, "notice") {
		kind, rest = Notice, base[len("notice"):]
	}
	if kind == NoLicense {
		// MIT-LICENSE, GPL-LICENSE.txt, mit.license
		stem := base
		if i := strings.LastIndexByte(base, '.'); i > 0 && plainText(base[i:]) {
			stem = base[:i]
		}
		for _, s := range [...]string{"-license", "_license", "-licence", "_licence"} {
			if len(stem) > len(s) && len(stem) < 20+len(s) && strings.EqualFold(stem[len(stem)-len(s):], s) {
				return LicenseText
			}
		}
		return NoLicense
	}
	switch {
	case rest == "":
		return kind
	case rest[0] != '.' && rest[0] != '-' && rest[0] != '_' && rest[0] != ' ':
		return NoLicense // LicenseManager
	}
	if i := strings.LastIndexByte(rest, '.'); i >= 0 && !plainText(rest[i:]) {
		return NoLicense // license.js
	}
	return kind
}

// plainText tells extensions of texts, and the names of licences and versions that
// come where an extension would, from those of programs and data.
func plainText(ext string) bool {
	for _, e := range [...]string{".txt", ".md", ".markdown", ".rst", ".html", ".htm", ".adoc", ".text", ".rtf", ".lesser", ".lib", ".gpl", ".lgpl", ".mit", ".bsd", ".apache", ".apache2", ".mpl", ".isc", ".cc0", ".docs", ".code", ".library", ".runtime", ".bsl", ".psf", ".asl"} {
		if strings.EqualFold(ext, e) {
			return true
		}
	}
	digits := len(ext) > 1
	for _, c := range []byte(ext[1:]) {
		digits = digits && c >= '0' && c <= '9' // LICENSE-2.0
	}
	return digits
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
