package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Errors of Walk. Each comes wrapped with what was found.
var (
	// ErrDamaged: the blob can't be decompressed or is not a sound tar.
	ErrDamaged = errors.New("layer is damaged")
	// ErrMismatch: the bytes are not those that the manifest or configuration
	// promised. Nothing that was read may be trusted.
	ErrMismatch = errors.New("layer is not what the image says")
	// ErrLimit: the layer is larger than the Limits allow.
	ErrLimit = errors.New("layer is over a limit")
)

// Limits bound the work on one layer. Zero fields mean the defaults.
type Limits struct {
	// Size is the most uncompressed bytes read; default 64 GiB.
	Size int64
	// Entries is the most tar entries; default 2 million.
	Entries int
	// Names is the most bytes that the paths and links of all entries have
	// together; default 128 MiB.
	Names int
	// Window is the largest zstd window in bytes, which is memory held while
	// decompressing; default 128 MiB.
	Window int64
}

func (l Limits) withDefaults() Limits {
	if l.Size == 0 {
		l.Size = 64 << 30
	}
	if l.Entries == 0 {
		l.Entries = 2 << 20
	}
	if l.Names == 0 {
		l.Names = 128 << 20
	}
	if l.Window == 0 {
		l.Window = 128 << 20
	}
	return l
}

// An EntryType says what a tar entry does to the file system.
type EntryType uint8

const (
	// File is a regular file.
	File EntryType = iota
	// Dir is a directory.
	Dir
	// Symlink's Link is its target as written.
	Symlink
	// HardLink's Link is the clean path of the file it is another name of.
	HardLink
	// Other is a device, fifo or socket.
	Other
	// Whiteout deletes Path, and what is below it, from the layers below.
	Whiteout
	// Opaque deletes everything in the directory Path from the layers below.
	Opaque
)

// An Entry is one entry of a layer's tar, or one file of a directory.
type Entry struct {
	// Path is clean and has no leading slash; empty for the root.
	Path string
	Type EntryType
	Mode fs.FileMode
	// Size of a File's content in bytes.
	Size int64
	Link string
	// Dubious entries have ".." in their names, which no builder writes. Their
	// path stays within the root; they are read, but hide nothing.
	Dubious bool
}

// A Body reads the bytes of one File, once, from its start. It is valid until
// the visitor returns.
type Body struct {
	io.Reader
	// At is the same content with random access and without a copy, where the
	// layer lies uncompressed on disk; else nil.
	At io.ReaderAt
}

// A Visitor is called for every entry, in the order of the tar. An error it
// returns ends the walk and is returned as it is, unless it comes from reading
// the Body: then the layer is damaged.
type Visitor func(e *Entry, b *Body) error

// A Summary tells what Walk has read and verified.
type Summary struct {
	Digest Digest
	DiffID DiffID
	// BlobSize and Size are in bytes, compressed and not.
	BlobSize, Size int64
	Entries        int
}

// Walk reads a layer's blob once: it hashes, decompresses (gzip, zstd or
// nothing, by the first bytes) and walks the tar, calling visit for each entry.
// Decompression, hashing and walking run concurrently over a few shared buffers,
// so memory does not grow with the layer.
//
// The blob is read to its end and verified: an error wraps ErrMismatch when the
// size, digest or diff id is not what want says (zero fields are not compared,
// negative sizes neither), ErrDamaged when it can't be read, ErrLimit when it is
// too large. After any error, what visit was given must not be trusted.
func Walk(ctx context.Context, blob io.Reader, want Layer, limits Limits, visit Visitor) (Summary, error) {
	limits = limits.withDefaults()
	caller := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	counted := &hashingReader{ctx: ctx, r: blob, hash: sha256.New(), max: want.Size}
	plain, err := decompress(counted, limits)
	if errors.Is(err, ErrMismatch) {
		return Summary{}, err
	} else if err != nil {
		return Summary{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	defer plain.Close()

	// An uncompressed blob has one hash for both names.
	var diff hash.Hash
	if plain.compressed {
		diff = sha256.New()
	}
	pipe := startPipe(ctx, plain, diff, limits.Size)
	defer pipe.stop(cancel)

	var at io.ReaderAt
	if !plain.compressed {
		at, _ = blob.(io.ReaderAt)
	}
	entries, walkErr := walkTar(ctx, pipe, at, limits, visit)
	var visitErr *visitError
	if errors.As(walkErr, &visitErr) || errors.Is(walkErr, ErrLimit) {
		cancel() // nothing more of the layer is of use
	}
	size, readErr := pipe.finish()

	sum := Summary{Size: size, Entries: entries}
	switch {
	case visitErr != nil:
		return sum, visitErr.err
	case caller.Err() != nil:
		return sum, context.Cause(caller)
	}
	if readErr == nil && walkErr == nil {
		// What follows the compressed stream belongs to the blob as well.
		_, readErr = io.Copy(io.Discard, counted)
	}
	sum.BlobSize = counted.n
	sum.Digest = Digest("sha256:" + hex.EncodeToString(counted.hash.Sum(nil)))
	sum.DiffID = DiffID(sum.Digest)
	if diff != nil {
		sum.DiffID = DiffID("sha256:" + hex.EncodeToString(diff.Sum(nil)))
	}
	return sum, verdict(want, sum, readErr, walkErr)
}

// verdict orders what may be wrong by what explains it best: a blob that is not
// the promised one is often damaged just because of that.
func verdict(want Layer, sum Summary, readErr, walkErr error) error {
	switch {
	case errors.Is(readErr, ErrLimit), errors.Is(readErr, ErrMismatch):
		return readErr
	case errors.Is(walkErr, ErrLimit):
		return walkErr
	case readErr != nil:
		return fmt.Errorf("%w: %w", ErrDamaged, readErr)
	case want.Size > 0 && sum.BlobSize != want.Size:
		return fmt.Errorf("%w: the blob has %d bytes, its descriptor says %d", ErrMismatch, sum.BlobSize, want.Size)
	case want.Digest != "" && sum.Digest != want.Digest:
		return fmt.Errorf("%w: the blob's digest is %s, not %s", ErrMismatch, sum.Digest, want.Digest)
	case want.DiffID != "" && sum.DiffID != want.DiffID:
		return fmt.Errorf("%w: the tar's diff_id is %s, the configuration says %s", ErrMismatch, sum.DiffID, want.DiffID)
	case walkErr != nil:
		return fmt.Errorf("%w: %w", ErrDamaged, walkErr)
	}
	return nil
}

// A visitError carries an error of the visitor past those of the tar.
type visitError struct{ err error }

func (e *visitError) Error() string { return e.err.Error() }

func walkTar(ctx context.Context, pipe *pipe, at io.ReaderAt, limits Limits, visit Visitor) (int, error) {
	tr := tar.NewReader(pipe)
	entries, names := 0, 0
	for {
		if err := ctx.Err(); err != nil {
			return entries, err
		}
		hdr, err := tr.Next()
		if err == io.EOF {
			return entries, nil
		}
		if err != nil {
			return entries, fmt.Errorf("tar entry %d: %w", entries+1, err)
		}
		if entries++; entries > limits.Entries {
			return entries, fmt.Errorf("%w: more than %d tar entries", ErrLimit, limits.Entries)
		}
		names += len(hdr.Name) + len(hdr.Linkname)
		if err := checkNames(hdr, names, limits); err != nil {
			return entries, err
		}
		e, ok := entryOf(hdr)
		if !ok {
			continue
		}
		content := content{r: tr}
		b := Body{Reader: &content}
		if at != nil && e.Type == File && !sparse(hdr) {
			b.At = io.NewSectionReader(at, pipe.pos, e.Size)
		}
		err = visit(&e, &b)
		if content.err != nil {
			return entries, fmt.Errorf("%s: %w", e.Path, content.err)
		}
		if err != nil {
			return entries, &visitError{err}
		}
	}
}

// maxPath is the longest path that Linux takes (PATH_MAX without the final zero):
// no layer with a longer one can be unpacked.
const maxPath = 4095

func checkNames(hdr *tar.Header, sum int, limits Limits) error {
	if n := max(len(hdr.Name), len(hdr.Linkname)); n > maxPath {
		return fmt.Errorf("%w: a path of %d bytes; no system takes more than %d", ErrLimit, n, maxPath)
	}
	if sum > limits.Names {
		return fmt.Errorf("%w: more than %d bytes of paths", ErrLimit, limits.Names)
	}
	return nil
}

// A content remembers that it could not be read, since a visitor can't tell an
// error of the layer from one of its own.
type content struct {
	r   io.Reader
	err error
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// sparse tells whether the content of the entry is stored with its holes left
// out, in one of GNU tar's three ways, so that it differs from the bytes in the tar.
func sparse(hdr *tar.Header) bool {
	if hdr.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range hdr.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// Names of whiteouts: OCI image-spec, layer.md, "Whiteouts". Other names that
// begin with ".wh..wh." are bookkeeping of the AUFS driver of old.
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	aufsPrefix     = ".wh..wh."
)

// entryOf tells what a tar header does. It is not ok for an entry that does
// nothing to the file system.
func entryOf(hdr *tar.Header) (Entry, bool) {
	e := Entry{Path: CleanPath(hdr.Name), Mode: hdr.FileInfo().Mode(), Dubious: hasDotDot(hdr.Name)}
	dir, base := path.Split(e.Path)
	if e.Dubious && strings.Contains(hdr.Name, whiteoutPrefix) {
		return e, false
	}
	if strings.HasPrefix(base, whiteoutPrefix) {
		return whiteoutOf(e, strings.TrimSuffix(dir, "/"), base)
	}
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		e.Type, e.Size = File, hdr.Size
	case tar.TypeDir:
		e.Type = Dir
	case tar.TypeSymlink:
		e.Type, e.Link = Symlink, hdr.Linkname
	case tar.TypeLink:
		e.Type, e.Link = HardLink, CleanPath(hdr.Linkname)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		e.Type = Other
	default:
		return e, false
	}
	// An old tar may mark a directory by its name alone.
	if e.Type == File && e.Path == "" {
		return e, false
	}
	return e, true
}

func whiteoutOf(e Entry, dir, base string) (Entry, bool) {
	if base == opaqueName {
		e.Type, e.Path = Opaque, dir
		return e, !e.Dubious
	}
	if strings.HasPrefix(base, aufsPrefix) {
		return e, false
	}
	name := strings.TrimPrefix(base, whiteoutPrefix)
	if name == "" || name == "." || name == ".." {
		return e, false // names nothing that could be deleted
	}
	e.Type, e.Path = Whiteout, path.Join(dir, name)
	return e, !e.Dubious
}

// CleanPath is the path that a tar entry of this name has within the root: no
// leading slash, no "." and "..", which can't leave the root.
func CleanPath(name string) string {
	return path.Clean("/" + name)[1:]
}

func hasDotDot(name string) bool {
	if !strings.Contains(name, "..") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

// A hashingReader counts and hashes the blob as it is read. It stops a blob that
// is longer than promised, so that a liar can't make us read for ever.
type hashingReader struct {
	ctx  context.Context
	r    io.Reader
	hash hash.Hash
	n    int64
	max  int64 // promised size; 0 or less when unknown
}

func (h *hashingReader) Read(p []byte) (int, error) {
	if err := h.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := h.r.Read(p)
	h.hash.Write(p[:n])
	h.n += int64(n)
	if h.max > 0 && h.n > h.max {
		return n, fmt.Errorf("%w: the blob has more than the %d bytes that its descriptor says", ErrMismatch, h.max)
	}
	return n, err
}
