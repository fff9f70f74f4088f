package inventory

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// describeFiles gives an image's files as "a/b CONTENT @0 removed@2", by the digests of
// known contents.
func describeFiles(img Image, contents ...string) (out []string) {
	names := map[[sha256.Size]byte]string{}
	for _, c := range contents {
		names[sha256.Sum256([]byte(c))] = c
	}
	for _, f := range img.Files {
		s := fmt.Sprintf("%s %s @%d %s", f.Path, names[f.SHA256], f.Layer, f.State)
		if f.StateLayer >= 0 {
			s += fmt.Sprintf("@%d", f.StateLayer)
		}
		out = append(out, s)
	}
	return out
}

// What becomes of files: the layer that introduces a content at a path, and the one that
// hides it.
func TestMergeFiles(t *testing.T) {
	for _, c := range []struct {
		name   string
		layers [][]string
		want   []string
	}{
		{"another content shadows, a whiteout removes",
			[][]string{{"f bin/a = one", "f bin/b = one"}, {"f bin/a = two", "w bin/b"}},
			[]string{"bin/a one @0 shadowed@1", "bin/b one @0 removed@1", "bin/a two @1 present"}},
		{"a file without digest, or a link, shadows", [][]string{{"f bin/a = one", "f bin/b = one"}, {"f bin/a", "l bin/b -> c"}},
			[]string{"bin/a one @0 shadowed@1", "bin/b one @0 shadowed@1"}},
		{"a directory in its place removes", [][]string{{"f bin/a = one"}, {"d bin/a", "f bin/a/b = two"}},
			[]string{"bin/a one @0 removed@1", "bin/a/b two @1 present"}},
		{"the same written again goes on", [][]string{{"f bin/a = one"}, {"f bin/a = one"}, {"w bin/a"}}, []string{"bin/a one @0 removed@2"}},
		{"what comes back is introduced again", [][]string{{"f a = one"}, {"f a = two"}, {"f a = one"}},
			[]string{"a one @0 shadowed@1", "a two @1 shadowed@2", "a one @2 present"}},
		{"moved to another path is removed there", [][]string{{"f a = one"}, {"w a", "f b = one"}}, []string{"a one @0 removed@1", "b one @1 present"}},
		{"an opaque directory hides what lies below", [][]string{{"f d/a = one"}, {"d d", "o d", "f d/b = two"}},
			[]string{"d/a one @0 removed@1", "d/b two @1 present"}},
		{"a path through a link of a lower layer", [][]string{{"l lib -> usr/lib", "f usr/lib/x.so = one"}, {"f lib/x.so = two"}},
			[]string{"usr/lib/x.so one @0 shadowed@1", "usr/lib/x.so two @1 present"}},
		{"a database that was deleted is gone as a file", [][]string{{status + "deb a 1"}, {"w var/lib/dpkg"}, {"f x = one"}},
			[]string{"var/lib/dpkg/status deb a 1 @0 removed@1", "x one @2 present"}},
		{"one that is put back does not take the place of what is there",
			[][]string{{status + "deb a 1"}, {"w var/lib/dpkg", status + "none"}, {"w var/lib/dpkg"}},
			[]string{"var/lib/dpkg/status deb a 1 @0 shadowed@1", "var/lib/dpkg/status none @1 removed@2"}},
	} {
		var layers []*Layer
		for _, l := range c.layers {
			layers = append(layers, layerOf(l...))
		}
		if diff := cmp.Diff(c.want, describeFiles(Merge(layers), "one", "two", "none", "deb a 1")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// Digests of files that the listing doesn't have as such are no digests, and damaged
// bytes are an error.
func TestPackDigests(t *testing.T) {
	l := layerOf("f a = one", "w b", "f b = two", "d c", "f c/d = one", "l e -> a")
	listing := l.Paths
	want, err := l.FileDigests(listing)
	if err != nil || len(want) != 3 || want[1].Path != "b" || want[1].SHA256 != sha256.Sum256([]byte("two")) {
		t.Fatalf("%v: %v", want, err)
	}
	l.Digests = PackDigests(listing, append([]FileDigest{{Path: "c"}, {Path: "e"}, {Path: "none"}, {Path: "z"}}, want...))
	if got, err := l.FileDigests(listing); err != nil || !cmp.Equal(want, got) {
		t.Errorf("%v, %v", got, err)
	}
	whole := l.Digests
	for n := range whole {
		l.Digests = whole[:n]
		if got, err := l.FileDigests(listing); err == nil && len(got) != n/(sha256.Size+1) {
			t.Errorf("cut to %d bytes: %d digests", n, len(got))
		}
	}
	for _, first := range [][]byte{{200, 200, 200, 200, 200, 200, 200, 200, 200, 1}, {50}, {3}} {
		l.Digests = append(first, make([]byte, sha256.Size)...)
		if _, err := l.FileDigests(listing); err == nil {
			t.Errorf("digests that begin with %d are taken", first)
		}
	}
}
