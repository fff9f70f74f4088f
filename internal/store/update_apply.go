package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"strings"

	"strata/internal/advisory"
)

// apply takes a plan in, in one transaction: all of it or nothing. What goes
// wrong with the mirror is noted; the error is for the database and ctx.
func (u *update) apply(ctx context.Context, p *plan) error {
	result := EcosystemUpdate{Ecosystem: p.ecosystem, Err: p.err}
	if p.err == nil {
		written, news := maps.Clone(u.written), maps.Clone(u.news)
		err := u.part(ctx, func(tx *sql.Tx) error { return u.applyIn(ctx, tx, p, &result) })
		switch {
		case errors.Is(err, errUnusable):
			u.written, u.news, result.Err = written, news, err
		case err != nil:
			return errors.Join(err, p.close())
		}
	}
	if err := p.close(); err != nil && result.Err == nil {
		result.Err = err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if result.Err != nil {
		// Nothing of it was kept.
		result.Changed, result.Removed = 0, 0
	}
	u.summary.Ecosystems = append(u.summary.Ecosystems, result)
	return nil
}

// errUnusable is when so much of a feed can't be read that it is broken.
var errUnusable = errors.New("the feed is broken")

func (u *update) applyIn(ctx context.Context, tx *sql.Tx, p *plan, result *EcosystemUpdate) error {
	w, err := newWriter(ctx, tx, u, p.ecosystem)
	if err != nil {
		return err
	}
	defer w.close()
	done := 0
	readable := 0
	var firstErr, writeErr error
	for f := range p.records(ctx) {
		done++
		if writeErr != nil {
			continue // drain
		}
		if done%500 == 0 || done == len(p.changed) {
			u.o.Progress(Progress{Ecosystem: p.ecosystem, Done: done, Total: len(p.changed)})
		}
		if f.err != nil {
			if firstErr == nil {
				firstErr = f.err
			}
			result.UnreadableCount++
			if len(result.Unreadable) < keepErrors {
				result.Unreadable = append(result.Unreadable, f.err.Error())
			}
			continue
		}
		readable++
		if writeErr = w.put(ctx, f.record, p); writeErr == nil && f.record.Withdrawn.IsZero() {
			result.Changed++
		}
	}
	if err := errors.Join(writeErr, context.Cause(ctx)); err != nil {
		return err
	}
	if result.UnreadableCount > readable && result.UnreadableCount > len(p.changed)/2 && len(p.changed) > 0 {
		return fmt.Errorf("%w: %d of %d records can't be read, the first: %w", errUnusable, result.UnreadableCount, len(p.changed), firstErr)
	}
	if err := w.drop(ctx, p.vanished); err != nil {
		return err
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	result.Removed = len(p.vanished) + w.withdrawn
	u.dirty = u.dirty || result.Changed+result.Removed > 0
	return u.noteSource(ctx, tx, p.ecosystem, result)
}

// noteSource writes when and from where the ecosystem was brought up to date.
func (u *update) noteSource(ctx context.Context, tx *sql.Tx, ecosystem string, result *EcosystemUpdate) error {
	var newest string
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(MAX(a.modified), '')
		FROM advisory_feed f JOIN advisories a ON a.id = f.advisory WHERE f.ecosystem = $1`, ecosystem).Scan(&result.Records, &newest)
	if err != nil {
		return err
	}
	starter := 0
	if u.mirror.Starter() {
		starter = 1
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO advisory_sources (ecosystem, mirror, starter, synced_at, records, newest)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (ecosystem) DO UPDATE SET mirror = excluded.mirror, starter = excluded.starter,
			synced_at = excluded.synced_at, records = excluded.records, newest = excluded.newest`,
		ecosystem, u.mirror.Location(), starter, formatTime(u.now), result.Records, newest)
	return err
}

// A writer writes one ecosystem's records.
type writer struct {
	tx        *sql.Tx
	u         *update
	ecosystem string

	advisories, packages, feed *bulk
	// replaced and refed are ids whose old rows go before the new ones come.
	replaced, refed []string
	queued          []func(context.Context) error
	withdrawn       int
}

func newWriter(ctx context.Context, tx *sql.Tx, u *update, ecosystem string) (*writer, error) {
	w := &writer{tx: tx, u: u, ecosystem: ecosystem}
	var err error
	if w.advisories, err = newBulk(ctx, tx, "advisories", "id", "modified", "published", "summary", "rating", "links", "same"); err != nil {
		return nil, err
	}
	if w.packages, err = newBulk(ctx, tx, "advisory_packages", "ecosystem", "name", "advisory", "ranges", "versions", "rating"); err != nil {
		return nil, err
	}
	w.feed, err = newBulk(ctx, tx, "advisory_feed", "ecosystem", "advisory", "modified")
	return w, err
}

// writeBatch is how many records are replaced at once.
const writeBatch = 300

// put queues a record. A withdrawn one stays in the feed, so that it isn't read
// again, and leaves all else.
func (w *writer) put(ctx context.Context, r advisory.Record, p *plan) error {
	modified := formatTime(r.Modified)
	feedTime := modified
	if listed, ok := p.listed[r.ID]; ok && listed <= modified {
		// The next update compares with the list. A record older than its list
		// says keeps its own time, and so is read again.
		feedTime = listed
	}
	if _, ok := p.stored[r.ID]; ok {
		w.refed = append(w.refed, r.ID)
	}
	w.queued = append(w.queued, func(ctx context.Context) error { return w.feed.add(ctx, w.ecosystem, r.ID, feedTime) })

	if before, ok := w.u.written[r.ID]; ok && !r.Modified.After(before) {
		return w.flushFull(ctx)
	}
	w.u.written[r.ID] = r.Modified
	if _, ok := w.u.stored[r.ID]; ok {
		w.replaced = append(w.replaced, r.ID)
		if !r.Withdrawn.IsZero() {
			w.withdrawn++
		}
	}
	if r.Withdrawn.IsZero() {
		w.u.stored[r.ID] = modified
		w.queued = append(w.queued, func(ctx context.Context) error { return w.insert(ctx, &r) })
	} else {
		delete(w.u.stored, r.ID)
	}
	return w.flushFull(ctx)
}

func (w *writer) flushFull(ctx context.Context) error {
	if len(w.queued) < writeBatch {
		return nil
	}
	return w.flush(ctx)
}

func (w *writer) insert(ctx context.Context, r *advisory.Record) error {
	names := r.Names()
	err := w.advisories.add(ctx, r.ID, formatTime(r.Modified), formatTime(r.Published), r.Summary,
		advisory.EncodeRating(r.Rating), strings.Join(r.References, " "), strings.Join(names.Same, " "))
	if err != nil {
		return err
	}
	for _, e := range r.Entries() {
		w.u.tell(e.Key)
		err := w.packages.add(ctx, e.Key.Ecosystem, e.Key.Name, r.ID,
			advisory.EncodeRanges(e.Affected.Ranges), strings.Join(e.Affected.Versions, "\n"), advisory.EncodeRating(e.Affected.Rating))
		if err != nil {
			return err
		}
	}
	return nil
}

// flush deletes the old rows of what is queued and inserts the new ones.
func (w *writer) flush(ctx context.Context) error {
	if err := w.u.deleteRecords(ctx, w.replaced); err != nil {
		return err
	}
	if err := w.unfeed(ctx, w.refed); err != nil {
		return err
	}
	for _, insert := range w.queued {
		if err := insert(ctx); err != nil {
			return err
		}
	}
	w.replaced, w.refed, w.queued = w.replaced[:0], w.refed[:0], w.queued[:0]
	return errors.Join(w.advisories.flush(ctx), w.packages.flush(ctx), w.feed.flush(ctx))
}

func (u *update) deleteRecords(ctx context.Context, ids []string) error {
	if err := u.tellOf(ctx, ids); err != nil {
		return err
	}
	return errors.Join(deleteIn(ctx, u.tx, "advisories", "id", ids), deleteIn(ctx, u.tx, "advisory_packages", "advisory", ids))
}

// unfeed takes records out of the ecosystem's feed.
func (w *writer) unfeed(ctx context.Context, ids []string) error {
	stmt, err := w.tx.PrepareContext(ctx, `DELETE FROM advisory_feed WHERE ecosystem = $1 AND advisory = $2`)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for _, id := range ids {
		if _, err := stmt.ExecContext(ctx, w.ecosystem, id); err != nil {
			return err
		}
	}
	return nil
}

// drop takes vanished records out of the feed, and those that are in no other
// feed out of the database.
func (w *writer) drop(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	if err := w.unfeed(ctx, ids); err != nil {
		return err
	}
	for _, id := range ids {
		var n int
		if err := w.tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM advisory_feed WHERE advisory = $1`, id).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		delete(w.u.stored, id)
		if err := w.u.deleteRecords(ctx, []string{id}); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) close() {
	for _, b := range [...]*bulk{w.advisories, w.packages, w.feed} {
		if b != nil {
			// A statement's close only frees memory; the transaction's end tells
			// whether the rows are in.
			_ = b.close()
		}
	}
}
