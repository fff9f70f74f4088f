package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/auth"
	"strata/internal/jobs"
	"strata/internal/store"
)

func (s *Server) registerJobs() {
	admin := func(method, path, id, summary string) huma.Operation {
		return operation(method, path, id, summary, "jobs", auth.Administrator)
	}
	huma.Register(s.api, admin("GET", "/jobs", "list-jobs", "List jobs, the newest first"), s.listJobs)
	huma.Register(s.api, admin("GET", "/jobs/{id}", "get-job", "Get a job"), s.getJob)
	huma.Register(s.api, admin("POST", "/jobs/{id}/cancel", "cancel-job", "Cancel a job that waits, or break off one that runs"), s.cancelJob)
	huma.Register(s.api, admin("POST", "/jobs/{id}/retry", "retry-job", "Do a job anew that has ended"), s.retryJob)
	huma.Register(s.api, admin("GET", "/schedules", "list-schedules", "List what happens again and again, and how it went"), s.listSchedules)
	huma.Register(s.api, operation("GET", "/manifests", "list-manifests", "List what registries have by digest, and what is done with it", "jobs", auth.Viewer), s.listManifests)
	huma.Register(s.api, operation("GET", "/manifests/{id}", "get-manifest", "Get a manifest with the tags that name and named it", "jobs", auth.Viewer), s.getManifest)
	rescan := operation("POST", "/manifests/{id}/rescan", "rescan-manifest", "Scan a manifest anew", "jobs", auth.Developer)
	rescan.DefaultStatus = http.StatusAccepted
	huma.Register(s.api, rescan, s.rescanManifest)
}

// errNoQueue is the answer of an instance whose queue isn't there yet.
func errNoQueue() error { return huma.Error503ServiceUnavailable("the queue is not ready") }

func (s *Server) listJobs(ctx context.Context, in *struct {
	PageInput
	Kind  string `query:"kind" enum:"scan,crawl,sync,match,judge,deliver,reconcile,retain" doc:"of this kind"`
	State string `query:"state" enum:"waiting,running,retrying,done,parked,cancelled" doc:"in this state"`
}) (*struct{ Body Page[jobs.Listed] }, error) {
	if s.queue == nil {
		return nil, errNoQueue()
	}
	f := jobs.Filter{Limit: in.Limit + 1}
	if err := decodeCursor("jobs", in.Cursor, &f.Before); err != nil {
		return nil, err
	}
	if in.Kind != "" {
		f.Kinds = []jobs.Kind{jobs.Kind(in.Kind)}
	}
	if in.State != "" {
		f.States = []jobs.State{jobs.State(in.State)}
	}
	rows, err := s.queue.List(ctx, f)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body Page[jobs.Listed] }{pageOf("jobs", rows, in.Limit, func(j *jobs.Listed) any { return j.ID })}, nil
}

type jobInput struct {
	ID int64 `path:"id" minimum:"1"`
}

func (s *Server) getJob(ctx context.Context, in *jobInput) (*struct{ Body jobs.Listed }, error) {
	if s.queue == nil {
		return nil, errNoQueue()
	}
	j, err := s.queue.Get(ctx, in.ID)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body jobs.Listed }{j}, nil
}

func (s *Server) cancelJob(ctx context.Context, in *jobInput) (*struct{ Body jobs.Listed }, error) {
	return s.changeJob(ctx, "cancel-job", in.ID, (*jobs.Queue).Cancel)
}

func (s *Server) retryJob(ctx context.Context, in *jobInput) (*struct{ Body jobs.Listed }, error) {
	return s.changeJob(ctx, "retry-job", in.ID, (*jobs.Queue).Retry)
}

func (s *Server) changeJob(ctx context.Context, action string, id int64, change func(*jobs.Queue, context.Context, int64) (jobs.Listed, error)) (*struct{ Body jobs.Listed }, error) {
	if s.queue == nil {
		return nil, errNoQueue()
	}
	j, err := change(s.queue, ctx, id)
	if err == nil {
		err = s.audit(ctx, action, fmt.Sprintf("job %d", id), strings.TrimSpace(string(j.Kind)+" "+j.Key))
	}
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body jobs.Listed }{j}, nil
}

func (s *Server) listSchedules(ctx context.Context, _ *struct{}) (*struct{ Body []store.Schedule }, error) {
	all, err := s.o.DB.Schedules(ctx)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	if all == nil {
		all = []store.Schedule{}
	}
	return &struct{ Body []store.Schedule }{all}, nil
}

func (s *Server) listManifests(ctx context.Context, in *struct {
	PageInput
	State string `query:"state" enum:"due,scanning,scanned,parked,gone,other" doc:"in this state: parked were given up, for the reason they have"`
}) (*struct{ Body Page[store.Manifest] }, error) {
	var after int64
	if err := decodeCursor("manifests", in.Cursor, &after); err != nil {
		return nil, err
	}
	rows, err := s.o.DB.Manifests(ctx, scopeOf(ctx, auth.Viewer), in.State, after, in.Limit+1)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body Page[store.Manifest] }{pageOf("manifests", rows, in.Limit, func(m *store.Manifest) any { return m.ID })}, nil
}

// A ManifestDetail is a manifest with the tags that name and named it, and the images
// below it.
type ManifestDetail struct {
	store.Manifest
	History []store.TagSpan `json:"history" nullable:"false"`
	Images  []int64         `json:"images" nullable:"false" doc:"ids of the images that it stands for, one a platform"`
}

// manifestFor is a manifest over whose repository who asks has the role; others are not
// found.
func (s *Server) manifestFor(ctx context.Context, id int64, role auth.Role) (*store.Manifest, error) {
	m, err := s.o.DB.Manifest(ctx, id)
	if err == nil && !store.InScope(scopeOf(ctx, role), m.Repository) {
		err = fmt.Errorf("manifest %d: %w", id, store.ErrNotFound)
	}
	return m, err
}

func (s *Server) getManifest(ctx context.Context, in *struct {
	ID int64 `path:"id" minimum:"1"`
}) (*struct{ Body ManifestDetail }, error) {
	m, err := s.manifestFor(ctx, in.ID, auth.Viewer)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := ManifestDetail{Manifest: *m, History: []store.TagSpan{}, Images: []int64{}}
	history, err := s.o.DB.TagHistory(ctx, in.ID)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	images, err := s.o.DB.ManifestImages(ctx, in.ID)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out.History, out.Images = append(out.History, history...), append(out.Images, images...)
	return &struct{ Body ManifestDetail }{out}, nil
}

func (s *Server) rescanManifest(ctx context.Context, in *struct {
	ID int64 `path:"id" minimum:"1"`
}) (*struct{}, error) {
	m, err := s.manifestFor(ctx, in.ID, auth.Developer)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	name, _, _ := strings.Cut(m.Repository, "/")
	r, err := s.o.DB.RegistryNamed(ctx, name)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	switch {
	case r.Kind != store.Crawled:
		return nil, huma.Error409Conflict("a client has told of this image: have it scan the image again")
	case r.Paused:
		return nil, huma.Error409Conflict("the registry is paused")
	}
	due, err := s.o.DB.Rescan(ctx, int(jobs.ForPush), in.ID)
	if err == nil {
		err = s.audit(ctx, "rescan-manifest", m.Repository+"@"+m.Digest, "")
	}
	if err == nil {
		err = s.enqueueScans(ctx, due, jobs.ForPush)
	}
	return nil, s.fail(ctx, err)
}
