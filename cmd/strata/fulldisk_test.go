package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strata/internal/imagetest"
)

// A watchedPostgres is a server whose data are on a small disk, and that is started again
// whenever it has ended, as by an init system.
type watchedPostgres struct {
	t         *testing.T
	bin, data string
	log, port string
}

func startWatchedPostgres(t *testing.T, d *smallDisk) *watchedPostgres {
	t.Helper()
	p := &watchedPostgres{t: t, bin: postgresPrograms(t), port: freePort(t), data: filepath.Join(d.path, "data")}
	dir, err := os.MkdirTemp("", "strata-full-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ofPostgres(t, dir)
	ofPostgres(t, d.path)
	p.log = filepath.Join(dir, "log")
	// Small pieces of log: a new one is wanted soon.
	if err := p.run(t.Context(), "initdb", "-D", p.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "--wal-segsize=1"); err != nil {
		t.Fatal(err)
	}
	if err := p.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.run(t.Context(), "createdb", "-h", "127.0.0.1", "-p", p.port, "-U", "postgres", "strata"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for t.Context().Err() == nil {
			if p.run(t.Context(), "pg_ctl", "-D", p.data, "status") != nil && t.Context().Err() == nil {
				_ = p.start(t.Context())
			}
			time.Sleep(time.Second)
		}
	}()
	t.Cleanup(func() {
		<-ended
		_ = p.run(context.Background(), "pg_ctl", "-D", p.data, "-m", "immediate", "-w", "-s", "stop")
	})
	return p
}

func (p *watchedPostgres) start(ctx context.Context) error {
	options := fmt.Sprintf("-c port=%s -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c min_wal_size=2MB -c max_wal_size=8MB -c fsync=off -c log_min_messages=warning", p.port)
	return p.run(ctx, "pg_ctl", "-D", p.data, "-l", p.log, "-w", "-s", "-o", options, "start")
}

func (p *watchedPostgres) run(ctx context.Context, program string, args ...string) error {
	return runPostgres(ctx, p.bin, program, args...)
}

// fullImage is an image with many packages, so that it needs room.
func fullImage(t *testing.T, n int) *imagetest.Image {
	t.Helper()
	layer := imagetest.Layer{}
	for i := range 100 {
		name := fmt.Sprintf("full-%d-%d", n, i)
		layer.Entries = append(layer.Entries, imagetest.File("app/node_modules/"+name+"/package.json", fmt.Sprintf(`{"name": %q, "version": "1.0.0"}`, name)))
	}
	img, err := (&imagetest.Spec{Name: fmt.Sprintf("full/app%d:1", n), Layers: []imagetest.Layer{layer}}).Build()
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// The disk of the database is full for a while: the instance says so, answers what can be
// read, and goes on by itself when there is room. What was found meanwhile is scanned; no
// job failed for it, and none was given up.
func TestFullDisk(t *testing.T) {
	t.Parallel() // it waits, mostly
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		d := newSmallDisk(t, 40)
		testFullDisk(t, d, func() *servingProcess {
			return startServer(t, t.TempDir(), "--data-dir", filepath.Join(d.path, "strata"), "--sync-every", "0", "--crawl-every", "2s", "--workers", "2")
		}, nil)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		d := newSmallDisk(t, 80)
		p := startWatchedPostgres(t, d)
		testFullDisk(t, d, func() *servingProcess {
			return startMember(t, "postgres://postgres@127.0.0.1:"+p.port+"/strata?sslmode=disable", "--crawl-every", "2s")
		}, p)
	})
}

func testFullDisk(t *testing.T, d *smallDisk, start func() *servingProcess, p *watchedPostgres) {
	t.Helper()
	registry := &imagetest.Registry{}
	n := 0
	add := func() {
		registry.Add(fullImage(t, n))
		n++
	}
	add()
	server := httptest.NewServer(registry)
	t.Cleanup(server.Close)
	s := start()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(lastLines(s.log.String(), 60))
		}
	})
	token := s.setup(t)
	if status, body := s.do(t, token, "POST", "/api/v1/registries", map[string]any{"name": "r", "url": server.URL}); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	type manifest struct {
		Repository, State, Reason string
		Attempts                  int
	}
	manifests := func() (out []manifest) {
		var page struct{ Items []manifest }
		status, body := s.do(t, token, "GET", "/api/v1/manifests?limit=500", nil)
		if status == http.StatusOK {
			if err := json.Unmarshal(body, &page); err != nil {
				t.Fatal(err)
			}
		}
		return slices.DeleteFunc(page.Items, func(m manifest) bool { return !strings.HasPrefix(m.Repository, "r/") })
	}
	allScanned := func() bool {
		all := manifests()
		return len(all) == n && !slices.ContainsFunc(all, func(m manifest) bool { return m.State != "scanned" })
	}
	waitUntil(t, "the first image", 30*time.Second, allScanned)

	d.fill()
	const words = "disk of the database is full"
	waitUntil(t, "that it says so", time.Minute, func() bool {
		if n < 60 {
			add()
		}
		return strings.Contains(s.log.String(), words)
	})
	until := time.Now().Add(20 * time.Second) // several attempts, leases and beats
	read, failed := 0, 0
	for time.Now().Before(until) {
		if status, _ := s.do(t, "", "GET", "/healthz", nil); status != http.StatusOK {
			t.Errorf("/healthz: %d", status)
		}
		if len(manifests()) > 0 {
			read++
		} else {
			failed++
		}
		time.Sleep(200 * time.Millisecond)
	}
	if p == nil && failed > 0 { // PostgreSQL itself may be gone at times
		t.Errorf("%d of %d questions were not answered", failed, read+failed)
	}
	status, body := s.do(t, token, "POST", "/api/v1/registries", map[string]any{"name": "another", "url": server.URL})
	t.Logf("%d images; %d questions answered, %d not; a change: %d %s", n, read, failed, status, body)
	if status != http.StatusServiceUnavailable && status != http.StatusCreated {
		t.Errorf("a change: %d %s", status, body)
	}
	d.free()
	// What waits in River's tables does until River has a leader again, which it tries to
	// have after a minute at the latest.
	took := waitUntil(t, "all images", 2*time.Minute, allScanned)
	t.Logf("all was done %v after there was room", took.Round(100*time.Millisecond))
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, "job failed") && (strings.Contains(line, "53100") || strings.Contains(line, "is full")) || strings.Contains(line, "given up") || strings.Contains(line, "panic") {
			t.Errorf("it says: %s", line)
		}
	}
	if p != nil {
		text, _ := os.ReadFile(p.log)
		t.Logf("PostgreSQL panicked %d times", strings.Count(string(text), "PANIC"))
	}
	s.stop(t)
}
