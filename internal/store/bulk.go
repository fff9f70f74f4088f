package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// bulkValues is how many values one statement of a bulk inserts. To SQLite, $1
// is a name, looked up among all of the statement: many values are slower.
const bulkValues = 100

// A bulk inserts many rows into one table, several with each statement.
type bulk struct {
	tx      *sql.Tx
	head    string
	columns int
	rows    int
	full    *sql.Stmt
	args    []any
}

func newBulk(ctx context.Context, tx *sql.Tx, table string, columns ...string) (*bulk, error) {
	b := &bulk{tx: tx, columns: len(columns), rows: bulkValues / len(columns)}
	b.head = fmt.Sprintf("INSERT INTO %s (%s) VALUES ", table, strings.Join(columns, ", "))
	full, err := tx.PrepareContext(ctx, b.head+valueRows(b.rows, b.columns))
	if err != nil {
		return nil, err
	}
	b.full, b.args = full, make([]any, 0, b.rows*b.columns)
	return b, nil
}

// valueRows is "($1,$2),($3,$4)".
func valueRows(rows, columns int) string {
	var b strings.Builder
	for i := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("(" + placeholders(i*columns+1, columns) + ")")
	}
	return b.String()
}

// add queues a row. PostgreSQL's text has no NUL: what has one loses it.
func (b *bulk) add(ctx context.Context, values ...any) error {
	for _, v := range values {
		if s, ok := v.(string); ok {
			v = strings.ReplaceAll(s, "\x00", "")
		}
		b.args = append(b.args, v)
	}
	if len(b.args) < b.rows*b.columns {
		return nil
	}
	_, err := b.full.ExecContext(ctx, b.args...)
	b.args = b.args[:0]
	return err
}

// flush inserts what is queued.
func (b *bulk) flush(ctx context.Context) error {
	if len(b.args) == 0 {
		return nil
	}
	_, err := b.tx.ExecContext(ctx, b.head+valueRows(len(b.args)/b.columns, b.columns), b.args...)
	b.args = b.args[:0]
	return err
}

// close frees the statement; the rows queued are lost without a flush.
func (b *bulk) close() error { return b.full.Close() }

// deleteIn deletes the rows of a table whose column has one of the values.
func deleteIn(ctx context.Context, tx *sql.Tx, table, column string, values []string) error {
	for len(values) > 0 {
		n := min(len(values), lookupBatch)
		args := make([]any, n)
		for i, v := range values[:n] {
			args[i] = v
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE `+column+` IN (`+placeholders(1, n)+`)`, args...); err != nil {
			return err
		}
		values = values[n:]
	}
	return nil
}
