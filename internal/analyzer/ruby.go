package analyzer

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"

	"strata/internal/inventory"
)

// rubyGem reads the specifications of installed gems, and of the default gems
// that come with Ruby. RubyGems writes them as Ruby code of one shape.
type rubyGem struct{}

func (rubyGem) Name() string { return "gem" }

func (rubyGem) Wants(c *Candidate) bool {
	if !strings.HasSuffix(c.Path, ".gemspec") {
		return false
	}
	dir := c.Path[:max(strings.LastIndexByte(c.Path, '/'), 0)]
	dir = strings.TrimSuffix(dir, "/default")
	return strings.HasSuffix(dir, "/specifications") || dir == "specifications"
}

var (
	gemNameRE    = regexp.MustCompile(`(?m)^\s*\w+\.name\s*=\s*["']([^"']+)["']`)
	gemVersionRE = regexp.MustCompile(`(?m)^\s*\w+\.version\s*=\s*(?:Gem::Version\.new\s*\(?\s*)?["']([^"']+)["']`)
	gemLicenseRE = regexp.MustCompile(`(?m)^\s*\w+\.licenses?\s*=\s*(\[[^\]]*\]|["'][^"']+["'])`)
	rubyStringRE = regexp.MustCompile(`["']([^"']+)["']`)
)

func (rubyGem) Analyze(_ context.Context, f *File) (Result, error) {
	b, err := f.Bytes(maxManifestSize)
	if err != nil {
		return Result{}, err
	}
	p, ok := parseGemspec(b)
	if !ok {
		return Result{}, fmt.Errorf("no name and version of a gem in it")
	}
	return Result{Packages: []inventory.Package{p}}, nil
}

// parseGemspec takes name and version from the assignments or, where these are
// computed, from the "# stub: name version platform paths" line that RubyGems
// itself reads first.
func parseGemspec(b []byte) (inventory.Package, bool) {
	p := inventory.Package{
		Type: "gem", Ecosystem: ecosystemGem,
		Name: firstGroup(gemNameRE, b), Version: firstGroup(gemVersionRE, b),
	}
	if p.Name == "" || p.Version == "" {
		p.Name, p.Version = gemStub(b)
	}
	for _, m := range rubyStringRE.FindAllSubmatch([]byte(firstGroup(gemLicenseRE, b)), -1) {
		p.Licenses = append(p.Licenses, string(m[1]))
	}
	return p, p.Name != "" && p.Version != ""
}

// gemStub reads the stub line: it is one of the first lines of the file.
func gemStub(b []byte) (name, version string) {
	_, rest, ok := bytes.Cut(b, []byte("# stub: "))
	if !ok {
		return "", ""
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) < 2 {
		return "", ""
	}
	return fields[0], fields[1]
}

// firstGroup is the first group of the first match; empty without one.
func firstGroup(re *regexp.Regexp, b []byte) string {
	m := re.FindSubmatch(b)
	if m == nil {
		return ""
	}
	return string(m[1])
}
