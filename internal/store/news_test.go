package store

import (
	"fmt"
	"testing"
	"time"

	"strata/internal/image"
	"strata/internal/inventory"
)

// One advisory that hits every image of a fleet upon one base: findings and counts are
// there in one short transaction, and are right.
func TestNewsForManyImages(t *testing.T) {
	images := 300
	if testing.Verbose() && !testing.Short() {
		images = 10_000
	}
	onEngines(t, func(t *testing.T, db *DB) {
		layer := func(n, packages int, name string) *inventory.Layer {
			l := &inventory.Layer{DiffID: image.DiffID(fmt.Sprintf("sha256:%064x", n)), Entries: 1}
			for i := range packages {
				l.Files = append(l.Files, inventory.File{Path: fmt.Sprintf("%s/%d/package.json", name, i), Analyzer: "npm",
					Packages: []inventory.Package{{Type: "npm", Ecosystem: "npm", Name: fmt.Sprintf("%s%d", name, i), Version: "1.0.0"}}})
			}
			return l
		}
		dir := t.TempDir()
		f := feed{"npm": {{id: "GHSA-1", modified: "2026-01-01T00:00:00Z", packages: []string{"npm nothing 2.0.0"}}}}
		f.write(t, dir)
		o := UpdateOptions{Ecosystems: []string{"npm"}}
		if _, err := db.SyncAdvisories(t.Context(), "me", openMirror(t, dir), o); err != nil {
			t.Fatal(err)
		}
		base := layer(1, 50, "base")
		var last int64
		for i := range images {
			layers := []*inventory.Layer{base, layer(10+i%200, 3, fmt.Sprintf("app%d-", i%200))}
			inv := inventory.Merge(layers)
			m := &image.Image{Reference: fmt.Sprintf("r/app:%d", i), Digest: image.Digest(fmt.Sprintf("sha256:%064x", 1<<32+i))}
			for j, l := range layers {
				m.Layers = append(m.Layers, image.Layer{Index: j, DiffID: l.DiffID})
			}
			var err error
			if last, err = db.PutImage(t.Context(), Contents{Image: m, Inventory: &inv, AnalyzerSet: "test"}); err != nil {
				t.Fatal(err)
			}
		}
		mustMatch(t, db)
		f["npm"] = append(f["npm"], feedRecord{id: "GHSA-2", modified: "2026-02-01T00:00:00Z", packages: []string{"npm base7 2.0.0"}, cvss: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"})
		f.write(t, dir)
		start := time.Now()
		if _, err := db.SyncAdvisories(t.Context(), "me", openMirror(t, dir), o); err != nil {
			t.Fatal(err)
		}
		synced := time.Since(start)
		m := mustMatch(t, db)
		t.Logf("%d images: sync %v, match %v, %+v", images, synced, time.Since(start)-synced, m)
		if m.Rematched != 1 || m.Opened != 1 {
			t.Errorf("%+v, want one package matched again and one finding", m)
		}
		hit, err := queryIDs(t.Context(), db.db.QueryContext, `SELECT COUNT(*) FROM image_counts WHERE critical = 1 AND high + medium + low + unknown = 0`)
		if err != nil || hit[0] != int64(images) {
			t.Errorf("%v images have the finding, error %v; want %d", hit, err, images)
		}
		findings, err := db.FindingsAt(t.Context(), last, time.Now())
		if err != nil || len(findings) != 1 {
			t.Errorf("findings %+v, error %v", findings, err)
		}
	})
}
