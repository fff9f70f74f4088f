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

// HasSetup tells whether it is a setup token that is still good.
func (d *DB) HasSetup(ctx context.Context, hash []byte) (bool, error) {
	var until []byte
	err := d.db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, setupName(hash)).Scan(&until)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	at, err := strconv.ParseInt(string(until), 10, 64)
	return err == nil && d.now().UnixMicro() <= at, nil
}

// FirstAdministrator makes a user for who has a setup token, while no one administers
// the server; then no such token is good any more. ErrNotFound when it isn't one,
// ErrConflict when someone was first, also by another token at the same time.
func (d *DB) FirstAdministrator(ctx context.Context, hash []byte, u *User) (int64, error) {
	has, err := d.HasSetup(ctx, hash)
	if err == nil && !has {
		err = fmt.Errorf("setup token: %w", ErrNotFound)
	}
	if err != nil {
		return 0, err
	}
	err = d.inTx(ctx, func(tx *sql.Tx) error {
		if err := lockUsers(ctx, tx); err != nil {
			return err
		}
		if err := changed(tx.ExecContext(ctx, `DELETE FROM settings WHERE name = $1`, setupName(hash))); err != nil {
			return fmt.Errorf("setup token: %w", err)
		}
		switch err := administratorLeft(ctx, tx); {
		case err == nil:
			return fmt.Errorf("%w: the server has an administrator", ErrConflict)
		case !errors.Is(err, ErrLastAdministrator):
			return err
		}
		if u.ID, err = d.createUser(ctx, tx, u); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM settings WHERE name LIKE 'setup %'`)
		return err
	})
	return u.ID, err
}
