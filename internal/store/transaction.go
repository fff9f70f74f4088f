package store

import (
	"context"
	"database/sql"
)

// inTx does something in one transaction, which is kept when it gives no error.
func (d *DB) inTx(ctx context.Context, do func(*sql.Tx) error) error {
	return inTx(ctx, d.db, do)
}

// changed is ErrNotFound where a statement changed no row.
func changed(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return ErrNotFound
}
