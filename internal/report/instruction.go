package report

import (
	"regexp"
	"strings"

	"strata/internal/image"
)

var (
	// shellOptions open many a script and tell nothing of what it does.
	shellOptions = regexp.MustCompile(`^RUN set -[a-z]+(?: -o pipefail)?(?:;|\s*&&)\s*`)
	// contentHash is how the classic builder names what COPY and ADD take.
	contentHash = regexp.MustCompile(`\b(file|dir|multi):([0-9a-f]{8})[0-9a-f]{56}\b`)
)

// Instruction is the Dockerfile instruction that made a layer, on one line, from
// the text that the builders record of it (Docker's classic builder, BuildKit,
// Buildah). It is empty when nothing was recorded, and not yet Safe.
func Instruction(createdBy string) string {
	s := image.Instruction(strings.Join(strings.Fields(createdBy), " "))
	s = shellOptions.ReplaceAllString(s, "RUN ")
	return contentHash.ReplaceAllString(s, "$1:$2"+ellipsis)
}
