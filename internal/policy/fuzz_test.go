package policy

import (
	"strings"
	"testing"
)

// FuzzLoad: a policy from anywhere is read or refused, and what was read decides,
// without a panic and in bounded time.
func FuzzLoad(f *testing.F) {
	f.Add(tenRules)
	for _, name := range ReadyNames() {
		text, err := ReadyText(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("rules: [{when: 'finding.kev && package.nam', action: fail}]")
	f.Add("policies: [{name: a, rules: [{name: b, action: ignore, when: \"\\x66inding.kevv\"}]}]")
	f.Add("rules:\n- action: warn\n  when: >2\n    finding.ids.all(i, finding.ids.all(j,\n      i != j))\n  message: '{{[1, 2]}} {{now}} {{'")
	f.Add("a: &a [*a]\nrules: *a")
	l := loader(f)
	f.Fuzz(func(t *testing.T, text string) {
		policies, err := l.Load("fuzz.yaml", []byte(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "fuzz.yaml") {
				t.Errorf("error without its place: %v", err)
			}
			return
		}
		in := shop()
		for _, p := range policies {
			for _, v := range Evaluate(in, Enforce, p.Rules...).Violations {
				if len([]rune(v.Message)) > 4*maxMessage {
					t.Errorf("message of %d characters", len([]rune(v.Message)))
				}
			}
		}
	})
}

// FuzzIgnoreFile: so is a file of waivers, of whichever format.
func FuzzIgnoreFile(f *testing.F) {
	f.Add("x", "# why\nCVE-2024-0001 exp:2026-12-31 # inline\n\nGPL-3.0-only\n")
	f.Add("x.yaml", "vulnerabilities:\n- id: CVE-2024-0001\n  paths: ['app/**', '{a,b}/[!c]?']\n  purls: ['pkg:npm/left-pad@1.0.0?arch=x']\n  expired_at: 2026-12-31\n")
	f.Add("x.yaml", "ignore:\n- fix-state: not-fixed\n  package: {name: 'left-(pad|x)', type: npm, language: javascript, location: /app/**}\n- vex-status: affected\n")
	f.Add("x.yaml", "waivers:\n- {vulnerability: [CVE-2024-0001, GHSA-1], package: 'pkg:deb/debian/openssl@3.0.9-1', scope: {images: ['**'], paths: ['a*']}, reason: r, until: 2026-12-31}\n- {license: MIT, reason: r}")
	f.Fuzz(func(t *testing.T, name, text string) {
		file := "fuzz"
		if strings.HasSuffix(name, ".yaml") {
			file = "fuzz.yaml"
		}
		w, err := ParseIgnoreFile(file, []byte(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), file) {
				t.Errorf("error without its place: %v", err)
			}
			return
		}
		ApplyWaivers(shop(), w)
	})
}

// FuzzVEX: and so is a VEX document.
func FuzzVEX(f *testing.F) {
	for _, text := range vexDocuments {
		f.Add(text)
	}
	f.Add(`{"predicateType": "https://openvex.dev/ns", "subject": [{"name": "a", "digest": {"sha256": "b"}}], "predicate": {"statements": [{"vulnerability": "CVE-1", "status": "fixed"}]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := ParseVEX("fuzz.json", []byte(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "fuzz.json") {
				t.Errorf("error without its place: %v", err)
			}
			return
		}
		in := shop()
		ApplyVEX(in, v)
		if _, _, err := WriteOpenVEX(in, VEXOptions{Author: "a"}); err != nil {
			t.Error(err)
		}
	})
}
