package analyzer

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"strata/internal/inventory"
)

// portagePackage reads the PF files of Gentoo's package database,
// var/db/pkg/CATEGORY/NAME-VERSION/PF (portage(5)). OSV has no Gentoo ecosystem.
type portagePackage struct{}

func (portagePackage) Name() string { return "portage" }

func (portagePackage) Wants(c *Candidate) bool {
	return strings.HasSuffix(c.Path, "/PF") && strings.HasPrefix(c.Path, "var/db/pkg/")
}

// portagePFRE splits at the last "-" before a version (Package Manager
// Specification, 3.2).
var portagePFRE = regexp.MustCompile(`^(.+)-(\d[^-]*(?:-r\d+)?)$`)

func (portagePackage) Analyze(_ context.Context, f *File) (Result, error) {
	parts := strings.Split(f.Path, "/")
	if len(parts) != 6 {
		return Result{}, nil
	}
	b, err := f.Bytes(maxManifestSize)
	if err != nil {
		return Result{}, err
	}
	m := portagePFRE.FindStringSubmatch(strings.TrimSpace(string(b)))
	if m == nil {
		return Result{}, fmt.Errorf("no name and version in it")
	}
	return Result{Packages: []inventory.Package{{Type: "ebuild", Name: parts[3] + "/" + m[1], Version: m[2]}}}, nil
}
