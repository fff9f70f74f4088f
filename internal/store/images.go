package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"strata/internal/image"
)

// imageSchema are the tables of the images seen. A reference that was seen with
// several contents has a row for each: what stands on an old one is recognised
// by it. image_layers has a row for each layer with the chain id of the stack up
// to it, so that images with a stack in common meet in one index.
const imageSchema = `
DROP TABLE IF EXISTS image_layers;
DROP TABLE IF EXISTS images;
CREATE TABLE images (
	id            INTEGER PRIMARY KEY,
	reference     TEXT NOT NULL,
	repository    TEXT NOT NULL,
	tag           TEXT NOT NULL,
	digest        TEXT NOT NULL,
	config_digest TEXT NOT NULL,
	platform      TEXT NOT NULL,
	created_at    TEXT NOT NULL,
	seen_at       TEXT NOT NULL,
	layers        INTEGER NOT NULL,
	image         BLOB NOT NULL,
	UNIQUE (reference, config_digest)
);
CREATE INDEX images_repository ON images (repository, platform);
CREATE TABLE image_layers (
	image    INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
	position INTEGER NOT NULL,
	diff_id  TEXT NOT NULL,
	chain_id TEXT NOT NULL,
	PRIMARY KEY (image, position)
) WITHOUT ROWID;
CREATE INDEX image_layers_chain ON image_layers (chain_id);`

const (
	// maxImageLayers is how many layers an image has that is kept; builders make
	// 127 at most.
	maxImageLayers = 1000
	// maxKnownImages bounds what one question gives.
	maxKnownImages = 200
	// maxOfStack is how many of them may have the same layers: builds that change no
	// more than a label are not to hide what they stand on.
	maxOfStack = 50
	// seenFormat orders as text as times do.
	seenFormat = "2006-01-02T15:04:05.000000000Z"
)

// PutImage keeps that the image was seen: its names, digests, history and layers,
// not their content. An image without layers that can be told is left out.
func (c *Cache) PutImage(ctx context.Context, m *image.Image, now time.Time) error {
	if len(m.Layers) == 0 || len(m.Layers) > maxImageLayers || m.ConfigDigest == "" {
		return nil
	}
	if err := c.putImage(ctx, m, now); err != nil {
		return fmt.Errorf("cache: image %s: %w", m.Reference, err)
	}
	return nil
}

func (c *Cache) putImage(ctx context.Context, m *image.Image, now time.Time) error {
	kept := *m
	kept.Content, kept.Base = nil, nil
	doc, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	var id int64
	err = tx.QueryRowContext(ctx, `INSERT INTO images (reference, repository, tag, digest, config_digest, platform, created_at, seen_at, layers, image)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (reference, config_digest) DO UPDATE SET repository = excluded.repository, tag = excluded.tag, digest = excluded.digest,
			platform = excluded.platform, created_at = excluded.created_at, seen_at = excluded.seen_at, layers = excluded.layers, image = excluded.image
		RETURNING id`,
		m.Reference, m.Repository, m.Tag, string(m.Digest), string(m.ConfigDigest), m.Platform.String(),
		m.Created.UTC().Format(time.RFC3339), now.UTC().Format(seenFormat), len(m.Layers), c.enc.EncodeAll(doc, nil)).Scan(&id)
	if err != nil {
		return err
	}
	// One configuration has one list of layers, so rows that are there are right.
	rows := make([]string, len(m.Layers))
	args := []any{id}
	for i, chain := range m.ChainIDs() {
		rows[i] = fmt.Sprintf("($1, %d, $%d, $%d)", i, 2*i+2, 2*i+3)
		args = append(args, string(m.Layers[i].DiffID), string(chain))
	}
	if _, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO image_layers (image, position, diff_id, chain_id) VALUES "+strings.Join(rows, ", "), args...); err != nil {
		return err
	}
	return tx.Commit()
}

// ImagesBelow gives the images seen all of whose layers are the lowest of m, those
// with most of them first; of many with the same layers those seen last. They have
// no Content.
func (c *Cache) ImagesBelow(ctx context.Context, m *image.Image) ([]*image.Image, error) {
	if len(m.Layers) > maxImageLayers {
		return nil, nil
	}
	places, args := make([]string, len(m.Layers)), make([]any, len(m.Layers))
	for i, chain := range m.ChainIDs() {
		places[i], args[i] = fmt.Sprintf("$%d", i+1), string(chain)
	}
	images, err := c.images(ctx, `SELECT i.image FROM (
			SELECT i.id, ROW_NUMBER() OVER (PARTITION BY i.layers ORDER BY i.seen_at DESC, i.id DESC) AS place
			FROM image_layers l JOIN images i ON i.id = l.image AND l.position = i.layers - 1 WHERE l.chain_id IN (`+strings.Join(places, ", ")+`)
		) near JOIN images i ON i.id = near.id WHERE near.place <= `+fmt.Sprint(maxOfStack)+`
		ORDER BY i.layers DESC, i.seen_at DESC, i.id DESC LIMIT `+fmt.Sprint(maxKnownImages), args...)
	if err != nil {
		return nil, fmt.Errorf("cache: base of %s: %w", m.Reference, err)
	}
	return images, nil
}

// ImagesOf gives the images seen of a repository and platform (image.Platform's
// String), what each tag named last, the newest first. They have no Content.
func (c *Cache) ImagesOf(ctx context.Context, repository, platform string) ([]*image.Image, error) {
	images, err := c.images(ctx, `SELECT image FROM images i WHERE repository = $1 AND platform = $2 AND NOT EXISTS (
			SELECT 1 FROM images n WHERE n.repository = i.repository AND n.platform = i.platform AND n.tag = i.tag AND (n.seen_at, n.id) > (i.seen_at, i.id))
		ORDER BY created_at DESC, id DESC LIMIT `+fmt.Sprint(maxKnownImages), repository, platform)
	if err != nil {
		return nil, fmt.Errorf("cache: images of %s: %w", repository, err)
	}
	return images, nil
}

func (c *Cache) images(ctx context.Context, query string, args ...any) (images []*image.Image, err error) {
	rows, err := c.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var blob sql.RawBytes
		if err := rows.Scan(&blob); err != nil {
			return nil, err
		}
		if m := c.decodeImage(blob); m != nil { // a damaged row is as good as none
			images = append(images, m)
		}
	}
	return images, rows.Err()
}

// decodeImage is nil for a row that is damaged.
func (c *Cache) decodeImage(blob []byte) *image.Image {
	doc, err := c.dec.DecodeAll(blob, nil)
	if err != nil {
		return nil
	}
	m := &image.Image{}
	if json.Unmarshal(doc, m) != nil || len(m.Layers) == 0 || len(m.Layers) > maxImageLayers {
		return nil
	}
	return m
}

// Images gives all images seen, those seen last first. They have no Content.
func (c *Cache) Images(ctx context.Context) ([]*image.Image, error) {
	images, err := c.images(ctx, `SELECT image FROM images ORDER BY seen_at DESC, id DESC`)
	if err != nil {
		return nil, fmt.Errorf("cache: images: %w", err)
	}
	return images, nil
}
