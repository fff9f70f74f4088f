package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/image"
)

// allRows are the rows of every table that a backup has, as JSON.
func allRows(t *testing.T, db *DB) map[string][]string {
	t.Helper()
	tables, err := backupTables()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, table := range tables {
		tx, err := db.db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		w := &backupWriter{sum: noHash{}, w: &b}
		if err := w.table(t.Context(), tx, table); err != nil {
			t.Fatal(err)
		}
		_ = tx.Rollback()
		out[table] = strings.Split(b.String(), "\n")[1:]
	}
	for _, lines := range out {
		sortLines(lines)
	}
	return out
}

type noHash struct{}

func (noHash) Write(p []byte) (int, error) { return len(p), nil }
func (noHash) Sum(b []byte) []byte         { return b }
func (noHash) Reset()                      {}
func (noHash) Size() int                   { return 0 }
func (noHash) BlockSize() int              { return 1 }

func sortLines(lines []string) {
	for i := range lines {
		var v []any
		if json.Unmarshal([]byte(lines[i]), &v) == nil {
			b, _ := json.Marshal(v)
			lines[i] = string(b)
		}
	}
	slices.Sort(lines)
}

// fillAll puts something into many tables.
func fillAll(t *testing.T, db *DB) {
	t.Helper()
	newTestFleet(5, 12).put(t, db)
	if _, err := db.CreateUser(t.Context(), &User{Name: "a", Password: "x", Grants: []Grant{{Role: "viewer", Repository: "**"}}}); err != nil {
		t.Fatal(err)
	}
	registry, _, err := db.RegistryOf(t.Context(), "r.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Pushed(t.Context(), registry, 2, []Named{{Repository: "a/b", Tag: "1", Digest: string(image.Digest("sha256:" + strings.Repeat("a", 64)))}}); err != nil {
		t.Fatal(err)
	}
	if err := db.PutLayer(t.Context(), "set", newTestFleet(5, 1).stacks[0][0]); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		`INSERT INTO found_vulnerabilities (name, epss, kev) VALUES ('CVE-2026-1', 0.25, TRUE)`,
		`INSERT INTO findings (package, vulnerability, severity, score, kev, fixed_version, advisories, aside, opened_at) SELECT MIN(p.id), MIN(v.id), 4, 9.8, TRUE, '2', 'A-1', '', 5 FROM packages p, found_vulnerabilities v`,
	} {
		if _, err := db.db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
}

// A backup goes from either engine to the other and back, and nothing is lost.
func TestBackupRoundTrip(t *testing.T) {
	first := openTestDB(t, filepath.Join(t.TempDir(), "strata.db"))
	fillAll(t, first)
	want := allRows(t, first)
	at := first
	for _, location := range []string{testPostgres(t), filepath.Join(t.TempDir(), "strata.db"), testPostgres(t), testPostgres(t)} {
		var b bytes.Buffer
		written, err := at.Backup(t.Context(), &b)
		if err != nil {
			t.Fatal(err)
		}
		next := openTestDB(t, location)
		read, err := next.Restore(t.Context(), &b)
		if err != nil || read != written {
			t.Fatalf("%d of %d rows: %v", read, written, err)
		}
		if diff := cmp.Diff(want, allRows(t, next)); diff != "" {
			t.Fatalf("(-first +%s):\n%s", location, diff)
		}
		at = next
	}
	// Ids go on after those restored.
	if _, err := at.CreateUser(t.Context(), &User{Name: "b"}); err != nil {
		t.Error(err)
	}
	newTestFleet(6, 3).put(t, at)
}

func TestRestoreRefuses(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		fillAll(t, db)
		var b bytes.Buffer
		if _, err := db.Backup(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Restore(t.Context(), bytes.NewReader(b.Bytes())); !errors.Is(err, ErrConflict) {
			t.Errorf("over what is there: %v", err)
		}
		empty := openTestDB(t, filepath.Join(t.TempDir(), "strata.db"))
		for name, damaged := range map[string][]byte{
			"empty": nil, "another file": []byte("PK\x03\x04 something else entirely"), "cut off": b.Bytes()[:b.Len()-40], "half": b.Bytes()[:b.Len()/2],
			"changed": append(append(bytes.Clone(b.Bytes()[:b.Len()/2]), 'x'), b.Bytes()[b.Len()/2+1:]...),
		} {
			if _, err := empty.Restore(t.Context(), bytes.NewReader(damaged)); err == nil {
				t.Errorf("%s: restored", name)
			}
			var n int
			if err := empty.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM packages`).Scan(&n); err != nil || n > 0 {
				t.Errorf("%s: %d packages are there, %v", name, n, err)
			}
		}
		if _, err := empty.Restore(t.Context(), bytes.NewReader(b.Bytes())); err != nil {
			t.Errorf("the sound one, after all: %v", err)
		}
	})
}

// A backup is of one moment, whatever is written meanwhile, and no writer waits for it.
func TestBackupWhileWriting(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		fillAll(t, db)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		w := &writingDuring{t: t, do: func() { newTestFleet(99, 3).put(t, db) }}
		if _, err := db.Backup(ctx, w); err != nil {
			t.Fatal(err)
		}
		into := openTestDB(t, filepath.Join(t.TempDir(), "strata.db"))
		if _, err := into.Restore(ctx, &w.Buffer); err != nil {
			t.Fatal(err) // foreign keys are checked: nothing refers to what was not there
		}
	})
}

// writingDuring does something at the first write.
type writingDuring struct {
	bytes.Buffer
	t    *testing.T
	do   func()
	done bool
}

func (w *writingDuring) Write(p []byte) (int, error) {
	if !w.done {
		w.done = true
		w.do()
	}
	return w.Buffer.Write(p)
}

func TestRetention(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		db.now = func() time.Time { return now }
		f := newTestFleet(8, 10)
		ids := f.put(t, db)
		registry, _, err := db.RegistryOf(t.Context(), "r.example")
		if err != nil {
			t.Fatal(err)
		}
		for i, id := range ids {
			due, err := db.Pushed(t.Context(), registry, 2, []Named{{Repository: "a", Tag: string(rune('a' + i)), Digest: string(f.images[i].Image.Digest)}})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.SetManifestImages(t.Context(), due[0], []int64{id}); err != nil {
				t.Fatal(err)
			}
		}
		now = now.AddDate(0, 0, 40)
		var gone []Named
		for i := range 6 {
			gone = append(gone, Named{Repository: "a", Tag: string(rune('a' + i))})
		}
		if _, err := db.Retired(t.Context(), registry, gone); err != nil {
			t.Fatal(err)
		}
		const month = 30 * 24 * time.Hour
		if got, err := db.Retain(t.Context(), month, 0); err != nil || got.Images != 0 {
			t.Errorf("just retired: %+v, %v", got, err)
		}
		now = now.AddDate(0, 0, 31)
		got, err := db.Retain(t.Context(), month, 0)
		if err != nil || got.Images != 6 {
			t.Errorf("%+v, %v", got, err)
		}
		for i, id := range ids {
			want := heldLines(f.images[i].Inventory)
			if i < 6 {
				want = nil
			}
			if diff := cmp.Diff(want, keptLines(t.Context(), t, db, id)); diff != "" {
				t.Errorf("image %d (-want +kept):\n%s", i, diff)
			}
		}
		for _, orphan := range []string{
			`SELECT COUNT(*) FROM segments s WHERE NOT EXISTS (SELECT 1 FROM image_layers il WHERE il.segment = s.id)`,
			`SELECT COUNT(*) FROM packages p WHERE NOT EXISTS (SELECT 1 FROM segment_packages sp WHERE sp.package = p.id) AND NOT EXISTS (SELECT 1 FROM segment_hidden sh WHERE sh.package = p.id)`,
		} {
			var n int
			if err := db.db.QueryRowContext(t.Context(), orphan).Scan(&n); err != nil || n != 0 {
				t.Errorf("%d left, %v: %s", n, err, orphan)
			}
		}
		f.put(t, db) // and all of it can come back
	})
}
