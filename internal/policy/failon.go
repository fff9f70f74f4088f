package policy

import (
	"fmt"

	"strata/internal/advisory"
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
// The end of life of a distribution or runtime is no vulnerability, and what the
// baseline has is not held against the image: neither counts.
//
// It is an error when threshold is none of the severities.
func FailOn(threshold advisory.Severity) (Rule, error) {
	if !valid(threshold) {
		return Rule{}, fmt.Errorf("fail-on %q: want one of %s", threshold, severityNames())
	}
	return Rule{
		Policy: CommandLine,
		Name:   "fail-on " + string(threshold),
		Check:  func(in *Input) []Violation { return failOn(in, threshold) },
	}, nil
}

func failOn(in *Input, threshold advisory.Severity) []Violation {
	if in.NoVulnerabilities {
		return notLookedFor("vulnerabilities", "vuln")
	}
	var reached, unrated objection
	for i := range in.Findings {
		f := &in.Findings[i]
		switch {
		case !in.counts(f):
		case reaches(f.Severity, threshold):
			reached.add(f)
		case !rated(f.Severity):
			unrated.add(f)
		}
	}
	var violations []Violation
	if reached.count > 0 {
		violations = append(violations, reached.violation(Fail, thresholdPhrase(threshold)))
	}
	if unrated.count > 0 {
		violations = append(violations, unrated.violation(Warn, fmt.Sprintf("of unknown severity, which may be %s,", orGraver(threshold))))
	}
	return violations
}

// reaches tells whether a finding of severity s fails at the threshold.
func reaches(s, threshold advisory.Severity) bool {
	if !rated(s) {
		return threshold == advisory.Low || threshold == advisory.Unknown
	}
	return s.Rank() >= threshold.Rank()
}

func thresholdPhrase(threshold advisory.Severity) string {
	if threshold == advisory.Low || threshold == advisory.Unknown {
		return "of any severity"
	}
	return "of severity " + orGraver(threshold)
}

func orGraver(s advisory.Severity) string {
	if s == advisory.Critical {
		return string(s)
	}
	return string(s) + " or graver"
}
