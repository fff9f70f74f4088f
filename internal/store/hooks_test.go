package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hookRegistry makes the row of a registry.
func hookRegistry(t *testing.T, db *DB) (id int64) {
	t.Helper()
	err := db.db.QueryRowContext(t.Context(), `INSERT INTO registries (name, url, kind, settings, created_at, updated_at)
		VALUES ('r', 'https://r.example', 'crawled', '{}', 1, 1) RETURNING id`).Scan(&id)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// hookState describes manifests and tags.
func hookState(t *testing.T, db *DB) []string {
	t.Helper()
	rows, err := db.db.QueryContext(t.Context(), `SELECT repositories.name, substr(manifests.digest, 1, 1), manifests.state, manifests.priority, repositories.retired_at IS NOT NULL,
			(SELECT count(*) FROM tags WHERE tags.manifest = manifests.id AND to_at IS NOT NULL)
		FROM manifests JOIN repositories ON repositories.id = manifests.repository ORDER BY repositories.name, manifests.digest`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var name, digest, state string
		var priority, former int
		var retired bool
		if err := rows.Scan(&name, &digest, &state, &priority, &retired, &former); err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s@%s %s %d retired %t former tags %d", name, digest, state, priority, retired, former))
	}
	tags, err := db.db.QueryContext(t.Context(), `SELECT repositories.name, tags.name, substr(manifests.digest, 1, 1) FROM tags JOIN manifests ON manifests.id = tags.manifest
		JOIN repositories ON repositories.id = tags.repository WHERE to_at IS NULL ORDER BY repositories.name, tags.name`)
	if err != nil {
		t.Fatal(err)
	}
	defer tags.Close()
	for tags.Next() {
		var name, tag, digest string
		if err := tags.Scan(&name, &tag, &digest); err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s:%s=%s", name, tag, digest))
	}
	return out
}

func TestPushed(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		ctx, now := t.Context(), time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
		db.now = func() time.Time { return now }
		registry := hookRegistry(t, db)
		at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
		a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
		push := func(wantDue int, names ...Named) {
			t.Helper()
			due, err := db.Pushed(ctx, registry, 2, names)
			if err != nil || len(due) != wantDue {
				t.Fatalf("due %v, error %v; want %d", due, err, wantDue)
			}
		}
		is := func(want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, hookState(t, db)); diff != "" {
				t.Fatalf("(-want +got)\n%s", diff)
			}
		}
		retire := func(wantTags int64, names ...Named) {
			t.Helper()
			if tags, err := db.Retired(ctx, registry, names); err != nil || tags != wantTags {
				t.Fatalf("retired %d, error %v; want %d", tags, err, wantTags)
			}
		}
		// Two tags of one digest are one manifest to scan; one without a tag is due, too.
		push(2, Named{"web", "1", a, at(-60)}, Named{"web", "latest", a, at(-60)}, Named{"api", "", b, at(-60)})
		is("api@b due 2 retired false former tags 0", "web@a due 2 retired false former tags 0", "web:1=a", "web:latest=a")
		// A tag moves; what is scanned isn't scanned again.
		set := func(state, repository string) {
			t.Helper()
			if _, err := db.db.ExecContext(ctx, `UPDATE manifests SET state = $1 WHERE repository IN (SELECT id FROM repositories WHERE name = $2)`, state, repository); err != nil {
				t.Fatal(err)
			}
		}
		set("scanned", "web")
		push(1, Named{"web", "latest", b, at(-30)}, Named{"web", "1.0", a, at(-30)})
		is("api@b due 2 retired false former tags 0", "web@a scanned 2 retired false former tags 1", "web@b due 2 retired false former tags 0", "web:1=a", "web:1.0=a", "web:latest=b")
		// What is told again, late, takes no tag back; neither does a late deletion.
		push(0, Named{"web", "latest", a, at(-60)})
		retire(0, Named{"web", "latest", "", at(-45)})
		is("api@b due 2 retired false former tags 0", "web@a scanned 2 retired false former tags 1", "web@b due 2 retired false former tags 0", "web:1=a", "web:1.0=a", "web:latest=b")
		// Deleting by tag leaves the manifest, by digest takes all its tags, and without
		// either the repository is retired.
		retire(1, Named{"web", "1.0", "", at(0)})
		retire(1, Named{"web", "", a, at(0)}, Named{"never", "", a, at(0)})
		retire(0, Named{"api", "", "", at(0)})
		is("api@b gone 2 retired true former tags 0", "web@a gone 2 retired false former tags 3", "web@b due 2 retired false former tags 0", "web:latest=b")
		// What comes back is due again.
		set("parked", "api")
		push(2, Named{"web", "1", a, at(0)}, Named{"api", "", b, at(0)})
		is("api@b due 2 retired false former tags 0", "web@a due 2 retired false former tags 3", "web@b due 2 retired false former tags 0", "web:1=a", "web:latest=b")
	})
}

// TestPushedAtOnce: notifications that come together make one row of each.
func TestPushedAtOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		registry := hookRegistry(t, db)
		errs := make(chan error)
		for i := range 8 {
			go func() {
				names := []Named{{"a", "1", strings.Repeat("a", 64), time.Time{}}, {"b", "1", strings.Repeat("b", 64), time.Time{}}}
				names[0], names[1] = names[i%2], names[1-i%2]
				_, err := db.Pushed(t.Context(), registry, 2, names)
				errs <- err
			}()
		}
		for range 8 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		want := []string{"a@a due 2 retired false former tags 0", "b@b due 2 retired false former tags 0", "a:1=a", "b:1=b"}
		if diff := cmp.Diff(want, hookState(t, db)); diff != "" {
			t.Error(diff)
		}
	})
}
