package remedy

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Bounds on Dockerfiles.
const (
	maxDockerfile   = 1 << 20
	maxInstructions = 10_000
	maxHeredocs     = 100 // of one instruction
)

// A Dockerfile is one that was parsed (docs.docker.com, Dockerfile reference).
// Whatever is not known is kept as an instruction that means nothing here.
type Dockerfile struct {
	// Path as diffs name it, with slashes.
	Path string
	// Stages in order, each beginning with its FROM.
	Stages []Stage

	text string
	// globals are the ARGs before the first FROM.
	globals []Instruction
}

// A Stage is one of a multi-stage build.
type Stage struct {
	// Name is that after AS, in lower case; empty for none.
	Name         string
	Instructions []Instruction
}

// An Instruction is one of a Dockerfile.
type Instruction struct {
	// Verb in upper case: RUN.
	Verb string
	// Line and EndLine are the first and last line of it, from 1.
	Line, EndLine int

	// start and end are its place in the file, without the end of its last line.
	start, end int
	// text is the instruction on one line, without continuations and comments and
	// with the verb; at gives for each of its bytes, and for its end, the offset in
	// the file.
	text string
	at   []int
	// args is where the arguments begin in text, after flags such as --mount.
	args     int
	flags    []string
	heredocs []heredoc
	// escape is the character that continues lines in its file.
	escape byte
}

// A heredoc is one of an instruction: its body's place in the file.
type heredoc struct {
	name       string
	start, end int
}

// String is the instruction on one line.
func (i *Instruction) String() string { return strings.Join(strings.Fields(i.text), " ") }

var (
	escapeDirective = regexp.MustCompile("(?i)^#[ \t]*escape[ \t]*=[ \t]*([\\\\`])[ \t]*$")
	anyDirective    = regexp.MustCompile(`^#[ \t]*[A-Za-z][A-Za-z0-9]*[ \t]*=`)
	heredocWord     = regexp.MustCompile(`(?:^|[ \t])\d*<<(-?)(["']?)([A-Za-z_][A-Za-z0-9_.-]*)(["']?)(?:[ \t]|$)`)
)

// ParseDockerfile reads a Dockerfile. Its error tells the line.
func ParseDockerfile(path string, text []byte) (*Dockerfile, error) {
	if len(text) > maxDockerfile {
		return nil, fmt.Errorf("dockerfile %s: larger than %d KiB", path, maxDockerfile>>10)
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return nil, fmt.Errorf("dockerfile %s: is not a text", path)
	}
	d := &Dockerfile{Path: path, text: string(text)}
	p := &dockerfileParser{text: d.text, escape: '\\'}
	p.directives()
	for {
		i, ok, err := p.instruction()
		if err != nil {
			return nil, fmt.Errorf("dockerfile %s, line %d: %w", path, p.line, err)
		}
		if !ok {
			break
		}
		if err := d.add(i); err != nil {
			return nil, fmt.Errorf("dockerfile %s, line %d: %w", path, i.Line, err)
		}
	}
	if len(d.Stages) == 0 {
		return nil, fmt.Errorf("dockerfile %s: has no FROM", path)
	}
	return d, nil
}

func (d *Dockerfile) add(i Instruction) error {
	switch {
	case i.Verb == "FROM":
		s := Stage{Instructions: []Instruction{i}}
		if f := strings.Fields(i.text[i.args:]); len(f) >= 3 && strings.EqualFold(f[1], "as") {
			s.Name = strings.ToLower(f[2])
		} else if len(f) == 0 {
			return errors.New("FROM names no image")
		}
		d.Stages = append(d.Stages, s)
	case len(d.Stages) > 0:
		last := &d.Stages[len(d.Stages)-1]
		last.Instructions = append(last.Instructions, i)
	case i.Verb == "ARG":
		d.globals = append(d.globals, i)
	default:
		return fmt.Errorf("%s before the first FROM", i.Verb)
	}
	return nil
}

// Stage is the index of the one that a name, or number, asks for; the last one
// for the empty name.
func (d *Dockerfile) stage(target string) (int, error) {
	if target == "" {
		return len(d.Stages) - 1, nil
	}
	var names []string
	for i := range d.Stages {
		if d.Stages[i].Name != "" {
			names = append(names, d.Stages[i].Name)
		}
	}
	if i := d.stageNamed(target, len(d.Stages)); i >= 0 {
		return i, nil
	}
	if i, err := strconv.Atoi(target); err == nil && i >= 0 && i < len(d.Stages) {
		return i, nil
	}
	return 0, fmt.Errorf("dockerfile %s has no stage %q, there are: %s", d.Path, target, strings.Join(names, ", "))
}

// stageNamed is the index of the stage of the name before another one, -1 for
// none. Of several the last counts, as it does for builders.
func (d *Dockerfile) stageNamed(name string, before int) int {
	for i := before - 1; i >= 0; i-- {
		if d.Stages[i].Name != "" && d.Stages[i].Name == strings.ToLower(name) {
			return i
		}
	}
	return -1
}

// chain are the stages that a stage is made of by FROM, the lowest first.
func (d *Dockerfile) chain(stage int) []int {
	chain := []int{stage}
	globals := d.globalVariables()
	for {
		below := d.stageNamed(expand(d.Stages[stage].from(), globals), stage)
		if below < 0 {
			slices.Reverse(chain)
			return chain
		}
		chain, stage = append(chain, below), below
	}
}

// from is what the stage's FROM names, as it is written.
func (s *Stage) from() string {
	i := &s.Instructions[0]
	return strings.Fields(i.text[i.args:])[0]
}

// A dockerfileParser goes through the lines of a Dockerfile.
type dockerfileParser struct {
	text   string
	at     int // offset of the next line
	line   int // number of the last line read
	escape byte
	count  int
}

// next gives the next line without its end, and where it begins.
func (p *dockerfileParser) next() (line string, start int, ok bool) {
	if p.at >= len(p.text) {
		return "", 0, false
	}
	start = p.at
	rest := p.text[start:]
	if i := strings.IndexByte(rest, '\n'); i >= 0 {
		line, p.at = rest[:i], start+i+1
	} else {
		line, p.at = rest, len(p.text)
	}
	p.line++
	return strings.TrimSuffix(line, "\r"), start, true
}

// directives reads the parser directives at the top.
func (p *dockerfileParser) directives() {
	for p.at < len(p.text) {
		before, number := p.at, p.line
		line, _, _ := p.next()
		if p.line == 1 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		if m := escapeDirective.FindStringSubmatch(line); m != nil {
			p.escape = m[1][0]
		} else if !anyDirective.MatchString(line) {
			p.at, p.line = before, number
			return
		}
	}
}

// instruction reads the next one; ok is false at the end.
func (p *dockerfileParser) instruction() (i Instruction, ok bool, err error) {
	for {
		line, start, more := p.next()
		if !more {
			return i, false, nil
		}
		body := strings.TrimLeft(line, " \t\ufeff")
		if body == "" || body[0] == '#' {
			continue
		}
		if p.count++; p.count > maxInstructions {
			return i, false, fmt.Errorf("more than %d instructions", maxInstructions)
		}
		i.Line, i.escape = p.line, p.escape
		p.join(&i, body, start+len(line)-len(body))
		break
	}
	i.split()
	if err := p.readHeredocs(&i); err != nil {
		return i, false, err
	}
	i.EndLine, i.start = p.line, i.at[0]
	i.end = i.start + len(strings.TrimRight(p.text[i.start:p.at], "\r\n"))
	return i, true, nil
}

// join adds a line and those that continue it.
func (p *dockerfileParser) join(i *Instruction, line string, start int) {
	var text strings.Builder
	defer func() { i.text = text.String() }()
	for {
		content, continued := p.cutEscape(line)
		for n := range len(content) {
			i.at = append(i.at, start+n)
		}
		text.WriteString(content)
		if !continued {
			i.at = append(i.at, start+len(content))
			return
		}
		var more bool
		for {
			if line, start, more = p.next(); !more {
				i.at = append(i.at, len(p.text))
				return
			}
			if t := strings.TrimLeft(line, " \t"); t != "" && t[0] != '#' {
				break // comments and empty lines within are skipped
			}
		}
	}
}

// cutEscape takes the continuation off the end of a line.
func (p *dockerfileParser) cutEscape(line string) (content string, continued bool) {
	t := strings.TrimRight(line, " \t")
	n := len(t)
	if n == 0 || t[n-1] != p.escape || n > 1 && t[n-2] == p.escape {
		return t, false
	}
	return t[:n-1], true
}

// split finds verb and flags.
func (i *Instruction) split() {
	end := strings.IndexAny(i.text, " \t")
	if end < 0 {
		end = len(i.text)
	}
	i.Verb = strings.ToUpper(i.text[:end])
	i.args = end
	for {
		rest := i.text[i.args:]
		start := len(rest) - len(strings.TrimLeft(rest, " \t"))
		word := rest[start:]
		if !strings.HasPrefix(word, "--") {
			i.args += start
			return
		}
		if n := strings.IndexAny(word, " \t"); n >= 0 {
			word = word[:n]
		}
		i.flags = append(i.flags, word)
		i.args += start + len(word)
	}
}

// flag is the value of --name=value; empty without one.
func (i *Instruction) flag(name string) string {
	for _, f := range i.flags {
		if v, ok := strings.CutPrefix(f, "--"+name+"="); ok {
			return v
		}
	}
	return ""
}

// readHeredocs reads the bodies of the heredocs that the instruction opens.
func (p *dockerfileParser) readHeredocs(i *Instruction) error {
	switch i.Verb {
	case "RUN", "COPY", "ADD", "ONBUILD": // the last may be of any of the others
	default:
		return nil
	}
	rest := i.text[i.args:]
	for len(i.heredocs) < maxHeredocs {
		m := heredocWord.FindStringSubmatchIndex(rest)
		if m == nil {
			break
		}
		name, tabs := rest[m[6]:m[7]], m[3] > m[2]
		h := heredoc{name: name, start: p.at}
		for {
			line, start, more := p.next()
			if !more {
				return fmt.Errorf("the heredoc %s has no end", name)
			}
			if line == name || tabs && strings.TrimLeft(line, "\t") == name {
				h.end = start
				break
			}
		}
		i.heredocs = append(i.heredocs, h)
		rest = rest[m[7]+m[9]-m[8]:]
	}
	return nil
}
