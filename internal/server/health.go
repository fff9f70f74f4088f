package server

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/auth"
	"strata/internal/store"
)

// beatEvery is how often an instance tells that it is alive; deadAfter when it is held
// to be dead; forgottenAfter when it is no longer told of.
const (
	beatEvery      = 2 * time.Second
	deadAfter      = store.SilentAfter
	forgottenAfter = time.Hour
)

// An Instance is one running `strata serve` of the cluster.
type Instance struct {
	ID        string    `json:"id"`
	Name      string    `json:"name" doc:"what its machine is called"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	BeatAt    time.Time `json:"beat_at" doc:"when it was last heard of; every 2 s"`
	Alive     bool      `json:"alive" doc:"heard of in the last 8 s; what another did is taken over"`
	// This is the one that answers.
	This bool  `json:"this,omitempty" doc:"the one that answers"`
	Load *Load `json:"load,omitempty"`
	// Schedules that it does, or did last.
	Schedules []string `json:"schedules,omitempty" doc:"what happens again and again, and it does, or did the last time: any instance may, and one at a time does"`
}

// A Load is what an instance does.
type Load struct {
	RunningJobs int64  `json:"running_jobs"`
	Workers     int    `json:"workers" doc:"images that it scans at once"`
	Memory      uint64 `json:"memory" doc:"bytes in use"`
	Goroutines  int    `json:"goroutines"`
	Processors  int    `json:"processors" doc:"that it may use at once"`
	Stopping    bool   `json:"stopping,omitempty"`
}

// registerHealth answers who watches over the process. /healthz tells that it runs;
// /readyz that it can work, and fails while it stops, so that balancers turn away
// before the listener closes.
func (s *Server) registerHealth() {
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok\n") })
	s.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		const patience = 3 * time.Second
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		if reason := s.unready(ctx); reason != "" {
			plain(w, http.StatusServiceUnavailable, reason+"\n")
			return
		}
		plain(w, http.StatusOK, "ok\n")
	})
	huma.Register(s.api, operation("GET", "/instances", "list-instances", "List the running instances", "server", auth.Administrator), s.listInstances)
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // who went away needs no answer
}

// unready says why the server can't work now; empty when it can. That the tables have
// the form of this version is seen when the database is opened.
func (s *Server) unready(ctx context.Context) string {
	if s.draining.Load() {
		return "stopping"
	}
	if err := s.o.DB.Ping(ctx); err != nil {
		s.o.Log.WarnContext(ctx, "the database doesn't answer", "error", err)
		return "the database doesn't answer"
	}
	if s.o.QueueReady != nil {
		if err := s.o.QueueReady(ctx); err != nil {
			s.o.Log.WarnContext(ctx, "the queue doesn't work", "error", err)
			return "the queue doesn't work"
		}
	}
	return ""
}

func (s *Server) listInstances(ctx context.Context, _ *struct{}) (*struct{ Body Page[Instance] }, error) {
	rows, err := s.o.DB.Instances(ctx)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	schedules, err := s.o.DB.Schedules(ctx)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	now := s.o.DB.Now()
	page := Page[Instance]{Items: []Instance{}}
	for _, r := range rows {
		i := Instance{ID: r.ID, Name: r.Host, Version: r.Version, StartedAt: r.StartedAt, BeatAt: r.BeatAt, Alive: now.Sub(r.BeatAt) < deadAfter, This: r.ID == s.o.Instance}
		var load Load
		if json.Unmarshal([]byte(r.Load), &load) == nil { // that of another version may be otherwise
			i.Load = &load
		}
		for _, sch := range schedules {
			if sch.Instance == r.ID {
				i.Schedules = append(i.Schedules, sch.Name)
			}
		}
		page.Items = append(page.Items, i)
	}
	return &struct{ Body Page[Instance] }{page}, nil
}
