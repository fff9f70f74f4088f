// Package policy decides over an image: VEX and waivers set findings aside, a
// baseline tells the old from the new, rules give violations, and violations a
// verdict.
//
// It is pure: no clock, no files, no network; what a rule may look at is in its
// Input. It knows nothing of reports, so that the scanner, the server and the
// notifications decide by the same code.
package policy

import "slices"

// A Decision is what is to be done with an image. Decisions are ordered: pass,
// warn, fail.
type Decision string

const (
	// Pass: no rule objects.
	Pass Decision = "pass"
	// Warn: a rule objects, but the image may be used.
	Warn Decision = "warn"
	// Fail: the image must not be used; the command's exit code says so.
	Fail Decision = "fail"
)

// graver gives the graver of two decisions. One that is neither Pass nor Warn is
// taken for Fail, so that a mistake in a rule never lets an image through.
func graver(a, b Decision) Decision {
	switch {
	case b == Pass || b == "":
		return a
	case b == Warn && a != Fail:
		return Warn
	case b == Warn:
		return a
	}
	return Fail
}

// A Violation is an objection of one rule. Its JSON is that of the report.
type Violation struct {
	// Policy that the rule is part of; "command line" for those given by flags.
	Policy string `json:"policy"`
	// Rule in the form in which it was given: "fail-on high", or its name.
	Rule string `json:"rule"`
	// Decision is what this violation alone would make of the image: Warn or Fail.
	Decision Decision `json:"decision"`
	// FindingIDs are the vulnerabilities objected to, and PackageIDs the packages
	// they are in, each once, in the order of the findings.
	FindingIDs []string `json:"finding_ids"`
	PackageIDs []string `json:"package_ids"`
	// Findings tell which is in which: none for rules over others than findings.
	Findings []FindingKey `json:"findings,omitempty"`
	// Layers objected to, by index; only of rules over layers.
	Layers []int `json:"layers,omitempty"`
	// Message is one sentence for a person, without a full stop.
	Message string `json:"message"`
	// Receivers are those whom the rule names to be told.
	Receivers []string `json:"receivers,omitempty"`
}

// A FindingKey names a finding among those of an image.
type FindingKey struct {
	// ID of the vulnerability or end of life.
	ID string `json:"id"`
	// PackageID is the id of the package; empty for the end of a distribution.
	PackageID string `json:"package_id"`
}

// A Verdict is the decision over an image, with everything objected to. Its JSON
// is that of the report.
type Verdict struct {
	Decision Decision `json:"decision"`
	// Rules that were asked, in order: names of rules given by flags, and "policy:
	// rule" of others. A pass without rules says nothing about the image.
	Rules      []string    `json:"rules"`
	Violations []Violation `json:"violations"`
	// Mode is "warn" when rules that fail were told to warn only, "enforce" when
	// those that warn were told to fail, else empty.
	Mode Mode `json:"mode,omitempty"`
}

// Both is the verdict of two who have judged the same image, each by rules of its own:
// the graver decision, and what either objects to. One that asked no rule says nothing.
func Both(a, b Verdict) Verdict {
	if len(a.Rules) == 0 {
		return b
	}
	if len(b.Rules) == 0 {
		return a
	}
	return Verdict{
		Decision: graver(a.Decision, b.Decision), Rules: slices.Concat(a.Rules, b.Rules),
		Violations: slices.Concat(a.Violations, b.Violations), Mode: b.Mode,
	}
}

// A Mode overrides what violations do.
type Mode string

const (
	// AsWritten leaves each violation what its rule says.
	AsWritten Mode = ""
	// WarnOnly: what would fail warns.
	WarnOnly Mode = "warn"
	// Enforce: what would warn fails.
	Enforce Mode = "enforce"
)

// A Rule looks at an image and says what it objects to.
type Rule struct {
	// Policy and Name as its violations give them.
	Policy, Name string
	// Ignores tells that the rule sets aside instead of objecting. Such rules come
	// first, whatever their place.
	Ignores bool
	// Receivers to be told of its violations.
	Receivers []string
	// Check returns what it objects to, nil when it does not; Policy, Rule and
	// Receivers of the violations are filled in by Evaluate. A rule that Ignores
	// changes Suppressed in its argument; else it depends on it alone.
	Check func(*Input) []Violation
}

// label is how a verdict lists the rule.
func (r *Rule) label() string {
	if r.Policy == CommandLine {
		return r.Name
	}
	return r.Policy + ": " + r.Name
}

// Evaluate runs the rules, those that ignore first. The verdict is the gravest
// decision of all violations, which stand in the order of the rules; Pass
// without any.
func Evaluate(in *Input, mode Mode, rules ...Rule) Verdict {
	in.link()
	in.spent = 0
	verdict := Verdict{Decision: Pass, Mode: mode}
	for i := range rules {
		verdict.Rules = append(verdict.Rules, rules[i].label())
	}
	for _, ignoring := range []bool{true, false} {
		in.gather()
		for i := range rules {
			if rules[i].Ignores == ignoring {
				verdict.add(&rules[i], rules[i].Check(in))
			}
		}
	}
	return verdict
}

func (v *Verdict) add(rule *Rule, violations []Violation) {
	for _, violation := range violations {
		violation.Policy, violation.Rule, violation.Receivers = rule.Policy, rule.Name, rule.Receivers
		switch {
		case violation.Decision == Pass || violation.Decision == "":
		case v.Mode == WarnOnly:
			violation.Decision = Warn
		case v.Mode == Enforce:
			violation.Decision = Fail
		}
		v.Decision = graver(v.Decision, violation.Decision)
		v.Violations = append(v.Violations, violation)
	}
}
