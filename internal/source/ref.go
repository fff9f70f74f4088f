package source

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A Scheme is a kind of place where an image can be.
type Scheme string

// The schemes, as they are written before a reference.
const (
	// Any is a name without a scheme that is no path.
	Any           Scheme = ""
	Registry      Scheme = "registry"
	Docker        Scheme = "docker"
	Podman        Scheme = "podman"
	Containerd    Scheme = "containerd"
	DockerArchive Scheme = "docker-archive"
	OCI           Scheme = "oci"
	OCIArchive    Scheme = "oci-archive"
	// Archive is a tar of one of the two kinds: its content tells which.
	Archive Scheme = "archive"
	// Dir is a root filesystem and SBOM a CycloneDX or SPDX document. They are
	// recognised here and opened elsewhere.
	Dir  Scheme = "dir"
	SBOM Scheme = "sbom"
)

// schemes are the prefixes by which references are written: ours, and those that
// users of skopeo and Syft know.
var schemes = map[string]Scheme{
	"registry": Registry, "docker": Docker, "podman": Podman, "containerd": Containerd,
	"docker-archive": DockerArchive, "oci": OCI, "oci-archive": OCIArchive,
	"dir": Dir, "sbom": SBOM,
	"docker-daemon": Docker, "oci-dir": OCI, "oci-layout": OCI, "podman-archive": DockerArchive,
}

// foreign are prefixes of other tools that name places we can't open, with the
// way out.
var foreign = map[string]string{
	"containers-storage": "ask Podman's service by podman:NAME",
	"singularity":        "convert it to an OCI archive first",
	"ostree":             "copy it to an OCI layout with skopeo first",
	"tarball":            "give the path alone, or docker-archive:PATH",
	"remote":             "write registry:NAME",
}

// A Ref is a reference taken apart.
type Ref struct {
	// String is the reference as it was given.
	String string
	Scheme Scheme
	// Path is a path on disk, or for registries and daemons the image's name.
	Path string
	// Tag picks one of several images of an archive or layout: a tag, a name with
	// a tag, or "@" and a digest. Empty when none was given.
	Tag string
}

// Parse takes a reference apart. One without a scheme is looked for on disk
// first, where its content tells what it is; a reference that is neither a scheme
// nor there is an image's name, of scheme Any.
//
// "docker://NAME" is a registry's image, as it is to skopeo; "docker:NAME" is the
// daemon's, as it is to Syft.
func Parse(ref string) (Ref, error) {
	if strings.TrimSpace(ref) == "" {
		return Ref{}, errors.New("reference is empty: give an image's name, an archive or a layout")
	}
	if strings.ContainsRune(ref, 0) {
		return Ref{}, fmt.Errorf("reference %q: has a zero byte", ref)
	}
	if prefix, rest, ok := strings.Cut(ref, ":"); ok && !onDisk(ref) {
		if scheme, known := schemes[prefix]; known {
			return parseWithScheme(ref, scheme, rest)
		}
		if way, known := foreign[prefix]; known {
			return Ref{}, fmt.Errorf("reference %s: %s: can't be opened: %s", ref, prefix, way)
		}
	}
	return parsePlain(ref)
}

func parseWithScheme(ref string, scheme Scheme, rest string) (Ref, error) {
	r := Ref{String: ref, Scheme: scheme, Path: rest}
	if name, ok := strings.CutPrefix(rest, "//"); ok && scheme == Docker {
		r.Scheme, r.Path = Registry, name
	}
	switch r.Scheme {
	case Registry, Docker, Podman, Containerd:
		r.Path = strings.TrimPrefix(r.Path, "//")
	case Dir, SBOM:
		if r.Path != "" && !onDisk(r.Path) {
			return Ref{}, fmt.Errorf("reference %s: no such file or directory", ref)
		}
	default:
		var found bool
		r.Path, r.Tag, found = splitPath(r.Path)
		if !found && r.Path != "" {
			return Ref{}, fmt.Errorf("reference %s: %s: no such file or directory", ref, r.Path)
		}
	}
	if r.Path == "" {
		return Ref{}, fmt.Errorf("reference %s: nothing follows the %q", ref, string(scheme)+":")
	}
	return r, nil
}

func parsePlain(ref string) (Ref, error) {
	path, tag, found := splitPath(ref)
	if !found {
		return Ref{String: ref, Scheme: Any, Path: ref}, nil
	}
	scheme, err := recognise(path)
	if tag != "" && (err != nil || scheme == Dir || scheme == SBOM) {
		// "alpine:3.20" beside a folder called alpine is still the image.
		if !looksLikePath(ref) {
			return Ref{String: ref, Scheme: Any, Path: ref}, nil
		}
		if err == nil {
			err = fmt.Errorf("no image can be picked of it by %q: it is neither an archive nor an OCI layout", tag)
		}
	}
	if err != nil {
		if !looksLikePath(ref) {
			err = fmt.Errorf("%w (for the image of that name, write registry:%s)", err, ref)
		}
		return Ref{}, fmt.Errorf("reference %s: %w", ref, err)
	}
	return Ref{String: ref, Scheme: scheme, Path: path, Tag: tag}, nil
}

// splitPath cuts PATH[:TAG] or PATH[@digest] where the part before is on disk:
// both paths and tags (names with registry and port) may hold colons, so the
// longest path that exists counts. When none does, found is false and path the
// whole.
func splitPath(s string) (path, tag string, found bool) {
	if onDisk(s) {
		return s, "", true
	}
	for i := len(s) - 1; i > 0; i-- {
		if s[i] != ':' && s[i] != '@' || !onDisk(s[:i]) {
			continue
		}
		if s[i] == '@' {
			return s[:i], s[i:], true
		}
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

func onDisk(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// looksLikePath tells whether a name that is not on disk can only have been
// meant as a path.
func looksLikePath(s string) bool {
	return strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../") || strings.HasPrefix(s, "~/") || filepath.IsAbs(s)
}
