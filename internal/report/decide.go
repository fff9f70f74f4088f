package report

import (
	"slices"
	"time"

	"strata/internal/policy"
)

// PolicyInput is what package policy sees of the report. Decided takes back what
// it makes of it.
func (r *Report) PolicyInput(now time.Time) *policy.Input {
	in := &policy.Input{
		Now: now, Image: policyImage(&r.Image),
		NoVulnerabilities: !r.LookedFor(ScanVulnerabilities), NoLicenses: len(r.Scanners) > 0 && !r.LookedFor(ScanLicenses),
	}
	in.Layers = make([]policy.Layer, len(r.Layers))
	for i := range r.Layers {
		l := &r.Layers[i]
		in.Layers[i] = policy.Layer{
			Index: l.Index, Digest: l.Digest, DiffID: l.DiffID, CreatedBy: l.CreatedBy, Instruction: Instruction(l.CreatedBy),
			Size: l.Size, Empty: l.Empty, Base: l.Base, Created: knownTime(l.Created),
		}
	}
	in.Packages = make([]policy.Package, len(r.Packages))
	for i := range r.Packages {
		in.Packages[i] = policyPackage(&r.Packages[i])
	}
	in.Findings = make([]policy.Finding, len(r.Findings))
	for i := range r.Findings {
		in.Findings[i] = policyFinding(&r.Findings[i])
	}
	return in
}

func policyImage(img *Image) policy.Image {
	out := policy.Image{
		Reference: img.Reference, Digest: img.Digest, ConfigDigest: img.ConfigDigest, Platform: img.Platform, Created: knownTime(img.Created), Labels: img.Labels,
		Distro: policy.Distro{ID: img.Distro.ID, Version: img.Distro.Version, Name: img.Distro.Name, Status: string(img.Distro.Status)},
	}
	if b := img.Base; b != nil {
		out.Base = &policy.Base{Reference: b.Reference, Digest: b.Digest, By: string(b.By), Layers: b.Layers, Created: knownTime(b.Created)}
	}
	return out
}

func policyPackage(p *Package) policy.Package {
	out := policy.Package{
		ID: p.ID, Type: p.Type, Name: p.Name, Version: p.Version, Arch: p.Arch, PURL: p.PURL, Ecosystem: p.Ecosystem,
		SourceName: p.SourceName, SourceVersion: p.SourceVersion, Owner: p.Owner, State: p.State, Layer: p.Layer, StateLayer: p.StateLayer,
		Licenses: p.Licenses, Suppressed: policySuppression(p.Suppressed),
	}
	for _, l := range p.Locations {
		out.Paths = append(out.Paths, l.Path)
	}
	if l := p.License; l != nil {
		out.License = &policy.License{Expression: l.Expression, Class: l.Class, Suppressed: policySuppression(l.Suppressed)}
		for _, e := range l.Evidence {
			out.License.Paths = append(out.License.Paths, e.Path)
		}
	}
	return out
}

func policyFinding(f *Finding) policy.Finding {
	out := policy.Finding{
		Kind: string(f.Kind), ID: f.ID, Aliases: f.Aliases, PackageID: f.PackageID, Severity: f.Severity, KEV: f.KEV, EPSS: f.EPSS,
		FixedVersion: f.FixedVersion, Status: policy.Status(f.Status), Layer: f.Layer, State: f.State,
		Suppressed: policySuppression(f.Suppressed), Summary: f.Summary, Published: knownTime(f.Published),
	}
	if f.CVSS != nil {
		out.Score, out.Vector = f.CVSS.Score, f.CVSS.Vector
	}
	return out
}

func policySuppression(s *Suppression) *policy.Suppression {
	if s == nil {
		return nil
	}
	return &policy.Suppression{By: string(s.By), Reason: s.Reason}
}

func knownTime(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// Decided puts into the report what was decided over its PolicyInput: the
// verdict, what was set aside, statuses, what is new, and the remarks as problems.
func (r *Report) Decided(in *policy.Input, v policy.Verdict, remarks []policy.Remark) {
	r.Verdict = v
	for i := range in.Packages {
		r.Packages[i].Suppressed = fromPolicy(in.Packages[i].Suppressed)
		if l := r.Packages[i].License; l != nil {
			l.Suppressed = fromPolicy(in.Packages[i].License.Suppressed)
		}
	}
	for i := range in.Findings {
		f := &r.Findings[i]
		f.Suppressed, f.Status = fromPolicy(in.Findings[i].Suppressed), Status(in.Findings[i].Status)
		if in.Compared {
			isNew := !in.Findings[i].Old
			f.New = &isNew
		}
	}
	for _, remark := range remarks {
		r.Problems = append(r.Problems, Problem{Layer: -1, Analyzer: remark.By, Message: remark.Message})
	}
}

// Undecided takes out what Decided put in, so that it can be decided anew: the
// verdict, what rules ignored, the comparison with a baseline, and the remarks.
// What waivers and VEX set aside stays.
func (r *Report) Undecided() {
	r.Verdict, r.Baseline = policy.Verdict{}, nil
	keep := func(s *Suppression) *Suppression {
		if s != nil && s.By == ByPolicy {
			return nil
		}
		return s
	}
	for i := range r.Packages {
		p := &r.Packages[i]
		p.Suppressed = keep(p.Suppressed)
		if p.License != nil {
			p.License.Suppressed = keep(p.License.Suppressed)
		}
	}
	for i := range r.Findings {
		r.Findings[i].Suppressed, r.Findings[i].New = keep(r.Findings[i].Suppressed), nil
	}
	r.Problems = slices.DeleteFunc(r.Problems, isRemark)
}

// isRemark tells whether a problem is one that Decided put in.
func isRemark(p Problem) bool {
	return p.Layer < 0 && slices.Contains([]string{policy.OfWaivers, policy.OfBaseline, policy.ByVEX}, p.Analyzer)
}

func fromPolicy(s *policy.Suppression) *Suppression {
	if s == nil {
		return nil
	}
	return &Suppression{By: SuppressedBy(s.By), Reason: s.Reason}
}
