package remedy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"strata/internal/image"
)

// propose changes the layer's instruction; where that copies from a stage of the
// Dockerfile, the instructions of the stage.
func (p *planner) propose(s *site, changes []*Change) proposal {
	stage := p.stageOf(s)
	if stage < 0 {
		return s.propose(changes)
	}
	var made proposal
	rest := changes
	for _, n := range p.Dockerfile.chain(stage) {
		list := p.Dockerfile.Stages[n].Instructions
		for i := range list {
			if list[i].Verb != "RUN" || len(rest) == 0 {
				continue
			}
			at := site{file: s.file, Instruction: &list[i], vars: p.Dockerfile.variables(n, i), managers: p.managers}
			found := at.proposeCalls(rest)
			made.edits, made.notes = append(made.edits, found.edits...), append(made.notes, found.notes...)
			rest = slices.DeleteFunc(slices.Clone(rest), func(ch *Change) bool { return ch.Named || ch.File != "" })
		}
	}
	own := s.propose(rest)
	return proposal{edits: sortEdits(append(made.edits, own.edits...)), notes: append(made.notes, own.notes...)}
}

// stageOf is the stage that the instruction copies from, -1 for none.
func (p *planner) stageOf(s *site) int {
	from := s.flag("from")
	if p.Dockerfile == nil || s.Line == 0 || from == "" {
		return -1
	}
	stage, err := p.Dockerfile.stage(from)
	if err != nil {
		return -1 // another image
	}
	return stage
}

var goTag = regexp.MustCompile(`^(\d+\.\d+)(\.\d+)?(-.*)?$`)

// editToolchain asks for the Go version in the stages that are built with Go.
func (p *planner) editToolchain(d *draft, version string) {
	if p.Dockerfile == nil || !writableVersion.MatchString(version) {
		return
	}
	globals := p.Dockerfile.globalVariables()
	for i := range p.Dockerfile.Stages {
		from := &p.Dockerfile.Stages[i].Instructions[0]
		written := p.Dockerfile.Stages[i].from()
		name, tag, digest := image.SplitReference(expand(written, globals))
		m := goTag.FindStringSubmatch(tag)
		if m == nil || digest != "" || name[strings.LastIndexByte(name, '/')+1:] != "golang" {
			continue
		}
		numbers := strings.SplitN(version, ".", 3)
		want := version
		if m[2] == "" && len(numbers) == 3 { // a tag without the third number stays one
			want = numbers[0] + "." + numbers[1]
		}
		if want == m[1]+m[2] {
			d.Notes = append(d.Notes, fmt.Sprintf("line %d names %s, which moves on: build with --pull", from.Line, name+":"+tag))
			continue
		}
		d.edits = append(d.edits, from.setReference(written, name+":"+want+m[3], globals))
	}
	for _, e := range d.edits {
		d.Notes = append(d.Notes, lineNote(p.Dockerfile.text, e))
	}
}

// setReference changes what a FROM names, by its variable or as it is written.
func (i *Instruction) setReference(written, want string, globals map[string]variable) edit {
	if e, ok := setTo(written, want, globals); ok {
		return e
	}
	start := i.args + strings.Index(i.text[i.args:], written)
	return edit{i.at[start], i.at[start+len(written)-1] + 1, want}
}
