package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"strata/internal/advisory"
	"strata/internal/policy"
)

// findingRule is the place of the rule of a finding's vulnerability, which the
// first finding makes: of the gravest, since findings are so ordered.
func (s *sarifWriter) findingRule(f *Finding) int {
	if i, ok := s.rules[ruleID(f.ID)]; ok {
		return i
	}
	same := s.sameRule(f.ID)
	rule := sarifRule{
		ID: ruleID(f.ID), Name: "VulnerablePackage",
		ShortDescription: sarifText{Text: sarifCut(title(f), sarifMaxText)},
		FullDescription:  sarifText{Text: sarifCut(cmp.Or(f.Summary, title(f)), sarifMaxText)},
		HelpURI:          first(links(f)),
		Help:             s.help(f, same),
		Default:          sarifLevel{Level: sarifLevelOf(f)},
		Properties:       map[string]any{"precision": "very-high", "tags": s.tags(f, same)},
	}
	if f.Kind == KindEndOfLife {
		rule.Name = "EndOfLife"
		rule.FullDescription.Text = sarifCut("Nobody writes security updates for "+f.PackageName+" "+f.PackageVersion+" any more", sarifMaxText)
	}
	if score := securitySeverity(same); score > 0 {
		rule.Properties["security-severity"] = strconv.FormatFloat(score, 'f', 1, 64)
	}
	return s.addRule(rule)
}

func (s *sarifWriter) addRule(rule sarifRule) int {
	i := len(s.out.Tool.Driver.Rules)
	s.rules[rule.ID] = i
	s.out.Tool.Driver.Rules = append(s.out.Tool.Driver.Rules, rule)
	return i
}

// ruleID is the id of the rule for an id of a finding.
func ruleID(id string) string { return sarifCut(cmp.Or(id, "unknown"), sarifMaxName) }

func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// sameRule are the findings with an id.
func (s *sarifWriter) sameRule(id string) []*Finding {
	if s.byID == nil {
		s.byID = map[string][]*Finding{}
		for _, f := range s.findings {
			s.byID[f.ID] = append(s.byID[f.ID], f)
		}
	}
	return s.byID[id]
}

// help tells where the vulnerability is, what fixes it, and where to read on.
func (s *sarifWriter) help(f *Finding, same []*Finding) sarifText {
	var text, md strings.Builder
	fmt.Fprintf(&text, "%s\n", Safe(title(f)))
	fmt.Fprintf(&md, "**%s**\n\n| package | installed | fixed in | layer |\n|---|---|---|---|\n", mdText(title(f)))
	for i, g := range same {
		if i == sarifMaxHelpLines {
			fmt.Fprintf(&text, "and %s\n", plural(len(same)-i, "more package"))
			fmt.Fprintf(&md, "| and %s | | | |\n", plural(len(same)-i, "more"))
			break
		}
		layer := ""
		if l := s.layerOf(g); l != nil {
			layer = s.layerPhrase(l, bare)
		}
		fmt.Fprintf(&text, "%s.\n", sarifCut(remedy(g, bare), sarifMaxText))
		fmt.Fprintf(&md, "| %s | %s | %s | %s |\n", mdCode(whole(g.PackageName)), mdCode(whole(g.PackageVersion)), mdFix(g), mdText(layer))
	}
	if f.CVSS != nil {
		fmt.Fprintf(&text, "CVSS %s: %.1f %s\n", Safe(f.CVSS.Version), f.CVSS.Score, Safe(f.CVSS.Vector))
		fmt.Fprintf(&md, "\nCVSS %s: %.1f %s\n", mdText(f.CVSS.Version), f.CVSS.Score, mdCode(f.CVSS.Vector))
	}
	if len(f.Aliases) > 0 {
		fmt.Fprintf(&text, "Also known as %s\n", Safe(strings.Join(f.Aliases, ", ")))
		fmt.Fprintf(&md, "\nAlso known as %s\n", mdText(strings.Join(f.Aliases, ", ")))
	}
	if refs := links(f); len(refs) > 0 {
		md.WriteString("\n")
		for _, link := range refs {
			fmt.Fprintf(&text, "%s\n", link)
			fmt.Fprintf(&md, "- <%s>\n", link)
		}
	}
	return sarifText{Text: text.String(), Markdown: md.String()}
}

// tags are few, the telling ones first, as GitHub shows the first ten.
func (s *sarifWriter) tags(f *Finding, same []*Finding) []string {
	tags := []string{"security", "vulnerability", string(f.Severity)}
	if f.Kind == KindEndOfLife {
		tags = []string{"security", "end-of-life"}
	}
	if f.KEV {
		tags = append(tags, "kev")
	}
	if slices.ContainsFunc(same, func(g *Finding) bool { return g.FixedVersion != "" }) {
		tags = append(tags, "fixable")
	}
	for _, g := range same {
		if tag := sarifCut(g.PackageType, 50); tag != "" && !slices.Contains(tags, tag) && len(tags) < sarifMaxTags {
			tags = append(tags, tag)
		}
	}
	return tags
}

// securitySeverity is the score by which GitHub grades a rule: from 9.0 critical,
// from 7.0 high, from 4.0 medium, above 0 low. It is that of CVSS where this
// agrees with the severity, which may be the distribution's word, else one in the
// middle of the severity's range; 0 for a severity nobody knows.
func securitySeverity(same []*Finding) float64 {
	var score float64
	for _, f := range same {
		var low, high float64
		switch f.Severity {
		case advisory.Critical:
			low, high = 9, 10
		case advisory.High:
			low, high = 7, 8.9
		case advisory.Medium:
			low, high = 4, 6.9
		case advisory.Low:
			low, high = 0.1, 3.9
		default:
			continue
		}
		mine := (low + high) / 2
		if f.CVSS != nil && f.CVSS.Score >= low && f.CVSS.Score <= high {
			mine = f.CVSS.Score
		}
		score = max(score, mine)
	}
	return score
}

// violationRule is the place of a rule of the policy.
func (s *sarifWriter) violationRule(id string, v *policy.Violation) int {
	if i, ok := s.rules[id]; ok {
		return i
	}
	return s.addRule(sarifRule{
		ID: id, Name: "PolicyViolation",
		ShortDescription: sarifText{Text: sarifCut("Rule "+ruleName(v), sarifMaxText)},
		FullDescription:  sarifText{Text: sarifCut(cmp.Or(v.Message, ruleName(v)), sarifMaxText)},
		Help:             sarifText{Text: sarifCut(fmt.Sprintf("The rule %s of the policy %s objects: %s", v.Rule, v.Policy, v.Message), sarifMaxText)},
		Default:          sarifLevel{Level: violationLevel(v)},
		Properties:       map[string]any{"precision": "very-high", "tags": []string{"policy"}},
	})
}
