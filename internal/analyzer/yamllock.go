package analyzer

import (
	"bytes"
	"context"
	"strings"

	"strata/internal/inventory"
)

// yamlLock reads pnpm-lock.yaml and pubspec.lock. Their tools write them in one
// shape, so they are read line by line: the YAML library's check for keys that
// occur twice took 1.2 s for 20,000, growing with the square of their number.
type yamlLock struct{}

func (yamlLock) Name() string { return "yaml-lock" }

func (yamlLock) Wants(c *Candidate) bool {
	if !strings.HasSuffix(c.Path, "pnpm-lock.yaml") && !strings.HasSuffix(c.Path, "pubspec.lock") {
		return false
	}
	base := c.Base()
	return (base == "pnpm-lock.yaml" || base == "pubspec.lock") && applicationLock(c.Path)
}

func (yamlLock) Analyze(_ context.Context, f *File) (Result, error) {
	res := Result{Kind: inventory.Locked}
	b, err := f.Bytes(maxLockSize)
	if err != nil {
		return res, err
	}
	if f.Base() == "pubspec.lock" {
		res.Packages = pubPackages(b)
	} else {
		res.Packages = pnpmPackages(b)
	}
	res.Packages = distinct(res.Packages)
	return res, nil
}

// pubPackages reads the lock file of Dart (dart.dev/tools/pub).
func pubPackages(b []byte) []inventory.Package {
	var out []inventory.Package
	entries, _ := yamlPackages(b)
	for _, e := range entries {
		if e.attributes["dependency"] == "direct dev" || e.key == "" || e.attributes["version"] == "" {
			continue
		}
		out = append(out, inventory.Package{Type: "pub", Name: e.key, Version: e.attributes["version"], Ecosystem: "Pub"})
	}
	return out
}

// pnpmPackages reads the lock file of pnpm, versions 5 to 9 (pnpm/spec,
// lockfile/). Since version 9 it does not mark what is for development only.
func pnpmPackages(b []byte) []inventory.Package {
	var out []inventory.Package
	entries, format := yamlPackages(b)
	for _, e := range entries {
		if e.attributes["dev"] == "true" {
			continue
		}
		name, version := pnpmKey(e.key, strings.HasPrefix(format, "5"))
		// Set where the key is that of a file or a repository.
		if n := e.attributes["name"]; n != "" {
			name = n
		}
		if v := e.attributes["version"]; v != "" {
			version = v
		}
		out = appendNPM(out, name, version)
	}
	return out
}

// pnpmKey splits the key of a package: "/@s/a/1.0.0_peer@2" in version 5 of the
// format, "/@s/a@1.0.0(peer@2)" since version 6, without the slash since 9.
func pnpmKey(key string, five bool) (name, version string) {
	key, _, _ = strings.Cut(strings.TrimPrefix(key, "/"), "(")
	separator := "@"
	if five {
		separator = "/"
		if i := strings.IndexByte(key, '_'); i >= 0 && strings.Contains(key[:i], ".") {
			key = key[:i]
		}
	}
	if i := strings.LastIndex(key, separator); i > 0 {
		return key[:i], key[i+1:]
	}
	return "", ""
}

// A yamlPackage is an entry of the mapping "packages" at the top of the file,
// with those of its attributes that are plain.
type yamlPackage struct {
	key        string
	attributes map[string]string
}

// yamlPackages reads the mapping, and the value of "lockfileVersion".
func yamlPackages(b []byte) (out []yamlPackage, lockfileVersion string) {
	inside := false
	for line := range bytes.Lines(b) {
		text := strings.TrimRight(string(line), " \r\n")
		body := strings.TrimLeft(text, " ")
		indent := len(text) - len(body)
		key, value, ok := yamlLine(body)
		switch {
		case !ok:
		case indent == 0:
			inside = key == "packages" && value == ""
			if key == "lockfileVersion" {
				lockfileVersion = value
			}
		case !inside:
		case indent == 2:
			out = append(out, yamlPackage{key: key, attributes: map[string]string{}})
		case indent == 4 && len(out) > 0:
			out[len(out)-1].attributes[key] = value
		}
	}
	return out, lockfileVersion
}

// yamlLine splits "key: value"; either may be in quotes. The value is empty for
// a key that something nested follows.
func yamlLine(s string) (key, value string, ok bool) {
	if s == "" || s[0] == '#' || s[0] == '-' {
		return "", "", false
	}
	if q := s[0]; q == '\'' || q == '"' {
		end := strings.IndexByte(s[1:], q)
		if end < 0 {
			return "", "", false
		}
		key, s = s[1:1+end], s[2+end:]
		value, ok = strings.CutPrefix(s, ":")
	} else if key, value, ok = strings.Cut(s, ": "); !ok {
		key, ok = strings.CutSuffix(s, ":")
	}
	return key, strings.Trim(strings.TrimSpace(value), `"'`), ok
}
