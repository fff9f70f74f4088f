package jobs

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"strata/internal/source"
	"strata/internal/store"
)

// Registries gives what is needed to ask registries: their address, credentials, and a
// transport whose rate all requests of this instance share. It is safe for concurrent
// use.
type Registries struct {
	DB  *store.DB
	Log *slog.Logger
	// Guarded makes the requests to registries that no administrator has added: their
	// address is a user's (Harbor's request, a client). nil is as to all others.
	Guarded http.RoundTripper

	mu   sync.Mutex
	held map[int64]*heldTransport
}

// A heldTransport is that of a registry as it was at a time.
type heldTransport struct {
	updated time.Time
	limited *source.Limited
}

// An Access is how a registry is asked.
type Access struct {
	Registry *store.Registry
	// Host of its address, with the port.
	Host    string
	Options source.Options
}

// Of is the access to a registry, with its credentials.
func (r *Registries) Of(ctx context.Context, id int64) (*Access, error) {
	reg, err := r.DB.Registry(ctx, id)
	if err != nil {
		return nil, err
	}
	secret, err := r.DB.RegistryCredentials(ctx, id)
	if err != nil {
		return nil, err
	}
	a := accessTo(reg, secret, r.Log)
	limited, err := r.transport(a)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", reg.Name, err)
	}
	a.Options.Transport = limited
	return a, nil
}

func accessTo(reg *store.Registry, secret store.Credentials, log *slog.Logger) *Access {
	host, plain := source.RegistryAddress(reg.URL)
	return &Access{Registry: reg, Host: host, Options: source.Options{
		Insecure: plain || reg.Settings.Insecure, Username: secret.Username, Password: secret.Password, Token: secret.Token, Log: log,
	}}
}

func limits(a *Access) source.Limits {
	return source.Limits{Host: a.Host, Rate: a.Registry.Settings.Rate, CA: []byte(a.Registry.Settings.CA), Insecure: a.Options.Insecure}
}

// transport is the one that this instance has for a registry, as long as it isn't
// changed.
func (r *Registries) transport(a *Access) (*source.Limited, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.held[a.Registry.ID]
	if h != nil && h.updated.Equal(a.Registry.UpdatedAt) {
		return h.limited, nil
	}
	wanted := limits(a)
	if a.Registry.Kind == store.Submitted {
		wanted.Next = r.Guarded
	}
	limited, err := source.NewLimited(wanted)
	if err != nil {
		return nil, err
	}
	if h != nil {
		h.limited.CloseIdleConnections()
	}
	if r.held == nil {
		r.held = map[int64]*heldTransport{}
	}
	r.held[a.Registry.ID] = &heldTransport{updated: a.Registry.UpdatedAt, limited: limited}
	return limited, nil
}

// Test tells whether a registry, as it would be kept, can be read: it gives a few of
// its repositories, or says in words what is wrong and what can be done. With listed
// repositories no catalogue is needed: the first of them is asked for its tags.
func (r *Registries) Test(ctx context.Context, reg *store.Registry, secret store.Credentials) (repositories []string, err error) {
	a := accessTo(reg, secret, r.Log)
	limited, err := source.NewLimited(limits(a))
	if err != nil {
		return nil, err
	}
	defer limited.CloseIdleConnections()
	a.Options.Transport = limited
	if listed := reg.Settings.Repositories; len(listed) > 0 && !strings.Contains(listed[0], "*") {
		if _, err := source.Tags(ctx, a.Host+"/"+listed[0], a.Options); err != nil {
			return nil, err
		}
		return listed[:1], nil
	}
	return source.Check(ctx, a.Host, a.Options)
}

// Authorised is the access with the credentials of an Authorization header, as Harbor
// gives one with its requests (Basic or Bearer); what it can't be read from leaves it
// as it is.
func (a *Access) Authorised(header string) {
	scheme, value, _ := strings.Cut(header, " ")
	switch strings.ToLower(scheme) {
	case "bearer":
		a.Options.Username, a.Options.Password, a.Options.Token = "", "", strings.TrimSpace(value)
	case "basic":
		text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
		if name, password, ok := strings.Cut(string(text), ":"); err == nil && ok {
			a.Options.Username, a.Options.Password, a.Options.Token = name, password, ""
		}
	}
}
