package remedy

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A proposal is how an instruction is to be changed for some packages.
type proposal struct {
	edits []edit // of the file
	notes []string
}

// A site is an instruction with what is known around it.
type site struct {
	file string
	*Instruction
	vars     map[string]variable
	managers []manager
}

// propose writes into the instruction what asks for the changes' versions. It
// marks those that it names, and the files that decide for the others.
func (c *site) propose(changes []*Change) proposal {
	p := c.proposeCalls(changes)
	changes = writables(changes)
	rest := slices.DeleteFunc(slices.Clone(changes), func(ch *Change) bool { return ch.Named || ch.added })
	rest = slices.DeleteFunc(slices.Clone(rest), func(ch *Change) bool { return ch.File != "" || c.literal(&p, ch) })
	for _, ch := range rest {
		ch.File = c.project(ch)
	}
	p.edits = sortEdits(p.edits)
	return p
}

// proposeCalls changes the calls of package managers, and nothing else.
func (c *site) proposeCalls(changes []*Change) proposal {
	var p proposal
	rest := writables(changes)
	scripts := c.scripts(c.file)
	for n := range scripts {
		rest = c.inScript(&p, &scripts[n], rest)
	}
	return p
}

// writables are the changes that may be written into a file that a shell reads.
func writables(changes []*Change) []*Change {
	return slices.DeleteFunc(slices.Clone(changes), func(ch *Change) bool { return !ch.writable() })
}

var (
	writableName    = regexp.MustCompile(`^[A-Za-z0-9@][A-Za-z0-9@/:._+-]*$`)
	writableVersion = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:._+~^!-]*$`)
)

// writable tells that name and version mean nothing else to a shell: the image
// chose the name.
func (ch *Change) writable() bool {
	return len(ch.Name) < 256 && len(ch.To) < 256 && writableName.MatchString(ch.Name) && writableVersion.MatchString(ch.To)
}

// goToolchain is the file of what comes with the Go compiler.
const goToolchain = "the Go toolchain"

// project is the file that decides the version of a language's package where the
// instruction only brings what was built of it; empty for others.
func (c *site) project(ch *Change) string {
	if ch.Type == "golang" && ch.Name == "stdlib" {
		return goToolchain
	}
	for i := range c.managers {
		if m := &c.managers[i]; m.locked != "" && slices.Contains(m.types, ch.Type) {
			return m.locked
		}
	}
	return ""
}

// inScript changes a script, and gives the changes that it has no place for.
func (c *site) inScript(p *proposal, s *script, changes []*Change) (rest []*Change) {
	all := calls(c.managers, s.commands)
	unnamed := map[string][]*Change{}
	for _, ch := range changes {
		of := slices.DeleteFunc(slices.Clone(all), func(k call) bool { return !slices.Contains(k.manager.types, ch.Type) })
		switch {
		case len(of) == 0:
			rest = append(rest, ch)
		case c.named(p, s, of, ch):
			ch.Named = true
		default:
			last := of[len(of)-1]
			if installs := slices.DeleteFunc(of, func(k call) bool { return !k.install || k.files }); len(installs) > 0 {
				last = installs[len(installs)-1]
			}
			unnamed[last.manager.kind] = append(unnamed[last.manager.kind], ch)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(unnamed)) {
		last := all[len(all)-1]
		for _, k := range all {
			if k.manager.kind == kind && (k.install && !k.files || last.manager.kind != kind) {
				last = k
			}
		}
		c.unnamed(p, s, &last, unnamed[kind])
	}
	return rest
}

// named changes the arguments that name the package.
func (c *site) named(p *proposal, s *script, of []call, ch *Change) bool {
	found := false
	for _, k := range of {
		for _, n := range k.named {
			if !k.manager.sameName(expand(n.name, c.vars), ch.Name) {
				continue
			}
			if !ch.exact() && k.manager.more != "" {
				continue // its own version number is not known: upgraded like one not named
			}
			found = true
			if k.version != nil {
				c.setWord(p, s, *k.version, ch.To)
				continue
			}
			c.setArgument(p, s, k.manager, n, ch)
		}
	}
	return found
}

// setArgument asks for the version in an argument, or in the variable that it has
// its version from.
func (c *site) setArgument(p *proposal, s *script, m *manager, n named, ch *Change) {
	want := m.want(n.name, n.operator, ch.To)
	if strings.Contains(n.version, "$") {
		version := ch.To
		if m.kind == "apt" || m.more != "" {
			version = strings.TrimPrefix(want, n.name)[1:]
		}
		if e, ok := setTo(n.version, version, c.vars); ok {
			p.edits = append(p.edits, e)
			return
		}
	}
	if m.kind == "pip" {
		want = keepBounds(want, n.operator+n.version, ch.To)
	}
	if s.exec {
		want = strings.Trim(want, "'")
	}
	start, end := s.span(n.word.start, n.word.end)
	p.edits = append(p.edits, edit{start, end, want})
}

func (c *site) setWord(p *proposal, s *script, w word, version string) {
	if e, ok := setTo(w.text, version, c.vars); ok {
		p.edits = append(p.edits, e)
		return
	}
	start, end := s.span(w.start, w.end)
	p.edits = append(p.edits, edit{start, end, version})
}

// unnamed deals with packages that came along with others.
func (c *site) unnamed(p *proposal, s *script, k *call, changes []*Change) {
	m := k.manager
	switch {
	case m.more != "" && k.install && !s.exec:
		var names []string
		for _, ch := range changes {
			names = append(names, ch.Name)
			ch.added = true
		}
		at := s.after(k.command.end)
		p.edits = append(p.edits, edit{at, at, " && " + withSudo(s, k) + m.more + " " + strings.Join(unique(names), " ")})
	case (m.kind == "apk" || m.kind == "pip" && !k.files) && k.install && len(k.named) > 0:
		at := s.after(k.named[len(k.named)-1].word.end)
		var more []string
		for _, ch := range changes {
			arg := m.want(ch.Name, "", ch.To)
			if s.exec {
				arg = `", "` + strings.Trim(arg, "'")
			} else {
				arg = " " + arg
			}
			more = append(more, arg)
			ch.added = true
		}
		p.edits = append(p.edits, edit{at, at, strings.Join(unique(more), "")})
	case m.locked == "":
		for _, ch := range changes {
			ch.added = true
		}
		p.notes = append(p.notes, "build it without the cache (docker build --no-cache): what is installed beside the named packages is then the newest")
	default:
		for _, ch := range changes {
			if ch.File = m.locked; c.project(ch) == goToolchain {
				ch.File = goToolchain
			}
		}
	}
}

// withSudo keeps the sudo before the call.
func withSudo(s *script, k *call) string {
	if before := strings.TrimRight(s.text[:k.command.words[0].start], " \t"); strings.HasSuffix(before, "sudo") {
		return "sudo "
	}
	return ""
}

func unique(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// literal changes the installed version where it stands in an address, or in a
// variable that the instruction uses.
func (c *site) literal(p *proposal, ch *Change) bool {
	from := strings.TrimPrefix(ch.From, "v")
	if len(from) < 3 || !strings.Contains(from, ".") || c.Verb != "RUN" && c.Verb != "ADD" && c.Verb != "COPY" {
		return false
	}
	found := false
	to := strings.TrimPrefix(ch.To, "v")
	args := c.text[c.args:]
	for _, m := range reference.FindAllStringSubmatch(args, -1) {
		v, ok := c.vars[m[1]+m[2]]
		if ok && v.end > 0 && strings.TrimPrefix(v.value, "v") == from {
			p.edits = append(p.edits, edit{v.start + len(v.value) - len(from), v.end, to})
			found = true
		}
	}
	for start := 0; start < len(args); {
		end := start + strings.IndexAny(args[start:]+" ", " \t\"'")
		for at := start; strings.Contains(args[start:end], "://"); {
			n := strings.Index(args[at:end], from)
			if n < 0 {
				break
			}
			at += n
			if isVersionAt(args, at, len(from)) {
				p.edits = append(p.edits, edit{c.at[c.args+at], c.at[c.args+at+len(from)-1] + 1, to})
				found = true
			}
			at += len(from)
		}
		start = end + 1
	}
	if found {
		ch.Named = true
		if low := strings.ToLower(args); strings.Contains(low, "sha256") || strings.Contains(low, "sha512") || strings.Contains(low, "checksum") {
			p.notes = append(p.notes, "the instruction verifies a checksum, which has to be that of the new version")
		}
	}
	return found
}

// isVersionAt tells that what stands there is not a part of a longer number.
func isVersionAt(s string, at, n int) bool {
	digit := func(i int) bool { return i >= 0 && i < len(s) && s[i] >= '0' && s[i] <= '9' }
	dotted := func(dot, next int) bool { return dot >= 0 && dot < len(s) && s[dot] == '.' && digit(next) }
	return !digit(at-1) && !digit(at+n) && !dotted(at-1, at-2) && !dotted(at+n, at+n+1)
}

// exact tells that To is a version of the package itself: packages of a
// distribution may have another number than the source package that advisories
// speak of.
func (ch *Change) exact() bool { return !ch.sourceVersion }
