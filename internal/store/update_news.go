package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"strata/internal/advisory"
)

// newsTable keeps, beside the advisories of a server, which packages a sync changed
// something for, until they are matched again: written with the advisories, so that
// no crash can part the two. The command line's database has no such table.
const newsTable = `CREATE TABLE IF NOT EXISTS advisory_news (sync BIGINT NOT NULL, ecosystem TEXT NOT NULL, name TEXT NOT NULL)`

// tell notes that something changed for a package.
func (u *update) tell(k advisory.Key) {
	if u.news != nil {
		u.news[k] = true
	}
}

// tellOf notes the packages that advisories name.
func (u *update) tellOf(ctx context.Context, advisories []string) error {
	if u.news == nil {
		return nil
	}
	for batch := range slices.Chunk(advisories, lookupBatch) {
		err := eachRow(ctx, u.tx, `SELECT DISTINCT ecosystem, name FROM advisory_packages WHERE advisory IN (`+placeholders(1, len(batch))+`)`, anys(batch), func(rows *sql.Rows) error {
			var k advisory.Key
			err := rows.Scan(&k.Ecosystem, &k.Name)
			u.tell(k)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tellOfVulnerabilities notes the packages named by advisories about vulnerabilities.
func (u *update) tellOfVulnerabilities(ctx context.Context, ids []string) error {
	if u.news == nil || len(ids) == 0 {
		return nil
	}
	changed := make(map[string]bool, len(ids))
	for _, id := range ids {
		changed[id] = true
	}
	// There is no index by vulnerability, and the whole table is read in no time.
	var advisories []string
	err := eachRow(ctx, u.tx, `SELECT advisory, vulnerability FROM advisory_vulnerabilities`, nil, func(rows *sql.Rows) error {
		var a, v string
		err := rows.Scan(&a, &v)
		if changed[v] {
			advisories = append(advisories, a)
		}
		return err
	})
	if err != nil {
		return err
	}
	return u.tellOf(ctx, advisories)
}

// A newsMark is the last sync whose news were matched, and of which database of
// advisories: origin is a random name that it got when it was made.
type newsMark struct {
	origin string
	sync   int64
}

// keepNews writes what was noted, under a number higher than that of every sync before,
// and drops what was seen. The row with number 0 has the origin.
func (u *update) keepNews(ctx context.Context) error {
	if u.news == nil {
		return nil
	}
	if _, err := u.tx.ExecContext(ctx, newsTable); err != nil {
		return err
	}
	var origin string
	err := u.tx.QueryRowContext(ctx, `SELECT name FROM advisory_news WHERE sync = 0`).Scan(&origin)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = u.tx.ExecContext(ctx, `INSERT INTO advisory_news (sync, ecosystem, name) VALUES (0, '', $1)`, rand.Text())
	}
	if err != nil {
		return err
	}
	if origin == u.o.seen.origin {
		if _, err := u.tx.ExecContext(ctx, `DELETE FROM advisory_news WHERE sync > 0 AND sync <= $1`, u.o.seen.sync); err != nil {
			return err
		}
	}
	var last int64
	if err := u.tx.QueryRowContext(ctx, `SELECT MAX(sync) FROM advisory_news`).Scan(&last); err != nil {
		return err
	}
	u.summary.Changed = slices.SortedFunc(maps.Keys(u.news), func(a, b advisory.Key) int {
		return firstNonZero(strings.Compare(a.Ecosystem, b.Ecosystem), strings.Compare(a.Name, b.Name))
	})
	b, err := newBulk(ctx, u.tx, "advisory_news", "sync", "ecosystem", "name")
	if err != nil {
		return err
	}
	for _, k := range u.summary.Changed {
		if err := b.add(ctx, max(last, u.o.seen.sync)+1, k.Ecosystem, k.Name); err != nil {
			return err
		}
	}
	return b.flush(ctx)
}

// newsSetting is where the newsMark stands.
const newsSetting = "advisories.news"

func (d *DB) newsSeen(ctx context.Context) (newsMark, error) {
	var text []byte
	err := d.db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, newsSetting).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return newsMark{}, nil
	}
	if err != nil {
		return newsMark{}, err
	}
	origin, n, _ := strings.Cut(string(text), " ")
	m := newsMark{origin: origin}
	if m.sync, err = strconv.ParseInt(n, 10, 64); err != nil {
		return newsMark{}, fmt.Errorf("setting %s: %w", newsSetting, err)
	}
	return m, nil
}

func (d *DB) setNewsSeen(ctx context.Context, m newsMark) error {
	_, err := d.db.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
		newsSetting, strconv.AppendInt([]byte(m.origin+" "), m.sync, 10))
	return err
}

// news are the names of packages that syncs after one changed something for, and what
// is seen with them. With another origin than that, it can't be told what changed: all
// is true then.
func (a *Advisories) news(ctx context.Context, seen newsMark) (keys map[advisory.Key]bool, now newsMark, all bool, err error) {
	rows, err := a.ask(ctx, `SELECT sync, ecosystem, name FROM advisory_news WHERE sync > $1 OR sync = 0`, seen.sync)
	if err != nil {
		return nil, seen, false, fmt.Errorf("advisory database %s: %w", a.path, err)
	}
	defer rows.Close()
	keys, now = map[advisory.Key]bool{}, seen
	for rows.Next() {
		var sync int64
		var k advisory.Key
		if err := rows.Scan(&sync, &k.Ecosystem, &k.Name); err != nil {
			return nil, seen, false, fmt.Errorf("advisory database %s: %w", a.path, err)
		}
		if sync == 0 {
			now.origin = k.Name
			continue
		}
		keys[k], now.sync = true, max(now.sync, sync)
	}
	return keys, now, now.origin != seen.origin, rows.Err()
}

// refreshScores brings the EPSS scores of what was found up to date: nothing is opened
// or closed for them.
func (d *DB) refreshScores(ctx context.Context) (err error) {
	a, err := d.Advisories(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	was, err := queryScores(ctx, d.db.QueryContext, `SELECT name, epss FROM found_vulnerabilities`)
	if err != nil || len(was) == 0 {
		return err
	}
	now := map[string]float64{}
	for batch := range slices.Chunk(slices.Collect(maps.Keys(was)), lookupBatch) {
		scores, err := queryScores(ctx, a.ask, `SELECT cve, score FROM epss WHERE cve IN (`+placeholders(1, len(batch))+`)`, anys(batch)...)
		if err != nil {
			return err
		}
		maps.Copy(now, scores)
	}
	changed := slices.DeleteFunc(slices.Sorted(maps.Keys(was)), func(name string) bool { return was[name] == now[name] })
	// A few thousand at a time, so that other writers need not wait.
	for batch := range slices.Chunk(changed, 2000) {
		err := d.inTx(ctx, func(tx *sql.Tx) error {
			stmt, err := tx.PrepareContext(ctx, `UPDATE found_vulnerabilities SET epss = $1 WHERE name = $2`)
			if err != nil {
				return err
			}
			defer stmt.Close()
			for _, name := range batch {
				if _, err := stmt.ExecContext(ctx, now[name], name); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func queryScores(ctx context.Context, ask queryFunc, query string, args ...any) (map[string]float64, error) {
	rows, err := ask(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]float64{}
	for rows.Next() {
		var name string
		var score float64
		if err := rows.Scan(&name, &score); err != nil {
			return nil, err
		}
		out[name] = score
	}
	return out, rows.Err()
}
