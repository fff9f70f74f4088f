package advisory

import (
	"cmp"
	"slices"
	"time"
)

// An Entry is what one record says of one package, as a database gives it.
type Entry struct {
	// Advisory is the record's id.
	Advisory string
	Key      Key
	// Affected has the ranges and versions of all the record's entries for Key.
	Affected Affected
}

// Entries are the record's affected entries, one for each Key: entries that
// differ only in what Key leaves out (modules of one release) become one.
func (r *Record) Entries() []Entry {
	var out []Entry
	at := map[Key]int{}
	for i := range r.Affected {
		a := &r.Affected[i]
		key := a.Key()
		j, ok := at[key]
		if !ok {
			at[key] = len(out)
			out = append(out, Entry{Advisory: r.ID, Key: key, Affected: Affected{
				Ecosystem: key.Ecosystem, Name: key.Name, Ranges: a.Ranges, Versions: a.Versions, Rating: a.Rating,
			}})
			continue
		}
		out[j].Affected.add(a)
	}
	return out
}

func (a *Affected) add(b *Affected) {
	for _, r := range b.Ranges {
		if !slices.ContainsFunc(a.Ranges, func(have Range) bool {
			return have.Semver == r.Semver && slices.Equal(have.Events, r.Events)
		}) {
			a.Ranges = append(slices.Clip(a.Ranges), r)
		}
	}
	if !slices.Equal(a.Versions, b.Versions) {
		have := make(map[string]bool, len(a.Versions))
		for _, v := range a.Versions {
			have[v] = true
		}
		a.Versions = slices.Clip(a.Versions)
		for _, v := range b.Versions {
			if !have[v] {
				a.Versions = append(a.Versions, v)
			}
		}
	}
	if b.Rating.Severity.Rank() > a.Rating.Severity.Rank() {
		a.Rating = b.Rating
	}
}

// Facts are what a database knows of a record beside its ranges.
type Facts struct {
	ID                  string
	Published, Modified time.Time
	Summary             string
	Rating              Rating
	References          []string
	// Vulnerabilities the record is about; at least one.
	Vulnerabilities []Vulnerability
}

// A Vulnerability is an alias group of records.
type Vulnerability struct {
	// ID is the canonical one.
	ID string
	// Aliases are all other ids, sorted.
	Aliases []string
	// Rating is the best known of all its records, also of other packages'.
	Rating Rating
	// KEV tells that it is on CISA's list of known exploited vulnerabilities.
	KEV      bool
	KEVAdded time.Time
	// Ransomware tells that campaigns of ransomware are known to use it.
	Ransomware bool
	// EPSS is the probability of exploitation within 30 days; 0 when not known.
	EPSS           float64
	EPSSPercentile float64
}

// A Coverage tells that a database has advisories for an ecosystem.
type Coverage struct {
	// Ecosystem in the canonical form: "npm", "Debian:12".
	Ecosystem string
	// Advisories that name a package of the ecosystem.
	Advisories int
	// Synced is when the ecosystem was last brought up to date; zero when it
	// never was and these are only records that other ecosystems brought along.
	Synced time.Time
	// Starter tells that they are from the small set that comes with Strata.
	Starter bool
}

// A Rated is a record's rating as an opinion on one vulnerability.
type Rated struct {
	// ID of the record.
	ID     string
	Rating Rating
	// Shared tells that the record is about several vulnerabilities, so that its
	// rating is that of the worst of them.
	Shared bool
}

// BestRating picks among several records' ratings of one vulnerability: one that
// is of this vulnerability alone; with a CVSS score, of the newest version; of
// the record that CompareIDs prefers; the worse word.
func BestRating(rated []Rated) Rating {
	var known []Rated
	for _, r := range rated {
		if r.Rating != (Rating{}) {
			known = append(known, r)
		}
	}
	if len(known) == 0 {
		return Rating{}
	}
	return slices.MinFunc(known, compareRated).Rating
}

func compareRated(a, b Rated) int {
	return cmp.Or(
		compareBool(a.Shared, b.Shared),
		cmp.Compare(b.Rating.CVSS.Version, a.Rating.CVSS.Version),
		// A vector tells more than a bare number.
		compareBool(a.Rating.CVSS.Vector == "", b.Rating.CVSS.Vector == ""),
		compareByWord(a, b),
		CompareIDs(a.ID, b.ID),
		cmp.Compare(b.Rating.CVSS.Score, a.Rating.CVSS.Score),
	)
}

// compareByWord puts the worse first where there are only words.
func compareByWord(a, b Rated) int {
	if a.Rating.CVSS != (CVSS{}) || b.Rating.CVSS != (CVSS{}) {
		return 0
	}
	return cmp.Compare(b.Rating.Severity.Rank(), a.Rating.Severity.Rank())
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return +1
	}
	return -1
}
