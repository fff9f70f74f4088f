package server

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/auth"
	"strata/internal/jobs"
	"strata/internal/source"
	"strata/internal/store"
)

// A Registry is where images are.
type Registry struct {
	Name           string                 `json:"name"`
	URL            string                 `json:"url"`
	Kind           string                 `json:"kind" enum:"crawled,submitted" doc:"submitted: only clients have told of its images"`
	Settings       store.RegistrySettings `json:"settings"`
	HasCredentials bool                   `json:"has_credentials" doc:"what they are is never shown"`
	HasHookSecret  bool                   `json:"has_hook_secret" doc:"it may send notifications"`
	HookURL        string                 `json:"hook_url,omitempty" doc:"where it sends notifications"`
	Paused         bool                   `json:"paused"`
	CreatedAt      time.Time              `json:"created_at"`
	UpdatedAt      time.Time              `json:"updated_at"`
	CrawlDueAt     time.Time              `json:"crawl_due_at,omitzero" doc:"when it is read next"`
	CrawledAt      time.Time              `json:"crawled_at,omitzero" doc:"when it was last read to the end"`
	CrawlError     string                 `json:"crawl_error,omitempty" doc:"what could not be read the last time, a line each; POST /api/v1/registries/{name}/test tries again, at once"`
	CrawlProgress  string                 `json:"crawl_progress,omitempty"`
	Declared       string                 `json:"declared,omitempty" doc:"where settings declare it: what is changed here lasts until the server starts anew"`
	Manifests      *ManifestCounts        `json:"manifests,omitempty" doc:"how many there are, by state; in answers to GET"`
}

// ManifestCounts are the manifests of a registry by what is done with them.
type ManifestCounts struct {
	Due      int `json:"due"`
	Scanning int `json:"scanning"`
	Scanned  int `json:"scanned"`
	Parked   int `json:"parked"`
}

// RegistryCredentials are a name with a password, or a bearer token.
type RegistryCredentials struct {
	Username string `json:"username,omitempty" maxLength:"1000"`
	Password string `json:"password,omitempty" maxLength:"20000"`
	Token    string `json:"token,omitempty" maxLength:"20000"`
}

// NewRegistry is a registry to be.
type NewRegistry struct {
	Name        string                 `json:"name" maxLength:"100" doc:"letters, digits, dots, colons and dashes; it stands before the names of repositories"`
	URL         string                 `json:"url" maxLength:"500" doc:"https://HOST[:PORT]"`
	Settings    store.RegistrySettings `json:"settings,omitempty"`
	Credentials *RegistryCredentials   `json:"credentials,omitempty"`
	Paused      bool                   `json:"paused,omitempty"`
}

// A RegistryTest is what came of a try to read a registry.
type RegistryTest struct {
	OK           bool     `json:"ok"`
	Error        string   `json:"error,omitempty" doc:"what is wrong, and what can be done"`
	Repositories []string `json:"repositories,omitempty" doc:"a few that it has"`
}

func (s *Server) registerRegistries() {
	admin := func(method, path, id, summary string) huma.Operation {
		return operation(method, path, id, summary, "registries", auth.Administrator)
	}
	huma.Register(s.api, admin("GET", "/registries", "list-registries", "List the registries"), s.listRegistries)
	create := admin("POST", "/registries", "create-registry", "Add a registry, and read it")
	create.DefaultStatus = http.StatusCreated
	huma.Register(s.api, create, s.createRegistry)
	huma.Register(s.api, admin("POST", "/registry-tests", "test-new-registry", "Tell whether a registry could be read, without keeping it"), s.testNewRegistry)
	huma.Register(s.api, admin("GET", "/registries/{name}", "get-registry", "Get a registry"), s.getRegistry)
	huma.Register(s.api, admin("PATCH", "/registries/{name}", "update-registry", "Change a registry: what is left out stays"), s.updateRegistry)
	huma.Register(s.api, admin("DELETE", "/registries/{name}", "delete-registry", "Delete a registry with its repositories and their history"), s.deleteRegistry)
	huma.Register(s.api, admin("POST", "/registries/{name}/test", "test-registry", "Tell whether a registry can be read"), s.testRegistry)
	crawl := admin("POST", "/registries/{name}/crawl", "crawl-registry", "Read a registry now")
	crawl.DefaultStatus = http.StatusAccepted
	huma.Register(s.api, crawl, s.crawlRegistry)
	huma.Register(s.api, admin("POST", "/registries/{name}/hook-secret", "create-hook-secret", "Make a new secret for notifications of a registry; the one before is valid no more"), s.createHookSecret)
	huma.Register(s.api, admin("DELETE", "/registries/{name}/hook-secret", "delete-hook-secret", "Take no more notifications of a registry"), s.deleteHookSecret)
}

func (s *Server) registryOf(r *store.Registry) Registry {
	out := Registry{
		Name: r.Name, URL: r.URL, Kind: r.Kind, Settings: r.Settings, HasCredentials: r.HasCredentials, HasHookSecret: r.HasHookSecret, Paused: r.Paused,
		CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, CrawlDueAt: r.CrawlDueAt, CrawledAt: r.CrawledAt, CrawlError: r.CrawlError, CrawlProgress: r.CrawlProgress,
		Declared: s.places["registries/"+r.Name],
	}
	if r.HasHookSecret {
		out.HookURL = s.o.PublicURL + "/hooks/" + url.PathEscape(r.Name)
	}
	return out
}

func (c *RegistryCredentials) stored() *store.Credentials {
	if c == nil {
		return nil
	}
	return &store.Credentials{Username: c.Username, Password: c.Password, Token: c.Token}
}

func (s *Server) listRegistries(ctx context.Context, in *PageInput) (*struct{ Body Page[Registry] }, error) {
	var after string
	if err := decodeCursor("registries", in.Cursor, &after); err != nil {
		return nil, err
	}
	rows, err := s.o.DB.Registries(ctx, after, in.Limit+1)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	counts, err := s.manifestCounts(ctx)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := make([]Registry, len(rows))
	for i, r := range rows {
		out[i] = s.registryOf(r)
		out[i].Manifests = counts[r.Name]
	}
	return &struct{ Body Page[Registry] }{pageOf("registries", out, in.Limit, func(r *Registry) any { return r.Name })}, nil
}

// manifestCounts are those of every registry, by name; a second old at most.
func (s *Server) manifestCounts(ctx context.Context) (map[string]*ManifestCounts, error) {
	progress, err := s.progress.get(ctx, s.o.Now(), s.o.DB.Progress)
	out := map[string]*ManifestCounts{}
	for _, p := range progress {
		out[p.Registry] = &ManifestCounts{Due: p.Due, Scanning: p.Scanning, Scanned: p.Scanned, Parked: p.Parked}
	}
	return out, err
}

type registryInput struct {
	Name string `path:"name" maxLength:"300"`
}

func (s *Server) getRegistry(ctx context.Context, in *registryInput) (*struct{ Body Registry }, error) {
	r, err := s.o.DB.RegistryNamed(ctx, in.Name)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	counts, err := s.manifestCounts(ctx)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := s.registryOf(r)
	out.Manifests = counts[r.Name]
	return &struct{ Body Registry }{out}, nil
}

func (s *Server) createRegistry(ctx context.Context, in *struct{ Body NewRegistry }) (*struct{ Body Registry }, error) {
	r := &store.Registry{Name: in.Body.Name, URL: in.Body.URL, Settings: in.Body.Settings, Paused: in.Body.Paused}
	if _, err := s.o.DB.AddRegistry(ctx, r, in.Body.Credentials.stored()); err != nil {
		return nil, s.fail(ctx, err)
	}
	return s.changedRegistry(ctx, "create-registry", r.Name, in.Body.Credentials != nil)
}

// changedRegistry writes the change down, has the registry read, and answers with it as
// it is then.
func (s *Server) changedRegistry(ctx context.Context, action, name string, credentials bool) (*struct{ Body Registry }, error) {
	r, err := s.o.DB.RegistryNamed(ctx, name)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	detail := r.URL
	if credentials {
		detail += "; other credentials"
	}
	if r.Paused {
		detail += "; paused"
	}
	if err := s.audit(ctx, action, name, detail); err != nil {
		return nil, s.fail(ctx, err)
	}
	if err := s.enqueueCrawl(ctx, r); err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body Registry }{s.registryOf(r)}, nil
}

func (s *Server) enqueueCrawl(ctx context.Context, r *store.Registry) error {
	if s.o.Enqueue == nil || r.Paused || r.Kind != store.Crawled {
		return nil
	}
	return s.o.Enqueue(ctx, jobs.Job{Kind: jobs.Crawl, Key: strconv.FormatInt(r.ID, 10), Priority: jobs.ForCrawling})
}

func (s *Server) updateRegistry(ctx context.Context, in *struct {
	Name string `path:"name" maxLength:"300"`
	Body struct {
		URL         *string                 `json:"url,omitempty" maxLength:"500"`
		Settings    *store.RegistrySettings `json:"settings,omitempty" doc:"all of them"`
		Credentials *RegistryCredentials    `json:"credentials,omitempty" doc:"empty ones delete those that are kept"`
		Paused      *bool                   `json:"paused,omitempty"`
	}
}) (*struct{ Body Registry }, error) {
	r, err := s.o.DB.RegistryNamed(ctx, in.Name)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	b, was := in.Body, *r
	if b.URL != nil {
		r.URL = *b.URL
	}
	if b.Settings != nil {
		r.Settings = *b.Settings
	}
	if b.Paused != nil {
		r.Paused = *b.Paused
	}
	if r.HasCredentials && b.Credentials == nil && weaker(&was, r) {
		return nil, huma.Error422UnprocessableEntity("the credentials that are kept were given for another address, or for certificates that are verified: give them anew")
	}
	if err := s.o.DB.UpdateRegistry(ctx, r, b.Credentials.stored()); err != nil {
		return nil, s.fail(ctx, err)
	}
	return s.changedRegistry(ctx, "update-registry", r.Name, b.Credentials != nil)
}

// weaker tells whether a change would show the credentials of a registry to another
// than whom they were given for: what is kept must not come out.
func weaker(was, is *store.Registry) bool {
	wasHost, wasPlain := source.RegistryAddress(was.URL)
	isHost, isPlain := source.RegistryAddress(is.URL)
	return wasHost != isHost || isPlain && !wasPlain || is.Settings.Insecure && !was.Settings.Insecure ||
		is.Settings.CA != was.Settings.CA && is.Settings.CA != ""
}

func (s *Server) deleteRegistry(ctx context.Context, in *registryInput) (*struct{}, error) {
	r, err := s.o.DB.RegistryNamed(ctx, in.Name)
	if err == nil {
		err = s.o.DB.DeleteRegistry(ctx, r.ID)
	}
	if err == nil {
		err = s.audit(ctx, "delete-registry", r.Name, r.URL)
	}
	return nil, s.fail(ctx, err)
}

// testTimeout is how long a registry has to answer a test.
const testTimeout = 30 * time.Second

func (s *Server) test(ctx context.Context, r *store.Registry, secret store.Credentials) *struct{ Body RegistryTest } {
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	repositories, err := (&jobs.Registries{DB: s.o.DB, Log: s.o.Log}).Test(ctx, r, secret)
	if err != nil {
		return &struct{ Body RegistryTest }{RegistryTest{Error: err.Error()}}
	}
	return &struct{ Body RegistryTest }{RegistryTest{OK: true, Repositories: repositories}}
}

func (s *Server) testNewRegistry(ctx context.Context, in *struct{ Body NewRegistry }) (*struct{ Body RegistryTest }, error) {
	r := &store.Registry{Name: in.Body.Name, URL: in.Body.URL, Settings: in.Body.Settings}
	if err := r.Check(); err != nil {
		return nil, s.fail(ctx, err)
	}
	var secret store.Credentials
	if c := in.Body.Credentials.stored(); c != nil {
		secret = *c
	}
	return s.test(ctx, r, secret), nil
}

func (s *Server) testRegistry(ctx context.Context, in *registryInput) (*struct{ Body RegistryTest }, error) {
	r, err := s.o.DB.RegistryNamed(ctx, in.Name)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	secret, err := s.o.DB.RegistryCredentials(ctx, r.ID)
	if errors.Is(err, store.ErrSealed) {
		return &struct{ Body RegistryTest }{RegistryTest{Error: err.Error() + "; give the server that key, or the credentials anew"}}, nil
	}
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return s.test(ctx, r, secret), nil
}

func (s *Server) crawlRegistry(ctx context.Context, in *registryInput) (*struct{}, error) {
	r, err := s.o.DB.RegistryNamed(ctx, in.Name)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	switch {
	case r.Kind != store.Crawled:
		return nil, huma.Error409Conflict("only clients tell of the images of this registry: there is nothing to read")
	case r.Paused:
		return nil, huma.Error409Conflict("the registry is paused")
	}
	err = s.o.DB.CrawlDue(ctx, r.ID)
	if err == nil {
		err = s.audit(ctx, "crawl-registry", r.Name, "")
	}
	if err == nil {
		err = s.enqueueCrawl(ctx, r)
	}
	return nil, s.fail(ctx, err)
}

// A HookSecret is shown once.
type HookSecret struct {
	Secret string `json:"secret" doc:"the registry sends it with its notifications: as bearer token, as password, or as HMAC"`
	URL    string `json:"url" doc:"where it sends them"`
}

func (s *Server) createHookSecret(ctx context.Context, in *registryInput) (*struct{ Body HookSecret }, error) {
	r, err := s.o.DB.RegistryNamed(ctx, in.Name)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	secret := rand.Text()
	err = s.o.DB.SetHookSecret(ctx, r.ID, secret)
	if err == nil {
		err = s.audit(ctx, "create-hook-secret", r.Name, "")
	}
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	r.HasHookSecret = true
	return &struct{ Body HookSecret }{HookSecret{secret, s.registryOf(r).HookURL}}, nil
}

func (s *Server) deleteHookSecret(ctx context.Context, in *registryInput) (*struct{}, error) {
	r, err := s.o.DB.RegistryNamed(ctx, in.Name)
	if err == nil {
		err = s.o.DB.SetHookSecret(ctx, r.ID, "")
	}
	if err == nil {
		err = s.audit(ctx, "delete-hook-secret", r.Name, "")
	}
	return nil, s.fail(ctx, err)
}
