package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// A program is a compiled expression.
type program struct {
	run cel.Program
	// reads are the variables that it reads, and the fields as "Finding.kind".
	reads map[string]bool
}

// An expressionError is what is wrong with an expression, and where in it.
type expressionError struct {
	// offset in characters from the beginning.
	offset  int
	message string
}

func (e *expressionError) Error() string { return e.message }

// compile checks an expression that is to give a value of the type (any, for
// DynType). The errors are *expressionError, joined.
func (l *language) compile(text string, want *cel.Type) (*program, error) {
	if strings.TrimSpace(text) == "" {
		return nil, &expressionError{message: "the expression is empty"}
	}
	if len(text) > maxExpression {
		return nil, &expressionError{message: fmt.Sprintf("the expression has more than %d characters", maxExpression)}
	}
	source := renamePackage(text)
	checked, issues := l.env.Compile(source)
	if issues.Err() != nil {
		return nil, l.explain(source, issues.Errors())
	}
	if got := checked.OutputType(); want != cel.DynType && !want.IsAssignableType(got) {
		return nil, &expressionError{message: fmt.Sprintf("gives a %s; want a %s", cel.FormatCELType(got), cel.FormatCELType(want))}
	}
	p := &program{reads: map[string]bool{}}
	if err := l.examine(checked, p.reads); err != nil {
		return nil, err
	}
	var err error
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if loops(checked) || p.reads["Image.findings"] || p.reads["Image.packages"] || p.reads["Image.layers"] {
		options = append(options, cel.CostLimit(maxCost))
	}
	p.run, err = l.env.Program(checked, options...)
	if err != nil {
		return nil, &expressionError{message: err.Error()}
	}
	return p, nil
}

// loops tells whether the expression goes over lists or maps. What does not, and
// reads none of the long lists, is bounded by its size and needs no meter, as
// there are no functions that make more of a text than it was (growing).
func loops(checked *cel.Ast) bool {
	root := ast.NavigateAST(checked.NativeRep())
	return len(ast.MatchDescendants(root, ast.KindMatcher(ast.ComprehensionKind))) > 0
}

// errCost is that of an expression that does too much.
var errCost = errors.New("the expression costs too much: it goes over long lists, or lists within lists, again and again")

// eval runs the program. The error is a sentence.
func (p *program) eval(s *scope) (ref.Val, error) {
	if s.spent > maxTotalCost || *s.ofImage > maxImageCost {
		return nil, errCost
	}
	before := s.spent
	defer func() { *s.ofImage += s.spent - before }()
	v, details, err := p.run.Eval(s)
	if details != nil && details.ActualCost() != nil {
		s.spent += *details.ActualCost()
	}
	switch {
	case err == nil:
		return v, nil
	case strings.Contains(err.Error(), "cost limit exceeded"):
		s.spent += maxCost
		return nil, errCost
	}
	return nil, errors.New(packageAgain(err.Error()))
}

// true runs a program that gives a boolean.
func (p *program) true(s *scope) (bool, error) {
	v, err := p.eval(s)
	return v == types.True, err
}

// standIn is what `package` is called while CEL sees it, which reserves the word.
// It has the same length, so that places in expressions stay.
const standIn = "pacKage"

// renamePackage writes standIn for the variable `package`, but not in strings,
// comments, and names of fields.
func renamePackage(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		n := 1
		switch c := text[i]; {
		case strings.HasPrefix(text[i:], "//"):
			n = len(text[i:])
			if end := strings.IndexByte(text[i:], '\n'); end >= 0 {
				n = end
			}
		case c == '"' || c == '\'':
			raw := i > 0 && (text[i-1]|0x20 == 'r') // r"…"; a name that ends in r can't stand there
			n = literalLength(text[i:], raw)
		case letter(c):
			for i+n < len(text) && (letter(text[i+n]) || text[i+n] >= '0' && text[i+n] <= '9') {
				n++
			}
			if text[i:i+n] == "package" && !strings.HasSuffix(strings.TrimRight(text[:i], " \t\n"), ".") {
				b.WriteString(standIn)
				i += n
				continue
			}
		}
		b.WriteString(text[i : i+n])
		i += n
	}
	return b.String()
}

func packageAgain(s string) string { return strings.ReplaceAll(s, standIn, "package") }

func letter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }

// literalLength is how far a string literal goes (CEL specification, lexis); all
// of s when it does not end.
func literalLength(s string, raw bool) int {
	quote := s[:1]
	if strings.HasPrefix(s, strings.Repeat(quote, 3)) {
		quote = s[:3]
	}
	for i := len(quote); i < len(s); i++ {
		switch {
		case s[i] == '\\' && !raw:
			i++
		case strings.HasPrefix(s[i:], quote):
			return i + len(quote)
		}
	}
	return len(s)
}

var (
	undefinedField = regexp.MustCompile(`^undefined field '(.*)'$`)
	undeclared     = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	noOverload     = regexp.MustCompile(`^found no matching overload for '(.*?)' applied to '\((.*)\)'$`)
	pathBefore     = regexp.MustCompile(`([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*$`)
)

// explain puts CEL's errors in words that help.
func (l *language) explain(source string, found []*cel.Error) error {
	var errs []error
	for _, f := range found[:min(len(found), 5)] {
		if f.ExprID == 0 && len(errs) > 0 {
			break // what follows a syntax error
		}
		e := &expressionError{offset: offsetOf(source, f.Location.Line(), f.Location.Column()), message: packageAgain(f.Message)}
		switch m := f.Message; {
		case undefinedField.MatchString(m):
			l.explainField(e, source, undefinedField.FindStringSubmatch(m)[1])
		case undeclared.MatchString(m):
			e.message = l.unknownName(packageAgain(undeclared.FindStringSubmatch(m)[1]))
		case noOverload.MatchString(m):
			of := noOverload.FindStringSubmatch(m)
			e.message = wrongTypes(of[1], packageAgain(of[2]))
		case m == "invalid duration argument":
			e.message = `no duration: want hours, minutes and seconds, such as "720h" or "1h30m"`
		case m == "invalid timestamp argument":
			e.message = `no time: want one such as "2026-12-31T00:00:00Z"`
		case m == "invalid matches argument":
			e.message = "no regular expression (RE2 syntax)"
		case strings.HasPrefix(m, "Syntax error: "):
			return syntaxError(e)
		}
		errs = append(errs, e)
		if slices.ContainsFunc(macros, func(name string) bool { return strings.HasSuffix(e.message, `"`+name+`"?`) }) {
			break // its variable is unknown for that reason alone
		}
	}
	return errors.Join(errs...)
}

// macros are the functions of CEL that take a variable and an expression.
var macros = []string{"all", "exists", "exists_one", "filter", "map", "has"}

// offending is what the parser stumbles on, as it says it.
var offending = regexp.MustCompile(`(?s)(?:at: |input )'(.*?)'`)

// syntaxError puts what the parser says in words, with what was probably meant.
func syntaxError(e *expressionError) error {
	m := offending.FindStringSubmatch(e.message)
	if m == nil {
		said := strings.ReplaceAll(strings.TrimPrefix(e.message, "Syntax error: "), "'<EOF>'", "the end")
		e.message = "syntax error: " + strings.Join(strings.Fields(said), " ")
		return e
	}
	word := strings.TrimSpace(strings.ReplaceAll(m[1], `\n`, " "))
	hint := map[string]string{
		"and": "; write && for and", "or": "; write || for or", "not": "; write ! for not", "&": "; write && for and",
		"|": "; write || for or", "=": "; write == to compare",
	}[strings.ToLower(word)]
	if word == "" || strings.Contains(word, "<EOF>") {
		word = "the end"
	}
	e.message = fmt.Sprintf("syntax error at %q%s", word, hint)
	return e
}

// explainField tells which type lacks the field, and moves the place from the
// dot to the field.
func (l *language) explainField(e *expressionError, source, name string) {
	runes := []rune(source)
	before := string(runes[:min(e.offset, len(runes))])
	if ahead := string(runes[len([]rune(before)):]); !strings.HasPrefix(strings.TrimLeft(ahead, " "), ".") {
		// has(finding.field) is placed at its parenthesis.
		if to, _, ok := strings.Cut(ahead, "."+name); ok {
			before += to
			e.offset = len([]rune(before))
		}
	}
	for e.offset < len(runes) && (runes[e.offset] == '.' || runes[e.offset] == ' ') {
		e.offset++
	}
	path := pathBefore.FindString(before)
	set := l.setOf(strings.Split(strings.TrimSpace(packageAgain(path)), "."))
	if set == nil {
		e.message = fmt.Sprintf("there is no field %q here; `strata policy fields` lists them", name)
		return
	}
	names := make([]string, len(set.fields))
	for i := range set.fields {
		names[i] = set.fields[i].name
	}
	e.message = fmt.Sprintf("%s has no field %q%s", packageAgain(path), name, suggest(name, names, "; `strata policy fields` lists them"))
}

// setOf is the type at the end of a path of fields; nil when it is none of ours.
func (l *language) setOf(path []string) *fieldSet {
	var set *fieldSet
	for _, s := range fieldSets() {
		if s.variable == path[0] {
			set = s
		}
	}
	for _, name := range path[1:] {
		if set == nil {
			return nil
		}
		i := slices.IndexFunc(set.fields, func(f field) bool { return f.name == name })
		if i < 0 {
			return nil
		}
		set = l.types[set.fields[i].typ.TypeName()]
	}
	return set
}

func (l *language) unknownName(name string) string {
	names := append([]string{"now", "severity"}, macros...)
	for _, s := range fieldSets() {
		if s.variable != "" {
			names = append(names, s.variable)
		}
	}
	for _, s := range fieldSets() {
		for _, f := range s.fields {
			if f.name == name && s.variable != "" {
				return fmt.Sprintf("nothing is called %q; did you mean %s.%s?", name, s.variable, name)
			}
		}
	}
	for function := range l.env.Functions() {
		if letter(function[0]) {
			names = append(names, function)
		}
	}
	slices.Sort(names)
	return fmt.Sprintf("nothing is called %q%s", name, suggest(name, names, "; there are finding, package, license, layer, image and now"))
}

// wrongTypes tells that an operator or function does not take such values.
func wrongTypes(function, args string) string {
	if function == operators.Index {
		return fmt.Sprintf("[ ] can't be applied to %s; fields are read with a dot", strings.ReplaceAll(args, ", ", " and "))
	}
	if symbol, ok := operators.FindReverse(function); ok && symbol != "" {
		return fmt.Sprintf("%s can't be applied to %s", symbol, strings.ReplaceAll(args, ", ", " and "))
	}
	return fmt.Sprintf("%s can't be applied to (%s)", function, args)
}

// offsetOf is the place in characters of a line, from 1, and column, from 0.
func offsetOf(text string, line, column int) int {
	offset := 0
	for range max(line-1, 0) {
		before, after, ok := strings.Cut(text, "\n")
		if !ok {
			break
		}
		offset += utf8.RuneCountInString(before) + 1
		text = after
	}
	return offset + max(column, 0)
}

// examine collects what an expression reads, and finds comparisons with words
// that a field never is.
func (l *language) examine(checked *cel.Ast, reads map[string]bool) error {
	native := checked.NativeRep()
	for _, e := range ast.MatchDescendants(ast.NavigateAST(native), ast.KindMatcher(ast.IdentKind)) {
		if !bound(e) {
			reads[packageAgain(e.AsIdent())] = true
		}
	}
	var errs []error
	ast.PreOrderVisit(native.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.SelectKind:
			s := e.AsSelect()
			reads[native.GetType(s.Operand().ID()).TypeName()+"."+s.FieldName()] = true
		case ast.ListKind, ast.MapKind, ast.ComprehensionKind:
			if nested(native, e) {
				at, _ := native.SourceInfo().GetOffsetRange(e.ID())
				errs = append(errs, &expressionError{offset: int(at.Start), message: "lists of lists and maps can't be made in policies"})
			}
		case ast.CallKind:
			if name := e.AsCall().FunctionName(); slices.Contains(growing, name) {
				at, _ := native.SourceInfo().GetOffsetRange(e.ID())
				errs = append(errs, &expressionError{offset: int(at.Start), message: fmt.Sprintf("%s can't be used in policies: texts could grow without bounds", strings.TrimPrefix(name, "strings."))})
			}
			if err := l.wrongWord(native, e.AsCall()); err != nil {
				errs = append(errs, err)
			}
		}
	}))
	return errors.Join(errs...)
}

// bound tells whether a name is that of the elements of a list which the expression
// goes over: image.layers.exists(layer, layer.base) is about the image.
func bound(name ast.NavigableExpr) bool {
	child := name
	for parent, ok := name.Parent(); ok; parent, ok = parent.Parent() {
		if parent.Kind() == ast.ComprehensionKind {
			c := parent.AsComprehension()
			if (c.IterVar() == name.AsIdent() || c.IterVar2() == name.AsIdent()) && c.IterRange().ID() != child.ID() {
				return true
			}
		}
		child = parent
	}
	return false
}

// nested tells whether an expression makes a map, or a list of lists, maps or of
// what is not known: a few of these in each other have more in them than could be
// gone over.
func nested(native *ast.AST, e ast.Expr) bool {
	if e.Kind() == ast.MapKind {
		return true
	}
	t := native.GetType(e.ID())
	if t.Kind() != types.ListKind || e.Kind() == ast.ListKind && e.AsList().Size() == 0 {
		return false
	}
	switch t.Parameters()[0].Kind() {
	case types.ListKind, types.MapKind, types.DynKind, types.AnyKind:
		return true
	}
	return false
}

// growing are functions by which a short expression makes a text of any length.
var growing = []string{"replace", "join", "format", "strings.quote"}

// wrongWord finds in `finding.severity == "hihg"` the word that severity never is.
func (l *language) wrongWord(native *ast.AST, call ast.CallExpr) error {
	args := call.Args()
	if call.FunctionName() == "severity" && len(args) == 1 {
		return l.notOneOf(native, "severity()", severityWords, args[0])
	}
	if len(args) != 2 {
		return nil
	}
	switch call.FunctionName() {
	case operators.Equals, operators.NotEquals:
		for i := range 2 {
			if f := l.limited(native, args[i]); f != nil {
				return l.notOneOf(native, f.name, f.values, args[1-i])
			}
		}
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		for i := range 2 {
			if f := l.limited(native, args[i]); f != nil {
				return unordered(native, f, args[1-i])
			}
		}
	case operators.In:
		if f := l.limited(native, args[0]); f != nil && args[1].Kind() == ast.ListKind {
			return l.notOneOf(native, f.name, f.values, args[1].AsList().Elements()...)
		}
	}
	return nil
}

// unordered is the error of comparing words by the alphabet, by which "high" is
// graver than "critical".
func unordered(native *ast.AST, f *field, other ast.Expr) error {
	at, _ := native.SourceInfo().GetOffsetRange(other.ID())
	instead := "name those that are meant: in [...]"
	if f.name == "severity" {
		instead = `compare severity_rank with severity("high")`
	}
	return &expressionError{offset: int(at.Start), message: fmt.Sprintf("%s is a word, which < and > compare by the alphabet: %s", f.name, instead)}
}

// limited is the field that an expression reads, where its values are limited.
func (l *language) limited(native *ast.AST, e ast.Expr) *field {
	if e.Kind() != ast.SelectKind {
		return nil
	}
	set := l.types[native.GetType(e.AsSelect().Operand().ID()).TypeName()]
	if set == nil {
		return nil
	}
	for i := range set.fields {
		if f := &set.fields[i]; f.name == e.AsSelect().FieldName() && f.values != nil {
			return f
		}
	}
	return nil
}

func (l *language) notOneOf(native *ast.AST, name string, values []string, literals ...ast.Expr) error {
	for _, literal := range literals {
		if literal.Kind() != ast.LiteralKind {
			continue
		}
		word, ok := literal.AsLiteral().Value().(string)
		if !ok || slices.Contains(values, word) {
			continue
		}
		at, _ := native.SourceInfo().GetOffsetRange(literal.ID())
		known := slices.DeleteFunc(slices.Clone(values), func(s string) bool { return s == "" })
		return &expressionError{
			offset:  int(at.Start),
			message: fmt.Sprintf("%s is never %q%s", name, word, suggest(word, known, "; it is one of "+strings.Join(known, ", "))),
		}
	}
	return nil
}
