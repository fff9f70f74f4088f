package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"strata/internal/advisory"
	"strata/internal/inventory"
	"strata/internal/report"
	"strata/internal/scan"
	"strata/internal/store"
)

// advisoryOptions are the flags about what packages are matched against.
type advisoryOptions struct {
	mirror  mirrorFlags
	maxAge  time.Duration
	offline bool
}

func (o *advisoryOptions) flags(f *pflag.FlagSet) {
	f.DurationVar(&o.maxAge, "db-max-age", 24*time.Hour, "update advisories that are older than this `DURATION`; 0s always does")
	f.BoolVar(&o.offline, "offline", false, "use the advisories there are, whatever their age; images still come from where they are")
	f.StringVar(&o.mirror.mirror, "mirror", "", "`URL` or folder to update advisories from, with the layout of OSV's bulk export (default OSV's own)")
	f.StringVar(&o.mirror.kev, "kev", "", "`URL` or file of CISA's list of exploited vulnerabilities, or none (default CISA's own with the default mirror)")
	f.StringVar(&o.mirror.epss, "epss", "", "`URL` or file of FIRST's EPSS scores, or none (default FIRST's own with the default mirror)")
}

// check finds mistakes in the flags before any work is done.
func (o *advisoryOptions) check() error {
	if o.maxAge < 0 {
		return fmt.Errorf("--db-max-age %s: want 0s, which always updates, or more", o.maxAge)
	}
	return nil
}

// An origin says what the advisories of a scan are.
type origin struct {
	advisories report.Advisories
	problems   []inventory.Problem
}

// ecosystemsOf are the ecosystems, without release, of the packages found: only
// their advisories are needed.
func ecosystemsOf(results []*scan.Result) []string {
	var names []string
	for _, r := range results {
		for i := range r.Inventory.Packages {
			if p := &r.Inventory.Packages[i]; p.Ecosystem != "" && !p.OwnersAffair() {
				names = append(names, advisory.Base(p.Ecosystem))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// openAdvisoriesFor opens the advisories after bringing those of the ecosystems
// up to date, when they are missing or too old and that is not forbidden. When
// it can't be done, what is there is used, and the report says so; without
// anything, that is the starter set.
func (a *app) openAdvisoriesFor(ctx context.Context, o *advisoryOptions, ecosystems []string) (*store.Advisories, origin, error) {
	path, err := a.advisoriesPath()
	if err != nil {
		return nil, origin{}, err
	}
	status, err := a.advisoryStatus(ctx)
	if err != nil {
		return nil, origin{}, err
	}
	var from origin
	if stale := a.stale(status, o, ecosystems); len(stale) > 0 {
		from.problems, err = a.refresh(ctx, o, status, stale)
		if err != nil {
			return nil, origin{}, err
		}
		if status, err = a.advisoryStatus(ctx); err != nil {
			return nil, origin{}, err
		}
	}
	if status == nil {
		if status, err = a.starter(ctx, path); err != nil {
			return nil, origin{}, err
		}
	}
	from.advisories = a.describe(status, ecosystems)
	db, err := store.OpenAdvisories(path)
	return db, from, err
}

// starter makes a database of the starter set, unless another process has made
// one meanwhile.
func (a *app) starter(ctx context.Context, path string) (*store.AdvisoryStatus, error) {
	_, failed := store.UpdateAdvisories(ctx, path, advisory.StarterMirror(), store.UpdateOptions{Now: a.now, Log: a.log})
	status, err := a.advisoryStatus(ctx)
	if err == nil && status == nil {
		err = failed
	}
	return status, err
}

// advisoryStatus is nil when there is no database yet.
func (a *app) advisoryStatus(ctx context.Context) (*store.AdvisoryStatus, error) {
	path, err := a.advisoriesPath()
	if err != nil {
		return nil, err
	}
	db, err := store.OpenAdvisories(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := db.Status(ctx)
	return &s, errors.Join(err, db.Close())
}

// stale are those of the ecosystems whose advisories are missing or too old.
func (a *app) stale(status *store.AdvisoryStatus, o *advisoryOptions, ecosystems []string) []string {
	if o.offline {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(ecosystems), func(name string) bool {
		e := ecosystemStatus(status, name)
		return e != nil && !e.Starter && a.now().Sub(e.Synced) <= o.maxAge
	})
}

func ecosystemStatus(status *store.AdvisoryStatus, name string) *store.EcosystemStatus {
	if status == nil {
		return nil
	}
	for i := range status.Ecosystems {
		if status.Ecosystems[i].Ecosystem == name {
			return &status.Ecosystems[i]
		}
	}
	return nil
}

// refresh updates the ecosystems. That it could not is a problem of the report.
func (a *app) refresh(ctx context.Context, o *advisoryOptions, status *store.AdvisoryStatus, ecosystems []string) ([]inventory.Problem, error) {
	a.say("updating advisories of %s from %s", report.Safe(strings.Join(ecosystems, ", ")), report.Safe(advisory.Redact(o.mirror.location())))
	flags := o.mirror
	flags.ecosystems = ecosystems
	summary, err := a.updateAdvisories(ctx, flags, a.updateProgress())
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var problems []inventory.Problem
	for _, e := range summary.Ecosystems {
		if e.Err != nil {
			problems = append(problems, a.notUpdated(e.Ecosystem, ecosystemStatus(status, e.Ecosystem), e.Err))
		}
	}
	for _, l := range summary.Lists {
		if l.Err != nil {
			problems = append(problems, inventory.Problem{Layer: -1, Message: fmt.Sprintf("%s could not be updated: %v", strings.ToUpper(l.Name), l.Err)})
		}
	}
	if err != nil && len(problems) == 0 {
		p := inventory.Problem{Layer: -1, Message: fmt.Sprintf("advisories could not be updated: %v", err)}
		if status != nil && !status.Starter {
			p.Message += "; those there are, are from " + ago(a.now(), status.Oldest)
		}
		problems = append(problems, p)
	}
	return problems, nil
}

func (a *app) notUpdated(ecosystem string, old *store.EcosystemStatus, err error) inventory.Problem {
	p := inventory.Problem{Layer: -1, Message: fmt.Sprintf("advisories of %s could not be updated: %v", ecosystem, err)}
	if old != nil && !old.Starter {
		p.Message += "; those there are, are from " + ago(a.now(), old.Synced)
	}
	return p
}

// describe tells where the advisories of the ecosystems came from, and how old
// the oldest are.
func (a *app) describe(status *store.AdvisoryStatus, ecosystems []string) report.Advisories {
	var out report.Advisories
	var mirrors []string
	var oldest time.Time
	for _, name := range ecosystems {
		e := ecosystemStatus(status, name)
		if e == nil {
			continue
		}
		mirrors = append(mirrors, e.Mirror)
		if oldest.IsZero() || e.Synced.Before(oldest) {
			oldest = e.Synced
		}
	}
	slices.Sort(mirrors)
	out.Source = strings.Join(slices.Compact(mirrors), ", ")
	if !oldest.IsZero() {
		out.Updated = &oldest
		out.AgeHours = max(0, a.now().Sub(oldest).Hours())
	}
	out.Starter = status.Starter
	return out
}
