package source

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/image"
	"strata/internal/imagetest"
)

// fakeEngine answers for one image, which it saves as the given tar.
type fakeEngine struct {
	built   *imagetest.Image
	history string
	save    func(http.ResponseWriter)
	exports int
}

func (e *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == "/images/team/app:1/json":
		layers, _ := json.Marshal(builtDiffIDs(e.built))
		fmt.Fprintf(w, `{"Id":%q,"Os":"linux","Architecture":"amd64","Created":"2024-01-01T00:00:00.5Z","Config":{"Labels":{"team":"a"}},"RootFS":{"Type":"layers","Layers":%s}}`, e.built.ConfigDigest(), layers)
	case path == "/images/"+e.built.ConfigDigest()+"/history":
		w.Write([]byte(e.history))
	case path == "/images/"+e.built.ConfigDigest()+"/get":
		e.exports++
		e.save(w)
	default:
		w.WriteHeader(http.StatusNotFound)
		w.Write([]byte(`{"message":"no such image"}`))
	}
}

// listen serves an engine on a Unix socket.
func listen(t testing.TB, h http.Handler) string {
	t.Helper()
	socket := filepath.Join(shortDir(t), "e.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
	return socket
}

// savedTar is what an engine sends: layers by the name that name gives them.
func savedTar(t testing.TB, built *imagetest.Image, stored [][]byte, name func(i int) string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	put := func(name string, b []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	put("blobs/sha256/"+image.Digest(built.ConfigDigest()).Hex(), built.Config)
	for i, b := range stored {
		put(name(i), b)
	}
	put("manifest.json", []byte("[]"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestEngine(t *testing.T) {
	built := threeLayers(t, "team/app:1")
	hexes := func(i int) string { return image.DiffID(built.DiffID(i)).Hex() }
	forms := map[string][]byte{
		"Docker 20":              savedTar(t, built, built.Tars, func(i int) string { return fmt.Sprint(strings.Repeat(fmt.Sprint(i), 64), "/layer.tar") }),
		"Docker 25":              savedTar(t, built, built.Tars, func(i int) string { return "blobs/sha256/" + hexes(i) }),
		"Docker with containerd": savedTar(t, built, built.Blobs, func(i int) string { return "blobs/sha256/" + image.Digest(built.BlobDigest(i)).Hex() }),
		"Podman":                 savedTar(t, built, built.Tars, func(i int) string { return hexes(i) + ".tar" }),
	}
	for name, sent := range forms {
		t.Run(name, func(t *testing.T) {
			e := &fakeEngine{built: built, save: func(w http.ResponseWriter) { w.Write(sent) },
				history: `[{"Created":9,"CreatedBy":"COPY c","Size":0},{"CreatedBy":"COPY b","Size":5000},{"Created":8,"CreatedBy":"RUN a","Size":300000},{"CreatedBy":"/bin/sh -c #(nop)  ENV LANG=C","Size":0},{"CreatedBy":"ADD","Size":9}]`}
			o := Options{PodmanSocket: listen(t, e)}
			m := one(t, "podman:team/app:1", o)
			var by []string
			for _, l := range m.Layers {
				by = append(by, l.CreatedBy)
			}
			if diff := cmp.Diff([]string{"ADD", "RUN a", "COPY b", "COPY c"}, by); diff != "" {
				t.Error(diff)
			}
			if m.Labels["team"] != "a" || m.Platform.String() != "linux/amd64" || m.Layers[1].Created.Unix() != 8 || m.Created.IsZero() {
				t.Errorf("%+v", m)
			}
			checkContent(t, m)
			readAll(t, m, nil)
			if e.exports != 1 {
				t.Errorf("%d exports, want one: none when nothing is wanted", e.exports)
			}
			got := readAll(t, m, m.Layers[1:2])
			if last := got[len(got)-1]; len(got) == 1 && (last.layer.Index != 1 || last.diffID != m.Layers[1].DiffID) {
				t.Errorf("one layer: %+v", got)
			}
			if identified := name == "Docker 25" || name == "Podman"; identified && len(got) != 1 {
				t.Errorf("%d blobs came where one was wanted", len(got))
			}
		})
	}
}

func TestEngineFails(t *testing.T) {
	built := threeLayers(t, "team/app:1")
	e := &fakeEngine{built: built, history: `nonsense`}
	o := Options{DockerHost: listen(t, e)}
	m := one(t, "docker:team/app:1", o)
	e.save = func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusInternalServerError)
		w.Write([]byte(`{"message":"no space left"}`))
	}
	for _, r := range readAll(t, m, m.Layers) {
		if r.err == nil || !strings.Contains(r.err.Error(), "no space left") {
			t.Errorf("layer %d: %v", r.layer.Index, r.err)
		}
	}
	// Broken off: what came is good, and the rest is told, by layer or at all.
	cut := func(sent []byte) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.Write(sent[:300_000]) }
	}
	e.save = cut(savedTar(t, built, built.Tars, func(i int) string { return image.DiffID(built.DiffID(i)).Hex() + ".tar" }))
	got := readAll(t, m, m.Layers)
	if len(got) != len(m.Layers) || got[0].err != nil || got[1].err == nil || got[3].err == nil {
		t.Errorf("a stream that broke off: %+v", got)
	}
	e.save = cut(savedTar(t, built, built.Tars, func(i int) string { return fmt.Sprint(i, "/layer.tar") }))
	err := m.Content.Each(t.Context(), m.Layers, 1, func(ctx context.Context, b image.Blob) error { read(ctx, b); return nil })
	if err == nil || !strings.Contains(err.Error(), "broke off") {
		t.Errorf("a stream of unknown layers that broke off: %v", err)
	}
	stop := errors.New("stop")
	if err := m.Content.Each(t.Context(), m.Layers, 1, func(context.Context, image.Blob) error { return stop }); err != stop {
		t.Errorf("Each: %v, want visit's error", err)
	}
	for ref, want := range map[string]string{
		"docker:none": "no such image", "docker:../containers/json": "not a valid name", "docker:a?x=1": "not a valid name",
	} {
		if _, _, err := Open(t.Context(), ref, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", ref, err, want)
		}
	}
	o.Platform = image.Platform{OS: "linux", Architecture: "arm64"}
	if _, _, err := Open(t.Context(), "docker:team/app:1", o); err == nil || !strings.Contains(err.Error(), "is for linux/amd64") {
		t.Errorf("another platform: %v", err)
	}
}

func TestAlignPast(t *testing.T) {
	run, env, work := past{CreatedBy: "RUN a", Size: 1}, past{CreatedBy: "ENV a=b # buildkit"}, past{CreatedBy: "WORKDIR /a"}
	for name, tt := range map[string]struct {
		history []past
		n       int
		want    []int
	}{
		"all":            {[]past{run, work}, 2, []int{0, 1}},
		"by instruction": {[]past{run, env, work}, 2, []int{0, 2}},
		"by size":        {[]past{run, env, work}, 1, []int{0}},
		"none fits":      {[]past{run, env, work}, 7, nil},
	} {
		if diff := cmp.Diff(tt.want, alignPast(tt.history, tt.n)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestDockerAddress(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	env := map[string]string{"DOCKER_CONFIG": dir}
	lookup := func(name string) string { return env[name] }
	want := func(url string, withTLS bool, o Options) {
		t.Helper()
		o.Env = lookup
		e, err := dockerAddress(o)
		if err != nil || e.url != url || (e.tls != nil) != withTLS {
			t.Errorf("dockerAddress: %+v, %v, want %s", e, err, url)
		}
	}
	sum := sha256.Sum256([]byte("remote"))
	meta := filepath.Join(dir, "contexts/meta", hex.EncodeToString(sum[:]))
	if err := os.MkdirAll(meta, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(meta, "meta.json"), `{"Name":"remote","Endpoints":{"docker":{"Host":"tcp://far:2375"}}}`, 0o644)
	writeFile(t, filepath.Join(dir, "config.json"), `{"currentContext":"remote"}`, 0o644)
	want("tcp://far:2375", false, Options{})
	env["DOCKER_CONTEXT"] = "gone"
	if _, err := dockerAddress(Options{Env: lookup}); err == nil || !strings.Contains(err.Error(), `Docker context "gone"`) {
		t.Errorf("a context that is not there: %v", err)
	}
	env["DOCKER_HOST"] = "tcp://near:2376"
	want("tcp://near:2376", false, Options{})
	env["DOCKER_TLS_VERIFY"] = "1"
	want("tcp://near:2376", true, Options{})
	want("/x.sock", false, Options{DockerHost: "/x.sock"})
	for url, wantBase := range map[string]string{
		"/x.sock": "unix /x.sock http://localhost", "unix:///y.sock": "unix /y.sock http://localhost",
		"tcp://a:1": "tcp a:1 http://a:1", "https://a:1": "tcp a:1 https://a:1", "ssh://a": "error", "npipe:////./pipe/docker": "error", "%": "error",
	} {
		network, address, base, err := endpoint{url: url}.network()
		if got := network + " " + address + " " + base; err == nil && got != wantBase || (err != nil) != (wantBase == "error") {
			t.Errorf("%s: %s, %v, want %s", url, got, err, wantBase)
		}
	}
}
