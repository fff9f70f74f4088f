package web

import (
	"maps"
	"net/http"
	"slices"

	"strata/internal/store"
)

// A feedsPage is what advisories there are, and how old they are.
type feedsPage struct {
	store.Feeds
	// Failed are the ecosystems and lists that the last sync could not have and of which
	// there is nothing, with the reason.
	Failed []failedFeed
}

// A failedFeed is one that could not be had.
type failedFeed struct{ Name, Error string }

func (s *Site) feeds(v *visit) error {
	p := &feedsPage{}
	if err := v.get("/feeds", nil, &p.Feeds); err != nil {
		return err
	}
	if last := p.LastSync; last != nil {
		for _, name := range slices.Sorted(maps.Keys(last.Failed)) {
			if !slices.ContainsFunc(p.Feeds.Feeds, func(f store.Feed) bool { return f.Name == name }) {
				p.Failed = append(p.Failed, failedFeed{name, last.Failed[name]})
			}
		}
	}
	v.show(http.StatusOK, "feeds", "Feeds", p)
	return nil
}

func (s *Site) syncFeeds(v *visit) error {
	return v.act("POST", "/feeds/sync", nil, "/feeds", "The advisories are being brought up to date; what is new in them is matched with all images then.")
}
