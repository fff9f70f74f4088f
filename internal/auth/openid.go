package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"strata/internal/store"
)

// An OpenID is a provider of logins (OpenID Connect Core 1.0, the code flow) and what
// its users may do.
type OpenID struct {
	// Issuer is its URL, ClientID and ClientSecret what it knows this server by.
	Issuer, ClientID, ClientSecret string
	// RedirectURL is where it sends users back to.
	RedirectURL string
	// Scopes are asked for besides openid, profile and email.
	Scopes []string
	// RoleClaim is the claim that has a user's groups; "groups" where empty. With dots it
	// is within others: "realm_access.roles".
	RoleClaim string
	// Roles are what groups are granted. A user with none of them is not let in.
	Roles map[string][]Grant
	// Everyone is what all users of the provider are granted.
	Everyone []Grant
	// Client sends requests; http.DefaultClient where nil.
	Client *http.Client

	mu       sync.Mutex
	provider *oidc.Provider
}

// A Flow is a login that has begun, which the browser keeps in a cookie until it comes
// back from the provider.
type Flow struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
}

// discover asks the provider for its addresses and keys, once it has answered. It may
// be down when the server starts.
func (o *OpenID) discover(ctx context.Context) (*oidc.Provider, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.provider != nil {
		return o.provider, nil
	}
	// The provider keeps this context for its keys: it must outlive the request.
	p, err := oidc.NewProvider(o.with(context.WithoutCancel(ctx)), o.Issuer)
	if err != nil {
		return nil, fmt.Errorf("OpenID provider %s: %w", o.Issuer, err)
	}
	o.provider = p
	return p, nil
}

func (o *OpenID) with(ctx context.Context) context.Context {
	client := o.Client
	if client == nil {
		const patience = 15 * time.Second
		client = &http.Client{Timeout: patience}
	}
	return oidc.ClientContext(ctx, client)
}

func (o *OpenID) config(p *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{
		ClientID: o.ClientID, ClientSecret: o.ClientSecret, Endpoint: p.Endpoint(), RedirectURL: o.RedirectURL,
		Scopes: append([]string{oidc.ScopeOpenID, "profile", "email"}, o.Scopes...),
	}
}

// Begin is where to send a user to log in, and what to keep until they come back.
func (o *OpenID) Begin(ctx context.Context) (url string, f Flow, err error) {
	p, err := o.discover(ctx)
	if err != nil {
		return "", Flow{}, err
	}
	f = Flow{State: newSecret(), Nonce: newSecret(), Verifier: oauth2.GenerateVerifier()}
	return o.config(p).AuthCodeURL(f.State, oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)), f, nil
}

// finish takes what the provider gave the user and tells who they are, now. ErrDenied when
// it was not for this flow, or is not to be believed.
func (o *OpenID) finish(ctx context.Context, now func() time.Time, f Flow, state, code string) (*store.User, error) {
	if f.State == "" || subtle.ConstantTimeCompare([]byte(f.State), []byte(state)) != 1 {
		return nil, fmt.Errorf("login: %w: it was begun in another browser, or too long ago", ErrDenied)
	}
	p, err := o.discover(ctx)
	if err != nil {
		return nil, err
	}
	ctx = o.with(ctx)
	tokens, err := o.config(p).Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return nil, fmt.Errorf("OpenID provider %s: %w: %w", o.Issuer, ErrDenied, err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	id, err := p.VerifierContext(ctx, &oidc.Config{ClientID: o.ClientID, Now: now}).Verify(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("OpenID provider %s: %w: %w", o.Issuer, ErrDenied, err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(f.Nonce)) != 1 {
		return nil, fmt.Errorf("login: %w: the nonce is another one's", ErrDenied)
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return nil, fmt.Errorf("OpenID provider %s: %w", o.Issuer, err)
	}
	return o.user(id, claims)
}

// validName tells whether it can be a user's name, as those that administrators give.
func validName(name string) bool {
	return name != "" && len(name) <= longestUserName && utf8.ValidString(name) && !strings.ContainsFunc(name, func(c rune) bool {
		return c == '/' || unicode.IsSpace(c) || !unicode.IsGraphic(c)
	})
}

// user is the user whom claims tell of; without grants, one who is not to be let in.
func (o *OpenID) user(id *oidc.IDToken, claims map[string]any) (*store.User, error) {
	u := &store.User{Subject: id.Issuer + " " + id.Subject}
	u.Email, _ = claims["email"].(string)
	for _, claim := range []string{"preferred_username", "email", "sub"} {
		if u.Name, _ = claims[claim].(string); validName(u.Name) {
			break
		}
		u.Name = ""
	}
	if u.Name == "" {
		return nil, fmt.Errorf("OpenID provider %s: %w: none of preferred_username, email and sub is a name without spaces and slashes", o.Issuer, ErrDenied)
	}
	claim := o.RoleClaim
	if claim == "" {
		claim = "groups"
	}
	grants := o.Everyone
	for _, group := range groups(claims, claim) {
		grants = append(grants[:len(grants):len(grants)], o.Roles[group]...)
	}
	for _, g := range grants {
		u.Grants = append(u.Grants, store.Grant{Role: string(g.Role), Repository: g.Repository})
	}
	return u, nil
}

// groups are the values of a claim: a list, or one word.
func groups(claims map[string]any, claim string) []string {
	value, found := claims[claim]
	if outer, rest, ok := strings.Cut(claim, "."); !found && ok {
		inner, _ := claims[outer].(map[string]any)
		return groups(inner, rest)
	}
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, g := range v {
			if s, ok := g.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// LoginWith makes a session for who comes back from the provider. The provider says
// what they may do, each time anew. A local user's name is not given to another one.
func (a *Access) LoginWith(ctx context.Context, o *OpenID, f Flow, state, code, agent string) (secret string, who *Identity, err error) {
	told, err := o.finish(ctx, a.now, f, state, code)
	if err != nil {
		return "", nil, err
	}
	u, err := a.DB.UserWithSubject(ctx, told.Subject)
	switch {
	case errors.Is(err, store.ErrNotFound):
		if u = told; len(u.Grants) == 0 {
			return "", nil, withoutRole(u)
		}
		if u.ID, err = a.DB.CreateUser(ctx, u); err != nil {
			return "", nil, err
		}
	case err != nil:
		return "", nil, err
	default:
		if err := a.told(ctx, u, told); err != nil {
			return "", nil, err
		}
	}
	return a.begin(ctx, u, agent)
}

// told writes down what the provider says of a user that is known. Who has no role any
// more is not let in, and loses what they had: their tokens must not outlive it.
func (a *Access) told(ctx context.Context, u, told *store.User) error {
	err := a.DB.EditUser(ctx, u.ID, func(now *store.User) error {
		if now.Disabled {
			return fmt.Errorf("login of %s: %w", u.Name, ErrDenied)
		}
		now.Email, now.Grants = told.Email, told.Grants
		return nil
	})
	u.Email, u.Grants = told.Email, told.Grants
	if len(told.Grants) == 0 {
		return errors.Join(withoutRole(u), err)
	}
	return err
}

func withoutRole(u *store.User) error {
	return fmt.Errorf("login of %s: %w: none of the groups that the provider tells of has a role here", u.Name, ErrDenied)
}
