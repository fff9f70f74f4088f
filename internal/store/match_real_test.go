package store

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"strata/internal/inventory"
	"strata/internal/match"
)

// truthImage makes an inventory of an image's ground truth, whatever our
// analyzers find.
func truthImage(t testing.TB, name string, distro inventory.Distro) *inventory.Image {
	t.Helper()
	path := filepath.Join(feedsDir(t, filepath.Join("..", "images", "truth")), name+".json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var truth struct {
		Packages []struct {
			Type, Name, Version, Source string
			Layer                       int    `json:"layer_index"`
			Owner                       string `json:"owner_deb"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(b, &truth); err != nil {
		t.Fatal(err)
	}
	img := &inventory.Image{Distro: distro}
	of, _ := distro.Ecosystem()
	ecosystems := map[string]string{"npm": "npm", "golang": "Go", "deb": of, "apk": of, "rpm": of}
	for i, p := range truth.Packages {
		img.Packages = append(img.Packages, inventory.ImagePackage{
			Package: inventory.Package{Type: p.Type, Name: p.Name, Version: p.Version, SourceName: p.Source, Ecosystem: ecosystems[p.Type]},
			ID:      fmt.Sprint(i), State: inventory.Present, StateLayer: -1, Layer: p.Layer, Owner: p.Owner,
		})
	}
	return img
}

// checkRealFindings: the flaws that the old packages of the test images are known for are
// found, in the packages that have them and in no others.
func checkRealFindings(t *testing.T, db *Advisories) {
	for name, c := range map[string]struct {
		distro inventory.Distro
		// want are "id name version fix", notWant are "id name version".
		want, notWant []string
	}{
		"node-app": {inventory.Distro{ID: "debian", VersionID: "12"},
			[]string{"CVE-2019-10744 lodash 4.17.4 4.17.12", "CVE-2018-3721 lodash 4.17.4 4.17.5", "CVE-2020-7598 minimist 0.0.8 0.2.1"},
			[]string{"CVE-2018-3721 lodash 4.17.21"}},
		"alpine-311": {inventory.Distro{ID: "alpine", VersionID: "3.11.3"}, nil, []string{"CVE-2019-14697 musl 1.1.24-r2", "CVE-2019-5747 busybox 1.31.1-r9"}},
	} {
		img := truthImage(t, name, c.distro)
		r, err := match.Find(t.Context(), img, db, match.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got, short []string
		for _, f := range r.Findings {
			p := img.Packages[f.Package]
			short = append(short, fmt.Sprintf("%s %s %s", f.ID, p.Name, p.Version))
			got = append(got, fmt.Sprintf("%s %s %s %s", f.ID, p.Name, p.Version, f.FixedVersion))
		}
		for _, want := range c.want {
			if !slices.Contains(got, want) {
				t.Errorf("%s: %s was not found", name, want)
			}
		}
		for _, not := range c.notWant {
			if slices.Contains(short, not) {
				t.Errorf("%s: %s was found", name, not)
			}
		}
		t.Logf("%s: %d packages, %d findings, distribution %s, problems %+v", name, len(img.Packages), len(got), r.Distro.Status, r.Problems)
		seen := map[string]bool{}
		for _, f := range r.Findings {
			if key := f.ID + " " + f.PackageID; seen[key] {
				t.Errorf("%s: %s twice", name, key)
			} else {
				seen[key] = true
			}
		}
	}
}

// BenchmarkFind opens the database and matches 500 packages: what a warm scan
// spends on advisories.
func BenchmarkFind(b *testing.B) {
	path := filepath.Join(b.TempDir(), "a.db")
	mustUpdate(b, path, openMirror(b, feedsDir(b, "osv")), UpdateOptions{Ecosystems: []string{"all"}})
	img := &inventory.Image{Distro: inventory.Distro{ID: "debian", VersionID: "9"}}
	for _, p := range truthImage(b, "node-app", inventory.Distro{ID: "debian", VersionID: "9"}).Packages {
		if len(img.Packages) < 500 {
			img.Packages = append(img.Packages, p)
		}
	}
	for _, k := range someKeys(b, path, 500-len(img.Packages)) {
		img.Packages = append(img.Packages, inventory.ImagePackage{Package: inventory.Package{Type: "x", Ecosystem: k.Ecosystem, Name: k.Name, Version: "1.0.0"}})
	}
	findings := 0
	for b.Loop() {
		a, err := OpenAdvisories(path)
		if err != nil {
			b.Fatal(err)
		}
		r, err := match.Find(context.Background(), img, a, match.Options{})
		if err != nil {
			b.Fatal(err)
		}
		findings = len(r.Findings)
		if err := a.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(findings), "findings")
	b.ReportMetric(float64(len(img.Packages)), "packages")
}

var _ match.Advisories = (*Advisories)(nil)
