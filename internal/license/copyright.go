package license

import (
	"bytes"
	"crypto/sha256"
	"regexp"
	"strings"
)

// A Copyright is what one of Debian's copyright files tells of the licences of a
// package.
type Copyright struct {
	// Machine tells that it is in the machine-readable format (Debian,
	// copyright-format 1.0); otherwise it is a text for people.
	Machine bool
	// Expression has the licences of all files, joined by AND, but for those of the
	// packaging itself ("Files: debian/*"), of which nothing is installed.
	Expression Expression
	// Coverage of a text for people by licences, in percent.
	Coverage float64
}

// MaxCopyright is how much of a copyright file is looked at, in bytes: those of
// browsers have a megabyte.
const MaxCopyright = 2 << 20

// Copyright reads a copyright file of Debian's, /usr/share/doc/PACKAGE/copyright.
// Where the machine-readable format uses a name of its own for a licence, and
// gives its text, the text tells.
func (r *Recogniser) Copyright(b []byte) Copyright {
	b = b[:min(len(b), MaxCopyright)]
	// Packages of one source have the same.
	return r.copyrights.get(sha256.Sum256(b), func() Copyright { return r.copyright(b) })
}

func (r *Recogniser) copyright(b []byte) Copyright {
	if d, ok := parseCopyright(b); ok {
		return Copyright{Machine: true, Expression: d.expression(r)}
	}
	t := r.Recognise(b)
	e := t.Expression
	if e.Zero() {
		e = r.parts(b)
	}
	e = And(e, commonLicenses(b, e))
	if e.Zero() {
		e = mentioned(b)
	}
	return Copyright{Expression: e, Coverage: t.Coverage}
}

var mentionRE = regexp.MustCompile(`(?i)\bGNU\s+(?:(?:Lesser|Library|Affero)\s+)?General\s+Public\s+Licen[cs]e(?:,?\s+(?:as\s+published\s+by\s+the\s+Free\s+Software\s+Foundation[;,]?\s+)?(?:either\s+)?version\s+\d(?:\.\d)?(?:[\s,(]+or[\s,(]+at\s+your\s+option[\s,)]+any\s+later(?:\s+version)?)?)?`)

// mentioned are the GNU licences that a text for people names, where it has
// neither their texts nor a reference to them.
func mentioned(b []byte) Expression {
	var all []Expression
	for _, m := range mentionRE.FindAll(b, maxTerms) {
		if e := Normalise(string(m)); e.Understood() {
			all = append(all, e)
		}
	}
	return And(all...)
}

// A copyrightFile is a copyright file in the machine-readable format.
type copyrightFile struct {
	// names of licences as written: of the whole (in the header), of files, of the
	// packaging, and of the paragraphs that only give a text.
	header, files, packaging, alone []string
	texts                           map[string][]byte // by name in lower case
}

// parseCopyright reads the machine-readable format; false for any other.
func parseCopyright(b []byte) (*copyrightFile, bool) {
	d := &copyrightFile{texts: map[string][]byte{}}
	first, machine := true, false
	for p := range paragraphs(b) {
		if first {
			format := p.field("format", "format-specification")
			machine = format != nil
			if !machine {
				return nil, false
			}
			first = false
		}
		d.add(p)
	}
	return d, machine
}

func (d *copyrightFile) add(p paragraph) {
	value := p.field("license", "licence")
	if value == nil {
		return
	}
	name, text, _ := bytes.Cut(value, []byte("\n"))
	s := string(bytes.TrimSpace(name))
	if s == "" {
		// The name is missing, or in the next line.
		name, text, _ = bytes.Cut(bytes.TrimSpace(text), []byte("\n"))
		s = string(bytes.TrimSpace(name))
	}
	if s == "" {
		return
	}
	if key := strings.ToLower(s); len(bytes.TrimSpace(text)) > 0 && d.texts[key] == nil && len(d.texts) < maxTerms {
		d.texts[key] = text
	}
	list := &d.alone
	switch files := p.field("files"); {
	case files != nil && packagingOnly(files):
		list = &d.packaging
	case files != nil:
		list = &d.files
	case p.field("format", "format-specification") != nil:
		list = &d.header
	}
	for _, known := range *list {
		if known == s {
			return
		}
	}
	if len(*list) < maxTerms {
		*list = append(*list, s)
	}
}

// packagingOnly tells that all the patterns are of Debian's packaging.
func packagingOnly(files []byte) bool {
	some := false
	for f := range bytes.FieldsSeq(files) {
		if !bytes.HasPrefix(f, []byte("debian/")) {
			return false
		}
		some = true
	}
	return some
}

func (d *copyrightFile) expression(r *Recogniser) Expression {
	names := d.files
	for _, other := range [][]string{d.header, d.alone, d.packaging} {
		if len(names) == 0 {
			names = other
		}
	}
	all := make([]Expression, 0, len(names))
	for _, n := range names {
		all = append(all, d.resolve(r, n))
	}
	return And(all...)
}

// resolve reads a licence's name. Where SPDX has none like it, the text tells,
// if it can be recognised.
func (d *copyrightFile) resolve(r *Recogniser, name string) Expression {
	return r.normalise(name).replace(func(t Term) Expression {
		if t.Listed() {
			return Expression{term: t}
		}
		for _, key := range []string{strings.ToLower(name), strings.ToLower(strings.TrimPrefix(t.License, refPrefix))} {
			if text := d.texts[key]; len(text) > 0 {
				if found := r.Recognise(text); !found.Expression.Zero() && found.Coverage >= wholeText {
					return found.Expression
				}
			}
		}
		return Expression{term: t}
	})
}

// wholeText is the coverage from which a text under a name of its own is taken
// for the licence: a variant differs in little.
const wholeText = 90

// A paragraph is one of a control file (deb-control(5)).
type paragraph []byte

// paragraphs yields those of a file.
func paragraphs(b []byte) func(yield func(paragraph) bool) {
	return func(yield func(paragraph) bool) {
		b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
		start, at := 0, 0
		for at < len(b) {
			end := bytes.IndexByte(b[at:], '\n')
			if end < 0 {
				end = len(b) - at - 1
			}
			if len(bytes.TrimSpace(b[at:at+end+1])) == 0 {
				if len(bytes.TrimSpace(b[start:at])) > 0 && !yield(b[start:at]) {
					return
				}
				start = at + end + 1
			}
			at += end + 1
		}
		if len(bytes.TrimSpace(b[start:])) > 0 {
			yield(b[start:])
		}
	}
}

// field is the value of the first field with one of the names, with its further
// lines; nil without.
func (p paragraph) field(names ...string) []byte {
	for at := 0; at < len(p); {
		end := bytes.IndexByte(p[at:], '\n')
		if end < 0 {
			end = len(p) - at
		}
		line := p[at : at+end]
		next := at + end + 1
		if line[:min(1, len(line))] != nil && len(line) > 0 && line[0] != ' ' && line[0] != '\t' {
			for _, n := range names {
				if len(line) > len(n) && line[len(n)] == ':' && bytes.EqualFold(line[:len(n)], []byte(n)) {
					from := at + len(n) + 1
					return bytes.TrimRight(p[from:p.valueEnd(next)], "\n")
				}
			}
		}
		at = next
	}
	return nil
}

// valueEnd is where the lines that continue a value end.
func (p paragraph) valueEnd(at int) int {
	for at < len(p) && (p[at] == ' ' || p[at] == '\t') {
		end := bytes.IndexByte(p[at:], '\n')
		if end < 0 {
			return len(p)
		}
		at += end + 1
	}
	return min(at, len(p))
}

// parts gives the licences of which a text has the whole text or notice, however
// much else it says: as in a copyright file that tells the story of a package.
func (r *Recogniser) parts(b []byte) Expression { return r.find(b[:min(len(b), MaxText)]).expression }

var commonLicenseRE = regexp.MustCompile(`/usr/share/common-licenses/([A-Za-z][A-Za-z0-9.+-]*)`)

var anyLaterRE = regexp.MustCompile(`(?i)any\s+later\s+version|or\s+(?:\(at\s+your\s+option\)\s+)?(?:any\s+)?(?:later|newer)`)

// commonLicenses are the licences whose texts a copyright file refers to where
// Debian keeps them, unless the file was found to tell more of the same.
func commonLicenses(b []byte, found Expression) Expression {
	orLater := anyLaterRE.Match(b)
	known := map[string]bool{}
	for t := range found.Terms() {
		known[family(t.License)] = true
	}
	var all []Expression
	for _, m := range commonLicenseRE.FindAllSubmatch(b, maxTerms) {
		name := strings.TrimRight(string(m[1]), ".+-")
		if orLater && (strings.HasPrefix(name, "GPL-") || strings.HasPrefix(name, "LGPL-") || strings.HasPrefix(name, "GFDL-")) {
			name += "+"
		}
		for t := range Normalise(name).Terms() {
			if f := family(t.License); !known[f] {
				all = append(all, Expression{term: t})
			}
		}
	}
	return And(all...)
}

// family is what a GNU licence's id has before the version, or else the id.
func family(id string) string {
	for _, f := range []string{"GPL-", "LGPL-", "AGPL-", "GFDL-"} {
		if strings.HasPrefix(id, f) {
			return f
		}
	}
	return id
}
