package source

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/image"
	"strata/internal/imagetest"
)

// faulty is a registry whose answers a test may spoil: it returns true when it
// has answered itself.
type faulty struct {
	imagetest.Registry
	spoil func(w http.ResponseWriter, r *http.Request) bool
	mu    sync.Mutex
	asked []*http.Request
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked = append(f.asked, r)
	f.mu.Unlock()
	if f.spoil == nil || !f.spoil(w, r) {
		f.Registry.ServeHTTP(w, r)
	}
}

// requests counts those whose path holds part.
func (f *faulty) requests(part string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.asked {
		if strings.Contains(r.URL.Path, part) {
			n++
		}
	}
	return n
}

// serve starts a registry on the loopback; its address is host:port.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // no credentials of whoever runs the test
	t.Setenv("HOME", t.TempDir())
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestRegistry(t *testing.T) {
	built := threeLayers(t, "demo/app:1.0")
	r := &faulty{}
	r.Add(built)
	host := serve(t, r)
	for _, ref := range []string{
		"registry:" + host + "/demo/app:1.0", "docker://" + host + "/demo/app:1.0",
		"registry:" + host + "/demo/app@" + built.Digest(), "registry:" + host + "/demo/app:1.0@" + built.Digest(),
	} {
		m := one(t, ref, quick())
		if diff := cmp.Diff(builtDiffIDs(built), diffIDs(m)); diff != "" {
			t.Error(diff)
		}
		if m.Digest != image.Digest(built.Digest()) || m.ConfigDigest != image.Digest(built.ConfigDigest()) {
			t.Errorf("%s: digests %s, %s", ref, m.Digest, m.ConfigDigest)
		}
		checkContent(t, m)
	}
	before := r.requests("/blobs/")
	m := one(t, "registry:"+host+"/demo/app:1.0", quick())
	if readAll(t, m, nil); r.requests("/blobs/") != before+1 {
		t.Errorf("more was read than the configuration, though nothing was wanted")
	}
}

func TestRegistryFaults(t *testing.T) {
	built := threeLayers(t, "app:1")
	big := "/blobs/" + built.BlobDigest(1)
	var count atomic.Int32
	first := func(n int32, part string, do http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, part) || count.Add(1) > n {
				return false
			}
			do(w, r)
			return true
		}
	}
	reset := func(w http.ResponseWriter, _ *http.Request) {
		c, _, _ := w.(http.Hijacker).Hijack()
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	for _, tt := range []struct {
		name  string
		spoil func(http.ResponseWriter, *http.Request) bool
		// wantErr is of Open, wantLayer of reading layer 1.
		wantErr, wantLayer string
	}{
		{"ping is refused a while", first(2, "/v2/", answering(503, "")), "", ""},
		{"manifest is limited a while", first(3, "/manifests/1", answering(429, "0")), "", ""},
		{"manifest is limited for ever", first(99, "/manifests/1", answering(429, "0")), "429", ""},
		{"manifest is reset a while", first(2, "/manifests/1", reset), "", ""},
		{"manifest breaks off", first(1, "/manifests/1", half(built.Manifest)), "", ""},
		{"manifest is another", first(9, "/manifests/1", whole(built.Config, built.Digest())), "damaged or forged", ""},
		{"manifest is garbage", first(9, "/manifests/1", whole([]byte("{"), "")), "not valid JSON", ""},
		{"manifest is large", first(9, "/manifests/1", whole(bytes.Repeat([]byte(" "), 9<<20), "")), "larger than 8 MiB", ""},
		{"config is another", first(9, "/blobs/"+built.ConfigDigest(), whole(built.Manifest, "")), "damaged or forged", ""},
		{"config is not there", first(9, "/blobs/"+built.ConfigDigest(), answering(404, "")), "configuration sha256:", ""},
		{"not there", first(9, "/manifests/1", answering(404, "")), "404", ""},
		{"not allowed", first(9, "/manifests/1", answering(401, "")), "docker login", ""},
		{"blob is reset a while", first(3, big, reset), "", ""},
		{"blob breaks off", first(3, big, half(built.Blobs[1])), "", ""},
		{"blob breaks off for ever", first(99, big, half(built.Blobs[1])), "", "broke off after"},
		{"blob is gone", first(99, big, answering(404, "")), "", "is not in"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			count.Store(0)
			r := &faulty{spoil: tt.spoil}
			r.Add(built)
			images, closer, err := Open(t.Context(), "registry:"+serve(t, r)+"/app:1", quick())
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("Open: %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer closer.Close()
			if tt.wantLayer == "" {
				checkContent(t, images[0])
				return
			}
			got := readAll(t, images[0], images[0].Layers)
			if got[1].err == nil || !strings.Contains(got[1].err.Error(), tt.wantLayer) {
				t.Errorf("layer 1: %v, want %q", got[1].err, tt.wantLayer)
			}
			if got[0].err != nil || got[2].err != nil {
				t.Errorf("other layers: %v, %v", got[0].err, got[2].err)
			}
		})
	}
}

func answering(code int, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(code)
	}
}

func whole(b []byte, digest string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if digest != "" {
			w.Header().Set("Docker-Content-Digest", digest)
		}
		w.Write(b)
	}
}

// half sends the first half of what is asked for, and breaks off.
func half(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var from int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(b)-1, len(b)))
			w.Header().Set("Content-Length", fmt.Sprint(len(b)-from))
			w.WriteHeader(http.StatusPartialContent)
		} else {
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		}
		w.Write(b[from : from+(len(b)-from)/2])
	}
}

// A broken blob goes on where it broke; a server without ranges is read anew.
func TestResume(t *testing.T) {
	built := threeLayers(t, "app:1")
	for _, ranges := range []bool{true, false} {
		var asked []string
		r := &faulty{}
		r.Add(built)
		r.spoil = func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.HasSuffix(req.URL.Path, built.BlobDigest(1)) {
				return false
			}
			asked = append(asked, req.Header.Get("Range"))
			if !ranges {
				req.Header.Del("Range")
			}
			if len(asked) < 3 {
				half(built.Blobs[1])(w, req)
				return true
			}
			return false
		}
		m := one(t, "registry:"+serve(t, r)+"/app:1", quick())
		got := readAll(t, m, m.Layers[1:2])
		if got[0].err != nil || got[0].digest != m.Layers[1].Digest {
			t.Errorf("ranges %v: %+v", ranges, got[0])
		}
		if asked[0] != "" || !strings.HasPrefix(asked[1], "bytes=") || len(asked) != 3 {
			t.Errorf("asked for %q", asked)
		}
	}
}

// A body of whatever request that stops coming is no reason to hang.
func TestStalledAnswers(t *testing.T) {
	for _, part := range []string{"/v2/", "/manifests/1"} {
		for _, code := range []int{200, 404, 503} {
			r := &faulty{}
			r.Add(threeLayers(t, "app:1"))
			r.spoil = func(w http.ResponseWriter, req *http.Request) bool {
				if !strings.HasSuffix(req.URL.Path, part) {
					return false
				}
				w.Header().Set("Content-Length", "1000")
				w.WriteHeader(code)
				w.Write([]byte("{"))
				w.(http.Flusher).Flush()
				<-req.Context().Done()
				return true
			}
			o := quick()
			o.Retries, o.timing.idle = 1, 30*time.Millisecond
			start := time.Now()
			_, closer, err := Open(t.Context(), "registry:"+serve(t, r)+"/app:1", o)
			if err == nil {
				closer.Close()
			}
			if wantErr := part != "/v2/" || code != 200; (err != nil) != wantErr || time.Since(start) > 3*time.Second {
				t.Errorf("%s that stalls with %d: %v after %v", part, code, err, time.Since(start))
			}
		}
	}
}

// A blob that stops coming is asked for again; a cancelled one ends at once.
func TestIdleBlob(t *testing.T) {
	built := threeLayers(t, "app:1")
	release := make(chan struct{})
	var stalls atomic.Int32
	stalls.Store(1)
	r := &faulty{}
	r.Add(built)
	r.spoil = func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.HasSuffix(req.URL.Path, built.BlobDigest(1)) || stalls.Add(-1) < 0 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(built.Blobs[1])))
		w.Write(built.Blobs[1][:1000])
		w.(http.Flusher).Flush()
		select {
		case <-release:
		case <-req.Context().Done():
		}
		return true
	}
	host := serve(t, r)
	t.Cleanup(func() { close(release) })
	o := quick()
	o.timing.idle = 50 * time.Millisecond
	m := one(t, "registry:"+host+"/app:1", o)
	if got := readAll(t, m, m.Layers[1:2]); got[0].err != nil || got[0].digest != m.Layers[1].Digest {
		t.Errorf("after a stall: %+v", got[0])
	}

	stalls.Store(100)
	m = one(t, "registry:"+host+"/app:1", quick())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := m.Content.Each(ctx, m.Layers[1:2], 1, func(ctx context.Context, b image.Blob) error { return read(ctx, b).err })
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 2*time.Second {
		t.Errorf("Each: %v after %v", err, time.Since(start))
	}
}

func TestCancelWhileWaitingForARetry(t *testing.T) {
	r := &faulty{spoil: func(w http.ResponseWriter, _ *http.Request) bool { answering(429, "3600")(w, nil); return true }}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, _, err := Open(ctx, "registry:"+serve(t, r)+"/app:1", quick())
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 2*time.Second {
		t.Errorf("Open: %v after %v", err, time.Since(start))
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"7": 7 * time.Second, "Mon, 23 Nov 2026 12:00:30 GMT": 30 * time.Second, "Mon, 23 Nov 2026 11:00:00 GMT": 0,
		"86400": 24 * time.Hour, "": -1, "soon": -1, "-3": -1, "1.5": -1,
	} {
		got, ok := retryAfter(header, now)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("retryAfter(%q) = %v, %v, want %v", header, got, ok, want)
		}
	}
	tr := &retrying{timing: timing{now: func() time.Time { return now }, backoff: time.Second}}
	resp := &http.Response{Header: http.Header{"Retry-After": {"86400"}}}
	if got := tr.pause(resp, 0); got != maxPause {
		t.Errorf("a day's Retry-After: %v, want %v", got, maxPause)
	}
	for try := range 100 {
		if got := tr.pause(nil, try); got <= 0 || got > maxPause {
			t.Errorf("pause(%d) = %v", try, got)
		}
	}
}

// withBasic asks for a user and password.
func withBasic(next http.Handler, user, password string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}
}

func TestBasicCredentials(t *testing.T) {
	built := threeLayers(t, "app:1")
	r := &faulty{}
	r.Add(built)
	host := serve(t, withBasic(r, "me", "secret"))
	ref := "registry:" + host + "/app:1"
	if _, _, err := Open(t.Context(), ref, quick()); err == nil || !strings.Contains(err.Error(), "docker login "+host) {
		t.Errorf("without credentials: %v", err)
	}
	o := quick()
	o.Username, o.Password = "me", "wrong"
	if _, _, err := Open(t.Context(), ref, o); err == nil || !strings.Contains(err.Error(), "given credentials") || strings.Contains(err.Error(), "wrong)") {
		t.Errorf("with wrong credentials: %v", err)
	}
	o.Password = "secret"
	checkContent(t, one(t, ref, o))

	// The same by Docker's configuration, and by a credential helper.
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	auth := base64.StdEncoding.EncodeToString([]byte("me:secret"))
	writeFile(t, filepath.Join(dir, "config.json"), fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, auth), 0o600)
	checkContent(t, one(t, ref, quick()))
	writeFile(t, filepath.Join(dir, "docker-credential-test"), "#!/bin/sh\necho '{\"Username\":\"me\",\"Secret\":\"secret\"}'\n", 0o755)
	writeFile(t, filepath.Join(dir, "config.json"), fmt.Sprintf(`{"credHelpers":{%q:"test"}}`, host), 0o600)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	checkContent(t, one(t, ref, quick()))
}

// A configuration that names a helper of another machine hinders nothing public.
func TestBrokenCredentialHelper(t *testing.T) {
	r := &faulty{}
	r.Add(threeLayers(t, "app:1"))
	host := serve(t, r)
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	writeFile(t, filepath.Join(dir, "config.json"), `{"credsStore":"not-on-this-machine"}`, 0o600)
	one(t, "registry:"+host+"/app:1", quick())
}

func writeFile(t testing.TB, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// Token authentication as of the distribution project's specification, with a
// token that expires in between.
func TestTokenCredentials(t *testing.T) {
	built := threeLayers(t, "app:1")
	r := &faulty{}
	r.Add(built)
	var issued, expired atomic.Int32
	var host string
	mux := http.NewServeMux()
	mux.HandleFunc("/token", func(w http.ResponseWriter, req *http.Request) {
		if u, p, _ := req.BasicAuth(); u != "me" || p != "secret" || req.FormValue("scope") != "repository:app:pull" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		json.NewEncoder(w).Encode(map[string]string{"token": fmt.Sprint(issued.Add(1))})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		token := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
		if n, err := strconv.Atoi(token); token != "given" && (err != nil || int32(n) <= expired.Load()) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test",scope="repository:app:pull"`, host))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.ServeHTTP(w, req)
	})
	host = serve(t, mux)
	o := quick()
	o.Username, o.Password = "me", "secret"
	m := one(t, "registry:"+host+"/app:1", o)
	expired.Store(issued.Load())
	checkContent(t, m)
	if issued.Load() < 2 {
		t.Errorf("%d tokens were issued", issued.Load())
	}
	checkContent(t, one(t, "registry:"+host+"/app:1", Options{Token: "given", timing: quick().timing}))
}

// Registries send blobs from storage on other hosts, which must not see the
// credentials, and which also break.
func TestRedirectedBlobs(t *testing.T) {
	built := threeLayers(t, "app:1")
	r := &faulty{}
	r.Add(built)
	var ranges atomic.Int32
	storage := &faulty{}
	storage.Add(built)
	storage.spoil = func(w http.ResponseWriter, req *http.Request) bool {
		if req.Header.Get("Authorization") != "" {
			t.Error("the storage was sent the credentials")
		}
		if strings.HasSuffix(req.URL.Path, built.BlobDigest(1)) && ranges.Add(1) == 1 {
			half(built.Blobs[1])(w, req)
			return true
		}
		return false
	}
	// Another host: the same address by another name.
	elsewhere := strings.Replace(serve(t, storage), "127.0.0.1", "localhost", 1)
	r.spoil = func(w http.ResponseWriter, req *http.Request) bool {
		if strings.Contains(req.URL.Path, "/blobs/") {
			http.Redirect(w, req, "http://"+elsewhere+req.URL.Path+"?signature=x", http.StatusTemporaryRedirect)
			return true
		}
		return false
	}
	o := quick()
	o.Username, o.Password = "me", "secret"
	checkContent(t, one(t, "registry:"+serve(t, withBasic(r, "me", "secret"))+"/app:1", o))
}

func TestMirrors(t *testing.T) {
	built := threeLayers(t, "app:1")
	inMirror := threeLayers(t, "hub/app:1")
	origin, mirror := &faulty{}, &faulty{}
	origin.Add(built)
	mirror.Add(inMirror)
	mirror.spoil = func(_ http.ResponseWriter, req *http.Request) bool {
		if req.Header.Get("Authorization") != "" {
			t.Error("the mirror was sent the registry's credentials")
		}
		return false
	}
	host, mirrorHost := serve(t, withBasic(origin, "me", "secret")), serve(t, mirror)
	o := quick()
	o.Username, o.Password = "me", "secret"
	o.Mirrors = map[string][]string{host: {"127.0.0.1:1", "http://" + mirrorHost + "/empty", "http://" + mirrorHost + "/hub/"}}
	checkContent(t, one(t, "registry:"+host+"/app:1", o))
	if mirror.requests("/hub/app/") == 0 || origin.requests("/") != 0 {
		t.Errorf("the mirror was asked %d times, the origin %d", mirror.requests("/hub/app/"), origin.requests("/"))
	}
	o.Mirrors = map[string][]string{host: {mirrorHost + "/empty"}}
	checkContent(t, one(t, "registry:"+host+"/app:1", o))
	_, _, err := Open(t.Context(), "registry:"+host+"/other:1", o)
	if err == nil || !strings.Contains(err.Error(), "mirror "+mirrorHost+"/empty/other") {
		t.Errorf("Open: %v, want an error that tells of both", err)
	}
}

func TestMirrorsOfDockerHub(t *testing.T) {
	for _, ref := range []string{"alpine", "docker.io/library/alpine:3", "index.docker.io/library/alpine"} {
		parsed, err := parseName(ref, Options{})
		if err != nil {
			t.Fatal(err)
		}
		places, err := placesOf(parsed, Options{Mirrors: map[string][]string{"docker.io": {"https://m.example/p"}}})
		if err != nil || len(places) != 2 || places[0].repository.String() != "m.example/p/library/alpine" || places[0].repository.Scheme() != "https" {
			t.Errorf("%s: %v, %v", ref, places, err)
		}
	}
}

func TestTLS(t *testing.T) {
	r := &faulty{}
	r.Add(threeLayers(t, "app:1"))
	serve(t, r) // the environment
	s := httptest.NewUnstartedServer(r)
	s.TLS = &tls.Config{}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	defer s.Close()
	ref := "registry:" + strings.TrimPrefix(s.URL, "https://") + "/app:1"
	if _, _, err := Open(t.Context(), ref, quick()); err == nil || !strings.Contains(err.Error(), "--insecure") {
		t.Errorf("an unknown certificate: %v", err)
	}
	o := quick()
	o.Insecure = true
	checkContent(t, one(t, ref, o))
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})), 0o644)
	o = quick()
	o.CAFile = ca
	checkContent(t, one(t, ref, o))
	writeFile(t, ca, "nothing", 0o644)
	if _, _, err := Open(t.Context(), ref, o); err == nil || !strings.Contains(err.Error(), "no certificate in PEM") {
		t.Errorf("a CA file without certificates: %v", err)
	}
}

// Plain http is for the loopback, unless asked for: go-containerregistry would
// also use it on private networks.
func TestPlainHTTPIsRefused(t *testing.T) {
	sent := roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.URL.Scheme == "http" {
			t.Errorf("http request to %s", r.URL)
		}
		return nil, errors.New("no route")
	})
	_, _, err := Open(t.Context(), "registry:10.1.2.3:5000/app:1", Options{Transport: sent, Username: "me", Password: "x"})
	if err == nil || !strings.Contains(err.Error(), "plain http with 10.1.2.3:5000 is refused") {
		t.Errorf("Open: %v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestMissingBlobIsErrNotExist(t *testing.T) {
	built := threeLayers(t, "app:1")
	r := &faulty{spoil: func(w http.ResponseWriter, req *http.Request) bool {
		if strings.HasSuffix(req.URL.Path, built.BlobDigest(0)) {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	}}
	r.Add(built)
	m := one(t, "registry:"+serve(t, r)+"/app:1", quick())
	if got := readAll(t, m, m.Layers[:1]); !errors.Is(got[0].err, fs.ErrNotExist) {
		t.Errorf("%v, want fs.ErrNotExist", got[0].err)
	}
}
