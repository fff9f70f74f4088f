package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// A Schedule is what happens again and again, once for the cluster, and how it went.
type Schedule struct {
	Name  string    `json:"name"`
	DueAt time.Time `json:"due_at"`
	// StartedAt and EndedAt are those of the last time; zero for never.
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	// Instance is the id of the one that does it, or did it last.
	Instance string `json:"instance,omitempty"`
	// Error is that of the last time, empty when it went well; Detail is what it has
	// to tell.
	Error  string `json:"error,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// TakeDue tells whether something is due, and makes it due anew after every: of
// several instances that ask, one is told so. What is not known yet is due.
func (d *DB) TakeDue(ctx context.Context, name string, every time.Duration) (bool, error) {
	now := d.now()
	var due int64
	err := d.db.QueryRowContext(ctx, `SELECT due_at FROM schedules WHERE name = $1`, name).Scan(&due)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		due = 0
	case err != nil:
		return false, fmt.Errorf("schedule %s: %w", name, err)
	case due > now.UnixMicro() && due <= now.Add(every).UnixMicro():
		return false, nil // the usual case writes nothing
	}
	var took string
	err = d.db.QueryRowContext(ctx, `INSERT INTO schedules (name, due_at) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET due_at = excluded.due_at WHERE schedules.due_at = $3 RETURNING name`,
		name, now.Add(every).UnixMicro(), due).Scan(&took)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("schedule %s: %w", name, err)
	}
	// Where the time between was shortened, it is only not due as late as it was.
	return due <= now.UnixMicro(), nil
}

// ScheduleStarted writes down that something that is scheduled begins, and at which
// instance.
func (d *DB) ScheduleStarted(ctx context.Context, name, instance string) error {
	now := d.now().UnixMicro()
	_, err := d.db.ExecContext(ctx, `INSERT INTO schedules (name, due_at, started_at, instance) VALUES ($1, $2, $2, $3)
		ON CONFLICT (name) DO UPDATE SET started_at = excluded.started_at, instance = excluded.instance`, name, now, instance)
	if err != nil {
		return fmt.Errorf("schedule %s: %w", name, err)
	}
	return nil
}

// ScheduleEnded writes down how it went; failure is nil where it went well.
func (d *DB) ScheduleEnded(ctx context.Context, name string, failure error) error {
	reason := ""
	if failure != nil {
		reason = failure.Error()
	}
	_, err := d.db.ExecContext(ctx, `UPDATE schedules SET ended_at = $1, error = $2 WHERE name = $3`, d.now().UnixMicro(), reason, name)
	if err != nil {
		return fmt.Errorf("schedule %s: %w", name, err)
	}
	return nil
}

// Schedules are all, by name. (A row that is never due is a lock: lockCounts.)
func (d *DB) Schedules(ctx context.Context) ([]Schedule, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT name, due_at, started_at, ended_at, instance, error, detail FROM schedules WHERE name <> 'counts' ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("schedules: %w", err)
	}
	defer rows.Close()
	var out []Schedule
	for rows.Next() {
		var s Schedule
		var due, started, ended sql.NullInt64
		if err := rows.Scan(&s.Name, &due, &started, &ended, &s.Instance, &s.Error, &s.Detail); err != nil {
			return nil, fmt.Errorf("schedules: %w", err)
		}
		s.DueAt, s.StartedAt, s.EndedAt = fromMicros(due), fromMicros(started), fromMicros(ended)
		out = append(out, s)
	}
	return out, rows.Err()
}
