package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"strata/internal/auth"
	"strata/internal/notify"
	"strata/internal/store"
)

// ask sends a request without credentials and gives the whole answer.
func (s *testServer) ask(method, path string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func TestFrame(t *testing.T) {
	var log bytes.Buffer
	s := newTestServer(t, openTestDB(t, t.TempDir()+"/strata.db"), func(o *Options) {
		o.Log = slog.New(slog.NewJSONHandler(&log, nil))
		o.PublicURL = "https://strata.example"
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	s.mux.HandleFunc("GET /api/v1/panics", func(http.ResponseWriter, *http.Request) { panic("oops") })
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/nothing", http.StatusNotFound},
		{"GET", "/api/v1/nothing?token=hidden", http.StatusNotFound},
		{"DELETE", "/healthz", http.StatusMethodNotAllowed},
		{"GET", "/api/v1/panics", http.StatusInternalServerError},
		{"GET", "/api/v1/instances", http.StatusUnauthorized},
	} {
		w := s.ask(c.method, c.path, nil)
		var problem struct{ Status int }
		if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || problem.Status != c.status || w.Code != c.status || w.Header().Get("Content-Type") != problemType {
			t.Errorf("%s %s: status %d, %s: %s", c.method, c.path, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
		for _, h := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Strict-Transport-Security", "X-Request-Id"} {
			if w.Header().Get(h) == "" {
				t.Errorf("%s %s: no %s", c.method, c.path, h)
			}
		}
	}
	if w := s.ask("DELETE", "/healthz", nil); w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("Allow %q", w.Header().Get("Allow"))
	}
	if id := s.ask("GET", "/healthz", http.Header{"X-Request-Id": {"a-1"}}).Header().Get("X-Request-Id"); id != "a-1" {
		t.Errorf("request id %q", id)
	}
	if id := s.ask("GET", "/healthz", http.Header{"X-Request-Id": {"a\"1"}}).Header().Get("X-Request-Id"); strings.Contains(id, "a") && len(id) < 10 {
		t.Errorf("request id %q", id)
	}
	s.ask("POST", "/hooks/r?token=hidden", http.Header{"X-Forwarded-For": {"203.0.113.9, 198.51.100.7"}})
	if strings.Contains(log.String(), "hidden") {
		t.Errorf("secrets in the log:\n%s", &log)
	}
	for _, want := range []string{`"panic":"oops"`, `"path":"/hooks/{registry}"`, `"request":"`, `"address":"198.51.100.7"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("not in the log: %s\n%s", want, &log)
		}
	}
}

func TestReadiness(t *testing.T) {
	var queue error
	s := newTestServer(t, openTestDB(t, t.TempDir()+"/strata.db"), func(o *Options) { o.QueueReady = func(context.Context) error { return queue } })
	check := func(want int, says string) {
		t.Helper()
		if w := s.ask("GET", "/readyz", nil); w.Code != want || !strings.Contains(w.Body.String(), says) {
			t.Errorf("status %d, %q", w.Code, w.Body)
		}
	}
	check(http.StatusOK, "ok")
	queue = errors.New("x")
	check(http.StatusServiceUnavailable, "queue")
	queue = nil
	s.draining.Store(true)
	check(http.StatusServiceUnavailable, "stopping")
	if w := s.ask("GET", "/healthz", nil); w.Code != http.StatusOK {
		t.Errorf("alive: status %d", w.Code)
	}
	s.draining.Store(false)
	if err := s.o.DB.Close(); err != nil {
		t.Fatal(err)
	}
	check(http.StatusServiceUnavailable, "database")
}

func TestInstances(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		s := newTestServer(t, db)
		now := time.Now()
		for _, i := range []store.Instance{{ID: "a", Host: "h", StartedAt: now.Add(-time.Hour), Load: `{"running_jobs":1}`}, {ID: "b", StartedAt: now}, {ID: "a", Load: `{"running_jobs":2}`, StartedAt: now}} {
			if err := db.Beat(t.Context(), &i); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.ScheduleStarted(t.Context(), "sync", "a"); err != nil {
			t.Fatal(err)
		}
		var page Page[Instance]
		if got := s.call(t, "GET", "/api/v1/instances", nil, &page); got != http.StatusOK || len(page.Items) != 2 || page.Items[0].ID != "a" || !page.Items[0].Alive || page.Items[0].Load == nil || page.Items[0].Load.RunningJobs != 2 || !slices.Equal(page.Items[0].Schedules, []string{"sync"}) || page.Items[1].Schedules != nil {
			t.Errorf("status %d, %+v", got, page)
		}
		if err := db.DeleteInstance(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if got, err := db.Instances(t.Context()); err != nil || len(got) != 1 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestMetrics(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		s := newTestServer(t, db)
		s.ask("BREW", "/nothing/1", nil)
		if w := s.ask("GET", "/metrics", nil); w.Code != http.StatusUnauthorized {
			t.Errorf("status %d", w.Code)
		}
		w := s.ask("GET", "/metrics", http.Header{"Authorization": {"Bearer " + s.token}})
		for _, want := range []string{`strata_http_requests_total{code="404",method="other",route="none"} 1`, "strata_layer_analyses_total 0", "strata_images 0"} {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("not in the metrics: %s\n%s", want, w.Body)
			}
		}
	})
}

func TestGuard(t *testing.T) {
	for address, public := range map[string]bool{
		"127.0.0.1": false, "10.1.2.3": false, "169.254.169.254": false, "100.100.100.200": false, "::1": false, "fe80::1": false, "fd00:ec2::254": false,
		"::ffff:127.0.0.1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "0.0.0.0": false, "224.0.0.1": false, "255.255.255.255": false,
		"8.8.8.8": true, "2606:4700::1111": true, "64:ff9b::808:808": true, "172.32.0.1": true,
	} {
		if got := isPublic(netip.MustParseAddr(address)); got != public {
			t.Errorf("%s: public %v", address, got)
		}
	}
	private := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer private.Close()
	named := strings.Replace(private.URL, "127.0.0.1", "localhost", 1)
	for _, u := range []string{private.URL, named} {
		if answer, err := guardedClient(false, time.Second).Get(u); !errors.Is(err, errPrivate) {
			if err == nil {
				answer.Body.Close()
			}
			t.Errorf("%s: %v", u, err)
		}
	}
	host, port, _ := strings.Cut(strings.TrimPrefix(private.URL, "http://"), ":")
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []notify.Receiver{
		{Kind: "webhook", URL: private.URL}, {Kind: "slack", Secret: named}, {Kind: "email", Host: host, Port: number, TLS: "none", From: "a@example.org", To: []string{"b@example.org"}},
	} {
		if err := notify.NewSender(guardedClient(false, time.Second)).Send(t.Context(), &to, &notify.Message{Title: "t"}); !errors.Is(err, errPrivate) {
			t.Errorf("%s: %v", to.Kind, err)
		}
	}
	redirected := guardedClient(false, time.Second)
	public := redirected.Transport.(*http.Transport)
	guarded := public.DialContext
	redirecting := httptest.NewServer(http.RedirectHandler(named, http.StatusFound))
	defer redirecting.Close()
	public.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "public.example:80" {
			return new(net.Dialer).DialContext(ctx, network, redirecting.Listener.Addr().String())
		}
		return guarded(ctx, network, address)
	}
	if answer, err := redirected.Get("http://public.example"); !errors.Is(err, errPrivate) {
		if err == nil {
			answer.Body.Close()
		}
		t.Errorf("redirected: %v", err)
	}
	answer, err := guardedClient(true, time.Second).Get(private.URL)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
}

func TestEvents(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		s := newTestServer(t, db)
		some := s.newUser(t, "some", auth.Grant{Role: auth.Viewer, Repository: "other/**"})
		listener := httptest.NewServer(s.Handler())
		defer listener.Close()
		registry, name, err := db.RegistryOf(t.Context(), "registry.example")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Pushed(t.Context(), registry, 2, []store.Named{{Repository: "team/web", Tag: "1", Digest: "sha256:" + strings.Repeat("a", 64)}}); err != nil {
			t.Fatal(err)
		}
		// listen gives what is sent within a time, or until it has what is looked for.
		listen := func(token, until string, within time.Duration) string {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, "GET", listener.URL+"/api/v1/events", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if answer.Header.Get("Content-Type") != "text/event-stream" {
				t.Fatal(answer.Status)
			}
			var text strings.Builder
			for lines := bufio.NewScanner(answer.Body); lines.Scan() && !strings.Contains(text.String(), until); {
				text.WriteString(lines.Text() + "\n")
			}
			return text.String()
		}
		want := `data: {"registry":"` + name + `","due":1,"scanning":0,"scanned":0,"parked":0}`
		if got := listen(s.token, want, time.Minute); !strings.Contains(got, "event: registry\n"+want) {
			t.Errorf("not in the stream: %s\n%s", want, got)
		}
		if got := listen(some, "data:", 2500*time.Millisecond); !strings.HasPrefix(got, "retry: ") || strings.Contains(got, "data:") {
			t.Errorf("out of scope:\n%s", got)
		}
	})
}

func TestETag(t *testing.T) {
	etag := etagOf("a", "b")
	if etag == etagOf("ab") || len(etag) != 34 {
		t.Error(etag)
	}
	for header, known := range map[string]bool{"": false, `"x"`: false, etag: true, `"x", W/` + etag: true, "*": true} {
		if err := (&ConditionalInput{IfNoneMatch: header}).unless(etag); (err != nil) != known {
			t.Errorf("%s: %v", header, err)
		}
	}
}
