package image_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/image"
)

var day = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// built is an image whose layers are the letters.
func built(name, layers string) *image.Image {
	m := &image.Image{Reference: "registry:" + name, ConfigDigest: image.Digest("config of " + name), Digest: image.Digest("sha256:" + fmt.Sprintf("%064x", len(name)))}
	m.Repository, m.Tag, _ = strings.Cut(name, ":")
	for i, c := range layers {
		m.Layers = append(m.Layers, image.Layer{Index: i, DiffID: image.DiffID("sha256:" + strings.Repeat(string(c), 64))})
	}
	return m
}

// history reads steps, a line each: the day on which it was made, the comment in
// brackets, * for one that made a layer, the instruction.
func history(text string) []image.Step {
	var steps []image.Step
	for line := range strings.Lines(strings.TrimSpace(text)) {
		var s image.Step
		f := strings.SplitN(strings.TrimSpace(line), " ", 3)
		s.Created = day.AddDate(0, 0, int(f[0][0]-'0'))
		s.Empty = f[1] != "*"
		s.CreatedBy = f[2]
		if rest, ok := strings.CutPrefix(f[2], "["); ok {
			s.Comment, s.CreatedBy, _ = strings.Cut(rest, "] ")
		}
		steps = append(steps, s)
	}
	return steps
}

// emptyDiffID is that of a tar that ends where it begins, of n KiB.
func emptyDiffID(n int) image.DiffID {
	return image.DiffID(fmt.Sprintf("sha256:%x", sha256.Sum256(make([]byte, n<<10))))
}

// onNothing puts a layer without content below.
func onNothing(m *image.Image, diffID image.DiffID) *image.Image {
	m.Layers = append([]image.Layer{{DiffID: diffID}}, m.Layers...)
	for i := range m.Layers {
		m.Layers[i].Index = i
	}
	return m
}

func TestRecogniseBaseByLayers(t *testing.T) {
	made := func(m *image.Image, days int) *image.Image {
		m.Created = day.AddDate(0, 0, days)
		return m
	}
	told := func(m *image.Image, text string) *image.Image {
		m.History = history(text)
		return m
	}
	on := func(platform string, m *image.Image) *image.Image {
		parts := append(strings.Split(platform, "/"), "")
		m.Platform = image.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
		return m
	}
	tests := map[string]struct {
		image *image.Image
		known []*image.Image
		want  string
	}{
		"longest": {built("app:1", "abc"), []*image.Image{built("debian:12", "a"), built("node:20", "ab"), built("x:1", "b")}, "node:20 2"},
		"not itself, nor another of its layers": {
			built("app:1", "ab"), []*image.Image{built("app:1", "ab"), built("copy:1", "ab"), built("app:0", "ac")}, ""},
		"another tag that is a prefix": {built("app:2", "abc"), []*image.Image{built("app:1", "ab")}, "app:1 2"},
		"higher image is no base":      {built("debian:12", "a"), []*image.Image{built("app:1", "ab")}, ""},
		"the most specific tag": {
			built("app:1", "ab"), []*image.Image{built("debian:latest", "a"), built("debian:12", "a"), built("debian:12.1-slim", "a"), built("debian:12.1", "a")}, "debian:12.1-slim 1"},
		"the newest": {built("app:1", "ab"), []*image.Image{made(built("debian:12.4", "a"), 1), made(built("debian:12", "a"), 2)}, "debian:12 1"},
		"the one whose history goes on": {
			told(built("app:1", "ab"), "0 * ADD x /\n0 - ENV a=b\n1 * RUN x"),
			[]*image.Image{told(made(built("other:1", "a"), 5), "0 * ADD x /\n0 - ENV a=c"), told(built("debian:12", "a"), "0 * ADD x /\n0 - ENV a=b")}, "debian:12 1"},
		"only the configuration was changed": {
			told(built("app:1", "a"), "0 * ADD x /\n0 - CMD a\n1 - CMD b"), []*image.Image{told(built("debian:12", "a"), "0 * ADD x /\n0 - CMD a")}, "debian:12 1"},
		"one for another machine": {on("linux/amd64", built("app:1", "ab")), []*image.Image{on("linux/arm64", built("debian:12", "a"))}, ""},
		"one for a variant":       {on("linux/arm64", built("app:1", "ab")), []*image.Image{on("linux/arm64/v8", built("debian:12", "a"))}, "debian:12 1"},
		"none known":              {built("app:1", "ab"), nil, ""},
		"no layers":               {built("app:1", ""), []*image.Image{built("scratch:1", "")}, ""},
		"a layer without content is no base": {
			onNothing(built("app:1", "a"), emptyDiffID(1)), []*image.Image{onNothing(built("other:1", ""), emptyDiffID(1)), onNothing(built("other:2", "b"), emptyDiffID(1))}, ""},
		"nor one that tar wrote": {
			onNothing(built("app:1", "a"), emptyDiffID(10)), []*image.Image{onNothing(built("other:1", ""), emptyDiffID(10))}, ""},
		"but such a layer may lie in one": {
			onNothing(built("app:1", "ab"), emptyDiffID(1)), []*image.Image{onNothing(built("base:1", "a"), emptyDiffID(1))}, "base:1 2"},
	}
	for name, tt := range tests {
		b := image.RecogniseBase(tt.image, tt.known)
		got := ""
		if b != nil {
			got = fmt.Sprintf("%s %d", b.Reference, b.Layers)
			if b.By != image.BaseByLayers {
				t.Errorf("%s: by %s", name, b.By)
			}
		}
		if got != tt.want {
			t.Errorf("%s: base %q; want %q", name, got, tt.want)
		}
	}
}

func TestRecogniseBaseByAnnotation(t *testing.T) {
	const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	m := built("app:1", "ab")
	m.Labels = map[string]string{"org.opencontainers.image.base.name": "debian:11"}
	m.Annotations = map[string]string{"org.opencontainers.image.base.name": "debian:12", "org.opencontainers.image.base.digest": digest}
	want := &image.Base{Reference: "debian:12", Digest: digest, By: image.BaseByAnnotation}
	if diff := cmp.Diff(want, image.RecogniseBase(m, nil)); diff != "" {
		t.Errorf("by the manifest:\n%s", diff)
	}
	m.Annotations = map[string]string{"org.opencontainers.image.base.digest": "md5:1"}
	want = &image.Base{Reference: "debian:11", By: image.BaseByAnnotation}
	if diff := cmp.Diff(want, image.RecogniseBase(m, nil)); diff != "" {
		t.Errorf("by the labels:\n%s", diff)
	}
	// Among names of one stack, the annotated is taken.
	if b := image.RecogniseBase(m, []*image.Image{built("debian:11", "a"), built("debian:11.9-slim", "a")}); b.Reference != "debian:11" || b.Layers != 1 || b.By != image.BaseByLayers {
		t.Errorf("of two names: %+v", b)
	}
	// The history tells how many layers the named base has.
	m.History = history("0 * [debuerreotype 0.15] # debian.sh --arch amd64\n0 - [debuerreotype 0.15] CMD [\"bash\"]\n3 * [buildkit.dockerfile.v0] RUN x")
	if b := image.RecogniseBase(m, nil); b.Reference != "debian:11" || b.Layers != 1 || b.By != image.BaseByAnnotation {
		t.Errorf("with a history: %+v", b)
	}
}

func TestRecogniseBaseByHistory(t *testing.T) {
	tests := map[string]struct {
		history string
		layers  int // 0: nothing is sure
		name    string
	}{
		"Debian, by BuildKit": {"0 * [buildkit.dockerfile.v0] # debian.sh --arch 'amd64' out/\n0 - [buildkit.dockerfile.v0] CMD [\"bash\"]\n0 * [buildkit.dockerfile.v0] RUN x", 1, ""},
		"Debian, itself":      {"0 * [buildkit.dockerfile.v0] # debian.sh --arch 'amd64' out/\n0 - [buildkit.dockerfile.v0] CMD [\"bash\"]", 0, ""},
		"Debian, other configuration alone": {
			"0 * [buildkit.dockerfile.v0] # debian.sh --arch 'amd64' out/\n0 - [buildkit.dockerfile.v0] CMD [\"bash\"]\n1 - ENV a=b", 0, ""},
		"Alpine, by the classic builder": {`0 * /bin/sh -c #(nop) ADD file:37a76ec18f9887751cd8473744917d08b7431fc4085097bb6a09d81b41775473 in / 
			0 - /bin/sh -c #(nop)  CMD ["/bin/sh"]
			0 * /bin/sh -c apk add curl`, 1, ""},
		"Ubuntu": {`0 - /bin/sh -c #(nop)  ARG RELEASE
			0 - /bin/sh -c #(nop)  LABEL org.opencontainers.image.version=22.04
			0 * /bin/sh -c #(nop) ADD file:ebe009f86035c175ba244badd298a2582914415cf62783d510eab3a311a5d4e1 in / 
			0 - /bin/sh -c #(nop)  CMD ["/bin/bash"]
			4 * RUN /bin/sh -c apt-get update # buildkit`, 1, ""},
		"root file system without a CMD":  {"0 * ADD rootfs.tar.xz /\n0 * RUN x\n0 - CMD [\"x\"]", 0, ""},
		"a CMD at the end of one build":   {"0 * COPY a /a\n0 * RUN x\n0 - CMD [\"x\"]", 0, ""},
		"a CMD before the last layer":     {"0 * COPY a /a\n0 - CMD [\"x\"]\n0 * RUN x", 0, ""},
		"the same, days later":            {"0 * COPY a /a\n0 - CMD [\"x\"]\n5 * RUN x", 0, ""}, // the first steps were cached
		"two commands in one build":       {"0 * COPY a /a\n0 - ENTRYPOINT [\"x\"]\n0 * RUN x\n0 - CMD [\"y\"]", 0, ""},
		"two commands, days between them": {"0 * COPY a /a\n0 * RUN a\n0 - CMD [\"x\"]\n5 - LABEL a=b\n5 * RUN x\n5 - CMD [\"y\"]", 2, ""},
		"the nearer of two bases": {`0 * [buildkit.dockerfile.v0] # debian.sh --arch 'amd64' out/
			0 - [buildkit.dockerfile.v0] CMD ["bash"]
			2 * [buildkit.dockerfile.v0] RUN install node
			2 - [buildkit.dockerfile.v0] CMD ["node"]
			9 * [buildkit.dockerfile.v0] COPY . .
			9 - [buildkit.dockerfile.v0] CMD ["node" "server.js"]`, 2, ""},
		"another builder":             {"0 * bazel build @debian12\n0 * bazel build //base\n0 * [buildkit.dockerfile.v0] COPY a /a", 2, ""},
		"Buildah":                     {"0 * [x] ADD file:1 in /opt\n4 * [FROM docker.io/library/alpine:3.19] /bin/sh -c apk add curl\n4 - CMD a", 1, "docker.io/library/alpine:3.19"},
		"Buildah, from scratch":       {"0 * [FROM scratch] /bin/sh -c #(nop) COPY file:1 in /\n0 - CMD a", 0, ""},
		"a history that does not fit": {"0 - [buildkit.dockerfile.v0] # debian.sh --arch 'amd64' out/\n0 - CMD [\"bash\"]\n0 * RUN x\n0 * RUN y\n0 * RUN z", 0, ""},
	}
	for name, tt := range tests {
		m := &image.Image{History: history(tt.history)}
		for _, s := range m.History {
			if !s.Empty {
				m.Layers = append(m.Layers, image.Layer{})
			}
		}
		if strings.Contains(name, "does not fit") {
			m.Layers = m.Layers[:2]
		}
		b := image.RecogniseBase(m, nil)
		switch {
		case tt.layers == 0 && b != nil:
			t.Errorf("%s: %+v, though it is not sure", name, b)
		case tt.layers > 0 && (b == nil || b.Layers != tt.layers || b.Reference != tt.name || b.By != image.BaseByHistory):
			t.Errorf("%s: %+v; want %d layers of %q", name, b, tt.layers, tt.name)
		}
	}
}

// The example of the specification is of other digests; this is held against
// sha256sum.
func TestChainIDs(t *testing.T) {
	m := built("x:1", "ab")
	want := []image.Digest{
		image.Digest(m.Layers[0].DiffID),
		"sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c",
	}
	if diff := cmp.Diff(want, m.ChainIDs()); diff != "" {
		t.Error(diff)
	}
	if got := (&image.Image{}).ChainIDs(); len(got) != 0 {
		t.Errorf("no layers: %v", got)
	}
}
