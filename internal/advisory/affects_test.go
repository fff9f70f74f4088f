package advisory

import (
	"errors"
	"strings"
	"testing"
)

// events reads "i0 f1.2 a3 l*".
func events(s string) []Event {
	var out []Event
	for f := range strings.FieldsSeq(s) {
		out = append(out, Event{EventKind(f[0]), f[1:]})
	}
	return out
}

func affected(ecosystem, ranges, versions string) Affected {
	a := Affected{Ecosystem: ecosystem, Name: "p", Versions: strings.Fields(versions)}
	if ranges == "" {
		return a
	}
	for r := range strings.SplitSeq(ranges, "|") {
		a.Ranges = append(a.Ranges, Range{Events: events(r)})
	}
	return a
}

// verdictWord: "yes", "open" (affected without end), "past" (fixed before), "no", "?".
func verdictWord(v Verdict) string {
	switch {
	case v.Err != nil:
		return "?"
	case v.Open:
		return "open"
	case v.Affected:
		return "yes"
	case v.Past:
		return "past"
	}
	return "no"
}

func TestEvaluate(t *testing.T) {
	for _, c := range []struct {
		name, ecosystem, ranges, versions string
		want                              string // version=verdict …
	}{
		{"introduced and fixed", "npm", "i1.0.0 f2.0.0", "", "0.9.0=no 1.0.0=yes 1.9.9=yes 2.0.0=past 3.0.0=past"},
		{"from the first", "npm", "i0 f1.2.3", "", "0.0.0=yes 0.0.0-alpha=yes 1.2.2=yes 1.2.3-rc.1=yes 1.2.3=past"},
		{"no end", "npm", "i1.0.0", "", "0.9.0=no 1.0.0=open 99.0.0=open"},
		{"last affected", "npm", "i1.0.0 a1.5.0", "", "1.0.0=yes 1.5.0=yes 1.5.1=past"},
		{"one version", "npm", "i1.5.0 a1.5.0", "", "1.4.9=no 1.5.0=yes 1.5.1=past"},
		{"several branches", "npm", "i1.0.0 f1.5.0 i2.0.0 f2.3.0", "", "1.4.0=yes 1.5.0=past 1.9.0=past 2.0.0=yes 2.3.0=past"},
		{"events in any order", "npm", "f2.3.0 i2.0.0 f1.5.0 i1.0.0", "", "1.4.0=yes 1.5.0=past 1.9.0=past 2.0.0=yes 2.3.0=past"},
		{"fixed and introduced again at once", "npm", "i0 f1.0.0 i1.0.0 f2.0.0", "", "0.9.0=yes 1.0.0=yes 1.9.0=yes 2.0.0=past"},
		{"the same in another order", "npm", "i1.0.0 f2.0.0 i0 f1.0.0", "", "0.9.0=yes 1.0.0=yes 2.0.0=past"},
		{"empty range", "npm", "i1.0.0 f1.0.0", "", "0.9.0=no 1.0.0=no 1.1.0=no"},
		{"limit", "npm", "i1.0.0 l2.0.0", "", "1.9.0=yes 2.0.0=no 3.0.0=no"},
		{"no limit", "npm", "i1.0.0 l*", "", "3.0.0=open"},
		{"two limits", "npm", "i1.0.0 f5.0.0 l2.0.0 l3.0.0", "", "2.5.0=yes 3.5.0=no"},
		{"two ranges", "npm", "i1.0.0 f1.1.0|i3.0.0 f3.1.0", "", "1.0.5=yes 2.0.0=past 3.0.5=yes 4.0.0=past"},
		{"versions only", "npm", "", "1.0.0 1.2.0", "1.0.0=yes 1.1.0=no 1.2.0=yes"},
		{"versions beside ranges", "npm", "i2.0.0 f3.0.0", "1.0.0", "1.0.0=yes 1.1.0=no 2.5.0=yes"},
		{"equal spellings of versions", "PyPI", "", "1.0", "1.0.0=yes 1.0.1=no"},
		{"Debian", "Debian:12", "i0 f1:2.3-4+deb12u1", "", "1:2.3-4=yes 2.3-5=yes 1:2.3-4+deb12u1=past 1:2.3-4+deb12u1~bpo11+1=yes 2:1=past"},
		{"Ubuntu", "Ubuntu:22.04:LTS", "i0 f3.0.2-0ubuntu1.10", "", "3.0.2-0ubuntu1.9=yes 3.0.2-0ubuntu1.10=past"},
		{"Alpine", "Alpine:v3.19", "i0 f1.2.4_git20230717-r5", "", "1.2.4_git20230717-r4=yes 1.2.4_git20230717-r5=past 1.2.4-r9=yes 1.2.4_rc1-r0=yes"},
		{"rpm", "AlmaLinux:9", "i0 f1:3.0.7-27.el9_4", "", "3.0.7-99.el9=yes 1:3.0.7-27.el9=yes 1:3.0.7-27.el9_4=past 1:3.0.7-28.el9=past"},
		{"Go pseudo-versions", "Go", "i0 f0.0.0-20220906165146-f3363e06e74c", "", "0.0.0-20210101000000-aaaaaaaaaaaa=yes 0.0.0-20230101000000-bbbbbbbbbbbb=past 0.1.0=past"},
		{"Go pseudo-version after its base", "Go", "i1.2.0 f1.2.4", "", "1.2.4-0.20230101000000-aaaaaaaaaaaa=yes 1.2.3=yes 1.2.4=past"},
		{"Go incompatible", "Go", "i0 f3.2.1+incompatible", "", "3.2.0+incompatible=yes 3.2.1+incompatible=past"},
		{"Go standard library", "Go", "i0 f1.21.8 i1.22.0-0 f1.22.1", "", "1.21.7=yes 1.21.8=past 1.22.0=yes 1.22rc1=yes 1.22.1=past"},
		{"PyPI", "PyPI", "i0 f2.0rc1", "", "1.9.post1=yes 2.0b9=yes 2.0rc1=past 2.0=past 1!0.1=past"},
		{"Maven", "Maven", "i2.0-beta9 f2.15.0", "", "2.0-alpha1=no 2.0-beta9=yes 2.0=yes 2.14.1=yes 2.15.0-rc1=yes 2.15.0=past 2.15.0.Final=past"},
		{"RubyGems", "RubyGems", "i0 f1.10.4", "", "1.10.4.rc1=yes 1.9.9=yes 1.10.4=past"},
		{"NuGet", "NuGet", "i6.0.0 f6.0.0.1", "", "6.0=yes 6.0.0.0=yes 6.0.0.1=past"},
		{"Maven's qualifiers after dot and hyphen", "Maven", "i9.0.0-M11 f9.0.2.Final", "", "9.0.0.M9=no 9.0.0.M11=yes 9.0.0.M17=yes 9.0.2-SNAPSHOT=yes 9.0.2.RC1=yes 9.0.2-beta1=yes 9.0.2=past 9.0.2.SP1=past 9.0.2.Final-redhat-1=past"},
		{"RubyGems with a dash", "RubyGems", "i6.11 f7.0.0-rc3", "", "7.0.0.beta.2=yes 7.0.0.pre.rc.2=yes 7.0.0.pre.rc3=past 7.0.0.rc1=past 7.0.0=past"},
		{"Packagist, fewer numbers", "Packagist", "i7.0.0 a7.5.0", "", "6.9=no 7=yes 7.0=yes v7.0.0.0=yes 7.5+x=yes 7.5-stable=yes 7.5.0.0=yes 7.5.0.1=past 7.5-p1=past"},
		{"Packagist, before a release", "Packagist", "i4 f5", "", "4.0.0-beta1=no 4.0=yes 5-RC1=yes 5.0.0.0-RC1=yes 5.0.0=past 5=past"},
		{"Packagist, dates", "Packagist", "i0 f20210102", "", "20210101=yes 20210102=past"},
		{"Packagist", "Packagist", "i0 f1.2.0", "", "v1.1.0=yes 1.2.0-RC1=yes 1.2.0=past v1.2.0=past"},
		{"crates.io", "crates.io", "i0.0.0-0 f0.8.2-0", "", "0.8.1=yes 0.8.2=past"},
		{"unknown versions of an advisory", "PyPI", "i0 fnot-a-version", "", "1.0=?"},
		{"but known by another range", "PyPI", "i0 fnot-a-version|i0 f2.0", "", "1.0=yes 3.0=?"},
	} {
		a := affected(c.ecosystem, c.ranges, c.versions)
		for f := range strings.FieldsSeq(c.want) {
			text, want, _ := strings.Cut(f, "=")
			v, err := ParseVersion(c.ecosystem, text)
			if err != nil {
				t.Fatal(err)
			}
			if got := verdictWord(a.Evaluate(v)); got != want {
				t.Errorf("%s: %s: %s, want %s", c.name, text, got, want)
			}
		}
	}
}

// A SEMVER range holds in ecosystems whose own order isn't known.
func TestEvaluateUnknownEcosystem(t *testing.T) {
	a := Affected{Ecosystem: "Elsewhere", Ranges: []Range{{Semver: true, Events: events("i1.0.0 f2.0.0")}}}
	if _, err := ParseVersion("Elsewhere", "1.5.0"); !errors.Is(err, ErrVersion) {
		t.Errorf("error %v, want ErrVersion", err)
	}
	if v := a.Evaluate(Version{ecosystem: "Elsewhere", text: "1.5.0"}); !v.Affected {
		t.Errorf("verdict %+v, want affected", v)
	}
}

func TestFix(t *testing.T) {
	for _, c := range []struct{ name, ecosystem, entries, version, want string }{
		{"the range's end", "npm", "i1.0.0 f1.5.0", "1.2.0", "1.5.0"},
		{"of the installed branch", "npm", "i1.0.0 f1.5.0 i2.0.0 f2.3.0", "1.2.0", "1.5.0"},
		{"of the later branch", "npm", "i1.0.0 f1.5.0 i2.0.0 f2.3.0", "2.1.0", "2.3.0"},
		{"not one that is affected", "npm", "i0 f1.5.0 i1.5.0 f2.0.0", "1.0.0", "2.0.0"},
		{"none", "npm", "i0", "1.0.0", ""},
		{"none before the installed one", "npm", "i0 f1.0.0 i2.0.0", "2.1.0", ""},
		{"of all entries", "npm", "i0 f1.5.0;i1.0.0 f1.6.0", "1.2.0", "1.6.0"},
		{"by the ecosystem's order", "Debian:12", "i0 f1.10;i0 f1.9", "1.2", "1.10"},
		{"after last affected", "npm", "i1.0.0 a1.9.0 i2.0.0 f2.3.0", "1.2.0", "2.3.0"},
	} {
		var entries []Affected
		for e := range strings.SplitSeq(c.entries, ";") {
			entries = append(entries, affected(c.ecosystem, e, ""))
		}
		v, err := ParseVersion(c.ecosystem, c.version)
		if err != nil {
			t.Fatal(err)
		}
		if got := leastFix(v, entries); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// leastFix is the least upgrade that helps; empty for none.
func leastFix(v Version, entries []Affected) string {
	if fixes := Fixes(v, entries); len(fixes) > 0 {
		return fixes[0]
	}
	return ""
}

func TestInstalledVersion(t *testing.T) {
	for _, c := range []struct{ ecosystem, name, text, want string }{
		{"Go", "stdlib", "go1.22.3 X:boringcrypto", "1.22.3"},
		{"Go", "stdlib", "1.21.0-vendor", "1.21.0"},
		{"Go", "stdlib", "go1.22rc1", "1.22.0-rc.1"},
		{"Go", "toolchain", "go1.4beta1 X:none", "1.4.0-beta.1"},
		{"Go", "stdlib", "1.24.0-rc.2", "1.24.0-rc.2"},
		{"Go", "stdlib", "devel go1.25-abcdef", ""},
		{"Go", "example.org/m", "v1.2.3+incompatible", "1.2.3+incompatible"},
		{"Go", "example.org/m", "v1.2.3+dirty", "1.2.3"},
		{"Go", "example.org/m", "v0.0.0-20210101000000-aaaaaaaaaaaa", "0.0.0-20210101000000-aaaaaaaaaaaa"},
		{"Go", "example.org/m", "(devel)", ""},
		{"Go", "example.org/m", "v0.0.0-00010101000000-000000000000", ""},
		{"RubyGems", "nokogiri", "1.10.4-x86_64-linux", "1.10.4"},
		{"RubyGems", "nokogiri", "1.10.4-java", "1.10.4"},
		{"RubyGems", "a", "1.0.0.pre.1", "1.0.0.pre.1"},
		{"npm", "a", "latest", ""},
		{"npm", "a", "git+ssh://example.org/a", ""},
		{"npm", "a", "", ""},
		{"npm", "a", "1 2", ""},
		{"Packagist", "a/b", "dev-main", ""},
		{"PyPI", "a", "1.0+local", "1.0+local"},
		{"Maven", "g:a", "Finchley.SR2", "Finchley.SR2"},
		{"npm", "a", strings.Repeat("1", 1000), ""},
	} {
		v, err := InstalledVersion(c.ecosystem, c.name, c.text)
		if c.want == "" {
			if !errors.Is(err, ErrVersion) {
				t.Errorf("%s %q: version %q, error %v, want ErrVersion", c.ecosystem, c.text, v, err)
			}
			continue
		}
		if err != nil || v.String() != c.want {
			t.Errorf("%s %q: %q, %v, want %q", c.ecosystem, c.text, v, err, c.want)
		}
	}
}

// Advisories write Go's pre-releases in another way than toolchains do (GO-2025-3447).
func TestGoPreReleases(t *testing.T) {
	a := affected("Go", "i0 f1.23.6 i1.24.0-0 f1.24.0-rc.3", "")
	for text, want := range map[string]string{
		"go1.23.5": "yes", "go1.23.6": "past", "go1.24rc1": "yes", "go1.24rc2": "yes", "go1.24rc3": "past", "go1.24": "past", "go1.24.0": "past",
	} {
		v, err := InstalledVersion("Go", "stdlib", text)
		if err != nil {
			t.Fatal(err)
		}
		if got := verdictWord(a.Evaluate(v)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func FuzzEvaluate(f *testing.F) {
	f.Add("npm", "1.2.3", "i0\tf1.0", "1.0")
	f.Add("Alpine:v3.11", "1.2_rc1-r0", "i0\tf1.2-r1", "")
	f.Add("Maven", "1-alpha-1", "i0\ta1.0.Final", "")
	f.Add("Red Hat:9", "1:2~rc^3-4", "i0\tf2:1", "1")
	f.Fuzz(func(t *testing.T, ecosystem, version, encoded, enumerated string) {
		if len(version)+len(encoded) > 1<<12 {
			return
		}
		ranges, err := DecodeRanges("E\t" + encoded)
		if err != nil {
			return
		}
		v, err := InstalledVersion(ecosystem, "a", version)
		if err != nil {
			if !errors.Is(err, ErrVersion) {
				t.Errorf("error %v doesn't wrap ErrVersion", err)
			}
			return
		}
		a := Affected{Ecosystem: ecosystem, Ranges: ranges, Versions: []string{enumerated}}
		verdict := a.Evaluate(v)
		if verdict.Affected && (verdict.Err != nil || verdict.Past) || verdict.Open && !verdict.Affected {
			t.Errorf("verdict contradicts itself: %+v", verdict)
		}
		for _, fix := range Fixes(v, []Affected{a}) {
			w, err := ParseVersion(ecosystem, fix)
			if err != nil {
				t.Fatal(err)
			}
			if a.Evaluate(w).Affected {
				t.Errorf("the fix %q is affected", fix)
			}
		}
	})
}
