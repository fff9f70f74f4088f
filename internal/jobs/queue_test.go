package jobs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strata/internal/imagetest"
	"strata/internal/store"
)

// onEngines runs a test on both engines, each with an empty database.
func onEngines(t *testing.T, test func(t *testing.T, location string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, filepath.Join(t.TempDir(), "strata.db")) })
	t.Run("postgres", func(t *testing.T) { test(t, postgres(t)) })
}

func postgres(t *testing.T) string {
	t.Helper()
	location, err := imagetest.Postgres(t)
	if err != nil {
		if os.Getenv("STRATA_TEST_REQUIRE") == "all" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return location
}

func openDB(t *testing.T, location string) *store.DB {
	t.Helper()
	db, err := store.OpenDB(t.Context(), location, store.DBOptions{Key: bytes.Repeat([]byte{7}, store.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// openQueue makes a queue that stops with the test.
func openQueue(t *testing.T, o Options) *Queue {
	t.Helper()
	q, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := q.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return q
}

func start(t *testing.T, q *Queue) {
	t.Helper()
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func enqueue(t *testing.T, q *Queue, jobs ...Job) {
	t.Helper()
	if err := q.Enqueue(t.Context(), jobs...); err != nil {
		t.Fatal(err)
	}
}

// until waits for something to become true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never:", what)
		}
	}
}

// The queue is beside the database, whatever that is called, and for nobody else.
func TestQueueFile(t *testing.T) {
	location := filepath.Join(t.TempDir(), "a#1 %41?x", "strata.db")
	openQueue(t, Options{DB: openDB(t, location)})
	for _, name := range []string{location, location + "-jobs"} {
		if f, err := os.Stat(name); err != nil || f.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
}

func TestQueueStartsSoon(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		done := make(chan string, 10)
		q := openQueue(t, Options{DB: openDB(t, location), Works: []Work{{Kind: Scan, Do: func(_ context.Context, key string) error {
			done <- key
			return nil
		}}}})
		start(t, q)
		var sum time.Duration
		const n = 5
		for i := range n {
			time.Sleep(30 * time.Millisecond)
			began := time.Now()
			enqueue(t, q, Job{Scan, strconv.Itoa(i), ForPush})
			select {
			case key := <-done:
				if key != strconv.Itoa(i) {
					t.Errorf("key %q", key)
				}
			case <-time.After(2 * time.Minute):
				t.Fatal("not started")
			}
			sum += time.Since(began)
		}
		t.Log("starts after", sum/n)
	})
}

// From when a job can be done goes by the time that all instances have in common: this
// machine's is an hour ahead of it.
func TestQueueGoesByTheCommonTime(t *testing.T) {
	behind := func() time.Time { return time.Now().Add(-time.Hour) }
	db, err := store.OpenDB(t.Context(), postgres(t), store.DBOptions{Now: behind})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	done := make(chan struct{})
	q := openQueue(t, Options{DB: db, Works: []Work{{Kind: Scan, Do: func(context.Context, string) error { close(done); return nil }}}})
	enqueue(t, q, Job{Scan, "1", ForPush})
	waiting, err := q.List(t.Context(), Filter{Limit: 2})
	if err != nil || len(waiting) != 1 {
		t.Fatal(waiting, err)
	}
	if off := waiting[0].DueAt.Sub(behind()); off.Abs() > time.Minute {
		t.Errorf("due %v after what time it is", off)
	}
	start(t, q)
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatal("not done")
	}
}

func TestQueueOnceWhileWaiting(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		var runs, atOnce, most atomic.Int32
		working, goOn := make(chan struct{}, 10), make(chan struct{})
		q := openQueue(t, Options{DB: openDB(t, location), Works: []Work{{Kind: Match, Do: func(context.Context, string) error {
			most.Store(max(most.Load(), atOnce.Add(1)))
			defer atOnce.Add(-1)
			runs.Add(1)
			working <- struct{}{}
			<-goOn
			return nil
		}}}})
		for range 3 {
			enqueue(t, q, Job{Match, "", ForNews})
		}
		start(t, q)
		<-working
		// Told of while it works: it has to work again, but not as often as it was told.
		for range 20 {
			enqueue(t, q, Job{Match, "", ForNews})
		}
		time.Sleep(200 * time.Millisecond)
		close(goOn)
		until(t, "done", func() bool {
			left, err := q.List(t.Context(), Filter{States: []State{Waiting, Running, Retrying}})
			return err == nil && len(left) == 0
		})
		if runs.Load() < 2 || runs.Load() > slots || most.Load() != 1 {
			t.Errorf("%d runs, %d at once", runs.Load(), most.Load())
		}
	})
}

func TestQueuePriority(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		var mu sync.Mutex
		var order []string
		goOn := make(chan struct{})
		q := openQueue(t, Options{DB: openDB(t, location), Scans: 1, Works: []Work{{Kind: Scan, Together: true, Do: func(_ context.Context, key string) error {
			mu.Lock()
			order = append(order, key)
			mu.Unlock()
			if key != "ci" && key != "299" {
				<-goOn
			}
			return nil
		}}}})
		crawled := make([]Job, 300)
		for i := range crawled {
			crawled[i] = Job{Scan, strconv.Itoa(i), ForCrawling}
		}
		enqueue(t, q, crawled...)
		start(t, q)
		until(t, "the crawl's scan", func() bool { mu.Lock(); defer mu.Unlock(); return len(order) == 1 })
		enqueue(t, q, Job{Scan, "ci", ForCI})
		until(t, "the scan for CI", func() bool { mu.Lock(); defer mu.Unlock(); return len(order) == 2 && order[1] == "ci" })
		// One of those that wait is asked for by CI.
		enqueue(t, q, Job{Scan, "299", ForCI})
		until(t, "the same, more urgent", func() bool { mu.Lock(); defer mu.Unlock(); return len(order) == 3 && order[2] == "299" })
		close(goOn)
		until(t, "all", func() bool { mu.Lock(); defer mu.Unlock(); return len(order) == 301 })
	})
}

// What becomes urgent while it waits is not behind what came later.
func TestQueueHastenedKeepsItsPlace(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		done := make(chan string, 5)
		q := openQueue(t, Options{DB: openDB(t, location), Scans: 1, Works: []Work{{Kind: Scan, Together: true, Do: func(_ context.Context, key string) error {
			done <- key
			return nil
		}}}})
		enqueue(t, q, Job{Scan, "early", ForCrawling})
		enqueue(t, q, Job{Scan, "late", ForPush})
		enqueue(t, q, Job{Scan, "early", ForPush})
		jobs, err := q.List(t.Context(), Filter{})
		if err != nil || len(jobs) != 2 || jobs[0].Priority != ForPush || jobs[1].Priority != ForPush {
			t.Fatalf("%+v, %v", jobs, err)
		}
		start(t, q)
		if first, second := <-done, <-done; first != "early" || second != "late" {
			t.Errorf("%s before %s", first, second)
		}
	})
}

func TestQueueRetriesAndParks(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		var runs atomic.Int32
		var mended atomic.Bool
		q := openQueue(t, Options{DB: openDB(t, location), Backoff: func(int) time.Duration { return 10 * time.Millisecond }, Works: []Work{
			{Kind: Scan, MaxAttempts: 3, Do: func(context.Context, string) error {
				runs.Add(1)
				if mended.Load() {
					return nil
				}
				return errors.New("the registry is down")
			}},
			{Kind: Crawl, MaxAttempts: 3, Do: func(context.Context, string) error { return &ParkedError{errors.New("no such registry")} }},
		}})
		start(t, q)
		enqueue(t, q, Job{Scan, "1", ForPush}, Job{Crawl, "2", ForCrawling})
		var parked []Listed
		until(t, "parked", func() bool {
			var err error
			parked, err = q.List(t.Context(), Filter{Kinds: []Kind{Scan}, States: []State{Parked}})
			return err == nil && len(parked) == 1
		})
		if p := parked[0]; runs.Load() != 3 || p.Reason != "the registry is down" || p.Key != "1" || p.Attempt != 3 {
			t.Errorf("%d runs: %+v", runs.Load(), p)
		}
		mended.Store(true)
		if _, err := q.Retry(t.Context(), parked[0].ID); err != nil {
			t.Fatal(err)
		}
		until(t, "done", func() bool { j, err := q.Get(t.Context(), parked[0].ID); return err == nil && j.State == Done })
		until(t, "given up at once", func() bool {
			l, err := q.List(t.Context(), Filter{Kinds: []Kind{Crawl}, States: []State{Parked}})
			return err == nil && len(l) == 1 && l[0].Attempt == 1 && strings.Contains(l[0].Reason, "no such registry")
		})
		if _, err := q.Get(t.Context(), 1<<40); !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
		}
	})
}

// TestQueueTwoInstances cancels on one instance what another works on, and has what one
// that stops could not end done by the other.
func TestQueueTwoInstances(t *testing.T) {
	location := postgres(t)
	type instance struct {
		*Queue
		running chan string
		ended   chan error
	}
	goOn := make(chan struct{})
	open := func() *instance {
		in := &instance{running: make(chan string, 10), ended: make(chan error, 10)}
		in.Queue = openQueue(t, Options{DB: openDB(t, location), Works: []Work{{Kind: Scan, Do: func(ctx context.Context, key string) error {
			in.running <- key
			select {
			case <-goOn:
				return nil
			case <-ctx.Done():
				in.ended <- context.Cause(ctx)
				return ctx.Err()
			}
		}}}})
		return in
	}
	a, b := open(), open()
	start(t, a.Queue)
	enqueue(t, b.Queue, Job{Scan, "1", ForCI})
	<-a.running
	running, err := b.List(t.Context(), Filter{States: []State{Running}})
	if err != nil || len(running) != 1 {
		t.Fatal(running, err)
	}
	if _, err := b.Cancel(t.Context(), running[0].ID); err != nil {
		t.Fatal(err)
	}
	if cause := <-a.ended; cause == nil || errors.Is(cause, context.DeadlineExceeded) {
		t.Error(cause)
	}
	until(t, "cancelled", func() bool {
		j, err := a.Get(t.Context(), running[0].ID)
		return err == nil && j.State == Cancelled
	})
	enqueue(t, b.Queue, Job{Scan, "2", ForCI})
	<-a.running
	stopping, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := a.Stop(stopping); err != nil {
		t.Error(err)
	}
	start(t, b.Queue)
	if key := <-b.running; key != "2" {
		t.Error(key)
	}
	close(goOn)
	until(t, "done", func() bool {
		done, err := b.List(t.Context(), Filter{States: []State{Done}})
		return err == nil && len(done) == 1 && done[0].Attempt == 1
	})
}

// TestQueueAgainWhileRetrying enqueues what waits to be tried again: it is not waited
// for, and nothing comes in its way when its time has come.
func TestQueueAgainWhileRetrying(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		var runs atomic.Int32
		goOn := make(chan struct{})
		q := openQueue(t, Options{DB: openDB(t, location), Backoff: func(int) time.Duration { return 700 * time.Millisecond }, Works: []Work{{Kind: Deliver, Do: func(context.Context, string) error {
			switch runs.Add(1) {
			case 1:
				return errors.New("not yet")
			case 2:
				<-goOn
			}
			return nil
		}}}})
		start(t, q)
		enqueue(t, q, Job{Kind: Deliver, Priority: ForNews})
		until(t, "failed", func() bool { return runs.Load() == 1 })
		until(t, "retrying", func() bool {
			l, err := q.List(t.Context(), Filter{States: []State{Retrying, Waiting}})
			return err == nil && len(l) == 1 && l[0].Reason == "not yet"
		})
		enqueue(t, q, Job{Kind: Deliver, Priority: ForNews})
		until(t, "again, at once", func() bool { return runs.Load() == 2 })
		time.Sleep(time.Second)
		close(goOn)
		until(t, "all done", func() bool {
			l, err := q.List(t.Context(), Filter{States: []State{Running, Retrying, Waiting}})
			return err == nil && len(l) == 0
		})
		before := runs.Load() // the job may have run by the time that it is enqueued
		enqueue(t, q, Job{Kind: Deliver, Priority: ForNews})
		until(t, "a new one", func() bool { return runs.Load() > before || runs.Load() > 3 })
	})
}

func TestQueueTimeout(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		q := openQueue(t, Options{DB: openDB(t, location), Works: []Work{{Kind: Scan, MaxAttempts: 1, Timeout: 50 * time.Millisecond, Do: func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}}}})
		start(t, q)
		enqueue(t, q, Job{Scan, "1", ForCI})
		until(t, "parked", func() bool {
			l, err := q.List(t.Context(), Filter{States: []State{Parked}})
			return err == nil && len(l) == 1 && l[0].Reason == context.DeadlineExceeded.Error()
		})
	})
}

// TestQueueWithoutWorks is an instance that only makes jobs.
func TestQueueWithoutWorks(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		q := openQueue(t, Options{DB: openDB(t, location)})
		enqueue(t, q, Job{Scan, "1", ForCI})
		if l, err := q.List(t.Context(), Filter{}); err != nil || len(l) != 1 || l[0].State != Waiting {
			t.Errorf("%v, %v", l, err)
		}
	})
}

// River's tables may be of a newer version than this one's: whether it can use them is said
// where the server's own are opened.
func TestNewerQueue(t *testing.T) {
	db := openDB(t, postgres(t))
	if err := Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Pool().Exec(t.Context(), `INSERT INTO river_migration (line, version) VALUES ('main', 999)`); err != nil {
		t.Fatal(err)
	}
	done := make(chan string, 1)
	q := openQueue(t, Options{DB: db, Works: []Work{{Kind: Scan, Do: func(_ context.Context, key string) error {
		done <- key
		return nil
	}}}})
	if err := errors.Join(q.Start(t.Context()), q.Enqueue(t.Context(), Job{Kind: Scan, Key: "1"})); err != nil {
		t.Fatal(err)
	}
	if key := <-done; key != "1" {
		t.Error(key)
	}
}
