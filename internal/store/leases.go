package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// A Lease is the right to work on something until it expires. Its fence is higher
// than that of every holder before.
type Lease struct {
	Name, Holder string
	Fence        int64
}

// Acquire takes a lease for a time, if nobody has it, or its holder let it run out.
// A holder that has it already has it anew, with a higher fence. ok is false when
// another has it.
func (d *DB) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (l Lease, ok bool, err error) {
	now := d.now()
	l = Lease{Name: name, Holder: holder}
	err = d.db.QueryRowContext(ctx, `INSERT INTO leases (name, holder, fence, expires_at) VALUES ($1, $2, 1, $3)
		ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, fence = leases.fence + 1, expires_at = excluded.expires_at
		WHERE leases.expires_at <= $4 OR leases.holder = excluded.holder RETURNING fence`,
		name, holder, now.Add(ttl).UnixMicro(), now.UnixMicro()).Scan(&l.Fence)
	if errors.Is(err, sql.ErrNoRows) {
		return Lease{}, false, nil
	}
	if err != nil {
		return Lease{}, false, fmt.Errorf("lease %s: %w", name, err)
	}
	return l, true, nil
}

// Renew prolongs a lease; ErrConflict when another has taken it since.
func (d *DB) Renew(ctx context.Context, l Lease, ttl time.Duration) error {
	err := changed(d.db.ExecContext(ctx, `UPDATE leases SET expires_at = $1 WHERE name = $2 AND holder = $3 AND fence = $4`,
		d.now().Add(ttl).UnixMicro(), l.Name, l.Holder, l.Fence))
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%w: another has taken it", ErrConflict)
	}
	if err != nil {
		return fmt.Errorf("lease %s: %w", l.Name, err)
	}
	return nil
}

// Release gives a lease back; one that another has taken since stays the other's.
func (d *DB) Release(ctx context.Context, l Lease) error {
	_, err := d.db.ExecContext(ctx, `UPDATE leases SET expires_at = 0 WHERE name = $1 AND holder = $2 AND fence = $3`, l.Name, l.Holder, l.Fence)
	if err != nil {
		return fmt.Errorf("lease %s: %w", l.Name, err)
	}
	return nil
}
