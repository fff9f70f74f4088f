package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"strata/internal/auth"
	"strata/internal/jobs"
	"strata/internal/policy"
	"strata/internal/store"
)

// policyRoutes are the pages of policies, watches, waivers and violations.
func (s *Site) policyRoutes() map[string]handler {
	return map[string]handler{
		"GET /policies":            s.policies,
		"GET /policies/{name}":     s.policy,
		"POST /policies/{name}":    s.changePolicy,
		"GET /watches":             s.watches,
		"GET /watches/{name}":      s.watch,
		"POST /watches/{name}":     s.changeWatch,
		"GET /waivers":             s.waivers,
		"POST /waivers":            s.addExceptions,
		"GET /waivers/{name}":      s.waiversDocument,
		"POST /waivers/{name}":     s.changeWaivers,
		"GET /waivers/vex/{name}":  s.vexDocument,
		"POST /waivers/vex/{name}": s.deleteVEX,
		"GET /violations":          s.violations,
	}
}

// newName is the place of a form for something new, which therefore can't be called so.
const newName = "new"

// nameMistake is what is wrong with a name that becomes part of an address; empty for
// nothing. The API says the rest.
func nameMistake(name string) string {
	switch name {
	case "":
		return "Give it a name."
	case newName, ".", "..":
		return "It can't be called " + name + ": take another name."
	}
	return ""
}

// A documentList is the answer of the API with documents of a kind.
type documentList struct {
	Items []store.Document
	Ready []string
}

// named is the document of a name; nil for none.
func (l *documentList) named(name string) *store.Document {
	i := slices.IndexFunc(l.Items, func(d store.Document) bool { return d.Name == name })
	if i < 0 {
		return nil
	}
	return &l.Items[i]
}

// A policyRow is a policy in the list.
type policyRow struct {
	Name, Description string
	Rules             int
	// Document of an own policy; nil for one that comes with the program.
	Document *store.Document
	// Watches that ask for it.
	Watches []string
}

// policies is the list of policies.
func (s *Site) policies(v *visit) error {
	var list documentList
	if err := v.get("/policies", nil, &list); err != nil {
		return err
	}
	watches, err := v.watchList()
	if err != nil {
		return err
	}
	data := struct {
		Own, Ready []policyRow
		// MayTry tells that who looks may try a policy of theirs.
		MayTry bool
	}{MayTry: v.mayTry()}
	for i := range list.Items {
		d := &list.Items[i]
		row := policyRow{Name: d.Name, Document: d, Watches: askingFor(watches, d.Name)}
		row.Description, row.Rules = policy.Summary([]byte(d.Text))
		data.Own = append(data.Own, row)
	}
	for _, name := range list.Ready {
		text, err := policy.ReadyText(name)
		if err != nil {
			return err
		}
		row := policyRow{Name: name, Watches: askingFor(watches, name)}
		row.Description, row.Rules = policy.Summary(text)
		data.Ready = append(data.Ready, row)
	}
	v.show(http.StatusOK, "policies", "Policies", data)
	return nil
}

// mayTry tells whether who looks may try policies: on some repositories is enough.
func (v *visit) mayTry() bool { return len(v.me.Scope(auth.Developer)) > 0 }

// askingFor are the watches that ask for a policy.
func askingFor(watches []watchRow, policy string) (names []string) {
	for i := range watches {
		if slices.Contains(watches[i].Policies, policy) {
			names = append(names, watches[i].Name)
		}
	}
	return names
}

// A textForm is a text with a name to be written, as it was filled in.
type textForm struct {
	Name, Text string
	// Was is the digest of the text that this one replaces.
	Was   string
	Error string
	// Changed tells that another has been written since.
	Changed  bool
	Mistakes []policy.Mistake
}

// save writes the document, as the API has it under a path, and tells whether it could. What
// is wrong with it is in the form then.
func (f *textForm) save(v *visit, path string, over bool) (bool, error) {
	body := map[string]string{"text": f.Text, "replaces": f.Was}
	if over {
		delete(body, "replaces")
	}
	err := v.ask("PUT", path+"/"+url.PathEscape(f.Name), body, nil)
	if statusOf(err) == http.StatusConflict && !over {
		if f.Was == store.NoDocument {
			f.Error = "Something called " + f.Name + " is there already: take another name."
			return false, nil
		}
		f.Changed, f.Error = true, "It was changed since you began, so yours is not saved."
		return false, nil
	}
	if v.wrong(err, &f.Error) {
		return false, nil
	}
	return err == nil, err
}

// A trialScope is on what a policy is tried, as it was filled in.
type trialScope struct {
	Repositories, Tags, Mode string
}

// A policyPage is the page of a policy: its editor, or its text where it is not to be
// changed here.
type policyPage struct {
	Form textForm
	// Ready tells that it comes with the program, New that it is not yet saved; Document is
	// an own one as it is saved.
	Ready, New bool
	Document   *store.Document
	Watches    []string
	// MayTry tells that who looks may try it, Editable that the text is in an editor.
	MayTry, Editable bool
	// Hidden tells that who looks may not see the text.
	Hidden bool
	Scope  trialScope
	// Checked tells that the text was looked at, and Tried what it would decide.
	Checked bool
	Tried   *jobs.Tried
	Fields  []policy.Field
}

// beginning is the text that a new policy begins with.
const beginning = `description: nothing that is known to be exploited; what is high and has a fix is warned of

rules:
  - name: exploited
    when: finding.kev
    action: fail
    message: "{{finding.id}} in {{package.name}} is known to be exploited"

  - name: high-with-a-fix
    when: finding.severity_rank >= severity("high") && finding.fixable
    action: warn
    message: "{{package.name}} can be updated to {{finding.fixed_version}}"
`

// policyPage is the page of the policy of the address, as it is saved.
func (v *visit) policyPage() (*policyPage, error) {
	p := &policyPage{MayTry: v.mayTry(), Fields: policy.Fields()}
	name := v.r.PathValue("name")
	if name == newName {
		if !p.MayTry {
			return nil, &apiError{Status: http.StatusForbidden, Detail: "to write policies needs the role security, to try them developer"}
		}
		p.New, p.Editable, p.Form = true, true, textForm{Text: beginning, Was: store.NoDocument}
		return p, p.copyOf(v, v.r.FormValue("from"))
	}
	if err := p.read(v, name); err != nil {
		return nil, err
	}
	watches, err := v.watchList()
	p.Watches = askingFor(watches, name)
	p.Editable = !p.Ready && p.Document.File == "" && p.MayTry && !p.Hidden
	return p, err
}

// read reads the policy of a name.
func (p *policyPage) read(v *visit, name string) error {
	var list documentList
	if err := v.get("/policies", nil, &list); err != nil {
		return err
	}
	p.Form.Name, p.Ready = name, slices.Contains(list.Ready, name)
	if p.Ready {
		text, err := policy.ReadyText(name)
		p.Form.Text = string(text)
		return err
	}
	if p.Document = list.named(name); p.Document == nil {
		return notFound("policy " + name)
	}
	p.Form.Text, p.Form.Was, p.Hidden = p.Document.Text, p.Document.Digest, p.Document.Digest == ""
	return nil
}

// copyOf takes the text of another policy; without its name, so that the copy has its own.
func (p *policyPage) copyOf(v *visit, name string) error {
	if name == "" {
		return nil
	}
	var from policyPage
	if err := from.read(v, name); err != nil {
		return err
	}
	var lines []string
	for line := range strings.Lines(from.Form.Text) {
		if !strings.HasPrefix(line, "name:") {
			lines = append(lines, line)
		}
	}
	p.Form.Name, p.Form.Text = "my-"+name, strings.Join(lines, "")
	return nil
}

// title of the page.
func (p *policyPage) title() string {
	if p.New {
		return "New policy"
	}
	return "Policy " + p.Form.Name
}

// policy is the page of a policy.
func (s *Site) policy(v *visit) error {
	p, err := v.policyPage()
	if err != nil {
		return err
	}
	v.show(http.StatusOK, "policy", p.title(), p)
	return nil
}

// changePolicy saves a policy, checks or tries it, or deletes it.
func (s *Site) changePolicy(v *visit) error {
	p, err := v.policyPage()
	if err != nil {
		return err
	}
	if p.Editable {
		p.Form.Text, p.Form.Was = unixLines(v.r.PostFormValue("text")), v.r.PostFormValue("was")
	}
	if p.New {
		p.Form.Name = v.field("name")
	}
	p.Scope = trialScope{Repositories: v.r.PostFormValue("repositories"), Tags: v.r.PostFormValue("tags"), Mode: v.r.PostFormValue("mode")}
	do := v.r.PostFormValue("do")
	if do == "delete" {
		return p.remove(v)
	}
	save := do == "save" || do == "over"
	if save && !p.Editable {
		return &apiError{Status: http.StatusForbidden, Detail: "policy " + p.Form.Name + " is not to be changed here"}
	}
	if p.New && save {
		p.Form.Error = nameMistake(p.Form.Name)
	}
	if p.Form.Error == "" {
		if err := p.look(v, do == "try"); err != nil {
			return err
		}
	}
	if p.Form.Error == "" && len(p.Form.Mistakes) == 0 && save {
		saved, err := p.Form.save(v, "/policies", do == "over")
		if err != nil {
			return err
		}
		if saved {
			return v.done("/policies/"+url.PathEscape(p.Form.Name), "Policy %s is saved. Watches that ask for it judge their images anew.", p.Form.Name)
		}
	}
	status := http.StatusOK
	if p.Form.Error != "" || len(p.Form.Mistakes) > 0 && save {
		status = http.StatusUnprocessableEntity
	}
	v.show(status, "policy", p.title(), p)
	return nil
}

// remove deletes the policy.
func (p *policyPage) remove(v *visit) error {
	err := v.ask("DELETE", "/policies/"+url.PathEscape(p.Form.Name), nil, nil)
	if v.wrong(err, &p.Form.Error) {
		if p.Document != nil {
			p.Form.Text, p.Form.Was = p.Document.Text, p.Document.Digest
		}
		v.show(statusOf(err), "policy", p.title(), p)
		return nil
	}
	if err != nil {
		return err
	}
	return v.done("/policies", "Policy %s is deleted.", p.Form.Name)
}

// look asks for the mistakes in the text, or also for what it would decide. A server that
// judges no images can tell neither: what can't be saved is refused when it is.
func (p *policyPage) look(v *visit, try bool) error {
	body := map[string]any{"text": p.Form.Text, "check": !try}
	if try {
		if p.Scope.Repositories != "" || p.Scope.Tags != "" {
			body["scope"] = store.WatchScope{Repositories: listed(p.Scope.Repositories), Tags: listed(p.Scope.Tags)}
		}
		if !p.Ready { // watches would not have another in the place of these
			body["name"] = p.Form.Name
		}
		body["mode"] = p.Scope.Mode
	}
	var tried jobs.Tried
	err := v.ask("POST", "/policies/try", body, &tried)
	switch status := statusOf(err); {
	case status == http.StatusNotImplemented && !try:
		return nil
	case status == http.StatusNotImplemented, status == http.StatusServiceUnavailable:
		p.Form.Error = sentence(err.Error())
		return nil
	case v.wrong(err, &p.Form.Error):
		return nil
	case err != nil:
		return err
	}
	p.Form.Mistakes, p.Checked = tried.Mistakes, true
	if try && len(tried.Mistakes) == 0 {
		p.Tried = &tried
	}
	return nil
}

// Lines are those of the text that mistakes are in, by number.
func (f textForm) Lines() map[int]string {
	lines := strings.Split(f.Text, "\n")
	out := map[int]string{}
	for _, m := range f.Mistakes {
		if m.Line >= 1 && m.Line <= len(lines) {
			out[m.Line] = lines[m.Line-1]
		}
	}
	return out
}

// unixLines has the ends of lines as files have them: browsers send those of mail.
func unixLines(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }

// listed are the words of a text in which there is one in each line, or several with spaces
// or commas between.
func listed(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\r' || r == '\t' })
}
