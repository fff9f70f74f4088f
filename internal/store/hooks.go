package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A Named is an image as a registry tells of it: by tag, by digest, or both.
type Named struct {
	// Repository within the registry.
	Repository  string
	Tag, Digest string
	// At is when the registry says that it happened; zero for now.
	At time.Time
}

// Pushed writes down that images were pushed to a registry: each has a digest, and
// the tag, if any, names it from then on. A digest that is not scanned yet is due,
// with the priority (or the one it has, if that is sooner); one that was given up, or
// was gone, is due anew. It gives the ids of the manifests that are due.
//
// What is told late doesn't take a tag back: where the tag names something else since
// a later time, it stays.
func (d *DB) Pushed(ctx context.Context, registry int64, priority int, pushed []Named) (due []int64, err error) {
	err = d.inTx(ctx, func(tx *sql.Tx) error {
		due = nil
		for _, n := range byRepository(pushed) {
			id, isDue, err := d.pushed(ctx, tx, registry, priority, n)
			if err != nil {
				return fmt.Errorf("%s: %w", n.Repository, err)
			}
			if isDue && !slices.Contains(due, id) {
				due = append(due, id)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("pushed: %w", err)
	}
	return due, nil
}

// byRepository is the order in which all instances lock repositories.
func byRepository(names []Named) []Named {
	return slices.SortedStableFunc(slices.Values(names), func(a, b Named) int { return cmp.Compare(a.Repository, b.Repository) })
}

func (d *DB) pushed(ctx context.Context, tx *sql.Tx, registry int64, priority int, n Named) (manifest int64, due bool, err error) {
	now := d.now().UnixMicro()
	var repository int64
	err = tx.QueryRowContext(ctx, `INSERT INTO repositories (registry, name, seen_at) VALUES ($1, $2, $3)
		ON CONFLICT (registry, name) DO UPDATE SET seen_at = excluded.seen_at, retired_at = NULL RETURNING id`,
		registry, n.Repository, now).Scan(&repository)
	if err != nil {
		return 0, false, err
	}
	var state string
	err = tx.QueryRowContext(ctx, `INSERT INTO manifests (repository, digest, state, priority, due_at, found_at) VALUES ($1, $2, 'due', $3, $4, $5)
		ON CONFLICT (repository, digest) DO UPDATE SET
			state = CASE WHEN manifests.state IN ('parked', 'gone') THEN 'due' ELSE manifests.state END,
			attempts = CASE WHEN manifests.state IN ('parked', 'gone') THEN 0 ELSE manifests.attempts END,
			reason = CASE WHEN manifests.state IN ('parked', 'gone') THEN '' ELSE manifests.reason END,
			due_at = CASE WHEN manifests.state IN ('parked', 'gone') THEN excluded.due_at ELSE manifests.due_at END,
			priority = CASE WHEN excluded.priority < manifests.priority THEN excluded.priority ELSE manifests.priority END
		RETURNING id, state`, repository, n.Digest, priority, now, now).Scan(&manifest, &state)
	if err != nil {
		return 0, false, err
	}
	if n.Tag != "" {
		err = moveTag(ctx, tx, repository, manifest, n.Tag, n.since(now))
	}
	return manifest, state == "due", err
}

// since is when it happened; never in the future.
func (n *Named) since(now int64) int64 {
	if n.At.IsZero() || n.At.UnixMicro() > now {
		return now
	}
	return n.At.UnixMicro()
}

// moveTag lets a tag name a manifest from a time on.
func moveTag(ctx context.Context, tx *sql.Tx, repository, manifest int64, tag string, at int64) error {
	var id, names, from int64
	err := tx.QueryRowContext(ctx, `SELECT id, manifest, from_at FROM tags WHERE repository = $1 AND name = $2 AND to_at IS NULL`, repository, tag).Scan(&id, &names, &from)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return err
	case names == manifest || at < from:
		return nil
	default:
		if _, err := tx.ExecContext(ctx, `UPDATE tags SET to_at = $1 WHERE id = $2 AND to_at IS NULL`, at, id); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO tags (repository, name, manifest, from_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (repository, name) WHERE to_at IS NULL DO NOTHING`, repository, tag, manifest, at)
	return err
}

// Retired writes down that images were deleted from a registry. With a tag it is the
// tag that names nothing from then on, with a digest alone the manifest is gone, and
// with neither the whole repository. All of it stays as history. It gives how many
// tags were retired.
func (d *DB) Retired(ctx context.Context, registry int64, deleted []Named) (tags int64, err error) {
	err = d.inTx(ctx, func(tx *sql.Tx) error {
		tags = 0
		for _, n := range byRepository(deleted) {
			gone, err := d.retired(ctx, tx, registry, n)
			if err != nil {
				return fmt.Errorf("%s: %w", n.Repository, err)
			}
			tags += gone
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("deleted: %w", err)
	}
	return tags, nil
}

func (d *DB) retired(ctx context.Context, tx *sql.Tx, registry int64, n Named) (tags int64, err error) {
	now := d.now().UnixMicro()
	at := n.since(now)
	var repository int64
	err = tx.QueryRowContext(ctx, `UPDATE repositories SET seen_at = seen_at WHERE registry = $1 AND name = $2 RETURNING id`, registry, n.Repository).Scan(&repository)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil // it was never known
	}
	if err != nil {
		return 0, err
	}
	if n.Tag != "" {
		return affected(tx.ExecContext(ctx, `UPDATE tags SET to_at = $1 WHERE repository = $2 AND name = $3 AND to_at IS NULL AND from_at <= $1`, at, repository, n.Tag))
	}
	tags, err = affected(tx.ExecContext(ctx, `UPDATE tags SET to_at = $1 WHERE repository = $2 AND to_at IS NULL AND from_at <= $1
		AND ($3 = '' OR manifest IN (SELECT id FROM manifests WHERE repository = $2 AND digest = $3))`, at, repository, n.Digest))
	if err != nil {
		return 0, err
	}
	// What is tagged still, or anew, is not gone: the deletion was told late.
	if _, err := tx.ExecContext(ctx, `UPDATE manifests SET state = 'gone', due_at = NULL WHERE repository = $1 AND ($2 = '' OR digest = $2)
		AND NOT EXISTS (SELECT 1 FROM tags WHERE tags.manifest = manifests.id AND tags.to_at IS NULL)`, repository, n.Digest); err != nil {
		return 0, err
	}
	if n.Digest == "" {
		_, err = tx.ExecContext(ctx, `UPDATE repositories SET retired_at = $1 WHERE id = $2
			AND NOT EXISTS (SELECT 1 FROM tags WHERE tags.repository = $2 AND tags.to_at IS NULL)`, at, repository)
	}
	return tags, err
}

func affected(r sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}
