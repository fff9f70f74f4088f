package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"strata/internal/image"
)

// LoadImage is an image as it was scanned, with its Base and without Content.
func (d *DB) LoadImage(ctx context.Context, id int64) (*image.Image, error) {
	m, err := d.loadImage(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("image %d: %w", id, err)
	}
	return m, nil
}

func (d *DB) loadImage(ctx context.Context, id int64) (*image.Image, error) {
	var doc []byte
	err := d.db.QueryRowContext(ctx, `SELECT document FROM image_documents WHERE image = $1`, id).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return d.decodeDocument(doc)
}

func (d *DB) decodeDocument(doc []byte) (*image.Image, error) {
	text, err := d.dec.DecodeAll(doc, nil)
	if err != nil {
		return nil, err
	}
	m := &image.Image{}
	return m, json.Unmarshal(text, m)
}

// ImagesBelow gives the known images all of whose layers are the lowest of m, those
// with most of them first, for image.RecogniseBase: at most 200, and at most 50 with
// the same layers, those scanned last. They have no Content.
func (d *DB) ImagesBelow(ctx context.Context, m *image.Image) (images []*image.Image, err error) {
	var chains []string
	for _, c := range m.ChainIDs() {
		chains = append(chains, string(c))
	}
	if len(chains) == 0 || len(chains) > maxImageLayers {
		return nil, nil
	}
	rows, err := d.db.QueryContext(ctx, `SELECT doc.document FROM (
			SELECT i.id AS id, i.layers AS layers, ROW_NUMBER() OVER (PARTITION BY i.top ORDER BY i.scanned_at DESC, i.id DESC) AS place
			FROM chains c JOIN images i ON i.top = c.id WHERE c.chain_id IN (`+placeholders(1, len(chains))+`)) near
		JOIN image_documents doc ON doc.image = near.id WHERE place <= `+fmt.Sprint(maxOfStack)+` ORDER BY layers DESC, id DESC LIMIT `+fmt.Sprint(maxKnownImages), anys(chains)...)
	if err != nil {
		return nil, fmt.Errorf("base of %s: %w", m.Reference, err)
	}
	defer rows.Close()
	for rows.Next() {
		var doc []byte
		if err := rows.Scan(&doc); err != nil {
			return nil, fmt.Errorf("base of %s: %w", m.Reference, err)
		}
		below, err := d.decodeDocument(doc)
		if err != nil {
			return nil, fmt.Errorf("base of %s: %w", m.Reference, err)
		}
		images = append(images, below)
	}
	return images, rows.Err()
}

// NameInScope is a name in scope of the image with a digest; empty for one that is not
// known, or not in scope.
func (d *DB) NameInScope(ctx context.Context, digest string, scope []string) (string, error) {
	ids, err := d.ids(ctx, `SELECT id FROM images WHERE digest = $1`, digest)
	if err == nil && len(ids) > 0 {
		var names map[int64]string
		names, err = d.namesOf(ctx, ids, scope)
		if err == nil {
			return names[ids[0]], nil
		}
	}
	if err != nil {
		return "", fmt.Errorf("image %s: %w", digest, err)
	}
	return "", nil
}

// SetManifestImages writes down which images a manifest stands for.
func (d *DB) SetManifestImages(ctx context.Context, manifest int64, images []int64) error {
	err := d.inTx(ctx, func(tx *sql.Tx) error {
		return d.setManifestImages(ctx, tx, manifest, images)
	})
	if err != nil {
		return fmt.Errorf("images of manifest %d: %w", manifest, err)
	}
	return nil
}
