package server

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/auth"
)

// beatEvery is how often an instance tells that it is alive; deadAfter when it is held
// to be dead; forgottenAfter when it is no longer told of.
const (
	beatEvery      = 5 * time.Second
	deadAfter      = 30 * time.Second
	forgottenAfter = time.Hour
)

// An Instance is one running `strata serve` of the cluster.
type Instance struct {
	ID        string          `json:"id"`
	Host      string          `json:"host"`
	Version   string          `json:"version"`
	StartedAt time.Time       `json:"started_at"`
	BeatAt    time.Time       `json:"beat_at" doc:"when it was last heard of; every 5 s"`
	Alive     bool            `json:"alive" doc:"heard of in the last 30 s"`
	Load      json.RawMessage `json:"load,omitempty" doc:"jobs that run, memory in use in bytes"`
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
	huma.Register(s.api, operation("GET", "/instances", "list-instances", "List the running instances", "server", auth.Viewer), s.listInstances)
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
	now := s.o.Now()
	page := Page[Instance]{Items: []Instance{}}
	for _, r := range rows {
		i := Instance{ID: r.ID, Host: r.Host, Version: r.Version, StartedAt: r.StartedAt, BeatAt: r.BeatAt, Alive: now.Sub(r.BeatAt) < deadAfter}
		if json.Valid([]byte(r.Load)) {
			i.Load = json.RawMessage(r.Load)
		}
		page.Items = append(page.Items, i)
	}
	return &struct{ Body Page[Instance] }{page}, nil
}
