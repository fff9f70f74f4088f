package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"strata/internal/advisory"
	"strata/internal/image"
	"strata/internal/imagetest"
	"strata/internal/store"
)

func testPostgres(t *testing.T) string {
	t.Helper()
	location, err := imagetest.Postgres(t)
	if err != nil {
		missing(t, err.Error())
	}
	return location
}

// A gatedRegistry lets the first who asks for some blobs wait.
type gatedRegistry struct {
	imagetest.Registry
	gates map[string]*gate // by digest
}

type gate struct {
	asked   atomic.Bool
	reached chan struct{}
	open    chan struct{}
}

func (r *gatedRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	_, digest, _ := strings.Cut(req.URL.Path, "/blobs/")
	if g := r.gates[digest]; g != nil && !g.asked.Swap(true) {
		close(g.reached)
		select {
		case <-g.open:
		case <-req.Context().Done():
		}
	}
	r.Registry.ServeHTTP(w, req)
}

// add puts an image in that is like the others but for its last layer, which has a gate
// where it is asked for.
func (r *gatedRegistry) add(t *testing.T, name string, gated bool) *gate {
	t.Helper()
	img := worldImage(t, name)
	r.Add(img)
	if !gated {
		return nil
	}
	g := &gate{reached: make(chan struct{}), open: make(chan struct{})}
	r.gates[imagetest.Digest(img.Blobs[len(img.Blobs)-1])] = g
	return g
}

// startMember starts an instance on a database that it shares.
func startMember(t *testing.T, database string, args ...string) *servingProcess {
	t.Helper()
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("ab", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	return startServer(t, dir, append([]string{"--database", database, "--key-file", key, "--sync-every", "0", "--workers", "1", "--shutdown-timeout", "5s"}, args...)...)
}

// get gives the items of a list.
func get[T any](t *testing.T, s *servingProcess, token, path string) []T {
	t.Helper()
	status, body := s.do(t, token, "GET", path, nil)
	var page struct{ Items []T }
	if err := json.Unmarshal(body, &page); err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, status, body)
	}
	return page.Items
}

// waitUntil waits for something to become true, and gives how long it took.
func waitUntil(t *testing.T, what string, most time.Duration, done func() bool) time.Duration {
	t.Helper()
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		if done() {
			return time.Since(began)
		}
		if time.Since(began) > most {
			t.Fatalf("%s: not within %v", what, most)
		}
	}
}

// gatedMirror serves advisories, but lets the first who asks for an archive wait until the
// test ends.
func gatedMirror(t *testing.T, dir string) (location string, reached <-chan struct{}) {
	t.Helper()
	asked, files := make(chan struct{}), http.FileServer(http.Dir(dir))
	var first sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/all.zip") {
			first.Do(func() {
				close(asked)
				<-r.Context().Done()
			})
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

// Of three instances, each in the middle of an image, one is killed, one is paused for
// longer than its claim, and one is told to stop. A fourth does what they did, also the sync
// of advisories that the first was at, and the one that wakes up changes nothing.
func TestClusterTakesOver(t *testing.T) {
	location := testPostgres(t)
	registry := &gatedRegistry{gates: map[string]*gate{}}
	names := []string{"one", "two", "three", "four", "five", "six"}
	for _, name := range names {
		registry.add(t, name, false)
	}
	var gates []*gate
	for _, name := range []string{"killed", "paused", "stopped"} {
		names = append(names, name)
		gates = append(gates, registry.add(t, name, true))
	}
	server := httptest.NewServer(registry)
	defer server.Close()
	dir := worldMirror(t)
	mirror, syncing := gatedMirror(t, dir)
	syncs := []string{"--sync-every", "1h", "--mirror", mirror, "--ecosystem", "all", "--kev", "", "--epss", ""}
	members := []*servingProcess{startMember(t, location, syncs...), startMember(t, location), startMember(t, location)}
	token := members[0].setup(t)
	if status, body := members[1].do(t, token, "POST", "/api/v1/registries", map[string]any{"name": "r", "url": server.URL}); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	waits := []<-chan struct{}{syncing}
	for _, g := range gates {
		waits = append(waits, g.reached)
	}
	for _, reached := range waits {
		select {
		case <-reached:
		case <-time.After(60 * time.Second):
			t.Fatalf("a layer or the mirror was never asked for:\n%s", members[0].log.String())
		}
	}
	last := startMember(t, location, syncs...)
	type manifest struct {
		Repository, State, Reason string
		ScannedAt                 time.Time `json:"scanned_at"`
	}
	scanned := func() map[string]manifest {
		out := map[string]manifest{}
		for _, m := range get[manifest](t, last, token, "/api/v1/manifests?limit=100") {
			if m.State == "scanned" {
				out[m.Repository] = m
			}
		}
		return out
	}
	waitUntil(t, "the images without a gate", time.Minute, func() bool { return len(scanned()) == len(names)-len(gates) })
	if all := get[struct{ Alive bool }](t, last, token, "/api/v1/instances"); len(all) != 4 || slices.ContainsFunc(all, func(i struct{ Alive bool }) bool { return !i.Alive }) {
		t.Errorf("instances: %+v", all)
	}
	killed, paused, stopped := members[0], members[1], members[2]
	for s, signal := range map[*servingProcess]os.Signal{killed: syscall.SIGKILL, paused: syscall.SIGSTOP, stopped: syscall.SIGTERM} {
		if err := s.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	if code := stopped.code(t); code != exitPass || time.Since(began) > 10*time.Second {
		t.Errorf("stopped with exit code %d after %v:\n%s", code, time.Since(began), stopped.log.String())
	}
	// 15 s are promised; a machine that does other things at the same time has some more.
	waitUntil(t, "what the others did", 25*time.Second-time.Since(began), func() bool { return len(scanned()) == len(names) })
	waitUntil(t, "the sync", 25*time.Second-time.Since(began), func() bool {
		status, body := last.do(t, token, "GET", "/api/v1/feeds", nil)
		return status == http.StatusOK && strings.Contains(string(body), `"last_sync"`)
	})
	t.Logf("taken over within %v", time.Since(began).Round(100*time.Millisecond))
	before := scanned()
	for _, g := range gates {
		close(g.open)
	}
	if err := paused.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the end of what was paused", 20*time.Second, func() bool { return strings.Contains(paused.log.String(), "another has taken it") })
	waitUntil(t, "the end of all jobs", 20*time.Second, func() bool {
		return len(get[any](t, paused, token, "/api/v1/jobs?kind=scan&state=running")) == 0
	})
	if after := scanned(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the one that woke up changed what others had done:\n%v\n%v", before, after)
	}
	checkMembers(t, location, len(names), dir)
	paused.stop(t)
	last.stop(t)
}

// checkMembers looks for what the instances left in the database.
func checkMembers(t *testing.T, location string, images int, mirror string) {
	t.Helper()
	open := func(location string) *store.DB {
		db, err := store.OpenDB(t.Context(), location, store.DBOptions{Key: []byte(strings.Repeat("\xab", store.KeySize))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	db, undisturbed := open(location), open(filepath.Join(t.TempDir(), "strata.db"))
	m, err := advisory.OpenMirror(mirror, advisory.MirrorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := undisturbed.SyncAdvisories(t.Context(), "test", m, store.UpdateOptions{Ecosystems: []string{"all"}}); err != nil {
		t.Fatal(err)
	}
	synced := func(db *store.DB) (out []string) {
		f, err := db.Feeds(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(f.Records, f.Vulnerabilities))
		for _, e := range f.Feeds {
			out = append(out, fmt.Sprint(e.Name, e.Records, e.Newest))
		}
		return out
	}
	if got, want := synced(db), synced(undisturbed); !slices.Equal(got, want) {
		t.Errorf("advisories %q; an undisturbed sync gives %q", got, want)
	}
	analyses, err := db.LayerAnalyses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	twice := 0
	for id, n := range analyses {
		if n != 1 {
			twice++
		}
		if _, ok, err := db.Acquire(t.Context(), "layer/"+string(id), "test", time.Second); err != nil || !ok {
			t.Errorf("layer %s is still claimed: %v", id, err)
		}
	}
	if twice > 1 { // only the one that was paused
		t.Errorf("%d layers were analysed more than once", twice)
	}
	if overdue, err := db.OverdueManifests(t.Context(), 10); err != nil || len(overdue) > 0 {
		t.Errorf("overdue: %v, %v", overdue, err)
	}
	rows, err := db.Images(t.Context(), store.ImageQuery{Limit: 100})
	if err != nil || len(rows) != images {
		t.Errorf("%d images, %v; want %d", len(rows), err, images)
	}
	for i := range rows {
		kept, err := db.LoadImage(t.Context(), rows[i].ID)
		if err != nil || rows[i].Incomplete {
			t.Errorf("%s: incomplete %v, %v", rows[i].Reference, rows[i].Incomplete, err)
			continue
		}
		if slices.ContainsFunc(kept.Layers, func(l image.Layer) bool { return analyses[l.DiffID] == 0 }) {
			t.Errorf("%s: a layer has no result", rows[i].Reference)
		}
	}
}

// An instance starts while PostgreSQL can't be reached, and goes on after it could not be:
// it says so, and needs no help.
func TestServeWithoutPostgres(t *testing.T) {
	location, err := url.Parse(testPostgres(t))
	if err != nil {
		t.Fatal(err)
	}
	g := newCable(t, "unix", filepath.Join(location.Query().Get("host"), ".s.PGSQL.5432"))
	g.refuses = true
	g.setCut(true)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	dir := t.TempDir()
	database := "postgres://postgres@" + g.address() + location.Path + "?sslmode=disable"
	s := &servingProcess{process: newProcess(t, dir, "serve", "--listen", address, "--database", database, "--sync-every", "0", "--shutdown-timeout", "5s"), url: "http://" + address}
	s.Env = append(s.Env, "XDG_DATA_HOME="+filepath.Join(dir, "data"))
	s.Stderr = &s.log
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Process.Kill() })
	ask := func(path string) (int, string, http.Header) {
		answer, err := http.Get(s.url + path)
		if err != nil {
			return 0, err.Error(), nil
		}
		defer answer.Body.Close()
		b, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(b), answer.Header
	}
	waitUntil(t, "the listener", 20*time.Second, func() bool { status, _, _ := ask("/healthz"); return status == http.StatusOK })
	if status, body, _ := ask("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "waiting for the database") {
		t.Errorf("without PostgreSQL: %d %s", status, body)
	}
	waitUntil(t, "a line of the log", 20*time.Second, func() bool { return strings.Contains(s.log.String(), "waiting for the database") })
	ready := func() bool { status, _, _ := ask("/readyz"); return status == http.StatusOK }
	g.setCut(false)
	waitUntil(t, "PostgreSQL is there", 30*time.Second, ready)
	token := s.setup(t)
	g.setCut(true)
	waitUntil(t, "PostgreSQL is gone", 20*time.Second, func() bool { return !ready() })
	status, body := s.do(t, token, "GET", "/api/v1/images", nil)
	if status != http.StatusServiceUnavailable {
		t.Errorf("an image while PostgreSQL is gone: %d %s", status, body)
	}
	g.setCut(false)
	waitUntil(t, "PostgreSQL is back", 30*time.Second, ready)
	waitUntil(t, "it is heard of", 20*time.Second, func() bool {
		status, body := s.do(t, token, "GET", "/api/v1/instances", nil)
		return status == http.StatusOK && strings.Contains(string(body), `"alive":true`)
	})
	g.setCut(true) // it ends well all the same
	s.stop(t)
}
