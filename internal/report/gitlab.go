package report

import (
	"cmp"
	"crypto/sha1"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// DefaultGitLabSchema is the version of the schema that every GitLab since 16.0
// reads.
const DefaultGitLabSchema = "15.0.7"

// GitLabSchemas are the versions of GitLab's schema of container scanning that
// Strata can follow. GitLab takes a version that it does not have for the newest
// patch of the same minor version, if it has one.
func GitLabSchemas() []string { return []string{DefaultGitLabSchema, "15.1.4", "15.2.1"} }

// CheckGitLabSchema returns an error that lists the versions when it is none of
// them; empty is the default.
func CheckGitLabSchema(version string) error {
	if version == "" || slices.Contains(GitLabSchemas(), version) {
		return nil
	}
	return fmt.Errorf("GitLab schema %q: want one of %s", version, strings.Join(GitLabSchemas(), ", "))
}

// What GitLab's schema allows.
const (
	gitlabMaxName        = 255
	gitlabMaxDescription = 100_000 // of 1,048,576: it is text for people
	gitlabMaxSolution    = 7000
	gitlabMaxIdentifiers = 20 // GitLab's own limit: more, and the finding is refused
	gitlabMaxMessages    = 100
)

// GitLab writes the reports as one of GitLab's container scanning
// (gl-container-scanning-report.json; security-report-schemas, dist/
// container-scanning-report-format.json). It has the findings that count; how many
// do not, and what could not be analysed, is in the messages of the scan. Ids stay
// the same from one scan to the next, whatever else changes in the image.
func GitLab(w io.Writer, reports []*Report, o Options) error {
	if err := CheckGitLabSchema(o.GitLabSchema); err != nil {
		return err
	}
	version := cmp.Or(o.GitLabSchema, DefaultGitLabSchema)
	doc := gitlabReport{
		Version: version,
		Schema: "https://gitlab.com/gitlab-org/security-products/security-report-schemas/-/raw/v" + version +
			"/dist/container-scanning-report-format.json",
		Scan: gitlabScan{
			Type: "container_scanning", Status: "success", Messages: []gitlabMessage{},
			StartTime: isoSeconds(cmp.Or(o.Started, o.Ended)), EndTime: isoSeconds(cmp.Or(o.Ended, o.Started)),
		},
		Vulnerabilities: []gitlabVulnerability{},
	}
	for _, r := range reports {
		g := gitlabWriter{listing: newListing(r), doc: &doc, seen: map[string]int{}}
		g.add(o)
	}
	return encodeJSON(w, doc, " ")
}

type gitlabReport struct {
	Version         string                `json:"version"`
	Schema          string                `json:"schema"`
	Scan            gitlabScan            `json:"scan"`
	Vulnerabilities []gitlabVulnerability `json:"vulnerabilities"`
}

type gitlabScan struct {
	Analyzer  gitlabTool      `json:"analyzer"`
	Scanner   gitlabTool      `json:"scanner"`
	Type      string          `json:"type"`
	Status    string          `json:"status"`
	StartTime string          `json:"start_time"`
	EndTime   string          `json:"end_time"`
	Messages  []gitlabMessage `json:"messages"`
}

type gitlabTool struct {
	ID      string     `json:"id"`
	Name    string     `json:"name"`
	Version string     `json:"version"`
	Vendor  gitlabName `json:"vendor"`
}

type gitlabName struct {
	Name string `json:"name"`
}

type gitlabMessage struct {
	Level string `json:"level"`
	Value string `json:"value"`
}

type gitlabVulnerability struct {
	ID          string                  `json:"id"`
	Name        string                  `json:"name"`
	Description string                  `json:"description"`
	Severity    string                  `json:"severity"`
	Solution    string                  `json:"solution"`
	Identifiers []gitlabIdentifier      `json:"identifiers"`
	CVSS        []gitlabCVSS            `json:"cvss_vectors,omitempty"`
	Links       []gitlabLink            `json:"links,omitempty"`
	Location    gitlabLocation          `json:"location"`
	Details     map[string]gitlabDetail `json:"details,omitempty"`
}

type gitlabIdentifier struct {
	Type  string `json:"type"`
	Name  string `json:"name"`
	Value string `json:"value"`
	URL   string `json:"url,omitempty"`
}

type gitlabCVSS struct {
	Vendor string `json:"vendor"`
	Vector string `json:"vector"`
}

type gitlabLink struct {
	URL string `json:"url"`
}

type gitlabLocation struct {
	Dependency gitlabDependency `json:"dependency"`
	OS         string           `json:"operating_system"`
	Image      string           `json:"image"`
}

type gitlabDependency struct {
	Package gitlabName `json:"package"`
	Version string     `json:"version"`
}

// A gitlabDetail is one of the schema's typed fields: of type text, code, value,
// or a list of such.
type gitlabDetail struct {
	Type  string         `json:"type"`
	Name  string         `json:"name,omitempty"`
	Value any            `json:"value,omitempty"`
	Items []gitlabDetail `json:"items,omitempty"`
}

// A gitlabWriter adds one image to the report.
type gitlabWriter struct {
	*listing
	doc  *gitlabReport
	seen map[string]int
}

func (g *gitlabWriter) add(o Options) {
	tool := gitlabTool{ID: "strata", Name: "Strata", Version: cmp.Or(Safe(g.report.Tool.Version), "0"), Vendor: gitlabName{"Strata"}}
	g.doc.Scan.Analyzer, g.doc.Scan.Scanner = tool, tool
	if g.report.Incomplete() && !o.AllowIncomplete {
		g.doc.Scan.Status = "failure"
	}
	var aside int
	for _, f := range g.findings {
		if g.aside(f) != "" {
			aside++
			continue
		}
		g.doc.Vulnerabilities = append(g.doc.Vulnerabilities, g.vulnerability(f))
	}
	g.messages(aside)
}

func (g *gitlabWriter) messages(aside int) {
	for _, v := range g.looseViolations {
		level := "warn"
		g.say(level, fmt.Sprintf("%s: %s", ruleName(v), v.Message))
	}
	for i := range g.report.Problems {
		p := &g.report.Problems[i]
		level := "warn"
		if p.Incomplete && g.doc.Scan.Status == "failure" { // else it is accepted
			level = "fatal"
		}
		g.say(level, strings.TrimPrefix(p.Path+": "+cmp.Or(p.Message, "could not be analysed"), ": "))
	}
	for _, text := range g.notChecked() {
		g.say("warn", text)
	}
	if f := g.report.Filtered; f != nil && f.Hidden > 0 {
		g.say("info", fmt.Sprintf("%s: %s left out by the filter", g.report.Image.Reference, plural(f.Hidden, "finding")))
	}
	if aside > 0 {
		g.say("info", fmt.Sprintf("%s: %s left out, set aside or in packages that later layers took away", g.report.Image.Reference, plural(aside, "finding")))
	}
}

// say adds a message, unless there are very many.
func (g *gitlabWriter) say(level, text string) {
	switch n := len(g.doc.Scan.Messages); {
	case n < gitlabMaxMessages:
		g.doc.Scan.Messages = append(g.doc.Scan.Messages, gitlabMessage{level, cutBytes(Safe(text), sarifMaxText)})
	case n == gitlabMaxMessages:
		g.doc.Scan.Messages = append(g.doc.Scan.Messages, gitlabMessage{"warn", "there are more messages; -f json has all"})
	}
}

func (g *gitlabWriter) vulnerability(f *Finding) gitlabVulnerability {
	p := g.findingPackage(f)
	v := gitlabVulnerability{
		ID: g.id(f), Name: cutBytes(cmp.Or(Safe(title(f)), "unknown"), gitlabMaxName), Severity: gitlabSeverity(f.Severity),
		Description: cutBytes(strings.Join(g.tell(f, mdCode, mdText, false), ".\n\n")+".", gitlabMaxDescription), // in Markdown
		Solution:    cutBytes(remedy(f, mdCode), gitlabMaxSolution),
		Identifiers: gitlabIdentifiers(f), CVSS: gitlabVectors(f.CVSS), Details: g.details(f, &p),
		Location: gitlabLocation{
			Dependency: gitlabDependency{Package: gitlabName{Safe(p.Name)}, Version: Safe(p.Version)},
			OS:         cmp.Or(strings.TrimSpace(Safe(g.report.Image.Distro.ID)+" "+Safe(g.report.Image.Distro.Version)), "none"),
			Image:      cmp.Or(Safe(g.report.Image.Reference), "image"),
		},
	}
	for _, link := range links(f) {
		v.Links = append(v.Links, gitlabLink{link})
	}
	return v
}

func (g *gitlabWriter) details(f *Finding, p *Package) map[string]gitlabDetail {
	details := map[string]gitlabDetail{}
	if p.PURL != "" {
		details["purl"] = gitlabDetail{Type: "text", Name: "Package URL", Value: Safe(p.PURL)}
	}
	if l := g.layerOf(f); l != nil && f.PackageID != "" {
		details["layer"] = gitlabDetail{Type: "text", Name: "Layer", Value: fmt.Sprintf("%d %s", l.Index, Safe(l.DiffID))}
		if g.instruction(l) != "" {
			details["instruction"] = gitlabDetail{Type: "code", Name: "Instruction of the layer", Value: g.instruction(l)}
		}
	}
	var paths []gitlabDetail
	for i, path := range g.pathsOf(f) {
		if i < maxLinks {
			paths = append(paths, gitlabDetail{Type: "text", Value: Safe(path)})
		}
	}
	if len(paths) > 0 {
		details["paths"] = gitlabDetail{Type: "list", Name: "Files", Items: paths}
	}
	if f.EPSS > 0 {
		details["epss"] = gitlabDetail{Type: "value", Name: "EPSS", Value: f.EPSS}
	}
	return details
}

// gitlabNamespace is the name space of our ids: version 4, of random bytes.
const gitlabNamespace = "\x8c\x1d\x4e\x62\x0b\x77\x4a\x3f\x9d\x25\xe1\x90\x6b\x5c\x38\xf4"

// id is a UUID of version 5 (RFC 9562, section 5.5) over what the finding is.
func (g *gitlabWriter) id(f *Finding) string {
	digest := g.fingerprint(f)
	g.seen[digest]++
	name := fmt.Sprintf("%s %s %s %d", repository(g.report.Image.Reference), g.report.Image.Platform, digest, g.seen[digest])
	sum := sha1.Sum([]byte(gitlabNamespace + name)) //nolint:gosec // the algorithm of version 5
	u := sum[:16]
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

func gitlabSeverity(s Severity) string {
	return [len(Counts{})]string{"Critical", "High", "Medium", "Low", "Unknown"}[column(s)]
}

// gitlabIdentifiers are the finding's ids. GitLab tracks by the first.
func gitlabIdentifiers(f *Finding) []gitlabIdentifier {
	var out []gitlabIdentifier
	for _, id := range append([]string{cmp.Or(f.ID, "unknown")}, f.Aliases...) {
		id = Safe(id)
		if id == "" || len(out) == gitlabMaxIdentifiers || slices.ContainsFunc(out, func(o gitlabIdentifier) bool { return o.Value == id }) {
			continue
		}
		out = append(out, gitlabIdentifier{Type: gitlabIdentifierType(id), Name: id, Value: id, URL: vulnerabilityURL(id)})
	}
	return out
}

// gitlabIdentifierType is the word for the database of an id, as in "cve".
func gitlabIdentifierType(id string) string {
	prefix, _, found := strings.Cut(id, "-")
	if !found || !plainID.MatchString(id) {
		return "strata"
	}
	return strings.ToLower(prefix)
}

// The vectors that the schema takes: of version 2 without a prefix, of 3 with; it
// has no version 4.
var (
	cvss2 = regexp.MustCompile(`^AV:[NAL]/AC:[LMH]/Au:[MSN]/C:[NPC]/I:[NPC]/A:[NPC]$`)
	cvss3 = regexp.MustCompile(`^CVSS:3[.][01](/(AV:[NALP]|AC:[LH]|PR:[NLH]|UI:[NR]|S:[UC]|[CIA]:[NLH]|E:[XUPFH]|RL:[XOTWU]|RC:[XURC]|[CIA]R:[XLMH]|MAV:[XNALP]|MAC:[XLH]|MPR:[XNLH]|MUI:[XNR]|MS:[XUC]|M[CIA]:[XNLH]))+$`)
)

func gitlabVectors(c *CVSS) []gitlabCVSS {
	if c == nil || len(c.Vector) > 128 {
		return nil
	}
	if vector := strings.Trim(c.Vector, "()"); cvss2.MatchString(vector) || (cvss3.MatchString(vector) && len(vector) >= 32) {
		return []gitlabCVSS{{Vendor: "unknown", Vector: vector}}
	}
	return nil
}
