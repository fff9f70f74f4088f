package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"strata/internal/policy"
	"strata/internal/server"
)

// variable is a reference to an environment variable in a declaration: secrets are
// better not in the file.
var variable = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_]*\}`)

// declarations are what strata.yaml says that a server is to have: lists named
// registries, receivers and watches, whose items are as the API takes them.
func (a *app) declarations() ([]server.Declaration, error) {
	var doc map[string]yaml.Node
	if err := yaml.Unmarshal(a.settings.text, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", a.settings.path, err)
	}
	var out []server.Declaration
	for _, kind := range server.DeclaredKinds() {
		list, ok := doc[kind]
		if !ok {
			continue
		}
		if list.Kind != yaml.SequenceNode {
			return nil, fmt.Errorf("%s:%d: %s: want a list", a.settings.path, list.Line, kind)
		}
		for _, item := range list.Content {
			d, err := a.declaration(kind, item)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %s: %w", a.settings.path, item.Line, kind, err)
			}
			out = append(out, d)
		}
	}
	return out, nil
}

// declaredPolicies are the policies of strata.yaml: the same list that a scan with these
// settings is held against.
func (a *app) declaredPolicies() (out server.DeclaredPolicies, err error) {
	if a.settings.path == "" {
		return out, nil
	}
	if out.File, err = filepath.Abs(a.settings.path); err != nil {
		return out, err
	}
	loader, err := policy.NewLoader()
	if err != nil {
		return out, err
	}
	if _, err := loader.Settings(a.settings.path, a.settings.text); err != nil {
		return out, err
	}
	var doc struct{ Policies yaml.Node }
	if err := yaml.Unmarshal(a.settings.text, &doc); err != nil {
		return out, fmt.Errorf("%s: %w", a.settings.path, err)
	}
	out.Listed = doc.Policies.Kind == yaml.SequenceNode
	for _, item := range doc.Policies.Content {
		p, err := a.declaredPolicy(item)
		if err == nil && slices.ContainsFunc(out.Policies, func(o server.DeclaredPolicy) bool { return o.Name == p.Name }) {
			err = fmt.Errorf("%q is here twice", p.Name)
		}
		if err != nil {
			return out, fmt.Errorf("%s:%d: policies: %w", a.settings.path, item.Line, err)
		}
		out.Policies = append(out.Policies, p)
	}
	return out, nil
}

func (a *app) declaredPolicy(item *yaml.Node) (p server.DeclaredPolicy, err error) {
	var fields struct{ Name string }
	if err := item.Decode(&fields); err != nil {
		return p, err
	}
	if fields.Name == "" {
		return p, errors.New("each needs a name, by which watches ask for it")
	}
	var text strings.Builder
	e := yaml.NewEncoder(&text)
	e.SetIndent(2)
	err = errors.Join(e.Encode(item), e.Close())
	return server.DeclaredPolicy{Name: fields.Name, Text: text.String(), Place: fmt.Sprintf("%s:%d", a.settings.path, item.Line)}, err
}

func (a *app) declaration(kind string, item *yaml.Node) (d server.Declaration, err error) {
	d = server.Declaration{Kind: kind, Place: fmt.Sprintf("%s:%d", a.settings.path, item.Line)}
	if err := a.fillIn(item); err != nil {
		return d, err
	}
	var fields map[string]any
	if err := item.Decode(&fields); err != nil {
		return d, err
	}
	if d.Name, _ = fields["name"].(string); d.Name == "" {
		return d, errors.New("each needs a name")
	}
	d.Body, err = json.Marshal(fields)
	return d, err
}

// fillIn puts the values of environment variables in the place of ${NAME}.
func (a *app) fillIn(n *yaml.Node) error {
	for _, inner := range n.Content {
		if err := a.fillIn(inner); err != nil {
			return err
		}
	}
	if n.Kind != yaml.ScalarNode || !strings.Contains(n.Value, "${") {
		return nil
	}
	var missing error
	n.Value = variable.ReplaceAllStringFunc(n.Value, func(reference string) string {
		name := reference[2 : len(reference)-1]
		value := a.env(name)
		if value == "" {
			missing = fmt.Errorf("the environment variable %s is not set", name)
		}
		return value
	})
	return missing
}
