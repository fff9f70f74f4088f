package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"strata/internal/analyzer"
	"strata/internal/image"
	"strata/internal/imagetest"
	"strata/internal/inventory"
	"strata/internal/store"
)

// A testRegistry counts what it is asked, and breaks as the test wants.
type testRegistry struct {
	imagetest.Registry
	mu    sync.Mutex
	asked map[string]int
	// answer, when not nil, may answer in its place.
	answer func(w http.ResponseWriter, r *http.Request) bool
}

func (r *testRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	if r.asked == nil {
		r.asked = map[string]int{}
	}
	for _, part := range []string{"/manifests/", "/blobs/"} {
		if strings.Contains(req.URL.Path, part) {
			r.asked[req.Method+part]++
		}
	}
	answer := r.answer
	r.mu.Unlock()
	if answer == nil || !answer(w, req) {
		r.Registry.ServeHTTP(w, req)
	}
}

func (r *testRegistry) counts(method string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[method+"/manifests/"] + r.asked[method+"/blobs/"]
}

func (r *testRegistry) set(answer func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// built is an image of alpine with a package, for a platform.
func built(t *testing.T, name, version, arch string) *imagetest.Image {
	t.Helper()
	m, err := (&imagetest.Spec{Name: name, Architecture: arch, Layers: []imagetest.Layer{
		{Entries: []imagetest.Entry{imagetest.File("etc/os-release", "ID=alpine\nVERSION_ID=3.11.6\n")}},
		{Entries: []imagetest.Entry{imagetest.File("lib/apk/db/installed", "P:musl\nV:"+version+"\nA:"+arch+"\n\n")}},
	}}).Build()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A testInstance is one of the server.
type testInstance struct {
	db    *store.DB
	queue *Queue
	then  chan []int64
}

// startInstance starts one that crawls and scans, and reconciles each second.
func startInstance(t *testing.T, location string) *testInstance {
	t.Helper()
	in := &testInstance{db: openDB(t, location), then: make(chan []int64, 1000)}
	quickly := func(int) time.Duration { return 50 * time.Millisecond }
	enqueue := func(ctx context.Context, jobs ...Job) error { return in.queue.Enqueue(ctx, jobs...) }
	registries := &Registries{DB: in.db}
	scans := &Scans{DB: in.db, Registries: registries, Runner: &analyzer.Runner{Analyzers: analyzer.Default(), Memory: &analyzer.Memory{}}, MaxAttempts: 3, Backoff: quickly,
		Then: func(_ context.Context, images []int64) error { in.then <- images; return nil }}
	crawls := &Crawls{DB: in.db, Registries: registries, Enqueue: enqueue}
	reconciles := &Reconciles{DB: in.db, Enqueue: enqueue, Every: time.Second}
	in.queue = openQueue(t, Options{DB: in.db, Scans: 2, Backoff: quickly, Works: []Work{scans.Work(), crawls.Work(), reconciles.Work()}})
	start(t, in.queue)
	return in
}

func (in *testInstance) add(t *testing.T, r store.Registry) int64 {
	t.Helper()
	id, err := in.db.AddRegistry(t.Context(), &r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// crawled waits until a registry was read after it was due.
func (in *testInstance) crawled(t *testing.T, id int64) *store.Registry {
	t.Helper()
	began := time.Now()
	if err := in.db.CrawlDue(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	enqueue(t, in.queue, Job{Crawl, fmt.Sprint(id), ForCrawling})
	var r *store.Registry
	until(t, "crawled", func() bool {
		var err error
		r, err = in.db.Registry(t.Context(), id)
		return err == nil && (r.CrawlDueAt.IsZero() || r.CrawlDueAt.After(time.Now())) && (r.CrawledAt.After(began) || r.CrawlError != "")
	})
	return r
}

// states are the states of manifests by name, when none is left to do.
func (in *testInstance) states(t *testing.T) map[string]store.Manifest {
	t.Helper()
	out := map[string]store.Manifest{}
	until(t, "all scanned", func() bool {
		all, err := in.db.Manifests(t.Context(), nil, "", 0, 500)
		if err != nil {
			t.Fatal(err)
		}
		clear(out)
		for _, m := range all {
			if m.State == "due" || m.State == "scanning" {
				return false
			}
			out[m.Repository+":"+strings.Join(m.Tags, ",")] = m
		}
		return true
	})
	return out
}

func TestCrawlAndScan(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		registry := &testRegistry{}
		registry.Add(built(t, "team/app:1", "1.1.24-r2", "amd64"), built(t, "team/app:1", "1.1.24-r2", "arm64"), built(t, "team/app:2", "1.1.24-r3", "amd64"),
			built(t, "team/web:latest", "1.1.24-r2", "amd64"), built(t, "old/x:1", "1", "amd64"))
		server := httptest.NewServer(registry)
		defer server.Close()
		in := startInstance(t, location)
		id := in.add(t, store.Registry{Name: "r", URL: server.URL, Settings: store.RegistrySettings{Exclude: []string{"old/**"}, Owners: []store.RegistryOwner{{Repositories: "team/*", Owner: "team@x.example"}}}})
		if r := in.crawled(t, id); r.CrawlError != "" || r.CrawlProgress != "2 repositories, 3 tags read, 3 new, 0 retired" {
			t.Errorf("%q, %q", r.CrawlProgress, r.CrawlError)
		}
		got := in.states(t)
		if len(got) != 3 || got["r/team/app:1"].State != "scanned" || got["r/team/app:2"].State != "scanned" || got["r/team/web:latest"].State != "scanned" {
			t.Fatalf("%+v", got)
		}
		if ids, err := in.db.ManifestImages(t.Context(), got["r/team/app:1"].ID); err != nil || len(ids) != 2 {
			t.Errorf("platforms: %v, %v", ids, err)
		}
		var told []int64
		until(t, "told of", func() bool {
			select {
			case ids := <-in.then:
				told = append(told, ids...)
			default:
			}
			return len(told) == 4
		})
		analyses, err := in.db.LayerAnalyses(t.Context())
		if err != nil || len(analyses) == 0 {
			t.Fatal(analyses, err)
		}
		for id, n := range analyses {
			if n != 1 {
				t.Errorf("layer %s was analysed %d times", id, n)
			}
		}
		// Again: nothing is read.
		before := registry.counts(http.MethodGet)
		if r := in.crawled(t, id); r.CrawlError != "" || r.CrawlProgress != "2 repositories, 3 tags read, 0 new, 0 retired" {
			t.Errorf("%q, %q", r.CrawlProgress, r.CrawlError)
		}
		if n := registry.counts(http.MethodGet) - before; n != 0 {
			t.Errorf("the second crawl read %d manifests or blobs", n)
		}
		// Other analyzers than these have seen all of them; but not these themselves.
		if n, err := in.db.RescanOld(t.Context(), analyzer.SetVersion, 10); n != 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if n, err := in.db.RescanOld(t.Context(), "newer", 10); n != 3 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		in.states(t)
		// What lists leave out is there still.
		registry.set(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/_catalog") || r.URL.Path == "/v2/team/app/tags/list" {
				_, _ = w.Write([]byte(`{"repositories": [], "tags": []}`))
				return true
			}
			return false
		})
		if r := in.crawled(t, id); !strings.Contains(r.CrawlError, "leaves out 2 repositories that are there, team/app") || r.CrawlProgress != "2 repositories, 3 tags read, 0 new, 0 retired, 1 could not be read" {
			t.Errorf("an empty catalogue: %q, %q", r.CrawlProgress, r.CrawlError)
		}
		// A tag moves, another goes, and so does a repository; one repository fails.
		registry.Add(built(t, "team/app:2", "1.1.24-r4", "amd64"))
		registry.set(func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case r.URL.Path == "/v2/_catalog":
				_ = json.NewEncoder(w).Encode(map[string]any{"repositories": []string{"broken", "team/app"}})
			case strings.HasPrefix(r.URL.Path, "/v2/broken/"):
				w.WriteHeader(http.StatusInternalServerError)
			case r.URL.Path == "/v2/team/app/manifests/1" || strings.HasPrefix(r.URL.Path, "/v2/team/web/"):
				w.WriteHeader(http.StatusNotFound)
			case r.URL.Path == "/v2/team/app/tags/list":
				_ = json.NewEncoder(w).Encode(map[string]any{"tags": []string{"2"}})
			default:
				return false
			}
			return true
		})
		if r := in.crawled(t, id); !strings.Contains(r.CrawlError, "broken") || r.CrawlProgress != "1 repositories, 2 tags read, 1 new, 2 retired, 1 could not be read" {
			t.Errorf("%q, %q", r.CrawlProgress, r.CrawlError)
		}
		all := in.states(t)
		if m := all["r/team/app:2"]; m.State != "scanned" || m.ID == got["r/team/app:2"].ID {
			t.Errorf("%+v", m)
		}
		history, err := in.db.TagHistory(t.Context(), got["r/team/app:1"].ID)
		if err != nil || len(history) != 1 || history[0].Tag != "1" || history[0].To.IsZero() {
			t.Errorf("%+v, %v", history, err)
		}
		if live, err := in.db.LiveRepositories(t.Context(), id); err != nil || !slices.Equal(live, []string{"team/app"}) {
			t.Errorf("%v, %v", live, err)
		}
	})
}

func TestScanFails(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		registry := &testRegistry{}
		down, gone := built(t, "a/down:1", "1", "amd64"), built(t, "a/gone:1", "2", "amd64")
		registry.Add(down, gone, built(t, "a/fine:1", "3", "amd64"))
		chart := []byte(`{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": "sha256:` +
			strings.Repeat("0", 64) + `", "size": 2}, "layers": []}`)
		var mended sync.Map
		registry.set(func(w http.ResponseWriter, r *http.Request) bool {
			_, fine := mended.Load("down")
			switch p := r.URL.Path; {
			case p == "/v2/_catalog":
				_ = json.NewEncoder(w).Encode(map[string]any{"repositories": []string{"a/chart", "a/down", "a/fine", "a/gone"}})
			case p == "/v2/a/chart/tags/list":
				_ = json.NewEncoder(w).Encode(map[string]any{"tags": []string{"1"}})
			case strings.HasPrefix(p, "/v2/a/chart/manifests/"):
				w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
				w.Header().Set("Docker-Content-Digest", imagetest.Digest(chart))
				if r.Method == http.MethodGet {
					_, _ = w.Write(chart)
				}
			case strings.HasSuffix(p, "/blobs/"+down.BlobDigest(1)) && !fine:
				w.WriteHeader(http.StatusForbidden)
			case p == "/v2/a/gone/manifests/"+gone.Digest():
				w.WriteHeader(http.StatusNotFound)
			default:
				return false
			}
			return true
		})
		server := httptest.NewServer(registry)
		defer server.Close()
		in := startInstance(t, location)
		id := in.add(t, store.Registry{Name: "r", URL: server.URL})
		in.crawled(t, id)
		got := in.states(t)
		for name, want := range map[string]string{"r/a/chart:1": "other", "r/a/down:1": "parked", "r/a/fine:1": "scanned", "r/a/gone:1": "gone"} {
			if m := got[name]; m.State != want || want != "scanned" && m.Reason == "" {
				t.Errorf("%s: %+v, want %s", name, m, want)
			}
		}
		m := got["r/a/down:1"]
		if m.Attempts != 3 || !strings.Contains(m.Reason, "403") {
			t.Errorf("%+v", m)
		}
		// What could be had of it is kept all the same.
		if ids, err := in.db.ManifestImages(t.Context(), m.ID); err != nil || len(ids) != 1 {
			t.Errorf("%v, %v", ids, err)
		}
		var parked []Listed
		until(t, "the job parked", func() bool {
			var err error
			parked, err = in.queue.List(t.Context(), Filter{Kinds: []Kind{Scan}, States: []State{Parked}})
			return err == nil && len(parked) > 0
		})
		if parked[0].Key != fmt.Sprint(m.ID) || !strings.Contains(parked[0].Reason, "403") {
			t.Fatalf("%+v", parked)
		}
		mended.Store("down", true)
		if _, err := in.queue.Retry(t.Context(), parked[0].ID); err != nil {
			t.Error(err)
		}
		until(t, "the job tried again", func() bool {
			m, err := in.db.Manifest(t.Context(), m.ID)
			return err == nil && m.State == "scanned"
		})
		due, err := in.db.Rescan(t.Context(), int(ForCI), m.ID)
		if err != nil || len(due) != 1 {
			t.Fatal(due, err)
		}
		enqueue(t, in.queue, scanJobs(due, ForCI)...)
		if m := in.states(t)["r/a/down:1"]; m.State != "scanned" || m.Reason != "" || m.Attempts != 0 {
			t.Errorf("mended: %+v", m)
		}
	})
}

// TestLostQueue has rows that are due, and no job for them.
func TestLostQueue(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		registry := &testRegistry{}
		image := built(t, "team/app:1", "1", "amd64")
		registry.Add(image)
		server := httptest.NewServer(registry)
		defer server.Close()
		db := openDB(t, location)
		registryID, err := db.AddRegistry(t.Context(), &store.Registry{Name: "r", URL: server.URL, Settings: store.RegistrySettings{CrawlEvery: "1h"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		due, err := db.SeenTags(t.Context(), registryID, "team/app", "", time.Now(), []store.CrawledTag{{Name: "0", Digest: image.Digest()}})
		if err != nil {
			t.Fatal(err)
		}
		// It is claimed by an instance that dies, not to be heard of again.
		if m, err := db.ClaimManifest(t.Context(), due[0], "me", time.Second); m == nil || err != nil {
			t.Fatal(m, err)
		}
		in := startInstance(t, location)
		if m := in.states(t)["r/team/app:1"]; m.State != "scanned" || m.ID != due[0] {
			t.Errorf("%+v", m)
		}
	})
}

// TestCancelWaiting cancels jobs that wait: what they were to do is not due any more.
func TestCancelWaiting(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		db := openDB(t, location)
		q := openQueue(t, Options{DB: db})
		id, err := db.AddRegistry(t.Context(), &store.Registry{Name: "r", URL: "r.example"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		due, err := db.SeenTags(t.Context(), id, "app", "", time.Now(), []store.CrawledTag{{Name: "1", Digest: "sha256:" + strings.Repeat("a", 64)}})
		if err != nil {
			t.Fatal(err)
		}
		reconcile := &Reconciles{DB: db, Enqueue: q.Enqueue}
		if err := reconcile.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		waiting, err := q.List(t.Context(), Filter{States: []State{Waiting}})
		if err != nil || len(waiting) != 2 {
			t.Fatal(waiting, err)
		}
		for _, j := range waiting {
			if l, err := q.Cancel(t.Context(), j.ID); err != nil || l.State != Cancelled {
				t.Errorf("%+v, %v", l, err)
			}
		}
		if err := reconcile.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		if l, err := q.List(t.Context(), Filter{States: []State{Waiting}}); err != nil || len(l) != 0 {
			t.Errorf("made again: %+v, %v", l, err)
		}
		if m, err := db.Manifest(t.Context(), due[0]); err != nil || m.State != "parked" || m.Reason != "cancelled" {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

// A fullCache is a database whose disk is full while full.
type fullCache struct {
	*store.DB
	full  atomic.Bool
	asked atomic.Int64
}

func (c *fullCache) Layer(ctx context.Context, id image.DiffID, set string) (*inventory.Layer, error) {
	if c.full.Load() {
		c.asked.Add(1)
		return nil, fmt.Errorf("layer %s: %w", id, &pgconn.PgError{Code: "53100", Message: "no room"})
	}
	return c.DB.Layer(ctx, id, set)
}

// However long a disk is full, no attempt is used up: the row of an image is handed back,
// and its job waits.
func TestFullDiskUsesNoAttempts(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		registry := &imagetest.Registry{}
		registry.Add(built(t, "a/app:1", "1.1.24-r2", "amd64"))
		server := httptest.NewServer(registry)
		defer server.Close()
		in := &testInstance{db: openDB(t, location)}
		cache := &fullCache{DB: in.db}
		cache.full.Store(true)
		registries := &Registries{DB: in.db}
		scans := &Scans{DB: in.db, Registries: registries, Runner: &analyzer.Runner{Analyzers: analyzer.Default(), Memory: &analyzer.Memory{}}, Cache: cache, MaxAttempts: 2}
		enqueue := func(ctx context.Context, jobs ...Job) error { return in.queue.Enqueue(ctx, jobs...) }
		crawls := &Crawls{DB: in.db, Registries: registries, Enqueue: enqueue}
		in.queue = openQueue(t, Options{DB: in.db, Scans: 1, Works: []Work{scans.Work(), crawls.Work()}})
		start(t, in.queue)
		in.crawled(t, in.add(t, store.Registry{Name: "r", URL: server.URL}))
		for tries := int64(1); tries <= 4; tries++ {
			until(t, "tried", func() bool { return cache.asked.Load() >= tries })
			until(t, "handed back", func() bool {
				all, err := in.db.Manifests(t.Context(), nil, "", 0, 10)
				return err == nil && len(all) == 1 && all[0].State == "due" && all[0].Attempts == 0
			})
			all, err := in.db.Manifests(t.Context(), nil, "", 0, 10)
			if err != nil {
				t.Fatal(err)
			}
			if err := in.queue.Enqueue(t.Context(), Job{Scan, fmt.Sprint(all[0].ID), ForCI}); err != nil { // sooner than it would be
				t.Fatal(err)
			}
		}
		cache.full.Store(false)
		for name, m := range in.states(t) {
			if m.State != "scanned" {
				t.Errorf("%s: %+v", name, m)
			}
		}
	})
}
