package store

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"strata/internal/image"
	"strata/internal/inventory"
)

// A testFleet makes images at random: trees of layers, in which packages are
// installed, upgraded, deleted and owned, in a package database, in directories, and
// as programs; and files come, are written again, replaced and deleted.
type testFleet struct {
	r      *rand.Rand
	stacks [][]*inventory.Layer
	images []Contents
	layers map[image.DiffID]*inventory.Layer
}

// testContents is how many contents the files of a testFleet have.
const testContents = 5

func testContent(n int) [sha256.Size]byte { return sha256.Sum256([]byte{byte(n)}) }

// grow adds an image upon the layers of another, or upon none.
func (f *testFleet) grow() Contents {
	var below []*inventory.Layer
	var base *image.Base
	if len(f.stacks) > 0 && f.r.IntN(5) > 0 {
		below = f.stacks[f.r.IntN(len(f.stacks))]
		base = &image.Base{Layers: len(below)}
	}
	layers := slices.Clone(below)
	for range 1 + f.r.IntN(3) {
		layers = append(layers, f.layer())
	}
	f.stacks = append(f.stacks, layers)
	n := len(f.images)
	m := &image.Image{
		Reference: fmt.Sprintf("registry.example/team/app%d:1", n), Repository: fmt.Sprintf("registry.example/team/app%d", n), Tag: "1",
		Digest: image.Digest(fmt.Sprintf("sha256:%064x", f.r.Uint64())), ConfigDigest: image.Digest(fmt.Sprintf("sha256:%064x", f.r.Uint64())),
		Platform: image.Platform{OS: "linux", Architecture: "amd64"}, Base: base, Created: time.Date(2026, 1, 1+n%28, 0, 0, 0, 0, time.UTC),
	}
	for i, l := range layers {
		m.Layers = append(m.Layers, image.Layer{Index: i, DiffID: l.DiffID, Size: 100, CreatedBy: fmt.Sprintf("RUN step %d", i)})
	}
	inv := inventory.Merge(layers)
	c := Contents{Image: m, Inventory: &inv, AnalyzerSet: "test"}
	f.images = append(f.images, c)
	return c
}

func (f *testFleet) layer() *inventory.Layer {
	l := &inventory.Layer{DiffID: image.DiffID(fmt.Sprintf("sha256:%064x", f.r.Uint64())), Size: 1000, Entries: 3}
	f.layers[l.DiffID] = l
	var b inventory.PathsBuilder
	digests := f.programs(&b)
	file := func(x inventory.File) {
		b.Add(inventory.Path{Path: x.Path, Kind: inventory.PathFile}, -1)
		l.Files = append(l.Files, x)
		digests = append(digests, inventory.FileDigest{Path: x.Path, SHA256: testContent(f.r.IntN(testContents))})
	}
	if f.r.IntN(2) == 0 {
		db := inventory.File{Path: "var/lib/dpkg/status", Analyzer: "dpkg", Kind: inventory.Database, Database: "dpkg"}
		for i := range 6 {
			if v := f.r.IntN(4); v > 0 {
				db.Packages = append(db.Packages, inventory.Package{Type: "deb", Name: fmt.Sprintf("lib%d", i), Version: fmt.Sprintf("1.%d-1", v), Arch: "amd64", Licenses: []string{"MIT"}})
			}
		}
		file(db)
		b.Add(inventory.Path{Path: "etc/os-release", Kind: inventory.PathFile}, -1)
		l.Distros = append(l.Distros, inventory.DistroFile{Path: "etc/os-release", Distro: inventory.Distro{ID: "debian", VersionID: "12"}})
	}
	for i := range 5 {
		p := fmt.Sprintf("app/node_modules/m%d/package.json", i)
		switch f.r.IntN(4) {
		case 0:
			x := inventory.File{Path: p, Analyzer: "npm", Packages: []inventory.Package{
				{Type: "npm", Ecosystem: "npm", Name: fmt.Sprintf("m%d", i%3), Version: fmt.Sprintf("%d.0.0", f.r.IntN(3)), Licenses: []string{"ISC"}}}}
			if f.r.IntN(3) == 0 {
				x.Owner = "deb:lib1"
			}
			file(x)
		case 1:
			b.Add(inventory.Path{Path: p, Kind: inventory.PathWhiteout}, -1)
		}
	}
	if f.r.IntN(3) == 0 {
		file(inventory.File{Path: "usr/bin/server", Analyzer: "classifier", Packages: []inventory.Package{
			{Type: "generic", Ecosystem: "Bitnami", Name: "server", Version: fmt.Sprintf("%d.1", f.r.IntN(3))},
			{Type: "golang", Ecosystem: "Go", Name: "example.org/server", Version: fmt.Sprintf("v%d.1.0", f.r.IntN(3))}}})
	}
	l.Paths, _ = b.Build()
	l.Digests = inventory.PackDigests(l.Paths, digests)
	return l
}

// programs adds files to a layer that tell of no packages, and takes some away.
func (f *testFleet) programs(b *inventory.PathsBuilder) (digests []inventory.FileDigest) {
	for i := range 3 {
		x := inventory.Path{Path: fmt.Sprintf("opt/bin/tool%d", i), Kind: inventory.PathFile}
		switch f.r.IntN(6) {
		case 0, 1:
			digests = append(digests, inventory.FileDigest{Path: x.Path, SHA256: testContent(f.r.IntN(testContents))})
		case 2:
			x.Kind = inventory.PathWhiteout
		case 3:
		default:
			continue
		}
		b.Add(x, -1)
	}
	if f.r.IntN(8) == 0 {
		b.Add(inventory.Path{Path: "opt", Kind: inventory.PathOpaque}, -1)
	}
	return digests
}

// newTestFleet makes a fleet of n images, the same for the same seed.
func newTestFleet(seed uint64, n int) *testFleet {
	f := &testFleet{r: rand.New(rand.NewPCG(seed, 1)), layers: map[image.DiffID]*inventory.Layer{}}
	for range n {
		f.grow()
	}
	return f
}

// put keeps all images of the fleet, and gives their ids.
func (f *testFleet) put(t testing.TB, db *DB) []int64 {
	t.Helper()
	ids := make([]int64, len(f.images))
	for i, c := range f.images {
		var err error
		if ids[i], err = db.PutImage(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// Another instance sees what is committed, in whatever order transactions began and
// ended, and doesn't wait for those that have not.
func TestFleetOfManyWriters(t *testing.T) {
	location := testPostgres(t)
	writer, reader := openTestDB(t, location), openTestDB(t, location)
	ids := newTestFleet(7, 3).put(t, writer)
	begin := func() *sql.Tx {
		t.Helper()
		tx, err := writer.db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tx.Rollback() })
		return tx
	}
	move := func(tx *sql.Tx, image, base int64) {
		t.Helper()
		if _, err := tx.ExecContext(t.Context(), `UPDATE images SET base = $1 WHERE id = $2`, base, image); err != nil {
			t.Fatal(err)
		}
		if err := writer.touchImages(t.Context(), tx, "id = $1", image); err != nil {
			t.Fatal(err)
		}
	}
	commit := func(tx *sql.Tx) {
		t.Helper()
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when string, bases ...int64) {
		t.Helper()
		err := reader.readFleet(t.Context(), func(f *fleet) error {
			var got []int64
			for _, id := range ids {
				got = append(got, f.at[f.images.of[id]].base)
			}
			if !slices.Equal(got, bases) {
				t.Errorf("%s: bases %v, want %v", when, got, bases)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	commit(func() *sql.Tx {
		tx := begin()
		move(tx, ids[0], 10)
		move(tx, ids[1], 10)
		move(tx, ids[2], 10)
		return tx
	}())
	want("at first", 10, 10, 10)

	early, late := begin(), begin()
	move(early, ids[0], 11)
	move(late, ids[1], 12)
	commit(late)
	want("the later one is committed", 10, 12, 10)
	want("and seen again", 10, 12, 10)
	move(early, ids[1], 11) // what has been seen with a greater number
	commit(early)
	want("then the earlier one", 11, 11, 10)

	undone := begin()
	move(undone, ids[2], 13)
	want("one is at work", 11, 11, 10)
	if err := undone.Rollback(); err != nil {
		t.Fatal(err)
	}
	want("and was undone", 11, 11, 10)
	for image, revision := range reader.fleet.changes.of {
		if revision < reader.fleet.changes.settled {
			t.Errorf("change %d of image %d is remembered though it is settled", revision, image)
		}
	}
	loaded := reader.fleet.images.of[ids[2]]
	reader.fleet.changes.epoch-- // as after a failover
	want("of another server", 11, 11, 10)
	if reader.fleet.gone != 0 || loaded != reader.fleet.images.of[ids[2]] {
		t.Error("the fleet was not loaded anew")
	}
}
