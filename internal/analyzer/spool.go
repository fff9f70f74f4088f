package analyzer

import (
	"bytes"
	"context"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A Memory bounds how much of the files under analysis is held in memory, over
// all layers that are read at the same time. Files that do not fit go to a
// temporary file, which has no name and so is gone whatever ends the process.
type Memory struct {
	// Limit in bytes; 0 means 128 MiB.
	Limit int64
	// TempDir is where temporary files are made; empty for the system's.
	TempDir string

	used atomic.Int64
	huge sync.Mutex
}

// hugeLayer is how many entries make a layer huge: its listing takes more memory
// than all else. Real ones are rare, and wait for each other.
const hugeLayer = 250_000

// takeHuge waits until no other layer is huge.
func (m *Memory) takeHuge(ctx context.Context) error {
	for !m.huge.TryLock() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

const defaultMemory = 128 << 20

// take reserves n bytes, if they are to be had.
func (m *Memory) take(n int64) bool {
	if m.used.Add(n) <= m.limit() {
		return true
	}
	m.used.Add(-n)
	return false
}

// short tells that more than half is taken.
func (m *Memory) short() bool { return m.used.Load() > m.limit()/2 }

func (m *Memory) limit() int64 {
	if m.Limit == 0 {
		return defaultMemory
	}
	return m.Limit
}

func (m *Memory) give(n int64) { m.used.Add(-n) }

// smallFile is what every layer may hold without asking.
const smallFile = 1 << 20

// A buffer holds the file that one layer has under analysis. It is used again
// for the next.
type buffer struct {
	memory *Memory
	b      []byte
	taken  int64 // reserved in memory
	temp   *os.File
}

// fill reads the rest of a file, whose head has been read, so that it can be
// read in any order and again, until release.
func (b *buffer) fill(f *File, rest io.Reader) error {
	if f.Size > smallFile && f.Size > b.taken {
		if !b.memory.take(f.Size - b.taken) {
			return b.spill(f, rest)
		}
		b.taken = f.Size
	}
	if int64(cap(b.b)) < f.Size {
		b.b = make([]byte, max(f.Size, 64<<10))
	}
	whole := b.b[:f.Size]
	n := copy(whole, f.Head)
	if _, err := io.ReadFull(rest, whole[n:]); err != nil {
		return err
	}
	f.memory, f.content = whole, bytes.NewReader(whole)
	return nil
}

// spill puts the file into a temporary one.
func (b *buffer) spill(f *File, rest io.Reader) error {
	t, err := os.CreateTemp(b.memory.TempDir, "strata-*")
	if err != nil {
		return err
	}
	b.temp = t
	if err := os.Remove(t.Name()); err != nil {
		return err
	}
	n, err := io.Copy(t, io.MultiReader(bytes.NewReader(f.Head), rest))
	if err != nil {
		return err
	}
	if n != f.Size {
		return io.ErrUnexpectedEOF
	}
	f.content = t
	return nil
}

// release lets go of the last file, and of a large buffer when the memory is
// short for the other layers.
func (b *buffer) release() {
	if b.temp != nil {
		_ = b.temp.Close()
		b.temp = nil
	}
	if b.taken > 0 && b.memory.short() {
		b.close()
	}
}

func (b *buffer) close() {
	if b.temp != nil {
		_ = b.temp.Close()
	}
	b.memory.give(b.taken)
	b.b, b.temp, b.taken = nil, nil, 0
}
