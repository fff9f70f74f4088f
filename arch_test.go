// Package strata_test holds the architecture to its rules. It reads the source
// with go/parser only, so that it sees files of every platform and needs no
// build. Each failure tells the way out.
package strata_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ranks is the table of packages: a package imports only lower ranks. It is the
// same table as in ARCHITECTURE.md, which TestArchitectureDocument compares.
var ranks = map[string]int{
	"imagetest": 0, // for tests, and the demo of cmd/strata
	"image":     0,
	"license":   0,
	"inventory": 1,
	"advisory":  1,
	"source":    1,
	"event":     1,
	"analyzer":  2,
	"match":     2,
	"sbom":      2,
	"policy":    3,
	"remedy":    3,
	"scan":      4,
	"report":    4,
	"notify":    4,
	"store":     5,
	"auth":      6,
	"jobs":      6,
	"web":       7,
	"server":    8,
}

// command is the one package outside internal: it may import all others, and
// alone reads flags, environment and configuration files.
const command = "cmd/strata"

// The house budget.
const (
	maxPackages   = 20
	maxDepth      = 8
	maxInterfaces = 12
	maxDirectDeps = 35
)

// owners tells which packages alone may import a library, tests included.
var owners = map[string][]string{
	"github.com/google/go-containerregistry": {"source"},
	"database/sql":                           {"store", "jobs"},
	"modernc.org/sqlite":                     {"store"},
	"github.com/jackc/pgx":                   {"store", "jobs"},
	"github.com/pressly/goose":               {"store"},
	"github.com/riverqueue/river":            {"jobs"},
	"cel.dev/cel-go":                         {"policy"},
	"github.com/google/cel-go":               {"policy"},
	"github.com/danielgtaylor/huma":          {"server"},
	"github.com/wneessen/go-mail":            {"notify"},
	"github.com/coreos/go-oidc":              {"auth"},
}

// banned imports, each with what to use instead.
var banned = map[string]string{
	"github.com/stretchr/testify": "testing and github.com/google/go-cmp/cmp",
	"github.com/pkg/errors":       `errors and fmt.Errorf with %w`,
	"io/ioutil":                   "io and os",
	"log":                         "an injected *slog.Logger",
	"math/rand":                   "math/rand/v2 or crypto/rand",
	"unsafe":                      "safe Go",
}

// arguments are the packages that read the command line. Tests may have flags.
var arguments = []string{"flag", "github.com/spf13/cobra", "github.com/spf13/pflag"}

// process are the identifiers of package os that tie code to its process.
var process = []string{"Args", "Environ", "Exit", "ExpandEnv", "Getenv", "LookupEnv", "Setenv", "Unsetenv"}

// grabBags are no names for packages or files: they say nothing of what is in
// them. The first line is from the vocabulary of the design.
var grabBags = []string{
	"artifact", "asset", "entity", "object", "manager", "service", "processor", "helper", "util", "common", "types", "info",
	"base", "core", "helpers", "lib", "misc", "shared", "stuff", "tools", "utils",
}

// A pkg is one package of the module.
type pkg struct {
	// dir relative to the module: "internal/image"; name as in the ranks table,
	// "image", or the whole dir outside internal.
	dir, name string
	fset      *token.FileSet
	files     []*ast.File // without tests
	tests     []*ast.File
}

// at is where a node stands, as file:line.
func (p *pkg) at(n ast.Node) string {
	pos := p.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", pos.Filename, pos.Line)
}

func (p *pkg) rank() int {
	if p.dir == command {
		return len(ranks)
	}
	return ranks[p.name]
}

// load parses every package of the module.
func load(t *testing.T) []*pkg {
	t.Helper()
	byDir := map[string]*pkg{}
	walk(t, func(file string) {
		if path.Ext(file) != ".go" || path.Dir(file) == "." || strings.Contains(file, "/testdata/") {
			return // no code of a package: this test, or data
		}
		dir := path.Dir(file)
		p := byDir[dir]
		if p == nil {
			p = &pkg{dir: dir, name: strings.TrimPrefix(dir, "internal/"), fset: token.NewFileSet()}
			byDir[dir] = p
		}
		f, err := parser.ParseFile(p.fset, file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "_test.go") {
			p.tests = append(p.tests, f)
		} else {
			p.files = append(p.files, f)
		}
	})
	packages := slices.SortedFunc(maps.Values(byDir), func(a, b *pkg) int { return cmp.Compare(a.dir, b.dir) })
	if len(packages) == 0 {
		t.Fatal("no packages found: run this test in the root of the repository")
	}
	return packages
}

// walk visits every file of the repository but what git ignores.
func walk(t *testing.T, visit func(file string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{".git", "bin", "dist"}, d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if d.Type().IsRegular() {
			visit(filepath.ToSlash(p))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// imports yields the import declarations of the files, each with its path.
func imports(files ...*ast.File) iter.Seq2[*ast.ImportSpec, string] {
	return func(yield func(*ast.ImportSpec, string) bool) {
		for _, f := range files {
			for _, spec := range f.Imports {
				if !yield(spec, strings.Trim(spec.Path.Value, "`\"")) {
					return
				}
			}
		}
	}
}

// internalName is the name in the ranks table of an import of this module.
func internalName(imported string) (string, bool) {
	return strings.CutPrefix(imported, "strata/internal/")
}

// within tells whether an import path is the library or a package of it; a
// major version such as /v5 counts as the library.
func within(imported, library string) bool {
	return imported == library || strings.HasPrefix(imported, library+"/")
}

func TestEveryPackageHasARank(t *testing.T) {
	packages := load(t)
	internal := 0
	for _, p := range packages {
		if p.dir == command {
			continue
		}
		internal++
		if !strings.HasPrefix(p.dir, "internal/") {
			t.Errorf("%s: code lives in %s and under internal/; move it there", p.dir, command)
		} else if _, known := ranks[p.name]; !known {
			t.Errorf("%s has no rank: put its code in an existing package, or add it to the table here and in ARCHITECTURE.md", p.dir)
		}
	}
	if internal > maxPackages {
		t.Errorf("%d packages under internal/, the budget is %d: join those that always change together", internal, maxPackages)
	}
}

func TestPackagesImportOnlyLowerRanks(t *testing.T) {
	for _, p := range load(t) {
		for spec, imported := range imports(p.files...) {
			name, ok := internalName(imported)
			if !ok {
				continue
			}
			if name == "imagetest" && p.dir != command {
				t.Errorf("%s: %s imports imagetest outside a test: it is for tests and the demo", p.at(spec), p.dir)
			}
			if rank, known := ranks[name]; known && rank >= p.rank() {
				t.Errorf("%s: %s (rank %d) imports %s (rank %d): a package imports only lower ranks; take what it needs as an argument, or move the shared part down",
					p.at(spec), p.name, p.rank(), name, rank)
			}
		}
		for spec, imported := range imports(p.tests...) {
			if name, ok := internalName(imported); ok && name != p.name && ranks[name] > p.rank() {
				t.Errorf("%s: the test of %s imports the higher %s: test it from there", p.at(spec), p.name, name)
			}
		}
	}
}

func TestImportDepth(t *testing.T) {
	below := map[string][]string{}
	for _, p := range load(t) {
		for _, imported := range imports(p.files...) {
			if name, ok := internalName(imported); ok {
				below[p.name] = append(below[p.name], name)
			}
		}
	}
	var chain func(name string, above []string) []string
	chain = func(name string, above []string) []string {
		longest := append(slices.Clone(above), name)
		if slices.Contains(above, name) {
			return longest // a cycle, which the compiler reports
		}
		for _, next := range below[name] {
			if c := chain(next, longest[:len(above)+1]); len(c) > len(longest) {
				longest = c
			}
		}
		return longest
	}
	for name := range ranks {
		if c := chain(name, nil); len(c)-1 > maxDepth {
			t.Errorf("imports %d deep, the budget is %d: %s", len(c)-1, maxDepth, strings.Join(c, " -> "))
		}
	}
}

func TestLibrariesHaveOneOwner(t *testing.T) {
	for _, p := range load(t) {
		for spec, imported := range imports(slices.Concat(p.files, p.tests)...) {
			for library, allowed := range owners {
				if within(imported, library) && !slices.Contains(allowed, p.name) {
					t.Errorf("%s: %s imports %s, which only %s may: call that package instead",
						p.at(spec), p.dir, imported, strings.Join(allowed, " and "))
				}
			}
		}
	}
}

func TestBannedImports(t *testing.T) {
	for _, p := range load(t) {
		for spec, imported := range imports(slices.Concat(p.files, p.tests)...) {
			// The exact path for the standard library: math/rand/v2 is fine.
			instead, found := banned[imported]
			for library, use := range banned {
				if strings.Contains(library, ".") && within(imported, library) {
					instead, found = use, true
				}
			}
			if found {
				t.Errorf("%s: imports %s: use %s", p.at(spec), imported, instead)
			}
		}
	}
}

func TestOnlyTheCommandTouchesItsProcess(t *testing.T) {
	for _, p := range load(t) {
		if p.dir == command {
			continue
		}
		for spec, imported := range imports(p.files...) {
			if slices.Contains(arguments, imported) {
				t.Errorf("%s: imports %s: only %s reads the command line; take the value as an option", p.at(spec), imported, command)
			}
		}
		for _, f := range p.files {
			ast.Inspect(f, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "os" && slices.Contains(process, sel.Sel.Name) {
					t.Errorf("%s: os.%s: only %s reads flags and environment and ends the process; take the value as an option",
						p.at(sel), sel.Sel.Name, command)
				}
				return true
			})
		}
	}
}

// sentence matches the end of a sentence.
var sentence = regexp.MustCompile(`[.!?](\s|$)`)

func TestEveryPackageIsDocumented(t *testing.T) {
	for _, p := range load(t) {
		var docs []*ast.File
		for _, f := range p.files {
			if f.Doc != nil {
				docs = append(docs, f)
			}
		}
		if len(docs) != 1 {
			t.Errorf("%s: %d of its files have a package comment: exactly one says what the package is", p.dir, len(docs))
			continue
		}
		want := "Package " + docs[0].Name.Name + " "
		if docs[0].Name.Name == "main" {
			want = "Command strata "
		}
		text := docs[0].Doc.Text()
		if !strings.HasPrefix(text, want) {
			t.Errorf("%s: the package comment must begin with %q", p.at(docs[0]), want)
		}
		if len(sentence.FindAllString(text, -1)) < 2 {
			t.Errorf("%s: the package comment must say in at least two sentences what the package is and what it is not", p.at(docs[0]))
		}
	}
}

func TestExportedIdentifiersAreDocumented(t *testing.T) {
	for _, p := range load(t) {
		for _, f := range p.files {
			for _, d := range f.Decls {
				for _, name := range undocumented(d) {
					t.Errorf("%s: %s is exported without a comment: say what it means, its units, its errors and where its rules come from", p.at(d), name)
				}
			}
		}
	}
}

// undocumented are the exported names that a declaration leaves without a
// comment. Constants and variables of a group may share the group's, constants of a
// type the type's, and methods of unexported types are documented by the
// interface they serve.
func undocumented(d ast.Decl) []string {
	var names []string
	note := func(doc *ast.CommentGroup, ids ...*ast.Ident) {
		for _, id := range ids {
			if doc == nil && id.IsExported() {
				names = append(names, id.Name)
			}
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if slices.Contains([]string{"Error", "String", "Unwrap"}, d.Name.Name) {
			return nil // everyone knows these
		}
		if d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type)) {
			note(d.Doc, d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				note(cmp.Or(s.Doc, d.Doc), s.Name)
			case *ast.ValueSpec:
				if d.Tok == token.CONST && (s.Type != nil || len(s.Values) == 0) {
					continue // of a type, which is documented
				}
				note(cmp.Or(s.Doc, s.Comment, d.Doc), s.Names...)
			}
		}
	}
	return names
}

// receiver is the name of the type that a method is on.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func TestNamesSayWhatIsInThem(t *testing.T) {
	for _, p := range load(t) {
		if slices.Contains(grabBags, path.Base(p.dir)) {
			t.Errorf("%s: no package is named for a grab bag: name it for what it gives, or put the code where it is used", p.dir)
		}
		for _, f := range slices.Concat(p.files, p.tests) {
			file := p.fset.Position(f.Pos()).Filename
			name := strings.TrimSuffix(strings.TrimSuffix(path.Base(file), ".go"), "_test")
			if slices.Contains(grabBags, name) {
				t.Errorf("%s: no file is named for a grab bag: name it for what is in it", file)
			}
			if want := strings.TrimSuffix(f.Name.Name, "_test"); p.dir != command && want != path.Base(p.dir) {
				t.Errorf("%s: package %s in directory %s: they have one name", file, f.Name.Name, p.dir)
			}
		}
	}
}

func TestNoInit(t *testing.T) {
	for _, p := range load(t) {
		for _, f := range slices.Concat(p.files, p.tests) {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s: no init(): make the value where it is needed and pass it on", p.at(fn))
				}
			}
		}
	}
}

func TestInterfacesAreFew(t *testing.T) {
	var found []string
	for _, p := range load(t) {
		for _, f := range p.files {
			ast.Inspect(f, func(n ast.Node) bool {
				if spec, ok := n.(*ast.TypeSpec); ok {
					if _, ok := spec.Type.(*ast.InterfaceType); ok {
						found = append(found, fmt.Sprintf("%s.%s (%s)", p.name, spec.Name.Name, p.at(spec)))
					}
				}
				return true
			})
		}
	}
	if len(found) > maxInterfaces {
		t.Errorf("%d own interfaces, the budget is %d: return structs, accept functions; an interface is earned by two users.\n%s",
			len(found), maxInterfaces, strings.Join(found, "\n"))
	}
}

func TestDirectDependenciesAreFew(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	requirement := regexp.MustCompile(`(?m)^(?:require)?\s+([a-zA-Z0-9./_~-]+) v\S+$`) // no "// indirect"
	found := map[string]bool{}
	for _, m := range requirement.FindAllStringSubmatch(string(mod), -1) {
		found[project(m[1])] = true
	}
	if len(found) > maxDirectDeps {
		t.Errorf("%d direct dependencies in go.mod, the budget is %d: each must be earned (docs/decisions)", len(found), maxDirectDeps)
	}
	if len(found) == 0 {
		t.Error("no direct dependency in go.mod: run go mod tidy")
	}
}

// project is what a module is part of: several modules of one repository with one
// release are one dependency (docs/decisions/0017-dependencies-are-projects.md).
func project(module string) string {
	for _, p := range []string{"github.com/riverqueue/river", "go.opentelemetry.io/otel"} {
		if within(module, p) {
			return p
		}
	}
	return module
}

func TestArchitectureDocument(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| (\\d) \\| `([a-z]+)` \\|")
	documented := map[string]int{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		rank, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		documented[m[2]] = rank
	}
	exists := map[string]bool{}
	for _, p := range load(t) {
		exists[p.name] = true
		if rank, ok := documented[p.name]; p.dir != command && (!ok || rank != ranks[p.name]) {
			t.Errorf("ARCHITECTURE.md: the table of packages must have %s with rank %d", p.name, ranks[p.name])
		}
	}
	for name := range documented {
		if !exists[name] {
			t.Errorf("ARCHITECTURE.md: the table has %s, which isn't there", name)
		}
	}
	// What it names as the test of an invariant must be one.
	tests := testNames(t)
	for _, name := range regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z]\w*`).FindAllString(string(text), -1) {
		if !tests[name] {
			t.Errorf("ARCHITECTURE.md names %s, which isn't there", name)
		}
	}
}

// testNames are the test functions of the repository.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	names := map[string]bool{}
	walk(t, func(file string) {
		if !strings.HasSuffix(file, "_test.go") {
			return
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range function.FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
	})
	return names
}

func TestNoRegistryHosts(t *testing.T) {
	// In pieces, so that this file doesn't name them either.
	hosts := []string{
		"proxy" + ".golang.org", "sum" + ".golang.org",
		"deb" + ".debian.org", "security" + ".debian.org", "archive" + ".debian.org", "snapshot" + ".debian.org", "ftp" + ".debian.org",
	}
	walk(t, func(file string) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range hosts {
			if strings.Contains(string(text), host) {
				t.Errorf("%s names %s: write example.org, or leave the host to the machine's settings", file, host)
			}
		}
	})
}
