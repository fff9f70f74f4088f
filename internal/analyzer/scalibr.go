package analyzer

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"
	"github.com/google/osv-scalibr/extractor"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/language/cpp/conanlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/packagesconfig"
	"github.com/google/osv-scalibr/extractor/filesystem/language/dotnet/packageslockjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/elixir/mixlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/haskell/cabal"
	"github.com/google/osv-scalibr/extractor/filesystem/language/haskell/stacklock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/java/gradlelockfile"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/yarnlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/r/renvlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/ruby/gemfilelock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/swift/packageresolved"
	"github.com/google/osv-scalibr/extractor/filesystem/osv"
	scalibrlog "github.com/google/osv-scalibr/log"

	"strata/internal/inventory"
)

// scalibrLocks reads the lock files for which osv-scalibr's extractors serve as
// they are.
type scalibrLocks struct {
	formats map[string]scalibrFormat
}

// A scalibrFormat is one extractor and what its packages are.
type scalibrFormat struct {
	extractor filesystem.Extractor
	// purlType and ecosystem are those of the format's packages: the extractor
	// calls some by other types (a package from a git repository).
	purlType, ecosystem string
	// scansLines marks the extractors that end, without a word, at a line longer
	// than a bufio.Scanner takes.
	scansLines bool
}

// scalibrAnalyzers returns the analyzers that drive osv-scalibr.
func scalibrAnalyzers() []Analyzer {
	silenceScalibr()
	locks := scalibrLocks{formats: make(map[string]scalibrFormat)}
	add := func(base string, newExtractor func(*cpb.PluginConfig) (filesystem.Extractor, error), purlType, ecosystem string, scansLines bool) {
		// None of these fails without a configuration.
		if x, err := newExtractor(nil); err == nil {
			locks.formats[base] = scalibrFormat{x, purlType, ecosystem, scansLines}
		}
	}
	add("yarn.lock", yarnlock.New, "npm", ecosystemNPM, true)
	add("Gemfile.lock", gemfilelock.New, "gem", ecosystemGem, true)
	add("gems.locked", gemfilelock.New, "gem", ecosystemGem, true)
	add("mix.lock", mixlock.New, "hex", "Hex", false)
	add("conan.lock", conanlock.New, "conan", "ConanCenter", false)
	add("packages.lock.json", packageslockjson.New, "nuget", ecosystemNuGet, false)
	add("packages.config", packagesconfig.New, "nuget", ecosystemNuGet, false)
	add("Package.resolved", packageresolved.New, "swift", "SwiftURL", false)
	add("renv.lock", renvlock.New, "cran", ecosystemCRAN, false)
	add("stack.yaml.lock", stacklock.New, "hackage", "Hackage", false)
	add("cabal.project.freeze", cabal.New, "hackage", "Hackage", false)
	add("gradle.lockfile", gradlelockfile.New, "maven", ecosystemMaven, false)
	return []Analyzer{locks}
}

func (scalibrLocks) Name() string { return "lock-file" }

func (s scalibrLocks) Wants(c *Candidate) bool {
	base := c.Base()
	if len(base) < len("mix.lock") || len(base) > len("cabal.project.freeze") {
		return false
	}
	_, ok := s.formats[base]
	return ok && applicationLock(c.Path)
}

func (s scalibrLocks) Analyze(ctx context.Context, f *File) (Result, error) {
	res := Result{Kind: inventory.Locked}
	format, ok := s.formats[f.Base()]
	if !ok {
		return res, fmt.Errorf("no extractor for files named %q", f.Base())
	}
	b, err := f.Bytes(maxLockSize)
	if err != nil {
		return res, err
	}
	if err := nestingWithin(b, maxNesting); err != nil {
		return res, err
	}
	if format.scansLines {
		if n := longestLine(b); n >= bufio.MaxScanTokenSize {
			res.Notes = append(res.Notes, fmt.Sprintf("a line of %d bytes: what follows it was not read", n))
		}
	}
	found, err := format.extract(ctx, f, b)
	for _, p := range found {
		if p.Name == "" || p.Version == "" || developmentOnly(p) {
			continue
		}
		res.Packages = append(res.Packages, inventory.Package{
			Type: format.purlType, Name: p.Name, Version: p.Version, Ecosystem: format.ecosystem,
		})
	}
	res.Packages = distinct(res.Packages)
	return res, err
}

// extract runs the extractor over the content of f. A panic becomes an error:
// the extractors are tried on less hostile files than these.
func (s scalibrFormat) extract(ctx context.Context, f *File, content []byte) (found []*extractor.Package, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic in osv-scalibr's %s: %v", s.extractor.Name(), r)
		}
	}()
	only := oneFile{path: f.Path, content: content}
	info, _ := only.Stat(f.Path)
	inv, err := s.extractor.Extract(ctx, &filesystem.ScanInput{
		FS: only, Path: f.Path, Info: info, Reader: bytes.NewReader(content),
	})
	return inv.Packages, err
}

// developmentOnly tells whether all the groups that need the package are for
// development.
func developmentOnly(p *extractor.Package) bool {
	m, ok := p.Metadata.(osv.DepGroups)
	if !ok || len(m.DepGroups()) == 0 {
		return false
	}
	for _, group := range m.DepGroups() {
		if !developmentGroup(group) {
			return false
		}
	}
	return true
}

// maxNesting limits how deep brackets nest in what goes to parsers that recurse
// without a limit of their own: a Go program can't recover from a stack that
// has grown too large.
const maxNesting = 1000

// nestingWithin counts brackets without regard to strings: a real lock file is
// nowhere near the limit even so.
func nestingWithin(b []byte, limit int) error {
	depth := 0
	for _, c := range b {
		switch c {
		case '[', '{':
			if depth++; depth > limit {
				return fmt.Errorf("brackets nest deeper than the limit of %d", limit)
			}
		case ']', '}':
			depth = max(depth-1, 0)
		}
	}
	return nil
}

// longestLine is the length of the longest line.
func longestLine(b []byte) int {
	longest := 0
	for line := range bytes.Lines(b) {
		longest = max(longest, len(line))
	}
	return longest
}

// oneFile is a file system of one file, which is all that an extractor gets to
// see of a layer.
type oneFile struct {
	path    string
	content []byte
}

var errNotExist = fmt.Errorf("only the file itself: %w", fs.ErrNotExist)

// Open opens the file.
func (o oneFile) Open(name string) (fs.File, error) {
	if name != o.path {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errNotExist}
	}
	return &openFile{Reader: bytes.NewReader(o.content), oneFile: o}, nil
}

// Stat describes the file.
func (o oneFile) Stat(name string) (fs.FileInfo, error) {
	if name != o.path {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: errNotExist}
	}
	return fileFacts{o}, nil
}

// ReadDir lists no directory.
func (o oneFile) ReadDir(name string) ([]fs.DirEntry, error) {
	return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNotExist}
}

// openFile is the file of a oneFile, opened.
type openFile struct {
	*bytes.Reader
	oneFile oneFile
}

// Stat describes the file.
func (o *openFile) Stat() (fs.FileInfo, error) { return fileFacts{o.oneFile}, nil }

// Close does nothing.
func (o *openFile) Close() error { return nil }

// fileFacts describes the file of a oneFile.
type fileFacts struct{ file oneFile }

func (i fileFacts) Name() string       { return i.file.path[strings.LastIndexByte(i.file.path, '/')+1:] }
func (i fileFacts) Size() int64        { return int64(len(i.file.content)) }
func (i fileFacts) Mode() fs.FileMode  { return 0o644 }
func (i fileFacts) ModTime() time.Time { return time.Time{} }
func (i fileFacts) IsDir() bool        { return false }
func (i fileFacts) Sys() any           { return nil }

// silenceScalibr turns off osv-scalibr's own logger, which is global and writes
// to standard error: what matters comes back as an error.
var silenceScalibr = sync.OnceFunc(func() { scalibrlog.SetLogger(noLog{}) })

type noLog struct{}

func (noLog) Errorf(string, ...any) {}
func (noLog) Error(...any)          {}
func (noLog) Warnf(string, ...any)  {}
func (noLog) Warn(...any)           {}
func (noLog) Infof(string, ...any)  {}
func (noLog) Info(...any)           {}
func (noLog) Debugf(string, ...any) {}
func (noLog) Debug(...any)          {}

var _ interface {
	fs.ReadDirFS
	fs.StatFS
} = oneFile{}
