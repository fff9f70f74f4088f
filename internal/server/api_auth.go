package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"strata/internal/auth"
)

// OpenIDCallback is the path to which a provider sends users back.
const OpenIDCallback = "/api/v1/login/openid/callback"

// A Me is who asks.
type Me struct {
	Name   string  `json:"name"`
	Via    string  `json:"via" doc:"session, or token NAME"`
	OpenID bool    `json:"openid" doc:"logs in at the OpenID provider, and has no password here"`
	Grants []Grant `json:"grants" nullable:"false"`
}

// A Grant is a role over repositories.
type Grant struct {
	Role       auth.Role `json:"role" enum:"viewer,developer,security,administrator"`
	Repository string    `json:"repository" default:"**" minLength:"1" maxLength:"500" doc:"glob over REGISTRY/REPOSITORY: * within a segment, ** for any; ** is all"`
}

// A LoginMethods says how one can log in.
type LoginMethods struct {
	Password bool `json:"password"`
	OpenID   bool `json:"openid" doc:"GET /api/v1/login/openid sends a browser to the provider"`
	Setup    bool `json:"setup" doc:"there is no administrator yet: POST /api/v1/setup makes the first one"`
}

// signedIn is the answer to a login: the cookie and who it is.
type signedIn struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      Me
}

// asker gives handlers what they need of the request besides its body.
type asker struct {
	address, agent, cookie string
}

func (s *Server) asker(c huma.Context) asker {
	r, _ := humago.Unwrap(c)
	a := asker{address: s.clientAddress(r), agent: r.UserAgent()}
	if cookie, err := r.Cookie(s.access.CookieName()); err == nil {
		a.cookie = cookie.Value
	}
	return a
}

type askerKey struct{}

// withAsker is a middleware of operations that log in and out.
func (s *Server) withAsker(c huma.Context, next func(huma.Context)) {
	next(huma.WithValue(c, askerKey{}, s.asker(c)))
}

func askerOf(ctx context.Context) asker { a, _ := ctx.Value(askerKey{}).(asker); return a }

// registerAuth is how one logs in and out. Setup and login are for anyone: they are how
// one becomes someone. They count failures by user and address.
func (s *Server) registerAuth() {
	op := func(method, path, id, summary string, role auth.Role) huma.Operation {
		o := operation(method, path, id, summary, "login", role)
		o.Middlewares = huma.Middlewares{s.withAsker}
		return o
	}
	setup := op("POST", "/setup", "setup", "Make the first administrator, with the token that the first start printed", auth.Anyone)
	setup.DefaultStatus = http.StatusCreated
	huma.Register(s.api, setup, s.setup)
	huma.Register(s.api, op("GET", "/login", "list-login-methods", "Tell how one can log in", auth.Anyone), s.loginMethods)
	huma.Register(s.api, op("POST", "/login", "login", "Log in with name and password", auth.Anyone), s.login)
	huma.Register(s.api, op("POST", "/logout", "logout", "End this session", auth.Known), s.logout)
	huma.Register(s.api, op("GET", "/me", "get-me", "Tell who asks and what they may do", auth.Known), s.me)
	huma.Register(s.api, op("PUT", "/me/password", "change-password", "Change the password; all sessions end", auth.Known), s.changePassword)
	s.mux.HandleFunc("GET /api/v1/login/openid", s.beginOpenID)
	s.mux.HandleFunc("GET "+OpenIDCallback, s.finishOpenID)
}

func meOf(i *auth.Identity) Me {
	m := Me{Name: i.Name, Via: i.Via, OpenID: i.OpenID, Grants: []Grant{}}
	for _, g := range i.Grants {
		m.Grants = append(m.Grants, Grant(g))
	}
	return m
}

type nameAndPassword struct {
	Name     string `json:"name" minLength:"1" maxLength:"200"`
	Password string `json:"password" minLength:"1" maxLength:"2000"`
}

func (s *Server) setup(ctx context.Context, in *struct {
	Body struct {
		Token    string `json:"token" maxLength:"200"`
		Name     string `json:"name" minLength:"1" maxLength:"200" pattern:"^[^\\s/\\x00-\\x1f]+$" patternDescription:"a name without spaces and slashes"`
		Password string `json:"password" minLength:"1" maxLength:"2000" doc:"at least 12 characters"`
	}
}) (*signedIn, error) {
	from := askerOf(ctx)
	secret, who, err := s.access.Setup(ctx, in.Body.Token, in.Body.Name, in.Body.Password, from.address, from.agent)
	if errors.Is(err, auth.ErrDenied) {
		return nil, s.setupDenied(ctx)
	}
	if err != nil {
		return nil, s.failAuth(ctx, err)
	}
	return s.signIn(auth.With(ctx, who), "setup", secret, who)
}

// setupDenied says what to do for who has no good token. Whether there is an
// administrator is for anyone to know (loginMethods).
func (s *Server) setupDenied(ctx context.Context) error {
	has, err := s.o.DB.HasAdministrator(ctx)
	switch {
	case err != nil:
		return s.fail(ctx, err)
	case has:
		return huma.Error401Unauthorized("the server has an administrator already, and tokens for setup are good no more: log in (POST /api/v1/login); " +
			"for a password that is lost, `strata admin user NAME --reset` prints a new one where the database is")
	}
	return huma.Error401Unauthorized("this token is not valid, or older than 24 hours: restart the server, which prints a new one on standard error")
}

func (s *Server) loginMethods(ctx context.Context, _ *struct{}) (*struct{ Body LoginMethods }, error) {
	has, err := s.o.DB.HasAdministrator(ctx)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body LoginMethods }{LoginMethods{Password: true, OpenID: s.o.OpenID != nil, Setup: !has}}, nil
}

func (s *Server) login(ctx context.Context, in *struct{ Body nameAndPassword }) (*signedIn, error) {
	from := askerOf(ctx)
	secret, who, err := s.access.Login(ctx, in.Body.Name, in.Body.Password, from.address, from.agent)
	if err != nil {
		return nil, s.failAuth(ctx, err)
	}
	return s.signIn(auth.With(ctx, who), "login", secret, who)
}

func (s *Server) signIn(ctx context.Context, action, secret string, who *auth.Identity) (*signedIn, error) {
	if err := s.audit(ctx, action, who.Name, ""); err != nil {
		return nil, s.fail(ctx, err)
	}
	return &signedIn{SetCookie: *s.access.Cookie(secret), Body: meOf(who)}, nil
}

type signedOut struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
}

func (s *Server) logout(ctx context.Context, _ *struct{}) (*signedOut, error) {
	if cookie := askerOf(ctx).cookie; cookie != "" {
		if err := s.access.Logout(ctx, cookie); err != nil {
			return nil, s.fail(ctx, err)
		}
	}
	return &signedOut{*s.access.Cookie("")}, nil
}

func (s *Server) me(ctx context.Context, _ *struct{}) (*struct{ Body Me }, error) {
	return &struct{ Body Me }{meOf(auth.From(ctx))}, nil
}

func (s *Server) changePassword(ctx context.Context, in *struct {
	Body struct {
		Password    string `json:"password" maxLength:"2000" doc:"the one that holds now"`
		NewPassword string `json:"new_password" minLength:"1" maxLength:"2000" doc:"at least 12 characters"`
	}
}) (*signedOut, error) {
	who := auth.From(ctx)
	if err := s.access.ChangePassword(ctx, who, in.Body.Password, in.Body.NewPassword, askerOf(ctx).address); err != nil {
		return nil, s.failAuth(ctx, err)
	}
	if err := s.audit(ctx, "change-password", who.Name, ""); err != nil {
		return nil, s.fail(ctx, err)
	}
	return &signedOut{*s.access.Cookie("")}, nil
}

// flowCookie is the one that a browser keeps while its user is at the provider. Only
// the two addresses of this flow see it; where there is https no other host can set it.
func (s *Server) flowCookie(value string, maxAge time.Duration) *http.Cookie {
	c := &http.Cookie{Name: "strata-login", Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: s.o.secure(), MaxAge: int(maxAge.Seconds())}
	if c.Secure {
		c.Name = "__Host-strata-login"
	}
	return c
}

// A loginFlow is what the browser keeps of a login with OpenID Connect: the flow, and which page
// is wanted after it.
type loginFlow struct {
	auth.Flow
	Next string `json:"next,omitempty"`
}

func (s *Server) beginOpenID(w http.ResponseWriter, r *http.Request) {
	if s.o.OpenID == nil {
		s.failOpenID(w, r, huma.Error404NotFound("this server has no OpenID provider"))
		return
	}
	provider, flow, err := s.o.OpenID.Begin(r.Context())
	if err != nil {
		s.o.Log.ErrorContext(r.Context(), "login with OpenID Connect", "error", err)
		s.failOpenID(w, r, huma.Error502BadGateway("the OpenID provider doesn't answer; the log has the reason"))
		return
	}
	const while = 10 * time.Minute
	http.SetCookie(w, s.flowCookie(encodeCursor("login", loginFlow{flow, r.URL.Query().Get("next")}), while))
	http.Redirect(w, r, provider, http.StatusFound)
}

func (s *Server) finishOpenID(w http.ResponseWriter, r *http.Request) {
	if s.o.OpenID == nil {
		s.failOpenID(w, r, huma.Error404NotFound("this server has no OpenID provider"))
		return
	}
	var flow loginFlow
	if c, err := r.Cookie(s.flowCookie("", 0).Name); err == nil {
		_ = decodeCursor("login", c.Value, &flow) // an empty flow is refused
	}
	http.SetCookie(w, s.flowCookie("", -time.Second))
	q := r.URL.Query()
	secret, who, err := s.access.LoginWith(r.Context(), s.o.OpenID, flow.Flow, q.Get("state"), q.Get("code"), r.UserAgent())
	if err != nil {
		s.o.Log.WarnContext(r.Context(), "login with OpenID Connect", "error", err, "provider_error", q.Get("error"))
		s.failOpenID(w, r, s.failAuth(r.Context(), err))
		return
	}
	if err := s.audit(auth.With(r.Context(), who), "login", who.Name, "OpenID Connect"); err != nil {
		s.failOpenID(w, r, s.fail(r.Context(), err))
		return
	}
	http.SetCookie(w, s.access.Cookie(secret))
	// The page of the login leads on, to pages of this server only.
	http.Redirect(w, r, "/login?"+url.Values{"next": {flow.Next}}.Encode(), http.StatusFound)
}

// failOpenID answers who could not log in with OpenID Connect: a browser goes back to the page
// of the login, which says so.
func (s *Server) failOpenID(w http.ResponseWriter, r *http.Request, err error) {
	var answer huma.StatusError
	if ofBrowser(r) && errors.As(err, &answer) {
		http.Redirect(w, r, "/login?failed="+strconv.Itoa(answer.GetStatus()), http.StatusSeeOther)
		return
	}
	s.answer(w, r, err)
}

// tooOften is the answer to who failed too often.
func tooOften() error {
	return huma.ErrorWithHeaders(huma.Error429TooManyRequests(auth.ErrTooOften.Error()),
		http.Header{"Retry-After": {strconv.Itoa(int(auth.RetryAfter.Seconds()))}})
}

// failAuth is fail for what package auth says.
func (s *Server) failAuth(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, auth.ErrDenied):
		return huma.Error401Unauthorized(auth.ErrDenied.Error())
	case errors.Is(err, auth.ErrTooMuch):
		return huma.Error403Forbidden(err.Error())
	case errors.Is(err, auth.ErrTooOften):
		return tooOften()
	case errors.Is(err, auth.ErrBadPassword):
		return huma.Error422UnprocessableEntity(err.Error())
	}
	return s.fail(ctx, err)
}
