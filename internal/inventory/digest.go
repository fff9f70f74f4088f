package inventory

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
)

// A FileDigest is a file of a layer by its content.
type FileDigest struct {
	Path   string
	SHA256 [sha256.Size]byte
}

// An ImageFile is a file at a path of an image, by its content: of those that have a
// digest in the layers (Layer.Digests).
type ImageFile struct {
	SHA256 [sha256.Size]byte
	// Layer introduced this content at the path: layers that only write the same again
	// are not told of.
	Location
	// State is Shadowed when StateLayer has something else at the path, and Removed when
	// it has nothing, or a directory.
	State State
	// StateLayer is -1 while it is present.
	StateLayer int
}

// PackDigests makes Layer.Digests: for each file, in the order of the listing, how many
// lines of it lie between it and the one before, and its SHA-256. What the listing does
// not have as a file is left out.
func PackDigests(listing Paths, files []FileDigest) []byte {
	slices.SortFunc(files, func(a, b FileDigest) int { return ComparePaths(a.Path, b.Path) })
	b := make([]byte, 0, len(files)*(sha256.Size+1))
	next, line := 0, 0
	for i := range files {
		for line < len(listing) && ComparePaths(listing[line].Path, files[i].Path) < 0 {
			line++
		}
		for line < len(listing) && listing[line].Path == files[i].Path && listing[line].Kind != PathFile {
			line++ // a mark beside it
		}
		if line == len(listing) || listing[line].Path != files[i].Path {
			continue
		}
		b = binary.AppendUvarint(b, uint64(line-next))
		b = append(b, files[i].SHA256[:]...)
		line++
		next = line
	}
	return b
}

// MaxDigests bounds the files of a layer that have a digest. Large layers of real images,
// with machine learning in them, have some ten thousand.
const MaxDigests = 200_000

// errDigests is returned for bytes that PackDigests did not make of the listing.
var errDigests = errors.New("damaged digests of a layer's files")

// FileDigests reads the layer's Digests, by its listing.
func (l *Layer) FileDigests(listing Paths) ([]FileDigest, error) {
	out := make([]FileDigest, 0, len(l.Digests)/(sha256.Size+1))
	next := uint64(0)
	for b := l.Digests; len(b) > 0; {
		skip, n := binary.Uvarint(b)
		if n <= 0 || len(b) < n+sha256.Size || len(out) == MaxDigests || skip >= uint64(len(listing)) || next+skip >= uint64(len(listing)) {
			return nil, errDigests
		}
		p := &listing[next+skip]
		if p.Kind != PathFile {
			return nil, errDigests
		}
		out = append(out, FileDigest{p.Path, [sha256.Size]byte(b[n:])})
		b, next = b[n+sha256.Size:], next+skip+1
	}
	return out, nil
}

// putContents puts the contents of files where the layer has them. It comes after all
// else of the layer, whose places they are put into.
func (m *merger) putContents(l *Layer, listing Paths, moved relocation) (placed []*place) {
	if listing == nil {
		return nil // there is none, or a problem tells that it is damaged
	}
	files, err := l.FileDigests(listing)
	if err != nil {
		m.problems = append(m.problems, Problem{Layer: m.layer, Message: err.Error()})
	}
	for i := range files {
		at := moved.of(files[i].Path)
		p, ok := m.files[at]
		if ok && p.link {
			continue
		}
		if !ok || p.layer != m.layer {
			p = &place{path: at, layer: m.layer}
			m.put(p)
		}
		if p.content == nil {
			placed = append(placed, p)
		}
		p.content = &ImageFile{SHA256: files[i].SHA256, Location: Location{at, m.layer}, State: Present, StateLayer: -1}
	}
	return placed
}

// settleContents tells what became of the contents that the layer took away: one that it
// only wrote again goes on. paths is the listing of the layer.
func (m *merger) settleContents(placed []*place, paths Paths) {
	for _, old := range m.over {
		p, ok := m.files[old.Path]
		switch {
		case ok && old.Layer == m.layer: // a database was put back in its place, of which it is the file
			p.content, m.contents = old, append(m.contents, old)
			continue
		case ok && p.content != nil && p.content.SHA256 == old.SHA256:
			p.content = old
			continue
		}
		old.State, old.StateLayer = Removed, m.layer
		if e, ok := paths.Find(old.Path); ok && e.Kind != PathDir {
			old.State = Shadowed
		}
	}
	for _, p := range placed {
		if m.files[p.path] == p && p.content.Layer == m.layer {
			m.contents = append(m.contents, p.content)
		}
	}
}

// imageFiles are the contents in the order of layers and paths.
func (m *merger) imageFiles() []ImageFile {
	if len(m.contents) == 0 {
		return nil
	}
	out := make([]ImageFile, len(m.contents))
	for i, c := range m.contents {
		out[i] = *c
	}
	slices.SortFunc(out, func(a, b ImageFile) int {
		return cmp.Or(cmp.Compare(a.Layer, b.Layer), strings.Compare(a.Path, b.Path), cmp.Compare(a.StateLayer, b.StateLayer))
	})
	return out
}
