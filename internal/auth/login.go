package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"strata/internal/store"
)

// How many failures to log in there may be in a time: for one user from anywhere, and
// from one address for anyone, as many people may share one.
const (
	failuresIn      = 15 * time.Minute
	failuresOf      = 20
	failuresFrom    = 50
	longestUserName = 200
	longestAgent    = 200
)

// ErrTooOften is wrapped by the error of logins that failed too often; RetryAfter tells
// when it will be heard again.
var ErrTooOften = errors.New("too many failed logins: try again in some minutes")

// RetryAfter is how long to wait after ErrTooOften.
const RetryAfter = failuresIn

// Login makes a session for who knows a user's password; secret is what goes into the
// cookie. address is whence they ask. ErrDenied for wrong names and passwords alike,
// ErrTooOften when there were too many.
func (a *Access) Login(ctx context.Context, name, password, address, agent string) (secret string, who *Identity, err error) {
	if len(name) > longestUserName || len(password) > 4*longest {
		return "", nil, ErrDenied
	}
	byUser, byAddress := "user "+strings.ToLower(name), byAddress(address)
	at, err := a.try(ctx, byUser, byAddress)
	if err != nil {
		return "", nil, err
	}
	u, err := a.verify(ctx, name, password)
	if err != nil {
		return "", nil, err
	}
	if err := a.DB.ForgetLoginFailures(ctx, byUser, byAddress, at); err != nil {
		return "", nil, err
	}
	return a.begin(ctx, u, agent)
}

// byAddress is what failures from an address are counted under: of IPv6 the network of 64
// bits, since whoever has one address of it has all.
func byAddress(address string) string {
	if a, err := netip.ParseAddr(address); err == nil {
		a = a.Unmap().WithZone("")
		const network = 64
		if p, err := a.Prefix(network); err == nil && a.Is6() {
			return "address " + p.String()
		}
		address = a.String()
	}
	return "address " + address
}

// try writes down a failure before it is known to be one, which is forgotten when it was
// none, and ErrTooOften where there were too many: of many tries at the same moment, each
// counts. byUser may be empty.
func (a *Access) try(ctx context.Context, byUser, byAddress string) (at time.Time, err error) {
	// Whoever has failed too often writes no more.
	if err := a.mayTry(ctx, byUser, byAddress, 0); err != nil {
		return at, err
	}
	who := []string{byAddress}
	if byUser != "" {
		who = append(who, byUser)
	}
	if at, err = a.DB.AddLoginFailure(ctx, who...); err != nil {
		return at, err
	}
	err = a.mayTry(ctx, byUser, byAddress, 1)
	if errors.Is(err, ErrTooOften) { // it wasn't tried
		err = errors.Join(err, a.DB.DropLoginFailure(ctx, at, byUser, byAddress))
	}
	return at, err
}

// mayTry is ErrTooOften for too many failures, besides own ones.
func (a *Access) mayTry(ctx context.Context, byUser, byAddress string, own int) error {
	since := a.now().Add(-failuresIn)
	for who, most := range map[string]int{byUser: failuresOf, byAddress: failuresFrom} {
		if who == "" {
			continue
		}
		n, err := a.DB.LoginFailures(ctx, who, since)
		if err != nil {
			return err
		}
		if n-own >= most {
			return ErrTooOften
		}
	}
	return nil
}

// verify finds the user whose password it is, and makes an outdated hash anew.
func (a *Access) verify(ctx context.Context, name, password string) (*store.User, error) {
	u, err := a.DB.UserNamed(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		u, err = &store.User{Disabled: true}, nil
	}
	if err != nil {
		return nil, err
	}
	var ok, outdated bool
	var anew string
	if err := a.hashing(ctx, func() {
		if ok, outdated = verifyPassword(u.Password, password); ok && outdated {
			anew = HashPassword(password)
		}
	}); err != nil {
		return nil, err
	}
	if !ok || u.Disabled {
		return nil, ErrDenied
	}
	if outdated {
		if err := a.DB.UpgradePassword(ctx, u.ID, u.Password, anew); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// begin begins a session of a user.
func (a *Access) begin(ctx context.Context, u *store.User, agent string) (secret string, who *Identity, err error) {
	secret = newSecret()
	s := &store.Session{Hash: hashSecret(secret), UserID: u.ID, ExpiresAt: a.now().Add(a.session()), Agent: strings.ToValidUTF8(agent[:min(len(agent), longestAgent)], "")}
	if err := a.DB.CreateSession(ctx, s); err != nil {
		return "", nil, err
	}
	return secret, sessionIdentity(u), nil
}

// Logout ends the session whose cookie has this secret.
func (a *Access) Logout(ctx context.Context, secret string) error {
	return a.DB.DeleteSession(ctx, hashSecret(secret))
}

// ChangePassword gives a user another password, for the one that is known; all its
// sessions end. ErrDenied when it is another, ErrBadPassword when the new one can't be.
func (a *Access) ChangePassword(ctx context.Context, who *Identity, before, after, address string) error {
	if err := CheckPassword(who.Name, after); err != nil {
		return err
	}
	byUser, byAddress := "user "+strings.ToLower(who.Name), byAddress(address)
	at, err := a.try(ctx, byUser, byAddress)
	if err != nil {
		return err
	}
	u, err := a.verify(ctx, who.Name, before)
	if err != nil {
		return err
	}
	hash, err := a.NewHash(ctx, u.Name, after)
	if err != nil {
		return err
	}
	// Hashing takes a while, in which someone may have disabled or demoted the user.
	if err := a.DB.EditUser(ctx, u.ID, func(now *store.User) error {
		if now.Disabled || now.Password != u.Password {
			return ErrDenied
		}
		now.Password = hash
		return nil
	}); err != nil {
		return err
	}
	return a.DB.ForgetLoginFailures(ctx, byUser, byAddress, at)
}

// NewHash checks a password and gives its hash, when it is this hash's turn.
func (a *Access) NewHash(ctx context.Context, user, password string) (hash string, err error) {
	if err := CheckPassword(user, password); err != nil {
		return "", err
	}
	err = a.hashing(ctx, func() { hash = HashPassword(password) })
	return hash, err
}

// SetupToken makes a one-time secret by which, for a day, the first administrator can
// be made; empty when there is one.
func (a *Access) SetupToken(ctx context.Context) (string, error) {
	has, err := a.DB.HasAdministrator(ctx)
	if err != nil || has {
		return "", err
	}
	secret := newSecret()
	const day = 24 * time.Hour
	return secret, a.DB.AddSetup(ctx, hashSecret(secret), a.now().Add(day))
}

// Setup makes the first administrator for who has a setup token, and logs them in.
// ErrDenied for one that is wrong, expired or used.
func (a *Access) Setup(ctx context.Context, token, name, password, address, agent string) (secret string, who *Identity, err error) {
	byAddress := byAddress(address)
	at, err := a.try(ctx, "", byAddress)
	if err != nil {
		return "", nil, err
	}
	// Nobody without a token has a password hashed.
	has, err := a.DB.HasSetup(ctx, hashSecret(token))
	if err == nil && !has {
		err = fmt.Errorf("setup: %w", ErrDenied)
	}
	if err != nil {
		return "", nil, err
	}
	hash, err := a.NewHash(ctx, name, password)
	if err != nil {
		return "", nil, err
	}
	u := &store.User{Name: name, Password: hash, Grants: []store.Grant{{Role: string(Administrator), Repository: "**"}}}
	u.ID, err = a.DB.FirstAdministrator(ctx, hashSecret(token), u)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil, fmt.Errorf("setup: %w", ErrDenied)
	}
	if err != nil {
		return "", nil, err
	}
	if err := a.DB.DropLoginFailure(ctx, at, "", byAddress); err != nil {
		return "", nil, err
	}
	return a.begin(ctx, u, agent)
}

func sessionIdentity(u *store.User) *Identity {
	return &Identity{Name: u.Name, UserID: u.ID, Via: sessionVia, OpenID: u.Subject != "", Grants: limit(u.Grants, store.Grant{Role: string(Administrator), Repository: "**"})}
}
