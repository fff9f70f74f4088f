package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A CrawledTag is a tag as a registry has it.
type CrawledTag struct {
	Name, Digest, MediaType string
}

// Tagged are the digests that the tags of a repository have now, by tag.
func (d *DB) Tagged(ctx context.Context, registry int64, repository string) (map[string]string, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT t.name, m.digest FROM repositories p JOIN tags t ON t.repository = p.id AND t.to_at IS NULL
		JOIN manifests m ON m.id = t.manifest WHERE p.registry = $1 AND p.name = $2`, registry, repository)
	if err != nil {
		return nil, fmt.Errorf("tags of %s: %w", repository, err)
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var tag, digest string
		if err := rows.Scan(&tag, &digest); err != nil {
			return nil, fmt.Errorf("tags of %s: %w", repository, err)
		}
		out[tag] = digest
	}
	return out, rows.Err()
}

// crawlBatch is how many tags one transaction writes.
const crawlBatch = 100

// SeenTags writes down tags of a repository that are new or name something else, as of
// a time, and who owns the repository. Digests that were never seen are due. It gives
// the ids of the manifests that are due.
func (d *DB) SeenTags(ctx context.Context, registry int64, repository, owner string, at time.Time, tags []CrawledTag) (due []int64, err error) {
	const crawling = 4
	for first := true; first || len(tags) > 0; first = false {
		n := min(len(tags), crawlBatch)
		err := d.retryTx(ctx, func() error {
			return d.inTx(ctx, func(tx *sql.Tx) error {
				now := d.now().UnixMicro()
				if _, err := tx.ExecContext(ctx, `INSERT INTO repositories (registry, name, owner, seen_at) VALUES ($1, $2, $3, $4)
					ON CONFLICT (registry, name) DO UPDATE SET owner = excluded.owner, seen_at = excluded.seen_at, retired_at = NULL`, registry, repository, owner, now); err != nil {
					return err
				}
				for _, t := range tags[:n] {
					id, isDue, err := d.pushed(ctx, tx, registry, crawling, Named{Repository: repository, Tag: t.Name, Digest: t.Digest, At: at})
					if err != nil {
						return err
					}
					if _, err := tx.ExecContext(ctx, `UPDATE manifests SET media_type = $1 WHERE id = $2 AND media_type = ''`, t.MediaType, id); err != nil {
						return err
					}
					if isDue && !slices.Contains(due, id) {
						due = append(due, id)
					}
				}
				return nil
			})
		})
		if err != nil {
			return nil, fmt.Errorf("repository %s: %w", repository, err)
		}
		tags = tags[n:]
	}
	return due, nil
}

// RetireTags writes down that tags are in the registry no more, as of a time: those that
// began to name something later stay. What is due and was named by them alone is gone.
func (d *DB) RetireTags(ctx context.Context, registry int64, repository string, at time.Time, tags []string) (retired int64, err error) {
	err = d.inTx(ctx, func(tx *sql.Tx) error {
		retired = 0
		var id int64
		err := tx.QueryRowContext(ctx, `SELECT id FROM repositories WHERE registry = $1 AND name = $2`, registry, repository).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		for batch := range slices.Chunk(tags, lookupBatch) {
			args := append([]any{at.UnixMicro(), id}, anys(batch)...)
			n, err := affected(tx.ExecContext(ctx, `UPDATE tags SET to_at = $1 WHERE repository = $2 AND to_at IS NULL AND from_at <= $1 AND name IN (`+placeholders(3, len(batch))+`)`, args...))
			if err != nil {
				return err
			}
			retired += n
		}
		if retired == 0 {
			return nil
		}
		_, err = tx.ExecContext(ctx, `UPDATE manifests SET state = 'gone', due_at = NULL WHERE repository = $1 AND state IN ('due', 'parked')
			AND EXISTS (SELECT 1 FROM tags WHERE tags.manifest = manifests.id)
			AND NOT EXISTS (SELECT 1 FROM tags WHERE tags.manifest = manifests.id AND tags.to_at IS NULL)`, id)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("repository %s: %w", repository, err)
	}
	return retired, nil
}

// LiveRepositories are the names of a registry's repositories that are not retired.
func (d *DB) LiveRepositories(ctx context.Context, registry int64) ([]string, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT name FROM repositories WHERE registry = $1 AND retired_at IS NULL ORDER BY name`, registry)
	if err != nil {
		return nil, fmt.Errorf("repositories: %w", err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("repositories: %w", err)
		}
		out = append(out, name)
	}
	return out, rows.Err()
}

// RetireRepository writes down that a repository is in the registry no more, as of a
// time. All of it stays as history. It gives how many tags were retired.
func (d *DB) RetireRepository(ctx context.Context, registry int64, repository string, at time.Time) (tags int64, err error) {
	return d.Retired(ctx, registry, []Named{{Repository: repository, At: at}})
}

// A TagSpan is a time in which a tag named a manifest; To is zero for now.
type TagSpan struct {
	Tag  string    `json:"tag"`
	From time.Time `json:"from"`
	To   time.Time `json:"to,omitzero"`
}

// TagHistory are the tags that name and named a manifest, by time.
func (d *DB) TagHistory(ctx context.Context, manifest int64) ([]TagSpan, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT name, from_at, to_at FROM tags WHERE manifest = $1 ORDER BY from_at, id`, manifest)
	if err != nil {
		return nil, fmt.Errorf("tags of manifest %d: %w", manifest, err)
	}
	defer rows.Close()
	var out []TagSpan
	for rows.Next() {
		var s TagSpan
		var from, to sql.NullInt64
		if err := rows.Scan(&s.Tag, &from, &to); err != nil {
			return nil, fmt.Errorf("tags of manifest %d: %w", manifest, err)
		}
		s.From, s.To = fromMicros(from), fromMicros(to)
		out = append(out, s)
	}
	return out, rows.Err()
}

// ManifestImages are the ids of the images that a manifest stands for.
func (d *DB) ManifestImages(ctx context.Context, manifest int64) ([]int64, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT image FROM manifest_images WHERE manifest = $1 ORDER BY image`, manifest)
	if err != nil {
		return nil, fmt.Errorf("manifest %d: %w", manifest, err)
	}
	defer rows.Close()
	var out []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("manifest %d: %w", manifest, err)
		}
		out = append(out, id)
	}
	return out, rows.Err()
}
