package analyzer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
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
	// spoolDir is where DiskPath makes its file; empty for the system's.
	spoolDir string
	disk     string

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

// DiskPath gives the path of a temporary copy of the file on disk, for the few
// libraries that can't read from memory. The runner removes it after Analyze.
func (f *File) DiskPath() (string, error) {
	if f.disk != "" {
		return f.disk, nil
	}
	t, err := os.CreateTemp(f.spoolDir, "strata-*")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(t, f.Reader())
	if err := errors.Join(err, t.Close()); err != nil {
		return "", errors.Join(err, os.Remove(t.Name()))
	}
	f.disk = t.Name()
	return f.disk, nil
}

// Close removes what DiskPath made.
func (f *File) Close() error {
	if f.disk == "" {
		return nil
	}
	err := os.Remove(f.disk)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	f.disk = ""
	return err
}
