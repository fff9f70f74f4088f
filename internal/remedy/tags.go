package remedy

import (
	"cmp"
	"slices"
	"strings"
)

// NewerTags picks of a repository's tags those that may name a newer base than
// tag does, the likeliest first, at most n: tags of the same form (as many
// numbers, the same words beside) with higher numbers; those with the same first
// number before others, and higher ones first. A tag without a number ("latest")
// has none.
func NewerTags(tag string, tags []string, n int) []string {
	form, numbers := tagForm(tag)
	if len(numbers) == 0 {
		return nil
	}
	type found struct {
		tag     string
		numbers []string
	}
	var newer []found
	for _, t := range tags {
		if f, nums := tagForm(t); f == form && compareNumbers(nums, numbers) > 0 {
			newer = append(newer, found{t, nums})
		}
	}
	slices.SortStableFunc(newer, func(a, b found) int {
		return cmp.Or(
			compareBools(leaves(a.numbers, numbers), leaves(b.numbers, numbers)),
			compareNumbers(b.numbers, a.numbers),
		)
	})
	var out []string
	for _, f := range newer[:min(len(newer), max(n, 0))] {
		out = append(out, f.tag)
	}
	return out
}

// leaves tells whether the first numbers differ.
func leaves(a, b []string) bool { return compareNumbers(a[:1], b[:1]) != 0 }

// tagForm is a tag with # in the place of its numbers, and these.
func tagForm(tag string) (form string, numbers []string) {
	return number.ReplaceAllString(tag, "#"), number.FindAllString(tag, -1)
}

// compareNumbers compares lists of decimal numbers of any length.
func compareNumbers(a, b []string) int {
	for i := range min(len(a), len(b)) {
		x, y := strings.TrimLeft(a[i], "0"), strings.TrimLeft(b[i], "0")
		if c := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}
