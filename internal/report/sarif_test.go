package report

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"strata/internal/advisory"
	"strata/internal/inventory"
	"strata/internal/policy"
)

func readSARIF(t testing.TB, doc []byte) sarifLog {
	t.Helper()
	var log sarifLog
	decodeStrictly(t, doc, &log)
	return log
}

// TestSARIFFollowsItsSchema holds what is written against OASIS' schema, and the
// schema against documents that break it.
func TestSARIFFollowsItsSchema(t *testing.T) {
	schema := compileSchema(t, "sarif-2.1.0.json")
	for name, reports := range formatCases() {
		t.Run(name, func(t *testing.T) {
			if err := schema.Validate(parseJSON(t, written(t, "sarif", Options{}, reports...))); err != nil {
				t.Error(err)
			}
		})
	}
	good := string(written(t, "sarif", Options{}, fullSample()))
	for name, change := range map[string][2]string{
		"a level that is none":    {`"level": "error"`, `"level": "grave"`},
		"a field that is none":    {`"ruleId"`, `"rule"`},
		"a line before the first": {`"startLine": 1`, `"startLine": 0`},
	} {
		broken := strings.Replace(good, change[0], change[1], 1)
		if broken == good || schema.Validate(parseJSON(t, []byte(broken))) == nil {
			t.Errorf("%s: the schema lets it through", name)
		}
	}
}

// TestSARIFSuitsGitHub holds what GitHub asks beyond the schema (its
// documentation: SARIF support for code scanning).
func TestSARIFSuitsGitHub(t *testing.T) {
	for name, reports := range formatCases() {
		t.Run(name, func(t *testing.T) {
			log := readSARIF(t, written(t, "sarif", Options{}, reports...))
			categories := map[string]bool{}
			for _, run := range log.Runs {
				category := run.AutomationDetails.ID[:strings.LastIndexByte(run.AutomationDetails.ID, '/')]
				if categories[category] {
					t.Errorf("two runs of category %s", category)
				}
				categories[category] = true
				checkRun(t, run)
			}
		})
	}
}

func checkRun(t *testing.T, run sarifRun) {
	t.Helper()
	rules := run.Tool.Driver.Rules
	ids := map[string]bool{}
	for _, r := range rules {
		if ids[r.ID] || r.ID == "" {
			t.Errorf("rule id %q is empty or there twice", r.ID)
		}
		ids[r.ID] = true
		for what, text := range map[string]string{"id": r.ID, "short": r.ShortDescription.Text, "full": r.FullDescription.Text, "help": r.Help.Text} {
			if text == "" || (what != "help" && len(text) > 1024) {
				t.Errorf("rule %s: %s has %d bytes", r.ID, what, len(text))
			}
		}
		if score, ok := r.Properties["security-severity"].(string); ok {
			if n, err := strconv.ParseFloat(score, 64); err != nil || n <= 0 || n > 10 {
				t.Errorf("rule %s: security-severity %q", r.ID, score)
			}
		}
		if tags, ok := r.Properties["tags"].([]any); !ok || len(tags) == 0 || len(tags) > 20 {
			t.Errorf("rule %s: tags %v", r.ID, tags)
		}
	}
	prints := map[string]bool{}
	for _, r := range run.Results {
		if r.RuleIndex >= len(rules) || rules[r.RuleIndex].ID != r.RuleID {
			t.Errorf("result of %s has the place of another rule", r.RuleID)
		}
		if len(r.Locations) == 0 || len(r.Locations) > 1000 {
			t.Errorf("result of %s has %d locations", r.RuleID, len(r.Locations))
		}
		for _, loc := range r.Locations {
			uri := loc.Physical.Artifact.URI
			if u, err := url.Parse(uri); err != nil || u.IsAbs() || u.Host != "" || u.Path == "" || strings.HasPrefix(uri, "/") {
				t.Errorf("address %q is not one of a file below the root", uri)
			}
		}
		hash := r.Fingerprints["primaryLocationLineHash"]
		if key := r.RuleID + r.Locations[0].Physical.Artifact.URI + hash; prints[key] || hash == "" {
			t.Errorf("two results of %s have the fingerprint %s", r.RuleID, hash)
		} else {
			prints[key] = true
		}
	}
}

// TestSARIFFingerprints: a finding is known again when other things change, and
// only then.
func TestSARIFFingerprints(t *testing.T) {
	base := fingerprintsOf(t, sample())
	const nodejs = "CVE-2023-44487 nodejs"
	if base[nodejs] == "" {
		t.Fatalf("no result of nodejs in %v", base)
	}
	same := map[string]func(*Report){
		"another tag": func(r *Report) {
			r.Image.Reference, r.Image.Digest = "registry.example:5000/shop/node-app:1.5", digest(1)
		},
		"layers in another order":        func(r *Report) { shiftLayers(r, 3) },
		"findings in another order":      func(r *Report) { r.Findings[0], r.Findings[9] = r.Findings[9], r.Findings[0] },
		"another version of the package": func(r *Report) { setVersion(r, "nodejs", "18.14.0") },
		"another version of another one": func(r *Report) { setVersion(r, "minimist", "1.2.5") },
		"a fix":                          func(r *Report) { r.Findings[4].FixedVersion = "99" },
	}
	for name, change := range same {
		r := sample()
		change(r)
		for key, print := range fingerprintsOf(t, r) {
			if base[key] != print {
				t.Errorf("%s: the fingerprint of %s changed", name, key)
			}
		}
	}
	r := sample()
	r.Packages[3].Locations[0].Path = "opt/status"
	if fingerprintsOf(t, r)[nodejs] == base[nodejs] {
		t.Error("another place has the same fingerprint")
	}
}

func fingerprintsOf(t *testing.T, r *Report) map[string]string {
	t.Helper()
	prints := map[string]string{}
	for _, res := range readSARIF(t, written(t, "sarif", Options{}, r)).Runs[0].Results {
		prints[res.RuleID+" "+res.Properties["package"].(string)] = res.Fingerprints["strataFinding/v1"]
	}
	return prints
}

func shiftLayers(r *Report, by int) {
	for i := range r.Layers {
		r.Layers[i].Index += by
	}
	for i := range r.Packages {
		r.Packages[i].Layer += by
	}
	for i := range r.Findings {
		r.Findings[i].Layer += by
	}
}

func setVersion(r *Report, name, version string) {
	for i := range r.Packages {
		if r.Packages[i].Name == name {
			r.Packages[i].Version = version
		}
	}
	for i := range r.Findings {
		if r.Findings[i].PackageName == name {
			r.Findings[i].PackageVersion = version
		}
	}
}

func TestSARIFSuppressions(t *testing.T) {
	log := readSARIF(t, written(t, "sarif", Options{}, fullSample()))
	want := map[string]string{
		"CVE-2022-25883": "distro-owned: its files are of the deb package node-semver",
		"CVE-2099-0001":  "waiver: not reachable, until 2027-01-01 (alice)",
		"CVE-2024-35196": "vex: set aside in a test",
		"CVE-2020-11022": "in layer 4, removed by layer 5",
		"CVE-2019-10744": "in layer 4, replaced by layer 5",
		"CVE-2023-4911":  "",
		"EOL-debian-12":  "",
	}
	for _, r := range log.Runs[0].Results {
		reason, ok := want[r.RuleID]
		if !ok {
			continue
		}
		delete(want, r.RuleID)
		if reason == "" && len(r.Suppressions) > 0 || reason != "" && (len(r.Suppressions) != 1 || r.Suppressions[0].Justification != reason) {
			t.Errorf("%s: suppressions %+v, want %q", r.RuleID, r.Suppressions, reason)
		}
	}
	if len(want) > 0 {
		t.Errorf("no results for %v", want)
	}
}

func TestSARIFBaseline(t *testing.T) {
	states := map[string]int{}
	for _, res := range readSARIF(t, written(t, "sarif", Options{}, fullSample())).Runs[0].Results {
		if !strings.HasPrefix(res.RuleID, "policy/") {
			states[res.Baseline]++
		}
	}
	if n := len(fullSample().Findings); states["new"] != (n+2)/3 || states["unchanged"] != n-(n+2)/3 {
		t.Errorf("%v of %d", states, n)
	}
	for _, res := range readSARIF(t, written(t, "sarif", Options{}, sample())).Runs[0].Results {
		if res.Baseline != "" {
			t.Fatalf("%s without a baseline", res.Baseline)
		}
	}
}

func TestSARIFLimits(t *testing.T) {
	const most = 100
	run := newSARIF([]*Report{largeReport(200)}, 1, most).Runs[0]
	if len(run.Results) != most {
		t.Errorf("%d results", len(run.Results))
	}
	notes := run.Invocations[0].Notifications
	if last := notes[len(notes)-1].Message.Text; !strings.Contains(last, "117 results left out") {
		t.Errorf("the last note is %q", last)
	}
	for _, res := range run.Results[:80] { // of 200, a fifth each is critical and high
		if res.Level != "error" {
			t.Fatalf("a result of level %s is among the first", res.Level)
		}
	}
	var many []*Report
	for i := range 22 {
		many = append(many, sample())
		many[i].Image.Platform = fmt.Sprintf("linux/%d", i)
	}
	log := readSARIF(t, written(t, "sarif", Options{}, many...))
	if len(log.Runs) != 20 {
		t.Fatalf("%d runs", len(log.Runs))
	}
	notes = log.Runs[19].Invocations[0].Notifications
	if last := notes[len(notes)-1].Message.Text; last != "2 images left out: GitHub takes 20 runs in a file" {
		t.Errorf("the last note is %q", last)
	}
}

func TestSecuritySeverity(t *testing.T) {
	cvss := func(score float64) *CVSS { return &CVSS{Score: score} }
	tests := map[string]struct {
		findings []*Finding
		want     float64
	}{
		"of the vector":              {[]*Finding{{Severity: advisory.High, CVSS: cvss(7.5)}}, 7.5},
		"without a vector":           {[]*Finding{{Severity: advisory.Critical}}, 9.5},
		"the distribution knows":     {[]*Finding{{Severity: advisory.Low, CVSS: cvss(9.8)}}, 2},
		"the gravest of several":     {[]*Finding{{Severity: advisory.Low}, {Severity: advisory.Medium, CVSS: cvss(6.1)}}, 6.1},
		"nobody has rated it":        {[]*Finding{{Severity: advisory.Unknown}}, 0},
		"of the border to critical":  {[]*Finding{{Severity: advisory.Critical, CVSS: cvss(9)}}, 9},
		"a score without a severity": {[]*Finding{{CVSS: cvss(9)}}, 0},
	}
	for name, tt := range tests {
		if got := securitySeverity(tt.findings); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestListingViolations: the findings that a verdict objects to are those of its
// ids and packages, and none that were set aside.
func TestListingViolations(t *testing.T) {
	r := &Report{}
	b := builder{r}
	p, q := b.pkg("npm", "p", "1", 0), b.pkg("npm", "q", "1", 0)
	pid := p.ID
	b.finding(p, "CVE-1", advisory.High, "")
	b.finding(q, "CVE-1", advisory.High, "")
	b.finding(p, "CVE-2", advisory.High, "", func(f *Finding) { f.Suppressed = &Suppression{By: ByVEX} })
	b.finding(p, "CVE-3", advisory.High, "", func(f *Finding) { f.State = inventory.Removed })
	r.Verdict.Violations = []policy.Violation{
		{Rule: "a", Decision: policy.Fail, FindingIDs: []string{"CVE-1", "CVE-2", "CVE-3"}, PackageIDs: []string{pid}},
		{Rule: "b", Policy: "x", Decision: policy.Warn, FindingIDs: []string{"CVE-1"}, PackageIDs: []string{"p1"}},
	}
	l := newListing(r)
	got := map[string]string{}
	for _, f := range l.findings {
		got[f.PackageName+" "+f.ID] = fmt.Sprint(l.fails(f), l.objectors(f), l.aside(f))
	}
	want := map[string]string{
		"p CVE-1": "true [a]", "q CVE-1": "false [x: b (warning)]", "p CVE-2": "false []vex", "p CVE-3": "true [a]",
	}
	for k, v := range want {
		if strings.ReplaceAll(got[k], "] ", "]") != v {
			t.Errorf("%s: %q, want %q", k, got[k], v)
		}
	}
}

func TestRepository(t *testing.T) {
	for in, want := range map[string]string{
		"alpine:3.19": "alpine", "registry.example:5000/shop/app:1.4": "registry.example:5000/shop/app", "localhost:5000/app": "localhost:5000/app",
		"app@sha256:abc": "app", "app:1@sha256:abc": "app", "app.tar": "app.tar", "": "image", "sbom:app.cdx.json": "sbom:app.cdx.json", "dir:/": "dir:/", "/images/oci:app": "/images/oci:app", "./out:app": "./out:app",
	} {
		if got := repository(in); got != want {
			t.Errorf("repository(%q) = %q, want %q", in, got, want)
		}
	}
}
