package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/imagetest"
	"strata/internal/report"
)

// A process is the command in a process and a world of its own.
type process struct {
	*exec.Cmd
	dir            string // what it may write to: cache, tmp and work
	stdout, stderr bytes.Buffer
}

// newProcess is ready to be started. The test binary is strata when its name
// says so: testscript gives it that name, and so do we.
func newProcess(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := &process{dir: dir}
	for _, name := range []string{"cache", "tmp", "work"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.Cmd = exec.CommandContext(t.Context(), strataBinary(t), args...)
	p.Dir = filepath.Join(dir, "work")
	p.Env = append(os.Environ(), "HOME="+dir, "STRATA_CACHE_DIR="+filepath.Join(dir, "cache"), "TMPDIR="+filepath.Join(dir, "tmp"))
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	return p
}

// strataBinary is the test binary by the name of the command.
func strataBinary(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "strata")
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// code waits for the end and returns the exit code, -1 after a signal.
func (p *process) code(t *testing.T) int {
	t.Helper()
	err := p.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

// left is what lies in a folder of the process.
func (p *process) left(t *testing.T, name string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(p.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// worldImage is the image of testdata/world, or with a package more of that name
// in a layer on top, so that there are several that share layers.
func worldImage(t *testing.T, more string) *imagetest.Image {
	t.Helper()
	picture, err := os.ReadFile("testdata/world/app.txtar")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := imagetest.Parse(picture)
	if err != nil {
		t.Fatal(err)
	}
	if more != "" {
		spec.Name = "shop/" + more + ":1"
		spec.Layers = append(spec.Layers, imagetest.Layer{Entries: []imagetest.Entry{
			imagetest.File("app/node_modules/"+more+"/package.json", fmt.Sprintf(`{"name": %q, "version": "1.0.0"}`, more)),
		}})
	}
	img, err := spec.Build()
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// A slowRegistry serves the first half of each layer at once and then a byte at a
// time, for ever. Reading is closed once it does so.
type slowRegistry struct {
	imagetest.Registry
	layers  map[string][]byte // by digest
	once    sync.Once
	reading chan struct{}
}

func newSlowRegistry(t *testing.T, img *imagetest.Image) (r *slowRegistry, host string) {
	t.Helper()
	r = &slowRegistry{layers: map[string][]byte{}, reading: make(chan struct{})}
	r.Add(img)
	for _, b := range img.Blobs {
		r.layers[imagetest.Digest(b)] = b
	}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	return r, strings.TrimPrefix(server.URL, "http://")
}

func (r *slowRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	_, digest, _ := strings.Cut(req.URL.Path, "/blobs/")
	blob, ok := r.layers[digest]
	if !ok {
		r.Registry.ServeHTTP(w, req)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
	half := blob[:len(blob)/2]
	_, err := w.Write(half)
	for i := len(half); err == nil && i < len(blob)-1; i++ {
		if err = http.NewResponseController(w).Flush(); err == nil {
			_, err = w.Write(blob[i : i+1])
		}
		r.once.Do(func() { close(r.reading) })
		select {
		case <-req.Context().Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
	<-req.Context().Done()
}

// Ctrl-C in the middle of a download ends the scan within a second, and leaves
// nothing behind: no temporary file, and of the report neither a part nor an
// empty file.
func TestInterruptedScanLeavesNothing(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			registry, host := newSlowRegistry(t, worldImage(t, ""))
			p := newProcess(t, t.TempDir(), "scan", "--offline", "-f", "json=report.json", "-f", "table", "registry:"+host+"/shop/app:1.0")
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-registry.reading:
			case <-time.After(20 * time.Second):
				_ = p.Process.Kill()
				t.Fatalf("the scan never read a layer: %s", p.stderr.String())
			}
			start := time.Now()
			if err := p.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if code := p.code(t); code != exitError {
				t.Errorf("exit code %d; want %d", code, exitError)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("ended %s after the signal; want a second at most", took)
			}
			if got := p.stderr.String(); !strings.HasSuffix(got, "strata: interrupted\n") {
				t.Errorf("standard error %q; want it to end by saying that it was interrupted", got)
			}
			if p.stdout.Len() > 0 {
				t.Errorf("half a report was written: %q", p.stdout.String())
			}
			for _, dir := range []string{"tmp", "work"} {
				if left := p.left(t, dir); len(left) > 0 {
					t.Errorf("left in %s: %q", dir, left)
				}
			}
		})
	}
}

// worldMirror is a mirror of the world's advisories.
func worldMirror(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mirror")
	if err := writeMirror(dir, "testdata/world/osv"); err != nil {
		t.Fatal(err)
	}
	return dir
}

// worldFindings are those of the world's image that are active.
var worldFindings = []string{"CVE-2024-0001", "CVE-2024-0002", "CVE-2024-0003"}

// found reads what a scan with -f json found: active findings and the names of packages.
func (p *process) found(t *testing.T) (findings, packages []string) {
	t.Helper()
	var r report.Report
	if err := json.NewDecoder(&p.stdout).Decode(&r); err != nil {
		t.Fatalf("%v\n%s", err, p.stderr.String())
	}
	for i := range r.Findings {
		if r.Findings[i].Active() {
			findings = append(findings, r.Findings[i].ID)
		}
	}
	for i := range r.Packages {
		packages = append(packages, r.Packages[i].Name)
	}
	slices.Sort(findings)
	return findings, packages
}

// Scans that begin at the same time on one cache folder, which doesn't exist
// before, don't get into each other's way: neither making the databases, nor
// updating advisories, nor writing the layers that they share.
func TestConcurrentScansShareOneCache(t *testing.T) {
	const scans = 8
	dir, mirror := t.TempDir(), worldMirror(t)
	archives := t.TempDir()
	var running []*process
	for i := range scans {
		archive := filepath.Join(archives, fmt.Sprintf("%d.tar", i))
		if err := imagetest.WriteFile(archive, imagetest.OCIArchive, worldImage(t, fmt.Sprintf("own-%d", i))); err != nil {
			t.Fatal(err)
		}
		args := []string{"scan", "-q", "-f", "json", "--mirror", mirror, archive}
		running = append(running, newProcess(t, dir, args...))
	}
	for _, p := range running {
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range running {
		if code := p.code(t); code != exitPass || p.stderr.Len() > 0 {
			t.Errorf("scan %d: exit code %d, %s", i, code, p.stderr.String())
			continue
		}
		findings, packages := p.found(t)
		if diff := cmp.Diff(worldFindings, findings); diff != "" {
			t.Errorf("scan %d: findings (-want +got):\n%s", i, diff)
		}
		if own := fmt.Sprintf("own-%d", i); !slices.Contains(packages, own) || len(packages) != 7 {
			t.Errorf("scan %d: packages %q; want 7 with %s", i, packages, own)
		}
	}
	if left := running[0].left(t, "tmp"); len(left) > 0 {
		t.Errorf("left in the folder of temporary files: %q", left)
	}
	left := running[0].left(t, "cache")
	for _, name := range left {
		if strings.Contains(name, "new") {
			t.Errorf("a draft was left in the cache: %q", left)
		}
	}
}

// A first offline scan makes a database of the starter set; when several do, or a
// real update comes between, none fails.
func TestConcurrentFirstScansOffline(t *testing.T) {
	dir, mirror := t.TempDir(), worldMirror(t)
	archive := filepath.Join(t.TempDir(), "app.tar")
	if err := imagetest.WriteFile(archive, imagetest.OCIArchive, worldImage(t, "")); err != nil {
		t.Fatal(err)
	}
	update := newProcess(t, dir, "db", "update", "--mirror", mirror)
	running := []*process{update}
	for range 6 {
		running = append(running, newProcess(t, dir, "scan", "-q", "-f", "json", "--offline", "--allow-incomplete", archive))
	}
	for _, p := range running {
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range running {
		if code := p.code(t); code != exitPass {
			t.Errorf("process %d: exit code %d, %s", i, code, p.stderr.String())
		}
	}
	after := newProcess(t, dir, "scan", "-q", "-f", "json", "--offline", archive)
	if err := after.Start(); err != nil {
		t.Fatal(err)
	}
	if code := after.code(t); code != exitPass {
		t.Fatalf("exit code %d after all: %s", code, after.stderr.String())
	}
	if findings, _ := after.found(t); !cmp.Equal(worldFindings, findings) {
		t.Errorf("findings %q; want those of the real advisories, %q", findings, worldFindings)
	}
}

// SIGKILL at whatever moment leaves a cache that the next scan can use.
func TestKilledScanLeavesAUsableCache(t *testing.T) {
	dir, mirror := t.TempDir(), worldMirror(t)
	archive := filepath.Join(t.TempDir(), "app.tar")
	if err := imagetest.WriteFile(archive, imagetest.OCIArchive, worldImage(t, "")); err != nil {
		t.Fatal(err)
	}
	// In the middle of a download: certain, and of the rest what the moment gives.
	registry, host := newSlowRegistry(t, worldImage(t, "slow"))
	p := newProcess(t, dir, "scan", "--mirror", mirror, "registry:"+host+"/shop/slow:1")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-registry.reading:
	case <-time.After(20 * time.Second):
		t.Error("the scan never read a layer")
	}
	kill(t, p)
	for after := time.Duration(0); after < 120*time.Millisecond; after += 6 * time.Millisecond {
		p := newProcess(t, dir, "scan", "--db-max-age", "0s", "--mirror", mirror, archive)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after)
		kill(t, p)
	}
	p = newProcess(t, dir, "scan", "-q", "-f", "json", "--db-max-age", "0s", "--mirror", mirror, archive)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(30*time.Second, func() { _ = p.Process.Kill() }).Stop()
	if code := p.code(t); code != exitPass || p.stderr.Len() > 0 {
		t.Fatalf("exit code %d, %s", code, p.stderr.String())
	}
	if findings, _ := p.found(t); !cmp.Equal(worldFindings, findings) {
		t.Errorf("findings %q; want %q", findings, worldFindings)
	}
	for _, name := range p.left(t, "cache") {
		if strings.Contains(name, ".new-") {
			t.Errorf("the draft of a killed update was never removed: %s", name)
		}
	}
}

func kill(t *testing.T, p *process) {
	t.Helper()
	if err := p.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	_ = p.Wait() // killed, or done before
}

// When the reader of a pipe goes away, as head does, the command ends without a
// word, and leaves nothing.
func TestReaderGoesAway(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := newProcess(t, t.TempDir(), "demo")
	p.Stdout = w
	if err := errors.Join(r.Close(), p.Start(), w.Close()); err != nil {
		t.Fatal(err)
	}
	if code := p.code(t); code != exitError || p.stderr.Len() > 0 {
		t.Errorf("exit code %d, %q; want %d and no word", code, p.stderr.String(), exitError)
	}
	if left := p.left(t, "tmp"); len(left) > 0 {
		t.Errorf("left in the folder of temporary files: %q", left)
	}
}
