package license

import (
	"hash/fnv"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Normalise reads what packages declare of their licences, in the ways of their
// ecosystems, and never fails: SPDX expressions in any case and age, Fedora's
// "GPLv2+ and LGPLv2+", Debian's "GPL-2+ or Artistic, and Expat", R's
// "GPL (>= 2) | file LICENSE", classifiers of PyPI, names and addresses as in
// Maven and NuGet. What is not understood becomes a LicenseRef- made of its words,
// so that it is not lost. The zero Expression comes of a declaration that says
// nothing ("UNKNOWN").
func Normalise(declared string) Expression {
	if e, ok := quick(declared); ok {
		return e
	}
	if e, err := Parse(declared); err == nil {
		return e
	}
	s := strings.Join(strings.Fields(declared), " ")
	if len(s) > maxDeclared {
		return termOf(unlisted(s))
	}
	s = rewrite(s)
	if e, ok := named(s); ok {
		return e
	}
	p := namesParser{words: nameWords(s)}
	e := p.commas(0)
	if len(p.words) > 0 || p.bad || e.Zero() {
		return termOf(unlisted(s)) // a stray parenthesis, or nesting without end
	}
	return e
}

// maxDeclared is how long a declaration may be that is read as names and
// operators; what is longer is a text.
const maxDeclared = 2 << 10

// quick answers for a single id, which most packages declare.
func quick(s string) (Expression, bool) {
	if s == "" || len(s) > 40 || strings.ContainsAny(s, " ()") {
		return Expression{}, s == ""
	}
	return listed(s)
}

var (
	orLaterRE   = regexp.MustCompile(`(?i)[\s,-]*\(?\b(?:or|and)[\s,-]+(?:\(?at your option\)?[\s,]+)?(?:any[\s-]+)?(?:later|newer|greater|higher|above)(?:[\s-]+versions?)?\b\)?`)
	rAtLeastRE  = regexp.MustCompile(`\(\s*>=?\s*v?(\d+(?:\.\d+)*)\s*\)`)
	rExactlyRE  = regexp.MustCompile(`\(\s*==?\s*v?(\d+(?:\.\d+)*)\s*\)`)
	rFileRE     = regexp.MustCompile(`(?i)\s*[+|]\s*file\s+LICEN[CS]E\b|^file\s+LICEN[CS]E\s*[|]\s*`)
	joinedRE    = regexp.MustCompile(`(?i)[_-](or|and|with)[_-]`)
	versionRE   = regexp.MustCompile(`^v?(\d+(?:\.\d+)*)(\+?)$`)
	gluedRE     = regexp.MustCompile(`^(gpl|lgpl|agpl|gfdl|fdl|mpl|epl|cddl|apache|asl|al|afl|osl|cpl|zpl|artistic|cecill|eupl|cc0|bsl|boost|psf|lppl|cc-by|cc-by-sa)-?v?(\d+(?:\.\d+)*)(\+?)$`)
	bracketedRE = regexp.MustCompile(`\s*\([^()]*\)`)
)

// rewrite brings some ways of writing into the form that the rest knows.
func rewrite(s string) string {
	s = strings.TrimPrefix(s, "License :: OSI Approved :: ")
	s = strings.TrimPrefix(s, "License :: ")
	if rest, ok := strings.CutPrefix(s, "SUSE-"); ok { // its own names: SUSE-GPL-2.0-with-OSI-exception
		s = joinedRE.ReplaceAllString(rest, " $1 ")
	}
	if i := strings.LastIndex(s, "custom:"); i >= 0 && len(s) > i+len("custom:") { // Arch
		s = s[i+len("custom:"):]
	}
	s = rAtLeastRE.ReplaceAllString(s, "$1+")
	s = rExactlyRE.ReplaceAllString(s, "$1")
	s = rFileRE.ReplaceAllString(s, "")
	return orLaterRE.ReplaceAllString(s, "+")
}

// named reads the name of one licence, alone or with its exception.
func named(s string) (Expression, bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return Expression{}, true
	}
	if e, ok := listed(s); ok {
		return e, true
	}
	if strings.Contains(s, "://") || strings.HasPrefix(s, "www.") {
		return address(s)
	}
	if e, ok := alias(s); ok {
		return e, true
	}
	if variant, _, ok := strings.Cut(s, "~"); ok { // Debian: BSD-3-clause~Google
		return alias(variant)
	}
	if short := bracketedRE.ReplaceAllString(s, ""); short != s {
		if e, ok := alias(short); ok {
			return e, true
		}
		if _, inner, ok := strings.Cut(s, "("); ok {
			inner, _, _ = strings.Cut(inner, ")")
			if e, ok := alias(inner); ok && strings.Count(s, "(") == 1 {
				return e, true
			}
		}
	}
	return excepted(s)
}

// alias looks a name up, and knows the many names of GNU licences.
func alias(s string) (Expression, bool) {
	words := keyWords(s)
	if len(words) == 0 { // "License"
		return Expression{}, strings.ContainsFunc(s, unicode.IsLetter)
	}
	if known, ok := aliases[strings.Join(words, " ")]; ok {
		if known == "" {
			return Expression{}, true
		}
		e, err := Parse(known)
		return e, err == nil
	}
	return gnuName(words)
}

// noise are words that make no difference to a name.
var noise = map[string]bool{"the": true, "license": true, "licence": true, "licenses": true, "licensed": true, "version": true, "under": true, "v": true, "only": true}

// keyWords are the words of a name by which it is looked up: in lower case,
// without noise, versions without zeros at their end.
func keyWords(s string) []string {
	s = strings.ToLower(s)
	var out []string
	add := func(number, plus string) {
		number = strings.TrimSuffix(strings.TrimSuffix(number, ".0"), ".0")
		out = append(out, number+plus)
	}
	split := func(r rune) bool {
		return unicode.IsSpace(r) || r == '-' || r == '_' || r == ',' || r == '(' || r == ')' || r == '"' || r == '\'' || r == '/' || r == ':' || r == ';' || r == '®' || r == '™'
	}
	for _, w := range strings.FieldsFunc(s, split) {
		if w = strings.TrimRight(w, "."); noise[w] || w == "" {
			continue
		}
		if m := versionRE.FindStringSubmatch(w); m != nil {
			add(m[1], m[2])
		} else if m := gluedRE.FindStringSubmatch(w); m != nil {
			out = append(out, m[1])
			add(m[2], m[3])
		} else if w == "+" && len(out) > 0 {
			out[len(out)-1] = strings.TrimSuffix(out[len(out)-1], "+") + "+"
		} else {
			out = append(out, w)
		}
	}
	return out
}

// gnuWords are the words of which names of GNU licences are made, with the family
// that each tells; an empty one tells none.
var gnuWords = map[string]string{
	"gnu": "", "general": "", "public": "", "free": "", "or": "", "fsf": "", "foundation": "", "software": "",
	"gpl": "GPL", "gpl+": "GPL", "lgpl": "LGPL", "lgpl+": "LGPL", "lesser": "LGPL", "library": "LGPL", "agpl": "AGPL", "agpl+": "AGPL", "affero": "AGPL",
	"gfdl": "GFDL", "fdl": "GFDL", "documentation": "GFDL", "niv": "niv",
}

// gnuVersions are those that there are, and the one that is meant by none: a
// program that names no version may be used under any (GPL-2.0, section 9).
var gnuVersions = map[string]struct{ any, all string }{
	"GPL":  {"1", "1 2 3"},
	"LGPL": {"2", "2 2.1 3"},
	"AGPL": {"3", "1 3"},
	"GFDL": {"1.1", "1.1 1.2 1.3"},
}

// gnuName reads "gnu lesser general public 2.1+" and its like.
func gnuName(words []string) (Expression, bool) {
	family, version, plus, public, invariant := "", "", false, false, ""
	for _, w := range words {
		if m := versionRE.FindStringSubmatch(w); m != nil {
			if version != "" && version != m[1] {
				return Expression{}, false
			}
			version, plus = m[1], plus || m[2] != ""
			continue
		}
		f, ok := gnuWords[w]
		switch {
		case !ok:
			return Expression{}, false
		case f == "niv": // Debian's: no invariant sections
			invariant = "-no-invariants"
		case f == "LGPL" || f == "AGPL" || f == "GFDL":
			if family != "" && family != "GPL" && family != f {
				return Expression{}, false
			}
			family = f
		case f == "GPL" && family == "":
			family = f
		}
		public = public || w == "public"
		plus = plus || strings.HasSuffix(w, "+")
	}
	if family == "" && public && len(words) > 1 && words[0] == "gnu" {
		family = "GPL"
	}
	known, ok := gnuVersions[family]
	if !ok {
		return Expression{}, false
	}
	if version == "" {
		version, plus = known.any, true
	}
	if !strings.Contains(" "+known.all+" ", " "+version+" ") {
		return Expression{}, false
	}
	if !strings.Contains(version, ".") {
		version += ".0"
	}
	return listed(family + "-" + version + invariant + map[bool]string{true: "-or-later", false: "-only"}[plus])
}

// excepted reads "NAME with EXCEPTION". An exception that SPDX does not list makes
// the whole a LicenseRef-, which keeps the licence's class.
func excepted(s string) (Expression, bool) {
	at := withRE.FindStringIndex(s)
	if at == nil {
		return Expression{}, false
	}
	base, ok := named(s[:at[0]])
	if !ok || base.op != single || base.Zero() || base.term.Exception != "" || !base.term.Listed() {
		return Expression{}, false
	}
	if id := exceptionID(s[at[1]:], base.term.License); id != "" {
		base.term.Exception = id
		return base, true
	}
	return termOf(unlisted(base.term.License + "-with-" + strings.TrimSpace(s[at[1]:]))), true
}

var withRE = regexp.MustCompile(`(?i)[\s,(-]+with[\s-]+(?:the\s+)?`)

// exceptionID is SPDX's id of an exception that a licence's name speaks of.
func exceptionID(name, base string) string {
	if id, ok := spdx().exceptions[strings.ToLower(strings.TrimSpace(name))]; ok {
		return id
	}
	var words []string
	for _, w := range keyWords(name) {
		switch w {
		case "exception", "exceptions", "special", "gnu", "gpl", "linking", "runtime", "library", "a":
		default:
			words = append(words, w)
		}
	}
	id := exceptionAliases[strings.Join(words, " ")]
	if strings.HasSuffix(id, "-") { // one for each version of the GPL
		switch {
		case strings.HasPrefix(base, "GPL-3.0"):
			id += map[string]string{"Autoconf-exception-": "3.0", "GCC-exception-": "3.1"}[id]
		default:
			id += "2.0"
		}
	}
	return id
}

// address reads the web address of a licence.
func address(s string) (Expression, bool) {
	u := strings.ToLower(s)
	if _, rest, ok := strings.Cut(u, "://"); ok {
		u = rest
	}
	u = strings.TrimPrefix(u, "www.")
	u, _, _ = strings.Cut(u, "#")
	if id, ok := strings.CutPrefix(u, "licenses.nuget.org/"); ok {
		id = strings.NewReplacer("%20", " ", "+", " ", "%28", "(", "%29", ")").Replace(id)
		e, err := Parse(id)
		return e, err == nil
	}
	u, _, _ = strings.Cut(u, "?")
	for _, end := range []string{"/", ".txt", ".html", ".htm", ".php", ".md", "-standalone", "/legalcode", "/deed.en"} {
		u = strings.TrimSuffix(u, end)
	}
	if known, ok := addresses[u]; ok {
		e, err := Parse(known)
		return e, err == nil
	}
	for _, site := range []string{"opensource.org/licenses/", "opensource.org/license/", "spdx.org/licenses/", "choosealicense.com/licenses/"} {
		if id, ok := strings.CutPrefix(u, site); ok {
			if e, ok := listed(id); ok {
				return e, true
			}
			return alias(id)
		}
	}
	return Expression{}, false
}

// unlisted makes a LicenseRef- of a name or text: its words, and for a long one a
// few of them and a checksum.
func unlisted(s string) string {
	const most = 64
	var b strings.Builder
	for _, r := range s {
		if idChar(r) {
			b.WriteRune(r)
		} else if n := b.Len(); n > 0 && b.String()[n-1] != '-' {
			b.WriteByte('-')
		}
		if b.Len() > most {
			break
		}
	}
	id := strings.Trim(b.String(), "-")
	if len(id) > most || id == "" {
		h := fnv.New32a()
		_, _ = h.Write([]byte(s)) // never fails
		id = strings.TrimLeft(strings.TrimRight(id[:min(len(id), 40)], "-")+"-"+strconv.FormatUint(uint64(h.Sum32()), 16), "-")
	}
	return refPrefix + id
}

// A namesParser reads names of licences, which have blanks in them, joined by
// words and signs. By Debian's rules a comma before "and" or "or" binds least.
type namesParser struct {
	words []string
	bad   bool
	terms int
}

var signsRE = regexp.MustCompile(`\|\||&&|[()|&;,]|/`)

// nameWords splits at blanks and makes words of their own of the signs that join
// licences. An address stays whole.
func nameWords(s string) []string {
	s = joinedRE.ReplaceAllString(s, " $1 ")
	var out []string
	for _, w := range strings.Fields(s) {
		if strings.Contains(w, "://") {
			if rest, ok := strings.CutSuffix(w, ","); ok {
				out = append(out, rest, ",")
				continue
			}
			out = append(out, w)
			continue
		}
		if strings.EqualFold(w, "and/or") {
			out = append(out, "and")
			continue
		}
		out = append(out, strings.Fields(signsRE.ReplaceAllString(w, " $0 "))...)
	}
	return out
}

func operatorOf(w string) operator {
	switch strings.ToLower(w) {
	case "and", "&", "&&":
		return and
	case "or", "|", "||", "/":
		return or
	}
	return single
}

func (p *namesParser) next(op operator) bool {
	if len(p.words) > 0 && operatorOf(p.words[0]) == op {
		p.words = p.words[1:]
		return true
	}
	return false
}

func (p *namesParser) comma() bool {
	if len(p.words) > 0 && (p.words[0] == "," || p.words[0] == ";") {
		p.words = p.words[1:]
		return true
	}
	return false
}

func (p *namesParser) commas(depth int) Expression {
	e := p.ors(depth)
	for p.comma() {
		if len(p.words) == 0 {
			break
		}
		if p.next(or) {
			e = Or(e, p.ors(depth))
			continue
		}
		p.next(and)
		e = And(e, p.ors(depth))
	}
	return e
}

func (p *namesParser) ors(depth int) Expression {
	args := []Expression{p.ands(depth)}
	for p.next(or) {
		args = append(args, p.ands(depth))
	}
	return join(or, args...)
}

func (p *namesParser) ands(depth int) Expression {
	args := []Expression{p.name(depth)}
	for p.next(and) {
		args = append(args, p.name(depth))
	}
	return join(and, args...)
}

// name reads a group in parentheses or the words of one name, in which
// parentheses may follow others: "Apache License (v2.0)".
func (p *namesParser) name(depth int) Expression {
	if p.terms++; depth > maxDepth || p.terms > maxTerms {
		p.bad = true
		return Expression{}
	}
	if len(p.words) > 0 && p.words[0] == "(" {
		p.words = p.words[1:]
		e := p.commas(depth + 1)
		if len(p.words) == 0 || p.words[0] != ")" {
			p.bad = true
			return e
		}
		p.words = p.words[1:]
		if len(p.words) > 0 && strings.EqualFold(p.words[0], "with") {
			return p.grouped(e)
		}
		return e
	}
	words := p.nameRun()
	s := strings.Join(words, " ")
	if e, ok := named(s); ok {
		return e
	}
	if e, ok := eachNamed(words); ok {
		return e
	}
	return termOf(unlisted(s))
}

// nameRun takes the words up to the next that joins licences or closes a group.
func (p *namesParser) nameRun() []string {
	open := 0
	n := 0
	for ; n < len(p.words); n++ {
		w := p.words[n]
		if w == "(" {
			open++
		} else if w == ")" {
			if open--; open < 0 {
				break
			}
		} else if open == 0 && (operatorOf(w) != single || w == "," || w == ";") {
			break
		}
	}
	words := p.words[:n]
	p.words = p.words[n:]
	return words
}

// grouped reads "(A or B) with EXCEPTION": the exception is of each.
func (p *namesParser) grouped(e Expression) Expression {
	tail := " " + strings.Join(p.nameRun(), " ")
	return e.replace(func(t Term) Expression {
		if x, ok := excepted(t.License + tail); ok && t.Exception == "" {
			return x
		}
		return termOf(unlisted(t.String() + tail))
	})
}

// eachNamed reads a list without anything between its members: "MIT BSD GPL2+".
func eachNamed(words []string) (Expression, bool) {
	if len(words) < 2 {
		return Expression{}, false
	}
	var all []Expression
	for _, w := range words {
		e, ok := named(w)
		if !ok || e.Zero() {
			return Expression{}, false
		}
		all = append(all, e)
	}
	return And(all...), true
}
