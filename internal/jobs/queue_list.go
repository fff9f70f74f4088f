package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"strata/internal/store"
)

// A State is how far a job is.
type State string

// The states. A job that waits may have been tried before, and have a reason.
const (
	Waiting   State = "waiting"
	Running   State = "running"
	Retrying  State = "retrying"
	Done      State = "done"
	Parked    State = "parked"
	Cancelled State = "cancelled"
)

// states of River, by ours.
func (s State) river() []rivertype.JobState {
	switch s {
	case Waiting:
		return []rivertype.JobState{rivertype.JobStateAvailable, rivertype.JobStateScheduled, rivertype.JobStatePending}
	case Running:
		return []rivertype.JobState{rivertype.JobStateRunning}
	case Retrying:
		return []rivertype.JobState{rivertype.JobStateRetryable}
	case Done:
		return []rivertype.JobState{rivertype.JobStateCompleted}
	case Parked: // a ParkedError is cancelled by its worker
		return []rivertype.JobState{rivertype.JobStateDiscarded, rivertype.JobStateCancelled}
	case Cancelled:
		return []rivertype.JobState{rivertype.JobStateCancelled}
	}
	return nil
}

// stateOf is the state of a job. One that its worker cancelled was given up; River notes
// when somebody else asks for it.
func stateOf(j *rivertype.JobRow) State {
	if j.State == rivertype.JobStateCancelled {
		if bytes.Contains(j.Metadata, []byte(`"cancel_attempted_at"`)) || len(j.Errors) == 0 {
			return Cancelled
		}
		return Parked
	}
	for _, s := range []State{Waiting, Running, Retrying, Done} {
		if slices.Contains(s.river(), j.State) {
			return s
		}
	}
	return Parked
}

// A Listed job is one that waits, works or has ended.
type Listed struct {
	ID       int64    `json:"id"`
	Kind     Kind     `json:"kind"`
	Key      string   `json:"key,omitempty"`
	Priority Priority `json:"priority"`
	State    State    `json:"state"`
	// Reason is what the last attempt failed with.
	Reason      string `json:"reason,omitempty"`
	Attempt     int    `json:"attempt"`
	MaxAttempts int    `json:"max_attempts"`
	// Instance is the one that works on it, or did last.
	Instance  string    `json:"instance,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	DueAt     time.Time `json:"due_at"`
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
}

// A Filter chooses jobs; its zero value all.
type Filter struct {
	Kinds  []Kind
	States []State
	// Before is the id of a job: those made before it are listed; 0 for all.
	Before int64
	// Limit is 50 by default, and at most 1,000.
	Limit int
}

// List gives jobs, the newest first.
func (q *Queue) List(ctx context.Context, f Filter) ([]Listed, error) {
	const usual, most = 50, 1000
	if f.Limit <= 0 {
		f.Limit = usual
	}
	f.Limit = min(f.Limit, most)
	p := river.NewJobListParams().OrderBy(river.JobListOrderByID, river.SortOrderDesc).First(f.Limit).States(states(f.States)...)
	if len(f.Kinds) > 0 {
		kinds := make([]string, len(f.Kinds))
		for i, k := range f.Kinds {
			kinds[i] = string(k)
		}
		p = p.Kinds(kinds...)
	}
	if f.Before > 0 {
		p = p.After(river.JobListCursorFromJob(&rivertype.JobRow{ID: f.Before}))
	}
	var out []Listed
	for {
		r, err := q.client.list(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("jobs: %w", err)
		}
		for _, j := range r.Jobs {
			if l := listed(j); len(out) < f.Limit && (len(f.States) == 0 || slices.Contains(f.States, l.State)) {
				out = append(out, l)
			}
		}
		if len(out) >= f.Limit || len(r.Jobs) < f.Limit {
			return out, nil
		}
		p = p.After(river.JobListCursorFromJob(r.Jobs[len(r.Jobs)-1]))
	}
}

func states(of []State) []rivertype.JobState {
	if len(of) == 0 {
		return rivertype.JobStates()
	}
	var out []rivertype.JobState
	for _, s := range of {
		for _, r := range s.river() {
			if !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	}
	return out
}

func listed(j *rivertype.JobRow) Listed {
	l := Listed{
		ID: j.ID, Kind: Kind(j.Kind), Priority: Priority(j.Priority), State: stateOf(j),
		Attempt: j.Attempt, MaxAttempts: j.MaxAttempts, CreatedAt: j.CreatedAt, DueAt: j.ScheduledAt,
	}
	var a args
	if err := json.Unmarshal(j.EncodedArgs, &a); err == nil { // what another version wrote has no key
		l.Key = a.Key
	}
	if n := len(j.Errors); n > 0 {
		l.Reason = j.Errors[n-1].Error
	}
	if n := len(j.AttemptedBy); n > 0 {
		l.Instance = j.AttemptedBy[n-1]
	}
	if j.AttemptedAt != nil {
		l.StartedAt = *j.AttemptedAt
	}
	if j.FinalizedAt != nil {
		l.EndedAt = *j.FinalizedAt
	}
	return l
}

// Get gives a job; store.ErrNotFound when there is none, or no longer.
func (q *Queue) Get(ctx context.Context, id int64) (Listed, error) { return one(q.client.get(ctx, id)) }

// Cancel ends a job that waits, and has one that works broken off, on whatever
// instance it does. One that has ended stays as it is. What it was to do is not due any
// more: an image is parked, a registry is read an hour later.
func (q *Queue) Cancel(ctx context.Context, id int64) (Listed, error) {
	l, err := one(q.client.cancel(ctx, id))
	if err != nil || l.State != Cancelled { // the one that works on it writes it down
		return l, err
	}
	key, err := strconv.ParseInt(l.Key, 10, 64)
	if err != nil {
		return l, nil //nolint:nilerr // kinds without key do what is due the next time
	}
	switch l.Kind {
	case Scan:
		err = q.o.DB.ParkDue(ctx, key, "cancelled")
	case Crawl:
		err = q.o.DB.PostponeCrawl(ctx, key, time.Hour)
	}
	return l, err
}

// Retry does a job anew that is parked, cancelled or done, or at once one that waits.
func (q *Queue) Retry(ctx context.Context, id int64) (Listed, error) {
	l, err := q.Get(ctx, id)
	if err != nil {
		return l, err
	}
	if key, parseErr := strconv.ParseInt(l.Key, 10, 64); parseErr == nil {
		switch l.Kind {
		case Scan:
			_, err = q.o.DB.Rescan(ctx, int(l.Priority), key)
		case Crawl:
			err = q.o.DB.CrawlDue(ctx, key)
		}
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Listed{}, err
	}
	return one(q.client.retry(ctx, id))
}

func one(j *rivertype.JobRow, err error) (Listed, error) {
	if errors.Is(err, rivertype.ErrNotFound) {
		err = store.ErrNotFound
	}
	if err != nil {
		return Listed{}, fmt.Errorf("job: %w", err)
	}
	return listed(j), nil
}
