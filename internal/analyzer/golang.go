package analyzer

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"

	"strata/internal/inventory"
)

// goBinary reads the build information that the Go linker leaves in every
// executable, stripped or not (package debug/buildinfo).
type goBinary struct {
	products map[string]*goProduct
	buffers  *sync.Pool
}

func newGoBinary() goBinary {
	return goBinary{products: goProductsByCommand(), buffers: searchBuffers()}
}

func (goBinary) Name() string { return "go-binary" }

func (goBinary) Wants(c *Candidate) bool { return executableFormat(c.Head) != notExecutable }

func (g goBinary) Analyze(ctx context.Context, f *File) (Result, error) {
	x, err := openExecutable(f)
	if err != nil {
		// The system may run it all the same (Linux needs no section headers).
		return Result{}, fmt.Errorf("executable with damaged headers, modules built into it are unknown: %w", err)
	}
	trace := goTraceOf(x)
	if trace == goNo {
		return Result{}, nil
	}
	b, err := buildinfo.Read(f.ReaderAt())
	if err != nil {
		if trace == goPerhaps {
			return Result{}, nil // Not of Go, then.
		}
		return Result{}, fmt.Errorf("executable of Go with unreadable build information: %w", err)
	}
	packages := goPackages(b)
	product := g.products[goCommand(b)]
	if product == nil || strings.HasPrefix(f.Path, bitnamiRoot) {
		return Result{Packages: packages}, nil
	}
	version := product.goProductVersion(b)
	if version == "" && len(product.signs) > 0 {
		if version, err = findVersion(ctx, f, product.signs, g.buffers); err != nil {
			return Result{Packages: packages}, err
		}
	}
	if version != "" {
		packages = product.packages(version, packages, goMainModule(b))
	}
	return Result{Packages: packages}, nil
}

// goTrace tells how sure it is that an executable was linked by Go.
type goTrace int

const (
	goNo goTrace = iota
	// goPerhaps: only a search of the data segment can tell.
	goPerhaps
	goYes
)

// goTraceOf looks for the section of the build information, so that an
// executable of another language costs no more than reading its headers:
// debug/buildinfo would search the whole data segment.
func goTraceOf(x *executable) goTrace {
	if x.has(".go.buildinfo") || x.has("__go_buildinfo") {
		return goYes
	}
	// PE files have no section for it, and an ELF file may have lost them all.
	if x.format == peFormat || len(x.sections) == 0 {
		return goPerhaps
	}
	return goNo
}

// develVersion is what Go calls the version of a module built from a directory.
const develVersion = "(devel)"

// goPackages lists the standard library, the main module and what it was built
// with.
func goPackages(b *debug.BuildInfo) []inventory.Package {
	var out []inventory.Package
	add := func(name, version string) {
		if name == "" {
			return
		}
		if version == "" {
			version = develVersion
		}
		out = append(out, inventory.Package{Type: "golang", Name: name, Version: version, Ecosystem: ecosystemGo})
	}
	if v := goRelease(b.GoVersion); v != "" {
		add("stdlib", v)
	}
	add(goBuilt(&b.Main))
	for _, m := range b.Deps {
		add(goBuilt(m))
	}
	return out
}

// goBuilt gives the module that was compiled: the replacing one, where a
// replace directive names another module. One replaced by a directory keeps its
// name, but the version is that of nobody knows what.
func goBuilt(m *debug.Module) (path, version string) {
	r := m.Replace
	if r == nil {
		return m.Path, m.Version
	}
	if r.Version == "" || r.Version == develVersion {
		return m.Path, develVersion
	}
	return r.Path, r.Version
}

// goReleaseRE matches the tag of a Go release. What may follow it names a
// builder or experiments ("go1.22.5-1-openssl-fips", "go1.17.5b7",
// "go1.26.8 X:nodwarf5"), and is no part of the version.
var goReleaseRE = regexp.MustCompile(`^go(1(?:\.\d+){1,2})(?:(rc|beta)(\d+))?`)

// goRelease turns the toolchain's version into that of the standard library as
// the Go vulnerability database orders it: go1.26.8 is 1.26.8, go1.21rc2 is
// 1.21.0-rc.2, "devel go1.27-1a2b3c Mon Jan 2" is 1.27-1a2b3c (before 1.27).
func goRelease(v string) string {
	if devel, ok := strings.CutPrefix(v, "devel "); ok {
		tag, _, _ := strings.Cut(devel, " ")
		tag, ok = strings.CutPrefix(tag, "go1.")
		if !ok {
			return ""
		}
		return "1." + tag
	}
	m := goReleaseRE.FindStringSubmatch(v)
	if m == nil {
		return ""
	}
	release, pre := m[1], m[2]
	if pre == "" {
		return release
	}
	if strings.Count(release, ".") == 1 {
		release += ".0"
	}
	return release + "-" + pre + "." + m[3]
}
