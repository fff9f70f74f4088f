package inventory

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestLicenseFilesAreBounded: many packages that have their licence from one
// directory with many files cost bounded time, and what is left out is told.
func TestLicenseFilesAreBounded(t *testing.T) {
	const many = 2000
	l := &Layer{Files: []File{{Path: "dotnet/shared/App/8.0.1/App.deps.json", Kind: Installed}}}
	var b PathsBuilder
	b.Add(Path{Path: l.Files[0].Path, Kind: PathFile}, -1)
	for i := range many {
		l.Files[0].Packages = append(l.Files[0].Packages, Package{Type: "nuget", Name: fmt.Sprintf("p%d", i), Version: "1"})
		f := LicenseFile{Path: fmt.Sprintf("dotnet/LICENSE.%04d", i), Kind: LicenseText, Expression: "MIT"}
		l.Licenses = append(l.Licenses, f)
		b.Add(Path{Path: f.Path, Kind: PathFile}, -1)
	}
	l.Paths, _ = b.Build()
	start := time.Now()
	img := Merge([]*Layer{l})
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	if len(img.Packages) != many {
		t.Fatalf("%d packages", len(img.Packages))
	}
	for _, p := range img.Packages {
		if p.License.Expression != "MIT" || len(p.License.Evidence) != maxEvidence {
			t.Fatalf("%s: %q by %d files", p.Name, p.License.Expression, len(p.License.Evidence))
		}
	}
	want := []Problem{{Path: "dotnet/LICENSE.0300", Analyzer: LicenseAnalyzer, Message: "more than 300 files there tell of licences: the rest is not counted"}}
	if diff := cmp.Diff(want, img.Problems); diff != "" {
		t.Error(diff)
	}
}
