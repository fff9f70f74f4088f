package analyzer

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/inventory"
)

func TestComposerInstalled(t *testing.T) {
	const path = "srv/app/vendor/composer/installed.json"
	runCases(t, composerInstalled{}, "composer", []analyzerCase{
		{"Composer 2", path, `{"packages":[{"name":"a/b","version":"v1.2.3"},{"name":"c/d","version":"2.0"}],"dev":true,"dev-package-names":["c/d"]}`, []string{"a/b v1.2.3", "c/d 2.0"}, ""},
		{"Composer 1", path, ` [{"name":"a/b","version":"1.2.3"}]`, []string{"a/b 1.2.3"}, ""},
		{"one without version", path, `[{"name":"a/b"}]`, nil, ""},
		{"not JSON", path, `[`, nil, "not valid JSON"},
		{"deep", path, strings.Repeat("[", 1_000_000), nil, "not valid JSON"},
		{"another type", path, `7`, nil, ""},
	})
}

func TestComposerInstalledIsADatabase(t *testing.T) {
	got, err := analyzeText(t, composerInstalled{}, "srv/app/vendor/composer/installed.json", `[{"name":"a/b","version":"1","license":["MIT","x"]}]`)
	if err != nil {
		t.Fatal(err)
	}
	want := Result{
		Kind: inventory.Database, Database: "composer:srv/app/vendor/composer",
		Packages: []inventory.Package{{Type: "composer", Name: "a/b", Version: "1", Ecosystem: "Packagist", Licenses: []string{"MIT", "x"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestComposerLock(t *testing.T) {
	runCases(t, composerLock{}, "composer", []analyzerCase{
		{"without development", "app/composer.lock", `{"packages":[{"name":"a/b","version":"1"}],"packages-dev":[{"name":"c/d","version":"2"}]}`, []string{"a/b 1"}, ""},
		{"deep", "app/composer.lock", strings.Repeat("[", 1_000_000), nil, "not valid JSON"},
	})
}

func FuzzComposerInstalled(f *testing.F) {
	f.Add([]byte(`[{"name":"a/b","version":"1","license":["MIT",7]}]`))
	f.Add([]byte(`{"packages":[{"name":"a/b","version":"1","license":"MIT"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		res, _ := composerInstalled{}.Analyze(t.Context(), NewFile("vendor/composer/installed.json", b))
		requireNamed(t, res)
	})
}
