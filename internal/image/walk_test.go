package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"strata/internal/image"
	"strata/internal/imagetest"
)

var entryTypes = map[image.EntryType]string{image.File: "f", image.Dir: "d", image.Symlink: "l", image.HardLink: "h", image.Other: "o", image.Whiteout: "w", image.Opaque: "q"}

// walk gives the entries as lines, with the contents of files.
func walk(t testing.TB, blob io.Reader, want image.Layer, limits image.Limits) ([]string, image.Summary, error) {
	t.Helper()
	var lines []string
	sum, err := image.Walk(t.Context(), blob, want, limits, func(e *image.Entry, b *image.Body) error {
		line := entryTypes[e.Type] + " " + e.Path
		if e.Link != "" {
			line += " -> " + e.Link
		}
		if e.Type == image.File {
			data, err := io.ReadAll(b)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %q", data)
			if b.At != nil {
				at := make([]byte, e.Size)
				if _, err := b.At.ReadAt(at, 0); err != nil && err != io.EOF {
					t.Errorf("%s: ReadAt: %v", e.Path, err)
				}
				if !bytes.Equal(at, data) {
					t.Errorf("%s: random access reads %q", e.Path, at)
				}
			}
		}
		if e.Dubious {
			line += " dubious"
		}
		lines = append(lines, line)
		return nil
	})
	return lines, sum, err
}

func tarOf(t testing.TB, entries ...imagetest.Entry) []byte {
	t.Helper()
	s := imagetest.Spec{Layers: []imagetest.Layer{{Entries: entries}}}
	b, err := s.LayerTar(0)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func digest(b []byte) string {
	s := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(s[:])
}

func TestWalkEntries(t *testing.T) {
	typed := func(e imagetest.Entry, typ byte) imagetest.Entry {
		e.Header.Typeflag = typ
		return e
	}
	blob := tarOf(t,
		imagetest.Dir("./"), imagetest.Dir("./etc/"), imagetest.File("/etc//passwd", "root"), imagetest.File("empty", ""),
		imagetest.Symlink("etc/mtab", "/proc/mounts"), imagetest.Hardlink("etc/shadow", "./etc/passwd"), typed(imagetest.File("dev/null", ""), tar.TypeChar),
		imagetest.File("etc/.wh.gone", ""), imagetest.File("etc/.wh..wh..opq", ""), imagetest.File(".wh..wh..opq", ""), imagetest.File(".wh.top", ""),
		imagetest.File(".wh..wh.plnk", ""), imagetest.File("a/.wh.", ""), imagetest.File("a/.wh..", ""), imagetest.File("a/.wh...", ""),
		imagetest.File("../../escape", "x"), imagetest.File("../.wh.etc", ""), imagetest.File("app/.wh.../..", ""), imagetest.File("a/../../b/../c", "y"),
	)
	got, _, err := walk(t, bytes.NewReader(blob), image.Layer{}, image.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"d ", "d etc", `f etc/passwd "root"`, `f empty ""`, "l etc/mtab -> /proc/mounts", "h etc/shadow -> etc/passwd", "o dev/null",
		"w etc/gone", "q etc", "q ", "w top",
		`f escape "x" dubious`, `f c "y" dubious`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries differ (-want +got):\n%s", diff)
	}
}

func TestWalkCompressions(t *testing.T) {
	var entries []imagetest.Entry
	for i := range 40 { // more than all chunks hold, read and skipped
		entries = append(entries, imagetest.File(fmt.Sprintf("f%d", i), strings.Repeat(fmt.Sprint(i), 100_000)))
	}
	plain := tarOf(t, entries...)
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	half := len(plain) / 2
	blobs := map[string][]byte{
		"plain":        plain,
		"gzip":         gz(t, plain),
		"zstd":         z.EncodeAll(plain, nil),
		"gzip members": append(gz(t, plain[:half]), gz(t, plain[half:])...), // as estargz has
		"zstd frames":  append(z.EncodeAll(plain[:half], nil), z.EncodeAll(plain[half:], nil)...),
	}
	for name, blob := range blobs {
		t.Run(name, func(t *testing.T) {
			want := image.Layer{Digest: image.Digest(digest(blob)), DiffID: image.DiffID(digest(plain)), Size: int64(len(blob))}
			for _, r := range []io.Reader{bytes.NewReader(blob), struct{ io.Reader }{bytes.NewReader(blob)}} {
				lines, sum, err := walk(t, r, want, image.Limits{})
				if err != nil {
					t.Fatal(err)
				}
				if len(lines) != len(entries) {
					t.Errorf("%d entries; want %d", len(lines), len(entries))
				}
				wantSum := image.Summary{Digest: want.Digest, DiffID: want.DiffID, BlobSize: want.Size, Size: int64(len(plain)), Entries: len(entries)}
				if diff := cmp.Diff(wantSum, sum); diff != "" {
					t.Errorf("summary differs (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// sparseTar has one file of 1024 bytes, of which only four in the middle are
// stored (GNU tar manual, "Old GNU Format").
func sparseTar() []byte {
	h := make([]byte, 512)
	copy(h, "s")
	for at, field := range map[int]string{
		100: "0000644", 108: "0000000", 116: "0000000", 124: "00000000004", 136: "00000000000",
		386: "00000001000", 398: "00000000004", // four bytes at 512
		410: "00000002000", 422: "00000000000", // the end
		483: "00000002000", // the real size
	} {
		copy(h[at:], field)
	}
	h[156] = tar.TypeGNUSparse
	copy(h[257:], "ustar  \x00")
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	blob := make([]byte, 2048)
	copy(blob, h)
	copy(blob[512:], "data")
	return blob
}

// TestWalkSparseFilesHaveNoRandomAccess: the bytes in the tar are not the file's.
func TestWalkSparseFilesHaveNoRandomAccess(t *testing.T) {
	at := map[string]bool{}
	_, err := image.Walk(t.Context(), bytes.NewReader(sparseTar()), image.Layer{}, image.Limits{}, func(e *image.Entry, b *image.Body) error {
		data, err := io.ReadAll(b)
		if err != nil {
			return err
		}
		if want := strings.Repeat("\x00", 512) + "data" + strings.Repeat("\x00", 508); string(data) != want {
			t.Errorf("%s: content %q of %d bytes", e.Path, data, e.Size)
		}
		at[e.Path] = b.At != nil
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]bool{"s": false}, at); diff != "" {
		t.Errorf("random access differs (-want +got):\n%s", diff)
	}
}

func TestWalkVerifies(t *testing.T) {
	plain := tarOf(t, imagetest.File("a", strings.Repeat("x", 10_000)))
	blob := gz(t, plain)
	other := "sha256:" + strings.Repeat("0", 64)
	flipped := bytes.Clone(blob)
	flipped[len(flipped)-5] ^= 1 // in gzip's checksum
	tests := []struct {
		name   string
		blob   []byte
		want   image.Layer
		limits image.Limits
		err    error
		text   string
	}{
		{"wrong digest", blob, image.Layer{Digest: image.Digest(other)}, image.Limits{}, image.ErrMismatch, "digest"},
		{"wrong diff id", blob, image.Layer{DiffID: image.DiffID(other)}, image.Limits{}, image.ErrMismatch, "diff_id"},
		{"wrong diff id of a plain layer", plain, image.Layer{DiffID: image.DiffID(other)}, image.Limits{}, image.ErrMismatch, "diff_id"},
		{"smaller than said", blob, image.Layer{Size: int64(len(blob)) + 1}, image.Limits{}, image.ErrMismatch, "descriptor"},
		{"larger than said", blob, image.Layer{Size: 5}, image.Limits{}, image.ErrMismatch, "more than the 5 bytes"},
		{"trailing bytes", append(bytes.Clone(plain), make([]byte, 1024)...), image.Layer{DiffID: image.DiffID(digest(plain))}, image.Limits{}, image.ErrMismatch, "diff_id"},
		{"truncated gzip", blob[:len(blob)/2], image.Layer{}, image.Limits{}, image.ErrDamaged, "unexpected EOF"},
		{"damaged gzip", flipped, image.Layer{}, image.Limits{}, image.ErrDamaged, "checksum"},
		{"truncated tar", plain[:5000], image.Layer{}, image.Limits{}, image.ErrDamaged, "unexpected EOF"},
		{"no tar", gz(t, []byte(strings.Repeat("#!/bin/sh\n", 200))), image.Layer{}, image.Limits{}, image.ErrDamaged, "tar entry 1"},
		{"empty gzip", gz(t, nil)[:3], image.Layer{}, image.Limits{}, image.ErrDamaged, "gzip"},
		{"too large", blob, image.Layer{}, image.Limits{Size: 4096}, image.ErrLimit, "4096 bytes"},
		{"a path too long", tarOf(t, imagetest.File(strings.Repeat("ab/", 2000)+"c", "")), image.Layer{}, image.Limits{}, image.ErrLimit, "a path of 6001 bytes"},
		{"paths too long together", tarOf(t, imagetest.File("abc", ""), imagetest.File("def", "")), image.Layer{}, image.Limits{Names: 5}, image.ErrLimit, "5 bytes of paths"},
		{"too many entries", tarOf(t, imagetest.File("a", ""), imagetest.File("b", "")), image.Layer{}, image.Limits{Entries: 1}, image.ErrLimit, "1 tar entries"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := walk(t, bytes.NewReader(tt.blob), tt.want, tt.limits)
			if !errors.Is(err, tt.err) || !strings.Contains(fmt.Sprint(err), tt.text) {
				t.Errorf("error %v; want %v with %q", err, tt.err, tt.text)
			}
		})
	}
}

func TestWalkOfNothingIsAnEmptyLayer(t *testing.T) {
	for name, blob := range map[string][]byte{"no bytes": nil, "empty tar": make([]byte, 1024), "one zero block": make([]byte, 512)} {
		lines, _, err := walk(t, bytes.NewReader(blob), image.Layer{}, image.Limits{})
		if err != nil || len(lines) > 0 {
			t.Errorf("%s: %v, %v; want an empty layer", name, lines, err)
		}
	}
}

func TestWalkReturnsTheVisitorsError(t *testing.T) {
	blob := tarOf(t, imagetest.File("a", strings.Repeat("x", 5_000_000)), imagetest.File("b", ""))
	stop := errors.New("stop")
	_, err := image.Walk(t.Context(), bytes.NewReader(blob), image.Layer{}, image.Limits{}, func(*image.Entry, *image.Body) error { return stop })
	if err != stop {
		t.Errorf("error %v; want the visitor's own", err)
	}
}

// TestWalkStopsWhenCancelled: a reader that never ends is left at once.
func TestWalkStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	zeros := io.MultiReader(bytes.NewReader(tarOf(t, imagetest.File("a", "x"))[:512]), endless{})
	done := make(chan error)
	go func() {
		_, err := image.Walk(ctx, zeros, image.Layer{}, image.Limits{}, func(*image.Entry, *image.Body) error { return nil })
		done <- err
	}()
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v; want context.Canceled", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("still reading 5 seconds after it was cancelled")
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func FuzzWalk(f *testing.F) {
	plain := tarOf(f, imagetest.Dir("a"), imagetest.File("a/.wh.b", ""), imagetest.File("../c", "x"), imagetest.Symlink("l", "../.."), imagetest.Hardlink("h", "a"))
	f.Add(plain)
	f.Add(gz(f, plain))
	f.Add(plain[:700])
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, blob []byte) {
		limits := image.Limits{Size: 16 << 20, Entries: 1000, Window: 1 << 20}
		_, err := image.Walk(t.Context(), bytes.NewReader(blob), image.Layer{}, limits, func(e *image.Entry, b *image.Body) error {
			if strings.HasPrefix(e.Path, "/") || e.Path == ".." || strings.HasPrefix(e.Path, "../") || strings.Contains(e.Path, "/../") {
				t.Errorf("path %q leads out of the root", e.Path)
			}
			if e.Size < 0 {
				t.Errorf("%s has the size %d", e.Path, e.Size)
			}
			_, err := io.Copy(io.Discard, io.LimitReader(b, 1<<20))
			if err != nil {
				return nil // a truncated file: the next step says so
			}
			return nil
		})
		if err != nil && !errors.Is(err, image.ErrDamaged) && !errors.Is(err, image.ErrLimit) {
			t.Errorf("error %v is of no kind that callers know", err)
		}
	})
}
