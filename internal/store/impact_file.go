package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"strata/internal/analyzer"
	"strata/internal/image"
	"strata/internal/inventory"
)

// An ImpactFile is a path at which an image has the file in question, or had it in a
// lower layer.
type ImpactFile struct {
	Path string `json:"path"`
	// Layer introduced it there, by the instruction CreatedBy; Base tells that it is one of
	// the base image.
	Layer     int    `json:"layer"`
	DiffID    string `json:"diff_id"`
	CreatedBy string `json:"created_by,omitempty"`
	Base      bool   `json:"base,omitempty"`
	// State is what became of it, by StateLayer (-1 while it is present): shadowed by
	// something else at the path, or removed.
	State      inventory.State `json:"state"`
	StateLayer int             `json:"state_layer"`
}

// fileNote says of which files an answer can't know.
const fileNote = "known by content are only " + analyzer.Recorded

// fileSubject is a question about the file with a digest.
func (d *DB) fileSubject(ctx context.Context, text string) (*subject, error) {
	digest := image.Digest(strings.ToLower(strings.TrimSpace(text)))
	sum, err := hex.DecodeString(digest.Hex())
	if invalid := digest.Validate(); invalid != nil || err != nil {
		return nil, fmt.Errorf("%w: file %q: want sha256: and 64 hexadecimal digits", ErrQuery, text)
	}
	// The keys of a content begin with it: see segmentFile.key.
	first, last := slices.Concat(sum[:16], make([]byte, 16)), slices.Concat(sum[:16], bytes.Repeat([]byte{0xff}, 16))
	s := &subject{file: string(digest), keys: []any{first, last}, paths: map[int64]string{}}
	err = d.each(ctx, `SELECT id, path FROM files WHERE key BETWEEN $1 AND $2`, s.keys, func(scan func(...any) error) error {
		var id int64
		var path string
		err := scan(&id, &path)
		s.paths[id] = path
		return err
	})
	return s, err
}

// unknownFile tells that no image has the file as far as is known, and how far that is.
func unknownFile(digest string) error {
	return fmt.Errorf("file %s: %w: no image is known to have it; "+fileNote, digest, ErrNotFound)
}

// fileHolders reads which segments introduce and hide the file in question.
func (d *DB) fileHolders(ctx context.Context, a *asked) error {
	const ids = `SELECT id FROM files WHERE key BETWEEN $1 AND $2`
	err := d.each(ctx, `SELECT segment, file FROM segment_files WHERE file IN (`+ids+`) ORDER BY segment, file`, a.keys, func(scan func(...any) error) error {
		var segment int64
		var p heldPackage
		if err := scan(&segment, &p.id); err != nil {
			return err
		}
		a.hold(segment, p)
		return nil
	})
	if err != nil {
		return err
	}
	a.hidden = map[hiddenKey][]hiddenHow{}
	return d.each(ctx, `SELECT segment, file, from_position, state FROM segment_files_hidden WHERE file IN (`+ids+`)`, a.keys, func(scan func(...any) error) error {
		var segment int64
		var k hiddenKey
		var how hiddenHow
		if err := scan(&segment, &k.id, &k.from, &how.state); err != nil {
			return err
		}
		a.hide(segment, k, how)
		return nil
	})
}

// fileRow is a path of the file in question in an image.
func (a *asked) fileRow(h *hit, m *image.Image, baseLayers int) ImpactFile {
	out := ImpactFile{Path: a.paths[h.pkg.id], Layer: int(h.position), Base: int(h.position) < baseLayers, State: h.state, StateLayer: int(h.stateAt)}
	if m != nil && out.Layer < len(m.Layers) {
		out.DiffID, out.CreatedBy = string(m.Layers[out.Layer].DiffID), m.Layers[out.Layer].CreatedBy
	}
	return out
}

// addFile keeps the rows in order: what is present first, for there may be too many.
func (m *ImpactImage) addFile(f ImpactFile) {
	at, _ := slices.BinarySearchFunc(m.Files, f, func(x, y ImpactFile) int {
		return cmp.Or(-cmp.Compare(stateRank(x.State), stateRank(y.State)), cmp.Compare(x.Layer, y.Layer), strings.Compare(x.Path, y.Path), cmp.Compare(x.StateLayer, y.StateLayer))
	})
	m.Files = slices.Insert(m.Files, at, f)
	m.Files = m.Files[:min(len(m.Files), maxLayerPackages)]
}

// pathsOf are those with the ids, in order.
func (a *asked) pathsOf(ids []int64) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = a.paths[id]
	}
	slices.Sort(out)
	return out
}
