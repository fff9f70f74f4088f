// Package source opens the image that a reference names, wherever it lies: in a
// registry, in the Docker or Podman daemon, in containerd, in an archive or in
// an OCI layout.
//
// It gives images and their layers as bytes; it neither decompresses nor walks
// layers (package image does, and verifies their digests there). Manifests and
// configurations are verified here, before anything of them is believed.
//
// It is the only package that imports go-containerregistry, of which it uses the
// names, the authentication and the manifest's types. Blobs are read by its own
// requests, since a broken read has to go on where it broke.
package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"strata/internal/image"
)

// Options say how images are opened. The zero value is useful: the host's
// platform, the user's own Docker credentials, verified TLS.
type Options struct {
	// Platform asks for one image of an index. The zero Platform takes
	// linux/GOARCH, or an index's only image whatever it is for.
	Platform image.Platform
	// AllPlatforms opens every image of an index. Platform is then ignored.
	AllPlatforms bool
	// Wants tells, with AllPlatforms, whether images for a platform are wanted, so that
	// there may be none; those of which the index tells another are not even read. nil
	// wants all.
	Wants func(image.Platform) bool

	// Insecure allows plain http and certificates that can't be verified.
	// Without it, http is used with registries on the loopback only.
	Insecure bool
	// CAFile holds PEM certificates to trust besides the system's.
	CAFile string
	// Username and Password, or Token (a bearer token of the registry), are used
	// instead of the credentials and credential helpers of Docker's and Podman's
	// configuration. They are sent to the reference's registry, never to a mirror.
	Username, Password, Token string
	// Mirrors are tried before a registry: by its host ("docker.io"), base
	// addresses such as "mirror.example:5000" or
	// "https://harbor.example/dockerhub".
	Mirrors map[string][]string
	// Retries is how often a failed request is made again, and how often a blob
	// may break without progress: 0 means 4, a negative number none.
	Retries int
	// Transport makes the requests to registries; nil means one of our own with
	// time limits. CAFile and Insecure's certificates need our own.
	Transport http.RoundTripper

	// DockerHost overrides DOCKER_HOST and the Docker context, PodmanSocket the
	// places where Podman's socket is looked for, ContainerdSocket
	// /run/containerd/containerd.sock. Each is a path or an address such as
	// unix:///path or tcp://host:2375.
	DockerHost, PodmanSocket, ContainerdSocket string
	// ContainerdNamespace is where containerd looks; empty means default, k8s.io
	// and moby, in that order.
	ContainerdNamespace string

	// Env looks up environment variables that say where engines are (DOCKER_HOST,
	// DOCKER_CONTEXT, CONTAINER_HOST, XDG_RUNTIME_DIR and those about TLS); nil
	// means that none is set.
	Env func(string) string

	// Log is told of retries and of sources passed over; nil discards.
	Log *slog.Logger

	timing timing
}

// timing is what tests speed up.
type timing struct {
	// now is the clock against which Retry-After dates are read.
	now func() time.Time
	// backoff is the first pause between tries; it doubles each time.
	backoff time.Duration
	// idle is how long a blob may send nothing before it counts as broken.
	idle time.Duration
}

// defaulted fills in what the zero value leaves open.
func (o Options) defaulted() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Env == nil {
		o.Env = func(string) string { return "" }
	}
	switch {
	case o.Retries == 0:
		o.Retries = 4
	case o.Retries < 0:
		o.Retries = 0
	}
	if o.timing.now == nil {
		o.timing.now = time.Now
	}
	if o.timing.backoff == 0 {
		o.timing.backoff = 500 * time.Millisecond
	}
	if o.timing.idle == 0 {
		o.timing.idle = time.Minute
	}
	return o
}

// Open opens what ref names (see Parse): one image, or with AllPlatforms every
// image of an index. The images' Content may be read until the Closer, which is
// never nil without an error, is closed.
//
// A name without a scheme is looked for in the Docker daemon, in Podman and in
// its registry; when it is nowhere the error is a *NotFoundError. A root
// filesystem or an SBOM is not an image: Open refuses it, callers tell by Parse.
//
// An image with a missing or damaged layer opens: reading that layer fails. One
// with a missing or damaged manifest or configuration doesn't.
func Open(ctx context.Context, ref string, o Options) ([]*image.Image, io.Closer, error) {
	r, err := Parse(ref)
	if err != nil {
		return nil, nil, err
	}
	o = o.defaulted()
	images, closer, err := open(ctx, r, o)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, nil, fmt.Errorf("image %s: %w", ref, err)
	}
	for _, m := range images {
		m.Reference = ref
		if m.Repository == "" {
			m.Repository, m.Tag = r.Name()
		}
	}
	return images, closer, nil
}

func open(ctx context.Context, r Ref, o Options) ([]*image.Image, io.Closer, error) {
	switch r.Scheme {
	case Registry:
		return hinted(r)(openRegistry(ctx, r.Path, o))
	case Docker:
		return hinted(r)(openDocker(ctx, r.Path, o))
	case Podman:
		return hinted(r)(openPodman(ctx, r.Path, o))
	case Containerd:
		return hinted(r)(openContainerd(ctx, r.Path, o))
	case OCI:
		return openLayout(ctx, r, o)
	case DockerArchive, OCIArchive, Archive:
		return openArchive(ctx, r, o)
	case Dir, SBOM:
		return nil, nil, fmt.Errorf("%s is not an image with layers (%s)", r.Path, r.Scheme)
	default:
		return openAnywhere(ctx, r.Path, o)
	}
}

// hinted adds a way out for names like registry:2, which are an image of Docker
// Hub to some and a scheme to us.
func hinted(r Ref) func([]*image.Image, io.Closer, error) ([]*image.Image, io.Closer, error) {
	return func(images []*image.Image, closer io.Closer, err error) ([]*image.Image, io.Closer, error) {
		scheme, rest, ok := strings.Cut(r.String, ":")
		if err != nil && ok && scheme == string(r.Scheme) && !strings.ContainsAny(rest, ":/@") {
			err = fmt.Errorf("%w (for tag %s of the image called %q, write registry:%s)", err, rest, scheme, r.String)
		}
		return images, closer, err
	}
}

// A NotFoundError tells where a name without a scheme was looked for.
type NotFoundError struct {
	Name string
	// Tried is each place with its reason, in the order in which they were tried.
	Tried []Attempt
}

// An Attempt is one place that could not give an image, and why.
type Attempt struct {
	Scheme Scheme
	Err    error
}

func (e *NotFoundError) Error() string {
	var b strings.Builder
	b.WriteString("could not be had from anywhere:")
	for _, a := range e.Tried {
		fmt.Fprintf(&b, "\n  %s: %v", a.Scheme, a.Err)
	}
	return b.String()
}

// Unwrap gives the reasons to errors.Is and errors.As.
func (e *NotFoundError) Unwrap() []error {
	errs := make([]error, len(e.Tried))
	for i, a := range e.Tried {
		errs[i] = a.Err
	}
	return errs
}

// openAnywhere tries the places where a plain name may be. That there is no
// daemon is a reason like any other.
func openAnywhere(ctx context.Context, name string, o Options) ([]*image.Image, io.Closer, error) {
	if looksLikePath(name) {
		return nil, nil, errors.New("no such file or directory")
	}
	places := []struct {
		scheme Scheme
		open   func(context.Context, string, Options) ([]*image.Image, io.Closer, error)
	}{{Docker, openDocker}, {Podman, openPodman}, {Registry, openRegistry}}
	missing := &NotFoundError{Name: name}
	for _, p := range places {
		images, closer, err := p.open(ctx, name, o)
		if err == nil {
			return images, closer, nil
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		o.Log.Debug("image not there", "source", p.scheme, "image", name, "reason", err)
		missing.Tried = append(missing.Tried, Attempt{p.scheme, err})
	}
	return nil, nil, missing
}

// closing is a Closer made of a function.
type closing func() error

func (c closing) Close() error {
	if c == nil {
		return nil
	}
	return c()
}
