package store

import "testing"

func TestMatchName(t *testing.T) {
	for _, c := range []struct {
		glob, name string
		want       bool
	}{
		{"**", "registry.example/team/web", true},
		{"*", "registry.example/team/web", false},
		{"*", "web", true},
		{"registry.example/*", "registry.example/team/web", false},
		{"registry.example/*/web", "registry.example/team/web", true},
		{"registry.example/**", "registry.example/team/web", true},
		{"registry.example/**", "registry.example", false},
		{"registry.example/**", "registry.example.evil/team", false},
		{"**/web", "registry.example/team/web", true},
		{"*/team-*/**", "r:5000/team-a/x/y", true},
		{"*/team-*/**", "r:5000/x/team-a/y", false},
		{"r/a*b*c", "r/aXbYbc", true},
		{"r/a*b*c", "r/a/bc", false},
		{"r/ü*", "r/üö", true},
		{"", "", true},
		{"", "x", false},
		{"x", "", false},
	} {
		if got := MatchName([]string{c.glob}, c.name); got != c.want {
			t.Errorf("%q on %q: %v", c.glob, c.name, got)
		}
	}
	if MatchName(nil, "x") || !InScope(nil, "x") || InScope([]string{}, "x") {
		t.Error("no glob names nothing; no limit is not no glob")
	}
}
