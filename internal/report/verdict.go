package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"strata/internal/policy"
)

const (
	// maxReasons is how many violations the table tells.
	maxReasons = 10
	// maxNamed is how many packages or layers it names of one, and maxIDs how many
	// vulnerabilities of a package.
	maxNamed = 6
	maxIDs   = 3
)

// verdict is the last word, with the reasons and what to do.
func (t *table) verdict() {
	v := &t.report.Verdict
	t.line()
	switch {
	case v.Decision == policy.Fail:
		t.stamp(onRed, "FAIL", append(t.reasons(v), t.advice()...)...)
	case v.Decision != policy.Pass && v.Decision != policy.Warn && v.Decision != "":
		t.stamp(onRed, "FAIL", fmt.Sprintf("unknown decision %q", Safe(string(v.Decision))))
	case t.report.Incomplete():
		t.stamp(onAmber, "INCOMPLETE", t.incompleteReasons(v, ", see above")...)
	case v.Decision == policy.Warn:
		t.stamp(onAmber, "WARN", t.reasons(v)...)
	case len(v.Rules) == 0:
		t.paragraph(dim, "No policy was asked for a verdict; --fail-on SEVERITY is one, --policy NAME another", 0, t.Width)
	case t.unchecked() > 0:
		t.stamp(onAmber, "PASS", fmt.Sprintf("%s: no objection to what was checked; %s not checked", ruleNames(v), plural(t.unchecked(), "package")))
	default:
		t.stamp(onGreen, "PASS", ruleNames(v)+": no objection")
	}
}

// incompleteReasons tell what can be said for all that is missing, and where to see
// what that is.
func (t *table) incompleteReasons(v *policy.Verdict, where string) []string {
	reasons := t.reasons(v)
	if len(v.Violations) == 0 && len(v.Rules) > 0 {
		reasons = append(reasons, ruleNames(v)+": no objection to what could be had")
	}
	reasons = append(reasons, "a part of the image or the advisories could not be had"+where+": findings may be missing")
	if t.AllowIncomplete {
		reasons = append(reasons, "accepted, by --allow-incomplete")
	}
	return reasons
}

// detailMark begins a reason that tells more of the one before.
const detailMark = "  "

// stamp writes a word that is seen, and beside it its reasons, a line each.
func (t *table) stamp(st style, word string, reasons ...string) {
	if t.color {
		word = " " + word + " "
	}
	t.put(st, word)
	indent := width(word) + 2
	for _, reason := range reasons {
		detail, isDetail := strings.CutPrefix(reason, detailMark)
		if isDetail {
			t.to(indent + 2)
			t.paragraph(dim, detail, indent+2, t.Width)
			continue
		}
		t.to(indent)
		t.paragraph(plain, reason, indent, t.Width)
	}
}

// reasons are the violations in words, each with what it is about.
func (t *table) reasons(v *policy.Verdict) []string {
	texts := make([]string, 0, len(v.Violations))
	named := map[string]bool{}
	violations := gravest(v.Violations)
	for _, violation := range violations[:min(len(violations), maxReasons)] {
		texts = append(texts, fmt.Sprintf("%s: %s", violated(v, violation), cutEnd(Safe(violation.Message), maxMessage)))
		if about := t.about(violation); about != "" && !named[about] {
			named[about] = true
			texts = append(texts, detailMark+about)
		}
	}
	if more := len(v.Violations) - maxReasons; more > 0 {
		texts = append(texts, fmt.Sprintf("and %s; -f json has them all", plural(more, "more violation")))
	}
	switch v.Mode {
	case policy.WarnOnly:
		texts = append(texts, "nothing fails, by --warn")
	case policy.Enforce:
		texts = append(texts, "what only warns fails too, by --enforce")
	}
	return texts
}

// gravest are the violations with those first that fail the image, as not all are
// told.
func gravest(violations []policy.Violation) []*policy.Violation {
	var fail, warn []*policy.Violation
	for i := range violations {
		if v := &violations[i]; failing(v) {
			fail = append(fail, v)
		} else {
			warn = append(warn, v)
		}
	}
	return append(fail, warn...)
}

// violated is the rule of a violation with its policy, and with what it does
// where that is less than the verdict.
func violated(v *policy.Verdict, violation *policy.Violation) string {
	name := whole(violation.Rule)
	if violation.Policy != "" && violation.Policy != policy.CommandLine {
		name = whole(violation.Policy) + ", " + name
	}
	if v.Decision == policy.Fail && violation.Decision == policy.Warn {
		name += " (warns)"
	}
	return name
}

// about names what a violation is about: packages with their vulnerabilities, or
// with their licences, or layers.
func (t *table) about(v *policy.Violation) string {
	var items []string
	if t.report.Filtered != nil && len(v.FindingIDs) > 0 {
		return t.aboutFiltered(v)
	}
	order, found := t.findingsOf(v)
	for _, p := range order {
		items = append(items, fmt.Sprintf("%s (%s)", cutMiddle(Safe(p), maxName), shortList(found[p], maxIDs)))
	}
	if len(v.FindingIDs) == 0 {
		for _, id := range v.PackageIDs {
			items = append(items, t.packageWithLicense(id))
		}
	}
	for _, index := range v.Layers {
		item := fmt.Sprintf("layer %d", index)
		if l := t.place[index]; l != nil {
			item += " " + cutEnd(Safe(Instruction(l.CreatedBy)), maxName)
		}
		items = append(items, item)
	}
	return shortList(items, maxNamed)
}

// aboutFiltered names what a violation is about when not all findings are there.
func (t *table) aboutFiltered(v *policy.Violation) string {
	var ids, packages []string
	for _, id := range v.FindingIDs {
		ids = append(ids, whole(id))
	}
	for _, id := range v.PackageIDs {
		if p := t.packages[id]; p != nil && !slices.Contains(packages, cutMiddle(Safe(p.Name), maxName)) {
			packages = append(packages, cutMiddle(Safe(p.Name), maxName))
		}
	}
	if len(packages) == 0 {
		return shortList(ids, maxNamed)
	}
	return shortList(ids, maxNamed) + " in " + shortList(packages, maxNamed)
}

// findingsOf are the findings of a violation: the names of their packages in
// order, and the ids for each.
func (t *table) findingsOf(v *policy.Violation) (order []string, found map[string][]string) {
	found = map[string][]string{}
	objections := objectionsOf(v, t.report.Findings)
	for i := range t.report.Findings {
		f := &t.report.Findings[i]
		if !objections[keyOf(f)] {
			continue
		}
		name := t.findingPackage(f).Name
		if found[name] == nil {
			order = append(order, name)
		}
		if id := whole(f.ID); !slices.Contains(found[name], id) {
			found[name] = append(found[name], id)
		}
	}
	return order, found
}

func (t *table) packageWithLicense(id string) string {
	p := t.packages[id]
	if p == nil {
		return whole(id)
	}
	name := cutMiddle(Safe(p.Name), maxName) + " " + whole(p.Version)
	if p.License != nil && p.License.Expression != "" {
		name += " (" + cutEnd(Safe(p.License.Expression), maxName) + ")"
	}
	return name
}

// shortList joins the first of the words and counts the rest.
func shortList(words []string, most int) string {
	if len(words) <= most {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), len(words)-most)
}

// ruleNames are the rules that were asked: those of flags by their names, those of
// a policy by how many they are.
func ruleNames(v *policy.Verdict) string {
	var names []string
	counts := map[string]int{}
	for _, rule := range v.Rules {
		name, _, ofPolicy := strings.Cut(rule, ": ")
		if counts[name] == 0 {
			names = append(names, name)
		}
		if ofPolicy {
			counts[name]++
		}
	}
	for i, name := range names {
		names[i] = whole(name)
		if n := counts[name]; n > 0 {
			names[i] += " (" + plural(n, "rule") + ")"
		}
	}
	return strings.Join(names, ", ")
}

// advice says how the vulnerabilities that failed the image can be got rid of. It
// needs them all, so there is none over a filtered report.
func (t *table) advice() []string {
	if t.report.Filtered != nil {
		return nil
	}
	failed := map[policy.FindingKey]bool{}
	for i := range t.report.Verdict.Violations {
		if v := &t.report.Verdict.Violations[i]; v.Decision != policy.Warn {
			maps.Copy(failed, objectionsOf(v, t.report.Findings))
		}
	}
	var all, fixable, base int
	for i := range t.report.Findings {
		f := &t.report.Findings[i]
		if f.Kind == KindEndOfLife || !f.Active() || !failed[keyOf(f)] {
			continue
		}
		all++
		fixable += count(f.FixedVersion != "")
		base += count(t.inBase(f))
	}
	if all == 0 {
		return nil
	}
	advice := []string{fmt.Sprintf("fix: a version without it is known for %d of %d", fixable, all)}
	if fixable > 0 {
		advice[0] += " (`strata fix` plans it)"
	}
	if base > 0 {
		advice = append(advice, fmt.Sprintf("base image: %d of %d came with it; try its newest build first", base, all))
	}
	return advice
}

func (t *table) inBase(f *Finding) bool {
	l := t.place[f.Layer]
	return l != nil && l.Base
}

// objectionsOf are the findings that a violation is about. One that does not say
// which finding is in which package, as of an older report, is about all that its
// ids may mean.
func objectionsOf(v *policy.Violation, findings []Finding) map[policy.FindingKey]bool {
	keys := make(map[policy.FindingKey]bool, len(v.Findings))
	for _, k := range v.Findings {
		keys[k] = true
	}
	if len(keys) > 0 || len(v.FindingIDs) == 0 {
		return keys
	}
	ids, packages := setOf(v.FindingIDs), setOf(v.PackageIDs)
	for i := range findings {
		f := &findings[i]
		if ids[f.ID] && (f.PackageID == "" || len(packages) == 0 || packages[f.PackageID]) {
			keys[keyOf(f)] = true
		}
	}
	return keys
}

func setOf(words []string) map[string]bool {
	set := make(map[string]bool, len(words))
	for _, w := range words {
		set[w] = true
	}
	return set
}
