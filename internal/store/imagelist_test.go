package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/image"
	"strata/internal/inventory"
)

// Where there are no advisories for the distribution of an image, lists say so: its counts
// don't tell that all is well.
func TestImagesWithoutData(t *testing.T) {
	dir := t.TempDir()
	feed{"Debian": {{id: "DSA-1", modified: "2026-01-01T00:00:00Z", packages: []string{"Debian:12 zlib 1.3"}}}}.write(t, dir)
	onEngines(t, func(t *testing.T, db *DB) {
		noData := func() map[string]bool {
			t.Helper()
			rows, err := db.Images(t.Context(), ImageQuery{Untagged: true})
			if err != nil {
				t.Fatal(err)
			}
			out := map[string]bool{}
			for _, r := range rows {
				out[r.Distro] = r.NoData
				if one, err := db.Image(t.Context(), r.ID, nil); err != nil || one.NoData != r.NoData {
					t.Errorf("%s: %+v, %v; want no_data %v as in the list", r.Distro, one, err, r.NoData)
				}
			}
			return out
		}
		for i, d := range []inventory.Distro{{ID: "debian", VersionID: "12"}, {ID: "debian", VersionID: "11"}, {ID: "sles", VersionID: "15.3"}, {ID: "void"}, {}} {
			digest := image.Digest([]string{"sha256:a", "sha256:b", "sha256:c", "sha256:d", "sha256:e"}[i])
			m := &image.Image{Reference: "r/app:1", Digest: digest, Layers: []image.Layer{{DiffID: "sha256:1"}}}
			if _, err := db.PutImage(t.Context(), Contents{Image: m, Inventory: &inventory.Image{Distro: d}, AnalyzerSet: "1"}); err != nil {
				t.Fatal(err)
			}
		}
		want := map[string]bool{"debian 12": true, "debian 11": true, "sles 15.3": true, "void": true, "": false}
		if diff := cmp.Diff(want, noData()); diff != "" {
			t.Errorf("before a sync (-want +got):\n%s", diff)
		}
		if _, err := db.SyncAdvisories(t.Context(), "me", openMirror(t, dir), UpdateOptions{Ecosystems: []string{"Debian"}}); err != nil {
			t.Fatal(err)
		}
		want["debian 12"] = false
		if diff := cmp.Diff(want, noData()); diff != "" {
			t.Errorf("after a sync (-want +got):\n%s", diff)
		}
	})
}
