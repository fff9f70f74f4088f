package scan

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

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
	r := fileReader{FileRequest: want, found: map[inventory.Location][]byte{}, paths: map[inventory.Location]bool{}, dirs: map[inventory.Location]bool{}, left: want.MaxTotal}
	for at := range want.Wanted {
		file, _, _ := strings.Cut(at.Path, "!/")
		r.paths[inventory.Location{Path: file, Layer: at.Layer}] = true
		r.dirs[inventory.Location{Path: path.Dir(file), Layer: at.Layer}] = true
	}
	var layers []image.Layer
	byDiffID := map[image.DiffID][]int{}
	for _, l := range img.Layers {
		needed := false
		for at := range r.paths {
			needed = needed || at.Layer == l.Index
		}
		if !needed {
			continue
		}
		if byDiffID[l.DiffID] == nil {
			layers = append(layers, l)
		}
		byDiffID[l.DiffID] = append(byDiffID[l.DiffID], l.Index)
	}
	if len(layers) == 0 || img.Content == nil {
		return r.found, nil
	}
	err := img.Content.Each(ctx, layers, 1, func(ctx context.Context, b image.Blob) error {
		rc, err := b.Open(ctx)
		if err != nil {
			return err
		}
		defer rc.Close()
		if b.Layer.Index == image.Unidentified {
			return nil // it may be any: nothing tells before it is read whose it is
		}
		_, err = image.Walk(ctx, rc, b.Layer, limits, func(e *image.Entry, body *image.Body) error {
			if e.Type != image.File {
				return nil
			}
			for _, index := range byDiffID[b.Layer.DiffID] {
				if r.wants(e.Path, index) {
					return r.read(e.Path, index, e.Size, body)
				}
			}
			return nil
		})
		return err
	})
	if err != nil {
		return r.found, fmt.Errorf("read files of %s: %w", img.Reference, err)
	}
	return r.found, nil
}

// RootFiles is Files for a directory that was scanned as an image of one layer.
// Links lead nowhere outside of it.
func RootFiles(dir string, want FileRequest) (map[inventory.Location][]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	r := fileReader{FileRequest: want, found: map[inventory.Location][]byte{}, paths: map[inventory.Location]bool{}, left: want.MaxTotal}
	for at := range want.Wanted {
		file, _, _ := strings.Cut(at.Path, "!/")
		r.paths[inventory.Location{Path: file, Layer: at.Layer}] = true
	}
	for at := range r.paths {
		f, err := root.Open(filepath.FromSlash(at.Path))
		if err != nil {
			continue // gone since
		}
		if facts, statErr := f.Stat(); statErr == nil && facts.Mode().IsRegular() {
			err = r.read(at.Path, at.Layer, facts.Size(), &image.Body{Reader: f})
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return r.found, err
		}
	}
	return r.found, nil
}

// A fileReader reads files of layers, one at a time.
type fileReader struct {
	FileRequest
	paths, dirs map[inventory.Location]bool

	mu    sync.Mutex
	found map[inventory.Location][]byte
	left  int64
}

func (r *fileReader) wants(p string, layer int) bool {
	if r.paths[inventory.Location{Path: p, Layer: layer}] {
		return true
	}
	return r.Beside != nil && r.dirs[inventory.Location{Path: path.Dir(p), Layer: layer}] && r.Beside(path.Base(p))
}

func (r *fileReader) read(p string, layer int, size int64, body *image.Body) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := inventory.Location{Path: p, Layer: layer}
	if members := r.members(at); len(members) > 0 {
		if size > maxFileArchive {
			return nil
		}
		b, err := io.ReadAll(io.LimitReader(body, size))
		if err != nil {
			return err
		}
		r.unpack(b, at, members)
	}
	if size > min(r.MaxFile, r.left) || !r.Wanted[at] && len(r.members(at)) > 0 {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(body, size))
	if err != nil {
		return err
	}
	r.left -= int64(len(b))
	r.found[at] = b
	return nil
}

// members are the wanted members of an archive.
func (r *fileReader) members(archive inventory.Location) []string {
	var out []string
	for at := range r.Wanted {
		if member, ok := strings.CutPrefix(at.Path, archive.Path+"!/"); ok && at.Layer == archive.Layer {
			out = append(out, member)
		}
	}
	return out
}

// unpack reads members of an archive; those of archives within it are left out.
func (r *fileReader) unpack(b []byte, archive inventory.Location, members []string) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return
	}
	for _, m := range members {
		for _, e := range z.File {
			if e.Name != m || e.UncompressedSize64 > uint64(min(r.MaxFile, r.left)) {
				continue
			}
			f, err := e.Open()
			if err != nil {
				break
			}
			text, err := io.ReadAll(io.LimitReader(f, r.MaxFile))
			if errors.Join(err, f.Close()) == nil {
				r.left -= int64(len(text))
				r.found[inventory.Location{Path: archive.Path + "!/" + m, Layer: archive.Layer}] = text
			}
			break
		}
	}
}
