package analyzer

import (
	"bytes"
	"context"
	"strconv"
	"strings"

	"strata/internal/inventory"
)

// tomlLock reads the lock files that are TOML: a list of tables, one for each
// package. Their tools write them in one shape, a key on a line of its own, so
// they are read line by line: the TOML parser that osv-scalibr uses ran out of
// 4 GiB of memory on one dotted key of 2 MB.
type tomlLock struct{}

func (tomlLock) Name() string { return "toml-lock" }

func (tomlLock) Wants(c *Candidate) bool {
	if !strings.HasSuffix(c.Path, ".lock") && !strings.HasSuffix(c.Path, ".toml") {
		return false
	}
	_, ok := tomlFormatOf(c.Base())
	return ok && applicationLock(c.Path)
}

// A tomlFormat says what the packages of a lock file are, and in which array of
// tables they stand.
type tomlFormat struct {
	purlType, ecosystem string
	// table is the line that starts a package.
	table string
}

func tomlFormatOf(base string) (tomlFormat, bool) {
	switch base {
	case "Cargo.lock":
		return tomlFormat{"cargo", ecosystemCargo, "[[package]]"}, true
	case "poetry.lock", "pdm.lock", "uv.lock":
		return tomlFormat{"pypi", ecosystemPyPI, "[[package]]"}, true
	case "pylock.toml":
		return tomlFormat{"pypi", ecosystemPyPI, "[[packages]]"}, true
	}
	return tomlFormat{}, false
}

func (tomlLock) Analyze(_ context.Context, f *File) (Result, error) {
	res := Result{Kind: inventory.Locked}
	format, ok := tomlFormatOf(f.Base())
	if !ok {
		return res, nil
	}
	b, err := f.Bytes(maxLockSize)
	if err != nil {
		return res, err
	}
	for _, e := range tomlTables(b, format.table) {
		if e.installed() {
			res.Packages = append(res.Packages, inventory.Package{
				Type: format.purlType, Name: e.name, Version: e.version, Ecosystem: format.ecosystem,
			})
		}
	}
	res.Packages = distinct(res.Packages)
	return res, nil
}

// A tomlTable is what matters of one package's table.
type tomlTable struct {
	name, version string
	// groups need the package; category is the group in Poetry before 1.5.
	groups   []string
	category string
	// local is set for the application itself, which lies in a directory.
	local bool
}

// installed tells whether the package is one of those that get installed to run
// the application: a package in no group is.
func (e tomlTable) installed() bool {
	if e.name == "" || e.version == "" || e.local || developmentGroup(e.category) {
		return false
	}
	for _, g := range e.groups {
		if !developmentGroup(g) {
			return true
		}
	}
	return len(e.groups) == 0
}

// tomlTables reads the tables that start with the header line.
func tomlTables(b []byte, header string) []tomlTable {
	var out []tomlTable
	inside := false
	list := false // Within an array that spans lines: its elements are no keys.
	for line := range bytes.Lines(b) {
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0 || line[0] == '#':
		case list:
			list = line[0] != ']'
		case line[0] == '[':
			inside = string(line) == header
			if inside {
				out = append(out, tomlTable{})
			}
		case inside:
			key, value, ok := bytes.Cut(line, []byte("="))
			if !ok {
				continue
			}
			value = bytes.TrimSpace(value)
			list = string(value) == "["
			out[len(out)-1].set(string(bytes.TrimSpace(key)), string(value))
		}
	}
	return out
}

// set takes in one line.
func (e *tomlTable) set(key, value string) {
	switch key {
	case "name":
		e.name = tomlString(value)
	case "version":
		e.version = tomlString(value)
	case "category":
		e.category = tomlString(value)
	case "groups":
		for part := range strings.SplitSeq(strings.Trim(value, "[] "), ",") {
			if g := tomlString(strings.TrimSpace(part)); g != "" {
				e.groups = append(e.groups, g)
			}
		}
	case "source": // uv's
		e.local = strings.HasPrefix(value, "{ virtual =") || strings.HasPrefix(value, "{ editable =")
	case "directory": // pylock's
		e.local = true
	}
}

// tomlString reads a string in double or single quotes; empty for anything else.
func tomlString(v string) string {
	if len(v) < 2 {
		return ""
	}
	switch v[0] {
	case '\'':
		if i := strings.IndexByte(v[1:], '\''); i >= 0 {
			return v[1 : 1+i]
		}
	case '"':
		if q, err := strconv.QuotedPrefix(v); err == nil {
			s, _ := strconv.Unquote(q)
			return s
		}
	}
	return ""
}
