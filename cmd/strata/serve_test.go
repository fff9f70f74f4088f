package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A lockedBuffer may be read while a process writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A servingProcess is `strata serve` in a process of its own.
type servingProcess struct {
	*process
	log lockedBuffer
	url string
}

// startServer starts one and waits until it is ready.
func startServer(t *testing.T, dir string, args ...string) *servingProcess {
	t.Helper()
	s := &servingProcess{process: newProcess(t, dir, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)}
	s.Env = append(s.Env, "XDG_DATA_HOME="+filepath.Join(dir, "data"))
	s.Stderr = &s.log
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Process.Kill() })
	listening := regexp.MustCompile(`listening.*?(https?://[0-9.:]+)`)
	for range 200 {
		if m := listening.FindStringSubmatch(s.log.String()); m != nil {
			s.url = m[1]
			return s
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("it doesn't start:\n%s", s.log.String())
	return nil
}

// stop tells it to end, and wants it to do so well.
func (s *servingProcess) stop(t *testing.T) {
	t.Helper()
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := s.code(t); code != exitPass {
		t.Errorf("exit code %d:\n%s", code, s.log.String())
	}
}

// do sends a request with a token, and gives status and answer.
func (s *servingProcess) do(t *testing.T, token, method, path string, body any) (int, []byte) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, text
}

// setup makes the administrator with the token that the first start printed, and gives
// a token of theirs.
func (s *servingProcess) setup(t *testing.T) string {
	t.Helper()
	// It is printed once requests are answered, which a busy machine may do before.
	token := ""
	for range 200 {
		if token = setupToken(s.log.String()); token != "" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if token == "" {
		t.Fatalf("no token:\n%s", s.log.String())
	}
	return makeAdministrator(t, http.DefaultClient, s.url, token)
}

// setupToken is that by which the first administrator is made, as a log tells it; empty
// where it does not.
func setupToken(log string) string {
	m := regexp.MustCompile(`"token": "([^"]+)"`).FindStringSubmatch(log)
	if m == nil {
		return ""
	}
	return m[1]
}

// makeAdministrator makes the first administrator of the server at a URL, and gives a token
// of theirs.
func makeAdministrator(t *testing.T, client *http.Client, url, setupToken string) string {
	t.Helper()
	post := func(path, body string, cookies []*http.Cookie) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), "POST", url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		for _, c := range cookies {
			r.AddCookie(c)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode >= http.StatusBadRequest {
			text, _ := io.ReadAll(answer.Body)
			t.Fatalf("%s: %s", answer.Status, text)
		}
		return answer
	}
	first := post("/api/v1/setup", fmt.Sprintf(`{"token": %q, "name": "admin", "password": "correct horse battery"}`, setupToken), nil)
	first.Body.Close()
	second := post("/api/v1/tokens", `{"name": "test", "role": "administrator"}`, first.Cookies())
	defer second.Body.Close()
	var token struct{ Secret string }
	if err := json.NewDecoder(second.Body).Decode(&token); err != nil {
		t.Fatal(err)
	}
	return token.Secret
}

func TestServeStartsAndStops(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, "--log-format", "json")
	token := s.setup(t)
	if status, body := s.do(t, "", "GET", "/readyz", nil); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	if status, body := s.do(t, token, "GET", "/api/v1/instances", nil); status != http.StatusOK || !strings.Contains(string(body), `"alive":true`) {
		t.Errorf("%d %s", status, body)
	}
	for name, mode := range map[string]os.FileMode{"server.key": 0o600, "strata.db": 0o600} {
		st, err := os.Stat(filepath.Join(dir, "data", "strata", name))
		if err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
	// As a container asks: by the settings that the server has.
	address := strings.TrimPrefix(s.url, "http://")
	health := func(listen string, args ...string) (int, string) {
		p := newProcess(t, t.TempDir(), append([]string{"health"}, args...)...)
		p.Env = append(p.Env, "STRATA_LISTEN="+listen)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		code := p.code(t)
		return code, p.stdout.String() + p.stderr.String()
	}
	_, port, _ := strings.Cut(address, ":")
	for _, listen := range []string{address, ":" + port, "0.0.0.0:" + port} {
		if code, said := health(listen, "--ready"); code != exitPass || said != "ok\n" {
			t.Errorf("health %s: exit code %d, %s", listen, code, said)
		}
	}
	// Its port is taken; the message says so.
	other := newProcess(t, t.TempDir(), "serve", "--listen", address)
	other.Env = append(other.Env, "XDG_DATA_HOME="+other.dir)
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if code := other.code(t); code != exitError || !strings.Contains(other.stderr.String(), "address already in use") {
		t.Errorf("port in use: exit code %d, %s", code, &other.stderr)
	}
	s.stop(t)
	if code, said := health(address); code != exitError || !strings.Contains(said, "the server doesn't answer: ") {
		t.Errorf("health of none: exit code %d, %s", code, said)
	}
	if strings.Contains(s.log.String(), token) || strings.Contains(s.log.String(), "correct horse") {
		t.Errorf("a secret is in the log:\n%s", s.log.String())
	}
	// What was kept is there after the next start, which prints no token; policies of its
	// settings are, too.
	settings := filepath.Join(dir, "serve.yaml")
	if err := os.WriteFile(settings, []byte("policies:\n  - name: ours\n    rules: [{name: kev, when: finding.kev, action: fail}]\nwatches:\n  - {name: all, policies: [ours]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = startServer(t, dir, "--config", settings)
	if status, body := s.do(t, token, "PUT", "/api/v1/policies/ours", map[string]string{"text": "rules: [{name: kev, when: finding.kev, action: warn}]"}); status != http.StatusConflict || !strings.Contains(string(body), "declared in "+settings) {
		t.Errorf("%d %s", status, body)
	}
	if status, body := s.do(t, token, "GET", "/api/v1/me", nil); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	if strings.Contains(s.log.String(), "no administrator") {
		t.Errorf("a second token:\n%s", s.log.String())
	}
	s.stop(t)
}

// While it stops, requests that it has are answered, and none is taken.
func TestServeDrains(t *testing.T) {
	s := startServer(t, t.TempDir(), "--shutdown-timeout", "10s")
	address := strings.TrimPrefix(s.url, "http://")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The first half of a request.
	if _, err := fmt.Fprintf(conn, "POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 31\r\n\r\n{\"name\":\"ann\""); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		other, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		other.Close()
		time.Sleep(50 * time.Millisecond)
	}
	if _, err := fmt.Fprint(conn, `,"password":"123"}`); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 401 ") {
		t.Errorf("%q, %v", answer, err)
	}
	if code := s.code(t); code != exitPass {
		t.Errorf("exit code %d:\n%s", code, s.log.String())
	}
}

// A database whose secrets were sealed with another key is not opened.
func TestServeWithAnotherKey(t *testing.T) {
	dir := t.TempDir()
	startServer(t, dir).stop(t)
	other := newProcess(t, dir, "serve", "--listen", "127.0.0.1:0")
	other.Env = append(other.Env, "XDG_DATA_HOME="+filepath.Join(dir, "data"), "STRATA_KEY="+strings.Repeat("ab", 32))
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if code := other.code(t); code != exitError || !strings.Contains(other.stderr.String(), "give the key that the database was made with") {
		t.Errorf("exit code %d, %s", code, &other.stderr)
	}
}

// A second server on the same file or address says what to do; admin commands work while
// the first one runs.
func TestServeTwice(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir)
	backup := filepath.Join(dir, "backup.zst")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"serve", "--listen", "127.0.0.1:0"}, exitError, "for several instances use PostgreSQL"},
		{[]string{"serve", "--listen", strings.TrimPrefix(s.url, "http://")}, exitError, "give another address by --listen"},
		{[]string{"admin", "backup", backup}, exitPass, "rows written"},
		{[]string{"admin", "retention"}, exitPass, ""},
		{[]string{"admin", "restore", backup}, exitError, "stop it first"},
	} {
		p := newProcess(t, dir, c.args...)
		p.Env = s.Env
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		if code := p.code(t); code != c.code || !strings.Contains(p.stderr.String(), c.want) {
			t.Errorf("%v: exit code %d, %s", c.args, code, &p.stderr)
		}
	}
	s.stop(t)
}

func TestAdminUserReset(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir)
	token := s.setup(t)
	reset := func(name string) string {
		p := newProcess(t, dir, "admin", "user", name, "--reset")
		p.Env = s.Env
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		if code := p.code(t); code != exitPass {
			t.Fatalf("exit code %d, %s", code, &p.stderr)
		}
		return strings.TrimSpace(p.stdout.String())
	}
	for _, name := range []string{"admin", "second"} {
		password := reset(name)
		status, body := s.do(t, "", "POST", "/api/v1/login", map[string]string{"name": name, "password": password})
		if status != http.StatusOK || !strings.Contains(string(body), `"administrator"`) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if status, _ := s.do(t, "", "POST", "/api/v1/login", map[string]string{"name": "admin", "password": "correct horse battery"}); status != http.StatusUnauthorized {
		t.Errorf("the old password: %d", status)
	}
	if status, body := s.do(t, token, "GET", "/api/v1/audit", nil); status != http.StatusOK || !strings.Contains(string(body), `"actor":"strata admin","action":"reset-user"`) {
		t.Errorf("%d %s", status, body)
	}
	s.stop(t)
}
