package report

import (
	"bufio"
	"bytes"
	"regexp"
	"strings"
	"testing"
)

func TestCut(t *testing.T) {
	tests := []struct {
		name string
		cut  func(string, int) string
		in   string
		n    int
		want string
	}{
		{"end, fits", cutEnd, "abcde", 5, "abcde"},
		{"end", cutEnd, "abcdef", 5, "abcd…"},
		{"end, no blank before the ellipsis", cutEnd, "abc def", 5, "abc…"},
		{"end, no room", cutEnd, "abc", 0, ""},
		{"end, one column", cutEnd, "abc", 1, "…"},
		{"end, wide letters are not halved", cutEnd, "日本語", 4, "日…"},
		{"end, marks stay on their letter", cutEnd, "e\u0301e\u0301e\u0301", 2, "e\u0301…"},
		{"start", cutStart, "a/b/c/d.json", 8, "…/d.json"},
		{"start, fits", cutStart, "a/b", 3, "a/b"},
		{"start, one long element", cutStart, "abcdefghij", 5, "…ghij"},
		{"start, wide letters", cutStart, "日本語日本語", 5, "…本語"},
		{"middle", cutMiddle, "abcdefghij", 7, "abc…hij"},
		{"middle, fits", cutMiddle, "abc", 3, "abc"},
		{"middle, little room", cutMiddle, "abcdefghij", 3, "ab…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.cut(tt.in, tt.n)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if width(got) > tt.n {
				t.Errorf("%q is %d columns wide, more than %d", got, width(got), tt.n)
			}
		})
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[int64]string{
		-1: "?", 0: "0 B", 999: "999 B", 1000: "1.0 kB", 4096: "4.1 kB", 41_210: "41 kB", 999_499: "999 kB", 999_500: "1.0 MB",
		9_949_999: "9.9 MB", 212_345_678: "212 MB", 1_460_000_000: "1.5 GB", 1 << 62: "5 EB",
	} {
		if got := Size(in); got != want {
			t.Errorf("Size(%d) = %q, want %q", in, got, want)
		}
	}
}

func TestInstruction(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing recorded", "", ""},
		{"classic, runs nothing", `/bin/sh -c #(nop)  CMD ["bash"]`, `CMD ["bash"]`},
		{"classic, runs", "/bin/sh -c apt-get update", "RUN apt-get update"},
		{"classic, adds", "/bin/sh -c #(nop) ADD file:" + strings.Repeat("5c", 32) + " in / ", "ADD file:5c5c5c5c… in /"},
		{"BuildKit, runs", "RUN /bin/sh -c apt-get update # buildkit", "RUN apt-get update"},
		{"BuildKit, copies", "COPY . /app # buildkit", "COPY . /app"},
		{"build arguments", "RUN |2 VERSION=1.2 NAME=a b /bin/sh -c make install # buildkit", "RUN make install"},
		{"classic build arguments", "|1 VERSION=1 /bin/sh -c make", "RUN make"},
		{"another shell with options", "RUN /bin/bash -o pipefail -c curl x | tar x # buildkit", "RUN curl x | tar x"},
		{"options of the script", "RUN /bin/sh -c set -eux; \tapt-get update; \tmake # buildkit", "RUN apt-get update; make"},
		{"white space of all kinds", "RUN  a\n\tb\u00a0 c", "RUN a b c"},
		{"debuerreotype", "# debian.sh --arch 'amd64'", "# debian.sh --arch 'amd64'"},
		{"a word like it stays", "RUN echo /bin/sh -c x", "RUN echo /bin/sh -c x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Instruction(tt.in); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestTableKeepsToItsWidth: no line is wider than asked for, unless an id and a
// version alone are.
func TestTableKeepsToItsWidth(t *testing.T) {
	for _, columns := range []int{60, 72, 80, 90, 100, 120, 160, 200} {
		var buf bytes.Buffer
		if err := Table(&buf, sample(), TableOptions{Width: columns, ShowRemoved: true, ShowSuppressed: true}); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(&buf)
		for lines.Scan() {
			if w := width(lines.Text()); w > columns {
				t.Errorf("at width %d a line has %d columns: %q", columns, w, lines.Text())
			}
			if strings.HasSuffix(lines.Text(), " ") {
				t.Errorf("at width %d a line ends in blanks: %q", columns, lines.Text())
			}
		}
	}
}

// TestTableNeverCutsIDsAndVersions at any width.
func TestTableNeverCutsIDsAndVersions(t *testing.T) {
	r := sample()
	for _, columns := range []int{1, 60, 80, 100, 200} {
		var buf bytes.Buffer
		if err := Table(&buf, r, TableOptions{Width: columns, ShowRemoved: true, ShowSuppressed: true}); err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Findings {
			for _, word := range []string{f.ID, f.PackageVersion, f.FixedVersion} {
				if !strings.Contains(buf.String(), word) {
					t.Errorf("%q is not in the table of width %d", word, columns)
				}
			}
		}
	}
}

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

// TestColorChangesNoText but for the blanks around a stamp.
func TestColorChangesNoText(t *testing.T) {
	var monochrome, color bytes.Buffer
	if err := Table(&monochrome, sample(), TableOptions{Width: 200}); err != nil {
		t.Fatal(err)
	}
	if err := Table(&color, sample(), TableOptions{Width: 200, Color: true}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(monochrome.String(), "\x1b") {
		t.Error("escape sequences without Color")
	}
	if !sgr.MatchString(color.String()) {
		t.Error("no colours with Color")
	}
	words := func(s string) string { return strings.Join(strings.Fields(sgr.ReplaceAllString(s, "")), " ") }
	if words(monochrome.String()) != words(color.String()) {
		t.Errorf("the text differs:\n%s\n%s", words(monochrome.String()), words(color.String()))
	}
}
