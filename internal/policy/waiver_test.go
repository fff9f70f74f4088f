package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/inventory"
	"strata/internal/license"
)

// aside are the ids of what was set aside by waivers: findings, packages, and
// licences by "license of".
func aside(in *Input) string {
	var ids []string
	for _, f := range in.Findings {
		if f.Suppressed != nil && strings.Contains(f.Suppressed.Reason, "w.yaml") || f.Suppressed != nil && strings.Contains(f.Suppressed.Reason, "w:") {
			ids = append(ids, f.ID)
		}
	}
	for _, p := range in.Packages {
		if p.Suppressed != nil {
			ids = append(ids, p.ID)
		}
		if p.License != nil && p.License.Suppressed != nil {
			ids = append(ids, "license of "+p.ID)
		}
	}
	return strings.Join(ids, " ")
}

// TestWaivers asks what entries of each format set aside in the shop (see shop).
func TestWaivers(t *testing.T) {
	const r = ", reason: r, until: 2026-12-31}"
	tests := map[string]struct{ file, text, want, remark string }{
		"vulnerability":     {"w.yaml", "waivers: [{vulnerability: CVE-2024-0002" + r + "]", "CVE-2024-0002", ""},
		"by an alias":       {"w.yaml", "waivers: [{vulnerability: GHSA-2222-2222-0002" + r + "]", "CVE-2024-0002", ""},
		"several":           {"w.yaml", "waivers: [{vulnerability: [CVE-2024-0001, CVE-2024-0003]" + r + "]", "CVE-2024-0001 CVE-2024-0003", ""},
		"one of several":    {"w.yaml", "waivers: [{vulnerability: [CVE-2024-0001, CVE-1]" + r + "]", "CVE-2024-0001", "1 waiver matching nothing in this image: CVE-1 (of line 1)"},
		"in a package":      {"w.yaml", "waivers: [{vulnerability: CVE-2024-0002, package: openssl" + r + "]", "", "matching nothing"},
		"package":           {"w.yaml", "waivers: [{package: left-*" + r + "]", "CVE-2024-0002 CVE-2024-0003 p1", ""},
		"package version":   {"w.yaml", "waivers: [{package: left-pad, version: 2.0.0" + r + "]", "", "matching nothing"},
		"path":              {"w.yaml", "waivers: [{vulnerability: CVE-2024-0002, scope: {paths: ['app/**']}" + r + "]", "CVE-2024-0002", ""},
		"other path":        {"w.yaml", "waivers: [{vulnerability: CVE-2024-0002, scope: {paths: ['srv/**']}" + r + "]", "", "matching nothing"},
		"image":             {"w.yaml", "waivers: [{vulnerability: CVE-2024-0002, scope: ['registry.example:5000/shop/*']" + r + "]", "CVE-2024-0002", ""},
		"image without tag": {"w.yaml", "waivers: [{vulnerability: CVE-2024-0002, scope: 'registry.example:5000/shop/app'" + r + "]", "CVE-2024-0002", ""},
		"other image":       {"w.yaml", "waivers: [{vulnerability: CVE-2024-0002, scope: ['registry.example:5000/*']" + r + "]", "", ""},
		"last day":          {"w.yaml", "waivers: [{vulnerability: CVE-2024-0002, reason: r, until: 2026-11-25}]", "CVE-2024-0002", "ending within two weeks: CVE-2024-0002 (line 1, until 2026-11-25)"},
		"day after":         {"w.yaml", "waivers: [{vulnerability: CVE-2024-0002, owner: o, reason: r, until: 2026-11-24}]", "", "no longer counting, renew or remove: CVE-2024-0002 (line 1, o, ended 2026-11-24, for 1 match in this image)"},
		"ended for nothing": {"w.yaml", "waivers: [{vulnerability: CVE-1, reason: r, until: 2026-11-24}]", "", "for nothing in this image"},
		"two weeks":         {"w.yaml", "waivers: [{vulnerability: CVE-2024-0002, reason: r, until: 2026-12-08}]", "CVE-2024-0002", "ending within"},
		"more":              {"w.yaml", "waivers: [{vulnerability: CVE-2024-0002, reason: r, until: 2026-12-10}]", "CVE-2024-0002", ""},
		"for ever":          {"w.yaml", "waivers: [{vulnerability: CVE-2024-0002, reason: r}]", "CVE-2024-0002", "1 waiver without until"},
		"license":           {"w.yaml", "waivers: [{license: apache-2.0" + r + "]", "license of p0", ""},
		"grave part":        {"w.yaml", "waivers: [{license: GPL-3.0-only" + r + "]", "license of p1", ""},
		"harmless part":     {"w.yaml", "waivers: [{license: MIT, package: left-pad" + r + "]", "", ""},
		"all its parts":     {"w.yaml", "waivers: [{license: [GPL-3.0-only, MIT]" + r + "]", "license of p1", ""},
		"whole expression":  {"w.yaml", "waivers: [{license: GPL-3.0-only WITH Classpath-exception-2.0 AND MIT, package: left-pad" + r + "]", "license of p1", ""},
		"license elsewhere": {"w.yaml", "waivers: [{license: Apache-2.0, package: left-pad" + r + "]", "", "matching nothing"},

		"trivy list":        {"w", "# why\nCVE-2024-0002\n\nISC", "CVE-2024-0002 license of p3", ""},
		"trivy first day":   {"w", "CVE-2024-0002 exp:2026-11-25", "", "no longer counting"},
		"trivy day before":  {"w", "CVE-2024-0002 exp:2026-11-26", "CVE-2024-0002", "ending within"},
		"trivy wrong day":   {"w", "CVE-2024-0002 exp:tomorrow", "", "w:1: CVE-2024-0002 is not ignored"},
		"trivy other words": {"w", "CVE-2024-0002 key:value", "CVE-2024-0002", ""},
		"trivy paths":       {"w.yaml", "vulnerabilities: [{id: CVE-2024-0002, paths: [app/node_modules/*/package.json]}]", "CVE-2024-0002", ""},
		"trivy other paths": {"w.yaml", "vulnerabilities: [{id: CVE-2024-0002, paths: [package.json]}]", "", "matching nothing"},
		"trivy licenses":    {"w.yaml", "licenses: [{id: ISC}]", "license of p3", ""},
		"trivy new key":     {"w.yaml", "vulnerabilities: [{id: CVE-2024-0002, when: x}]", "CVE-2024-0002", "its when is not looked at"},
		"trivy secrets":     {"w.yaml", "secrets: [{id: aws}]", "", "1 entry of secrets: Strata looks for none"},

		"grype id":       {"w.yaml", "ignore: [{vulnerability: CVE-2024-0002}]", "CVE-2024-0002", ""},
		"grype package":  {"w.yaml", "ignore: [{package: {name: 'left.*', type: npm}}]", "CVE-2024-0002 CVE-2024-0003", ""},
		"grype whole":    {"w.yaml", "ignore: [{package: {name: left}}]", "", "matching nothing"},
		"grype language": {"w.yaml", "ignore: [{package: {language: javascript, location: '/app/**'}}]", "CVE-2024-0002 CVE-2024-0003", ""},
		"grype no fix":   {"w.yaml", "ignore: [{fix-state: not-fixed, package: {type: npm}}]", "CVE-2024-0003 CVE-2024-0004", ""},
		"grype fixed":    {"w.yaml", "ignore: [{fix-state: fixed}]", "CVE-2024-0001 CVE-2024-0002", ""},
		"grype unknown":  {"w.yaml", "ignore: [{fix-state: unknown}]", "", `a rule is not applied: fix-state "unknown"`},
		"grype nothing":  {"w.yaml", "ignore: [{reason: x}]", "", "it has no condition"},
		"grype both":     {"w.yaml", "ignore: [{package: {type: deb, language: go}}]", "", "is none that Strata knows with this type"},
		"grype vex":      {"w.yaml", "ignore: [{vex-status: under_investigation}]", "", "matching nothing"},
		"grype others":   {"w.yaml", "fail-on-severity: high\ncheck-for-app-update: false", "", "only `ignore` is read, not fail-on-severity"},
		"empty":          {"w.yaml", "", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, err := ParseIgnoreFile(tt.file, []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			in := shop()
			var remarks []string
			for _, r := range ApplyWaivers(in, w) {
				remarks = append(remarks, r.Message)
			}
			if diff := cmp.Diff(tt.want, aside(in)); diff != "" {
				t.Errorf("set aside (-want +got):\n%s", diff)
			}
			all := strings.Join(remarks, "\n")
			if tt.remark == "" && all != "" || !strings.Contains(all, tt.remark) {
				t.Errorf("remarks %q, want %q", all, tt.remark)
			}
		})
	}
}

// TestWaiverOfLicensesByClass: what the user's own classes make grave has to be waived
// too.
func TestWaiverOfLicensesByClass(t *testing.T) {
	w, err := ParseIgnoreFile("w.yaml", []byte("licenses: [{id: GPL-3.0-only}]"))
	if err != nil {
		t.Fatal(err)
	}
	in := shop()
	if in.Classes, err = license.DefaultClasses().With(map[license.Class][]string{license.Proprietary: {"MIT"}}); err != nil {
		t.Fatal(err)
	}
	if ApplyWaivers(in, w); in.Packages[1].License.Suppressed != nil {
		t.Errorf("set aside: %v", in.Packages[1].License.Suppressed)
	}
}

// TestWaiverOfVEX: Grype's vex-status needs a status that VEX gave.
func TestWaiverOfVEX(t *testing.T) {
	v, err := ParseVEX("v.json", []byte(`{"@context": "openvex", "statements": [{"vulnerability": "CVE-1", "status": "under_investigation", "products": ["pkg:npm/left-pad"]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	w, err := ParseIgnoreFile("w.yaml", []byte("ignore: [{vex-status: under_investigation}]"))
	if err != nil {
		t.Fatal(err)
	}
	in := pad()
	ApplyVEX(in, v)
	if ApplyWaivers(in, w); in.Findings[0].Suppressed == nil {
		t.Error("the finding was not set aside")
	}
}

func TestGlobs(t *testing.T) {
	for _, tt := range []struct {
		pattern, yes, no string
	}{
		{"a/*/c", "a/b/c", "a/b/b/c"},
		{"a/**", "a/b/c", "b/a"},
		{"**/c", "c", "a/cc"},
		{"**/c", "a/b/c", "a/c/b"},
		{"a?c", "abc", "a/c"},
		{"[a-c]x", "bx", "dx"},
		{"[!a]x", "bx", "ax"},
		{"{a,b*}.txt", "bcd.txt", "c.txt"},
		{`\*`, "*", "a"},
		{"a.c", "a.c", "abc"},
		{"(a|b)+", "(a|b)+", "a"},
	} {
		g, err := newGlob(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if !g.match(tt.yes) || g.match(tt.no) {
			t.Errorf("%s: %s %v, %s %v", tt.pattern, tt.yes, g.match(tt.yes), tt.no, g.match(tt.no))
		}
	}
	for _, pattern := range []string{"[", "[]", "{a", "[z-a]", strings.Repeat("a", maxPattern+1)} {
		if _, err := newGlob(pattern); err == nil {
			t.Errorf("%.20s: no error", pattern)
		}
	}
}

// TestBaseline asks what is old, and that rules pass over it.
func TestBaseline(t *testing.T) {
	tests := map[string]struct {
		before func(*Input)
		old    bool
	}{
		"same":           {func(*Input) {}, true},
		"other version":  {func(in *Input) { in.Packages[0].Version = "0.9.0" }, true},
		"by an alias":    {func(in *Input) { in.Findings[0].ID, in.Findings[0].Aliases = "GHSA-1", nil }, true},
		"other package":  {func(in *Input) { in.Packages[0].Name = "right-pad" }, false},
		"other type":     {func(in *Input) { in.Packages[0].Type = "deb" }, false},
		"other id":       {func(in *Input) { in.Findings[0].ID, in.Findings[0].Aliases = "CVE-2", nil }, false},
		"same erratum":   {func(in *Input) { in.Findings[0].ID, in.Findings[0].Aliases = "CVE-2", []string{"GHSA-1"} }, false},
		"was set aside":  {func(in *Input) { in.Findings[0].Suppressed = &Suppression{By: ByWaiver} }, false},
		"in lower layer": {func(in *Input) { in.Findings[0].State = inventory.Removed }, false},
	}
	rules := load(t, "rules: [{name: old, action: fail, when: finding.kev || !finding.kev}]")
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := pad()
			ApplyBaseline(in, pad(tt.before))
			if in.Findings[0].Old != tt.old {
				t.Errorf("old %v, want %v", in.Findings[0].Old, tt.old)
			}
			failOnLow, err := FailOn("low")
			if err != nil {
				t.Fatal(err)
			}
			want := Fail
			if tt.old {
				want = Pass
			}
			if v := Evaluate(in, AsWritten, append(rules, failOnLow)...); v.Decision != want {
				t.Errorf("decision %s, want %s", v.Decision, want)
			}
		})
	}

	waived := func(in *Input) { in.Findings[0].Suppressed = &Suppression{By: ByWaiver} }
	aside := pad(waived)
	if ApplyBaseline(aside, pad(waived)); !aside.Findings[0].Old {
		t.Error("what was set aside and still is counts as new")
	}

	in, before := shop(), shop()
	before.Packages[1].License.Expression = "MIT"
	before.Packages = append(before.Packages[:3], before.Packages[4:]...)
	ApplyBaseline(in, before)
	var old []string
	for _, p := range in.Packages {
		if p.Old {
			old = append(old, p.ID)
		}
		if p.License.Old {
			old = append(old, "license of "+p.ID)
		}
	}
	if diff := cmp.Diff("p0 license of p0 p1", strings.Join(old, " ")); diff != "" {
		t.Errorf("old packages and licences (-want +got):\n%s", diff)
	}
}

// TestModes: one flag makes rules more lenient or stricter.
func TestModes(t *testing.T) {
	rules := load(t, "rules: [{name: f, action: fail, when: finding.kev}, {name: w, action: warn, when: finding.fixable}]")
	for mode, want := range map[Mode][]Decision{AsWritten: {Fail, Fail, Warn}, WarnOnly: {Warn, Warn, Warn}, Enforce: {Fail, Fail, Fail}} {
		v := Evaluate(shop(), mode, rules...)
		if diff := cmp.Diff(want, []Decision{v.Decision, v.Violations[0].Decision, v.Violations[1].Decision}); diff != "" {
			t.Errorf("%q: decisions (-want +got):\n%s", mode, diff)
		}
	}
}

// TestIgnore: what rules ignore is set aside with its reason, before others look,
// wherever they stand; a mistake ignores nothing.
func TestIgnore(t *testing.T) {
	rules := load(t, `rules:
- {name: last, action: fail, when: 'finding.severity_rank > 0'}
- {name: base, action: ignore, when: finding.layer.base, message: 'of {{layer.instruction}}'}
- {name: pad, action: ignore, when: package.name == "left-pad"}
- {name: licence, action: ignore, when: license.class == "permissive"}
- {name: licences, action: warn, when: license.class == "permissive"}
`)
	in := shop()
	v := Evaluate(in, AsWritten, rules...)
	if v.Decision != Pass {
		t.Errorf("verdict %+v", v)
	}
	if want := "shop, rule base: of ADD rootfs.tar /"; in.Findings[0].Suppressed.Reason != want {
		t.Errorf("reason %q, want %q", in.Findings[0].Suppressed.Reason, want)
	}
	if in.Packages[1].Suppressed == nil || in.Packages[0].License.Suppressed == nil || in.Findings[3].Suppressed != nil {
		t.Error("a package or licence was not set aside, or a finding in a lower layer was")
	}

	broken := load(t, `rules: [{name: b, action: ignore, when: 'finding.ids[7] == "x"'}, {name: c, action: fail, when: 'image.labels["owner"] == "x"'}]`)
	v = Evaluate(shop(), AsWritten, broken...)
	if len(v.Violations) != 2 || v.Violations[0].Decision != Warn || v.Violations[1].Decision != Fail || !strings.Contains(v.Violations[1].Message, "can't be evaluated for the image: no such key: owner") {
		t.Errorf("violations %+v", v.Violations)
	}
}

// TestNotLookedFor: rules about what was not looked for never pass in silence.
func TestNotLookedFor(t *testing.T) {
	in := shop()
	in.NoVulnerabilities, in.NoLicenses = true, true
	failOnLow, err := FailOn("low")
	if err != nil {
		t.Fatal(err)
	}
	rules := append(load(t, `rules:
- {name: a, action: fail, when: finding.kev}
- {name: b, action: fail, when: license.known}
- {name: c, action: fail, when: 'package.license.class == "proprietary"'}
- {name: d, action: fail, when: image.findings.size() > 100}
- {name: e, action: fail, when: 'image.packages.exists(p, p.license.class == "proprietary")'}
`), failOnLow)
	v := Evaluate(in, AsWritten, rules...)
	if v.Decision != Warn || len(v.Violations) != len(rules) {
		t.Errorf("verdict %+v", v)
	}

	// A finding is objected to all the same, where its licence only matters too.
	in = shop()
	in.NoLicenses = true
	v = Evaluate(in, AsWritten, load(t, `rules: [{name: a, action: fail, when: 'finding.kev && license.class != "proprietary"'}]`)...)
	if v.Decision != Fail || len(v.Violations) != 2 || v.Violations[0].Decision != Warn {
		t.Errorf("verdict %+v", v)
	}
}

// TestIgnoreOldLayers: what a rule ignores stays so when the baseline has it, as
// what is new in it would be an objection else.
func TestIgnoreOldLayers(t *testing.T) {
	in, before := shop(), shop()
	for i := range in.Layers {
		in.Layers[i].DiffID, before.Layers[i].DiffID = "sha256:"+strings.Repeat("a", i+1), "sha256:"+strings.Repeat("a", i+1)
	}
	before.Findings = nil
	ApplyBaseline(in, before)
	v := Evaluate(in, AsWritten, load(t, `rules: [{name: base, action: ignore, when: layer.base}, {name: kev, action: fail, when: finding.kev}]`)...)
	if v.Decision != Pass {
		t.Errorf("verdict %+v", v)
	}
}

// TestWaiversThatSayNothing: a value that a template left empty is an error, and
// waives nothing more than it should.
func TestWaiversThatSayNothing(t *testing.T) {
	for _, entry := range []string{
		"vulnerability: [], package: openssl", "vulnerability: , package: openssl", "vulnerability: CVE-1, package: []", "vulnerability: CVE-1, package: ['']",
		"package: openssl, version: ", "package: openssl, version: ''", "vulnerability: CVE-1, scope: ", "vulnerability: CVE-1, scope: []",
		"vulnerability: CVE-1, scope: {images: []}", "vulnerability: CVE-1, scope: {paths: ['']}", "vulnerability: CVE-1, scope: {}", "license: [''], package: openssl",
	} {
		_, err := ParseWaivers("w.yaml", []byte("waivers: [{reason: r, "+entry+"}]"))
		if err == nil || !strings.Contains(err.Error(), "is empty: say which, or leave it out") {
			t.Errorf("%s: error %v", entry, err)
		}
	}
}

func TestMessages(t *testing.T) {
	in := shop()
	in.Packages[0].License.Class = license.Permissive
	rules := load(t, `rules:
- name: a
  action: warn
  when: finding.id == "CVE-2024-0001"
  message: >
    {{finding.id}} {{ finding.severity + "!" }} {{finding.epss}} {{finding.age_days}} {{finding.kev}} {{finding.published}}
    {{finding.ids}} {{package.name}} {{license.expression}} {{layer.index}} {{image.tag}} {{now}}
- {name: many, action: warn, when: finding.severity_rank >= 0, message: "{{package.name}}"}
`)
	v := Evaluate(in, AsWritten, rules...)
	var got []string
	for _, violation := range v.Violations {
		got = append(got, violation.Message)
	}
	want := []string{
		"CVE-2024-0001 critical! 0.5 40 true 2026-10-16 CVE-2024-0001 openssl Apache-2.0 0 1.0 2026-11-25",
		"openssl", "left-pad",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}
