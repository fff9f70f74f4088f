package web

import (
	"testing"
	"time"

	"strata/internal/store"
)

func TestChart(t *testing.T) {
	day := func(n, critical, low int) store.FindingDay {
		return store.FindingDay{Day: time.Date(2026, 3, n, 0, 0, 0, 0, time.UTC), Counts: store.Counts{Critical: critical, Low: low}}
	}
	if c := chartOf([]store.FindingDay{day(1, 0, 0), day(2, 1, 1)}); c != nil {
		t.Error("a chart of a single day")
	}
	c := chartOf([]store.FindingDay{day(1, 0, 0), day(2, 1, 1), day(3, 2, 2), day(4, 0, 0)})
	if c == nil || c.Most != 4 || c.First.Day.Day() != 2 || len(c.Areas) != 5 {
		t.Fatalf("%+v", c)
	}
	if got, want := c.Areas[0].Points, "0,90 300,60 600,120 600,120 300,120 0,120"; got != want {
		t.Errorf("critical: %s, want %s", got, want)
	}
	if got, want := c.Areas[3].Points, "0,60 300,0 600,120 600,120 300,60 0,90"; got != want {
		t.Errorf("low: %s, want %s", got, want)
	}
}
