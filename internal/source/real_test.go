package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/image"
)

// absent skips a test that needs what isn't here, or fails it where all tests
// are required.
func absent(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("STRATA_TEST_REQUIRE") == "all" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// shared is a file of the folder of real images.
func shared(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../../shared/images", name))
	if err != nil {
		t.Fatal(err)
	}
	if !onDisk(path) {
		absent(t, "%s is not here", path)
	}
	return path
}

// program finds a program of the system.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		absent(t, "%s is not installed", name)
	}
	return path
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program(t, name), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// background runs a server until the test ends.
func background(t testing.TB, name string, args ...string) *bytes.Buffer {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(program(t, name), args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Servers that were interrupted end with an error or without: both are fine.
		_ = cmd.Process.Signal(os.Interrupt)
		timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		_ = cmd.Wait()
	})
	return &out
}

// until waits for a server to answer.
func until(t testing.TB, what string, ready func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ready() {
			return
		}
	}
	t.Fatalf("%s does not answer", what)
}

func listens(network, address string) func() bool {
	return func() bool {
		c, err := net.DialTimeout(network, address, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestRealEveryPlaceGivesTheSameLayers takes one image through every place that
// an image can be in.
func TestRealEveryPlaceGivesTheSameLayers(t *testing.T) {
	layout := shared(t, "oci")
	program(t, "skopeo")
	dir := t.TempDir()
	docker, oci := filepath.Join(dir, "go-app.tar"), filepath.Join(dir, "go-app.oci.tar")
	run(t, "skopeo", "copy", "-q", "oci:"+layout+":go-app", "docker-archive:"+docker+":strata-test/go-app:real")
	run(t, "skopeo", "copy", "-q", "oci:"+layout+":go-app", "oci-archive:"+oci+":strata-test/go-app:real")
	want := one(t, "oci:"+layout+":go-app", Options{})
	check := func(t *testing.T, ref string, o Options) {
		t.Helper()
		m := one(t, ref, o)
		if diff := cmp.Diff(diffIDs(want), diffIDs(m)); diff != "" {
			t.Errorf("%s: %s", ref, diff)
		}
		if m.ConfigDigest != want.ConfigDigest {
			t.Errorf("%s: image id %s, want %s", ref, m.ConfigDigest, want.ConfigDigest)
		}
		for i, l := range m.Layers {
			if l.CreatedBy != want.Layers[i].CreatedBy {
				t.Errorf("%s: layer %d by %q, want %q", ref, i, l.CreatedBy, want.Layers[i].CreatedBy)
			}
		}
		checkContent(t, m)
	}
	for _, ref := range []string{
		"oci:" + layout + ":go-app", "docker-archive:" + docker, docker + ":strata-test/go-app:real",
		"oci-archive:" + oci, oci, compressed(t, docker, gzipped), compressed(t, oci, zstandard),
	} {
		t.Run(strings.TrimPrefix(ref, dir), func(t *testing.T) { check(t, ref, Options{}) })
	}
	t.Run("registry", func(t *testing.T) {
		host := realRegistry(t, "")
		run(t, "skopeo", "copy", "-q", "--dest-tls-verify=false", "oci:"+layout+":go-app", "docker://"+host+"/team/go-app:1")
		check(t, "registry:"+host+"/team/go-app:1", quick())
	})
	t.Run("registry with htpasswd", func(t *testing.T) {
		line := run(t, "htpasswd", "-Bbn", "me", "secret")
		host := realRegistry(t, line)
		run(t, "skopeo", "copy", "-q", "--dest-tls-verify=false", "--dest-creds=me:secret", "oci:"+layout+":go-app", "docker://"+host+"/team/go-app:1")
		o := quick()
		if _, _, err := Open(t.Context(), "registry:"+host+"/team/go-app:1", o); err == nil || !strings.Contains(err.Error(), "docker login") {
			t.Errorf("without credentials: %v", err)
		}
		o.Username, o.Password = "me", "secret"
		check(t, "registry:"+host+"/team/go-app:1", o)
	})
	t.Run("docker", func(t *testing.T) {
		if exec.Command(program(t, "docker"), "version").Run() != nil {
			absent(t, "no Docker daemon")
		}
		run(t, "docker", "load", "-q", "-i", docker)
		t.Cleanup(func() {
			if out, err := exec.Command("docker", "rmi", "strata-test/go-app:real").CombinedOutput(); err != nil {
				t.Errorf("docker rmi: %s", out)
			}
		})
		check(t, "docker:strata-test/go-app:real", Options{})
		check(t, "strata-test/go-app:real", Options{}) // the daemon is asked first
		again := filepath.Join(dir, "saved.tar")
		run(t, "docker", "save", "-o", again, "strata-test/go-app:real")
		check(t, again, Options{})
		if _, _, err := Open(t.Context(), "docker:strata-test/none", Options{}); err == nil || !strings.Contains(err.Error(), "No such image") {
			t.Errorf("an image that the daemon doesn't have: %v", err)
		}
	})
	t.Run("podman", func(t *testing.T) {
		dir := shortDir(t) // podman wants short paths
		socket := filepath.Join(dir, "p.sock")
		store := []string{"--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "vfs"}
		if out, err := exec.Command(program(t, "podman"), append(store, "load", "-q", "-i", docker)...).CombinedOutput(); err != nil {
			absent(t, "podman can't load here: %s", out)
		}
		background(t, "podman", append(store, "system", "service", "--time", "0", "unix://"+socket)...)
		until(t, "podman", listens("unix", socket))
		check(t, "podman:strata-test/go-app:real", Options{PodmanSocket: socket})
	})
	t.Run("containerd", func(t *testing.T) {
		dir := shortDir(t)
		socket, config := filepath.Join(dir, "c.sock"), filepath.Join(dir, "config.toml")
		writeFile(t, config, fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n", dir+"/root", dir+"/state", socket), 0o644)
		if os.Getuid() != 0 {
			absent(t, "containerd runs as root only")
		}
		background(t, "containerd", "--config", config)
		until(t, "containerd", listens("unix", socket))
		run(t, "ctr", "-a", socket, "-n", "k8s.io", "images", "import", "--no-unpack", docker)
		check(t, "containerd:strata-test/go-app:real", Options{ContainerdSocket: socket})
		check(t, "containerd:docker.io/strata-test/go-app:real", Options{ContainerdSocket: "unix://" + socket, ContainerdNamespace: "k8s.io"})
		if _, _, err := Open(t.Context(), "containerd:nothere", Options{ContainerdSocket: socket}); err == nil || !strings.Contains(err.Error(), "no such image in namespace default, k8s.io, moby") {
			t.Errorf("an image that containerd doesn't have: %v", err)
		}
	})
}

// shortDir is a temporary folder whose path fits in a socket's address.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "st")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// realRegistry starts Debian's docker-registry, with a line of htpasswd or open.
func realRegistry(t testing.TB, htpasswd string) string {
	t.Helper()
	dir, host := t.TempDir(), freePort(t)
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("HOME", dir)
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s/storage}}\nhttp: {addr: %q, secret: x}\n", dir, host)
	if htpasswd != "" {
		writeFile(t, filepath.Join(dir, "htpasswd"), htpasswd+"\n", 0o600)
		config += fmt.Sprintf("auth: {htpasswd: {realm: test, path: %s/htpasswd}}\n", dir)
	}
	writeFile(t, filepath.Join(dir, "config.yml"), config, 0o644)
	background(t, "docker-registry", "serve", filepath.Join(dir, "config.yml"))
	until(t, "docker-registry", func() bool {
		resp, err := http.Get("http://" + host + "/v2/")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	return host
}

// TestRealSharedImages reads every real image to its end.
func TestRealSharedImages(t *testing.T) {
	refs := []string{shared(t, "alpine-311.tar.gz") + ":alpine:3.11", shared(t, "odd.tar.gz"), "oci:" + shared(t, "odd.oci") + ":odd"}
	for _, tag := range []string{"debian12-slim", "go-app", "rpm-fedora35", "rpm-mariner2", "rpm-centos7", "rpm-ubi8", "rpm-sle15"} {
		refs = append(refs, shared(t, "oci")+":"+tag)
	}
	for _, ref := range refs {
		t.Run(filepath.Base(ref), func(t *testing.T) { checkContent(t, one(t, ref, Options{})) })
	}
	a, b := one(t, refs[1], Options{}), one(t, refs[2], Options{})
	if diff := cmp.Diff(diffIDs(a), diffIDs(b)); diff != "" {
		t.Errorf("odd as a docker-archive and as a layout: %s", diff)
	}
	if m := one(t, shared(t, "oci")+":rpm-ubi8", Options{}); m.Platform.Architecture != "s390x" {
		t.Errorf("rpm-ubi8 is for %s", m.Platform)
	}
}

func TestRealIndexes(t *testing.T) {
	layout := shared(t, "odd.oci")
	for tag, want := range map[string][]string{":odd-multiarch": {"linux/amd64", "linux/arm64"}, ":odd-nested": {"linux/amd64"}} {
		one(t, layout+tag, Options{Platform: image.Platform{OS: "linux", Architecture: "amd64"}})
		all := openT(t, layout+tag, Options{AllPlatforms: true})
		var platforms []string
		for _, m := range all {
			platforms = append(platforms, m.Platform.String())
			checkContent(t, m)
		}
		if diff := cmp.Diff(want, platforms); diff != "" {
			t.Errorf("%s: %s", tag, diff)
		}
		_, _, err := Open(t.Context(), layout+tag, Options{Platform: image.Platform{OS: "plan9", Architecture: "mips"}})
		if err == nil || !strings.Contains(err.Error(), strings.Join(want, ", ")) {
			t.Errorf("%s: %v, want an error that lists the platforms", tag, err)
		}
	}
}

// TestRealHostile opens every hostile image: those whose documents lie are
// refused, all others open.
func TestRealHostile(t *testing.T) {
	raw, err := os.ReadFile(shared(t, "hostile/expect.json"))
	if err != nil {
		t.Fatal(err)
	}
	var expect map[string]any
	if err := json.Unmarshal(raw, &expect); err != nil {
		t.Fatal(err)
	}
	refused := map[string]string{
		"config-garbage":   "is not valid JSON",
		"config-mismatch":  "config lists 0 diff_ids, manifest 2 layers",
		"manifest-garbage": "is not a valid manifest",
	}
	for name := range expect {
		path := filepath.Join(filepath.Dir(shared(t, "hostile/expect.json")), name+".oci.tar")
		if !onDisk(path) {
			continue // made by hostile.py on demand
		}
		t.Run(name, func(t *testing.T) {
			images, closer, err := Open(t.Context(), path, Options{})
			if want := refused[name]; want != "" {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Open: %v, want %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer closer.Close()
			if name != "missing-blob" {
				return
			}
			failed := 0
			for _, r := range readAll(t, images[0], images[0].Layers) {
				if r.err != nil {
					failed++
					if !errors.Is(r.err, fs.ErrNotExist) || !strings.Contains(r.err.Error(), string(r.layer.Digest)) {
						t.Errorf("layer %d: %v, want an error that names the blob", r.layer.Index, r.err)
					}
				}
			}
			if failed != 1 {
				t.Errorf("%d layers failed, want one", failed)
			}
		})
	}
}
