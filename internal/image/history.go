package image

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"time"
)

// A Step is one entry of the build history (OCI image-spec, config.md,
// "history").
type Step struct {
	Created   time.Time
	CreatedBy string
	// Comment names the builder with many builders.
	Comment string
	// Empty tells that the step changed the configuration alone and made no layer.
	Empty bool
}

// By is the instruction, or the comment of builders that write only that.
func (s Step) By() string {
	if s.CreatedBy == "" {
		return s.Comment
	}
	return s.CreatedBy
}

// ChainIDs names the stacks of the image's lowest 1, 2, … layers: the last is
// that of all (OCI image-spec, config.md, "Layer ChainID"). Two images with one
// chain id have the same file system.
func (m *Image) ChainIDs() []Digest {
	chain := make([]Digest, len(m.Layers))
	for i, l := range m.Layers {
		if i == 0 {
			chain[i] = Digest(l.DiffID)
			continue
		}
		sum := sha256.Sum256([]byte(string(chain[i-1]) + " " + string(l.DiffID)))
		chain[i] = Digest("sha256:" + hex.EncodeToString(sum[:]))
	}
	return chain
}

// Name is the repository with the tag: "debian:12". Empty when there is no
// repository.
func (m *Image) Name() string {
	if m.Repository == "" || m.Tag == "" {
		return m.Repository
	}
	return m.Repository + ":" + m.Tag
}

// emptyCommand tells a step that sets what a container runs, as the builders
// write it.
func (s Step) emptyCommand() bool {
	if !s.Empty {
		return false
	}
	by := s.CreatedBy
	if _, nop, ok := strings.Cut(by, "#(nop)"); ok {
		by = nop
	}
	verb, _, _ := strings.Cut(strings.TrimSpace(by), " ")
	return verb == "CMD" || verb == "ENTRYPOINT"
}

var (
	// shellForm is how a RUN stands in a build history: with the build arguments
	// in front ("|1 VERSION=2") and the shell that ran it.
	shellForm = regexp.MustCompile(`^(?:RUN )?(?:\|\d+ (?s:.*?))?/bin/(?:ba|a|da)?sh (?:-o \S+ |-\S+ )*?-\w*c `)
	// nopForm is how the classic builder records an instruction that runs nothing.
	nopForm = regexp.MustCompile(`^/bin/sh -c #\(nop\)\s*`)
)

// Instruction is the Dockerfile instruction of a step, from the text that the
// builders record of it (Docker's classic builder, BuildKit, Buildah). It is
// empty when nothing was recorded.
func Instruction(createdBy string) string {
	s := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(createdBy), "# buildkit"))
	if rest := nopForm.ReplaceAllString(s, ""); rest != s {
		return rest
	}
	return shellForm.ReplaceAllString(s, "RUN ")
}
