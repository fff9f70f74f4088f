package jobs

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"strata/internal/store"
)

// An atWork is the jobs that this instance works on.
type atWork struct {
	mu   sync.Mutex
	jobs map[int64]bool
}

// begin notes a job; the caller calls end when it has ended.
func (a *atWork) begin(job int64) (end func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.jobs == nil {
		a.jobs = map[int64]bool{}
	}
	a.jobs[job] = true
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.jobs, job)
	}
}

func (a *atWork) has(job int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.jobs[job]
}

// A watch is how an instance looks after the work of the others, and its own.
type watch struct {
	q *Queue
	// since is since when it has looked without a pause; last is when it did last.
	since, last time.Time
	// left are jobs of this instance that are noted as running, and that it doesn't work
	// on, with when that was first seen.
	left map[int64]time.Time
}

// look takes over what those did that are heard of no more. Who was away itself, as it was
// stopped, or the database was or took nothing, can't tell who else was: it waits as long
// before it holds others to be gone, so that they can be heard of again.
func (w *watch) look(ctx context.Context) error {
	const pause = 5 * time.Second
	now := time.Now()
	if now.Sub(w.last) > pause {
		w.since = now
	}
	if w.q.o.DB.Pool() == nil { // there are no others
		w.since = now.Add(-store.SilentAfter)
	}
	gone, err := w.q.o.DB.SilentInstances(ctx, store.SilentAfter)
	if err != nil {
		w.last = time.Time{}
		return err
	}
	w.last = now
	if w.q.o.DB.Pool() != nil && slices.Contains(gone, w.q.o.Instance) {
		w.since = now
	}
	if now.Sub(w.since) < store.SilentAfter {
		return nil
	}
	if err := w.ownLeft(ctx); err != nil {
		return err
	}
	for _, instance := range gone {
		if instance == w.q.o.Instance {
			continue
		}
		n, err := w.takeOver(ctx, instance)
		if err != nil {
			return fmt.Errorf("jobs of %s: %w", instance, err)
		}
		if n > 0 {
			w.q.o.Log.WarnContext(ctx, "an instance is heard of no more; its jobs are taken over", "instance", instance, "jobs", n)
		}
	}
	return w.overdue(ctx)
}

// takeOver lets the jobs be done again that an instance did which is gone. Its claims end
// first: a job that is done again before they have would find that another has them, and
// end; what is made of them later (overdue) has to queue behind all that has come since.
func (w *watch) takeOver(ctx context.Context, instance string) (int64, error) {
	if err := w.q.o.DB.ExpireClaims(ctx, instance); err != nil {
		return 0, err
	}
	if w.q.o.DB.Pool() == nil { // there was one instance: its jobs were released at the start of this one
		return 0, nil
	}
	return w.q.release(ctx, instance, 0)
}

// overdue makes jobs of manifests whose claim has run out.
func (w *watch) overdue(ctx context.Context) error {
	const most = 500
	due, err := w.q.o.DB.OverdueManifests(ctx, most)
	if err != nil {
		return err
	}
	again := make([]Job, len(due))
	for i, m := range due {
		again[i] = Job{Kind: Scan, Key: strconv.FormatInt(m.ID, 10), Priority: Priority(m.Priority)}
	}
	return w.q.Enqueue(ctx, again...)
}

// ownLeft releases jobs that are noted as running here and are not worked on: the note of
// their end was lost with the database's connection.
func (w *watch) ownLeft(ctx context.Context) error {
	const patience, most = 30 * time.Second, 1000
	running, err := w.q.List(ctx, Filter{States: []State{Running}, Limit: most})
	if err != nil {
		return err
	}
	left := map[int64]time.Time{}
	for i := range running {
		j := &running[i]
		if j.Instance != w.q.o.Instance || w.q.atWork.has(j.ID) {
			continue
		}
		first, seen := w.left[j.ID]
		if !seen {
			first = time.Now()
		}
		if time.Since(first) < patience {
			left[j.ID] = first
			continue
		}
		if _, err := w.q.release(ctx, w.q.o.Instance, j.ID); err != nil {
			return err
		}
	}
	w.left = left
	return nil
}

// release lets the jobs be done again that an instance is noted to work on: all, or the one
// with an id (0 is all). They keep their place in the queue, before what came after them.
// Those that were tried often enough are given up.
func (q *Queue) release(ctx context.Context, instance string, id int64) (int64, error) {
	query := releasePostgres
	if q.o.DB.Pool() == nil {
		query = releaseSQLite
	}
	return q.client.exec(ctx, query, instance, id)
}

// River has it for jobs that run for too long, not for those of an instance. attempted_by
// has the instance of each attempt, the last being the one that counts.
const (
	releasePostgres = `UPDATE river_job SET
		state = CASE WHEN metadata ? 'cancel_attempted_at' THEN 'cancelled' WHEN attempt >= max_attempts THEN 'discarded' ELSE 'available' END::river_job_state,
		finalized_at = CASE WHEN metadata ? 'cancel_attempted_at' OR attempt >= max_attempts THEN now() END,
		errors = array_append(errors, jsonb_build_object('at', now(), 'attempt', attempt, 'error', 'the instance that did it is heard of no more', 'trace', ''))
		WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] = $1 AND (id = $2 OR $2 = 0)`
	// There is one instance on SQLite: what is noted of another, an earlier one left.
	releaseSQLite = `UPDATE river_job SET
		state = CASE WHEN json_type(metadata, '$.cancel_attempted_at') IS NOT NULL THEN 'cancelled' WHEN attempt >= max_attempts THEN 'discarded' ELSE 'available' END,
		finalized_at = CASE WHEN json_type(metadata, '$.cancel_attempted_at') IS NOT NULL OR attempt >= max_attempts THEN datetime('now', 'subsec') END,
		errors = jsonb(json_insert(json(coalesce(errors, jsonb('[]'))), '$[#]', json_object('at', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'attempt', attempt, 'error', 'the instance that did it is heard of no more', 'trace', '')))
		WHERE state = 'running' AND (json_extract(attempted_by, '$[#-1]') <> $1 AND $2 = 0 OR id = $2)`
)
