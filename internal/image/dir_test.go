package image_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/image"
)

// tree makes a directory of lines: "d PATH", "f PATH CONTENT", "l PATH TARGET",
// "p PATH" for a fifo.
func tree(t *testing.T, lines ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, line := range lines {
		words := append(strings.SplitN(line, " ", 3), "", "")
		p := filepath.Join(dir, words[1])
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		switch words[0] {
		case "d":
			err = errors.Join(err, os.MkdirAll(p, 0o755))
		case "f":
			err = errors.Join(err, os.WriteFile(p, []byte(words[2]), 0o644))
		case "l":
			err = errors.Join(err, os.Symlink(words[2], p))
		case "p":
			err = errors.Join(err, syscall.Mkfifo(p, 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// walkDir gives the entries as lines, as walk does, and problems. It fails when
// the walk takes too long, as one that opens a fifo would.
func walkDir(t *testing.T, dir string) (lines []string, sum image.Summary, err error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		sum, err = image.WalkDir(t.Context(), dir, func(e *image.Entry, b *image.Body) error {
			line := entryTypes[e.Type] + " " + e.Path
			if e.Type == image.Symlink {
				line += " -> " + e.Link
			}
			if e.Type == image.File {
				data, err := io.ReadAll(b)
				if err != nil {
					lines = append(lines, "! "+e.Path)
					return nil
				}
				again := make([]byte, e.Size)
				if _, err := b.At.ReadAt(again, 0); err != nil && err != io.EOF || string(again) != string(data) {
					t.Errorf("%s: random access reads %q, error %v", e.Path, again, err)
				}
				line += fmt.Sprintf(" %q", data)
			}
			lines = append(lines, line)
			return nil
		}, func(path string, err error) { lines = append(lines, "! "+path) })
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the walk hangs")
	}
	return lines, sum, err
}

func TestWalkDir(t *testing.T) {
	outside := tree(t, "f secret x")
	dir := tree(t, "f a/b hello", "f a/empty ", "d d", "l a/link ../../outside", "l out "+outside, "l loop loop", "p fifo", "f a/.wh.b whiteouts are of layers", "f z \x00\xff")
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got, sum, err := walkDir(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"d a", `f a/.wh.b "whiteouts are of layers"`, `f a/b "hello"`, `f a/empty ""`, "l a/link -> ../../outside",
		"d d", "o fifo", "l loop -> loop", "l out -> " + outside, "o socket", `f z "\x00\xff"`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if sum.Entries != len(want) || sum.Size != 23+5+2 {
		t.Errorf("%+v", sum)
	}
}

// TestWalkDirRoots: a running system's kernel file systems are left out, those of
// a directory that only looks like one are not.
func TestWalkDirRoots(t *testing.T) {
	files := []string{"f dev/x 1", "f proc/y 2", "f sys/z 3", "f usr/dev/x 4"}
	got, _, err := walkDir(t, tree(t, files...))
	want := []string{"d dev", `f dev/x "1"`, "d proc", `f proc/y "2"`, "d sys", `f sys/z "3"`, "d usr", "d usr/dev", `f usr/dev/x "4"`}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("unpacked: error %v, entries (-want +got):\n%s", err, diff)
	}
	got, _, err = walkDir(t, tree(t, append(files, "l proc/self 1")...))
	if diff := cmp.Diff([]string{"d usr", "d usr/dev", `f usr/dev/x "4"`}, got); diff != "" || err != nil {
		t.Errorf("running: error %v, entries (-want +got):\n%s", err, diff)
	}
}

// TestWalkDirStart: what is no directory is an error, never an empty image.
func TestWalkDirStart(t *testing.T) {
	dir := tree(t, "f real/a x", "l link real", "l dangling nowhere")
	got, _, err := walkDir(t, filepath.Join(dir, "link"))
	if diff := cmp.Diff([]string{`f a "x"`}, got); diff != "" || err != nil {
		t.Errorf("through a link: error %v, entries (-want +got):\n%s", err, diff)
	}
	for path, want := range map[string]string{"real/a": "is not a directory", "missing": "no such file", "dangling": "no such file"} {
		if _, _, err := walkDir(t, filepath.Join(dir, path)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v; want one with %q", path, err, want)
		}
	}
}

// TestWalkDirUnreadable: what goes away or can't be read is told, and the rest
// is read.
func TestWalkDirUnreadable(t *testing.T) {
	dir := tree(t, "f a/x 1", "f b/gone 2", "f b/y 3", "f c/z 4")
	var problems, read []string
	_, err := image.WalkDir(t.Context(), dir, func(e *image.Entry, b *image.Body) error {
		switch e.Path {
		case "a/x": // c goes when the walk knows of it
			return os.RemoveAll(filepath.Join(dir, "c"))
		case "b/gone":
			if err := os.Remove(filepath.Join(dir, e.Path)); err != nil {
				return err
			}
		}
		if e.Type != image.File {
			return nil
		}
		_, err := io.ReadAll(b)
		if errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, e.Path)
			return nil
		}
		read = append(read, e.Path)
		return err
	}, func(path string, err error) { problems = append(problems, path) })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b/gone", "c"}, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"b/y"}, read); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	t.Run("without permission", func(t *testing.T) {
		if os.Getuid() == 0 {
			t.Skip("root may read everything")
		}
		dir := tree(t, "f closed/a x", "f ok y", "f no z")
		if err := errors.Join(os.Chmod(filepath.Join(dir, "closed"), 0), os.Chmod(filepath.Join(dir, "no"), 0)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "closed"), 0o755) })
		got, _, err := walkDir(t, dir)
		if diff := cmp.Diff([]string{"d closed", "! closed", "! no", `f ok "y"`}, got); diff != "" || err != nil {
			t.Errorf("error %v, entries (-want +got):\n%s", err, diff)
		}
	})
}

func TestWalkDirEnds(t *testing.T) {
	dir := tree(t, "f a 1", "f b 2")
	stop := errors.New("stop")
	visited := 0
	_, err := image.WalkDir(t.Context(), dir, func(*image.Entry, *image.Body) error { visited++; return stop }, nil)
	if err != stop || visited != 1 {
		t.Errorf("error %v after %d entries; want the visitor's own after 1", err, visited)
	}
	ctx, cancel := context.WithCancel(t.Context())
	visited = 0
	_, err = image.WalkDir(ctx, dir, func(*image.Entry, *image.Body) error { visited++; cancel(); return nil }, nil)
	if !errors.Is(err, context.Canceled) || visited != 1 {
		t.Errorf("error %v after %d entries; want context.Canceled after 1", err, visited)
	}
}
