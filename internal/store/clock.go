package store

import (
	"context"
	"sync/atomic"
	"time"
)

// A clock is that of this machine, put right by as much as PostgreSQL's differs: what
// instances tell each other by times, such as when a claim runs out, doesn't depend on
// how well their clocks agree.
type clock struct {
	// local is time.Now when nil.
	local func() time.Time
	ahead atomic.Int64 // nanoseconds by which the other clock is ahead
}

func (c *clock) read() time.Time {
	if c.local != nil {
		return c.local()
	}
	return time.Now()
}

func (c *clock) now() time.Time { return c.read().Add(time.Duration(c.ahead.Load())) }

// set puts the clock right by another time, which was told between two readings. What
// those leave open is not told apart from a difference.
func (c *clock) set(other, before, after time.Time) {
	doubt := max(after.Sub(before), 200*time.Millisecond)
	ahead := other.Sub(before.Add(after.Sub(before) / 2))
	if off := ahead - time.Duration(c.ahead.Load()); off.Abs() > doubt {
		c.ahead.Store(int64(ahead))
	}
}

// setClock looks at PostgreSQL's clock.
func (d *DB) setClock(ctx context.Context) error {
	if d.pool == nil {
		return nil
	}
	before := d.clock.read()
	var micros int64
	if err := d.db.QueryRowContext(ctx, `SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)`).Scan(&micros); err != nil {
		return err
	}
	d.clock.set(time.UnixMicro(micros), before, d.clock.read())
	return nil
}

// Now is the time that rows are compared with, the same for all instances.
func (d *DB) Now() time.Time { return d.now() }
