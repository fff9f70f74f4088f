package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strata/internal/imagetest"
)

// onEngines runs a test on both engines, each with an empty database.
func onEngines(t *testing.T, test func(t *testing.T, db *DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, openTestDB(t, filepath.Join(t.TempDir(), "strata.db"))) })
	t.Run("postgres", func(t *testing.T) { test(t, openTestDB(t, testPostgres(t))) })
}

// testPostgres is an empty database on a real server; without one the test is
// skipped, or fails where all must run.
func testPostgres(t testing.TB) string {
	t.Helper()
	location, err := imagetest.Postgres(t)
	if err != nil {
		if os.Getenv("STRATA_TEST_REQUIRE") == "all" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return location
}

func openTestDB(t testing.TB, location string) *DB {
	t.Helper()
	db, err := OpenDB(t.Context(), location, DBOptions{Key: bytes.Repeat([]byte{7}, KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestOpenDB(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		if err := db.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := db.migrate(t.Context()); err != nil {
			t.Errorf("again: %v", err)
		}
		var id int64
		if err := db.db.QueryRowContext(t.Context(), `INSERT INTO licenses (expression, class) VALUES ($1, $2) RETURNING id`, "MIT", "permissive").Scan(&id); err != nil || id == 0 {
			t.Errorf("id %d, error %v", id, err)
		}
	})
}

// An SQLite file is for one server, by whatever name it is opened; commands may work on it
// beside that.
func TestOneServerForAFile(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "strata.db"), filepath.Join(dir, "link.db")
	first, err := OpenDB(t.Context(), file, DBOptions{Alone: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("strata.db", link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, link} {
		_, err := OpenDB(t.Context(), name, DBOptions{Alone: true})
		if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "PostgreSQL") {
			t.Errorf("a second one on %s: %v", name, err)
		}
	}
	beside, err := OpenDB(t.Context(), file, DBOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(beside.Close(), first.Close()); err != nil {
		t.Fatal(err)
	}
	again, err := OpenDB(t.Context(), link, DBOptions{Alone: true})
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// Instances that start together bring the tables to their form once.
func TestInstancesStartTogether(t *testing.T) {
	location := testPostgres(t)
	const instances = 4
	errs := make(chan error, instances)
	for range instances {
		go func() {
			db, err := OpenDB(t.Context(), location, DBOptions{MaxConns: 4, Key: bytes.Repeat([]byte{7}, KeySize)})
			if err == nil {
				err = db.Close()
			}
			errs <- err
		}()
	}
	for range instances {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
