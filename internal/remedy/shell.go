package remedy

import (
	"path"
	"regexp"
	"strings"
)

// A word is one of a shell command.
type word struct {
	// start and end are its place in the script.
	start, end int
	// text is the word without its quotes. Expansions stay as they are written.
	text string
	// plain tells that it is written without quotes, escapes and expansions.
	plain bool
}

// A command is a simple command of a script (POSIX.1-2017, Shell Command
// Language, 2.9.1), without assignments and redirections.
type command struct {
	words []word
	// end is where another command can be joined to it.
	end int
}

// maxCommands is how many commands of a script are looked at.
const maxCommands = 10_000

// commands takes a shell script apart, as far as package managers are called in
// it: words, quotes, operators and comments. What is in $( ) or in an argument of
// another shell stays a word.
func commands(script string) []command {
	l := &shellLexer{script: script}
	for l.at < len(script) && len(l.out) < maxCommands {
		l.step()
	}
	l.finish()
	return l.out
}

type shellLexer struct {
	script string
	at     int
	out    []command
	now    command
	// skip tells that the next word is the target of a redirection.
	skip bool
}

func (l *shellLexer) step() {
	switch c := l.script[l.at]; c {
	case ' ', '\t', '\r':
		l.at++
	case '\n', ';', '&', '|', '(', ')':
		l.finish()
		l.at++
	case '<', '>':
		for l.at < len(l.script) && strings.IndexByte("<>&|-", l.script[l.at]) >= 0 {
			l.at++
		}
		l.skip = true
	case '#':
		if n := strings.IndexByte(l.script[l.at:], '\n'); n >= 0 {
			l.at += n
		} else {
			l.at = len(l.script)
		}
	default:
		l.word()
	}
}

// finish ends the command.
func (l *shellLexer) finish() {
	if len(l.now.words) > 0 {
		l.out = append(l.out, l.now)
	}
	l.now, l.skip = command{}, false
}

// word reads one.
func (l *shellLexer) word() {
	w := word{start: l.at, plain: true}
	var text strings.Builder
	for l.at < len(l.script) && !strings.ContainsRune(" \t\r\n;&|()<>", rune(l.script[l.at])) {
		c := l.script[l.at]
		if strings.IndexByte("'\"\\$`", c) >= 0 {
			w.plain = false
		}
		text.WriteString(l.part(c))
	}
	w.end, w.text = l.at, text.String()
	redirected := l.at < len(l.script) && (l.script[l.at] == '<' || l.script[l.at] == '>') && strings.Trim(w.text, "0123456789") == ""
	switch {
	case l.skip:
		l.skip, l.now.end = false, w.end
	case redirected: // 2>
	case len(l.now.words) == 0 && (isKeyword(w.text) || assignment.MatchString(w.text)):
	default:
		l.now.words = append(l.now.words, w)
		l.now.end = w.end
	}
}

var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

// isKeyword tells words before a command that are none of its own.
func isKeyword(s string) bool {
	switch s {
	case "if", "then", "else", "elif", "while", "until", "do", "!", "{", "time", "exec", "command", "sudo", "env":
		return true
	}
	return false
}

// part reads a part of a word that begins with c.
func (l *shellLexer) part(c byte) string {
	rest := l.script[l.at:]
	switch c {
	case '\'':
		return l.take(rest, 1, strings.IndexByte(rest[1:], '\''), 1)
	case '"':
		n := 1
		for n < len(rest) && rest[n] != '"' {
			if rest[n] == '\\' {
				n++
			}
			n++
		}
		return l.take(rest, 1, n-1, 1)
	case '`':
		return l.take(rest, 0, strings.IndexByte(rest[1:], '`')+1, 1)
	case '\\':
		return l.take(rest, 1, 1, 0)
	case '$':
		if len(rest) > 1 && (rest[1] == '(' || rest[1] == '{') {
			return l.take(rest, 0, closing(rest[1:])+1, 0)
		}
	}
	l.at++
	return rest[:1]
}

// take goes over n bytes after before bytes, and after more, and gives the n; a
// negative n is for what has no end: all that is left.
func (l *shellLexer) take(rest string, before, n, after int) string {
	if n < 0 || before+n+after > len(rest) {
		l.at = len(l.script)
		return rest[min(before, len(rest)):]
	}
	l.at += before + n + after
	return rest[before : before+n]
}

// closing is where the bracket with which s begins is closed, plus one; the
// length of s when it is not.
func closing(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '(', '{':
			depth++
		case ')', '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// name is the program that the command runs.
func (c *command) name() string { return path.Base(c.words[0].text) }
