// Package auth tells who asks and what they may do: users with passwords or from
// an OpenID provider, sessions, tokens, roles limited to repositories, and the
// audit log of changes. It knows nothing of pages and requests but their
// credentials.
package auth

import (
	"context"
	"fmt"

	"strata/internal/store"
)

// A Role is what someone may do. Each may all that those before it may.
type Role string

// The roles, from the least. Anyone and Known are no roles to be granted: they say of
// an operation that anyone may ask for it, or all who are known.
const (
	Anyone Role = "anyone"
	Known  Role = "known"
	// Viewer sees images, findings and impact of its repositories.
	Viewer Role = "viewer"
	// Developer has images scanned, too, and submits inventories.
	Developer Role = "developer"
	// Security writes policies, watches, waivers and receivers.
	Security Role = "security"
	// Administrator manages registries, users and the server.
	Administrator Role = "administrator"
)

// A Grant is a role over the repositories that a glob names, as
// "REGISTRY/REPOSITORY"; "**" is all of them.
type Grant struct {
	Role       Role
	Repository string
}

// An Identity is who asks, with what they were granted.
type Identity struct {
	// Name of the user; Via is "session" or "token NAME", for the audit log.
	Name, Via string
	UserID    int64
	// OpenID tells that the OpenID provider knows the user: there is no password.
	OpenID bool
	Grants []Grant
}

// ParseRole reads a role that can be granted.
func ParseRole(s string) (Role, error) {
	if r := Role(s); r.rank() > 0 {
		return r, nil
	}
	return "", fmt.Errorf("role %q: want viewer, developer, security or administrator", s)
}

// Match tells whether one of the globs names it; a name is "REGISTRY/REPOSITORY", *
// is any run of characters within a segment, ** any run at all.
func Match(globs []string, name string) bool { return store.MatchName(globs, name) }

// rank orders roles; 0 is none.
func (r Role) rank() int {
	switch r {
	case Viewer:
		return 1
	case Developer:
		return 2
	case Security:
		return 3
	case Administrator:
		return 4
	}
	return 0
}

// Actor is who it is for the audit log; "strata" for the server itself.
func (i *Identity) Actor() string {
	if i == nil {
		return "strata"
	}
	return i.Name + " (" + i.Via + ")"
}

// HasSession tells that someone has logged in with a browser, rather than sent a token.
func (i *Identity) HasSession() bool { return i != nil && i.Via == sessionVia }

// May tells whether the identity has the role, or a higher one, over everything.
func (i *Identity) May(role Role) bool {
	for _, g := range i.Scope(role) {
		if g == "**" {
			return true
		}
	}
	return false
}

// Scope are the globs of the repositories over which the identity has the role or
// a higher one; none for nothing. Lists leave out what is not in it.
func (i *Identity) Scope(role Role) []string {
	if i == nil {
		return nil
	}
	var out []string
	for _, g := range i.Grants {
		if g.Role.rank() >= role.rank() {
			out = append(out, g.Repository)
		}
	}
	return out
}

type identityKey struct{}

// With gives the context of a request the identity of who asks.
func With(ctx context.Context, i *Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, i)
}

// From is who asks; nil for no one that is known.
func From(ctx context.Context) *Identity {
	i, _ := ctx.Value(identityKey{}).(*Identity)
	return i
}
