package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// AddWaiver is the text of a file of waivers with one more at its end, written on a day.
// What is there stays as it is, comments too: where the list is written in a way that lines
// can't be added to, the file is laid out anew. An error tells what is wrong with the
// waiver, or that the file can't be read.
func AddWaiver(file string, text []byte, e *WaiverEntry, created time.Time) ([]byte, error) {
	before, err := editable(file, text)
	if err != nil {
		return nil, err
	}
	item := waiverNode(e, created)
	alone, err := encodeYAML(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{textNode("waivers"), {Kind: yaml.SequenceNode, Content: []*yaml.Node{item}}}})
	if err != nil {
		return nil, err
	}
	parsed, err := ParseWaivers("waiver", alone)
	if err != nil {
		return nil, err
	}
	want := append(before.Entries(), parsed.Entries()...)
	if added := appendWaiver(text, alone); holds(file, added, want) {
		return added, nil
	}
	added, err := relaid(text, func(list *yaml.Node) { list.Content = append(list.Content, item) })
	if err == nil && !holds(file, added, want) {
		err = fmt.Errorf("%s: a waiver can't be added to how it is written: edit it as a text", file)
	}
	return added, err
}

// RemoveWaiver is the text of a file of waivers without one of them, counted from 0, and
// without the comment right above it.
func RemoveWaiver(file string, text []byte, index int) ([]byte, error) {
	before, err := editable(file, text)
	if err != nil {
		return nil, err
	}
	want := before.Entries()
	if index < 0 || index >= len(want) {
		return nil, fmt.Errorf("%s: has no such waiver", file)
	}
	want = slices.Delete(want, index, index+1)
	if removed := cutWaiver(text, before.Entries(), index); len(want) > 0 && holds(file, removed, want) {
		return removed, nil
	}
	removed, err := relaid(text, func(list *yaml.Node) { list.Content = slices.Delete(list.Content, index, index+1) })
	if err == nil && !holds(file, removed, want) {
		err = fmt.Errorf("%s: a waiver can't be taken out of how it is written: edit it as a text", file)
	}
	return removed, err
}

// editable reads a file that is to be changed. Only the first document of YAML counts: of a
// file with more the others would be lost.
func editable(file string, text []byte) (*Waivers, error) {
	w, err := ParseWaivers(file, text)
	if err != nil {
		return nil, err
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var n yaml.Node
	if d.Decode(&n) == nil && d.Decode(&n) != io.EOF {
		return nil, fmt.Errorf("%s: has more than one document of YAML: edit it as a text", file)
	}
	return w, nil
}

// holds tells whether a text has these waivers, and no others.
func holds(file string, text []byte, want []WaiverEntry) bool {
	w, err := ParseWaivers(file, text)
	return err == nil && slices.EqualFunc(w.Entries(), want, func(a, b WaiverEntry) bool {
		a.Line, b.Line = 0, 0
		return reflect.DeepEqual(a, b)
	})
}

// appendWaiver puts the lines of a waiver behind a text, as deep as its list is.
func appendWaiver(text, alone []byte) []byte {
	out := bytes.Clone(text)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	list := waiverList(text)
	if list == nil {
		return append(out, alone...)
	}
	_, item, _ := bytes.Cut(alone, []byte("\n"))
	const written = 2 // how deep encodeYAML puts it
	for line := range bytes.Lines(item) {
		out = append(out, strings.Repeat(" ", max(0, list.Column-1))...)
		out = append(out, line[min(written, len(line)):]...)
	}
	return out
}

// cutWaiver leaves out the lines of a waiver: from the comment right above it to the next
// one's.
func cutWaiver(text []byte, entries []WaiverEntry, index int) []byte {
	lines := slices.Collect(bytes.Lines(text))
	list := waiverList(text)
	if list == nil {
		return nil
	}
	comment := func(i int) bool { // one that is deeper than the list is of a waiver, or no comment
		line := bytes.TrimLeft(lines[i], " ")
		return bytes.HasPrefix(line, []byte("#")) && len(lines[i])-len(line) < list.Column
	}
	blank := func(i int) bool { return len(bytes.TrimSpace(lines[i])) == 0 }
	from, to := entries[index].Line-1, len(lines)
	if index+1 < len(entries) {
		to = entries[index+1].Line - 1
	}
	for to > from+1 && to <= len(lines) && (comment(to-1) || blank(to-1)) {
		to--
	}
	for from > 0 && comment(from-1) {
		from--
	}
	if from >= to || to > len(lines) {
		return nil
	}
	return bytes.Join(slices.Delete(lines, from, to), nil)
}

// waiverList is the list of a file's waivers; nil where there is none.
func waiverList(text []byte) *yaml.Node {
	var n yaml.Node
	if yaml.Unmarshal(text, &n) != nil || len(n.Content) == 0 {
		return nil
	}
	root := n.Content[0]
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "waivers" {
			return root.Content[i+1]
		}
	}
	return nil
}

// relaid is a text after a change of its list, laid out anew.
func relaid(text []byte, change func(list *yaml.Node)) ([]byte, error) {
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil {
		return nil, err
	}
	if len(n.Content) == 0 || len(n.Content[0].Content) < 2 {
		return nil, errors.New("there is no list of waivers")
	}
	list := n.Content[0].Content[1]
	if len(list.Content) == 0 {
		list.Style &^= yaml.FlowStyle
	}
	change(list)
	return encodeYAML(&n)
}

func encodeYAML(n *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(n), e.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// waiverNode is a waiver in YAML, its keys in the order in which they are documented.
func waiverNode(e *WaiverEntry, created time.Time) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	add := func(key string, value *yaml.Node) {
		if value != nil {
			n.Content = append(n.Content, textNode(key), value)
		}
	}
	one := func(text string) *yaml.Node { return listNode([]string{text}) }
	add("vulnerability", listNode(e.Vulnerabilities))
	add("package", listNode(e.Packages))
	add("version", one(e.Version))
	add("license", listNode(e.Licenses))
	scope := &yaml.Node{Kind: yaml.MappingNode}
	for _, of := range []struct {
		key   string
		globs []string
	}{{"images", e.Images}, {"paths", e.Paths}} {
		if value := listNode(of.globs); value != nil {
			scope.Content = append(scope.Content, textNode(of.key), value)
		}
	}
	if len(scope.Content) > 0 {
		add("scope", scope)
	}
	add("owner", one(e.Owner))
	add("reason", one(strings.Join(strings.Fields(e.Reason), " ")))
	add("created", dayNode(created.UTC().Format(time.DateOnly)))
	if day := e.LastDay(); day != "" {
		add("until", dayNode(day))
	}
	return n
}

func textNode(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

func dayNode(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!timestamp", Value: s}
}

// listNode is a text, or a list where there are several; nil for none.
func listNode(texts []string) *yaml.Node {
	texts = slices.DeleteFunc(slices.Clone(texts), func(s string) bool { return s == "" })
	switch len(texts) {
	case 0:
		return nil
	case 1:
		return textNode(texts[0])
	}
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, t := range texts {
		n.Content = append(n.Content, textNode(t))
	}
	return n
}
