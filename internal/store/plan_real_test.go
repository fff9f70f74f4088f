package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/match"
	"strata/internal/remedy"
)

// checkRealPlans: with the versions that a plan asks for, real
// advisories find just what it says stays and comes.
func checkRealPlans(t *testing.T, db *Advisories) {
	for name, distro := range map[string]inventory.Distro{
		"node-app": {ID: "debian", VersionID: "12"}, "go-app": {}, "alpine-311": {ID: "alpine", VersionID: "3.11.3"}, "debian12-slim": {ID: "debian", VersionID: "12"},
	} {
		inv := truthImage(t, name, distro)
		// Older packages of a distribution, so that there is something to plan.
		inv.Packages = append(inv.Packages,
			inventory.ImagePackage{ID: "old", Package: inventory.Package{Type: "deb", Name: "curl", Version: "7.88.1-10", Ecosystem: "Debian:12"}, StateLayer: -1},
			inventory.ImagePackage{ID: "older", Package: inventory.Package{Type: "pypi", Name: "requests", Version: "2.19.1", Ecosystem: "PyPI"}, StateLayer: -1},
			inventory.ImagePackage{ID: "apt", Package: inventory.Package{Type: "deb", Name: "apt", Version: "2.6.1", Ecosystem: "Debian:12"}, StateLayer: -1})
		for i := range inv.Packages {
			inv.Packages[i].State = inventory.Present
		}
		found, err := match.Find(t.Context(), inv, db, match.Options{Upgrades: true})
		if err != nil {
			t.Fatal(err)
		}
		img := &image.Image{Reference: name, Layers: make([]image.Layer, 8)}
		plan, err := remedy.New(remedy.Input{Image: img, Inventory: inv, Match: &found})
		if err != nil {
			t.Fatal(err)
		}
		if plan.Before.Total() == 0 || plan.After.Total() >= plan.Before.Total() {
			t.Errorf("%s: %d findings before, %d after: nothing was planned", name, plan.Before.Total(), plan.After.Total())
		}
		want, got := said(plan), carriedOut(t, plan, inv, db)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: what is left (-said +so):\n%s", name, diff)
		}
		t.Logf("%s: %d steps, %d findings before, %d after", name, len(plan.Steps), plan.Before.Total(), plan.After.Total())
	}
}

// said are the findings that stay or come by a plan, by id and package, each with
// how often.
func said(plan *remedy.Plan) map[string]int {
	out := map[string]int{}
	for _, s := range plan.Stays {
		for _, f := range s.Findings {
			out[f.ID+" "+f.Package]++
		}
	}
	for _, s := range plan.Steps {
		for _, f := range s.Brings {
			out[f.ID+" "+f.Package]++
		}
	}
	return out
}

// carriedOut are those of the inventory with the plan's versions.
func carriedOut(t *testing.T, plan *remedy.Plan, inv *inventory.Image, db *Advisories) map[string]int {
	t.Helper()
	versions := map[string]string{}
	for _, s := range plan.Steps {
		for _, c := range s.Changes {
			versions[c.PackageID] = c.To
		}
	}
	after := &inventory.Image{Distro: inv.Distro, Packages: append([]inventory.ImagePackage{}, inv.Packages...)}
	for i := range after.Packages {
		p := &after.Packages[i]
		if v := versions[p.ID]; v != "" {
			p.Version, p.SourceVersion = v, ""
		}
	}
	m, err := match.Find(t.Context(), after, db, match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, f := range m.Findings {
		if f.Suppressed == nil {
			out[f.ID+" "+after.Packages[f.Package].Name]++
		}
	}
	return out
}
