package server

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/auth"
	"strata/internal/jobs"
	"strata/internal/store"
)

func (s *Server) registerFeeds() {
	huma.Register(s.api, operation("GET", "/feeds", "get-feeds", "Show what advisories there are, how old they are, and how the last sync went", "feeds", auth.Viewer), s.getFeeds)
	op := operation("POST", "/feeds/sync", "sync-feeds", "Bring the advisories up to date now", "feeds", auth.Security)
	op.DefaultStatus = 202
	huma.Register(s.api, op, s.syncFeeds)
}

func (s *Server) getFeeds(ctx context.Context, _ *struct{}) (*struct{ Body store.Feeds }, error) {
	f, err := s.o.DB.Feeds(ctx)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body store.Feeds }{f}, nil
}

func (s *Server) syncFeeds(ctx context.Context, _ *struct{}) (*struct{}, error) {
	if s.o.Enqueue == nil {
		return nil, huma.Error501NotImplemented("this server has no queue")
	}
	if err := s.o.Enqueue(ctx, jobs.Job{Kind: jobs.Sync, Priority: jobs.ForCI}); err != nil {
		return nil, s.fail(ctx, err)
	}
	return nil, s.fail(ctx, s.audit(ctx, "sync-feeds", "", ""))
}
