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
// version, present or not: of those in the scope of the question.
type FleetFinding struct {
	PackageFinding
	Images int `json:"images"`
	// packageID is the id of the package version.
	packageID int64
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
	// Scope are globs over REGISTRY/REPOSITORY: findings in package versions that none
	// of its images has are left out. nil for all.
	Scope []string
	After *FindingKey
	Limit int
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
func (d *DB) Findings(ctx context.Context, q FindingQuery) (out []FleetFinding, err error) {
	err = d.readFleet(ctx, func(f *fleet) error {
		s, err := d.sightOf(ctx, f, q.Scope)
		if err == nil {
			out, err = d.findingsSeen(ctx, s, q)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("findings: %w", err)
	}
	return out, nil
}

// findingsSeen reads findings until a page of those that are seen is full.
func (d *DB) findingsSeen(ctx context.Context, s *sight, q FindingQuery) ([]FleetFinding, error) {
	w, few, err := d.findingConditions(ctx, s, &q)
	if err != nil || w == nil {
		return nil, err
	}
	return fillPage(q.Limit+1, func(limit int) ([]FleetFinding, error) {
		page, err := d.findingPage(ctx, w, few, q.After, limit)
		if n := len(page); n > 0 {
			k := page[n-1].Key()
			q.After = &k
		}
		return page, err
	}, func(page []FleetFinding) ([]FleetFinding, error) {
		return countFindings(ctx, d, s, page, func(f *FleetFinding) *FleetFinding { return f })
	})
}

// fillPage reads rows, more each time, until as many as wanted are left of them, or
// there are none any more.
func fillPage[T any](want int, read func(limit int) ([]T, error), keep func([]T) ([]T, error)) (out []T, err error) {
	const most = 5000
	for limit := want; len(out) < want; limit = min(2*limit, most) {
		rows, err := read(limit)
		if err != nil {
			return nil, err
		}
		kept, err := keep(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, kept...)
		if len(rows) < limit {
			break
		}
	}
	return out[:min(len(out), want)], nil
}

// countFindings counts the images of the findings in rows. For who has a limited sight,
// the rows of package versions that it does not see are left out.
func countFindings[T any](ctx context.Context, d *DB, s *sight, rows []T, of func(*T) *FleetFinding) ([]T, error) {
	ids := map[int64]bool{}
	for i := range rows {
		ids[of(&rows[i]).packageID] = true
	}
	images, err := d.imagesWith(ctx, s, sortedIDs(ids))
	if err != nil {
		return nil, err
	}
	out := rows[:0]
	for i := range rows {
		f := of(&rows[i])
		if f.Images = images[f.packageID]; f.Images > 0 || s.scope == nil {
			out = append(out, rows[i])
		}
	}
	return out, nil
}

// findingConditions is nil when nothing can be found. few tells that those that fit are
// to be found by their packages or vulnerability, and put in order then, instead of by
// going through all in order.
func (d *DB) findingConditions(ctx context.Context, s *sight, q *FindingQuery) (w *where, few bool, err error) {
	w = &where{}
	w.add(`f.closed_at IS NULL AND f.aside = ''`)
	if q.Vulnerability != "" {
		w.add(`f.vulnerability IN (SELECT n.vulnerability FROM vulnerability_names n WHERE n.name = ?)`, strings.ToUpper(q.Vulnerability))
	}
	if q.Package != "" {
		named, values := packagesNamed([]string{q.Package})
		w.add(`f.package IN (`+named+`)`, values...)
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
	few = q.Vulnerability != "" || q.Package != ""
	if s.scope == nil || few {
		return w, few, nil
	}
	segments, ok := s.segmentsSeen()
	if ok && len(segments) == 0 {
		return nil, true, nil
	}
	if ok {
		w.add(`f.package IN (SELECT sp.package FROM segment_packages sp WHERE sp.segment IN (` + inList(segments) + `))`)
	}
	return w, ok, nil
}

func (d *DB) findingPage(ctx context.Context, conditions *where, few bool, after *FindingKey, limit int) (out []FleetFinding, err error) {
	w := conditions.clone()
	if after != nil {
		w.add(`(f.severity, f.score, f.id) < (?, ?, ?)`, after.Severity, after.Score, after.ID)
	}
	// Sorted by an expression, the index of this order is not used.
	order := `f.severity DESC, f.score DESC, f.id DESC`
	if few {
		order = `f.severity + 0 DESC, f.score DESC, f.id DESC`
	}
	err = d.each(ctx, `SELECT `+findingColumns+`, f.package
		FROM (SELECT f.* FROM findings f WHERE `+w.String()+` ORDER BY `+order+` LIMIT `+strconv.Itoa(limit)+`) f
		JOIN packages k ON k.id = f.package JOIN found_vulnerabilities v ON v.id = f.vulnerability ORDER BY f.severity DESC, f.score DESC, f.id DESC`, w.args, func(scan func(...any) error) error {
		var f FleetFinding
		f.PackageFinding, err = scanFinding(scan, &f.packageID)
		out = append(out, f)
		return err
	})
	return out, err
}

// A FindingChange is what news did to a finding: see Opened.
type FindingChange struct {
	ID     int64     `json:"id"`
	Change string    `json:"change" enum:"opened,changed,withdrawn,corrected"`
	At     time.Time `json:"at"`
	// Finding as it is after the change, or was until it.
	Finding FleetFinding `json:"finding"`
}

// A ChangeKey is where a page of changes ends.
type ChangeKey struct {
	At int64 `json:"a"`
	ID int64 `json:"i"`
}

// Key is that of the row.
func (c *FindingChange) Key() *ChangeKey { return &ChangeKey{c.At.UnixMicro(), c.ID} }

// FindingChanges lists what news changed since a time, the newest first, behind after
// (nil for the first page); one more than limit when there are more. scope is that of
// FindingQuery.
func (d *DB) FindingChanges(ctx context.Context, scope []string, since time.Time, after *ChangeKey, limit int) (out []FindingChange, err error) {
	err = d.readFleet(ctx, func(f *fleet) error {
		s, err := d.sightOf(ctx, f, scope)
		if err != nil {
			return err
		}
		out, err = fillPage(limit+1, func(limit int) ([]FindingChange, error) {
			page, err := d.changePage(ctx, since, after, limit)
			if n := len(page); n > 0 {
				after = page[n-1].Key()
			}
			return page, err
		}, func(page []FindingChange) ([]FindingChange, error) {
			return countFindings(ctx, d, s, page, func(c *FindingChange) *FleetFinding { return &c.Finding })
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("changes of findings: %w", err)
	}
	return out, nil
}

func (d *DB) changePage(ctx context.Context, since time.Time, after *ChangeKey, limit int) (out []FindingChange, err error) {
	w := &where{}
	w.add(`c.at >= ?`, since.UnixMicro())
	if after != nil {
		w.add(`(c.at, c.id) < (?, ?)`, after.At, after.ID)
	}
	err = d.each(ctx, `SELECT `+findingColumns+`, f.package, c.id, c.change, c.at
		FROM (SELECT c.* FROM finding_changes c WHERE `+w.String()+` ORDER BY c.at DESC, c.id DESC LIMIT `+strconv.Itoa(limit)+`) c
		JOIN findings f ON f.id = c.finding JOIN packages k ON k.id = f.package JOIN found_vulnerabilities v ON v.id = f.vulnerability ORDER BY c.at DESC, c.id DESC`, w.args, func(scan func(...any) error) error {
		var c FindingChange
		var at sql.NullInt64
		c.Finding.PackageFinding, err = scanFinding(scan, &c.Finding.packageID, &c.ID, &c.Change, &at)
		c.At = fromMicros(at)
		out = append(out, c)
		return err
	})
	return out, err
}
