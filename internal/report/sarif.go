package report

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"strata/internal/advisory"
	"strata/internal/policy"
)

// What GitHub's code scanning takes at most (its documentation, "SARIF support
// for code scanning" and "results exceed limit"): more makes it refuse the file,
// or leave out without a word.
const (
	sarifMaxRuns    = 20
	sarifMaxResults = 25_000
	sarifMaxTags    = 10
	sarifMaxName    = 255
	sarifMaxText    = 1024
	// sarifMaxHelp keeps the help of a rule that is in very many packages short;
	// GitHub names no limit but that of the file.
	sarifMaxHelpLines = 20
	// sarifMaxProblems bounds the notifications; as of results, the rest is told.
	sarifMaxProblems = 1000
)

// sarifRoot is what paths in the image are relative to.
const sarifRoot = "ROOTPATH"

// SARIF writes the reports as a log in the Static Analysis Results Interchange
// Format (SARIF 2.1.0, OASIS), a run for each image: a rule for each
// vulnerability, a result for each package that has it. It is fit for GitHub's
// code scanning, whose limits it keeps; what they cut off is the least grave, and
// a notification tells how much it was.
//
// Findings that do not count, set aside or in packages that a later layer took
// away, are in it with a suppression that says why; readers that know no
// suppressions are better served by a report filtered by FilterOptions.ActiveOnly.
func SARIF(w io.Writer, reports []*Report) error {
	return encodeJSON(w, newSARIF(reports, sarifMaxRuns, sarifMaxResults), " ")
}

func newSARIF(reports []*Report, maxRuns, maxResults int) sarifLog {
	log := sarifLog{
		Schema:  "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		Version: "2.1.0", Runs: []sarifRun{},
	}
	for i, r := range reports {
		if i == maxRuns {
			last := &log.Runs[i-1].Invocations[0]
			last.Notifications = append(last.Notifications, sarifNote("%s left out: GitHub takes %d runs in a file", plural(len(reports)-i, "image"), maxRuns))
			break
		}
		s := sarifWriter{listing: newListing(r), maxResults: maxResults, rules: map[string]int{}, seen: map[string]int{}}
		log.Runs = append(log.Runs, s.run())
	}
	return log
}

// A sarifWriter makes the run of one image.
type sarifWriter struct {
	*listing
	// maxResults is how many results the run has at most.
	maxResults int
	// rules are the places of rules in the run by their ids.
	rules map[string]int
	out   sarifRun
	// seen counts the results with the same fingerprint.
	seen map[string]int
	// byID are the findings by their ids.
	byID map[string][]*Finding
}

func (s *sarifWriter) run() sarifRun {
	r := s.report
	s.out = sarifRun{
		Tool: sarifTool{Driver: sarifDriver{Name: "Strata", Version: r.Tool.Version, Rules: []sarifRule{}}},
		// The part before the last slash is what GitHub calls the category: the
		// alerts of one take the place of the last ones of the same. So it has
		// neither tag nor digest.
		AutomationDetails: sarifID{ID: fmt.Sprintf("strata/%s/%s/%s", s.imagePath(),
			strings.ReplaceAll(r.Image.Platform, "/", "-"), strings.ReplaceAll(runName(r), "/", "-"))},
		Invocations: []sarifInvocation{{ExecutionSuccessful: !r.Incomplete()}},
		OriginalURIBaseIDs: map[string]sarifURI{sarifRoot: {
			URI: "file:///", Description: &sarifText{Text: "Root of the image's file system"},
		}},
		Results:    []sarifResult{},
		ColumnKind: "utf16CodeUnits",
		Properties: s.runProperties(),
	}
	s.notifications()
	s.results()
	return s.out
}

// runName tells one build of an image from another: its digest, or its tag.
func runName(r *Report) string {
	tag := strings.TrimPrefix(r.Image.Reference, repository(r.Image.Reference))
	return cmp.Or(r.Image.Digest, r.Image.ConfigDigest, strings.TrimLeft(tag, ":@"), "1")
}

func (s *sarifWriter) runProperties() map[string]any {
	r := s.report
	p := map[string]any{
		"image": r.Image.Reference, "digest": r.Image.Digest, "platform": r.Image.Platform,
		"distro": strings.TrimSpace(r.Image.Distro.ID + " " + r.Image.Distro.Version),
		"layers": len(r.Layers), "packages": s.present, "verdict": string(r.Verdict.Decision),
	}
	if r.Image.Base != nil {
		p["base"] = r.Image.Base.Reference
	}
	if r.Baseline != nil {
		p["baseline"] = r.Baseline.Reference
	}
	if r.Filtered != nil {
		p["hidden"] = r.Filtered.Hidden
	}
	return p
}

// notifications tell what could not be analysed.
func (s *sarifWriter) notifications() {
	var notes []sarifNotification
	for i := range s.report.Problems {
		p := &s.report.Problems[i]
		if i == sarifMaxProblems {
			notes = append(notes, sarifNote("%s left out", plural(len(s.report.Problems)-i, "more problem")))
			break
		}
		n := sarifNotification{Level: "warning", Message: sarifText{Text: sarifCut(cmp.Or(p.Message, "could not be analysed"), sarifMaxText)}}
		if p.Incomplete {
			n.Level = "error"
		}
		if p.Path != "" {
			n.Locations = []sarifLocation{{Physical: sarifPhysical(p.Path), Logical: s.logicalLayer(p.Layer)}}
		}
		notes = append(notes, n)
	}
	for _, text := range s.notChecked() {
		notes = append(notes, sarifNote("%s", text))
	}
	s.out.Invocations[0].Notifications = append(s.out.Invocations[0].Notifications, notes...)
}

func sarifNote(format string, args ...any) sarifNotification {
	return sarifNotification{Level: "warning", Message: sarifText{Text: fmt.Sprintf(format, args...)}}
}

// results are those of the findings, the gravest first, and of the violations
// that are about no finding.
func (s *sarifWriter) results() {
	var all []sarifResult
	for _, v := range s.looseViolations {
		all = append(all, s.violationResults(v)...)
	}
	for _, f := range s.findings {
		all = append(all, s.findingResult(f))
	}
	if cut := len(all) - s.maxResults; cut > 0 {
		all = all[:s.maxResults]
		s.out.Invocations[0].Notifications = append(s.out.Invocations[0].Notifications,
			sarifNote("%s left out, the least grave: GitHub takes %d in a run; -f json has all", plural(cut, "result"), s.maxResults))
	}
	s.out.Results = append(s.out.Results, all...)
}

func (s *sarifWriter) findingResult(f *Finding) sarifResult {
	out := sarifResult{
		RuleID: ruleID(f.ID), RuleIndex: s.findingRule(f), Level: sarifLevelOf(f),
		Message:      sarifText{Text: sarifCut(strings.Join(s.tell(f, bare, bare, true), ". ")+".", sarifMaxText)},
		Locations:    s.locations(f),
		Fingerprints: s.fingerprints(s.fingerprint(f)),
		Properties:   s.properties(f),
	}
	if f.New != nil {
		out.Baseline = "unchanged"
		if *f.New {
			out.Baseline = "new"
		}
	}
	if reason := s.aside(f); reason != "" {
		out.Suppressions = []sarifSuppression{{Kind: "external", Status: "accepted", Justification: sarifCut(reason, sarifMaxText)}}
	}
	return out
}

func (s *sarifWriter) locations(f *Finding) []sarifLocation {
	p := s.findingPackage(f)
	logical := append([]sarifLogicalLocation{{
		Name: sarifCut(cmp.Or(p.Name, "image"), sarifMaxName), FullyQualifiedName: cmp.Or(p.PURL, p.Name), Kind: "package",
	}}, s.logicalLayer(f.Layer)...)
	paths := s.pathsOf(f)
	if len(paths) == 0 {
		paths = []string{s.imagePath()}
	}
	var out []sarifLocation
	for _, path := range paths {
		out = append(out, sarifLocation{Physical: sarifPhysical(path), Logical: logical, Message: &sarifText{Text: sarifCut(cmp.Or(strings.TrimSpace(p.Name+" "+p.Version), path), sarifMaxText)}})
	}
	return out
}

func (s *sarifWriter) logicalLayer(index int) []sarifLogicalLocation {
	place := s.place[index]
	if place == nil {
		return nil
	}
	return []sarifLogicalLocation{{Name: fmt.Sprintf("layer %d", index), FullyQualifiedName: place.DiffID, Kind: "layer"}}
}

// sarifPhysical is a file of the image. GitHub wants a region; there are no lines
// to name.
func sarifPhysical(path string) sarifPhysicalLocation {
	u := url.URL{Path: strings.TrimLeft(path, "/")}
	uri := strings.ReplaceAll(u.EscapedPath(), ":", "%3A") // else what is before one would be a scheme
	return sarifPhysicalLocation{
		Artifact: sarifURI{URI: uri, URIBaseID: sarifRoot},
		Region:   sarifRegion{StartLine: 1, StartColumn: 1, EndLine: 1, EndColumn: 1},
	}
}

// fingerprints are in the form that GitHub reads, and in one of our own with a
// version, as SARIF asks for (3.27.17). Of results that are alike in all that it
// is made of, such as two versions in one file, each has its number.
func (s *sarifWriter) fingerprints(digest string) map[string]string {
	s.seen[digest]++
	n := strconv.Itoa(s.seen[digest])
	return map[string]string{"primaryLocationLineHash": digest[:16] + ":" + n, "strataFinding/v1": digest + ":" + n}
}

func (s *sarifWriter) properties(f *Finding) map[string]any {
	pkg := s.findingPackage(f)
	p := map[string]any{
		"package": pkg.Name, "version": pkg.Version, "type": pkg.Type, "purl": pkg.PURL, "fixedVersion": f.FixedVersion,
		"severity": string(f.Severity), "state": string(f.State), "status": string(f.Status),
	}
	if layer := s.layerOf(f); layer != nil {
		p["layer"], p["layerDiffId"], p["layerDigest"] = layer.Index, layer.DiffID, layer.Digest
		p["instruction"], p["base"] = s.instruction(layer), layer.Base
	}
	if pkg.StateLayer >= 0 {
		p["stateLayer"] = pkg.StateLayer
	}
	if f.KEV {
		p["kev"] = true
	}
	if len(f.FixedVersions) > 1 {
		p["fixedVersions"] = f.FixedVersions
	}
	if f.EPSS > 0 {
		p["epss"] = f.EPSS
	}
	if f.CVSS != nil {
		p["cvss"] = f.CVSS.Vector
	}
	if rules := s.objectors(f); len(rules) > 0 {
		p["violates"] = rules
	}
	return p
}

// violationResults are those of a violation that is about packages or layers, one
// each, or about the image.
func (s *sarifWriter) violationResults(v *policy.Violation) []sarifResult {
	id := ruleID("policy/" + ruleName(v))
	rule := s.violationRule(id, v)
	var out []sarifResult
	for _, f := range s.subjects(v) {
		result := sarifResult{
			RuleID: id, RuleIndex: rule, Level: violationLevel(v), Message: sarifText{Text: sarifCut(f.Summary, sarifMaxText)},
			Locations: s.locations(f), Fingerprints: s.fingerprints(s.fingerprint(f)),
		}
		if p := s.packages[f.PackageID]; p != nil {
			result.Properties = map[string]any{"package": p.Name, "version": p.Version, "type": p.Type, "purl": p.PURL}
			if p.License != nil {
				result.Properties["license"] = p.License.Expression
			}
		}
		out = append(out, result)
	}
	return out
}

// violationLevel is that of what a rule objects to.
func violationLevel(v *policy.Violation) string {
	if failing(v) {
		return "error"
	}
	return "warning"
}

// sarifLevelOf is the level of a finding. One that nobody has rated may be of any
// severity.
func sarifLevelOf(f *Finding) string {
	switch f.Severity {
	case advisory.Critical, advisory.High:
		return "error"
	case advisory.Low:
		return "note"
	}
	return "warning"
}

// sarifCut makes text printable and shortens it to n bytes.
func sarifCut(s string, n int) string { return cutBytes(Safe(s), n) }
