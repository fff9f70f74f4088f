package analyzer

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNPMPackage(t *testing.T) {
	const module, app = "app/node_modules/x/package.json", "srv/ghost/package.json"
	runCases(t, npmPackage{}, "npm", []analyzerCase{
		{"plain", module, `{"name":"x","version":"1.2.3"}`, []string{"x 1.2.3"}, ""},
		{"scoped", "app/node_modules/@s/x/package.json", `{"name":"@s/x","version":"1.2.3"}`, []string{"@s/x 1.2.3"}, ""},
		{"the name in the file counts, not the directory's", module, `{"name":"lodash","version":"3.10.1"}`, []string{"lodash 3.10.1"}, ""},
		{"byte order mark", module, "\xef\xbb\xbf" + `{"name":"x","version":"1.2.3"}`, []string{"x 1.2.3"}, ""},
		{"only a module type", module, `{"type":"module"}`, nil, ""},
		{"no version", module, `{"name":"x"}`, nil, ""},
		{"a version of another type", module, `{"name":"x","version":1}`, nil, ""},
		{"a strange field does not hide the package", module, `{"license":7,"private":"no","name":"x","version":"1.2.3"}`, []string{"x 1.2.3"}, ""},
		{"private in node_modules is installed all the same", module, `{"name":"x","version":"1.2.3","private":true}`, []string{"x 1.2.3"}, ""},
		{"an application of npm's", app, `{"name":"ghost","version":"5.0.0"}`, []string{"ghost 5.0.0"}, ""},
		{"somebody's own application", app, `{"name":"shop","version":"5.0.0","private":true}`, nil, ""},
		{"null", module, `null`, nil, ""},
		{"a list", module, `[1]`, nil, ""},
		{"not JSON", module, `{"name":`, nil, "not valid JSON"},
		{"empty", module, ``, nil, "not valid JSON"},
		{"nested without end", module, `{"name":"x","version":"1","a":` + strings.Repeat("[", 1_000_000), nil, "not valid JSON"},
	})
}

func TestNPMPackageTooLarge(t *testing.T) {
	_, err := analyzeText(t, npmPackage{}, "app/node_modules/big/package.json",
		`{"name":"big","version":"1.0.0","x":"`+strings.Repeat("a", maxManifestSize)+`"}`)
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func TestNPMLicenses(t *testing.T) {
	tests := []struct {
		raw  string
		want []string
	}{
		{`"MIT"`, []string{"MIT"}},
		{`""`, nil},
		{`{"type":"MIT","url":"x"}`, []string{"MIT"}},
		{`["MIT",{"type":"GPL-2.0"}]`, []string{"MIT", "GPL-2.0"}},
		{`[["MIT"]]`, nil},
		{`7`, nil},
		{``, nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, npmLicenses(json.RawMessage(tt.raw))); diff != "" {
			t.Errorf("npmLicenses(%s) (-want +got):\n%s", tt.raw, diff)
		}
	}
}

func TestNPMLock(t *testing.T) {
	const path = "app/package-lock.json"
	runCases(t, npmLock{}, "npm", []analyzerCase{
		{"version 3", path, `{"lockfileVersion":3,"packages":{
			"":{"name":"shop","version":"1.0.0"},
			"node_modules/a":{"version":"1.0.0"},
			"node_modules/b":{"version":"2.0.0","dev":true},
			"node_modules/c":{"version":"3.0.0","devOptional":true,"optional":true},
			"node_modules/a/node_modules/@s/d":{"version":"4.0.0","dependencies":{"e":"^1"}},
			"node_modules/alias":{"name":"lodash","version":"3.10.1"},
			"node_modules/mine":{"resolved":"packages/mine","link":true},
			"packages/mine":{"name":"mine","version":"0.1.0"},
			"node_modules/git":{"resolved":"git+ssh://x#1"},
			"node_modules/other/node_modules/a":{"version":"1.0.0"}}}`,
			[]string{"@s/d 4.0.0", "a 1.0.0", "c 3.0.0", "lodash 3.10.1"}, ""},
		{"version 1", path, `{"lockfileVersion":1,"dependencies":{
			"a":{"version":"1.0.0","dependencies":{"b":{"version":"2.0.0"}}},
			"c":{"version":"3.0.0","dev":true,"dependencies":{"d":{"version":"4.0.0"}}},
			"alias":{"version":"npm:@s/e@5.0.0"},
			"git":{"version":"git+https://x.invalid/g.git#1"},
			"file":{"version":"file:../x"}}}`,
			[]string{"@s/e 5.0.0", "a 1.0.0", "b 2.0.0"}, ""},
		{"version 2 has both: the packages count", path, `{"lockfileVersion":2,"packages":{"node_modules/a":{"version":"1.0.0"}},"dependencies":{"b":{"version":"2.0.0"}}}`,
			[]string{"a 1.0.0"}, ""},
		{"deep", path, `{"lockfileVersion":3,"packages":` + strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000) + `}`, nil, "not valid JSON"},
		{"null", path, `null`, nil, ""},
	})
}

func TestBunLock(t *testing.T) {
	runCases(t, bunLock{}, "npm", []analyzerCase{
		{"usual", "app/bun.lock", `{
			// "not@1": a comment
			"lockfileVersion": 1,
			"packages": {
				"a": ["a@1.0.0", "", {"dependencies": {"b": "^2,}"}}, "sha512-x"],
				"@s/b": ["@s/b@2.0.0", /* inside, */ "", {}, ""],
				"git": ["git@github:x/y#1", {}],
				"local": ["local@workspace:packages/local"],
				"empty": [],
			},
		}`, []string{"@s/b 2.0.0", "a 1.0.0"}, ""},
		{"not JSON", "app/bun.lock", `{"packages":`, nil, "not valid JSON"},
	})
}

func TestPlainJSON(t *testing.T) {
	tests := []struct{ in, want string }{
		{`{"a":1,}`, `{"a":1 }`},
		{`[1, ]`, `[1  ]`},
		{`[1,/*,]*/2]`, `[1,      2]`},
		{"[1,//]\n]", "[1    \n]"},
		{`["a,]","\",]"]`, `["a,]","\",]"]`},
		{`/*`, `  `},
		{`"`, `"`},
		{`"\`, `"\`},
	}
	for _, tt := range tests {
		if got := string(plainJSON([]byte(tt.in))); got != tt.want {
			t.Errorf("plainJSON(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzPlainJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2,],}`, `// x`, `/* x */ {"a":"/*"}`, `"\`, `{"a":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := plainJSON(b)
		if len(got) != len(b) {
			t.Fatalf("%d bytes became %d", len(b), len(got))
		}
		// What is JSON already stays as it is.
		if json.Valid(b) && string(got) != string(b) {
			t.Errorf("%q became %q", b, got)
		}
	})
}

func FuzzNPMPackage(f *testing.F) {
	f.Add([]byte(`{"name":"x","version":"1.2.3","license":["MIT",{"type":"GPL-2.0"}]}`))
	f.Add([]byte(`{"license":{"type":["MIT"]},"licenses":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		res, _ := npmPackage{}.Analyze(t.Context(), NewFile("app/node_modules/x/package.json", b))
		requireNamed(t, res)
	})
}

func FuzzNPMLock(f *testing.F) {
	f.Add([]byte(`{"packages":{"node_modules/a":{"version":"1.0.0"},"":{}}}`))
	f.Add([]byte(`{"dependencies":{"a":{"version":"npm:@b@1","dependencies":{"":{"version":"npm:@"}}}}}`))
	f.Add([]byte(`{"packages":{"a":["a@1.0.0",],},}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, a := range []Analyzer{npmLock{}, bunLock{}} {
			res, _ := a.Analyze(t.Context(), NewFile("app/package-lock.json", b))
			requireNamed(t, res)
		}
	})
}

// requireNamed holds a result to what every analyzer promises: packages have a
// type, a name and a version.
func requireNamed(t *testing.T, res Result) {
	t.Helper()
	for _, p := range res.Packages {
		if p.Type == "" || p.Name == "" || p.Version == "" {
			t.Errorf("package %+v lacks a type, a name or a version", p)
		}
	}
}

func BenchmarkNPMPackage(b *testing.B) {
	content := []byte(`{"name":"express","description":"Fast, unopinionated, minimalist web framework","version":"4.18.2","author":"T. J. <t@example.com>",
		"license":"MIT","repository":"expressjs/express","keywords":["express","framework","web","rest","api"],
		"dependencies":{"accepts":"~1.3.8","body-parser":"1.20.1","cookie":"0.5.0","debug":"2.6.9","qs":"6.11.0"},
		"devDependencies":{"ejs":"3.1.8","eslint":"8.24.0","mocha":"10.0.0"},"scripts":{"lint":"eslint .","test":"mocha"}}`)
	f := NewFile("app/node_modules/express/package.json", content)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		if res, err := (npmPackage{}).Analyze(b.Context(), f); err != nil || len(res.Packages) != 1 {
			b.Fatal(res, err)
		}
	}
}
