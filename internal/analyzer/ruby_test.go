package analyzer

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRubyGem(t *testing.T) {
	const path = "usr/local/bundle/specifications/x-1.gemspec"
	runCases(t, rubyGem{}, "gem", []analyzerCase{
		{"usual", path, "# -*- encoding: utf-8 -*-\n# stub: rack 2.0.6 ruby lib\n\nGem::Specification.new do |s|\n  s.name = \"rack\".freeze\n  s.version = \"2.0.6\"\nend\n", []string{"rack 2.0.6"}, ""},
		{"Gem::Version, single quotes, another variable", path, "Gem::Specification.new do |spec|\n  spec.name = 'rack'\n  spec.version = Gem::Version.new(\"2.0.6\")\nend\n", []string{"rack 2.0.6"}, ""},
		{"platform is no part of the version", path, "# stub: nokogiri 1.13.6 x86_64-linux lib\ns.name = \"nokogiri\".freeze\ns.version = \"1.13.6\"\ns.platform = \"x86_64-linux\".freeze\n", []string{"nokogiri 1.13.6"}, ""},
		{"computed: the stub tells", path, "# stub: rake 13.0.6 ruby lib\ns.name = \"rake\"\ns.version = Rake::VERSION\n", []string{"rake 13.0.6"}, ""},
		{"a dependency's name is not the gem's", path, "# stub: a 1 ruby lib\n  s.required_rubygems_version = Gem::Requirement.new(\">= 0\")\n  s.rubygems_version = \"3.3\"\n", []string{"a 1"}, ""},
		{"nothing", path, "puts 1\n", nil, "no name and version"},
		{"a short stub", path, "# stub: a\n", nil, "no name and version"},
	})
}

func TestRubyGemLicenses(t *testing.T) {
	for content, want := range map[string][]string{
		`s.licenses = ["MIT".freeze, "GPL-2.0".freeze]`: {"MIT", "GPL-2.0"},
		"s.licenses = [\n  'MIT'\n]":                    {"MIT"},
		`s.license = "MIT"`:                             {"MIT"},
		`s.licenses = []`:                               nil,
		``:                                              nil,
	} {
		p, _ := parseGemspec([]byte("# stub: a 1 ruby lib\n" + content))
		if diff := cmp.Diff(want, p.Licenses); diff != "" {
			t.Errorf("%q (-want +got):\n%s", content, diff)
		}
	}
}

func FuzzGemspec(f *testing.F) {
	f.Add([]byte("# stub: a 1 ruby lib\ns.name = \"a\"\ns.version = \"1\"\ns.licenses = [\"MIT\"]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := parseGemspec(b); ok && (p.Name == "" || p.Version == "") {
			t.Errorf("%q gives %+v", b, p)
		}
	})
}
