package policy

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// MaxFile is how many bytes a file of policies, waivers or rules has at most.
	MaxFile = 4 << 20
	// maxRules is how many rules it has at most.
	maxRules = 1000
)

// A Policy is a set of rules with a name.
type Policy struct {
	Name, Description string
	Rules             []Rule
	// File it was read from.
	File string
}

// A Loader reads policies. It checks each expression against the fields, so that
// a mistake shows when the policy is read rather than in an image years later.
type Loader struct{ language *language }

// NewLoader makes a Loader, which can be used for any number of files.
func NewLoader() (*Loader, error) {
	l, err := newLanguage()
	if err != nil {
		return nil, fmt.Errorf("policy language: %w", err)
	}
	return &Loader{language: l}, nil
}

// Load reads the policies of a YAML file: one policy (name, description, rules),
// or several under `policies`. The name of one that has none is the file's. Errors
// are as FILE:LINE:COLUMN, and all of them are told.
func (l *Loader) Load(file string, text []byte) ([]Policy, error) {
	root, doc, err := parseYAML(file, text)
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, fmt.Errorf("%s: is empty; want a policy with rules", file)
	}
	r := &reader{Loader: l, document: doc}
	fallback := strings.TrimSuffix(strings.TrimSuffix(path.Base(strings.ReplaceAll(file, "\\", "/")), ".yaml"), ".yml")
	policies := r.file(root, fallback)
	return policies, errors.Join(r.errs...)
}

// Settings reads the policies that a settings file has under the keys `rules` and
// `policies`; its other keys are not looked at.
func (l *Loader) Settings(file string, text []byte) ([]Policy, error) {
	root, doc, err := parseYAML(file, text)
	if err != nil || root == nil {
		return nil, err
	}
	r := &reader{Loader: l, document: doc}
	only := *root
	only.Content = nil
	for i := 0; i+1 < len(root.Content); i += 2 {
		if k := root.Content[i].Value; k == "rules" || k == "policies" {
			only.Content = append(only.Content, root.Content[i:i+2]...)
		}
	}
	if len(only.Content) == 0 {
		return nil, nil
	}
	policies := r.file(&only, path.Base(file))
	return policies, errors.Join(r.errs...)
}

// parseYAML gives the root of a document; nil for an empty one.
func parseYAML(file string, text []byte) (*yaml.Node, *document, error) {
	if len(text) > MaxFile {
		return nil, nil, fmt.Errorf("%s: has more than %d bytes", file, MaxFile)
	}
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	doc := newDocument(file, text)
	if len(n.Content) == 0 {
		return nil, doc, nil
	}
	return n.Content[0], doc, nil
}

// A reader reads one file of policies and gathers what is wrong with it.
type reader struct {
	*Loader
	*document
	errs []error
}

func (r *reader) fail(n *yaml.Node, format string, args ...any) {
	r.errs = append(r.errs, r.errorf(n, format, args...))
}

// file reads what is at the top: one policy, or a list of them, or both.
func (r *reader) file(n *yaml.Node, fallback string) []Policy {
	var policies []Policy
	keys := r.mapping(n, "a policy", "name", "description", "rules", "policies")
	if keys["rules"] != nil || keys["policies"] == nil && keys != nil {
		if p := r.policy(n, fallback, "policies"); p != nil {
			policies = append(policies, *p)
		}
	}
	if list := keys["policies"]; list != nil {
		if list.Kind != yaml.SequenceNode {
			r.fail(list, "policies: want a list")
			return policies
		}
		for i, item := range list.Content {
			if p := r.policy(item, fmt.Sprintf("%s, policy %d", fallback, i+1)); p != nil {
				policies = append(policies, *p)
			}
		}
	}
	return policies
}

func (r *reader) policy(n *yaml.Node, fallback string, alsoKnown ...string) *Policy {
	keys := r.mapping(n, "a policy", append([]string{"name", "description", "rules"}, alsoKnown...)...)
	if keys == nil {
		return nil
	}
	p := &Policy{Name: or(r.text(keys["name"]), fallback), Description: strings.TrimSpace(r.text(keys["description"])), File: r.name}
	rules := keys["rules"]
	switch {
	case rules == nil:
		r.fail(n, "policy %s has no rules", p.Name)
	case rules.Kind != yaml.SequenceNode || len(rules.Content) == 0:
		r.fail(rules, "rules: want a list of rules, each with name, when and action")
	case len(rules.Content) > maxRules:
		r.fail(rules, "rules: %d of them; at most %d can be", len(rules.Content), maxRules)
	default:
		seen := map[string]int{}
		for i, item := range rules.Content {
			if rule := r.rule(item, p.Name, fmt.Sprintf("rule %d", i+1)); rule != nil {
				if seen[rule.Name] > 0 {
					r.fail(item, "rule %q is in line %d already; give it a name of its own", rule.Name, seen[rule.Name])
				}
				seen[rule.Name] = item.Line
				p.Rules = append(p.Rules, *rule)
			}
		}
	}
	return p
}

// rule reads a rule; nil when something is wrong with it.
func (r *reader) rule(n *yaml.Node, policy, fallback string) *Rule {
	before := len(r.errs)
	keys := r.mapping(n, "a rule", "name", "when", "action", "message", "for", "include", "receivers", "description")
	if keys == nil {
		return nil
	}
	e := &exprRule{action: r.action(keys["action"], n)}
	rule := &Rule{Policy: policy, Name: or(r.text(keys["name"]), fallback), Receivers: r.list(keys["receivers"]), Ignores: e.action == ignore, Check: e.check}
	e.name = policy + ", rule " + rule.Name
	e.include = r.include(keys["include"])
	when := keys["when"]
	if when == nil {
		r.fail(n, "rule %q has no `when`: an expression that tells what it is about", rule.Name)
		return nil
	}
	if text := r.text(when); len(r.errs) == before {
		var err error
		if e.when, err = r.language.compile(text, boolType); err != nil {
			r.expression(when, 0, fmt.Sprintf("rule %q: when", rule.Name), err)
			return nil
		}
		e.subject = r.subject(keys["for"], when, e.when.reads)
		e.message = r.message(keys["message"], e.subject, rule.Name)
		if e.action == ignore && e.subject == subjectImage {
			r.fail(when, "rule %q ignores, but its expression is about no finding, package, license or layer: it would ignore everything or nothing", rule.Name)
		}
	}
	if len(r.errs) > before {
		return nil
	}
	return rule
}

func (r *reader) action(n, rule *yaml.Node) action {
	if n == nil {
		r.fail(rule, "a rule has no action; want fail, warn or ignore")
		return ""
	}
	a := action(r.text(n))
	if words := []string{string(fail), string(warn), string(ignore)}; !slices.Contains(words, string(a)) {
		r.fail(n, "action %q%s", a, suggest(string(a), words, "; want fail, warn or ignore"))
	}
	return a
}

func (r *reader) include(n *yaml.Node) map[string]bool {
	included := map[string]bool{}
	words := []string{includeRemoved, includeShadowed, includeSuppressed, includeOld}
	for _, w := range r.list(n) {
		if !slices.Contains(words, w) {
			r.fail(n, "include %q%s", w, suggest(w, words, "; want some of "+strings.Join(words, ", ")))
		}
		included[w] = true
	}
	return included
}

// subject is what a rule goes over: what its `for` says, or the first of finding,
// license, package and layer that it reads, or the image.
func (r *reader) subject(n, when *yaml.Node, reads map[string]bool) subject {
	derived := subjectImage
	for _, s := range []subject{subjectFinding, subjectLicense, subjectPackage, subjectLayer} {
		if reads[string(s)] {
			derived = s
			break
		}
	}
	if n == nil {
		return derived
	}
	s := subject(r.text(n))
	words := []string{"finding", "package", "license", "layer", "image"}
	if !slices.Contains(words, string(s)) {
		r.fail(n, "for %q%s", s, suggest(string(s), words, "; want one of "+strings.Join(words, ", ")))
		return derived
	}
	for _, v := range words {
		if reads[v] && !s.has(v) {
			r.fail(when, "a rule for each %s can't read %s: want `for: %s`, or leave `for` out", s, v, derived)
		}
	}
	return s
}

// message reads a text with expressions in {{ }}.
func (r *reader) message(n *yaml.Node, s subject, rule string) []part {
	if n == nil {
		return nil
	}
	text := strings.TrimRight(r.text(n), "\n ")
	var parts []part
	for at := 0; at < len(text); {
		before, rest, ok := strings.Cut(text[at:], "{{")
		parts = append(parts, part{text: before})
		if !ok {
			break
		}
		inner, _, closed := strings.Cut(rest, "}}")
		start := at + len(before) + 2
		offset := len([]rune(text[:start]))
		if !closed {
			r.errs = append(r.errs, r.errorAt(r.placeIn(n, offset), "rule %q: message: a {{ without }}", rule))
			return parts
		}
		p, err := r.language.compile(inner, dynType)
		if err != nil {
			r.expression(n, offset, fmt.Sprintf("rule %q: message", rule), err)
		} else {
			parts = append(parts, part{program: p})
			for v := range p.reads {
				if slices.Contains([]string{"finding", "package", "license", "layer"}, v) && !s.has(v) {
					r.errs = append(r.errs, r.errorAt(r.placeIn(n, offset), "rule %q: message: a rule for each %s can't read %s", rule, s, v))
				}
			}
		}
		at = start + len(inner) + 2
	}
	return parts
}

// expression tells what is wrong with an expression that stands in a scalar, from
// a character of it on.
func (r *reader) expression(n *yaml.Node, from int, what string, err error) {
	for _, e := range flatten(err) {
		p := place{n.Line, n.Column}
		var in *expressionError
		if errors.As(e, &in) {
			p = r.placeIn(n, from+in.offset)
		}
		r.errs = append(r.errs, fmt.Errorf("%w%s", r.errorAt(p, "%s: %s", what, e.Error()), r.show(p)))
	}
}

func flatten(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// mapping reads a mapping with some of the keys; nil when it is none.
func (r *reader) mapping(n *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		r.fail(n, "want %s, with %s", what, strings.Join(known, ", "))
		return nil
	}
	keys := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case !slices.Contains(known, key.Value):
			r.fail(key, "%s has no key %q%s", what, key.Value, suggest(key.Value, known, "; want some of "+strings.Join(known, ", ")))
		case keys[key.Value] != nil:
			r.fail(key, "%s is here twice", key.Value)
		}
		value := n.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		keys[key.Value] = value
	}
	return keys
}

// text reads a scalar; empty for none.
func (r *reader) text(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	if n.Kind != yaml.ScalarNode {
		r.fail(n, "want a text")
		return ""
	}
	return n.Value
}

// list reads a list of texts, or one text for a list of one.
func (r *reader) list(n *yaml.Node) []string {
	if n == nil {
		return nil
	}
	if n.Kind == yaml.ScalarNode {
		return []string{n.Value}
	}
	if n.Kind != yaml.SequenceNode {
		r.fail(n, "want a list of texts")
		return nil
	}
	var texts []string
	for _, item := range n.Content {
		texts = append(texts, r.text(item))
	}
	return texts
}
