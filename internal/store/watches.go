package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"strata/internal/image"
)

// A Watch holds the images of a scope against policies, and tells receivers of what
// violates them.
type Watch struct {
	ID    int64      `json:"id"`
	Name  string     `json:"name"`
	Scope WatchScope `json:"scope"`
	// Policies by name, of the server's own or of those that come with the program.
	Policies []string `json:"policies"`
	// Receivers by name, besides those that the rules name.
	Receivers []string `json:"receivers"`
	// Mode is empty, "warn" or "enforce" (policy.Mode).
	Mode      string    `json:"mode,omitempty"`
	Paused    bool      `json:"paused,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// A WatchScope says which images a watch is for: all that it names must fit. The zero
// value is for all images that have a tag.
type WatchScope struct {
	// Repositories are globs over REGISTRY/REPOSITORY (MatchName), and Tags over tags.
	Repositories []string `json:"repositories,omitempty"`
	Tags         []string `json:"tags,omitempty"`
	// Labels that the image must have, with these values; * in a value is any text.
	Labels map[string]string `json:"labels,omitempty"`
	// Base are globs over the name of the base image: "docker.io/library/debian:*".
	Base []string `json:"base,omitempty"`
}

// A TaggedName is one name of an image, as scopes look at it.
type TaggedName struct {
	image            int64
	repository, tag  string
	labels, baseName string
}

// String is REGISTRY/REPOSITORY:TAG.
func (n *TaggedName) String() string { return n.repository + ":" + n.tag }

// Names tells whether an image of this name ("REGISTRY/REPOSITORY:TAG") is in scope.
func (s *WatchScope) Names(name string, labels map[string]string, base string) bool {
	n := TaggedName{baseName: base}
	n.repository, n.tag, _ = image.SplitReference(name)
	text, err := json.Marshal(labels)
	n.labels = string(text)
	return err == nil && s.Fits(&n)
}

// Fits tells whether the image is in scope, by this name.
func (s *WatchScope) Fits(n *TaggedName) bool {
	if len(s.Repositories) > 0 && !MatchName(s.Repositories, n.repository) || len(s.Tags) > 0 && !MatchName(s.Tags, n.tag) {
		return false
	}
	if len(s.Base) > 0 && (n.baseName == "" || !MatchName(s.Base, n.baseName)) {
		return false
	}
	if len(s.Labels) == 0 {
		return true
	}
	var labels map[string]string
	if json.Unmarshal([]byte(n.labels), &labels) != nil {
		return false
	}
	for k, want := range s.Labels {
		if got, ok := labels[k]; !ok || !MatchName([]string{want}, got) {
			return false
		}
	}
	return true
}

// Watches lists the watches by name.
func (d *DB) Watches(ctx context.Context) ([]Watch, error) {
	var out []Watch
	err := d.inReadTx(ctx, func(tx *sql.Tx) (err error) {
		out, err = watchRows(ctx, tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("watches: %w", err)
	}
	return out, nil
}

// inReadTx reads in one transaction, for which no writer waits.
func (d *DB) inReadTx(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := d.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	if err := d.patient(ctx, tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return errors.Join(do(tx), tx.Rollback())
}

func watchRows(ctx context.Context, tx *sql.Tx) ([]Watch, error) {
	rows, err := tx.QueryContext(ctx, `SELECT id, name, scope, policies, receivers, mode, paused, created_at, updated_at FROM watches ORDER BY name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := []Watch{}
	for rows.Next() {
		var w Watch
		var scope, policies, receivers string
		var created, updated sql.NullInt64
		if err := rows.Scan(&w.ID, &w.Name, &scope, &policies, &receivers, &w.Mode, &w.Paused, &created, &updated); err != nil {
			return nil, err
		}
		if err := errors.Join(json.Unmarshal([]byte(scope), &w.Scope), json.Unmarshal([]byte(policies), &w.Policies), json.Unmarshal([]byte(receivers), &w.Receivers)); err != nil {
			return nil, fmt.Errorf("watch %s: %w", w.Name, err)
		}
		w.CreatedAt, w.UpdatedAt = fromMicros(created), fromMicros(updated)
		out = append(out, w)
	}
	return out, rows.Err()
}

// PutWatch writes a watch, in the place of one of its name, and has the images in its
// scope judged. Violations of images that are in it no more are resolved.
func (d *DB) PutWatch(ctx context.Context, w *Watch) error {
	if err := CheckGlobs(slices.Concat(w.Scope.Repositories, w.Scope.Tags, w.Scope.Base)...); err != nil {
		return fmt.Errorf("watch %s: %w", w.Name, err)
	}
	err := d.inTx(ctx, func(tx *sql.Tx) error {
		now := d.now().UnixMicro()
		scope, err1 := json.Marshal(w.Scope)
		policies, err2 := json.Marshal(notNil(w.Policies))
		receivers, err3 := json.Marshal(notNil(w.Receivers))
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		var created int64
		err := tx.QueryRowContext(ctx, `INSERT INTO watches (name, scope, policies, receivers, mode, paused, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (name) DO UPDATE SET scope = excluded.scope, policies = excluded.policies, receivers = excluded.receivers, mode = excluded.mode, paused = excluded.paused, updated_at = excluded.updated_at
			RETURNING id, created_at`, w.Name, string(scope), string(policies), string(receivers), w.Mode, w.Paused, now, now).Scan(&w.ID, &created)
		if err != nil {
			return err
		}
		w.CreatedAt, w.UpdatedAt = time.UnixMicro(created).UTC(), time.UnixMicro(now).UTC()
		names, err := watchedNames(ctx, tx, "")
		if err != nil {
			return err
		}
		return d.watchImages(ctx, tx, []Watch{*w}, names, "")
	})
	if err != nil {
		return fmt.Errorf("watch %s: %w", w.Name, err)
	}
	return nil
}

func notNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// DeleteWatch deletes a watch with its violations.
func (d *DB) DeleteWatch(ctx context.Context, name string) error {
	if err := changed(d.db.ExecContext(ctx, `DELETE FROM watches WHERE name = $1`, name)); err != nil {
		return fmt.Errorf("watch %s: %w", name, err)
	}
	return nil
}

// DueWatches has images judged that are new, or have other names or other content: by
// all watches in whose scope they are now.
func (d *DB) DueWatches(ctx context.Context, images []int64) error {
	err := d.inTx(ctx, func(tx *sql.Tx) error {
		watches, err := watchRows(ctx, tx)
		if err != nil || len(watches) == 0 {
			return err
		}
		for batch := range slices.Chunk(images, 500) {
			in := joinIDs(batch, func(id *int64) int64 { return *id })
			names, err := watchedNames(ctx, tx, ` AND mi.image IN (`+in+`)`)
			if err != nil {
				return err
			}
			if err := d.watchImages(ctx, tx, watches, names, ` AND image IN (`+in+`)`); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("due watches: %w", err)
	}
	return nil
}

// watchedNames are the names by tags that images have now.
func watchedNames(ctx context.Context, tx *sql.Tx, condition string) ([]TaggedName, error) {
	var out []TaggedName
	err := eachName(ctx, tx, `i.labels`, condition, func(n *TaggedName) { out = append(out, *n) })
	return out, err
}

// eachName visits the names by tags that images have now, as far as a condition on
// mi.image goes; labels is the column of labels, or nothing in its place.
func eachName(ctx context.Context, tx *sql.Tx, labels, condition string, visit func(*TaggedName)) error {
	rows, err := tx.QueryContext(ctx, `SELECT mi.image, r.name || '/' || p.name, t.name, `+labels+`, COALESCE(b.reference, '')
		FROM tags t JOIN manifest_images mi ON mi.manifest = t.manifest JOIN repositories p ON p.id = t.repository JOIN registries r ON r.id = p.registry
		JOIN images i ON i.id = mi.image LEFT JOIN images b ON b.id = i.base WHERE t.to_at IS NULL`+condition)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var n TaggedName
		if err := rows.Scan(&n.image, &n.repository, &n.tag, &n.labels, &n.baseName); err != nil {
			return err
		}
		visit(&n)
	}
	return rows.Err()
}

// CurrentImages are the images in the scope of a watch that a tag names now, as far as
// the repositories are in sight (globs; nil for all).
func (d *DB) CurrentImages(ctx context.Context, s *WatchScope, sight []string) ([]int64, error) {
	labels := `''`
	if len(s.Labels) > 0 {
		labels = `i.labels` // they are long
	}
	in := map[int64]bool{}
	err := d.inReadTx(ctx, func(tx *sql.Tx) error {
		return eachName(ctx, tx, labels, "", func(n *TaggedName) {
			if !in[n.image] && InScope(sight, n.repository) && s.Fits(n) {
				in[n.image] = true
			}
		})
	})
	if err != nil {
		return nil, fmt.Errorf("current images: %w", err)
	}
	return slices.Sorted(maps.Keys(in)), nil
}

// CurrentNames are the names by tags that some images have now in the repositories in
// sight; those of each image in the order in which Image tells them.
func (d *DB) CurrentNames(ctx context.Context, images []int64, sight []string) (map[int64][]TaggedName, error) {
	out := map[int64][]TaggedName{}
	err := d.inReadTx(ctx, func(tx *sql.Tx) error {
		in := joinIDs(images, func(id *int64) int64 { return *id })
		return eachName(ctx, tx, `i.labels`, ` AND mi.image IN (`+in+`) ORDER BY 2, t.from_at, t.id`, func(n *TaggedName) {
			if InScope(sight, n.repository) {
				out[n.image] = append(out[n.image], *n)
			}
		})
	})
	if err != nil {
		return nil, fmt.Errorf("current names: %w", err)
	}
	return out, nil
}

// watchImages makes the images with these names those of the watches, due now, as far
// as a condition on the column image goes.
func (d *DB) watchImages(ctx context.Context, tx *sql.Tx, watches []Watch, names []TaggedName, condition string) error {
	now := d.now().UnixMicro()
	for _, w := range watches {
		in := map[int64]bool{}
		var rows [][]any
		for i := range names {
			if n := &names[i]; !w.Paused && !in[n.image] && w.Scope.Fits(n) {
				in[n.image] = true
				rows = append(rows, []any{w.ID, n.image, now})
			}
		}
		// Those that stay are found again by due_at.
		if err := insertRows(ctx, tx, "watched_images", []string{"watch", "image", "due_at"}, " ON CONFLICT (watch, image) DO UPDATE SET due_at = excluded.due_at", rows); err != nil {
			return err
		}
		left := `watch = $1` + condition + ` AND NOT EXISTS (SELECT 1 FROM watched_images k WHERE k.watch = $1 AND k.image = %s.image AND k.due_at = $2)`
		if _, err := tx.ExecContext(ctx, `UPDATE violations SET resolved_at = $2 WHERE resolved_at IS NULL AND `+fmt.Sprintf(left, "violations"), w.ID, now); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM watched_images WHERE watch = $1`+condition+` AND (due_at IS NULL OR due_at <> $2)`, w.ID, now); err != nil {
			return err
		}
	}
	return nil
}

// TagsVersion changes whenever a tag comes to name something else, or nothing.
func (d *DB) TagsVersion(ctx context.Context) (version string, err error) {
	err = d.db.QueryRowContext(ctx, `SELECT COUNT(*) || '.' || COALESCE(MAX(id), 0) || '.' || COALESCE(MAX(to_at), 0) FROM tags`).Scan(&version)
	if err != nil {
		return "", fmt.Errorf("version of tags: %w", err)
	}
	return version, nil
}

// RefreshWatches has images judged that have come into the scope of watches, and takes
// those out that have left it; the others stay as they are. Tags move whenever a registry
// is read.
func (d *DB) RefreshWatches(ctx context.Context) error {
	err := d.inTx(ctx, func(tx *sql.Tx) error {
		watches, err := watchRows(ctx, tx)
		if err != nil || len(watches) == 0 {
			return err
		}
		names, err := watchedNames(ctx, tx, "")
		if err != nil {
			return err
		}
		for i := range watches {
			if err := d.refreshWatch(ctx, tx, &watches[i], names); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("watches: %w", err)
	}
	return nil
}

func (d *DB) refreshWatch(ctx context.Context, tx *sql.Tx, w *Watch, names []TaggedName) error {
	now := d.now().UnixMicro()
	is, err := imagesOf(ctx, tx, `SELECT image FROM watched_images WHERE watch = $1`, w.ID)
	if err != nil {
		return err
	}
	var rows [][]any
	for i := range names {
		n := &names[i]
		if w.Paused || !w.Scope.Fits(n) {
			continue
		}
		if known, there := is[n.image]; !there {
			rows = append(rows, []any{w.ID, n.image, now})
		} else if !known {
			continue
		}
		is[n.image] = false // it stays
	}
	if err := insertRows(ctx, tx, "watched_images", []string{"watch", "image", "due_at"}, " ON CONFLICT (watch, image) DO NOTHING", rows); err != nil {
		return err
	}
	var left []int64
	for id, leaves := range is {
		if leaves {
			left = append(left, id)
		}
	}
	slices.Sort(left)
	for batch := range slices.Chunk(left, 500) {
		in := joinIDs(batch, func(id *int64) int64 { return *id })
		if _, err := tx.ExecContext(ctx, `UPDATE violations SET resolved_at = $1 WHERE watch = $2 AND resolved_at IS NULL AND image IN (`+in+`)`, now, w.ID); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM watched_images WHERE watch = $1 AND image IN (`+in+`)`, w.ID); err != nil {
			return err
		}
	}
	return nil
}

// imagesOf is a set of ids.
func imagesOf(ctx context.Context, tx *sql.Tx, query string, args ...any) (map[int64]bool, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[int64]bool{}
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out[id] = true
	}
	return out, rows.Err()
}
