package analyzer

import (
	"bytes"
	"context"
	"path"
	"strings"

	"strata/internal/inventory"
)

// composerInstalled reads vendor/composer/installed.json, in which Composer
// lists everything that it has installed beside it.
type composerInstalled struct{}

func (composerInstalled) Name() string { return "composer" }

func (composerInstalled) Wants(c *Candidate) bool {
	return strings.HasSuffix(c.Path, "/installed.json") && parentBase(c.Path) == "composer"
}

// composerPackage is an entry of installed.json and of composer.lock
// (getcomposer.org/schema.json).
type composerPackage struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	License any    `json:"license"`
}

func (composerInstalled) Analyze(_ context.Context, f *File) (Result, error) {
	res := Result{Kind: inventory.Database, Database: "composer:" + path.Dir(f.Path)}
	b, err := f.Bytes(maxLockSize)
	if err != nil {
		return res, err
	}
	entries, err := parseComposerInstalled(b)
	res.Packages = composerPackages(entries)
	return res, err
}

// parseComposerInstalled reads both forms of the file: Composer 1 wrote a list,
// Composer 2 writes an object that holds it.
func parseComposerInstalled(b []byte) ([]composerPackage, error) {
	b = bytes.TrimSpace(bytes.TrimPrefix(b, utf8BOM))
	var v2 struct {
		Packages []composerPackage `json:"packages"`
	}
	into := any(&v2)
	if bytes.HasPrefix(b, []byte("[")) {
		into = &v2.Packages
	}
	if err := unmarshalJSON(b, into); err != nil {
		return nil, err
	}
	return v2.Packages, nil
}

func composerPackages(entries []composerPackage) []inventory.Package {
	var out []inventory.Package
	for _, e := range entries {
		if e.Name == "" || e.Version == "" {
			continue
		}
		out = append(out, inventory.Package{
			Type: "composer", Name: e.Name, Version: e.Version, Ecosystem: ecosystemComposer,
			Licenses: composerLicenses(e.License),
		})
	}
	return out
}

// composerLicenses reads "MIT" and ["MIT", "GPL-2.0"].
func composerLicenses(v any) []string {
	switch v := v.(type) {
	case string:
		if v != "" {
			return []string{v}
		}
	case []any:
		var out []string
		for _, e := range v {
			if s, ok := e.(string); ok && s != "" {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// composerLock reads composer.lock, without the packages for development.
type composerLock struct{}

func (composerLock) Name() string { return "composer-lock" }

func (composerLock) Wants(c *Candidate) bool {
	return strings.HasSuffix(c.Path, "composer.lock") && c.Base() == "composer.lock" && applicationLock(c.Path)
}

func (composerLock) Analyze(_ context.Context, f *File) (Result, error) {
	var lock struct {
		Packages []composerPackage `json:"packages"`
	}
	err := decodeJSON(f, maxLockSize, &lock)
	return Result{Kind: inventory.Locked, Packages: composerPackages(lock.Packages)}, err
}
