package analyzer

import (
	"bytes"
	"testing"

	"strata/internal/image"
	"strata/internal/imagetest"
)

// TestHardLinkToStore: pnpm keeps a package.json under a hash, and gives the
// package's directory a hard link to it. Which of the two is the file in the tar
// depends on the alphabet.
func TestHardLinkToStore(t *testing.T) {
	const body = `{"name": "left-pad", "version": "1.3.0"}`
	store, pkg := "root/.local/share/pnpm/store/v3/files/ab/cdef01", "usr/src/app/node_modules/left-pad/package.json"
	for name, entries := range map[string][]imagetest.Entry{
		"store first":   {imagetest.File(store, body), imagetest.Hardlink(pkg, store)},
		"package first": {imagetest.File(pkg, body), imagetest.Hardlink(store, pkg)},
	} {
		spec := imagetest.Spec{Layers: []imagetest.Layer{{Entries: entries}}}
		blob, err := spec.LayerTar(0)
		if err != nil {
			t.Fatal(err)
		}
		r := Runner{Analyzers: Default(), Memory: &Memory{}}
		l, _, err := r.Layer(t.Context(), bytes.NewReader(blob), image.Layer{})
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Files) != 1 || l.Files[0].Path != pkg || l.Files[0].Packages[0].Name != "left-pad" {
			t.Errorf("%s: found %+v; want left-pad at %s", name, l.Files, pkg)
		}
		if len(l.Problems) > 0 {
			t.Errorf("%s: problems %+v", name, l.Problems)
		}
	}
}
