package report

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"strata/internal/policy"
)

// JUnit writes the reports in the XML that test runners write and Jenkins,
// GitLab and Azure Pipelines read (no standard; this keeps to the schema of
// Jenkins' xUnit plugin, junit-10.xsd).
//
// A test suite for the verdict has a case for each rule that was asked; one for
// each layer has a case for each finding in a package that the layer brought. A
// case fails when the image fails because of it, and no other does: findings that
// no rule objects to pass, with what they are as their output, and those that do
// not count are skipped, with the reason. What could not be read is an error,
// unless that was allowed.
func JUnit(w io.Writer, reports []*Report, o Options) error {
	var all junitSuites
	all.Name = "strata"
	for _, r := range reports {
		j := junitWriter{listing: newListing(r), options: o}
		all.Suites = append(all.Suites, j.suites()...)
	}
	for i := range all.Suites {
		all.add(&all.Suites[i])
	}
	doc, err := xml.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	// Lines are for people to read. None are in attributes, where they would be
	// taken for spaces.
	doc = bytes.ReplaceAll(doc, []byte("&#xA;"), []byte("\n"))
	_, err = w.Write(append(append([]byte(xml.Header), doc...), '\n'))
	return err
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

// add counts the cases of a suite, in it and in all.
func (all *junitSuites) add(s *junitSuite) {
	for i := range s.Cases {
		c := &s.Cases[i]
		s.Tests++
		s.Failures += count(c.Failure != nil)
		s.Errors += count(c.Error != nil)
		s.Skipped += count(c.Skipped != nil)
	}
	all.Tests += s.Tests
	all.Failures += s.Failures
	all.Errors += s.Errors
}

type junitSuite struct {
	Name       string           `xml:"name,attr"`
	Tests      int              `xml:"tests,attr"`
	Failures   int              `xml:"failures,attr"`
	Errors     int              `xml:"errors,attr"`
	Skipped    int              `xml:"skipped,attr"`
	Timestamp  string           `xml:"timestamp,attr,omitempty"`
	Properties *junitProperties `xml:"properties"`
	Cases      []junitCase      `xml:"testcase"`
}

type junitProperties struct {
	Properties []junitProperty `xml:"property"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Skipped *junitOutcome `xml:"skipped"`
	Error   *junitOutcome `xml:"error"`
	Failure *junitOutcome `xml:"failure"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitOutcome struct {
	Type    string `xml:"type,attr,omitempty"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// A junitWriter makes the suites of one image.
type junitWriter struct {
	*listing
	options Options
}

func (j *junitWriter) suites() []junitSuite {
	suites := append([]junitSuite{j.verdictSuite()}, j.findingSuites()...)
	if s := j.unreadSuite(); len(s.Cases) > 0 {
		suites = append(suites, s)
	}
	if !j.options.Ended.IsZero() {
		for i := range suites {
			suites[i].Timestamp = j.options.Ended.UTC().Format("2006-01-02T15:04:05")
		}
	}
	return suites
}

// suite has the image's name first: several images are in one file, and several
// files in one report.
func (j *junitWriter) suite(name string) junitSuite {
	image := Safe(cmp.Or(j.report.Image.Reference, "image"))
	if j.report.Image.Platform != "" {
		image += " (" + Safe(j.report.Image.Platform) + ")"
	}
	return junitSuite{Name: image + " " + name}
}

// class groups cases: Jenkins takes what is before the last dot for a package.
func (j *junitWriter) class(group string) string {
	name := repository(j.report.Image.Reference)
	name = strings.NewReplacer(".", "_", "/", "_", ":", "_").Replace(name)
	return Safe("strata." + name + "." + group)
}

// verdictSuite has a case for each rule, so that there is one that passes when
// nothing is found.
func (j *junitWriter) verdictSuite() junitSuite {
	s := j.suite("policy")
	s.Properties = j.properties()
	rules := j.report.Verdict.Rules
	if len(rules) == 0 && len(j.report.Verdict.Violations) == 0 {
		s.Cases = append(s.Cases, junitCase{Name: "scanned", Class: j.class("policy"), Out: "no policy was asked for a verdict"})
	}
	known := map[string]bool{}
	for _, rule := range rules {
		if !known[rule] {
			known[rule] = true
			s.Cases = append(s.Cases, j.ruleCase(rule))
		}
	}
	for i := range j.report.Verdict.Violations {
		if rule := ruleName(&j.report.Verdict.Violations[i]); !known[rule] {
			known[rule] = true
			s.Cases = append(s.Cases, j.ruleCase(rule))
		}
	}
	return s
}

func (j *junitWriter) properties() *junitProperties {
	r := j.report
	var p junitProperties
	for _, kv := range [][2]string{
		{"image", r.Image.Reference}, {"digest", r.Image.Digest}, {"platform", r.Image.Platform}, {"verdict", string(r.Verdict.Decision)},
		{"packages", strconv.Itoa(j.present)}, {"advisories", r.Advisories.Source}, {"version", r.Tool.Version},
	} {
		p.Properties = append(p.Properties, junitProperty{kv[0], Safe(kv[1])})
	}
	if r.Filtered != nil {
		p.Properties = append(p.Properties, junitProperty{"hidden", strconv.Itoa(r.Filtered.Hidden)})
	}
	return &p
}

// ruleCase is the case of a rule, with all that it objects to.
func (j *junitWriter) ruleCase(rule string) junitCase {
	c := junitCase{Name: Safe(rule), Class: j.class("policy")}
	for i := range j.report.Verdict.Violations {
		v := &j.report.Verdict.Violations[i]
		switch {
		case ruleName(v) != rule:
		case !failing(v):
			c.Out += "warning: " + Safe(v.Message) + "\n"
		case c.Failure == nil:
			c.Failure = &junitOutcome{Type: "policy", Message: Safe(v.Message), Text: j.objects(v)}
		default:
			c.Failure.Text += Safe(v.Message) + "\n" + j.objects(v)
		}
	}
	return c
}

// maxObjects is how many findings and packages of a violation are named.
const maxObjects = 200

// objects are what a violation is about, a line each.
func (j *junitWriter) objects(v *policy.Violation) string {
	lines := slices.Clone(v.FindingIDs[:min(len(v.FindingIDs), maxObjects)])
	for _, id := range v.PackageIDs[:min(len(v.PackageIDs), maxObjects)] {
		if p := j.packages[id]; p != nil {
			lines = append(lines, p.Type+" "+p.Name+" "+p.Version)
		}
	}
	var b strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&b, "%s\n", Safe(line))
	}
	if more := len(v.FindingIDs) + len(v.PackageIDs) - len(lines); more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	return b.String()
}

// findingSuites are one for each layer with findings, the lowest first, and one
// for those of no layer.
func (j *junitWriter) findingSuites() []junitSuite {
	byLayer := map[int][]*Finding{}
	var loose []*Finding
	for _, f := range j.findings {
		if l := j.layerOf(f); l == nil || f.PackageID == "" {
			loose = append(loose, f)
		} else {
			byLayer[l.Index] = append(byLayer[l.Index], f)
		}
	}
	var suites []junitSuite
	if len(loose) > 0 {
		suites = append(suites, j.findingSuite("image", "image", loose))
	}
	for i := range j.report.Layers {
		l := &j.report.Layers[i]
		if findings := byLayer[l.Index]; len(findings) > 0 {
			delete(byLayer, l.Index)
			suites = append(suites, j.findingSuite(j.layerPhrase(l, bare), fmt.Sprintf("layer-%d", l.Index), findings))
		}
	}
	return suites
}

func (j *junitWriter) findingSuite(name, group string, findings []*Finding) junitSuite {
	s := j.suite(name)
	class := j.class(group)
	used := map[string]int{}
	for _, f := range findings {
		c := j.findingCase(f, class)
		if used[c.Name]++; used[c.Name] > 1 { // GitLab takes cases of one name for one
			c.Name += fmt.Sprintf(" #%d", used[c.Name])
		}
		s.Cases = append(s.Cases, c)
	}
	return s
}

func (j *junitWriter) findingCase(f *Finding, class string) junitCase {
	p := j.findingPackage(f)
	c := junitCase{Name: Safe(strings.TrimSpace(f.ID + " " + p.Name + " " + p.Version)), Class: class}
	if path := packagePath(&p); path != "" {
		c.Name += " (" + path + ")"
	}
	message := fmt.Sprintf("%s: %s", f.Severity, j.what(f, bare))
	text := j.details(f)
	switch aside := j.aside(f); {
	case j.fails(f):
		c.Failure = &junitOutcome{Type: Safe(string(f.Severity)), Message: Safe(message), Text: text}
	case aside != "":
		c.Skipped = &junitOutcome{Message: Safe(aside), Text: text}
	default:
		c.Out = text
	}
	return c
}

// details tell all of a finding that helps to get rid of it.
func (j *junitWriter) details(f *Finding) string {
	p := j.findingPackage(f)
	var b strings.Builder
	line := func(label, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-11s%s\n", label+":", Safe(value))
		}
	}
	line("finding", title(f))
	line("severity", string(f.Severity))
	if f.CVSS != nil {
		line("cvss", fmt.Sprintf("%.1f %s", f.CVSS.Score, f.CVSS.Vector))
	}
	if f.KEV {
		line("exploited", "yes (CISA KEV)")
	}
	if f.New != nil && *f.New && j.report.Baseline != nil {
		line("new since", j.report.Baseline.Reference)
	}
	line("package", cmp.Or(p.PURL, strings.TrimSpace(p.Name+" "+p.Version)))
	line("remedy", remedy(f, bare))
	if l := j.layerOf(f); l != nil && f.PackageID != "" {
		line("layer", j.layerPhrase(l, bare))
	}
	paths := j.pathsOf(f)
	for _, path := range paths[:min(len(paths), maxLinks)] {
		line("path", path)
	}
	line("violates", strings.Join(j.objectors(f), ", "))
	for _, link := range links(f) {
		line("see", link)
	}
	return b.String()
}

// unreadSuite has a case for each layer, or whatever else, that could not be had,
// and for packages that were not checked.
func (j *junitWriter) unreadSuite() junitSuite {
	s := j.suite("scan")
	for i := range j.report.Problems {
		p := &j.report.Problems[i]
		if !p.Incomplete {
			continue
		}
		c := junitCase{Name: fmt.Sprintf("layer %d is read", p.Layer), Class: j.class("scan")}
		if p.Layer < 0 {
			c.Name = fmt.Sprintf("all is read, %d", i)
		}
		outcome := &junitOutcome{Type: "incomplete", Message: Safe(p.Message), Text: Safe(p.Path)}
		if j.options.AllowIncomplete {
			c.Skipped = outcome
		} else {
			c.Error = outcome
		}
		s.Cases = append(s.Cases, c)
	}
	for i, text := range j.notChecked() {
		s.Cases = append(s.Cases, junitCase{
			Name: fmt.Sprintf("all packages are checked, %d", i+1), Class: j.class("scan"), Skipped: &junitOutcome{Message: text},
		})
	}
	return s
}

// isoSeconds is a time as GitLab's schema wants it, in UTC without a zone; the
// Unix epoch for no time.
func isoSeconds(t time.Time) string {
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	return t.UTC().Format("2006-01-02T15:04:05")
}
