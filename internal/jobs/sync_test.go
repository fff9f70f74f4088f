package jobs

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/scan"
	"strata/internal/store"
)

// What a mirror doesn't have is told once, not at every sync.
func TestSyncsTellOnce(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "strata.db"))
	var log bytes.Buffer
	s := &Syncs{
		DB: db, Instance: "me", Mirror: t.TempDir(), Ecosystems: []string{"npm"}, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Enqueue: func(context.Context, ...Job) error { return nil },
	}
	for range 3 {
		if err := s.Sync(t.Context()); err == nil {
			t.Fatal("from an empty mirror: no error")
		}
	}
	if n := strings.Count(log.String(), "advisories could not be updated"); n != 1 {
		t.Errorf("told %d times:\n%s", n, &log)
	}
}

// Without a mirror the starter set is used, and the status says so; what is due is
// known from the rows alone.
func TestSyncs(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "strata.db"))
	ctx := t.Context()
	var asked []Kind
	s := &Syncs{DB: db, Instance: "me", Mirror: t.TempDir(), Enqueue: func(_ context.Context, jobs ...Job) error {
		for _, j := range jobs {
			asked = append(asked, j.Kind)
		}
		return nil
	}}
	kinds := func() (out []Kind) {
		t.Helper()
		due, err := s.Due(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range due {
			out = append(out, j.Kind)
		}
		return out
	}
	if err := s.Sync(ctx); err != nil || len(asked) > 0 || len(kinds()) > 0 {
		t.Fatalf("without packages: error %v, jobs %v, due %v", err, asked, kinds())
	}
	inv := inventory.Image{Packages: []inventory.ImagePackage{{Package: inventory.Package{Type: "npm", Ecosystem: "npm", Name: "lodash", Version: "4.17.4"}, PURL: "pkg:npm/lodash@4.17.4", State: inventory.Present, StateLayer: -1}}}
	m := &image.Image{Reference: "a:1", Digest: "sha256:1", Layers: []image.Layer{{DiffID: "sha256:2"}}}
	if _, err := db.PutImage(ctx, store.Contents{Image: m, Inventory: &inv, AnalyzerSet: "1"}); err != nil {
		t.Fatal(err)
	}
	if got := kinds(); !slices.Equal(got, []Kind{Sync}) {
		t.Errorf("due %v, want sync", got)
	}
	if err := s.Sync(ctx); err == nil || !strings.Contains(err.Error(), "npm") {
		t.Errorf("from an empty mirror: %v", err)
	}
	f, err := db.Feeds(ctx)
	if err != nil || !f.Starter || f.LastSync == nil || f.LastSync.Error == "" || f.Records == 0 {
		t.Errorf("feeds %+v, error %v", f, err)
	}
	if got := kinds(); !slices.Equal(asked, []Kind{Match}) || !slices.Equal(got, []Kind{Match}) {
		t.Errorf("asked for %v, due %v; want match", asked, got)
	}
	if err := s.Match(ctx); err != nil {
		t.Fatal(err)
	}
	if got := kinds(); len(got) > 0 {
		t.Errorf("due after matching: %v", got)
	}
	if rows, err := db.Images(ctx, store.ImageQuery{Limit: 5, Untagged: true}); err != nil || len(rows) != 1 || rows[0].Counts == (store.ImageRow{}).Counts {
		t.Errorf("images %+v, error %v: want one with findings", rows, err)
	} else if r, err := (&Reports{DB: db}).Matched(ctx, &scan.Result{Image: m, Layers: make([]*inventory.Layer, 1), Inventory: inv}); err != nil || len(r.Findings) == 0 || !r.Advisories.Starter || r.Advisories.Source != "starter set" {
		t.Errorf("report %+v, error %v", r, err)
	}
}
