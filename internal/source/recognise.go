package source

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// recognise tells by its content what a path on disk is.
func recognise(path string) (Scheme, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Any, err
	}
	if info.IsDir() {
		if _, err := os.Stat(filepath.Join(path, "oci-layout")); err == nil {
			return OCI, nil
		}
		return Dir, nil
	}
	if !info.Mode().IsRegular() {
		return Any, errNotRegular(info)
	}
	f, err := os.Open(path)
	if err != nil {
		return Any, err
	}
	defer f.Close()
	return recogniseFile(f)
}

// recogniseFile tells an archive, by the magic number of a compression or by a
// tar's first header, from a software bill of materials.
func recogniseFile(r io.Reader) (Scheme, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return Any, err
	}
	switch {
	case len(head) == 0:
		return Any, errors.New("the file is empty")
	case compressionOf(head) != plain, isTarHeader(head):
		return Archive, nil
	case strings.HasPrefix(strings.TrimLeft(string(head), "\ufeff \t\r\n"), "{"):
		if isSBOM(b) {
			return SBOM, nil
		}
		return Any, errors.New("a JSON file, but neither CycloneDX nor SPDX")
	}
	return Any, errors.New("not an image: neither a tar (docker save, OCI archive), plain or compressed by gzip or zstd, nor an SBOM in JSON")
}

// isSBOM tells whether a JSON object has the top-level member by which the
// CycloneDX and SPDX specifications (2.x, 3.0) tell their documents.
func isSBOM(r io.Reader) bool {
	const maxBytes, maxDepth = 256 << 20, 1000
	b := bufio.NewReader(io.LimitReader(r, maxBytes))
	if bom, err := b.Peek(3); err == nil && string(bom) == "\ufeff" {
		if _, err := b.Discard(3); err != nil {
			return false
		}
	}
	dec := json.NewDecoder(b)
	depth, isKey := 0, false
	for {
		token, err := dec.Token()
		if err != nil || depth > maxDepth {
			return false
		}
		switch token := token.(type) {
		case json.Delim:
			if token == '{' || token == '[' {
				depth++
			} else {
				depth--
			}
			isKey = depth == 1
		case string:
			if depth == 1 && isKey && (token == "bomFormat" || token == "spdxVersion" || token == "@context") {
				return true
			}
			isKey = depth == 1 && !isKey
		default:
			isKey = depth == 1
		}
	}
}

// compression is how a file is packed.
type compression int

const (
	plain compression = iota
	gzipped
	zstandard
	bzip2ed
	xzed
)

// magics are the first bytes of compressed files (RFC 1952, RFC 8878, and the
// formats' own documents).
var magics = []struct {
	prefix string
	is     compression
}{
	{"\x1f\x8b", gzipped},
	{"\x28\xb5\x2f\xfd", zstandard},
	{"BZh", bzip2ed},
	{"\xfd7zXZ\x00", xzed},
}

func compressionOf(head []byte) compression {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.prefix)) {
			return m.is
		}
	}
	return plain
}

// isTarHeader tells whether a block is the first of a tar: an entry's header
// with a right checksum.
func isTarHeader(head []byte) bool {
	if len(head) < 512 {
		return false
	}
	_, err := tar.NewReader(bytes.NewReader(head[:512])).Next()
	if err == nil {
		return true
	}
	// Headers that announce a longer one (PAX, GNU long names) lack what they
	// announce, here.
	return errors.Is(err, io.ErrUnexpectedEOF) && strings.HasPrefix(string(head[257:]), "ustar")
}

// isLayerHead tells whether a blob that starts so can be a layer: compressed, or
// a tar, even an empty one.
func isLayerHead(head []byte) bool {
	if c := compressionOf(head); c == gzipped || c == zstandard {
		return true
	}
	return isTarHeader(head) || len(head) == 512 && bytes.Count(head, []byte{0}) == 512
}

func errNotRegular(info os.FileInfo) error {
	if info.IsDir() {
		return errors.New("is a folder, not an archive")
	}
	return fmt.Errorf("is not a regular file (%s): write it to disk first, since an archive is read more than once", info.Mode().Type())
}
