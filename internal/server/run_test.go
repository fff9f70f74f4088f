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

// Jobs run with what goes around them; a stop waits for them, and readiness drops first.
func TestRunStopsInOrder(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		var works []jobs.Work
		stopping, release := make(chan struct{}), make(chan struct{})
		o := RunOptions{Options: Options{DB: db}, ShutdownTimeout: 10 * time.Second}
		o.Works = func(*http.Client) []jobs.Work {
			return []jobs.Work{{Kind: jobs.Match, Do: func(context.Context, string) error { return errors.New("x") }}}
		}
		o.Queue = func(_ context.Context, w []jobs.Work) (*RunningQueue, error) {
			works = w
			return &RunningQueue{
				Enqueue: func(context.Context, ...jobs.Job) error { return nil },
				Ready:   func(context.Context) error { return nil },
				Stop: func(ctx context.Context) error {
					close(stopping)
					select {
					case <-release:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				},
			}, nil
		}
		url, stop := running(t, o)
		if err := works[0].Do(t.Context(), ""); err == nil {
			t.Error("the job's error is lost")
		}
		if got := fetch(t, url+"/readyz"); got != "ok\n" {
			t.Error(got)
		}
		ended := make(chan error, 1)
		go func() { ended <- stop() }()
		<-stopping
		select {
		case err := <-ended:
			t.Fatalf("it ended before its jobs: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
		if i, err := db.Instances(t.Context()); err != nil || len(i) != 1 {
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

// Jobs that don't end in time are handed back.
func TestRunStopsInTime(t *testing.T) {
	o := RunOptions{Options: Options{DB: openTestDB(t, t.TempDir()+"/strata.db")}, ShutdownTimeout: 100 * time.Millisecond}
	o.Queue = func(context.Context, []jobs.Work) (*RunningQueue, error) {
		return &RunningQueue{Stop: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}, nil
	}
	_, stop := running(t, o)
	if err := stop(); err != nil {
		t.Error(err)
	}
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
	var works []jobs.Work
	o := RunOptions{Options: Options{DB: openTestDB(t, t.TempDir()+"/strata.db")}, OTLPEndpoint: collector.URL}
	o.Works = func(*http.Client) []jobs.Work {
		return []jobs.Work{{Kind: jobs.Match, Do: func(context.Context, string) error { return errors.New("no luck") }}}
	}
	o.Queue = func(_ context.Context, w []jobs.Work) (*RunningQueue, error) {
		works = w
		return &RunningQueue{Stop: func(context.Context) error { return nil }}, nil
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
	_ = works[0].Do(t.Context(), "")
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
