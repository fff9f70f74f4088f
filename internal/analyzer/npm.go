package analyzer

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"strata/internal/inventory"
)

// npmPackage reads the package.json of installed npm packages. The hidden lock
// file node_modules/.package-lock.json is never read: it goes stale as soon as
// anything but npm touches the directory.
type npmPackage struct{}

func (npmPackage) Name() string { return "npm" }

func (npmPackage) Wants(c *Candidate) bool { return npmPlaceOf(c.Path) != npmElsewhere }

// npmPlace says what a package.json can be by where it lies.
type npmPlace int

const (
	// npmElsewhere: below a package, but not its own: {"type":"module"} of a
	// subdirectory, a test fixture.
	npmElsewhere npmPlace = iota
	// npmModule: directly in a directory that Node.js resolves packages from.
	npmModule
	// npmApplication: outside of any such directory.
	npmApplication
)

const packageJSON = "package.json"

func npmPlaceOf(p string) npmPlace {
	if !strings.HasSuffix(p, packageJSON) {
		return npmElsewhere
	}
	if p != packageJSON && p[len(p)-len(packageJSON)-1] != '/' || documentation(p) {
		return npmElsewhere
	}
	rest, ok := belowModules(p)
	if !ok {
		return npmApplication
	}
	name, ok := strings.CutSuffix(rest, "/"+packageJSON)
	if ok && strings.HasPrefix(name, "@") {
		_, name, ok = strings.Cut(name, "/")
	}
	if !ok || name == "" || name[0] == '.' || strings.Contains(name, "/") {
		return npmElsewhere
	}
	return npmModule
}

// belowModules returns what follows the innermost directory from which Node.js
// resolves packages: node_modules, and Debian's usr/share/nodejs.
func belowModules(p string) (rest string, ok bool) {
	const modules, debian = "node_modules/", "usr/share/nodejs/"
	for end := len(p); ; {
		i := strings.LastIndex(p[:end], modules)
		if i < 0 {
			break
		}
		if i == 0 || p[i-1] == '/' {
			return p[i+len(modules):], true
		}
		end = i
	}
	return strings.CutPrefix(p, debian)
}

// npmManifest has the fields of package.json that matter here
// (docs.npmjs.com, "package.json"). License and Licenses have had several forms.
type npmManifest struct {
	Name     string          `json:"name"`
	Version  string          `json:"version"`
	Private  any             `json:"private"`
	License  json.RawMessage `json:"license"`
	Licenses json.RawMessage `json:"licenses"`
}

func (npmPackage) Analyze(_ context.Context, f *File) (Result, error) {
	var m npmManifest
	if err := decodeJSON(f, maxManifestSize, &m); err != nil {
		return Result{}, err
	}
	// A private package is never published: outside of node_modules it is the
	// root of somebody's own application, which no advisory can be about.
	private := m.Private == true && npmPlaceOf(f.Path) == npmApplication
	if m.Name == "" || m.Version == "" || private {
		return Result{}, nil
	}
	// The name is that of the file: an alias ("lodash-old": "npm:lodash@3")
	// gives the directory another one.
	return Result{Packages: []inventory.Package{{
		Type: "npm", Name: m.Name, Version: m.Version, Ecosystem: ecosystemNPM,
		Licenses: eachOnce(append(npmLicenses(m.License), npmLicenses(m.Licenses)...)),
	}}}, nil
}

// eachOnce leaves out words that were there before: many give both forms.
func eachOnce(words []string) []string {
	var out []string
	for _, w := range words {
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

// npmLicenses reads "MIT", {"type":"MIT"} and a list of either.
func npmLicenses(raw json.RawMessage) []string {
	if len(raw) == 0 {
		return nil
	}
	switch raw[0] {
	case '"':
		var s string
		if json.Unmarshal(raw, &s) == nil && s != "" {
			return []string{s}
		}
	case '{':
		var typed struct {
			Type string `json:"type"`
		}
		if json.Unmarshal(raw, &typed) == nil && typed.Type != "" {
			return []string{typed.Type}
		}
	case '[':
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			return nil
		}
		var out []string
		for _, r := range list {
			if len(r) > 0 && r[0] != '[' {
				out = append(out, npmLicenses(r)...)
			}
		}
		return out
	}
	return nil
}
