package policy

import (
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"strata/internal/inventory"
)

var (
	boolType = cel.BoolType
	dynType  = cel.DynType
)

// An action is what a rule does with what it is about.
type action string

const (
	fail   action = "fail"
	warn   action = "warn"
	ignore action = "ignore"
)

// A subject is what a rule goes over, one after the other.
type subject string

const (
	subjectFinding subject = "finding"
	subjectPackage subject = "package"
	subjectLicense subject = "license"
	subjectLayer   subject = "layer"
	subjectImage   subject = "image"
)

// has tells whether the variable is there for a rule over this subject: a finding
// has a package, with a licence and a layer, and all are in the image.
func (s subject) has(variable string) bool {
	switch variable {
	case "finding":
		return s == subjectFinding
	case "package", "license":
		return s == subjectFinding || s == subjectPackage || s == subjectLicense
	case "layer":
		return s != subjectImage
	}
	return true
}

// What rules see only when they ask for it, by `include`.
const (
	includeRemoved    = "removed"
	includeShadowed   = "shadowed"
	includeSuppressed = "suppressed"
	includeOld        = "old"
)

const (
	// maxMessages is how many different messages one rule gives at most; what
	// is beyond is joined in one more.
	maxMessages = 50
	// maxMessage is the length of a message in characters.
	maxMessage = 600
)

// An exprRule is a rule whose condition is an expression.
type exprRule struct {
	// name for people: policy and rule.
	name    string
	action  action
	subject subject
	when    *program
	message []part
	include map[string]bool
}

// A part of a message is text or an expression.
type part struct {
	text    string
	program *program
}

// check goes over the subjects. One for which the expression can't be evaluated
// is objected to: a mistake in a rule lets nothing through.
func (r *exprRule) check(in *Input) []Violation {
	c := &checking{rule: r, in: in, scope: scope{image: &in.Image, now: in.Now, ofImage: &in.spent}}
	var unasked []Violation
	if r.action != ignore && r.asksLicenses() && !in.licensesKnown() {
		unasked = notLookedFor("licences", "license")
		if r.subject != subjectFinding { // a finding is objected to for more than its package's licence
			return unasked
		}
	}
	if r.action != ignore && r.asksVulnerabilities() && in.NoVulnerabilities {
		return notLookedFor("vulnerabilities", "vuln")
	}
	switch r.subject {
	case subjectFinding:
		c.findings()
	case subjectPackage, subjectLicense:
		c.packages()
	case subjectLayer:
		c.layers()
	default:
		c.judge(func(o *objection) { o.count++ }, nil)
	}
	return append(unasked, c.violations()...)
}

// asksLicenses tells whether the rule is about licences, of whatever it goes over.
func (r *exprRule) asksLicenses() bool {
	return r.subject == subjectLicense || r.when.reads["license"] || r.when.reads["Package.license"]
}

// asksVulnerabilities tells the same of vulnerabilities.
func (r *exprRule) asksVulnerabilities() bool {
	return r.subject == subjectFinding || r.when.reads["Image.findings"]
}

// notLookedFor warns that a rule could not be asked.
func notLookedFor(what, scanner string) []Violation {
	return []Violation{{Decision: Warn, Message: fmt.Sprintf("%s were not looked for, so nothing is known of them; ask for them by --scanners %s", what, scanner)}}
}

// licensesKnown tells whether licences were looked for, as far as can be told.
func (in *Input) licensesKnown() bool {
	if in.NoLicenses {
		return false
	}
	for i := range in.Packages {
		if in.Packages[i].License != nil {
			return true
		}
	}
	return len(in.Packages) == 0
}

// gather lists for the image what counts in it.
func (in *Input) gather() {
	in.Image.packages, in.Image.findings = nil, nil
	for i := range in.Packages {
		if p := &in.Packages[i]; present(p.State) {
			in.Image.packages = append(in.Image.packages, p)
		}
	}
	for i := range in.Findings {
		if f := &in.Findings[i]; in.counts(f) {
			in.Image.findings = append(in.Image.findings, f)
		}
	}
}

// A checking is one rule at work on one image.
type checking struct {
	rule  *exprRule
	in    *Input
	scope scope
	// groups are the objections by message, in the order of order.
	groups map[string]*objection
	order  []string
	// failed are those for which the expression could not be evaluated, and why.
	failed objection
	why    string
}

// sees tells whether a rule sees what is in this state.
func (c *checking) sees(s inventory.State, set *Suppression, old bool) bool {
	include := c.rule.include
	return (set == nil || include[includeSuppressed]) && (!old || !c.in.Compared || include[includeOld] || c.rule.action == ignore) &&
		(present(s) || s == inventory.Removed && include[includeRemoved] || s == inventory.Shadowed && include[includeShadowed])
}

func (c *checking) findings() {
	ends := c.rule.when.reads["Finding.kind"]
	for i := range c.in.Findings {
		f := &c.in.Findings[i]
		if !c.sees(f.State, f.Suppressed, f.Old) || !ends && !f.vulnerability() {
			continue
		}
		c.scope.finding, c.scope.pkg, c.scope.license, c.scope.layer = f, f.pkg, f.pkg.License, f.layer
		c.judge(func(o *objection) { o.add(f) }, func(s *Suppression) { f.Suppressed = s })
	}
}

func (c *checking) packages() {
	licenses := c.rule.subject == subjectLicense
	for i := range c.in.Packages {
		p := &c.in.Packages[i]
		set, old := p.Suppressed, p.Old
		if licenses {
			if p.License == nil {
				continue
			}
			old = p.License.Old
			if set == nil {
				set = p.License.Suppressed
			}
		}
		if !c.sees(p.State, set, old) {
			continue
		}
		c.scope.pkg, c.scope.license, c.scope.layer = p, p.License, p.layer
		c.judge(func(o *objection) { o.count++; o.addPackage(p.ID) }, func(s *Suppression) {
			if licenses {
				p.License.Suppressed = s
			} else {
				p.suppress(s)
			}
		})
	}
}

// suppress sets a package aside, with all that was found in it.
func (p *Package) suppress(s *Suppression) {
	p.Suppressed = s
	for _, f := range p.findings {
		if f.Suppressed == nil {
			f.Suppressed = s
		}
	}
}

func (c *checking) layers() {
	for i := range c.in.Layers {
		l := &c.in.Layers[i]
		if l.Old && c.in.Compared && !c.rule.include[includeOld] && c.rule.action != ignore {
			continue
		}
		c.scope.layer = l
		c.judge(func(o *objection) { o.count++; o.layers = append(o.layers, l.Index) }, func(s *Suppression) {
			for j := range c.in.Packages {
				if p := &c.in.Packages[j]; p.layer == l && p.Suppressed == nil {
					p.suppress(s)
				}
			}
		})
	}
}

// judge asks the rule about what is in scope, and notes or sets it aside.
func (c *checking) judge(note func(*objection), set func(*Suppression)) {
	applies, err := c.rule.when.true(&c.scope)
	if err != nil {
		note(&c.failed)
		c.why = or(c.why, err.Error())
		return
	}
	if !applies {
		return
	}
	message, err := c.text()
	if err != nil {
		message = fmt.Sprintf("(message: %v)", err)
	}
	if c.rule.action == ignore {
		reason := c.rule.name
		if message != "" {
			reason += ": " + message
		}
		set(&Suppression{By: ByPolicy, Reason: reason})
		return
	}
	if c.groups == nil {
		c.groups = map[string]*objection{}
	}
	if c.groups[message] == nil && len(c.order) >= maxMessages {
		message = ""
	}
	if c.groups[message] == nil {
		c.groups[message] = &objection{}
		c.order = append(c.order, message)
	}
	note(c.groups[message])
}

// text is the rule's message about what is in scope.
func (c *checking) text() (string, error) {
	var b strings.Builder
	for _, p := range c.rule.message {
		if p.program == nil {
			b.WriteString(p.text)
			continue
		}
		v, err := p.program.eval(&c.scope)
		if err != nil {
			return "", err
		}
		b.WriteString(inWords(v, 4*maxMessage))
	}
	text := []rune(strings.Join(strings.Fields(b.String()), " "))
	if len(text) > maxMessage {
		text = append(text[:maxMessage-1], '…')
	}
	return string(text), nil
}

// inWords is a value of an expression as a message has it; room is how many
// characters it may have, about.
func inWords(v ref.Val, room int) string {
	switch v := v.(type) {
	case types.Timestamp:
		return v.UTC().Format(time.DateOnly)
	case traits.Lister:
		var b strings.Builder
		for it := v.Iterator(); it.HasNext() == types.True && b.Len() < room; {
			if b.Len() > 0 {
				b.WriteString(", ")
			}
			b.WriteString(inWords(it.Next(), room-b.Len()))
		}
		return b.String()
	}
	s, ok := v.ConvertToType(types.StringType).(types.String)
	if !ok {
		return fmt.Sprint(v.Value())
	}
	if len(s) > room {
		return strings.ToValidUTF8(string(s[:room]), "")
	}
	return string(s)
}

func (c *checking) violations() []Violation {
	decision := Fail
	if c.rule.action != fail {
		decision = Warn
	}
	var out []Violation
	for _, message := range c.order {
		v := c.groups[message].violation(decision, "")
		v.Message = or(message, c.summary(c.groups[message]))
		out = append(out, v)
	}
	if c.failed.count > 0 {
		v := c.failed.violation(decision, "")
		v.Message = fmt.Sprintf("the rule can't be evaluated for %s: %s", c.summary(&c.failed), c.why)
		out = append(out, v)
	}
	return out
}

// summary says how many there are of what the rule goes over.
func (c *checking) summary(o *objection) string {
	switch c.rule.subject {
	case subjectFinding:
		return fmt.Sprintf("%s in %s", plural(o.count, "finding"), plural(len(o.packages), "package"))
	case subjectPackage:
		return plural(o.count, "package")
	case subjectLicense:
		return "licences of " + plural(o.count, "package")
	case subjectLayer:
		return plural(o.count, "layer")
	}
	return "the image"
}
