package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// marksPerBase is how many combining marks may stand on one character; scripts
// need up to three. A pile of them paints over the lines around it.
const marksPerBase = 3

// Safe makes a string from an image fit for a terminal, on one line: whatever
// could move the cursor, change colours, turn the direction of the text around,
// hide or paint over something is written out as \xNN (ASCII control characters,
// bytes that are not UTF-8) or \uNNNN. A backslash that was there stays as it is.
func Safe(s string) string {
	if plainASCII(s) {
		return s
	}
	var b strings.Builder
	marks := marksPerBase // none may stand at the start, on what others wrote
	for i := 0; i < len(s); {
		c, size := utf8.DecodeRuneInString(s[i:])
		mark := unicode.In(c, unicode.Mn, unicode.Me)
		switch {
		case c == utf8.RuneError && size == 1, c < 0x20, c == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !printable(c), mark && marks >= marksPerBase:
			writeEscape(&b, c)
		default:
			b.WriteString(s[i : i+size])
		}
		if mark {
			marks++
		} else {
			marks = 0
		}
		i += size
	}
	return b.String()
}

func writeEscape(b *strings.Builder, c rune) {
	if c > 0xffff {
		fmt.Fprintf(b, `\U%08x`, c)
		return
	}
	fmt.Fprintf(b, `\u%04x`, c)
}

// printable tells whether a terminal shows the rune and does nothing else with
// it. Format characters (bidirectional overrides, zero-width characters), spaces
// that are not the space, and private and unassigned code points are not.
func printable(c rune) bool {
	switch c {
	case '\u115f', '\u1160', '\u3164', '\uffa0', '\u2800', '\u034f', '\u17b4', '\u17b5':
		return false // letters, marks and symbols by class, but shown as nothing
	}
	return unicode.IsPrint(c)
}

func plainASCII(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// validUTF8 writes bytes of s that are not UTF-8 as \xNN.
func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		c, size := utf8.DecodeRuneInString(s[i:])
		if c == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, `\x%02x`, s[i])
		} else {
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}
