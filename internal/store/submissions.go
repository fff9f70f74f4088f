package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/scan"
)

// RegistryOf is the id and name of the registry that the server reads the images of a
// host from: the one that is crawled, where there is one with that host, or one of kind
// "asked", for the images that Harbor asks to scan, which is made when it isn't there.
func (d *DB) RegistryOf(ctx context.Context, host string) (id int64, name string, err error) {
	id, name, err = d.crawledRegistry(ctx, host)
	if err == nil && id == 0 {
		id, name, err = d.registryOfKind(ctx, "asked", host)
	}
	if err != nil {
		return 0, "", fmt.Errorf("registry of %s: %w", host, err)
	}
	return id, name, nil
}

// RegistryNameOf is the name that RegistryOf gives, without making anything.
func (d *DB) RegistryNameOf(ctx context.Context, host string) (string, error) {
	id, name, err := d.crawledRegistry(ctx, host)
	if err != nil {
		return "", fmt.Errorf("registry of %s: %w", host, err)
	}
	if id == 0 {
		name = hostOf(host)
	}
	return name, nil
}

// crawledRegistry has the id 0 when no registry that is crawled has the host.
func (d *DB) crawledRegistry(ctx context.Context, host string) (id int64, name string, err error) {
	rows, err := d.db.QueryContext(ctx, `SELECT id, name, url FROM registries WHERE kind = 'crawled' ORDER BY id`)
	if err != nil {
		return 0, "", err
	}
	defer rows.Close()
	for rows.Next() {
		var address string
		if err := rows.Scan(&id, &name, &address); err != nil {
			return 0, "", err
		}
		if hostOf(address) == hostOf(host) {
			return id, name, nil
		}
	}
	return 0, "", rows.Err()
}

// registryOfKind is a registry that is not crawled, and made when it isn't there. It has
// the host as name; where a registry of another kind has that, the kind goes before it:
// what users submit must not be taken for what the server has read.
func (d *DB) registryOfKind(ctx context.Context, kind, host string) (id int64, name string, err error) {
	now := d.now().UnixMicro()
	for _, name = range []string{hostOf(host), kind + ":" + hostOf(host)} {
		var found string
		err = d.db.QueryRowContext(ctx, `INSERT INTO registries (name, url, kind, settings, created_at, updated_at) VALUES ($1, $2, $3, '{}', $4, $5)
			ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id, kind`, name, host, kind, now, now).Scan(&id, &found)
		if err != nil || found == kind {
			return id, name, err
		}
	}
	return 0, "", fmt.Errorf("%w: other registries have its names", ErrConflict)
}

// hostOf is the host of a registry's URL, or of a name without a scheme. Docker Hub
// has several.
func hostOf(address string) string {
	host := address
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		host = u.Host
	}
	host, _, _ = strings.Cut(strings.ToLower(host), "/")
	switch host {
	case "", "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return host
}

// KnownLayers are those of the layers of which is known what is in them, as the set of
// analyzers sees it: by the server itself, or by what the user has submitted.
func (d *DB) KnownLayers(ctx context.Context, user int64, set string, ids []image.DiffID) (map[image.DiffID]bool, error) {
	known := map[image.DiffID]bool{}
	for part := range slices.Chunk(ids, 200) {
		places, args := make([]string, len(part)), []any{user, set}
		for i, id := range part {
			places[i] = fmt.Sprintf("$%d", i+3)
			args = append(args, string(id))
		}
		in := strings.Join(places, ", ")
		err := d.collectIDs(ctx, known, `SELECT diff_id FROM submitted_layers WHERE user_id = $1 AND analyzer_set = $2 AND diff_id IN (`+in+`)
			UNION SELECT layers.diff_id FROM layers JOIN inventories ON inventories.layer = layers.id
			WHERE inventories.analyzer_set = $2 AND layers.diff_id IN (`+in+`)`, args...)
		if err != nil {
			return nil, fmt.Errorf("known layers: %w", err)
		}
	}
	return known, nil
}

func (d *DB) collectIDs(ctx context.Context, into map[image.DiffID]bool, query string, args ...any) error {
	rows, err := d.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		into[image.DiffID(id)] = true
	}
	return rows.Err()
}

// PutSubmittedLayer keeps what a user says is in a layer, for the images that the same
// user submits. What was submitted first stays.
func (d *DB) PutSubmittedLayer(ctx context.Context, user int64, set string, l *inventory.Layer) error {
	blob, err := EncodeLayer(l)
	if err == nil {
		_, err = d.db.ExecContext(ctx, `INSERT INTO submitted_layers (user_id, diff_id, analyzer_set, inventory, created_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (user_id, diff_id, analyzer_set) DO NOTHING`, user, string(l.DiffID), set, blob, d.now().UnixMicro())
	}
	if err != nil {
		return fmt.Errorf("submitted layer %s: %w", l.DiffID, err)
	}
	return nil
}

// SubmittedLayers are what one user says is in layers. It implements scan.Cache.
type SubmittedLayers struct {
	DB   *DB
	User int64
}

// LayersOfSubmission is what is known of the layers of an image that a user has
// submitted, by that user; nil for one that the server has read.
func (d *DB) LayersOfSubmission(ctx context.Context, image int64) (scan.Cache, error) {
	var key string
	err := d.db.QueryRowContext(ctx, `SELECT digest FROM images WHERE id = $1`, image).Scan(&key)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("image %d: %w", image, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("image %d: %w", image, err)
	}
	var user int64
	if n, _ := fmt.Sscanf(key, "submitted:%d:", &user); n == 1 { // Contents.key
		return SubmittedLayers{d, user}, nil
	}
	return nil, nil
}

// PutLayer implements scan.Cache.
func (s SubmittedLayers) PutLayer(ctx context.Context, set string, l *inventory.Layer) error {
	return s.DB.PutSubmittedLayer(ctx, s.User, set, l)
}

// Layer implements scan.Cache.
func (s SubmittedLayers) Layer(ctx context.Context, id image.DiffID, set string) (*inventory.Layer, error) {
	l, err := s.DB.SubmittedLayer(ctx, s.User, set, id)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%w: %s", scan.ErrNotCached, id)
	}
	return l, err
}

// SubmittedLayer is what a user says is in a layer; ErrNotFound when nothing.
func (d *DB) SubmittedLayer(ctx context.Context, user int64, set string, id image.DiffID) (*inventory.Layer, error) {
	var blob []byte
	err := d.db.QueryRowContext(ctx, `SELECT inventory FROM submitted_layers WHERE user_id = $1 AND analyzer_set = $2 AND diff_id = $3`, user, set, string(id)).Scan(&blob)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("submitted layer %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("submitted layer %s: %w", id, err)
	}
	return DecodeLayer(blob)
}

// PutSubmitted keeps an image as a user has submitted it: in the registry of kind
// "submitted" for its host, as an image of its own, whatever the server has read of the
// same digest. What another user has submitted of the same name and digest is not named
// by it any more.
func (d *DB) PutSubmitted(ctx context.Context, user int64, host string, n Named, c Contents) (image int64, err error) {
	c.Submitter = user
	if n.Digest == "" {
		n.Digest = imageKey(c.Image)
	}
	if image, err = d.PutImage(ctx, c); err != nil {
		return 0, err
	}
	registry, _, err := d.registryOfKind(ctx, "submitted", host)
	if err == nil {
		err = d.inTx(ctx, func(tx *sql.Tx) error { return d.submitted(ctx, tx, registry, image, n) })
	}
	if err != nil {
		return 0, fmt.Errorf("submitted image %s: %w", n.Repository, err)
	}
	return image, nil
}

// submitted lets a manifest stand for the image; there is nothing to scan.
func (d *DB) submitted(ctx context.Context, tx *sql.Tx, registry, image int64, n Named) error {
	manifest, _, err := d.pushed(ctx, tx, registry, 1, n)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE manifests SET state = 'scanned', due_at = NULL, scanned_at = $1 WHERE id = $2`, d.now().UnixMicro(), manifest); err != nil {
		return err
	}
	return d.setManifestImages(ctx, tx, manifest, []int64{image})
}

// ImageOfManifest is the id of the image that a manifest stands for, the first of an
// index; ErrNotFound when it is not scanned.
func (d *DB) ImageOfManifest(ctx context.Context, manifest int64) (image int64, err error) {
	err = d.db.QueryRowContext(ctx, `SELECT image FROM manifest_images WHERE manifest = $1 ORDER BY image LIMIT 1`, manifest).Scan(&image)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("image of manifest %d: %w", manifest, err)
	}
	return image, nil
}
