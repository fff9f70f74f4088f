package source

import (
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"strata/internal/image"
)

// Name is the repository and the tag of the image that the reference names, as
// people write them: "debian" and "12" for docker.io/library/debian:12. The tag
// is empty for a digest, the repository where there is only a tag: an image of a
// layout need not have a name.
func (r Ref) Name() (repository, tag string) {
	switch r.Scheme {
	case Any, Registry, Docker, Podman, Containerd:
		return nameParts(r.Path)
	case Dir, SBOM:
		return "", ""
	}
	if strings.ContainsAny(strings.TrimPrefix(r.Tag, "@"), "/:") && !strings.HasPrefix(r.Tag, "@") {
		return nameParts(r.Tag)
	}
	if strings.HasPrefix(r.Tag, "@") {
		return "", ""
	}
	return "", r.Tag
}

// nameParts takes an image's name apart; both are empty when it is none.
func nameParts(s string) (repository, tag string) {
	s = strings.TrimPrefix(s, "docker.io/")
	ref, err := name.ParseReference(s)
	if err != nil {
		return "", ""
	}
	repository = ref.Context().Name()
	if rest, ok := strings.CutPrefix(repository, name.DefaultRegistry+"/"); ok {
		repository = strings.TrimPrefix(rest, "library/")
	}
	if t, ok := ref.(name.Tag); ok {
		tag = t.TagStr()
	} else if withTag, _, ok := strings.Cut(s, "@"); ok { // name:tag@digest
		if t, err := name.NewTag(withTag); err == nil && strings.HasSuffix(withTag, ":"+t.TagStr()) {
			tag = t.TagStr()
		}
	}
	return repository, tag
}

// NameBase takes the name of a base apart, where it is an annotation's.
func NameBase(b *image.Base) {
	if b == nil || b.Repository != "" || b.Reference == "" {
		return
	}
	if ref, err := Parse("registry:" + b.Reference); err == nil {
		b.Repository, b.Tag = ref.Name()
	}
}
