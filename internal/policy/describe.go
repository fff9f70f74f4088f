package policy

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"go.yaml.in/yaml/v3"
)

// A Field is something that rules can read, for documentation.
type Field struct {
	// Of is the variable or type that it belongs to: "finding", "image.base".
	Of string
	// Name in full: "finding.severity".
	Name, Type, Doc string
}

// Summary is what a file of policies says of itself, and how many rules it has. Nothing of
// it is checked: it is for lists.
func Summary(text []byte) (description string, rules int) {
	type described struct {
		Description string
		Rules       []yaml.Node
	}
	var file struct {
		described `yaml:",inline"`
		Policies  []described
	}
	if yaml.Unmarshal(text, &file) != nil {
		return "", 0
	}
	description, rules = file.Description, len(file.Rules)
	for _, p := range file.Policies {
		description, rules = or(description, p.Description), rules+len(p.Rules)
	}
	return strings.TrimSpace(description), rules
}

// Fields are all that rules can read, in the order in which to document them.
func Fields() []Field {
	var fields []Field
	for _, set := range fieldSets() {
		of := pathOf(set)
		for i := range set.fields {
			f := &set.fields[i]
			fields = append(fields, Field{Of: of, Name: of + "." + f.name, Type: typeName(f.typ), Doc: f.doc + oneOfThese(f)})
		}
	}
	return append(fields, Field{Of: "now", Name: "now", Type: "timestamp", Doc: "The time of the scan."})
}

// pathOf is how a type is reached.
func pathOf(set *fieldSet) string {
	if set.variable != "" {
		return set.variable
	}
	return "image." + strings.ToLower(set.name)
}

func typeName(t *cel.Type) string {
	name := cel.FormatCELType(t)
	for _, set := range fieldSets() {
		name = strings.ReplaceAll(name, set.name, pathOf(set))
	}
	return strings.NewReplacer("google.protobuf.Timestamp", "timestamp", "google.protobuf.Duration", "duration").Replace(name)
}

func oneOfThese(f *field) string {
	var words []string
	for _, w := range f.values {
		if w != "" {
			words = append(words, w)
		}
	}
	if len(words) == 0 {
		return ""
	}
	return " One of " + strings.Join(words, ", ") + "."
}

// FieldsMarkdown is the reference of fields as docs/policy.md has it.
func FieldsMarkdown() string {
	var b strings.Builder
	fields := Fields()
	for _, set := range fieldSets() {
		of := pathOf(set)
		fmt.Fprintf(&b, "### %s\n\n%s\n\n| field | type | meaning |\n|---|---|---|\n", of, set.doc)
		for _, f := range fields {
			if f.Of == of {
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, f.Type, strings.ReplaceAll(f.Doc, "|", `\|`))
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}
