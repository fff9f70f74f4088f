package source

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"strata/internal/image"
)

// acceptedManifests is what we can read; schema 1 is asked for so that its own
// error is told, not a registry's.
var acceptedManifests = strings.Join([]string{
	string(types.OCIManifestSchema1), string(types.OCIImageIndex),
	string(types.DockerManifestSchema2), string(types.DockerManifestList),
	string(types.DockerManifestSchema1Signed), string(types.DockerManifestSchema1),
}, ", ")

// openRegistry opens an image of a registry (OCI distribution-spec, "Pull"),
// from the first of its mirrors that has it.
func openRegistry(ctx context.Context, ref string, o Options) ([]*image.Image, io.Closer, error) {
	parsed, err := parseName(ref, o)
	if err != nil {
		return nil, nil, err
	}
	places, err := placesOf(parsed, o)
	if err != nil {
		return nil, nil, err
	}
	base, release, err := newTransport(o)
	if err != nil {
		return nil, nil, err
	}
	var failures []error
	for _, p := range places {
		images, err := p.images(ctx, parsed, base, o)
		if err == nil {
			return images, closing(func() error { release(); return nil }), nil
		}
		if ctx.Err() != nil {
			release()
			return nil, nil, ctx.Err()
		}
		if p.mirror {
			o.Log.Warn("mirror can't give the image", "mirror", p.repository.String(), "reason", err)
			err = fmt.Errorf("mirror %s: %w", p.repository, err)
		}
		failures = append(failures, err)
	}
	release()
	return nil, nil, joined(failures)
}

func parseName(ref string, o Options) (name.Reference, error) {
	var options []name.Option
	if o.Insecure {
		options = append(options, name.Insecure)
	}
	parsed, err := name.ParseReference(ref, options...)
	if err != nil {
		return nil, fmt.Errorf("is not a valid name of an image: %w", err)
	}
	return parsed, nil
}

// joined is one error of several, on one line.
func joined(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	format := strings.TrimSuffix(strings.Repeat("%w; ", len(errs)), "; ")
	args := make([]any, len(errs))
	for i, e := range errs {
		args[i] = e
	}
	return fmt.Errorf(format, args...)
}

// A place is a repository that may have the image: the reference's own, or its
// copy in a mirror.
type place struct {
	repository name.Repository
	mirror     bool
}

// placesOf lists where to look, mirrors first.
func placesOf(ref name.Reference, o Options) ([]place, error) {
	own := ref.Context()
	var places []place
	for _, base := range mirrorsOf(own.Registry, o.Mirrors) {
		repository, err := mirrored(base, own, o)
		if err != nil {
			return nil, err
		}
		places = append(places, place{repository, true})
	}
	return append(places, place{own, false}), nil
}

// mirrorsOf finds the mirrors of a registry, of which Docker Hub has three names.
func mirrorsOf(r name.Registry, mirrors map[string][]string) []string {
	hosts := []string{r.RegistryStr()}
	if r.RegistryStr() == name.DefaultRegistry {
		hosts = append(hosts, "docker.io", "registry-1.docker.io")
	}
	var out []string
	for _, h := range hosts {
		out = append(out, mirrors[h]...)
	}
	return out
}

// mirrored is a repository's name in a mirror.
func mirrored(base string, own name.Repository, o Options) (name.Repository, error) {
	var options []name.Option
	address, plainly := strings.CutPrefix(base, "http://")
	if plainly || o.Insecure {
		options = append(options, name.Insecure)
	}
	host, prefix, _ := strings.Cut(strings.Trim(strings.TrimPrefix(address, "https://"), "/"), "/")
	registry, err := name.NewRegistry(host, options...)
	if err != nil || host == "" {
		return name.Repository{}, fmt.Errorf("mirror %q: is not an address such as https://mirror.example/prefix", base)
	}
	return registry.Repo(strings.Trim(prefix, "/"), own.RepositoryStr()), nil
}

// images opens the image of the place.
func (p place) images(ctx context.Context, ref name.Reference, base http.RoundTripper, o Options) ([]*image.Image, error) {
	r, err := p.connect(ctx, base, o)
	if err != nil {
		return nil, p.wayOut(err, o)
	}
	root, raw, err := r.root(ctx, ref)
	if err != nil {
		return nil, p.wayOut(err, o)
	}
	found := newResolver(r, o)
	found.known[image.Digest(root.Digest.String())] = raw
	images, err := found.images(ctx, []v1.Descriptor{root})
	return images, p.wayOut(err, o)
}

// A repository is the store of a registry's repository.
type repository struct {
	name   name.Repository
	client *http.Client
	o      Options
}

// connect authenticates with the registry.
func (p place) connect(ctx context.Context, base http.RoundTripper, o Options) (*repository, error) {
	auth := p.credentials(ctx, o)
	allowed := &encrypted{next: base, host: p.repository.RegistryStr(), insecure: o.Insecure || p.mirror && p.repository.Scheme() == "http"}
	rt, err := transport.NewWithContext(ctx, p.repository.Registry, auth, allowed, []string{p.repository.Scope(transport.PullScope)})
	if err != nil {
		return nil, err
	}
	return &repository{name: p.repository, client: &http.Client{Transport: rt}, o: o}, nil
}

// credentials are those of the options, else of the user's configuration. A
// configuration that can't be read, such as one that names a credential helper
// of another machine, is no reason not to pull what is public.
func (p place) credentials(ctx context.Context, o Options) authn.Authenticator {
	if !p.mirror {
		switch {
		case o.Token != "":
			return authn.FromConfig(authn.AuthConfig{RegistryToken: o.Token})
		case o.Username != "" || o.Password != "":
			return authn.FromConfig(authn.AuthConfig{Username: o.Username, Password: o.Password})
		}
	}
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, p.repository)
	if err != nil {
		o.Log.Warn("credentials can't be read, going on without", "registry", p.repository.RegistryStr(), "reason", err)
		return authn.Anonymous
	}
	return auth
}

// encrypted refuses plain http with a registry that isn't on the loopback.
// go-containerregistry would fall back to it on private networks, and send
// credentials in the clear to whoever answers.
type encrypted struct {
	next     http.RoundTripper
	host     string
	insecure bool
}

func (e *encrypted) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "http" && !e.insecure && req.URL.Host == e.host && !isLoopback(req.URL.Hostname()) {
		return nil, fmt.Errorf("plain http with %s is refused: allow it by --insecure", e.host)
	}
	return e.next.RoundTrip(req)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// wayOut adds to the usual failures what the user can do.
func (p place) wayOut(err error, o Options) error {
	var answer *transport.Error
	var unknown x509.UnknownAuthorityError
	var hostname x509.HostnameError
	switch host := p.repository.RegistryStr(); {
	case err == nil:
		return nil
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		if o.Username != "" || o.Password != "" || o.Token != "" {
			return fmt.Errorf("%w (the given credentials may not pull it, or it does not exist)", err)
		}
		return fmt.Errorf("%w (it does not exist or needs credentials: run `docker login %s`, or set STRATA_USERNAME and STRATA_PASSWORD)", err, host)
	case errors.As(err, &unknown), errors.As(err, &hostname):
		return fmt.Errorf("%w (give the CA's certificate by --ca-file, or accept any by --insecure)", err)
	case speaksHTTP(err):
		return fmt.Errorf("%w (allow plain http by --insecure)", err)
	}
	return err
}

// root reads the manifest or index that a tag or digest names.
func (r *repository) root(ctx context.Context, ref name.Reference) (v1.Descriptor, []byte, error) {
	raw, announced, err := r.fetch(ctx, ref.Identifier())
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	got := digestOf(raw)
	wanted := announced
	if d, ok := ref.(name.Digest); ok {
		wanted = d.DigestStr()
	}
	if wanted != "" && strings.HasPrefix(wanted, "sha256:") && wanted != string(got) {
		return v1.Descriptor{}, nil, fmt.Errorf("manifest %s: its content is damaged or forged: it has digest %s", wanted, got)
	}
	hash, err := v1.NewHash(string(got))
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	return v1.Descriptor{Digest: hash, Size: int64(len(raw))}, raw, nil
}

func (r *repository) manifest(ctx context.Context, d image.Digest) ([]byte, error) {
	raw, _, err := r.fetch(ctx, string(d))
	return raw, err
}

// fetch reads a manifest, again when its body breaks off, and gives the digest
// that the registry announced, if it did.
func (r *repository) fetch(ctx context.Context, identifier string) (raw []byte, announced string, err error) {
	for try := 0; ; try++ {
		var resp *http.Response
		resp, err = r.get(ctx, "manifests/"+identifier, http.Header{"Accept": {acceptedManifests}}, http.StatusOK)
		if err != nil {
			return nil, "", err
		}
		raw, err = readDocument(resp.Body)
		resp.Body.Close()
		if err == nil {
			return raw, resp.Header.Get("Docker-Content-Digest"), nil
		}
		if try >= r.o.Retries || ctx.Err() != nil || !isPassing(err) {
			return nil, "", fmt.Errorf("manifest %s: %w", identifier, err)
		}
		if err := sleep(ctx, r.o.timing.pause(try)); err != nil {
			return nil, "", err
		}
	}
}

// get makes a request below the repository's address. Redirects are followed;
// the credentials stay with the registry.
func (r *repository) get(ctx context.Context, path string, header http.Header, statuses ...int) (*http.Response, error) {
	resp, err := r.request(ctx, http.MethodGet, path, header)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(resp, statuses...); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

func (r *repository) request(ctx context.Context, method, path string, header http.Header) (*http.Response, error) {
	address := fmt.Sprintf("%s://%s/v2/%s/%s", r.name.Scheme(), r.name.RegistryStr(), r.name.RepositoryStr(), path)
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	return r.client.Do(req)
}

// blob opens a blob such that a broken read goes on where it broke.
func (r *repository) blob(ctx context.Context, d image.Digest, size int64) (io.ReadCloser, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	b := &resumed{ctx: ctx, repository: r, digest: d, size: size}
	if err := b.request(); err != nil {
		var answer *transport.Error
		if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
			return nil, fmt.Errorf("blob %s is not in %s: %w (%w)", d, r.name, err, fs.ErrNotExist)
		}
		return nil, fmt.Errorf("blob %s: %w", d, err)
	}
	return b, nil
}
