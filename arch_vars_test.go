package strata_test

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// TestPackageVariablesAreTables holds that what a package keeps in variables
// never changes: each has its value where it is declared, that value is no room
// for state, and no code of the package assigns to it.
func TestPackageVariablesAreTables(t *testing.T) {
	for _, p := range load(t) {
		names := map[string]bool{}
		for _, f := range p.files {
			for _, d := range f.Decls {
				decl, ok := d.(*ast.GenDecl)
				if !ok || decl.Tok != token.VAR {
					continue
				}
				for _, s := range decl.Specs {
					spec, ok := s.(*ast.ValueSpec)
					if !ok {
						continue
					}
					for _, n := range spec.Names {
						names[n.Name] = true
					}
					if why := stateful(decl, spec); why != "" {
						t.Errorf("%s: %s %s: package variables are errors, regexps, embedded files and tables; keep state in a struct that is passed on",
							p.at(spec), spec.Names[0].Name, why)
					}
				}
			}
		}
		for _, f := range p.files {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
					for _, n := range assigned(fn, names) {
						t.Errorf("%s: assigns to the package variable %s: tables never change; keep state in a struct that is passed on", p.at(n), n.Name)
					}
				}
			}
		}
	}
}

// stateful tells why a variable is more than a table; empty when it isn't.
func stateful(decl *ast.GenDecl, spec *ast.ValueSpec) string {
	if embedded(decl.Doc) || embedded(spec.Doc) {
		return ""
	}
	if len(spec.Values) == 0 {
		return "has no value"
	}
	for _, v := range spec.Values {
		if u, ok := v.(*ast.UnaryExpr); ok && u.Op == token.AND {
			v = u.X
		}
		switch v := v.(type) {
		case *ast.CompositeLit:
			if strings.HasPrefix(exprString(v.Type), "sync.") || strings.HasPrefix(exprString(v.Type), "atomic.") {
				return "holds state"
			}
		case *ast.CallExpr:
			if name := exprString(v.Fun); name == "make" || name == "new" {
				return "is made to be filled"
			}
		}
	}
	return ""
}

func embedded(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, "//go:embed ")
	})
}

// exprString is the dotted name of an expression, empty for others.
func exprString(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return exprString(e.X) + "." + e.Sel.Name
	}
	return ""
}

// assigned are the identifiers of the names that a function assigns to, whole or
// in part, and doesn't declare itself.
func assigned(fn *ast.FuncDecl, names map[string]bool) []*ast.Ident {
	local := map[string]bool{}
	var targets []ast.Expr
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, name := range n.Names {
				local[name.Name] = true
			}
		case *ast.ValueSpec:
			for _, name := range n.Names {
				local[name.Name] = true
			}
		case *ast.AssignStmt:
			for _, lhs := range n.Lhs {
				if id, ok := lhs.(*ast.Ident); ok && n.Tok == token.DEFINE {
					local[id.Name] = true
				}
			}
			targets = append(targets, n.Lhs...)
		case *ast.RangeStmt:
			for _, e := range []ast.Expr{n.Key, n.Value} {
				if id, ok := e.(*ast.Ident); ok {
					local[id.Name] = true
				}
			}
		case *ast.IncDecStmt:
			targets = append(targets, n.X)
		case *ast.CallExpr:
			if name := exprString(n.Fun); (name == "delete" || name == "clear") && len(n.Args) > 0 {
				targets = append(targets, n.Args[0])
			}
		}
		return true
	})
	var found []*ast.Ident
	for _, e := range targets {
		if id := root(e); id != nil && names[id.Name] && !local[id.Name] && id.Name != "_" {
			found = append(found, id)
		}
	}
	return found
}

// root is the variable that an assignable expression is part of.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}
