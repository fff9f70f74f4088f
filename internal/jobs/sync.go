package jobs

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"strata/internal/advisory"
	"strata/internal/store"
)

// Syncs bring the advisories up to date, and match with them the package versions that
// are due. DB, Enqueue and Instance are needed.
type Syncs struct {
	DB      *store.DB
	Enqueue func(context.Context, ...Job) error
	// Instance is the name of this one among those that share the database.
	Instance string
	// Mirror is a URL or folder with the layout of OSV's bulk export; OSV's own by
	// default.
	Mirror string
	// KEV and EPSS are URLs or paths of the lists; empty for none.
	KEV, EPSS string
	// Ecosystems that are wanted; by default those that the packages in the database
	// are of. "all" stands for everything the mirror has.
	Ecosystems []string
	// Options for opening the mirror and the lists.
	Options advisory.MirrorOptions
	// Every is how often; 0 means 6 hours.
	Every time.Duration
	Log   *slog.Logger
}

// Work are those of the queue: Sync and Match.
func (s *Syncs) Work() []Work {
	every := s.Every
	if every <= 0 {
		every = 6 * time.Hour
	}
	return []Work{
		{Kind: Sync, Do: func(ctx context.Context, _ string) error { return s.Sync(ctx) }, Every: every, Timeout: 2 * time.Hour},
		{Kind: Match, Do: func(ctx context.Context, _ string) error { return s.Match(ctx) }, Timeout: 2 * time.Hour},
	}
}

func (s *Syncs) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.New(slog.DiscardHandler)
}

// Sync brings the advisories up to date, keeps a report of how it went, and asks for a
// Match. When nothing can be had and nothing is there, the small set that comes with
// Strata is taken, and the status says so. Without packages there is nothing to want.
func (s *Syncs) Sync(ctx context.Context) error {
	wanted, err := s.wanted(ctx)
	if err != nil || len(wanted) == 0 {
		return err
	}
	mirror := s.Mirror
	if mirror == "" {
		mirror = advisory.DefaultMirror
	}
	report := store.SyncReport{StartedAt: s.DB.Now(), Mirror: advisory.Redact(mirror), Wanted: wanted}
	err = s.from(ctx, mirror, wanted, &report)
	if errors.Is(err, store.ErrBusy) || ctx.Err() != nil {
		return err
	}
	if err != nil {
		report.Error = err.Error()
		err = errors.Join(err, s.starter(ctx))
	}
	report.EndedAt = s.DB.Now()
	err = errors.Join(err, s.tellFailed(ctx, report.Failed))
	s.log().InfoContext(ctx, "advisories synced", "changed", report.Changed, "removed", report.Removed, "took", report.EndedAt.Sub(report.StartedAt))
	return errors.Join(err, s.DB.NoteSync(ctx, report), s.Enqueue(ctx, Job{Kind: Match, Priority: ForNews}))
}

// tellFailed tells what could not be had, once as long as the reason is the same: a
// mirror without an ecosystem is asked for it at every sync.
func (s *Syncs) tellFailed(ctx context.Context, failed map[string]string) error {
	last, err := s.DB.LastSync(ctx)
	if err != nil {
		return err
	}
	for name, reason := range failed {
		level := slog.LevelWarn
		if last != nil && last.Failed[name] == reason {
			level = slog.LevelDebug
		}
		s.log().Log(ctx, level, "advisories could not be updated", "feed", name, "error", reason)
	}
	return nil
}

func (s *Syncs) from(ctx context.Context, location string, wanted []string, report *store.SyncReport) error {
	mirror, err := advisory.OpenMirror(location, s.Options)
	if err != nil {
		return err
	}
	summary, err := s.DB.SyncAdvisories(ctx, s.Instance, mirror, store.UpdateOptions{
		Ecosystems: wanted, KEV: s.KEV, EPSS: s.EPSS, Lists: s.Options, Now: s.DB.Now, Log: s.log(),
	})
	report.Take(summary)
	return err
}

// starter takes the small set where there is nothing at all.
func (s *Syncs) starter(ctx context.Context) error {
	f, err := s.DB.Feeds(ctx)
	if err != nil || len(f.Feeds) > 0 {
		return err
	}
	s.log().WarnContext(ctx, "no advisories can be had: the small set that comes with Strata is used, which knows few flaws")
	_, err = s.DB.SyncAdvisories(ctx, s.Instance, advisory.StarterMirror(), store.UpdateOptions{Now: s.DB.Now, Log: s.log()})
	return err
}

// wanted are the ecosystems to bring up to date: those asked for, or those that packages
// are of and those that are there already.
func (s *Syncs) wanted(ctx context.Context) ([]string, error) {
	if len(s.Ecosystems) > 0 {
		return s.Ecosystems, nil
	}
	out, err := s.DB.PackageEcosystems(ctx)
	if err != nil {
		return nil, err
	}
	f, err := s.DB.Feeds(ctx)
	for _, e := range f.Feeds {
		if e.Kind == "ecosystem" && !e.Starter {
			out = append(out, e.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), err
}

// Match matches what is due, and asks for Judge when images that are watched were hit.
func (s *Syncs) Match(ctx context.Context) error {
	m, err := s.DB.MatchDue(ctx, s.Instance)
	if m.Matched+m.Rematched > 0 {
		s.log().InfoContext(ctx, "packages matched", "first", m.Matched, "again", m.Rematched, "opened", m.Opened, "changed", m.Changed, "closed", m.Closed, "judgements", m.Images)
	}
	if m.Images > 0 {
		err = errors.Join(err, s.Enqueue(ctx, Job{Kind: Judge, Priority: ForNews}))
	}
	return errors.Join(err, s.askForNew(ctx))
}

// askForNew asks for a Sync at once when packages are of ecosystems that were never
// asked for: the first results are not to wait for a Reconcile.
func (s *Syncs) askForNew(ctx context.Context) error {
	due, err := s.Due(ctx)
	if i := slices.IndexFunc(due, func(j Job) bool { return j.Kind == Sync }); i >= 0 {
		err = errors.Join(err, s.Enqueue(ctx, due[i]))
	}
	return err
}

// Due gives the jobs that the rows say are due (Reconciles.More): Match for packages
// that are not matched, Sync for packages of ecosystems that were never asked for.
func (s *Syncs) Due(ctx context.Context) ([]Job, error) {
	var out []Job
	due, err := s.DB.MatchIsDue(ctx)
	if err != nil {
		return nil, err
	}
	if due {
		out = append(out, Job{Kind: Match, Priority: ForNews})
	}
	last, err := s.DB.LastSync(ctx)
	if err != nil {
		return nil, err
	}
	wanted, err := s.wanted(ctx)
	if err != nil {
		return nil, err
	}
	asked := func(e string) bool { return last != nil && slices.Contains(last.Wanted, e) }
	if slices.ContainsFunc(wanted, func(e string) bool { return !asked(e) }) {
		out = append(out, Job{Kind: Sync, Priority: ForNews})
	}
	return out, nil
}
