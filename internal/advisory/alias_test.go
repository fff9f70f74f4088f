package advisory

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGroup(t *testing.T) {
	for _, c := range []struct {
		name string
		// records as "id: same same".
		records []string
		// want as "record -> vulnerabilities" and "vulnerability = aliases".
		want []string
	}{
		{"CVE first", []string{"GHSA-1: CVE-2024-0002", "PYSEC-1: GHSA-1 CVE-2024-0002"},
			[]string{"GHSA-1 -> CVE-2024-0002", "PYSEC-1 -> CVE-2024-0002", "CVE-2024-0002 = GHSA-1 PYSEC-1"}},
		{"GHSA without a CVE", []string{"GHSA-2:", "PYSEC-2: GHSA-2"},
			[]string{"GHSA-2 -> GHSA-2", "PYSEC-2 -> GHSA-2", "GHSA-2 = PYSEC-2"}},
		{"neither", []string{"RUSTSEC-2:", "MAL-1: RUSTSEC-2"},
			[]string{"RUSTSEC-2 -> MAL-1", "MAL-1 -> MAL-1", "MAL-1 = RUSTSEC-2"}},
		{"over an id between", []string{"PYSEC-3: GHSA-3", "GHSA-3: CVE-2024-0003"},
			[]string{"PYSEC-3 -> CVE-2024-0003", "GHSA-3 -> CVE-2024-0003", "CVE-2024-0003 = GHSA-3 PYSEC-3"}},
		{"over an id of which there is no record", []string{"PYSEC-3: GHSA-3", "GO-3: GHSA-3 CVE-2024-0003"},
			[]string{"PYSEC-3 -> CVE-2024-0003", "GO-3 -> CVE-2024-0003", "CVE-2024-0003 = GHSA-3 GO-3 PYSEC-3"}},
		{"a CVE in another's name", []string{"DEBIAN-CVE-2024-0004:", "ALPINE-CVE-2024-0004: CVE-2024-0004"},
			[]string{"DEBIAN-CVE-2024-0004 -> CVE-2024-0004", "ALPINE-CVE-2024-0004 -> CVE-2024-0004", "CVE-2024-0004 = ALPINE-CVE-2024-0004 DEBIAN-CVE-2024-0004"}},
		{"an erratum of several", []string{"DSA-1: CVE-2024-0005 CVE-2024-0006 DEBIAN-CVE-2024-0006", "GHSA-5: CVE-2024-0005"},
			[]string{"DSA-1 -> CVE-2024-0005 CVE-2024-0006", "GHSA-5 -> CVE-2024-0005",
				"CVE-2024-0005 = GHSA-5 DSA-1", "CVE-2024-0006 = DSA-1"}},
		{"CVEs are never one", []string{"RUSTSEC-7: CVE-2024-0007 CVE-2024-0008 GHSA-7 GHSA-8", "GHSA-7: CVE-2024-0007", "GHSA-8: CVE-2024-0008"},
			[]string{"RUSTSEC-7 -> CVE-2024-0007 CVE-2024-0008", "GHSA-7 -> CVE-2024-0007", "GHSA-8 -> CVE-2024-0008",
				"CVE-2024-0007 = GHSA-7 RUSTSEC-7", "CVE-2024-0008 = GHSA-8 RUSTSEC-7"}},
		{"CVEs sort by number", []string{"DSA-2: CVE-2024-10000 CVE-2024-9999"},
			[]string{"DSA-2 -> CVE-2024-9999 CVE-2024-10000", "CVE-2024-9999 = DSA-2", "CVE-2024-10000 = DSA-2"}},
	} {
		records := namesOf(c.records)
		for range 4 {
			rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
			got := groupLines(Group(records))
			want := slices.Sorted(slices.Values(c.want))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s", c.name, diff)
			}
		}
	}
}

func namesOf(lines []string) []Names {
	var out []Names
	for _, l := range lines {
		id, same, _ := strings.Cut(l, ":")
		out = append(out, Names{ID: id, Same: strings.Fields(same)})
	}
	return out
}

func groupLines(g Groups) []string {
	var out []string
	for id, of := range g.Of {
		out = append(out, id+" -> "+strings.Join(of, " "))
	}
	for v, aliases := range g.Aliases {
		if len(aliases) > 0 {
			out = append(out, v+" = "+strings.Join(aliases, " "))
		}
	}
	slices.Sort(out)
	return out
}

func TestBestRating(t *testing.T) {
	vector := func(version string, score float64) Rating {
		return Rating{Severity: High, CVSS: CVSS{Version: version, Vector: "v", Score: score}}
	}
	for name, c := range map[string]struct {
		rated []Rated
		want  Rating
	}{
		"none":                        {[]Rated{{ID: "A"}}, Rating{}},
		"a vector before a word":      {[]Rated{{ID: "A", Rating: Rating{Severity: Critical}}, {ID: "B", Rating: vector("3.1", 7)}}, vector("3.1", 7)},
		"the newer version":           {[]Rated{{ID: "A", Rating: vector("3.1", 9)}, {ID: "B", Rating: vector("4.0", 7)}}, vector("4.0", 7)},
		"its own before a collection": {[]Rated{{ID: "A", Rating: vector("4.0", 9), Shared: true}, {ID: "B", Rating: Rating{Severity: Low}}}, Rating{Severity: Low}},
		"the preferred database":      {[]Rated{{ID: "GO-1", Rating: vector("3.1", 9)}, {ID: "GHSA-1", Rating: vector("3.1", 7)}}, vector("3.1", 7)},
		"the worse word":              {[]Rated{{ID: "A", Rating: Rating{Severity: Low}}, {ID: "B", Rating: Rating{Severity: High}}}, Rating{Severity: High}},
	} {
		if got := BestRating(c.rated); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
