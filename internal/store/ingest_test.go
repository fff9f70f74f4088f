package store

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/inventory"
	"strata/internal/scan"
)

var _ scan.Cache = (*DB)(nil)

// heldLines is what an inventory says, one line a package as it is kept.
func heldLines(inv *inventory.Image) []string {
	var out []string
	for i := range inv.Packages {
		p := &inv.Packages[i]
		out = append(out, fmt.Sprintf("%d %s %s %s %s owned=%v %s@%d", p.Layer, p.Type, p.Name, p.Version, p.License.Expression, p.DistroOwned(), p.State, p.StateLayer))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// keptLines is the same from the rows of an image.
func keptLines(ctx context.Context, t *testing.T, db *DB, id int64) []string {
	t.Helper()
	var out []string
	read := func(query string, line func(scan func(...any) error) (string, error)) {
		rows, err := db.db.QueryContext(ctx, query, id)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			l, err := line(rows.Scan)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, l)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	var layer, at int
	var typ, name, version, expression, state string
	var owned bool
	read(`SELECT il.position, p.type, p.name, p.version, COALESCE(l.expression, ''), sp.owned
		FROM image_layers il JOIN segment_packages sp ON sp.segment = il.segment JOIN packages p ON p.id = sp.package LEFT JOIN licenses l ON l.id = sp.license
		WHERE il.image = $1 AND NOT EXISTS (SELECT 1 FROM image_layers h JOIN segment_hidden sh ON sh.segment = h.segment
			WHERE h.image = il.image AND sh.package = sp.package AND sh.owned = sp.owned AND sh.from_position = il.position AND NOT sh.partly)`,
		func(scan func(...any) error) (string, error) {
			err := scan(&layer, &typ, &name, &version, &expression, &owned)
			return fmt.Sprintf("%d %s %s %s %s owned=%v present@-1", layer, typ, name, version, expression, owned), err
		})
	read(`SELECT sh.from_position, p.type, p.name, p.version, COALESCE(l.expression, ''), sh.owned, sh.state, il.position
		FROM image_layers il JOIN segment_hidden sh ON sh.segment = il.segment JOIN packages p ON p.id = sh.package
		JOIN image_layers o ON o.image = il.image AND o.position = sh.from_position
		JOIN segment_packages sp ON sp.segment = o.segment AND sp.package = sh.package AND sp.owned = sh.owned LEFT JOIN licenses l ON l.id = sp.license
		WHERE il.image = $1`,
		func(scan func(...any) error) (string, error) {
			err := scan(&layer, &typ, &name, &version, &expression, &owned, &state, &at)
			return fmt.Sprintf("%d %s %s %s %s owned=%v %s@%d", layer, typ, name, version, expression, owned, state, at), err
		})
	slices.Sort(out)
	return out
}

// The rows of an image say what Merge says, whatever images it shares rows with.
func TestRowsSayWhatMergeSays(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		for seed := range uint64(4) {
			f := newTestFleet(seed, 25)
			for i, id := range f.put(t, db) {
				if diff := cmp.Diff(heldLines(f.images[i].Inventory), keptLines(t.Context(), t, db, id)); diff != "" {
					t.Fatalf("seed %d, image %d (-Merge +rows):\n%s", seed, i, diff)
				}
			}
		}
	})
}

// Images upon the same layers share their segments; putting one again changes nothing.
func TestImagesShareSegments(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		f := newTestFleet(7, 40)
		first := f.put(t, db)
		rows := func() (out []int) {
			for _, table := range []string{"segments", "segment_packages", "segment_hidden", "segment_files", "segment_files_hidden", "files", "packages", "package_keys", "layers", "chains", "images", "image_layers"} {
				var n int
				if err := db.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM `+table).Scan(&n); err != nil {
					t.Fatal(err)
				}
				out = append(out, n)
			}
			return out
		}
		before := rows()
		if again := f.put(t, db); !slices.Equal(first, again) {
			t.Errorf("other ids: %v, %v", first, again)
		}
		if after := rows(); !slices.Equal(before, after) {
			t.Errorf("rows before %v, after %v", before, after)
		}
		if segments, layers := before[0], before[len(before)-1]; segments >= layers {
			t.Errorf("%d segments for %d layers of images: nothing is shared", segments, layers)
		}
	})
}

// Any number of instances may keep the same images at the same time.
func TestConcurrentPuts(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		f := newTestFleet(11, 30)
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range f.images {
					c := f.images[(i+w*7)%len(f.images)]
					if _, err := db.PutImage(t.Context(), c); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for i, id := range f.put(t, db) {
			if diff := cmp.Diff(heldLines(f.images[i].Inventory), keptLines(t.Context(), t, db, id)); diff != "" {
				t.Errorf("image %d (-Merge +rows):\n%s", i, diff)
			}
		}
	})
}

// What is in a layer and could not be kept when it was read is kept with the image.
func TestImageBringsItsLayers(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		f := newTestFleet(3, 1)
		c := f.images[0]
		c.AnalyzerSet, c.Layers = "set", append(slices.Clone(f.stacks[0]), nil) // one could not be had
		kept := f.stacks[0][0]
		if err := db.PutLayer(ctx, "set", kept); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := db.PutImage(ctx, c); err != nil {
				t.Fatal(err)
			}
		}
		for _, l := range f.stacks[0] {
			if got, err := db.Layer(ctx, l.DiffID, "set"); err != nil || got.DiffID != l.DiffID || len(got.Files) != len(l.Files) {
				t.Errorf("layer %s: %+v, %v", l.DiffID, got, err)
			}
		}
		analyses, err := db.LayerAnalyses(ctx)
		if err != nil || analyses[kept.DiffID] != 1 {
			t.Errorf("analysed %d times, %v", analyses[kept.DiffID], err)
		}
	})
}
