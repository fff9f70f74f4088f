package web

import (
	"errors"
	"testing"
	"time"
)

func TestDear(t *testing.T) {
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := func() time.Time { return clock }
	var d dear[int]
	n, takes := 0, time.Second
	get := func(key string) int {
		t.Helper()
		v, err := d.get(key, now, func() (int, error) {
			n++
			clock = clock.Add(takes)
			return n, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if a, b := get("a"), get("a"); a != 1 || b != 1 {
		t.Errorf("made twice: %d, %d", a, b)
	}
	if other := get("b"); other != 2 {
		t.Errorf("another's: %d", other)
	}
	clock = clock.Add(share * time.Second)
	if a := get("a"); a != 3 {
		t.Errorf("kept for too long: %d", a)
	}
	if len(d.held) != 1 {
		t.Errorf("what is too old is still there: %v", d.held)
	}
	takes = time.Hour
	get("long")
	clock = clock.Add(keepAtMost)
	if again := get("long"); again != 5 {
		t.Errorf("kept for longer than at most: %d", again)
	}
	takes = 0
	if a, b := get("quick"), get("quick"); a == b {
		t.Error("what takes no time is kept")
	}
	if _, err := d.get("bad", now, func() (int, error) { clock = clock.Add(time.Second); return 0, errors.New("no") }); err == nil {
		t.Error("no error")
	}
	if v := get("bad"); v != n {
		t.Error("an error is kept")
	}
}
