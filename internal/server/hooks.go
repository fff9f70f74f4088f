package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/event"
	"strata/internal/jobs"
	"strata/internal/store"
)

// A hookedRegistry is what has to be known of a registry to take notifications.
type hookedRegistry struct {
	ID int64
	// Secret that senders prove to know; empty for a registry that takes none.
	Secret string
	// Wants tells whether the filters of the registry let an image in; the tag is
	// empty where only a digest is known.
	Wants func(repository, tag string) bool
	// Digest asks the registry which digest a tag has, for the senders that don't tell.
	Digest func(ctx context.Context, repository, tag string) (string, error)
}

// Limits of asking a registry for the digests of tags while the sender waits. What is
// beyond them is found by the next crawl.
const (
	maxAskedTags = 20
	askTimeout   = 10 * time.Second
)

// registerHooks has the routes to which registries send. They are no part of the API:
// what they take is as the senders have it, and so is how they prove who they are.
func (s *Server) registerHooks() {
	for _, path := range []string{"/hooks/{registry}", "/hooks/{registry}/{form}"} {
		s.mux.HandleFunc("POST "+path, s.takeHook)
		s.mux.HandleFunc("OPTIONS "+path, s.greetCloudEvents)
	}
}

// A HookAnswer tells a sender what came of its notification.
type HookAnswer struct {
	// Taken are the events that mattered.
	Taken []HookEvent `json:"taken"`
	// Ignored is how many were about images that the filters of the registry leave out.
	Ignored int `json:"ignored"`
}

// A HookEvent is one event that was taken.
type HookEvent struct {
	Action     event.Action `json:"action"`
	Repository string       `json:"repository"`
	Tag        string       `json:"tag,omitempty"`
	Digest     string       `json:"digest,omitempty"`
}

// takeHook answers POST /hooks/REGISTRY[/FORM].
func (s *Server) takeHook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, event.MaxSize))
	if err != nil {
		s.answer(w, r, tooLarge(err))
		return
	}
	reg, err := s.authenticHook(r, body)
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Basic realm="strata"`) // SNS sends its password only when asked
		s.answer(w, r, s.fail(r.Context(), err))
		return
	}
	if done, err := s.handshake(w, r, body); done || err != nil {
		if err != nil {
			s.answer(w, r, s.fail(r.Context(), err))
		}
		return
	}
	events, err := event.Parse(event.Form(r.PathValue("form")), r.Header, body)
	if err != nil {
		s.o.Log.WarnContext(r.Context(), "notification not understood", "registry", r.PathValue("registry"), "error", err)
		s.answer(w, r, huma.Error400BadRequest(err.Error()))
		return
	}
	got, err := s.take(r.Context(), reg, events)
	if err != nil {
		s.answer(w, r, s.fail(r.Context(), err))
		return
	}
	writeJSON(w, http.StatusAccepted, "application/json", got)
}

func tooLarge(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return huma.NewError(http.StatusRequestEntityTooLarge, fmt.Sprintf("a notification has at most %d bytes", event.MaxSize))
	}
	return huma.Error400BadRequest("the request broke off")
}

func writeJSON(w http.ResponseWriter, status int, mediaType string, v any) {
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who went away needs no answer
}

// take writes down what happened, and gives the queue what is due.
func (s *Server) take(ctx context.Context, reg *hookedRegistry, events []event.Event) (*HookAnswer, error) {
	got := &HookAnswer{Taken: []HookEvent{}}
	var wanted []event.Event
	for _, e := range events {
		if reg.Wants != nil && !reg.Wants(e.Repository, e.Tag) {
			got.Ignored++
			continue
		}
		wanted = append(wanted, e)
	}
	wanted, err := withDigests(ctx, reg, wanted)
	if err != nil {
		return nil, err
	}
	for _, e := range wanted {
		got.Taken = append(got.Taken, HookEvent{Action: e.Action, Repository: e.Repository, Tag: e.Tag, Digest: e.Digest})
	}
	// What is pushed after it was deleted, or the other way round, has come in this
	// order, which is kept.
	for len(wanted) > 0 {
		n := slices.IndexFunc(wanted, func(e event.Event) bool { return e.Action != wanted[0].Action })
		if n < 0 {
			n = len(wanted)
		}
		if err := s.takeAlike(ctx, reg, wanted[:n]); err != nil {
			return nil, err
		}
		wanted = wanted[n:]
	}
	return got, nil
}

// takeAlike takes events of one action.
func (s *Server) takeAlike(ctx context.Context, reg *hookedRegistry, events []event.Event) error {
	names := make([]store.Named, len(events))
	for i, e := range events {
		names[i] = store.Named{Repository: e.Repository, Tag: e.Tag, Digest: e.Digest, At: e.At}
	}
	if events[0].Action == event.Deleted {
		_, err := s.o.DB.Retired(ctx, reg.ID, names)
		return err
	}
	due, err := s.o.DB.Pushed(ctx, reg.ID, int(jobs.ForPush), names)
	if err != nil || len(due) == 0 {
		return err
	}
	return s.enqueueScans(ctx, due, jobs.ForPush)
}

// enqueueScans gives the queue the manifests to scan. When the queue fails, the rows
// still say what is due, and the next Reconcile makes jobs of them.
func (s *Server) enqueueScans(ctx context.Context, manifests []int64, p jobs.Priority) error {
	if s.o.Enqueue == nil {
		return nil
	}
	work := make([]jobs.Job, len(manifests))
	for i, id := range manifests {
		work[i] = jobs.Job{Kind: jobs.Scan, Key: strconv.FormatInt(id, 10), Priority: p}
	}
	return s.o.Enqueue(ctx, work...)
}

// withDigests asks the registry for the digests of pushed tags that came without:
// those of Docker Hub and Quay. A tag that the registry doesn't have any more is left
// out.
func withDigests(ctx context.Context, reg *hookedRegistry, events []event.Event) ([]event.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	asked := 0
	var out []event.Event
	for _, e := range events {
		if e.Action != event.Pushed || e.Digest != "" {
			out = append(out, e)
			continue
		}
		if asked++; reg.Digest == nil || asked > maxAskedTags {
			continue
		}
		var err error
		if e.Digest, err = reg.Digest(ctx, e.Repository, e.Tag); errors.Is(err, store.ErrNotFound) {
			continue
		} else if err != nil {
			return nil, huma.Error502BadGateway(fmt.Sprintf("the registry doesn't tell the digest of %s:%s", e.Repository, e.Tag), err)
		}
		out = append(out, e)
	}
	return out, nil
}
