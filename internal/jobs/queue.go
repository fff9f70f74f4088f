package jobs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"strata/internal/store"
)

// Options of New. DB is needed; the rest of the zero value is useful.
type Options struct {
	// DB is the database of the server. On PostgreSQL the jobs are in it, too; on
	// SQLite they are in a file of their own beside it.
	DB *store.DB
	// Works are what this instance can do. Jobs of other kinds are left to others.
	Works []Work
	// Scans is how many images this instance scans at once; 0 means one for each
	// processor. One more is kept free for CI and pushes.
	Scans int
	// Crawls is how many registries it reads at once; 0 means 4.
	Crawls int
	// Instance is the id of this instance; a random one by default.
	Instance string
	// Log gets what is worth telling; nil is silent.
	Log *slog.Logger
	// Backoff is how long to wait after an attempt has failed, the first being 1; by
	// default Backoff.
	Backoff func(attempt int) time.Duration
}

// A Queue gives jobs to those who work on them: on PostgreSQL to all instances, on
// SQLite to this one. It is safe for concurrent use.
type Queue struct {
	o      Options
	client client
	works  map[Kind]Work
	// stopped ends what goes on besides the jobs.
	stopped context.CancelFunc
	ended   chan struct{}
	atWork  atWork
	lost    atomic.Bool // jobs could not be made
	// owed are those of schedules that could not be made; of the schedule's loop alone.
	owed map[Kind]bool
}

// The queues of River: images for CI and pushes have workers of their own, and so
// has what is done for the whole server, so that none of it waits for a crawl.
const (
	urgentQueue = "urgent"
	scanQueue   = "scan"
	crawlQueue  = "crawl"
	ownQueue    = "own"
)

// ownWorkers is enough for every kind that has no key, of which one each works.
const ownWorkers = 12

// DefaultTimeout is how long a job may take, and DefaultAttempts how often it is
// tried, where its Work says nothing.
const (
	DefaultTimeout  = 10 * time.Minute
	DefaultAttempts = 5
)

// Backoff waits ten seconds after the first attempt, then four times as long each
// time, at most half an hour.
func Backoff(attempt int) time.Duration {
	const first, most = 10 * time.Second, 30 * time.Minute
	wait := first
	for range attempt - 1 {
		wait = min(4*wait, most)
	}
	return wait
}

// New makes a queue, and its tables where they are missing. Jobs can be given to it
// at once; Start works on them. The caller calls Stop also when it has not started.
func New(ctx context.Context, o Options) (*Queue, error) {
	if o.DB == nil {
		return nil, errors.New("queue: no database")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Scans <= 0 {
		o.Scans = runtime.GOMAXPROCS(0)
	}
	if o.Crawls <= 0 {
		o.Crawls = 4
	}
	if o.Backoff == nil {
		o.Backoff = Backoff
	}
	if o.Instance == "" {
		o.Instance = rand.Text()
	}
	q := &Queue{o: o, owed: map[Kind]bool{}, works: map[Kind]Work{}}
	for _, w := range o.Works {
		if _, twice := q.works[w.Kind]; twice || w.Do == nil {
			return nil, fmt.Errorf("queue: %s: want one way to do it", w.Kind)
		}
		if w.Timeout <= 0 {
			w.Timeout = DefaultTimeout
		}
		if w.MaxAttempts <= 0 {
			w.MaxAttempts = DefaultAttempts
		}
		q.works[w.Kind] = w
	}
	var err error
	if q.client, err = openClient(ctx, o.DB, q.config()); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	return q, nil
}

// config is how River works for us.
func (q *Queue) config() *river.Config {
	const fetchAgain, poll = 5 * time.Millisecond, time.Second
	longest := DefaultTimeout
	workers := river.NewWorkers()
	for _, w := range q.works {
		longest = max(longest, w.Timeout)
		river.AddWorkerArgs(workers, args{kind: w.Kind}, &worker{queue: q, work: w})
	}
	config := &river.Config{
		ID:                          q.o.Instance,
		Logger:                      slog.New(quiet{q.o.Log.Handler()}),
		Workers:                     workers,
		FetchOnlyKnownKinds:         true,
		SkipUnknownJobCheck:         true,
		FetchCooldown:               fetchAgain,
		FetchPollInterval:           poll,
		JobTimeout:                  longest,
		RescueStuckJobsAfter:        longest + 5*time.Minute,
		CompletedJobRetentionPeriod: 6 * time.Hour,
		Queues: map[string]river.QueueConfig{
			urgentQueue: {MaxWorkers: 1 + q.o.Scans/2},
			scanQueue:   {MaxWorkers: q.o.Scans},
			crawlQueue:  {MaxWorkers: q.o.Crawls},
			ownQueue:    {MaxWorkers: ownWorkers},
		},
	}
	if q.o.DB.Pool() != nil {
		config.Test.Time = commonTime{q.o.DB}
	}
	if len(q.works) == 0 { // one that only makes jobs
		config.Queues, config.Workers = nil, nil
	}
	return config
}

// commonTime is the time for River, the same for all instances. By itself it has the clock of
// this machine say from when a job can be done, and what is to be tried again: an instance an
// hour ahead made jobs that waited for an hour.
type commonTime struct{ db *store.DB }

// Now implements rivertype.TimeGenerator.
func (t commonTime) Now() time.Time { return t.db.Now() }

// NowOrNil implements rivertype.TimeGenerator.
func (t commonTime) NowOrNil() *time.Time {
	now := t.db.Now()
	return &now
}

// args are what River keeps of a job. Slot tells apart the job that works from one of
// the same kind and key that is to work after it.
type args struct {
	kind Kind
	Key  string `json:"key"`
	Slot int    `json:"slot,omitempty"`
}

// Kind implements river.JobArgs.
func (a args) Kind() string { return string(a.kind) }

// A worker does the jobs of one kind for River.
type worker struct {
	river.WorkerDefaults[args]
	queue *Queue
	work  Work
}

// Timeout implements river.Worker.
func (w *worker) Timeout(*river.Job[args]) time.Duration { return w.work.Timeout }

// NextRetry implements river.Worker.
func (w *worker) NextRetry(job *river.Job[args]) time.Time {
	return w.queue.o.DB.Now().Add(w.queue.o.Backoff(max(1, len(job.Errors)+1)))
}

// Work implements river.Worker.
func (w *worker) Work(ctx context.Context, job *river.Job[args]) error {
	defer w.queue.atWork.begin(job.ID)()
	name := string(w.work.Kind) + " " + job.Args.Key
	if !w.work.Together {
		const again = time.Second
		held, release, err := takeAlone(ctx, w.queue.o.DB, rand.Text(), name)
		if err != nil {
			return w.ended(ctx, job, time.Now(), err)
		}
		if held == nil {
			return river.JobSnooze(again)
		}
		defer release()
		ctx = held
	}
	began := time.Now()
	return w.ended(ctx, job, began, w.do(ctx, job.Args.Key))
}

// ended tells how a job ended, and says to River what is to come of it.
func (w *worker) ended(ctx context.Context, job *river.Job[args], began time.Time, err error) error {
	log := w.queue.o.Log.With("job", job.ID, "kind", w.work.Kind, "key", job.Args.Key, "took", time.Since(began))
	if err == nil {
		log.DebugContext(ctx, "job done")
		return nil
	}
	if errors.Is(context.Cause(ctx), context.Canceled) { // the instance stops: it was no attempt
		log.InfoContext(ctx, "job handed back")
		return river.JobSnooze(0)
	}
	if store.DiskFull(errors.Join(err, context.Cause(ctx))) { // nor was this; the cause may be that the lease could not be kept
		const again = 5 * time.Second
		log.WarnContext(ctx, "job waits: the disk of the database is full", "reason", err)
		return river.JobSnooze(again)
	}
	var parked *ParkedError
	if errors.As(err, &parked) {
		log.WarnContext(ctx, "job given up", "reason", err)
		return river.JobCancel(err)
	}
	log.WarnContext(ctx, "job failed", "attempt", job.Attempt, "of", job.MaxAttempts, "reason", err)
	return err
}

// do does a job; what has no key is written down as what is scheduled.
func (w *worker) do(ctx context.Context, key string) error {
	if key != "" || w.work.Every == 0 {
		return w.work.Do(ctx, key)
	}
	db, name := w.queue.o.DB, string(w.work.Kind)
	if err := db.ScheduleStarted(ctx, name, w.queue.o.Instance); err != nil {
		return err
	}
	err := w.work.Do(ctx, key)
	if ended := db.ScheduleEnded(context.WithoutCancel(ctx), name, err); ended != nil {
		w.queue.o.Log.ErrorContext(ctx, "job", "kind", w.work.Kind, "error", ended)
	}
	return err
}

// A ParkedError is one that another attempt would not mend: the job is not tried
// again.
type ParkedError struct{ Err error }

func (e *ParkedError) Error() string { return e.Err.Error() }

// Unwrap gives the reason.
func (e *ParkedError) Unwrap() error { return e.Err }

// slots bounds how many jobs of one kind and key there are, at work or waiting.
const slots = 8

// insertBatch is how many jobs are put in at once.
const insertBatch = 500

// Enqueue makes jobs. One that waits already is not made twice, but takes the more
// urgent priority; one that is being worked on is made, to be done again.
func (q *Queue) Enqueue(ctx context.Context, jobs ...Job) error {
	for len(jobs) > 0 {
		n := min(len(jobs), insertBatch)
		if err := q.enqueue(ctx, jobs[:n]); err != nil {
			q.lost.Store(true)
			return fmt.Errorf("enqueue: %w", err)
		}
		jobs = jobs[n:]
	}
	return nil
}

func (q *Queue) enqueue(ctx context.Context, jobs []Job) error {
	for slot := 0; len(jobs) > 0 && slot < slots; slot++ {
		params := make([]river.InsertManyParams, len(jobs))
		for i, j := range jobs {
			params[i] = q.params(j, slot)
		}
		results, err := q.client.insert(ctx, params)
		if err != nil {
			return err
		}
		var again []Job
		for i, r := range results {
			switch {
			case !r.UniqueSkippedAsDuplicate:
			case r.Job.State == rivertype.JobStateRunning:
				again = append(again, jobs[i])
			case r.Job.State == rivertype.JobStateRetryable || r.Job.Priority > params[i].InsertOpts.Priority:
				if err := q.hasten(ctx, r.Job, params[i]); err != nil {
					return err
				}
			}
		}
		jobs = again
	}
	return nil
}

// hasten makes a job that waits more urgent, and lets one that has failed be tried at once:
// there is news. It keeps its place: before what came later. One that works by now, or has,
// does so since what is to be done was told.
func (q *Queue) hasten(ctx context.Context, waiting *rivertype.JobRow, by river.InsertManyParams) error {
	query := hastenPostgres
	if q.o.DB.Pool() == nil {
		query = hastenSQLite
	}
	priority, queue := waiting.Priority, waiting.Queue
	if by.InsertOpts.Priority < priority {
		priority, queue = by.InsertOpts.Priority, by.InsertOpts.Queue
	}
	_, err := q.client.exec(ctx, query, waiting.ID, priority, queue)
	return err
}

// River could delete the job and make it anew, which gives it the last place in the queue.
const (
	hastenPostgres = `UPDATE river_job SET priority = $2, queue = $3, state = 'available', scheduled_at = LEAST(scheduled_at, now())
		WHERE id = $1 AND state IN ('available', 'pending', 'scheduled', 'retryable')`
	hastenSQLite = `UPDATE river_job SET priority = $2, queue = $3, state = 'available', scheduled_at = MIN(scheduled_at, datetime('now', 'subsec'))
		WHERE id = $1 AND state IN ('available', 'pending', 'scheduled', 'retryable')`
)

func (q *Queue) params(j Job, slot int) river.InsertManyParams {
	priority := j.Priority
	if priority < ForCI || priority > ForCrawling {
		priority = ForCrawling
	}
	attempts := DefaultAttempts
	if w, ok := q.works[j.Kind]; ok {
		attempts = w.MaxAttempts
	}
	return river.InsertManyParams{
		Args: args{kind: j.Kind, Key: j.Key, Slot: slot},
		InsertOpts: &river.InsertOpts{
			Queue:       queueOf(j.Kind, priority),
			Priority:    int(priority),
			MaxAttempts: attempts,
			// With JobStateRetryable: else River, when it lets one be tried again, may find that
			// another was made meanwhile.
			UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
				rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateRetryable, rivertype.JobStateScheduled,
			}},
		},
	}
}

func queueOf(k Kind, p Priority) string {
	switch {
	case k == Scan && p <= ForPush:
		return urgentQueue
	case k == Scan:
		return scanQueue
	case k == Crawl:
		return crawlQueue
	}
	return ownQueue
}
