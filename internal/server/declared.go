package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/auth"
)

// A Declaration is one thing that the settings want to be there: a registry, a
// receiver, a watch.
type Declaration struct {
	// Kind is the part of the API that it belongs to: "registries".
	Kind string
	Name string
	// Body is what the API would be sent to make it.
	Body json.RawMessage
	// Place is where it is declared, for errors: "strata.yaml:12".
	Place string
}

// DeclaredKinds are the kinds of declarations, in the order in which they are applied:
// watches name receivers.
func DeclaredKinds() []string { return []string{"registries", "receivers", "watches"} }

// declare makes or changes what the settings want, by the API's own handlers, so that
// what they refuse is refused here, and what they write to the audit log is written. The
// settings are as good as an administrator: who writes them starts the server.
func (s *Server) declare(ctx context.Context, wanted []Declaration) error {
	who := &auth.Identity{Name: "strata.yaml", Via: "settings", Grants: []auth.Grant{{Role: auth.Administrator, Repository: "**"}}}
	for _, kind := range DeclaredKinds() {
		for _, d := range wanted {
			if d.Kind != kind {
				continue
			}
			if err := s.declareOne(auth.With(ctx, who), d); err != nil {
				return fmt.Errorf("%s: %s %q: %w", d.Place, d.Kind, d.Name, err)
			}
		}
	}
	return nil
}

// declareOne changes what is there by PUT or PATCH, or makes it by POST: whichever the
// API has.
func (s *Server) declareOne(ctx context.Context, d Declaration) error {
	list := "/api/v1/" + d.Kind
	one := list + "/" + url.PathEscape(d.Name)
	if s.has(http.MethodPut, one) {
		_, err := s.within(ctx, http.MethodPut, one, withoutName(d.Body))
		return err
	}
	if status, _ := s.within(ctx, http.MethodGet, one, nil); status == http.StatusOK {
		_, err := s.within(ctx, http.MethodPatch, one, withoutName(d.Body))
		return err
	}
	_, err := s.within(ctx, http.MethodPost, list, d.Body)
	return err
}

// has tells whether an operation is there.
func (s *Server) has(method, path string) bool {
	r, err := http.NewRequest(method, path, nil)
	if err != nil {
		return false
	}
	_, pattern := s.mux.Handler(r)
	return strings.HasPrefix(pattern, method+" ")
}

func withoutName(body json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return body
	}
	delete(fields, "name")
	b, err := json.Marshal(fields)
	if err != nil {
		return body
	}
	return b
}

// within asks the API from within. The error is the detail of its problem document.
func (s *Server) within(ctx context.Context, method, path string, body []byte) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	w := &keptAnswer{header: http.Header{}}
	s.mux.ServeHTTP(w, r)
	if w.status < http.StatusBadRequest {
		return w.status, nil
	}
	var problem huma.ErrorModel
	if json.Unmarshal(w.body.Bytes(), &problem) != nil {
		return w.status, fmt.Errorf("status %d", w.status)
	}
	text := problem.Detail
	for _, e := range problem.Errors {
		text += "; " + e.Error()
	}
	return w.status, errors.New(text)
}

// A keptAnswer is an answer to be read here.
type keptAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (w *keptAnswer) Header() http.Header { return w.header }

func (w *keptAnswer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.body.Write(b)
}

// WriteHeader implements http.ResponseWriter.
func (w *keptAnswer) WriteHeader(status int) { w.status = status }
