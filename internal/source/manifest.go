package source

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"strata/internal/image"
)

// maxDocument is how large a manifest, index or configuration may be, in bytes.
// The distribution-spec asks registries to take manifests of 4 MiB.
const maxDocument = 8 << 20

// maxSteps is how many steps of a build history are kept.
const maxSteps = 10_000

// ErrNotImage is wrapped by the errors of manifests that are well-formed but hold no
// filesystem: charts, signatures, attestations.
var ErrNotImage = errors.New("not a container image")

// A document is a parsed manifest or index: one of the two is not nil.
type document struct {
	manifest *v1.Manifest
	index    *v1.IndexManifest
}

// parseDocument reads a manifest or index of OCI (image-spec, manifest.md and
// image-index.md) or of Docker's schema 2. What is both or neither is refused,
// as manifest.md asks since CVE-2021-41190.
func parseDocument(raw []byte) (document, error) {
	var shape struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     types.MediaType `json:"mediaType"`
		Config        json.RawMessage `json:"config"`
		Layers        json.RawMessage `json:"layers"`
		FSLayers      json.RawMessage `json:"fsLayers"`
		Manifests     json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &shape); err != nil {
		return document{}, fmt.Errorf("is not valid JSON: %w", err)
	}
	isManifest, isIndex := shape.Config != nil || shape.Layers != nil, shape.Manifests != nil
	switch {
	case shape.SchemaVersion == 1, shape.FSLayers != nil,
		shape.MediaType == types.DockerManifestSchema1, shape.MediaType == types.DockerManifestSchema1Signed:
		return document{}, errors.New("is of Docker's schema 1, which was retired: push the image again, or convert it with `skopeo copy --format v2s2`")
	case isManifest && isIndex:
		return document{}, errors.New("is ambiguous: it has both layers and manifests")
	case isIndex && shape.MediaType.IsImage(), isManifest && shape.MediaType.IsIndex():
		return document{}, fmt.Errorf("is ambiguous: its media type %s is not what it holds", shape.MediaType)
	case isIndex:
		d := document{index: &v1.IndexManifest{}}
		if err := json.Unmarshal(raw, d.index); err != nil {
			return document{}, fmt.Errorf("is not a valid index: %w", err)
		}
		return d, nil
	case isManifest:
		d := document{manifest: &v1.Manifest{}}
		if err := json.Unmarshal(raw, d.manifest); err != nil {
			return document{}, fmt.Errorf("is not a valid manifest: %w", err)
		}
		return d, nil
	case shape.MediaType != "" && !shape.MediaType.IsImage() && !shape.MediaType.IsIndex():
		return document{}, fmt.Errorf("%w: its media type is %s", ErrNotImage, shape.MediaType)
	}
	return document{}, errors.New("has neither layers nor manifests")
}

// imageConfig is what we need of an image's configuration (OCI image-spec,
// config.md). Times are read leniently: a wrong one is no reason to refuse.
type imageConfig struct {
	Architecture string    `json:"architecture"`
	OS           string    `json:"os"`
	Variant      string    `json:"variant"`
	Created      moment    `json:"created"`
	Config       runConfig `json:"config"`
	RootFS       struct {
		DiffIDs []image.DiffID `json:"diff_ids"`
	} `json:"rootfs"`
	History []step `json:"history"`
}

// A runConfig is how a container runs, with the labels; an engine tells it in the
// same form. What of it is of another form than config.md says is passed over,
// but for labels: it is no reason to refuse the image.
type runConfig struct {
	labels map[string]string
	run    image.Config
}

// UnmarshalJSON reads it.
func (c *runConfig) UnmarshalJSON(b []byte) error {
	var labels struct{ Labels map[string]string }
	if err := json.Unmarshal(b, &labels); err != nil {
		return err
	}
	c.labels = labels.Labels
	var fields map[string]json.RawMessage
	if json.Unmarshal(b, &fields) != nil {
		return nil // null
	}
	for name, into := range map[string]any{
		"User": &c.run.User, "Env": &c.run.Env, "Entrypoint": &c.run.Entrypoint, "Cmd": &c.run.Cmd, "WorkingDir": &c.run.WorkingDir,
	} {
		if raw := fields[name]; raw != nil {
			_ = json.Unmarshal(raw, into) // of another form
		}
	}
	return nil
}

// A step is one instruction of the build history.
type step struct {
	Created    moment `json:"created"`
	CreatedBy  string `json:"created_by"`
	Comment    string `json:"comment"`
	EmptyLayer bool   `json:"empty_layer"`
}

// A moment is a time that is zero when it can't be read.
type moment struct{ time.Time }

// UnmarshalJSON never fails.
func (m *moment) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		m.Time, _ = time.Parse(time.RFC3339Nano, s)
	}
	return nil
}

func parseConfig(raw []byte) (*imageConfig, error) {
	c := &imageConfig{}
	if err := json.Unmarshal(raw, c); err != nil {
		return nil, fmt.Errorf("is not valid JSON: %w", err)
	}
	for i, d := range c.RootFS.DiffIDs {
		if err := d.Validate(); err != nil {
			return nil, fmt.Errorf("names layer %d wrongly: %w", i, err)
		}
	}
	return c, nil
}

func (c *imageConfig) platform() image.Platform {
	return image.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}
}

// image makes the Image of a configuration, with a layer for each of its diff
// ids; where their blobs are is for the caller to fill in.
func (c *imageConfig) image(raw []byte) *image.Image {
	m := &image.Image{
		ConfigDigest: digestOf(raw), Platform: c.platform(), Created: c.Created.Time, Labels: c.Config.labels, Config: c.Config.run,
		Layers: make([]image.Layer, len(c.RootFS.DiffIDs)),
	}
	steps := alignHistory(c.History, len(m.Layers))
	for _, s := range c.History[:min(len(c.History), maxSteps)] {
		m.History = append(m.History, image.Step{Created: s.Created.Time, CreatedBy: s.CreatedBy, Comment: s.Comment, Empty: s.EmptyLayer})
	}
	for i, d := range c.RootFS.DiffIDs {
		m.Layers[i] = image.Layer{Index: i, DiffID: d, Size: -1, CreatedBy: steps[i].by(), Created: steps[i].Created.Time}
	}
	return m
}

// by is the instruction, or the comment of tools that write only that.
func (s step) by() string {
	if s.CreatedBy == "" {
		return s.Comment
	}
	return s.CreatedBy
}

// alignHistory gives the step that made each of n layers. A history that doesn't
// fit the layers (config.md makes it optional) tells nothing: rather no
// instruction than a wrong one.
func alignHistory(history []step, n int) []step {
	made := make([]step, 0, n)
	for _, s := range history {
		if !s.EmptyLayer {
			made = append(made, s)
		}
	}
	if len(made) != n {
		return make([]step, n)
	}
	return made
}

// imageOf joins a manifest with its configuration.
func imageOf(m *v1.Manifest, config []byte) (*image.Image, error) {
	c, err := parseConfig(config)
	if err != nil {
		return nil, fmt.Errorf("configuration %s %w", m.Config.Digest, err)
	}
	if got, want := len(c.RootFS.DiffIDs), len(m.Layers); got != want {
		return nil, errCount(got, want)
	}
	img := c.image(config)
	img.Annotations = m.Annotations
	for i, d := range m.Layers {
		l := &img.Layers[i]
		l.Digest, l.MediaType, l.Size = image.Digest(d.Digest.String()), string(d.MediaType), d.Size
		if err := l.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
		if d.Size < 0 {
			return nil, fmt.Errorf("layer %d: its size is %d", i, d.Size)
		}
	}
	return img, nil
}

// errCount is the error of a configuration that doesn't fit its manifest: which
// layer has which diff id can't be told then.
func errCount(diffIDs, layers int) error {
	return fmt.Errorf("config lists %d diff_ids, manifest %d layers", diffIDs, layers)
}

// checkFilesystem refuses manifests whose configuration or layers are not those
// of a filesystem: the distribution-spec lets a registry hold anything.
func checkFilesystem(m *v1.Manifest) error {
	switch m.Config.MediaType {
	case "", types.DockerConfigJSON, types.OCIConfigJSON:
	default:
		return fmt.Errorf("%w: its configuration is %s", ErrNotImage, m.Config.MediaType)
	}
	for i, l := range m.Layers {
		if strings.HasPrefix(string(l.MediaType), "application/vnd.in-toto") {
			return fmt.Errorf("%w: its layer %d is an attestation, %s", ErrNotImage, i, l.MediaType)
		}
	}
	return nil
}

func digestOf(b []byte) image.Digest {
	sum := sha256.Sum256(b)
	return image.Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// readDocument reads a document of at most maxDocument bytes.
func readDocument(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxDocument {
		return nil, fmt.Errorf("is larger than %d MiB", maxDocument>>20)
	}
	return b, nil
}
