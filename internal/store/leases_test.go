package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestLeases(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		db.now = func() time.Time { return now }
		first, ok, err := db.Acquire(t.Context(), "x", "a", time.Minute)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		if _, ok, err := db.Acquire(t.Context(), "x", "b", time.Minute); ok || err != nil {
			t.Errorf("taken from its holder: %v, %v", ok, err)
		}
		now = now.Add(time.Minute)
		second, ok, err := db.Acquire(t.Context(), "x", "b", time.Minute)
		if !ok || err != nil || second.Fence <= first.Fence {
			t.Errorf("not taken from the dead: %+v, %v, %v", second, ok, err)
		}
		if err := db.Renew(t.Context(), first, time.Minute); !errors.Is(err, ErrConflict) {
			t.Errorf("back from the dead: %v", err)
		}
		if err := db.Release(t.Context(), first); err != nil {
			t.Error(err)
		}
		if err := db.Renew(t.Context(), second, time.Minute); err != nil {
			t.Errorf("another's release took it: %v", err)
		}
		if err := db.Release(t.Context(), second); err != nil {
			t.Error(err)
		}
		if _, ok, err := db.Acquire(t.Context(), "x", "c", time.Minute); !ok || err != nil {
			t.Errorf("released, and not to be had: %v, %v", ok, err)
		}
	})
}

func TestClaimLayer(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		var at, most atomic.Int32
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				release, err := db.ClaimLayer(t.Context(), diffID(1))
				if err != nil {
					t.Error(err)
					return
				}
				if n := at.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(5 * time.Millisecond)
				at.Add(-1)
				release()
			})
		}
		wg.Wait()
		if most.Load() != 1 {
			t.Errorf("%d at the same time", most.Load())
		}
		release, err := db.ClaimLayer(t.Context(), diffID(1))
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := db.ClaimLayer(ctx, diffID(1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting can't be ended: %v", err)
		}
	})
}

func TestServerLayers(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		l := newTestFleet(3, 1).stacks[0][0]
		for range 2 {
			if err := db.PutLayer(t.Context(), "set", l); err != nil {
				t.Fatal(err)
			}
		}
		got, err := db.Layer(t.Context(), l.DiffID, "set")
		if err != nil || len(got.Files) != len(l.Files) || len(got.Paths) != len(l.Paths) {
			t.Errorf("%+v, %v", got, err)
		}
		if n, err := db.LayerAnalyses(t.Context()); err != nil || n[l.DiffID] != 2 {
			t.Errorf("analyses %v, %v", n, err)
		}
	})
}
