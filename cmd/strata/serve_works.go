package main

import (
	"context"
	"log/slog"

	"strata/internal/analyzer"
	"strata/internal/jobs"
	"strata/internal/server"
	"strata/internal/store"
)

// works are what an instance does in the background. layers are what it knows of layers,
// in memory.
func (o *serveOptions) works(db *store.DB, layers *jobs.Layers, log *slog.Logger) func(server.Wiring) ([]jobs.Work, error) {
	return func(w server.Wiring) ([]jobs.Work, error) {
		registries := &jobs.Registries{DB: db, Log: log, Guarded: w.Client.Transport}
		runner := &analyzer.Runner{Analyzers: analyzer.Default(), Memory: &analyzer.Memory{Limit: int64(o.memory) / 4}}
		scans := &jobs.Scans{DB: db, Registries: registries, Runner: runner, Cache: layers, Log: log,
			Then: func(ctx context.Context, _ []int64) error {
				return w.Enqueue(ctx, jobs.Job{Kind: jobs.Match, Priority: jobs.ForNews})
			}}
		crawls := &jobs.Crawls{DB: db, Registries: registries, Enqueue: w.Enqueue, Every: o.crawlEvery, Log: log}
		reconciles := &jobs.Reconciles{DB: db, Enqueue: w.Enqueue, AnalyzerSet: analyzer.SetVersion}
		return []jobs.Work{scans.Work(), crawls.Work(), reconciles.Work()}, nil
	}
}
