package web

import (
	"net/http"

	"strata/internal/jobs"
	"strata/internal/store"
)

// A jobsPage is what is done in the background, and when.
type jobsPage struct {
	listPage[jobs.Listed]
	State, Kind string
	States      []jobs.State
	Kinds       []jobs.Kind
	Schedules   []store.Schedule
	// Instances are the names of those of the cluster, by id.
	Instances map[string]string
}

// jobKinds are the kinds of jobs, in the order of what they do to an image.
func jobKinds() []jobs.Kind {
	return []jobs.Kind{jobs.Crawl, jobs.Scan, jobs.Sync, jobs.Match, jobs.Judge, jobs.Deliver, jobs.Reconcile, jobs.Retain}
}

// Does tells what jobs of a kind do.
func (p *jobsPage) Does(kind any) string {
	var name jobs.Kind
	switch k := kind.(type) {
	case jobs.Kind:
		name = k
	case string: // schedules are named for what they make
		name = jobs.Kind(k)
	}
	switch name {
	case jobs.Crawl:
		return "reads a registry"
	case jobs.Scan:
		return "scans a manifest"
	case jobs.Sync:
		return "brings the advisories up to date"
	case jobs.Match:
		return "matches packages with advisories"
	case jobs.Judge:
		return "judges images by the watches"
	case jobs.Deliver:
		return "sends notifications"
	case jobs.Reconcile:
		return "makes jobs of what is due"
	case jobs.Retain:
		return "deletes what is older than is to be kept"
	}
	return ""
}

// MayCancel and MayRetry tell what can be asked of a job.
func (p *jobsPage) MayCancel(j *jobs.Listed) bool {
	return j.State == jobs.Waiting || j.State == jobs.Running || j.State == jobs.Retrying
}

// MayRetry tells whether it can be asked for anew.
func (p *jobsPage) MayRetry(j *jobs.Listed) bool {
	return j.State == jobs.Parked || j.State == jobs.Cancelled
}

func (s *Site) jobs(v *visit) error {
	p := &jobsPage{
		State: v.r.FormValue("state"), Kind: v.r.FormValue("kind"), Kinds: jobKinds(),
		States: []jobs.State{jobs.Waiting, jobs.Running, jobs.Retrying, jobs.Parked, jobs.Cancelled, jobs.Done},
	}
	p.URL = v.r.URL
	query := v.asked("state", "kind", "cursor")
	query.Set("limit", "25")
	err := v.get("/jobs", query, &p.listPage)
	if err == nil && query.Get("cursor") == "" {
		p.Schedules, err = v.schedules()
	}
	if err != nil {
		return err
	}
	if p.Instances, err = v.instanceNames(); err != nil {
		return err
	}
	v.show(http.StatusOK, "jobs", "Jobs", p)
	return nil
}

// schedules are what happens again and again. The report of the last sync lies beside them,
// and is told on the page of feeds.
func (v *visit) schedules() ([]store.Schedule, error) {
	var all, out []store.Schedule
	if err := v.get("/schedules", nil, &all); err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.Name != "advisories" {
			out = append(out, s)
		}
	}
	return out, nil
}

func (v *visit) instanceNames() (map[string]string, error) {
	var all listPage[instance]
	if err := v.get("/instances", nil, &all); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, i := range all.Items {
		out[i.ID] = i.Name
	}
	return out, nil
}

func (s *Site) retryJob(v *visit) error {
	return v.act("POST", v.at("/jobs", "id", "retry"), nil, v.back("/jobs"), "Job %s is done anew.", v.r.PathValue("id"))
}

func (s *Site) cancelJob(v *visit) error {
	return v.act("POST", v.at("/jobs", "id", "cancel"), nil, v.back("/jobs"), "Job %s is cancelled.", v.r.PathValue("id"))
}
