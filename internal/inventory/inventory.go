// Package inventory says what is in a layer and, by Merge, what is in an image:
// which package version, where, introduced by which layer, and shadowed or
// removed by which.
//
// It is pure: it reads no files and knows neither advisories nor formats of
// package managers (package analyzer does).
package inventory

import (
	"strata/internal/image"
)

// A Package is one package version as one file of one layer tells it.
type Package struct {
	// Type is the purl type: deb, apk, rpm, npm, pypi, maven, golang, gem, ...
	Type string `json:"type"`
	// Name as the ecosystem writes it, with its namespace: "@babel/core",
	// "org.example:thing", "github.com/pkg/errors".
	Name string `json:"name"`
	// Version in full: with epoch and release for rpm and deb.
	Version string `json:"version"`
	// Arch is the architecture of a distribution's package.
	Arch string `json:"arch,omitempty"`
	// SourceName and SourceVersion are those of the distribution's source
	// package, which advisories name. Empty when equal to Name and Version.
	SourceName    string `json:"source_name,omitempty"`
	SourceVersion string `json:"source_version,omitempty"`
	// Ecosystem is OSV's name for language packages ("npm", "PyPI"); for the
	// packages of a distribution it is empty in a Layer, since only the image
	// knows the distribution, and set by Merge ("Debian:12").
	Ecosystem string `json:"ecosystem,omitempty"`
	// KnownAs are all names by which advisories know the package, when those are
	// others than its Ecosystem and Name, or more.
	KnownAs []KnownAs `json:"known_as,omitempty"`
	// Licenses as declared by the package, each an SPDX expression or free text.
	Licenses []string `json:"licenses,omitempty"`
	// Member is the path within the file, for a package in an archive in it:
	// "WEB-INF/lib/b.jar" of an a.war.
	Member string `json:"member,omitempty"`
}

// KnownAs is a name by which the advisories of an ecosystem know a package.
type KnownAs struct {
	Ecosystem string `json:"ecosystem"`
	Name      string `json:"name"`
	// Version as the advisories write it; empty for the package's own.
	Version string `json:"version,omitempty"`
}

// Distribution tells whether the package is one of an operating system's
// distribution: its advisories are those of the distribution.
func (p *Package) Distribution() bool {
	switch p.Type {
	case "deb", "apk", "rpm", "alpm", "opkg":
		return true
	}
	return false
}

// Kind tells how far a file can be believed.
type Kind string

const (
	// Installed: the file is part of the installed package (package.json, a
	// jar, a wheel's METADATA, a binary).
	Installed Kind = ""
	// Database: the file lists everything a package manager has installed. A
	// later version of the file replaces the whole list.
	Database Kind = "database"
	// Locked: the file lists what would be installed. It counts only where
	// nothing tells what is.
	Locked Kind = "locked"
)

// A File is one file of a layer in which an analyzer found packages, or looked
// for some and found none: then Packages is empty, and the file still replaces
// what a lower layer's file of that path told.
type File struct {
	// Path within the image, without a leading slash.
	Path string `json:"path"`
	// Analyzer is the name of the one that read the file.
	Analyzer string `json:"analyzer"`
	Kind     Kind   `json:"kind,omitempty"`
	// Database names the package manager's database the file is (part of):
	// "dpkg", "rpm", "apk". Files of one database at several paths are one.
	Database string    `json:"database,omitempty"`
	Packages []Package `json:"packages,omitempty"`
	// Owner is the distribution's package that owns the file, by the package
	// database of the same layer: "deb:node-lodash", "rpm:python3-six". Empty
	// when none does.
	Owner string `json:"owner,omitempty"`
}

// A Link is another name for a file: what is at Target is at Path too. It is kept
// when an analyzer wants its name, or found packages in its target.
type Link struct {
	Path string `json:"path"`
	// Target within the image, without a leading slash.
	Target string `json:"target"`
	// Analyzer that wants the name, if any.
	Analyzer string `json:"analyzer,omitempty"`
	Symbolic bool   `json:"symbolic,omitempty"`
	// Owner of the name, as of a File.
	Owner string `json:"owner,omitempty"`
}

// A Distro is what an os-release file tells (os-release(5)).
type Distro struct {
	// ID such as "debian", lower case.
	ID string `json:"id"`
	// IDLike are related distributions, nearest first.
	IDLike []string `json:"id_like,omitempty"`
	// VersionID such as "12" or "3.19.1"; empty for rolling distributions.
	VersionID string `json:"version_id,omitempty"`
	Codename  string `json:"codename,omitempty"`
	Name      string `json:"name,omitempty"`
	// CPE is CPE_NAME, which tells the product of the Red Hat family.
	CPE string `json:"cpe,omitempty"`
}

// A DistroFile is an os-release file in a layer.
type DistroFile struct {
	Path   string `json:"path"`
	Distro Distro `json:"distro"`
}

// A Problem is something that could not be analysed. It is always reported.
type Problem struct {
	Path string `json:"path,omitempty"`
	// Layer is the index in the image; in a Layer it is not yet known (-1).
	Layer    int    `json:"layer"`
	Analyzer string `json:"analyzer,omitempty"`
	Message  string `json:"message"`
	// Incomplete tells that a whole layer (or the advisories) could not be had,
	// so that findings may be missing: the exit code says so.
	Incomplete bool `json:"incomplete,omitempty"`
}

// A Layer is what one pass over a layer's tar found. It depends on nothing but
// the layer's content and the set of analyzers, so it is kept by these two for
// ever and shared by all images.
type Layer struct {
	DiffID image.DiffID `json:"diff_id"`
	// Size is that of the uncompressed tar in bytes; Entries its tar entries.
	Size    int64 `json:"size"`
	Entries int   `json:"entries"`

	Files   []File       `json:"files,omitempty"`
	Links   []Link       `json:"links,omitempty"`
	Distros []DistroFile `json:"distros,omitempty"`
	// Licenses are the files that tell of licences, by path.
	Licenses []LicenseFile `json:"licenses,omitempty"`
	Problems []Problem     `json:"problems,omitempty"`
	// Digests are the SHA-256 of files: of programs, shared libraries, Java archives and
	// what tells of packages (package analyzer has the rule). See PackDigests.
	Digests []byte `json:"digests,omitempty"`
	// Paths is the listing of the layer: what it adds, replaces and deletes.
	Paths Paths `json:"-"`
	// Packed is the listing of a large layer in compact form, and Paths is then
	// nil: see Pack and Listing.
	Packed []byte `json:"-"`
}

// State of a package in an image.
type State string

const (
	// Present: in the file system that a container sees.
	Present State = "present"
	// Shadowed: a later layer replaced it by another version of the package.
	Shadowed State = "shadowed"
	// Removed: a later layer deleted it. It still ships.
	Removed State = "removed"
)

// A Location is a path in a layer.
type Location struct {
	Path  string `json:"path"`
	Layer int    `json:"layer"`
}

// An ImagePackage is a package version as an image holds it.
type ImagePackage struct {
	Package
	// ID is stable for the same package, layer and state in the same image.
	ID   string
	PURL string
	// Layer introduced this version: it is the first in which it appears.
	Layer int
	State State
	// StateLayer is the layer that shadowed or removed it; -1 while present.
	StateLayer int
	Locations  []Location
	// Owner is the distribution's package that owns all the locations, such as
	// "node-lodash"; empty when none does.
	Owner string
	// License is what the package and the files that come with it tell.
	License License
}

// OwnersAffair tells that the package is a program, known by its content, that a
// package of the distribution owns: that package is in the inventory too, and its
// advisories are those that count.
func (p *ImagePackage) OwnersAffair() bool { return p.Type == "generic" && p.Owner != "" }

// DistroOwned tells that a package of the distribution owns the files of one that is none
// of its own: its findings are set aside, since the distribution patches it.
func (p *ImagePackage) DistroOwned() bool { return p.Owner != "" && !p.Distribution() }

// An Image is the view over an image's layers.
type Image struct {
	// Distro is that of the final file system; the zero Distro when the image
	// has no os-release.
	Distro   Distro
	Packages []ImagePackage
	// Files are those that have a digest, by layer and path; also what later layers hide.
	Files    []ImageFile
	Problems []Problem
}
