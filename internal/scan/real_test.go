package scan_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/analyzer"
	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/scan"
	"strata/internal/source"
)

// realImages is the folder of real images and their ground truth.
func realImages(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../../shared/images")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("STRATA_TEST_REQUIRE") == "all" {
			t.Fatalf("no real images at %s, and STRATA_TEST_REQUIRE=all", dir)
		}
		t.Skipf("no real images at %s", dir)
	}
	return dir
}

// A truth is what no scanner made: what package managers say of an image.
type truth struct {
	Packages []struct {
		Type, Name, Version, Path string
		Layer                     int    `json:"layer_index"`
		Present                   bool   `json:"present_in_final"`
		Removed                   int    `json:"removed_in_layer"`
		Owner                     string `json:"owner_deb"`
		License                   string
	}
}

// readTruth reads the truth of the image of that name.
func readTruth(t *testing.T, dir, name string) truth {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "truth", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var want truth
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	return want
}

// lines are the truth's packages, one a line with all there is to hold against it.
func (tr *truth) lines() []string {
	var out []string
	for _, p := range tr.Packages {
		gone := -1
		if !p.Present {
			gone = p.Removed
		}
		out = append(out, packageLine(p.Type, p.Name, p.Version, p.Path, p.Layer, gone, p.Owner))
	}
	slices.Sort(out)
	return out
}

func packageLine(typ, name, version, path string, layer, gone int, owner string) string {
	return fmt.Sprintf("%s %s %s in %s, layer %d, gone in %d, owner %q", typ, name, version, path, layer, gone, owner)
}

func found(inv inventory.Image) []string {
	var out []string
	for _, p := range inv.Packages {
		if p.OwnersAffair() {
			continue // its owner is in the truth
		}
		for _, l := range p.Locations {
			out = append(out, packageLine(p.Type, p.Name, p.Version, l.Path, p.Layer, p.StateLayer, p.Owner))
		}
	}
	slices.Sort(out)
	return out
}

// TestRealTruth: every package of the ground truth is found with exact name,
// version, introducing layer, path, state and owner, and nothing else is.
func TestRealTruth(t *testing.T) {
	dir := realImages(t)
	refs := map[string][]string{
		"debian12-slim": {"oci:oci:debian12-slim"}, "node-app": {"oci:oci:node-app"}, "go-app": {"oci:oci:go-app"},
		"rpm-centos7": {"oci:oci:rpm-centos7"}, "rpm-ubi8": {"oci:oci:rpm-ubi8"}, "rpm-fedora35": {"oci:oci:rpm-fedora35"},
		"rpm-mariner2": {"oci:oci:rpm-mariner2"}, "rpm-sle15": {"oci:oci:rpm-sle15"}, "alpine-311": {"alpine-311.tar.gz"},
		"odd": {"oci:odd.oci:odd", "odd.tar.gz", "docker-archive:odd.tar.gz"},
	}
	files, err := filepath.Glob(filepath.Join(dir, "truth", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("no truth files", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		if len(refs[name]) == 0 {
			t.Errorf("no image is known for the truth file %s", file)
		}
		for _, ref := range refs[name] {
			t.Run(strings.ReplaceAll(ref, "/", "_"), func(t *testing.T) {
				want := readTruth(t, dir, name)
				inv := scanReal(t, dir, ref)
				if diff := cmp.Diff(want.lines(), found(inv)); diff != "" {
					t.Errorf("packages differ from the truth (-truth +found):\n%s", diff)
				}
				for _, p := range inv.Problems {
					t.Errorf("problem: %+v", p)
				}
			})
		}
	}
}

// scanReal scans a reference whose path is relative to dir.
func scanReal(t *testing.T, dir, ref string) inventory.Image {
	t.Helper()
	scheme, path, ok := strings.Cut(ref, ":")
	ref = scheme + ":" + filepath.Join(dir, path)
	if !ok {
		ref = filepath.Join(dir, scheme)
	}
	images, closer, err := source.Open(t.Context(), ref, source.Options{Platform: image.Platform{}})
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	res, err := (&scan.Scanner{Runner: &analyzer.Runner{Analyzers: analyzer.Default(), Memory: &analyzer.Memory{}}}).Image(t.Context(), images[0])
	if err != nil {
		t.Fatal(err)
	}
	return res.Inventory
}

// TestRealFleet: of 60 images, the npm, PyPI, Maven and Ruby packages are found
// in the layer that brings them, and no others; each layer is read once.
func TestRealFleet(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "bash", filepath.Join(realImages(t), "fleet.sh"), dir, "oci")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("fleet.sh: %v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "fleet-truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	var fleet struct {
		Images     map[string]json.RawMessage
		Components map[string][]struct {
			Image string
			Layer int `json:"layer_index"`
		}
		LayerUsedBy map[string]int `json:"layer_used_by"`
	}
	if err := json.Unmarshal(b, &fleet); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{} // by image
	for component, places := range fleet.Components {
		for _, p := range places {
			want[p.Image] = append(want[p.Image], fmt.Sprintf("%s, layer %d", component, p.Layer))
		}
	}
	scanner := &scan.Scanner{Runner: &analyzer.Runner{Analyzers: analyzer.Default(), Memory: &analyzer.Memory{}}}
	read := 0
	for ref := range fleet.Images {
		images, closer, err := source.Open(t.Context(), "oci:"+filepath.Join(dir, "oci")+":"+ref, source.Options{})
		if err != nil {
			t.Fatal(err)
		}
		res, err := scanner.Image(t.Context(), images[0])
		if err := errors.Join(err, closer.Close()); err != nil {
			t.Fatal(err)
		}
		read += res.Read
		var got []string
		for _, p := range res.Inventory.Packages {
			switch p.Type {
			case "npm", "pypi", "maven", "gem":
				got = append(got, fmt.Sprintf("%s %s %s, layer %d", p.Type, p.Name, p.Version, p.Layer))
			}
		}
		slices.Sort(got)
		slices.Sort(want[ref])
		if diff := cmp.Diff(want[ref], got); diff != "" {
			t.Errorf("%s: packages differ from the truth (-truth +found):\n%s", ref, diff)
		}
	}
	if len(fleet.Images) != 60 || read != len(fleet.LayerUsedBy) {
		t.Errorf("%d images, %d layers read; want 60, and each of %d layers once", len(fleet.Images), read, len(fleet.LayerUsedBy))
	}
}
