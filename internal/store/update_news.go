package store

import (
	"context"
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

// keepNews writes what was noted, and drops what was seen.
func (u *update) keepNews(ctx context.Context) error {
	if u.news == nil {
		return nil
	}
	if _, err := u.tx.ExecContext(ctx, newsTable); err != nil {
		return err
	}
	if _, err := u.tx.ExecContext(ctx, `DELETE FROM advisory_news WHERE sync <= $1`, u.o.seen); err != nil {
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
		if err := b.add(ctx, u.o.news, k.Ecosystem, k.Name); err != nil {
			return err
		}
	}
	return b.flush(ctx)
}

// newsSetting is where the number of the last sync stands whose news were matched.
const newsSetting = "advisories.news"

// newsSeen is that number.
func (d *DB) newsSeen(ctx context.Context) (int64, error) {
	var text []byte
	err := d.db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, newsSetting).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("setting %s: %w", newsSetting, err)
	}
	return n, nil
}

func (d *DB) setNewsSeen(ctx context.Context, n int64) error {
	_, err := d.db.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
		newsSetting, strconv.AppendInt(nil, n, 10))
	return err
}

// news are the names of packages that syncs after one changed something for, and the
// number of the last of these syncs.
func (a *Advisories) news(ctx context.Context, after int64) (map[advisory.Key]bool, int64, error) {
	rows, err := a.ask(ctx, `SELECT sync, ecosystem, name FROM advisory_news WHERE sync > $1`, after)
	if err != nil {
		return nil, 0, fmt.Errorf("advisory database %s: %w", a.path, err)
	}
	defer rows.Close()
	keys, last := map[advisory.Key]bool{}, after
	for rows.Next() {
		var sync int64
		var k advisory.Key
		if err := rows.Scan(&sync, &k.Ecosystem, &k.Name); err != nil {
			return nil, 0, fmt.Errorf("advisory database %s: %w", a.path, err)
		}
		keys[k], last = true, max(last, sync)
	}
	return keys, last, rows.Err()
}
