package main

import (
	"context"
	"log/slog"
	"strings"

	"strata/internal/advisory"
	"strata/internal/analyzer"
	"strata/internal/jobs"
	"strata/internal/notify"
	"strata/internal/server"
	"strata/internal/store"
)

// works are what an instance does in the background. layers are what it knows of layers,
// in memory; court judges by watches; dir is where archives of advisories are put while
// they are read.
func (o *serveOptions) works(db *store.DB, layers *jobs.Layers, court *jobs.Court, dir string, log *slog.Logger) func(server.Wiring) ([]jobs.Work, error) {
	return func(w server.Wiring) ([]jobs.Work, error) {
		registries := &jobs.Registries{DB: db, Log: log, Guarded: w.Client.Transport}
		runner := &analyzer.Runner{Analyzers: analyzer.Default(), Memory: &analyzer.Memory{Limit: int64(o.memory) / 4}}
		scans := &jobs.Scans{DB: db, Instance: w.Instance, Registries: registries, Runner: runner, Cache: layers, Log: log,
			Then: func(ctx context.Context, images []int64) error {
				if err := db.DueWatches(ctx, images); err != nil {
					return err
				}
				return w.Enqueue(ctx, jobs.Job{Kind: jobs.Match, Priority: jobs.ForNews}, jobs.Job{Kind: jobs.Judge, Priority: jobs.ForNews})
			}}
		crawls := &jobs.Crawls{DB: db, Registries: registries, Enqueue: w.Enqueue, Every: o.crawlEvery, Log: log}
		syncs, err := o.syncs(db, w, dir, log)
		if err != nil {
			return nil, err
		}
		reconciles := &jobs.Reconciles{DB: db, Enqueue: w.Enqueue, More: syncs.Due, AnalyzerSet: analyzer.SetVersion}
		works := []jobs.Work{scans.Work(), crawls.Work(), reconciles.Work(), jobs.RetainWork(db, o.keep.untagged, o.keep.history, log), court.Work()}
		court.Then = func(ctx context.Context) error {
			return w.Enqueue(ctx, jobs.Job{Kind: jobs.Deliver, Priority: jobs.ForNews})
		}
		sender := notify.NewSender(w.Client)
		sender.Now = db.Now // a receiver refuses what is signed at another time than its own
		works = append(works, jobs.DeliverWork(jobs.DeliverOptions{DB: db, Instance: w.Instance, Sender: sender, PublicURL: strings.TrimSuffix(o.publicURL, "/"), Log: log}))
		return append(works, o.scheduled(syncs)...), nil
	}
}

// syncs bring the advisories up to date, from where the flags say.
func (o *serveOptions) syncs(db *store.DB, w server.Wiring, dir string, log *slog.Logger) (*jobs.Syncs, error) {
	lists := advisory.MirrorOptions{Log: log, TempDir: dir}
	mirror, err := advisory.OpenMirror(o.advisories.location(), lists)
	if err != nil {
		return nil, err
	}
	return &jobs.Syncs{
		DB: db, Enqueue: w.Enqueue, Instance: w.Instance, Mirror: o.advisories.location(), Ecosystems: o.advisories.ecosystems,
		KEV:     listLocation(o.advisories.kev, advisory.DefaultKEV, mirror.Public()),
		EPSS:    listLocation(o.advisories.epss, advisory.DefaultEPSS, mirror.Public()),
		Options: lists, Every: o.syncEvery, Log: log,
	}, nil
}

// scheduled are the works of syncs; with --sync-every 0 nothing is asked for advisories.
func (o *serveOptions) scheduled(syncs *jobs.Syncs) []jobs.Work {
	works := syncs.Work()
	for i := range works {
		if works[i].Kind == jobs.Sync && o.syncEvery == 0 {
			works[i].Every = 0
			works[i].Do = func(context.Context, string) error { return nil }
		}
	}
	return works
}
