package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// A DueManifest is one that is to be scanned.
type DueManifest struct {
	ID       int64
	Priority int
}

// isDue is the condition that a manifest, whose columns it names, may be claimed at the
// time $1: it is due, or whoever scans it was not heard of for too long. due_at of one
// that is being scanned is when that is.
const isDue = `manifests.state IN ('due', 'scanning') AND manifests.due_at <= $1`

// DueManifests are those to be scanned now, of registries that are not paused; those
// with ids above after, in order, at most limit.
func (d *DB) DueManifests(ctx context.Context, after int64, limit int) ([]DueManifest, error) {
	return d.dueManifests(ctx, isDue+` AND NOT r.paused AND manifests.id > $2 ORDER BY manifests.id LIMIT $3`, d.now().UnixMicro(), after, limit)
}

func (d *DB) dueManifests(ctx context.Context, which string, args ...any) ([]DueManifest, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT manifests.id, manifests.priority FROM manifests
		JOIN repositories p ON p.id = manifests.repository JOIN registries r ON r.id = p.registry WHERE `+which, args...)
	if err != nil {
		return nil, fmt.Errorf("manifests: %w", err)
	}
	defer rows.Close()
	var out []DueManifest
	for rows.Next() {
		var m DueManifest
		if err := rows.Scan(&m.ID, &m.Priority); err != nil {
			return nil, fmt.Errorf("manifests: %w", err)
		}
		out = append(out, m)
	}
	return out, rows.Err()
}

// A ClaimedManifest is what a worker has to scan. Fence goes with what it writes.
type ClaimedManifest struct {
	ID, Fence int64
	// Registry is the id of its registry.
	Registry           int64
	Repository, Digest string
	// Tag is one that names it now; empty for none.
	Tag string
	// Attempts counts this one.
	Attempts int
}

// ClaimManifest gives a manifest to a worker of an instance for a time, unless it is not
// due, another has it, or its registry is paused: then it gives nil.
func (d *DB) ClaimManifest(ctx context.Context, id int64, by string, ttl time.Duration) (*ClaimedManifest, error) {
	now := d.now()
	m := &ClaimedManifest{ID: id}
	var repository int64
	err := d.db.QueryRowContext(ctx, `UPDATE manifests SET state = 'scanning', fence = fence + 1, attempts = attempts + 1, due_at = $2, claimed_by = $4
		WHERE `+isDue+` AND id = $3 AND repository IN (SELECT p.id FROM repositories p JOIN registries r ON r.id = p.registry WHERE NOT r.paused)
		RETURNING fence, attempts, digest, repository`, now.UnixMicro(), now.Add(ttl).UnixMicro(), id, by).Scan(&m.Fence, &m.Attempts, &m.Digest, &repository)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		err = d.db.QueryRowContext(ctx, `SELECT registry, name, COALESCE((SELECT MAX(name) FROM tags WHERE tags.manifest = $1 AND to_at IS NULL), '')
			FROM repositories WHERE id = $2`, id, repository).Scan(&m.Registry, &m.Repository, &m.Tag)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest %d: %w", id, err)
	}
	return m, nil
}

// errPassed is ErrConflict where a fence is no longer that of the row.
func errPassed(err error) error {
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: another has taken it since", ErrConflict)
	}
	return err
}

// KeepManifest prolongs a claim; ErrConflict when another has it.
func (d *DB) KeepManifest(ctx context.Context, m *ClaimedManifest, ttl time.Duration) error {
	err := errPassed(changed(d.db.ExecContext(ctx, `UPDATE manifests SET due_at = $1 WHERE id = $2 AND fence = $3 AND state = 'scanning'`,
		d.now().Add(ttl).UnixMicro(), m.ID, m.Fence)))
	if err != nil {
		return fmt.Errorf("manifest %d: %w", m.ID, err)
	}
	return nil
}

// ExpireClaims ends the claims of an instance before their time, of manifests and of
// notifications: it is heard of no more. It can't write any results when another has claimed
// them since.
func (d *DB) ExpireClaims(ctx context.Context, instance string) error {
	for _, query := range []string{
		`UPDATE manifests SET due_at = $1 WHERE state = 'scanning' AND due_at > $1 AND claimed_by = $2`,
		`UPDATE notifications SET due_at = $1 WHERE state = 'sending' AND due_at > $1 AND claimed_by = $2`,
	} {
		if _, err := d.db.ExecContext(ctx, query, d.now().UnixMicro(), instance); err != nil {
			return fmt.Errorf("claims of %s: %w", instance, err)
		}
	}
	return nil
}

// stillClaimed makes sure in a transaction that a claim has not passed, and doesn't until
// its end; nil claims nothing.
func stillClaimed(ctx context.Context, tx *sql.Tx, m *ClaimedManifest) error {
	if m == nil {
		return nil
	}
	return errPassed(changed(tx.ExecContext(ctx, `UPDATE manifests SET fence = fence WHERE id = $1 AND fence = $2 AND state = 'scanning'`, m.ID, m.Fence)))
}

// OverdueManifests are those whose claim has run out: who had it is heard of no more.
func (d *DB) OverdueManifests(ctx context.Context, limit int) ([]DueManifest, error) {
	return d.dueManifests(ctx, `manifests.state = 'scanning' AND manifests.due_at <= $1 AND NOT r.paused ORDER BY manifests.due_at, manifests.id LIMIT $2`, d.now().UnixMicro(), limit)
}

// A ScanOutcome is how a scan of a manifest ended.
type ScanOutcome struct {
	// State is "scanned", "other" (it is no image), "gone" (the registry has it no
	// more), "parked" (given up) or "due" (to be tried again at RetryAt).
	State string
	// Reason why, in words; empty for what went well.
	Reason  string
	RetryAt time.Time
	// Images are the ids of what was found below it. Without any, those that are known
	// stay, unless the state is "scanned".
	Images    []int64
	MediaType string
}

// ScanEnded writes down how a scan ended, and gives up the claim. ErrConflict when
// another has claimed it since: then nothing is written.
func (d *DB) ScanEnded(ctx context.Context, m *ClaimedManifest, o ScanOutcome) error {
	err := d.inTx(ctx, func(tx *sql.Tx) error {
		attempts, scanned, due := 0, any(nil), any(nil)
		switch o.State {
		case "scanned", "other":
			scanned = d.now().UnixMicro()
		case "parked":
			attempts, scanned = m.Attempts, d.now().UnixMicro()
		case "due":
			attempts, due = m.Attempts, o.RetryAt.UnixMicro()
		}
		err := changed(tx.ExecContext(ctx, `UPDATE manifests SET state = $1, reason = $2, attempts = $3, scanned_at = COALESCE(CAST($4 AS BIGINT), scanned_at),
			due_at = CAST($5 AS BIGINT), media_type = CASE WHEN $6 = '' THEN media_type ELSE $6 END WHERE id = $7 AND fence = $8 AND state = 'scanning'`,
			o.State, o.Reason, attempts, scanned, due, o.MediaType, m.ID, m.Fence))
		if err != nil {
			return errPassed(err)
		}
		if o.State != "scanned" && len(o.Images) == 0 {
			return nil
		}
		return d.setManifestImages(ctx, tx, m.ID, o.Images)
	})
	if err != nil {
		return fmt.Errorf("manifest %d: %w", m.ID, err)
	}
	return nil
}

func (d *DB) setManifestImages(ctx context.Context, tx *sql.Tx, manifest int64, images []int64) error {
	if err := d.touchImages(ctx, tx, imagesOfManifests("m.id = $1"), manifest); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM manifest_images WHERE manifest = $1`, manifest); err != nil {
		return err
	}
	for _, id := range images {
		if _, err := tx.ExecContext(ctx, `INSERT INTO manifest_images (manifest, image) VALUES ($1, $2) ON CONFLICT DO NOTHING`, manifest, id); err != nil {
			return err
		}
	}
	return d.touchImages(ctx, tx, imagesOfManifests("m.id = $1"), manifest)
}

// ScanHandedBack gives up a claim as if it had not been: the instance stops.
func (d *DB) ScanHandedBack(ctx context.Context, m *ClaimedManifest) error {
	err := errPassed(changed(d.db.ExecContext(ctx, `UPDATE manifests SET state = 'due', attempts = attempts - 1, due_at = $1 WHERE id = $2 AND fence = $3 AND state = 'scanning'`,
		d.now().UnixMicro(), m.ID, m.Fence)))
	if err != nil {
		return fmt.Errorf("manifest %d: %w", m.ID, err)
	}
	return nil
}

// ScanNotTried takes back that an attempt counted, of a claim that another has by now.
func (d *DB) ScanNotTried(ctx context.Context, m *ClaimedManifest) error {
	if _, err := d.db.ExecContext(ctx, `UPDATE manifests SET attempts = attempts - 1 WHERE id = $1 AND attempts > 0`, m.ID); err != nil {
		return fmt.Errorf("manifest %d: %w", m.ID, err)
	}
	return nil
}

// A Manifest is a row of manifests, with where it is.
type Manifest struct {
	ID         int64     `json:"id"`
	Repository string    `json:"repository" doc:"REGISTRY/REPOSITORY"`
	Digest     string    `json:"digest"`
	MediaType  string    `json:"media_type,omitempty"`
	Tags       []string  `json:"tags,omitempty"`
	State      string    `json:"state"`
	Reason     string    `json:"reason,omitempty"`
	Priority   int       `json:"priority"`
	Attempts   int       `json:"attempts,omitempty"`
	DueAt      time.Time `json:"due_at,omitzero"`
	FoundAt    time.Time `json:"found_at"`
	ScannedAt  time.Time `json:"scanned_at,omitzero"`
}

const manifestColumns = `m.id, r.name || '/' || p.name, m.digest, m.media_type, m.state, m.reason, m.priority, m.attempts, m.due_at, m.found_at, m.scanned_at`

const manifestTables = ` FROM manifests m JOIN repositories p ON p.id = m.repository JOIN registries r ON r.id = p.registry `

// Manifests lists them by id, those above after, at most limit: of one state, or all
// when it is empty; of the repositories in scope ("REGISTRY/REPOSITORY"; nil is all).
func (d *DB) Manifests(ctx context.Context, scope []string, state string, after int64, limit int) ([]Manifest, error) {
	inScope := ""
	if scope != nil {
		in, err := d.scopeRepositories(ctx, scope)
		if err != nil {
			return nil, fmt.Errorf("manifests: %w", err)
		}
		inScope = ` AND m.repository IN (` + cmp.Or(in, "NULL") + `)`
	}
	out, err := d.readManifests(ctx, `SELECT `+manifestColumns+manifestTables+`WHERE m.id > $1 AND ($2 = '' OR m.state = $2)`+inScope+` ORDER BY m.id LIMIT $3`, after, state, limit)
	if err != nil {
		return nil, fmt.Errorf("manifests: %w", err)
	}
	return out, d.tagsOf(ctx, out)
}

func (d *DB) readManifests(ctx context.Context, query string, args ...any) ([]Manifest, error) {
	rows, err := d.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Manifest
	for rows.Next() {
		var m Manifest
		var due, found, scanned sql.NullInt64
		if err := rows.Scan(&m.ID, &m.Repository, &m.Digest, &m.MediaType, &m.State, &m.Reason, &m.Priority, &m.Attempts, &due, &found, &scanned); err != nil {
			return nil, err
		}
		m.DueAt, m.FoundAt, m.ScannedAt = fromMicros(due), fromMicros(found), fromMicros(scanned)
		out = append(out, m)
	}
	return out, rows.Err()
}

// tagsOf fills in the tags that name the manifests now.
func (d *DB) tagsOf(ctx context.Context, manifests []Manifest) error {
	if len(manifests) == 0 {
		return nil
	}
	at, ids := map[int64]*Manifest{}, make([]any, len(manifests))
	for i := range manifests {
		at[manifests[i].ID], ids[i] = &manifests[i], manifests[i].ID
	}
	rows, err := d.db.QueryContext(ctx, `SELECT manifest, name FROM tags WHERE to_at IS NULL AND manifest IN (`+placeholders(1, len(ids))+`) ORDER BY name`, ids...)
	if err != nil {
		return fmt.Errorf("manifests: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var tag string
		if err := rows.Scan(&id, &tag); err != nil {
			return fmt.Errorf("manifests: %w", err)
		}
		at[id].Tags = append(at[id].Tags, tag)
	}
	return rows.Err()
}

// Manifest is one by its id; ErrNotFound when there is none.
func (d *DB) Manifest(ctx context.Context, id int64) (*Manifest, error) {
	found, err := d.readManifests(ctx, `SELECT `+manifestColumns+manifestTables+`WHERE m.id = $1`, id)
	if err == nil && len(found) == 0 {
		err = ErrNotFound
	}
	if err == nil {
		err = d.tagsOf(ctx, found)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest %d: %w", id, err)
	}
	return &found[0], nil
}

// Rescan lets manifests be scanned anew, with a priority; those that are being scanned
// are left alone. It gives the ids of those that are due now.
func (d *DB) Rescan(ctx context.Context, priority int, ids ...int64) (due []int64, err error) {
	for _, id := range ids {
		var got int64
		err := d.db.QueryRowContext(ctx, `UPDATE manifests SET state = 'due', reason = '', attempts = 0, due_at = $1, priority = $2
			WHERE id = $3 AND (state <> 'scanning' OR due_at <= $1) RETURNING id`, d.now().UnixMicro(), priority, id).Scan(&got)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("manifest %d: %w", id, err)
		}
		due = append(due, got)
	}
	return due, nil
}

// RescanOld lets the manifests be scanned anew, with the lowest priority, whose images
// were seen by another set of analyzers than this one: those that a tag names now, of
// registries that are read. At most limit at a time; it gives how many.
func (d *DB) RescanOld(ctx context.Context, set string, limit int) (int64, error) {
	n, err := affected(d.db.ExecContext(ctx, `UPDATE manifests SET state = 'due', attempts = 0, due_at = $1, priority = 4 WHERE state = 'scanned' AND id IN (
		SELECT mi.manifest FROM images i JOIN manifest_images mi ON mi.image = i.id JOIN manifests m ON m.id = mi.manifest AND m.state = 'scanned'
		JOIN repositories p ON p.id = m.repository JOIN registries r ON r.id = p.registry
		WHERE i.analyzer_set <> $2 AND r.kind = 'crawled' AND EXISTS (SELECT 1 FROM tags t WHERE t.manifest = m.id AND t.to_at IS NULL) LIMIT $3)`,
		d.now().UnixMicro(), set, limit))
	if err != nil {
		return 0, fmt.Errorf("manifests: %w", err)
	}
	return n, nil
}

// ParkDue gives up a manifest that waits to be scanned, for a reason.
func (d *DB) ParkDue(ctx context.Context, id int64, reason string) error {
	if _, err := d.db.ExecContext(ctx, `UPDATE manifests SET state = 'parked', reason = $1, due_at = NULL WHERE id = $2 AND state = 'due'`, reason, id); err != nil {
		return fmt.Errorf("manifest %d: %w", id, err)
	}
	return nil
}
