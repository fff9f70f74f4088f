package advisory

import (
	"fmt"
	"strconv"
	"strings"
)

// EncodeRanges writes ranges compactly, for storage: a line each, the type and
// the events between tabs ("E\ti0\tf1.2.3"). Versions have no control
// characters, so nothing needs escaping.
func EncodeRanges(ranges []Range) string {
	var b strings.Builder
	for i, r := range ranges {
		if i > 0 {
			b.WriteByte('\n')
		}
		if r.Semver {
			b.WriteByte('S')
		} else {
			b.WriteByte('E')
		}
		for _, e := range r.Events {
			b.WriteByte('\t')
			b.WriteByte(byte(e.Kind))
			b.WriteString(e.Version)
		}
	}
	return b.String()
}

// DecodeRanges reads what EncodeRanges wrote.
func DecodeRanges(s string) ([]Range, error) {
	if s == "" {
		return nil, nil
	}
	var ranges []Range
	for line := range strings.SplitSeq(s, "\n") {
		kind, rest, _ := strings.Cut(line, "\t")
		if kind != "S" && kind != "E" {
			return nil, fmt.Errorf("stored range %q: unknown type", clip(line, 80))
		}
		r := Range{Semver: kind == "S", Events: make([]Event, 0, 2)}
		for rest != "" {
			var e string
			e, rest, _ = strings.Cut(rest, "\t")
			if e == "" || !strings.Contains("ifal", e[:1]) {
				return nil, fmt.Errorf("stored range %q: unknown event", clip(line, 80))
			}
			r.Events = append(r.Events, Event{Kind: EventKind(e[0]), Version: e[1:]})
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}

// EncodeRating writes a rating for storage: severity, CVSS version, score and
// vector between spaces; empty for the zero Rating.
func EncodeRating(r Rating) string {
	if r == (Rating{}) {
		return ""
	}
	if r.CVSS == (CVSS{}) {
		return string(r.Severity)
	}
	return fmt.Sprintf("%s %s %s %s", r.Severity, r.CVSS.Version, strconv.FormatFloat(r.CVSS.Score, 'f', -1, 64), r.CVSS.Vector)
}

// DecodeRating reads what EncodeRating wrote.
func DecodeRating(s string) (Rating, error) {
	if s == "" {
		return Rating{}, nil
	}
	parts := strings.SplitN(s, " ", 4)
	r := Rating{Severity: Severity(parts[0])}
	if len(parts) == 1 {
		return r, nil
	}
	if len(parts) != 4 {
		return Rating{}, fmt.Errorf("stored rating %q: want 4 parts", clip(s, 80))
	}
	score, err := strconv.ParseFloat(parts[2], 64)
	if err != nil {
		return Rating{}, fmt.Errorf("stored rating %q: %w", clip(s, 80), err)
	}
	r.CVSS = CVSS{Version: parts[1], Vector: parts[3], Score: score}
	return r, nil
}
