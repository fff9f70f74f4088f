package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// A User is someone who may ask the server.
type User struct {
	ID          int64
	Name, Email string
	// Password is its hash; empty for who has none.
	Password string
	// Subject is what an OpenID provider knows the user by: issuer and subject;
	// empty for local users.
	Subject           string
	Disabled          bool
	CreatedAt, SeenAt time.Time
	Grants            []Grant
}

// A Grant is a role over the repositories that a glob names (MatchName).
type Grant struct{ Role, Repository string }

// administers is the grant that someone must have at all times.
const administers = `EXISTS (SELECT 1 FROM grants g WHERE g.subject_user = users.id AND g.role = 'administrator' AND g.repository = '**')`

// ErrLastAdministrator is wrapped by the error of what would leave the server
// without a user who administers it.
var ErrLastAdministrator = fmt.Errorf("%w: the server needs an administrator who is not disabled", ErrConflict)

// CreateUser makes a user with grants and gives its id; ErrConflict when the name or
// the subject is taken.
func (d *DB) CreateUser(ctx context.Context, u *User) (id int64, err error) {
	err = d.inTx(ctx, func(tx *sql.Tx) error {
		id, err = d.createUser(ctx, tx, u)
		return err
	})
	return id, err
}

func (d *DB) createUser(ctx context.Context, tx *sql.Tx, u *User) (id int64, err error) {
	err = tx.QueryRowContext(ctx, `INSERT INTO users (name, email, password, subject, disabled, created_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING id`,
		u.Name, u.Email, u.Password, u.Subject, u.Disabled, d.now().UnixMicro()).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("user %q: %w: the name is taken", u.Name, ErrConflict)
	}
	if err != nil {
		return 0, err
	}
	return id, writeGrants(ctx, tx, id, u.Grants)
}

// UpdateUser writes all but the name and the times of a user. Who is disabled or
// gets another password has no session any more.
func (d *DB) UpdateUser(ctx context.Context, u *User) error {
	return d.inTx(ctx, func(tx *sql.Tx) error {
		if err := lockUsers(ctx, tx); err != nil {
			return err
		}
		return updateUser(ctx, tx, u)
	})
}

// EditUser changes a user as it is at that moment, so that two who change one at the same
// time don't undo each other's change; change gives an error for what must not be.
func (d *DB) EditUser(ctx context.Context, id int64, change func(*User) error) error {
	return d.inTx(ctx, func(tx *sql.Tx) error {
		if err := lockUsers(ctx, tx); err != nil {
			return err
		}
		var u User
		if err := scanUser(tx.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users u WHERE u.id = $1`, id), &u); err != nil {
			return notFound(err, "user", strconv.FormatInt(id, 10))
		}
		var err error
		if u.Grants, err = grantsOf(ctx, tx, id); err != nil {
			return err
		}
		if err := change(&u); err != nil {
			return err
		}
		return updateUser(ctx, tx, &u)
	})
}

func updateUser(ctx context.Context, tx *sql.Tx, u *User) error {
	var before string
	if err := tx.QueryRowContext(ctx, `SELECT password FROM users WHERE id = $1`, u.ID).Scan(&before); err != nil {
		return notFound(err, "user", u.Name)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE users SET email = $2, password = $3, subject = $4, disabled = $5 WHERE id = $1`,
		u.ID, u.Email, u.Password, u.Subject, u.Disabled); err != nil {
		return err
	}
	if u.Disabled || u.Password != before {
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE user_id = $1`, u.ID); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM grants WHERE subject_user = $1`, u.ID); err != nil {
		return err
	}
	if err := writeGrants(ctx, tx, u.ID, u.Grants); err != nil {
		return err
	}
	return administratorLeft(ctx, tx)
}

// UpgradePassword replaces the hash of a password by another of the same password,
// unless it was changed in the meantime.
func (d *DB) UpgradePassword(ctx context.Context, user int64, before, after string) error {
	_, err := d.db.ExecContext(ctx, `UPDATE users SET password = $3 WHERE id = $1 AND password = $2`, user, before, after)
	return err
}

// DeleteUser deletes a user with its sessions and tokens.
func (d *DB) DeleteUser(ctx context.Context, name string) error {
	return d.inTx(ctx, func(tx *sql.Tx) error {
		if err := lockUsers(ctx, tx); err != nil {
			return err
		}
		if err := changed(tx.ExecContext(ctx, `DELETE FROM users WHERE name = $1`, name)); err != nil {
			return fmt.Errorf("user %q: %w", name, err)
		}
		return administratorLeft(ctx, tx)
	})
}

// lockUsers holds users and what they may do against being changed at the same time: two
// administrators that demote each other would both see one left.
func lockUsers(ctx context.Context, tx *sql.Tx) error {
	// A row that every such change writes is the lock that both engines have.
	_, err := tx.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ('administrators', $1)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, []byte{})
	return err
}

// administratorLeft is ErrLastAdministrator when there is none any more; lockUsers comes
// before.
func administratorLeft(ctx context.Context, tx *sql.Tx) error {
	var left bool
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM users WHERE NOT disabled AND `+administers+`)`).Scan(&left); err != nil {
		return err
	}
	if !left {
		return ErrLastAdministrator
	}
	return nil
}

func writeGrants(ctx context.Context, tx *sql.Tx, user int64, grants []Grant) error {
	for _, g := range grants {
		if _, err := tx.ExecContext(ctx, `INSERT INTO grants (subject_user, role, repository) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			user, g.Role, g.Repository); err != nil {
			return err
		}
	}
	return nil
}

// HasAdministrator tells whether someone administers the server.
func (d *DB) HasAdministrator(ctx context.Context) (bool, error) {
	var has bool
	err := d.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM users WHERE NOT disabled AND `+administers+`)`).Scan(&has)
	return has, err
}

// userColumns are what scanUser reads, of users as u.
const userColumns = `u.id, u.name, u.email, u.password, u.subject, u.disabled, u.created_at, u.seen_at`

func scanUser(row interface{ Scan(...any) error }, u *User, more ...any) error {
	var created, seen sql.NullInt64
	if err := row.Scan(append([]any{&u.ID, &u.Name, &u.Email, &u.Password, &u.Subject, &u.Disabled, &created, &seen}, more...)...); err != nil {
		return err
	}
	u.CreatedAt, u.SeenAt = fromMicros(created), fromMicros(seen)
	return nil
}

// UserNamed finds a user by name; ErrNotFound when there is none.
func (d *DB) UserNamed(ctx context.Context, name string) (*User, error) {
	return d.user(ctx, name, `SELECT `+userColumns+` FROM users u WHERE u.name = $1`, name)
}

// UserWithSubject finds the user of an OpenID subject; ErrNotFound when there is none.
func (d *DB) UserWithSubject(ctx context.Context, subject string) (*User, error) {
	return d.user(ctx, subject, `SELECT `+userColumns+` FROM users u WHERE u.subject = $1 AND u.subject <> ''`, subject)
}

func (d *DB) user(ctx context.Context, name, query string, args ...any) (*User, error) {
	var u User
	if err := scanUser(d.db.QueryRowContext(ctx, query, args...), &u); err != nil {
		return nil, notFound(err, "user", name)
	}
	var err error
	u.Grants, err = d.grants(ctx, u.ID)
	return &u, err
}

// Users are those after a name, by name, at most limit.
func (d *DB) Users(ctx context.Context, after string, limit int) ([]User, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT `+userColumns+` FROM users u WHERE u.name > $1 ORDER BY u.name LIMIT $2`, after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var users []User
	for rows.Next() {
		var u User
		if err := scanUser(rows, &u); err != nil {
			return nil, err
		}
		users = append(users, u)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for i := range users {
		if users[i].Grants, err = d.grants(ctx, users[i].ID); err != nil {
			return nil, err
		}
	}
	return users, nil
}

func (d *DB) grants(ctx context.Context, user int64) ([]Grant, error) {
	return grantsOf(ctx, d.db, user)
}

func grantsOf(ctx context.Context, in interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, user int64) ([]Grant, error) {
	rows, err := in.QueryContext(ctx, `SELECT role, repository FROM grants WHERE subject_user = $1 ORDER BY role, repository`, user)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	grants := []Grant{}
	for rows.Next() {
		var g Grant
		if err := rows.Scan(&g.Role, &g.Repository); err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	return grants, rows.Err()
}

// notFound is ErrNotFound, with the name of what isn't there, for no row.
func notFound(err error, what, name string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%s %q: %w", what, name, ErrNotFound)
	}
	return err
}
