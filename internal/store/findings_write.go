package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"strata/internal/match"
)

// A findingKey is a package version and the canonical name of a vulnerability.
type findingKey struct {
	pkg  int64
	name string
}

// A rated is what a row of findings says beside its key and times.
type rated struct {
	severity   int
	score      float64
	kev        bool
	fixed      string
	advisories string
	aside      string
}

func ratedOf(f *match.Finding) rated {
	r := rated{severity: f.Severity.Rank(), score: f.CVSS.Score, kev: f.KEV, fixed: f.FixedVersion, advisories: strings.Join(f.Advisories, " ")}
	if f.Suppressed != nil {
		r.aside = f.Suppressed.By
	}
	return r
}

// An openFinding is a row that is open.
type openFinding struct {
	id int64
	rated
}

// A findingsWriter writes what was found in a batch of package versions.
type findingsWriter struct {
	tx              *sql.Tx
	now             int64
	ids             []int64
	news            bool
	advisories      *Advisories
	found           map[findingKey]*match.Finding
	vulnerabilities map[string]*match.Finding

	// vulnerabilityIDs are the rows of found_vulnerabilities by name.
	vulnerabilityIDs map[string]int64
	// delta is by how much the numbers of open findings that count change, by
	// package and severity.
	delta map[[2]int64]int
	// touched are the packages with changed findings.
	touched map[int64]bool

	opened, changed, closed, images int
}

// reset makes it ready for a transaction.
func (w *findingsWriter) reset(tx *sql.Tx, now time.Time) {
	w.tx, w.now = tx, now.UnixMicro()
	w.vulnerabilityIDs, w.delta, w.touched = map[string]int64{}, map[[2]int64]int{}, map[int64]bool{}
	w.opened, w.changed, w.closed, w.images = 0, 0, 0, 0
}

func (w *findingsWriter) write(ctx context.Context) error {
	if err := lockCounts(ctx, w.tx); err != nil {
		return err
	}
	if err := w.writeVulnerabilities(ctx); err != nil {
		return err
	}
	was, err := w.open(ctx)
	if err != nil {
		return err
	}
	if err := w.close(ctx, was); err != nil {
		return err
	}
	if err := w.insert(ctx, was); err != nil {
		return err
	}
	if _, err := w.tx.ExecContext(ctx, `UPDATE packages SET matched_at = $1 WHERE id IN (`+idList(w.ids)+`)`, w.now); err != nil {
		return err
	}
	if len(w.touched) == 0 {
		return nil
	}
	return w.tellImages(ctx)
}

// open are the findings of the packages that are open.
func (w *findingsWriter) open(ctx context.Context) (map[findingKey]openFinding, error) {
	out := map[findingKey]openFinding{}
	return out, eachRow(ctx, w.tx, `SELECT f.id, f.package, v.name, f.severity, f.score, f.kev, f.fixed_version, f.advisories, f.aside
		FROM findings f JOIN found_vulnerabilities v ON v.id = f.vulnerability WHERE f.closed_at IS NULL AND f.package IN (`+idList(w.ids)+`)`, nil, func(rows *sql.Rows) error {
		var k findingKey
		var f openFinding
		err := rows.Scan(&f.id, &k.pkg, &k.name, &f.severity, &f.score, &f.kev, &f.fixed, &f.advisories, &f.aside)
		out[k] = f
		return err
	})
}

// close closes what is no longer found, or found otherwise.
func (w *findingsWriter) close(ctx context.Context, was map[findingKey]openFinding) error {
	gone := map[string][]int64{}
	var ids []string
	for k, f := range was {
		if w.found[k] == nil {
			ids = append(ids, strings.Fields(f.advisories)...)
		}
	}
	known, err := match.Known(ctx, ids, w.advisories)
	if err != nil {
		return err
	}
	for k, f := range was {
		now := w.found[k]
		if now != nil && ratedOf(now) == f.rated {
			continue
		}
		reason := Changed
		if now == nil {
			w.closed++
			reason = Withdrawn
			if slices.ContainsFunc(strings.Fields(f.advisories), func(id string) bool { return known[id] }) {
				reason = Corrected
			}
		}
		gone[reason] = append(gone[reason], f.id)
		w.count(k.pkg, f.rated, -1)
	}
	for _, reason := range slices.Sorted(maps.Keys(gone)) {
		slices.Sort(gone[reason])
		for batch := range slices.Chunk(gone[reason], 1000) {
			if err := w.closeRows(ctx, reason, idList(batch)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *findingsWriter) closeRows(ctx context.Context, reason, ids string) error {
	if _, err := w.tx.ExecContext(ctx, `UPDATE findings SET closed_at = $1, closed_reason = $2 WHERE id IN (`+ids+`)`, w.now, reason); err != nil {
		return err
	}
	if !w.news || reason == Changed {
		return nil
	}
	_, err := w.tx.ExecContext(ctx, `INSERT INTO finding_changes (finding, change, at) SELECT id, CAST($1 AS TEXT), CAST($2 AS BIGINT) FROM findings WHERE id IN (`+ids+`)`, reason, w.now)
	return err
}

// count notes that a finding came (+1) or went (-1).
func (w *findingsWriter) count(pkg int64, r rated, by int) {
	w.touched[pkg] = true
	if r.aside == "" {
		w.delta[[2]int64{pkg, int64(r.severity)}] += by
	}
}

// insert opens what is found and was not, or otherwise.
func (w *findingsWriter) insert(ctx context.Context, was map[findingKey]openFinding) error {
	keys := slices.SortedFunc(maps.Keys(w.found), func(a, b findingKey) int {
		return firstNonZero(int(min(1, max(-1, a.pkg-b.pkg))), strings.Compare(a.name, b.name))
	})
	var rows [][]any
	changed := map[[2]int64]bool{}
	for _, k := range keys {
		r := ratedOf(w.found[k])
		before, ok := was[k]
		if ok && before.rated == r {
			continue
		}
		vulnerability := w.vulnerabilityIDs[k.name]
		if ok {
			w.changed++
			changed[[2]int64{k.pkg, vulnerability}] = true
		} else {
			w.opened++
		}
		w.count(k.pkg, r, +1)
		rows = append(rows, []any{k.pkg, vulnerability, r.severity, r.score, r.kev, r.fixed, r.advisories, r.aside, w.now})
	}
	columns := []string{"package", "vulnerability", "severity", "score", "kev", "fixed_version", "advisories", "aside", "opened_at"}
	var news [][]any
	for batch := range slices.Chunk(rows, 60) {
		query := `INSERT INTO findings (` + strings.Join(columns, ", ") + `) VALUES ` + valueRows(len(batch), len(columns)) + ` RETURNING id, package, vulnerability`
		err := eachRow(ctx, w.tx, query, slices.Concat(batch...), func(rows *sql.Rows) error {
			var id int64
			var k [2]int64
			err := rows.Scan(&id, &k[0], &k[1])
			change := Opened
			if changed[k] {
				change = Changed
			}
			news = append(news, []any{id, change, w.now})
			return err
		})
		if err != nil {
			return err
		}
	}
	if !w.news {
		return nil
	}
	return insertRows(ctx, w.tx, "finding_changes", []string{"finding", "change", "at"}, "", news)
}

// writeVulnerabilities writes what is told of the vulnerabilities, and their names.
func (w *findingsWriter) writeVulnerabilities(ctx context.Context) error {
	names := slices.Sorted(maps.Keys(w.vulnerabilities))
	rows := make([][]any, len(names))
	for i, name := range names {
		f := w.vulnerabilities[name]
		rows[i] = []any{name, f.Summary, micros(f.Published), micros(f.Modified), f.KEV, f.EPSS, strings.Join(f.References, " ")}
	}
	columns := []string{"name", "summary", "published", "modified", "kev", "epss", "links"}
	for batch := range slices.Chunk(rows, 60) {
		// What is as it was is not written again. Of several packages the last word counts.
		query := `INSERT INTO found_vulnerabilities (` + strings.Join(columns, ", ") + `) VALUES ` + valueRows(len(batch), len(columns)) + `
			ON CONFLICT (name) DO UPDATE SET summary = excluded.summary, published = excluded.published, modified = excluded.modified, kev = excluded.kev, epss = excluded.epss, links = excluded.links
			WHERE found_vulnerabilities.modified IS NULL OR found_vulnerabilities.modified <= excluded.modified OR found_vulnerabilities.kev <> excluded.kev`
		if _, err := w.tx.ExecContext(ctx, query, slices.Concat(batch...)...); err != nil {
			return err
		}
	}
	for batch := range slices.Chunk(names, lookupBatch) {
		if err := collect(ctx, w.tx, `SELECT name, id FROM found_vulnerabilities WHERE name IN (`+placeholders(1, len(batch))+`)`, anys(batch), w.vulnerabilityIDs); err != nil {
			return err
		}
	}
	return w.writeNames(ctx, names)
}

func (w *findingsWriter) writeNames(ctx context.Context, vulnerabilities []string) error {
	ids := make([]int64, len(vulnerabilities))
	for i, name := range vulnerabilities {
		ids[i] = w.vulnerabilityIDs[name]
		if ids[i] == 0 {
			return fmt.Errorf("vulnerability %s was not kept", name)
		}
	}
	type row struct {
		name string
		id   int64
	}
	have := map[row]bool{}
	for batch := range slices.Chunk(ids, 1000) {
		err := eachRow(ctx, w.tx, `SELECT name, vulnerability FROM vulnerability_names WHERE vulnerability IN (`+idList(batch)+`)`, nil, func(rows *sql.Rows) error {
			var r row
			err := rows.Scan(&r.name, &r.id)
			have[r] = true
			return err
		})
		if err != nil {
			return err
		}
	}
	var rows [][]any
	for i, name := range vulnerabilities {
		for _, alias := range append([]string{name}, w.vulnerabilities[name].Aliases...) {
			r := row{strings.ToUpper(alias), ids[i]}
			if !have[r] {
				have[r] = true
				rows = append(rows, []any{r.name, r.id})
			}
		}
	}
	return insertRows(ctx, w.tx, "vulnerability_names", []string{"name", "vulnerability"}, " ON CONFLICT DO NOTHING", rows)
}
