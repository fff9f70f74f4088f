package web

import (
	"net/http"
	"net/url"

	"strata/internal/auth"
	"strata/internal/store"
)

// A manifestsPage is what registries have, and what is done with it.
type manifestsPage struct {
	listPage[store.Manifest]
	State  string
	States []string
	// scope is where who looks may have things scanned.
	scope []string
}

// MayRescan tells whether who looks may have it scanned anew.
func (p *manifestsPage) MayRescan(m *store.Manifest) bool { return mayRescan(p.scope, m) }

func mayRescan(scope []string, m *store.Manifest) bool {
	return auth.Match(scope, m.Repository) && m.State != "gone" && m.State != "due" && m.State != "scanning"
}

// manifestStates are those that manifests may be looked for by.
func manifestStates() []string {
	return []string{"due", "scanning", "scanned", "parked", "gone", "other"}
}

func (s *Site) manifests(v *visit) error {
	p := &manifestsPage{State: v.r.FormValue("state"), States: manifestStates(), scope: v.me.Scope(auth.Developer)}
	p.URL = v.r.URL
	if err := v.get("/manifests", v.asked("state", "cursor"), &p.listPage); err != nil {
		return err
	}
	v.show(http.StatusOK, "manifests", "Manifests", p)
	return nil
}

// manifest is the page of a manifest: what came of it, and what names it.
func (s *Site) manifest(v *visit) error {
	var m struct {
		store.Manifest
		History   []store.TagSpan
		Images    []int64
		MayRescan bool     `json:"-"`
		URL       *url.URL `json:"-"`
	}
	if err := v.get(v.at("/manifests", "id"), nil, &m); err != nil {
		return err
	}
	m.MayRescan, m.URL = mayRescan(v.me.Scope(auth.Developer), &m.Manifest), v.r.URL
	v.show(http.StatusOK, "manifest", m.Repository+" "+short(m.Digest), m)
	return nil
}

func (s *Site) rescan(v *visit) error {
	to := v.back("/manifests")
	if v.field("back") == v.at("/manifests", "id") {
		to = v.field("back")
	}
	return v.act("POST", v.at("/manifests", "id", "rescan"), nil, to, "It is scanned again, before what was found by reading registries.")
}
