package source

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/image"
	"strata/internal/imagetest"
)

func TestRefName(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("a", 64)
	for _, tt := range []struct {
		ref        Ref
		repository string
		tag        string
	}{
		{Ref{Scheme: Registry, Path: "debian"}, "debian", "latest"},
		{Ref{Scheme: Any, Path: "docker.io/library/debian:12-slim"}, "debian", "12-slim"},
		{Ref{Scheme: Docker, Path: "index.docker.io/org/app:1"}, "org/app", "1"},
		{Ref{Scheme: Podman, Path: "localhost/app:1"}, "localhost/app", "1"},
		{Ref{Scheme: Registry, Path: "ghcr.io/org/app" + digest}, "ghcr.io/org/app", ""},
		{Ref{Scheme: Registry, Path: "localhost:5000/app:1.2" + digest}, "localhost:5000/app", "1.2"},
		{Ref{Scheme: Registry, Path: "localhost:5000/app" + digest}, "localhost:5000/app", ""},
		{Ref{Scheme: OCI, Path: "/x", Tag: "12"}, "", "12"},
		{Ref{Scheme: OCIArchive, Path: "/x.tar", Tag: "quay.io/a/b:3"}, "quay.io/a/b", "3"},
		{Ref{Scheme: DockerArchive, Path: "/x.tar", Tag: "@0"}, "", ""},
		{Ref{Scheme: Dir, Path: "/"}, "", ""},
		{Ref{Scheme: Any, Path: "NOT A NAME"}, "", ""},
	} {
		if repository, tag := tt.ref.Name(); repository != tt.repository || tag != tt.tag {
			t.Errorf("%+v: %q, %q; want %q, %q", tt.ref, repository, tag, tt.repository, tt.tag)
		}
	}
}

// Every kind of source tells the whole build history, and the image's name as far
// as it knows it.
func TestHistoryFromEverySource(t *testing.T) {
	built := picture(t, "name: demo/app:1.0\nannotation: a=b\nbefore: layer0: ARG X\ncreated_by: layer0: ADD rootfs.tar /\nbefore: layer1: ENV LANG=C\ncreated_by: layer1: RUN x\nafter: CMD [\"x\"]\n-- layer0/a --\na\n-- layer1/b --\nb\n")
	var want []image.Step
	for _, s := range []image.Step{{CreatedBy: "ARG X", Empty: true}, {CreatedBy: "ADD rootfs.tar /"}, {CreatedBy: "ENV LANG=C", Empty: true}, {CreatedBy: "RUN x"}, {CreatedBy: `CMD ["x"]`, Empty: true}} {
		s.Created = imagetest.Epoch
		want = append(want, s)
	}
	for ref, repository := range map[string]string{
		write(t, "layout", imagetest.OCILayout, built): "", write(t, "o.tar", imagetest.OCIArchive, built): "", write(t, "d.tar", imagetest.DockerArchive, built): "demo/app",
	} {
		m := one(t, ref, Options{})
		if diff := cmp.Diff(want, m.History); diff != "" || m.Repository != repository {
			t.Errorf("%s, repository %q: history (-want +got)\n%s", ref, m.Repository, diff)
		}
	}
}
