package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"strata/internal/advisory"
)

// A HarborArtifact says which image a report for Harbor is about, as Harbor asked.
// Source: pluggable-scanner-spec, scanner-adapter-openapi-v1.2.yaml, as of all types
// here.
type HarborArtifact struct {
	Repository string `json:"repository"`
	Digest     string `json:"digest"`
	Tag        string `json:"tag,omitempty"`
	MimeType   string `json:"mime_type,omitempty"`
}

// A HarborScanner is who has made the report.
type HarborScanner struct {
	Name    string `json:"name"`
	Vendor  string `json:"vendor"`
	Version string `json:"version"`
}

// A HarborReport is a vulnerability report as Harbor reads it, both as
// application/vnd.security.vulnerability.report; version=1.1 and as
// application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0.
type HarborReport struct {
	GeneratedAt     time.Time             `json:"generated_at"`
	Artifact        HarborArtifact        `json:"artifact"`
	Scanner         HarborScanner         `json:"scanner"`
	Severity        string                `json:"severity"`
	Vulnerabilities []HarborVulnerability `json:"vulnerabilities"`
}

// A HarborVulnerability is one vulnerability in one package version.
type HarborVulnerability struct {
	ID          string         `json:"id"`
	Package     string         `json:"package"`
	Version     string         `json:"version"`
	FixVersion  string         `json:"fix_version,omitempty"`
	Severity    string         `json:"severity"`
	Description string         `json:"description"`
	Links       []string       `json:"links"`
	CVSS        *HarborCVSS    `json:"preferred_cvss,omitempty"`
	Attributes  map[string]any `json:"vendor_attributes,omitempty"`
}

// A HarborCVSS is a rating; there is no place for CVSS 4.0.
type HarborCVSS struct {
	ScoreV3  *float64 `json:"score_v3,omitempty"`
	ScoreV2  *float64 `json:"score_v2,omitempty"`
	VectorV3 string   `json:"vector_v3,omitempty"`
	VectorV2 string   `json:"vector_v2,omitempty"`
}

// Harbor makes the report for Harbor: of the findings that count, each vulnerability
// of a package version once, since Harbor keeps them by these three names.
func (r *Report) Harbor(a HarborArtifact, now time.Time) *HarborReport {
	out := &HarborReport{
		GeneratedAt: now.UTC(), Artifact: a, Scanner: HarborScanner{"Strata", "Strata", r.Tool.Version},
		Vulnerabilities: []HarborVulnerability{},
	}
	type key struct{ id, name, version string }
	seen := map[key]bool{}
	worst := advisory.Unknown
	n := normal(*r) // the texts of images and advisories are anyone's
	for i := range n.Findings {
		f := &n.Findings[i]
		k := key{f.ID, f.PackageName, f.PackageVersion}
		if f.Kind == KindEndOfLife || !f.Active() || seen[k] {
			continue
		}
		seen[k] = true
		if f.Severity.Rank() > worst.Rank() {
			worst = f.Severity
		}
		out.Vulnerabilities = append(out.Vulnerabilities, n.harborVulnerability(f))
	}
	out.Severity = harborSeverity(worst)
	return out
}

func (r *Report) harborVulnerability(f *Finding) HarborVulnerability {
	v := HarborVulnerability{
		ID: f.ID, Package: f.PackageName, Version: f.PackageVersion, FixVersion: f.FixedVersion, Severity: harborSeverity(f.Severity),
		Description: f.Summary, Links: slices.Clone(f.References), CVSS: harborCVSS(f.CVSS),
		Attributes: map[string]any{"kev": f.KEV, "epss": f.EPSS, "aliases": f.Aliases, "type": f.PackageType},
	}
	if len(v.Links) == 0 {
		v.Links = []string{"https://osv.dev/vulnerability/" + f.ID}
	}
	for i := range r.Layers {
		if l := &r.Layers[i]; l.Index == f.Layer {
			v.Attributes["layer"] = map[string]any{"index": l.Index, "digest": l.Digest, "diff_id": l.DiffID, "created_by": l.CreatedBy}
		}
	}
	return v
}

func harborCVSS(c *CVSS) *HarborCVSS {
	switch {
	case c == nil:
		return nil
	case strings.HasPrefix(c.Version, "3"):
		return &HarborCVSS{ScoreV3: &c.Score, VectorV3: c.Vector}
	case strings.HasPrefix(c.Version, "2"):
		return &HarborCVSS{ScoreV2: &c.Score, VectorV2: c.Vector}
	}
	return nil
}

func harborSeverity(s Severity) string {
	switch s {
	case advisory.Critical:
		return "Critical"
	case advisory.High:
		return "High"
	case advisory.Medium:
		return "Medium"
	case advisory.Low:
		return "Low"
	}
	return "Unknown"
}

// The formats of bills of materials that Harbor asks for.
const (
	HarborSPDX      = "application/spdx+json"
	HarborCycloneDX = "application/vnd.cyclonedx+json"
)

// A HarborBill is a bill of materials as Harbor reads it:
// application/vnd.security.sbom.report+json; version=1.0.
type HarborBill struct {
	GeneratedAt time.Time       `json:"generated_at"`
	Artifact    HarborArtifact  `json:"artifact"`
	Scanner     HarborScanner   `json:"scanner"`
	MediaType   string          `json:"media_type"`
	SBOM        json.RawMessage `json:"sbom"`
}

// HarborBill makes the bill of materials for Harbor, in one of its two formats.
func (r *Report) HarborBill(a HarborArtifact, mediaType string, now time.Time) (*HarborBill, error) {
	var b bytes.Buffer
	var err error
	switch mediaType {
	case HarborSPDX:
		err = SPDX(&b, r, SBOMOptions{Now: now})
	case HarborCycloneDX:
		err = CycloneDX(&b, r, SBOMOptions{Now: now})
	default:
		err = fmt.Errorf("bill of materials for Harbor: no format %q", mediaType)
	}
	if err != nil {
		return nil, err
	}
	return &HarborBill{now.UTC(), a, HarborScanner{"Strata", "Strata", r.Tool.Version}, mediaType, b.Bytes()}, nil
}
