package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"strata/internal/advisory"
	"strata/internal/inventory"
	"strata/internal/match"
)

const (
	matchLease = "match"
	// matchBatch is how many package versions are matched, and written, at once.
	matchBatch = 250
	// fewNews is how many names of packages are looked up one by one; with more, all
	// names that the database has are gone through.
	fewNews = 2000
)

// Why a finding was closed, and what a change of one is (finding_changes).
const (
	// Opened is a finding that an advisory brought to a package version that was
	// known before.
	Opened = "opened"
	// Changed is a finding that is rated otherwise, or has another fix, than before.
	Changed = "changed"
	// Withdrawn is one that is gone with all advisories that told of it.
	Withdrawn = "withdrawn"
	// Corrected is one that the advisories no longer tell of this version.
	Corrected = "corrected"
)

// A MatchSummary tells what MatchDue did.
type MatchSummary struct {
	// Matched are package versions seen for the first time, Rematched those that
	// advisories that changed name.
	Matched, Rematched int
	// Opened, Changed and Closed are findings.
	Opened, Changed, Closed int
	// Images is how many judgements of watches are due since findings changed.
	Images int
}

// MatchDue matches the package versions that were never matched, and anew those that
// advisories name that have changed since. Only these are touched: no layer and no
// image is read. The counts of the images that hold them, and when watches have to
// judge them, change in the same transactions as the findings. holder names this
// instance: of several, one matches, the others get ErrBusy. Before the first sync
// there is nothing to match with, and nothing is done.
func (d *DB) MatchDue(ctx context.Context, holder string) (MatchSummary, error) {
	var s MatchSummary
	lease, ok, err := d.Acquire(ctx, matchLease, holder, SilentAfter)
	if err == nil && !ok {
		err = ErrBusy
	}
	if err == nil {
		err = d.holding(ctx, lease, SilentAfter, func(ctx context.Context) error { return d.matchDue(ctx, lease, &s) })
	}
	if err != nil {
		return s, fmt.Errorf("matching: %w", err)
	}
	return s, nil
}

func (d *DB) matchDue(ctx context.Context, lease Lease, s *MatchSummary) (err error) {
	a, err := d.Advisories(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	sources, err := a.sources(ctx)
	if err != nil || len(sources) == 0 {
		return err
	}
	if err := d.matchNews(ctx, lease, a, s); err != nil {
		return err
	}
	for {
		ids, err := queryIDs(ctx, d.db.QueryContext, `SELECT id FROM packages WHERE matched_at IS NULL ORDER BY id LIMIT `+strconv.Itoa(matchBatch))
		if err != nil || len(ids) == 0 {
			return err
		}
		if err := d.matchBatch(ctx, lease, a, ids, false, s); err != nil {
			return err
		}
		s.Matched += len(ids)
	}
}

// matchNews matches what syncs changed since it was last done. Broken off, it is done
// again from the start, which changes nothing where it was done.
func (d *DB) matchNews(ctx context.Context, lease Lease, a *Advisories, s *MatchSummary) error {
	seen, err := d.newsSeen(ctx)
	if err != nil {
		return err
	}
	keys, now, all, err := a.news(ctx, seen)
	if err != nil || now == seen {
		return err
	}
	var ids []int64
	if all {
		ids, err = queryIDs(ctx, d.db.QueryContext, `SELECT id FROM packages WHERE matched_at IS NOT NULL ORDER BY id`)
	} else {
		ids, err = d.packagesNamed(ctx, keys)
	}
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(ids, matchBatch) {
		if err := d.matchBatch(ctx, lease, a, batch, true, s); err != nil {
			return err
		}
		s.Rematched += len(batch)
	}
	return d.setNewsSeen(ctx, now)
}

// packagesNamed are the package versions, matched before, that advisories know by one
// of the names; sorted.
func (d *DB) packagesNamed(ctx context.Context, keys map[advisory.Key]bool) ([]int64, error) {
	ids := map[int64]bool{}
	take := func(query string, args ...any) error {
		rows, err := d.db.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var k advisory.Key
			var id int64
			if err := rows.Scan(&k.Ecosystem, &k.Name, &id); err != nil {
				return err
			}
			if keys[k] {
				ids[id] = true
			}
		}
		return rows.Err()
	}
	const from = `SELECT k.ecosystem, k.name, k.package FROM package_keys k JOIN packages p ON p.id = k.package WHERE p.matched_at IS NOT NULL`
	if len(keys) > fewNews {
		if err := take(from); err != nil {
			return nil, err
		}
		return slices.Sorted(maps.Keys(ids)), nil
	}
	byEcosystem := map[string][]string{}
	for k := range keys {
		byEcosystem[k.Ecosystem] = append(byEcosystem[k.Ecosystem], k.Name)
	}
	for ecosystem, names := range byEcosystem {
		for batch := range slices.Chunk(names, lookupBatch) {
			if err := take(from+` AND k.ecosystem = $1 AND k.name IN (`+placeholders(2, len(batch))+`)`, append([]any{ecosystem}, anys(batch)...)...); err != nil {
				return nil, err
			}
		}
	}
	return slices.Sorted(maps.Keys(ids)), nil
}

func queryIDs(ctx context.Context, ask queryFunc, query string, args ...any) ([]int64, error) {
	rows, err := ask(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

// idList writes ids into a statement, as "1, 2": they are numbers of ours.
func idList(ids []int64) string {
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.FormatInt(id, 10))
	}
	return b.String()
}

// matchBatch matches package versions and writes what is found. The matching is done
// before the transaction that writes.
func (d *DB) matchBatch(ctx context.Context, lease Lease, a *Advisories, ids []int64, news bool, s *MatchSummary) error {
	packages, err := d.loadPackages(ctx, ids)
	if err != nil {
		return err
	}
	found, err := match.Packages(ctx, packages, a)
	if err != nil {
		return err
	}
	w := &findingsWriter{ids: ids, news: news, advisories: a, found: map[findingKey]*match.Finding{}, vulnerabilities: map[string]*match.Finding{}}
	for i := range packages {
		for j := range found[i] {
			f := &found[i][j]
			w.found[findingKey{ids[i], f.ID}] = f
			w.vulnerabilities[f.ID] = f
		}
	}
	err = d.retryTx(ctx, func() error {
		return d.inTx(ctx, func(tx *sql.Tx) error {
			w.reset(tx, d.now())
			if err := stillHeld(ctx, tx, lease); err != nil {
				return err
			}
			return w.write(ctx)
		})
	})
	s.Opened, s.Changed, s.Closed, s.Images = s.Opened+w.opened, s.Changed+w.changed, s.Closed+w.closed, s.Images+w.images
	return err
}

// loadPackages reads package versions, in the order of the ids.
func (d *DB) loadPackages(ctx context.Context, ids []int64) ([]inventory.ImagePackage, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT id, type, ecosystem, name, version, arch, purl, source_name, source_version, known_as FROM packages WHERE id IN (`+idList(ids)+`)`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	byID := make(map[int64]inventory.ImagePackage, len(ids))
	for rows.Next() {
		var id int64
		var p inventory.ImagePackage
		var known string
		if err := rows.Scan(&id, &p.Type, &p.Ecosystem, &p.Name, &p.Version, &p.Arch, &p.PURL, &p.SourceName, &p.SourceVersion, &known); err != nil {
			return nil, err
		}
		if known != "" {
			if err := json.Unmarshal([]byte(known), &p.KnownAs); err != nil {
				return nil, fmt.Errorf("package %d: %w", id, err)
			}
		}
		byID[id] = p
	}
	out := make([]inventory.ImagePackage, len(ids))
	for i, id := range ids {
		out[i] = byID[id]
	}
	return out, rows.Err()
}
