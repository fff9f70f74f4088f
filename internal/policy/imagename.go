package policy

import (
	"regexp"
	"strings"

	"strata/internal/image"
)

// archiveName is what a file is called rather than an image.
var archiveName = regexp.MustCompile(`\.(?:tar|tgz|tar\.\w+|json|xml|spdx)(?::[^/]*)?$`)

// An imageName is an image's reference taken apart.
type imageName struct{ registry, repository, tag, digest string }

// parseImageName takes a reference apart as Docker does: the part before the
// first slash is the registry's when it has a dot or a colon or is "localhost",
// else Docker Hub is meant, where official images are in "library". A prefix
// such as "registry:" is passed over; of a path or an archive nothing but a name
// after it is known.
func parseImageName(reference string) imageName {
	var n imageName
	rest := reference
	if prefix, after, ok := strings.Cut(rest, ":"); ok {
		switch prefix {
		case "registry", "docker", "podman", "containerd", "docker-daemon":
			rest = strings.TrimPrefix(after, "//")
		case "dir", "sbom", "oci", "oci-archive", "docker-archive", "oci-dir", "oci-layout", "podman-archive":
			return imageName{}
		}
	}
	if rest == "" || strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, ".") || archiveName.MatchString(rest) {
		return imageName{}
	}
	rest, n.tag, n.digest = image.SplitReference(rest)
	host, path, ok := strings.Cut(rest, "/")
	switch {
	case ok && (strings.ContainsAny(host, ".:") || host == "localhost"):
		n.registry, n.repository = host, path
	case ok:
		n.registry, n.repository = dockerHub, rest
	default:
		n.registry, n.repository = dockerHub, "library/"+rest
	}
	if n.registry == "index.docker.io" || n.registry == "registry-1.docker.io" {
		n.registry = dockerHub
	}
	return n
}

const dockerHub = "docker.io"

// full is registry and repository; empty when there is no name.
func (n imageName) full() string {
	if n.repository == "" {
		return ""
	}
	return n.registry + "/" + n.repository
}
