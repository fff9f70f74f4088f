package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	runtimemetrics "runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"strata/internal/auth"
	"strata/internal/jobs"
	"strata/internal/store"
)

// RunOptions of Run. Listen and one of DB and Open are needed.
type RunOptions struct {
	Options
	// Open sets DB and what is made of it. Until it can be reached, it is tried again, and
	// who asks is told that the server waits for it. nil when DB is set.
	Open func(ctx context.Context, o *RunOptions) error
	// Listen is the address of the listener: "127.0.0.1:8080".
	Listen string
	// TLSCert and TLSKey are files in PEM; empty for http. They are read again when they
	// have changed.
	TLSCert, TLSKey string
	// Workers is how many jobs this instance does at a time; below 1 it does none.
	Workers int
	// Host is what this machine is called, for the list of instances.
	Host string
	// OTLPEndpoint is the URL that traces are sent to; empty for none.
	OTLPEndpoint string
	// AllowPrivateAddresses lets requests to addresses that users give (receivers) go to
	// networks that are not public.
	AllowPrivateAddresses bool
	// ShutdownTimeout is how long requests and jobs have to end; 0 means 30 s.
	ShutdownTimeout time.Duration
	// Works makes what the queue of this instance does; nil for nothing.
	Works func(Wiring) ([]jobs.Work, error)
	// Declared is what the settings want to be there, and Policies the policies.
	Declared []Declaration
	Policies DeclaredPolicies
	// Started is told where the server listens, and the one-time token by which the
	// first administrator is made (empty when there is one).
	Started func(url, setup string)
}

// A Wiring is what works need of the server that runs them.
type Wiring struct {
	// Enqueue gives jobs to the queue.
	Enqueue func(context.Context, ...jobs.Job) error
	// Client sends requests to addresses that users give, and to none that isn't public
	// unless that is allowed.
	Client *http.Client
	// Instance is the id of this instance.
	Instance string
}

// Run is `strata serve`: it answers requests and does jobs until the context ends.
// Then readiness drops, the listener drains, and jobs that run end or are handed back,
// within ShutdownTimeout.
func Run(ctx context.Context, o RunOptions) (err error) {
	if o.ShutdownTimeout <= 0 {
		o.ShutdownTimeout = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &runner{o: o, id: o.Host + "-" + rand.Text()[:8], certificate: &certificate{cert: o.TLSCert, key: o.TLSKey}}
	if o.TLSCert != "" { // before anything is made or told that needs it
		if _, err := r.certificate.get(nil); err != nil {
			return fmt.Errorf("server: %w", err)
		}
	}
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	defer listener.Close() // closed by the server before, if it came that far
	if o.OTLPEndpoint != "" {
		var stop func(context.Context) error
		if r.o.Tracer, stop, err = startTraces(ctx, o.OTLPEndpoint, o.Version, r.id); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, withTimeout(stop)) }()
	}
	return r.run(ctx, listener)
}

// withTimeout gives something five seconds, also after a stop.
func withTimeout(do func(context.Context) error) error {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return do(ctx)
}

// A runner is one run of the server.
type runner struct {
	o       RunOptions
	id      string
	started time.Time
	server  *Server
	// certificate is of no files for http.
	certificate *certificate
	// ready is what answers requests; nil until it can.
	ready   atomic.Pointer[http.Handler]
	queue   *jobs.Queue
	working bool         // there are jobs that it can do
	running atomic.Int64 // jobs
}

func (r *runner) run(ctx context.Context, listener net.Listener) (err error) {
	r.o.TLS = r.o.TLSCert != ""
	r.o.Enqueue, r.o.Instance = r.enqueue, r.id
	const patience = 30 * time.Second
	r.o.Client = guardedClient(r.o.AllowPrivateAddresses, patience)
	r.o.QueueReady = func(ctx context.Context) error { return r.queue.Ready(ctx) }
	h := r.http()
	served := make(chan error, 1)
	go func() { served <- r.serve(h, listener) }()
	setup, err := r.await(ctx, served)
	if err != nil || ctx.Err() != nil {
		return errors.Join(err, h.Close())
	}
	// It is alive as long as it drains.
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var loops sync.WaitGroup
	outdated := make(chan error, 1)
	loops.Go(func() {
		r.every(background, beatEvery, func(ctx context.Context) error {
			err := r.beat(ctx)
			if errors.Is(err, store.ErrNewerTables) {
				select {
				case outdated <- err:
				default: // told already
				}
			}
			return err
		})
	})
	loops.Go(func() { r.every(background, time.Hour, r.tidy) })
	handler := r.server.Handler()
	r.ready.Store(&handler)
	if r.o.Started != nil {
		r.o.Started(r.url(listener), setup)
	}
	select {
	case err = <-served:
		err = errors.Join(err, r.stopQueue())
	case err = <-outdated:
		err = errors.Join(err, r.drain(h))
	case <-ctx.Done():
		err = r.drain(h)
	}
	cancel()
	loops.Wait()
	return errors.Join(err, r.leave())
}

// leave takes this instance off the list. Where the database is away, the others will see
// that it is silent.
func (r *runner) leave() error {
	err := withTimeout(func(ctx context.Context) error { return r.o.DB.DeleteInstance(ctx, r.id) })
	if store.Unavailable(err) || errors.Is(err, context.DeadlineExceeded) {
		r.o.Log.Warn("the database doesn't answer: this instance stays on the list of instances for a while", "error", err)
		return nil
	}
	return err
}

// await begins as soon as the database is there, and is this version's to change: an
// instance may start before it, while it is away, or beside ones that are too old to use
// what it would make of the tables, and restarts would help nobody.
func (r *runner) await(ctx context.Context, served <-chan error) (setup string, err error) {
	const first, most = 250 * time.Millisecond, 5 * time.Second
	told := ""
	for wait := first; ; wait = min(2*wait, most) {
		if setup, err = r.begin(ctx); err == nil {
			if told != "" {
				r.o.Log.Info("the database answers")
			}
			return setup, nil
		}
		if ctx.Err() != nil {
			return "", nil
		}
		if !store.Unavailable(err) && !errors.Is(err, store.ErrOlderInstances) {
			return "", err
		}
		if err.Error() != told { // once, as long as it is the same
			told = err.Error()
			r.o.Log.Warn("waiting for the database", "error", err)
		}
		select {
		case <-ctx.Done():
			return "", nil
		case err := <-served:
			return "", err
		case <-time.After(wait):
		}
	}
}

// begin does what is to be done before the first request. After an error it can be done
// again.
func (r *runner) begin(ctx context.Context) (setup string, err error) {
	if r.o.DB == nil {
		if err := r.o.Open(ctx, &r.o); err != nil {
			return "", err
		}
	}
	if r.server == nil {
		if r.server, err = New(r.o.Options); err != nil {
			return "", err
		}
		r.started = r.o.DB.Now()
	}
	// Before it has jobs, as others take over those of who isn't heard of.
	if err := r.beat(ctx); err != nil {
		return "", err
	}
	if err := r.makeQueue(ctx); err != nil {
		return "", err
	}
	err = r.declare(ctx)
	if err == nil {
		setup, err = r.server.access.SetupToken(ctx)
	}
	if err == nil {
		err = r.startQueue(ctx)
	}
	if err != nil {
		return "", errors.Join(err, r.stopQueue())
	}
	return setup, nil
}

// declare brings in what the settings want: policies before the watches that name them, and
// out of use after those that did.
func (r *runner) declare(ctx context.Context) error {
	if err := r.server.declarePolicies(ctx, &r.o.Policies); err != nil {
		return err
	}
	if err := r.server.declare(ctx, r.o.Declared); err != nil {
		return err
	}
	return r.server.withdrawPolicies(ctx, &r.o.Policies)
}

// handle answers requests as soon as the server is there.
func (r *runner) handle(w http.ResponseWriter, q *http.Request) {
	if h := r.ready.Load(); h != nil {
		(*h).ServeHTTP(w, q)
		return
	}
	if q.URL.Path == "/healthz" {
		plain(w, http.StatusOK, "ok\n")
		return
	}
	w.Header().Set("Retry-After", "5")
	plain(w, http.StatusServiceUnavailable, "starting: waiting for the database\n")
}

func (r *runner) http() *http.Server {
	const headers, idle, request, answer = 10 * time.Second, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute
	return &http.Server{
		Handler: http.HandlerFunc(r.handle), ReadHeaderTimeout: headers, ReadTimeout: request, WriteTimeout: answer, IdleTimeout: idle,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(r.o.Log.Handler(), slog.LevelDebug),
	}
}

func (r *runner) serve(h *http.Server, listener net.Listener) error {
	if r.o.TLSCert == "" {
		return h.Serve(listener)
	}
	h.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: r.certificate.get}
	return h.ServeTLS(listener, "", "")
}

func (r *runner) url(listener net.Listener) string {
	if r.o.PublicURL != "" {
		return r.o.PublicURL
	}
	if r.o.TLSCert != "" {
		return "https://" + listener.Addr().String()
	}
	return "http://" + listener.Addr().String()
}

// drain stops in order: readiness first, then the listener, whose requests may end, and
// the queue at the same time.
func (r *runner) drain(h *http.Server) error {
	r.server.draining.Store(true)
	r.o.Log.Info("stopping", "running_jobs", r.running.Load(), "timeout", r.o.ShutdownTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), r.o.ShutdownTimeout)
	defer cancel()
	var queue error
	var stopped sync.WaitGroup
	stopped.Go(func() { queue = r.stopJobs() })
	err := h.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		r.o.Log.Warn("requests were cut off", "timeout", r.o.ShutdownTimeout)
		err = h.Close()
	}
	stopped.Wait()
	return errors.Join(err, queue)
}

// stopJobs lets the jobs end, and has those handed back that don't so early that this, too,
// is within the time.
func (r *runner) stopJobs() error {
	ctx, cancel := context.WithTimeout(context.Background(), r.o.ShutdownTimeout*4/5)
	defer cancel()
	return r.queue.Stop(ctx)
}

// makeQueue makes this instance's part in the jobs.
func (r *runner) makeQueue(ctx context.Context) error {
	works, err := r.works()
	if err != nil {
		return err
	}
	if r.queue, err = jobs.New(ctx, jobs.Options{DB: r.o.DB, Works: works, Scans: r.o.Workers, Instance: r.id, Log: r.o.Log}); err != nil {
		return err
	}
	r.server.queue, r.working = r.queue, len(works) > 0
	return nil
}

// startQueue begins to work on jobs. One without workers makes jobs for others. Jobs end
// when the queue is stopped, not when the process is told to.
func (r *runner) startQueue(ctx context.Context) error {
	if r.o.Workers < 1 || !r.working {
		return nil
	}
	return r.queue.Start(context.WithoutCancel(ctx))
}

// works are those of the options, with what goes around each.
func (r *runner) works() ([]jobs.Work, error) {
	if r.o.Works == nil {
		return nil, nil
	}
	works, err := r.o.Works(Wiring{Enqueue: r.enqueue, Client: r.o.Client, Instance: r.id})
	for i := range works {
		works[i] = r.server.metrics.counted(traced(r.o.Tracer, r.counted(works[i])))
	}
	return works, err
}

func (r *runner) stopQueue() error { return withTimeout(r.queue.Stop) }

// counted counts the jobs that run, for the load of the instance.
func (r *runner) counted(w jobs.Work) jobs.Work {
	do := w.Do
	w.Do = func(ctx context.Context, key string) error {
		r.running.Add(1)
		defer r.running.Add(-1)
		return do(ctx, key)
	}
	return w
}

// enqueue is the queue's, once there is one: the server is made before it.
func (r *runner) enqueue(ctx context.Context, j ...jobs.Job) error { return r.queue.Enqueue(ctx, j...) }

// every does something at once and then on a schedule. What fails is told, once as long as
// it does, and done again the next time.
func (r *runner) every(ctx context.Context, period time.Duration, do func(context.Context) error) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	away := false
	for {
		err := do(ctx)
		switch {
		case ctx.Err() != nil:
		case err == nil && away:
			r.o.Log.Info("the database answers again")
		case store.DiskFull(err) && !away:
			r.o.Log.Warn("the disk of the database is full: nothing can be written until there is room", "error", err)
		case err != nil && !away:
			r.o.Log.Warn("database", "error", err)
		}
		away = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (r *runner) beat(ctx context.Context) error {
	memory := []runtimemetrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	runtimemetrics.Read(memory)
	load, err := json.Marshal(Load{
		RunningJobs: r.running.Load(), Workers: max(0, r.o.Workers), Memory: memory[0].Value.Uint64() - memory[1].Value.Uint64(),
		Goroutines: runtime.NumGoroutine(), Processors: runtime.GOMAXPROCS(0), Stopping: r.server.draining.Load(),
	})
	if err != nil {
		return err
	}
	return r.o.DB.Beat(ctx, &store.Instance{ID: r.id, Host: r.o.Host, Version: r.o.Version, StartedAt: r.started, Load: string(load)})
}

// tidy deletes what has expired. Instances are forgotten once others had the time to take
// over what they did.
func (r *runner) tidy(ctx context.Context) error {
	if r.o.DB.Now().Sub(r.started) > time.Minute {
		if err := r.o.DB.DeleteSilentInstances(ctx, forgottenAfter); err != nil {
			return err
		}
	}
	return r.o.DB.DeleteExpiredCredentials(ctx, auth.DefaultIdle)
}
