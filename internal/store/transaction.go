package store

import (
	"context"
	"database/sql"
)

// inTx does something in one transaction, which is kept when it gives no error. Those on
// SQLite queue here, in the order they come: SQLite itself would let them sleep and try.
func (d *DB) inTx(ctx context.Context, do func(*sql.Tx) error) error {
	if d.writing != nil {
		select {
		case d.writing <- struct{}{}:
			defer func() { <-d.writing }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
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
