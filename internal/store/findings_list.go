package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A FleetFinding is a finding that holds, with how many images have the package
// version, present or not.
type FleetFinding struct {
	PackageFinding
	Images int `json:"images"`
}

// A FindingQuery asks for findings over all images. The zero value asks for all, the
// worst first.
type FindingQuery struct {
	// Vulnerability is any of its names, in any case; Package the name of a package.
	Vulnerability, Package string
	// Severity is the least rank.
	Severity int
	// Fixable asks for those with a fixed version, KEV for those that are exploited.
	Fixable, KEV bool
	After        *FindingKey
	Limit        int
}

// A FindingKey is where a page of findings ends.
type FindingKey struct {
	Severity int     `json:"s"`
	Score    float64 `json:"c"`
	ID       int64   `json:"i"`
}

// Key is that of the row.
func (f *FleetFinding) Key() FindingKey { return FindingKey{f.Severity.Rank(), f.Score, f.ID} }

// Findings lists the findings that hold, over all images, the worst first; one more than
// the limit when there are more. Those set aside in every image are left out.
func (d *DB) Findings(ctx context.Context, q FindingQuery) ([]FleetFinding, error) {
	w := &where{}
	w.add(`f.closed_at IS NULL AND f.aside = ''`)
	if q.Vulnerability != "" {
		w.add(`f.vulnerability IN (SELECT n.vulnerability FROM vulnerability_names n WHERE n.name = ?)`, strings.ToUpper(q.Vulnerability))
	}
	if q.Package != "" {
		w.add(`k.name = ?`, q.Package)
	}
	if q.Severity > 0 {
		w.add(`f.severity >= ?`, q.Severity)
	}
	if q.Fixable {
		w.add(`f.fixed_version <> ''`)
	}
	if q.KEV {
		w.add(`f.kev`)
	}
	if k := q.After; k != nil {
		w.add(`(f.severity, f.score, f.id) < (?, ?, ?)`, k.Severity, k.Score, k.ID)
	}
	rows, err := d.db.QueryContext(ctx, `SELECT `+findingColumns+`,
			(SELECT COUNT(DISTINCT il.image) FROM segment_packages sp JOIN image_layers il ON il.segment = sp.segment WHERE sp.package = f.package)
		FROM findings f JOIN packages k ON k.id = f.package JOIN found_vulnerabilities v ON v.id = f.vulnerability
		WHERE `+w.String()+` ORDER BY f.severity DESC, f.score DESC, f.id DESC LIMIT `+strconv.Itoa(q.Limit+1), w.args...)
	if err != nil {
		return nil, fmt.Errorf("findings: %w", err)
	}
	defer rows.Close()
	var out []FleetFinding
	for rows.Next() {
		var f FleetFinding
		if f.PackageFinding, err = scanFinding(rows, &f.Images); err != nil {
			return nil, fmt.Errorf("findings: %w", err)
		}
		out = append(out, f)
	}
	return out, rows.Err()
}

// A FindingChange is what news did to a finding: see Opened.
type FindingChange struct {
	ID     int64     `json:"id"`
	Change string    `json:"change" enum:"opened,changed,withdrawn,corrected"`
	At     time.Time `json:"at"`
	// Finding as it is after the change, or was until it.
	Finding FleetFinding `json:"finding"`
}

// FindingChanges lists what news changed since a time, the newest first, before the
// change with an id (0 for the newest); one more than limit when there are more.
func (d *DB) FindingChanges(ctx context.Context, since time.Time, before int64, limit int) ([]FindingChange, error) {
	w := &where{}
	w.add(`c.at >= ?`, since.UnixMicro())
	if before > 0 {
		w.add(`c.id < ?`, before)
	}
	rows, err := d.db.QueryContext(ctx, `SELECT `+findingColumns+`,
			(SELECT COUNT(DISTINCT il.image) FROM segment_packages sp JOIN image_layers il ON il.segment = sp.segment WHERE sp.package = f.package), c.id, c.change, c.at
		FROM finding_changes c JOIN findings f ON f.id = c.finding JOIN packages k ON k.id = f.package JOIN found_vulnerabilities v ON v.id = f.vulnerability
		WHERE `+w.String()+` ORDER BY c.id DESC LIMIT `+strconv.Itoa(limit+1), w.args...)
	if err != nil {
		return nil, fmt.Errorf("changes of findings: %w", err)
	}
	defer rows.Close()
	var out []FindingChange
	for rows.Next() {
		var c FindingChange
		var at sql.NullInt64
		if c.Finding.PackageFinding, err = scanFinding(rows, &c.Finding.Images, &c.ID, &c.Change, &at); err != nil {
			return nil, fmt.Errorf("changes of findings: %w", err)
		}
		c.At = fromMicros(at)
		out = append(out, c)
	}
	return out, rows.Err()
}
