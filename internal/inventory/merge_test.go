package inventory

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// layerOf makes a layer of listing lines. A file line may end in its packages:
// "f app/p.json = npm lodash 4.17.4, npm jquery 3.0.0"; a path that is a package
// database has them listed in full. "owner=deb:x" and "locked" may follow the path. A
// file with packages has the digest of what follows the "=".
func layerOf(lines ...string) *Layer {
	l := &Layer{}
	files, sums := map[int]File{}, map[int][sha256.Size]byte{}
	var b PathsBuilder
	for i, line := range lines {
		entry, packages, told := strings.Cut(line, " = ")
		words := strings.Fields(entry)
		file := File{}
		for len(words) > 2 && words[1] != "->" && words[2] != "->" {
			attr := words[len(words)-1]
			words = words[:len(words)-1]
			if o, ok := strings.CutPrefix(attr, "owner="); ok {
				file.Owner = o
			} else if attr == "locked" {
				file.Kind = Locked
			} else if d, ok := strings.CutPrefix(attr, "db="); ok {
				file.Kind, file.Database = Database, d
			}
		}
		p := parsePath(strings.Join(words, " "))
		b.Add(p, i)
		file.Path = p.Path
		if strings.HasSuffix(p.Path, "os-release") && told {
			id, version, _ := strings.Cut(packages, " ")
			l.Distros = append(l.Distros, DistroFile{p.Path, Distro{ID: id, VersionID: version}})
			continue
		}
		if !told {
			continue
		}
		for pkg := range strings.SplitSeq(packages, ", ") {
			if f := strings.Fields(pkg); len(f) == 3 {
				file.Packages = append(file.Packages, Package{Type: f[0], Name: f[1], Version: f[2]})
			}
		}
		files[i], sums[i] = file, sha256.Sum256([]byte(packages))
	}
	paths, at := b.Build()
	l.Paths = paths
	var digests []FileDigest
	for i := range lines {
		if f, ok := files[i]; ok && at[i] != "" {
			f.Path = at[i]
			l.Files = append(l.Files, f)
			digests = append(digests, FileDigest{f.Path, sums[i]})
		}
	}
	l.Digests = PackDigests(paths, digests)
	return l
}

// describe gives an image's packages as "npm lodash 4.17.4 @3 shadowed@5 app/x".
func describe(img Image) []string {
	var out []string
	for _, p := range img.Packages {
		s := fmt.Sprintf("%s %s %s @%d %s", p.Type, p.Name, p.Version, p.Layer, p.State)
		if p.StateLayer >= 0 {
			s += fmt.Sprintf("@%d", p.StateLayer)
		}
		for _, l := range p.Locations {
			s += " " + l.Path
		}
		if p.Owner != "" {
			s += " owner=" + p.Owner
		}
		out = append(out, s)
	}
	return out
}

const status = "f var/lib/dpkg/status db=dpkg = "

func TestMerge(t *testing.T) {
	tests := []struct {
		name   string
		layers [][]string
		want   []string
	}{
		{"a database rewritten by many layers: each version belongs to the layer that brought it",
			[][]string{
				{status + "deb libc6 1, deb bash 1"},
				{status + "deb libc6 1, deb bash 1, deb curl 1"},
				{status + "deb libc6 2, deb bash 1, deb curl 1"},
				{status + "deb libc6 2, deb bash 1"},
			},
			[]string{"deb bash 1 @0 present var/lib/dpkg/status", "deb libc6 1 @0 shadowed@2 var/lib/dpkg/status",
				"deb curl 1 @1 removed@3 var/lib/dpkg/status", "deb libc6 2 @2 present var/lib/dpkg/status"}},
		{"removed and installed again is introduced again",
			[][]string{{status + "deb curl 1"}, {status}, {status + "deb curl 1"}},
			[]string{"deb curl 1 @0 removed@1 var/lib/dpkg/status", "deb curl 1 @2 present var/lib/dpkg/status"}},
		{"a whiteout removes", [][]string{{"f app/node_modules/a/package.json = npm a 1"}, {"w app/node_modules/a"}},
			[]string{"npm a 1 @0 removed@1 app/node_modules/a/package.json"}},
		{"an opaque directory hides the old and shows the new",
			[][]string{{"f m/a/package.json = npm a 1"}, {"d m/a", "f m/a/package.json = npm a 2", "o m/a"}},
			[]string{"npm a 1 @0 shadowed@1 m/a/package.json", "npm a 2 @1 present m/a/package.json"}},
		{"a whiteout hides lower layers only", [][]string{{"f m/a/package.json = npm a 1"}, {"f m/a/package.json = npm a 2", "w m/a/package.json"}},
			[]string{"npm a 1 @0 shadowed@1 m/a/package.json", "npm a 2 @1 present m/a/package.json"}},
		{"a directory replaced by a file", [][]string{{"f m/a/package.json = npm a 1"}, {"f m/a"}}, []string{"npm a 1 @0 removed@1 m/a/package.json"}},
		{"a directory replaced by a symlink", [][]string{{"f m/a/package.json = npm a 1"}, {"l m/a -> b"}}, []string{"npm a 1 @0 removed@1 m/a/package.json"}},
		{"a file replaced by a directory", [][]string{{"f bin/app = golang a 1"}, {"d bin/app"}}, []string{"golang a 1 @0 removed@1 bin/app"}},
		{"a file replaced by a directory that only its entries tell of", [][]string{{"f bin/app = golang a 1"}, {"f bin/app/x"}}, []string{"golang a 1 @0 removed@1 bin/app"}},
		{"a file replaced by one that is no package", [][]string{{"f bin/app = golang a 1"}, {"f bin/app"}}, []string{"golang a 1 @0 removed@1 bin/app"}},
		{"written again with the same content is not new", [][]string{{"f m/a/package.json = npm a 1"}, {"f m/a/package.json = npm a 1"}}, []string{"npm a 1 @0 present m/a/package.json"}},
		{"an upgraded wheel has another path, and is shadowed all the same",
			[][]string{{"f lib/a-1.dist-info/METADATA = pypi a 1"}, {"w lib/a-1.dist-info", "f lib/a-2.dist-info/METADATA = pypi a 2"}},
			[]string{"pypi a 1 @0 shadowed@1 lib/a-1.dist-info/METADATA", "pypi a 2 @1 present lib/a-2.dist-info/METADATA"}},
		{"the rpm database moves, and its packages stay",
			[][]string{{"f var/lib/rpm/rpmdb.sqlite db=rpm = rpm acl 1"}, {"w var/lib/rpm/rpmdb.sqlite", "f usr/lib/sysimage/rpm/rpmdb.sqlite db=rpm = rpm acl 1, rpm vim 1"}},
			[]string{"rpm acl 1 @0 present usr/lib/sysimage/rpm/rpmdb.sqlite", "rpm vim 1 @1 present usr/lib/sysimage/rpm/rpmdb.sqlite"}},
		{"a deleted database uninstalls nothing",
			[][]string{{status + "deb bash 1"}, {"w var/lib/dpkg"}, {"f x"}},
			[]string{"deb bash 1 @0 present var/lib/dpkg/status"}},
		{"a database that comes back after it was deleted",
			[][]string{{status + "deb bash 1"}, {"w var/lib/dpkg"}, {status + "deb bash 2"}},
			[]string{"deb bash 1 @0 shadowed@2 var/lib/dpkg/status", "deb bash 2 @2 present var/lib/dpkg/status"}},
		{"an entry below a link of a lower layer goes where it leads",
			[][]string{{"l lib -> usr/lib", "f usr/lib/apk/db/installed db=apk = apk musl 1"}, {"f lib/apk/db/installed db=apk = apk musl 2"}},
			[]string{"apk musl 1 @0 shadowed@1 usr/lib/apk/db/installed", "apk musl 2 @1 present usr/lib/apk/db/installed"}},
		{"a directory entry in the place of the link replaces it",
			[][]string{{"l lib -> usr/lib", "f usr/lib/x/package.json = npm x 1"}, {"d lib", "f lib/x/package.json = npm x 1"}},
			[]string{"npm x 1 @0 present usr/lib/x/package.json", "npm x 1 @1 present lib/x/package.json"}},
		{"the same version at two places of one layer is one package",
			[][]string{{"f a/package.json = npm x 1", "f b/package.json = npm x 1"}},
			[]string{"npm x 1 @0 present a/package.json b/package.json"}},
		{"an owned file is a package apart",
			[][]string{{"f a/package.json owner=deb:node-x = npm x 1", "f b/package.json = npm x 1"}},
			[]string{"npm x 1 @0 present b/package.json", "npm x 1 @0 present a/package.json owner=node-x"}},
		{"what a lock file asks for counts while nothing is installed",
			[][]string{{"f app/package-lock.json locked = npm x 1"}},
			[]string{"npm x 1 @0 present app/package-lock.json"}},
		{"what is installed beside a lock file replaces it",
			[][]string{{"f app/package-lock.json locked = npm x 1, npm dev 1"}, {"f app/node_modules/x/package.json = npm x 1"}},
			[]string{"npm x 1 @1 present app/node_modules/x/package.json"}},
		{"the lock file that a dependency came with does not count",
			[][]string{{"f vendored/a/package.json = npm a 1", "f vendored/a/yarn.lock locked = npm dev 1", "f vendored/b/package.json = npm b 1"}},
			[]string{"npm a 1 @0 present vendored/a/package.json", "npm b 1 @0 present vendored/b/package.json"}},
		{"the lock file of an application that is a package itself does",
			[][]string{{"f opt/ghost/package.json = npm ghost 5", "f opt/ghost/yarn.lock locked = npm dep 1"}},
			[]string{"npm dep 1 @0 present opt/ghost/yarn.lock", "npm ghost 5 @0 present opt/ghost/package.json"}},
		{"moved to another name is removed here and introduced there",
			[][]string{{"f m/a/package.json = npm a 1"}, {"w m/a", "f m/b/package.json = npm a 1"}},
			[]string{"npm a 1 @0 removed@1 m/a/package.json", "npm a 1 @1 present m/b/package.json"}},
		{"what is installed elsewhere does not",
			[][]string{{"f app/package-lock.json locked = npm x 1"}, {"f usr/lib/node_modules/npm/package.json = npm npm 9"}},
			[]string{"npm x 1 @0 present app/package-lock.json", "npm npm 9 @1 present usr/lib/node_modules/npm/package.json"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var layers []*Layer
			for _, l := range tt.layers {
				layers = append(layers, layerOf(l...))
			}
			if diff := cmp.Diff(tt.want, describe(Merge(layers))); diff != "" {
				t.Errorf("packages differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMergeHardLinks(t *testing.T) {
	base := layerOf("f m/a/package.json = npm a 1", "f m/b/package.json")
	base.Links = []Link{{Path: "m/b/package.json", Target: "m/a/package.json", Analyzer: "npm"}}
	lost := layerOf("f m/c/package.json", "w m/a")
	lost.Links = []Link{{Path: "m/c/package.json", Target: "store/ab12", Analyzer: "npm"}}
	img := Merge([]*Layer{base, lost})
	want := []string{"npm a 1 @0 present m/b/package.json", "npm a 1 @0 removed@1 m/a/package.json"}
	if diff := cmp.Diff(want, describe(img)); diff != "" {
		t.Errorf("packages differ (-want +got):\n%s", diff)
	}
	if len(img.Problems) != 1 || img.Problems[0].Path != "m/c/package.json" || img.Problems[0].Layer != 1 {
		t.Errorf("problems = %+v; want the hard link that leads to nothing known", img.Problems)
	}
}

func TestMergeDistro(t *testing.T) {
	img := Merge([]*Layer{
		layerOf("f usr/lib/os-release = debian 11", "l etc/os-release -> ../usr/lib/os-release", status+"deb old 1, deb both 1"),
		nil,
		layerOf("f usr/lib/os-release = debian 12", status+"deb both 1"),
	})
	if img.Distro.VersionID != "12" {
		t.Errorf("distro = %v; want debian 12", img.Distro)
	}
	got := map[string]string{}
	for _, p := range img.Packages {
		got[p.Name] = p.Ecosystem
	}
	want := map[string]string{"old": "Debian:11", "both": "Debian:12"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a removed package belongs to the release it was removed from (-want +got):\n%s", diff)
	}
}

func TestMergeIsDeterministic(t *testing.T) {
	layers := []*Layer{layerOf("f m/a/package.json = npm a 1", "f m/b/package.json = npm b 1", "l x -> m"), layerOf("w m")}
	first := Merge(layers)
	for range 20 {
		if diff := cmp.Diff(first, Merge(layers)); diff != "" {
			t.Fatal(diff)
		}
	}
}

// TestMergeAgainstUnpacking holds Merge against what a plain unpacking of the
// layers, entry by entry, leaves in the file system.
func TestMergeAgainstUnpacking(t *testing.T) {
	const rounds = 20000
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 1))
		layers, want := randomLayers(r)
		var merged []*Layer
		for _, l := range layers {
			merged = append(merged, layerOf(l...))
		}
		img := Merge(merged)
		got := map[string]string{}
		for _, p := range img.Packages {
			if p.State != Present {
				continue
			}
			for _, l := range p.Locations {
				got[l.Path] = p.Version
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: layers\n%s\nvisible packages differ (-unpacked +merged):\n%s", seed, formatLayers(layers), diff)
		}
		visible := 0
		for _, f := range img.Files {
			if f.State != Present {
				continue
			}
			if visible++; sha256.Sum256([]byte("npm x "+want[f.Path])) != f.SHA256 {
				t.Fatalf("seed %d: layers\n%s\n%s is not what unpacking leaves: %+v", seed, formatLayers(layers), f.Path, f)
			}
		}
		if visible != len(want) {
			t.Fatalf("seed %d: layers\n%s\n%d files are visible, want %d", seed, formatLayers(layers), visible, len(want))
		}
	}
}

func formatLayers(layers [][]string) string {
	var b strings.Builder
	for i, l := range layers {
		fmt.Fprintf(&b, "layer %d:\n\t%s\n", i, strings.Join(l, "\n\t"))
	}
	return b.String()
}

// randomLayers makes layers and the packages that unpacking them leaves, by path.
func randomLayers(r *rand.Rand) (layers [][]string, visible map[string]string) {
	type node struct {
		layer   int
		dir     bool
		version string
	}
	fs := map[string]node{}
	removeBelow := func(dir string, layer int) {
		for p, n := range fs {
			if below(p, dir) && n.layer <= layer {
				delete(fs, p)
			}
		}
	}
	version := 0
	for layer := range 1 + r.IntN(4) {
		var lines []string
		for range 1 + r.IntN(5) {
			parts := []string{"a", "b", "c"}[:1+r.IntN(3)]
			for i := range parts {
				parts = slices.Clone(parts)
				parts[i] = string(rune('a' + r.IntN(2)))
			}
			p := strings.Join(parts, "/")
			kind := []PathKind{PathFile, PathFile, PathFile, PathDir, PathWhiteout, PathOpaque}[r.IntN(6)]
			line := string(kind) + " " + p
			if kind.content() {
				for dir, ok := parent(p); ok && dir != ""; dir, ok = parent(dir) {
					if n, is := fs[dir]; is && !n.dir {
						delete(fs, dir)
					}
				}
			}
			switch kind {
			case PathFile:
				removeBelow(p, layer)
				n := node{layer: layer}
				if r.IntN(3) > 0 {
					version++
					n.version = fmt.Sprint(version)
					line += " = npm x " + n.version
				}
				fs[p] = n
			case PathDir:
				if n, is := fs[p]; !is || !n.dir {
					fs[p] = node{layer: layer, dir: true}
				}
			case PathWhiteout:
				if n, is := fs[p]; is && n.layer < layer {
					delete(fs, p)
				}
				removeBelow(p, layer-1)
			case PathOpaque:
				removeBelow(p, layer-1)
			}
			lines = append(lines, line)
		}
		layers = append(layers, lines)
	}
	visible = map[string]string{}
	for p, n := range fs {
		if n.version != "" {
			visible[p] = n.version
		}
	}
	return layers, visible
}

// FuzzMerge: whatever stack of layers, Merge ends, and what it says is possible.
func FuzzMerge(f *testing.F) {
	f.Add("l lib -> usr/lib\nf usr/lib/x = npm x 1\n\nf lib/x = npm x 2\n\no usr")
	f.Add("f a = npm x 1\n\nd a\nf a/b = npm y 1\n\nw a")
	f.Add("l a -> b\nl b -> a\nf a/x = npm x 1\n\nl c -> a/x\nf c/y")
	f.Add(status + "deb a 1\n\nw var/lib\n\n" + status + "deb a 2")
	f.Fuzz(func(t *testing.T, picture string) {
		var layers []*Layer
		for text := range strings.SplitSeq(picture, "\n\n") {
			var lines []string
			for line := range strings.SplitSeq(text, "\n") {
				entry, _, _ := strings.Cut(line, " = ")
				if len(strings.Fields(entry)) > 1 && len(line) > 2 && line[1] == ' ' && PathKind(line[0]).valid() && !strings.HasPrefix(line[2:], "/") {
					lines = append(lines, line)
				}
			}
			layers = append(layers, layerOf(lines...))
		}
		img := Merge(layers)
		ids := map[string]bool{}
		for _, p := range img.Packages {
			if ids[p.ID] {
				t.Errorf("two packages have the id of %+v", p)
			}
			ids[p.ID] = true
			switch {
			case p.Layer < 0 || p.Layer >= len(layers), len(p.Locations) == 0,
				p.State == Present && p.StateLayer != -1,
				p.State != Present && (p.StateLayer <= p.Layer || p.StateLayer >= len(layers)):
				t.Errorf("impossible package %+v in %d layers", p, len(layers))
			}
		}
		for i, x := range img.Files {
			if x.Layer < 0 || x.Layer >= len(layers) || x.Path == "" || (x.State == Present) != (x.StateLayer == -1) || x.StateLayer != -1 && (x.StateLayer <= x.Layer || x.StateLayer >= len(layers)) {
				t.Errorf("impossible file %+v in %d layers", x, len(layers))
			}
			if i > 0 && x.Location == img.Files[i-1].Location {
				t.Errorf("layer %d introduces %s twice", x.Layer, x.Path)
			}
		}
	})
}
