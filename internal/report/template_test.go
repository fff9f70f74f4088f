package report

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestTemplate(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"a field":       {`{{.Image.Reference}}`, "registry.example:5000/shop/node-app:1.4"},
		"the gravest":   {`{{with index byGravity 1}}{{.ID}} {{.PackageName}} {{fails .}} {{violates .}}{{end}}`, "GHSA-67hx-6x53-jw92 @babel/plugin-transform-modules-systemjs true [fail-on high]"},
		"counts":        {`{{count "critical"}} of {{len active}}`, "5 of 16"},
		"of a finding":  {`{{range .Findings}}{{if eq .ID "CVE-2020-11022"}}{{aside .}}; {{(package .).PURL}}; {{instruction (layer .).CreatedBy}}{{end}}{{end}}`, "in layer 4, removed by layer 5; pkg:npm/jquery@1.8.3; RUN npm ci --omit=dev"},
		"escapers":      {`{{json "a\"<b>"}} {{xml "<&\""}} {{csv "=1\""}} {{md "a|*b*"}} {{mdcode "a"}} {{safe "\x1b[m"}} {{html "<b>"}}`, `"a\"\u003cb\u003e" &lt;&amp;&#34; "'=1""" a\|\*b\* ` + "`a` \\x1b[m &lt;b&gt;"},
		"words":         {`{{upper "a"}}{{lower "B"}} {{join "," .Verdict.Rules}} {{replace "a" "b" "aa"}} {{contains "a" "ba"}} {{cut 3 "abcdef"}} {{size 1200000}} {{add 1 2}}`, "Ab fail-on high,licenses: no-strong-copyleft,base: fresh-base,kev: known-exploited bb true ab… 1.2 MB 3"},
		"addresses":     {`{{link "CVE-2020-1"}} {{link "x y"}}`, "https://nvd.nist.gov/vuln/detail/CVE-2020-1 "},
		"time":          {`{{ended.Format "2006-01-02"}} {{started.Unix}}`, "2026-11-23 1795438797"},
		"a fingerprint": {`{{len (fingerprint (index byGravity 0))}}`, "64"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if err := CheckTemplate(tt.text); err != nil {
				t.Fatal(err)
			}
			o := formatOptions()
			o.Template = tt.text
			if got := string(written(t, "template", o, fullSample())); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestTemplateMistakes(t *testing.T) {
	for text, want := range map[string]string{"{{": "unclosed action", "{{nosuch}}": `function "nosuch" not defined`, "{{range .X}}": "unexpected EOF"} {
		if err := CheckTemplate(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
	for text, want := range map[string]string{"": "--template FILE", "{{.NoSuch}}": "can't evaluate field NoSuch", "{{index .Findings 9999}}": "out of range"} {
		if err := WriteAll(&strings.Builder{}, "template", []*Report{sample()}, Options{Template: text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}

// TestTemplateFunctionsAreExplained: docs/formats.md has a row for each function.
func TestTemplateFunctionsAreExplained(t *testing.T) {
	doc, err := os.ReadFile("../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range templateFunctions(newListing(&Report{}), Options{}) {
		if !strings.Contains(string(doc), "`"+name) {
			t.Errorf("docs/formats.md does not tell of %s", name)
		}
	}
	for _, f := range Formats() {
		if !strings.Contains(string(doc), "`"+f.Name+"`") {
			t.Errorf("docs/formats.md does not tell of the format %s", f.Name)
		}
	}
	o := formatOptions()
	o.Template = `[{{range $i, $f := byGravity}}{{if $i}},{{end}}{"id":{{json .ID}},"package":{{json .PackageName}}}{{end}}]`
	var out []map[string]string
	if err := json.Unmarshal(written(t, "template", o, hostileReport()), &out); err != nil || len(out) != 4 {
		t.Errorf("%v, %d findings", err, len(out))
	}
}
