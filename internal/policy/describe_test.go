package policy

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the fields into docs/policy.md")

// TestFieldsAreDocumented: docs/policy.md has the fields that there are, and each
// of them is described.
func TestFieldsAreDocumented(t *testing.T) {
	const path, begin, end = "../../docs/policy.md", "<!-- fields -->\n", "<!-- /fields -->\n"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	got, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s: no place for the fields", path)
	}
	want := "\n" + FieldsMarkdown()
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got; go test -update writes it):\n%s", path, diff)
	}
	for _, f := range Fields() {
		if f.Doc == "" || f.Type == "" {
			t.Errorf("%s is not described", f.Name)
		}
	}
}

// TestPolicyExamples: the expressions that docs/policy.md shows are right.
func TestPolicyExamples(t *testing.T) {
	text, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, examples, _ := strings.Cut(string(text), "### Examples")
	examples, _, _ = strings.Cut(examples, "## Fields")
	n := 0
	for line := range strings.Lines(examples) {
		if when, ok := strings.CutPrefix(strings.TrimSpace(line), "when: "); ok {
			n++
			load(t, "rules:\n- action: warn\n  when: "+when+"\n")
		}
	}
	if n < 10 {
		t.Errorf("%d examples", n)
	}
}

// TestSummary tells of a policy, of several, and of what is no YAML.
func TestSummary(t *testing.T) {
	for text, want := range map[string]struct {
		description string
		rules       int
	}{
		"description: >\n  a\n  b\nrules: [{name: x}, {name: y}]\n":                                  {"a b", 2},
		"policies: [{name: a, rules: [{name: x}]}, {name: b, description: d, rules: [{name: x}]}]\n": {"d", 2},
		"rules: [": {"", 0},
	} {
		if description, rules := Summary([]byte(text)); description != want.description || rules != want.rules {
			t.Errorf("%q: %q, %d", text, description, rules)
		}
	}
}
