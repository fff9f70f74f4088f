package match

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"strata/internal/advisory"
)

// records are a database of advisories in memory.
type records struct {
	list    []advisory.Record
	kev     []string
	starter bool
	// without are canonical ecosystems that were never taken in.
	without []string
}

var synced = time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)

func (r records) Affecting(_ context.Context, keys []advisory.Key) ([]advisory.Entry, error) {
	var out []advisory.Entry
	for _, rec := range r.list {
		for _, e := range rec.Entries() {
			if slices.Contains(keys, e.Key) {
				out = append(out, e)
			}
		}
	}
	return out, nil
}

func (r records) Facts(_ context.Context, ids []string) ([]advisory.Facts, error) {
	var names []advisory.Names
	for i := range r.list {
		names = append(names, r.list[i].Names())
	}
	groups := advisory.Group(names)
	var out []advisory.Facts
	for _, rec := range r.list {
		if !slices.Contains(ids, rec.ID) {
			continue
		}
		f := advisory.Facts{ID: rec.ID, Published: rec.Published, Modified: rec.Modified, Summary: rec.Summary, Rating: rec.Rating, References: rec.References}
		for _, v := range groups.Of[rec.ID] {
			f.Vulnerabilities = append(f.Vulnerabilities, advisory.Vulnerability{
				ID: v, Aliases: groups.Aliases[v], KEV: slices.Contains(r.kev, v), Rating: r.rating(groups, v),
			})
		}
		out = append(out, f)
	}
	return out, nil
}

func (r records) rating(g advisory.Groups, v string) advisory.Rating {
	var rated []advisory.Rated
	for _, rec := range r.list {
		if of := g.Of[rec.ID]; slices.Contains(of, v) {
			rated = append(rated, advisory.Rated{ID: rec.ID, Rating: rec.Rating, Shared: len(of) > 1})
		}
	}
	return advisory.BestRating(rated)
}

func (r records) Coverage(context.Context) ([]advisory.Coverage, error) {
	count := map[string]int{}
	for i := range r.list {
		for _, e := range r.list[i].Entries() {
			count[e.Key.Ecosystem]++
		}
	}
	var out []advisory.Coverage
	for e, n := range count {
		c := advisory.Coverage{Ecosystem: e, Advisories: n, Synced: synced, Starter: r.starter}
		if slices.Contains(r.without, e) {
			c.Synced = time.Time{}
		}
		out = append(out, c)
	}
	return out, nil
}

// parse reads records, a line each:
//
//	ID [CVE-… alias …] severity: ecosystem/name i0 f1.2 | ecosystem/name i0 v1.0
//
// where i, f, a and l are events and v is an enumerated version; spaces in an
// ecosystem are written as +, and severity may be left out.
func parse(t *testing.T, lines ...string) []advisory.Record {
	t.Helper()
	var out []advisory.Record
	for _, line := range lines {
		head, body, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("%q: no colon and space", line)
		}
		words := strings.Fields(head)
		r := advisory.Record{ID: words[0], Summary: "about " + words[0], Modified: synced}
		for _, w := range words[1:] {
			switch s := advisory.SeverityOf(w); {
			case s != advisory.Unknown:
				r.Rating.Severity = s
			case strings.HasPrefix(r.ID, "DSA-") || strings.HasPrefix(r.ID, "ALSA-") || strings.HasPrefix(r.ID, "ALBA-"):
				r.Upstream = append(r.Upstream, w)
			default:
				r.Aliases = append(r.Aliases, w)
			}
		}
		for part := range strings.SplitSeq(body, " | ") {
			f := strings.Fields(part)
			i := strings.LastIndexByte(f[0], '/')
			if j := strings.IndexByte(f[0], '/'); strings.HasPrefix(f[0], "Go/") || strings.HasPrefix(f[0], "npm/") || strings.HasPrefix(f[0], "Packagist/") {
				i = j
			}
			a := advisory.Affected{Ecosystem: strings.ReplaceAll(f[0][:i], "+", " "), Name: f[0][i+1:]}
			var events []advisory.Event
			for _, e := range f[1:] {
				if e[0] == 'v' {
					a.Versions = append(a.Versions, e[1:])
					continue
				}
				events = append(events, advisory.Event{Kind: advisory.EventKind(e[0]), Version: e[1:]})
			}
			if len(events) > 0 {
				a.Ranges = []advisory.Range{{Events: events}}
			}
			r.Affected = append(r.Affected, a)
		}
		out = append(out, r)
	}
	return out
}
