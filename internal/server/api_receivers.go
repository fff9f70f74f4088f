package server

import (
	"context"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/auth"
	"strata/internal/jobs"
	"strata/internal/notify"
	"strata/internal/store"
)

// A Receiver is told of violations.
type Receiver struct {
	Name      string                 `json:"name"`
	Kind      string                 `json:"kind" enum:"webhook,cloudevents,email,slack,teams"`
	Settings  store.ReceiverSettings `json:"settings"`
	HasSecret bool                   `json:"has_secret" doc:"what it is is never shown"`
	Paused    bool                   `json:"paused"`
	UpdatedAt time.Time              `json:"updated_at"`
	Declared  string                 `json:"declared,omitempty" doc:"where settings declare it: what is changed here lasts until the server starts anew"`
}

// A ReceiverInput is a receiver to be.
type ReceiverInput struct {
	Name string `path:"name" maxLength:"100"`
	Body struct {
		Name     string                 `json:"name,omitempty" doc:"as in the path"`
		Kind     string                 `json:"kind" enum:"webhook,cloudevents,email,slack,teams"`
		Settings store.ReceiverSettings `json:"settings,omitempty"`
		Secret   *string                `json:"secret,omitempty" maxLength:"5000" doc:"of a webhook (whsec_…), a bearer token, the password of SMTP, or the address that the chat gave; left out, the one that is there stays"`
		Paused   bool                   `json:"paused,omitempty" doc:"what is for it waits"`
	}
}

// A ReceiverTest is what came of a test message.
type ReceiverTest struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

func (s *Server) registerReceivers() {
	huma.Register(s.api, operation("GET", "/receivers", "list-receivers", "List receivers", "notifications", auth.Security), s.listReceivers)
	huma.Register(s.api, operation("GET", "/receivers/{name}", "get-receiver", "Get a receiver", "notifications", auth.Security), s.getReceiver)
	huma.Register(s.api, operation("PUT", "/receivers/{name}", "put-receiver", "Write a receiver", "notifications", auth.Administrator), s.putReceiver)
	huma.Register(s.api, noContent(operation("DELETE", "/receivers/{name}", "delete-receiver", "Delete a receiver and its notifications", "notifications", auth.Administrator)), s.deleteReceiver)
	huma.Register(s.api, operation("POST", "/receivers/{name}/test", "test-receiver", "Send a receiver a test message now", "notifications", auth.Administrator), s.testReceiver)
	s.registerNotifications()
}

func (s *Server) receiverOf(r *store.Receiver) Receiver {
	return Receiver{Name: r.Name, Kind: r.Kind, Settings: r.Settings, HasSecret: r.HasSecret, Paused: r.Paused, UpdatedAt: r.UpdatedAt, Declared: s.places["receivers/"+r.Name]}
}

func (s *Server) listReceivers(ctx context.Context, in *PageInput) (*struct{ Body Page[Receiver] }, error) {
	var after string
	if err := decodeCursor("receivers", in.Cursor, &after); err != nil {
		return nil, err
	}
	rows, err := s.o.DB.Receivers(ctx, after, in.Limit+1)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := make([]Receiver, len(rows))
	for i, r := range rows {
		out[i] = s.receiverOf(r)
	}
	return &struct{ Body Page[Receiver] }{pageOf("receivers", out, in.Limit, func(r *Receiver) any { return r.Name })}, nil
}

type receiverName struct {
	Name string `path:"name" maxLength:"100"`
}

func (s *Server) getReceiver(ctx context.Context, in *receiverName) (*struct{ Body Receiver }, error) {
	r, err := s.o.DB.ReceiverNamed(ctx, in.Name)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body Receiver }{s.receiverOf(r)}, nil
}

func (s *Server) putReceiver(ctx context.Context, in *ReceiverInput) (*struct{ Body Receiver }, error) {
	if in.Body.Name != "" && in.Body.Name != in.Name {
		return nil, huma.Error422UnprocessableEntity("name: the path has another")
	}
	r := &store.Receiver{Name: in.Name, Kind: in.Body.Kind, Settings: in.Body.Settings, Paused: in.Body.Paused}
	if err := s.o.DB.PutReceiver(ctx, r, in.Body.Secret); err != nil {
		return nil, s.fail(ctx, err)
	}
	detail := r.Kind
	if in.Body.Secret != nil {
		detail += "; other secret"
	}
	if r.Paused {
		detail += "; paused"
	}
	if err := s.audit(ctx, "put-receiver", r.Name, detail); err != nil {
		return nil, s.fail(ctx, err)
	}
	return s.getReceiver(ctx, &receiverName{in.Name})
}

func (s *Server) deleteReceiver(ctx context.Context, in *receiverName) (*struct{}, error) {
	// The store knows what watches tell, and not what rules do.
	policies, err := s.o.DB.Documents(ctx, true)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	for i := range policies {
		if told, err := jobs.ReceiversOf(&policies[i]); err != nil {
			return nil, s.fail(ctx, err)
		} else if slices.Contains(told, in.Name) {
			return nil, huma.Error409Conflict("receiver " + in.Name + ": a rule of policy " + policies[i].Name + " tells it")
		}
	}
	if err := s.o.DB.DeleteReceiver(ctx, in.Name); err != nil {
		return nil, s.fail(ctx, err)
	}
	return nil, s.fail(ctx, s.audit(ctx, "delete-receiver", in.Name, ""))
}

func (s *Server) testReceiver(ctx context.Context, in *receiverName) (*struct{ Body ReceiverTest }, error) {
	r, err := s.o.DB.ReceiverNamed(ctx, in.Name)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	to, err := jobs.ReceiverOf(ctx, s.o.DB, r, "")
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	if err := s.audit(ctx, "test-receiver", in.Name, ""); err != nil {
		return nil, s.fail(ctx, err)
	}
	const patience = 30 * time.Second
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := s.o.Client
	if client == nil {
		client = guardedClient(false, patience)
	}
	m := &notify.Message{Delivery: store.NewDelivery(), At: s.o.Now(), Title: "Test message to " + r.Name, Link: s.o.PublicURL, Test: true, Groups: []notify.Group{}}
	sender := notify.NewSender(client)
	sender.Now = s.o.Now // as those of deliveries have it
	out := ReceiverTest{OK: true}
	if err := sender.Send(limited, to, m); err != nil {
		out = ReceiverTest{Error: err.Error()}
	}
	return &struct{ Body ReceiverTest }{out}, nil
}
