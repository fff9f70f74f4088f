package advisory

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var cveID = regexp.MustCompile(`^(?:[A-Z]+-)?(CVE-\d{4}-\d{4,})$`)

// CVE is the CVE number that an id is or is made of ("DEBIAN-CVE-2022-1664"),
// else empty.
func CVE(id string) string {
	m := cveID.FindStringSubmatch(id)
	if m == nil {
		return ""
	}
	return m[1]
}

var bugFixID = regexp.MustCompile(`^(AL|RL|RH)[BE]A-\d{4}:`)

// BugFix tells that a vulnerability with this canonical id is none: that no flaw is
// named but by an erratum for bugs or enhancements (ALBA, ALEA), which the databases
// of AlmaLinux, Rocky Linux and Red Hat hold beside those for security.
func BugFix(id string) bool { return bugFixID.MatchString(id) }

// Names are the ids in which a record tells what it is about.
type Names struct {
	// ID of the record.
	ID string
	// Same are the ids of the same flaw or flaws: its aliases, and what a
	// distribution's record has upstream.
	Same []string
}

// Names of the record.
func (r *Record) Names() Names {
	n := Names{ID: r.ID, Same: r.Aliases}
	if r.distribution() {
		n.Same = append(slices.Clone(n.Same), r.Upstream...)
	}
	return n
}

// Groups are the alias groups of a set of records: the vulnerabilities.
type Groups struct {
	// Of gives the vulnerabilities of each record's id, sorted; at least one.
	Of map[string][]string
	// Aliases gives the other ids of each vulnerability, sorted.
	Aliases map[string][]string
}

// Group finds the vulnerabilities that records are about, each with one
// canonical id: the CVE number where there is one, else the GHSA id, else the
// first of the others. It depends on the set of records, not on their order.
//
// A CVE number is never glued to another: a record that names several (a
// distribution's erratum, a RustSec collection) is about each of them, so that
// one record can't make one flaw of many. A record that names none is about
// those of the records it shares an id with. See docs/decisions/0004-alias-groups.md.
func Group(records []Names) Groups {
	cves := cvesByID(records)
	root := newForest()
	for _, r := range records {
		if len(cveSet(r)) > 0 {
			continue
		}
		root.find(r.ID)
		for _, id := range r.Same {
			root.join(r.ID, id)
		}
	}
	members := map[string][]string{}
	for id := range root {
		members[root.find(id)] = append(members[root.find(id)], id)
	}
	vulnerabilities := make(map[string][]string, len(members))
	for top, ids := range members {
		vulnerabilities[top] = componentVulnerabilities(ids, cves)
	}
	g := Groups{Of: make(map[string][]string, len(records)), Aliases: map[string][]string{}}
	for _, r := range records {
		of := cveSet(r)
		if len(of) == 0 {
			of = vulnerabilities[root.find(r.ID)]
		}
		g.Of[r.ID] = of
		for _, v := range of {
			if r.ID != v {
				g.Aliases[v] = append(g.Aliases[v], r.ID)
			}
			if len(cveSet(r)) == 0 {
				g.addAliases(v, r.Same)
			}
		}
	}
	for id, of := range cves {
		for _, v := range of {
			g.addAliases(v, []string{id})
		}
	}
	for v, ids := range g.Aliases {
		slices.SortFunc(ids, CompareIDs)
		g.Aliases[v] = slices.Compact(ids)
	}
	return g
}

func (g *Groups) addAliases(v string, ids []string) {
	for _, id := range ids {
		if id != v {
			g.Aliases[v] = append(g.Aliases[v], id)
		}
	}
}

// componentVulnerabilities are those of records that name no CVE and share ids.
func componentVulnerabilities(ids []string, cves map[string][]string) []string {
	var of []string
	for _, id := range ids {
		of = append(of, cves[id]...)
	}
	if len(of) == 0 {
		return []string{slices.MinFunc(ids, CompareIDs)}
	}
	slices.SortFunc(of, CompareIDs)
	return slices.Compact(of)
}

// cveSet are the CVE numbers a record names, sorted.
func cveSet(r Names) []string {
	var set []string
	if c := CVE(r.ID); c != "" {
		// A record named for a CVE is about that one, whatever it names beside.
		return []string{c}
	}
	for _, id := range r.Same {
		if c := CVE(id); c != "" {
			set = append(set, c)
		}
	}
	slices.SortFunc(set, CompareIDs)
	return slices.Compact(set)
}

// cvesByID tells which CVE numbers an id that is none stands for: by its own
// record; else by the records that name it with a single CVE; else by any.
func cvesByID(records []Names) map[string][]string {
	own, single, several := map[string][]string{}, map[string][]string{}, map[string][]string{}
	for _, r := range records {
		set := cveSet(r)
		if len(set) == 0 {
			continue
		}
		own[r.ID] = set
		to := several
		if len(set) == 1 {
			to = single
		}
		for _, id := range r.Same {
			if CVE(id) == "" {
				to[id] = append(to[id], set...)
			}
		}
	}
	out := own
	for _, from := range []map[string][]string{single, several} {
		next := map[string][]string{}
		for id, set := range from {
			if _, known := out[id]; !known {
				slices.SortFunc(set, CompareIDs)
				next[id] = slices.Compact(set)
			}
		}
		for id, set := range next {
			out[id] = set
		}
	}
	return out
}

// CompareIDs is the order of preference among ids: CVE, GHSA, then others; CVEs
// by year and number, all else by letters.
func CompareIDs(a, b string) int {
	if c := cmp.Compare(idRank(a), idRank(b)); c != 0 {
		return c
	}
	if idRank(a) == 0 {
		ay, an := cveNumber(a)
		by, bn := cveNumber(b)
		if c := cmp.Or(cmp.Compare(ay, by), cmp.Compare(an, bn)); c != 0 {
			return c
		}
	}
	return strings.Compare(a, b)
}

func idRank(id string) int {
	switch {
	case strings.HasPrefix(id, "CVE-"):
		return 0
	case strings.HasPrefix(id, "GHSA-"):
		return 1
	}
	return 2
}

func cveNumber(id string) (year, number uint64) {
	y, n, _ := strings.Cut(strings.TrimPrefix(id, "CVE-"), "-")
	// What doesn't parse sorts first, and by letters.
	year, _ = strconv.ParseUint(y, 10, 64)
	number, _ = strconv.ParseUint(n, 10, 64)
	return year, number
}

// A forest is a union-find over ids.
type forest map[string]string

func newForest() forest { return forest{} }

func (f forest) find(id string) string {
	if _, ok := f[id]; !ok {
		f[id] = id
	}
	top := id
	for f[top] != top {
		top = f[top]
	}
	for f[id] != top {
		id, f[id] = f[id], top
	}
	return top
}

func (f forest) join(a, b string) { f[f.find(a)] = f.find(b) }
