package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/analyzer"
	"strata/internal/scan"
	"strata/internal/source"
	"strata/internal/store"
)

// lacking skips a test, or fails it where all must run.
func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("STRATA_TEST_REQUIRE") == "all" {
		t.Fatal("missing: " + what)
	}
	t.Skip("missing: " + what)
}

// A realFleet is Debian's docker-registry with the 60 images of fleet.sh and an index of
// two platforms, behind a proxy that counts.
type realFleet struct {
	// direct is its host, proxied that of the proxy.
	direct, proxied string
	truth           struct {
		Images map[string]struct {
			Digest string
			Layers []string
		}
		Aliases map[string]string
	}
	heads, manifests, blobs atomic.Int64
}

func startFleet(t *testing.T) *realFleet {
	t.Helper()
	images, err := filepath.Abs("../../../shared/images")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(images, "fleet.sh")); err != nil {
		lacking(t, images)
	}
	for _, program := range []string{"docker-registry", "skopeo", "python3"} {
		if _, err := exec.LookPath(program); err != nil {
			lacking(t, program)
		}
	}
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &realFleet{direct: free.Addr().String()}
	_, port, _ := strings.Cut(f.direct, ":")
	free.Close()
	dir := t.TempDir()
	run(t, "bash", filepath.Join(images, "fleet.sh"), dir, "", port)
	text, err := os.ReadFile(filepath.Join(dir, "fleet-truth.json"))
	if err == nil {
		err = json.Unmarshal(text, &f.truth)
	}
	if err != nil {
		t.Fatal(err)
	}
	registry := exec.Command("docker-registry", "serve", filepath.Join(dir, "config.yml"))
	if err := registry.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Process.Kill(); _ = registry.Wait() })
	until(t, "docker-registry", func() bool {
		resp, err := http.Get("http://" + f.direct + "/v2/")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	run(t, "skopeo", "copy", "-q", "--all", "--dest-tls-verify=false", "oci:"+filepath.Join(images, "odd.oci")+":odd-multiarch", "docker://"+f.direct+"/odd/multi:1")
	to, err := url.Parse("http://" + f.direct)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/manifests/"):
			f.heads.Add(1)
		case strings.Contains(r.URL.Path, "/manifests/"):
			f.manifests.Add(1)
		case strings.Contains(r.URL.Path, "/blobs/"):
			f.blobs.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	f.proxied = strings.TrimPrefix(server.URL, "http://")
	return f
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// TestRealFleet reads a real registry: all is scanned, each layer once, by two instances
// on PostgreSQL and by one on SQLite, with the results of `strata scan`; what is known is
// not read again, and what is deleted is history.
func TestRealFleet(t *testing.T) {
	fleet := startFleet(t)
	for name, instances := range map[string]int{"sqlite": 1, "postgres": 2} {
		t.Run(name, func(t *testing.T) {
			location := filepath.Join(t.TempDir(), "strata.db")
			if name == "postgres" {
				location = postgres(t)
			}
			var all []*testInstance
			for range instances {
				all = append(all, startInstance(t, location))
			}
			fleet.check(t, all)
		})
	}
}

func (f *realFleet) check(t *testing.T, instances []*testInstance) {
	in := instances[0]
	f.heads.Store(0)
	f.manifests.Store(0)
	f.blobs.Store(0)
	began := time.Now()
	id := in.add(t, store.Registry{Name: "fleet", URL: "http://" + f.proxied, Settings: store.RegistrySettings{Rate: 1000}})
	if r := in.crawled(t, id); r.CrawlError != "" || !strings.HasPrefix(r.CrawlProgress, fmt.Sprintf("21 repositories, %d tags read, 61 new", len(f.truth.Images)+len(f.truth.Aliases)+1)) {
		t.Fatalf("%q, %q", r.CrawlProgress, r.CrawlError)
	}
	crawled := time.Since(began)
	states := in.states(t)
	t.Logf("crawled in %v, scanned in %v; %d HEAD, %d manifests, %d configurations and layers", crawled.Round(time.Millisecond), time.Since(began).Round(time.Millisecond),
		f.heads.Load(), f.manifests.Load(), f.blobs.Load())
	if len(states) != 61 || len(f.truth.Images) != 60 {
		t.Errorf("%d manifests of %d images", len(states), len(f.truth.Images))
	}
	byDigest := map[string]store.Manifest{}
	for name, m := range states {
		if m.State != "scanned" {
			t.Errorf("%s: %s: %s", name, m.State, m.Reason)
		}
		byDigest[m.Digest] = m
	}
	f.checkLayers(t, in.db)
	workers := map[string]bool{}
	done, err := in.queue.List(t.Context(), Filter{Kinds: []Kind{Scan}, States: []State{Done}, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range done {
		workers[j.Instance] = true
	}
	if len(workers) != len(instances) {
		t.Errorf("%d instances worked, of %d", len(workers), len(instances))
	}
	f.checkResults(t, in.db, byDigest)

	f.manifests.Store(0)
	f.blobs.Store(0)
	if r := in.crawled(t, id); r.CrawlError != "" || !strings.Contains(r.CrawlProgress, " 0 new, 0 retired") {
		t.Errorf("again: %q, %q", r.CrawlProgress, r.CrawlError)
	}
	if f.manifests.Load() != 0 || f.blobs.Load() != 0 {
		t.Errorf("the second crawl read %d manifests and %d blobs", f.manifests.Load(), f.blobs.Load())
	}
	f.checkDeleted(t, in, id, byDigest)
}

// checkLayers holds the layers against those of the fleet: each was analysed once.
func (f *realFleet) checkLayers(t *testing.T, db *store.DB) {
	t.Helper()
	analyses, err := db.LayerAnalyses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for id, n := range analyses {
		if n != 1 {
			t.Errorf("layer %s was analysed %d times", id, n)
		}
	}
	blobs := map[string]bool{}
	for _, m := range f.truth.Images {
		for _, l := range m.Layers {
			blobs[l] = true
		}
	}
	if len(analyses) < len(blobs) {
		t.Errorf("%d layers, the fleet has %d", len(analyses), len(blobs))
	}
}

// checkResults holds what is in the database against a scan of the same image without
// any database.
func (f *realFleet) checkResults(t *testing.T, db *store.DB, byDigest map[string]store.Manifest) {
	t.Helper()
	runner := &analyzer.Runner{Analyzers: analyzer.Default(), Memory: &analyzer.Memory{}}
	for name, want := range f.truth.Images {
		if !strings.HasSuffix(name, ":2.0") {
			continue // the others are of the same layers, but for the last
		}
		m, ok := byDigest[want.Digest]
		if !ok {
			t.Errorf("%s: there is no %s", name, want.Digest)
			continue
		}
		ids, err := db.ManifestImages(t.Context(), m.ID)
		if err != nil || len(ids) != 1 {
			t.Errorf("%s: images %v, %v", name, ids, err)
			continue
		}
		kept, err := db.LoadImage(t.Context(), ids[0])
		if err != nil {
			t.Fatal(err)
		}
		got, err := (&scan.Scanner{Cache: db}).Known(t.Context(), kept)
		if err != nil || got == nil {
			t.Errorf("%s: %v, %v", name, got, err)
			continue
		}
		direct := directScan(t, runner, f.direct+"/"+name)
		if diff := cmp.Diff(direct.Inventory, got.Inventory); diff != "" {
			t.Errorf("%s: otherwise than a direct scan: %s", name, diff)
		}
		if len(direct.Inventory.Packages) == 0 {
			t.Errorf("%s: no packages", name)
		}
	}
}

func directScan(t *testing.T, runner *analyzer.Runner, ref string) *scan.Result {
	t.Helper()
	images, closer, err := source.Open(t.Context(), "registry:"+ref, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	res, err := (&scan.Scanner{Runner: runner}).Image(t.Context(), images[0])
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// checkDeleted deletes an image at the registry.
func (f *realFleet) checkDeleted(t *testing.T, in *testInstance, registry int64, byDigest map[string]store.Manifest) {
	t.Helper()
	const repository, tag = "odd/multi", "1"
	r, err := source.OpenRepository(t.Context(), f.direct+"/"+repository, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	h, err := r.Head(t.Context(), tag)
	if err != nil {
		t.Fatal(err)
	}
	m := byDigest[string(h.Digest)]
	if ids, err := in.db.ManifestImages(t.Context(), m.ID); err != nil || len(ids) != 2 {
		t.Errorf("platforms of %s: %v, %v", h.Digest, ids, err)
	}
	raw := f.send(t, http.MethodGet, repository, string(h.Digest), nil, "")
	f.send(t, http.MethodDelete, repository, string(h.Digest), nil, "")
	if r := in.crawled(t, registry); r.CrawlError != "" || !strings.Contains(r.CrawlProgress, " 0 new, 1 retired") {
		t.Errorf("%q, %q", r.CrawlProgress, r.CrawlError)
	}
	history, err := in.db.TagHistory(t.Context(), m.ID)
	if err != nil || len(history) != 1 || history[0].Tag != tag || history[0].To.IsZero() {
		t.Errorf("history: %+v, %v", history, err)
	}
	if kept, err := in.db.ManifestImages(t.Context(), m.ID); err != nil || len(kept) != 2 {
		t.Errorf("what was in it: %v, %v", kept, err)
	}
	f.send(t, http.MethodPut, repository, tag, raw, h.MediaType) // for the other engine
}

func (f *realFleet) send(t *testing.T, method, repository, identifier string, body []byte, mediaType string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+f.direct+"/v2/"+repository+"/manifests/"+identifier, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json")
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s", method, identifier, resp.Status)
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}
