package analyzer

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/inventory"
)

// sharedImages is the folder of real images, which is not part of the repository.
func sharedImages(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../../shared/images")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("STRATA_TEST_REQUIRE") == "all" {
			t.Fatalf("the real images are required: %v", err)
		}
		t.Skipf("no real images: %v", err)
	}
	return dir
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// layersOf are the blobs of an image of an OCI layout, lowest layer first.
func layersOf(t *testing.T, layout, ref string) []string {
	t.Helper()
	type descriptor struct {
		Digest      string            `json:"digest"`
		Annotations map[string]string `json:"annotations"`
	}
	var index struct {
		Manifests []descriptor `json:"manifests"`
	}
	readJSON(t, filepath.Join(layout, "index.json"), &index)
	blob := func(d descriptor) string {
		return filepath.Join(layout, "blobs", strings.Replace(d.Digest, ":", "/", 1))
	}
	for _, m := range index.Manifests {
		if m.Annotations["org.opencontainers.image.ref.name"] != ref {
			continue
		}
		var manifest struct {
			Layers []descriptor `json:"layers"`
		}
		readJSON(t, blob(m), &manifest)
		var out []string
		for _, l := range manifest.Layers {
			out = append(out, blob(l))
		}
		return out
	}
	t.Fatalf("%s has no image %s", layout, ref)
	return nil
}

// inLayer is a package, where it was found.
type inLayer struct {
	layer int
	path  string
	kind  inventory.Kind
	pkg   inventory.Package
}

// analyzeLayer runs the language analyzers over a layer, compressed by gzip.
func analyzeLayer(t *testing.T, layer int, blob string) (out []inLayer, problems []string) {
	t.Helper()
	file, err := os.Open(blob)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	analyzers := language(nil)
	links := map[string]string{}
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return append(out, throughLinks(out, links)...), problems
		}
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if h.Typeflag == tar.TypeSymlink && !path.IsAbs(h.Linkname) {
			links[name] = path.Join(path.Dir(name), h.Linkname)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		head := make([]byte, min(h.Size, headSize))
		if _, err := io.ReadFull(tr, head); err != nil {
			t.Fatal(err)
		}
		candidate := Candidate{Path: name, Size: h.Size, Mode: fs.FileMode(h.Mode), Head: head}
		var f *File
		for _, a := range analyzers {
			if !a.Wants(&candidate) {
				continue
			}
			if f == nil {
				rest, err := io.ReadAll(tr)
				if err != nil {
					t.Fatal(err)
				}
				f = NewFile(name, append(head, rest...))
			}
			res, err := a.Analyze(t.Context(), f)
			if err != nil {
				problems = append(problems, name+": "+err.Error())
			}
			problems = append(problems, res.Notes...)
			for _, p := range res.Packages {
				out = append(out, inLayer{layer, name, res.Kind, p})
			}
		}
	}
}

// throughLinks is what was found in files, under the names of symbolic links to
// these: Debian's lodash-es/package.json is a link to lodash/package.json.
func throughLinks(all []inLayer, links map[string]string) []inLayer {
	var out []inLayer
	for name, target := range links {
		for _, p := range all {
			if p.path == target && npmPlaceOf(name) == npmModule {
				p.path = name
				out = append(out, p)
			}
		}
	}
	return out
}

// truth is a file of ground truth: see README.md beside it.
type truth struct {
	Packages []struct {
		Type, Name, Version, Path string
		LayerIndex                int `json:"layer_index"`
	} `json:"packages"`
}

// TestRealLanguagePackages finds exactly the language packages of the truth, in
// each layer.
func TestRealLanguagePackages(t *testing.T) {
	images := sharedImages(t)
	for ref, purlType := range map[string]string{"go-app": "golang", "node-app": "npm"} {
		t.Run(ref, func(t *testing.T) {
			var want truth
			readJSON(t, filepath.Join(images, "truth", ref+".json"), &want)
			wanted, got := map[string]bool{}, map[string]bool{}
			key := func(layer int, path, name, version string) string {
				return string(rune('0'+layer)) + " " + path + " " + name + " " + version
			}
			for _, p := range want.Packages {
				if p.Type == purlType {
					wanted[key(p.LayerIndex, p.Path, p.Name, p.Version)] = true
				}
			}
			for i, blob := range layersOf(t, filepath.Join(images, "oci"), ref) {
				packages, problems := analyzeLayer(t, i, blob)
				for _, p := range packages {
					// Programs of the distribution are TestRealTruth's, which knows owners.
					if p.kind == inventory.Installed && p.pkg.Type != "generic" {
						got[key(p.layer, p.path, p.pkg.Name, p.pkg.Version)] = true
					}
				}
				if len(problems) > 0 {
					t.Errorf("layer %d has problems: %q", i, problems)
				}
			}
			if len(wanted) == 0 {
				t.Fatal("the truth lists no package")
			}
			if diff := cmp.Diff(slices.Sorted(maps.Keys(wanted)), slices.Sorted(maps.Keys(got))); diff != "" {
				t.Errorf("packages (-truth +found):\n%s", diff)
			}
		})
	}
}

// TestRealFleetPackages finds what the fleet's own layers hold: npm, PyPI, Maven
// and RubyGems.
func TestRealFleetPackages(t *testing.T) {
	images, dir := sharedImages(t), t.TempDir()
	if out, err := exec.Command("bash", filepath.Join(images, "fleet.sh"), dir, "oci").CombinedOutput(); err != nil {
		t.Fatalf("fleet.sh: %v\n%s", err, out)
	}
	var want struct {
		Components map[string][]struct {
			Image      string `json:"image"`
			LayerIndex int    `json:"layer_index"`
		} `json:"components"`
	}
	readJSON(t, filepath.Join(dir, "fleet-truth.json"), &want)
	for _, ref := range []string{"team-a/web:1.0", "team-b/api:2.0", "team-c/billing:2.0", "team-d/admin:1.1"} {
		t.Run(ref, func(t *testing.T) {
			wanted, got := []string{}, []string{}
			for component, uses := range want.Components {
				for _, u := range uses {
					if u.Image == ref {
						wanted = append(wanted, string(rune('0'+u.LayerIndex))+" "+component)
					}
				}
			}
			layers := layersOf(t, filepath.Join(dir, "oci"), ref)
			for i, blob := range layers {
				if i == 0 {
					continue // The base has packages of its own.
				}
				packages, problems := analyzeLayer(t, i, blob)
				for _, p := range packages {
					got = append(got, string(rune('0'+i))+" "+p.pkg.Type+" "+p.pkg.Name+" "+p.pkg.Version)
				}
				if len(problems) > 0 {
					t.Errorf("layer %d has problems: %q", i, problems)
				}
			}
			slices.Sort(wanted)
			slices.Sort(got)
			if diff := cmp.Diff(wanted, got); diff != "" {
				t.Errorf("packages (-truth +found):\n%s", diff)
			}
		})
	}
}

// TestRealHostile runs the analyzers over the hostile images that are meant for
// them, in bounded time and memory.
func TestRealHostile(t *testing.T) {
	images := sharedImages(t)
	tests := []struct {
		name string
		// want are the packages beside good@1.0.0; problem is in one of the problems.
		want    []string
		problem string
	}{
		{"jar-bomb", nil, ""}, // Its 11,110 inner archives stay just below the limits.
		{"jar-200k", []string{"org.example:late 1.2.3"}, ""},
		{"jar-corrupt", nil, "not a readable zip archive"},
		{"big-package-json", nil, "larger than the limit"},
		{"deep-json", nil, "not valid JSON"},
		{"yaml-bomb", nil, "was not read"},
		{"deep-dirs", []string{"deep 1.0.0"}, ""},
		{"go-corrupt", nil, "damaged headers"},
		{"zip-slip-names", []string{"g:a 1"}, ""},
		{"ansi-names", []string{"\x1b[31mred\x1b]0;t\x07\nfake line 1.0.0<script>alert(1)</script>", "x 1.0.0"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			layout := t.TempDir()
			unpackTar(t, filepath.Join(images, "hostile", tt.name+".oci.tar"), layout)
			start := time.Now()
			var got, problems []string
			for i, blob := range hostileLayers(t, layout) {
				packages, p := analyzeLayer(t, i, blob)
				problems = append(problems, p...)
				for _, p := range packages {
					got = append(got, p.pkg.Name+" "+p.pkg.Version)
				}
			}
			// What is not bounded takes hours; the machine may be busy.
			if d := time.Since(start); d > 3*time.Minute {
				t.Errorf("took %v", d)
			}
			if diff := cmp.Diff(append([]string{"good 1.0.0"}, tt.want...), got); diff != "" {
				t.Errorf("packages (-want +got):\n%s", diff)
			}
			all := strings.Join(problems, "\n")
			if tt.problem == "" && all != "" || !strings.Contains(all, tt.problem) {
				t.Errorf("problems are %q, want one with %q", problems, tt.problem)
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			t.Logf("%v, %d MiB of the system's, problems %q", time.Since(start).Round(time.Millisecond), m.Sys>>20, problems)
		})
	}
}

// hostileLayers are the layers of the only image in the layout.
func hostileLayers(t *testing.T, layout string) []string {
	t.Helper()
	var index struct {
		Manifests []struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"manifests"`
	}
	readJSON(t, filepath.Join(layout, "index.json"), &index)
	return layersOf(t, layout, index.Manifests[0].Annotations["org.opencontainers.image.ref.name"])
}

func unpackTar(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		to := filepath.Join(dir, filepath.FromSlash(path.Clean("/"+h.Name)))
		b, err := io.ReadAll(tr)
		if err == nil {
			err = errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, b, 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
