package main

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// A smallDisk is a file system of its own, which can be filled.
type smallDisk struct {
	t    *testing.T
	path string
	stop func()
}

// newSmallDisk mounts one of so many MB.
func newSmallDisk(t *testing.T, size int) *smallDisk {
	t.Helper()
	path, err := os.MkdirTemp("", "strata-disk-") // where the user of PostgreSQL gets to
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(path) })
	d := &smallDisk{t: t, path: path, stop: func() {}}
	if err := mountDisk(d.path, size); err != nil {
		missing(t, "a disk that can be filled: mount: "+err.Error())
	}
	t.Cleanup(func() {
		d.free()
		if err := unmountDisk(d.path); err != nil {
			t.Error(err)
		}
	})
	return d
}

// fill lets there be no room, also where what is deleted makes some, until free.
func (d *smallDisk) fill() {
	d.t.Helper()
	f, err := os.Create(filepath.Join(d.path, "ballast"))
	if err != nil {
		d.t.Fatal(err)
	}
	top := func() {
		for size := 1 << 20; size > 0; size /= 2 {
			for err := error(nil); err == nil; {
				_, err = f.Write(make([]byte, size))
			}
		}
	}
	top()
	ended, end := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-time.After(50 * time.Millisecond):
				top()
			}
		}
	}()
	d.stop = sync.OnceFunc(func() {
		close(end)
		<-ended
		if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
			d.t.Error(err)
		}
	})
}

// free makes room again.
func (d *smallDisk) free() { d.stop() }
