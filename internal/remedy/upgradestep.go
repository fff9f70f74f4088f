package remedy

import (
	"fmt"
	"slices"
	"strings"
)

// upgradeStep plans a new instruction that upgrades packages of a distribution
// that no instruction of ours brought: they are the base's, or came as files.
func (p *planner) upgradeStep(changes []*Change) {
	changes = slices.DeleteFunc(changes, func(ch *Change) bool { return !ch.writable() || !plainName(ch.Name) })
	if len(changes) == 0 {
		return
	}
	run := p.upgradeCommand(changes)
	if run == "" {
		return
	}
	d := draft{Step: Step{Kind: StepUpgrade, Layer: -1, Proposed: run}}
	d.take(p, changes)
	d.Title = fmt.Sprintf("Upgrade %s of the layers below", p.names(changes))
	d.Notes = append(d.Notes, "the old versions still ship in the lower layer; a newer base is the better remedy, once there is one")
	p.insertRun(&d, run, p.after(changes))
	p.drafts = append(p.drafts, d)
}

// upgradeCommand upgrades the packages with the package manager that the image
// has; empty when it has none.
func (p *planner) upgradeCommand(changes []*Change) string {
	var names, least []string
	for _, ch := range changes {
		names = append(names, ch.Name)
		least = append(least, "'"+ch.Name+">="+ch.To+"'")
	}
	names, least = unique(names), unique(least)
	list := strings.Join(names, " ")
	has := func(names ...string) bool {
		for i := range p.Inventory.Packages {
			ip := &p.Inventory.Packages[i]
			if ip.Distribution() && ip.State != "removed" && slices.Contains(names, ip.Name) {
				return true
			}
		}
		return false
	}
	switch changes[0].Type {
	case "deb":
		if has("apt") {
			return "RUN apt-get update && apt-get install -y --only-upgrade " + list + " && rm -rf /var/lib/apt/lists/*"
		}
	case "apk":
		if has("apk-tools") {
			return "RUN apk add --no-cache --upgrade " + strings.Join(least, " ")
		}
	case "rpm":
		for _, program := range []string{"dnf", "microdnf", "tdnf", "yum"} {
			if has(program, program+"5") {
				verb := "upgrade"
				if program != "dnf" {
					verb = "update"
				}
				return "RUN " + program + " " + verb + " -y " + list + " && " + program + " clean all"
			}
		}
		if has("zypper") {
			return "RUN zypper --non-interactive update " + list + " && zypper clean --all"
		}
	}
	return ""
}

// plainName tells a name that a shell takes as it is.
func plainName(s string) bool {
	return s != "" && s[0] != '-' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-_") == ""
}

// after is the instruction behind which all the packages are there: the FROM for
// those of the base, else the one that brought the last of them. It is nil where
// that is not known, as behind FROM scratch.
func (p *planner) after(changes []*Change) *Instruction {
	if p.Dockerfile == nil {
		return nil
	}
	last := -1
	for _, ch := range changes {
		last = max(last, p.Inventory.Packages[ch.index].Layer)
	}
	from := &p.Dockerfile.Stages[p.Dockerfile.chain(p.stage)[0]]
	if last < p.base {
		return &from.Instructions[0]
	}
	if at, ok := p.places[last]; ok {
		return &p.Dockerfile.Stages[at.stage].Instructions[at.n]
	}
	if p.base == 0 && !strings.EqualFold(from.from(), "scratch") {
		return &from.Instructions[0] // a layer that no instruction made is of the FROM
	}
	return nil
}

// insertRun puts the instruction behind another.
func (p *planner) insertRun(d *draft, run string, from *Instruction) {
	if from == nil {
		return
	}
	file := p.Dockerfile
	d.File, d.Line = file.Path, from.EndLine+1
	text := run
	if user := p.baseUser(); user != "" {
		text = "USER root\n" + run + "\nUSER " + user
		d.Notes = append(d.Notes, "the base runs as "+user+", so the instruction is between two USERs")
	}
	ending := "\n"
	if strings.HasSuffix(file.text[:min(from.end+2, len(file.text))], "\r\n") {
		ending = "\r\n"
	}
	text = strings.ReplaceAll(text, "\n", ending)
	// After the end of the line, or, where the file ends, with one before.
	if at := from.end + len(ending); at <= len(file.text) && strings.HasSuffix(file.text[:at], "\n") {
		d.edits = append(d.edits, edit{at, at, text + ending})
	} else {
		d.edits = append(d.edits, edit{from.end, from.end, ending + text})
	}
}

// baseUser is the user of the base, where it is known, or told by its history, and
// is not root.
func (p *planner) baseUser() string {
	user := ""
	if b := p.Image.Base; b != nil {
		user = b.User
	}
	layers := 0
	for _, s := range p.Image.History {
		if !s.Empty {
			if layers++; layers > p.base {
				break
			}
			continue
		}
		text := strings.TrimSpace(strings.TrimPrefix(s.CreatedBy, "/bin/sh -c #(nop)"))
		if u, ok := strings.CutPrefix(text, "USER "); ok {
			user = strings.TrimSpace(u)
		}
	}
	name, group, _ := strings.Cut(user, ":")
	if name == "root" || name == "0" || !plainName(name) || group != "" && !plainName(group) {
		return ""
	}
	return user
}
