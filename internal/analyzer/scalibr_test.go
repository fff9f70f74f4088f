package analyzer

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/osv-scalibr/extractor"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/osv"
	scalibrinventory "github.com/google/osv-scalibr/inventory"
	"github.com/google/osv-scalibr/plugin"

	"strata/internal/inventory"
)

// locks is the analyzer of the lock files that osv-scalibr reads.
func locks(t testing.TB) scalibrLocks {
	t.Helper()
	a, ok := scalibrAnalyzers()[0].(scalibrLocks)
	if !ok || len(a.formats) != 12 {
		t.Fatalf("got %d formats, want 12: an extractor can't be made any more", len(a.formats))
	}
	return a
}

func TestScalibrLocks(t *testing.T) {
	l := locks(t)
	for purlType, tests := range map[string][]analyzerCase{
		"npm": {
			{"yarn 1", "app/yarn.lock", "# yarn lockfile v1\n\n\"@s/a@^1\", \"@s/a@^1.1\":\n  version \"1.1.0\"\n  resolved \"https://r.invalid/a.tgz\"\n\nb@^2:\n  version \"2.0.0\"\n", []string{"@s/a 1.1.0", "b 2.0.0"}, ""},
		},
		"gem": {
			{"bundler", "app/Gemfile.lock", "GEM\n  remote: https://r.invalid/\n  specs:\n    nokogiri (1.13.6-x86_64-linux)\n      racc (~> 1.4)\n    racc (1.6.0)\n\nDEPENDENCIES\n  nokogiri\n", []string{"nokogiri 1.13.6", "racc 1.6.0"}, ""},
		},
		"hex": {
			{"mix", "app/mix.lock", "%{\n  \"a\": {:hex, :a, \"1.0.0\", \"00\", [:mix], [], \"hexpm\", \"00\"},\n}\n", []string{"a 1.0.0"}, ""},
		},
		"conan": {
			{"conan 2", "app/conan.lock", `{"version":"0.5","requires":["zlib/1.2.11#x%1"],"build_requires":["cmake/3.0"]}`, []string{"zlib 1.2.11"}, ""},
		},
		"nuget": {
			{"packages.lock.json", "app/packages.lock.json", `{"version":1,"dependencies":{"net6.0":{"A":{"type":"Direct","resolved":"1.0.0"}},"net7.0":{"A":{"resolved":"1.0.0"}}}}`, []string{"A 1.0.0"}, ""},
			{"packages.config", "app/packages.config", `<packages><package id="A" version="1.0.0" /></packages>`, []string{"A 1.0.0"}, ""},
		},
		"swift": {
			{"swift", "app/Package.resolved", `{"pins":[{"identity":"swift-nio","location":"https://github.com/apple/swift-nio.git","state":{"version":"2.0.0"}}],"version":2}`, []string{"github.com/apple/swift-nio 2.0.0"}, ""},
		},
		"cran": {
			{"renv", "app/renv.lock", `{"Packages":{"a":{"Package":"a","Version":"1.0","Repository":"CRAN"}}}`, []string{"a 1.0"}, ""},
		},
		"hackage": {
			{"stack", "app/stack.yaml.lock", "packages:\n- completed:\n    hackage: aeson-1.0.0@sha256:00,1\n", []string{"aeson 1.0.0"}, ""},
			{"cabal", "app/cabal.project.freeze", "constraints: any.aeson ==1.0.0\n", []string{"aeson 1.0.0"}, ""},
		},
		"maven": {
			{"gradle", "app/gradle.lockfile", "# comment\norg.x:a:1.0=runtimeClasspath\nempty=\n", []string{"org.x:a 1.0"}, ""},
		},
	} {
		runCases(t, l, purlType, tests)
	}
}

// TestScalibrHostile holds the extractors to a bounded time on what breaks
// parsers.
func TestScalibrHostile(t *testing.T) {
	tests := []struct{ name, path, content string }{
		{"one long line", "app/yarn.lock", "# yarn lockfile v1\n" + strings.Repeat("x@", 500_000)},
		{"one long line", "app/Gemfile.lock", strings.Repeat("x", 1_000_000)},
		{"deep elements", "app/packages.config", "<packages>" + strings.Repeat("<a>", 1_000_000)},
		{"deep JSON", "app/conan.lock", strings.Repeat(`{"a":`, 1_000_000)},
	}
	l := locks(t)
	for _, tt := range tests {
		t.Run(tt.name+" in "+tt.path, func(t *testing.T) {
			start := time.Now()
			res, err := analyzeText(t, l, tt.path, tt.content)
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("took %v", d)
			}
			if len(res.Packages) > 0 {
				t.Errorf("found %v", nameVersions(res.Packages))
			}
			if err == nil && len(res.Notes) == 0 {
				t.Error("neither an error nor a note: the file was dropped without a word")
			}
		})
	}
}

// TestScalibrMany has large files of many small packages: no extractor may take
// a time that grows with their square.
func TestScalibrMany(t *testing.T) {
	const n = 20_000
	repeat := func(s string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.ReplaceAll(s, "%", "p"+letters(i)))
		}
		return b.String()
	}
	tests := map[string]string{
		"app/yarn.lock":            repeat("%@^1:\n  version \"1.0.0\"\n\n"),
		"app/pnpm-lock.yaml":       "lockfileVersion: '9.0'\npackages:\n" + repeat("  %@1.0.0:\n    resolution: {}\n"),
		"app/poetry.lock":          repeat("[[package]]\nname = \"%\"\nversion = \"1.0\"\n"),
		"app/pdm.lock":             repeat("[[package]]\nname = \"%\"\nversion = \"1.0\"\ngroups = [\"default\"]\n"),
		"app/uv.lock":              repeat("[[package]]\nname = \"%\"\nversion = \"1.0\"\n"),
		"app/pylock.toml":          repeat("[[packages]]\nname = \"%\"\nversion = \"1.0\"\n"),
		"app/Gemfile.lock":         "GEM\n  specs:\n" + repeat("    % (1.0)\n"),
		"app/Cargo.lock":           repeat("[[package]]\nname = \"%\"\nversion = \"1.0.0\"\n"),
		"app/mix.lock":             "%{\n" + repeat("  \"%\": {:hex, :x, \"1.0.0\", \"00\", [:mix], [], \"hexpm\", \"00\"},\n"),
		"app/conan.lock":           `{"requires":[` + repeat(`"%/1.0",`) + `"z/1.0"]}`,
		"app/pubspec.lock":         "packages:\n" + repeat("  %:\n    version: \"1.0.0\"\n"),
		"app/packages.lock.json":   `{"dependencies":{"net":{` + repeat(`"%":{"resolved":"1.0.0"},`) + `"z":{}}}}`,
		"app/packages.config":      "<packages>" + repeat(`<package id="%" version="1.0"/>`) + "</packages>",
		"app/Package.resolved":     `{"pins":[` + repeat(`{"identity":"%","state":{"version":"1.0.0"}},`) + `{}]}`,
		"app/renv.lock":            `{"Packages":{` + repeat(`"%":{"Package":"%","Version":"1.0","Repository":"CRAN"},`) + `"z":{}}}`,
		"app/stack.yaml.lock":      repeat("    hackage: %-1.0.0@sha256:00,1\n"),
		"app/cabal.project.freeze": "constraints: " + repeat("any.% ==1.0.0,\n"),
		"app/gradle.lockfile":      repeat("org.x:%:1.0=runtimeClasspath\n"),
		"app/package-lock.json":    `{"packages":{` + repeat(`"node_modules/%":{"version":"1.0.0"},`) + `"":{}}}`,
		"app/bun.lock":             `{"packages":{` + repeat(`"%":["%@1.0.0"],`) + `}}`,
		"app/composer.lock":        `{"packages":[` + repeat(`{"name":"%","version":"1"},`) + `{}]}`,
		"app/Pipfile.lock":         `{"default":{` + repeat(`"%":{"version":"==1"},`) + `"z":{}}}`,
		"app/requirements.txt":     repeat("%==1.0\n"),
	}
	all := language(nil)
	for path, content := range tests {
		t.Run(path, func(t *testing.T) {
			f := NewFile(path, []byte(content))
			for _, a := range all {
				if !a.Wants(&f.Candidate) {
					continue
				}
				start := time.Now()
				res, err := a.Analyze(t.Context(), f)
				if d := time.Since(start); d > 5*time.Second {
					t.Errorf("took %v for %d packages", d, n)
				} else {
					t.Logf("%v for %d KiB", d, len(content)>>10)
				}
				if err != nil || len(res.Packages) < n {
					t.Errorf("found %d of %d packages, error %v", len(res.Packages), n, err)
				}
			}
		})
	}
}

// letters is a distinct name of letters for each number.
func letters(i int) string {
	s := ""
	for range 4 {
		s += string(rune('a' + i%26))
		i /= 26
	}
	return s
}

// fakeExtractor is an extractor for the tests of the adapter.
type fakeExtractor struct {
	extract func(*filesystem.ScanInput) ([]*extractor.Package, error)
}

func (fakeExtractor) Name() string                         { return "test/fake" }
func (fakeExtractor) Version() int                         { return 0 }
func (fakeExtractor) Requirements() *plugin.Capabilities   { return &plugin.Capabilities{} }
func (fakeExtractor) FileRequired(filesystem.FileAPI) bool { return true }
func (f fakeExtractor) Extract(_ context.Context, in *filesystem.ScanInput) (scalibrinventory.Inventory, error) {
	p, err := f.extract(in)
	return scalibrinventory.Inventory{Packages: p}, err
}

func adapter(extract func(*filesystem.ScanInput) ([]*extractor.Package, error)) scalibrLocks {
	return scalibrLocks{formats: map[string]scalibrFormat{"x.lock": {extractor: fakeExtractor{extract}, purlType: "npm"}}}
}

func TestScalibrAdapter(t *testing.T) {
	group := func(names ...string) *osv.DepGroupMetadata { return &osv.DepGroupMetadata{DepGroupVals: names} }
	runCases(t, adapter(func(*filesystem.ScanInput) ([]*extractor.Package, error) {
		return []*extractor.Package{
			{Name: "plain", Version: "1"}, {Name: "plain", Version: "1"}, {Name: "without-version"},
			{Name: "dev", Version: "1", Metadata: group("dev")},
			{Name: "optional", Version: "1", Metadata: group("optional")},
			{Name: "both", Version: "1", Metadata: group("dev", "main")},
			{Name: "none", Version: "1", Metadata: group()},
		}, errors.New("half of it")
	}), "npm", []analyzerCase{
		{"what was found stays when there is an error", "x.lock", "", []string{"both 1", "none 1", "optional 1", "plain 1"}, "half of it"},
	})
	runCases(t, adapter(func(*filesystem.ScanInput) ([]*extractor.Package, error) { panic("oh") }), "npm", []analyzerCase{
		{"a panic", "x.lock", "", nil, "panic in osv-scalibr's test/fake: oh"},
	})
}

func TestScalibrAdapterKind(t *testing.T) {
	res, err := analyzeText(t, locks(t), "app/yarn.lock", "")
	if err != nil || res.Kind != inventory.Locked {
		t.Errorf("got kind %q and error %v, want a lock file", res.Kind, err)
	}
}

func TestScalibrSeesOneFile(t *testing.T) {
	var got *filesystem.ScanInput
	a := adapter(func(in *filesystem.ScanInput) ([]*extractor.Package, error) {
		got = in
		return nil, nil
	})
	if _, err := analyzeText(t, a, "app/x.lock", "content"); err == nil {
		if _, err := got.FS.Open("etc/passwd"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("another file opens with %v", err)
		}
		b, err := fs.ReadFile(got.FS, "app/x.lock")
		if string(b) != "content" || err != nil {
			t.Errorf("the file reads as %q, %v", b, err)
		}
		if i := got.Info; i.Size() != 7 || i.Name() != "x.lock" || i.IsDir() {
			t.Errorf("the file is described as %q, %d bytes", i.Name(), i.Size())
		}
	} else {
		t.Error(err)
	}
}

func FuzzScalibrLocks(f *testing.F) {
	f.Add("yarn.lock", []byte("a@^1:\n  version \"1\"\n"))
	f.Add("Gemfile.lock", []byte("GEM\n    a (1)\n"))
	f.Add("conan.lock", []byte(`{"graph_lock":{"nodes":{"1":{"ref":"a/1@"}}}}`))
	l := locks(f)
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		if _, ok := l.formats[name]; !ok {
			return
		}
		res, _ := l.Analyze(t.Context(), NewFile(name, b))
		requireNamed(t, res)
	})
}
