package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// A Registry is where images are.
type Registry struct {
	ID   int64
	Name string
	// URL is its address, with https:// or http://.
	URL string
	// Kind is Crawled or Submitted.
	Kind     string
	Settings RegistrySettings
	// HasCredentials tells that there are some, HasHookSecret that it may send
	// notifications; what they are is never listed.
	HasCredentials, HasHookSecret bool
	// Paused registries are neither read nor scanned.
	Paused               bool
	CreatedAt, UpdatedAt time.Time
	// CrawlDueAt is when it is read next, zero for when it is asked for; CrawledAt when
	// it was last read to the end.
	CrawlDueAt, CrawledAt time.Time
	// CrawlError is what the last crawl failed with, in all or in part; CrawlProgress is
	// what it says of itself.
	CrawlError, CrawlProgress string
}

// The kinds of registries: those that are read, and those whose images only clients
// have told of.
const (
	Crawled   = "crawled"
	Submitted = "submitted"
)

// Credentials of a registry: a name with a password, or a bearer token.
type Credentials struct {
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	Token    string `json:"token,omitempty"`
}

// registryColumns are in the order of scanRegistry.
const registryColumns = `id, name, url, kind, settings, credentials IS NOT NULL, hook_secret IS NOT NULL, paused, created_at, updated_at, crawl_due_at, crawled_at, crawl_error, crawl_progress`

func scanRegistry(row interface{ Scan(...any) error }) (*Registry, error) {
	r := &Registry{}
	var settings string
	var created, updated, due, crawled sql.NullInt64
	err := row.Scan(&r.ID, &r.Name, &r.URL, &r.Kind, &settings, &r.HasCredentials, &r.HasHookSecret, &r.Paused, &created, &updated, &due, &crawled, &r.CrawlError, &r.CrawlProgress)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	r.CreatedAt, r.UpdatedAt, r.CrawlDueAt, r.CrawledAt = fromMicros(created), fromMicros(updated), fromMicros(due), fromMicros(crawled)
	return r, json.Unmarshal([]byte(settings), &r.Settings)
}

func credentialsOf(id int64) string { return fmt.Sprintf("registry %d credentials", id) }
func hookSecretOf(id int64) string  { return fmt.Sprintf("registry %d hook secret", id) }

// AddRegistry adds a registry that is read, at once; ErrConflict when there is one of
// this name. credentials may be nil. It gives the id.
func (d *DB) AddRegistry(ctx context.Context, r *Registry, credentials *Credentials) (id int64, err error) {
	settings, err := r.check()
	if err != nil {
		return 0, fmt.Errorf("registry %q: %w", r.Name, err)
	}
	err = d.inTx(ctx, func(tx *sql.Tx) error {
		now := d.now().UnixMicro()
		err := tx.QueryRowContext(ctx, `INSERT INTO registries (name, url, kind, settings, paused, created_at, updated_at, crawl_due_at)
			VALUES ($1, $2, 'crawled', $3, $4, $5, $5, $5) ON CONFLICT (name) DO NOTHING RETURNING id`, r.Name, r.URL, settings, r.Paused, now).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("%w: there is one of this name", ErrConflict)
		}
		if err != nil {
			return err
		}
		return d.putCredentials(ctx, tx, id, credentials)
	})
	if err != nil {
		return 0, fmt.Errorf("registry %q: %w", r.Name, err)
	}
	return id, nil
}

// putCredentials seals credentials; nil leaves those that are there, empty ones delete
// them.
func (d *DB) putCredentials(ctx context.Context, tx *sql.Tx, id int64, c *Credentials) error {
	if c == nil {
		return nil
	}
	var sealed any // NULL
	if *c != (Credentials{}) {
		text, err := json.Marshal(c)
		if err != nil {
			return err
		}
		if sealed, err = d.seal(credentialsOf(id), text); err != nil {
			return err
		}
	}
	return changed(tx.ExecContext(ctx, `UPDATE registries SET credentials = $1 WHERE id = $2`, sealed, id))
}

// UpdateRegistry changes URL, settings and whether it is paused, and credentials unless
// they are nil. It is read anew at once.
func (d *DB) UpdateRegistry(ctx context.Context, r *Registry, credentials *Credentials) error {
	settings, err := r.check()
	if err == nil {
		err = d.inTx(ctx, func(tx *sql.Tx) error {
			err := changed(tx.ExecContext(ctx, `UPDATE registries SET url = $1, settings = $2, paused = $3, updated_at = $4,
				crawl_due_at = CASE WHEN kind = 'crawled' THEN $4 ELSE crawl_due_at END WHERE id = $5`,
				r.URL, settings, r.Paused, d.now().UnixMicro(), r.ID))
			if err != nil {
				return err
			}
			return d.putCredentials(ctx, tx, r.ID, credentials)
		})
	}
	if err != nil {
		return fmt.Errorf("registry %q: %w", r.Name, err)
	}
	return nil
}

// DeleteRegistry deletes a registry with its repositories, tags and their history.
// What is in its images stays until retention finds that nobody has them.
func (d *DB) DeleteRegistry(ctx context.Context, id int64) error {
	err := d.inTx(ctx, func(tx *sql.Tx) error {
		if err := d.touchImages(ctx, tx, imagesOfManifests("m.repository IN (SELECT p.id FROM repositories p WHERE p.registry = $1)"), id); err != nil {
			return err
		}
		return changed(tx.ExecContext(ctx, `DELETE FROM registries WHERE id = $1`, id))
	})
	if err != nil {
		return fmt.Errorf("registry %d: %w", id, err)
	}
	return nil
}

// RegistryNamed is the registry of a name; ErrNotFound when there is none.
func (d *DB) RegistryNamed(ctx context.Context, name string) (*Registry, error) {
	r, err := scanRegistry(d.db.QueryRowContext(ctx, `SELECT `+registryColumns+` FROM registries WHERE name = $1`, name))
	if err != nil {
		return nil, fmt.Errorf("registry %q: %w", name, err)
	}
	return r, nil
}

// Registry is the registry of an id; ErrNotFound when there is none.
func (d *DB) Registry(ctx context.Context, id int64) (*Registry, error) {
	r, err := scanRegistry(d.db.QueryRowContext(ctx, `SELECT `+registryColumns+` FROM registries WHERE id = $1`, id))
	if err != nil {
		return nil, fmt.Errorf("registry %d: %w", id, err)
	}
	return r, nil
}

// Registries lists them by name, those after a name, at most limit.
func (d *DB) Registries(ctx context.Context, after string, limit int) ([]*Registry, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT `+registryColumns+` FROM registries WHERE name > $1 ORDER BY name LIMIT $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("registries: %w", err)
	}
	defer rows.Close()
	var out []*Registry
	for rows.Next() {
		r, err := scanRegistry(rows)
		if err != nil {
			return nil, fmt.Errorf("registries: %w", err)
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// RegistryCredentials unseals the credentials of a registry; empty when it has none.
func (d *DB) RegistryCredentials(ctx context.Context, id int64) (Credentials, error) {
	var c Credentials
	name, text, err := d.secretOf(ctx, `SELECT name, credentials FROM registries WHERE id = $1`, id, credentialsOf(id))
	if err == nil && text != nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		return Credentials{}, fmt.Errorf("registry %s: %w", name, err)
	}
	return c, nil
}

// secretOf unseals the secret of a row that has a name; where there is none, the id is it.
func (d *DB) secretOf(ctx context.Context, query string, id int64, about string) (name string, secret []byte, err error) {
	var sealed []byte
	err = d.db.QueryRowContext(ctx, query, id).Scan(&name, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return strconv.FormatInt(id, 10), nil, ErrNotFound
	}
	if err != nil {
		return name, nil, err
	}
	secret, err = d.unseal(about, sealed)
	return name, secret, err
}

// HookSecret is the secret by which a registry proves that its notifications are its
// own; empty when it sends none.
func (d *DB) HookSecret(ctx context.Context, id int64) (string, error) {
	name, secret, err := d.secretOf(ctx, `SELECT name, hook_secret FROM registries WHERE id = $1`, id, hookSecretOf(id))
	if err != nil {
		return "", fmt.Errorf("registry %s: %w", name, err)
	}
	return string(secret), nil
}

// SetHookSecret puts another secret in its place; an empty one takes it away.
func (d *DB) SetHookSecret(ctx context.Context, id int64, secret string) error {
	var sealed any // NULL
	if secret != "" {
		b, err := d.seal(hookSecretOf(id), []byte(secret))
		if err != nil {
			return fmt.Errorf("registry %d: %w", id, err)
		}
		sealed = b
	}
	if err := changed(d.db.ExecContext(ctx, `UPDATE registries SET hook_secret = $1, updated_at = $2 WHERE id = $3`, sealed, d.now().UnixMicro(), id)); err != nil {
		return fmt.Errorf("registry %d: %w", id, err)
	}
	return nil
}

// DueRegistries are the ids of those that are to be read now.
func (d *DB) DueRegistries(ctx context.Context) ([]int64, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT id FROM registries WHERE kind = 'crawled' AND NOT paused AND crawl_due_at <= $1 ORDER BY crawl_due_at, id`, d.now().UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("registries: %w", err)
	}
	defer rows.Close()
	var out []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("registries: %w", err)
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

// CrawlDue lets a registry be read now.
func (d *DB) CrawlDue(ctx context.Context, id int64) error {
	if err := changed(d.db.ExecContext(ctx, `UPDATE registries SET crawl_due_at = $1 WHERE id = $2 AND kind = 'crawled'`, d.now().UnixMicro(), id)); err != nil {
		return fmt.Errorf("registry %d: %w", id, err)
	}
	return nil
}

// PostponeCrawl lets a registry that is due be read later.
func (d *DB) PostponeCrawl(ctx context.Context, id int64, by time.Duration) error {
	now := d.now()
	if _, err := d.db.ExecContext(ctx, `UPDATE registries SET crawl_due_at = $1, crawl_error = 'cancelled' WHERE id = $2 AND crawl_due_at <= $3`, now.Add(by).UnixMicro(), id, now.UnixMicro()); err != nil {
		return fmt.Errorf("registry %d: %w", id, err)
	}
	return nil
}

// CrawlProgress writes down how far a crawl is; ErrNotFound when it is to end, since the
// registry was deleted or paused.
func (d *DB) CrawlProgress(ctx context.Context, id int64, progress string) error {
	if err := changed(d.db.ExecContext(ctx, `UPDATE registries SET crawl_progress = $1 WHERE id = $2 AND NOT paused`, progress, id)); err != nil {
		return fmt.Errorf("registry %d: %w", id, err)
	}
	return nil
}

// CrawlEnded writes down that a registry was read to the end, or what failed, in all
// (complete is false) or in part; next is when it is read again, zero for when it is
// asked for. A crawl that was asked for after it began stays due.
func (d *DB) CrawlEnded(ctx context.Context, id int64, began time.Time, complete bool, failure, progress string, next time.Time) error {
	var crawled any // NULL
	if complete {
		crawled = d.now().UnixMicro()
	}
	err := changed(d.db.ExecContext(ctx, `UPDATE registries SET crawl_error = $1, crawl_progress = $2, crawled_at = COALESCE(CAST($3 AS BIGINT), crawled_at),
		crawl_due_at = CASE WHEN crawl_due_at > $4 AND crawl_due_at <= $5 THEN crawl_due_at ELSE CAST($6 AS BIGINT) END WHERE id = $7`,
		failure, progress, crawled, began.UnixMicro(), d.now().UnixMicro(), micros(next), id))
	if err != nil {
		return fmt.Errorf("registry %d: %w", id, err)
	}
	return nil
}
