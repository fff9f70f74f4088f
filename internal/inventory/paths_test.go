package inventory

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// listing builds the listing of entries such as "f app/x", "l bin -> usr/bin",
// and gives it in the same form.
func listing(entries ...string) []string {
	var b PathsBuilder
	for i, e := range entries {
		b.Add(parsePath(e), i)
	}
	paths, _ := b.Build()
	var out []string
	for _, p := range paths {
		out = append(out, formatPath(p))
	}
	return out
}

func parsePath(s string) Path {
	p := Path{Kind: PathKind(s[0]), Path: s[2:]}
	if p.Kind == PathSymlink {
		for i := range len(p.Path) - 3 {
			if p.Path[i:i+4] == " -> " {
				p.Path, p.Target = p.Path[:i], p.Path[i+4:]
				break
			}
		}
	}
	return p
}

func formatPath(p Path) string {
	s := string(p.Kind) + " " + p.Path
	if p.Kind == PathSymlink {
		s += " -> " + p.Target
	}
	return s
}

func TestBuildListing(t *testing.T) {
	tests := []struct {
		name       string
		have, want []string
	}{
		{"directories come right before what is in them", []string{"f a/x", "f a-b", "d a", "f a.c"}, []string{"d a", "f a/x", "f a-b", "f a.c"}},
		{"the last entry of a path counts", []string{"f a", "l a -> b", "f a"}, []string{"f a"}},
		{"a whiteout and a file of one name are two things", []string{"f a", "w a"}, []string{"f a", "w a"}},
		{"a file replaces a directory of the same tar", []string{"d a", "f a/x", "f a"}, []string{"f a"}},
		{"a directory replaces a file, and is empty of lower layers", []string{"f a", "d a", "f a/x"}, []string{"d a", "o a", "f a/x"}},
		{"a file with entries below it became a directory", []string{"f a", "f a/x"}, []string{"o a", "f a/x"}},
		{"entries below a link go where it leads", []string{"d usr/bin", "l bin -> usr/bin", "f bin/sh"}, []string{"l bin -> usr/bin", "d usr/bin", "f usr/bin/sh"}},
		{"entries below a link that came later are gone", []string{"f bin/sh", "l bin -> usr/bin"}, []string{"l bin -> usr/bin"}},
		{"a link can't lead out of the root", []string{"l up -> ../../../tmp", "f up/x"}, []string{"f tmp/x", "l up -> ../../../tmp"}},
		{"links through links", []string{"l a -> b", "l b -> c", "f a/x"}, []string{"l a -> b", "l b -> c", "f c/x"}},
		{"a link to itself ends", []string{"l a -> a", "f a/x"}, []string{"l a -> a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, listing(tt.have...)); diff != "" {
				t.Errorf("listing differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBuildGivesFinalPaths(t *testing.T) {
	var b PathsBuilder
	for i, e := range []string{"f app/p.json", "l bin -> usr/bin", "f bin/tool", "f gone/p.json", "f gone"} {
		b.Add(parsePath(e), i)
	}
	_, refs := b.Build()
	want := map[int]string{0: "app/p.json", 1: "bin", 2: "usr/bin/tool", 4: "gone"}
	if diff := cmp.Diff(want, refs); diff != "" {
		t.Errorf("final paths differ (-want +got):\n%s", diff)
	}
}

func TestPathsRoundTrip(t *testing.T) {
	var b PathsBuilder
	for _, e := range []string{"d usr", "d usr/bin", "l bin -> usr/bin", "w usr/share/doc", "o opt", "f usr/bin/\xff\xfe", "f usr/bin/sh"} {
		b.Add(parsePath(e), -1)
	}
	want, _ := b.Build()
	data, err := want.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	var got Paths
	if err := got.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listing differs (-want +got):\n%s", diff)
	}
}

func FuzzPathsUnmarshal(f *testing.F) {
	var b PathsBuilder
	b.Add(parsePath("l bin -> usr/bin"), -1)
	b.Add(parsePath("f usr/bin/sh"), -1)
	paths, _ := b.Build()
	seed, _ := paths.AppendBinary(nil)
	f.Add(seed)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Paths
		if err := p.UnmarshalBinary(data); err != nil {
			return
		}
		again, err := p.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		var q Paths
		if err := q.UnmarshalBinary(again); err != nil {
			t.Fatalf("what was read can't be read again: %v", err)
		}
		if diff := cmp.Diff(p, q); diff != "" {
			t.Error(diff)
		}
	})
}

// TestPackedLayer: a large layer, whose listing is kept packed, does what it did.
func TestPackedLayer(t *testing.T) {
	lines := []string{"w m/a", "f m/b/package.json = npm b 2"}
	for i := range packFrom {
		lines = append(lines, fmt.Sprintf("f files/%d", i))
	}
	base := layerOf("f m/a/package.json = npm a 1", "f m/b/package.json = npm b 1")
	large := layerOf(lines...)
	want := Merge([]*Layer{base, large})
	if err := large.Pack(); err != nil || large.Paths != nil {
		t.Fatalf("the listing is not packed: %v", err)
	}
	if diff := cmp.Diff(want, Merge([]*Layer{base, large})); diff != "" {
		t.Errorf("packed, the layer does other than before (-before +packed):\n%s", diff)
	}
	large.Packed = large.Packed[:len(large.Packed)/2]
	if img := Merge([]*Layer{base, large}); len(img.Problems) != 1 || !img.Problems[0].Incomplete {
		t.Errorf("problems of a damaged listing: %+v", img.Problems)
	}
}
