package report

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// cutBytes shortens s to n bytes, with … where something is missing, and cuts no
// character apart.
func cutBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n -= len(ellipsis)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:max(n, 0)] + ellipsis
}

// mdText is text for Markdown, on one line, in which nothing is markup: no link,
// no image, no HTML, no table cell, no list (CommonMark 0.30, section 2.4, tells
// what can be escaped; GitHub's and GitLab's dialects make links of bare
// addresses). Nobody is notified by an @name nor any issue referred to by a
// #number, which the two look for in the text that is left without its markup: an
// empty comment parts them.
func mdText(s string) string {
	s = strings.TrimSpace(Safe(s)) // four spaces would be code
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch rest := s[i+1:]; {
		case strings.IndexByte("\\`*_[]<>|&", c) >= 0,
			c == ':' && strings.HasPrefix(rest, "//"),
			strings.IndexByte("-+=", c) >= 0 && i == 0,
			(c == '.' || c == ')') && startsList(s[:i]):
			b.WriteByte('\\')
			b.WriteByte(c)
		case strings.IndexByte("@#!%~$^", c) >= 0 && rest != "" && rest[0] != ' ':
			fmt.Fprintf(&b, "&#%d;<!-- -->", c)
		case strings.IndexByte("#~$", c) >= 0,
			c == '.' && i >= 3 && strings.EqualFold(s[i-3:i], "www"):
			fmt.Fprintf(&b, "&#%d;", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// startsList tells whether text that goes on with a dot or bracket would be an
// item of a numbered list.
func startsList(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// mdCode is a word for Markdown as code, for names and versions: GitHub and GitLab
// look for no mentions in it. It is a code span where that can hold the word, and
// HTML with every odd character as an entity where it can't, as in a table, which
// a | would end.
func mdCode(s string) string {
	s = Safe(s)
	if s == "" {
		return ""
	}
	if !strings.ContainsAny(s, "`|\\") && s[0] != ' ' && s[len(s)-1] != ' ' {
		return "`" + s + "`"
	}
	var b strings.Builder
	b.WriteString("<code>")
	for _, c := range s {
		switch {
		case c >= utf8.RuneSelf, '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			b.WriteRune(c)
		default:
			fmt.Fprintf(&b, "&#%d;", c)
		}
	}
	b.WriteString("</code>")
	return b.String()
}

// mdFix is the version that fixes a finding, for a cell.
func mdFix(f *Finding) string {
	if f.Kind == KindEndOfLife {
		return "a newer release"
	}
	if f.FixedVersion == "" {
		return "no fix"
	}
	return mdCode(whole(f.FixedVersion))
}

// mdLink is a vulnerability's id with a link where there is one.
func mdLink(id string) string {
	if link := vulnerabilityURL(id); link != "" {
		return "[" + id + "](" + link + ")" // an id that has a link has nothing to escape
	}
	return mdCode(id)
}
