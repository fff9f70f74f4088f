package analyzer

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/inventory"
)

// wantedBy names the language analyzers that want the file.
func wantedBy(path string, head []byte) []string {
	var out []string
	c := &Candidate{Path: path, Mode: 0o644, Size: 1 << 10, Head: head}
	for _, a := range language(nil) {
		if a.Wants(c) {
			out = append(out, a.Name())
		}
	}
	return out
}

func TestLanguageWants(t *testing.T) {
	elfHead := []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00")
	object := []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x3e\x00")
	tests := []struct {
		path string
		head []byte
		want []string
	}{
		{path: "app/node_modules/a/package.json", want: []string{"npm"}},
		{path: "node_modules/a/package.json", want: []string{"npm"}},
		{path: "app/node_modules/@s/a/package.json", want: []string{"npm"}},
		{path: "app/node_modules/a/node_modules/b/package.json", want: []string{"npm"}},
		{path: "app/node_modules/.pnpm/a@1/node_modules/a/package.json", want: []string{"npm"}},
		{path: "usr/share/nodejs/a/package.json", want: []string{"npm"}},
		{path: "usr/share/nodejs/@s/a/package.json", want: []string{"npm"}},
		{path: "app/package.json", want: []string{"npm"}},
		{path: "package.json", want: []string{"npm"}},
		{path: "app/my_node_modules/x/y/package.json", want: []string{"npm"}},
		{path: "usr/share/nodejs/yargs/helpers/package.json"},
		{path: "app/node_modules/a/dist/package.json"},
		{path: "app/node_modules/@s/package.json"},
		{path: "app/node_modules/@s/a/esm/package.json"},
		{path: "app/node_modules/package.json"},
		{path: "app/node_modules/.cache/package.json"},
		{path: "app/node_modules//package.json"},
		{path: "app/not-package.json"},
		{path: "usr/share/doc/x/package.json"},
		{path: "app/node_modules/.package-lock.json"},
		{path: "app/package-lock.json", want: []string{"npm-lock"}},
		{path: "app/npm-shrinkwrap.json", want: []string{"npm-lock"}},
		{path: "app/node_modules/a/package-lock.json"},
		{path: "usr/lib/python3/site-packages/x/package-lock.json"},
		{path: "usr/share/doc/x/package-lock.json"},
		{path: "app/bun.lock", want: []string{"bun-lock"}},
		{path: "yarn.lock", want: []string{"lock-file"}},
		{path: "app/my-yarn.lock"},
		{path: "usr/local/bundle/gems/rack-2/Gemfile.lock"},
		{path: "app/Gemfile.lock", want: []string{"lock-file"}},
		{path: "app/composer.lock", want: []string{"composer-lock"}},
		{path: "app/vendor/composer/installed.json", want: []string{"composer"}},
		{path: "app/installed.json"},
		{path: "app/Pipfile.lock", want: []string{"pipfile-lock"}},
		{path: "app/requirements.txt", want: []string{"requirements"}},
		{path: "app/requirements-docker.txt", want: []string{"requirements"}},
		{path: "app/requirements-dev.txt"},
		{path: "app/requirements.txt.bak"},
		{path: "lib/python3/site-packages/a-1.dist-info/METADATA", want: []string{"python"}},
		{path: "lib/python3/site-packages/~a-1.dist-info/METADATA"},
		{path: "lib/python3/site-packages/a.egg-info", want: []string{"python"}},
		{path: "lib/python3/site-packages/a.egg-info/PKG-INFO", want: []string{"python"}},
		{path: "lib/python3/site-packages/a.egg/EGG-INFO/PKG-INFO", want: []string{"python"}},
		{path: "lib/python3/site-packages/a.egg", want: []string{"python"}},
		{path: "src/a/PKG-INFO"},
		{path: "opt/conda/conda-meta/a-1-0.json", want: []string{"conda"}},
		{path: "opt/conda/pkgs/a/info/index.json"},
		{path: "app/a.jar", want: []string{"java-archive"}},
		{path: "app/a.WAR", want: []string{"java-archive"}},
		{path: "app/a.rar"},
		{path: "app/jar"},
		{path: "bin/x", head: elfHead, want: []string{"go-binary", "rust-binary"}},
		{path: "lib/x.o", head: object},
		{path: "usr/lib/ruby/gems/3.1.0/specifications/a-1.gemspec", want: []string{"gem"}},
		{path: "usr/lib/ruby/gems/3.1.0/specifications/default/a-1.gemspec", want: []string{"gem"}},
		{path: "usr/lib/ruby/gems/3.1.0/gems/a-1/a.gemspec"},
		{path: "app/a.deps.json", want: []string{"dotnet"}},
		{path: "usr/lib/R/site-library/a/DESCRIPTION", want: []string{"r"}},
		{path: "usr/lib/luarocks/rocks-5.1/a/1-1/a-1-1.rockspec", want: []string{"luarocks"}},
		{path: "src/a-1-1.rockspec"},
		{path: "var/db/pkg/dev-libs/a-1/PF", want: []string{"portage"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, wantedBy(tt.path, tt.head)); diff != "" {
			t.Errorf("%s is wanted by the wrong analyzers (-want +got):\n%s", tt.path, diff)
		}
	}
}

func TestLanguageWantsDoesNotAllocate(t *testing.T) {
	paths := benchmarkPaths(2000)
	analyzers := language(nil)
	n := testing.AllocsPerRun(5, func() { countWanted(analyzers, paths) })
	// A file name that looks like a format's may cost one.
	if perPath := n / float64(len(paths)); perPath > 0.01 {
		t.Errorf("%.3f allocations for each path, want at most 0.01", perPath)
	}
}

// benchmarkPaths are like those of an image with several languages in it.
func benchmarkPaths(n int) []Candidate {
	patterns := []string{
		"usr/share/doc/libfoo%d/copyright", "usr/lib/x86_64-linux-gnu/libfoo%d.so.1.2.3", "app/node_modules/lib-%d/index.js",
		"app/node_modules/lib-%d/dist/esm/deep/inside/of/it/module.mjs", "app/node_modules/@scope/lib-%d/README.md",
		"usr/lib/python3/dist-packages/pkg%d/__init__.py", "usr/lib/python3/dist-packages/pkg%d/__pycache__/x.cpython-311.pyc",
		"usr/share/locale/de/LC_MESSAGES/foo%d.mo", "app/node_modules/lib-%d/tsconfig.json", "usr/share/zoneinfo/Europe/Place%d",
		"usr/local/bundle/gems/foo-%d/lib/foo.rb", "opt/app/classes/com/example/Class%d.class", "usr/include/linux/header%d.h",
		"var/lib/dpkg/info/libfoo%d.list", "app/node_modules/lib-%d/types/index.d.ts",
	}
	head := make([]byte, 512)
	copy(head, "#!/bin/sh\n")
	out := make([]Candidate, n)
	for i := range out {
		out[i] = Candidate{Path: fmt.Sprintf(patterns[i%len(patterns)], i), Size: 1000, Mode: fs.FileMode(0o644), Head: head}
	}
	return out
}

func countWanted(analyzers []Analyzer, paths []Candidate) int {
	n := 0
	for i := range paths {
		for _, a := range analyzers {
			if a.Wants(&paths[i]) {
				n++
			}
		}
	}
	return n
}

// BenchmarkLanguageWants asks all the language analyzers about 100,000 files.
func BenchmarkLanguageWants(b *testing.B) {
	paths, analyzers := benchmarkPaths(100_000), language(nil)
	for b.Loop() {
		countWanted(analyzers, paths)
	}
}

// analyzeText runs the analyzer over a file with the content.
func analyzeText(t *testing.T, a Analyzer, path, content string) (Result, error) {
	t.Helper()
	return a.Analyze(t.Context(), NewFile(path, []byte(content)))
}

// nameVersions is "name version" for each package, and its member in the file
// when it has one.
func nameVersions(packages []inventory.Package) []string {
	var out []string
	for _, p := range packages {
		s := p.Name + " " + p.Version
		if p.Member != "" {
			s += " in " + p.Member
		}
		out = append(out, s)
	}
	return out
}

// analyzerCase is a file, and what an analyzer must find in it.
type analyzerCase struct {
	name, path, content string
	want                []string
	// wantErr is in the message of the error; empty for no error.
	wantErr string
}

// runCases runs a through the cases, and holds it to its type of packages.
func runCases(t *testing.T, a Analyzer, purlType string, tests []analyzerCase) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := analyzeText(t, a, tt.path, tt.content)
			switch {
			case tt.wantErr == "" && err != nil:
				t.Fatal(err)
			case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
				t.Fatalf("got error %v, want one with %q", err, tt.wantErr)
			}
			if diff := cmp.Diff(tt.want, nameVersions(got.Packages)); diff != "" {
				t.Errorf("packages (-want +got):\n%s", diff)
			}
			for _, p := range got.Packages {
				if p.Type != purlType {
					t.Errorf("%s has type %q, want %q", p.Name, p.Type, purlType)
				}
			}
		})
	}
}

func TestHasDir(t *testing.T) {
	tests := []struct {
		path, dir string
		want      bool
	}{
		{"a/gems/b", "gems", true},
		{"gems/b", "gems", true},
		{"a/mygems/gems/b", "gems", true},
		{"a/mygems/b", "gems", false},
		{"a/gemsx/b", "gems", false},
		{"a/gems", "gems", false},
		{"", "gems", false},
	}
	for _, tt := range tests {
		if got := hasDir(tt.path, tt.dir); got != tt.want {
			t.Errorf("hasDir(%q, %q) = %v, want %v", tt.path, tt.dir, got, tt.want)
		}
	}
}
