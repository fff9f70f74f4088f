// Package server is `strata serve`: the JSON API with its description in OpenAPI
// 3.1, the webhooks and the scanner API that registries call, health and metrics,
// and Run, which does all of it and the jobs in the background.
//
// Handlers return errors; one place (fail) makes problem documents of them
// (RFC 9457). What is done is done by packages store, jobs and auth.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"go.opentelemetry.io/otel/trace"

	"strata/internal/auth"
	"strata/internal/jobs"
	"strata/internal/report"
	"strata/internal/store"
	"strata/internal/web"
)

// Options of New. DB is needed; the rest of the zero value is useful.
type Options struct {
	// DB is the database, which the caller closes.
	DB *store.DB
	// Enqueue gives a job to the queue.
	Enqueue func(context.Context, ...jobs.Job) error
	// QueueReady tells why the queue can't work now; nil is always ready.
	QueueReady func(context.Context) error
	// Reports makes the reports of images that are known; nil for none.
	Reports *jobs.Reports
	// Judge gives a report the verdict of the policies for images of a name
	// ("REGISTRY/REPOSITORY:TAG"); nil leaves it without.
	Judge func(ctx context.Context, name string, r *report.Report) error
	// Try tries a policy on the images; nil for not.
	Try func(context.Context, *jobs.Trial) (*jobs.Tried, error)
	// Client sends test messages to receivers; nil is one that asks public addresses only.
	Client *http.Client
	// Version of the program.
	Version string
	// Instance is the id of this one among those of the cluster.
	Instance string
	// PublicURL is what users reach the server by ("https://strata.example"); empty for
	// not known. Cookies are for https alone where it is https.
	PublicURL string
	// TLS tells that the listener itself is of https.
	TLS bool
	// OpenID is the provider that users may log in with; nil for none.
	OpenID *auth.OpenID
	// TrustedProxies are the networks of proxies whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// OpenMetrics gives /metrics to anyone.
	OpenMetrics bool
	// Tracer gets a span for each request; nil is none.
	Tracer trace.Tracer
	// Log gets what is worth telling; nil is silent.
	Log *slog.Logger
	// Now is the clock of DB by default, which all instances have in common.
	Now func() time.Time
}

// A Server answers requests. It has no state of its own but caches, so that any
// instance answers any request.
type Server struct {
	o   Options
	mux *http.ServeMux
	api huma.API
	// access tells who sends a request; handler is mux with what goes before it.
	access   *auth.Access
	handler  http.Handler
	metrics  *metrics
	progress recent[[]store.RegistryProgress]
	// schedules are those of the cluster.
	schedules recent[[]store.Schedule]
	// site is the pages.
	site *web.Site
	// queue is that of this instance; nil until there is one.
	queue *jobs.Queue
	// places tells where settings declare a thing, by its path in the API; it is written
	// before there are requests.
	places map[string]string
	// draining is set when the server stops.
	draining atomic.Bool
	// hooked finds the registry of a notification; visitTransport makes the requests
	// that confirm subscriptions, nil for http.DefaultTransport.
	hooked         func(ctx context.Context, registry string) (*hookedRegistry, error)
	visitTransport http.RoundTripper
	// registries are asked what notifications don't tell.
	registries *jobs.Registries
	// submitting has a place for each submission that is worked on.
	submitting chan struct{}
	// trying has a place for each policy that is tried.
	trying chan struct{}
}

// secure tells whether browsers reach the server by https.
func (o *Options) secure() bool { return o.TLS || strings.HasPrefix(o.PublicURL, "https://") }

// CheckPublicURL tells why it can't be Options.PublicURL; nil when it can.
func CheckPublicURL(text string) error {
	u, err := url.Parse(text)
	if text != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" || u.RawQuery != "") {
		return fmt.Errorf("public URL %q: want https://HOST without a path", text)
	}
	return nil
}

// New makes a server.
func New(o Options) (*Server, error) {
	if o.DB == nil {
		return nil, errors.New("server: no database")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = o.DB.Now
	}
	if err := CheckPublicURL(o.PublicURL); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	o.Log = slog.New(requestLog{o.Log.Handler()})
	s := &Server{o: o, mux: http.NewServeMux(), submitting: make(chan struct{}, maxSubmitting), trying: make(chan struct{}, maxTrying), places: map[string]string{}}
	s.metrics = newMetrics(s)
	config := huma.DefaultConfig("Strata", o.Version)
	config.OpenAPIPath = "/api/v1/openapi"
	config.DocsPath, config.SchemasPath = "", ""
	config.CreateHooks = nil // no $schema in every answer: the description is in one place
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token":   {Type: "http", Scheme: "bearer", Description: "An API token, strata_…"},
		"session": {Type: "apiKey", In: "cookie", Name: "strata", Description: "The cookie of a login; __Host-strata where the server is reached by https."},
	}
	s.registries = &jobs.Registries{DB: o.DB, Log: o.Log}
	s.hooked = s.hookedByName
	s.access = auth.NewAccess(o.DB)
	s.access.Now, s.access.Secure = o.Now, o.secure()
	s.api = humago.New(s.mux, config)
	s.api.UseMiddleware(s.authorise)
	s.routes()
	if err := s.registerPages(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s.handler = s.frame(s.authenticate(http.HandlerFunc(s.route)))
	return s, nil
}

// routes registers every route, a line for each part of the API.
func (s *Server) routes() {
	s.registerHealth()
	s.registerMetrics()
	s.registerEvents()
	s.registerAuth()
	s.registerUsers()
	s.registerImages()
	s.registerFeeds()
	s.registerFindings()
	s.registerImpact()
	s.registerPolicies()
	s.registerTryPolicy()
	s.registerHooks()
	s.registerRegistries()
	s.registerJobs()
	s.registerSubmissions()
	s.registerHarbor()
	s.registerReceivers()
}

// Handler answers the requests of one listener.
func (s *Server) Handler() http.Handler { return s.handler }

// operation describes a handler: what it does, the least role that may ask
// for it, and the part of the API it belongs to. For viewers and developers the role
// over some repositories is enough; for what security and administrators do it must be
// over all (else see whole).
func operation(method, path, id, summary, part string, role auth.Role) huma.Operation {
	op := huma.Operation{
		Method: method, Path: "/api/v1" + path, OperationID: id, Summary: summary, Tags: []string{part},
		Metadata:    map[string]any{"role": role, "scoped": role == auth.Viewer || role == auth.Developer},
		Security:    []map[string][]string{{"token": {}}, {"session": {}}},
		Description: "Least role: " + string(role) + ".",
	}
	if role == auth.Anyone {
		op.Security = []map[string][]string{}
	}
	return op
}

// fail is the one place where errors become answers: what is not found is 404,
// what contradicts is 409, what was wrong with the request says so itself, and the
// rest is 500 with the reason in the log only.
func (s *Server) fail(ctx context.Context, err error) error {
	var status huma.StatusError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &status):
		return err
	case errors.Is(err, store.ErrNotFound):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, store.ErrInvalid):
		return huma.Error422UnprocessableEntity(err.Error())
	case errors.Is(err, store.ErrConflict):
		return huma.Error409Conflict(err.Error())
	case ctx.Err() != nil:
		return huma.NewError(499, "the client went away")
	case store.DiskFull(err):
		s.o.Log.WarnContext(ctx, "the disk of the database is full", "error", err)
		return huma.ErrorWithHeaders(huma.Error503ServiceUnavailable("the disk of the database is full: nothing can be written until there is room"), http.Header{"Retry-After": {"5"}})
	case store.Unavailable(err):
		s.o.Log.WarnContext(ctx, "the database doesn't answer", "error", err)
		return huma.ErrorWithHeaders(huma.Error503ServiceUnavailable("the database doesn't answer; try again"), http.Header{"Retry-After": {"5"}})
	}
	s.o.Log.ErrorContext(ctx, "request failed", "error", err)
	return huma.Error500InternalServerError("something went wrong in the server; its log has the reason")
}

// A Page is one page of a list, in the order of the list's key.
type Page[T any] struct {
	Items []T `json:"items"`
	// Next is the cursor of the next page; empty on the last one.
	Next string `json:"next,omitempty" doc:"cursor of the next page; absent on the last"`
}

// A List is a list that is short enough to be told at once.
type List[T any] struct {
	Items []T `json:"items"`
}

// PageInput is what every list may be asked.
type PageInput struct {
	Cursor string `query:"cursor" doc:"where the page begins: next of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}
