package web

import (
	"cmp"
	"errors"
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"

	"strata/internal/report"
)

// functions are what templates call.
func (s *Site) functions() template.FuncMap {
	return template.FuncMap{
		"asset":       func(name string) string { return s.assets.address[name] },
		"when":        func(t any) template.HTML { return when(t, s.o.Now()) },
		"size":        report.Size,
		"short":       short,
		"count":       count,
		"number":      number,
		"address":     address,
		"instruction": report.Instruction,
		"list":        func(items ...any) []any { return items },
		"dict":        dict,
		"join":        strings.Join,
		"path":        url.PathEscape,
		"add":         func(a, b int) int { return a + b },
		"minus":       func(n int) int { return -n },
		"cut":         cutText,
		"here":        withoutCommands,
		"breakable":   breakable,
	}
}

// breakable is a name that may go on in the next line where its parts end:
// com.fasterxml.jackson.core:jackson-databind, golang.org/x/crypto.
func breakable(name string) template.HTML {
	text := template.HTMLEscapeString(name)
	for _, end := range []string{":", "/", "."} {
		text = strings.ReplaceAll(text, end, end+"<wbr>")
	}
	return template.HTML(text)
}

// withoutCommands is a remark of a report without what to run at a terminal to mend it: the
// server fetches advisories by itself.
func withoutCommands(text string) string {
	before, rest, ok := strings.Cut(text, " (`strata db update")
	if !ok {
		return text
	}
	_, after, _ := strings.Cut(rest, ")")
	return before + after
}

// when is a time as an element that the browser puts into the reader's zone: how long ago
// it was, and in its title the date.
func when(t any, now time.Time) template.HTML {
	var at time.Time
	switch t := t.(type) {
	case time.Time:
		at = t
	case *time.Time:
		if t != nil {
			at = *t
		}
	}
	if at.IsZero() {
		return `<span class="quiet">never</span>`
	}
	at = at.UTC()
	return template.HTML(`<time datetime="` + at.Format(time.RFC3339) + `" title="` + at.Format("2006-01-02 15:04 UTC") + `">` + ago(now.Sub(at)) + `</time>`)
}

// ago is a span of time in words: one number and one unit.
func ago(d time.Duration) string {
	in := d < 0
	d = d.Abs()
	const day = 24 * time.Hour
	var text string
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		text = fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 2*day:
		text = fmt.Sprintf("%d h", int(d.Hours()))
	case d < 60*day:
		text = fmt.Sprintf("%d days", int(d/day))
	case d < 730*day:
		text = fmt.Sprintf("%d months", int(d/(30*day)))
	default:
		text = fmt.Sprintf("%d years", int(d/(365*day)))
	}
	if in {
		return "in " + text
	}
	return text + " ago"
}

// short is a digest that people can tell from others.
func short(digest string) string {
	_, hex, ok := strings.Cut(digest, ":")
	if !ok {
		hex = digest
	}
	const enough = 12
	return hex[:min(len(hex), enough)]
}

// number has a thin space between thousands.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// count is a number with its noun: "1 image", "2 images". The plural is the singular and
// an s, where no other is given.
func count(n int, one string, more ...string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + cmp.Or(strings.Join(more, ""), one+"s")
}

// address is an address with some of its query changed: pairs of name and value. The place in
// a list (cursor) goes, unless it is given.
func address(of *url.URL, pairs ...any) (string, error) {
	if len(pairs)%2 != 0 {
		return "", errors.New("address: want pairs of name and value")
	}
	q := of.Query()
	q.Del("cursor")
	for i := 0; i < len(pairs); i += 2 {
		name, value := fmt.Sprint(pairs[i]), fmt.Sprint(pairs[i+1])
		if value == "" {
			q.Del(name)
			continue
		}
		q.Set(name, value)
	}
	if len(q) == 0 {
		return of.EscapedPath(), nil
	}
	return of.EscapedPath() + "?" + q.Encode(), nil
}

// dict is a map for a template that wants several things.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("dict: want pairs of name and value")
	}
	out := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		out[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return out, nil
}

// cutText is a text of at most n characters.
func cutText(n int, s string) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

// contains tells whether one of the texts has the words, in any case; no words are in all.
func contains(words string, texts ...string) bool {
	words = strings.ToLower(strings.TrimSpace(words))
	for _, t := range texts {
		if strings.Contains(strings.ToLower(t), words) {
			return true
		}
	}
	return words == ""
}
