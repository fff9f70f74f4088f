package server

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/auth"
	"strata/internal/jobs"
	"strata/internal/policy"
	"strata/internal/store"
)

// maxDocument bounds the body of a request with a document, in bytes: its text, and what
// JSON adds.
const maxDocument = 8 << 20

func (s *Server) registerPolicies() {
	for _, of := range []struct {
		path, name, names, kind string
	}{
		{"/policies", "policy", "policies", store.PolicyDocument},
		{"/waivers", "waivers", "waivers", store.WaiversDocument},
		{"/vex", "vex", "VEX documents", store.VEXDocument},
	} {
		d := documents{Server: s, kind: of.kind}
		list := operation("GET", of.path, "list-"+of.kind, "List "+of.names+" with their texts", "policies", auth.Viewer)
		if of.kind == store.PolicyDocument {
			list.Description += " Who may see some repositories alone gets the names without the texts."
		} else {
			list = whole(list) // they name images
		}
		put := operation("PUT", of.path+"/{name}", "put-"+of.kind, "Write "+of.name+", and have images judged by it", "policies", auth.Security)
		check := noContent(operation("POST", of.path+"/{name}/check", "check-"+of.kind, "Check "+of.name+" without keeping it", "policies", auth.Security))
		put.MaxBodyBytes, check.MaxBodyBytes = maxDocument, maxDocument
		huma.Register(s.api, list, d.list)
		huma.Register(s.api, put, d.put)
		huma.Register(s.api, check, d.check)
		huma.Register(s.api, noContent(operation("DELETE", of.path+"/{name}", "delete-"+of.kind, "Delete "+of.name, "policies", auth.Security)), d.remove)
	}
	huma.Register(s.api, whole(operation("GET", "/watches", "list-watches", "List watches", "watches", auth.Viewer)), s.listWatches)
	huma.Register(s.api, operation("PUT", "/watches/{name}", "put-watch", "Write a watch, and have the images in its scope judged", "watches", auth.Security), s.putWatch)
	huma.Register(s.api, noContent(operation("DELETE", "/watches/{name}", "delete-watch", "Delete a watch and its violations", "watches", auth.Security)), s.deleteWatch)
	huma.Register(s.api, operation("GET", "/violations", "list-violations", "List violations, the newest first", "watches", auth.Viewer), s.listViolations)
}

// noContent marks an operation that answers with nothing.
func noContent(op huma.Operation) huma.Operation {
	op.DefaultStatus = http.StatusNoContent
	return op
}

// documents are the handlers of one kind of document.
type documents struct {
	*Server
	kind string
}

// DocumentInput is a document to be written.
type DocumentInput struct {
	NameInput
	Body struct {
		Text     string `json:"text" maxLength:"4194304" doc:"as it is in a file of strata scan"`
		Replaces string `json:"replaces,omitempty" maxLength:"100" doc:"digest of the text that this one is to replace, or none where none is to be there: when another has been written since it stays (409)"`
	}
}

// NameInput names something.
type NameInput struct {
	Name string `path:"name" maxLength:"100"`
}

// DocumentList is a list of documents.
type DocumentList struct {
	Items []store.Document `json:"items"`
	// Ready are the names of the policies that come with the program.
	Ready []string `json:"ready,omitempty"`
}

func (d documents) list(ctx context.Context, _ *struct{}) (*struct{ Body DocumentList }, error) {
	all, err := d.o.DB.Documents(ctx, d.kind == store.PolicyDocument)
	if err != nil {
		return nil, d.fail(ctx, err)
	}
	out := &struct{ Body DocumentList }{}
	out.Body.Items = slices.DeleteFunc(all, func(x store.Document) bool { return x.Kind != d.kind })
	if d.kind == store.PolicyDocument {
		out.Body.Ready = policy.ReadyNames()
	}
	if scopeOf(ctx, auth.Viewer) != nil {
		for i := range out.Body.Items {
			out.Body.Items[i].Text, out.Body.Items[i].Digest = "", "" // it may name others' images
		}
	}
	return out, nil
}

// checked is the document of a request; the error is for who wrote it, and has line
// and column of each mistake.
func (d documents) checked(ctx context.Context, in *DocumentInput) (*store.Document, error) {
	x := &store.Document{Name: in.Name, Kind: d.kind, Text: in.Body.Text, UpdatedBy: auth.From(ctx).Name}
	receivers, err := jobs.CheckDocument(x)
	if err != nil {
		return nil, huma.Error422UnprocessableEntity(err.Error())
	}
	return x, d.checkReceivers(ctx, receivers, "a rule's receivers")
}

// checkReceivers is an error for a receiver that is not there: whom nobody tells anything
// because of a mistyped name would not notice.
func (s *Server) checkReceivers(ctx context.Context, names []string, where string) error {
	for _, name := range names {
		if _, err := s.o.DB.ReceiverNamed(ctx, name); errors.Is(err, store.ErrNotFound) {
			return huma.Error422UnprocessableEntity(where + ": there is none called " + name)
		} else if err != nil {
			return s.fail(ctx, err)
		}
	}
	return nil
}

func (d documents) check(ctx context.Context, in *DocumentInput) (*struct{}, error) {
	_, err := d.checked(ctx, in)
	return nil, err
}

func (d documents) put(ctx context.Context, in *DocumentInput) (*struct{ Body store.Document }, error) {
	x, err := d.checked(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := d.o.DB.ReplaceDocument(ctx, x, in.Body.Replaces); err != nil {
		return nil, d.fail(ctx, err)
	}
	if err := d.decisionsChanged(ctx, "put-"+d.kind, x.Name, ""); err != nil {
		return nil, err
	}
	return &struct{ Body store.Document }{*x}, nil
}

func (d documents) remove(ctx context.Context, in *NameInput) (*struct{}, error) {
	if err := d.o.DB.DeleteDocument(ctx, d.kind, in.Name); err != nil {
		return nil, d.fail(ctx, err)
	}
	return nil, d.decisionsChanged(ctx, "delete-"+d.kind, in.Name, "")
}

// decisionsChanged writes the change down, and has what is due judged soon.
func (s *Server) decisionsChanged(ctx context.Context, action, target, detail string) error {
	if err := s.audit(ctx, action, target, detail); err != nil {
		return s.fail(ctx, err)
	}
	if s.o.Enqueue == nil {
		return nil
	}
	return s.fail(ctx, s.o.Enqueue(ctx, jobs.Job{Kind: jobs.Judge, Priority: jobs.ForNews}))
}

// ListedWatch is a watch in a list.
type ListedWatch struct {
	store.Watch
	OpenViolations int    `json:"open_violations" doc:"up to 10000"`
	Declared       string `json:"declared,omitempty" doc:"where settings declare it: what is changed here lasts until the server starts anew"`
}

func (s *Server) listWatches(ctx context.Context, _ *struct{}) (*struct{ Body List[ListedWatch] }, error) {
	watches, err := s.o.DB.Watches(ctx)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	open, err := s.o.DB.OpenViolations(ctx)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := List[ListedWatch]{Items: []ListedWatch{}}
	for i := range watches {
		out.Items = append(out.Items, ListedWatch{watches[i], open[watches[i].ID], s.places["watches/"+watches[i].Name]})
	}
	return &struct{ Body List[ListedWatch] }{out}, nil
}

// WatchInput is a watch to be written.
type WatchInput struct {
	NameInput
	Body struct {
		Scope     store.WatchScope `json:"scope,omitempty" doc:"the images that it is for; empty for all that have a tag"`
		Policies  []string         `json:"policies" doc:"names of policies"`
		Receivers []string         `json:"receivers,omitempty" doc:"names of receivers, besides those that rules name"`
		Mode      string           `json:"mode,omitempty" enum:",warn,enforce" doc:"warn: nothing fails; enforce: what warns fails"`
		Paused    bool             `json:"paused,omitempty"`
	}
}

func (s *Server) putWatch(ctx context.Context, in *WatchInput) (*struct{ Body store.Watch }, error) {
	own, err := s.o.DB.Documents(ctx, true)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	if err := s.checkReceivers(ctx, in.Body.Receivers, "receivers"); err != nil {
		return nil, err
	}
	for _, p := range in.Body.Policies {
		if slices.Contains(policy.ReadyNames(), p) {
			continue
		}
		i := slices.IndexFunc(own, func(d store.Document) bool { return d.Name == p })
		if i < 0 {
			return nil, huma.Error422UnprocessableEntity("policies: there is none called " + p)
		}
		// Those of settings are written before there are receivers.
		receivers, err := jobs.ReceiversOf(&own[i])
		if err != nil {
			return nil, s.fail(ctx, err)
		}
		if err := s.checkReceivers(ctx, receivers, "policy "+p+": a rule's receivers"); err != nil {
			return nil, err
		}
	}
	w := &store.Watch{Name: in.Name, Scope: in.Body.Scope, Policies: in.Body.Policies, Receivers: in.Body.Receivers, Mode: in.Body.Mode, Paused: in.Body.Paused}
	if err := s.o.DB.PutWatch(ctx, w); err != nil {
		return nil, s.fail(ctx, err)
	}
	if err := s.decisionsChanged(ctx, "put-watch", w.Name, ""); err != nil {
		return nil, err
	}
	return &struct{ Body store.Watch }{*w}, nil
}

func (s *Server) deleteWatch(ctx context.Context, in *NameInput) (*struct{}, error) {
	if err := s.o.DB.DeleteWatch(ctx, in.Name); err != nil {
		return nil, s.fail(ctx, err)
	}
	return nil, s.decisionsChanged(ctx, "delete-watch", in.Name, "")
}

// ViolationsInput asks for violations.
type ViolationsInput struct {
	PageInput
	Watch         string `query:"watch"`
	Policy        string `query:"policy"`
	Vulnerability string `query:"vulnerability"`
	Image         int64  `query:"image" doc:"id of an image"`
	Resolved      bool   `query:"resolved" doc:"those resolved, instead of the open ones"`
}

func (s *Server) listViolations(ctx context.Context, in *ViolationsInput) (*struct{ Body Page[store.Violation] }, error) {
	q := store.ViolationQuery{Watch: in.Watch, Policy: in.Policy, Vulnerability: in.Vulnerability, Image: in.Image, Resolved: in.Resolved, Scope: scopeOf(ctx, auth.Viewer), Limit: in.Limit}
	if err := decodeCursor("violations", in.Cursor, &q.After); err != nil {
		return nil, err
	}
	rows, err := s.o.DB.Violations(ctx, q)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body Page[store.Violation] }{pageOf("violations", rows, in.Limit, func(v *store.Violation) any { return v.ID })}, nil
}
