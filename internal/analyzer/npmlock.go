package analyzer

import (
	"context"
	"strings"

	"strata/internal/inventory"
)

// npmLock reads package-lock.json and npm-shrinkwrap.json of all versions
// (docs.npmjs.com, "package-lock.json"), without what is only for development.
// osv-scalibr's reader searches the file again for the line of each package: 2 s
// for 8,000 packages, growing with the square of their number.
type npmLock struct{}

func (npmLock) Name() string { return "npm-lock" }

func (npmLock) Wants(c *Candidate) bool {
	p := c.Path
	if !strings.HasSuffix(p, "package-lock.json") && !strings.HasSuffix(p, "npm-shrinkwrap.json") {
		return false
	}
	// The hidden .package-lock.json of node_modules is not among these.
	base := c.Base()
	return (base == "package-lock.json" || base == "npm-shrinkwrap.json") && applicationLock(p)
}

// npmLockFile has Packages since version 2, and Dependencies before it.
type npmLockFile struct {
	Packages map[string]struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		Dev     bool   `json:"dev"`
		Link    bool   `json:"link"`
	} `json:"packages"`
	Dependencies map[string]npmLockDependency `json:"dependencies"`
}

type npmLockDependency struct {
	Version      string                       `json:"version"`
	Dev          bool                         `json:"dev"`
	Dependencies map[string]npmLockDependency `json:"dependencies"`
}

func (npmLock) Analyze(_ context.Context, f *File) (Result, error) {
	res := Result{Kind: inventory.Locked}
	var lock npmLockFile
	if err := decodeJSON(f, maxLockSize, &lock); err != nil {
		return res, err
	}
	var out []inventory.Package
	if lock.Packages == nil {
		out = npmLockDependencies(nil, lock.Dependencies)
	}
	for place, e := range lock.Packages {
		rest, ok := belowModules(place)
		if !ok || e.Dev || e.Link { // Not below node_modules: the root or a workspace.
			continue
		}
		name := e.Name // Set for an alias only.
		if name == "" {
			name = rest
		}
		out = appendNPM(out, name, e.Version)
	}
	res.Packages = distinct(out)
	return res, nil
}

// npmLockDependencies walks the tree of lock file version 1. encoding/json has
// limited its depth.
func npmLockDependencies(out []inventory.Package, tree map[string]npmLockDependency) []inventory.Package {
	for name, d := range tree {
		if d.Dev {
			continue
		}
		version := d.Version
		if alias, ok := strings.CutPrefix(version, "npm:"); ok {
			if i := strings.LastIndexByte(alias, '@'); i > 0 {
				name, version = alias[:i], alias[i+1:]
			}
		}
		out = appendNPM(out, name, version)
		out = npmLockDependencies(out, d.Dependencies)
	}
	return out
}

// appendNPM appends a locked npm package. The version of one that is not from a
// registry is a URL, which says nothing.
func appendNPM(out []inventory.Package, name, version string) []inventory.Package {
	if name == "" || version == "" || version[0] < '0' || version[0] > '9' {
		return out
	}
	return append(out, inventory.Package{Type: "npm", Name: name, Version: version, Ecosystem: ecosystemNPM})
}

// bunLock reads bun.lock, the textual lock file of Bun (bun.sh/docs/install/lockfile):
// JSON with comments and trailing commas, "name": ["name@version", …].
type bunLock struct{}

func (bunLock) Name() string { return "bun-lock" }

func (bunLock) Wants(c *Candidate) bool {
	return strings.HasSuffix(c.Path, "bun.lock") && c.Base() == "bun.lock" && applicationLock(c.Path)
}

func (bunLock) Analyze(_ context.Context, f *File) (Result, error) {
	res := Result{Kind: inventory.Locked}
	b, err := f.Bytes(maxLockSize)
	if err != nil {
		return res, err
	}
	var lock struct {
		Packages map[string][]any `json:"packages"`
	}
	if err := unmarshalJSON(plainJSON(b), &lock); err != nil {
		return res, err
	}
	var out []inventory.Package
	for _, entry := range lock.Packages {
		if len(entry) == 0 {
			continue
		}
		spec, _ := entry[0].(string)
		if i := strings.LastIndexByte(spec, '@'); i > 0 {
			out = appendNPM(out, spec[:i], spec[i+1:])
		}
	}
	res.Packages = distinct(out)
	return res, nil
}

// plainJSON returns a copy of b in which comments and the commas before a
// closing bracket are blanks.
func plainJSON(b []byte) []byte {
	out := append([]byte(nil), b...)
	comma := -1 // Index of a comma that nothing but blanks has followed.
	for i := 0; i < len(out); i++ {
		switch c := out[i]; {
		case c == '"':
			comma = -1
			for i++; i < len(out) && out[i] != '"'; i++ {
				if out[i] == '\\' {
					i++
				}
			}
		case c == '/' && i+1 < len(out) && out[i+1] == '/':
			for ; i < len(out) && out[i] != '\n'; i++ {
				out[i] = ' '
			}
		case c == '/' && i+1 < len(out) && out[i+1] == '*':
			out[i], out[i+1] = ' ', ' '
			for i += 2; i < len(out); i++ {
				end := out[i] == '*' && i+1 < len(out) && out[i+1] == '/'
				out[i] = ' '
				if end {
					i++
					out[i] = ' '
					break
				}
			}
		case c == ',':
			comma = i
		case c == ']' || c == '}':
			if comma >= 0 {
				out[comma] = ' '
			}
			comma = -1
		case c != ' ' && c != '\t' && c != '\n' && c != '\r':
			comma = -1
		}
	}
	return out
}
