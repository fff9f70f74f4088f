// Package policy decides over findings: rules give violations, violations give a
// verdict.
//
// It is pure: no clock, no files, no network; what a rule may look at is in its
// input. It knows nothing of reports, so that the scanner, the server and the
// notifications decide by the same code.
package policy

import (
	"strata/internal/advisory"
	"strata/internal/inventory"
)

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

// A Finding is what rules see of a finding: one vulnerability in one package
// version of one image.
type Finding struct {
	// ID of the vulnerability, and PackageID of the package it is in.
	ID, PackageID string
	Severity      advisory.Severity
	// State of the package. Rules look at present packages only, unless they say
	// otherwise: what a later layer shadowed or removed does not run.
	State inventory.State
	// Suppressed findings were set aside by a waiver, by VEX, or because the
	// distribution answers for the package.
	Suppressed bool
	// Fixed tells that a version without the vulnerability exists.
	Fixed bool
}

// active tells whether the finding counts: its package is present, as far as is
// known, and nobody has set it aside.
func (f *Finding) active() bool {
	return !f.Suppressed && f.State != inventory.Shadowed && f.State != inventory.Removed
}

// A Violation is an objection of one rule. Its JSON is that of the report.
type Violation struct {
	// Policy that the rule is part of; "command line" for those given by flags.
	Policy string `json:"policy"`
	// Rule in the form in which it was given: "fail-on high".
	Rule string `json:"rule"`
	// Decision is what this violation alone would make of the image: Warn or Fail.
	Decision Decision `json:"decision"`
	// FindingIDs are the vulnerabilities objected to, and PackageIDs the packages
	// they are in, each once, in the order of the findings. Which belongs to
	// which, the findings tell.
	FindingIDs []string `json:"finding_ids"`
	PackageIDs []string `json:"package_ids"`
	// Message is one sentence for a person, without a full stop.
	Message string `json:"message"`
}

// A Verdict is the decision over an image, with everything objected to. Its JSON
// is that of the report.
type Verdict struct {
	Decision Decision `json:"decision"`
	// Rules that were asked, in order. A pass without rules says nothing about
	// the image.
	Rules      []string    `json:"rules"`
	Violations []Violation `json:"violations"`
}

// A Rule looks at all findings of an image and says what it objects to.
type Rule struct {
	// Policy and Name as its violations give them.
	Policy, Name string
	// Check returns what it objects to, nil when it does not; Policy and Rule of
	// the violations are filled in by Evaluate. It depends on its argument alone.
	Check func([]Finding) []Violation
}

// Evaluate runs the rules over the findings. The verdict is the gravest decision
// of all violations, which stand in the order of the rules; Pass without any.
func Evaluate(findings []Finding, rules ...Rule) Verdict {
	verdict := Verdict{Decision: Pass}
	for _, rule := range rules {
		verdict.Rules = append(verdict.Rules, rule.Name)
		for _, v := range rule.Check(findings) {
			v.Policy, v.Rule = rule.Policy, rule.Name
			verdict.Decision = graver(verdict.Decision, v.Decision)
			verdict.Violations = append(verdict.Violations, v)
		}
	}
	return verdict
}
