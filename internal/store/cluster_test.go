package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"strata/internal/advisory"
	"strata/internal/image"
	"strata/internal/inventory"
)

// While the mirror or a list is slow, there is no transaction on PostgreSQL that anyone
// could wait for; when it breaks off, nothing has changed.
func TestSyncFetchesBeforeItsTransaction(t *testing.T) {
	db := openTestDB(t, testPostgres(t))
	dir := t.TempDir()
	first.write(t, dir)
	writeFile(t, filepath.Join(dir, "kev.json"), []byte(`{"vulnerabilities": []}`))
	open := func() (n int) {
		err := db.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'`).Scan(&n)
		if err != nil {
			t.Error(err)
		}
		return n
	}
	var mu sync.Mutex
	asked := map[string]int{}
	files := http.FileServer(http.Dir(dir))
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path] += open()
		mu.Unlock()
		files.ServeHTTP(w, r)
	}))
	defer mirror.Close()
	o := UpdateOptions{KEV: mirror.URL + "/kev.json", Lists: advisory.MirrorOptions{RetryWait: time.Millisecond}}
	ctx, cancel := context.WithCancel(t.Context())
	o.Progress = func(Progress) { cancel() } // in the transaction
	if _, err := db.SyncAdvisories(ctx, "me", openMirror(t, mirror.URL), o); !errors.Is(err, context.Canceled) {
		t.Errorf("broken off: %v", err)
	}
	if s := syncedStatus(t, db); s.Records != 0 {
		t.Errorf("broken off, there are %d records", s.Records)
	}
	o.Progress = nil
	if _, err := db.SyncAdvisories(t.Context(), "other", openMirror(t, mirror.URL), o); err != nil {
		t.Fatal(err)
	}
	if s := syncedStatus(t, db); s.Records == 0 {
		t.Error("there are no records")
	}
	if len(asked) < 4 {
		t.Errorf("the mirror was asked for %v", asked)
	}
	for path, n := range asked {
		if n > 0 {
			t.Errorf("%s: %d transactions were open", path, n)
		}
	}
}

// A worker that was thought dead and wakes up replaces neither the image nor a layer that
// another has written meanwhile.
func TestBackFromTheDead(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		now := time.Now()
		db.now = func() time.Time { return now }
		registry, err := db.AddRegistry(ctx, &Registry{Name: "r", URL: "r.example"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		due, err := db.SeenTags(ctx, registry, "app", "me@x.example", now, []CrawledTag{{"1", "sha256:" + strings.Repeat("a", 64), ""}})
		if err != nil || len(due) != 1 {
			t.Fatal(due, err)
		}
		claim := func() *ClaimedManifest {
			m, err := db.ClaimManifest(ctx, due[0], "me", 10*time.Second)
			if err != nil || m == nil {
				t.Fatal(m, err)
			}
			return m
		}
		overdue := func(want int) {
			t.Helper()
			if got, err := db.OverdueManifests(ctx, 10); err != nil || len(got) != want {
				t.Errorf("overdue: %v, %v; want %d", got, err, want)
			}
		}
		put := func(m *ClaimedManifest, version string, incomplete bool) error {
			inv := inventory.Image{Packages: []inventory.ImagePackage{{Package: inventory.Package{Type: "npm", Ecosystem: "npm", Name: "p", Version: version}, PURL: "pkg:npm/p@" + version, State: inventory.Present, StateLayer: -1}}}
			img := &image.Image{Reference: "r/app:1", Digest: "sha256:1", Layers: []image.Layer{{DiffID: "sha256:2"}}}
			_, err := db.PutImage(ctx, Contents{Image: img, Inventory: &inv, AnalyzerSet: "1", Incomplete: incomplete, Claim: m})
			return err
		}
		overdue(0)
		first := claim()
		overdue(0)
		now = now.Add(11 * time.Second)
		overdue(1)
		second := claim()
		overdue(0)
		if err := put(second, "2", false); err != nil {
			t.Fatal(err)
		}
		if err := put(first, "1", true); !errors.Is(err, ErrConflict) {
			t.Errorf("written by the first while the second has it: %v", err)
		}
		if err := db.ScanEnded(ctx, second, ScanOutcome{State: "scanned", Images: []int64{1}}); err != nil {
			t.Fatal(err)
		}
		if err := put(first, "1", true); !errors.Is(err, ErrConflict) {
			t.Errorf("written by the first after all: %v", err)
		}
		if rows, err := db.Images(ctx, ImageQuery{Limit: 5, Untagged: true}); err != nil || len(rows) != 1 || rows[0].Incomplete {
			t.Errorf("%+v, %v", rows, err)
		}
		for entries := range 2 {
			if err := db.PutLayer(ctx, "1", &inventory.Layer{DiffID: "sha256:2", Entries: entries + 1}); err != nil {
				t.Fatal(err)
			}
		}
		if l, err := db.Layer(ctx, "sha256:2", "1"); err != nil || l.Entries != 1 {
			t.Errorf("%+v, %v", l, err)
		}
	})
}

// Instances whose clocks differ by an hour agree on the time, and don't take each other's
// leases.
func TestClocksDiffer(t *testing.T) {
	location := testPostgres(t)
	a, b := openTestDB(t, location), openTestDB(t, location)
	b.clock.local = func() time.Time { return time.Now().Add(time.Hour) }
	if err := errors.Join(a.Beat(t.Context(), &Instance{ID: "a"}), b.Beat(t.Context(), &Instance{ID: "b"})); err != nil {
		t.Fatal(err)
	}
	if off := b.Now().Sub(a.Now()).Abs(); off > 5*time.Second {
		t.Errorf("they differ by %v", off)
	}
	if silent, err := b.SilentInstances(t.Context(), 10*time.Second); err != nil || len(silent) != 0 {
		t.Errorf("silent: %v, %v", silent, err)
	}
	if _, ok, err := a.Acquire(t.Context(), "x", "a", time.Minute); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, ok, err := b.Acquire(t.Context(), "x", "b", time.Minute); err != nil || ok {
		t.Errorf("taken: %v, %v", ok, err)
	}
}

// What each connection is given can be told otherwise by the URL; several hosts are tried
// until one can be written to.
func TestPostgresSettings(t *testing.T) {
	location := testPostgres(t)
	show := func(location, name string) (value string) {
		t.Helper()
		db := openTestDB(t, location)
		if err := db.db.QueryRowContext(t.Context(), `SELECT current_setting($1)`, name).Scan(&value); err != nil {
			t.Fatal(err)
		}
		return value
	}
	if got := show(location, "idle_in_transaction_session_timeout"); got != "10s" {
		t.Error(got)
	}
	if got := show(location+"&lock_timeout=7s", "lock_timeout"); got != "7s" {
		t.Error(got)
	}
	socket := location[strings.Index(location, "host=")+len("host="):]
	several := strings.Replace(location, "host="+socket, "host=127.0.0.1,"+socket+"&port=1,5432&target_session_attrs=read-write", 1)
	if got := show(several, "transaction_read_only"); got != "off" {
		t.Error(got)
	}
	if got := redactLocation("postgres://me:secret@a:1,b:2/db"); strings.Contains(got, "secret") || !strings.Contains(got, "a,b") {
		t.Error(got)
	}
	// One that can only be read is none to work with, and may become one.
	_, err := OpenDB(t.Context(), location+"&default_transaction_read_only=on&target_session_attrs=read-write", DBOptions{})
	if !Unavailable(err) {
		t.Errorf("a standby: %v", err)
	}
}

func TestUnavailable(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("wrong"), false},
		{&pgconn.PgError{Code: "28P01"}, false}, // password
		{&pgconn.PgError{Code: "3D000"}, false}, // no such database
		{&pgconn.PgError{Code: "53300"}, true},
		{fmt.Errorf("x: %w", &pgconn.PgError{Code: "53100"}), true}, // no room on its disk
		{fmt.Errorf("x: %w", &pgconn.PgError{Code: "57P03"}), true},
		{fmt.Errorf("x: %w", &net.OpError{Op: "dial", Err: errors.New("refused")}), true},
		{io.ErrUnexpectedEOF, true},
		{ErrNotFound, false},
	} {
		if got := Unavailable(tt.err); got != tt.want {
			t.Errorf("%v: %v", tt.err, got)
		}
	}
}
