package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	// File is the path of the settings that declare a policy, which is changed there alone;
	// empty for what is written by the API.
	File string `json:"file,omitempty" doc:"settings that declare it: it is changed there alone"`
	// Digest of Text, for who changes it to name what was read.
	Digest string `json:"digest,omitempty" doc:"of the text, for replaces"`
}

// NoDocument is the digest of a document that is not there, for ReplaceDocument.
const NoDocument = "none"

// documentDigest is Document.Digest.
func documentDigest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
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
	query := `SELECT id, kind, name, text, 0, updated_at, updated_by, '' FROM exceptions ORDER BY name`
	if policies {
		query = `SELECT id, 'policy', name, text, version, updated_at, updated_by, file FROM policies ORDER BY name`
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
		if err := rows.Scan(&x.ID, &x.Kind, &x.Name, &x.Text, &x.Version, &updated, &x.UpdatedBy, &x.File); err != nil {
			return nil, fmt.Errorf("documents: %w", err)
		}
		x.UpdatedAt, x.Digest = fromMicros(updated), documentDigest(x.Text)
		out = append(out, x)
	}
	return out, rows.Err()
}

// PutDocument writes a document that was checked, in the place of one of its name. What
// it decides is due to be decided anew. A policy that settings declare stays: ErrConflict.
func (d *DB) PutDocument(ctx context.Context, x *Document) error {
	return d.ReplaceDocument(ctx, x, "")
}

// ReplaceDocument is PutDocument in the place of a text of this digest, or of none
// (NoDocument). Where another has been written since it stays: ErrConflict. An empty digest
// is of any.
func (d *DB) ReplaceDocument(ctx context.Context, x *Document, digest string) error {
	err := d.inTx(ctx, func(tx *sql.Tx) error {
		var before Document
		if digest != "" {
			var err error
			if before, err = documentText(ctx, tx, x); err != nil {
				return err
			}
			if digest != before.Digest {
				return fmt.Errorf("%w: it was changed since it was read", ErrConflict)
			}
		}
		now := d.now().UnixMicro()
		if err := writeDocument(ctx, tx, x, digest == "", before.Text, now); err != nil {
			return err
		}
		x.UpdatedAt, x.Digest = time.UnixMicro(now).UTC(), documentDigest(x.Text)
		return dueAll(ctx, tx, now)
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", x.Kind, x.Name, err)
	}
	return nil
}

// documentText is what a document has before it is written; of the digest NoDocument where
// there is none.
func documentText(ctx context.Context, tx *sql.Tx, x *Document) (before Document, err error) {
	row := tx.QueryRowContext(ctx, `SELECT text FROM exceptions WHERE name = $1 AND kind = $2`, x.Name, x.Kind)
	if x.Kind == PolicyDocument {
		row = tx.QueryRowContext(ctx, `SELECT text FROM policies WHERE name = $1`, x.Name)
	}
	if err := row.Scan(&before.Text); errors.Is(err, sql.ErrNoRows) {
		return Document{Digest: NoDocument}, nil
	} else if err != nil {
		return before, err
	}
	before.Digest = documentDigest(before.Text)
	return before, nil
}

// writeDocument writes a document, in the place of whatever is there or only of the text that was there
// before: another transaction may have written since that was read.
func writeDocument(ctx context.Context, tx *sql.Tx, x *Document, whatever bool, before string, now int64) error {
	if x.Kind == PolicyDocument {
		err := tx.QueryRowContext(ctx, `INSERT INTO policies (name, text, version, updated_at, updated_by) VALUES ($1, $2, 1, $3, $4)
			ON CONFLICT (name) DO UPDATE SET text = excluded.text, version = policies.version + 1, updated_at = excluded.updated_at, updated_by = excluded.updated_by
			WHERE policies.file = '' AND (CAST($5 AS INTEGER) = 1 OR policies.text = $6)
			RETURNING id, version`, x.Name, x.Text, now, x.UpdatedBy, bit(whatever), before).Scan(&x.ID, &x.Version)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err := undeclared(ctx, tx, x.Name); err != nil {
			return err
		}
		return fmt.Errorf("%w: it was changed since it was read", ErrConflict)
	}
	err := tx.QueryRowContext(ctx, `INSERT INTO exceptions (kind, name, text, updated_at, updated_by) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (name) DO UPDATE SET text = excluded.text, updated_at = excluded.updated_at, updated_by = excluded.updated_by
		WHERE exceptions.kind = excluded.kind AND (CAST($6 AS INTEGER) = 1 OR exceptions.text = $7)
		RETURNING id`, x.Kind, x.Name, x.Text, now, x.UpdatedBy, bit(whatever), before).Scan(&x.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%w: the name is that of a document of another kind, or it was changed since it was read", ErrConflict)
	}
	return err
}

// bit is a condition for SQL of both engines.
func bit(b bool) int {
	if b {
		return 1
	}
	return 0
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
		if w := asking(watches, name); w != "" {
			return fmt.Errorf("%w: watch %s asks for it", ErrConflict, w)
		}
		if err := undeclared(ctx, tx, name); err != nil {
			return err
		}
		return changed(tx.ExecContext(ctx, `DELETE FROM policies WHERE name = $1`, name))
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", kind, name, err)
	}
	return nil
}

// asking is the name of a watch that asks for a policy; empty for none.
func asking(watches []Watch, policy string) string {
	for i := range watches {
		if slices.Contains(watches[i].Policies, policy) {
			return watches[i].Name
		}
	}
	return ""
}

// undeclared is ErrConflict for a policy that settings declare.
func undeclared(ctx context.Context, tx *sql.Tx, name string) error {
	var file string
	err := tx.QueryRowContext(ctx, `SELECT file FROM policies WHERE name = $1`, name).Scan(&file)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	if err == nil && file != "" {
		err = fmt.Errorf("%w: it is declared in %s; change it there, and start the server anew", ErrConflict, file)
	}
	return err
}

// DeclarePolicies writes the policies that a settings file declares, which were checked,
// in the place of those of their names, and gives the names of those that are new or
// were others. Instances that declare the same at once agree: each change is one's.
func (d *DB) DeclarePolicies(ctx context.Context, file string, policies []Document) (changes []string, err error) {
	policies = slices.SortedFunc(slices.Values(policies), func(a, b Document) int { return strings.Compare(a.Name, b.Name) })
	err = d.retryTx(ctx, func() error {
		return d.inTx(ctx, func(tx *sql.Tx) error {
			changes = nil
			now := d.now().UnixMicro()
			for i := range policies {
				is, err := declarePolicy(ctx, tx, file, &policies[i], now)
				if err != nil {
					return fmt.Errorf("%s: %w", policies[i].Name, err)
				}
				if is {
					changes = append(changes, policies[i].Name)
				}
			}
			if len(changes) == 0 {
				return nil
			}
			return dueAll(ctx, tx, now)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("policies of %s: %w", file, err)
	}
	return changes, nil
}

// declarePolicy tells whether that changed the policy. That the file is another now is
// no change.
func declarePolicy(ctx context.Context, tx *sql.Tx, file string, x *Document, now int64) (bool, error) {
	n, err := affected(tx.ExecContext(ctx, `INSERT INTO policies (name, text, version, updated_at, updated_by, file) VALUES ($1, $2, 1, $3, $4, $5)
		ON CONFLICT (name) DO UPDATE SET text = excluded.text, version = policies.version + 1, updated_at = excluded.updated_at, updated_by = excluded.updated_by, file = excluded.file
		WHERE policies.text <> excluded.text OR policies.file = ''`, x.Name, x.Text, now, x.UpdatedBy, file))
	if err != nil || n > 0 {
		return true, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE policies SET file = $1 WHERE name = $2 AND file <> $1`, file, x.Name)
	return false, err
}

// WithdrawPolicies deletes the policies that a settings file declared and, as it has but
// these names now, does not any more; with all, those that other files declared, too. One
// that a watch still asks for stays, as one of the server's own: these are released.
func (d *DB) WithdrawPolicies(ctx context.Context, file string, all bool, names []string) (deleted, released []string, err error) {
	err = d.retryTx(ctx, func() error {
		return d.inTx(ctx, func(tx *sql.Tx) (err error) {
			deleted, released, err = withdrawPolicies(ctx, tx, file, all, names)
			return err
		})
	})
	if err != nil {
		return nil, nil, fmt.Errorf("policies of %s: %w", file, err)
	}
	return deleted, released, nil
}

func withdrawPolicies(ctx context.Context, tx *sql.Tx, file string, all bool, names []string) (deleted, released []string, err error) {
	watches, err := watchRows(ctx, tx)
	if err != nil {
		return nil, nil, err
	}
	declared, err := queryStrings(ctx, tx.QueryContext, `SELECT name FROM policies WHERE file <> '' AND (file = $1 OR $2) ORDER BY name`, file, all)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range declared {
		if slices.Contains(names, name) {
			continue
		}
		query, to := `DELETE FROM policies WHERE name = $1 AND file <> ''`, &deleted
		if asking(watches, name) != "" {
			query, to = `UPDATE policies SET file = '' WHERE name = $1 AND file <> ''`, &released
		}
		n, err := affected(tx.ExecContext(ctx, query, name))
		if err != nil {
			return nil, nil, err
		}
		if n > 0 { // else another instance did
			*to = append(*to, name)
		}
	}
	return deleted, released, nil
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
