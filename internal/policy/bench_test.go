package policy

import (
	"fmt"
	"strings"
	"testing"

	"strata/internal/inventory"
)

// tenRules are rules as people write them.
const tenRules = `rules:
- {name: r0, action: fail, when: finding.kev}
- {name: r1, action: fail, when: 'finding.severity == "critical" && finding.fixable'}
- {name: r2, action: warn, when: 'finding.severity_rank >= severity("high") && finding.age_days > 30', message: "{{finding.id}} is {{finding.age_days}} days old"}
- {name: r3, action: fail, when: '!finding.layer.base && finding.score >= 9.0'}
- {name: r4, action: ignore, when: 'finding.package.name.startsWith("linux-") && finding.package.type == "deb"'}
- {name: r5, action: warn, when: 'finding.epss > 0.9 || finding.id in ["CVE-2021-44228", "CVE-2014-0160"]'}
- {name: r6, action: warn, when: 'finding.aliases.exists(a, a.startsWith("GHSA-zzzz"))'}
- {name: r7, action: fail, when: 'finding.package.purl.matches("^pkg:npm/evil")'}
- {name: r8, action: warn, when: 'has(finding.published) && now - finding.published > duration("720h") && finding.kev'}
- {name: r9, action: warn, when: 'image.labels.exists(k, k == "team") && finding.severity == "unknown"'}
`

func large(findings int) *Input {
	in := shop()
	for i := range findings {
		in.Findings = append(in.Findings, Finding{
			ID: fmt.Sprintf("CVE-2024-%05d", i), Aliases: []string{"GHSA-aaaa-bbbb-cccc", "RHSA-1"}, PackageID: in.Packages[i%2].ID,
			Severity: Severities()[i%5], Score: float64(i % 10), State: inventory.Present, Published: daysAgo(i % 100), FixedVersion: "2",
		})
	}
	return in
}

func BenchmarkEvaluate(b *testing.B) {
	rules := load(b, tenRules)
	in := large(10_000)
	b.ReportAllocs()
	for b.Loop() {
		for i := range in.Findings {
			in.Findings[i].Suppressed = nil
		}
		Evaluate(in, AsWritten, rules...)
	}
}

// TestViolationsAreFew: a rule with a message for each of 10,000 findings gives no
// 10,000 violations.
func TestViolationsAreFew(t *testing.T) {
	v := Evaluate(large(10_000), AsWritten, load(t, tenRules)...)
	if v.Decision != Fail || len(v.Violations) > maxMessages+10 {
		t.Errorf("%s with %d violations", v.Decision, len(v.Violations))
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		load(b, tenRules)
	}
}

// TestCostIsBounded: a rule that goes over all findings for each of them is given
// up, and says so, instead of running for minutes.
func TestCostIsBounded(t *testing.T) {
	for _, when := range []string{
		"finding.kev || image.findings.all(f, f.id != finding.id || f.severity == finding.severity)",
		"image.findings.all(f, image.findings.all(g, f.id != g.id + 'x'))",
		"finding in image.findings.filter(f, f.kev) || !(finding in image.findings) || image.findings == image.findings.filter(f, true)",
		"finding.kev || image.findings != image.findings || image.packages == image.packages && finding in image.findings && image.findings == image.findings",
		"['a'].map(x, x + x)" + strings.Repeat(".map(x, x + x)", 60) + ".size() == 0",
		"layer.index >= 0 && image.findings.all(f, image.findings.all(g, image.findings.all(h, f.id != g.id + h.id)))",
	} {
		rules := load(t, "rules: [{action: warn, when: \""+when+"\"}]")
		v := Evaluate(large(10_000), AsWritten, rules...)
		if len(v.Violations) == 0 || !strings.Contains(v.Violations[len(v.Violations)-1].Message, "costs too much") {
			t.Errorf("%s: %v", when, v.Violations)
		}
	}
}

// TestMessagesAreBounded: neither are messages of any length.
func TestMessagesAreBounded(t *testing.T) {
	rules := load(t, "rules: [{action: warn, when: image.tag == '1.0', message: \"{{image.findings.map(f, f.id)}} {{image.findings}}\"}]")
	v := Evaluate(large(10_000), AsWritten, rules...)
	if n := len([]rune(v.Violations[0].Message)); n > maxMessage {
		t.Errorf("a message of %d characters", n)
	}
}

// TestGrowingTextsAreRefused: what makes long texts of short ones is none of the
// language.
func TestGrowingTextsAreRefused(t *testing.T) {
	for _, when := range []string{`finding.id.replace("a", "aa") == ""`, `finding.ids.join(",") == ""`, `"%s".format([finding.id]) == ""`, `strings.quote(finding.id) == ""`,
		`[[finding.id]].size() > 0`, `finding.ids.map(x, [x, x]).size() > 0`, `{"a": finding.id}.size() > 0`, `[dyn(finding.ids)].size() > 0`} {
		_, err := loader(t).Load("x.yaml", []byte("rules:\n- action: warn\n  when: |\n    "+when+"\n"))
		if err == nil || !strings.Contains(err.Error(), "x.yaml:4:") || !strings.Contains(err.Error(), " in policies") {
			t.Errorf("%s: error %v", when, err)
		}
	}
}
