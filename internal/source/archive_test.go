package source

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/image"
	"strata/internal/imagetest"
)

func TestEveryFormOnDiskGivesTheSameImage(t *testing.T) {
	built := threeLayers(t, "demo/app:1.0")
	oci, docker := write(t, "app.oci.tar", imagetest.OCIArchive, built), write(t, "app.tar", imagetest.DockerArchive, built)
	layout := write(t, "layout", imagetest.OCILayout, built)
	refs := []string{
		"oci:" + layout, "oci:" + layout + ":1.0", "oci-dir:" + layout + "@" + built.Digest(), layout, layout + ":1.0",
		"oci-archive:" + oci, "oci-archive:" + oci + ":1.0", oci, oci + ":1.0",
		compressed(t, oci, gzipped), compressed(t, oci, zstandard) + ":1.0",
		"docker-archive:" + docker, "docker-archive:" + docker + ":demo/app:1.0", docker, docker + ":docker.io/demo/app:1.0",
		docker + "@" + built.ConfigDigest(), docker + "@0",
		compressed(t, docker, gzipped), "docker-archive:" + compressed(t, docker, zstandard) + ":demo/app:1.0",
	}
	for _, ref := range refs {
		t.Run(strings.ReplaceAll(ref, t.TempDir(), ""), func(t *testing.T) {
			m := one(t, ref, Options{})
			if diff := cmp.Diff(builtDiffIDs(built), diffIDs(m)); diff != "" {
				t.Error(diff)
			}
			if m.ConfigDigest != image.Digest(built.ConfigDigest()) || m.Reference != ref || m.Labels["team"] != "a" {
				t.Errorf("image: %+v", m)
			}
			if m.Layers[0].CreatedBy != "ADD rootfs.tar /" || m.Layers[1].CreatedBy != "RUN something" || m.Layers[1].Created.IsZero() {
				t.Errorf("history is not aligned: %+v", m.Layers)
			}
			for _, l := range m.Layers {
				if l.Size < 0 {
					t.Errorf("layer %d: size is not known", l.Index)
				}
			}
			checkContent(t, m)
		})
	}
}

// Plain layers are read without copies where the file allows it.
func TestRandomAccess(t *testing.T) {
	built := threeLayers(t, "a:1")
	for _, ref := range []string{write(t, "l", imagetest.OCILayout, built), write(t, "d.tar", imagetest.DockerArchive, built)} {
		m := one(t, ref, Options{})
		err := m.Content.Each(t.Context(), m.Layers[2:3], 1, func(ctx context.Context, b image.Blob) error {
			r, err := b.Open(ctx)
			if err != nil {
				return err
			}
			defer r.Close()
			at, ok := r.(io.ReaderAt)
			if !ok {
				t.Fatalf("%s: %T is not an io.ReaderAt", ref, r)
			}
			got := make([]byte, 100)
			if _, err := at.ReadAt(got, 1000); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, built.Tars[2][1000:1100]) {
				t.Errorf("%s: other bytes than the layer's", ref)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestSeveralImages(t *testing.T) {
	a, b := threeLayers(t, "a:1"), picture(t, "name: b:2\n-- layer0/x --\nx\n")
	for _, path := range []string{
		write(t, "x.oci.tar", imagetest.OCIArchive, a, b), write(t, "x.tar", imagetest.DockerArchive, a, b), write(t, "x", imagetest.OCILayout, a, b),
	} {
		_, _, err := Open(t.Context(), path, Options{})
		if err == nil || !strings.Contains(err.Error(), "several images") || !strings.Contains(err.Error(), path+":") {
			t.Errorf("%s: %v, want an error that lists the images", path, err)
		}
		_, _, err = Open(t.Context(), path+":nope", Options{})
		if err == nil || !strings.Contains(err.Error(), `no image "nope"`) {
			t.Errorf("%s: %v, want an error that names the tag", path, err)
		}
	}
	if m := one(t, write(t, "x.tar", imagetest.DockerArchive, a, b)+":b:2", Options{}); len(m.Layers) != 1 {
		t.Errorf("b:2 has %d layers", len(m.Layers))
	}
}

// tarFile writes a tar of the headers, each with its name's body.
func tarFile(t *testing.T, bodies map[string][]byte, headers ...tar.Header) string {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		h.Mode, h.Size = 0o644, int64(len(bodies[h.Name]))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bodies[h.Name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.tar")
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Docker before 25 saves a layer that an image has twice as a symbolic link.
func TestLinkedLayers(t *testing.T) {
	built := picture(t, "name: a:1\ncompression: layer0: none\n-- layer0/x --\nx\n")
	config := fmt.Sprintf(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[%q,%q,%q]}}`, built.DiffID(0), built.DiffID(0), built.DiffID(0))
	manifest := `[{"Config":"c.json","RepoTags":null,"Layers":["1/layer.tar","2/layer.tar","3/layer.tar"]}]`
	path := tarFile(t, map[string][]byte{"./manifest.json": []byte(manifest), "c.json": []byte(config), "2/layer.tar": built.Tars[0]},
		tar.Header{Name: "1/layer.tar", Typeflag: tar.TypeSymlink, Linkname: "../2/layer.tar"},
		tar.Header{Name: "2/layer.tar"},
		tar.Header{Name: "3/layer.tar", Typeflag: tar.TypeLink, Linkname: "2/layer.tar"},
		tar.Header{Name: "c.json"}, tar.Header{Name: "./manifest.json"},
	)
	for _, ref := range []string{path, compressed(t, path, gzipped)} {
		m := one(t, ref, Options{})
		if got := readAll(t, m, m.Layers); len(got) != 3 {
			t.Errorf("%s: %d readings, want one for each of the 3 layers", ref, len(got))
		}
		checkContent(t, m)
	}
}

func TestLinksInCirclesAndOddEntries(t *testing.T) {
	id := "sha256:" + strings.Repeat("a", 64)
	config := fmt.Sprintf(`{"rootfs":{"diff_ids":[%q,%q,%q,%q]}}`, id, id, id, id)
	manifest := `[{"Config":"c.json","Layers":["1","3","4","../../etc/passwd"]}]`
	path := tarFile(t, map[string][]byte{"manifest.json": []byte(manifest), "c.json": []byte(config)},
		tar.Header{Name: "1", Typeflag: tar.TypeSymlink, Linkname: "2"}, tar.Header{Name: "2", Typeflag: tar.TypeSymlink, Linkname: "1"},
		tar.Header{Name: "3", Typeflag: tar.TypeFifo}, tar.Header{Name: "4", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		tar.Header{Name: "c.json"}, tar.Header{Name: "manifest.json"},
	)
	for _, ref := range []string{path, compressed(t, path, gzipped)} {
		m := one(t, ref, Options{})
		got := readAll(t, m, m.Layers)
		for i, want := range []string{"circles", "not a regular file", "not in the archive", "not in the archive"} {
			if got[i].err == nil || !strings.Contains(got[i].err.Error(), want) {
				t.Errorf("layer %d: %v, want %q", i, got[i].err, want)
			}
		}
	}
}

func TestDamagedArchives(t *testing.T) {
	built := threeLayers(t, "a:1")
	whole, err := os.ReadFile(write(t, "a.tar", imagetest.OCIArchive, built))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	save := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct{ ref, want string }{
		{save("cut.tar", whole[:len(whole)/2]), "damaged"},
		{save("empty.tar", nil), "empty"},
		{save("text.tar", []byte("hello")), "not an image"},
		{save("json.json", []byte(`{"a":1}`)), "neither CycloneDX nor SPDX"},
		{compressed(t, save("half", whole[:len(whole)/2]), gzipped), "damaged"},
		{save("magic.gz", []byte("\x1f\x8b\x08")), "unexpected EOF"},
		{save("x.xz", []byte("\xfd7zXZ\x00aaaaaaaaaaaaaa")), "uncompress it first"},
		{"docker-archive:" + save("o.tar", whole), "write oci-archive:"},
		{"docker-archive:" + dir, "is a folder"},
		{"oci:" + dir, "index.json"},
		{"oci:" + filepath.Join(dir, "nope"), "no such file"},
		{"oci-archive:/dev/null", "not a regular file"},
		{tarFile(t, nil, tar.Header{Name: "etc/passwd"}), "not of an image"},
	} {
		if _, _, err := Open(t.Context(), tt.ref, Options{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Open(%s): %v, want %q", tt.ref, err, tt.want)
		}
	}
}

// A layer that was cut off or left out is an error of that layer only.
func TestMissingAndCutLayers(t *testing.T) {
	built := threeLayers(t, "a:1")
	layout := write(t, "l", imagetest.OCILayout, built)
	blob := filepath.Join(layout, "blobs", strings.Replace(built.BlobDigest(1), ":", "/", 1))
	if err := os.Remove(blob); err != nil {
		t.Fatal(err)
	}
	m := one(t, layout, Options{})
	got := readAll(t, m, m.Layers)
	if err := got[1].err; err == nil || !strings.Contains(err.Error(), "blob "+built.BlobDigest(1)+" is not in the layout") {
		t.Errorf("layer 1: %v", err)
	}
	if got[0].err != nil || got[2].err != nil {
		t.Errorf("other layers: %v, %v", got[0].err, got[2].err)
	}
	// Nothing outside of the folder is opened, by whatever link.
	if err := os.Symlink("/etc/passwd", blob); err != nil {
		t.Fatal(err)
	}
	if r := readAll(t, m, m.Layers[1:2]); r[0].err == nil || !strings.Contains(r[0].err.Error(), "escapes") {
		t.Errorf("a link out of the layout: %v", r[0].err)
	}
}

func TestCutOffArchiveKeepsItsGoodLayers(t *testing.T) {
	built := threeLayers(t, "a:1")
	id := built.DiffID
	config := fmt.Sprintf(`{"rootfs":{"diff_ids":[%q,%q]}}`, id(0), id(1))
	path := tarFile(t, map[string][]byte{"manifest.json": []byte(`[{"Config":"c.json","Layers":["0.tar","1.tar"]}]`), "c.json": []byte(config), "0.tar": built.Tars[0], "1.tar": built.Tars[1]},
		tar.Header{Name: "manifest.json"}, tar.Header{Name: "c.json"}, tar.Header{Name: "0.tar"}, tar.Header{Name: "1.tar"})
	info, _ := os.Stat(path)
	if err := os.Truncate(path, info.Size()-50_000); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{path, compressed(t, path, gzipped)} {
		m := one(t, ref, Options{})
		got := readAll(t, m, m.Layers)
		if got[0].err != nil || got[0].diffID != image.DiffID(id(0)) {
			t.Errorf("%s: layer 0: %+v", ref, got[0])
		}
		if !errors.Is(got[1].err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: layer 1: %v, want an unexpected end", ref, got[1].err)
		}
	}
}

func TestStreamStopsEarlyAndSkipsUnread(t *testing.T) {
	built := threeLayers(t, "a:1")
	m := one(t, compressed(t, write(t, "a.tar", imagetest.DockerArchive, built), gzipped), Options{})
	var kept io.Reader
	var visited []int
	err := m.Content.Each(t.Context(), m.Layers, 1, func(ctx context.Context, b image.Blob) error {
		visited = append(visited, b.Layer.Index)
		if b.Layer.Index == 1 {
			return nil // left unread
		}
		r, err := b.Open(ctx)
		if err != nil {
			return err
		}
		kept = r
		if _, err := b.Open(ctx); err == nil {
			t.Error("a layer of a stream opened twice")
		}
		_, err = io.Copy(io.Discard, io.LimitReader(r, 100))
		return err
	})
	if err != nil || len(visited) != 4 {
		t.Errorf("Each: %v, visited %v", err, visited)
	}
	if _, err := kept.Read(make([]byte, 1)); err == nil {
		t.Error("a layer was read after its visit")
	}
	stop := errors.New("stop")
	if err := m.Content.Each(t.Context(), m.Layers, 1, func(context.Context, image.Blob) error { return stop }); err != stop {
		t.Errorf("Each: %v, want visit's error", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = m.Content.Each(ctx, m.Layers, 1, func(context.Context, image.Blob) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Each: %v, want canceled", err)
	}
}

func TestPlatformAskedOfAnArchive(t *testing.T) {
	path := write(t, "a.tar", imagetest.DockerArchive, picture(t, "name: a:1\nplatform: linux/s390x\n-- layer0/x --\nx\n"))
	one(t, path, Options{}) // the only image is taken, whatever it is for
	_, _, err := Open(t.Context(), path, Options{Platform: image.Platform{OS: "linux", Architecture: "arm64"}})
	if err == nil || !strings.Contains(err.Error(), "is for linux/s390x, not for linux/arm64") {
		t.Errorf("Open: %v", err)
	}
}
