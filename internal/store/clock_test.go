package store

import (
	"testing"
	"time"
)

// A clock goes by the other's time, whatever the local one tells and is put to, and isn't
// put right by less than the readings leave open.
func TestClock(t *testing.T) {
	const hour = time.Hour
	start := time.Now()
	wall := func(tm time.Time) time.Time { return tm.Round(0) }
	var c clock
	local := start
	c.local = func() time.Time { return local }
	want := func(what string, want time.Time) {
		t.Helper()
		if off := c.now().Sub(wall(want)); off.Abs() > time.Millisecond {
			t.Errorf("%s: it is %v ahead", what, off)
		}
	}
	want("before a reading", start)
	c.set(wall(start.Add(hour)), start, start)
	want("an hour behind", start.Add(hour))
	local = start.Add(time.Minute)
	want("a minute later", start.Add(hour+time.Minute))
	c.set(wall(start.Add(hour+62*time.Second)), local, local.Add(3*time.Second))
	want("in doubt", start.Add(hour+time.Minute))
	c.set(wall(start.Add(hour+62*time.Second)), local, local)
	want("without doubt", start.Add(hour+62*time.Second))

	var near clock
	near.local = c.local
	near.set(wall(local.Add(10*time.Millisecond)), local, local)
	if off := near.now().Sub(wall(local)); off != 0 {
		t.Errorf("put right by %v, which the readings leave open", off)
	}
}
