package advisory

import (
	"slices"
	"strings"
)

// Fixes are the versions after v that the entries name as fixed and none of them
// calls affected, the smallest of each branch (Version.Branch), in order: the first
// is the least upgrade that helps. Entries must be of one package.
func Fixes(v Version, entries []Affected) []string {
	var out []string
	done := map[string]bool{}
	plain := onlyFix(entries)
	for _, f := range FixedAfter(v, entries) {
		if branch := f.Branch(); !done[branch] && (plain || !affects(entries, f)) {
			done[branch] = true
			out = append(out, f.text)
		}
	}
	return out
}

// onlyFix tells whether the entries are a range from one version to one fix, which nothing
// calls affected then: so most are, and need not be evaluated for their fix.
func onlyFix(entries []Affected) bool {
	if len(entries) != 1 || len(entries[0].Versions) > 0 || len(entries[0].Ranges) != 1 {
		return false
	}
	e := entries[0].Ranges[0].Events
	return len(e) == 2 && (e[0].Kind == Introduced && e[1].Kind == Fixed || e[0].Kind == Fixed && e[1].Kind == Introduced)
}

func affects(entries []Affected, v Version) bool {
	return slices.ContainsFunc(entries, func(a Affected) bool { return a.Evaluate(v).Affected })
}

// FixedAfter are all versions after v that the entries name as fixed, in order,
// whether or not another entry calls them affected.
func FixedAfter(v Version, entries []Affected) []Version {
	var later []Version
	for i := range entries {
		for _, r := range entries[i].Ranges {
			for _, e := range r.Events {
				if e.Kind != Fixed {
					continue
				}
				f, err := ParseVersion(v.ecosystem, e.Version)
				if err != nil {
					continue
				}
				if c, err := f.Compare(v); err == nil && c > 0 {
					later = append(later, f)
				}
			}
		}
	}
	slices.SortStableFunc(later, func(a, b Version) int {
		c, err := a.Compare(b)
		if err != nil || c == 0 {
			return strings.Compare(a.text, b.text)
		}
		return c
	})
	return slices.CompactFunc(later, func(a, b Version) bool { return a.text == b.text })
}

// Branch names the line of releases that the version is of, within which an
// upgrade should break nothing: the first number, where the ecosystem's versions
// say that by it (semver.org, rule 8). The packages of a distribution's release
// are all of one branch, the empty one.
func (v Version) Branch() string {
	switch v.ecosystem {
	case "npm", "PyPI", "Maven", "Go", "crates.io", "RubyGems", "Packagist", "NuGet", "Hex", "Pub", "SwiftURL", "Bitnami", "Hackage", "ConanCenter", "CRAN", "GHC":
	default:
		return ""
	}
	text := strings.TrimLeft(v.text, "vV=")
	if _, rest, ok := strings.Cut(text, "!"); ok { // an epoch of PEP 440
		text = rest
	}
	end := strings.IndexFunc(text, func(c rune) bool { return c < '0' || c > '9' })
	if end < 0 {
		end = len(text)
	}
	return strings.TrimLeft(text[:end], "0")
}
