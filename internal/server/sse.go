package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"strata/internal/auth"
	"strata/internal/store"
)

// How events are sent: pollEvery is how often the database is asked, for progress and
// schedules once for all who listen to this instance; heartbeat is how long a stream is silent at most, so that
// proxies keep it open; streamFor is when a client is told to come again, so that its
// credentials are looked at anew.
const (
	pollEvery  = time.Second
	heartbeat  = 15 * time.Second
	streamFor  = 15 * time.Minute
	eventBatch = 500
)

// A recent value is made anew when it is older than pollEvery, for all who ask.
type recent[T any] struct {
	mu   sync.Mutex
	at   time.Time
	held T
}

func (r *recent[T]) get(ctx context.Context, now time.Time, ask func(context.Context) (T, error)) (T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.at) < pollEvery {
		return r.held, nil
	}
	v, err := ask(ctx)
	if err == nil {
		r.held, r.at = v, now
	}
	return v, err
}

// registerEvents tells what happens while it happens, as Server-Sent Events (the HTML
// standard, 9.2). What it tells is read from the database, so that every instance tells
// of all.
func (s *Server) registerEvents() {
	op := operation("GET", "/events", "stream-events", "Stream progress: crawls, and images as they are scanned", "server", auth.Viewer)
	op.Description += ` Events: "registry" when the progress of a registry has changed (for viewers of all of it), "schedule" when what happens again and again has begun or ended (for viewers of all), "scanned" for each digest whose scan has ended. A client that comes back sends Last-Event-ID and misses no scan.`
	op.Responses = map[string]*huma.Response{"200": {Description: "A stream of events", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}}}}
	huma.Register(s.api, op, func(_ context.Context, in *struct {
		LastEventID string `header:"Last-Event-ID" doc:"id of the last event that was seen"`
	}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(c huma.Context) {
			r, w := humago.Unwrap(c)
			s.stream(r.WithContext(c.Context()), w, in.LastEventID)
		}}, nil
	})
}

// A stream is what one client has been told.
type stream struct {
	s       *Server
	w       http.ResponseWriter
	scope   []string
	at      time.Time
	after   int64
	told    map[string]store.RegistryProgress
	written time.Time
	// happened is what was told of schedules, by their names.
	happened map[string]scheduleEvent
}

// A scheduleEvent is that what happens again and again has begun, or ended.
type scheduleEvent struct {
	Name      string    `json:"name"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
}

func (s *Server) stream(r *http.Request, w http.ResponseWriter, last string) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would wait for more
	w.WriteHeader(http.StatusOK)
	st := &stream{s: s, w: w, scope: auth.From(r.Context()).Scope(auth.Viewer), at: s.o.Now(), told: map[string]store.RegistryProgress{}, happened: map[string]scheduleEvent{}}
	if micros, id, ok := strings.Cut(last, "-"); ok {
		if m, err := strconv.ParseInt(micros, 10, 64); err == nil {
			st.at = time.UnixMicro(m)
			st.after, _ = strconv.ParseInt(id, 10, 64)
		}
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	end := time.After(streamFor)
	for err := st.write("retry: 2000\n\n"); err == nil && !s.draining.Load(); err = st.poll(r.Context()) {
		select {
		case <-r.Context().Done():
			return
		case <-end:
			return
		case <-tick.C:
		}
	}
}

// poll tells what is new. Its errors end the stream; the client comes again.
func (st *stream) poll(ctx context.Context) error {
	progress, err := st.s.progress.get(ctx, st.s.o.Now(), st.s.o.DB.Progress)
	if err != nil {
		return err
	}
	for _, p := range progress {
		if old, ok := st.told[p.Registry]; ok && old == p || !slices.ContainsFunc(st.scope, func(g string) bool { return g == "**" || g == p.Registry+"/**" }) {
			continue
		}
		st.told[p.Registry] = p
		if err := st.event("registry", "", p); err != nil {
			return err
		}
	}
	if err := st.schedules(ctx); err != nil {
		return err
	}
	// Rows of one transaction have the time of its statement, and are seen after it was
	// kept: what is so new may not be whole yet.
	const settling = 2 * time.Second
	rows, err := st.s.o.DB.ScannedAfter(ctx, st.at, st.after, eventBatch)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if st.s.o.Now().Sub(row.At) < settling {
			break
		}
		st.at, st.after = row.At, row.ID
		if !auth.Match(st.scope, row.Repository) {
			continue
		}
		if err := st.event("scanned", fmt.Sprintf("%d-%d", row.At.UnixMicro(), row.ID), row); err != nil {
			return err
		}
	}
	if st.s.o.Now().Sub(st.written) >= heartbeat {
		return st.write(": still here\n\n")
	}
	return nil
}

// schedules tells what has begun or ended since it was told of.
func (st *stream) schedules(ctx context.Context) error {
	if !slices.Contains(st.scope, "**") {
		return nil
	}
	all, err := st.s.schedules.get(ctx, st.s.o.Now(), st.s.o.DB.Schedules)
	if err != nil {
		return err
	}
	for i := range all {
		now := scheduleEvent{all[i].Name, all[i].StartedAt, all[i].EndedAt}
		if st.happened[now.Name] == now || now.StartedAt.IsZero() {
			continue
		}
		st.happened[now.Name] = now
		if err := st.event("schedule", "", now); err != nil {
			return err
		}
	}
	return nil
}

func (st *stream) event(name, id string, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	text := "event: " + name + "\n"
	if id != "" {
		text += "id: " + id + "\n"
	}
	return st.write(text + "data: " + string(b) + "\n\n")
}

// write sends at once, and gives the client a minute to take it.
func (st *stream) write(text string) error {
	c := http.NewResponseController(st.w)
	st.written = st.s.o.Now()
	_ = c.SetWriteDeadline(time.Now().Add(time.Minute)) // not every writer has one
	if _, err := st.w.Write([]byte(text)); err != nil {
		return err
	}
	return c.Flush()
}
