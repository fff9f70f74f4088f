package event

import (
	"slices"
	"strings"

	"strata/internal/image"
)

// Limits of names: OCI distribution-spec, "Pulling manifests", and for the length
// of a repository what registries keep to.
const (
	maxRepository = 255
	maxTag        = 128
)

// ValidName tells whether a registry can have an image of this name; the tag may be
// empty.
func ValidName(repository, tag string) bool {
	return validRepository(repository) && (tag == "" || validTag(tag))
}

// checked are the events whose names are well-formed. A digest that is no sha256
// is left out where a tag tells the image.
func checked(events []Event) []Event {
	var out []Event
	for _, e := range events {
		if !ValidName(e.Repository, e.Tag) {
			continue
		}
		if e.Digest != "" && image.Digest(e.Digest).Validate() != nil {
			if e.Tag == "" {
				continue
			}
			e.Digest = ""
		}
		if e.Action == Pushed && e.Tag == "" && e.Digest == "" {
			continue
		}
		if !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}

// validRepository holds a name against the distribution-spec: parts of lower-case
// letters and digits, between which are single separators.
func validRepository(name string) bool {
	if name == "" || len(name) > maxRepository {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if !validPart(part) {
			return false
		}
	}
	return true
}

// validPart is [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*.
func validPart(part string) bool {
	for part != "" {
		word := strings.IndexFunc(part, func(r rune) bool { return !alphanumeric(r) })
		if word < 0 {
			return true
		}
		if word == 0 {
			return false
		}
		part = part[word:]
		end := strings.IndexFunc(part, alphanumeric)
		if end < 0 {
			return false
		}
		if s := part[:end]; s != "." && s != "_" && s != "__" && strings.Trim(s, "-") != "" {
			return false
		}
		part = part[end:]
	}
	return false
}

func alphanumeric(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' }

// validTag is [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}.
func validTag(tag string) bool {
	if tag == "" || len(tag) > maxTag || tag[0] == '.' || tag[0] == '-' {
		return false
	}
	return strings.IndexFunc(tag, func(r rune) bool {
		return !alphanumeric(r) && (r < 'A' || r > 'Z') && r != '_' && r != '.' && r != '-'
	}) < 0
}

// A name is an image as people write it, HOST/REPOSITORY:TAG@DIGEST.
type name struct{ host, repository, tag, digest string }

// splitName takes a name with a host apart. Without one, ok is false.
func splitName(s string) (n name, ok bool) {
	s, n.digest, _ = strings.Cut(s, "@")
	n.host, s, ok = strings.Cut(s, "/")
	if !ok || n.host == "" {
		return name{}, false
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		s, n.tag = s[:i], s[i+1:]
	}
	n.repository = s
	return n, true
}

// isImage tells whether a media type is that of an image or an index of images.
func isImage(mediaType string) bool {
	switch mediaType {
	case "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
		"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json":
		return true
	}
	return false
}
