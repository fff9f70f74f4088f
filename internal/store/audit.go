package store

import (
	"context"
	"database/sql"
	"math"
	"time"
)

// An AuditEntry is one change that someone made.
type AuditEntry struct {
	ID int64     `json:"id"`
	At time.Time `json:"at"`
	// Actor is who: a user's name and by what, "ann (session)"; "strata" for the
	// server itself.
	Actor string `json:"actor"`
	// Action is what: "create-registry", the id of the operation.
	Action string `json:"action"`
	// Target is what was changed, by name.
	Target string `json:"target"`
	// Detail is what else is to be known, never a secret.
	Detail string `json:"detail"`
}

// Audit writes to the audit log.
func (d *DB) Audit(ctx context.Context, actor, action, target, detail string) error {
	_, err := d.db.ExecContext(ctx, `INSERT INTO audit (at, actor, action, target, detail) VALUES ($1, $2, $3, $4, $5)`,
		d.now().UnixMicro(), actor, action, target, detail)
	return err
}

// AuditLog reads it from the newest, of those with ids below before (0: all), at
// most limit.
func (d *DB) AuditLog(ctx context.Context, before int64, limit int) ([]AuditEntry, error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	rows, err := d.db.QueryContext(ctx, `SELECT id, at, actor, action, target, detail FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2`, before, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var entries []AuditEntry
	for rows.Next() {
		var e AuditEntry
		var at sql.NullInt64
		if err := rows.Scan(&e.ID, &at, &e.Actor, &e.Action, &e.Target, &e.Detail); err != nil {
			return nil, err
		}
		e.At = fromMicros(at)
		entries = append(entries, e)
	}
	return entries, rows.Err()
}
