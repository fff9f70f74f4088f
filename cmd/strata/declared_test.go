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

func TestDeclaredPolicies(t *testing.T) {
	a := &app{}
	read := func(text string) (server.DeclaredPolicies, error) {
		a.settings = settingsText{"/etc/strata.yaml", []byte(text)}
		return a.declaredPolicies()
	}
	const rules = "\n    rules:\n      - name: kev # why\n        when: finding.kev\n        action: fail\n"
	for text, want := range map[string]server.DeclaredPolicies{
		"listen: :80\n":                  {File: "/etc/strata.yaml"},
		"policies: []\n":                 {File: "/etc/strata.yaml", Listed: true},
		"policies:\n  - name: a" + rules: {File: "/etc/strata.yaml", Listed: true, Policies: []server.DeclaredPolicy{{Name: "a", Place: "/etc/strata.yaml:2", Text: "name: a\nrules:\n  - name: kev # why\n    when: finding.kev\n    action: fail\n"}}},
	} {
		got, err := read(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", text, err, diff)
		}
	}
	for text, says := range map[string]string{
		"policies: x\n":                                                   "/etc/strata.yaml:1:11: policies: want a list",
		"policies:\n  - description: d" + rules:                           "/etc/strata.yaml:2: policies: each needs a name",
		"policies:\n  - name: a" + rules + "  - name: a" + rules:          `/etc/strata.yaml:7: policies: "a" is here twice`,
		"policies:\n  - name: a\n    rules: [{name: b, when: finding.x}]": "/etc/strata.yaml:3:",
	} {
		if _, err := read(text); err == nil || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
