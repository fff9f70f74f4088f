package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"strata/internal/store"
)

// ErrTooMuch is wrapped by the error of who would give away more than they have.
var ErrTooMuch = errors.New("more than is granted")

// NewToken makes a token for a user, with a role over a glob of repositories, until
// a time (zero: for ever). The secret is not seen again. ErrTooMuch when the user has
// not the role over all of it.
func (a *Access) NewToken(ctx context.Context, user *Identity, name string, g Grant, until time.Time) (secret string, id int64, err error) {
	if !user.has(g) {
		return "", 0, fmt.Errorf("token %q: %w: %s over %s", name, ErrTooMuch, g.Role, g.Repository)
	}
	secret = newTokenSecret()
	id, err = a.DB.CreateToken(ctx, &store.Token{
		Name: name, Hash: hashSecret(secret), UserID: user.UserID, ExpiresAt: until, Grant: store.Grant{Role: string(g.Role), Repository: g.Repository},
	})
	if err != nil {
		return "", 0, err
	}
	return secret, id, nil
}

// has tells whether one of the identity's grants covers another.
func (i *Identity) has(g Grant) bool {
	for _, glob := range i.Scope(g.Role) {
		if covers(glob, g.Repository) {
			return true
		}
	}
	return false
}
