package remedy

import (
	"encoding/json"
	"strings"
)

// A script is shell text of an instruction, with a way back to the file.
type script struct {
	text     string
	commands []command
	// offset gives the place in the file of a byte of the text.
	offset func(int) int
	// exec tells that it is the JSON form, which no shell reads.
	exec bool
}

// span is the part of the file in which a part of the script stands.
func (s *script) span(start, end int) (int, int) {
	if start == end {
		return s.offset(start), s.offset(start)
	}
	return s.offset(start), s.offset(end-1) + 1
}

// after is where text can follow what ends at end.
func (s *script) after(end int) int { return s.offset(end-1) + 1 }

// scripts are what a RUN runs: its arguments, in the form for the shell or as
// JSON, or the heredocs that a shell reads.
func (i *Instruction) scripts(file string) []script {
	if i.Verb != "RUN" {
		return nil
	}
	args := i.text[i.args:]
	local := func(n int) int { return i.at[min(i.args+n, len(i.at)-1)] }
	if len(i.heredocs) > 0 {
		var out []script
		if !shellReads(args) {
			return nil
		}
		for _, h := range i.heredocs {
			body := file[h.start:h.end]
			out = append(out, script{text: body, commands: commands(body), offset: func(n int) int { return h.start + n }})
		}
		return out
	}
	if c, ok := execForm(args); ok {
		return []script{{text: args, commands: []command{c}, offset: local, exec: true}}
	}
	return []script{{text: args, commands: commands(args), offset: local}}
}

// shellReads tells whether the heredoc is a script for a shell.
func shellReads(args string) bool {
	first, _, _ := strings.Cut(strings.TrimSpace(args), "<<")
	f := strings.Fields(first)
	if len(f) == 0 {
		return true
	}
	switch f[0][strings.LastIndexByte(f[0], '/')+1:] {
	case "sh", "bash", "ash", "dash":
		return true
	}
	return false
}

// execForm reads a JSON array of strings, whose words stand within their quotes.
func execForm(args string) (command, bool) {
	var list []string
	if !strings.HasPrefix(strings.TrimSpace(args), "[") || json.Unmarshal([]byte(args), &list) != nil || len(list) == 0 {
		return command{}, false
	}
	c := command{}
	at := strings.IndexByte(args, '[') + 1
	for _, text := range list {
		start := at + strings.IndexByte(args[at:], '"') + 1
		end := start
		for args[end] != '"' {
			if args[end] == '\\' {
				end++
			}
			end++
		}
		c.words = append(c.words, word{start: start, end: end, text: text, plain: args[start:end] == text})
		at = end + 1
	}
	c.end = at - 1
	return c, true
}
