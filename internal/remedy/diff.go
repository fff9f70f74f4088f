package remedy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// An edit puts text in the place of a part of a file.
type edit struct {
	start, end int
	text       string
}

// sortEdits puts edits in order, and drops those that overlap one before.
func sortEdits(edits []edit) []edit {
	edits = slices.Clone(edits)
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end)) })
	var out []edit
	for _, e := range edits {
		if n := len(out); n > 0 && (e.start < out[n-1].end || e == out[n-1]) {
			continue
		}
		out = append(out, e)
	}
	return out
}

// applied is the text with the edits.
func applied(text string, edits []edit) string {
	var b strings.Builder
	at := 0
	for _, e := range sortEdits(edits) {
		b.WriteString(text[at:e.start])
		b.WriteString(e.text)
		at = e.end
	}
	b.WriteString(text[at:])
	return b.String()
}

// diffContext is how many lines around a change a diff shows, as `diff -u` does.
const diffContext = 3

// A lineChange is a run of old lines and what stands in its place.
type lineChange struct {
	start, end int // of the old lines, from 0
	text       []string
}

// unifiedDiff is the edits as `diff -u` writes them, for `patch -p1` and `git
// apply`; empty when nothing changes.
func unifiedDiff(path, text string, edits []edit) string {
	old := lines(text)
	changes := lineChanges(text, old, edits)
	if len(changes) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "--- a/%s\n+++ b/%s\n", path, path)
	shift := 0
	for len(changes) > 0 {
		n := 1
		for n < len(changes) && changes[n].start-changes[n-1].end <= 2*diffContext {
			n++
		}
		shift += writeHunk(&b, old, changes[:n], shift)
		changes = changes[n:]
	}
	return b.String()
}

// lines are those of a text with their ends.
func lines(text string) []string {
	if text == "" {
		return nil
	}
	out := strings.SplitAfter(text, "\n")
	if out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// lineChanges are the lines that the edits change.
func lineChanges(text string, old []string, edits []edit) []lineChange {
	starts := make([]int, len(old)+1)
	for i, l := range old {
		starts[i+1] = starts[i] + len(l)
	}
	lineOf := func(offset int) int {
		i, found := slices.BinarySearch(starts, offset)
		if !found {
			i--
		}
		return i
	}
	var changes []lineChange
	var group []edit
	flush := func(first, last int) {
		start, end := starts[first], starts[last]
		var moved []edit
		for _, e := range group {
			moved = append(moved, edit{e.start - start, e.end - start, e.text})
		}
		c := lineChange{start: first, end: last, text: lines(applied(text[start:end], moved))}
		for c.start < c.end && len(c.text) > 0 && old[c.start] == c.text[0] {
			c.start, c.text = c.start+1, c.text[1:]
		}
		for c.start < c.end && len(c.text) > 0 && old[c.end-1] == c.text[len(c.text)-1] {
			c.end, c.text = c.end-1, c.text[:len(c.text)-1]
		}
		if c.start < c.end || len(c.text) > 0 {
			changes = append(changes, c)
		}
	}
	first, last := 0, 0
	for _, e := range sortEdits(edits) {
		from := lineOf(e.start)
		to := min(max(lineOf(max(e.end-1, e.start))+1, from), len(old))
		if e.start == e.end && e.start == starts[from] && strings.HasSuffix(e.text, "\n") {
			to = from // whole lines before this one
		}
		if len(group) > 0 && from < last || len(group) > 0 && from == last && to == from {
			group, last = append(group, e), max(last, to)
			continue
		}
		if len(group) > 0 {
			flush(first, last)
		}
		group, first, last = []edit{e}, from, to
	}
	if len(group) > 0 {
		flush(first, last)
	}
	return changes
}

// writeHunk writes changes that are near to each other, and gives by how many
// lines they make the file longer.
func writeHunk(b *strings.Builder, old []string, changes []lineChange, shift int) int {
	first, last := changes[0], changes[len(changes)-1]
	from, to := max(first.start-diffContext, 0), min(last.end+diffContext, len(old))
	added, at := 0, from
	var body strings.Builder
	put := func(sign string, l string) {
		body.WriteString(sign + strings.TrimSuffix(l, "\n") + "\n")
		if !strings.HasSuffix(l, "\n") {
			body.WriteString("\\ No newline at end of file\n")
		}
	}
	for _, c := range changes {
		for ; at < c.start; at++ {
			put(" ", old[at])
		}
		for ; at < c.end; at++ {
			put("-", old[at])
		}
		for _, l := range c.text {
			put("+", l)
		}
		added += len(c.text) - (c.end - c.start)
	}
	for ; at < to; at++ {
		put(" ", old[at])
	}
	fmt.Fprintf(b, "@@ -%s +%s @@\n", hunkRange(from, to-from), hunkRange(from+shift, to-from+added))
	b.WriteString(body.String())
	return added
}

// hunkRange is a range of lines as diffs write it.
func hunkRange(from, n int) string {
	if n == 0 {
		return fmt.Sprintf("%d,0", from)
	}
	if n == 1 {
		return fmt.Sprint(from + 1)
	}
	return fmt.Sprintf("%d,%d", from+1, n)
}
