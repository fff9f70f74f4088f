package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// tellImages brings the counts of the images that hold packages with changed findings
// up to date, and makes watches judge these images again.
func (w *findingsWriter) tellImages(ctx context.Context) error {
	touched := slices.Sorted(maps.Keys(w.touched))
	twins, err := queryIDs(ctx, w.tx.QueryContext, `SELECT package FROM segment_twins WHERE package IN (`+idList(touched)+`)
		UNION SELECT twin FROM segment_twins WHERE twin IN (`+idList(touched)+`)`)
	if err != nil {
		return err
	}
	if err := w.addCounts(ctx); err != nil {
		return err
	}
	if len(twins) > 0 {
		// Whether a finding of these counts depends on those of others.
		images, err := queryIDs(ctx, w.tx.QueryContext, `SELECT DISTINCT il.image FROM image_layers il JOIN segment_packages sp ON sp.segment = il.segment WHERE sp.package IN (`+idList(twins)+`) ORDER BY il.image`)
		if err != nil {
			return err
		}
		if err := countImages(ctx, w.tx, images); err != nil {
			return err
		}
	}
	r, err := w.tx.ExecContext(ctx, `UPDATE watched_images SET due_at = $1 WHERE (due_at IS NULL OR due_at > $1) AND image IN (
		SELECT il.image FROM image_layers il JOIN segment_packages sp ON sp.segment = il.segment WHERE sp.package IN (`+idList(touched)+`))`, w.now)
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	w.images += int(n)
	return err
}

// addCounts adds the changes of the numbers of findings to those of the images in
// which the packages are present: see presentOf.
func (w *findingsWriter) addCounts(ctx context.Context) error {
	var values []string
	packages := map[int64]bool{}
	for k, n := range w.delta {
		if n != 0 {
			values = append(values, fmt.Sprintf("(%d, %d, %d)", k[0], k[1], n))
			packages[k[0]] = true
		}
	}
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	_, err := w.tx.ExecContext(ctx, `WITH present AS (`+presentOf(idList(slices.Sorted(maps.Keys(packages))))+`),
		delta (package, severity, n) AS (VALUES `+strings.Join(values, ", ")+`),
		hit AS (SELECT p.image AS image, `+countColumns(`SUM(CASE WHEN d.severity = %[1]d THEN d.n ELSE 0 END) AS %[2]s`)+` FROM present p JOIN delta d ON d.package = p.package GROUP BY p.image)
		UPDATE image_counts SET `+countColumns(`%[2]s = image_counts.%[2]s + hit.%[2]s`)+` FROM hit WHERE image_counts.image = hit.image`)
	return err
}
