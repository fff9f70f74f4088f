package analyzer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"

	"strata/internal/inventory"
)

// distribution returns the analyzers of distributions and their package managers.
func distribution() []Analyzer {
	return []Analyzer{osRelease{}, dpkg{}, dpkgList{}, apk{}, rpm{}, rpmJournal{}, pacman{}, opkg{}}
}

// maxLine is how much of a line is kept; databases have names, versions and
// paths to give, all much shorter.
const maxLine = 64 << 10

// lines reads a text file line by line, without the line ends. A line longer
// than maxLine is cut, and memory stays bounded. The slices are valid until the
// next step.
func lines(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		size := int64(maxLine)
		if sized, ok := r.(interface{ Size() int64 }); ok {
			size = min(size, sized.Size()) // most lists are small, and there are many
		}
		br := bufio.NewReaderSize(r, int(size))
		for {
			line, err := br.ReadSlice('\n')
			if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
				yield(nil, err)
				return
			}
			cut := errors.Is(err, bufio.ErrBufferFull)
			last := err == io.EOF
			if last && len(line) == 0 {
				return
			}
			if !yield(bytes.TrimRight(line, "\r\n"), nil) {
				return
			}
			for cut { // the rest of the long line
				_, err = br.ReadSlice('\n')
				cut = errors.Is(err, bufio.ErrBufferFull)
			}
			switch {
			case last, err == io.EOF:
				return
			case err != nil:
				yield(nil, err)
				return
			}
		}
	}
}

// maxListing bounds the bytes that are kept of one database. That of a Debian
// desktop takes some 10 MiB; a hostile one, which compresses well, may list for
// gigabytes.
const maxListing = 128 << 20

// errListing is returned for a database that lists more than maxListing.
var errListing = fmt.Errorf("the database lists more than %d MiB of names: the rest is not read", maxListing>>20)

// A listing collects what a package manager's database lists, within bounds.
type listing struct {
	Result
	bytes int
	// odd counts the packages that are left out for their names.
	odd int
	// named tells that anything with a name was read, installed or not.
	named bool
}

// add adds a package, unless it has no name, or one or a version that can't be.
func (l *listing) add(p inventory.Package) error {
	if p.Name == "" {
		return nil
	}
	l.named = true
	if !clean(&p) {
		l.odd++
		return nil
	}
	if l.bytes += packageCost(&p); l.bytes > maxListing {
		return errListing
	}
	l.Packages = append(l.Packages, p)
	return nil
}

// maxPath is that of Linux (PATH_MAX).
const maxPath = 4096

// vendor notes that the package, as "type:name", is its maker's, if it is.
func (l *listing) vendor(owner, version, who string) {
	typ, _, _ := strings.Cut(owner, ":")
	if len(owner) <= maxName && byVendor(typ, version, who) {
		l.Vendors = append(l.Vendors, owner)
	}
}

// own notes that the owner, as "type:name", owns the path dir+base, when the
// path could be evidence of another package.
func (l *listing) own(owner, dir, base string) error {
	// Checked first: a long directory with many files in it is a bomb.
	if len(owner)+len(dir)+len(base) > maxPath {
		return nil
	}
	p, ok := ownedPath(dir + base)
	if !ok {
		return nil
	}
	if l.bytes += ownedCost(p); l.bytes > maxListing {
		return errListing
	}
	l.Owned = append(l.Owned, Owned{p, owner})
	return nil
}

// requireNamed notes that a database of text has no package in it, though it is
// not empty: then it is damaged, and "nothing is installed" would be a lie.
func (l *listing) requireNamed(f *File) {
	const blank = 16 // a few empty lines
	if f.Size > blank && !l.named {
		l.Notes = append(l.Notes, fmt.Sprintf("no package can be read from the %d bytes of the package database: packages may be missing", f.Size))
	}
}

// result is what was collected.
func (l *listing) result() Result {
	if l.odd > 0 {
		l.Notes = append(l.Notes, fmt.Sprintf("%d packages have impossible names or versions, or none, and are left out", l.odd))
	}
	return l.Result
}

// ownedPath is the path as evidence of a language package would have it, when
// the path of a distribution's file could be such evidence. Databases list every
// file of the system, of which few matter.
func ownedPath(p string) (string, bool) {
	p = strings.TrimLeft(p, "/")
	dir, base := path.Split(p)
	switch {
	case base == "package.json", base == "METADATA", base == "PKG-INFO", base == "installed.json", base == "DESCRIPTION":
		return p, true
	case base == "VERSION", base == "release", base == "version.php", base == "Drupal.php", base == "elixir.app", base == "rabbit.app":
		return p, true
	case strings.HasSuffix(dir, "bin/"), strings.HasSuffix(dir, "libexec/"):
		return p, true
	}
	switch path.Ext(base) {
	case ".egg-info", ".egg", ".gemspec", ".jar", ".war", ".ear", ".json", ".yaml", ".rockspec", ".so", ".lock":
		return p, true
	case "":
		return p, strings.Contains(dir, "lib") || strings.HasPrefix(dir, "opt/") // programs and libraries without a suffix
	}
	return p, strings.Contains(base, ".so.")
}
