package store

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"strata/internal/image"
	"strata/internal/inventory"
)

func submittedLayer(id string) *inventory.Layer {
	return &inventory.Layer{
		DiffID: image.DiffID("sha256:" + strings.Repeat(id, 64)), Size: 10240, Entries: 2,
		Files: []inventory.File{{Path: "app/package.json", Analyzer: "npm", Packages: []inventory.Package{{Type: "npm", Name: "a", Version: "1.0.0", Ecosystem: "npm"}}}},
		Paths: inventory.Paths{{Path: "app", Kind: inventory.PathDir}, {Path: "app/package.json", Kind: inventory.PathFile}},
	}
}

// pack makes what EncodeLayer makes, of any JSON and listing.
func pack(t testing.TB, doc string, listing []byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return enc.EncodeAll(append(append(binary.AppendUvarint(nil, uint64(len(doc))), doc...), listing...), nil)
}

func TestDecodeLayer(t *testing.T) {
	want := submittedLayer("a")
	want.Digests = inventory.PackDigests(want.Paths, []inventory.FileDigest{{Path: "app/package.json"}})
	b, err := EncodeLayer(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeLayer(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	id := string(want.DiffID)
	for name, b := range map[string][]byte{
		"empty":        nil,
		"cut off":      b[:len(b)-1],
		"no zstd":      []byte("hello"),
		"no diff id":   pack(t, `{}`, []byte{0}),
		"other digest": pack(t, `{"diff_id": "md5:00"}`, []byte{0}),
		"NUL":          pack(t, `{"diff_id": "`+id+`", "files": [{"path": "a\u0000b"}]}`, []byte{0}),
		"NUL in path":  pack(t, `{"diff_id": "`+id+`"}`, append([]byte{1, byte(inventory.PathFile), 0, 1}, 0)),
		"new field":    pack(t, `{"diff_id": "`+id+`", "vulnerabilities": []}`, []byte{0}),
		"negative":     pack(t, `{"diff_id": "`+id+`", "size": -1}`, []byte{0}),
		"no UTF-8":     pack(t, `{"diff_id": "`+id+`"}`, append([]byte{1, byte(inventory.PathFile), 0, 1}, 0xff)),
		"no digests":   pack(t, `{"diff_id": "`+id+`", "digests": "AA=="}`, append([]byte{1, byte(inventory.PathFile), 0, 1}, 'a')),
		"no listing":   pack(t, `{"diff_id": "`+id+`"}`, nil),
		"bomb":         pack(t, strings.Repeat(" ", maxSubmittedDecoded), []byte{0}),
		"objects":      pack(t, `{"diff_id": "`+id+`", "packages": [{}`+strings.Repeat(",{}", maxSubmittedObjects)+`]}`, []byte{0}),
		"long paths":   pack(t, `{"diff_id": "`+id+`"}`, longPaths(maxSubmittedPaths)),
	} {
		if l, err := DecodeLayer(b); err == nil {
			t.Errorf("%s: %+v, no error", name, l)
		}
	}
}

// longPaths is a listing of some kilobytes whose paths take more bytes than that: each line
// has all of the one before, and a character more.
func longPaths(bytes int) []byte {
	const length = 64 << 10
	lines := bytes / length
	b := binary.AppendUvarint(nil, uint64(lines)+1)
	b = append(binary.AppendUvarint(append(b, byte(inventory.PathFile), 0), length), strings.Repeat("a", length)...)
	for i := range lines {
		b = append(binary.AppendUvarint(append(b, byte(inventory.PathFile)), uint64(length+i)), 1, 'a')
	}
	return b
}

func FuzzDecodeLayer(f *testing.F) {
	b, err := EncodeLayer(submittedLayer("a"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(pack(f, `{"diff_id": "sha256:`+strings.Repeat("a", 64)+`"}`, []byte{0}))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := DecodeLayer(b)
		if err != nil {
			return
		}
		again, err := EncodeLayer(l)
		if err != nil {
			t.Fatal(err)
		}
		if l2, err := DecodeLayer(again); err != nil || !cmp.Equal(l, l2) {
			t.Errorf("not the same again: %v", err)
		}
	})
}

// TestSubmittedLayersAreTheUsers: what one user says of a layer is not told to another,
// stays as it was said first, and is no inventory of the server's.
func TestSubmittedLayersAreTheUsers(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		var users [2]int64
		for i, name := range []string{"ann", "bob"} {
			id, err := db.CreateUser(ctx, &User{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			users[i] = id
		}
		l := submittedLayer("a")
		if err := db.PutSubmittedLayer(ctx, users[0], "6", l); err != nil {
			t.Fatal(err)
		}
		other := submittedLayer("a")
		other.Files = nil
		if err := db.PutSubmittedLayer(ctx, users[0], "6", other); err != nil {
			t.Fatal(err)
		}
		got, err := db.SubmittedLayer(ctx, users[0], "6", l.DiffID)
		if diff := cmp.Diff(l, got); err != nil || diff != "" {
			t.Error(err, diff)
		}
		if got, err := db.SubmittedLayer(ctx, users[1], "6", l.DiffID); !errors.Is(err, ErrNotFound) {
			t.Errorf("another user gets %v, error %v", got, err)
		}
		unknown := submittedLayer("b").DiffID
		ofServer := submittedLayer("c").DiffID
		if _, err := db.db.ExecContext(ctx, `INSERT INTO layers (id, diff_id) VALUES (1, $1)`, string(ofServer)); err != nil {
			t.Fatal(err)
		}
		if _, err := db.db.ExecContext(ctx, `INSERT INTO inventories (layer, analyzer_set, inventory, created_at) VALUES (1, '6', $1, 1)`, []byte("x")); err != nil {
			t.Fatal(err)
		}
		for i, want := range []map[image.DiffID]bool{{l.DiffID: true, ofServer: true}, {ofServer: true}} {
			known, err := db.KnownLayers(ctx, users[i], "6", []image.DiffID{l.DiffID, unknown, ofServer})
			if diff := cmp.Diff(want, known); err != nil || diff != "" {
				t.Errorf("user %d: %v %s", i, err, diff)
			}
			if known, err := db.KnownLayers(ctx, users[i], "7", []image.DiffID{l.DiffID, ofServer}); err != nil || len(known) > 0 {
				t.Errorf("another set of analyzers: %v %v", known, err)
			}
		}
		if known, err := db.KnownLayers(ctx, users[0], "6", nil); err != nil || len(known) > 0 {
			t.Error(known, err)
		}
	})
}

func TestRegistryOf(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		if _, err := db.db.ExecContext(ctx, `INSERT INTO registries (name, url, kind, settings, created_at, updated_at) VALUES
			('hub', 'https://registry-1.docker.io/', 'crawled', '{}', 1, 1), ('quay.io', 'https://quay.example', 'crawled', '{}', 1, 1)`); err != nil {
			t.Fatal(err)
		}
		for host, want := range map[string]string{
			"docker.io": "hub", "": "hub", "quay.example": "quay.io", "QUAY.example": "quay.io",
			"ghcr.io": "ghcr.io", "localhost:5000": "localhost:5000",
		} {
			first, err0 := db.RegistryNameOf(ctx, host)
			id, name, err := db.RegistryOf(ctx, host)
			again, _, err2 := db.RegistryOf(ctx, host)
			if name != want || first != want || err0 != nil || err != nil || err2 != nil || id != again || id == 0 {
				t.Errorf("%q: %q and %q, id %d and %d, %v %v %v; want %q", host, first, name, id, again, err0, err, err2, want)
			}
		}
		if _, name, err := db.RegistryOf(ctx, "quay.io"); err != nil || name != "asked:quay.io" {
			t.Errorf("the name of a registry with another host: %q, %v", name, err)
		}
	})
}

// TestSubmittedImagesStayApart: what a user says of an image doesn't take the place of
// what the server has read under the same digest, before or after; nor that of what
// another user says.
func TestSubmittedImagesStayApart(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		ann, err := db.CreateUser(ctx, &User{Name: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		bob, err := db.CreateUser(ctx, &User{Name: "bob"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.db.ExecContext(ctx, `INSERT INTO registries (name, url, kind, settings, created_at, updated_at) VALUES ('r.example', 'https://r.example', 'crawled', '{}', 1, 1)`); err != nil {
			t.Fatal(err)
		}
		contents := func(version string) Contents {
			l := submittedLayer("a")
			l.Files[0].Packages[0].Version = version
			inv := inventory.Merge([]*inventory.Layer{l})
			return Contents{Inventory: &inv, AnalyzerSet: "6", Image: &image.Image{
				Reference: "r.example/web:1", Digest: image.Digest("sha256:" + strings.Repeat("d", 64)), ConfigDigest: image.Digest("sha256:" + strings.Repeat("c", 64)),
				Layers: []image.Layer{{DiffID: l.DiffID, Size: 1}},
			}}
		}
		name := Named{Repository: "team/web", Tag: "1"}
		put := func(user int64, version string) int64 {
			t.Helper()
			id, err := db.PutSubmitted(ctx, user, "r.example", name, contents(version))
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		first := put(ann, "1.0.0")
		own, err := db.PutImage(ctx, contents("2.0.0"))
		if err != nil {
			t.Fatal(err)
		}
		again, other := put(ann, "1.0.0"), put(bob, "3.0.0")
		if first != again || own == first || other == first || other == own {
			t.Errorf("images %d %d %d %d", first, own, again, other)
		}
		version := func(id int64) (v string) {
			t.Helper()
			if err := db.db.QueryRowContext(ctx, `SELECT packages.version FROM image_layers JOIN segment_packages ON segment_packages.segment = image_layers.segment
				JOIN packages ON packages.id = segment_packages.package WHERE image_layers.image = $1`, id).Scan(&v); err != nil {
				t.Fatal(err)
			}
			return v
		}
		if version(own) != "2.0.0" || version(first) != "1.0.0" || version(other) != "3.0.0" {
			t.Error(version(own), version(first), version(other))
		}
		var where, kind, state string
		var shown int64
		if err := db.db.QueryRowContext(ctx, `SELECT registries.name, registries.kind, manifests.state, manifest_images.image FROM manifests JOIN repositories ON repositories.id = manifests.repository
			JOIN registries ON registries.id = repositories.registry JOIN manifest_images ON manifest_images.manifest = manifests.id JOIN tags ON tags.manifest = manifests.id`).Scan(&where, &kind, &state, &shown); err != nil {
			t.Fatal(err)
		}
		if where != "submitted:r.example" || kind != "submitted" || state != "scanned" || shown != other {
			t.Error(where, kind, state, shown)
		}
	})
}
