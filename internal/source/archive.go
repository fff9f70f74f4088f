package source

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"strata/internal/image"
)

// openArchive opens an image of a docker-archive or OCI archive.
func openArchive(ctx context.Context, r Ref, o Options) ([]*image.Image, io.Closer, error) {
	a, err := indexArchive(ctx, r.Path)
	if err != nil {
		return nil, nil, err
	}
	images, err := a.images(ctx, r, o)
	if err != nil {
		a.Close()
		return nil, nil, err
	}
	return images, a, nil
}

// images reads the archive by the kind that was asked for, else by what it
// holds. Docker since version 25 writes both kinds in one; its manifest.json
// lists just what is there, and by the names that users know.
func (a *archive) images(ctx context.Context, r Ref, o Options) ([]*image.Image, error) {
	docker, oci := a.has(manifestFile), a.has(indexFile)
	switch {
	case r.Scheme == DockerArchive && docker, r.Scheme == Archive && docker:
		return a.dockerImages(r, o)
	case r.Scheme == OCIArchive && oci, r.Scheme == Archive && oci:
		images, err := layoutImages(ctx, a.document, a, r, o)
		for _, m := range images {
			m.Content = a.content(func(l image.Layer) string { return blobPath(l.Digest) })
		}
		return images, err
	}
	return nil, a.absent(r)
}

// absent is the error of an archive that isn't what was asked for.
func (a *archive) absent(r Ref) error {
	switch {
	case a.broken != nil:
		return fmt.Errorf("archive %s is damaged: %w", r.Path, a.broken)
	case a.has("repositories"):
		return fmt.Errorf("archive %s was saved by a Docker before 1.10, without %s: load and save it again", r.Path, manifestFile)
	case a.has(manifestFile):
		return fmt.Errorf("%s is not an OCI archive but a docker-archive: write docker-archive:%s", r.Path, r.Path)
	case a.has(indexFile):
		return fmt.Errorf("%s is not a docker-archive but an OCI archive: write oci-archive:%s", r.Path, r.Path)
	}
	return fmt.Errorf("%s is a tar, but not of an image: it has neither %s (docker save) nor %s (OCI archive)", r.Path, manifestFile, indexFile)
}

// Bounds on hostile archives.
const (
	maxEntries   = 200_000
	maxDocuments = 64 << 20
	maxLinks     = 16
	maxWindow    = 128 << 20
)

// An archive is the index of a tar file that holds images: its entries' headers,
// read once. The entries of an uncompressed one can be opened at any time; of a
// compressed one the documents are kept and the layers come by in a stream.
type archive struct {
	file    *os.File
	size    int64
	packed  compression
	entries map[string]entry
	// documents of a compressed archive, by name.
	documents map[string][]byte
	// broken is why the tar could not be read to its end.
	broken error
}

// An entry of the tar, by its clean name.
type entry struct {
	// offset of the content in an uncompressed archive.
	offset, size int64
	// link is the clean name that the entry stands for, when it is a link.
	link string
	// odd tells why the entry can't be read, when it can't.
	odd string
}

// indexArchive reads the headers of a tar file. A tar that breaks off is indexed
// as far as it goes.
func indexArchive(ctx context.Context, name string) (*archive, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("archive %s %w", name, errNotRegular(info))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	a := &archive{file: f, size: info.Size(), entries: map[string]entry{}, documents: map[string][]byte{}}
	if err := a.index(ctx); err != nil {
		f.Close()
		return nil, fmt.Errorf("archive %s: %w", name, err)
	}
	return a, nil
}

func (a *archive) index(ctx context.Context) error {
	head := make([]byte, 512)
	n, err := a.file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	a.packed = compressionOf(head[:n])
	if a.packed == plain {
		// A tar.Reader skips content by seeking, where it can, and reads nothing
		// ahead: after a header, the file is at its content.
		position := func() (int64, error) { return a.file.Seek(0, io.SeekCurrent) }
		return a.indexHeaders(ctx, tar.NewReader(a.file), position)
	}
	stream, err := a.stream(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	return a.indexHeaders(ctx, tar.NewReader(stream), nil)
}

// indexHeaders walks the tar. Position is nil for compressed ones.
func (a *archive) indexHeaders(ctx context.Context, tr *tar.Reader, position func() (int64, error)) error {
	kept := 0
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			a.broken = err
			return nil
		}
		if len(a.entries) >= maxEntries {
			return fmt.Errorf("holds more than %d entries", maxEntries)
		}
		e := describeEntry(h)
		name := cleanName(h.Name)
		if position != nil {
			if e.offset, err = position(); err != nil {
				return err
			}
		} else if e.link == "" && e.odd == "" && kept < maxDocuments {
			doc, err := keepDocument(tr, h.Size)
			if err != nil {
				a.broken = err
			}
			delete(a.documents, name)
			if doc != nil {
				a.documents[name] = doc
				kept += len(doc)
			}
		}
		// As when unpacked, the last entry of a name counts.
		a.entries[name] = e
	}
}

func describeEntry(h *tar.Header) entry {
	e := entry{size: h.Size}
	switch h.Typeflag {
	case tar.TypeReg:
		if isSparse(h) {
			e.odd = "is a sparse file"
		}
	case tar.TypeLink:
		e.link = cleanName(h.Linkname)
	case tar.TypeSymlink:
		e.link = cleanName(path.Join(path.Dir(cleanName(h.Name)), h.Linkname))
	default:
		e.odd = "is not a regular file"
	}
	return e
}

// isSparse tells whether the entry's bytes in the tar are not its content.
func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

// keepDocument reads an entry that may be JSON, nil when it can't be.
func keepDocument(r io.Reader, size int64) ([]byte, error) {
	if size > maxDocument {
		return nil, nil
	}
	b := bufio.NewReader(r)
	head, err := b.Peek(1)
	if err != nil || !strings.ContainsAny(string(head), "{[ \t\r\n") {
		return nil, nil
	}
	return readDocument(b)
}

// cleanName is the name of an entry as the other entries refer to it.
func cleanName(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}

// stream reads the archive's tar from its start.
func (a *archive) stream(ctx context.Context) (io.ReadCloser, error) {
	file := bufio.NewReaderSize(contextReader{ctx, io.NewSectionReader(a.file, 0, a.size)}, 1<<18)
	switch a.packed {
	case plain:
		return io.NopCloser(file), nil
	case gzipped:
		return gzip.NewReader(file)
	case zstandard:
		d, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return nil, errors.New("is compressed by bzip2 or xz: uncompress it first")
}

// Close closes the file.
func (a *archive) Close() error { return a.file.Close() }

func (a *archive) has(name string) bool {
	_, _, err := a.find(name)
	return err == nil
}

// find follows links, as old docker-archives have for layers used twice.
func (a *archive) find(name string) (string, entry, error) {
	name = cleanName(name)
	for range maxLinks {
		e, ok := a.entries[name]
		switch {
		case !ok && a.broken != nil:
			return "", entry{}, fmt.Errorf("is not in the archive, which is damaged: %w", a.broken)
		case !ok:
			return "", entry{}, fmt.Errorf("is not in the archive: %w", fs.ErrNotExist)
		case e.odd != "":
			return "", entry{}, errors.New(e.odd)
		case e.link == "":
			return name, e, nil
		}
		name = e.link
	}
	return "", entry{}, errors.New("is a link that leads in circles")
}

// document reads a small file of the archive.
func (a *archive) document(name string) ([]byte, error) {
	found, e, err := a.find(name)
	if err != nil {
		return nil, err
	}
	if a.packed == plain {
		return readDocument(io.NewSectionReader(a.file, e.offset, e.size))
	}
	if doc, ok := a.documents[found]; ok {
		return doc, nil
	}
	if e.size > maxDocument {
		return nil, fmt.Errorf("is larger than %d MiB", maxDocument>>20)
	}
	return nil, errors.New("is not valid JSON, or the archive holds too many documents")
}

// section opens a file of an uncompressed archive.
func (a *archive) section(name string) (io.ReadCloser, error) {
	_, e, err := a.find(name)
	if err != nil {
		return nil, err
	}
	if e.size > a.size-e.offset {
		return nil, fmt.Errorf("the archive ends within it (%w): it was cut off", io.ErrUnexpectedEOF)
	}
	return section{io.NewSectionReader(a.file, e.offset, e.size)}, nil
}

// A section is a part of a file. It can be read at any place, and is closed
// with the file.
type section struct{ *io.SectionReader }

func (section) Close() error { return nil }

func (a *archive) manifest(_ context.Context, d image.Digest) ([]byte, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	raw, err := a.document(blobPath(d))
	if err != nil {
		return nil, fmt.Errorf("blob %s %w", d, err)
	}
	return raw, nil
}

// blob gives configurations; layers are read by content.
func (a *archive) blob(ctx context.Context, d image.Digest, _ int64) (io.ReadCloser, error) {
	raw, err := a.manifest(ctx, d)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(strings.NewReader(string(raw))), nil
}

// content gives the layers, of which the entry's name is told by nameOf.
func (a *archive) content(nameOf func(image.Layer) string) image.Content {
	if a.packed == plain {
		return randomAccess{open: func(_ context.Context, l image.Layer) (io.ReadCloser, error) {
			r, err := a.section(nameOf(l))
			if err != nil {
				return nil, missing(l, nameOf(l), err)
			}
			return r, nil
		}}
	}
	return &archiveStream{archive: a, nameOf: nameOf}
}

// missing is the error of a layer that the archive can't give.
func missing(l image.Layer, name string, err error) error {
	if l.Digest != "" {
		return fmt.Errorf("blob %s %w", l.Digest, err)
	}
	return fmt.Errorf("layer %s %w", name, err)
}
