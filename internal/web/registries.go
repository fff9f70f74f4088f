package web

import (
	"net/http"
	"net/url"
	"time"

	"strata/internal/store"
)

// A registry is where images are.
type registry struct {
	Name           string
	URL            string
	Kind           string
	Settings       store.RegistrySettings
	HasCredentials bool   `json:"has_credentials"`
	HasHookSecret  bool   `json:"has_hook_secret"`
	HookURL        string `json:"hook_url"`
	Paused         bool
	CreatedAt      time.Time `json:"created_at"`
	UpdatedAt      time.Time `json:"updated_at"`
	CrawledAt      time.Time `json:"crawled_at"`
	CrawlDueAt     time.Time `json:"crawl_due_at"`
	CrawlError     string    `json:"crawl_error"`
	Declared       string
	CrawlProgress  string `json:"crawl_progress"`
	Manifests      struct{ Due, Scanning, Scanned, Parked int }
}

// Crawled tells that Strata reads it; of others only clients tell.
func (r *registry) Crawled() bool { return r.Kind == store.Crawled }

// All is how many manifests are to be scanned, were, or were given up.
func (r *registry) All() int {
	return r.Manifests.Due + r.Manifests.Scanning + r.Manifests.Scanned + r.Manifests.Parked
}

// Ended is how many of All are done with.
func (r *registry) Ended() int { return r.Manifests.Scanned + r.Manifests.Parked }

// Errors are what could not be read the last time.
func (r *registry) Errors() []string { return linesOf(r.CrawlError) }

// A registryForm is a registry to be, as it was filled in.
type registryForm struct {
	Name, URL, Username, Error string
	Test                       *registryTest
}

// A registryTest is what came of a try to read a registry.
type registryTest struct {
	OK           bool
	Error        string
	Repositories []string
}

// A registriesPage lists the registries, and has the form for one more.
type registriesPage struct {
	listPage[registry]
	Form registryForm
}

func (s *Site) registries(v *visit) error { return v.showRegistries(http.StatusOK, registryForm{}) }

func (v *visit) showRegistries(status int, form registryForm) error {
	p := &registriesPage{Form: form}
	p.URL = v.r.URL
	if err := v.get("/registries", v.asked("cursor"), &p.listPage); err != nil {
		return err
	}
	v.show(status, "registries", "Registries", p)
	return nil
}

// noPassword is told who gives a user alone: a form that is shown again has no password, and
// what is kept would be replaced.
const noPassword = "Enter the password of the user, too; it is not kept in the form."

// addRegistry adds a registry, or tells only whether it can be read.
func (s *Site) addRegistry(v *visit) error {
	form := registryForm{Name: v.field("name"), URL: v.field("url"), Username: v.field("username")}
	if form.Name == "" {
		if u, err := url.Parse(form.URL); err == nil {
			form.Name = u.Host
		}
	}
	if form.URL == "" {
		form.Error = "Give the address of the registry."
		return v.showRegistries(http.StatusUnprocessableEntity, form)
	}
	body, password := map[string]any{"name": form.Name, "url": form.URL}, v.r.PostFormValue("password")
	if form.Username != "" && password == "" {
		form.Error = noPassword
		return v.showRegistries(http.StatusUnprocessableEntity, form)
	}
	if password != "" { // a robot's may have no user
		body["credentials"] = map[string]string{"username": form.Username, "password": password}
	}
	if v.r.PostFormValue("do") == "test" {
		err := v.ask("POST", "/registry-tests", body, &form.Test)
		if v.refused(err, &form.Error) {
			return v.showRegistries(http.StatusUnprocessableEntity, form)
		}
		if err != nil {
			return err
		}
		return v.showRegistries(http.StatusOK, form)
	}
	err := v.ask("POST", "/registries", body, nil)
	if v.refused(err, &form.Error) {
		return v.showRegistries(http.StatusUnprocessableEntity, form)
	}
	if err != nil {
		return err
	}
	return v.done("/registries/"+url.PathEscape(form.Name), "Registry %s is added, and is being read: its images appear as they are scanned.", form.Name)
}
