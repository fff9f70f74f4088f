package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/server"
)

func TestDeclarations(t *testing.T) {
	a := &app{env: func(name string) string { return map[string]string{"PASSWORD": "s3cret: x"}[name] }}
	read := func(text string) ([]server.Declaration, error) {
		a.settings = settingsText{"strata.yaml", []byte(text)}
		return a.declarations()
	}
	got, err := read("listen: :80\nwatches:\n  - name: all\n    repositories: [\"**\"]\nregistries:\n  - name: harbor\n    url: https://harbor.example\n    password: ${PASSWORD}\n")
	want := []server.Declaration{
		{Kind: "registries", Name: "harbor", Place: "strata.yaml:6", Body: []byte(`{"name":"harbor","password":"s3cret: x","url":"https://harbor.example"}`)},
		{Kind: "watches", Name: "all", Place: "strata.yaml:3", Body: []byte(`{"name":"all","repositories":["**"]}`)},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for text, says := range map[string]string{
		"registries: x":                               "strata.yaml:1: registries: want a list",
		"registries: [{url: x}]":                      "each needs a name",
		"registries: [{name: x, password: \"${Y}\"}]": "the environment variable Y is not set",
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
