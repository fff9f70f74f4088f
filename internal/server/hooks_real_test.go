package server

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strata/internal/imagetest"
	"strata/internal/jobs"
	"strata/internal/store"
)

// program is one that is installed; else the test is skipped, or fails where nothing
// may be.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("STRATA_TEST_REQUIRE") == "all" {
		t.Fatal(err)
	}
	t.Skip(err)
	return ""
}

// freeAddress is one on the loopback that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// realRegistry starts Debian's docker-registry, which sends notifications to a URL.
func realRegistry(t *testing.T, hook, secret string, more ...string) (address string) {
	t.Helper()
	bin, dir := program(t, "docker-registry"), t.TempDir()
	address = freeAddress(t)
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf(`version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %s/data}, delete: {enabled: true}}
http: {addr: %s, secret: test}
notifications:
  endpoints:
    - {name: strata, url: %q, headers: {Authorization: [Bearer %s]}, timeout: 5s, threshold: 5, backoff: 1s}
%s`, dir, address, hook, secret, strings.Join(more, ""))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, "serve", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	eventually(t, "docker-registry answers", func() bool {
		res, err := http.Get("http://" + address + "/v2/")
		if err == nil {
			_ = res.Body.Close()
		}
		return err == nil
	})
	return address
}

// eventually waits for something, ten seconds at most.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 2400 { // the race detector on a busy machine takes its time
		if done() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("not within two minutes: " + what)
}

func copyImage(t *testing.T, from, to string, flags ...string) {
	t.Helper()
	args := append([]string{"copy", "--insecure-policy", "--dest-tls-verify=false", from, to}, flags...)
	if out, err := exec.CommandContext(t.Context(), program(t, "skopeo"), args...).CombinedOutput(); err != nil {
		t.Fatalf("skopeo: %v\n%s", err, out)
	}
}

// TestRealNotifications: what is pushed to a real registry is due at once, what its
// filters leave out is not, and what is deleted is gone.
func TestRealNotifications(t *testing.T) {
	db, err := store.OpenDB(t.Context(), t.TempDir()+"/strata.db", store.DBOptions{Key: bytes.Repeat([]byte{1}, store.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	queued := make(chan jobs.Job, 10)
	s := newTestServer(t, db, func(o *Options) {
		o.Enqueue = func(_ context.Context, work ...jobs.Job) error {
			for _, j := range work {
				queued <- j
			}
			return nil
		}
	})
	listener := httptest.NewServer(s.Handler())
	defer listener.Close()
	address := realRegistry(t, listener.URL+"/hooks/prod/distribution", hookSecret)
	id, err := db.AddRegistry(t.Context(), &store.Registry{Name: "prod", URL: "http://" + address, Settings: store.RegistrySettings{Exclude: []string{"scratch/**"}}}, nil)
	if err == nil {
		err = db.SetHookSecret(t.Context(), id, hookSecret)
	}
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "app.tar")
	spec, err := imagetest.Parse([]byte("-- layer0/etc/os-release --\nID=debian\nVERSION_ID=12\n"))
	if err != nil {
		t.Fatal(err)
	}
	built, err := spec.Build()
	if err == nil {
		err = imagetest.WriteFile(image, imagetest.OCIArchive, built)
	}
	if err != nil {
		t.Fatal(err)
	}
	copyImage(t, "oci-archive:"+image, "docker://"+address+"/scratch/web:1")
	copyImage(t, "oci-archive:"+image, "docker://"+address+"/team/web:1")
	pushed := time.Now()
	var j jobs.Job
	select {
	case j = <-queued:
		t.Logf("queued %v after the push", time.Since(pushed))
	case <-time.After(2 * time.Minute):
		t.Fatal("nothing was queued within ten seconds")
	}
	var manifest int64
	if _, err := fmt.Sscan(j.Key, &manifest); err != nil {
		t.Fatal(err)
	}
	m, err := db.Manifest(t.Context(), manifest)
	if err != nil || m.Repository != "prod/team/web" || m.State != "due" || len(m.Tags) != 1 || m.Tags[0] != "1" || j.Priority != jobs.ForPush {
		t.Fatalf("%+v, %v", m, err)
	}
	// A sender that tells no digest: it is the registry that does.
	w := s.hook(t, "POST", "/hooks/prod/quay?token=a+secret+of+the+registry", `{"repository": "team/web", "docker_url": "quay.io/team/web", "updated_tags": ["1", "none"]}`)
	if want := `"digest":"` + m.Digest + `"`; w.Code != 202 || !bytes.Contains(w.Body.Bytes(), []byte(want)) || bytes.Contains(w.Body.Bytes(), []byte("none")) {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+address+"/v2/team/web/manifests/"+m.Digest, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil || res.StatusCode != http.StatusAccepted {
		t.Fatal(res, err)
	}
	_ = res.Body.Close()
	eventually(t, "the deleted image is gone", func() bool {
		m, err := db.Manifest(t.Context(), manifest)
		return err == nil && m.State == "gone" && len(m.Tags) == 0
	})
	if left, err := db.Manifests(t.Context(), nil, "", 0, 10); err != nil || len(left) != 1 {
		t.Errorf("%+v, %v", left, err)
	}
}
