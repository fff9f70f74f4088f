package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// A Document is what users write for decisions: a policy, waivers, or a VEX document.
type Document struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
	// Kind is "policy", "waivers" or "vex".
	Kind string `json:"kind"`
	Text string `json:"text,omitempty"`
	// Version counts the changes of a policy, from 1.
	Version   int       `json:"version,omitempty"`
	UpdatedAt time.Time `json:"updated_at"`
	UpdatedBy string    `json:"updated_by"`
}

// The kinds of documents.
const (
	PolicyDocument  = "policy"
	WaiversDocument = "waivers"
	VEXDocument     = "vex"
)

// Documents lists the policies, or the waivers and VEX documents, by name, with their
// texts.
func (d *DB) Documents(ctx context.Context, policies bool) ([]Document, error) {
	query := `SELECT id, kind, name, text, 0, updated_at, updated_by FROM exceptions ORDER BY name`
	if policies {
		query = `SELECT id, 'policy', name, text, version, updated_at, updated_by FROM policies ORDER BY name`
	}
	rows, err := d.db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("documents: %w", err)
	}
	defer rows.Close()
	out := []Document{}
	for rows.Next() {
		var x Document
		var updated sql.NullInt64
		if err := rows.Scan(&x.ID, &x.Kind, &x.Name, &x.Text, &x.Version, &updated, &x.UpdatedBy); err != nil {
			return nil, fmt.Errorf("documents: %w", err)
		}
		x.UpdatedAt = fromMicros(updated)
		out = append(out, x)
	}
	return out, rows.Err()
}

// PutDocument writes a document that was checked, in the place of one of its name. What
// it decides is due to be decided anew.
func (d *DB) PutDocument(ctx context.Context, x *Document) error {
	err := d.inTx(ctx, func(tx *sql.Tx) error {
		now := d.now().UnixMicro()
		var err error
		if x.Kind == PolicyDocument {
			err = tx.QueryRowContext(ctx, `INSERT INTO policies (name, text, version, updated_at, updated_by) VALUES ($1, $2, 1, $3, $4)
				ON CONFLICT (name) DO UPDATE SET text = excluded.text, version = policies.version + 1, updated_at = excluded.updated_at, updated_by = excluded.updated_by
				RETURNING id, version`, x.Name, x.Text, now, x.UpdatedBy).Scan(&x.ID, &x.Version)
		} else {
			err = tx.QueryRowContext(ctx, `INSERT INTO exceptions (kind, name, text, updated_at, updated_by) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (name) DO UPDATE SET text = excluded.text, updated_at = excluded.updated_at, updated_by = excluded.updated_by WHERE exceptions.kind = excluded.kind
				RETURNING id`, x.Kind, x.Name, x.Text, now, x.UpdatedBy).Scan(&x.ID)
		}
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("%w: the name is that of a document of another kind", ErrConflict)
		}
		if err != nil {
			return err
		}
		x.UpdatedAt = time.UnixMicro(now).UTC()
		return dueAll(ctx, tx, now)
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", x.Kind, x.Name, err)
	}
	return nil
}

// DeleteDocument deletes a policy, or a document of another kind. A policy that a watch
// asks for stays: ErrConflict.
func (d *DB) DeleteDocument(ctx context.Context, kind, name string) error {
	err := d.inTx(ctx, func(tx *sql.Tx) error {
		if kind != PolicyDocument {
			if err := changed(tx.ExecContext(ctx, `DELETE FROM exceptions WHERE kind = $1 AND name = $2`, kind, name)); err != nil {
				return err
			}
			return dueAll(ctx, tx, d.now().UnixMicro())
		}
		watches, err := watchRows(ctx, tx)
		if err != nil {
			return err
		}
		for _, w := range watches {
			for _, p := range w.Policies {
				if p == name {
					return fmt.Errorf("%w: watch %s asks for it", ErrConflict, w.Name)
				}
			}
		}
		return changed(tx.ExecContext(ctx, `DELETE FROM policies WHERE name = $1`, name))
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", kind, name, err)
	}
	return nil
}

// dueAll has every watched image judged anew.
func dueAll(ctx context.Context, tx *sql.Tx, now int64) error {
	_, err := tx.ExecContext(ctx, `UPDATE watched_images SET due_at = $1`, now)
	return err
}

// DecisionsVersion changes with each change of policies, waivers, VEX documents and
// watches: what was made of them is good for as long as it stays.
func (d *DB) DecisionsVersion(ctx context.Context) (version string, err error) {
	err = d.db.QueryRowContext(ctx, `SELECT
		(SELECT COUNT(*) || '.' || COALESCE(MAX(updated_at), 0) || '.' || COALESCE(SUM(version), 0) FROM policies) || '/' ||
		(SELECT COUNT(*) || '.' || COALESCE(MAX(updated_at), 0) FROM exceptions) || '/' ||
		(SELECT COUNT(*) || '.' || COALESCE(MAX(updated_at), 0) FROM watches)`).Scan(&version)
	if err != nil {
		return "", fmt.Errorf("version of policies: %w", err)
	}
	return version, nil
}
