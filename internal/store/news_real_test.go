package store

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/image"
	"strata/internal/inventory"
)

// realContents are images of the ground truth, with packages of what is new in osv-next
// put in.
func realContents(t *testing.T) []Contents {
	t.Helper()
	var out []Contents
	for name, distro := range map[string]inventory.Distro{"node-app": {ID: "debian", VersionID: "12"}, "alpine-311": {ID: "alpine", VersionID: "3.11.3"}} {
		inv := truthImage(t, name, distro)
		layers := 1
		for i := range inv.Packages {
			layers = max(layers, inv.Packages[i].Layer+1)
		}
		// log4j-core before and after the fix of CVE-2021-45105, which osv/ lacks.
		for _, v := range []string{"2.16.0", "2.17.0"} {
			inv.Packages = append(inv.Packages, inventory.ImagePackage{Package: inventory.Package{Type: "maven", Ecosystem: "Maven", Name: "org.apache.logging.log4j:log4j-core", Version: v},
				ID: v, State: inventory.Present, StateLayer: -1})
		}
		m := &image.Image{Reference: name, Digest: image.Digest("sha256:" + name)}
		for i := range layers {
			m.Layers = append(m.Layers, image.Layer{Index: i, DiffID: image.DiffID("sha256:" + name + string(rune('a'+i)))})
		}
		out = append(out, Contents{Image: m, Inventory: inv, AnalyzerSet: "truth"})
	}
	return out
}

// From the state of real feeds to a later one, exactly those findings come and go that
// matching the whole images by the advisory files of the two states says.
func TestRealNews(t *testing.T) {
	now, next := feedsDir(t, "osv"), feedsDir(t, "osv-next")
	kev := filepath.Join(feedsDir(t, "kev"), "known_exploited_vulnerabilities.json")
	path := filepath.Join(t.TempDir(), "a.db")
	options := []UpdateOptions{{Ecosystems: []string{"Alpine", "Debian", "Go", "Maven", "npm"}, KEV: kev}, {Ecosystems: []string{"Alpine", "Go", "Maven", "npm"}, KEV: kev}}
	contents := realContents(t)
	want := make([][][]string, 2)
	// found are those of package versions, whether they count in an image or not.
	found := [2]map[string]bool{{}, {}}
	for i, dir := range []string{now, next} {
		mustUpdate(t, path, openMirror(t, dir), options[i])
		a := openAdvisories(t, path)
		for _, c := range contents {
			want[i] = append(want[i], wantFindings(t.Context(), t, a, c.Inventory))
			all := *c.Inventory
			all.Packages = slices.Clone(all.Packages)
			for k := range all.Packages {
				all.Packages[k].Owner, all.Packages[k].State = "", inventory.Present
			}
			for _, line := range wantFindings(t.Context(), t, a, &all) {
				found[i][line] = true
			}
		}
	}
	onEngines(t, func(t *testing.T, db *DB) {
		var ids []int64
		for _, c := range contents {
			id, err := db.PutImage(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		var at [2]time.Time
		for i, dir := range []string{now, next} {
			start := time.Now()
			s, err := db.SyncAdvisories(t.Context(), "me", openMirror(t, dir), options[i])
			if err != nil || s.Err() != nil {
				t.Fatal(err, s.Err())
			}
			synced := time.Since(start)
			m := mustMatch(t, db)
			at[i] = time.Now()
			t.Logf("sync %d: %v, %d names changed; matched in %v: %+v", i, synced, len(s.Changed), time.Since(start)-synced, m)
			for j, id := range ids {
				findings, err := db.FindingsAt(t.Context(), id, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want[i][j], findingLines(findings)); diff != "" {
					t.Errorf("state %d of %s (-want +got):\n%s", i, contents[j].Image.Reference, diff)
				}
				checkCounts(t, db, id, findings)
			}
		}
		wantNew := map[string]bool{}
		for f := range found[1] {
			if !found[0][f] {
				wantNew[f] = true
			}
		}
		for j := range ids {
			old, err := db.FindingsAt(t.Context(), ids[j], at[0])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want[0][j], findingLines(old)); diff != "" {
				t.Errorf("history of %s (-want +got):\n%s", contents[j].Image.Reference, diff)
			}
		}
		changes, err := db.FindingChanges(t.Context(), nil, time.Time{}, nil, 500)
		if err != nil {
			t.Fatal(err)
		}
		var told []PackageFinding
		for _, c := range changes {
			told = append(told, c.Finding.PackageFinding)
		}
		got := map[string]bool{}
		for _, line := range findingLines(told) {
			got[line] = true
		}
		if diff := cmp.Diff(wantNew, got); diff != "" || len(got) == 0 {
			t.Errorf("news (-want +got):\n%s", diff)
		}
		start := time.Now()
		if _, err := db.SyncAdvisories(t.Context(), "me", openMirror(t, next), options[1]); err != nil {
			t.Fatal(err)
		}
		t.Logf("a sync without changes: %v", time.Since(start))
	})
}
