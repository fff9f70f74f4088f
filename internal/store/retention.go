package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// Retained tells what retention deleted.
type Retained struct {
	Images, Manifests, Tags, Segments, Layers, Packages, Findings, Violations, Notifications, Audit int64
}

// retainBatch is how many rows are deleted in one transaction, so that nobody waits
// long.
const retainBatch = 500

// Retain deletes what nobody needs any more: images that no tag has named for as long
// as keep, that were scanned before then too, with their violations; what of layers and
// packages no image has then; and of history (tags, closed findings, resolved
// violations, notifications that were sent, the audit log) what is older than history.
// A history of 0 keeps all of it. It may be broken off at any time.
func (d *DB) Retain(ctx context.Context, keep, history time.Duration) (Retained, error) {
	var out Retained
	if err := d.retain(ctx, keep, history, &out); err != nil {
		return out, fmt.Errorf("retention: %w", err)
	}
	return out, nil
}

func (d *DB) retain(ctx context.Context, keep, history time.Duration, out *Retained) error {
	now := d.now()
	unused := now.Add(-keep).UnixMicro()
	steps := []struct {
		n      *int64
		query  string
		before int64
	}{
		{&out.Images, `DELETE FROM images WHERE id IN (SELECT i.id FROM images i WHERE i.scanned_at < $1
			AND NOT EXISTS (SELECT 1 FROM manifest_images mi JOIN tags t ON t.manifest = mi.manifest WHERE mi.image = i.id AND (t.to_at IS NULL OR t.to_at >= $1))
			AND NOT EXISTS (SELECT 1 FROM manifest_images mi JOIN manifests m ON m.id = mi.manifest WHERE mi.image = i.id AND m.found_at >= $1) ORDER BY i.id LIMIT 500)`, unused},
		{&out.Manifests, `DELETE FROM manifests WHERE id IN (SELECT m.id FROM manifests m WHERE m.found_at < $1 AND m.state <> 'scanning'
			AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.manifest = m.id AND (t.to_at IS NULL OR t.to_at >= $1))
			AND NOT EXISTS (SELECT 1 FROM manifest_images mi WHERE mi.manifest = m.id) LIMIT 500)`, unused},
		{&out.Segments, `DELETE FROM segments WHERE id IN (SELECT s.id FROM segments s WHERE NOT EXISTS (SELECT 1 FROM image_layers il WHERE il.segment = s.id) LIMIT 500)`, 0},
		{&out.Layers, `DELETE FROM layers WHERE id IN (SELECT l.id FROM layers l WHERE NOT EXISTS (SELECT 1 FROM image_layers il WHERE il.layer = l.id)
			AND NOT EXISTS (SELECT 1 FROM inventories i WHERE i.layer = l.id AND i.created_at >= $1) LIMIT 500)`, unused},
		{nil, `DELETE FROM chains WHERE id IN (SELECT c.id FROM chains c WHERE NOT EXISTS (SELECT 1 FROM image_layers il WHERE il.chain = c.id) LIMIT 500)`, 0},
		{&out.Packages, `DELETE FROM packages WHERE id IN (SELECT p.id FROM packages p WHERE NOT EXISTS (SELECT 1 FROM segment_packages sp WHERE sp.package = p.id)
			AND NOT EXISTS (SELECT 1 FROM segment_hidden sh WHERE sh.package = p.id) AND NOT EXISTS (SELECT 1 FROM segment_twins st WHERE st.package = p.id)
			AND NOT EXISTS (SELECT 1 FROM segment_twins st WHERE st.twin = p.id) LIMIT 500)`, 0},
		{nil, `DELETE FROM files WHERE id IN (SELECT f.id FROM files f WHERE NOT EXISTS (SELECT 1 FROM segment_files sf WHERE sf.file = f.id)
			AND NOT EXISTS (SELECT 1 FROM segment_files_hidden sh WHERE sh.file = f.id) LIMIT 500)`, 0},
	}
	if history > 0 {
		old := now.Add(-history).UnixMicro()
		steps = append(steps, []struct {
			n      *int64
			query  string
			before int64
		}{
			{&out.Tags, `DELETE FROM tags WHERE id IN (SELECT id FROM tags WHERE to_at < $1 LIMIT 500)`, old},
			{&out.Findings, `DELETE FROM findings WHERE id IN (SELECT id FROM findings WHERE closed_at < $1 LIMIT 500)`, old},
			{&out.Violations, `DELETE FROM violations WHERE id IN (SELECT id FROM violations WHERE resolved_at < $1 LIMIT 500)`, old},
			{&out.Notifications, `DELETE FROM notifications WHERE id IN (SELECT id FROM notifications WHERE delivered_at < $1 LIMIT 500)`, old},
			{&out.Audit, `DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < $1 LIMIT 500)`, old},
		}...)
	}
	for _, s := range steps {
		n, err := d.deleteAll(ctx, s.query, s.before)
		if err != nil {
			return err
		}
		if s.n != nil {
			*s.n = n
		}
	}
	return nil
}

// deleteAll deletes batch by batch. What an instance has come to refer to meanwhile
// stays for the next time.
func (d *DB) deleteAll(ctx context.Context, query string, before int64) (total int64, err error) {
	for {
		var n int64
		err := d.retryTx(ctx, func() error {
			return d.inTx(ctx, func(tx *sql.Tx) error {
				// What is written while it is deleted refers to it or is written anew: see retryTx.
				if err := lockCounts(ctx, tx); err != nil {
					return err
				}
				var args []any
				if before != 0 {
					args = []any{before}
				}
				if condition, ok := strings.CutPrefix(query, "DELETE FROM images WHERE "); ok {
					if err := d.touchImages(ctx, tx, condition, args...); err != nil {
						return err
					}
				}
				n, err = affected(tx.ExecContext(ctx, query, args...))
				return err
			})
		})
		total += n
		if err != nil || n < retainBatch {
			return total, err
		}
	}
}
