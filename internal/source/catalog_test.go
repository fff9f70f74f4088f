package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"strata/internal/imagetest"
)

func hostOf(s *httptest.Server) string { _, host, _ := strings.Cut(s.URL, "://"); return host }

func TestCatalog(t *testing.T) {
	pages := [][]string{{"a", "team/app"}, {"UPPER is no name", "b"}, {"z"}}
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/v2/_catalog" {
			return
		}
		at := 0
		_, _ = fmt.Sscanf(req.URL.Query().Get("next_page"), "opaque%d", &at)
		if at < len(pages)-1 {
			w.Header().Set("Link", fmt.Sprintf(`</v2/_catalog?n=1000&next_page=opaque%d>; rel="next"`, at+1))
		}
		fmt.Fprintf(w, `{"repositories": ["%s"]}`, strings.Join(pages[at], `", "`))
	}))
	var got []string
	err := Catalog(t.Context(), host, quick(), func(names []string) error { got = append(got, names...); return nil })
	if want := []string{"a", "team/app", "b", "z"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	stop := errors.New("enough")
	if err := Catalog(t.Context(), host, quick(), func([]string) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

func TestCatalogElsewhere(t *testing.T) {
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Link", `<http://169.254.169.254/v2/_catalog?n=1>; rel="next"`)
		fmt.Fprint(w, `{"repositories": ["a"]}`)
	}))
	if err := Catalog(t.Context(), host, quick(), func([]string) error { return nil }); err == nil || !strings.Contains(err.Error(), "another host") {
		t.Error(err)
	}
}

func TestRepositoryHead(t *testing.T) {
	registry := &imagetest.Registry{}
	images, err := (&imagetest.Spec{Name: "team/app:1", Layers: []imagetest.Layer{{Entries: []imagetest.Entry{imagetest.File("etc/hostname", "x")}}}}).Build()
	if err != nil {
		t.Fatal(err)
	}
	registry.Add(images)
	var bodies atomic.Int32
	mute := atomic.Bool{}
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.Contains(req.URL.Path, "/manifests/") {
			if req.Method == http.MethodGet {
				bodies.Add(1)
			} else if mute.Load() {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
		}
		registry.ServeHTTP(w, req)
	}))
	r, err := OpenRepository(t.Context(), host+"/team/app", quick())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if tags, err := r.Tags(t.Context()); err != nil || !slices.Equal(tags, []string{"1"}) {
		t.Errorf("%q, %v", tags, err)
	}
	h, err := r.Head(t.Context(), "1")
	if want := imagetest.Digest(images.Manifest); err != nil || string(h.Digest) != want || h.MediaType == "" || bodies.Load() != 0 {
		t.Errorf("%+v, %v, %d manifests read", h, err, bodies.Load())
	}
	mute.Store(true)
	again, err := r.Head(t.Context(), "1")
	if err != nil || again != h || bodies.Load() != 1 {
		t.Errorf("without HEAD: %+v, %v, %d manifests read", again, err, bodies.Load())
	}
	mute.Store(false)
	if _, err := r.Head(t.Context(), "2"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	none, err := OpenRepository(t.Context(), host+"/team/none", quick())
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	if _, err := none.Tags(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestLimited(t *testing.T) {
	var busy atomic.Bool
	var served atomic.Int32
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		served.Add(1)
		if busy.CompareAndSwap(true, false) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}))
	limited, err := NewLimited(Limits{Host: host, Rate: 20})
	if err != nil {
		t.Fatal(err)
	}
	get := func() int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := limited.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	began := time.Now()
	for range 30 { // twenty at once, the others 50 ms apart
		get()
	}
	if took := time.Since(began); took < 400*time.Millisecond || took > 3*time.Second {
		t.Errorf("30 requests took %v at 20 a second", took)
	}
	busy.Store(true)
	if status := get(); status != http.StatusTooManyRequests {
		t.Error(status)
	}
	began = time.Now()
	get()
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("Retry-After was not waited for: %v", took)
	}
}

// oldWebServer answers what is not HTTP, as TLS is to it, with a page alone (HTTP/0.9), and the
// rest with 404.
func oldWebServer(t *testing.T) (host string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			first := make([]byte, 1)
			if _, err := io.ReadFull(c, first); err == nil && first[0] == 'G' {
				_, _ = io.WriteString(c, "HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n")
			} else {
				_, _ = io.WriteString(c, "<!DOCTYPE HTML>\n<p>Bad request</p>\n")
			}
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

func TestCheck(t *testing.T) {
	serveHTTP := func(h http.HandlerFunc) string { return serve(t, h) }
	answer := func(path string, status int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			if strings.HasPrefix(req.URL.Path, path) {
				for i := 0; i+1 < len(header); i += 2 {
					w.Header().Set(header[i], header[i+1])
				}
				w.WriteHeader(status)
			}
			fmt.Fprint(w, `{"repositories": ["team/app"]}`)
		}
	}
	tls := httptest.NewTLSServer(answer("/none", 0))
	defer tls.Close()
	down := httptest.NewServer(nil)
	down.Close()
	basic := []string{"WWW-Authenticate", `Basic realm="x"`}
	withPassword := quick()
	withPassword.Username, withPassword.Password = "me", "secret"
	for _, c := range []struct {
		name, host, want string
		o                Options
	}{
		{"resolve", "registry.invalid", "can't be resolved", quick()},
		{"refused", hostOf(down), "nothing listens", quick()},
		{"authority", hostOf(tls), "give the authority's certificate", quick()},
		{"anonymous", serveHTTP(answer("/v2/", 401, basic...)), "asks for credentials", quick()},
		{"password", serveHTTP(answer("/v2/", 401, basic...)), "check name and password", withPassword},
		{"catalogue", serveHTTP(answer("/v2/_catalog", 403)), "name the repositories in the settings", quick()},
		{"rate", serveHTTP(answer("/v2/", 429, "Retry-After", "30")), "fewer requests", quick()},
		{"failure", serveHTTP(answer("/v2/_catalog", 500)), "a failure of its own", quick()},
		{"web", serveHTTP(answer("/v2/", 404)), "no registry", quick()},
		{"web without a status for TLS", oldWebServer(t), "no registry", quick()},
	} {
		_, err := Check(t.Context(), c.host, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") || secondTry.MatchString(err.Error()) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if err := Catalog(t.Context(), hostOf(down), quick(), func([]string) error { return nil }); err == nil || !strings.Contains(err.Error(), "nothing listens") || secondTry.MatchString(err.Error()) {
		t.Errorf("catalogue: %v", err)
	}
	if got, err := Check(t.Context(), serveHTTP(answer("/none", 0)), quick()); err != nil || !slices.Equal(got, []string{"team/app"}) {
		t.Errorf("%q, %v", got, err)
	}
}
