package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// SilentAfter is when an instance that is not heard of counts as gone, and what it did is
// taken over by the others: claims and leases run out after as long.
const SilentAfter = 8 * time.Second

// An Instance is one running `strata serve`.
type Instance struct {
	ID, Host, Version string
	StartedAt, BeatAt time.Time
	// Load is what it does, as JSON.
	Load string
}

// Beat tells that an instance is alive, and what it does. It looks at the common clock,
// too, and at the tables: ErrNewerTables when a newer version has taken from them what
// this one uses.
func (d *DB) Beat(ctx context.Context, i *Instance) error {
	if err := d.setClock(ctx); err != nil {
		return err
	}
	if err := d.usable(ctx); err != nil {
		return err
	}
	_, err := d.db.ExecContext(ctx, `INSERT INTO instances (id, host, version, schema_version, started_at, beat_at, load) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at, load = excluded.load`,
		i.ID, i.Host, i.Version, d.schema, i.StartedAt.UnixMicro(), d.now().UnixMicro(), i.Load)
	return err
}

// DeleteInstance forgets an instance that stopped.
func (d *DB) DeleteInstance(ctx context.Context, id string) error {
	_, err := d.db.ExecContext(ctx, `DELETE FROM instances WHERE id = $1`, id)
	return err
}

// DeleteSilentInstances forgets those not heard of for a time.
func (d *DB) DeleteSilentInstances(ctx context.Context, silence time.Duration) error {
	_, err := d.db.ExecContext(ctx, `DELETE FROM instances WHERE beat_at < $1`, d.now().Add(-silence).UnixMicro())
	return err
}

// SilentInstances are the ids of those not heard of for a time.
func (d *DB) SilentInstances(ctx context.Context, silence time.Duration) ([]string, error) {
	ids, err := queryStrings(ctx, d.db.QueryContext, `SELECT id FROM instances WHERE beat_at < $1 ORDER BY id`, d.now().Add(-silence).UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("instances: %w", err)
	}
	return ids, nil
}

// Instances are all that are known, by the time of their start.
func (d *DB) Instances(ctx context.Context) ([]Instance, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT id, host, version, started_at, beat_at, load FROM instances ORDER BY started_at, id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Instance
	for rows.Next() {
		var i Instance
		var started, beat sql.NullInt64
		if err := rows.Scan(&i.ID, &i.Host, &i.Version, &started, &beat, &i.Load); err != nil {
			return nil, err
		}
		i.StartedAt, i.BeatAt = fromMicros(started), fromMicros(beat)
		out = append(out, i)
	}
	return out, rows.Err()
}
