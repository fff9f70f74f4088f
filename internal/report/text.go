package report

import (
	"fmt"
	"strings"

	"github.com/mattn/go-runewidth"
)

// columns measures text as terminals show it. It is our own condition, since the
// library's default depends on the environment.
func columns() *runewidth.Condition { return &runewidth.Condition{} }

// width is how many columns s takes on a terminal. s is Safe.
func width(s string) int {
	if plainASCII(s) {
		return len(s)
	}
	return columns().StringWidth(s)
}

const ellipsis = "…"

// cutEnd shortens s to n columns, with … where something is missing.
func cutEnd(s string, n int) string {
	if width(s) <= n {
		return s
	}
	if n <= 0 {
		return ""
	}
	return strings.TrimRight(columns().Truncate(s, n-1, ""), " ") + ellipsis
}

// cutStart shortens s to n columns and keeps its end, which of a path tells more
// than its start.
func cutStart(s string, n int) string {
	w := width(s)
	if w <= n {
		return s
	}
	if n <= 0 {
		return ""
	}
	tail := columns().TruncateLeft(s, w-(n-1), "")
	if i := strings.IndexByte(tail, '/'); i > 0 && i <= len(tail)/3 {
		tail = tail[i:] // begin with a whole element where that costs little
	}
	return ellipsis + tail
}

// cutMiddle shortens s to n columns and keeps both ends, as names often differ
// in their last letters.
func cutMiddle(s string, n int) string {
	w := width(s)
	if w <= n {
		return s
	}
	if n < 5 {
		return cutEnd(s, n)
	}
	tail := (n - 1) / 2
	return columns().Truncate(s, n-1-tail, "") + ellipsis + columns().TruncateLeft(s, w-tail, "")
}

// plural is a number with its noun: "1 layer", "2 layers".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Size is a number of bytes for people, in the decimal units that registries and
// Docker use: "999 B", "4.1 kB", "212 MB". It is "?" below zero: not known.
func Size(bytes int64) string {
	if bytes < 0 {
		return "?"
	}
	if bytes < 1000 {
		return fmt.Sprintf("%d B", bytes)
	}
	value := float64(bytes)
	for _, unit := range []string{"kB", "MB", "GB", "TB", "PB"} {
		value /= 1000
		if value < 9.95 {
			return fmt.Sprintf("%.1f %s", value, unit)
		}
		if value < 999.5 {
			return fmt.Sprintf("%.0f %s", value, unit)
		}
	}
	return fmt.Sprintf("%.0f EB", value/1000)
}
