package imagetest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Media types of the OCI image-spec.
const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
)

// An Image is a built Spec: the bytes as a registry would hold them. Tests of
// damaged images change them before writing.
type Image struct {
	// Name is the Spec's.
	Name string
	// Manifest and Config are JSON documents, Blobs the layers as stored and
	// Tars the layers uncompressed, lowest first.
	Manifest, Config []byte
	Blobs, Tars      [][]byte

	os, architecture, variant string
}

// Digest is that of the manifest.
func (m *Image) Digest() string { return Digest(m.Manifest) }

// ConfigDigest is the image id.
func (m *Image) ConfigDigest() string { return Digest(m.Config) }

// DiffID is the digest of layer i's tar.
func (m *Image) DiffID(i int) string { return Digest(m.Tars[i]) }

// BlobDigest is the digest of layer i's blob.
func (m *Image) BlobDigest(i int) string { return Digest(m.Blobs[i]) }

// Digest is the sha256 of data in the form of a digest.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// descriptor of the OCI image-spec (descriptor.md).
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

// manifest of the OCI image-spec (manifest.md).
type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`

	Annotations map[string]string `json:"annotations,omitempty"`
}

// index of the OCI image-spec (image-index.md).
type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

// config of the OCI image-spec (config.md).
type config struct {
	Created time.Time `json:"created"`
	platform
	Config  containerConfig `json:"config"`
	RootFS  rootFS          `json:"rootfs"`
	History []history       `json:"history,omitempty"`
}

type containerConfig struct {
	Labels map[string]string `json:"Labels,omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type history struct {
	Created    time.Time `json:"created"`
	CreatedBy  string    `json:"created_by,omitempty"`
	EmptyLayer bool      `json:"empty_layer,omitempty"`
}

// Build makes the image, the same bytes for the same Spec.
func (s *Spec) Build() (*Image, error) {
	m := &Image{Name: s.Name, os: s.OS, architecture: s.Architecture, variant: s.Variant}
	if m.os == "" {
		m.os, m.architecture = "linux", "amd64"
	}
	c := config{
		Created:  s.created(),
		platform: m.platform(),
		Config:   containerConfig{Labels: s.Labels},
		RootFS:   rootFS{Type: "layers", DiffIDs: []string{}},
	}
	man := manifest{SchemaVersion: 2, MediaType: manifestType, Layers: []descriptor{}, Annotations: s.Annotations}
	for i, l := range s.Layers {
		plain, err := s.LayerTar(i)
		if err != nil {
			return nil, err
		}
		blob, err := l.Compression.compress(plain)
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
		m.Tars = append(m.Tars, plain)
		m.Blobs = append(m.Blobs, blob)
		man.Layers = append(man.Layers, describe(l.Compression.mediaType(), blob))
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, Digest(plain))
		for _, by := range l.Before {
			c.History = append(c.History, history{Created: s.created(), CreatedBy: by, EmptyLayer: true})
		}
		c.History = append(c.History, history{Created: s.created(), CreatedBy: l.CreatedBy})
	}
	for _, by := range s.After {
		c.History = append(c.History, history{Created: s.created(), CreatedBy: by, EmptyLayer: true})
	}
	m.Config = mustJSON(c)
	man.Config = describe(configType, m.Config)
	m.Manifest = mustJSON(man)
	return m, nil
}

func (m *Image) platform() platform {
	return platform{OS: m.os, Architecture: m.architecture, Variant: m.variant}
}

func describe(mediaType string, data []byte) descriptor {
	return descriptor{MediaType: mediaType, Digest: Digest(data), Size: len(data)}
}

// mustJSON encodes one of the types above, which can't fail.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("imagetest: %T has no JSON form: %v", v, err))
	}
	return b
}
