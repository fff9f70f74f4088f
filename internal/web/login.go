package web

import (
	"errors"
	"net/http"
	"strings"
)

// A loginForm is the page of the login, and of the setup.
type loginForm struct {
	Name, Token, Next string
	OpenID            bool
	Error             string
}

// loginPage asks who it is; where there is no administrator yet, for the first.
func (s *Site) loginPage(v *visit) error {
	if v.me != nil {
		v.redirect(ownPath(v.r.FormValue("next")))
		return nil
	}
	var ways struct{ OpenID, Setup bool }
	if err := v.get("/login", nil, &ways); err != nil {
		return err
	}
	if ways.Setup {
		v.redirect("/setup")
		return nil
	}
	v.show(http.StatusOK, "login", "Log in", loginForm{Next: v.r.FormValue("next"), OpenID: ways.OpenID, Error: failedLogin(v.r.FormValue("failed"))})
	return nil
}

// failedLogin says why a login with a company's account did not work: by the status that the
// API has for it.
func failedLogin(status string) string {
	switch status {
	case "":
		return ""
	case "401":
		return "Your company's account was not accepted, or the login took too long. Try it once more from here."
	case "409":
		return "Somebody else has the name of your account here. An administrator has to free it."
	case "502":
		return "Your company's login does not answer. Try it again later; the server's log has the reason."
	}
	return "The login with your company's account did not work. Try it once more; the server's log has the reason."
}

func (s *Site) login(v *visit) error {
	form := loginForm{Name: v.field("name"), Next: v.r.PostFormValue("next")}
	err := v.ask("POST", "/login", map[string]string{"name": form.Name, "password": v.r.PostFormValue("password")}, nil)
	if v.wrong(err, &form.Error) {
		var ways struct{ OpenID bool }
		if err := v.get("/login", nil, &ways); err != nil {
			return err
		}
		form.OpenID = ways.OpenID
		v.show(http.StatusUnprocessableEntity, "login", "Log in", form)
		return nil
	}
	if err != nil {
		return err
	}
	v.redirect(ownPath(form.Next))
	return nil
}

// ownPath is an address to come back to: one of this server, or the first page.
func ownPath(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}

// wrong tells whether an error is one of who filled in a form, and keeps its text for the
// page.
func (v *visit) wrong(err error, text *string) bool {
	var e *apiError
	if !errors.As(err, &e) || e.Status >= http.StatusInternalServerError {
		return false
	}
	*text = sentence(e.Error())
	return true
}

func (s *Site) logout(v *visit) error {
	if err := v.ask("POST", "/logout", nil, nil); err != nil {
		return err
	}
	v.redirect("/login")
	return nil
}

func (s *Site) setupPage(v *visit) error {
	var ways struct{ Setup bool }
	if err := v.get("/login", nil, &ways); err != nil {
		return err
	}
	if !ways.Setup {
		v.redirect("/login")
		return nil
	}
	v.show(http.StatusOK, "setup", "Welcome", loginForm{Token: v.r.FormValue("token"), Name: "admin"})
	return nil
}

// setup makes the first administrator, who comes to the registries next: without one there
// is nothing to see.
func (s *Site) setup(v *visit) error {
	form := loginForm{Name: v.field("name"), Token: v.field("token")}
	password := v.r.PostFormValue("password")
	if password != v.r.PostFormValue("again") {
		form.Error = "The two passwords differ."
		v.show(http.StatusUnprocessableEntity, "setup", "Welcome", form)
		return nil
	}
	err := v.ask("POST", "/setup", map[string]string{"token": form.Token, "name": form.Name, "password": password}, nil)
	if v.wrong(err, &form.Error) {
		v.show(http.StatusUnprocessableEntity, "setup", "Welcome", form)
		return nil
	}
	if err != nil {
		return err
	}
	v.redirect("/registries")
	return nil
}
