package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"strata/internal/image"
	"strata/internal/imagetest"
)

// quick are options for tests of failures: no pauses.
func quick() Options {
	return Options{timing: timing{backoff: time.Millisecond, idle: 5 * time.Second, now: time.Now}}
}

// picture builds an image of an imagetest picture.
func picture(t testing.TB, text string) *imagetest.Image {
	t.Helper()
	s, err := imagetest.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// threeLayers has a layer of each compression, one of them empty.
func threeLayers(t testing.TB, name string) *imagetest.Image {
	return picture(t, "name: "+name+`
label: team=a
created_by: layer0: ADD rootfs.tar /
before: layer1: ENV LANG=C
created_by: layer1: RUN something
compression: layer1: zstd
compression: layer2: none
layers: 4
-- layer0/etc/os-release --
ID=debian
-- layer1/noise (fill=300000) --
-- layer2/noise (fill=5000) --
`)
}

// open opens a reference for the length of a test.
func openT(t testing.TB, ref string, o Options) []*image.Image {
	t.Helper()
	images, closer, err := Open(t.Context(), ref, o)
	if err != nil {
		t.Fatalf("Open(%s): %v", ref, err)
	}
	t.Cleanup(func() { closer.Close() })
	return images
}

// one opens a reference that is one image.
func one(t testing.TB, ref string, o Options) *image.Image {
	t.Helper()
	images := openT(t, ref, o)
	if len(images) != 1 {
		t.Fatalf("Open(%s): %d images, want one", ref, len(images))
	}
	return images[0]
}

// A reading is what came of one blob: the digest of its bytes, of its
// uncompressed bytes, or an error.
type reading struct {
	layer  image.Layer
	digest image.Digest
	diffID image.DiffID
	err    error
}

// readAll reads the wanted layers to their end.
func readAll(t testing.TB, m *image.Image, want []image.Layer) []reading {
	t.Helper()
	var mu sync.Mutex
	var out []reading
	err := m.Content.Each(t.Context(), want, 3, func(ctx context.Context, b image.Blob) error {
		r := read(ctx, b)
		mu.Lock()
		defer mu.Unlock()
		out = append(out, r)
		return nil
	})
	if err != nil {
		t.Fatalf("Each: %v", err)
	}
	slices.SortFunc(out, func(a, b reading) int { return a.layer.Index - b.layer.Index })
	return out
}

func read(ctx context.Context, b image.Blob) reading {
	r := reading{layer: b.Layer}
	rc, err := b.Open(ctx)
	if err != nil {
		r.err = err
		return r
	}
	defer rc.Close()
	stored, err := io.ReadAll(rc)
	if err != nil {
		r.err = err
		return r
	}
	r.digest = digestOf(stored)
	tar, err := uncompress(stored)
	if err != nil {
		r.err = err
		return r
	}
	sum := sha256.Sum256(tar)
	r.diffID = image.DiffID("sha256:" + hex.EncodeToString(sum[:]))
	return r
}

func uncompress(b []byte) ([]byte, error) {
	switch compressionOf(b) {
	case gzipped:
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(z)
	case zstandard:
		z, err := zstd.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		return io.ReadAll(z)
	}
	return b, nil
}

// checkContent reads all layers, and holds what came against the diff ids and,
// where they are known, the digests.
func checkContent(t testing.TB, m *image.Image) {
	t.Helper()
	wanted := map[image.DiffID]bool{}
	for _, l := range m.Layers {
		wanted[l.DiffID] = true
	}
	for _, r := range readAll(t, m, m.Layers) {
		switch {
		case r.err != nil:
			t.Errorf("layer %d: %v", r.layer.Index, r.err)
		case r.layer.Index != image.Unidentified && r.diffID != r.layer.DiffID:
			t.Errorf("layer %d: content has diff id %s, want %s", r.layer.Index, r.diffID, r.layer.DiffID)
		case r.layer.Digest != "" && r.digest != r.layer.Digest:
			t.Errorf("layer %d: content has digest %s, want %s", r.layer.Index, r.digest, r.layer.Digest)
		}
		delete(wanted, r.diffID)
	}
	if len(wanted) > 0 {
		t.Errorf("did not come: %v", wanted)
	}
}

func diffIDs(m *image.Image) []image.DiffID {
	var out []image.DiffID
	for _, l := range m.Layers {
		out = append(out, l.DiffID)
	}
	return out
}

func builtDiffIDs(m *imagetest.Image) []image.DiffID {
	var out []image.DiffID
	for i := range m.Tars {
		out = append(out, image.DiffID(m.DiffID(i)))
	}
	return out
}

// write writes images to a file of the test's folder.
func write(t testing.TB, name string, format imagetest.Format, images ...*imagetest.Image) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := imagetest.WriteFile(path, format, images...); err != nil {
		t.Fatal(err)
	}
	return path
}

// compressed writes a compressed copy of a file beside it.
func compressed(t testing.TB, path string, c compression) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	var w io.WriteCloser
	suffix := ".gz"
	if c == zstandard {
		suffix = ".zst"
		if w, err = zstd.NewWriter(&out); err != nil {
			t.Fatal(err)
		}
	} else {
		w = gzip.NewWriter(&out)
	}
	w.Write(raw)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+suffix, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path + suffix
}
