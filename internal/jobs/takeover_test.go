package jobs

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"strata/internal/store"
)

// What an instance was doing that is heard of no more is done by another, unless that one
// was away itself until now.
func TestTakeOver(t *testing.T) {
	location := postgres(t)
	stuck, goOn := make(chan string, 5), make(chan struct{})
	defer close(goOn)
	dead := openQueue(t, Options{DB: openDB(t, location), Instance: "dead", Works: []Work{{Kind: Scan, Together: true, MaxAttempts: 2, Do: func(_ context.Context, key string) error {
		stuck <- key
		<-goOn
		return nil
	}}}})
	if err := dead.o.DB.Beat(t.Context(), &store.Instance{ID: "dead"}); err != nil {
		t.Fatal(err)
	}
	start(t, dead)
	enqueue(t, dead, Job{Scan, "1", ForCI})
	<-stuck
	db, err := store.OpenDB(t.Context(), location, store.DBOptions{Key: bytes.Repeat([]byte{7}, store.KeySize), Now: func() time.Time { return time.Now().Add(time.Minute) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	done := make(chan string, 5)
	alive := openQueue(t, Options{DB: db, Instance: "alive", Scans: 1, Works: []Work{{Kind: Scan, Together: true, Do: func(_ context.Context, key string) error {
		done <- key
		return nil
	}}}})
	running := func(want int) {
		t.Helper()
		if jobs, err := alive.List(t.Context(), Filter{States: []State{Running}}); err != nil || len(jobs) != want {
			t.Fatalf("%+v, %v; want %d that run", jobs, err, want)
		}
	}
	w := &watch{q: alive}
	if err := w.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	running(1) // it was away itself
	if err := dead.o.DB.Beat(t.Context(), &store.Instance{ID: "alive"}); err != nil {
		t.Fatal(err)
	}
	w.since = time.Now().Add(-store.SilentAfter)
	if err := w.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	running(1) // it is silent itself, as where nothing can be written
	if err := alive.Enqueue(t.Context(), Job{Scan, "2", ForCI}); err != nil {
		t.Fatal(err)
	}
	if err := db.Beat(t.Context(), &store.Instance{ID: "alive"}); err != nil {
		t.Fatal(err)
	}
	w.since = time.Now().Add(-store.SilentAfter)
	if err := w.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	running(0)
	start(t, alive)
	if first, second := <-done, <-done; first != "1" || second != "2" {
		t.Errorf("%s before %s: what is taken over has lost its place", first, second)
	}
	until(t, "done", func() bool {
		jobs, err := alive.List(t.Context(), Filter{States: []State{Done}})
		i := slices.IndexFunc(jobs, func(j Listed) bool { return j.Key == "1" })
		return err == nil && i >= 0 && jobs[i].Instance == "alive" && jobs[i].Attempt == 2
	})
}

// What is noted as running and isn't, as the note of its end was lost or the process was
// killed, is done again: at once on SQLite, where there is one instance.
func TestLeftRunning(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		db := openDB(t, location)
		done := make(chan string, 5)
		o := Options{DB: db, Instance: "me", Works: []Work{{Kind: Scan, Together: true, Do: func(_ context.Context, key string) error {
			done <- key
			return nil
		}}}}
		q := openQueue(t, o)
		enqueue(t, q, Job{Scan, "1", ForCI})
		by := `ARRAY['me']`
		if db.Pool() == nil {
			by = `jsonb('["another"]')`
		}
		if n, err := q.client.exec(t.Context(), `UPDATE river_job SET state = 'running', attempt = 1, attempted_at = CURRENT_TIMESTAMP, attempted_by = `+by); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		if db.Pool() != nil {
			w := &watch{q: q, since: time.Now().Add(-store.SilentAfter), last: time.Now(), left: map[int64]time.Time{}}
			for range 2 {
				if err := w.look(t.Context()); err != nil {
					t.Fatal(err)
				}
				if len(w.left) > 1 {
					t.Error(w.left)
				}
				for id := range w.left { // as if it had been seen a minute before
					w.left[id] = time.Now().Add(-time.Minute)
				}
			}
		}
		start(t, q)
		select {
		case key := <-done:
			if key != "1" {
				t.Error(key)
			}
		case <-time.After(20 * time.Second):
			t.Error("it is not done again")
		}
	})
}
