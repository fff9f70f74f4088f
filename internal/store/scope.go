package store

import (
	"fmt"
	"strings"
)

// MatchName tells whether one of the globs names it: * is any run of characters
// but slashes, ** any run at all, everything else itself. Names are
// "REGISTRY/REPOSITORY". No glob matches nothing.
func MatchName(globs []string, name string) bool {
	for _, g := range globs {
		if matchGlob(g, name) {
			return true
		}
	}
	return false
}

// InScope is MatchName, with nil for no limit.
func InScope(scope []string, name string) bool { return scope == nil || MatchName(scope, name) }

// CheckGlobs refuses globs that can't name anything: ErrInvalid. Names have no brackets, so
// who writes some means what these globs don't have.
func CheckGlobs(globs ...string) error {
	for _, g := range globs {
		switch i := strings.IndexFunc(g, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`[]{}?\!`, r) }); {
		case g == "":
			return fmt.Errorf("%w: an empty pattern: ** is all", ErrInvalid)
		case i >= 0:
			return fmt.Errorf("%w: pattern %q: no name has a %q; * stands for anything up to a slash, ** for anything", ErrInvalid, g, []rune(g[i:])[0])
		}
	}
	return nil
}

// matchGlob goes through the name once for each star of the glob, at most: what a
// star before the last one takes need not be thought over again, but where only the
// wider ** can.
func matchGlob(glob, name string) bool {
	i := strings.IndexByte(glob, '*')
	if i < 0 {
		return glob == name
	}
	if !strings.HasPrefix(name, glob[:i]) {
		return false
	}
	glob, name = glob[i:], name[i:]
	// reach[j]: the part of the glob so far can match name[:j].
	reach := make([]bool, len(name)+1)
	reach[0] = true
	for len(glob) > 0 {
		next := make([]bool, len(name)+1)
		switch {
		case strings.HasPrefix(glob, "**"):
			glob = strings.TrimLeft(glob, "*")
			spread(reach, next, name, false)
		case glob[0] == '*':
			glob = glob[1:]
			spread(reach, next, name, true)
		default:
			for j := range len(name) {
				next[j+1] = reach[j] && name[j] == glob[0]
			}
			glob = glob[1:]
		}
		reach = next
	}
	return reach[len(name)]
}

// spread lets a star take any number of characters from each place that was
// reached; one that stops at slashes goes to the next one at most.
func spread(from, to []bool, name string, stops bool) {
	on := false
	for j := range to {
		if j > 0 && stops && name[j-1] == '/' {
			on = false
		}
		on = on || from[j]
		to[j] = on
	}
}
