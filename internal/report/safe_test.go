package report

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"strata/internal/advisory"
	"strata/internal/policy"
)

func TestSafe(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"empty", "", ""},
		{"plain", "lodash 4.17.21~rc1", "lodash 4.17.21~rc1"},
		{"a backslash stays", `a\x1b`, `a\x1b`},
		{"letters of the world", "Größe 日本 шрифт", "Größe 日本 шрифт"},
		{"emoji", "a📦b", "a📦b"},
		{"escape sequence", "\x1b[31mred", `\x1b[31mred`},
		{"title, bell", "\x1b]0;t\x07", `\x1b]0;t\x07`},
		{"new lines", "a\r\nb\tc", `a\x0d\x0ab\x09c`},
		{"delete", "a\x7f", `a\x7f`},
		{"C1 control as UTF-8", "a\u009b31m", `a\u009b31m`},
		{"C1 control as a byte", "a\x9b31m", `a\x9b31m`},
		{"not UTF-8", "caf\xe9/\xff", `caf\xe9/\xff`},
		{"cut UTF-8", "a\xe6\x97", `a\xe6\x97`},
		{"the replacement character itself", "a\ufffd", "a\ufffd"},
		{"bidi override", "abc\u202egpj", `abc\u202egpj`},
		{"bidi isolate", "\u2066a\u2069", `\u2066a\u2069`},
		{"bidi marks", "\u200ea\u200f\u061c", `\u200ea\u200f\u061c`},
		{"zero width", "a\u200bb\u200d\ufeff\u2060", `a\u200bb\u200d\ufeff\u2060`},
		{"line separators", "a\u2028b\u2029\u0085", `a\u2028b\u2029\u0085`},
		{"spaces that look like one", "a\u00a0b\u3000c", `a\u00a0b\u3000c`},
		{"shown as nothing", "a\u3164\u2800", `a\u3164\u2800`},
		{"tags", "a\U000e0041", `a\U000e0041`},
		{"private use", "\ue000", `\ue000`},
		{"a mark on its letter", "e\u0301x", "e\u0301x"},
		{"a mark on nothing", "\u0301x", `\u0301x`},
		{"too many marks", "e\u0301\u0301\u0301\u0301\u0301x", "e\u0301\u0301\u0301" + `\u0301\u0301x`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Safe(tt.in); got != tt.want {
				t.Errorf("Safe(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

// FuzzTable puts a string wherever an image has a say, and looks for anything in
// the output that a terminal would act on.
func FuzzTable(f *testing.F) {
	f.Add("\x1b[31mred\x1b]0;t\x07\nfake line", 80)
	f.Add("\u202eMIT\u0085\u009b\xff\x9b", 60)
	f.Add(strings.Repeat("日本語\u0301", 50), 100)
	f.Add("RUN |9 /bin/sh -c #(nop)  # buildkit", 1)
	f.Fuzz(func(t *testing.T, s string, width int) {
		r := reportOf(s)
		for _, o := range []TableOptions{{Width: width}, {Width: width, ShowRemoved: true, ShowSuppressed: true}} {
			var buf bytes.Buffer
			if err := Table(&buf, r, o); err != nil {
				t.Fatal(err)
			}
			checkSafe(t, buf.String())
		}
		var buf bytes.Buffer
		if err := JSON(&buf, r); err != nil {
			t.Fatal(err)
		}
		checkSafe(t, buf.String())
		if _, err := ReadJSON(&buf); err != nil {
			t.Fatalf("what JSON wrote can't be read: %v", err)
		}
	})
}

// checkSafe fails where the text has what a terminal does not just show.
func checkSafe(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Error("the output is not valid UTF-8")
	}
	for _, c := range s {
		if c != '\n' && (unicode.IsControl(c) || unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp)) {
			t.Fatalf("%U in the output", c)
		}
	}
}

// reportOf is a report whose every text is s.
func reportOf(s string) *Report {
	r := &Report{
		Image:  Image{Reference: s, Digest: s, Platform: s, ConfigDigest: s, Distro: Distro{ID: s, Version: s, Name: s, Status: DistroStatus(s)}},
		Layers: []Layer{{Index: 0, CreatedBy: s, Digest: s, DiffID: s, Size: int64(len(s)), Base: true}, {Index: 1, CreatedBy: "RUN " + s, Size: 10}},
		Problems: []Problem{
			{Path: s, Layer: 1, Analyzer: s, Message: s}, {Layer: -1, Message: s, Incomplete: len(s)%2 == 0},
		},
		Advisories: Advisories{Source: s, Coverage: []Coverage{{Ecosystem: s, Type: s, Packages: 1, Status: CoverageStatus(s)}, {Ecosystem: s, Packages: 2, Status: NoData}}},
		Filtered:   &Filtered{Severities: []Severity{Severity(s)}, Hidden: 1},
		Verdict: policy.Verdict{
			Decision: policy.Fail, Rules: []string{s},
			Violations: []policy.Violation{{Policy: s, Rule: s, FindingIDs: []string{s}, PackageIDs: []string{"p0"}, Message: s}},
		},
	}
	b := builder{r}
	p := b.pkg("npm", s, s, 0, s, s)
	p.Licenses, p.Owner = []string{s}, s
	b.finding(p, s, Severity(s), s, kev, func(f *Finding) { f.Status = Status(s) })
	b.finding(p, s, advisory.High, "")
	b.finding(p, s, advisory.Low, s, func(f *Finding) { f.State = "removed" })
	b.finding(p, s, advisory.Low, s, func(f *Finding) { f.Suppressed = &Suppression{By: SuppressedBy(s), Reason: s} })
	return r
}
