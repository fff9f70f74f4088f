package image

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A Base is the image that an image was built from.
type Base struct {
	// Reference is its name, with the tag; empty where only its layers are known.
	Reference string
	// Repository and Tag are the parts of the reference; empty where it has none.
	Repository, Tag string
	// Digest of its manifest; empty when not known.
	Digest Digest
	// Layers is how many of the image's layers, from the lowest, are the base's; 0
	// when it is not known which.
	Layers int
	By     BaseEvidence
	// Created is when the base was built; zero when not known.
	Created time.Time
	// User is the one that the base runs as, where its configuration is known.
	User string
}

// BaseEvidence is how a base was recognised.
type BaseEvidence string

// The evidences, the surest first.
const (
	// BaseByLayers: a known image's layers are the lowest of this one.
	BaseByLayers BaseEvidence = "layers"
	// BaseByAnnotation: the image names its base (OCI image-spec, annotations.md).
	BaseByAnnotation BaseEvidence = "annotation"
	// BaseByHistory: the build history tells where the base ends.
	BaseByHistory BaseEvidence = "history"
)

// Annotations by which an image names its base (OCI image-spec, annotations.md).
// Builders that can't annotate write them as labels.
const (
	baseName   = "org.opencontainers.image.base.name"
	baseDigest = "org.opencontainers.image.base.digest"
)

// NamedBase is what the image says of its base, in the annotations of its manifest
// or in its labels. It is a claim: nothing of it was checked. Labels are inherited
// from the base, so a name without a digest may be that of the base's own base.
func (m *Image) NamedBase() (name string, digest Digest) {
	for _, named := range []map[string]string{m.Annotations, m.Labels} {
		name, digest = strings.TrimSpace(named[baseName]), Digest(named[baseDigest])
		if digest.Validate() != nil {
			digest = ""
		}
		if name != "" || digest != "" {
			return name, digest
		}
	}
	return "", ""
}

// RecogniseBase finds the image's base: nil when nothing is known of it.
//
// The surest evidence is a known image whose layers are the lowest of this one,
// and fewer; the one with most of them is the nearest base. An image with all
// the layers is a base only when its whole history is the begin of this one's.
// Among several names of one stack, the one that the annotations tell is taken,
// then the one whose history goes on as this one's, the newest, the most
// specific tag. Else the annotations and the history are asked.
func RecogniseBase(m *Image, known []*Image) *Base {
	if b := baseAmong(m, known); b != nil {
		return b
	}
	told := baseOfHistory(m)
	name, digest := m.NamedBase()
	if name == "" && digest == "" {
		return told
	}
	b := &Base{Reference: name, Digest: digest, By: BaseByAnnotation}
	if told != nil {
		b.Layers, b.Created = told.Layers, told.Created
	}
	return b
}

func baseAmong(m *Image, known []*Image) *Base {
	var best *Image
	for _, k := range known {
		if isBase(k, m) && (best == nil || nearer(m, k, best) < 0) {
			best = k
		}
	}
	if best == nil {
		return nil
	}
	return &Base{
		Reference: cmp.Or(best.Name(), best.Reference), Repository: best.Repository, Tag: best.Tag, Digest: best.Digest,
		Layers: len(best.Layers), By: BaseByLayers, Created: best.Created, User: best.Config.User,
	}
}

// isBase tells whether k's layers are the lowest of m. Images for other machines
// may have them too, where they hold no programs.
func isBase(k, m *Image) bool {
	n := len(k.Layers)
	if n == 0 || n > len(m.Layers) || k.ConfigDigest == m.ConfigDigest || k.Platform.excludes(m.Platform) {
		return false
	}
	for i := range k.Layers {
		if k.Layers[i].DiffID != m.Layers[i].DiffID || k.Layers[i].DiffID == "" {
			return false
		}
	}
	if !slices.ContainsFunc(k.Layers, func(l Layer) bool { return !l.nothing() }) {
		return false // any image may begin so
	}
	return n < len(m.Layers) || len(k.History) < len(m.History) && sameSteps(k, m) == len(k.History) && len(k.History) > 0
}

// excludes tells that both are known and of different machines, whatever the variant.
func (p Platform) excludes(other Platform) bool {
	return p.String() != "" && other.String() != "" && (p.OS != other.OS || p.Architecture != other.Architecture)
}

// emptyTar are the diff_ids of layers without content, which builders write for
// instructions that change nothing: two blocks of zeros as BuildKit and the
// classic builder write them, and twenty as GNU tar does.
var emptyTar = []DiffID{
	"sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
	"sha256:84ff92691f909a05b224e1c56abb4864f01b4f8e3c854e4bb4c7baf1d3f6d652",
}

// nothing tells that the layer has no content.
func (l *Layer) nothing() bool { return slices.Contains(emptyTar, l.DiffID) }

// sameSteps is how many steps the histories of two images have in common.
func sameSteps(a, b *Image) int {
	n := 0
	for n < len(a.History) && n < len(b.History) {
		x, y := a.History[n], b.History[n]
		if x.CreatedBy != y.CreatedBy || x.Empty != y.Empty || !x.Created.Equal(y.Created) {
			break
		}
		n++
	}
	return n
}

// nearer orders bases of m, the nearest first.
func nearer(m *Image, a, b *Image) int {
	name, digest := m.NamedBase()
	told := func(k *Image) bool {
		return digest != "" && k.Digest == digest || name != "" && (k.Reference == name || k.Name() == name)
	}
	whole := func(k *Image) int { // the steps of a history that goes on in m's
		if n := sameSteps(k, m); n == len(k.History) {
			return n
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(len(b.Layers), len(a.Layers)),
		compareBool(told(b), told(a)),
		cmp.Compare(whole(b), whole(a)),
		b.Created.Compare(a.Created),
		cmp.Compare(specific(b.Tag), specific(a.Tag)),
		cmp.Compare(a.Name(), b.Name()),
		cmp.Compare(a.Reference, b.Reference),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// specific grows with how much a tag says: 12.1-slim is more than 12, and latest
// is nothing.
func specific(tag string) int {
	if tag == "" || tag == "latest" {
		return 0
	}
	n := 1
	for _, c := range tag {
		switch {
		case c == '.' || c == '-' || c == '_':
			n += 2
		case c >= '0' && c <= '9':
			n++
		}
	}
	return n
}

// rootFS are instructions by which the images of distributions begin: a root file
// system that is unpacked whole.
var rootFS = regexp.MustCompile(`^# debian\.sh |^(?:ADD|COPY) \S+ (?:in )?/$|^BusyBox \d`)

// baseOfHistory finds the end of the base in the build history, nil when it is
// not sure. These are the rules, and docs/fix.md tells them to users:
//
//  1. The builder changes: the layers up to there were there before this build,
//     since one build is the work of one builder. Buildah even writes the base's
//     name into the first comment of its own.
//  2. The first layer is the root file system of a distribution, and a CMD
//     follows before the next layer. Dockerfiles have the CMD at their end.
//  3. A CMD or ENTRYPOINT with layers after it and with another one behind them
//     ends a base when the next step was made an hour later or more.
//
// The highest of these ends counts, and only when layers of the image's own
// follow. A base of a base is all that can be seen where none is surer: then
// fewer layers are marked than are the base's, never more.
func baseOfHistory(m *Image) *Base {
	if layersOf(m.History) != len(m.Layers) {
		return nil // nothing tells which step made which layer
	}
	end, from := 0, ""
	for i := 1; i < len(m.History); i++ {
		switch h := m.History; {
		case newBuilder(h[i-1], h[i]), opensImage(h[:i], h[i]), laterBuild(h[:i], h[i:]):
			end, from = i, buildahBase(h[i])
		}
	}
	n := layersOf(m.History[:end])
	if n == 0 || n == len(m.Layers) {
		return nil
	}
	b := &Base{Reference: from, Layers: n, By: BaseByHistory}
	for _, s := range m.History[:end] {
		if s.Created.After(b.Created) {
			b.Created = s.Created
		}
	}
	return b
}

func layersOf(history []Step) int {
	n := 0
	for _, s := range history {
		if !s.Empty {
			n++
		}
	}
	return n
}

// buildah's comment on the first step of a build.
const buildahFrom = "FROM "

func buildahBase(s Step) string {
	from, ok := strings.CutPrefix(s.Comment, buildahFrom)
	if !ok || from == "scratch" {
		return ""
	}
	return from
}

// builder is the program that made a step; empty when it doesn't say.
func (s Step) builder() string {
	switch {
	case s.Comment == "buildkit.dockerfile.v0":
		return "buildkit"
	case strings.HasPrefix(s.Comment, "debuerreotype"):
		return "debuerreotype"
	case strings.HasPrefix(s.CreatedBy, "bazel build "):
		return "bazel"
	case strings.HasPrefix(s.CreatedBy, "jib-"):
		return "jib"
	case s.Comment == "" && strings.HasPrefix(s.CreatedBy, "/bin/sh -c "):
		return "classic"
	}
	return ""
}

func newBuilder(before, s Step) bool {
	if buildahBase(s) != "" {
		return true
	}
	a, b := before.builder(), s.builder()
	return a != "" && b != "" && a != b
}

// opensImage is rule 2: s is the first step after the CMD of a distribution's
// image, of which before are the steps.
func opensImage(before []Step, s Step) bool {
	return layersOf(before) == 1 && before[len(before)-1].emptyCommand() && !s.emptyCommand() &&
		slices.ContainsFunc(before, func(s Step) bool { return !s.Empty && rootFS.MatchString(plainInstruction(s.CreatedBy)) })
}

// plainInstruction is a step without what builders write around it.
func plainInstruction(by string) string {
	by = strings.TrimSuffix(strings.Join(strings.Fields(by), " "), " # buildkit")
	return strings.TrimPrefix(by, "/bin/sh -c #(nop) ")
}

// laterBuild is rule 3.
func laterBuild(before, after []Step) bool {
	last := before[len(before)-1]
	if !last.emptyCommand() || last.Created.IsZero() || after[0].Created.Sub(last.Created) < time.Hour {
		return false
	}
	layer := slices.IndexFunc(after, func(s Step) bool { return !s.Empty })
	return layer >= 0 && slices.ContainsFunc(after[layer:], Step.emptyCommand)
}
