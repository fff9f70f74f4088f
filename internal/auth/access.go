package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"strata/internal/store"
)

// How long a session lasts without a request, and at most.
const (
	DefaultIdle    = 12 * time.Hour
	DefaultSession = 7 * 24 * time.Hour
)

// touchEvery is how exact the times of last use are: so often they are written.
const touchEvery = time.Minute

// ErrDenied is wrapped by the error of credentials that are wrong, expired, or of a
// user who is disabled; which of these is for no one to learn.
var ErrDenied = errors.New("these credentials are not valid")

// Access finds out who asks. NewAccess makes one.
type Access struct {
	DB *store.DB
	// Idle and Session are how long a session lasts without a request, and at most;
	// DefaultIdle and DefaultSession where 0.
	Idle, Session time.Duration
	// Secure is for a server that browsers reach by https: its cookie is sent to
	// nothing else.
	Secure bool
	// Now is the clock of DB by default.
	Now func() time.Time

	// slots bounds how many passwords are hashed at once.
	slots chan struct{}
}

// NewAccess makes one upon a database; its other fields may be set then.
func NewAccess(db *store.DB) *Access {
	const atOnce = 2
	return &Access{DB: db, slots: make(chan struct{}, atOnce)}
}

func (a *Access) now() time.Time {
	if a.Now != nil {
		return a.Now()
	}
	return a.DB.Now()
}

// Authenticate tells who sends a request: by a token ("Authorization: Bearer …"), or
// else by the cookie of a session; nil for no one, who brings neither. ErrDenied is for
// a token that is not valid; a session that is not is as good as none.
func (a *Access) Authenticate(r *http.Request) (*Identity, error) {
	if secret, ok := bearer(r); ok {
		return a.byToken(r.Context(), secret)
	}
	c, err := r.Cookie(a.CookieName())
	if err != nil {
		return nil, nil
	}
	i, err := a.bySession(r.Context(), c.Value)
	if errors.Is(err, ErrDenied) {
		return nil, nil
	}
	return i, err
}

// bearer is the token of a request. Its scheme is written in any case (RFC 9110, 11.1).
// What is no token of Strata is not for it: a Basic header may be the proxy's.
func bearer(r *http.Request) (string, bool) {
	scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(secret), ok && strings.EqualFold(scheme, "Bearer")
}

func (a *Access) byToken(ctx context.Context, secret string) (*Identity, error) {
	if !wellFormed(secret) {
		return nil, ErrDenied
	}
	t, u, err := a.DB.TokenWith(ctx, hashSecret(secret))
	if err != nil {
		return nil, denied(err)
	}
	now := a.now()
	if u.Disabled || !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt) {
		return nil, ErrDenied
	}
	if now.Sub(t.UsedAt) >= touchEvery {
		if err := a.DB.TouchToken(ctx, t.ID); err != nil {
			return nil, fmt.Errorf("token %q: %w", t.Name, err)
		}
	}
	return &Identity{Name: u.Name, UserID: u.ID, Via: "token " + t.Name, OpenID: u.Subject != "", Grants: limit(u.Grants, t.Grant)}, nil
}

func (a *Access) bySession(ctx context.Context, secret string) (*Identity, error) {
	hash := hashSecret(secret)
	s, u, err := a.DB.SessionWith(ctx, hash)
	if err != nil {
		return nil, denied(err)
	}
	now := a.now()
	if u.Disabled || !now.Before(s.ExpiresAt) || now.Sub(s.SeenAt) >= a.idle() {
		return nil, ErrDenied
	}
	if now.Sub(s.SeenAt) >= touchEvery {
		if err := a.DB.TouchSession(ctx, hash); err != nil {
			return nil, fmt.Errorf("session of %s: %w", u.Name, err)
		}
	}
	return sessionIdentity(u), nil
}

// sessionVia is Identity.Via of who has a session.
const sessionVia = "session"

// denied is ErrDenied for what isn't there.
func denied(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return ErrDenied
	}
	return err
}

func (a *Access) idle() time.Duration {
	if a.Idle > 0 {
		return a.Idle
	}
	return DefaultIdle
}

func (a *Access) session() time.Duration {
	if a.Session > 0 {
		return a.Session
	}
	return DefaultSession
}

// CookieName is that of the session's cookie. Where there is https, browsers hold a
// __Host- cookie to be this host's own (RFC 6265bis, 4.1.3.2).
func (a *Access) CookieName() string {
	if a.Secure {
		return "__Host-strata"
	}
	return "strata"
}

// Cookie is the session's, for a browser; an empty secret deletes it.
func (a *Access) Cookie(secret string) *http.Cookie {
	c := &http.Cookie{Name: a.CookieName(), Value: secret, Path: "/", HttpOnly: true, Secure: a.Secure, SameSite: http.SameSiteLaxMode, MaxAge: int(a.session().Seconds())}
	if secret == "" {
		c.MaxAge = -1
	}
	return c
}

// limit is what is granted both to a user and to a token: for each of the user's
// grants the lesser role, over what both globs name. Where neither glob covers the
// other, it is nothing.
func limit(grants []store.Grant, by store.Grant) []Grant {
	var out []Grant
	for _, g := range grants {
		role, glob := Role(g.Role), ""
		if Role(by.Role).rank() < role.rank() {
			role = Role(by.Role)
		}
		switch {
		case covers(g.Repository, by.Repository):
			glob = by.Repository
		case covers(by.Repository, g.Repository):
			glob = g.Repository
		default:
			continue
		}
		out = append(out, Grant{role, glob})
	}
	return out
}

// covers tells whether a glob names all that another one does. It holds the other one
// against it as if it were a name, in which a single star must not stand for a double
// one: what a ** names has slashes.
func covers(wide, narrow string) bool {
	if wide == narrow || wide == "**" {
		return true
	}
	prefix, found := strings.CutSuffix(wide, "**")
	if found && !strings.Contains(prefix, "*") {
		return strings.HasPrefix(narrow, prefix)
	}
	return !strings.Contains(narrow, "*") && Match([]string{wide}, narrow)
}
