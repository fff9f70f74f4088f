package policy

import (
	"fmt"
)

// CommandLine is the policy of the rules that were given by flags.
const CommandLine = "command line"

// FailOn is the rule `--fail-on SEVERITY`: it fails an image in which a present
// package has a finding, not suppressed, of the threshold's severity or a graver
// one.
//
// A finding of unknown severity is not below any threshold, as nobody has rated
// it: it may be of each. So with the threshold Low (which every known severity
// reaches) and Unknown (every finding) it fails the image as the others do; with
// a higher threshold it does not fail it but is a violation of its own, that
// makes the verdict Warn: an image whose only findings are unrated never passes
// in silence.
//
// It is an error when threshold is none of the severities.
func FailOn(threshold Severity) (Rule, error) {
	if !threshold.valid() {
		return nil, fmt.Errorf("fail-on %q: want one of %s", threshold, severityNames())
	}
	return func(findings []Finding) []Violation {
		var reached, unrated objection
		for i := range findings {
			f := &findings[i]
			switch {
			case !f.active():
			case reaches(f.Severity, threshold):
				reached.add(f)
			case !f.Severity.rated():
				unrated.add(f)
			}
		}
		rule := "fail-on " + string(threshold)
		var violations []Violation
		if reached.count > 0 {
			violations = append(violations, reached.violation(rule, Fail,
				fmt.Sprintf("%s in %s", thresholdPhrase(reached.count, threshold), plural(len(reached.packages), "package"))))
		}
		if unrated.count > 0 {
			violations = append(violations, unrated.violation(rule, Warn,
				fmt.Sprintf("%s of unknown severity in %s: may be %s or graver", plural(unrated.count, "finding"),
					plural(len(unrated.packages), "package"), threshold)))
		}
		return violations
	}, nil
}

// reaches tells whether a finding of severity s fails at the threshold.
func reaches(s, threshold Severity) bool {
	if !s.rated() {
		return threshold == Low || threshold == Unknown
	}
	return s.Rank() >= threshold.Rank()
}

func thresholdPhrase(n int, threshold Severity) string {
	switch threshold {
	case Critical:
		return plural(n, "finding") + " of severity critical"
	case Low, Unknown:
		return plural(n, "finding") + " of any severity"
	}
	return plural(n, "finding") + " of severity " + string(threshold) + " or graver"
}

// An objection gathers the findings that a rule objects to.
type objection struct {
	count              int
	findings, packages []string
	seenFinding        map[string]bool
	seenPackage        map[string]bool
}

func (o *objection) add(f *Finding) {
	if o.seenFinding == nil {
		o.seenFinding, o.seenPackage = map[string]bool{}, map[string]bool{}
	}
	o.count++
	if !o.seenFinding[f.ID] {
		o.seenFinding[f.ID] = true
		o.findings = append(o.findings, f.ID)
	}
	if !o.seenPackage[f.PackageID] {
		o.seenPackage[f.PackageID] = true
		o.packages = append(o.packages, f.PackageID)
	}
}

func (o *objection) violation(rule string, d Decision, message string) Violation {
	return Violation{Policy: CommandLine, Rule: rule, Decision: d, FindingIDs: o.findings, PackageIDs: o.packages, Message: message}
}

// plural is a number with its noun: "1 finding", "2 findings".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
