package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"strata/internal/advisory"
)

// A SyncReport tells how the last sync of advisories went.
type SyncReport struct {
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
	Mirror    string    `json:"mirror"`
	// Error is why nothing could be had; empty when something was.
	Error string `json:"error,omitempty"`
	// Wanted are the ecosystems that were asked for.
	Wanted []string `json:"wanted,omitempty"`
	// Failed are the ecosystems and lists that could not be had, with the reason, and
	// Unreadable those of which single records could not.
	Failed     map[string]string `json:"failed,omitempty"`
	Unreadable map[string]string `json:"unreadable,omitempty"`
	// Changed and Removed are records, Packages the names that they concern.
	Changed  int `json:"changed"`
	Removed  int `json:"removed"`
	Packages int `json:"packages"`
}

// Take writes what a sync did into the report.
func (r *SyncReport) Take(s UpdateSummary) {
	r.Failed, r.Unreadable = map[string]string{}, map[string]string{}
	for _, e := range s.Ecosystems {
		if e.Err != nil {
			r.Failed[e.Ecosystem] = e.Err.Error()
		}
		if e.UnreadableCount > 0 && len(e.Unreadable) > 0 {
			r.Unreadable[e.Ecosystem] = fmt.Sprintf("%d records, the first: %s", e.UnreadableCount, e.Unreadable[0])
		}
		r.Changed, r.Removed = r.Changed+e.Changed, r.Removed+e.Removed
	}
	for _, l := range s.Lists {
		if l.Err != nil {
			r.Failed[l.Name] = l.Err.Error()
		}
	}
	r.Packages = len(s.Changed)
}

// syncSchedule is the row of schedules that has the report.
const syncSchedule = "advisories"

// NoteSync keeps the report of a sync in the place of the one before.
func (d *DB) NoteSync(ctx context.Context, r SyncReport) error {
	detail, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("report of a sync: %w", err)
	}
	_, err = d.db.ExecContext(ctx, `INSERT INTO schedules (name, due_at, started_at, ended_at, error, detail) VALUES ($1, $2, $2, $3, $4, $5)
		ON CONFLICT (name) DO UPDATE SET started_at = excluded.started_at, ended_at = excluded.ended_at, error = excluded.error, detail = excluded.detail`,
		syncSchedule, r.StartedAt.UnixMicro(), r.EndedAt.UnixMicro(), r.Error, string(detail))
	if err != nil {
		return fmt.Errorf("report of a sync: %w", err)
	}
	return nil
}

// LastSync is the report of the last sync; nil when there was none.
func (d *DB) LastSync(ctx context.Context) (*SyncReport, error) {
	var detail string
	err := d.db.QueryRowContext(ctx, `SELECT detail FROM schedules WHERE name = $1`, syncSchedule).Scan(&detail)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	var r SyncReport
	if err == nil {
		err = json.Unmarshal([]byte(detail), &r)
	}
	if err != nil {
		return nil, fmt.Errorf("report of a sync: %w", err)
	}
	return &r, nil
}

// PackageEcosystems are the ecosystems, without release, of all package versions, sorted.
func (d *DB) PackageEcosystems(ctx context.Context) ([]string, error) {
	var out []string
	// One look into the index for each, rather than one at all the rows.
	for last := ""; ; {
		var next sql.NullString
		if err := d.db.QueryRowContext(ctx, `SELECT MIN(ecosystem) FROM package_keys WHERE ecosystem > $1`, last).Scan(&next); err != nil {
			return nil, fmt.Errorf("ecosystems: %w", err)
		}
		if !next.Valid {
			slices.Sort(out)
			return slices.Compact(out), nil
		}
		last = next.String
		out = append(out, advisory.Base(last))
	}
}

// MatchIsDue tells whether there is anything for MatchDue.
func (d *DB) MatchIsDue(ctx context.Context) (due bool, err error) {
	a, err := d.Advisories(ctx)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	sources, err := a.sources(ctx)
	if err != nil || len(sources) == 0 {
		return false, err
	}
	ids, err := queryIDs(ctx, d.db.QueryContext, `SELECT id FROM packages WHERE matched_at IS NULL LIMIT 1`)
	if err != nil || len(ids) > 0 {
		return len(ids) > 0, err
	}
	seen, err := d.newsSeen(ctx)
	if err != nil {
		return false, err
	}
	_, now, _, err := a.news(ctx, seen)
	return now != seen, err
}

// Feeds tells what advisories the server has, how old they are, and how the last sync
// went.
type Feeds struct {
	// Records in force, and the vulnerabilities they are about.
	Records         int `json:"records"`
	Vulnerabilities int `json:"vulnerabilities"`
	// Oldest is when the feed that was brought up to date least recently was.
	Oldest *time.Time `json:"oldest,omitempty"`
	// Starter tells that there is nothing but the small set of advisories that comes
	// with Strata: most flaws are not in it.
	Starter bool   `json:"starter"`
	Feeds   []Feed `json:"feeds"`
	// Missing are ecosystems of packages in images of which there are no advisories,
	// so that these packages are not checked.
	Missing  []string    `json:"missing"`
	LastSync *SyncReport `json:"last_sync,omitempty"`
}

// A Feed is one ecosystem's, or a list ("kev", "epss").
type Feed struct {
	Name     string     `json:"name"`
	Kind     string     `json:"kind" enum:"ecosystem,list"`
	Mirror   string     `json:"mirror"`
	Starter  bool       `json:"starter"`
	SyncedAt *time.Time `json:"synced_at,omitempty"`
	AgeHours float64    `json:"age_hours"`
	Records  int        `json:"records"`
	// Newest is the last modification of a record.
	Newest *time.Time `json:"newest,omitempty"`
	// Error is why the last sync did not get it; what there is, is older then.
	Error string `json:"error,omitempty"`
}

// Feeds gives their state.
func (d *DB) Feeds(ctx context.Context) (f Feeds, err error) {
	a, err := d.Advisories(ctx)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	s, err := a.Status(ctx)
	if err != nil {
		return f, err
	}
	if f.LastSync, err = d.LastSync(ctx); err != nil {
		return f, err
	}
	failed := map[string]string{}
	if f.LastSync != nil {
		failed = f.LastSync.Failed
	}
	f.Records, f.Vulnerabilities, f.Starter, f.Oldest = s.Records, s.Vulnerabilities, s.Starter, timeOrNil(s.Oldest)
	f.Feeds, f.Missing = []Feed{}, []string{}
	have := map[string]bool{}
	for _, e := range s.Ecosystems {
		have[e.Ecosystem] = true
		f.Feeds = append(f.Feeds, Feed{Name: e.Ecosystem, Kind: "ecosystem", Mirror: advisory.Redact(e.Mirror), Starter: e.Starter, SyncedAt: timeOrNil(e.Synced),
			AgeHours: d.ageHours(e.Synced), Records: e.Records, Newest: timeOrNil(e.Newest), Error: failed[e.Ecosystem]})
	}
	for _, l := range s.Lists {
		f.Feeds = append(f.Feeds, Feed{Name: l.Name, Kind: "list", Mirror: l.Location, SyncedAt: timeOrNil(l.Synced), AgeHours: d.ageHours(l.Synced), Records: l.Entries, Error: failed[l.Name]})
	}
	ecosystems, err := d.PackageEcosystems(ctx)
	for _, e := range ecosystems {
		if !have[e] {
			f.Missing = append(f.Missing, e)
		}
	}
	return f, err
}

func (d *DB) ageHours(t time.Time) float64 { return max(0, d.now().Sub(t).Hours()) }

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
