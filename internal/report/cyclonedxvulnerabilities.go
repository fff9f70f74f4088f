package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"

	"strata/internal/inventory"
	"strata/internal/sbom"
)

// A flaw is what one entry of a document's vulnerabilities tells: findings of one
// vulnerability of which all that it tells is the same.
type flaw struct {
	id, severity, vector, status, by, reason string
}

func flawOf(f *Finding) flaw {
	out := flaw{id: f.ID, severity: string(f.Severity), status: string(f.Status)}
	if f.CVSS != nil {
		out.vector = f.CVSS.Vector
	}
	if f.Suppressed != nil {
		out.by, out.reason = string(f.Suppressed.By), f.Suppressed.Reason
	}
	return out
}

// vulnerabilities are the findings in packages that the document lists, in their
// order. The end of life of something is none.
func (c *cycloneDX) vulnerabilities() *[]cyclonedx.Vulnerability {
	var order []flaw
	groups := map[flaw][]*Finding{}
	for i := range c.Findings {
		f := &c.Findings[i]
		if f.Kind == KindEndOfLife || c.refs[f.PackageID] == "" {
			continue
		}
		key := flawOf(f)
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], f)
	}
	if order == nil {
		return nil
	}
	out := make([]cyclonedx.Vulnerability, len(order))
	for i, key := range order {
		out[i] = c.vulnerability(groups[key])
		out[i].BOMRef = fmt.Sprintf("vulnerability-%d", i)
	}
	return &out
}

func (c *cycloneDX) vulnerability(findings []*Finding) cyclonedx.Vulnerability {
	f := findings[0]
	out := cyclonedx.Vulnerability{
		ID: Safe(f.ID), Source: vulnerabilitySource(f.ID), References: vulnerabilityAliases(f), Ratings: ratings(f), Description: Safe(f.Summary),
		Recommendation: recommendation(findings), Advisories: vulnerabilityAdvisories(f), Analysis: analysis(f), Properties: asCycloneDX(exploitation(f)),
	}
	if f.Published != nil {
		out.Published = f.Published.UTC().Format(time.RFC3339)
	}
	affects := make([]cyclonedx.Affects, len(findings))
	for i, f := range findings {
		affects[i] = cyclonedx.Affects{Ref: c.refs[f.PackageID]}
		if version := Safe(f.PackageVersion); version != "" {
			affects[i].Range = &[]cyclonedx.AffectedVersions{{Version: version, Status: affectedStatus(f.Status)}}
		}
	}
	out.Affects = &affects
	return out
}

func affectedStatus(s Status) cyclonedx.VulnerabilityStatus {
	switch s {
	case NotAffected, StatusFixed:
		return cyclonedx.VulnerabilityStatusNotAffected
	case UnderInvestigation:
		return cyclonedx.VulnerabilityStatusUnknown
	}
	return cyclonedx.VulnerabilityStatusAffected
}

// vulnerabilitySource is the database that gave the id.
func vulnerabilitySource(id string) *cyclonedx.Source {
	switch prefix, _, _ := strings.Cut(id, "-"); prefix {
	case "CVE":
		return &cyclonedx.Source{Name: "NVD", URL: "https://nvd.nist.gov/vuln/detail/" + pathElement(id)}
	case "GHSA":
		return &cyclonedx.Source{Name: "GitHub", URL: "https://github.com/advisories/" + pathElement(id)}
	}
	return &cyclonedx.Source{Name: "OSV", URL: "https://osv.dev/vulnerability/" + pathElement(id)}
}

// pathElement writes an id as part of an address: ids are letters, digits and a
// few marks, and short; anything else is left out.
func pathElement(id string) string {
	id = id[:min(len(id), 100)]
	return strings.Map(func(c rune) rune {
		if c < 0x80 && (c == '-' || c == '.' || c == '_' || c == ':' || c == '+' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z') {
			return c
		}
		return -1
	}, id)
}

func vulnerabilityAliases(f *Finding) *[]cyclonedx.VulnerabilityReference {
	var out []cyclonedx.VulnerabilityReference
	for _, alias := range f.Aliases {
		if alias != "" {
			out = append(out, cyclonedx.VulnerabilityReference{ID: Safe(alias), Source: vulnerabilitySource(alias)})
		}
	}
	if out == nil {
		return nil
	}
	return &out
}

func ratings(f *Finding) *[]cyclonedx.VulnerabilityRating {
	rating := cyclonedx.VulnerabilityRating{Severity: cyclonedx.Severity(severityWord(f.Severity, len("critical")))}
	if f.CVSS != nil {
		score := f.CVSS.Score
		rating.Score, rating.Vector = &score, Safe(f.CVSS.Vector)
		rating.Method = map[string]cyclonedx.ScoringMethod{
			"2.0": cyclonedx.ScoringMethodCVSSv2, "3.0": cyclonedx.ScoringMethodCVSSv3, "3.1": cyclonedx.ScoringMethodCVSSv31, "4.0": cyclonedx.ScoringMethodCVSSv4,
		}[f.CVSS.Version]
	}
	return &[]cyclonedx.VulnerabilityRating{rating}
}

// recommendation says to which version to update each package.
func recommendation(findings []*Finding) string {
	var advice []string
	for _, f := range findings {
		if f.FixedVersion == "" {
			continue
		}
		if a := fmt.Sprintf("update %s to %s", Safe(f.PackageName), Safe(f.FixedVersion)); !slices.Contains(advice, a) {
			advice = append(advice, a)
		}
	}
	return strings.Join(advice, "; ")
}

func vulnerabilityAdvisories(f *Finding) *[]cyclonedx.Advisory {
	var out []cyclonedx.Advisory
	for _, url := range f.References {
		if isWebAddress(url) {
			out = append(out, cyclonedx.Advisory{URL: url})
		}
	}
	if out == nil {
		return nil
	}
	return &out
}

// isWebAddress tells whether a reference can be followed, and written as an
// address: others have no place in a document, and none in a link.
func isWebAddress(s string) bool {
	if !strings.HasPrefix(s, "https://") && !strings.HasPrefix(s, "http://") {
		return false
	}
	return !strings.ContainsFunc(s, notInAddress)
}

// notInAddress tells of characters that an address has in escaped form only
// (RFC 3986, section 2).
func notInAddress(c rune) bool {
	return c <= ' ' || c >= 0x7f || strings.ContainsRune("\"<>\\^`{|}[]", c)
}

// analysis tells why a finding does not count, or not yet.
func analysis(f *Finding) *cyclonedx.VulnerabilityAnalysis {
	if f.Suppressed == nil && (f.Status == Affected || f.Status == "") {
		return nil
	}
	out := &cyclonedx.VulnerabilityAnalysis{}
	switch f.Status {
	case NotAffected:
		out.State = cyclonedx.IASNotAffected
	case StatusFixed:
		out.State = cyclonedx.IASResolved
	default:
		out.State = cyclonedx.IASInTriage
	}
	if f.Suppressed == nil {
		return out
	}
	out.Detail = Safe(string(f.Suppressed.By)) + ": " + Safe(f.Suppressed.Reason)
	switch f.Suppressed.By {
	case ByDistroOwned:
		// The advisory is of the ecosystem, the package the distribution's.
		out.State = cyclonedx.IASFalsePositive
	case ByNotRun:
		out.State, out.Justification = cyclonedx.IASNotAffected, cyclonedx.IAJCodeNotReachable
	case ByWaiver:
		out.Response = &[]cyclonedx.ImpactAnalysisResponse{cyclonedx.IARWillNotFix}
	}
	return out
}

// exploitation is what is known of attacks.
func exploitation(f *Finding) properties {
	var p properties
	if f.KEV {
		p.add(sbom.KEV, "true")
	}
	if f.EPSS > 0 {
		p.add(sbom.EPSS, strconv.FormatFloat(f.EPSS, 'g', 4, 64))
	}
	p.add(sbom.State, string(cmp.Or(f.State, inventory.Present)))
	return p
}
