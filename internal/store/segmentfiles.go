package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"maps"
	"slices"

	"strata/internal/inventory"
)

// A segmentFile is a file that a layer introduces at a path.
type segmentFile struct {
	sha256 [sha256.Size]byte
	path   string
}

// A segmentFileHidden is one that the layer hides, which the layer at from introduced.
type segmentFileHidden struct {
	segmentFile
	from  int
	state inventory.State
}

// key names a file at a path: the first half of the SHA-256 of the content, then that of
// the path. So all with one content lie side by side.
func (f *segmentFile) key() string {
	path := sha256.Sum256([]byte(f.path))
	return string(f.sha256[:16]) + string(path[:16])
}

// splitFiles writes into the segments which files their layers introduce and hide. files
// are in the order of layers and paths.
func splitFiles(segments []segment, files []inventory.ImageFile) {
	for i := range files {
		f := &files[i]
		at := segmentFile{f.SHA256, f.Path}
		segments[f.Layer].files = append(segments[f.Layer].files, at)
		if f.State != inventory.Present {
			above := &segments[f.StateLayer]
			above.hiddenFiles = append(above.hiddenFiles, segmentFileHidden{at, f.Layer, f.State})
		}
	}
}

// hashFiles adds the rows of files to what the segment is named by.
func (s *segment) hashFiles(h hash.Hash) {
	h.Write([]byte("files"))
	for i := range s.files {
		s.files[i].hash(h)
	}
	h.Write([]byte("hidden files"))
	for i := range s.hiddenFiles {
		x := &s.hiddenFiles[i]
		x.hash(h)
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(x.from)))
		h.Write([]byte(x.state + "\x00"))
	}
}

func (f *segmentFile) hash(h hash.Hash) {
	h.Write(f.sha256[:])
	h.Write([]byte(f.path + "\x00"))
}

// fileRows are the ids of all files in the segments; those never seen are inserted, in an
// order that is the same for all.
func (in *ingest) fileRows(ctx context.Context, segments []*segment) (map[string]int64, error) {
	paths, ids := map[string]string{}, map[string]int64{}
	for _, s := range segments {
		for i := range s.files {
			paths[s.files[i].key()] = s.files[i].path
		}
		for i := range s.hiddenFiles {
			paths[s.hiddenFiles[i].key()] = s.hiddenFiles[i].path
		}
	}
	keys := slices.Sorted(maps.Keys(paths))
	for range 2 { // again for what another instance inserted meanwhile
		for batch := range slices.Chunk(keys, lookupBatch) {
			texts := make([][]byte, len(batch))
			for i, k := range batch {
				texts[i] = []byte(k)
			}
			list, args := oneOf(texts)
			if err := collect(ctx, in.tx, `SELECT key, id FROM files WHERE key IN `+list, args, ids); err != nil {
				return nil, err
			}
		}
		keys = slices.DeleteFunc(keys, func(k string) bool { return ids[k] != 0 })
		for batch := range slices.Chunk(keys, 300) {
			args := make([]any, 0, 2*len(batch))
			for _, k := range batch {
				args = append(args, []byte(k), paths[k])
			}
			if err := collect(ctx, in.tx, `INSERT INTO files (key, path) VALUES `+valueRows(len(batch), 2)+` ON CONFLICT (key) DO NOTHING RETURNING key, id`, args, ids); err != nil {
				return nil, err
			}
		}
		keys = slices.DeleteFunc(keys, func(k string) bool { return ids[k] != 0 })
	}
	return ids, nil
}

// files writes the rows of a segment's files.
func (in *ingest) files(ctx context.Context, segment int64, s *segment, ids map[string]int64) error {
	rows := make([][]any, 0, len(s.files))
	for i := range s.files {
		rows = append(rows, []any{segment, ids[s.files[i].key()]})
	}
	if err := insertRows(ctx, in.tx, "segment_files", []string{"segment", "file"}, "", rows); err != nil {
		return err
	}
	rows = rows[:0]
	for i := range s.hiddenFiles {
		x := &s.hiddenFiles[i]
		rows = append(rows, []any{segment, ids[x.key()], x.from, string(x.state)})
	}
	return insertRows(ctx, in.tx, "segment_files_hidden", []string{"segment", "file", "from_position", "state"}, "", rows)
}
