package web

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"strata/internal/store"
)

// A registry is where images are.
type registry struct {
	Name           string
	URL            string
	Kind           string
	Settings       store.RegistrySettings
	HasCredentials bool `json:"has_credentials"`
	HasHookSecret  bool `json:"has_hook_secret"`
	Paused         bool
	CrawledAt      time.Time `json:"crawled_at"`
	CrawlDueAt     time.Time `json:"crawl_due_at"`
	CrawlError     string    `json:"crawl_error"`
	CrawlProgress  string    `json:"crawl_progress"`
}

// A registryForm is a registry to be, as it was filled in.
type registryForm struct {
	Name, URL, Username, Error string
	Tested                     bool
	Found                      []string
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

// addRegistry adds a registry, or tells only whether it can be read.
func (s *Site) addRegistry(v *visit) error {
	form := registryForm{Name: strings.TrimSpace(v.r.PostFormValue("name")), URL: strings.TrimSpace(v.r.PostFormValue("url")), Username: strings.TrimSpace(v.r.PostFormValue("username"))}
	if form.Name == "" {
		if u, err := url.Parse(form.URL); err == nil {
			form.Name = u.Host
		}
	}
	body := map[string]any{"name": form.Name, "url": form.URL}
	if password := v.r.PostFormValue("password"); form.Username != "" || password != "" {
		body["credentials"] = map[string]string{"username": form.Username, "password": password}
	}
	if v.r.PostFormValue("do") == "test" {
		var test struct {
			OK           bool
			Error        string
			Repositories []string
		}
		err := v.ask("POST", "/registry-tests", body, &test)
		if err != nil && !v.wrong(err, &form.Error) {
			return err
		}
		if err == nil && !test.OK {
			form.Error = sentence(test.Error)
		}
		form.Tested, form.Found = form.Error == "", test.Repositories
		return v.showRegistries(http.StatusOK, form)
	}
	err := v.ask("POST", "/registries", body, nil)
	if v.wrong(err, &form.Error) {
		return v.showRegistries(http.StatusUnprocessableEntity, form)
	}
	if err != nil {
		return err
	}
	return v.done("/registries", "Registry %s is added, and is being read: its images appear as they are scanned.", form.Name)
}
