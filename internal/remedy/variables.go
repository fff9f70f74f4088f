package remedy

import (
	"regexp"
	"strings"
)

// A variable is an ARG or ENV with its value's place in the file; end is 0 where
// it can't be changed in place.
type variable struct {
	value      string
	start, end int
}

// maxVariables is how many are known at a time.
const maxVariables = 1000

// define adds what an ARG or ENV defines. An ARG without a value takes that of
// the global ARG of its name.
func define(to map[string]variable, i *Instruction, globals map[string]variable) {
	if i.Verb != "ARG" && i.Verb != "ENV" || len(to) > maxVariables {
		return
	}
	list := commands("x " + i.text[i.args:]) // a command first, or they were its assignments
	if len(list) == 0 {
		return
	}
	words := list[0].words[1:]
	for n := range words {
		words[n].start, words[n].end = words[n].start-2+i.args, words[n].end-2+i.args
	}
	if i.Verb == "ENV" && len(words) == 2 && !strings.Contains(words[0].text, "=") {
		to[words[0].text] = i.variable(words[1].text, words[1].start, words[1].end)
		return
	}
	for _, w := range words {
		name, value, ok := strings.Cut(w.text, "=")
		if ok {
			to[name] = i.variable(value, w.start+len(name)+1, w.end)
		} else if g, known := globals[name]; known && i.Verb == "ARG" {
			to[name] = g
		}
	}
}

// variable has the value that stands at a place of the instruction.
func (i *Instruction) variable(value string, start, end int) variable {
	v := variable{value: value}
	if start < end && end <= len(i.text) {
		raw := i.text[start:end]
		if len(raw) >= 2 && (raw[0] == '"' || raw[0] == '\'') && raw[len(raw)-1] == raw[0] {
			start, end = start+1, end-1
		}
		if start < end && i.text[start:end] == value && !strings.Contains(value, "$") {
			v.start, v.end = i.at[start], i.at[end-1]+1
		}
	}
	return v
}

// globalVariables are the ARGs before the first FROM.
func (d *Dockerfile) globalVariables() map[string]variable {
	to := map[string]variable{}
	for n := range d.globals {
		define(to, &d.globals[n], nil)
	}
	return to
}

// variables are those that are known before instruction n of a stage.
func (d *Dockerfile) variables(stage, n int) map[string]variable {
	globals, to := d.globalVariables(), map[string]variable{}
	for _, s := range d.chain(stage) {
		list := d.Stages[s].Instructions
		if s == stage {
			list = list[:n]
		}
		for k := range list {
			define(to, &list[k], globals)
		}
	}
	return to
}

// reference is an expansion of a variable, with a default value or without.
var reference = regexp.MustCompile(`\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?::?-([^}$]*))?\})`)

// expand puts values in the place of variables, and leaves those not known.
func expand(s string, vars map[string]variable) string {
	return reference.ReplaceAllStringFunc(s, func(ref string) string {
		m := reference.FindStringSubmatch(ref)
		if v, ok := vars[m[1]+m[2]]; ok && v.value != "" {
			return v.value
		}
		if m[3] != "" {
			return m[3]
		}
		return ref
	})
}

// only gives the one variable of a text, with what stands before and after it;
// ok is false when there is none, or several.
func only(s string) (before, name, after string, ok bool) {
	all := reference.FindAllStringSubmatchIndex(s, 2)
	if len(all) != 1 {
		return "", "", "", false
	}
	m := all[0]
	start, end := m[2], m[3]
	if start < 0 {
		start, end = m[4], m[5]
	}
	return s[:m[0]], s[start:end], s[m[1]:], true
}

// setTo changes a text with one variable, so that it expands to want, by the
// variable's value; ok is false when that can't be.
func setTo(s, want string, vars map[string]variable) (edit, bool) {
	before, name, after, ok := only(s)
	v, known := vars[name]
	if !ok || !known || v.end == 0 || len(want) <= len(before)+len(after) || !strings.HasPrefix(want, before) || !strings.HasSuffix(want, after) {
		return edit{}, false
	}
	value := want[len(before) : len(want)-len(after)]
	if strings.ContainsAny(value, " \t\n\"'\\$") {
		return edit{}, false
	}
	return edit{v.start, v.end, value}, true
}
