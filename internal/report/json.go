package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// JSON writes the report as the contract has it, indented, its fields and
// elements in a stable order.
//
// Names in images are bytes, JSON is Unicode: a byte that is no part of valid
// UTF-8 is written as the four characters \xNN, so that two names that differ
// only in such bytes stay two (the usual U+FFFD would make them one). Characters
// that a terminal would act on (control characters beyond ASCII, marks that
// change the direction of text) are written as \uNNNN escapes, so that a report
// is safe to look at.
func JSON(w io.Writer, r *Report) error { return writeJSON(w, r, "  ") }

// CompactJSON writes what JSON does, on one line.
func CompactJSON(w io.Writer, r *Report) error { return writeJSON(w, r, "") }

func writeJSON(w io.Writer, r *Report, indent string) error { return encodeJSON(w, normal(*r), indent) }

// encodeJSON writes v, whose strings are UTF-8, so that it is safe to look at.
func encodeJSON(w io.Writer, v any, indent string) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // purls have many "&"
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(escapeUnprintable(buf.Bytes()))
	return err
}

// escapeUnprintable writes runes that are not printable as JSON escapes. They
// stand in strings only, since the encoder's own output is ASCII.
func escapeUnprintable(b []byte) []byte {
	var out []byte // nil as long as nothing had to be changed
	copied := 0
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf && b[i] != 0x7f {
			i++
			continue
		}
		c, size := utf8.DecodeRune(b[i:])
		if !printable(c) {
			out = append(out, b[copied:i]...)
			out = appendJSONEscape(out, c)
			copied = i + size
		}
		i += size
	}
	if copied == 0 {
		return b
	}
	return append(out, b[copied:]...)
}

func appendJSONEscape(out []byte, c rune) []byte {
	if c > 0xffff { // RFC 8259, section 7: a surrogate pair
		c -= 0x10000
		return fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+c>>10, 0xdc00+c&0x3ff)
	}
	return fmt.Appendf(out, `\u%04x`, c)
}

// ReadJSON reads what JSON wrote. Fields that this version does not know are
// passed over; a report of another schema version is an error.
func ReadJSON(r io.Reader) (*Report, error) {
	var report Report
	d := json.NewDecoder(r)
	if err := d.Decode(&report); err != nil {
		return nil, fmt.Errorf("read JSON report: %w", err)
	}
	if d.More() {
		return nil, fmt.Errorf("read JSON report: more than one report in it, as of --all-platforms: give one of an image with --platform")
	}
	switch {
	case report.SchemaVersion == "":
		return nil, fmt.Errorf("read JSON report: no schema_version; is it a report of strata scan -f json?")
	case report.SchemaVersion == SchemaVersion && report.Findings == nil: // it would pass for an image without any
		return nil, fmt.Errorf("read JSON report: no findings in it; is it a report of strata scan -f json, and not of licences or a plan?")
	case report.SchemaVersion == SchemaVersion:
		return &report, nil
	}
	return nil, fmt.Errorf("read JSON report: its schema version is %q, this program reads %q; scan the image again", report.SchemaVersion, SchemaVersion)
}
