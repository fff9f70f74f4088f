package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strings"

	"strata/internal/inventory"
	"strata/internal/match"
)

// PutFindings keeps what was found in the packages of an image that was put, in a
// database without advisories of its own. What is known already stays as it is.
func (d *DB) PutFindings(ctx context.Context, inv *inventory.Image, found []match.Finding) error {
	err := d.inTx(ctx, func(tx *sql.Tx) error {
		for i := range found {
			if err := d.putFinding(ctx, tx, &inv.Packages[found[i].Package], &found[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("findings: %w", err)
	}
	return nil
}

func (d *DB) putFinding(ctx context.Context, tx *sql.Tx, p *inventory.ImagePackage, f *match.Finding) error {
	var id int64
	if err := tx.QueryRowContext(ctx, `INSERT INTO found_vulnerabilities (name, summary) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id`, f.ID, f.Summary).Scan(&id); err != nil {
		return err
	}
	var names [][]any
	for _, name := range append([]string{f.ID}, f.Aliases...) {
		names = append(names, []any{strings.ToUpper(name), id})
	}
	if err := insertRows(ctx, tx, "vulnerability_names", []string{"name", "vulnerability"}, " ON CONFLICT DO NOTHING", names); err != nil {
		return err
	}
	aside := ""
	if s := f.Suppressed; s != nil && s.By != match.DistroOwned { // that one is of the image, and kept there
		aside = cmp.Or(s.By, match.NotRun)
	}
	key := packageKey(p)
	_, err := tx.ExecContext(ctx, `INSERT INTO findings (package, vulnerability, severity, score, kev, fixed_version, advisories, aside, opened_at)
		SELECT p.id, $1, $2, $3, $4, $5, $6, $7, $8 FROM packages p WHERE p.key = $9 AND NOT EXISTS (SELECT 1 FROM findings o WHERE o.package = p.id AND o.vulnerability = $1 AND o.closed_at IS NULL)`,
		id, f.Severity.Rank(), f.CVSS.Score, f.KEV, f.FixedVersion, strings.Join(f.Advisories, " "), aside, d.now().UnixMicro(), key[:])
	return err
}
