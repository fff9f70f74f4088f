package store

import (
	"fmt"
	"testing"
	"time"
)

func TestFindingDays(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		now := time.Date(2026, 3, 10, 15, 0, 0, 0, time.UTC)
		db.now = func() time.Time { return now }
		exec := func(query string, args ...any) {
			t.Helper()
			if _, err := db.db.ExecContext(t.Context(), query, args...); err != nil {
				t.Fatal(err)
			}
		}
		exec(`INSERT INTO packages (id, key, type, ecosystem, name, version, arch, purl, source_name, source_version, known_as) VALUES (1, $1, 'npm', 'npm', 'a', '1', '', '', '', '', '')`, []byte{1})
		day := func(n, hour int) int64 { return time.Date(2026, 3, n, hour, 0, 0, 0, time.UTC).UnixMicro() }
		for i, f := range []struct {
			severity int
			aside    string
			opened   int64
			closed   any
		}{
			{4, "", day(1, 0), nil},                  // before the first day, and for good
			{4, "", day(1, 0), day(2, 0)},            // over before the first day
			{3, "", day(7, 0), day(9, 23)},           // for two days and most of a third
			{2, "", day(8, 23), nil},                 // late on a day
			{2, "", day(9, 1), day(9, 2)},            // for an hour
			{1, "not-run", day(8, 0), nil},           // set aside
			{0, "", day(10, 14), nil},                // today
			{4, "", day(6, 23) + 3_599_999_999, nil}, // in the last moment before the first day
		} {
			exec(`INSERT INTO found_vulnerabilities (id, name) VALUES ($1, $2)`, i+1, fmt.Sprint("CVE-", i))
			exec(`INSERT INTO findings (package, vulnerability, severity, score, kev, fixed_version, advisories, aside, opened_at, closed_at) VALUES (1, $1, $2, 0, $3, '', '', $4, $5, $6)`, i+1, f.severity, false, f.aside, f.opened, f.closed)
		}
		days, err := db.FindingDays(t.Context(), 4)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"2026-03-07 {2 1 0 0 0}", "2026-03-08 {2 1 1 0 0}", "2026-03-09 {2 0 1 0 0}", "2026-03-10 {2 0 1 0 1}"}
		for i, d := range days {
			if got := fmt.Sprintf("%s %v", d.Day.Format(time.DateOnly), d.Counts); i >= len(want) || got != want[i] {
				t.Errorf("day %d: %s, want %v", i, got, want)
			}
		}
	})
}
