package image

import "strings"

// SplitReference takes REPOSITORY[:TAG][@DIGEST] apart as it is written: what is not there
// is empty, and a colon before the last slash is that of a port.
func SplitReference(s string) (repository, tag, digest string) {
	s, digest, _ = strings.Cut(s, "@")
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		return s[:i], s[i+1:], digest
	}
	return s, "", digest
}
