package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"strata/internal/advisory"
	fix "strata/internal/remedy"
)

// samplePlan has a step of every kind, and something of everything else.
func samplePlan() *fix.Plan {
	ref := func(id string, s Severity, pkg, version string) fix.Ref {
		return fix.Ref{ID: id, Severity: s, Type: "deb", Package: pkg, Version: version}
	}
	exploited := ref("CVE-2023-44487", advisory.High, "nodejs", "18.13.0+dfsg1-1")
	exploited.KEV, exploited.EPSS = true, 0.94
	return &fix.Plan{
		SchemaVersion: fix.SchemaVersion,
		Image:         fix.Subject{Reference: "registry.example:5000/shop/node-app:1.4", Digest: digest(9), Platform: "linux/amd64", Base: "node:18.1-bookworm-slim", BaseLayers: 2},
		Before:        fix.Counts{Critical: 2, High: 3, Medium: 1, Low: 1, Unknown: 1}, After: fix.Counts{Medium: 1, Unknown: 1},
		Steps: []fix.Step{
			{Number: 1, Kind: fix.StepBase, Title: "Build on node:18.20-bookworm-slim instead of node:18.1-bookworm-slim", Layer: -1, Instruction: "node:18.1-bookworm-slim", Proposed: "node:18.20-bookworm-slim",
				File: "Dockerfile", Line: 2, Fixes: []fix.Ref{exploited, ref("CVE-2023-4911", advisory.High, "libc6", "2.36-9")}, Brings: []fix.Ref{ref("CVE-2026-1", advisory.Unknown, "libc6", "2.36-9+deb12u9")},
				Alternatives: []fix.Alternative{{Reference: "node:22-bookworm-slim", Major: true, Risk: 600, After: fix.Counts{Low: 2}}}, Risk: 600, After: fix.Counts{Critical: 2, High: 1, Medium: 1, Low: 1, Unknown: 1}, Notes: []string{"line 1 becomes ARG NODE=18.20"}},
			{Number: 2, Kind: fix.StepProject, Title: "In package-lock.json, take ejs 3.1.10 and lodash 4.17.21", Layer: 3, Instruction: "RUN npm ci --omit=dev", Major: true, Command: "npm update ejs",
				Changes: []fix.Change{
					{PackageID: "p1", Type: "npm", Name: "ejs", From: "2.7.4", To: "3.1.10", Major: true, File: "package-lock.json", Path: "app/node_modules/ejs/package.json", Fixes: []string{"CVE-2022-29078"}},
					{PackageID: "p2", Type: "npm", Name: "@babel/plugin-transform-modules-systemjs-with-a-long-name", From: "4.4.1", To: "6.2.1", Major: true, InBranch: "4.4.18", InBranchFixes: []string{"CVE-1", "CVE-2"}, Fixes: []string{"CVE-1", "CVE-2", "CVE-3", "CVE-4"}, Brings: []string{"CVE-9"}},
				}, Fixes: []fix.Ref{ref("CVE-2022-29078", advisory.Critical, "ejs", "2.7.4")}, Risk: 100, After: fix.Counts{Critical: 1, High: 1, Medium: 1, Low: 1, Unknown: 1}},
			{Number: 3, Kind: fix.StepInstruction, Title: "Install nginx 1.22.1-9+deb12u1", Layer: 2, Instruction: "RUN apt-get install -y nginx", Proposed: "RUN apt-get install -y nginx=1.22.1-9+deb12u*",
				Changes: []fix.Change{{PackageID: "p3", Type: "deb", Name: "nginx", From: "1.22.1-9", To: "1.22.1-9+deb12u1", Named: true, Fixes: []string{"CVE-5"}, Leaves: []string{"CVE-6"}}},
				Fixes:   []fix.Ref{ref("CVE-5", advisory.Critical, "nginx", "1.22.1-9")}, Risk: 100, After: fix.Counts{High: 1, Medium: 1, Low: 1, Unknown: 1}},
			{Number: 4, Kind: fix.StepUpgrade, Title: "Upgrade openssl 3.0.11-1 of the layers below", Layer: -1, Proposed: "RUN apt-get update && apt-get install -y --only-upgrade openssl && rm -rf /var/lib/apt/lists/*",
				Changes: []fix.Change{{PackageID: "p4", Type: "deb", Name: "openssl", From: "3.0.9-1", To: "3.0.11-1", Fixes: []string{"CVE-7"}}},
				Fixes:   []fix.Ref{ref("CVE-7", advisory.High, "openssl", "3.0.9-1"), ref("CVE-8", advisory.Low, "openssl", "3.0.9-1")}, Risk: 41, After: fix.Counts{Medium: 1, Unknown: 1}},
		},
		Stays:    []fix.Stay{{PackageID: "p5", Type: "deb", Name: "zlib1g", Version: "1:1.2.13", Reason: fix.StayNoFix, Text: "no version without it is known", Findings: []fix.Ref{ref("CVE-10", advisory.Medium, "zlib1g", "1:1.2.13")}}},
		Rebuilds: []fix.Rebuild{{Type: "npm", Name: "jquery", Version: "3.4.1", Layer: 3, StateLayer: 5, State: "removed", Findings: []fix.Ref{ref("CVE-11", advisory.Medium, "jquery", "3.4.1")}, Text: "layer 5 only removed it: do that in the instruction of layer 3, or copy the result into a last stage"}},
		Diff:     "--- a/Dockerfile\n+++ b/Dockerfile\n@@ -1 +1 @@\n-ARG NODE=18.1\n+ARG NODE=18.20\n",
		Notes:    []string{"Debian GNU/Linux 12 (bookworm) is old"},
	}
}

func writtenPlan(t *testing.T, format string, p *fix.Plan, o PlanOptions) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := WritePlan(&buf, format, p, o); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestPlanGolden(t *testing.T) {
	for name, tt := range map[string]struct {
		format string
		plan   *fix.Plan
		o      PlanOptions
	}{
		"plan-100.txt":       {"text", samplePlan(), PlanOptions{}},
		"plan-60.txt":        {"text", samplePlan(), PlanOptions{Width: 60}},
		"plan-100-color.txt": {"text", samplePlan(), PlanOptions{Color: true}},
		"plan.json":          {"json", samplePlan(), PlanOptions{}},
		"plan.md":            {"markdown", samplePlan(), PlanOptions{}},
		"plan.diff":          {"diff", samplePlan(), PlanOptions{}},
		"plan-nothing.txt":   {"text", &fix.Plan{Image: fix.Subject{Reference: "a:1"}, Incomplete: true, Notes: []string{"no advisory data"}}, PlanOptions{}},
	} {
		golden(t, name, writtenPlan(t, tt.format, tt.plan, tt.o))
	}
	if err := WritePlan(&bytes.Buffer{}, "yaml", samplePlan(), PlanOptions{}); err == nil {
		t.Error("a format that does not exist is no error")
	}
}

// TestPlanFollowsItsSchema holds the contract, reads the plan back, and holds the
// schema against plans that break it.
func TestPlanFollowsItsSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../docs/plan.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	check := func(doc []byte) error {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	full := writtenPlan(t, "json", samplePlan(), PlanOptions{})
	for name, doc := range map[string][]byte{"full": full, "empty": writtenPlan(t, "json", &fix.Plan{SchemaVersion: "1"}, PlanOptions{})} {
		if err := check(doc); err != nil {
			t.Errorf("%s: the plan breaks docs/plan.schema.json: %v", name, err)
		}
	}
	var again fix.Plan
	if err := json.Unmarshal(full, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(samplePlan(), &again, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(fix.Change{})); diff != "" {
		t.Errorf("read back (-plan +json):\n%s", diff)
	}
	for _, change := range [][2]string{{`"kind": "base"`, `"kind": "bases"`}, {`"notes": []`, `"notes": null`}, {`"to": "3.1.10"`, `"at": "3.1.10"`}, {`"reason": "no_fix"`, `"reason": "none"`}} {
		broken := strings.Replace(string(full), change[0], change[1], 1)
		if broken == string(full) {
			t.Fatalf("the plan has no %s", change[0])
		}
		if check([]byte(broken)) == nil {
			t.Errorf("the schema lets %s through", change[1])
		}
	}
}

// FuzzPlan: whatever names an image has, no format drives the terminal.
func FuzzPlan(f *testing.F) {
	for _, s := range []string{"a", "\x1b[31m", "a\nb", "`x` | <b> **c** @all ```", "\u202e\xff", strings.Repeat("x", 300), ""} {
		f.Add(s, 80)
	}
	f.Fuzz(func(t *testing.T, s string, width int) {
		ref := fix.Ref{ID: s, Severity: Severity(s), Type: s, Package: s, Version: s}
		p := &fix.Plan{
			Image: fix.Subject{Reference: s, Platform: s, Base: s, BaseLayers: len(s) % 3}, Before: fix.Counts{High: 1}, Notes: []string{s},
			Steps: []fix.Step{
				{Kind: fix.StepBase, Title: s, Instruction: s, Proposed: s, File: s, Line: 1, Fixes: []fix.Ref{ref}, Brings: []fix.Ref{ref}, Notes: []string{s}, Alternatives: []fix.Alternative{{Reference: s}}},
				{Kind: fix.StepProject, Title: s, Layer: 1, Instruction: s, Changes: []fix.Change{{Name: s, From: s, To: s, Fixes: []string{s}, Brings: []string{s}, InBranch: s}}},
			},
			Stays:    []fix.Stay{{Name: s, Version: s, Text: s, Findings: []fix.Ref{ref}}},
			Rebuilds: []fix.Rebuild{{Name: s, Version: s, Text: s, Findings: []fix.Ref{ref}}},
			Diff:     "+" + strings.ReplaceAll(s, "\n", ""),
		}
		for _, format := range []string{"text", "markdown", "json"} {
			checkSafe(t, string(writtenPlan(t, format, p, PlanOptions{Width: width})))
		}
	})
}
