package scan

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"strata/internal/image"
	"strata/internal/inventory"
)

// A FileRequest says which files of an image to read.
type FileRequest struct {
	// Wanted are files, each in the layer that has it. "a.jar!/META-INF/LICENSE" is
	// a member of an archive.
	Wanted map[inventory.Location]bool
	// Beside tells by its base name whether a file is wanted that lies in the same
	// directory and layer as a wanted one; nil for none.
	Beside func(base string) bool
	// MaxFile bounds one file, and MaxTotal all of them, in bytes.
	MaxFile, MaxTotal int64
}

// maxFileArchive is how large an archive may be from which a member is read.
const maxFileArchive = 64 << 20

// Files reads some files of an image again, such as the texts of licences. What is
// not there, or is too large, is left out; the error is that of a layer that can't
// be read.
func Files(ctx context.Context, img *image.Image, limits image.Limits, want FileRequest) (map[inventory.Location][]byte, error) {
	r := newFileReader(want)
	layers, byDiffID := r.layers(img)
	if len(layers) == 0 || img.Content == nil {
		return r.found, nil
	}
	var stray error // the first of blobs of which is not known whose layers they are
	err := img.Content.Each(ctx, layers, 1, func(ctx context.Context, b image.Blob) error {
		err := r.layer(ctx, b, limits, byDiffID)
		if err != nil && b.Layer.Index == image.Unidentified && ctx.Err() == nil {
			stray = cmp.Or(stray, err)
			return nil
		}
		return err
	})
	if err == nil && len(byDiffID) > 0 {
		err = cmp.Or(stray, errors.New("a layer was not in the image's source"))
	}
	if err != nil {
		return r.found, fmt.Errorf("read files of %s: %w", img.Reference, err)
	}
	return r.found, nil
}

func newFileReader(want FileRequest) *fileReader {
	r := &fileReader{FileRequest: want, found: map[inventory.Location][]byte{}, paths: map[inventory.Location]bool{}, dirs: map[inventory.Location]bool{}, left: want.MaxTotal}
	for at := range want.Wanted {
		file, _, _ := strings.Cut(at.Path, "!/")
		r.paths[inventory.Location{Path: file, Layer: at.Layer}] = true
		r.dirs[inventory.Location{Path: path.Dir(file), Layer: at.Layer}] = true
	}
	return r
}

// layers are those in which a file is wanted, each diff id once, and the indexes
// that have it.
func (r *fileReader) layers(img *image.Image) (layers []image.Layer, byDiffID map[image.DiffID][]int) {
	needed := map[int]bool{}
	for at := range r.paths {
		needed[at.Layer] = true
	}
	byDiffID = map[image.DiffID][]int{}
	for _, l := range img.Layers {
		if !needed[l.Index] {
			continue
		}
		if byDiffID[l.DiffID] == nil {
			layers = append(layers, l)
		}
		byDiffID[l.DiffID] = append(byDiffID[l.DiffID], l.Index)
	}
	return layers, byDiffID
}

// layer reads one blob, and takes its layer out of those that are left. Which layer
// it is may be known only once it was read: until then it may be each of them.
func (r *fileReader) layer(ctx context.Context, b image.Blob, limits image.Limits, left map[image.DiffID][]int) error {
	rc, err := b.Open(ctx)
	if err != nil {
		return err
	}
	defer rc.Close()
	candidates := left[b.Layer.DiffID]
	if b.Layer.Index == image.Unidentified {
		candidates = slices.Concat(slices.Collect(maps.Values(left))...)
	}
	c := collector{fileReader: r, layers: candidates, texts: map[string][]byte{}}
	sum, err := image.Walk(ctx, rc, b.Layer, limits, func(e *image.Entry, body *image.Body) error {
		if e.Type != image.File || !c.wants(e.Path) {
			return nil
		}
		return c.read(e.Path, e.Size, body)
	})
	if err != nil {
		return err
	}
	c.keep(left[sum.DiffID])
	delete(left, sum.DiffID)
	return nil
}

// RootFiles is Files for a directory that was scanned as an image of one layer.
// Links lead nowhere outside of it.
func RootFiles(dir string, want FileRequest) (map[inventory.Location][]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	r := newFileReader(want)
	c := collector{fileReader: r, layers: []int{0}, texts: map[string][]byte{}}
	for at := range r.paths {
		f, err := root.Open(filepath.FromSlash(at.Path))
		if err != nil {
			continue // gone since
		}
		if facts, statErr := f.Stat(); statErr == nil && facts.Mode().IsRegular() {
			err = c.read(at.Path, facts.Size(), &image.Body{Reader: f})
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return r.found, err
		}
	}
	c.keep(c.layers)
	return r.found, nil
}

// A fileReader reads files of layers, one layer at a time.
type fileReader struct {
	FileRequest
	// paths are the files wanted, and dirs the directories they are in.
	paths, dirs map[inventory.Location]bool

	found map[inventory.Location][]byte
	left  int64 // bytes of MaxTotal
}

func (r *fileReader) wants(p string, layer int) bool {
	if r.paths[inventory.Location{Path: p, Layer: layer}] {
		return true
	}
	return r.Beside != nil && r.dirs[inventory.Location{Path: path.Dir(p), Layer: layer}] && r.Beside(path.Base(p))
}

// A collector has the files of one blob, which is one of the layers.
type collector struct {
	*fileReader
	layers []int
	texts  map[string][]byte
}

func (c *collector) wants(p string) bool {
	return slices.ContainsFunc(c.layers, func(layer int) bool { return c.fileReader.wants(p, layer) })
}

// keep takes over what the layers want that the blob turned out to be, and lets go
// of the rest.
func (c *collector) keep(layers []int) {
	for p, text := range c.texts {
		kept := false
		for _, layer := range layers {
			at := inventory.Location{Path: p, Layer: layer}
			if c.Wanted[at] || c.fileReader.wants(p, layer) {
				c.found[at] = text
				kept = true
			}
		}
		if !kept {
			c.left += int64(len(text))
		}
	}
}

func (c *collector) read(p string, size int64, body *image.Body) error {
	members := c.members(p)
	if len(members) > 0 {
		if size > maxFileArchive {
			return nil
		}
		b, err := io.ReadAll(io.LimitReader(body, size))
		if err != nil {
			return err
		}
		c.unpack(b, p, members)
		return nil
	}
	if size > min(c.MaxFile, c.left) {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(body, size))
	if err != nil {
		return err
	}
	c.add(p, b)
	return nil
}

// add has a later file of one path in a layer replace an earlier one.
func (c *collector) add(p string, text []byte) {
	c.left += int64(len(c.texts[p])) - int64(len(text))
	c.texts[p] = text
}

// members are the wanted members of an archive.
func (c *collector) members(archive string) []string {
	var out []string
	for at := range c.Wanted {
		member, ok := strings.CutPrefix(at.Path, archive+"!/")
		if ok && slices.Contains(c.layers, at.Layer) && !slices.Contains(out, member) {
			out = append(out, member)
		}
	}
	return out
}

// unpack reads members of an archive; those of archives within it are left out.
func (c *collector) unpack(b []byte, archive string, members []string) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return
	}
	for _, m := range members {
		for _, e := range z.File {
			if e.Name != m || e.UncompressedSize64 > uint64(min(c.MaxFile, c.left)) {
				continue
			}
			f, err := e.Open()
			if err != nil {
				break
			}
			text, err := io.ReadAll(io.LimitReader(f, c.MaxFile))
			if errors.Join(err, f.Close()) == nil {
				c.add(archive+"!/"+m, text)
			}
			break
		}
	}
}
