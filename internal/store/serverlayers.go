package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/scan"
)

// Layer implements scan.Cache: what is in a layer, for all instances.
func (d *DB) Layer(ctx context.Context, id image.DiffID, set string) (*inventory.Layer, error) {
	var blob []byte
	err := d.db.QueryRowContext(ctx, `SELECT i.inventory FROM layers l JOIN inventories i ON i.layer = l.id WHERE l.diff_id = $1 AND i.analyzer_set = $2`, string(id), set).Scan(&blob)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: %s", scan.ErrNotCached, id)
	}
	if err != nil {
		// Unlike with the cache of the command line, it is not as good as none: what the
		// database has must not be read again because it did not answer.
		return nil, fmt.Errorf("layer %s: %w", id, err)
	}
	l, err := (&Cache{dec: d.dec}).decode(blob)
	if err == nil && l.DiffID != id {
		err = fmt.Errorf("it is of layer %s", l.DiffID)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: its row is damaged: %w", scan.ErrNotCached, id, err)
	}
	return l, nil
}

// PutLayer implements scan.Cache. It counts the analysis. What is in a layer depends on
// its content and the set of analyzers alone, so the first result stays: one that comes
// late, of a worker whose claim had run out, changes nothing. Only a damaged row is
// replaced.
func (d *DB) PutLayer(ctx context.Context, set string, l *inventory.Layer) error {
	blob, err := (&Cache{enc: d.enc}).encode(l)
	if err == nil {
		err = d.inTx(ctx, func(tx *sql.Tx) error { return d.putLayer(ctx, tx, set, l, blob) })
	}
	if err != nil {
		return fmt.Errorf("layer %s: %w", l.DiffID, err)
	}
	return nil
}

func (d *DB) putLayer(ctx context.Context, tx *sql.Tx, set string, l *inventory.Layer, blob []byte) error {
	var id int64
	err := tx.QueryRowContext(ctx, `INSERT INTO layers (diff_id, size, analyses) VALUES ($1, $2, 1)
		ON CONFLICT (diff_id) DO UPDATE SET size = excluded.size, analyses = layers.analyses + 1 RETURNING id`, string(l.DiffID), l.Size).Scan(&id)
	if err != nil {
		return err
	}
	err = changed(tx.ExecContext(ctx, `INSERT INTO inventories (layer, analyzer_set, inventory, created_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (layer, analyzer_set) DO NOTHING`, id, set, blob, d.now().UnixMicro()))
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	var there []byte
	if err := tx.QueryRowContext(ctx, `SELECT inventory FROM inventories WHERE layer = $1 AND analyzer_set = $2`, id, set).Scan(&there); err != nil {
		return err
	}
	if old, err := (&Cache{dec: d.dec}).decode(there); err == nil && old.DiffID == l.DiffID {
		return nil
	}
	_, err = tx.ExecContext(ctx, `UPDATE inventories SET inventory = $1, created_at = $2 WHERE layer = $3 AND analyzer_set = $4`, blob, d.now().UnixMicro(), id, set)
	return err
}

// LayerAnalyses is how often each layer was analysed, by diff id.
func (d *DB) LayerAnalyses(ctx context.Context) (map[image.DiffID]int, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT diff_id, analyses FROM layers`)
	if err != nil {
		return nil, fmt.Errorf("layers: %w", err)
	}
	defer rows.Close()
	out := map[image.DiffID]int{}
	for rows.Next() {
		var id string
		var n int
		if err := rows.Scan(&id, &n); err != nil {
			return nil, fmt.Errorf("layers: %w", err)
		}
		out[image.DiffID(id)] = n
	}
	return out, rows.Err()
}
