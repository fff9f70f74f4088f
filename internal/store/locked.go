package store

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
)

// Locked does something while no other instance does anything under the same name.
// It is for what is short: on PostgreSQL it keeps a connection. On SQLite there is
// one instance, and nothing is locked.
func (d *DB) Locked(ctx context.Context, name string, do func(context.Context) error) error {
	if d.pool == nil {
		return do(ctx)
	}
	c, err := d.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	defer c.Release()
	h := fnv.New64a()
	_, _ = h.Write([]byte("strata " + name)) // it never fails
	key := int64(h.Sum64())
	// An advisory lock of the session: it goes with the connection, if nothing else.
	if _, err := c.Exec(ctx, `SELECT pg_advisory_lock($1)`, key); err != nil {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	err = do(ctx)
	_, unlock := c.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, key)
	return errors.Join(err, unlock)
}
