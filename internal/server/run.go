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
	"sync"
	"sync/atomic"
	"time"

	"strata/internal/auth"
	"strata/internal/jobs"
	"strata/internal/store"
)

// RunOptions of Run. DB and Listen are needed.
type RunOptions struct {
	Options
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
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	defer listener.Close() // closed by the server before, if it came that far
	r := &runner{o: o, id: o.Host + "-" + rand.Text()[:8], started: time.Now()}
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
	queue   *jobs.Queue
	running atomic.Int64 // jobs
}

func (r *runner) run(ctx context.Context, listener net.Listener) (err error) {
	r.o.TLS = r.o.TLSCert != ""
	r.o.Enqueue = r.enqueue
	const patience = 30 * time.Second
	r.o.Client = guardedClient(r.o.AllowPrivateAddresses, patience)
	r.o.QueueReady = func(ctx context.Context) error { return r.queue.Ready(ctx) }
	if r.server, err = New(r.o.Options); err != nil {
		return err
	}
	if err := r.startQueue(ctx); err != nil {
		return err
	}
	setup, err := r.begin(ctx)
	if err != nil {
		return errors.Join(err, r.stopQueue())
	}
	// It is alive as long as it drains.
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var loops sync.WaitGroup
	loops.Go(func() { r.every(background, beatEvery, r.beat) })
	loops.Go(func() { r.every(background, time.Hour, r.tidy) })
	h := r.http()
	served := make(chan error, 1)
	go func() { served <- r.serve(h, listener) }()
	if r.o.Started != nil {
		r.o.Started(r.url(listener), setup)
	}
	select {
	case err = <-served:
		err = errors.Join(err, r.stopQueue())
	case <-ctx.Done():
		err = r.drain(h)
	}
	cancel()
	loops.Wait()
	return errors.Join(err, withTimeout(func(ctx context.Context) error {
		return r.o.DB.DeleteInstance(ctx, r.id, time.Now().Add(-forgottenAfter))
	}))
}

// begin does what is to be done before the first request.
func (r *runner) begin(ctx context.Context) (setup string, err error) {
	if err := r.server.declarePolicies(ctx, &r.o.Policies); err != nil {
		return "", err
	}
	if err := r.server.declare(ctx, r.o.Declared); err != nil {
		return "", err
	}
	if err := r.server.withdrawPolicies(ctx, &r.o.Policies); err != nil {
		return "", err
	}
	if err := r.beat(ctx); err != nil {
		return "", err
	}
	return r.server.access.SetupToken(ctx)
}

func (r *runner) http() *http.Server {
	const headers, idle, request, answer = 10 * time.Second, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute
	return &http.Server{
		Handler: r.server.Handler(), ReadHeaderTimeout: headers, ReadTimeout: request, WriteTimeout: answer, IdleTimeout: idle,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(r.o.Log.Handler(), slog.LevelDebug),
	}
}

func (r *runner) serve(h *http.Server, listener net.Listener) error {
	if r.o.TLSCert == "" {
		return h.Serve(listener)
	}
	c := &certificate{cert: r.o.TLSCert, key: r.o.TLSKey}
	if _, err := c.get(nil); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	h.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
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
	stopped.Go(func() { queue = r.queue.Stop(ctx) })
	err := h.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		r.o.Log.Warn("requests were cut off", "timeout", r.o.ShutdownTimeout)
		err = h.Close()
	}
	stopped.Wait()
	return errors.Join(err, queue)
}

// startQueue starts this instance's part in the jobs. One without workers makes jobs for
// others.
func (r *runner) startQueue(ctx context.Context) error {
	works, err := r.works()
	if err != nil {
		return err
	}
	r.queue, err = jobs.New(ctx, jobs.Options{DB: r.o.DB, Works: works, Scans: r.o.Workers, Instance: r.id, Log: r.o.Log})
	if err != nil {
		return err
	}
	r.server.queue = r.queue
	if r.o.Workers < 1 || len(works) == 0 {
		return nil
	}
	// Jobs end when the queue is stopped, not when the process is told to.
	if err := r.queue.Start(context.WithoutCancel(ctx)); err != nil {
		return errors.Join(err, r.stopQueue())
	}
	return nil
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

// every does something at once and then on a schedule. What fails is told and done
// again the next time.
func (r *runner) every(ctx context.Context, period time.Duration, do func(context.Context) error) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			r.o.Log.Warn("database", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (r *runner) beat(ctx context.Context) error {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	load, err := json.Marshal(map[string]any{"running_jobs": r.running.Load(), "memory": m.Sys - m.HeapReleased, "goroutines": runtime.NumGoroutine()})
	if err != nil {
		return err
	}
	return r.o.DB.Beat(ctx, &store.Instance{ID: r.id, Host: r.o.Host, Version: r.o.Version, StartedAt: r.started, Load: string(load)})
}

// tidy deletes what has expired.
func (r *runner) tidy(ctx context.Context) error {
	if err := r.o.DB.DeleteInstance(ctx, "", time.Now().Add(-forgottenAfter)); err != nil {
		return err
	}
	return r.o.DB.DeleteExpiredCredentials(ctx, auth.DefaultIdle)
}
