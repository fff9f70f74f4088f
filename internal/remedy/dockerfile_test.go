package remedy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/image"
)

func mustParse(t testing.TB, text string) *Dockerfile {
	t.Helper()
	d, err := ParseDockerfile("Dockerfile", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// show writes instructions as "stage line-end text".
func show(d *Dockerfile) []string {
	var out []string
	for i := range d.globals {
		out = append(out, fmt.Sprintf("- %d %s", d.globals[i].Line, d.globals[i].String()))
	}
	for s := range d.Stages {
		for n := range d.Stages[s].Instructions {
			i := &d.Stages[s].Instructions[n]
			line := fmt.Sprintf("%d %d-%d %s", s, i.Line, i.EndLine, i.String())
			for _, h := range i.heredocs {
				line += fmt.Sprintf(" {%s: %q}", h.name, d.text[h.start:h.end])
			}
			out = append(out, line)
		}
	}
	return out
}

func TestParseDockerfile(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"stages": {
			"# syntax=docker/dockerfile:1\nARG V=12\nfrom debian:$V AS Base\nRUN a\nFROM base\nCOPY --from=0 /a /b\n",
			[]string{"- 2 ARG V=12", "0 3-3 from debian:$V AS Base", "0 4-4 RUN a", "1 5-5 FROM base", "1 6-6 COPY --from=0 /a /b"}},
		"continuations, with comments and empty lines in them": {
			"FROM x\nRUN a && \\\n  # a comment\n  b \\ \n\n  c\nRUN d", []string{"0 1-1 FROM x", "0 2-6 RUN a && b c", "0 7-7 RUN d"}},
		"another escape":            {"# escape=`\nFROM x\nRUN a `\n  b\\\nRUN c", []string{"0 2-2 FROM x", "0 3-4 RUN a b\\", "0 5-5 RUN c"}},
		"an escape that is escaped": {"FROM x\nRUN a \\\\\nRUN b", []string{"0 1-1 FROM x", `0 2-2 RUN a \\`, "0 3-3 RUN b"}},
		"a continuation at the end": {"FROM x\nRUN a \\", []string{"0 1-1 FROM x", "0 2-2 RUN a"}},
		"heredocs": {
			"FROM x\nRUN <<EOF\napt-get install a\n# FROM y\nEOF\nRUN <<-\"A\" cat <<B\n\tone\n\tA\ntwo\nB\nCOPY <<f /f\nx\nf\nCMD a",
			[]string{"0 1-1 FROM x", `0 2-5 RUN <<EOF {EOF: "apt-get install a\n# FROM y\n"}`, `0 6-10 RUN <<-"A" cat <<B {A: "\tone\n"} {B: "two\n"}`, `0 11-13 COPY <<f /f {f: "x\n"}`, "0 14-14 CMD a"}},
		"Windows' ends of lines": {"FROM x\r\nRUN a \\\r\n b\r\n", []string{"0 1-1 FROM x", "0 2-3 RUN a b"}},
		"a heredoc for later": {
			"FROM x\nONBUILD RUN <<EOF\nFROM y\nEOF\nRUN a", []string{"0 1-1 FROM x", `0 2-4 ONBUILD RUN <<EOF {EOF: "FROM y\n"}`, "0 5-5 RUN a"}},
		"what is not known": {"\ufeffFROM x\nNONSENSE a\nONBUILD RUN b", []string{"0 1-1 FROM x", "0 2-2 NONSENSE a", "0 3-3 ONBUILD RUN b"}},
	} {
		if diff := cmp.Diff(tt.want, show(mustParse(t, tt.text))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestParseDockerfileErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "has no FROM",
		"RUN a\nFROM x":             "line 1: RUN before the first FROM",
		"FROM":                      "line 1: FROM names no image",
		"FROM x\nRUN <<A\nb":        "line 3: the heredoc A has no end",
		"FROM x\x00":                "is not a text",
		strings.Repeat(" ", 2<<20):  "larger than 1024 KiB",
		strings.Repeat("A\n", 2000): "A before the first FROM",
		"FROM x\n" + strings.Repeat("A\n", maxInstructions): "more than 10000 instructions",
	} {
		if _, err := ParseDockerfile("f", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v; want %q", text, err, want)
		}
	}
}

func TestChain(t *testing.T) {
	d := mustParse(t, "FROM a AS one\nFROM b AS two\nFROM one AS three\nFROM three\n")
	if diff := cmp.Diff([]int{0, 2, 3}, d.chain(3)); diff != "" {
		t.Error(diff)
	}
	for target, want := range map[string]int{"": 3, "TWO": 1, "2": 2, "none": -1} {
		got, err := d.stage(target)
		if want < 0 && err == nil || want >= 0 && got != want {
			t.Errorf("%q: %d, %v", target, got, err)
		}
	}
}

// TestShadowedStages: of several stages of one name the last before counts, also
// for a FROM that has it from a variable.
func TestShadowedStages(t *testing.T) {
	d := mustParse(t, "ARG B=Base\nFROM a AS base\nFROM b AS base\nFROM $B\nFROM c AS base\n")
	if diff := cmp.Diff([]int{1, 2}, d.chain(2)); diff != "" {
		t.Error(diff)
	}
	if got, err := d.stage("base"); err != nil || got != 3 {
		t.Errorf("base is stage %d, %v", got, err)
	}
}

// TestLargeDockerfiles: any Dockerfile of the size that is read costs little.
func TestLargeDockerfiles(t *testing.T) {
	for name, text := range map[string]string{
		"continuations": "FROM a\nRUN " + strings.Repeat("a\\\n", 300_000) + "b\n",
		"variables":     "FROM a\n" + strings.Repeat("ENV A=1 B=2\nCOPY $A $B\n", 4_900),
		"a variable":    strings.Repeat("ARG A=$A$A\n", 9_000) + "FROM $A\n",
		"commands":      "FROM a\nRUN " + strings.Repeat("a;", 500_000),
	} {
		start := time.Now()
		d := mustParse(t, text)
		d.align(0, []image.Layer{{CreatedBy: "RUN x"}})
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: it took %s", name, took)
		}
	}
}

// FuzzDockerfile parses, finds commands, and edits; offsets must hold.
func FuzzDockerfile(f *testing.F) {
	for _, s := range []string{
		"FROM x\nRUN apt-get update && apt-get install -y nginx=1 \\\n  curl\n", "FROM x\nRUN [\"apt-get\", \"install\", \"nginx\"]\n",
		"ARG V=1.2.3\nFROM x:$V\nARG V\nENV A=\"b c\" D e\nRUN curl https://e.org/$V/1.2.3.tgz\n", "FROM x\nRUN <<EOF\napk add nginx\npip install 'a>=1' $(x) `y`\nEOF\n",
		"# escape=`\nFROM a\nRUN npm i a@1 `\n b\n", "FROM x\nADD https://e.org/a-1.2.3.tgz /\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDockerfile("Dockerfile", []byte(text))
		if err != nil {
			return
		}
		var all []edit
		for s := range d.Stages {
			for n := range d.Stages[s].Instructions {
				i := &d.Stages[s].Instructions[n]
				if len(i.at) != len(i.text)+1 {
					t.Fatalf("%d offsets for %d bytes", len(i.at), len(i.text))
				}
				for k := range len(i.text) {
					if d.text[i.at[k]] != i.text[k] {
						t.Fatalf("byte %d of %q is not at %d", k, i.text, i.at[k])
					}
				}
				var changes []*Change
				for _, typ := range []string{"deb", "apk", "pypi", "npm", "generic"} {
					changes = append(changes, &Change{Type: typ, Name: "nginx", From: "1.2.3", To: "1.2.4"})
				}
				c := site{file: d.text, Instruction: i, vars: d.variables(s, n), managers: managers()}
				made := c.propose(changes)
				c.proposed(made.edits)
				all = append(all, made.edits...)
			}
		}
		after := applied(d.text, all)
		diff := unifiedDiff("Dockerfile", d.text, all)
		got, err := patched(d.text, diff)
		if err != nil || got != after {
			t.Fatalf("the diff gives %q, the edits %q: %v\n%s", got, after, err, diff)
		}
	})
}

// patched applies a unified diff strictly: no context may differ.
func patched(text, diff string) (string, error) {
	if diff == "" {
		return text, nil
	}
	old := lines(text)
	var out []string
	at := 0
	rest := strings.SplitAfter(diff, "\n")[2:]
	var last *[]string
	for _, l := range rest {
		switch {
		case l == "":
		case strings.HasPrefix(l, "@@ "):
			var from, n int
			if c, _ := fmt.Sscanf(l, "@@ -%d,%d ", &from, &n); c == 1 {
				n = 1
			}
			if n > 0 {
				from--
			}
			for ; at < from; at++ {
				out = append(out, old[at])
			}
		case l[0] == ' ' || l[0] == '-':
			if at >= len(old) || strings.TrimSuffix(old[at], "\n") != strings.TrimSuffix(l[1:], "\n") {
				return "", fmt.Errorf("line %d is not %q", at+1, l)
			}
			if l[0] == ' ' {
				out, last = append(out, old[at]), &out
			} else {
				last = nil
			}
			at++
		case l[0] == '+':
			out, last = append(out, l[1:]), &out
		case l[0] == '\\':
			if last != nil {
				(*last)[len(*last)-1] = strings.TrimSuffix((*last)[len(*last)-1], "\n")
			}
		default:
			return "", fmt.Errorf("line %q", l)
		}
	}
	return strings.Join(append(out, old[at:]...), ""), nil
}
