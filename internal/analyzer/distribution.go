package analyzer

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
	"path"
	"strings"
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
		br := bufio.NewReaderSize(r, maxLine)
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
				if err != nil && !cut {
					last = true
				}
			}
			if last {
				return
			}
		}
	}
}

// ownedPath is the path as evidence of a language package would have it, when
// the path of a distribution's file could be such evidence. Databases list every
// file of the system, of which few matter.
func ownedPath(p string) (string, bool) {
	p = strings.TrimPrefix(p, "/")
	dir, base := path.Split(p)
	switch {
	case base == "package.json", base == "METADATA", base == "PKG-INFO", base == "installed.json", base == "DESCRIPTION":
		return p, true
	case strings.HasSuffix(dir, "bin/"), strings.HasSuffix(dir, "libexec/"):
		return p, true
	}
	switch path.Ext(base) {
	case ".egg-info", ".egg", ".gemspec", ".jar", ".war", ".ear", ".json", ".yaml", ".rockspec", ".so", ".lock":
		return p, true
	case "":
		return p, strings.Contains(dir, "lib") // programs and libraries without a suffix
	}
	return p, strings.Contains(base, ".so.")
}
