package report

import (
	"strata/internal/inventory"
	"strata/internal/license"
)

// A licenseReader puts the licences of packages into classes.
type licenseReader struct {
	classes license.Classes
	known   map[string]license.Class // by expression
}

func (r *licenseReader) of(p *inventory.ImagePackage) *License {
	found := p.License
	if found.Expression == "" && len(found.Evidence) == 0 { // not from layers: a bill of materials
		found = inventory.DeclaredLicense(&p.Package)
	}
	out := &License{Expression: found.Expression, Class: r.class(found.Expression)}
	for _, e := range found.Evidence {
		out.Evidence = append(out.Evidence, LicenseEvidence{
			Path: e.Path, Layer: e.Layer, Kind: string(e.Kind), Expression: e.Expression, Coverage: e.Coverage,
		})
	}
	return out
}

func (r *licenseReader) class(expression string) license.Class {
	class, ok := r.known[expression]
	if !ok {
		class = license.Unknown
		if e, err := license.Parse(expression); err == nil {
			class = r.classes.Of(e)
		}
		r.known[expression] = class
	}
	return class
}

// WithoutLicenses takes out what was made of licences: they were not asked for.
// Layers are analysed for both all the same, so that what is kept of them serves
// the next scan.
func (r *Report) WithoutLicenses() {
	r.Scanners = []Scanner{ScanVulnerabilities}
	for i := range r.Packages {
		r.Packages[i].License = nil
	}
}
