// Package analyzer finds packages in the files of a layer. It holds the
// Analyzer interface, the runner that drives all analyzers over one pass of a
// layer's tar, the adapter for osv-scalibr's extractors, and our own analyzers,
// a file per format.
//
// It does not know images or other layers: what a file means once several
// layers lie on each other is for package inventory.
package analyzer

import (
	"context"
	"io/fs"

	"strata/internal/inventory"
)

// An Analyzer reads one format of file. It must be safe for concurrent use.
type Analyzer interface {
	// Name is short and stable: it is shown in problems. A change of what an
	// analyzer finds must come with a new SetVersion.
	Name() string
	// Wants tells whether the analyzer wants to read the file. It is asked for
	// every regular file of every layer, so it must be fast and not allocate.
	Wants(c *Candidate) bool
	// Analyze reads the file. Packages found before an error are kept, the error
	// becomes a Problem; so does a panic. Content is hostile: sizes in it are
	// lies, nesting is endless, names carry control characters.
	Analyze(ctx context.Context, f *File) (Result, error)
}

// A Candidate is a regular file before it is read.
type Candidate struct {
	// Path within the layer, clean, without a leading slash.
	Path string
	Size int64
	Mode fs.FileMode
	// Head is the file's first bytes, 512 at most; valid only during the call.
	Head []byte
}

// Base is the last element of the path.
func (c *Candidate) Base() string {
	for i := len(c.Path) - 1; i >= 0; i-- {
		if c.Path[i] == '/' {
			return c.Path[i+1:]
		}
	}
	return c.Path
}

// A Result is what an analyzer found in one file.
type Result struct {
	Kind inventory.Kind
	// Database names the package manager's database that the file is part of.
	Database string
	Packages []inventory.Package
	// Licenses are what the file tells of licences besides those of its Packages.
	// The runner fills in the paths.
	Licenses []inventory.LicenseFile
	// Distro is set by the reader of os-release.
	Distro *inventory.Distro
	// Owned are paths of the layer that a distribution's package owns, each with
	// the package as "type:name" ("deb:node-lodash"). Paths have no leading slash.
	Owned []Owned
	// Vendors are owners, written as in Owned, that are packages of a maker of
	// their own and not the distribution's: they are nobody's owners.
	Vendors []string
	// Notes are findings about the file that are no reason to fail: each becomes
	// a Problem.
	Notes []string
}

// Owned tells that a distribution's package owns a path.
type Owned struct{ Path, Owner string }
