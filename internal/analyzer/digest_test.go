package analyzer

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/image"
	"strata/internal/imagetest"
	"strata/internal/inventory"
)

// digestLines are the digests of a layer, by path.
func digestLines(t testing.TB, l *inventory.Layer) (out []string) {
	t.Helper()
	files, err := l.FileDigests(l.Paths)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		out = append(out, fmt.Sprintf("%s %x", f.Path, f.SHA256))
	}
	return out
}

// Programs, archives and what tells of packages have digests, whichever way they are
// read, under all their names; what else analyzers read has none.
func TestRunnerDigests(t *testing.T) {
	program := "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9) + "\x03\x00\x3e\x00" + strings.Repeat("code", 500_000)
	other := program[:100] + "other"
	spec := imagetest.Spec{Layers: []imagetest.Layer{{Entries: []imagetest.Entry{
		imagetest.File("bin/large", program), imagetest.File("bin/small", other), imagetest.Hardlink("bin/again", "bin/small"),
		imagetest.File("bin/small", "#!/bin/sh\n"), imagetest.Hardlink("bin/script", "bin/small"),
		imagetest.File("bin/gone", other), imagetest.Dir("bin/gone"), imagetest.File("x/../y", other),
		imagetest.Symlink("lib", "usr/lib"), imagetest.File("lib/x.so", other), imagetest.File("a/b.jar", "no archive"),
		imagetest.File("app/node_modules/a/package.json", `{"name": "a", "version": "1.0.0"}`),
		imagetest.File("app/node_modules/b/package.json", `{"type": "module"}`),
		imagetest.File("store/0a1b", `{"name": "c", "version": "1.0.0"}`), imagetest.Hardlink("app/node_modules/c/package.json", "store/0a1b"),
		imagetest.File("app/LICENSE", "MIT License"), imagetest.File("var/lib/dpkg/status", ""), imagetest.File("var/lib/dpkg/info/a.list", "/bin/a\n"),
	}}}}
	blob, err := spec.LayerTar(0)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range []struct{ path, content string }{
		{"a/b.jar", "no archive"}, {"app/node_modules/a/package.json", `{"name": "a", "version": "1.0.0"}`}, {"app/node_modules/c/package.json", `{"name": "c", "version": "1.0.0"}`},
		{"bin/again", other}, {"bin/large", program}, {"usr/lib/x.so", other}, {"var/lib/dpkg/status", ""},
	} {
		want = append(want, fmt.Sprintf("%s %x", f.path, sha256.Sum256([]byte(f.content))))
	}
	for name, c := range map[string]struct {
		blob   io.Reader
		memory int64
	}{
		"in memory": {io.MultiReader(bytes.NewReader(blob)), 0}, "spilled": {io.MultiReader(bytes.NewReader(blob)), 1}, "in place": {bytes.NewReader(blob), 0},
	} {
		l, _, err := (&Runner{Analyzers: Default(), Memory: &Memory{Limit: c.memory, TempDir: t.TempDir()}}).Layer(t.Context(), c.blob, image.Layer{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, digestLines(t, l)); diff != "" {
			t.Errorf("%s: digests (-want +got):\n%s", name, diff)
		}
	}
}

// A layer with more files than digests are kept of says so.
func TestRunnerManyDigests(t *testing.T) {
	run := (&Runner{}).start()
	defer run.close()
	run.digests.sums = make([]contentSum, inventory.MaxDigests)
	for range 2 {
		run.digest(t.Context(), NewFile("a", []byte("a")), 0)
	}
	run.digests.at = map[string]int{"a": 0}
	run.linkDigest("b", "a", 1)
	if n := len(run.digests.sums); n != inventory.MaxDigests || len(run.layer.Problems) != 1 || !strings.Contains(run.layer.Problems[0].Message, "not found by theirs") {
		t.Errorf("%d digests, problems %+v", n, run.layer.Problems)
	}
}
