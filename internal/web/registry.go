package web

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"strata/internal/store"
)

// A settingsForm is what can be changed of a registry, as texts.
type settingsForm struct {
	Error, URL                                                   string
	Paused, Insecure                                             bool
	Include, Exclude, Repositories, Tags, ExcludeTags, Platforms string
	CA, Rate, Parallel, CrawlEvery, Owners                       string
	// Username is of other credentials, Forget deletes those that are kept.
	Username string
	Forget   bool
}

// A hookSecret is shown once.
type hookSecret struct{ Secret, URL string }

// A registryPage is the page of a registry.
type registryPage struct {
	Registry registry
	Form     settingsForm
	// Test is what came of one; nil for none was made.
	Test *registryTest
	// Hook is the secret that was just made.
	Hook *hookSecret
}

// registryAt is the registry that the path names, with the form as it is now.
func (v *visit) registryAt() (*registryPage, error) {
	p := &registryPage{}
	if err := v.get(v.at("/registries", "name"), nil, &p.Registry); err != nil {
		return nil, err
	}
	p.Registry.HookURL = v.absolute(p.Registry.HookURL)
	p.Form = settingsOf(&p.Registry)
	return p, nil
}

func (v *visit) showRegistry(status int, p *registryPage) error {
	v.show(status, "registry", p.Registry.Name, p)
	return nil
}

func (s *Site) registry(v *visit) error {
	p, err := v.registryAt()
	if err != nil {
		return err
	}
	return v.showRegistry(http.StatusOK, p)
}

// settingsOf is the form of a registry as it is.
func settingsOf(r *registry) settingsForm {
	set := &r.Settings
	lines := func(list []string) string { return strings.Join(list, "\n") }
	f := settingsForm{
		URL: r.URL, Paused: r.Paused, Insecure: set.Insecure, Include: lines(set.Include), Exclude: lines(set.Exclude), Repositories: lines(set.Repositories),
		Tags: lines(set.Tags), ExcludeTags: lines(set.ExcludeTags), Platforms: lines(set.Platforms), CA: set.CA, CrawlEvery: set.CrawlEvery,
	}
	if set.Rate > 0 {
		f.Rate = strconv.FormatFloat(set.Rate, 'g', -1, 64)
	}
	if set.Parallel > 0 {
		f.Parallel = strconv.Itoa(set.Parallel)
	}
	for _, o := range set.Owners {
		f.Owners += o.Repositories + " " + o.Owner + "\n"
	}
	return f
}

// settingsIn is the form as it was filled in.
func (v *visit) settingsIn() settingsForm {
	return settingsForm{
		URL: v.field("url"), Paused: v.field("paused") != "", Insecure: v.field("insecure") != "",
		Include: v.field("include"), Exclude: v.field("exclude"), Repositories: v.field("repositories"), Tags: v.field("tags"), ExcludeTags: v.field("exclude_tags"),
		Platforms: v.field("platforms"), CA: v.field("ca"), Rate: v.field("rate"), Parallel: v.field("parallel"), CrawlEvery: v.field("crawl_every"), Owners: v.field("owners"),
		Username: v.field("username"), Forget: v.field("forget") != "",
	}
}

// settings are what the form says; the error is for who filled it in.
func (f *settingsForm) settings() (store.RegistrySettings, error) {
	out := store.RegistrySettings{
		Include: linesOf(f.Include), Exclude: linesOf(f.Exclude), Repositories: linesOf(f.Repositories), Tags: linesOf(f.Tags), ExcludeTags: linesOf(f.ExcludeTags),
		Platforms: linesOf(f.Platforms), CA: f.CA, Insecure: f.Insecure, CrawlEvery: f.CrawlEvery,
	}
	var err error
	if f.Rate != "" {
		if out.Rate, err = strconv.ParseFloat(f.Rate, 64); err != nil || math.IsNaN(out.Rate) || math.IsInf(out.Rate, 0) {
			return out, fmt.Errorf("requests a second: %q is no number", f.Rate)
		}
	}
	if f.Parallel != "" {
		if out.Parallel, err = strconv.Atoi(f.Parallel); err != nil {
			return out, fmt.Errorf("requests at once: %q is no whole number", f.Parallel)
		}
	}
	for _, line := range linesOf(f.Owners) {
		glob, owner, ok := strings.Cut(line, " ")
		if !ok {
			return out, fmt.Errorf("owners: %q: want a glob, a space, and who owns what it names", line)
		}
		out.Owners = append(out.Owners, store.RegistryOwner{Repositories: glob, Owner: strings.TrimSpace(owner)})
	}
	return out, nil
}

// changeRegistry writes what was filled in. Credentials go along where there are new ones,
// since another address is refused those that are kept.
func (s *Site) changeRegistry(v *visit) error {
	p, err := v.registryAt()
	if err != nil {
		return err
	}
	p.Form = v.settingsIn()
	settings, err := p.Form.settings()
	if err != nil {
		p.Form.Error = sentence(err.Error())
		return v.showRegistry(http.StatusUnprocessableEntity, p)
	}
	body := map[string]any{"url": p.Form.URL, "settings": settings, "paused": p.Form.Paused}
	if p.Form.Username != "" && v.r.PostFormValue("password") == "" {
		p.Form.Error = noPassword
		return v.showRegistry(http.StatusUnprocessableEntity, p)
	}
	credentials := map[string]string{"username": p.Form.Username, "password": v.r.PostFormValue("password"), "token": v.field("token")}
	if p.Form.Forget || strings.Join([]string{credentials["username"], credentials["password"], credentials["token"]}, "") != "" {
		body["credentials"] = credentials
	}
	err = v.ask("PATCH", v.at("/registries", "name"), body, nil)
	if v.refused(err, &p.Form.Error) {
		return v.showRegistry(http.StatusUnprocessableEntity, p)
	}
	if err != nil {
		return err
	}
	said := "The settings are kept, and the registry is read anew."
	if !p.Registry.Crawled() {
		said = "The settings are kept."
	}
	if p.Form.Paused {
		said = "The settings are kept. The registry is paused: it is neither read nor scanned."
	}
	return v.done(v.at("/registries", "name"), "%s", said)
}

// testRegistry tells whether the registry can be read as it is set up.
func (s *Site) testRegistry(v *visit) error {
	p, err := v.registryAt()
	if err != nil {
		return err
	}
	if err := v.ask("POST", v.at("/registries", "name", "test"), nil, &p.Test); err != nil {
		return err
	}
	return v.showRegistry(http.StatusOK, p)
}

func (s *Site) readRegistry(v *visit) error {
	return v.act("POST", v.at("/registries", "name", "crawl"), nil, v.at("/registries", "name"), "The registry is being read.")
}

// makeHook makes a secret for notifications, and shows it, this once.
func (s *Site) makeHook(v *visit) error {
	hook := &hookSecret{}
	if err := v.ask("POST", v.at("/registries", "name", "hook-secret"), nil, hook); err != nil {
		return err
	}
	p, err := v.registryAt()
	if err != nil {
		return err
	}
	p.Hook = &hookSecret{Secret: hook.Secret, URL: v.absolute(hook.URL)}
	return v.showRegistry(http.StatusOK, p)
}

// absolute is an address of this server with its host: where the server isn't told how
// users reach it, as this one did.
func (v *visit) absolute(address string) string {
	if !strings.HasPrefix(address, "/") {
		return address
	}
	scheme := "http://"
	if v.r.TLS != nil {
		scheme = "https://"
	}
	return scheme + v.r.Host + address
}

func (s *Site) revokeHook(v *visit) error {
	return v.act("DELETE", v.at("/registries", "name", "hook-secret"), nil, v.at("/registries", "name"), "No more notifications are taken from this registry.")
}

func (s *Site) deleteRegistry(v *visit) error {
	return v.act("DELETE", v.at("/registries", "name"), nil, "/registries", "Registry %s is deleted.", v.r.PathValue("name"))
}
