package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/advisory"
	"strata/internal/inventory"
	"strata/internal/license"
)

func loader(t testing.TB) *Loader {
	t.Helper()
	l, err := NewLoader()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func load(t testing.TB, text string) []Rule {
	t.Helper()
	policies, err := loader(t).Load("shop.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var rules []Rule
	for _, p := range policies {
		rules = append(rules, p.Rules...)
	}
	return rules
}

var today = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func daysAgo(n int) time.Time { return today.AddDate(0, 0, -n) }

// shop is an image with one of everything: p0 of the base, p1 of our own layer,
// p2 that a later layer shadowed, p3 whose finding is waived.
func shop() *Input {
	return &Input{
		Now: today,
		Image: Image{
			Reference: "registry.example:5000/shop/app:1.0", Platform: "linux/amd64", Labels: map[string]string{"team": "shop"}, Created: daysAgo(3),
			Distro: Distro{ID: "debian", Version: "12", Name: "Debian GNU/Linux 12", Status: "supported"},
			Base:   &Base{Reference: "debian:12", Layers: 1, By: "layers", Created: daysAgo(100)},
		},
		Layers: []Layer{
			{Index: 0, Base: true, Instruction: "ADD rootfs.tar /", Size: 100 << 20, Created: daysAgo(100)},
			{Index: 1, Instruction: "RUN npm ci", Size: 700 << 20},
			{Index: 2, Instruction: "USER root", Empty: true},
		},
		Packages: []Package{
			{ID: "p0", Type: "deb", Name: "openssl", Version: "3.0.9-1", State: inventory.Present, StateLayer: -1, License: &License{Expression: "Apache-2.0", Class: license.Permissive}},
			{ID: "p1", Type: "npm", Name: "left-pad", Version: "1.0.0", Layer: 1, State: inventory.Present, StateLayer: -1, Paths: []string{"app/node_modules/left-pad/package.json"}, License: &License{Expression: "GPL-3.0-only WITH Classpath-exception-2.0 AND MIT", Class: license.StrongCopyleft}},
			{ID: "p2", Type: "npm", Name: "minimist", Version: "1.2.0", Layer: 1, State: inventory.Shadowed, StateLayer: 2, License: &License{}},
			{ID: "p3", Type: "npm", Name: "semver", Version: "7.3.0", Layer: 1, State: inventory.Present, StateLayer: -1, License: &License{Expression: "ISC", Class: license.Permissive}},
		},
		Findings: []Finding{
			{ID: "CVE-2024-0001", PackageID: "p0", Severity: advisory.Critical, FixedVersion: "3.0.11-1", KEV: true, EPSS: 0.5, State: inventory.Present, Published: daysAgo(40)},
			{ID: "CVE-2024-0002", Aliases: []string{"GHSA-2222-2222-0002"}, PackageID: "p1", Severity: advisory.High, FixedVersion: "1.3.0", Layer: 1, State: inventory.Present, Score: 7.5},
			{ID: "CVE-2024-0003", PackageID: "p1", Severity: advisory.Low, Layer: 1, State: inventory.Present},
			{ID: "CVE-2024-0004", PackageID: "p2", Severity: advisory.Medium, Layer: 1, State: inventory.Shadowed, KEV: true},
			{ID: "CVE-2024-0005", PackageID: "p3", Severity: advisory.High, Layer: 1, State: inventory.Present, Suppressed: &Suppression{By: ByWaiver, Reason: "not reachable"}},
			{ID: "EOL-debian-12", Kind: kindEndOfLife, Severity: advisory.Unknown, State: inventory.Present},
		},
	}
}

// TestExpressions asks what each expression is true of.
func TestExpressions(t *testing.T) {
	tests := []struct{ when, more, want string }{
		{"finding.kev", "", "CVE-2024-0001"},
		{"finding.kev", "include: [shadowed]", "CVE-2024-0001 CVE-2024-0004"},
		{`finding.severity == "high"`, "", "CVE-2024-0002"},
		{`finding.severity == "high"`, "include: [suppressed]", "CVE-2024-0002 CVE-2024-0005"},
		{`finding.severity_rank >= severity("high") && finding.fixable`, "", "CVE-2024-0001 CVE-2024-0002"},
		{`finding.kind == "end_of_life"`, "", "EOL-debian-12"},
		{`finding.kind == "end_of_life" && package.name == "" && package.license.class == "unknown" && package.layer.index == -1 && !layer.empty`, "", "EOL-debian-12"},
		{"!finding.fixable", "", "CVE-2024-0003"},
		{`"GHSA-2222-2222-0002" in finding.aliases`, "", "CVE-2024-0002"},
		{`finding.ids.exists(i, i.startsWith("GHSA"))`, "", "CVE-2024-0002"},
		{"finding.epss > 0.1 && finding.epss <= 1", "", "CVE-2024-0001"},
		{"finding.score >= 7", "", "CVE-2024-0002"},
		{"finding.age_days > 30", "", "CVE-2024-0001"},
		{`has(finding.published) && now - finding.published > duration("720h")`, "", "CVE-2024-0001"},
		{"!has(finding.published)", "", "CVE-2024-0002 CVE-2024-0003"},
		{"!finding.layer.base", "", "CVE-2024-0002 CVE-2024-0003"},
		{`finding.id != "" && layer.base`, "", "CVE-2024-0001"},
		{`finding.package.type == "npm"`, "", "CVE-2024-0002 CVE-2024-0003"},
		{`finding.kev || package.name == "left-pad"`, "", "CVE-2024-0001 CVE-2024-0002 CVE-2024-0003"},
		{`finding.id == "package" || package.name == 'openssl' // package`, "", "CVE-2024-0001"},
		{`finding.package == package && package.name.matches("^open.*")`, "", "CVE-2024-0001"},
		{`finding.package.license.class == "strong-copyleft"`, "", "CVE-2024-0002 CVE-2024-0003"},
		{`package.name in ["left-pad", "minimist"]`, "", "p1"},
		{`package.name in ["left-pad", "minimist"]`, "include: [shadowed]", "p1 p2"},
		{`package.paths.exists(p, p.contains("node_modules")) && !package.distribution`, "", "p1"},
		{"package.state_layer.index == 2", "include: [shadowed]", "p2"},
		{`license.class == "strong-copyleft"`, "", "p1"},
		{`"GPL-3.0-only" in license.ids && !("Classpath-exception-2.0" in license.ids) && license.ids.size() == 2`, "", "p1"},
		{"!license.known", "include: [shadowed]", "p2"},
		{`license.known && package.type == "deb"`, "", "p0"},
		{"layer.size > 500 * 1024 * 1024", "", "1"},
		{`layer.instruction.startsWith("USER root")`, "", "2"},
		{"has(layer.created) && layer.age_days >= 100", "", "0"},
		{`image.distro.id == "debian" && image.registry == "registry.example:5000" && image.repository == "shop/app" && image.tag == "1.0"`, "", "image"},
		{`image.labels["team"] == "shop" && !("owner" in image.labels)`, "", "image"},
		{`has(image.base) && image.base.age_days > 90 && image.base.repository == "library/debian"`, "", "image"},
		{"image.layers.exists(layer, layer.base) && image.findings.exists(finding, finding.kev) && image.packages.exists(package, package.name == 'left-pad')", "", "image"},
		{"[layer].exists(layer, layer.base)", "", "0"},
		{"image.findings.size() == 3 && image.packages.size() == 3", "", "image"},
		{`image.findings.filter(f, f.severity == "low").size() > 0`, "", "image"},
		{`image.layers.all(l, l.base || l.index > 0) && image.layers[0].base`, "", "image"},
		{`now > timestamp("2026-11-01T00:00:00Z")`, "", "image"},
		{"false", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.when+" "+tt.more, func(t *testing.T) {
			text := fmt.Sprintf("rules:\n- name: r\n  action: fail\n  when: |\n    %s\n  %s\n", tt.when, tt.more)
			v := Evaluate(shop(), AsWritten, load(t, text)...)
			var got []string
			for _, violation := range v.Violations {
				if strings.Contains(violation.Message, "can't be evaluated") {
					t.Fatal(violation.Message)
				}
				switch {
				case violation.FindingIDs != nil:
					got = append(got, violation.FindingIDs...)
				case violation.PackageIDs != nil:
					got = append(got, violation.PackageIDs...)
				case violation.Layers != nil:
					got = append(got, strings.Trim(fmt.Sprint(violation.Layers), "[]"))
				default:
					got = append(got, "image")
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("objected to (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadyPolicies(t *testing.T) {
	if len(ReadyNames()) < 7 {
		t.Errorf("ready policies %v", ReadyNames())
	}
	for _, name := range ReadyNames() {
		p, err := loader(t).Ready(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if p.Name != name || p.Description == "" {
			t.Errorf("%s: name %q, description %q", name, p.Name, p.Description)
		}
		for _, v := range Evaluate(shop(), AsWritten, p.Rules...).Violations {
			t.Logf("%s: %s %+v", name, v.Rule, v)
			if strings.Contains(v.Message, "can't be evaluated") {
				t.Error(v.Message)
			}
		}
	}
}
