package image

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// WalkDir reads a directory tree as if it were the only layer of an image. The
// content of a file is opened only when it is read. Symbolic links are entries,
// never followed, but dir may be one. What can't be read is told to problem and
// left out, as are the kernel's own file systems when dir is the root of a running
// system. The error is that of visit or ctx, or says that dir can't be read.
func WalkDir(ctx context.Context, dir string, visit Visitor, problem func(path string, err error)) (Summary, error) {
	var sum Summary
	dir, err := filepath.EvalSymlinks(dir) // which filepath.WalkDir would take for a file
	if err != nil {
		return sum, err
	}
	if fi, err := os.Stat(dir); err != nil {
		return sum, err
	} else if !fi.IsDir() {
		return sum, fmt.Errorf("%s is not a directory", dir)
	}
	live := isLive(dir)
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		rel, relErr := filepath.Rel(dir, p)
		if relErr != nil {
			return relErr
		}
		rel = CleanPath(filepath.ToSlash(rel))
		if err != nil {
			if rel == "" {
				return err // the directory itself
			}
			problem(rel, err)
			return nil
		}
		if rel == "" {
			return nil
		}
		if live && d.IsDir() && (rel == "proc" || rel == "sys" || rel == "dev") {
			return filepath.SkipDir
		}
		e, err := entryOfFile(p, rel, d)
		if err != nil {
			problem(rel, err)
			if d.IsDir() { // told once
				return filepath.SkipDir
			}
			return nil
		}
		sum.Entries++
		sum.Size += e.Size
		file := lazyFile{path: p}
		defer file.Close()
		return visit(&e, &Body{Reader: &file, At: &file})
	})
	return sum, err
}

// isLive tells the root of a running system by its mounted proc.
func isLive(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, "proc", "self"))
	return err == nil
}

func entryOfFile(p, rel string, d fs.DirEntry) (Entry, error) {
	e := Entry{Path: rel}
	fi, err := d.Info()
	if err != nil {
		return e, err
	}
	e.Mode = fi.Mode()
	switch {
	case fi.Mode().IsRegular():
		e.Type, e.Size = File, fi.Size()
	case fi.IsDir():
		e.Type = Dir
	case fi.Mode()&fs.ModeSymlink != 0:
		e.Type = Symlink
		e.Link, err = os.Readlink(p)
	default:
		e.Type = Other
	}
	return e, err
}

// A lazyFile opens its file when it is first read.
type lazyFile struct {
	path string
	f    *os.File
}

func (l *lazyFile) open() error {
	if l.f != nil {
		return nil
	}
	f, err := os.Open(l.path)
	l.f = f
	return err
}

func (l *lazyFile) Read(b []byte) (int, error) {
	if err := l.open(); err != nil {
		return 0, err
	}
	return l.f.Read(b)
}

func (l *lazyFile) ReadAt(b []byte, off int64) (int, error) {
	if err := l.open(); err != nil {
		return 0, err
	}
	return l.f.ReadAt(b, off)
}

func (l *lazyFile) Close() {
	if l.f != nil {
		_ = l.f.Close()
	}
}
