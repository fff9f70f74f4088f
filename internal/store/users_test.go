package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// Of setup tokens that are used at the same moment one makes an administrator.
func TestFirstAdministratorOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		const tokens = 4
		made := make(chan error, tokens)
		for i := range tokens {
			if err := db.AddSetup(t.Context(), []byte{byte(i)}, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range tokens {
			go func() {
				_, err := db.FirstAdministrator(t.Context(), []byte{byte(i)}, &User{Name: fmt.Sprint("admin", i), Grants: []Grant{{"administrator", "**"}}})
				made <- err
			}()
		}
		won := 0
		for range tokens {
			switch err := <-made; {
			case err == nil:
				won++
			case !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound):
				t.Error(err)
			}
		}
		users, err := db.Users(t.Context(), "", 10)
		if err != nil || won != 1 || len(users) != 1 {
			t.Errorf("%d were first: %+v, %v", won, users, err)
		}
		if has, err := db.HasSetup(t.Context(), []byte{0}); err != nil || has {
			t.Errorf("a token is left: %v, %v", has, err)
		}
	})
}

// Changes of a user at the same time don't undo each other: who changes the password while
// being demoted is demoted.
func TestEditUser(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		if _, err := db.CreateUser(t.Context(), &User{Name: "admin", Grants: []Grant{{"administrator", "**"}}}); err != nil {
			t.Fatal(err)
		}
		id, err := db.CreateUser(t.Context(), &User{Name: "eve", Grants: []Grant{{"administrator", "**"}}})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 2)
		go func() {
			ended <- db.EditUser(t.Context(), id, func(u *User) error {
				go func() {
					ended <- db.EditUser(t.Context(), id, func(u *User) error { u.Grants = nil; return nil })
				}()
				time.Sleep(20 * time.Millisecond) // to be overtaken in, were it possible
				u.Password = "other"
				return nil
			})
		}()
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Fatal(err)
		}
		u, err := db.UserNamed(t.Context(), "eve")
		if err != nil || u.Password != "other" || len(u.Grants) != 0 {
			t.Errorf("%+v, %v", u, err)
		}
		refused := errors.New("refused")
		if err := db.EditUser(t.Context(), id, func(u *User) error { u.Disabled = true; return refused }); !errors.Is(err, refused) {
			t.Error(err)
		}
		if u, err := db.UserNamed(t.Context(), "eve"); err != nil || u.Disabled || !slices.Equal(u.Grants, []Grant{}) {
			t.Errorf("%+v, %v", u, err)
		}
	})
}
