package web

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// A user is someone who may log in.
type user struct {
	Name, Email      string
	OpenID, Disabled bool
	Grants           []grant
	CreatedAt        time.Time `json:"created_at"`
	SeenAt           time.Time `json:"seen_at"`
}

// A grant is a role over the repositories that a glob names.
type grant struct {
	Role       string `json:"role"`
	Repository string `json:"repository"`
}

// roles are those that can be granted, from the least.
func roles() []string { return []string{"viewer", "developer", "security", "administrator"} }

// A userForm is a user as it is filled in.
type userForm struct {
	Name, Email string
	Disabled    bool
	Grants      []grant
	Error       string
	// PasswordError is of the form for another password.
	PasswordError string
}

// Roles are those to choose from.
func (f *userForm) Roles() []string { return roles() }

// Rows are the grants with empty ones, to be filled in.
func (f *userForm) Rows() []grant { return append(append([]grant{}, f.Grants...), grant{}, grant{}) }

// grantsIn are the grants that were filled in, also with an error; a row that is empty is none.
// The API would take a grant without repositories for one over all, which has to be said here.
func (v *visit) grantsIn() (grants []grant, err error) {
	grants = []grant{}
	where := v.r.PostForm["repository"]
	for i, role := range v.r.PostForm["role"] {
		g := grant{Role: role}
		if i < len(where) {
			g.Repository = strings.TrimSpace(where[i])
		}
		if g == (grant{}) {
			continue
		}
		grants = append(grants, g)
		switch {
		case g.Repository == "":
			err = errors.New("say over which repositories the role is: ** is all")
		case g.Role == "":
			err = fmt.Errorf("say which role it is over %s", g.Repository)
		}
	}
	return grants, err
}

// A usersPage lists the users, and has the form for one more.
type usersPage struct {
	listPage[user]
	Form userForm
}

func (s *Site) users(v *visit) error {
	return v.showUsers(http.StatusOK, userForm{Grants: []grant{{"viewer", "**"}}})
}

func (v *visit) showUsers(status int, form userForm) error {
	p := &usersPage{Form: form}
	p.URL = v.r.URL
	if err := v.get("/users", v.asked("cursor"), &p.listPage); err != nil {
		return err
	}
	v.show(status, "users", "Users", p)
	return nil
}

func (s *Site) addUser(v *visit) error {
	f := userForm{Name: v.field("name"), Email: v.field("email")}
	var err error
	if f.Grants, err = v.grantsIn(); err != nil {
		f.Error = sentence(err.Error())
		return v.showUsers(http.StatusUnprocessableEntity, f)
	}
	err = v.ask("POST", "/users", map[string]any{"name": f.Name, "email": f.Email, "password": v.r.PostFormValue("password"), "grants": f.Grants}, nil)
	if v.refused(err, &f.Error) {
		return v.showUsers(http.StatusUnprocessableEntity, f)
	}
	if err != nil {
		return err
	}
	return v.done("/users", "User %s is added, and can log in.", f.Name)
}

// A userPage is the page of a user.
type userPage struct {
	User user
	Form userForm
}

func (v *visit) userAt() (*userPage, error) {
	p := &userPage{}
	if err := v.get(v.at("/users", "name"), nil, &p.User); err != nil {
		return nil, err
	}
	p.Form = userForm{Name: p.User.Name, Email: p.User.Email, Disabled: p.User.Disabled, Grants: p.User.Grants}
	return p, nil
}

func (v *visit) showUser(status int, p *userPage) error {
	v.show(status, "user", p.User.Name, p)
	return nil
}

func (s *Site) user(v *visit) error {
	p, err := v.userAt()
	if err != nil {
		return err
	}
	return v.showUser(http.StatusOK, p)
}

// changeUser writes what was filled in. What a user of the OpenID provider is granted is
// said there.
func (s *Site) changeUser(v *visit) error {
	p, err := v.userAt()
	if err != nil {
		return err
	}
	f := &p.Form
	f.Email, f.Disabled = v.field("email"), v.field("disabled") != ""
	body := map[string]any{"email": f.Email, "disabled": f.Disabled}
	if !p.User.OpenID {
		if f.Grants, err = v.grantsIn(); err != nil {
			f.Error = sentence(err.Error())
			return v.showUser(http.StatusUnprocessableEntity, p)
		}
		body["grants"] = f.Grants
	}
	err = v.ask("PATCH", v.at("/users", "name"), body, nil)
	if v.refused(err, &f.Error) {
		return v.showUser(http.StatusUnprocessableEntity, p)
	}
	if err != nil {
		return err
	}
	return v.done(v.at("/users", "name"), "User %s is as you wrote it.", p.User.Name)
}

// resetPassword gives a user another password, which ends all sessions.
func (s *Site) resetPassword(v *visit) error {
	p, err := v.userAt()
	if err != nil {
		return err
	}
	err = v.ask("PATCH", v.at("/users", "name"), map[string]any{"password": v.r.PostFormValue("password")}, nil)
	if v.refused(err, &p.Form.PasswordError) {
		return v.showUser(http.StatusUnprocessableEntity, p)
	}
	if err != nil {
		return err
	}
	if p.User.Name == v.me.Name {
		return v.done("/login", "Your password is changed. Log in with it.")
	}
	return v.done(v.at("/users", "name"), "The password is changed, and all sessions of %s have ended.", p.User.Name)
}

func (s *Site) deleteUser(v *visit) error {
	return v.remove(v.at("/users", "name"), "/users", "User %s is deleted, with sessions and tokens.", v.r.PathValue("name"))
}
