package analyzer

import (
	"context"
	"io"
	"strings"

	"strata/internal/inventory"
)

// cranPackage reads the DESCRIPTION of installed R packages (Writing R
// Extensions, 1.1.1): R adds the field Built when it installs one, which tells
// them from sources.
type cranPackage struct{}

func (cranPackage) Name() string { return "r" }

func (cranPackage) Wants(c *Candidate) bool {
	return strings.HasSuffix(c.Path, "/DESCRIPTION") && !documentation(c.Path)
}

func (cranPackage) Analyze(_ context.Context, f *File) (Result, error) {
	b, err := io.ReadAll(io.LimitReader(f.Reader(), maxManifestSize))
	if err != nil {
		return Result{}, err
	}
	p := inventory.Package{Type: "cran", Ecosystem: ecosystemCRAN}
	built := false
	eachHeader(b, func(key, value string) {
		switch key {
		case "Package":
			p.Name = value
		case "Version":
			p.Version = value
		case "License":
			p.Licenses = []string{value}
		case "Built":
			built = true
		case "biocViews":
			p.Type, p.Ecosystem = "bioconductor", ecosystemBioc
		}
	})
	if p.Name == "" || p.Version == "" || !built {
		return Result{}, nil
	}
	return Result{Packages: []inventory.Package{p}}, nil
}
