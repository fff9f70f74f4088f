package report

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"strata/internal/advisory"
)

// readCommands reads workflow commands as the runner does (actions/runner,
// src/Runner.Common/ActionCommand.cs): a line that begins with ::, a word,
// properties and a message, with what is escaped put back. Lines that are no
// command are returned apart.
func readCommands(t testing.TB, out string) (commands []map[string]string, rest []string) {
	t.Helper()
	line := regexp.MustCompile(`^::(error|warning|notice) ([^:]*)::(.*)$`)
	unescape := strings.NewReplacer("%3A", ":", "%2C", ",", "%0D", "\r", "%0A", "\n", "%25", "%")
	for _, l := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
		m := line.FindStringSubmatch(l)
		if m == nil {
			if strings.HasPrefix(strings.TrimSpace(l), "::") || strings.Contains(l, "##[") {
				t.Errorf("a command that is none of ours: %q", l)
			}
			rest = append(rest, l)
			continue
		}
		c := map[string]string{"kind": m[1], "message": unescape.Replace(m[3])}
		for _, property := range strings.Split(m[2], ",") {
			k, v, ok := strings.Cut(property, "=")
			if !ok || (k != "file" && k != "title") {
				t.Errorf("property %q in %q", property, l)
			}
			c[k] = unescape.Replace(v)
		}
		commands = append(commands, c)
	}
	return commands, rest
}

func TestGitHubAnnotations(t *testing.T) {
	for name, reports := range formatCases() {
		t.Run(name, func(t *testing.T) {
			commands, rest := readCommands(t, string(written(t, "github", Options{}, reports...)))
			if len(rest) != len(reports) {
				t.Errorf("lines beside the commands: %q", rest)
			}
			kinds := map[string]int{}
			for _, c := range commands {
				kinds[c["kind"]]++
				if c["title"] == "" || c["message"] == "" {
					t.Errorf("%v says nothing", c)
				}
			}
			for kind, n := range kinds {
				if n > 10 {
					t.Errorf("%d of kind %s", n, kind)
				}
			}
		})
	}
}

func TestGitHubKinds(t *testing.T) {
	commands, rest := readCommands(t, string(written(t, "github", Options{}, fullSample())))
	want := map[string]string{
		"new: high CVE-2023-4911 in libc6 2.36-9+deb12u4": "error", "medium CVE-2023-5678 in libssl3 3.0.11-1~deb12u2": "notice",
		"new: debian 12 is at the end of its life": "warning", "licenses: no-strong-copyleft": "error", "base: fresh-base": "warning",
		"Packages were not checked": "warning",
	}
	for _, c := range commands {
		if kind, ok := want[c["title"]]; ok {
			delete(want, c["title"])
			if c["kind"] != kind {
				t.Errorf("%s is of kind %s, want %s", c["title"], c["kind"], kind)
			}
		}
		if strings.Contains(c["title"], "CVE-2099-0001") || strings.Contains(c["title"], "jquery") {
			t.Errorf("%s does not count", c["title"])
		}
	}
	if len(want) > 0 {
		t.Errorf("no annotations of %v", want)
	}
	if len(rest) != 1 || !strings.HasSuffix(rest[0], ": fail") {
		t.Errorf("%q", rest)
	}
}

func TestGitHubTellsOfTheRest(t *testing.T) {
	r := &Report{}
	b := builder{r}
	for i := range 80 {
		b.finding(b.pkg("npm", fmt.Sprintf("p%d", i), "1", 0), fmt.Sprintf("CVE-1-%02d", i), advisory.Medium, "")
	}
	commands, _ := readCommands(t, string(written(t, "github", Options{}, r)))
	if len(commands) != 10 {
		t.Fatalf("%d commands", len(commands))
	}
	last := commands[9]
	if last["title"] != "71 more of this kind" || strings.Count(last["message"], "\n") != 50 || !strings.HasSuffix(last["message"], "and 21 more") {
		t.Errorf("%v", last)
	}
}
