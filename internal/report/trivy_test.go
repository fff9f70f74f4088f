package report

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func readTrivy(t testing.TB, doc []byte) trivyReport {
	t.Helper()
	var r trivyReport
	decodeStrictly(t, doc, &r)
	return r
}

// warning is what Jenkins' warnings-ng makes of a vulnerability. Its reader
// (jenkinsci/analysis-model, TrivyParser) takes an object with Results, each with
// Vulnerabilities or none, and of each the strings PkgName, SeveritySource,
// Severity, VulnerabilityID, Title, InstalledVersion, FixedVersion, Description;
// one that is missing shows as "-".
type warning struct{ PkgName, SeveritySource, Severity, VulnerabilityID, Title, InstalledVersion, FixedVersion, Description string }

// readAsJenkins reads as the parser does, by names alone.
func readAsJenkins(t *testing.T, doc []byte) []warning {
	t.Helper()
	var report struct {
		Results []struct{ Vulnerabilities []warning }
	}
	if err := json.Unmarshal(doc, &report); err != nil {
		t.Fatal(err)
	}
	var all []warning
	for _, r := range report.Results {
		all = append(all, r.Vulnerabilities...)
	}
	return all
}

func TestTrivy(t *testing.T) {
	for name, reports := range formatCases() {
		t.Run(name, func(t *testing.T) {
			doc := written(t, "trivy", formatOptions(), reports...)
			r := readTrivy(t, doc)
			if r.SchemaVersion != 2 || r.ArtifactType != "container_image" {
				t.Errorf("schema %d of %s", r.SchemaVersion, r.ArtifactType)
			}
			for _, w := range readAsJenkins(t, doc) {
				if w.SeveritySource == "" || w.VulnerabilityID == "" || w.Title == "" || !slices.Contains([]string{"CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN"}, w.Severity) {
					t.Errorf("%+v", w)
				}
			}
			targets := map[string]bool{}
			for _, res := range r.Results {
				if key := res.Target + "\x00" + res.Class + "\x00" + res.Type; targets[key] || res.Target == "" {
					t.Errorf("target %q (%s) is empty or there twice", res.Target, res.Class)
				} else {
					targets[key] = true
				}
			}
		})
	}
}

func TestTrivyResults(t *testing.T) {
	r := readTrivy(t, written(t, "trivy", formatOptions(), fullSample()))
	got := map[string]string{}
	aside := map[string]string{}
	for _, res := range r.Results {
		for _, v := range res.Vulnerabilities {
			got[v.VulnerabilityID+" "+v.PkgName] = strings.Join([]string{res.Target, res.Class, res.Type, v.Status, v.FixedVersion, v.Layer.DiffID[len(v.Layer.DiffID)-4:]}, " ")
		}
		for _, m := range res.Modified {
			aside[m.Finding.VulnerabilityID] = m.Status + " " + m.Source
		}
	}
	for key, want := range map[string]string{
		"CVE-2023-44487 nodejs":   "registry.example:5000/shop/node-app:1.4 (debian 12) os-pkgs debian fixed 18.19.0+dfsg-6~deb12u1, 20.8.1+dfsg-1 fb6d",
		"CVE-2021-44906 minimist": "Node.js lang-pkgs node-pkg fixed 1.2.6 cba2",
		"CVE-2023-24538 stdlib":   "usr/local/bin/server lang-pkgs gobinary fixed 1.20.4 5670",
		"EOL-python-2.7 python":   "opt/python/bin/python2.7 lang-pkgs generic end_of_life  cba2",
	} {
		if got[key] != want {
			t.Errorf("%s: %q, want %q", key, got[key], want)
		}
	}
	for id, want := range map[string]string{"CVE-2099-0001": "ignored waiver", "CVE-2020-11022": "ignored Strata", "CVE-2022-25883": "ignored distro-owned"} {
		if aside[id] != want {
			t.Errorf("%s: %q, want %q", id, aside[id], want)
		}
	}
	if os := r.Metadata.OS; os == nil || os.Family != "debian" || !os.EOSL {
		t.Errorf("OS %+v", os)
	}
	if len(r.Metadata.DiffIDs) != 7 || r.Metadata.RepoTags[0] != "registry.example:5000/shop/node-app:1.4" || r.CreatedAt != "2026-11-23T13:00:00Z" {
		t.Errorf("metadata %+v", r.Metadata)
	}
	if several := readTrivy(t, written(t, "trivy", formatOptions(), sample(), armReport())); !strings.HasPrefix(several.Results[len(several.Results)-1].Target, "linux/arm64/v8 ") {
		t.Errorf("the last target is %q", several.Results[len(several.Results)-1].Target)
	}
}

func TestTrivyLanguage(t *testing.T) {
	for _, tt := range [][4]string{
		{"npm", "app/node_modules/a/package.json", "Node.js", "node-pkg"}, {"npm", "app/package-lock.json", "", "npm"}, {"npm", "app/yarn.lock", "", "yarn"},
		{"pypi", "x.dist-info/METADATA", "Python", "python-pkg"}, {"maven", "app/a.jar", "Java", "jar"}, {"golang", "usr/bin/x", "", "gobinary"},
		{"golang", "src/go.mod", "", "gomod"}, {"cargo", "usr/bin/x", "", "rustbinary"}, {"gem", "x.gemspec", "Ruby", "gemspec"}, {"", "", "", "generic"},
	} {
		if target, typ := trivyLanguage(tt[0], tt[1]); target != tt[2] || typ != tt[3] {
			t.Errorf("%s in %s: %q, %q", tt[0], tt[1], target, typ)
		}
	}
}
