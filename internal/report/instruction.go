package report

import (
	"regexp"
	"strings"
)

var (
	// shellForm is how a RUN stands in a build history: with the build arguments
	// in front ("|1 VERSION=2") and the shell that ran it.
	shellForm = regexp.MustCompile(`^(?:RUN )?(?:\|\d+ .*?)?/bin/(?:ba|a|da)?sh (?:-o \S+ |-\S+ )*?-\w*c `)
	// nop is how the classic builder records an instruction that runs nothing.
	nop = regexp.MustCompile(`^/bin/sh -c #\(nop\)\s*`)
	// shellOptions open many a script and tell nothing of what it does.
	shellOptions = regexp.MustCompile(`^RUN set -[a-z]+(?: -o pipefail)?(?:;|\s*&&)\s*`)
	// contentHash is how the classic builder names what COPY and ADD take.
	contentHash = regexp.MustCompile(`\b(file|dir|multi):([0-9a-f]{8})[0-9a-f]{56}\b`)
)

// Instruction is the Dockerfile instruction that made a layer, on one line, from
// the text that the builders record of it (Docker's classic builder, BuildKit,
// Buildah). It is empty when nothing was recorded, and not yet Safe.
func Instruction(createdBy string) string {
	s := strings.Join(strings.Fields(createdBy), " ")
	s = strings.TrimSpace(strings.TrimSuffix(s, "# buildkit"))
	if rest := nop.ReplaceAllString(s, ""); rest != s {
		s = rest
	} else {
		s = shellForm.ReplaceAllString(s, "RUN ")
	}
	s = shellOptions.ReplaceAllString(s, "RUN ")
	return contentHash.ReplaceAllString(s, "$1:$2"+ellipsis)
}
