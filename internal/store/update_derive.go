package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"strata/internal/advisory"
)

// dropStarter removes the records of the starter set once real ones are there:
// where the two meet, it is not known what is missing.
func (u *update) dropStarter(ctx context.Context) error {
	if u.mirror.Starter() || !u.progressed() {
		return nil
	}
	old, err := queryStrings(ctx, u.tx.QueryContext, `SELECT ecosystem FROM advisory_sources WHERE starter = 1`)
	if err != nil || len(old) == 0 {
		return err
	}
	u.dirty = true
	gone, err := queryStrings(ctx, u.tx.QueryContext, `SELECT DISTINCT f.advisory FROM advisory_feed f JOIN advisory_sources s ON s.ecosystem = f.ecosystem WHERE s.starter = 1`)
	if err != nil {
		return err
	}
	if err := u.tellOf(ctx, gone); err != nil {
		return err
	}
	return u.part(ctx, func(tx *sql.Tx) error {
		if err := deleteIn(ctx, tx, "advisory_feed", "ecosystem", old); err != nil {
			return err
		}
		for _, query := range [...]string{
			`DELETE FROM advisory_sources WHERE starter = 1`,
			`DELETE FROM advisory_packages WHERE NOT EXISTS (SELECT 1 FROM advisory_feed f WHERE f.advisory = advisory_packages.advisory)`,
			`DELETE FROM advisories WHERE NOT EXISTS (SELECT 1 FROM advisory_feed f WHERE f.advisory = advisories.id)`,
		} {
			if _, err := tx.ExecContext(ctx, query); err != nil {
				return err
			}
		}
		return nil
	})
}

// updateLists takes KEV and EPSS in; what can't be had keeps its old state.
func (u *update) updateLists(ctx context.Context) {
	for _, l := range [...]struct {
		name, location string
		take           func(context.Context, *sql.Tx, string) (int, error)
	}{{"kev", u.o.KEV, u.takeKEV}, {"epss", u.o.EPSS, u.takeEPSS}} {
		if l.location == "" {
			continue
		}
		up := ListUpdate{Name: l.name, Location: advisory.Redact(l.location)}
		up.Err = u.part(ctx, func(tx *sql.Tx) (err error) {
			if up.Entries, err = l.take(ctx, tx, l.location); err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO advisory_lists (name, location, synced_at, entries) VALUES ($1, $2, $3, $4)
				ON CONFLICT (name) DO UPDATE SET location = excluded.location, synced_at = excluded.synced_at, entries = excluded.entries`,
				l.name, up.Location, formatTime(u.now), up.Entries)
			return err
		})
		u.summary.Lists = append(u.summary.Lists, up)
	}
}

// A fetchedList is a list that lies on the disk, or why it could not be had.
type fetchedList struct {
	file io.ReadCloser
	err  error
}

// fetchLists fetches the lists before there is a transaction.
func (u *update) fetchLists(ctx context.Context) {
	u.lists = map[string]fetchedList{}
	for _, location := range [...]string{u.o.KEV, u.o.EPSS} {
		if location != "" {
			file, err := advisory.SpoolList(ctx, location, u.o.Lists)
			u.lists[location] = fetchedList{file, err}
		}
	}
}

// closeLists frees those that nobody has opened.
func (u *update) closeLists() error {
	var errs []error
	for _, l := range u.lists {
		if l.err == nil {
			errs = append(errs, l.file.Close())
		}
	}
	return errors.Join(errs...)
}

// openList opens a list: the one that was fetched, or the one at its location.
func (u *update) openList(ctx context.Context, location string) (io.ReadCloser, error) {
	l, ok := u.lists[location]
	if !ok {
		return advisory.OpenList(ctx, location, u.o.Lists)
	}
	delete(u.lists, location)
	return l.file, l.err
}

func (u *update) takeKEV(ctx context.Context, tx *sql.Tx, location string) (int, error) {
	r, err := u.openList(ctx, location)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	list, err := advisory.ParseKEV(r)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", advisory.Redact(location), err)
	}
	was, err := queryPairs(ctx, tx.QueryContext, `SELECT cve, added FROM kev`)
	if err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM kev`); err != nil {
		return 0, err
	}
	seen := map[string]bool{}
	b, err := newBulk(ctx, tx, "kev", "cve", "added", "ransomware")
	if err != nil {
		return 0, err
	}
	for _, k := range list {
		if seen[k.CVE] {
			continue
		}
		seen[k.CVE] = true
		ransomware := 0
		if k.Ransomware {
			ransomware = 1
		}
		if err := b.add(ctx, k.CVE, formatTime(k.Added), ransomware); err != nil {
			return 0, err
		}
	}
	var changed []string
	for cve := range seen {
		if _, ok := was[cve]; !ok {
			changed = append(changed, cve)
		}
	}
	for cve := range was {
		if !seen[cve] {
			changed = append(changed, cve)
		}
	}
	u.exploited = changed
	return len(seen), b.flush(ctx)
}

func (u *update) takeEPSS(ctx context.Context, tx *sql.Tx, location string) (int, error) {
	r, err := u.openList(ctx, location)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	if _, err := tx.ExecContext(ctx, `DELETE FROM epss`); err != nil {
		return 0, err
	}
	b, err := newBulk(ctx, tx, "epss", "cve", "score", "percentile")
	if err != nil {
		return 0, err
	}
	seen := map[string]bool{}
	err = advisory.ParseEPSS(r, func(e advisory.EPSS) error {
		if seen[e.CVE] {
			return nil
		}
		seen[e.CVE] = true
		return b.add(ctx, e.CVE, e.Score, e.Percentile)
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", advisory.Redact(location), err)
	}
	return len(seen), b.flush(ctx)
}

// derive computes alias groups and coverage anew from all records, and writes what
// is not as it was.
func (u *update) derive(ctx context.Context) error {
	if !u.dirty {
		return nil
	}
	return u.part(ctx, func(tx *sql.Tx) error {
		if err := u.deriveVulnerabilities(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM advisory_coverage`); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO advisory_coverage (ecosystem, advisories)
			SELECT ecosystem, COUNT(DISTINCT advisory) FROM advisory_packages GROUP BY ecosystem`)
		return err
	})
}

func (u *update) deriveVulnerabilities(ctx context.Context, tx *sql.Tx) error {
	names, ratings, err := loadNames(ctx, tx)
	if err != nil {
		return err
	}
	groups := advisory.Group(names)
	opinions := map[string][]advisory.Rated{}
	for _, n := range names {
		of := groups.Of[n.ID]
		for _, v := range of {
			opinions[v] = append(opinions[v], advisory.Rated{ID: n.ID, Rating: ratings[n.ID], Shared: len(of) > 1})
		}
	}
	was, err := loadGroups(ctx, tx)
	if err != nil {
		return err
	}
	links := was.changedLinks(groups.Of)
	if err := writeLinks(ctx, tx, links, groups.Of); err != nil {
		return err
	}
	vulnerabilities, err := was.writeVulnerabilities(ctx, tx, opinions, groups.Aliases)
	if err != nil {
		return err
	}
	if err := u.tellOf(ctx, links); err != nil {
		return err
	}
	return u.tellOfVulnerabilities(ctx, vulnerabilities)
}

// groupsBefore are the alias groups as they were written last.
type groupsBefore struct {
	// of are the vulnerabilities of each advisory, sorted.
	of map[string][]string
	// rows are the other columns of each vulnerability.
	rows map[string]groupRow
}

type groupRow struct{ aliases, rating string }

func loadGroups(ctx context.Context, tx *sql.Tx) (groupsBefore, error) {
	g := groupsBefore{of: map[string][]string{}, rows: map[string]groupRow{}}
	err := eachRow(ctx, tx, `SELECT advisory, vulnerability FROM advisory_vulnerabilities`, nil, func(rows *sql.Rows) error {
		var a, v string
		err := rows.Scan(&a, &v)
		g.of[a] = append(g.of[a], v)
		return err
	})
	if err != nil {
		return g, err
	}
	return g, eachRow(ctx, tx, `SELECT id, aliases, rating FROM vulnerabilities`, nil, func(rows *sql.Rows) error {
		var id string
		var r groupRow
		err := rows.Scan(&id, &r.aliases, &r.rating)
		g.rows[id] = r
		return err
	})
}

// eachRow calls do for each row of an answer.
func eachRow(ctx context.Context, tx *sql.Tx, query string, args []any, do func(*sql.Rows) error) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// changedLinks are the advisories that are about others than before, sorted.
func (g groupsBefore) changedLinks(of map[string][]string) []string {
	var out []string
	for id, now := range of {
		if !sameSet(g.of[id], now) {
			out = append(out, id)
		}
	}
	for id := range g.of {
		if _, ok := of[id]; !ok {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Compact(slices.Sorted(slices.Values(a))), slices.Compact(slices.Sorted(slices.Values(b))))
}

func writeLinks(ctx context.Context, tx *sql.Tx, changed []string, of map[string][]string) error {
	if err := deleteIn(ctx, tx, "advisory_vulnerabilities", "advisory", changed); err != nil {
		return err
	}
	links, err := newBulk(ctx, tx, "advisory_vulnerabilities", "advisory", "vulnerability")
	if err != nil {
		return err
	}
	for _, id := range changed {
		for _, v := range of[id] {
			if err := links.add(ctx, id, v); err != nil {
				return err
			}
		}
	}
	return links.flush(ctx)
}

// writeVulnerabilities writes those that are new or not as before, and gives their ids
// and those of the ones that are gone.
func (g groupsBefore) writeVulnerabilities(ctx context.Context, tx *sql.Tx, opinions map[string][]advisory.Rated, aliases map[string][]string) ([]string, error) {
	now := make(map[string]groupRow, len(opinions))
	var changed []string
	for v, rated := range opinions {
		now[v] = groupRow{strings.Join(aliases[v], " "), advisory.EncodeRating(advisory.BestRating(rated))}
		if was, ok := g.rows[v]; !ok || was != now[v] {
			changed = append(changed, v)
		}
	}
	for v := range g.rows {
		if _, ok := now[v]; !ok {
			changed = append(changed, v)
		}
	}
	slices.Sort(changed)
	if err := deleteIn(ctx, tx, "vulnerabilities", "id", changed); err != nil {
		return nil, err
	}
	all, err := newBulk(ctx, tx, "vulnerabilities", "id", "aliases", "rating")
	if err != nil {
		return nil, err
	}
	for _, v := range changed {
		if r, ok := now[v]; ok {
			if err := all.add(ctx, v, r.aliases, r.rating); err != nil {
				return nil, err
			}
		}
	}
	return changed, all.flush(ctx)
}

// loadNames reads what alias groups are made of, sorted by id. An entry's own
// rating stands in where the record has none.
func loadNames(ctx context.Context, tx *sql.Tx) ([]advisory.Names, map[string]advisory.Rating, error) {
	rows, err := tx.QueryContext(ctx, `SELECT id, same, rating FROM advisories ORDER BY id`)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	var names []advisory.Names
	ratings := map[string]advisory.Rating{}
	for rows.Next() {
		var id, same, rating string
		if err := rows.Scan(&id, &same, &rating); err != nil {
			return nil, nil, err
		}
		names = append(names, advisory.Names{ID: id, Same: strings.Fields(same)})
		if ratings[id], err = advisory.DecodeRating(rating); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", id, err)
		}
	}
	return names, ratings, rows.Err()
}
