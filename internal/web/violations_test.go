package web

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/store"
)

// TestViolationGroups puts violations to those of their image and rule.
func TestViolationGroups(t *testing.T) {
	p := &violationsPage{}
	p.Items = []store.Violation{
		{Image: 1, Reference: "a", Watch: "w", Policy: "p", Rule: "r", Vulnerability: "CVE-1", Message: "CVE-1 in x 1"},
		{Image: 2, Reference: "b", Watch: "w", Policy: "p", Rule: "r", Message: "same"},
		{Image: 1, Reference: "a", Watch: "w", Policy: "p", Rule: "r", Vulnerability: "CVE-2", Message: "CVE-2 in x 1"},
		{Image: 2, Reference: "b", Watch: "w", Policy: "p", Rule: "r", Message: "same"},
		{Image: 1, Reference: "a", Watch: "w", Policy: "p", Rule: "other", Message: "m"},
	}
	for i := range p.Items {
		p.add(&p.Items[i])
	}
	var got []string
	for _, g := range p.Groups {
		for _, r := range g.Rules {
			got = append(got, g.Reference+" "+r.Rule+" "+number(len(r.Items))+" "+r.Message)
		}
	}
	if diff := cmp.Diff([]string{"a r 2 ", "a other 1 m", "b r 2 same"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if rest := p.Rest(p.Items[0]); rest != "in x 1" {
		t.Error(rest)
	}
	if rest := p.Rest(p.Items[1]); rest != "" {
		t.Error(rest)
	}
}

// TestScopeWords tells scopes in words.
func TestScopeWords(t *testing.T) {
	for want, scope := range map[string]store.WatchScope{
		"all images that have a tag": {},
		"images in r/** or s, with a tag v*, labelled a=1, labelled b=*, built on debian:*": {
			Repositories: []string{"r/**", "s"}, Tags: []string{"v*"}, Labels: map[string]string{"b": "*", "a": "1"}, Base: []string{"debian:*"}},
	} {
		w := watchRow{Watch: store.Watch{Scope: scope}}
		if got := w.ScopeWords(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
