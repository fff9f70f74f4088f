package report

import (
	"time"

	"strata/internal/advisory"
	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/license"
	"strata/internal/match"
)

// A Scanned is what a report is made of.
type Scanned struct {
	// Tool and its version.
	Tool  Tool
	Image *image.Image
	// Layers by index; nil for one that could not be analysed.
	Layers    []*inventory.Layer
	Inventory *inventory.Image
	Match     *match.Result
	// Advisories says where they came from; New adds the coverage.
	Advisories Advisories
	// Scanners are what the report is to have; empty for all.
	Scanners []Scanner
	// Classes of licences; the zero value is the built-in table.
	Classes license.Classes
	// Problems of the scan besides those of the inventory and of matching.
	Problems []inventory.Problem
}

// New makes the report of a scan, without a verdict, which depends on its findings.
func New(s Scanned) *Report {
	r := &Report{
		SchemaVersion: SchemaVersion,
		Tool:          s.Tool,
		Scanners:      s.Scanners,
		Image: Image{
			Reference: s.Image.Reference, Digest: string(s.Image.Digest), Platform: s.Image.Platform.String(), ConfigDigest: string(s.Image.ConfigDigest),
			Distro: Distro{ID: s.Inventory.Distro.ID, Version: s.Inventory.Distro.VersionID, Name: s.Inventory.Distro.Name, Status: distroStatus(s.Match.Distro.Status)},
		},
		Advisories: s.Advisories,
	}
	r.Image.Created, r.Image.Labels, r.Image.Base = optionalTime(s.Image.Created), s.Image.Labels, newBase(s.Image.Base)
	for i, l := range s.Image.Layers {
		known := s.Layers[i]
		r.Layers = append(r.Layers, Layer{
			Index: l.Index, Digest: string(l.Digest), DiffID: string(l.DiffID), CreatedBy: l.CreatedBy, Size: l.Size,
			Empty: known != nil && known.Entries == 0, Created: optionalTime(l.Created),
			Base: s.Image.Base != nil && i < s.Image.Base.Layers,
		})
	}
	if len(r.Scanners) == 0 {
		r.Scanners = []Scanner{ScanVulnerabilities, ScanLicenses}
	}
	licenses := licenseReader{classes: s.Classes.OrDefault(), known: map[string]license.Class{}}
	for i := range s.Inventory.Packages {
		p := newPackage(&s.Inventory.Packages[i])
		// The licence of a program that a package owns is that package's.
		if r.LookedFor(ScanLicenses) && !s.Inventory.Packages[i].OwnersAffair() {
			p.License = licenses.of(&s.Inventory.Packages[i])
		}
		r.Packages = append(r.Packages, p)
	}
	for i := range s.Match.Findings {
		f := &s.Match.Findings[i]
		r.Findings = append(r.Findings, newFinding(f, &s.Inventory.Packages[f.Package]))
	}
	for i := range s.Match.Ended {
		r.Findings = append(r.Findings, newEnded(&s.Match.Ended[i], s.Inventory))
	}
	for _, problems := range [][]inventory.Problem{s.Inventory.Problems, s.Match.Problems, s.Problems} {
		for _, p := range problems {
			r.Problems = append(r.Problems, Problem(p))
		}
	}
	r.Advisories.Starter = r.Advisories.Starter || s.Match.Starter
	r.Advisories.Coverage = newCoverage(s)
	return r
}

func distroStatus(s match.DistroState) DistroStatus {
	if s == match.UnknownDistro {
		return DistroUnknown
	}
	return DistroStatus(s)
}

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func newPackage(p *inventory.ImagePackage) Package {
	out := Package{
		ID: p.ID, Type: p.Type, Name: p.Name, Version: p.Version, Arch: p.Arch, PURL: p.PURL, Ecosystem: p.Ecosystem, KnownAs: p.KnownAs,
		SourceName: p.SourceName, SourceVersion: p.SourceVersion, Layer: p.Layer, Locations: p.Locations,
		State: p.State, StateLayer: p.StateLayer, Licenses: p.Licenses, Owner: p.Owner,
	}
	return out
}

func newFinding(f *match.Finding, p *inventory.ImagePackage) Finding {
	out := Finding{
		Kind: KindVulnerability, ID: f.ID, Aliases: f.Aliases, PackageID: f.PackageID, PackageName: p.Name, PackageVersion: p.Version, PackageType: p.Type,
		Severity: f.Severity, KEV: f.KEV, EPSS: f.EPSS, FixedVersion: f.FixedVersion, FixedVersions: f.FixedVersions, Status: Status(f.Status),
		Layer: f.Layer, State: f.State, Summary: f.Summary, Published: optionalTime(f.Published), References: f.References,
	}
	if f.CVSS.Vector != "" {
		out.CVSS = &CVSS{Version: f.CVSS.Version, Vector: f.CVSS.Vector, Score: f.CVSS.Score}
	}
	if f.Suppressed != nil {
		out.Suppressed = &Suppression{By: SuppressedBy(f.Suppressed.By), Reason: f.Suppressed.Reason}
	}
	return out
}

// newEnded makes a finding of an end of life. That of the distribution belongs to
// the lowest layer, which brings it.
func newEnded(e *match.Ended, inv *inventory.Image) Finding {
	out := Finding{Kind: KindEndOfLife, ID: e.ID, Severity: advisory.Unknown, Status: Affected, State: inventory.Present, Summary: e.Summary}
	if e.Package < 0 {
		out.PackageName, out.PackageVersion, out.PackageType = inv.Distro.ID, inv.Distro.VersionID, "distro"
		return out
	}
	p := &inv.Packages[e.Package]
	out.PackageID, out.PackageName, out.PackageVersion, out.PackageType = p.ID, p.Name, p.Version, p.Type
	out.Layer = p.Layer
	return out
}

// newCoverage names the type of the packages beside their ecosystem.
func newCoverage(s Scanned) []Coverage {
	var out []Coverage
	for _, c := range s.Match.Coverage {
		row := Coverage{Ecosystem: c.Ecosystem, Packages: c.Packages, Records: c.Advisories, Status: Covered}
		for i := range s.Inventory.Packages {
			if p := &s.Inventory.Packages[i]; match.EcosystemOf(&p.Package) == c.Ecosystem {
				// A server in Go is found as a program, too.
				if row.Type = p.Type; p.Type != "generic" {
					break
				}
			}
		}
		switch {
		case c.Advisories == 0:
			row.Status = NoData
		case c.Starter:
			row.Status = Partial
		case s.Match.Distro.Status == match.EndOfLife && row.Type != "" && distribution(row.Type):
			row.Status = EndOfLife
		}
		out = append(out, row)
	}
	return out
}

func distribution(typ string) bool {
	p := inventory.Package{Type: typ}
	return p.Distribution()
}
