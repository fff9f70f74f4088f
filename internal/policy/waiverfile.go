package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// WaiversFile is the file of waivers that is looked for in the working directory.
const WaiversFile = ".strata-waivers.yaml"

// ParseWaivers reads a file of waivers, a YAML list under `waivers`:
//
//	waivers:
//	  - vulnerability: CVE-2024-0001   # or package, or license, or some of them
//	    package: openssl               # a name with * and ?, or a purl
//	    version: 3.0.9-1
//	    license: GPL-3.0-only
//	    scope: {images: [registry.example/shop/*], paths: [app/**]}
//	    owner: alice@example.com
//	    reason: not reachable from outside
//	    created: 2026-11-01
//	    until: 2026-12-31              # counts on that day for the last time, in UTC
//
// Each but scope may be a list. A reason is required, and what has no until is
// remarked on. Errors are as FILE:LINE:COLUMN.
func ParseWaivers(file string, text []byte) (*Waivers, error) {
	root, doc, err := parseYAML(file, text)
	if err != nil {
		return nil, err
	}
	w := &Waivers{File: file}
	if root == nil {
		return w, nil
	}
	r := &reader{document: doc}
	keys := r.mapping(root, "a file of waivers", "waivers")
	list := keys["waivers"]
	switch {
	case list == nil && keys != nil && len(r.errs) == 0:
		r.fail(root, "want `waivers:` with a list")
	case list == nil:
	case list.Kind != yaml.SequenceNode:
		r.fail(list, "waivers: want a list")
	case len(list.Content) > maxWaivers:
		r.fail(list, "waivers: %d of them; at most %d can be", len(list.Content), maxWaivers)
	default:
		endless := 0
		for _, item := range list.Content {
			v := r.waiver(item)
			if v.until.IsZero() {
				endless++
			}
			w.list = append(w.list, v)
		}
		if endless > 0 {
			w.remark("%s: %s without until, so for ever: give a day to look at it again", file, plural(endless, "waiver"))
		}
	}
	return w, errors.Join(r.errs...)
}

func (r *reader) waiver(n *yaml.Node) waiver {
	w := waiver{line: n.Line}
	keys := r.mapping(n, "a waiver", "vulnerability", "package", "version", "license", "scope", "owner", "reason", "created", "until")
	if keys == nil {
		return w
	}
	r.notEmpty(keys, "vulnerability", "package", "version", "license", "scope")
	w.vulnerabilities, w.licenses = r.list(keys["vulnerability"]), r.list(keys["license"])
	for _, p := range r.list(keys["package"]) {
		r.packagePattern(keys["package"], p, &w)
	}
	w.version, w.owner = r.text(keys["version"]), r.text(keys["owner"])
	w.reason = strings.Join(strings.Fields(r.text(keys["reason"])), " ")
	if len(w.vulnerabilities)+len(w.licenses)+len(w.packages)+len(w.purls) == 0 {
		r.fail(n, "a waiver names no vulnerability, package or license: it would waive everything")
	}
	if len(w.vulnerabilities) > 0 && len(w.licenses) > 0 {
		r.fail(n, "a waiver is for vulnerabilities or for licenses, not for both: make two of it")
	}
	if w.reason == "" {
		r.fail(n, "a waiver has no reason: say why, for those who come after")
	}
	if scope := keys["scope"]; scope != nil {
		r.scope(scope, &w)
	}
	r.day(keys["created"])
	if until := r.day(keys["until"]); !until.IsZero() {
		w.until = until.AddDate(0, 0, 1)
	}
	return w
}

// notEmpty fails for keys that are there and say nothing: that a template left
// them empty must not make a waiver for everything.
func (r *reader) notEmpty(keys map[string]*yaml.Node, names ...string) {
	for _, name := range names {
		n := keys[name]
		if n != nil && (len(n.Content) == 0 && n.Value == "" || slices.ContainsFunc(n.Content, func(item *yaml.Node) bool { return item.Kind == yaml.ScalarNode && item.Value == "" })) {
			r.fail(n, "%s is empty: say which, or leave it out", name)
		}
	}
}

// packagePattern adds a name or a purl.
func (r *reader) packagePattern(n *yaml.Node, text string, w *waiver) {
	if strings.HasPrefix(text, "pkg:") {
		p, err := parsePURL(text)
		if err != nil {
			r.fail(n, "package: %v", err)
			return
		}
		w.purls = append(w.purls, p)
		return
	}
	_, version, ok := strings.Cut(strings.TrimPrefix(text, "@"), "@") // a name of npm may begin with @
	if ok {
		r.fail(n, "package %q: give the version by itself, as `version: %s`", text, version)
	}
	w.packages = append(w.packages, r.globs(n, text)...)
}

// scope reads where a waiver is for: patterns of images, or those and paths.
func (r *reader) scope(n *yaml.Node, w *waiver) {
	if n.Kind != yaml.MappingNode {
		w.images = r.globs(n, r.list(n)...)
		return
	}
	keys := r.mapping(n, "a scope", "images", "paths")
	r.notEmpty(keys, "images", "paths")
	w.images = r.globs(keys["images"], r.list(keys["images"])...)
	w.paths = r.globs(keys["paths"], r.list(keys["paths"])...)
}

func (r *reader) globs(n *yaml.Node, patterns ...string) []*glob {
	var globs []*glob
	for _, p := range patterns {
		g, err := newGlob(p)
		if err != nil {
			r.fail(n, "%v", err)
			continue
		}
		globs = append(globs, g)
	}
	return globs
}

// day reads a date, as its first moment in UTC; zero for none.
func (r *reader) day(n *yaml.Node) time.Time {
	if n == nil || n.Kind == yaml.ScalarNode && n.Value == "" {
		return time.Time{}
	}
	t, err := parseDay(r.text(n))
	if err != nil {
		r.fail(n, "%v", err)
	}
	return t
}

// parseDay reads 2026-12-31, or a time, of which only the day counts.
func parseDay(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC().Truncate(24 * time.Hour), nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return t, fmt.Errorf("%q is no day: want one such as 2026-12-31", s)
	}
	return t, nil
}
