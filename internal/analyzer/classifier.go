package analyzer

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"strata/internal/inventory"
)

// A classifier knows one product by a program or library of it that no package
// manager lists: where its files are called and how they tell their version.
// The table of all is in classifiertable.go.
type classifier struct {
	// product is the package's name and that of its purl, pkg:generic/PRODUCT.
	product string
	// files are the names of the files that can tell, without directory and
	// without the version that many have in them: "python" stands for python3.11,
	// "libcrypto.so" for libcrypto.so.3.
	files []string
	// signs are where the version stands in such a file, the surest first.
	signs []sign
	// bitnami is the product's name in OSV's ecosystem Bitnami; empty where it has
	// none.
	bitnami string
	// others are further names by which advisories know the product.
	others []inventory.KnownAs
	// tested tells on which real files the signs were tried.
	tested string
}

// A sign is a place in a file that tells a product's version.
type sign struct {
	// anchor is the fixed text that is searched for.
	anchor string
	// pattern matches the text around an anchor, and captures the version.
	pattern string
	// named: the version begins with the one in the file's name, which tells it
	// from other numbers in the file.
	named bool
}

// genericPackage is a product of the given version, by the names that advisories
// have for it.
func (c *classifier) genericPackage(version string) inventory.Package {
	p := inventory.Package{Type: "generic", Name: c.product, Version: version, KnownAs: c.others}
	if c.bitnami != "" {
		p.Ecosystem = ecosystemBitnami
	} else if len(c.others) > 0 {
		p.Ecosystem = c.others[0].Ecosystem
	}
	if c.bitnami != "" && (c.bitnami != c.product || len(c.others) > 0) {
		p.KnownAs = append([]inventory.KnownAs{{Ecosystem: ecosystemBitnami, Name: c.bitnami}}, c.others...)
	}
	return p
}

// classifyBinary finds the products of the table in executables and libraries.
type classifyBinary struct {
	byFile  map[fileStem][]*classifier
	buffers *sync.Pool
}

func newClassifyBinary() classifyBinary {
	b := classifyBinary{byFile: map[fileStem][]*classifier{}, buffers: searchBuffers()}
	table := classifiers()
	for i := range table {
		for _, file := range table[i].files {
			stem := stemOf(file)
			b.byFile[stem] = append(b.byFile[stem], &table[i])
		}
	}
	return b
}

func (classifyBinary) Name() string { return "binary" }

// Wants asks for the first bytes first, which most files don't have: so a link
// is never wanted for its name either.
func (b classifyBinary) Wants(c *Candidate) bool {
	if executableFormat(c.Head) == notExecutable || strings.HasPrefix(c.Path, bitnamiRoot) {
		return false
	}
	_, ok := b.byFile[stemOf(c.Base())]
	return ok
}

func (b classifyBinary) Analyze(ctx context.Context, f *File) (Result, error) {
	candidates := b.byFile[stemOf(f.Base())]
	var signs []searchSign
	var of []*classifier
	for _, c := range candidates {
		compiled, err := compileSigns(c.signs, f.Base())
		if err != nil {
			return Result{}, fmt.Errorf("classifier of %s: %w", c.product, err)
		}
		for range compiled {
			of = append(of, c)
		}
		signs = append(signs, compiled...)
	}
	s := search{signs: signs, buffers: b.buffers}
	version, by, err := s.file(ctx, f)
	if err != nil || version == "" {
		return Result{}, err
	}
	return Result{Packages: []inventory.Package{of[by].genericPackage(version)}}, nil
}

// A fileStem is the name of a file without the versions in it.
type fileStem struct {
	name    string
	library bool
}

// stemOf takes from a file's name what changes with its version:
//
//	python3.11, python              python
//	libcrypto.so.3, libcrypto.so    libcrypto, a library
//	libruby-3.1.so.3.1.2            libruby, a library
//	libstd-0123456789abcdef.so      libstd, a library
//	php-fpm8.2                      php-fpm
//
// It does not allocate: Wants calls it.
func stemOf(base string) fileStem {
	var s fileStem
	s.name = base
	if i := strings.Index(base, ".so"); i > 0 && (i+3 == len(base) || base[i+3] == '.') {
		s.name, s.library = base[:i], true
	}
	for i := 1; i+1 < len(s.name); i++ {
		if s.name[i] == '-' && '0' <= s.name[i+1] && s.name[i+1] <= '9' {
			s.name = s.name[:i]
			break
		}
	}
	if s.library {
		s.name = withoutHash(s.name)
	}
	if name := strings.TrimRight(s.name, "0123456789."); name != "" {
		s.name = name
	}
	return s
}

// withoutHash takes off the hash that Rust puts into the names of libraries.
func withoutHash(name string) string {
	const digits = 16
	i := len(name) - digits - 1
	if i <= 0 || name[i] != '-' {
		return name
	}
	for _, c := range []byte(name[i+1:]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return name
		}
	}
	return name[:i]
}

// versionIn is the version in a file's name: 3.11 of python3.11 and of
// libpython3.11.so.1.0; empty for none.
func versionIn(base string) string {
	if i := strings.Index(base, ".so"); i > 0 {
		base = base[:i]
	}
	i := strings.IndexAny(base, "0123456789")
	if i < 0 {
		return ""
	}
	v := base[i:]
	if end := strings.IndexFunc(v, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); end >= 0 {
		v = v[:end]
	}
	return strings.TrimRight(v, ".")
}
