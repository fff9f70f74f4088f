package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"strata/internal/inventory"
	"strata/internal/policy"
)

const (
	// maxProblems is how many problems the table tells one by one.
	maxProblems = 15
	// matching is the analyzer of problems that package match reports.
	matching = "match"
	// maxMessage is how much of a problem's message it shows.
	maxMessage = 240
	// oldAdvisories is the age in hours from which on the table suggests to update.
	oldAdvisories = 7 * 24
)

// warnings tell what is wrong with the answer itself.
func (t *table) warnings() {
	r := t.report
	warnings := t.ageWarnings()
	if !slices.ContainsFunc(r.Problems, aboutAdvisories) {
		warnings = slices.Concat(t.distroWarnings(), t.coverageWarnings(), warnings)
	}
	if len(warnings)+len(r.Problems) == 0 {
		return
	}
	t.line()
	for _, w := range warnings {
		t.warning(w)
	}
	t.problems()
}

func (t *table) warning(message string) {
	t.put(yellow, "!")
	t.space(1)
	t.paragraph(plain, message, 2, t.Width)
}

func (t *table) distroWarnings() []string {
	said := slices.ContainsFunc(t.report.Advisories.Coverage, func(c Coverage) bool { return c.Status == EndOfLife }) ||
		slices.ContainsFunc(t.ended, func(f *Finding) bool { return f.PackageID == "" })
	if t.report.Image.Distro.Status != DistroEndOfLife || said {
		return nil
	}
	return []string{fmt.Sprintf("%s is past its end of life: vulnerabilities found since are not in its advisories", strings.TrimSuffix(t.distro(), " (end of life)"))}
}

func (t *table) coverageWarnings() []string {
	coverage := t.report.Advisories.Coverage
	if !t.report.LookedFor(ScanVulnerabilities) {
		return nil
	}
	if len(coverage) == 0 && len(t.report.Packages) > 0 {
		return []string{fmt.Sprintf("nothing tells whether there are advisories for the %s", plural(len(t.report.Packages), "package"))}
	}
	var warnings []string
	for i := range coverage {
		c := &coverage[i]
		of := coverageName(c)
		packages := t.coveragePackages(c)
		switch {
		case c.Status == Covered, packages == 0:
		case c.Status == Partial:
			warnings = append(warnings, fmt.Sprintf("advisories for %s are known to be but a part: findings may be missing in %s", of, plural(packages, "package")))
		case c.Status == EndOfLife:
			warnings = append(warnings, fmt.Sprintf("no new advisories are written for %s: %s checked against old ones only", of, plural(packages, "package")))
		case c.Status == NoData:
			warnings = append(warnings, fmt.Sprintf("no advisory data for %s: %s not checked", of, plural(packages, "package")))
		default:
			warnings = append(warnings, fmt.Sprintf("%s: %s, %s not checked", of, Safe(string(c.Status)), plural(packages, "package")))
		}
	}
	if t.report.Advisories.Starter {
		warnings = append(warnings, "the advisories are the starter set in the program, which knows few packages: run strata db update")
	}
	return warnings
}

// coverageName is an ecosystem in words: "npm", "rpm packages of Fedora 35".
func coverageName(c *Coverage) string {
	name := whole(strings.Replace(c.Ecosystem, ":", " ", 1))
	if strings.HasPrefix(name, "(") { // package match's way to say that there is none
		name = ""
	}
	if kind := (inventory.Package{Type: c.Type}); kind.Distribution() {
		return fmt.Sprintf("%s packages of %s", c.Type, cmp.Or(name, "an unknown distribution"))
	}
	return cmp.Or(name, Safe(c.Type)+" packages")
}

func (t *table) ageWarnings() []string {
	a := &t.report.Advisories
	if a.AgeHours < oldAdvisories || a.Starter {
		return nil
	}
	return []string{fmt.Sprintf("the advisories were updated %s: run strata db update", age(a.AgeHours))}
}

// aboutAdvisories tells whether matching itself says what it had no advisories
// for: then nothing is to be said of it twice.
func aboutAdvisories(p Problem) bool { return p.Analyzer == matching && p.Layer < 0 }

// problems tells the gravest first and counts those for which there is no room.
func (t *table) problems() {
	problems := slices.Clone(t.report.Problems)
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(count(b.Incomplete)-count(a.Incomplete), count(b.Layer < 0)-count(a.Layer < 0))
	})
	for i := range problems[:min(len(problems), maxProblems)] {
		t.warning(t.problem(&problems[i]))
	}
	if more := len(problems) - maxProblems; more > 0 {
		t.warning(fmt.Sprintf("and %s; -f json has them all", plural(more, "more problem")))
	}
}

// count is 1 for true.
func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (t *table) problem(p *Problem) string {
	var where []string
	if p.Layer >= 0 {
		where = append(where, fmt.Sprintf("layer %d", p.Layer))
	}
	if p.Path != "" {
		where = append(where, cutStart(Safe(p.Path), t.Width-12))
	}
	message := cutEnd(Safe(p.Message), maxMessage)
	if p.Analyzer != "" && p.Analyzer != matching {
		message += " (" + whole(p.Analyzer) + ")"
	}
	if p.Incomplete && p.Layer >= 0 {
		message += " – findings may be missing"
	}
	if len(where) == 0 {
		return message
	}
	return strings.Join(where, " ") + ": " + message
}

// sum is the totals, and never "all clear" where not all was looked at.
func (t *table) sum() {
	t.line()
	if t.counts.Total() == 0 {
		t.nothingFound()
	} else {
		t.totals()
	}
	t.hidden()
	t.advisories()
}

func (t *table) totals() {
	head := plural(t.counts.Total(), "finding") + "  "
	t.put(bold, head)
	for i, s := range policy.Severities() {
		if n := t.counts[i]; n > 0 {
			t.item(severityStyle(s), fmt.Sprintf("%d %s", n, s), ", ", len(head), t.Width)
		}
	}
	t.item(green, fmt.Sprintf("%d fixable", t.fixable), " · ", len(head), t.Width)
	if own, base, ok := t.ownAndBase(); ok {
		t.item(plain, fmt.Sprintf("%d of our layers, %d of the base image", own, base), " · ", len(head), t.Width)
	}
	if t.known > 0 {
		t.item(red, fmt.Sprintf("%d known to be exploited (KEV)", t.known), " · ", len(head), t.Width)
	}
	if t.report.Baseline != nil {
		t.item(bold, fmt.Sprintf("%d new since %s", t.fresh, cutMiddle(Safe(t.report.Baseline.Reference), maxName)), " · ", len(head), t.Width)
	}
	t.line()
}

func (t *table) nothingFound() { t.paragraph(bold, t.absence(), 0, t.Width) }

// absence says what it is worth that nothing was found: an all clear only where
// all was checked.
func (t *table) absence() string {
	packages, unchecked := t.listed, t.unchecked()
	checked := max(packages-unchecked, 0)
	switch {
	case !t.report.LookedFor(ScanVulnerabilities):
		return "Vulnerabilities were not looked for"
	case t.report.Filtered != nil && t.report.Filtered.Hidden > 0:
		return "No findings that the filter lets through"
	case t.report.Incomplete():
		return "No findings in what could be read; the scan is incomplete"
	case packages == 0:
		return "No packages found, so nothing was checked"
	case checked == 0:
		return fmt.Sprintf("Nothing was checked: no advisory data for any of the %s", plural(packages, "package"))
	case unchecked > 0:
		return fmt.Sprintf("No findings in the %s that were checked; %d were not", plural(checked, "package"), unchecked)
	case t.report.Advisories.Starter:
		return fmt.Sprintf("No findings in %s by the starter set of advisories", plural(packages, "package"))
	case t.poorlyCovered():
		return fmt.Sprintf("No findings in %s by the advisories there are, see above", plural(packages, "package"))
	}
	return fmt.Sprintf("No known vulnerabilities in %s", plural(packages, "package"))
}

// poorlyCovered tells whether advisories are missing or not written any more for
// some of the packages that were checked.
func (t *table) poorlyCovered() bool {
	return t.report.Image.Distro.Status == DistroEndOfLife ||
		slices.ContainsFunc(t.report.Advisories.Coverage, func(c Coverage) bool { return c.Status != Covered })
}

func (t *table) hidden() {
	f := t.report.Filtered
	if f == nil || f.Hidden == 0 {
		return
	}
	var by []string
	if len(f.Severities) > 0 {
		words := make([]string, len(f.Severities))
		for i, s := range f.Severities {
			words[i] = Safe(string(s))
		}
		by = append(by, "severity "+strings.Join(words, ", "))
	}
	if f.OnlyFixed {
		by = append(by, "with a fix")
	}
	t.paragraph(dim, fmt.Sprintf("%s hidden by the filter (only %s)", plural(f.Hidden, "more finding"), strings.Join(by, ", ")), 0, t.Width)
}

func (t *table) advisories() {
	a := &t.report.Advisories
	if a.Source == "" {
		return
	}
	line := "Advisories: " + cutMiddle(Safe(a.Source), t.Width/2)
	if a.Updated != nil && !a.Starter {
		line += ", updated " + age(a.AgeHours)
	}
	t.paragraph(dim, line, 0, t.Width)
}

// age is how long ago a number of hours is, for people.
func age(hours float64) string {
	switch {
	case hours < 1.0/60:
		return "just now"
	case hours < 1:
		return plural(int(hours*60), "minute") + " ago"
	case hours < 48:
		return plural(int(hours), "hour") + " ago"
	}
	return plural(int(hours/24), "day") + " ago"
}
