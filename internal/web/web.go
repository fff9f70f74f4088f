// Package web is the pages of `strata serve`: HTML made on the server, which works
// without JavaScript but for live progress.
//
// It knows neither the database nor who may do what. What a page shows it asks of the JSON
// API, within the process and as the one who looks at it, and what a form changes is done
// by the API too: so pages and programs see the same, and one place decides what is
// allowed, and writes it down. Package server gives it the API, and puts its routes beside.
package web

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"time"

	"strata/internal/report"
	"strata/internal/store"
)

// Options of New. API is needed.
type Options struct {
	// API answers requests to /api/v1 as the identity of their context.
	API func(*http.Request) (status int, header http.Header, body []byte)
	// Report is the report of an image, as its viewer may see it; the API's, without the
	// way through JSON, as it may have ten thousands of findings.
	Report func(ctx context.Context, image int64) (*report.Report, error)
	// Version of the program, for the foot of pages.
	Version string
	// Log gets what could not be shown; nil is silent.
	Log *slog.Logger
	// Now is time.Now by default.
	Now func() time.Time
}

// A Site is the pages.
type Site struct {
	o      Options
	pages  *pages
	assets *assets
	// ranked is where to begin, for each scope.
	ranked dear[store.FixFirst]
}

// New makes the pages.
func New(o Options) (*Site, error) {
	if o.API == nil {
		return nil, errors.New("web: no API")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Site{o: o}
	var err error
	if s.assets, err = readAssets(); err != nil {
		return nil, err
	}
	if s.pages, err = s.readPages(); err != nil {
		return nil, err
	}
	return s, nil
}

// Register puts the pages on a mux, each by its pattern.
func (s *Site) Register(mux *http.ServeMux) {
	mux.Handle("GET /static/{name}", s.assets)
	for pattern, do := range s.public() {
		mux.Handle(pattern, s.page(do, false))
	}
	for pattern, do := range s.private() {
		mux.Handle(pattern, s.page(do, true))
	}
}

// NotFound answers a browser that asks for a page that is not there.
func (s *Site) NotFound(w http.ResponseWriter, r *http.Request) {
	s.page(func(*visit) error { return notFound("the page " + r.URL.Path) }, false).ServeHTTP(w, r)
}

// Broken answers a browser when a page could not be made; the log has the reason.
func (s *Site) Broken(w http.ResponseWriter, r *http.Request) {
	s.page(func(*visit) error {
		return &apiError{Status: http.StatusInternalServerError, Detail: "something went wrong in the server; its log has the reason"}
	}, false).ServeHTTP(w, r)
}

// public are the pages for who is not logged in.
func (s *Site) public() map[string]handler {
	return map[string]handler{
		"GET /login":  s.loginPage,
		"POST /login": s.login,
		"GET /setup":  s.setupPage,
		"POST /setup": s.setup,
	}
}

// private are the pages for who is, by the parts of the menu.
func (s *Site) private() map[string]handler {
	all := map[string]handler{"GET /{$}": s.overview, "POST /logout": s.logout, "GET /search": s.search}
	for _, part := range []map[string]handler{s.imageRoutes(), s.impactRoutes(), s.policyRoutes(), s.operationRoutes()} {
		maps.Copy(all, part)
	}
	return all
}
