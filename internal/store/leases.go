package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"strata/internal/image"
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

// layerPoll is how often it is looked whether another's claim of a layer has ended.
const layerPoll = 50 * time.Millisecond

// ClaimLayer waits until no one else analyses the layer, and lets no one else until
// release: of several that have the same layer to analyse, one does, and the others
// find it in the database (scan.Scanner.Claim). The claim of an instance that died
// runs out after SilentAfter.
func (d *DB) ClaimLayer(ctx context.Context, id image.DiffID) (release func(), err error) {
	name, holder := "layer/"+string(id), rand.Text()
	for wait := layerPoll; ; wait = min(wait*2, 10*layerPoll) {
		l, ok, err := d.Acquire(ctx, name, holder, SilentAfter)
		if err != nil {
			return nil, err
		}
		if ok {
			return d.keepLease(ctx, l), nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("layer %s, which another analyses: %w", id, context.Cause(ctx))
		case <-time.After(wait):
		}
	}
}

// keepLease renews a lease until release. When it can't be renewed, another may take
// it and do the same work again, which is a loss of time only.
func (d *DB) keepLease(ctx context.Context, l Lease) (release func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(SilentAfter / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if errors.Is(d.Renew(ctx, l, SilentAfter), ErrConflict) {
					return
				}
			}
		}
	}()
	return func() {
		cancel()
		<-done
		// It is layers by the thousand: what is done is no row any more.
		_, _ = d.db.ExecContext(context.WithoutCancel(ctx), `DELETE FROM leases WHERE name = $1 AND holder = $2 AND fence = $3`, l.Name, l.Holder, l.Fence)
	}
}
