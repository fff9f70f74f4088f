package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"strata/internal/image"
)

// A store gives manifests and blobs by their digest: what a registry, an OCI
// layout and containerd have in common. Nothing it gives is verified yet.
type store interface {
	// manifest reads a manifest or index, at most maxDocument bytes.
	manifest(ctx context.Context, d image.Digest) ([]byte, error)
	// blob opens a blob from its start. The size is the expected one, -1 when it
	// isn't known.
	blob(ctx context.Context, d image.Digest, size int64) (io.ReadCloser, error)
}

// Bounds on hostile indexes.
const (
	maxIndexDepth = 8
	maxManifests  = 2000
)

// A resolver finds the wanted images below descriptors.
type resolver struct {
	store    store
	platform image.Platform
	all      bool
	wants    func(image.Platform) bool
	log      *slog.Logger
	// content is what the images found get as theirs.
	content image.Content

	// known are manifests read already.
	known map[image.Digest][]byte
	reads int
}

func newResolver(s store, o Options) *resolver {
	return &resolver{
		store: s, platform: o.Platform, all: o.AllPlatforms, wants: o.Wants, log: o.Log,
		content: randomAccess{open: func(ctx context.Context, l image.Layer) (io.ReadCloser, error) {
			return s.blob(ctx, l.Digest, l.Size)
		}},
		known: map[image.Digest][]byte{},
	}
}

// A candidate is an image of an index before it is read.
type candidate struct {
	descriptor v1.Descriptor
	// platform as the index has it; zero when it says nothing.
	platform image.Platform
	// image once read.
	image *image.Image
}

// images resolves descriptors, through indexes, to one image by platform or to
// all of them.
func (r *resolver) images(ctx context.Context, roots []v1.Descriptor) ([]*image.Image, error) {
	candidates, err := r.flatten(ctx, roots, 0)
	if err != nil {
		return nil, err
	}
	candidates = distinct(candidates)
	if len(candidates) == 0 {
		return nil, fmt.Errorf("%w: the index holds no image, or attestations only", ErrNotImage)
	}
	if r.all {
		return r.every(ctx, candidates)
	}
	m, err := r.one(ctx, candidates)
	if err != nil {
		return nil, err
	}
	return []*image.Image{m}, nil
}

func (r *resolver) every(ctx context.Context, candidates []candidate) ([]*image.Image, error) {
	var out []*image.Image
	var skipped error
	unwanted := false
	for i := range candidates {
		c := &candidates[i]
		if !r.wanted(c.platform) {
			unwanted = true
			continue
		}
		err := r.load(ctx, c)
		switch {
		case err == nil && !r.wanted(c.platform):
			unwanted = true
		case errors.Is(err, ErrNotImage):
			r.log.Warn("child of the index is not an image", "digest", candidates[i].descriptor.Digest, "reason", err)
			skipped = err
		case err != nil:
			return nil, err
		default:
			out = append(out, c.image)
		}
	}
	if len(out) == 0 && !unwanted {
		return nil, skipped
	}
	return out, nil
}

// wanted tells whether an image may be wanted, by what is known of its platform.
func (r *resolver) wanted(p image.Platform) bool {
	return r.wants == nil || p.OS == "" || r.wants(p)
}

func (r *resolver) one(ctx context.Context, candidates []candidate) (*image.Image, error) {
	if len(candidates) == 1 {
		c := &candidates[0]
		if err := r.load(ctx, c); err != nil {
			return nil, err
		}
		if r.platform != (image.Platform{}) && c.platform.OS != "" && fit(c.platform, r.platform) == 0 {
			return nil, fmt.Errorf("the image is for %s, not for %s", c.platform, r.platform)
		}
		return c.image, nil
	}
	readable, err := r.withPlatforms(ctx, candidates)
	if err != nil {
		return nil, err
	}
	wanted := r.platform
	if wanted == (image.Platform{}) {
		wanted = hostPlatform()
	}
	c := best(readable, wanted)
	if c == nil {
		return nil, fmt.Errorf("no image for %s, there is one for: %s", wanted, platformsOf(readable))
	}
	if err := r.load(ctx, c); err != nil {
		return nil, err
	}
	return c.image, nil
}

// withPlatforms reads the configurations of images of which the index doesn't
// say what they are for, and drops what turns out not to be an image.
func (r *resolver) withPlatforms(ctx context.Context, candidates []candidate) ([]candidate, error) {
	var out []candidate
	for _, c := range candidates {
		if c.platform.OS == "" {
			err := r.load(ctx, &c)
			if errors.Is(err, ErrNotImage) {
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// flatten lists the images below descriptors, in order, without attestations.
func (r *resolver) flatten(ctx context.Context, descriptors []v1.Descriptor, depth int) ([]candidate, error) {
	if depth > maxIndexDepth {
		return nil, fmt.Errorf("indexes are nested more than %d deep", maxIndexDepth)
	}
	var out []candidate
	for _, d := range descriptors {
		if isAttestation(d) {
			continue
		}
		if d.MediaType.IsImage() {
			out = append(out, candidate{descriptor: d, platform: platformOf(d.Platform)})
			continue
		}
		doc, err := r.document(ctx, d)
		if errors.Is(err, ErrNotImage) && len(descriptors) > 1 {
			r.log.Debug("child of the index is not an image", "digest", d.Digest, "reason", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		if doc.index == nil {
			out = append(out, candidate{descriptor: d, platform: platformOf(d.Platform)})
			continue
		}
		below, err := r.flatten(ctx, doc.index.Manifests, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, below...)
	}
	return out, nil
}

// isAttestation tells BuildKit's attestation manifests (docs/attestations in its
// repository), which stand in an index beside the images they are about.
func isAttestation(d v1.Descriptor) bool {
	if _, ok := d.Annotations["vnd.docker.reference.type"]; ok {
		return true
	}
	return d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}

func distinct(candidates []candidate) []candidate {
	seen := map[v1.Hash]bool{}
	var out []candidate
	for _, c := range candidates {
		if !seen[c.descriptor.Digest] {
			seen[c.descriptor.Digest] = true
			out = append(out, c)
		}
	}
	return out
}

// document reads and verifies the manifest or index that a descriptor names.
func (r *resolver) document(ctx context.Context, d v1.Descriptor) (document, error) {
	raw, err := r.manifest(ctx, d)
	if err != nil {
		return document{}, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	doc, err := parseDocument(raw)
	if err != nil {
		return document{}, fmt.Errorf("manifest %s %w", d.Digest, err)
	}
	return doc, nil
}

func (r *resolver) manifest(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	digest := image.Digest(d.Digest.String())
	if err := digest.Validate(); err != nil {
		return nil, err
	}
	if raw, ok := r.known[digest]; ok {
		return raw, checkSize(raw, d.Size)
	}
	if r.reads++; r.reads > maxManifests {
		return nil, fmt.Errorf("the index holds more than %d manifests", maxManifests)
	}
	raw, err := r.store.manifest(ctx, digest)
	if err != nil {
		return nil, err
	}
	if err := verify(raw, digest, d.Size); err != nil {
		return nil, err
	}
	r.known[digest] = raw
	return raw, nil
}

// verify holds a document against its descriptor.
func verify(raw []byte, digest image.Digest, size int64) error {
	if got := digestOf(raw); got != digest {
		return fmt.Errorf("its content is damaged or forged: it has digest %s", got)
	}
	return checkSize(raw, size)
}

func checkSize(raw []byte, size int64) error {
	if int64(len(raw)) != size {
		return fmt.Errorf("has %d bytes, its descriptor says %d", len(raw), size)
	}
	return nil
}

// load reads a candidate's image.
func (r *resolver) load(ctx context.Context, c *candidate) error {
	if c.image != nil {
		return nil
	}
	doc, err := r.document(ctx, c.descriptor)
	if err != nil {
		return err
	}
	digest := image.Digest(c.descriptor.Digest.String())
	if doc.manifest == nil {
		return fmt.Errorf("manifest %s is an index, where %s was announced", digest, c.descriptor.MediaType)
	}
	if err := checkFilesystem(doc.manifest); err != nil {
		return fmt.Errorf("manifest %s: %w", digest, err)
	}
	config, err := r.config(ctx, doc.manifest.Config)
	if err != nil {
		return fmt.Errorf("configuration %s: %w", doc.manifest.Config.Digest, err)
	}
	m, err := imageOf(doc.manifest, config)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", digest, err)
	}
	m.Digest = digest
	m.Content = r.content
	if m.Platform.OS == "" {
		m.Platform = c.platform
	}
	c.platform, c.image = m.Platform, m
	return nil
}

func (r *resolver) config(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	digest := image.Digest(d.Digest.String())
	if err := digest.Validate(); err != nil {
		return nil, err
	}
	if d.Size < 0 || d.Size > maxDocument {
		return nil, fmt.Errorf("its descriptor says %d bytes, read up to %d MiB", d.Size, maxDocument>>20)
	}
	blob, err := r.store.blob(ctx, digest, d.Size)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	raw, err := readDocument(blob)
	if err != nil {
		return nil, err
	}
	return raw, verify(raw, digest, d.Size)
}

// platformsOf lists what there is, for an error.
func platformsOf(candidates []candidate) string {
	var names []string
	for _, c := range candidates {
		name := c.platform.String()
		if name == "" {
			name = "an unnamed platform"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
