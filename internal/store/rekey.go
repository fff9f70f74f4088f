package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// A Rekeyed says what Rekey did.
type Rekeyed struct {
	// Key is the one that seals now.
	Key KeyID
	// Sealed is how many secrets were sealed anew; those that were with the key already
	// are not counted.
	Sealed int
	// Forgotten are the secrets that none of the keys opens, which were deleted.
	Forgotten []string
}

// sealedColumns are where secrets are, each by a query for id, name and what is sealed, and
// by the statement that puts another in the place of what was read.
func sealedColumns() []sealedColumn {
	return []sealedColumn{
		{"registry", "credentials", `SELECT CAST(id AS TEXT), name, credentials FROM registries WHERE credentials IS NOT NULL ORDER BY id`,
			`UPDATE registries SET credentials = $1 WHERE CAST(id AS TEXT) = $2`},
		{"registry", "hook secret", `SELECT CAST(id AS TEXT), name, hook_secret FROM registries WHERE hook_secret IS NOT NULL ORDER BY id`,
			`UPDATE registries SET hook_secret = $1 WHERE CAST(id AS TEXT) = $2`},
		{"receiver", "secret", `SELECT CAST(id AS TEXT), name, secret FROM receivers WHERE secret IS NOT NULL ORDER BY id`,
			`UPDATE receivers SET secret = $1 WHERE CAST(id AS TEXT) = $2`},
		{"scan request", "", `SELECT id, id, sealed FROM scan_requests WHERE sealed IS NOT NULL ORDER BY id`,
			`UPDATE scan_requests SET sealed = $1 WHERE id = $2`},
	}
}

type sealedColumn struct{ of, what, list, put string }

// A sealedValue is a secret of a row.
type sealedValue struct {
	column   *sealedColumn
	id, name string
	sealed   []byte
}

// about is what seal was told of it.
func (v *sealedValue) about() string {
	return strings.TrimSuffix(v.column.of+" "+v.id+" "+v.column.what, " ")
}

// String is what people call it.
func (v *sealedValue) String() string {
	return strings.TrimSuffix(v.column.of+" "+v.name+" "+v.column.what, " ")
}

// sealedValues are all secrets of the database.
func sealedValues(ctx context.Context, tx *sql.Tx) ([]sealedValue, error) {
	var out []sealedValue
	for _, c := range sealedColumns() {
		rows, err := tx.QueryContext(ctx, c.list)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			v := sealedValue{column: &c}
			if err := rows.Scan(&v.id, &v.name, &v.sealed); err != nil {
				return nil, errors.Join(err, rows.Close())
			}
			out = append(out, v)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// LostSecrets tells of each secret that none of the keys opens, and of the key that it was
// sealed with.
func (d *DB) LostSecrets(ctx context.Context) (lost []string, err error) {
	err = d.inTx(ctx, func(tx *sql.Tx) error {
		values, err := sealedValues(ctx, tx)
		for i := range values {
			if d.keys.with(sealedBy(values[i].sealed)) == nil {
				lost = append(lost, fmt.Sprintf("%s (key %s)", &values[i], sealedBy(values[i].sealed)))
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	return lost, nil
}

// Rekey seals all secrets with the first key, in one transaction; instances may run
// meanwhile, when they have that key, too. A secret that none of the keys opens is an error
// that names it (ErrSealed), or with forget is deleted.
func (d *DB) Rekey(ctx context.Context, forget bool) (*Rekeyed, error) {
	if len(d.keys.ids) == 0 {
		return nil, fmt.Errorf("secrets: %w: there is none", ErrSealed)
	}
	var out *Rekeyed
	err := d.retryTx(ctx, func() error {
		out = &Rekeyed{Key: d.keys.ids[0]}
		return d.inTx(ctx, func(tx *sql.Tx) error {
			// First the row that says which key it is, so that of two of these one waits.
			if err := d.rekeyCheck(ctx, tx); err != nil {
				return err
			}
			if err := d.holdSecrets(ctx, tx); err != nil {
				return err
			}
			return d.rekeyAll(ctx, tx, forget, out)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	return out, nil
}

func (d *DB) rekeyCheck(ctx context.Context, tx *sql.Tx) error {
	sealed, err := d.seal(keyName, []byte(keyName))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, keyName, sealed)
	return err
}

// holdSecrets lets no other change a secret until the transaction ends; on SQLite none
// can anyway.
func (d *DB) holdSecrets(ctx context.Context, tx *sql.Tx) error {
	if d.pool == nil {
		return nil
	}
	_, err := tx.ExecContext(ctx, `LOCK TABLE registries, receivers, scan_requests IN SHARE ROW EXCLUSIVE MODE`)
	return err
}

// rekeyAll seals what isn't yet sealed with the first key.
func (d *DB) rekeyAll(ctx context.Context, tx *sql.Tx, forget bool, out *Rekeyed) error {
	values, err := sealedValues(ctx, tx)
	if err != nil {
		return err
	}
	var lost []error
	for i := range values {
		v := &values[i]
		if sealedBy(v.sealed) == d.keys.ids[0] {
			continue
		}
		var sealed any // NULL
		secret, err := d.unseal(v.about(), v.sealed)
		switch {
		case err == nil:
			if sealed, err = d.seal(v.about(), secret); err != nil {
				return err
			}
			out.Sealed++
		case forget:
			out.Forgotten = append(out.Forgotten, v.String())
		default:
			lost = append(lost, fmt.Errorf("%s: %w", v, err))
			continue
		}
		if err := changed(tx.ExecContext(ctx, v.column.put, sealed, v.id)); err != nil {
			return err
		}
	}
	return errors.Join(lost...)
}
