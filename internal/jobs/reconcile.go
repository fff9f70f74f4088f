package jobs

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"strata/internal/store"
)

// Reconciles makes jobs of what the rows say is due, so that a job that was lost is
// made again. DB and Enqueue are needed.
type Reconciles struct {
	DB      *store.DB
	Enqueue func(context.Context, ...Job) error
	// More gives other jobs that are due, such as Match where packages are; may be nil.
	More func(context.Context) ([]Job, error)
	// AnalyzerSet is that of this instance: what another one has seen is scanned anew.
	// It is looked for once, as instances of two versions would take turns. Empty is
	// not to look.
	AnalyzerSet string
	// Every is how often it is done; 0 means a minute.
	Every time.Duration

	looked atomic.Bool
}

// Work is that of the queue.
func (r *Reconciles) Work() Work {
	every := r.Every
	if every <= 0 {
		every = time.Minute
	}
	return Work{Kind: Reconcile, Do: func(ctx context.Context, _ string) error { return r.Do(ctx) }, Every: every, MaxAttempts: 1}
}

// Do makes the jobs.
func (r *Reconciles) Do(ctx context.Context) error {
	registries, err := r.DB.DueRegistries(ctx)
	if err != nil {
		return err
	}
	for _, id := range registries {
		if err := r.Enqueue(ctx, Job{Kind: Crawl, Key: strconv.FormatInt(id, 10), Priority: ForCrawling}); err != nil {
			return err
		}
	}
	if r.AnalyzerSet != "" && !r.looked.Load() {
		if err := r.rescanOld(ctx); err != nil {
			return err
		}
		r.looked.Store(true)
	}
	if err := r.scans(ctx); err != nil || r.More == nil {
		return err
	}
	more, err := r.More(ctx)
	if err != nil {
		return err
	}
	return r.Enqueue(ctx, more...)
}

func (r *Reconciles) rescanOld(ctx context.Context) error {
	const batch = 500
	for {
		n, err := r.DB.RescanOld(ctx, r.AnalyzerSet, batch)
		if err != nil || n == 0 {
			return err
		}
	}
}

// scans makes those of manifests, a thousand at a time.
func (r *Reconciles) scans(ctx context.Context) error {
	const batch = 1000
	after := int64(0)
	for {
		due, err := r.DB.DueManifests(ctx, after, batch)
		if err != nil {
			return err
		}
		jobs := make([]Job, len(due))
		for i, m := range due {
			after = m.ID
			jobs[i] = Job{Kind: Scan, Key: strconv.FormatInt(m.ID, 10), Priority: Priority(m.Priority)}
		}
		if err := r.Enqueue(ctx, jobs...); err != nil || len(due) < batch {
			return err
		}
	}
}
