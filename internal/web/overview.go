package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"strata/internal/auth"
	"strata/internal/store"
)

// An overviewPage is what one sees first: how bad it is, where to begin, what is new, and
// what is not known.
type overviewPage struct {
	Worst    listPage[store.ImageRow]
	FixFirst store.FixFirst
	Changes  listPage[store.FindingChange]
	// MoreChanges is how many are new besides, as far as they were asked for.
	MoreChanges int
	Parked      listPage[store.Manifest]
	Waiting     listPage[store.Manifest]
	Failing     listPage[store.Violation]
	Feeds       store.Feeds
	Instances   listPage[instance]
	// Days is how many findings were open at the end of each day; nil where who looks may
	// not know, or there is but one.
	Days *chart
	// Registries are those there are; Known tells that who looks may know.
	Registries      listPage[registry]
	KnowsRegistries bool
}

// An instance is one of the cluster.
type instance struct {
	ID, Name, Version string
	Alive, This       bool
	StartedAt         time.Time `json:"started_at"`
	BeatAt            time.Time `json:"beat_at"`
	Load              *struct {
		RunningJobs int64 `json:"running_jobs"`
		Workers     int
		Memory      int64
		Goroutines  int
		Processors  int
		Stopping    bool
	}
	// Schedules that it does, or did last.
	Schedules []string
}

// overview is the first page.
func (s *Site) overview(v *visit) error {
	p := &overviewPage{}
	var days listPage[store.FindingDay]
	few := url.Values{"limit": {"8"}}
	err := errors.Join(
		v.get("/images", few, &p.Worst),
		v.fixFirst(few, &p.FixFirst),
		v.get("/changes", url.Values{"limit": {"100"}}, &p.Changes),
		v.get("/violations", few, &p.Failing),
		v.mayGet("/manifests", url.Values{"state": {"parked"}, "limit": {"8"}}, &p.Parked),
		v.mayGet("/manifests", url.Values{"state": {"due"}, "limit": {"8"}}, &p.Waiting),
		v.mayGet("/feeds", nil, &p.Feeds),
		v.mayGet("/instances", nil, &p.Instances),
		v.mayGet("/findings/days", url.Values{"days": {"30"}}, &days),
	)
	if err != nil {
		return err
	}
	err = v.get("/registries", few, &p.Registries)
	p.KnowsRegistries = err == nil
	if err != nil && statusOf(err) != http.StatusForbidden {
		return err
	}
	p.gravest()
	p.Days = chartOf(days.Items)
	v.show(http.StatusOK, "overview", "Overview", p)
	return nil
}

// gravest leaves the gravest of what is new, of these the newest.
func (p *overviewPage) gravest() {
	const most = 8
	slices.SortStableFunc(p.Changes.Items, func(a, b store.FindingChange) int {
		return b.Finding.Severity.Rank() - a.Finding.Severity.Rank()
	})
	if n := len(p.Changes.Items); n > most {
		p.MoreChanges, p.Changes.Items = n-most, p.Changes.Items[:most]
	}
}

// fixFirst ranks all layers that who looks may see, which takes seconds where there are
// 100,000 images.
func (v *visit) fixFirst(query url.Values, into *store.FixFirst) (err error) {
	scope := fmt.Sprintf("%q", v.me.Scope(auth.Viewer))
	*into, err = v.ranked.get(scope, v.o.Now, func() (out store.FixFirst, err error) {
		err = v.get("/fix-first", query, &out)
		return out, err
	})
	return err
}

// mayGet is get for what who looks may not be allowed to see: then it is left empty.
func (v *visit) mayGet(path string, query url.Values, into any) error {
	err := v.get(path, query, into)
	if statusOf(err) == http.StatusForbidden {
		return nil
	}
	return err
}
