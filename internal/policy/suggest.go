package policy

import "strings"

// suggest is `; did you mean "x"?` with the nearest of the words, or otherwise
// when none is near.
func suggest(word string, words []string, otherwise string) string {
	best, distance := "", max(len(word)/3, 1)+1
	for _, w := range words {
		if d := editDistance(strings.ToLower(word), strings.ToLower(w), distance); d < distance {
			best, distance = w, d
		}
	}
	if best == "" {
		return otherwise
	}
	return `; did you mean "` + best + `"?`
}

// editDistance is how many characters must be changed, added, removed or swapped
// with their neighbour to make b of a (optimal string alignment); limit when it
// is at least that.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit || len(a) > 100 {
		return limit
	}
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return min(last[len(b)], limit)
}
