package policy

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// IgnoreFiles are the files of Trivy and Grype that are looked for in the working
// directory.
func IgnoreFiles() []string { return []string{".trivyignore", ".trivyignore.yaml", ".grype.yaml"} }

// ParseIgnoreFile reads what other scanners are told to ignore, as they do:
// Trivy's list of ids (.trivyignore), its YAML (.trivyignore.yaml) and Grype's
// configuration (.grype.yaml), of which only `ignore` is read. It goes by the
// content, for files with other names; a file of our own waivers is one too. What
// can't be honoured is remarked on, never dropped.
func ParseIgnoreFile(file string, text []byte) (*Waivers, error) {
	if ext := path.Ext(file); ext != ".yaml" && ext != ".yml" {
		return parseTrivyIgnore(file, text)
	}
	root, doc, err := parseYAML(file, text)
	if err != nil {
		return nil, err
	}
	w := &Waivers{File: file}
	if root == nil {
		return w, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, doc.errorf(root, "neither Trivy's nor Grype's: want `vulnerabilities`, `licenses` or `ignore` with a list")
	}
	r := &reader{document: doc}
	keys := map[string]*yaml.Node{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		keys[root.Content[i].Value] = root.Content[i+1]
	}
	switch {
	case keys["waivers"] != nil:
		return ParseWaivers(file, text)
	case keys["vulnerabilities"] != nil || keys["licenses"] != nil || keys["misconfigurations"] != nil || keys["secrets"] != nil:
		r.trivyYAML(keys, w)
	default:
		r.grype(keys, w)
	}
	if len(w.list) > maxWaivers {
		return nil, fmt.Errorf("%s: more than %d entries", file, maxWaivers)
	}
	return w, errors.Join(r.errs...)
}

// parseTrivyIgnore reads lines of an id each, which may be of a vulnerability or
// a licence, with `exp:2026-12-31`, the first day on which it counts no more. A
// comment in the line or the lines before is the reason.
func parseTrivyIgnore(file string, text []byte) (*Waivers, error) {
	if len(text) > MaxFile {
		return nil, fmt.Errorf("%s: has more than %d bytes", file, MaxFile)
	}
	w := &Waivers{File: file}
	comment := ""
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
		entry, after, _ := strings.Cut(line, "#")
		fields := strings.Fields(entry)
		if len(fields) == 0 {
			if line == "" {
				comment = ""
			} else {
				comment = strings.TrimSpace(comment + " " + strings.TrimSpace(strings.TrimLeft(after, "#")))
			}
			continue
		}
		if len(w.list) >= maxWaivers {
			return nil, fmt.Errorf("%s: more than %d entries", file, maxWaivers)
		}
		v := waiver{line: i + 1, either: true, vulnerabilities: fields[:1], licenses: fields[:1], reason: shorten(or(strings.TrimSpace(after), comment))}
		if err := v.expires(fields[1:]); err != nil {
			w.remark("%s:%d: %s is not ignored: %v", file, i+1, fields[0], err)
			continue
		}
		w.list = append(w.list, v)
	}
	return w, nil
}

// expires reads `exp:` of the words after an id. Others mean nothing to Trivy.
func (w *waiver) expires(words []string) error {
	for _, word := range words {
		if day, ok := strings.CutPrefix(word, "exp:"); ok {
			t, err := time.Parse(time.DateOnly, day)
			if err != nil {
				return fmt.Errorf("exp:%s is no day: want one such as exp:2026-12-31", day)
			}
			w.until = t
		}
	}
	return nil
}

func shorten(s string) string {
	if runes := []rune(s); len(runes) > maxMessage {
		return string(runes[:maxMessage-1]) + "…"
	}
	return s
}

// trivyYAML reads .trivyignore.yaml.
func (r *reader) trivyYAML(keys map[string]*yaml.Node, w *Waivers) {
	for _, key := range []string{"vulnerabilities", "licenses", "misconfigurations", "secrets"} {
		list := keys[key]
		if list == nil || unset(list) {
			continue
		}
		if list.Kind != yaml.SequenceNode {
			r.fail(list, "%s: want a list", key)
			continue
		}
		if key == "misconfigurations" || key == "secrets" {
			if len(list.Content) > 0 {
				w.remark("%s: %s of %s: Strata looks for none", r.name, entries(len(list.Content)), key)
			}
			continue
		}
		for _, item := range list.Content {
			if v, ok := r.trivyEntry(item, key, w); ok {
				w.list = append(w.list, v)
			}
		}
	}
}

func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

func (r *reader) trivyEntry(n *yaml.Node, kind string, w *Waivers) (waiver, bool) {
	v := waiver{line: n.Line}
	var e struct {
		ID        string   `yaml:"id"`
		Paths     []string `yaml:"paths"`
		PURLs     []string `yaml:"purls"`
		ExpiredAt string   `yaml:"expired_at"`
		Statement string   `yaml:"statement"`
	}
	if err := n.Decode(&e); err != nil {
		r.fail(n, "want an entry with id: %v", yamlError(err))
		return v, false
	}
	if e.ID == "" {
		r.fail(n, "an entry has no id")
		return v, false
	}
	r.foreignKeys(n, w, e.ID, "id", "paths", "purls", "expired_at", "statement")
	if kind == "licenses" {
		v.licenses = []string{e.ID}
	} else {
		v.vulnerabilities = []string{e.ID}
	}
	v.paths, v.reason = r.globs(n, e.Paths...), shorten(strings.Join(strings.Fields(e.Statement), " "))
	for _, text := range e.PURLs {
		p, err := parsePURL(text)
		if err != nil {
			r.fail(n, "%v", err)
			continue
		}
		v.purls = append(v.purls, p)
	}
	if e.ExpiredAt != "" {
		t, err := parseDay(e.ExpiredAt)
		if err != nil {
			r.fail(n, "expired_at: %v", err)
		}
		v.until = t
	}
	return v, true
}

// foreignKeys remarks on keys of an entry that mean nothing to us.
func (r *reader) foreignKeys(n *yaml.Node, w *Waivers, what string, known ...string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := n.Content[i].Value; !slices.Contains(known, key) {
			w.remark("%s:%d: %s: its %s is not looked at", r.name, n.Content[i].Line, what, key)
		}
	}
}

// yamlError is an error of decoding without the name of Go types.
func yamlError(err error) string {
	return strings.TrimSpace(strings.TrimPrefix(strings.ReplaceAll(err.Error(), "yaml: unmarshal errors:\n", ""), "yaml:"))
}

// grypeTypes are Grype's types of packages as purls have them, where they differ.
var grypeTypes = map[string]string{
	"python": "pypi", "java-archive": "maven", "jenkins-plugin": "maven", "go-module": "golang", "rust-crate": "cargo",
	"php-composer": "composer", "dotnet": "nuget", "pod": "cocoapods", "dart-pub": "pub", "hex": "hex", "binary": "generic",
	"portage": "ebuild", "R-package": "cran", "erlang-otp": "otp",
}

// grypeLanguages are the purl types of Grype's languages.
var grypeLanguages = map[string]string{
	"javascript": "npm", "python": "pypi", "java": "maven", "go": "golang", "rust": "cargo", "ruby": "gem", "php": "composer",
	"dotnet": "nuget", "dart": "pub", "swift": "swift", "R": "cran", "lua": "luarocks", "haskell": "hackage", "elixir": "hex", "erlang": "hex",
}

// grypeDecides are settings of Grype that change its verdict, and that are not
// read: that they are there must not be taken for that they are in force.
var grypeDecides = []string{"fail-on-severity", "only-fixed", "only-notfixed", "exclude", "ignore-wontfix", "vex-documents", "vex-add", "match-upstream-kernel-headers"}

// unset tells whether a setting says nothing: empty, or off.
func unset(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.Value == "" || n.Value == "false" || n.Tag == "!!null") ||
		n.Kind == yaml.SequenceNode && len(n.Content) == 0
}

// grype reads the rules of .grype.yaml.
func (r *reader) grype(keys map[string]*yaml.Node, w *Waivers) {
	var unread []string
	for _, key := range grypeDecides {
		if n := keys[key]; n != nil && !unset(n) {
			unread = append(unread, key)
		}
	}
	if len(unread) > 0 {
		w.remark("%s: only `ignore` is read, not %s", r.name, strings.Join(unread, ", "))
	}
	list := keys["ignore"]
	if list == nil || unset(list) {
		return
	}
	if list.Kind != yaml.SequenceNode {
		r.fail(list, "ignore: want a list of rules")
		return
	}
	for _, item := range list.Content {
		v, why := r.grypeRule(item)
		if why != "" {
			w.remark("%s:%d: a rule is not applied: %s", r.name, item.Line, why)
			continue
		}
		w.list = append(w.list, v)
	}
}

// grypeRule reads a rule, or says why it can't be honoured: with a condition left
// out it would ignore more than Grype does.
func (r *reader) grypeRule(n *yaml.Node) (w waiver, why string) {
	w.line, w.findings = n.Line, true
	var e struct {
		Vulnerability    string `yaml:"vulnerability"`
		IncludeAliases   bool   `yaml:"include-aliases"`
		Reason           string `yaml:"reason"`
		Namespace        string `yaml:"namespace"`
		FixState         string `yaml:"fix-state"`
		VEXStatus        string `yaml:"vex-status"`
		VEXJustification string `yaml:"vex-justification"`
		MatchType        string `yaml:"match-type"`
		Package          struct {
			Name         string `yaml:"name"`
			Version      string `yaml:"version"`
			Language     string `yaml:"language"`
			Type         string `yaml:"type"`
			Location     string `yaml:"location"`
			UpstreamName string `yaml:"upstream-name"`
		} `yaml:"package"`
	}
	if err := n.Decode(&e); err != nil {
		return w, yamlError(err)
	}
	switch {
	case e.Namespace != "":
		return w, fmt.Sprintf("Strata's vulnerabilities are in no namespace such as %q", e.Namespace)
	case e.MatchType != "":
		return w, "Strata knows no match-type"
	case e.VEXJustification != "":
		return w, "a vex-justification can't be asked for"
	}
	if w.fixable, why = grypeFixState(e.FixState); why != "" {
		return w, why
	}
	if e.Vulnerability != "" {
		w.vulnerabilities = []string{e.Vulnerability}
	}
	w.reason, w.version, w.status = shorten(strings.Join(strings.Fields(e.Reason), " ")), e.Package.Version, Status(e.VEXStatus)
	var err error
	if w.name, err = grypePattern(e.Package.Name); err != nil {
		return w, fmt.Sprintf("package name %q is no regular expression", e.Package.Name)
	}
	if w.sourceName, err = grypePattern(e.Package.UpstreamName); err != nil {
		return w, fmt.Sprintf("upstream-name %q is no regular expression", e.Package.UpstreamName)
	}
	if e.Package.Location != "" {
		g, err := newGlob(e.Package.Location)
		if err != nil {
			return w, err.Error()
		}
		w.paths = []*glob{g}
	}
	if t := e.Package.Type; t != "" {
		w.types = []string{or(grypeTypes[t], t)}
	}
	if l := e.Package.Language; l != "" {
		t := grypeLanguages[l]
		if t == "" || len(w.types) > 0 && w.types[0] != t {
			return w, fmt.Sprintf("language %q is none that Strata knows with this type", l)
		}
		w.types = []string{t}
	}
	if e.Vulnerability == "" && w.fixable == nil && w.status == "" && w.version == "" && w.name == nil && w.sourceName == nil && w.paths == nil && w.types == nil {
		return w, "it has no condition"
	}
	return w, ""
}

// grypeFixState maps what Grype knows of fixes: Strata does not know which will
// never be fixed.
func grypeFixState(s string) (fixable *bool, why string) {
	yes := s == "fixed"
	switch s {
	case "":
		return nil, ""
	case "fixed", "not-fixed":
		return &yes, ""
	}
	return nil, fmt.Sprintf("fix-state %q: Strata knows fixed and not-fixed only", s)
}

// grypePattern is a whole name as a regular expression.
func grypePattern(s string) (*regexp.Regexp, error) {
	if s == "" {
		return nil, nil
	}
	return regexp.Compile("^(?:" + s + ")$")
}
