package image

import "testing"

func TestSplitReference(t *testing.T) {
	for s, want := range map[string][3]string{
		"":                             {},
		"debian":                       {"debian"},
		"debian:12":                    {"debian", "12"},
		"r.example:5000/team/app":      {"r.example:5000/team/app"},
		"r.example:5000/team/app:v1":   {"r.example:5000/team/app", "v1"},
		"r.example/app:v1@sha256:ab":   {"r.example/app", "v1", "sha256:ab"},
		"r.example:5000/app@sha256:ab": {"r.example:5000/app", "", "sha256:ab"},
		"app:":                         {"app"},
	} {
		repository, tag, digest := SplitReference(s)
		if got := [3]string{repository, tag, digest}; got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
