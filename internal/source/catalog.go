package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"strata/internal/image"
)

// Bounds on what a registry may list.
const (
	maxCatalogPages  = 10_000
	maxRegistryTags  = 1_000_000
	maxRegistryPages = 10_000
)

// ErrNoCatalog is wrapped by the error of a registry that lists no repositories, or
// not to these credentials.
var ErrNoCatalog = errors.New("the registry does not list its repositories")

// Catalog gives the names of a registry's repositories, page by page, in the
// registry's order (Docker Registry HTTP API V2, "Listing Repositories"; OCI
// distribution-spec reserves the endpoint). host is its name with the port. The error says
// in words what is wrong and what can be done.
func Catalog(ctx context.Context, host string, o Options, page func(repositories []string) error) error {
	o = o.defaulted()
	err := catalog(ctx, host, o, maxCatalogPages, page)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	default:
		err = explained(err, o)
	}
	return fmt.Errorf("catalogue of %s: %w", host, err)
}

func catalog(ctx context.Context, host string, o Options, pages int, give func([]string) error) error {
	client, address, release, err := catalogClient(ctx, host, o)
	if err != nil {
		return err
	}
	defer release()
	next, err := url.Parse(address + "/v2/_catalog?n=1000")
	if err != nil {
		return err
	}
	for range pages {
		names, link, err := catalogPage(ctx, client, next)
		if err != nil {
			return err
		}
		if err := give(names); err != nil {
			return err
		}
		if link == "" {
			return nil
		}
		to, err := next.Parse(link)
		if err != nil {
			return fmt.Errorf("the address of the next page is not valid: %w", err)
		}
		if to.Host != next.Host || to.Scheme != next.Scheme {
			return fmt.Errorf("the next page of the catalogue is said to be at another host, %s", to.Host)
		}
		if to.String() == next.String() {
			return nil
		}
		next = to
	}
	return nil
}

// catalogClient is allowed to list the repositories, as far as the credentials allow it.
func catalogClient(ctx context.Context, host string, o Options) (client *http.Client, address string, release func(), err error) {
	p, base, release, err := registryPlace(host, o)
	if err != nil {
		return nil, "", nil, err
	}
	allowed := &encrypted{next: base, host: p.repository.RegistryStr(), insecure: o.Insecure}
	rt, err := transport.NewWithContext(ctx, p.repository.Registry, p.credentials(ctx, o), allowed, []string{p.repository.Registry.Scope("")})
	if err != nil {
		release()
		return nil, "", nil, err
	}
	return &http.Client{Transport: rt}, p.repository.Scheme() + "://" + p.repository.RegistryStr(), release, nil
}

// registryPlace is a place in a registry, of which only the registry counts.
func registryPlace(host string, o Options) (place, http.RoundTripper, func(), error) {
	var options []name.Option
	if o.Insecure {
		options = append(options, name.Insecure)
	}
	registry, err := name.NewRegistry(host, options...)
	if err != nil {
		return place{}, nil, nil, fmt.Errorf("is not the name of a registry: %w", err)
	}
	base, release, err := newTransport(o)
	if err != nil {
		return place{}, nil, nil, err
	}
	return place{repository: registry.Repo("x")}, base, release, nil
}

func catalogPage(ctx context.Context, client *http.Client, at *url.URL) (names []string, next string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if err := transport.CheckError(resp, http.StatusOK); err != nil {
		switch resp.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
			err = fmt.Errorf("%w: %w", ErrNoCatalog, err)
		}
		return nil, "", err
	}
	raw, err := readDocument(resp.Body)
	if err != nil {
		return nil, "", err
	}
	var list struct {
		Repositories []string `json:"repositories"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, "", fmt.Errorf("the registry's answer is not valid JSON: %w", err)
	}
	for _, n := range list.Repositories {
		if _, err := name.NewRepository("x.example/" + n); err == nil { // what is no name can't be asked for
			names = append(names, n)
		}
	}
	return names, nextLink(resp.Header.Get("Link")), nil
}

// nextLink is the address of the next page: `<ADDRESS>; rel="next"` (RFC 8288).
func nextLink(header string) string {
	for part := range strings.SplitSeq(header, ",") {
		address, rest, ok := strings.Cut(strings.TrimSpace(part), ">")
		if ok && strings.HasPrefix(address, "<") && (strings.Contains(rest, `rel="next"`) || strings.Contains(rest, "rel=next")) {
			return address[1:]
		}
	}
	return ""
}

// A Repository is one of a registry, to be asked many things. Close it at the end.
type Repository struct {
	repository *repository
	place      place
	release    func()
}

// OpenRepository connects with the repository of a name such as
// "registry.example/team/app". Mirrors are not asked.
func OpenRepository(ctx context.Context, ref string, o Options) (*Repository, error) {
	o = o.defaulted()
	parsed, err := parseName(ref, o)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", ref, err)
	}
	base, release, err := newTransport(o)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", ref, err)
	}
	p := place{repository: parsed.Context()}
	r, err := p.connect(ctx, base, o)
	if err != nil {
		release()
		return nil, fmt.Errorf("repository %s: %w", ref, orMissing(err))
	}
	return &Repository{repository: r, place: p, release: release}, nil
}

// Close lets go of connections.
func (r *Repository) Close() { r.release() }

// orMissing wraps fs.ErrNotExist where a registry says that it has no such thing.
func orMissing(err error) error {
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%w (%w)", err, fs.ErrNotExist)
	}
	return err
}

// Tags lists all tags, in the registry's order; the error wraps fs.ErrNotExist when
// there is no such repository.
func (r *Repository) Tags(ctx context.Context) ([]string, error) {
	tags, complete, err := r.repository.tags(ctx, maxRegistryTags, maxRegistryPages)
	if err == nil && !complete {
		err = fmt.Errorf("more than %d tags, or pages of them", len(tags))
	}
	if err != nil {
		return nil, fmt.Errorf("tags of %s: %w", r.place.repository, orMissing(err))
	}
	return tags, nil
}

// A Head is what a registry says a tag or digest names, without sending it.
type Head struct {
	Digest    image.Digest
	MediaType string
}

// Head asks what a tag or digest names, by HEAD; where a registry doesn't tell the
// digest, or doesn't know HEAD, the manifest is read. The error wraps fs.ErrNotExist
// when the registry doesn't have it.
func (r *Repository) Head(ctx context.Context, identifier string) (Head, error) {
	h, err := r.repository.head(ctx, identifier)
	if err != nil {
		return Head{}, fmt.Errorf("%s of %s: %w", identifier, r.place.repository, orMissing(err))
	}
	return h, nil
}

func (r *repository) head(ctx context.Context, identifier string) (Head, error) {
	resp, err := r.request(ctx, http.MethodHead, "manifests/"+identifier, http.Header{"Accept": {acceptedManifests}})
	if err != nil {
		return Head{}, err
	}
	defer resp.Body.Close()
	h := Head{Digest: image.Digest(resp.Header.Get("Docker-Content-Digest")), MediaType: resp.Header.Get("Content-Type")}
	switch {
	case resp.StatusCode == http.StatusOK && h.Digest.Validate() == nil:
		return h, nil
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusUnauthorized:
		return Head{}, transport.CheckError(resp, http.StatusOK)
	}
	raw, _, err := r.fetch(ctx, identifier)
	if err != nil {
		return Head{}, err
	}
	var shape struct {
		MediaType string `json:"mediaType"`
	}
	if json.Unmarshal(raw, &shape) == nil && shape.MediaType != "" { // optional in OCI's
		h.MediaType = shape.MediaType
	}
	return Head{Digest: digestOf(raw), MediaType: h.MediaType}, nil
}
