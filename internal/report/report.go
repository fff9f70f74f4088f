// Package report puts a scan into words: the JSON contract, the table for a
// terminal, and a registry of formats to which others are added, all made from
// one Report.
//
// It decides nothing: findings come from package match, the verdict from package
// policy. It only counts, orders, cuts to width and makes safe what it prints:
// every name in an image is an attacker's to choose.
package report

import (
	"slices"
	"time"

	"strata/internal/advisory"
	"strata/internal/inventory"
	"strata/internal/license"
	"strata/internal/policy"
)

// SchemaVersion is that of the JSON report. It changes only when a name or a
// meaning does; additions keep it.
const SchemaVersion = "1"

// Severity is critical, high, medium, low or unknown.
type Severity = advisory.Severity

// A Report is everything known of one image for one platform. Its JSON is the
// contract with users, docs/report.schema.json; arrays in it are never null.
type Report struct {
	// SchemaVersion is SchemaVersion; JSON fills it in when empty.
	SchemaVersion string `json:"schema_version"`
	Tool          Tool   `json:"tool"`
	// Scanners tell what was looked for; empty where that isn't recorded.
	Scanners []Scanner `json:"scanners,omitempty"`
	Image    Image     `json:"image"`
	// Layers are the filesystem layers, lowest first.
	Layers   []Layer   `json:"layers"`
	Packages []Package `json:"packages"`
	Findings []Finding `json:"findings"`
	// Problems are what could not be analysed.
	Problems   []Problem  `json:"problems"`
	Advisories Advisories `json:"advisories"`
	// Filtered tells what Filter took out; absent when nothing was filtered.
	Filtered *Filtered `json:"filtered,omitempty"`
	// Baseline is the image that New of the findings is held against; absent
	// without one.
	Baseline *Baseline `json:"baseline,omitempty"`
	// Verdict is over all findings, whatever Filter took out.
	Verdict policy.Verdict `json:"verdict"`
}

// A Scanner is a kind of thing to look for.
type Scanner string

const (
	// ScanVulnerabilities: packages are held against the advisories.
	ScanVulnerabilities Scanner = "vuln"
	// ScanLicenses: the licences of packages, declared and as texts.
	ScanLicenses Scanner = "license"
)

// LookedFor tells whether a kind of thing was looked for. A report that doesn't
// record it has vulnerabilities.
func (r *Report) LookedFor(s Scanner) bool {
	if len(r.Scanners) == 0 {
		return s == ScanVulnerabilities
	}
	return slices.Contains(r.Scanners, s)
}

// A Baseline names the image that a report was compared with.
type Baseline struct {
	Reference string `json:"reference"`
	// Digest is empty when not known.
	Digest string `json:"digest"`
}

// Tool names the program that made the report.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Image says which image the report is about.
type Image struct {
	// Reference is what the user asked for.
	Reference string `json:"reference"`
	// Digest is that of the manifest; empty where the source has none.
	Digest string `json:"digest"`
	// Platform is os/architecture[/variant].
	Platform string `json:"platform"`
	// ConfigDigest is that of the configuration: Docker's image id.
	ConfigDigest string `json:"config_digest"`
	Distro       Distro `json:"distro"`
	// Created is when the image was built; nil when not recorded.
	Created *time.Time `json:"created,omitempty"`
	// Labels of the configuration.
	Labels map[string]string `json:"labels,omitempty"`
	// Base is the image that this one was built from; nil when not known.
	Base *Base `json:"base,omitempty"`
}

// A Base is the image that an image was built from.
type Base struct {
	// Reference of the base, with tag; empty where only its layers are known.
	Reference string `json:"reference"`
	// Digest of its manifest; empty when not known.
	Digest string `json:"digest"`
	// Layers is how many of the image's layers, from the lowest, are the base's.
	Layers int `json:"layers"`
	// By is how it was recognised.
	By BaseEvidence `json:"by"`
	// Created is when the base was built; nil when not known.
	Created *time.Time `json:"created,omitempty"`
}

// BaseEvidence is how a base image was recognised, the surest first.
type BaseEvidence string

const (
	// BaseByLayers: a known image's layers are the lowest of this one.
	BaseByLayers BaseEvidence = "layers"
	// BaseByAnnotation: the image names its base (OCI image-spec,
	// org.opencontainers.image.base.name and .digest).
	BaseByAnnotation BaseEvidence = "annotation"
	// BaseByHistory: the build history tells where the base ends.
	BaseByHistory BaseEvidence = "history"
)

// A Distro is the distribution in the final file system; all empty without an
// os-release.
type Distro struct {
	// ID and Version are those of os-release(5): "debian", "12".
	ID      string `json:"id"`
	Version string `json:"version"`
	// Name for people: "Debian GNU/Linux 12 (bookworm)".
	Name   string       `json:"name"`
	Status DistroStatus `json:"status"`
}

// A DistroStatus tells what the absence of findings in a distribution's packages
// is worth.
type DistroStatus string

const (
	// DistroUnknown: the image has no distribution, or nothing is known of it.
	DistroUnknown DistroStatus = ""
	// DistroSupported: new vulnerabilities become advisories.
	DistroSupported DistroStatus = "supported"
	// DistroEndOfLife: nobody writes advisories for new vulnerabilities any more.
	DistroEndOfLife DistroStatus = "end_of_life"
	// DistroNoData: there are no advisories for it.
	DistroNoData DistroStatus = "no_data"
)

// A Layer is one filesystem layer.
type Layer struct {
	// Index counts from 0, the lowest.
	Index  int    `json:"index"`
	Digest string `json:"digest"`
	DiffID string `json:"diff_id"`
	// CreatedBy is the instruction of the build history, as recorded; Instruction
	// cleans it for people.
	CreatedBy string `json:"created_by"`
	// Size of the blob, as it is stored and sent, in bytes; -1 when not known.
	Size int64 `json:"size"`
	// Empty tells that the layer changes no file.
	Empty bool `json:"empty"`
	// Base tells that the layer is one of the base image.
	Base bool `json:"base"`
	// Created is when the layer was built; nil when not recorded.
	Created *time.Time `json:"created,omitempty"`
}

// A Package is a package version in the image.
type Package struct {
	// ID is unique in the report; findings refer to it.
	ID string `json:"id"`
	// Type is the purl type: deb, apk, rpm, npm, ...
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch,omitempty"`
	PURL    string `json:"purl"`
	// Ecosystem is OSV's, with release: "npm", "Debian:12".
	Ecosystem string `json:"ecosystem"`
	// KnownAs are all names by which advisories know it, when those are others
	// than Ecosystem and Name, or more.
	KnownAs []inventory.KnownAs `json:"known_as,omitempty"`
	// SourceName and SourceVersion are those of the distribution's source
	// package; empty when equal to Name and Version.
	SourceName    string `json:"source_name"`
	SourceVersion string `json:"source_version,omitempty"`
	// Layer is the index of the one that introduced this version.
	Layer     int        `json:"layer"`
	Locations []Location `json:"locations"`
	// State is present, shadowed or removed.
	State inventory.State `json:"state"`
	// StateLayer is the layer that shadowed or removed it; -1 while present.
	StateLayer int `json:"state_layer"`
	// Licenses as declared, each an SPDX expression or free text.
	Licenses []string `json:"licenses"`
	// License is what was made of the declared licences and of the licence texts
	// that belong to the package; nil when licences were not looked for.
	License *License `json:"license,omitempty"`
	// Owner is the distribution's package that owns the files; empty for none.
	Owner string `json:"owner"`
	// Suppressed tells why no rule over packages sees it; nil when they do.
	Suppressed *Suppression `json:"suppressed,omitempty"`
}

// ownersAffair tells that the package is a program, known by its content, that
// a package of the distribution owns: that one is in the report too, and speaks
// for it.
func (p *Package) ownersAffair() bool { return p.Type == "generic" && p.Owner != "" }

// A License is the licence of a package.
type License struct {
	// Expression is an SPDX licence expression (SPDX 2.3, annex D), normalised;
	// what has no SPDX id is a LicenseRef-. Empty when nothing is known.
	Expression string        `json:"expression"`
	Class      license.Class `json:"class"`
	// Evidence is where it is told, the surest first.
	Evidence []LicenseEvidence `json:"evidence"`
	// Suppressed tells why no rule over licences sees it; nil when they do.
	Suppressed *Suppression `json:"suppressed,omitempty"`
}

// A LicenseEvidence is one place that tells of a package's licence.
type LicenseEvidence struct {
	// Path and Layer of the file.
	Path  string `json:"path"`
	Layer int    `json:"layer"`
	// Kind is "declared" (by the package's metadata or a copyright file in the
	// machine-readable format) or "text" (a licence text was recognised).
	Kind string `json:"kind"`
	// Expression that the file gives; empty for a text that was not recognised.
	Expression string `json:"expression"`
	// Coverage is how much of the text is of known licences, 0 to 100 percent; 0
	// for what is declared.
	Coverage float64 `json:"coverage,omitempty"`
}

// A Location is a path in a layer.
type Location = inventory.Location

// FindingKind tells what a finding is about.
type FindingKind string

const (
	// KindVulnerability: a vulnerability in a package.
	KindVulnerability FindingKind = "vulnerability"
	// KindEndOfLife: a distribution or runtime for which nobody writes security
	// updates any more. Its id is "EOL-" with the name and release
	// ("EOL-debian-9"), its severity unknown, and it is no vulnerability: it is in
	// no count of severities. One of a distribution has no package: PackageID is
	// empty, the type "distro", name and version those of os-release.
	KindEndOfLife FindingKind = "end_of_life"
)

// A Finding is one vulnerability in one package of the image, or the end of life
// of one.
type Finding struct {
	// Kind is KindVulnerability when empty.
	Kind FindingKind `json:"kind"`
	// ID is the canonical id of the vulnerability: the CVE where there is one.
	ID string `json:"id"`
	// Aliases are its other ids.
	Aliases []string `json:"aliases"`
	// PackageID is the id of the package in Packages. Name, version and type of
	// the package are repeated for those who read findings alone.
	PackageID      string   `json:"package_id"`
	PackageName    string   `json:"package_name"`
	PackageVersion string   `json:"package_version"`
	PackageType    string   `json:"package_type"`
	Severity       Severity `json:"severity"`
	// CVSS is what the severity rests on; null when the advisory has no vector.
	CVSS *CVSS `json:"cvss"`
	// KEV tells that CISA knows the vulnerability to be exploited.
	KEV bool `json:"kev"`
	// EPSS is the probability, 0 to 1, that it will be exploited within 30 days;
	// 0 when not known.
	EPSS float64 `json:"epss"`
	// FixedVersion is the version to update to; empty when there is none.
	FixedVersion string `json:"fixed_version"`
	// FixedVersions are the smallest fixed versions of each branch of releases, in
	// order: the first is FixedVersion. Absent when there is none.
	FixedVersions []string `json:"fixed_versions,omitempty"`
	// Status is affected unless VEX says otherwise.
	Status Status `json:"status"`
	// Layer introduced the package version, State and what it means are those of
	// the package.
	Layer int             `json:"layer"`
	State inventory.State `json:"state"`
	// Suppressed tells why the finding does not count; null when it does.
	Suppressed *Suppression `json:"suppressed"`
	// New tells whether the baseline does not have it; nil without a baseline.
	New *bool `json:"new,omitempty"`
	// Summary is one line of the advisory.
	Summary string `json:"summary"`
	// Published is when the advisory was first published; nil when not known.
	Published *time.Time `json:"published,omitempty"`
	// References are a few addresses to read on.
	References []string `json:"references"`
}

// A CVSS is one rating by the Common Vulnerability Scoring System (FIRST).
type CVSS struct {
	// Version is 2.0, 3.0, 3.1 or 4.0.
	Version string `json:"version"`
	Vector  string `json:"vector"`
	// Score is the base score, 0 to 10.
	Score float64 `json:"score"`
}

// A Status is what is known of a vulnerability in this image, in the words of
// VEX (OpenVEX specification, status labels).
type Status string

const (
	Affected           Status = "affected"
	NotAffected        Status = "not_affected"
	StatusFixed        Status = "fixed"
	UnderInvestigation Status = "under_investigation"
)

// A Suppression tells why a finding was set aside.
type Suppression struct {
	By SuppressedBy `json:"by"`
	// Reason is a sentence for people: who waived it until when, or which
	// distribution's package owns the files.
	Reason string `json:"reason"`
}

// SuppressedBy is what set a finding aside.
type SuppressedBy string

const (
	ByWaiver      SuppressedBy = "waiver"
	ByVEX         SuppressedBy = "vex"
	ByDistroOwned SuppressedBy = "distro-owned"
	// ByPolicy: a rule of a policy says to ignore it.
	ByPolicy SuppressedBy = "policy"
	// ByNotRun: the package's files do not run in a container, such as headers of
	// a kernel that is the host's.
	ByNotRun SuppressedBy = "not-run"
)

// A Problem is something that could not be analysed.
type Problem struct {
	// Path in the image; empty when it concerns more than a file.
	Path string `json:"path"`
	// Layer is its index; -1 when it concerns no one layer.
	Layer int `json:"layer"`
	// Analyzer that met the problem; empty when none was at work.
	Analyzer string `json:"analyzer"`
	Message  string `json:"message"`
	// Incomplete tells that a whole layer, or the advisories, could not be had,
	// so that findings may be missing.
	Incomplete bool `json:"incomplete"`
}

// Advisories tells what the packages were matched against.
type Advisories struct {
	// Source is where they came from: an address, a folder, "starter".
	Source string `json:"source"`
	// Updated is when they were last brought up to date; nil when never.
	Updated *time.Time `json:"updated,omitempty"`
	// AgeHours is their age at the time of the scan, in hours; 0 without Updated.
	AgeHours float64 `json:"age_hours"`
	// Starter tells that they are the small set embedded in the program, which
	// knows but a few packages.
	Starter bool `json:"starter"`
	// Coverage has a row for each ecosystem of the image's packages.
	Coverage []Coverage `json:"coverage"`
}

// Coverage tells how far the packages of one ecosystem could be checked.
type Coverage struct {
	// Ecosystem is OSV's, with release, or what the image calls itself where OSV
	// has no name for it.
	Ecosystem string `json:"ecosystem"`
	// Type is the purl type of its packages.
	Type string `json:"type"`
	// Packages is how many the image has.
	Packages int `json:"packages"`
	// Records is how many advisories there are for the ecosystem.
	Records int            `json:"records"`
	Status  CoverageStatus `json:"status"`
}

// CoverageStatus tells whether an ecosystem's packages could be checked.
type CoverageStatus string

const (
	// Covered: there are advisories.
	Covered CoverageStatus = "covered"
	// Partial: there are some, known to be but a part.
	Partial CoverageStatus = "partial"
	// EndOfLife: there are advisories, but no new ones are written.
	EndOfLife CoverageStatus = "end_of_life"
	// NoData: there are none, so the packages were not checked.
	NoData CoverageStatus = "no_data"
)

// checked tells whether the packages were matched against anything. A status
// that is not known does not count as checked.
func (c *Coverage) checked() bool {
	switch c.Status {
	case Covered, Partial, EndOfLife:
		return true
	}
	return false
}

// Active tells whether the finding counts: its package is present, as far as is
// known, and it was not set aside.
func (f *Finding) Active() bool {
	return f.Suppressed == nil && f.inFinalImage()
}

func (f *Finding) inFinalImage() bool {
	return f.State != inventory.Shadowed && f.State != inventory.Removed
}

// Incomplete tells whether a layer or the advisories could not be had, so that
// findings may be missing: exit code 3.
func (r *Report) Incomplete() bool {
	for _, p := range r.Problems {
		if p.Incomplete {
			return true
		}
	}
	return false
}
