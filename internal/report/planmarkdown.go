package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	fix "strata/internal/remedy"
)

// planMarkdown writes a plan fit for a pull request (GitHub Flavored Markdown).
func planMarkdown(w io.Writer, p *fix.Plan) error {
	m := &planDocument{Plan: p}
	m.head()
	for i := range p.Steps {
		m.step(&p.Steps[i])
	}
	m.stays()
	m.rebuilds()
	if p.Diff != "" {
		m.f("\n### Change of the Dockerfile\n\n")
		m.fenced("diff", p.Diff)
	}
	_, err := w.Write(m.buf.Bytes())
	return err
}

type planDocument struct {
	*fix.Plan
	buf bytes.Buffer
}

func (m *planDocument) f(format string, args ...any) { fmt.Fprintf(&m.buf, format, args...) }

// fenced is a block in which nothing is markup.
func (m *planDocument) fenced(language, text string) {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := range lines {
		lines[i] = Safe(lines[i])
	}
	m.f("%s%s\n%s\n%s\n", fence, language, strings.Join(lines, "\n"), fence)
}

func (m *planDocument) head() {
	m.f("## Fixes for %s\n\n", mdCode(m.Image.Reference))
	switch {
	case m.Before.Total() == 0:
		m.f("%s.\n", nothingToFix(m.Plan))
	case len(m.Steps) == 0:
		m.f("%s, and no change is known that would remove any of them.\n", capital(plural(m.Before.Total(), "finding")))
	default:
		m.f("| | critical | high | medium | low | unknown | all |\n|---|--:|--:|--:|--:|--:|--:|\n")
		m.row("now", m.Before)
		for i := range m.Steps {
			m.row(fmt.Sprintf("after step %d", m.Steps[i].Number), m.Steps[i].After)
		}
	}
	for _, n := range m.Notes {
		m.f("\n> %s\n", mdText(n))
	}
}

// capital begins a sentence.
func capital(s string) string {
	c, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return strings.ToUpper(string(c)) + s[n:]
}

func (m *planDocument) row(label string, c fix.Counts) {
	m.f("| %s | %d | %d | %d | %d | %d | %d |\n", label, c.Critical, c.High, c.Medium, c.Low, c.Unknown, c.Total())
}

func (m *planDocument) step(s *fix.Step) {
	major := ""
	if s.Major {
		major = " (another major version)"
	}
	m.f("\n### %d. %s%s\n\n", s.Number, mdText(s.Title), major)
	now, then := instructionText(s)
	switch {
	case s.File != "":
		m.f("%s, line %d:\n\n", mdCode(s.File), s.Line)
	case s.Layer >= 0:
		m.f("Layer %d:\n\n", s.Layer)
	}
	var text strings.Builder
	sign := " "
	if then != "" {
		sign = "-"
	}
	for _, part := range []struct{ sign, text string }{{sign, now}, {"+", then}} {
		for _, line := range strings.Split(part.text, "\n") {
			if part.text != "" {
				text.WriteString(part.sign + " " + line + "\n")
			}
		}
	}
	if text.Len() > 0 {
		m.fenced("diff", text.String())
	}
	m.changes(s)
	m.f("\nRemoves %s%s.\n", removed(s.Fixes), mdText(brought(s.Brings)))
	if s.Command != "" {
		m.f("\n")
		m.fenced("sh", s.Command)
	}
	for _, n := range s.Notes {
		m.f("\n%s.\n", mdText(capital(n)))
	}
}

func (m *planDocument) changes(s *fix.Step) {
	if s.Kind == fix.StepBase {
		for _, a := range s.Alternatives {
			major := ""
			if a.Major {
				major = ", another line of releases"
			}
			m.f("\nOr %s%s: its own findings are %s.\n", mdCode(a.Reference), major, countsInWords(a.After))
		}
		return
	}
	m.f("\n| package | from | to | fixes |\n|---|---|---|---|\n")
	for i := range s.Changes {
		c := &s.Changes[i]
		m.f("| %s | %s | %s | %s |\n", mdCode(c.Name), mdCode(c.From), mdCode(c.To), mdText(changeNote(s, c)))
	}
}

func (m *planDocument) stays() {
	if len(m.Stays) == 0 {
		return
	}
	m.f("\n### What stays\n\n| package | findings | why |\n|---|---|---|\n")
	for i := range m.Stays {
		s := &m.Stays[i]
		var list []string
		for _, f := range s.Findings {
			list = append(list, f.ID)
		}
		m.f("| %s | %s | %s |\n", mdCode(s.Name+" "+s.Version), mdText(ids(list, 5)), mdText(s.Text))
	}
}

func (m *planDocument) rebuilds() {
	if len(m.Rebuilds) == 0 {
		return
	}
	m.f("\n### Still in lower layers\n\nNot in the running file system, but they ship.\n\n| package | layer | findings | what to do |\n|---|--:|---|---|\n")
	for i := range m.Rebuilds {
		r := &m.Rebuilds[i]
		m.f("| %s | %d | %s | %s |\n", mdCode(r.Name+" "+r.Version), r.Layer, countsInWords(countRefs(r.Findings)), mdText(r.Text))
	}
}
