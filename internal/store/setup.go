package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// setupName is what settings keep the hash of a setup token under.
func setupName(hash []byte) string { return "setup " + hex.EncodeToString(hash) }

// AddSetup keeps the hash of a token by which, until a time, the first administrator
// can be made. Each instance may add its own.
func (d *DB) AddSetup(ctx context.Context, hash []byte, until time.Time) error {
	_, err := d.db.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
		setupName(hash), []byte(strconv.FormatInt(until.UnixMicro(), 10)))
	return err
}

// FirstAdministrator makes a user for who has a setup token, while no one administers
// the server; then no such token is good any more. ErrNotFound when it isn't one,
// ErrConflict when someone was first.
func (d *DB) FirstAdministrator(ctx context.Context, hash []byte, u *User) (int64, error) {
	var until []byte
	err := d.db.QueryRowContext(ctx, `DELETE FROM settings WHERE name = $1 RETURNING value`, setupName(hash)).Scan(&until)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("setup token: %w", ErrNotFound)
	}
	if err != nil {
		return 0, err
	}
	at, err := strconv.ParseInt(string(until), 10, 64)
	if err != nil || d.now().UnixMicro() > at {
		return 0, fmt.Errorf("setup token: %w", ErrNotFound)
	}
	has, err := d.HasAdministrator(ctx)
	if err == nil && has {
		err = fmt.Errorf("%w: the server has an administrator", ErrConflict)
	}
	if err == nil {
		u.ID, err = d.CreateUser(ctx, u)
	}
	if err != nil { // the token has done nothing: it stays good
		return 0, errors.Join(err, d.AddSetup(ctx, hash, time.UnixMicro(at)))
	}
	_, err = d.db.ExecContext(ctx, `DELETE FROM settings WHERE name LIKE 'setup %'`)
	return u.ID, err
}
