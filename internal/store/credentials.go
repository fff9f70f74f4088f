package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// A Session is a login, known by the hash of what the browser has.
type Session struct {
	Hash                         []byte
	UserID                       int64
	CreatedAt, SeenAt, ExpiresAt time.Time
	// Agent is what the browser calls itself.
	Agent string
}

// CreateSession keeps a session.
func (d *DB) CreateSession(ctx context.Context, s *Session) error {
	return d.inTx(ctx, func(tx *sql.Tx) error {
		now := d.now().UnixMicro()
		if _, err := tx.ExecContext(ctx, `INSERT INTO sessions (hash, user_id, created_at, seen_at, expires_at, agent) VALUES ($1, $2, $3, $4, $5, $6)`,
			s.Hash, s.UserID, now, now, s.ExpiresAt.UnixMicro(), s.Agent); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE users SET seen_at = $2 WHERE id = $1`, s.UserID, now)
		return err
	})
}

// SessionWith finds a session and its user; ErrNotFound when there is none. Whether
// it is still good is for the caller to say.
func (d *DB) SessionWith(ctx context.Context, hash []byte) (*Session, *User, error) {
	s, u := &Session{Hash: hash}, &User{}
	var created, seen, expires sql.NullInt64
	err := scanUser(d.db.QueryRowContext(ctx, `SELECT `+userColumns+`, s.created_at, s.seen_at, s.expires_at, s.agent
		FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.hash = $1`, hash), u, &created, &seen, &expires, &s.Agent)
	if err != nil {
		return nil, nil, notFound(err, "session", "")
	}
	s.UserID, s.CreatedAt, s.SeenAt, s.ExpiresAt = u.ID, fromMicros(created), fromMicros(seen), fromMicros(expires)
	u.Grants, err = d.grants(ctx, u.ID)
	return s, u, err
}

// TouchSession notes that a session was used now.
func (d *DB) TouchSession(ctx context.Context, hash []byte) error {
	_, err := d.db.ExecContext(ctx, `UPDATE sessions SET seen_at = $2 WHERE hash = $1`, hash, d.now().UnixMicro())
	return err
}

// DeleteSession ends a session; it is no error when there is none.
func (d *DB) DeleteSession(ctx context.Context, hash []byte) error {
	_, err := d.db.ExecContext(ctx, `DELETE FROM sessions WHERE hash = $1`, hash)
	return err
}

// A Token is what programs have instead of a session: it is known by its hash.
type Token struct {
	ID     int64
	Name   string
	Hash   []byte
	UserID int64
	// User is the name of whose it is.
	User string
	Grant
	CreatedAt time.Time
	// ExpiresAt is zero for never, UsedAt for not yet; it is exact to a minute.
	ExpiresAt, UsedAt time.Time
}

// CreateToken keeps a token and gives its id; ErrConflict when the user has one of
// that name.
func (d *DB) CreateToken(ctx context.Context, t *Token) (int64, error) {
	if err := CheckGlobs(t.Repository); err != nil {
		return 0, fmt.Errorf("token %q: %w", t.Name, err)
	}
	var id int64
	err := d.db.QueryRowContext(ctx, `INSERT INTO tokens (name, hash, user_id, role, repository, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING id`,
		t.Name, t.Hash, t.UserID, t.Role, t.Repository, d.now().UnixMicro(), micros(t.ExpiresAt)).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("token %q: %w: the name is taken", t.Name, ErrConflict)
	}
	return id, err
}

const tokenColumns = `, t.id, t.name, t.hash, t.role, t.repository, t.created_at, t.expires_at, t.used_at`

func scanToken(row interface{ Scan(...any) error }, t *Token, u *User) error {
	var created, expires, used sql.NullInt64
	if err := scanUser(row, u, &t.ID, &t.Name, &t.Hash, &t.Role, &t.Repository, &created, &expires, &used); err != nil {
		return err
	}
	t.UserID, t.User = u.ID, u.Name
	t.CreatedAt, t.ExpiresAt, t.UsedAt = fromMicros(created), fromMicros(expires), fromMicros(used)
	return nil
}

// TokenWith finds a token by its hash, and its user; ErrNotFound when there is none.
// Whether it is still good is for the caller to say.
func (d *DB) TokenWith(ctx context.Context, hash []byte) (*Token, *User, error) {
	t, u := &Token{}, &User{}
	err := scanToken(d.db.QueryRowContext(ctx, `SELECT `+userColumns+tokenColumns+` FROM tokens t JOIN users u ON u.id = t.user_id WHERE t.hash = $1`, hash), t, u)
	if err != nil {
		return nil, nil, notFound(err, "token", "")
	}
	u.Grants, err = d.grants(ctx, u.ID)
	return t, u, err
}

// Tokens are those of a user, or of all where user is 0, with ids above after, at
// most limit.
func (d *DB) Tokens(ctx context.Context, user, after int64, limit int) ([]Token, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT `+userColumns+tokenColumns+` FROM tokens t JOIN users u ON u.id = t.user_id
		WHERE (CAST($1 AS BIGINT) = 0 OR t.user_id = CAST($1 AS BIGINT)) AND t.id > $2 ORDER BY t.id LIMIT $3`, user, after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var tokens []Token
	for rows.Next() {
		var t Token
		if err := scanToken(rows, &t, &User{}); err != nil {
			return nil, err
		}
		tokens = append(tokens, t)
	}
	return tokens, rows.Err()
}

// TouchToken notes that a token was used now.
func (d *DB) TouchToken(ctx context.Context, id int64) error {
	_, err := d.db.ExecContext(ctx, `UPDATE tokens SET used_at = $2 WHERE id = $1`, id, d.now().UnixMicro())
	return err
}

// DeleteToken deletes a token of a user, or of anyone where user is 0, and gives its
// name.
func (d *DB) DeleteToken(ctx context.Context, user, id int64) (name string, err error) {
	err = d.db.QueryRowContext(ctx, `DELETE FROM tokens WHERE id = $1 AND (CAST($2 AS BIGINT) = 0 OR user_id = CAST($2 AS BIGINT)) RETURNING name`, id, user).Scan(&name)
	return name, notFound(err, "token", fmt.Sprint(id))
}

// AddLoginFailure notes a failed login for each of who, a user and an address, and
// gives the time that it is known by.
func (d *DB) AddLoginFailure(ctx context.Context, who ...string) (at time.Time, err error) {
	at = d.now()
	return at, d.inTx(ctx, func(tx *sql.Tx) error {
		for _, w := range who {
			if _, err := tx.ExecContext(ctx, `INSERT INTO login_failures (who, at) VALUES ($1, $2)`, w, at.UnixMicro()); err != nil {
				return err
			}
		}
		return nil
	})
}

// LoginFailures counts those of someone since a time.
func (d *DB) LoginFailures(ctx context.Context, who string, since time.Time) (int, error) {
	var n int
	err := d.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM login_failures WHERE who = $1 AND at > $2`, who, since.UnixMicro()).Scan(&n)
	return n, err
}

// ForgetLoginFailures forgets all those of a user, and of an address the one that was
// noted at a time, which was none.
func (d *DB) ForgetLoginFailures(ctx context.Context, user, address string, at time.Time) error {
	_, err := d.db.ExecContext(ctx, `DELETE FROM login_failures WHERE who = $1 OR who = $2 AND at = $3`, user, address, at.UnixMicro())
	return err
}

// DropLoginFailure takes back what AddLoginFailure noted at a time.
func (d *DB) DropLoginFailure(ctx context.Context, at time.Time, user, address string) error {
	_, err := d.db.ExecContext(ctx, `DELETE FROM login_failures WHERE at = $1 AND (who = $2 OR who = $3)`, at.UnixMicro(), user, address)
	return err
}

// DeleteExpiredCredentials deletes sessions that expired or were not used for idle,
// and failures to log in older than a day.
func (d *DB) DeleteExpiredCredentials(ctx context.Context, idle time.Duration) error {
	return d.inTx(ctx, func(tx *sql.Tx) error {
		now := d.now()
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE expires_at < $1 OR seen_at < $2`, now.UnixMicro(), now.Add(-idle).UnixMicro()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM login_failures WHERE at < $1`, now.Add(-24*time.Hour).UnixMicro())
		return err
	})
}
