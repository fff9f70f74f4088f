package imagetest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const picture = `# an example with everything
name: demo/app:1.0
platform: linux/arm64/v8
label: team=a
created_by: layer0: ADD rootfs.tar /
before: layer1: ENV LANG=C
created_by: layer1: RUN rm: all
compression: layer1: zstd
compression: layer2: none
layers: 4
-- layer0/etc/os-release --
ID=debian
-- layer0/usr/bin/ --
-- layer0/bin -> usr/bin --
-- layer0/usr/bin/a (0755) --
#!/bin/sh
-- layer0/usr/bin/b => usr/bin/a --
-- layer1/usr/lib/.wh.foo (trim) --
-- layer1/app/a.war!/WEB-INF/lib/b.jar!/META-INF/MANIFEST.MF --
Name: b
-- layer1/app/a.war!/WEB-INF/web.xml --
<x/>
-- layer2/raw (base64) --
AAEC
/w==
-- layer2/etc/os-release --
ID=twice
-- layer2/etc/os-release --
ID=thrice
-- layer2/noise (fill=100) --
-- want --
here
`

func build(t *testing.T, text string) *Image {
	t.Helper()
	s, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// list shows a tar as lines of "name type link mode size".
func list(t *testing.T, data []byte) (names []string, bodies map[string][]byte) {
	t.Helper()
	bodies = map[string][]byte{}
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, bodies
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		line := string(h.Typeflag) + " " + h.Name
		if h.Linkname != "" {
			line += " " + h.Linkname
		}
		names = append(names, line)
		bodies[h.Name] = b
	}
}

func TestParseMakesTheTarsOfThePicture(t *testing.T) {
	m := build(t, picture)
	want := [][]string{
		{"0 etc/os-release", "5 usr/bin/", "2 bin usr/bin", "0 usr/bin/a", "1 usr/bin/b usr/bin/a"},
		{"0 usr/lib/.wh.foo", "0 app/a.war"},
		{"0 raw", "0 etc/os-release", "0 etc/os-release", "0 noise"},
		nil,
	}
	var got [][]string
	var bodies []map[string][]byte
	for _, plain := range m.Tars {
		names, b := list(t, plain)
		got = append(got, names)
		bodies = append(bodies, b)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]byte{0, 1, 2, 255}, bodies[2]["raw"]); diff != "" {
		t.Errorf("base64 (-want +got):\n%s", diff)
	}
	if n := len(bodies[2]["noise"]); n != 100 {
		t.Errorf("fill=100 made %d bytes", n)
	}
	war := unzip(t, bodies[1]["app/a.war"])
	jar := unzip(t, war["WEB-INF/lib/b.jar"])
	if diff := cmp.Diff(map[string][]byte{"META-INF/MANIFEST.MF": []byte("Name: b\n")}, jar); diff != "" {
		t.Errorf("nested jar (-want +got):\n%s", diff)
	}
}

func unzip(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[f.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestBuildDescribesTheLayers(t *testing.T) {
	m := build(t, picture)
	var c struct {
		Architecture, Variant string
		RootFS                struct {
			DiffIDs []string `json:"diff_ids"`
		}
		History []struct {
			CreatedBy  string `json:"created_by"`
			EmptyLayer bool   `json:"empty_layer"`
		}
	}
	if err := json.Unmarshal(m.Config, &c); err != nil {
		t.Fatal(err)
	}
	if c.Architecture != "arm64" || c.Variant != "v8" {
		t.Errorf("platform is %s/%s, want arm64/v8", c.Architecture, c.Variant)
	}
	var instructions []string
	for _, h := range c.History {
		instructions = append(instructions, h.CreatedBy)
	}
	if diff := cmp.Diff([]string{"ADD rootfs.tar /", "ENV LANG=C", "RUN rm: all", "", ""}, instructions); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	if len(c.RootFS.DiffIDs) != 4 {
		t.Fatalf("%d diff ids, want 4", len(c.RootFS.DiffIDs))
	}
	for i, blob := range m.Blobs {
		if got := Digest(decompress(t, blob)); got != c.RootFS.DiffIDs[i] {
			t.Errorf("layer %d decompresses to %s, the configuration says %s", i, got, c.RootFS.DiffIDs[i])
		}
	}
	if again := build(t, picture); again.Digest() != m.Digest() {
		t.Errorf("built twice: %s and %s", m.Digest(), again.Digest())
	}
}

func decompress(t *testing.T, blob []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(blob)
	switch {
	case bytes.HasPrefix(blob, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		r = z
	case bytes.HasPrefix(blob, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"nonsense\n", `line "nonsense"`},
		{"colour: red\n", `unknown key "colour"`},
		{"created_by: RUN x\n", "want created_by: layerN"},
		{"compression: layer0: lzma\n", `compression "lzma"`},
		{"platform: linux\n", "os/arch"},
		{"layers: 5000\n", "at most 1000"},
		{"-- layer0/ --\n", "no path"},
		{"-- layer0/a -> b --\ntext\n", "no content"},
		{"-- layer0/a (shiny) --\n", `unknown attribute "shiny"`},
		{"-- layer0/a (base64) --\n***\n", "base64"},
		{"-- layer0/a (fill=99999999999) --\n", "fill=99999999999"},
	} {
		_, err := Parse([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Parse(%q) = %v, want an error with %q", c.text, err, c.want)
		}
	}
}

func TestArchivesHoldTheImage(t *testing.T) {
	m := build(t, picture)
	dir := t.TempDir()
	for _, format := range []Format{OCIArchive, DockerArchive} {
		p := filepath.Join(dir, string(format)+".tar")
		if err := WriteFile(p, format, m, m); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		names, bodies := list(t, data)
		for i := range m.Tars {
			name, want := hexOf(m.Tars[i])+"/layer.tar", m.Tars[i]
			if format == OCIArchive {
				name, want = blobPath(m.Blobs[i]), m.Blobs[i]
			}
			if !bytes.Equal(bodies[name], want) {
				t.Errorf("%s: %s isn't layer %d; it has %q", format, name, i, names)
			}
		}
	}
	if err := WriteFile(filepath.Join(dir, "layout"), OCILayout, m); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "layout", blobPath(m.Manifest)))
	if err != nil || !bytes.Equal(got, m.Manifest) {
		t.Errorf("the layout's manifest is %q, %v", got, err)
	}
	if err := WriteFile(filepath.Join(dir, "x"), "zip", m); err == nil {
		t.Error("WriteFile took the format zip")
	}
}

func TestImagesOfOneNameAreAnIndex(t *testing.T) {
	arm := build(t, "name: demo/multi:1\nplatform: linux/arm64/v8\n-- layer0/a --\n")
	amd := build(t, "name: demo/multi:1\n-- layer0/a --\n")
	other := build(t, "name: demo/other:2\n-- layer0/b --\n")
	var top, child index
	files := map[string][]byte{}
	for _, f := range layoutFiles([]*Image{arm, other, amd}) {
		files[f.name] = f.data
	}
	if err := json.Unmarshal(files["index.json"], &top); err != nil {
		t.Fatal(err)
	}
	var tags []string
	for _, d := range top.Manifests {
		tags = append(tags, d.MediaType+" "+d.Annotations[refName])
	}
	if diff := cmp.Diff([]string{indexType + " 1", manifestType + " 2"}, tags); diff != "" {
		t.Errorf("index.json (-want +got):\n%s", diff)
	}
	if err := json.Unmarshal(files["blobs/sha256/"+strings.TrimPrefix(top.Manifests[0].Digest, "sha256:")], &child); err != nil {
		t.Fatal(err)
	}
	want := []platform{{OS: "linux", Architecture: "arm64", Variant: "v8"}, {OS: "linux", Architecture: "amd64"}}
	var got []platform
	for _, d := range child.Manifests {
		got = append(got, *d.Platform)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
}

func TestRegistryServesImages(t *testing.T) {
	one := build(t, picture)
	two := build(t, "name: demo/app:2.0\n-- layer0/a --\n")
	var r Registry
	r.Add(one, two)
	arm := build(t, "name: demo/multi:1\nplatform: linux/arm64\n-- layer0/a --\n")
	amd := build(t, "name: demo/multi:1\n-- layer0/a --\n")
	r.Add(arm, amd)
	server := httptest.NewServer(&r)
	defer server.Close()

	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/v2/", 200, ""},
		{"/v2/_catalog", 200, `{"repositories":["demo/app","demo/multi"]}` + "\n"},
		{"/v2/demo/app/tags/list", 200, `{"name":"demo/app","tags":["1.0","2.0"]}` + "\n"},
		{"/v2/demo/app/manifests/1.0", 200, string(one.Manifest)},
		{"/v2/demo/app/manifests/" + one.Digest(), 200, string(one.Manifest)},
		{"/v2/demo/multi/manifests/1", 200, string(indexOf([]*Image{arm, amd}))},
		{"/v2/demo/multi/manifests/" + arm.Digest(), 200, string(arm.Manifest)},
		{"/v2/demo/app/blobs/" + one.BlobDigest(1), 200, string(one.Blobs[1])},
		{"/v2/demo/app/manifests/9.9", 404, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`},
		{"/v2/none/tags/list", 404, `{"errors":[{"code":"NAME_UNKNOWN"}]}`},
	} {
		resp, err := server.Client().Get(server.URL + c.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != c.status || string(body) != c.want {
			t.Errorf("GET %s = %d %q, want %d %q", c.path, resp.StatusCode, body, c.status, c.want)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}
