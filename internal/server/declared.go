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
	"strata/internal/jobs"
	"strata/internal/store"
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

// DeclaredPolicies are the policies that the settings want to be there.
type DeclaredPolicies struct {
	// File is the path of the settings; empty when there are none, and then the policies
	// stay as they are.
	File string
	// Listed tells that the settings have a list of policies: what is in no list goes, also
	// where it was in another file's.
	Listed   bool
	Policies []DeclaredPolicy
}

// A DeclaredPolicy is one of them.
type DeclaredPolicy struct {
	Name, Text string
	// Place is where it is declared, for errors: "strata.yaml:12".
	Place string
}

// settingsIdentity is who does what the settings say. They are as good as an
// administrator: who writes them starts the server.
func settingsIdentity() *auth.Identity {
	return &auth.Identity{Name: "strata.yaml", Via: "settings", Grants: []auth.Grant{{Role: auth.Administrator, Repository: "**"}}}
}

// declarePolicies writes the policies of the settings. Those that have left them are
// withdrawn later: watches of the settings may have asked for them.
func (s *Server) declarePolicies(ctx context.Context, wanted *DeclaredPolicies) error {
	ctx = auth.With(ctx, settingsIdentity())
	var all []store.Document
	for _, p := range wanted.Policies {
		x := store.Document{Kind: store.PolicyDocument, Name: p.Name, Text: p.Text, UpdatedBy: auth.From(ctx).Name}
		if _, err := jobs.CheckDocument(&x); err != nil {
			return fmt.Errorf("%s: policies: %w", p.Place, err)
		}
		all = append(all, x)
	}
	changes, err := s.o.DB.DeclarePolicies(ctx, wanted.File, all)
	if err != nil {
		return err
	}
	for _, name := range changes {
		if err := s.decisionsChanged(ctx, "put-policy", name, wanted.File); err != nil {
			return err
		}
	}
	return nil
}

// withdrawPolicies takes away the policies that have left the settings.
func (s *Server) withdrawPolicies(ctx context.Context, wanted *DeclaredPolicies) error {
	if wanted.File == "" {
		return nil
	}
	ctx = auth.With(ctx, settingsIdentity())
	var names []string
	for _, p := range wanted.Policies {
		names = append(names, p.Name)
	}
	deleted, released, err := s.o.DB.WithdrawPolicies(ctx, wanted.File, wanted.Listed, names)
	if err != nil {
		return err
	}
	for _, name := range deleted {
		if err := s.audit(ctx, "delete-policy", name, "no longer in "+wanted.File); err != nil {
			return err
		}
	}
	for _, name := range released {
		s.o.Log.WarnContext(ctx, "a policy has left the settings, but a watch asks for it: it stays, as one of the server's own", "policy", name, "file", wanted.File)
		if err := s.audit(ctx, "release-policy", name, "no longer in "+wanted.File+", but a watch asks for it"); err != nil {
			return err
		}
	}
	return nil
}

// DeclaredKinds are the kinds of declarations, in the order in which they are applied:
// watches name receivers.
func DeclaredKinds() []string { return []string{"registries", "receivers", "watches"} }

// declare makes or changes what the settings want, by the API's own handlers, so that
// what they refuse is refused here, and what they write to the audit log is written.
func (s *Server) declare(ctx context.Context, wanted []Declaration) error {
	for _, kind := range DeclaredKinds() {
		for _, d := range wanted {
			if d.Kind != kind {
				continue
			}
			if err := s.declareOne(auth.With(ctx, settingsIdentity()), d); err != nil {
				return fmt.Errorf("%s: %s %q: %w", d.Place, d.Kind, d.Name, err)
			}
			s.places[d.Kind+"/"+d.Name] = d.Place
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
	w := s.inside(r)
	if w.status < http.StatusBadRequest {
		return w.status, nil
	}
	var problem huma.ErrorModel
	if json.Unmarshal(w.body.Bytes(), &problem) != nil {
		return w.status, fmt.Errorf("status %d", w.status)
	}
	text := problem.Detail
	for _, e := range problem.Errors {
		text += "; " + e.Message + " (" + e.Location + ")" // without the value, which may be a password
	}
	return w.status, errors.New(text)
}

// inside answers a request within the process, as the identity of its context.
func (s *Server) inside(r *http.Request) *keptAnswer {
	w := &keptAnswer{header: http.Header{}}
	s.mux.ServeHTTP(w, r)
	return w
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
