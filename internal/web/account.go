package web

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"strata/internal/auth"
)

// A token is an API token; its secret is seen once.
type token struct {
	ID                                   int64
	Name, User, Role, Repository, Secret string
	CreatedAt                            time.Time `json:"created_at"`
	ExpiresAt                            time.Time `json:"expires_at"`
	UsedAt                               time.Time `json:"used_at"`
}

// A tokenForm is a token to be, as it was filled in.
type tokenForm struct {
	Name, Role, Repository, Days, Error string
	Roles                               []string
	Spans                               []tokenSpan
}

// A tokenSpan is how long a token is good; Until is zero for ever.
type tokenSpan struct {
	Days  string
	Until time.Time
}

// An accountPage is who looks, what they may do, and their tokens.
type accountPage struct {
	Name, Via string
	Grants    []grant
	Tokens    listPage[token]
	Form      tokenForm
	// Made is the token that was just made, with its secret.
	Made          *token
	PasswordError string
}

// emptyToken is the form for a token, with what who looks may give it.
func (v *visit) emptyToken() tokenForm {
	f := tokenForm{Days: "90", Role: "viewer"}
	for _, role := range roles() {
		if len(v.me.Scope(auth.Role(role))) > 0 {
			f.Roles = append(f.Roles, role)
		}
	}
	switch scope := v.me.Scope(auth.Viewer); {
	case v.me.May(auth.Viewer):
		f.Repository = "**"
	case len(scope) > 0:
		f.Repository = scope[0]
	}
	for _, days := range []int{7, 30, 90, 365} {
		f.Spans = append(f.Spans, tokenSpan{strconv.Itoa(days), v.o.Now().AddDate(0, 0, days)})
	}
	f.Spans = append(f.Spans, tokenSpan{Days: "0"})
	return f
}

func (v *visit) showAccount(status int, p *accountPage) error {
	p.Tokens.URL = &url.URL{Path: "/account", RawQuery: v.r.URL.RawQuery}
	if err := v.get("/me", nil, p); err != nil {
		return err
	}
	if err := v.get("/tokens", v.asked("cursor"), &p.Tokens); err != nil {
		return err
	}
	v.show(status, "account", "Your account", p)
	return nil
}

func (s *Site) account(v *visit) error {
	return v.showAccount(http.StatusOK, &accountPage{Form: v.emptyToken()})
}

// changePassword ends all sessions, this one too.
func (s *Site) changePassword(v *visit) error {
	p := &accountPage{Form: v.emptyToken()}
	next := v.r.PostFormValue("new")
	if next != v.r.PostFormValue("again") {
		p.PasswordError = "The two new passwords differ."
		return v.showAccount(http.StatusUnprocessableEntity, p)
	}
	err := v.ask("PUT", "/me/password", map[string]string{"password": v.r.PostFormValue("password"), "new_password": next}, nil)
	if v.wrong(err, &p.PasswordError) {
		return v.showAccount(http.StatusUnprocessableEntity, p)
	}
	if err != nil {
		return err
	}
	return v.done("/login", "Your password is changed, and all your sessions have ended. Log in with the new one.")
}

// makeToken makes a token, and shows its secret, this once.
func (s *Site) makeToken(v *visit) error {
	p := &accountPage{Form: v.emptyToken()}
	f := &p.Form
	f.Name, f.Role, f.Repository, f.Days = v.field("name"), v.field("role"), v.field("repository"), v.field("days")
	days, err := strconv.Atoi(f.Days)
	switch {
	case err != nil:
		f.Error = "Say how long it is good."
	case f.Repository == "":
		f.Error = "Say for which repositories it is: ** is all."
	}
	if f.Error != "" {
		return v.showAccount(http.StatusUnprocessableEntity, p)
	}
	made := &token{}
	err = v.ask("POST", "/tokens", map[string]any{"name": f.Name, "role": f.Role, "repository": f.Repository, "days": days}, made)
	if v.wrong(err, &f.Error) {
		return v.showAccount(http.StatusUnprocessableEntity, p)
	}
	if err != nil {
		return err
	}
	p.Form, p.Made = v.emptyToken(), made
	return v.showAccount(http.StatusOK, p)
}

func (s *Site) revokeToken(v *visit) error {
	return v.act("DELETE", v.at("/tokens", "id"), nil, "/account", "The token is revoked: it is good for nothing any more.")
}
