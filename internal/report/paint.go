package report

import (
	"bytes"
	"strings"
)

// A style is the parameters of an SGR sequence (ECMA-48, 8.3.117). Only the
// sixteen colours are used: they are those of the user's own theme.
type style string

const (
	plain   style = ""
	bold    style = "1"
	dim     style = "2"
	red     style = "31"
	green   style = "32"
	yellow  style = "33"
	cyan    style = "36"
	grey    style = "90"
	magenta style = "1;35"
	onRed   style = "1;97;41"
	onGreen style = "1;97;42"
	onAmber style = "1;30;43"
)

func severityStyle(s Severity) style {
	return [len(Counts{})]style{magenta, red, yellow, cyan, grey}[column(s)]
}

// A canvas gathers the lines of a table. All text put on it is Safe.
type canvas struct {
	buf   bytes.Buffer
	color bool
	// used is how many columns of the current line are taken, spaces how many
	// more are blank and not yet written, so that no line ends in blanks.
	used, spaces int
}

// put writes s in a style.
func (c *canvas) put(st style, s string) {
	if s == "" {
		return
	}
	for ; c.spaces > 0; c.spaces-- {
		c.buf.WriteByte(' ')
		c.used++
	}
	if c.color && st != plain {
		c.buf.WriteString("\x1b[" + string(st) + "m" + s + "\x1b[0m")
	} else {
		c.buf.WriteString(s)
	}
	c.used += width(s)
}

// space leaves n columns blank.
func (c *canvas) space(n int) { c.spaces += max(n, 0) }

// left writes s at the start of a cell of n columns, right at its end. Longer
// text is not cut and takes the room it needs.
func (c *canvas) left(st style, s string, n int) {
	c.put(st, s)
	c.space(n - width(s))
}

func (c *canvas) right(st style, s string, n int) {
	c.space(n - width(s))
	c.put(st, s)
}

// to goes to a column, or stays where the line is already beyond it.
func (c *canvas) to(column int) { c.space(column - c.used - c.spaces) }

// line ends the line.
func (c *canvas) line() {
	c.buf.WriteByte('\n')
	c.used, c.spaces = 0, 0
}

// paragraph writes words over as many lines as it takes: the first goes on where
// the current one stands, the others are indented by indent columns. A word longer
// than a line is not broken: ids and versions stay whole.
func (c *canvas) paragraph(st style, s string, indent, columns int) {
	for word := range strings.FieldsSeq(s) {
		n := width(word)
		if at := c.used + c.spaces; at > indent && at+n > columns {
			c.line()
			c.to(indent)
		}
		c.put(st, word)
		c.space(1)
	}
	c.line()
}

// item writes one of a list of short texts, with the separator before it unless
// it is the first of its line; one that does not fit begins the next line, at
// indent.
func (c *canvas) item(st style, s, separator string, indent, columns int) {
	switch at := c.used + c.spaces; {
	case at > indent && at+width(separator)+width(s) > columns:
		c.line()
		c.to(indent)
	case at > indent:
		c.put(dim, separator)
	}
	c.put(st, s)
}
