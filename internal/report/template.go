package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/template"
	"time"
)

// Template writes the reports through a Go template (package text/template), one
// after the other, each as the template's dot: a Report, whose fields have the
// names that Go gives them (.Image.Reference, .Findings, .Layers). Beside what Go
// has it can call functions of our own, which docs/formats.md explains.
//
// Names in a report are the image's to choose, and the template says nothing of
// what it writes: it is for its author to escape them with safe, json, xml, html,
// csv, md or mdcode.
func Template(w io.Writer, reports []*Report, o Options) error {
	if o.Template == "" {
		return errors.New("it needs the text of a template: --template FILE")
	}
	for _, r := range reports {
		l := newListing(r)
		t, err := parseTemplate(o.Template, l, o)
		if err != nil {
			return err
		}
		var buf bytes.Buffer
		if err := t.Execute(&buf, l.report); err != nil {
			return err
		}
		if _, err := w.Write(buf.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// CheckTemplate tells of mistakes in a template that can be seen before there is
// a report: of syntax, and functions that there are not.
func CheckTemplate(text string) error {
	_, err := parseTemplate(text, newListing(&Report{}), Options{})
	return err
}

func parseTemplate(text string, l *listing, o Options) (*template.Template, error) {
	return template.New("template").Funcs(templateFunctions(l, o)).Parse(text)
}

// templateFunctions are for the report l. docs/formats.md explains them.
func templateFunctions(l *listing, o Options) template.FuncMap {
	return template.FuncMap{
		// escapers
		"safe":   Safe,
		"json":   templateJSON,
		"xml":    templateXML,
		"csv":    templateCSV,
		"md":     mdText,
		"mdcode": mdCode,
		// the report
		"byGravity":   func() []*Finding { return l.findings },
		"active":      l.templateActive,
		"package":     func(f *Finding) Package { return l.findingPackage(f) },
		"layer":       func(f *Finding) Layer { return l.templateLayer(f) },
		"fails":       l.fails,
		"violates":    l.objectors,
		"aside":       l.aside,
		"count":       func(severity string) int { return l.counts.Of(Severity(severity)) },
		"link":        vulnerabilityURL,
		"instruction": Instruction,
		"fingerprint": l.fingerprint,
		"started":     func() time.Time { return o.Started },
		"ended":       func() time.Time { return o.Ended },
		// words
		"upper":    strings.ToUpper,
		"lower":    strings.ToLower,
		"join":     func(sep string, words []string) string { return strings.Join(words, sep) },
		"replace":  func(old, with, s string) string { return strings.ReplaceAll(s, old, with) },
		"contains": func(part, s string) bool { return strings.Contains(s, part) },
		"cut":      func(n int, s string) string { return cutEnd(s, n) },
		"size":     Size,
		"add":      func(a, b int) int { return a + b },
	}
}

func (l *listing) templateActive() []*Finding {
	var out []*Finding
	for _, f := range l.findings {
		if f.Active() {
			out = append(out, f)
		}
	}
	return out
}

// templateLayer is the layer of a finding; one with the index -1 for none.
func (l *listing) templateLayer(f *Finding) Layer {
	if layer := l.layerOf(f); layer != nil {
		return *layer
	}
	return Layer{Index: -1}
}

// templateJSON is a value as JSON on one line, strings with their quotes.
func templateJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(escapeUnprintable(b)), err
}

// templateXML is text for an XML document, in an element or an attribute.
func templateXML(s string) (string, error) {
	var b strings.Builder
	err := xml.EscapeText(&b, []byte(Safe(s)))
	return b.String(), err
}

// templateCSV is a cell with quotes, which no spreadsheet takes for a formula.
func templateCSV(v any) string {
	return `"` + strings.ReplaceAll(csvCell(fmt.Sprint(v)), `"`, `""`) + `"`
}
