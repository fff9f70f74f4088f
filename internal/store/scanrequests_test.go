package store

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestScanRequests(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		ctx, now := t.Context(), time.Now()
		db.now = func() time.Time { return now }
		registry := hookRegistry(t, db)
		n := Named{Repository: "team/web", Tag: "1", Digest: "sha256:" + strings.Repeat("a", 64)}
		id, manifest, due, err := db.RequestScan(ctx, registry, 2, n, `{"a":1}`, "Basic c2VjcmV0")
		if err != nil || !due || len(id) < 20 {
			t.Fatal(id, due, err)
		}
		var sealed []byte
		if err := db.db.QueryRowContext(ctx, `SELECT sealed FROM scan_requests`).Scan(&sealed); err != nil || len(sealed) == 0 || bytes.Contains(sealed, []byte("c2VjcmV0")) {
			t.Errorf("not sealed: %q, %v", sealed, err)
		}
		if a, err := db.ScanAuthorization(ctx, manifest); err != nil || a != "Basic c2VjcmV0" {
			t.Error(a, err)
		}
		r, err := db.ScanRequest(ctx, id)
		if err != nil || r.State != "due" || r.Manifest != manifest || r.Digest != n.Digest || r.Name != "r/team/web" || r.Request != `{"a":1}` {
			t.Error(r, err)
		}
		if err := db.ForgetScanAuthorization(ctx, manifest); err != nil {
			t.Error(err)
		}
		if a, err := db.ScanAuthorization(ctx, manifest); err != nil || a != "" {
			t.Error("kept", a, err)
		}
		// What is scanned needs no pull: nothing is kept for one.
		if _, err := db.db.ExecContext(ctx, `UPDATE manifests SET state = 'scanned'`); err != nil {
			t.Fatal(err)
		}
		now = now.Add(scanRequestAge + time.Hour)
		again, m2, due, err := db.RequestScan(ctx, registry, 2, n, `{}`, "Basic c2VjcmV0")
		if err != nil || due || m2 != manifest || again == id {
			t.Error(again, m2, due, err)
		}
		if a, err := db.ScanAuthorization(ctx, manifest); err != nil || a != "" {
			t.Error("kept", a, err)
		}
		if _, err := db.ScanRequest(ctx, id); !errors.Is(err, ErrNotFound) {
			t.Error("old requests stay", err)
		}
	})
}
