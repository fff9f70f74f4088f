package analyzer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"strata/internal/license"
)

// language returns the analyzers of language packages: first those that read
// what is installed, then those that read lock files.
func language(texts *license.Recogniser) []Analyzer {
	return append([]Analyzer{
		npmPackage{},
		pythonPackage{},
		condaPackage{},
		javaArchive{texts},
		newGoBinary(),
		rustBinary{},
		rubyGem{},
		composerInstalled{},
		dotnetDeps{},
		cranPackage{},
		luaRock{},
		portagePackage{},
		newClassifyBinary(),
		newClassifyText(),
		npmLock{},
		bunLock{},
		composerLock{},
		pipfileLock{},
		requirementsFile{},
		tomlLock{},
		yamlLock{},
	}, scalibrAnalyzers()...)
}

// OSV's names of the language ecosystems (OSV schema, "defined ecosystems").
const (
	ecosystemNPM      = "npm"
	ecosystemPyPI     = "PyPI"
	ecosystemMaven    = "Maven"
	ecosystemGo       = "Go"
	ecosystemCargo    = "crates.io"
	ecosystemGem      = "RubyGems"
	ecosystemComposer = "Packagist"
	ecosystemNuGet    = "NuGet"
	ecosystemCRAN     = "CRAN"
	ecosystemBioc     = "Bioconductor"
)

// A manifest of one package is seldom above 100 KiB, a lock file seldom above
// 10 MiB; what is far larger is there to hurt.
const (
	maxManifestSize = 8 << 20
	maxLockSize     = 32 << 20
)

// hasDir tells whether one of the directories of path is called dir. It does
// not allocate: Wants calls it.
func hasDir(path, dir string) bool {
	for rest := path; ; {
		i := strings.Index(rest, dir)
		if i < 0 {
			return false
		}
		start, end := len(path)-len(rest)+i, len(path)-len(rest)+i+len(dir)
		if (start == 0 || path[start-1] == '/') && end < len(path) && path[end] == '/' {
			return true
		}
		rest = path[end:]
	}
}

// documentation tells whether path lies where distributions keep documentation:
// manifests there are examples, nothing that is installed.
func documentation(path string) bool {
	return strings.HasPrefix(path, "usr/share/doc/")
}

// parentBase is the name of the directory that holds path.
func parentBase(p string) string {
	dir := p[:max(strings.LastIndexByte(p, '/'), 0)]
	return dir[strings.LastIndexByte(dir, '/')+1:]
}

// utf8BOM starts the JSON files of some editors; RFC 8259 lets a parser ignore it.
var utf8BOM = []byte("\xef\xbb\xbf")

// decodeJSON decodes the file into v, as unmarshalJSON does.
func decodeJSON(f *File, limit int64, v any) error {
	b, err := f.Bytes(limit)
	if err != nil {
		return err
	}
	return unmarshalJSON(b, v)
}

// unmarshalJSON decodes b into v. A field of an unexpected type is left empty
// instead of failing the file: the rest of it still tells something.
// encoding/json refuses nesting deeper than 10,000 levels.
func unmarshalJSON(b []byte, v any) error {
	err := json.Unmarshal(bytes.TrimPrefix(b, utf8BOM), v)
	var mismatch *json.UnmarshalTypeError
	if err == nil || errors.As(err, &mismatch) {
		return nil
	}
	return fmt.Errorf("not valid JSON: %w", err)
}
