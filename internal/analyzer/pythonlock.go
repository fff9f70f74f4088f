package analyzer

import (
	"bytes"
	"context"
	"regexp"
	"strings"

	"strata/internal/inventory"
)

// pipfileLock reads Pipfile.lock, without the packages for development.
// osv-scalibr's reader searches the file again for the line of each package:
// 1.3 s for 8,000, growing with the square of their number.
type pipfileLock struct{}

func (pipfileLock) Name() string { return "pipfile-lock" }

func (pipfileLock) Wants(c *Candidate) bool {
	return strings.HasSuffix(c.Path, "Pipfile.lock") && c.Base() == "Pipfile.lock" && applicationLock(c.Path)
}

func (pipfileLock) Analyze(_ context.Context, f *File) (Result, error) {
	res := Result{Kind: inventory.Locked}
	var lock struct {
		Default map[string]struct {
			Version string `json:"version"`
		} `json:"default"`
	}
	if err := decodeJSON(f, maxLockSize, &lock); err != nil {
		return res, err
	}
	for name, e := range lock.Default {
		if version, ok := strings.CutPrefix(e.Version, "=="); ok && name != "" && version != "" {
			res.Packages = append(res.Packages, pypiPackage(name, version))
		}
	}
	res.Packages = distinct(res.Packages)
	return res, nil
}

func pypiPackage(name, version string) inventory.Package {
	return inventory.Package{Type: "pypi", Name: name, Version: version, Ecosystem: ecosystemPyPI}
}

// requirementsFile reads the requirements of pip that are pinned to one version
// with "==" or "===" (pip.pypa.io, "Requirements File Format", PEP 508). Others
// do not tell what gets installed.
type requirementsFile struct{}

func (requirementsFile) Name() string { return "requirements" }

func (requirementsFile) Wants(c *Candidate) bool {
	if !strings.HasSuffix(c.Path, ".txt") {
		return false
	}
	base := c.Base()
	if !strings.Contains(base, "requirements") || !applicationLock(c.Path) {
		return false
	}
	for word := range strings.FieldsFuncSeq(base, func(r rune) bool { return r == '-' || r == '_' || r == '.' }) {
		if developmentGroup(word) {
			return false
		}
	}
	return true
}

// pinnedRE matches "name[extra] == 1.2.3", followed by an environment marker, a
// comment or an option.
var pinnedRE = regexp.MustCompile(`^\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*===?\s*([A-Za-z0-9][A-Za-z0-9.!+_-]*)\s*(?:[;#\\]|--|$)`)

func (requirementsFile) Analyze(_ context.Context, f *File) (Result, error) {
	res := Result{Kind: inventory.Locked}
	b, err := f.Bytes(maxManifestSize)
	if err != nil {
		return res, err
	}
	res.Packages = parseRequirements(b)
	return res, nil
}

func parseRequirements(b []byte) []inventory.Package {
	var out []inventory.Package
	for line := range bytes.Lines(bytes.TrimPrefix(b, utf8BOM)) {
		if m := pinnedRE.FindSubmatch(bytes.TrimSpace(line)); m != nil {
			out = append(out, pypiPackage(string(m[1]), string(m[2])))
		}
	}
	return distinct(out)
}
