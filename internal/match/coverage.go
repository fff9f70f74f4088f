package match

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"strata/internal/advisory"
	"strata/internal/inventory"
)

// coverageOf tells for each ecosystem among the packages what the database has.
// What is its owner's affair needs no advisories of its own.
func coverageOf(packages []inventory.ImagePackage, have []advisory.Coverage, now time.Time) []Coverage {
	known := make(map[string]advisory.Coverage, len(have))
	for _, c := range have {
		known[c.Ecosystem] = c
	}
	count := map[string]int{}
	for i := range packages {
		if !packages[i].OwnersAffair() {
			count[EcosystemOf(&packages[i].Package)]++
		}
	}
	var out []Coverage
	for name, n := range count {
		k := known[name]
		c := Coverage{Ecosystem: name, Packages: n, Synced: k.Synced, Starter: k.Starter}
		if !k.Synced.IsZero() {
			c.Advisories, c.Age = k.Advisories, max(0, now.Sub(k.Synced))
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Coverage) int { return strings.Compare(a.Ecosystem, b.Ecosystem) })
	return out
}

// EcosystemOf is the canonical ecosystem of a package as Coverage names it, or its
// type in parentheses where no database of advisories is about it.
func EcosystemOf(p *inventory.Package) string {
	if p.Ecosystem == "" {
		return "(" + p.Type + ")"
	}
	return advisory.Canonical(p.Ecosystem)
}

// coverageProblems says which packages were not, or hardly, checked.
func coverageProblems(img *inventory.Image, r *Result) []inventory.Problem {
	var out []inventory.Problem
	add := func(incomplete bool, format string, args ...any) {
		out = append(out, inventory.Problem{Layer: -1, Analyzer: analyzerName, Incomplete: incomplete, Message: fmt.Sprintf(format, args...)})
	}
	var starter []string
	for _, c := range r.Coverage {
		kind, isType := strings.CutPrefix(c.Ecosystem, "(")
		kind = strings.TrimSuffix(kind, ")")
		switch {
		case isType && (&inventory.Package{Type: kind}).Distribution():
			add(true, "no advisory data for %s: %s not checked", distroName(img.Distro), counted(c.Packages, kind+" package"))
		case isType:
			add(false, "no database of advisories is about %s packages: %s not checked", kind, counted(c.Packages, "package"))
		case c.Advisories == 0 && r.synced[advisory.Base(c.Ecosystem)]:
			add(true, "no advisory data for %s: %s not checked (the advisories of %s are here, and name no such release)",
				c.Ecosystem, counted(c.Packages, "package"), advisory.Base(c.Ecosystem))
		case c.Advisories == 0:
			add(true, "no advisory data for %s: %s not checked (`strata db update --ecosystem %q` fetches what there is)",
				c.Ecosystem, counted(c.Packages, "package"), advisory.Base(c.Ecosystem))
		case c.Starter:
			starter = append(starter, c.Ecosystem)
		}
	}
	if len(starter) > 0 {
		add(true, "only the starter set of advisories was used for %s: most vulnerabilities are not in it (`strata db update` fetches all)", strings.Join(starter, ", "))
	}
	return out
}

func distroName(d inventory.Distro) string {
	if d.ID == "" {
		return "an unknown distribution (no os-release)"
	}
	return fmt.Sprintf("the distribution %q", strings.TrimSpace(d.ID+" "+d.VersionID))
}

// counted is "1 package was", "2 packages were".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what + " was"
	}
	return fmt.Sprintf("%d %ss were", n, what)
}

// maxUnknown is how many packages with odd versions get a problem of their own.
const maxUnknown = 20

// problems names the packages whose version could not be compared.
func (m *matching) problems() []inventory.Problem {
	var packages []int
	for pkg := range m.unknown {
		packages = append(packages, pkg)
	}
	slices.Sort(packages)
	var out []inventory.Problem
	for i, pkg := range packages {
		if i == maxUnknown {
			return append(out, inventory.Problem{Layer: -1, Analyzer: analyzerName,
				Message: fmt.Sprintf("%s not compared with advisories for the same reason", counted(len(packages)-i, "more package"))})
		}
		p := &m.img.Packages[pkg]
		problem := inventory.Problem{Layer: p.Layer, Analyzer: analyzerName,
			Message: fmt.Sprintf("%s package %q %q: advisories name it, and not all could be compared: %v", p.Type, p.Name, p.Version, m.unknown[pkg])}
		if len(p.Locations) > 0 {
			problem.Path, problem.Layer = p.Locations[0].Path, p.Locations[0].Layer
		}
		out = append(out, problem)
	}
	return out
}
