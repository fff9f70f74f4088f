package inventory

import (
	"encoding/binary"
	"errors"
	"math"
	"path"
	"slices"
	"strings"
)

// A PathKind says what a layer does with a path.
type PathKind byte

const (
	// PathFile is a regular file, hard link, device or anything else that is
	// neither directory nor symbolic link.
	PathFile PathKind = 'f'
	// PathDir is a directory.
	PathDir PathKind = 'd'
	// PathSymlink is a symbolic link.
	PathSymlink PathKind = 'l'
	// PathWhiteout deletes the path from the layers below.
	PathWhiteout PathKind = 'w'
	// PathOpaque deletes what is in the directory from the layers below.
	PathOpaque PathKind = 'o'
)

func (k PathKind) valid() bool {
	switch k {
	case PathFile, PathDir, PathSymlink, PathWhiteout, PathOpaque:
		return true
	}
	return false
}

// content tells whether the layer has something at the path, as opposed to a
// mark about the layers below.
func (k PathKind) content() bool { return k != PathWhiteout && k != PathOpaque }

// A Path is one line of a layer's listing.
type Path struct {
	Path string
	Kind PathKind
	// Target of a symbolic link, as written.
	Target string
}

// Paths is the listing of a layer: every path it adds, replaces or deletes, with
// directories before what is in them. A path has at most one content (file,
// directory or link), that which the tar's last entry for it left, and may have
// a whiteout or an opaque mark besides.
type Paths []Path

// ComparePaths orders a directory directly before everything below it.
func ComparePaths(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		case a[i] < b[i]:
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}

// below tells whether p is in the directory dir, at any depth.
func below(p, dir string) bool {
	if dir == "" {
		return p != ""
	}
	return len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir
}

// parent is the directory of p; ok is false for the root.
func parent(p string) (string, bool) {
	if p == "" {
		return "", false
	}
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", true
	}
	return p[:i], true
}

// ResolveLink gives the path that a link at p with the target leads to, within the
// root: symlink(7), with the root of the image as root.
func ResolveLink(p, target string) string {
	if strings.HasPrefix(target, "/") {
		return path.Clean(target)[1:]
	}
	dir, _ := parent(p)
	return path.Clean("/" + dir + "/" + target)[1:]
}

// Find returns the content the layer has at p.
func (ps Paths) Find(p string) (Path, bool) {
	i, _ := slices.BinarySearchFunc(ps, p, func(e Path, p string) int { return ComparePaths(e.Path, p) })
	for ; i < len(ps) && ps[i].Path == p; i++ {
		if ps[i].Kind.content() {
			return ps[i], true
		}
	}
	return Path{}, false
}

// A PathsBuilder makes the listing of a layer from its tar entries in their
// order. The zero value is ready.
type PathsBuilder struct {
	entries []builtPath
}

type builtPath struct {
	Path
	seq int32
	ref int32 // what the caller wants to know the final path of; -1 for nothing
	// cleared is set for a directory that was something else in between: entries
	// below it that came before went with what it was.
	cleared int32
}

// Add adds an entry. A ref that is not negative is given back by Build with the
// path where the entry's content finally lies, if it still does.
func (b *PathsBuilder) Add(p Path, ref int) {
	b.entries = append(b.entries, builtPath{Path: p, seq: int32(len(b.entries) + 1), ref: int32(ref)})
}

// Watch makes the i-th entry's ref i, as if it had been added with it: often only
// what an entry holds tells whether its final path is of interest.
func (b *PathsBuilder) Watch(i int) { b.entries[i].ref = int32(i) }

// Len is the number of entries added.
func (b *PathsBuilder) Len() int { return len(b.entries) }

// maxLinks is how many symbolic links one path may lead through: Linux's MAXSYMLINKS.
const maxLinks = 40

// Build gives the listing, and for every ref the path of its content. The rules
// are those of unpacking the tar in order: the last entry of a path counts, an
// entry below a symbolic link goes where the link leads, and an entry that makes
// a directory of a file, or the reverse, replaces it with all below it.
func (b *PathsBuilder) Build() (Paths, map[int]string) {
	entries := b.entries
	for n := range maxLinks + 1 {
		sorted, again := lastOfEach(entries)
		if again {
			entries = sorted
			continue
		}
		kept, moved := dropBelowFiles(sorted)
		entries = kept
		if len(moved) == 0 || n == maxLinks { // links in a circle lead nowhere
			break
		}
		entries = append(entries, moved...)
	}
	paths := make(Paths, len(entries))
	refs := map[int]string{}
	for i, e := range entries {
		paths[i] = e.Path
		if e.ref >= 0 {
			refs[int(e.ref)] = e.Path.Path
		}
	}
	b.entries = nil
	return paths, refs
}

// lastOfEach sorts and keeps the last content, and one mark of each kind, per
// path. When it had to add marks, the result is to be sorted once more.
func lastOfEach(entries []builtPath) ([]builtPath, bool) {
	var hollow []builtPath // their marks
	slices.SortFunc(entries, func(a, b builtPath) int {
		if c := ComparePaths(a.Path.Path, b.Path.Path); c != 0 {
			return c
		}
		// Later entries first: they are the ones to keep.
		if c := int(class(a.Kind)) - int(class(b.Kind)); c != 0 {
			return c
		}
		return int(b.seq - a.seq)
	})
	out := entries[:0]
	for i, e := range entries {
		if i == 0 || e.Path.Path != entries[i-1].Path.Path || class(e.Kind) != class(entries[i-1].Kind) {
			out = append(out, e)
		} else if last := &out[len(out)-1]; last.Kind == PathDir && e.Kind != PathDir && last.cleared == 0 {
			last.cleared = e.seq
			hollow = append(hollow, opaqueAt(*last))
		}
	}
	return append(out, hollow...), len(hollow) > 0
}

// opaqueAt is the mark that a directory, which for a moment was something else,
// has nothing of the lower layers in it.
func opaqueAt(e builtPath) builtPath {
	return builtPath{Path: Path{Path: e.Path.Path, Kind: PathOpaque}, seq: e.seq, ref: -1}
}

// class groups the kinds of which a path has at most one.
func class(k PathKind) byte {
	if k.content() {
		return 0
	}
	return byte(k)
}

// dropBelowFiles settles entries below an entry that is no directory, by which
// of the two came later. Those that go through a symbolic link are returned
// apart, with the path they lead to. entries are sorted.
func dropBelowFiles(entries []builtPath) (kept, moved []builtPath) {
	var above []builtPath      // what the current entry is below, and that may replace it
	kept = entries[:0]         // it never overtakes the loop
	became := map[int32]bool{} // files that became directories, by seq
	last := ""
	for i, e := range entries {
		mark := i > 0 && e.Path.Path == last // beside a content
		last = e.Path.Path
		for !mark && len(above) > 0 && !below(e.Path.Path, above[len(above)-1].Path.Path) {
			above = above[:len(above)-1]
		}
		var top *builtPath
		gone := false
		for j := range above {
			if d := &above[j]; below(e.Path.Path, d.Path.Path) {
				gone = gone || e.seq < max(d.cleared, replacedAt(d))
				top = d
			}
		}
		if gone {
			continue // went together with the directory it was in
		}
		if top != nil && top.Kind == PathSymlink {
			e.Path.Path = path.Clean("/" + ResolveLink(top.Path.Path, top.Target) + e.Path.Path[len(top.Path.Path):])[1:]
			moved = append(moved, e)
			continue
		}
		if top != nil && top.Kind == PathFile && e.Kind.content() {
			became[top.seq] = true
		}
		if !mark && (e.Kind == PathFile || e.Kind == PathSymlink || e.cleared > 0) {
			above = append(above, e)
		}
		kept = append(kept, e)
	}
	if len(became) == 0 {
		return kept, moved
	}
	for i, e := range kept {
		if e.Kind == PathFile && became[e.seq] {
			kept[i] = opaqueAt(e)
		}
	}
	return kept, moved
}

// replacedAt is when an entry that is no directory took the place of one.
func replacedAt(e *builtPath) int32 {
	if e.Kind == PathDir {
		return 0
	}
	return e.seq
}

// packFrom is how many paths a layer has for its listing to be kept packed.
const packFrom = 50_000

// Pack keeps the listing of a large layer in its compact form until Merge
// wants it.
func (l *Layer) Pack() error {
	if len(l.Paths) < packFrom {
		return nil
	}
	packed, err := l.Paths.AppendBinary(nil)
	if err != nil {
		return err
	}
	l.Paths, l.Packed = nil, packed
	return nil
}

// Listing gives the layer's paths, packed or not.
func (l *Layer) Listing() (Paths, error) {
	if l.Packed == nil {
		return l.Paths, nil
	}
	var paths Paths
	err := paths.UnmarshalBinary(l.Packed)
	return paths, err
}

// AppendBinary appends the listing in a compact form, in which each path gives
// only what differs from the one before. It makes Paths an encoding.BinaryAppender.
func (ps Paths) AppendBinary(b []byte) ([]byte, error) {
	b = binary.AppendUvarint(b, uint64(len(ps)))
	last := ""
	for _, p := range ps {
		shared := commonPrefix(last, p.Path)
		b = append(b, byte(p.Kind))
		b = binary.AppendUvarint(b, uint64(shared))
		b = binary.AppendUvarint(b, uint64(len(p.Path)-shared))
		b = append(b, p.Path[shared:]...)
		if p.Kind == PathSymlink {
			b = binary.AppendUvarint(b, uint64(len(p.Target)))
			b = append(b, p.Target...)
		}
		last = p.Path
	}
	return b, nil
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// errListing is returned for bytes that AppendBinary did not write.
var errListing = errors.New("damaged listing of a layer")

// UnmarshalBinary reads what AppendBinary wrote.
func (ps *Paths) UnmarshalBinary(b []byte) error { return ps.UnmarshalAtMost(b, math.MaxInt) }

// UnmarshalAtMost is UnmarshalBinary of what anyone may have written: it is an error when
// it would take more memory than some bytes. As lines share what they begin with, few bytes
// can tell of many.
func (ps *Paths) UnmarshalAtMost(b []byte, most int) error {
	r := listingReader{b: b}
	n := r.number()
	// A line takes at least three bytes: a liar can't make us allocate more.
	if r.bad || n > uint64(len(b))/3+1 || n > uint64(most)/pathBytes {
		return errListing
	}
	left := uint64(most) - n*pathBytes
	out := make(Paths, 0, n)
	last := ""
	for range n {
		kind := PathKind(r.bytes(1)[0])
		shared, rest := r.number(), r.number()
		if r.bad || shared > uint64(len(last)) || !kind.valid() || shared > left {
			return errListing
		}
		left -= shared
		p := Path{Kind: kind, Path: last[:shared] + string(r.bytes(rest))}
		if kind == PathSymlink {
			p.Target = string(r.bytes(r.number()))
		}
		if r.bad {
			return errListing
		}
		out = append(out, p)
		last = p.Path
	}
	if len(r.b) > 0 {
		return errListing
	}
	*ps = out
	return nil
}

// pathBytes is what a Path takes besides its texts: its kind and two strings.
const pathBytes = 40

// A listingReader reads the parts of a listing; bad is set once one is missing.
type listingReader struct {
	b   []byte
	bad bool
}

func (r *listingReader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *listingReader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad = true
		return make([]byte, 1)
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}
