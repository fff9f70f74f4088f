// Package imagetest builds container images for tests and for the demo, from a
// picture of their layers: a txtar file (see Parse) or a Spec made in Go. What it
// builds can be written as an OCI layout or archive or as a docker-archive, and
// be served by an in-process Registry.
//
// It imports nothing of Strata, so that the tests of every package can use it,
// and no library for images, so that the tests don't prove a library with itself.
// Only tests and cmd/strata (for the demo) may import it.
package imagetest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// A Spec is an image to be built. The zero Spec is an image without layers for
// linux/amd64.
type Spec struct {
	// Name is the reference that archives carry, such as "demo/app:1.0".
	Name string
	// OS, Architecture and Variant default to linux and amd64.
	OS, Architecture, Variant string
	// Created is the time of the image, its history and all its files; the zero
	// value is Epoch, so that what is built has the same digests every time.
	Created time.Time
	Labels  map[string]string
	// Annotations of the manifest.
	Annotations map[string]string
	Layers      []Layer
	// After are instructions at the end of the history that made no layer.
	After []string
	// Extra are the sections of the txtar file that belong to no layer, such as
	// "want", by their name.
	Extra map[string][]byte
}

// Epoch is the time of everything in an image that doesn't set its own.
var Epoch = time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)

// A Layer is one filesystem layer. Its entries are written as they are and in
// their order: parents are not added, duplicates and orders that no build tool
// would write are kept.
type Layer struct {
	Entries []Entry
	// CreatedBy is the instruction of the build history.
	CreatedBy string
	// Before are the instructions that made no layer (ENV, CMD) and precede this
	// one in the history.
	Before      []string
	Compression Compression
	// Raw, when not nil, stands in the place of the tar of the entries.
	Raw []byte
}

// An Entry is one entry of a layer's tar.
type Entry struct {
	// Header of the entry; Size is set from Body.
	Header tar.Header
	Body   []byte
}

// File is a regular file of mode 0644.
func File(name, body string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, Body: []byte(body)}
}

// Dir is a directory of mode 0755.
func Dir(name string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}}
}

// Symlink is a symbolic link at name that says target.
func Symlink(name, target string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}}
}

// Hardlink is a hard link at name to the path target of the same layer.
func Hardlink(name, target string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}}
}

// Compression of a layer's blob.
type Compression string

// The compressions that the OCI image-spec (layer.md) has media types for.
const (
	Gzip Compression = ""
	Zstd Compression = "zstd"
	None Compression = "none"
)

// mediaType of a layer blob (OCI image-spec, layer.md).
func (c Compression) mediaType() string {
	const base = "application/vnd.oci.image.layer.v1.tar"
	switch c {
	case Zstd:
		return base + "+zstd"
	case None:
		return base
	default:
		return base + "+gzip"
	}
}

// compress returns data in the compression, the same bytes for the same data.
func (c Compression) compress(data []byte) ([]byte, error) {
	switch c {
	case None:
		return data, nil
	case Zstd:
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return enc.EncodeAll(data, nil), enc.Close()
	case Gzip:
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		if _, err := z.Write(data); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		return out.Bytes(), nil
	default:
		return nil, fmt.Errorf("compression %q: want gzip, zstd or none", string(c))
	}
}

// LayerTar returns the uncompressed tar of layer i.
func (s *Spec) LayerTar(i int) ([]byte, error) {
	l := s.Layers[i]
	if l.Raw != nil {
		return l.Raw, nil
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range l.Entries {
		h := e.Header
		h.Size = int64(len(e.Body))
		if h.ModTime.IsZero() {
			h.ModTime = s.created()
		}
		if err := w.WriteHeader(&h); err != nil {
			return nil, fmt.Errorf("layer %d, entry %q: %w", i, h.Name, err)
		}
		if _, err := w.Write(e.Body); err != nil {
			return nil, fmt.Errorf("layer %d, entry %q: %w", i, h.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("layer %d: %w", i, err)
	}
	return out.Bytes(), nil
}

func (s *Spec) created() time.Time {
	if s.Created.IsZero() {
		return Epoch
	}
	return s.Created
}
