package license

import (
	"errors"
	"fmt"
	"iter"
	"strings"
)

// An Expression is an SPDX licence expression (SPDX 2.3, annex D): licences
// joined by AND and OR, each perhaps WITH an exception. The zero Expression says
// nothing.
type Expression struct {
	op   operator
	args []Expression // of an operator, two at least
	term Term         // without one
}

// A Term is one licence of an expression.
type Term struct {
	// License is an SPDX id, with a + where any later version may be chosen and
	// SPDX has no id of its own for that, or a LicenseRef- for what SPDX doesn't list.
	License string
	// Exception is an SPDX id; empty for none.
	Exception string
}

func (t Term) String() string {
	if t.Exception == "" {
		return t.License
	}
	return t.License + " WITH " + t.Exception
}

// Listed tells whether SPDX lists the licence.
func (t Term) Listed() bool { return !strings.Contains(t.License, refPrefix) }

type operator byte

const (
	single operator = iota
	and
	or
)

func (o operator) String() string {
	if o == and {
		return " AND "
	}
	return " OR "
}

// Bounds of an expression; declared licences are an attacker's to choose.
const (
	maxExpression = 16 << 10 // bytes
	maxDepth      = 50       // of parentheses
	maxTerms      = 500
)

// refPrefix begins the ids of licences that SPDX doesn't list; such an id may
// follow the name of a document: "DocumentRef-x:LicenseRef-y".
const refPrefix = "LicenseRef-"

// Zero tells whether the expression says nothing.
func (e Expression) Zero() bool { return e.op == single && e.term == Term{} }

// String gives the expression with no more parentheses than it needs: AND binds
// more closely than OR.
func (e Expression) String() string {
	if e.op == single {
		return e.term.String()
	}
	var b strings.Builder
	e.write(&b)
	return b.String()
}

func (e Expression) write(b *strings.Builder) {
	if e.op == single {
		b.WriteString(e.term.String())
		return
	}
	for i, a := range e.args {
		if i > 0 {
			b.WriteString(e.op.String())
		}
		if inner := e.op == and && a.op == or; inner {
			b.WriteByte('(')
			a.write(b)
			b.WriteByte(')')
		} else {
			a.write(b)
		}
	}
}

// Terms are the licences in the expression, in their order, each once.
func (e Expression) Terms() iter.Seq[Term] {
	return func(yield func(Term) bool) {
		seen := map[Term]bool{}
		e.each(func(t Term) bool {
			if seen[t] {
				return true
			}
			seen[t] = true
			return yield(t)
		})
	}
}

func (e Expression) each(yield func(Term) bool) bool {
	if e.op == single {
		return e.term == Term{} || yield(e.term)
	}
	for _, a := range e.args {
		if !a.each(yield) {
			return false
		}
	}
	return true
}

// replace gives the expression with each licence replaced by what by makes of it.
func (e Expression) replace(by func(Term) Expression) Expression {
	if e.op == single {
		if e.Zero() {
			return e
		}
		return by(e.term)
	}
	args := make([]Expression, len(e.args))
	for i, a := range e.args {
		args[i] = a.replace(by)
	}
	return join(e.op, args...)
}

// And is the expression by which all of the expressions hold; zero ones are left out.
func And(es ...Expression) Expression { return join(and, es...) }

// Or is the expression by which any of the expressions may be chosen; zero ones
// are left out.
func Or(es ...Expression) Expression { return join(or, es...) }

// join flattens and drops what is there already: A AND (B AND A) is A AND B.
func join(op operator, es ...Expression) Expression {
	if len(es) == 1 {
		return es[0]
	}
	var args []Expression
	seen := map[string]bool{}
	n := 0
	add := func(e Expression) {
		if key := e.String(); key != "" && !seen[key] && n < maxTerms {
			seen[key] = true
			args = append(args, e)
			n += e.size()
		}
	}
	for _, e := range es {
		if e.op == op {
			for _, a := range e.args {
				add(a)
			}
			continue
		}
		add(e)
	}
	switch len(args) {
	case 0:
		return Expression{}
	case 1:
		return args[0]
	}
	return Expression{op: op, args: args}
}

// size is how many licences it has.
func (e Expression) size() int {
	n := 0
	e.each(func(Term) bool { n++; return true })
	return n
}

// termOf is the expression of one licence.
func termOf(license string) Expression { return Expression{term: Term{License: license}} }

// ErrExpression is wrapped by what Parse returns.
var ErrExpression = errors.New("no SPDX licence expression")

// Parse reads an SPDX expression. The case of ids and operators does not matter
// and is put right; deprecated ids become what SPDX names in their place. An id
// that SPDX does not list is an error, unless it is a LicenseRef-.
func Parse(s string) (Expression, error) {
	if len(s) > maxExpression {
		return Expression{}, fmt.Errorf("%w: %d bytes long, the limit is %d", ErrExpression, len(s), maxExpression)
	}
	p := strictParser{words: strictWords(s)}
	e, err := p.or(0)
	if err == nil && len(p.words) > 0 {
		err = fmt.Errorf("unexpected %q", p.words[0])
	}
	if err != nil {
		return Expression{}, fmt.Errorf("%w: %q: %w", ErrExpression, cut(s), err)
	}
	return e, nil
}

// cut is s, short enough for a message.
func cut(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// strictWords splits at blanks and around parentheses.
func strictWords(s string) []string {
	words := make([]string, 0, 1+strings.Count(s, " "))
	start := -1
	end := func(i int) {
		if start >= 0 {
			words = append(words, s[start:i])
		}
		start = -1
	}
	for i := range len(s) {
		switch s[i] {
		case ' ', '\t', '\n', '\r', '\v', '\f':
			end(i)
		case '(', ')':
			end(i)
			words = append(words, s[i:i+1])
		default:
			if start < 0 {
				start = i
			}
		}
	}
	end(len(s))
	return words
}

type strictParser struct {
	words []string
	terms int
}

func (p *strictParser) next(word string) bool {
	if len(p.words) > 0 && strings.EqualFold(p.words[0], word) {
		p.words = p.words[1:]
		return true
	}
	return false
}

func (p *strictParser) or(depth int) (Expression, error) {
	return p.list(or, "or", depth, func() (Expression, error) {
		return p.list(and, "and", depth, func() (Expression, error) { return p.simple(depth) })
	})
}

func (p *strictParser) list(op operator, word string, _ int, each func() (Expression, error)) (Expression, error) {
	var args []Expression
	for {
		e, err := each()
		if err != nil {
			return e, err
		}
		args = append(args, e)
		if !p.next(word) {
			return join(op, args...), nil
		}
	}
}

func (p *strictParser) simple(depth int) (Expression, error) {
	if depth > maxDepth || p.terms > maxTerms {
		return Expression{}, errors.New("too large")
	}
	if p.next("(") {
		e, err := p.or(depth + 1)
		if err == nil && !p.next(")") {
			err = errors.New("a parenthesis is not closed")
		}
		return e, err
	}
	if len(p.words) == 0 {
		return Expression{}, errors.New("a licence is missing")
	}
	p.terms++
	word := p.words[0]
	e, ok := listed(word)
	if !ok {
		return Expression{}, fmt.Errorf("%q is no id of SPDX", cut(word))
	}
	p.words = p.words[1:]
	if !p.next("with") {
		return e, nil
	}
	if len(p.words) == 0 {
		return Expression{}, errors.New("an exception is missing")
	}
	exception, ok := spdx().exceptions[strings.ToLower(p.words[0])]
	if !ok || e.op != single || e.term.Exception != "" {
		return Expression{}, fmt.Errorf("%q is no exception of SPDX", cut(p.words[0]))
	}
	p.words = p.words[1:]
	e.term.Exception = exception
	return e, nil
}

// idChar tells the characters of an SPDX idstring.
func idChar(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.'
}

// reference tells whether s is a LicenseRef-, perhaps of another document.
func reference(s string) bool {
	if doc, id, ok := strings.Cut(s, ":"); ok {
		rest, ok := strings.CutPrefix(doc, "DocumentRef-")
		if !ok || rest == "" || strings.ContainsFunc(rest, func(r rune) bool { return !idChar(r) }) {
			return false
		}
		s = id
	}
	rest, ok := strings.CutPrefix(s, refPrefix)
	return ok && rest != "" && !strings.ContainsFunc(rest, func(r rune) bool { return !idChar(r) })
}
