package store

import (
	"context"
	"sync/atomic"
	"time"
)

// A clock goes on from PostgreSQL's time by the monotonic clock of this machine: what
// instances tell each other by times, such as when a claim runs out, doesn't depend on how
// well their clocks agree, or on one being put right meanwhile.
type clock struct {
	// local is time.Now when nil.
	local func() time.Time
	base  atomic.Pointer[reading]
}

// A reading is what two clocks told at once.
type reading struct{ local, other time.Time }

// at is what the other clock tells when the local one tells a time.
func (r *reading) at(local time.Time) time.Time { return r.other.Add(local.Sub(r.local)) }

func (c *clock) read() time.Time {
	if c.local != nil {
		return c.local()
	}
	return time.Now()
}

// now is the local time until there was a reading.
func (c *clock) now() time.Time {
	if r := c.base.Load(); r != nil {
		return r.at(c.read())
	}
	return c.read()
}

// set puts the clock right by another time, which was told between two readings. What
// those leave open is not told apart from a difference.
func (c *clock) set(other, before, after time.Time) {
	const least = 20 * time.Millisecond
	doubt := max(after.Sub(before), least)
	between := before.Add(after.Sub(before) / 2)
	expected := between.Round(0)
	r := c.base.Load()
	if r != nil {
		expected = r.at(between)
	}
	switch off := other.Sub(expected); {
	case off.Abs() > doubt:
		c.base.Store(&reading{between, other})
	case r == nil:
		c.base.Store(&reading{between, expected})
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

// Now is the time that rows are compared with, the same for all instances. How long
// something took is the difference of two of these: time.Since goes by this machine's.
func (d *DB) Now() time.Time { return d.now() }
