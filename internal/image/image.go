// Package image says what a container image is to Strata, an ordered list of
// layers, and reads a layer's tar once: verifying, decompressing and walking it
// in one pass with bounded memory.
//
// It knows nothing of where images come from (package source), nor of what
// their files mean (package analyzer), and it never touches the network.
package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"
)

// A Digest names the bytes of a blob as they are stored and sent, compressed or
// not: "sha256:" and 64 hexadecimal digits. OCI image-spec, descriptor.md.
type Digest string

// A DiffID is the digest of a layer's uncompressed tar. OCI image-spec,
// config.md. It is a type of its own, so that the two can't be mixed up.
type DiffID string

// Validate tells whether d is a well-formed sha256 digest.
func (d Digest) Validate() error { return validateSHA256("digest", string(d)) }

// Validate tells whether d is a well-formed sha256 diff id.
func (d DiffID) Validate() error { return validateSHA256("diff_id", string(d)) }

// Hex is the digest without its algorithm.
func (d Digest) Hex() string { return hexPart(string(d)) }

// Hex is the diff id without its algorithm.
func (d DiffID) Hex() string { return hexPart(string(d)) }

func hexPart(s string) string {
	_, h, _ := strings.Cut(s, ":")
	return h
}

func validateSHA256(what, s string) error {
	h, ok := strings.CutPrefix(s, "sha256:")
	if !ok {
		return fmt.Errorf("%s %q: not a sha256 digest", what, s)
	}
	if len(h) != hex.EncodedLen(sha256.Size) || strings.ToLower(h) != h {
		return fmt.Errorf("%s %q: not 64 lower-case hexadecimal digits", what, s)
	}
	if _, err := hex.DecodeString(h); err != nil {
		return fmt.Errorf("%s %q: not 64 lower-case hexadecimal digits", what, s)
	}
	return nil
}

// A Platform is the operating system and processor an image is built for, in
// Go's names (OCI image-spec, image-index.md).
type Platform struct {
	OS, Architecture, Variant string
}

// String is the form os/arch[/variant]; empty for the zero Platform.
func (p Platform) String() string {
	if p.OS == "" && p.Architecture == "" {
		return ""
	}
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// ParsePlatform reads os/arch[/variant].
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return Platform{}, fmt.Errorf("platform %q: want os/arch or os/arch/variant, as in linux/arm64", s)
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// An Image is one image for one platform.
type Image struct {
	// Reference is what the user asked for, with the tag or digest.
	Reference string
	// Repository and Tag are the parts of the image's name, where the source knows
	// it: as people write it, without the default registry ("debian", "12-slim").
	Repository, Tag string
	// Digest is that of the manifest; empty where the source has none (docker save).
	Digest Digest
	// ConfigDigest is that of the configuration: the image id of Docker.
	ConfigDigest Digest
	Platform     Platform
	Created      time.Time
	Labels       map[string]string
	Annotations  map[string]string
	// Config is how a container of the image runs.
	Config Config
	// Layers are the filesystem layers, lowest first. History entries that made
	// no layer are not among them.
	Layers []Layer
	// History is the build history, oldest first, with the steps that made no
	// layer. Empty when none was recorded.
	History []Step
	// Base is the image that this one was built from (RecogniseBase); nil when it
	// is not known, or was not looked for.
	Base *Base
	// Content gives the layers' bytes.
	Content Content
}

// A Config is how a container runs (OCI image-spec, config.md, "config").
type Config struct {
	// User is a name or number, with a group after a colon; empty means root.
	User            string
	Env             []string
	Entrypoint, Cmd []string
	WorkingDir      string
}

// A Layer is one filesystem layer as the manifest and configuration describe it.
type Layer struct {
	// Index counts the image's filesystem layers from 0.
	Index int
	// Digest is that of the blob; empty where the source only knows diff ids.
	Digest Digest
	// DiffID is that of the uncompressed tar.
	DiffID DiffID
	// MediaType as the manifest has it; may be empty. The compression is told
	// from the blob's first bytes, never from here.
	MediaType string
	// Size of the blob in bytes, -1 where the source doesn't know it.
	Size int64
	// CreatedBy is the instruction of the build history that made the layer.
	CreatedBy string
	Created   time.Time
}

// Content gives the bytes of an image's layers. Some places can open layers in
// any order (a registry, an archive on disk), others only send all of them once,
// in an order of their own (docker save through a socket, a compressed archive).
// Each serves both.
type Content interface {
	// Each calls visit for every wanted layer, at most parallel calls at a time,
	// and returns the first error of visit, or of ctx. A layer that can't be
	// opened or read is not an error of Each: its Blob's Open or Read returns it.
	//
	// Blobs of a sending source may come without an identity (Layer.Index is
	// -1): the visitor tells by the diff id it computes whether it wants them.
	// A wanted layer for which visit was not called was not in the source.
	Each(ctx context.Context, want []Layer, parallel int, visit func(context.Context, Blob) error) error
}

// A Blob is a layer about to be read.
type Blob struct {
	Layer Layer
	// Open returns the blob's bytes, from its start, compressed or not. It is
	// called once. When the reader is also an io.ReaderAt, an uncompressed layer
	// is read from there without copies.
	Open func(context.Context) (io.ReadCloser, error)
}

// Unidentified is the index of a blob whose layer is known only after reading it.
const Unidentified = -1
