package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// tick is how often the schedule is looked at.
const tick = time.Second

// Start works on jobs until Stop. Done with ctx, too, it takes no new jobs.
func (q *Queue) Start(ctx context.Context) error {
	if q.o.DB.Pool() == nil {
		if _, err := q.release(ctx, q.o.Instance, 0); err != nil {
			return fmt.Errorf("queue: %w", err)
		}
	}
	if err := q.client.start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	ctx, q.stopped = context.WithCancel(ctx)
	q.ended = make(chan struct{})
	go func() {
		defer close(q.ended)
		q.schedule(ctx)
	}()
	return nil
}

// Stop takes no new jobs and waits for those at work until ctx is done; then they are
// broken off, to be done again by another instance or at the next start. Where the database
// doesn't answer, they are found again by that this instance is heard of no more.
func (q *Queue) Stop(ctx context.Context) error {
	var err error
	if q.stopped != nil {
		q.stopped()
		<-q.ended
		if err = q.client.stop(ctx); ctx.Err() != nil {
			const patience = 5 * time.Second
			hard, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			defer cancel()
			err = q.client.stopAndCancel(hard)
			if errors.Is(err, context.DeadlineExceeded) {
				q.o.Log.WarnContext(ctx, "how jobs ended could not be noted in time; they will be done again")
				err = nil
			}
		}
	}
	if err = errors.Join(err, q.client.close()); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	return nil
}

// schedule makes the jobs that are due again and again, and takes over those of instances
// that are gone. What fails because the database doesn't answer is told once.
func (q *Queue) schedule(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	w := &watch{q: q}
	away := false
	for {
		err := errors.Join(q.makeAllDue(ctx), w.look(ctx))
		if _, can := q.works[Reconcile]; can && err == nil && q.lost.Swap(false) {
			err = q.Enqueue(ctx, Job{Kind: Reconcile, Priority: ForNews})
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && away:
			q.o.Log.InfoContext(ctx, "the schedule goes on")
		case err != nil && !away:
			q.o.Log.ErrorContext(ctx, "schedule", "error", err)
		}
		away = err != nil
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// makeAllDue makes the jobs that are due, up to the first that fails.
func (q *Queue) makeAllDue(ctx context.Context) error {
	for _, w := range q.o.Works {
		if w.Every <= 0 || ctx.Err() != nil {
			continue
		}
		if err := q.makeDue(ctx, w); err != nil {
			return fmt.Errorf("%s: %w", w.Kind, err)
		}
	}
	return nil
}

func (q *Queue) makeDue(ctx context.Context, w Work) error {
	due, err := q.o.DB.TakeDue(ctx, string(w.Kind), w.Every)
	if err != nil || !due && !q.owed[w.Kind] {
		return err
	}
	// What was taken and could not be made is made the next time, not a period later.
	err = q.Enqueue(ctx, Job{Kind: w.Kind, Priority: ForNews})
	q.owed[w.Kind] = err != nil
	return err
}

// Ready tells why the queue can't work now; nil when it can.
func (q *Queue) Ready(ctx context.Context) error {
	_, err := q.List(ctx, Filter{Limit: 1})
	return err
}
