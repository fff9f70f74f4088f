package analyzer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// ErrTooLarge is returned by File.Bytes for a file over the limit asked for.
var ErrTooLarge = errors.New("file is larger than the limit")

// A File is a regular file of a layer while an analyzer reads it. All its
// methods give the file from its start, as often as they are called; nothing
// they return may be kept after Analyze has returned.
type File struct {
	Candidate
	// content is the whole file, in memory, in the archive on disk or spooled to
	// a temporary file.
	content io.ReaderAt
	// memory is the whole file where it lies in memory, else nil.
	memory []byte

	// outline of an executable, once it was read, or why it can't be.
	outline    *executable
	outlineErr error
}

// NewFile returns a File over content held in memory, for tests of analyzers
// and for archives within archives.
func NewFile(path string, content []byte) *File {
	return &File{
		Candidate: Candidate{Path: path, Size: int64(len(content)), Mode: 0o644, Head: content[:min(len(content), headSize)]},
		content:   bytes.NewReader(content), memory: content,
	}
}

// headSize is how much of each file Candidate.Head has at most.
const headSize = 512

// Reader reads the file from its start.
func (f *File) Reader() *io.SectionReader { return io.NewSectionReader(f.content, 0, f.Size) }

// ReaderAt gives random access to the file; its size is f.Size.
func (f *File) ReaderAt() io.ReaderAt { return f.content }

// Bytes returns the whole file, or an error that wraps ErrTooLarge when it has
// more than limit bytes.
func (f *File) Bytes(limit int64) ([]byte, error) {
	if f.Size > limit {
		return nil, fmt.Errorf("%w: %d bytes, read up to %d", ErrTooLarge, f.Size, limit)
	}
	if f.memory != nil {
		return f.memory, nil
	}
	b := make([]byte, f.Size)
	if _, err := io.ReadFull(f.Reader(), b); err != nil {
		return nil, err
	}
	return b, nil
}
