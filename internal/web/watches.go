package web

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"strata/internal/policy"
	"strata/internal/store"
)

// A watchRow is a watch in the list.
type watchRow struct {
	store.Watch
	OpenViolations int `json:"open_violations"`
	Declared       string
}

// watchList are the watches; none for who may not see them.
func (v *visit) watchList() ([]watchRow, error) {
	var list struct{ Items []watchRow }
	err := v.mayGet("/watches", nil, &list)
	return list.Items, err
}

// ScopeWords is the scope in words.
func (w *watchRow) ScopeWords() string {
	var words []string
	s := &w.Scope
	if len(s.Repositories) > 0 {
		words = append(words, "in "+strings.Join(s.Repositories, " or "))
	}
	if len(s.Tags) > 0 {
		words = append(words, "with a tag "+strings.Join(s.Tags, " or "))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		words = append(words, "labelled "+name+"="+s.Labels[name])
	}
	if len(s.Base) > 0 {
		words = append(words, "built on "+strings.Join(s.Base, " or "))
	}
	if len(words) == 0 {
		return "all images that have a tag"
	}
	return "images " + strings.Join(words, ", ")
}

// Many tells that there are more violations than were counted.
func (w *watchRow) Many() bool { return w.OpenViolations >= store.MaxOpen }

// watches is the list of watches.
func (s *Site) watches(v *visit) error {
	var list struct{ Items []watchRow }
	if err := v.get("/watches", nil, &list); err != nil {
		return err
	}
	v.show(http.StatusOK, "watches", "Watches", list)
	return nil
}

// A watchForm is a watch to be written, as it was filled in.
type watchForm struct {
	Name                             string
	Repositories, Tags, Labels, Base string
	Mode                             string
	Paused                           bool
	Policies, Receivers              []choice
	// Declared is where settings declare it.
	Declared string
	// New tells that it is not yet there.
	New   bool
	Error string
}

// A choice is one of several that may be taken.
type choice struct {
	Name, About string
	Taken       bool
}

// watchForm is the form of the watch of the address, with what can be chosen.
func (v *visit) watchForm() (*watchForm, error) {
	if !v.me.May("security") {
		return nil, &apiError{Status: http.StatusForbidden, Detail: "to write watches needs the role security over all repositories"}
	}
	f := &watchForm{Name: v.r.PathValue("name")}
	var w watchRow
	if f.New = f.Name == newName; f.New {
		f.Name = ""
	} else {
		watches, err := v.watchList()
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(watches, func(w watchRow) bool { return w.Name == f.Name })
		if i < 0 {
			return nil, notFound("watch " + f.Name)
		}
		w = watches[i]
	}
	f.Repositories, f.Tags, f.Base = strings.Join(w.Scope.Repositories, "\n"), strings.Join(w.Scope.Tags, "\n"), strings.Join(w.Scope.Base, "\n")
	for _, name := range slices.Sorted(maps.Keys(w.Scope.Labels)) {
		f.Labels += name + "=" + w.Scope.Labels[name] + "\n"
	}
	f.Mode, f.Paused, f.Declared = w.Mode, w.Paused, w.Declared
	return f, f.choices(v, w.Policies, w.Receivers)
}

// choices are the policies and receivers that there are, with those taken.
func (f *watchForm) choices(v *visit, policies, receivers []string) error {
	var documents documentList
	if err := v.get("/policies", nil, &documents); err != nil {
		return err
	}
	about := map[string]string{}
	var own, ready []string
	for i := range documents.Items {
		d := &documents.Items[i]
		about[d.Name], _ = policy.Summary([]byte(d.Text))
		own = append(own, d.Name)
	}
	for _, name := range documents.Ready {
		text, err := policy.ReadyText(name)
		if err != nil {
			return err
		}
		about[name], _ = policy.Summary(text)
		ready = append(ready, name)
	}
	var there struct {
		Items []struct{ Name, Kind string }
	}
	if err := v.get("/receivers", url.Values{"limit": {"500"}}, &there); err != nil {
		return err
	}
	var names []string
	for _, r := range there.Items {
		about["receiver "+r.Name] = r.Kind
		names = append(names, r.Name)
	}
	f.Policies = choose(slices.Concat(own, ready), policies, func(name string) string { return about[name] })
	f.Receivers = choose(names, receivers, func(name string) string { return about["receiver "+name] })
	return nil
}

// choose are the choices of what is there and what is taken.
func choose(there, taken []string, about func(string) string) (out []choice) {
	for _, name := range slices.Concat(there, taken) {
		if !slices.ContainsFunc(out, func(c choice) bool { return c.Name == name }) {
			out = append(out, choice{Name: name, About: about(name), Taken: slices.Contains(taken, name)})
		}
	}
	return out
}

// takenOf are the names of those taken.
func takenOf(choices []choice) []string {
	out := []string{}
	for _, c := range choices {
		if c.Taken {
			out = append(out, c.Name)
		}
	}
	return out
}

// watch is the page with the form of a watch.
func (s *Site) watch(v *visit) error {
	f, err := v.watchForm()
	if err != nil {
		return err
	}
	if p := v.r.FormValue("policy"); f.New && p != "" {
		if err := f.choices(v, []string{p}, nil); err != nil {
			return err
		}
	}
	v.showWatch(http.StatusOK, f)
	return nil
}

func (v *visit) showWatch(status int, f *watchForm) {
	title := "Watch " + f.Name
	if f.New {
		title = "New watch"
	}
	v.show(status, "watch", title, f)
}

// changeWatch writes a watch, or deletes it.
func (s *Site) changeWatch(v *visit) error {
	f, err := v.watchForm()
	if err != nil {
		return err
	}
	if v.r.PostFormValue("do") == "delete" {
		if err := v.ask("DELETE", "/watches/"+url.PathEscape(f.Name), nil, nil); err != nil {
			return err
		}
		return v.done("/watches", "Watch %s is deleted, and its violations with it.", f.Name)
	}
	if err := f.fill(v); err != nil {
		return err
	}
	if f.Error != "" {
		v.showWatch(http.StatusUnprocessableEntity, f)
		return nil
	}
	scope := store.WatchScope{Repositories: listed(f.Repositories), Tags: listed(f.Tags), Labels: labelsOf(f.Labels), Base: listed(f.Base)}
	body := map[string]any{"scope": scope, "policies": takenOf(f.Policies), "receivers": takenOf(f.Receivers), "mode": f.Mode, "paused": f.Paused}
	err = v.ask("PUT", "/watches/"+url.PathEscape(f.Name), body, nil)
	if v.wrong(err, &f.Error) {
		v.showWatch(http.StatusUnprocessableEntity, f)
		return nil
	}
	if err != nil {
		return err
	}
	return v.done("/watches", "Watch %s is saved. The images in its scope are judged now.", f.Name)
}

// fill takes what was filled in, and tells what the API would take without a word: one of
// the name of another would be written over it.
func (f *watchForm) fill(v *visit) error {
	value := v.r.PostFormValue
	f.Repositories, f.Tags, f.Labels, f.Base = unixLines(value("repositories")), unixLines(value("tags")), unixLines(value("labels")), unixLines(value("base"))
	f.Mode, f.Paused = value("mode"), value("paused") != ""
	if err := f.choices(v, v.r.PostForm["policy"], v.r.PostForm["receiver"]); err != nil {
		return err
	}
	if f.New {
		f.Name = v.field("name")
		f.Error = nameMistake(f.Name)
		watches, err := v.watchList()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(watches, func(w watchRow) bool { return w.Name == f.Name }) {
			f.Error = "A watch called " + f.Name + " is there already: take another name, or change that one."
		}
	}
	if f.Error == "" && len(v.r.PostForm["policy"]) == 0 {
		f.Error = "Choose at least one policy: without one there is nothing to object to."
	}
	for _, line := range linesOf(f.Labels) {
		if f.Error == "" && !strings.Contains(line, "=") {
			f.Error = "Labels: " + line + " has no value: write NAME=VALUE, where * in the value is any text."
		}
	}
	return nil
}

// labelsOf are the labels of a text with NAME=VALUE in each line.
func labelsOf(text string) map[string]string {
	out := map[string]string{}
	for _, line := range linesOf(text) {
		if name, value, ok := strings.Cut(line, "="); ok {
			out[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return out
}
