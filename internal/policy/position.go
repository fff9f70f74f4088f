package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// A document is a YAML file with its text, for errors that show the place.
type document struct {
	name  string
	lines []string
}

func newDocument(name string, text []byte) *document {
	return &document{name: name, lines: strings.Split(string(text), "\n")}
}

// A Mistake is something that is wrong with a file, and where.
type Mistake struct {
	File string `json:"-"`
	// Line and Column count from 1; Column is 0 where only the line is known, and both
	// are where it is the file as a whole.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Message is one sentence for a person.
	Message string `json:"message"`
}

func (m *Mistake) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", m.File, m.Line, m.Column, m.Message)
}

// yamlLine is how errors of YAML's grammar begin.
const yamlLine = "yaml: line "

// Mistakes are those that an error of a Loader tells of, in its order.
func Mistakes(err error) []Mistake {
	var out []Mistake
	for _, e := range flatten(err) {
		if m, ok := errors.AsType[*Mistake](e); ok {
			out = append(out, *m)
			continue
		}
		m := Mistake{Message: e.Error()}
		if _, after, ok := strings.Cut(m.Message, yamlLine); ok {
			if number, what, ok := strings.Cut(after, ": "); ok {
				m.Line, _ = strconv.Atoi(number)
				m.Message = what
			}
		}
		out = append(out, m)
	}
	return out
}

// A place is a line and a column in a file, both from 1.
type place struct{ line, column int }

// errorf is an error at a node, as FILE:LINE:COLUMN.
func (d *document) errorf(n *yaml.Node, format string, args ...any) error {
	return d.errorAt(place{n.Line, n.Column}, format, args...)
}

func (d *document) errorAt(p place, format string, args ...any) error {
	return &Mistake{File: d.name, Line: p.line, Column: p.column, Message: fmt.Sprintf(format, args...)}
}

// show is the line of a place with a caret under its column.
func (d *document) show(p place) string {
	if p.line < 1 || p.line > len(d.lines) {
		return ""
	}
	line := []rune(strings.TrimRight(strings.ReplaceAll(d.lines[p.line-1], "\t", " "), "\r "))
	column := min(p.column, len(line)+1)
	const width = 100 // of what is shown
	if start := max(column-width/2, 0); len(line) > width {
		line, column = line[min(start, len(line)):], column-start
		line = line[:min(width, len(line))]
	}
	return fmt.Sprintf("\n| %s\n| %s^", string(line), strings.Repeat(" ", max(column-1, 0)))
}

// placeIn is where the character of a scalar's value stands in the file, also in
// block scalars and those over several lines. YAML's escapes and folding are
// undone by walking along both texts; where that does not lead to the end (a
// character written by its code), the beginning of the scalar is the answer.
func (d *document) placeIn(n *yaml.Node, offset int) place {
	start := place{n.Line, n.Column}
	w := walker{lines: d.lines, at: place{n.Line, n.Column}}
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		w.at = place{n.Line + 1, 1}
	} else if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		w.at.column++
	}
	value := []rune(n.Value)
	for _, c := range value[:min(offset, len(value))] {
		if unicode.IsSpace(c) {
			continue
		}
		if !w.seek(c) {
			return start
		}
		w.at.column++
	}
	if offset < len(value) && !unicode.IsSpace(value[offset]) && !w.seek(value[offset]) {
		return start
	}
	return w.at
}

// A walker goes over the text of a file.
type walker struct {
	lines []string
	at    place
}

// seek goes to the next character, which is c unless the texts differ. It passes
// over white space, and over what YAML's quotes are escaped with.
func (w *walker) seek(c rune) bool {
	for w.at.line >= 1 && w.at.line <= len(w.lines) {
		line := []rune(w.lines[w.at.line-1])
		for w.at.column <= len(line) {
			found := line[w.at.column-1]
			switch {
			case found == c && (found != '\'' && found != '\\' || w.next(line) != found):
				return true
			case unicode.IsSpace(found):
			case found == '\\', found == '\'' && c == '\'':
				w.at.column++
				return w.at.column <= len(line) && line[w.at.column-1] == c
			default:
				return false
			}
			w.at.column++
		}
		w.at = place{w.at.line + 1, 1}
	}
	return false
}

func (w *walker) next(line []rune) rune {
	if w.at.column < len(line) {
		return line[w.at.column]
	}
	return 0
}
