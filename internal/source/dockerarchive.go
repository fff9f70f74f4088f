package source

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"strata/internal/image"
)

// manifestFile lists the images of a docker-archive (moby,
// image/spec/spec.md, "Combined Image JSON + Filesystem Changeset Format").
const manifestFile = "manifest.json"

// A saved image is one entry of manifest.json.
type saved struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

func parseSaved(raw []byte) ([]saved, error) {
	var all []saved
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("%s is not valid JSON: %w", manifestFile, err)
	}
	for i, s := range all {
		if s.Config == "" {
			return nil, fmt.Errorf("%s: image %d names no configuration", manifestFile, i)
		}
	}
	return all, nil
}

func (a *archive) dockerImages(r Ref, o Options) ([]*image.Image, error) {
	raw, err := a.document(manifestFile)
	if err != nil {
		return nil, fmt.Errorf("%s %w", manifestFile, err)
	}
	all, err := parseSaved(raw)
	if err != nil {
		return nil, err
	}
	chosen, err := chooseSaved(all, r)
	if err != nil {
		return nil, err
	}
	m, err := a.dockerImage(chosen)
	if err != nil {
		return nil, err
	}
	if err := checkPlatform(m, o); err != nil {
		return nil, err
	}
	return []*image.Image{m}, nil
}

// checkPlatform refuses an image of a place that has just one, when another
// platform was asked for.
func checkPlatform(m *image.Image, o Options) error {
	asked := o.Platform != image.Platform{} && !o.AllPlatforms
	if asked && m.Platform.OS != "" && fit(m.Platform, o.Platform) == 0 {
		return fmt.Errorf("the image is for %s, not for %s", m.Platform, o.Platform)
	}
	return nil
}

// chooseSaved picks the image that the tag names: by a name with or without its
// default parts, by "@" and the image's id, or as skopeo does by "@" and its
// number.
func chooseSaved(all []saved, r Ref) (saved, error) {
	if len(all) == 0 {
		return saved{}, fmt.Errorf("the archive holds no image: its %s is empty", manifestFile)
	}
	if r.Tag == "" {
		first := all[0]
		if slices.ContainsFunc(all, func(s saved) bool { return s.Config != first.Config }) {
			return saved{}, fmt.Errorf("the archive holds several images, choose one of: %s", savedChoices(all, r))
		}
		return first, nil
	}
	for i, s := range all {
		if s.is(r.Tag) || r.Tag == fmt.Sprintf("@%d", i) {
			return s, nil
		}
	}
	return saved{}, fmt.Errorf("the archive has no image %q, choose one of: %s", r.Tag, savedChoices(all, r))
}

func (s saved) is(tag string) bool {
	if digest, ok := strings.CutPrefix(tag, "@"); ok {
		return s.id() == image.Digest(digest)
	}
	return slices.ContainsFunc(s.RepoTags, func(have string) bool {
		return have == tag || fullName(have) == fullName(tag)
	})
}

// fullName is a name with its default registry and tag, as Docker understands it.
func fullName(s string) string {
	t, err := name.NewTag(s)
	if err != nil {
		return s
	}
	return t.Name()
}

// id is the image's id as the name of its configuration has it: HEX.json,
// sha256:HEX, or blobs/sha256/HEX; empty where the name tells nothing.
func (s saved) id() image.Digest {
	base := strings.TrimSuffix(path.Base(s.Config), ".json")
	d := image.Digest("sha256:" + strings.TrimPrefix(base, "sha256:"))
	if d.Validate() != nil {
		return ""
	}
	return d
}

func savedChoices(all []saved, r Ref) string {
	var list []string
	for i, s := range all {
		if len(s.RepoTags) == 0 {
			list = append(list, r.choice(fmt.Sprintf("@%d", i)))
		}
		for _, t := range s.RepoTags {
			list = append(list, r.choice(t))
		}
	}
	return joinChoices(list)
}

// dockerImage reads an image of the archive. Its layers are known by their diff
// ids alone: how docker save stores them says nothing of any registry.
func (a *archive) dockerImage(s saved) (*image.Image, error) {
	raw, err := a.document(s.Config)
	if err != nil {
		return nil, fmt.Errorf("configuration %s %w", s.Config, err)
	}
	if id := s.id(); id != "" && id != digestOf(raw) {
		return nil, fmt.Errorf("configuration %s: its content is damaged or forged: it has digest %s", s.Config, digestOf(raw))
	}
	c, err := parseConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("configuration %s %w", s.Config, err)
	}
	if len(c.RootFS.DiffIDs) != len(s.Layers) {
		return nil, errCount(len(c.RootFS.DiffIDs), len(s.Layers))
	}
	m := c.image(raw)
	if len(s.RepoTags) > 0 {
		m.Repository, m.Tag = nameParts(s.RepoTags[0])
	}
	for i, layer := range s.Layers {
		l := &m.Layers[i]
		if _, e, err := a.find(layer); err == nil {
			l.Size = e.size
		}
		if d := image.Digest("sha256:" + path.Base(layer)); path.Dir(cleanName(layer)) == "blobs/sha256" && d.Validate() == nil {
			l.Digest = d
		}
	}
	m.Content = a.content(func(l image.Layer) string {
		if l.Index < 0 || l.Index >= len(s.Layers) {
			return ""
		}
		return s.Layers[l.Index]
	})
	return m, nil
}
