package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestAddWaiver adds one to files as people write them: all that was there stays.
func TestAddWaiver(t *testing.T) {
	const added = "- vulnerability: CVE-2024-0009\n  package: pkg:npm/left-pad\n  scope:\n    images: registry.example/shop/*\n  owner: ann\n  reason: 'not: reachable'\n  created: 2026-11-26\n  until: 2026-12-31\n"
	deep := "  " + strings.TrimSuffix(strings.ReplaceAll(added, "\n", "\n  "), "  ")
	tests := map[string]struct{ text, want string }{
		"nothing":       {"", "waivers:\n" + deep},
		"a comment":     {"# ours", "# ours\nwaivers:\n" + deep},
		"indented":      {"waivers:\n  # why\n  - license: MIT # here\n    reason: r\n", "waivers:\n  # why\n  - license: MIT # here\n    reason: r\n" + deep},
		"not indented":  {"waivers:\n- license: MIT\n  reason: >\n    r\n\n# the end", "waivers:\n- license: MIT\n  reason: >\n    r\n\n# the end\n" + added},
		"empty list":    {"# ours\nwaivers: []\n", "# ours\nwaivers:\n" + deep},
		"a list in one": {"waivers: [{license: MIT, reason: r}] # c\n", "waivers: [{license: MIT, reason: r}, {vulnerability: CVE-2024-0009, package: 'pkg:npm/left-pad', scope: {images: registry.example/shop/*}, owner: ann, reason: 'not: reachable', created: 2026-11-26, until: 2026-12-31}] # c\n"},
	}
	e := &WaiverEntry{Vulnerabilities: []string{"CVE-2024-0009"}, Packages: []string{"pkg:npm/left-pad"}, Images: []string{"registry.example/shop/*"}, Owner: "ann", Reason: "not:\n reachable",
		Until: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := AddWaiver("w", []byte(test.text), e, time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for name, text := range map[string]string{"more than one document": "waivers: []\n---\nwaivers: []\n", "a mistake": "waivers: [{reason: r}]\n"} {
		if got, err := AddWaiver("w", []byte(text), e, e.Until); err == nil {
			t.Errorf("%s: %s", name, got)
		}
	}
	if _, err := AddWaiver("w", nil, &WaiverEntry{Reason: "r"}, e.Until); err == nil || !strings.Contains(err.Error(), "it would waive everything") {
		t.Errorf("a waiver for everything: %v", err)
	}
}

// TestRemoveWaiver takes one out, with its comment, and leaves the others with theirs.
func TestRemoveWaiver(t *testing.T) {
	const block = "# head\nwaivers:\n  # one\n  - license: MIT\n    reason: |\n      # no comment\n\n  # two\n  - license: ISC\n    reason: r\n\n  - vulnerability: [CVE-1,\n      CVE-2]\n    reason: r\n# foot\n"
	tests := map[string]struct {
		text  string
		index int
		want  string
	}{
		"first":          {block, 0, "# head\nwaivers:\n\n  # two\n  - license: ISC\n    reason: r\n\n  - vulnerability: [CVE-1,\n      CVE-2]\n    reason: r\n# foot\n"},
		"second":         {block, 1, "# head\nwaivers:\n  # one\n  - license: MIT\n    reason: |\n      # no comment\n\n\n  - vulnerability: [CVE-1,\n      CVE-2]\n    reason: r\n# foot\n"},
		"last":           {block, 2, "# head\nwaivers:\n  # one\n  - license: MIT\n    reason: |\n      # no comment\n\n  # two\n  - license: ISC\n    reason: r\n\n# foot\n"},
		"the only one":   {"# head\nwaivers:\n  - license: MIT\n    reason: r\n", 0, "# head\nwaivers: []\n"},
		"in one line":    {"waivers: [{license: MIT, reason: r}, {license: ISC, reason: r}]\n", 0, "waivers: [{license: ISC, reason: r}]\n"},
		"dash by itself": {"waivers:\n  -\n    license: MIT\n    reason: r\n  -\n    license: ISC\n    reason: r\n", 0, "waivers:\n  -\n    license: ISC\n    reason: r\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := RemoveWaiver("w", []byte(test.text), test.index)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if _, err := RemoveWaiver("w", []byte(block), 3); err == nil {
		t.Error("one that is not there")
	}
}

// TestWaiverEntries tells when waivers end.
func TestWaiverEntries(t *testing.T) {
	w, err := ParseWaivers("w", []byte("waivers:\n  - {package: [a*, pkg:npm/b], version: '1', scope: [x/*], reason: r, until: 2026-12-01}\n"))
	if err != nil {
		t.Fatal(err)
	}
	e := w.Entries()[0]
	want := WaiverEntry{Line: 2, Packages: []string{"a*", "pkg:npm/b"}, Version: "1", Images: []string{"x/*"}, Reason: "r", Until: time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC)}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Error(diff)
	}
	for day, want := range map[string][2]bool{"2026-10-01": {false, false}, "2026-11-20": {true, false}, "2026-12-01": {true, false}, "2026-12-02": {false, true}} {
		now, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		if e.EndsSoon(now) != want[0] || e.Ended(now) != want[1] {
			t.Errorf("%s: soon %t, ended %t", day, e.EndsSoon(now), e.Ended(now))
		}
	}
	if e.LastDay() != "2026-12-01" {
		t.Error(e.LastDay())
	}
}
