package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/internal/jobs"
	"strata/internal/store"
)

// running starts Run and waits until it listens. stop ends it and gives its error.
func running(t *testing.T, o RunOptions) (url string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	started, ended := make(chan string, 1), make(chan error, 1)
	o.Listen, o.Host = "127.0.0.1:0", "test"
	o.Started = func(url, _ string) { started <- url }
	go func() { ended <- Run(ctx, o) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = stop() })
	select {
	case url = <-started:
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
	return url, stop
}

// A stop waits for the job that works, while the instance counts as alive.
func TestRunStopsInOrder(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		working, release := make(chan struct{}), make(chan struct{})
		o := RunOptions{Options: Options{DB: db}, Workers: 1, ShutdownTimeout: 20 * time.Second}
		o.Works = func(Wiring) ([]jobs.Work, error) {
			return []jobs.Work{{Kind: jobs.Match, Every: time.Hour, Do: func(context.Context, string) error {
				close(working)
				<-release
				return nil
			}}}, nil
		}
		url, stop := running(t, o)
		if got := fetch(t, url+"/readyz"); got != "ok\n" {
			t.Error(got)
		}
		<-working
		ended := make(chan error, 1)
		go func() { ended <- stop() }()
		select {
		case err := <-ended:
			t.Fatalf("it ended before its job: %v", err)
		case <-time.After(300 * time.Millisecond):
		}
		if i, err := db.Instances(t.Context()); err != nil || len(i) != 1 || !strings.Contains(i[0].Load, "running_jobs") {
			t.Errorf("%v, %v", i, err)
		}
		close(release)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if i, err := db.Instances(t.Context()); err != nil || len(i) != 0 {
			t.Errorf("%v, %v", i, err)
		}
	})
}

// A job that doesn't end in time is broken off, and done at the next start.
func TestRunHandsJobsBack(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		began := make(chan string, 10)
		o := RunOptions{Options: Options{DB: db}, Workers: 1, ShutdownTimeout: 200 * time.Millisecond}
		var enqueue func(context.Context, ...jobs.Job) error
		slow := true
		o.Works = func(w Wiring) ([]jobs.Work, error) {
			enqueue = w.Enqueue
			slow := slow
			return []jobs.Work{{Kind: jobs.Scan, Do: func(ctx context.Context, key string) error {
				began <- key
				if !slow {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			}}}, nil
		}
		_, stop := running(t, o)
		if err := enqueue(t.Context(), jobs.Job{Kind: jobs.Scan, Key: "7"}); err != nil {
			t.Fatal(err)
		}
		if key := <-began; key != "7" {
			t.Error(key)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		slow = false
		_, stop = running(t, o)
		select {
		case key := <-began:
			if key != "7" {
				t.Error(key)
			}
		case <-time.After(30 * time.Second):
			t.Error("the job is lost")
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// An instance ends when a newer version has taken from the tables what it uses: it may
// have been paused while others made sure that no such instance runs.
func TestRunEndsOnNewerTables(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		if db.Pool() == nil {
			return // one instance, which no other can overtake
		}
		started, ended := make(chan struct{}), make(chan error, 1)
		o := RunOptions{Options: Options{DB: db}, Listen: "127.0.0.1:0", Started: func(string, string) { close(started) }}
		go func() { ended <- Run(t.Context(), o) }()
		select {
		case <-started:
		case err := <-ended:
			t.Fatal(err)
		}
		if _, err := db.Pool().Exec(t.Context(), `UPDATE compatibility SET oldest = 1000`); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if !errors.Is(err, store.ErrNewerTables) {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("it goes on")
		}
		if i, err := db.Instances(t.Context()); err != nil || len(i) != 0 {
			t.Errorf("instances %v, %v", i, err)
		}
	})
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTraces(t *testing.T) {
	var mu sync.Mutex
	var got []byte
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/v1/traces" {
			got = append(got, b...)
		}
	}))
	defer collector.Close()
	failed := make(chan struct{})
	o := RunOptions{Options: Options{DB: openTestDB(t, t.TempDir()+"/strata.db")}, Workers: 1, OTLPEndpoint: collector.URL}
	o.Works = func(Wiring) ([]jobs.Work, error) {
		return []jobs.Work{{Kind: jobs.Match, Every: time.Hour, MaxAttempts: 1, Do: func(context.Context, string) error {
			defer close(failed)
			return errors.New("no luck")
		}}}, nil
	}
	url, stop := running(t, o)
	r, err := http.NewRequest("GET", url+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	const trace = "0af7651916cd43dd8448eb211c80319c"
	r.Header.Set("Traceparent", "00-"+trace+"-b7ad6b7169203331-01")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	<-failed
	if err := stop(); err != nil { // sends what is left
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"GET /healthz", "job match", "no luck", "service.name", "\x0a\xf7\x65\x19\x16\xcd\x43\xdd"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("not sent: %q", want)
		}
	}
}
