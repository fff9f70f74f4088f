package web

import (
	"errors"
	"net/http"
	"net/url"

	"strata/internal/jobs"
)

// A clusterPage is what the instances are and do.
type clusterPage struct {
	Instances []instance
	Waiting   []waitingJobs
}

// waitingJobs are those of a kind that wait, are worked on, or were given up. More tells
// that there are more than were counted.
type waitingJobs struct {
	Kind                               jobs.Kind
	Waiting, Retrying, Running, Parked int
	MoreWaiting, MoreParked            bool
}

// cluster is the page of the instances. Jobs are counted as far as a page of them goes:
// when so many wait, how many more is no matter.
func (s *Site) cluster(v *visit) error {
	p := &clusterPage{}
	var instances listPage[instance]
	var waiting, retrying, running, parked listPage[jobs.Listed]
	some := func(state jobs.State, into *listPage[jobs.Listed]) error {
		return v.get("/jobs", url.Values{"state": {string(state)}, "limit": {"500"}}, into)
	}
	err := errors.Join(v.get("/instances", nil, &instances), some(jobs.Waiting, &waiting), some(jobs.Retrying, &retrying), some(jobs.Running, &running), some(jobs.Parked, &parked))
	if err != nil {
		return err
	}
	p.Instances = instances.Items
	for _, kind := range jobKinds() {
		of := func(l *listPage[jobs.Listed]) (n int) {
			for i := range l.Items {
				if l.Items[i].Kind == kind {
					n++
				}
			}
			return n
		}
		w := waitingJobs{Kind: kind, Waiting: of(&waiting), Retrying: of(&retrying), Running: of(&running), Parked: of(&parked)}
		w.MoreWaiting, w.MoreParked = w.Waiting > 0 && waiting.Next != "", w.Parked > 0 && parked.Next != ""
		p.Waiting = append(p.Waiting, w)
	}
	v.show(http.StatusOK, "cluster", "Cluster", p)
	return nil
}
