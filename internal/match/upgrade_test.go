package match

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"strata/internal/inventory"
)

func TestFixedVersionsByBranch(t *testing.T) {
	for name, c := range map[string]struct {
		pkg     string
		records []string
		want    []string
	}{
		"one of each major":            {"npm npm a 1.0.0", []string{"A: npm/a i0 f1.2.6 i2.0.0 f2.3.0 i3.0.0 f3.0.1"}, []string{"1.2.6", "2.3.0", "3.0.1"}},
		"the smallest of a major":      {"npm npm a 1.0.0", []string{"A: npm/a i0 f1.2.0 i1.3.0 f1.4.0"}, []string{"1.2.0"}},
		"what another calls affected":  {"npm npm a 1.0.0", []string{"A CVE-2024-1: npm/a i0 f1.2.0 i2.0.0 f2.1.0", "B CVE-2024-1: npm/a i0 f1.5.0 i2.0.0 f2.0.5"}, []string{"1.5.0", "2.1.0"}},
		"none":                         {"npm npm a 1.0.0", []string{"A: npm/a i0"}, nil},
		"Go writes a v":                {"golang Go example.org/a v1.0.0", []string{"A: Go/example.org/a i0 f1.2.0 i2.0.0 f2.1.0"}, []string{"v1.2.0", "v2.1.0"}},
		"a distribution has no branch": {"deb Debian:12 a 1.0-1", []string{"A: Debian:12/a i0 f2.0-1"}, []string{"2.0-1"}},
		"0.x is a branch":              {"npm npm a 0.21.0", []string{"A: npm/a i0 f0.28.0 i1.0.0 f1.6.0"}, []string{"0.28.0", "1.6.0"}},
		"an epoch of PEP 440":          {"pypi PyPI a 1!2.0", []string{"A: PyPI/a i0 f1!2.1 i1!3.0 f1!3.1"}, []string{"1!2.1", "1!3.1"}},
	} {
		r := mustFind(t, &inventory.Image{Packages: []inventory.ImagePackage{pkg(c.pkg)}}, records{list: parse(t, c.records...)})
		if len(r.Findings) != 1 {
			t.Fatalf("%s: %d findings", name, len(r.Findings))
		}
		f := r.Findings[0]
		if diff := cmp.Diff(c.want, f.FixedVersions); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if first := append(f.FixedVersions, "")[0]; first != f.FixedVersion {
			t.Errorf("%s: fixed version %q is not the first, %q", name, f.FixedVersion, first)
		}
	}
}

func upgraded(t *testing.T, img *inventory.Image, db Advisories) Result {
	t.Helper()
	r, err := Find(t.Context(), img, db, Options{Now: nowIs("2024-06-02"), Upgrades: true})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestUpgrades(t *testing.T) {
	for name, c := range map[string]struct {
		pkg     string
		records []string
		want    []Upgrade
	}{
		"one version for several findings": {
			"npm npm a 1.0.0", []string{"A: npm/a i0 f1.2.6", "B: npm/a i0 f1.4.0", "C: npm/a i0"},
			[]Upgrade{{Version: "1.4.0", SameBranch: true, Fixes: []string{"A", "B"}, Leaves: []string{"C"}}}},
		"the fix of one is affected by another": {
			"npm npm a 1.0.0", []string{"A: npm/a i0 f1.2.0 i2.0.0 f2.3.0", "B: npm/a i0 f2.1.0"},
			[]Upgrade{{Version: "1.2.0", SameBranch: true, Fixes: []string{"A"}, Leaves: []string{"B"}}, {Version: "2.3.0", Fixes: []string{"A", "B"}}}},
		"the fix brings another": {
			"npm npm a 1.0.0", []string{"A: npm/a i0 f1.2.0", "B: npm/a i1.1.0 f1.3.0"},
			[]Upgrade{{Version: "1.3.0", SameBranch: true, Fixes: []string{"A"}}}},
		"and there is no better": {
			"npm npm a 1.0.0", []string{"A: npm/a i0 f1.2.0", "B: npm/a i1.1.0"},
			[]Upgrade{{Version: "1.2.0", SameBranch: true, Fixes: []string{"A"}, Brings: []string{"B"}}}},
		"only another major": {
			"npm npm a 1.0.0", []string{"A: npm/a i0 f2.0.0"}, []Upgrade{{Version: "2.0.0", Fixes: []string{"A"}}}},
		"no fix": {"npm npm a 1.0.0", []string{"A: npm/a i0"}, nil},
		"Debian": {
			"deb Debian:12 a 1.0-1", []string{"DSA-1 CVE-2024-1: Debian:12/a i0 f1.0-1+deb12u1", "A: Debian:12/a i0 f1.0-1+deb12u3"},
			[]Upgrade{{Version: "1.0-1+deb12u3", SameBranch: true, Fixes: []string{"CVE-2024-1", "A"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			img := &inventory.Image{Packages: []inventory.ImagePackage{pkg(c.pkg)}}
			db := records{list: parse(t, c.records...)}
			if diff := cmp.Diff(c.want, upgraded(t, img, db).Upgrades, cmpopts.SortSlices(strings.Compare)); diff != "" {
				t.Error(diff)
			}
			if r := mustFind(t, img, db); r.Upgrades != nil {
				t.Error("there are upgrades nobody asked for")
			}
		})
	}
}

// TestUpgradesHoldWhatTheySay: an image with the newer version has just those
// findings.
func TestUpgradesHoldWhatTheySay(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	version := func() string { return fmt.Sprintf("%d.%d.%d", random.IntN(4), random.IntN(3), random.IntN(3)) }
	checked := 0
	for range 400 {
		var lines []string
		for i := range 1 + random.IntN(6) {
			line := fmt.Sprintf("A-%d CVE-2024-%d: npm/a", i, random.IntN(4))
			for range 1 + random.IntN(2) {
				line += " i" + []string{"0", version()}[random.IntN(2)]
				if random.IntN(4) > 0 {
					line += " f" + version()
				}
			}
			lines = append(lines, line)
		}
		db := records{list: parse(t, lines...)}
		img := &inventory.Image{Packages: []inventory.ImagePackage{pkg("npm npm a " + version())}}
		for _, u := range upgraded(t, img, db).Upgrades {
			checked++
			var got []string
			for _, f := range mustFind(t, &inventory.Image{Packages: []inventory.ImagePackage{pkg("npm npm a " + u.Version)}}, db).Findings {
				got = append(got, f.ID)
			}
			want := slices.Concat(u.Leaves, u.Brings)
			if diff := cmp.Diff(want, got, cmpopts.SortSlices(strings.Compare), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%s -> %s by\n%s\n%s", img.Packages[0].Version, u.Version, strings.Join(lines, "\n"), diff)
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d upgrades were checked", checked)
	}
}
