package web

import (
	"fmt"
	"maps"
	"net/http"
	"net/mail"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"strata/internal/store"
)

// A receiver is told of violations.
type receiver struct {
	Name, Kind string
	Settings   store.ReceiverSettings
	HasSecret  bool `json:"has_secret"`
	Paused     bool
	UpdatedAt  time.Time `json:"updated_at"`
	Declared   string
}

// Where is where what it is told goes, as far as it is no secret.
func (r *receiver) Where() string {
	switch r.Kind {
	case "email":
		return strings.Join(r.Settings.To, ", ")
	case "slack", "teams":
		return "the address that the chat gave"
	}
	return r.Settings.URL
}

// A receiverForm is a receiver as it is filled in.
type receiverForm struct {
	// New tells that there is none yet.
	New                                              bool
	Kind, Name, URL, Host, Port, TLS, Username, From string
	To, ToOwner, Schedule                            string
	HasSecret, Forget, Paused                        bool
	Error                                            string
}

// receiverKind tells what a kind is called, and what its secret is.
type receiverKind struct{ Kind, Name, Secret, Hint string }

// receiverKinds are those that there are; the first is the one that is offered.
func receiverKinds() []receiverKind {
	return []receiverKind{
		{"webhook", "Webhook", "Secret to sign with", "As in Standard Webhooks: whsec_… is base64, any other is taken as it is. Without one, messages are not signed."},
		{"cloudevents", "CloudEvents", "Bearer token", "It is sent with each event. Leave it empty where none is asked for."},
		{"email", "E-mail", "Password", "Of the user at the mail server."},
		{"slack", "Slack", "Address of the incoming webhook", "Slack shows it once it is made: https://… It is a secret, and is not shown again."},
		{"teams", "Teams", "Address of the workflow", "Teams shows it once the workflow is made: https://… It is a secret, and is not shown again."},
	}
}

// About is the kind of the form.
func (f *receiverForm) About() receiverKind {
	for _, k := range receiverKinds() {
		if k.Kind == f.Kind {
			return k
		}
	}
	return receiverKinds()[0]
}

// A receiversPage lists the receivers, and has the form for one more, of the kind that was
// chosen.
type receiversPage struct {
	listPage[receiver]
	Kinds []receiverKind
	Form  receiverForm
}

func (s *Site) receivers(v *visit) error {
	f := receiverForm{New: true, Kind: v.r.FormValue("kind"), Port: "587", TLS: "starttls"}
	f.Kind = f.About().Kind
	return v.showReceivers(http.StatusOK, f)
}

func (v *visit) showReceivers(status int, form receiverForm) error {
	p := &receiversPage{Kinds: receiverKinds(), Form: form}
	p.URL = v.r.URL
	if err := v.get("/receivers", v.asked("cursor"), &p.listPage); err != nil {
		return err
	}
	v.show(status, "receivers", "Receivers", p)
	return nil
}

// receiverIn is the form as it was filled in.
func (v *visit) receiverIn() receiverForm {
	return receiverForm{
		Kind: v.field("kind"), Name: v.field("name"), URL: v.field("url"), Host: v.field("host"), Port: v.field("port"), TLS: v.field("tls"), Username: v.field("username"),
		From: v.field("from"), To: v.field("to"), ToOwner: v.field("to_owner"), Schedule: v.field("schedule"), Forget: v.field("forget") != "", Paused: v.field("paused") != "",
	}
}

// body is what the API is sent; the error is for who filled in the form.
func (f *receiverForm) body(secret string) (map[string]any, error) {
	set := store.ReceiverSettings{Schedule: f.Schedule}
	switch f.Kind {
	case "webhook", "cloudevents":
		set.URL = f.URL
	case "email":
		set.Host, set.TLS, set.Username, set.From, set.To = f.Host, f.TLS, f.Username, f.From, linesOf(f.To)
		if f.Port != "" {
			var err error
			if set.Port, err = strconv.Atoi(f.Port); err != nil {
				return nil, fmt.Errorf("port: %q is no number", f.Port)
			}
		}
		set.ToOwner = map[string]string{}
		for _, line := range linesOf(f.ToOwner) {
			i := strings.LastIndexByte(line, ' ') // owners may have spaces, addresses have none
			if i < 0 {
				return nil, fmt.Errorf("addresses of owners: %q: want an owner, a space, and the address", line)
			}
			set.ToOwner[strings.TrimSpace(line[:i])] = line[i+1:]
		}
	}
	body := map[string]any{"kind": f.Kind, "settings": set, "paused": f.Paused}
	if secret != "" || f.Forget {
		body["secret"] = secret
	}
	return body, nil
}

// put writes a receiver; wrong tells that the form has to be shown again, without the secret.
func (v *visit) put(f *receiverForm) (wrong bool, err error) {
	secret := v.r.PostFormValue("secret")
	if f.Kind == "slack" || f.Kind == "teams" { // an address, which is pasted
		secret = strings.TrimSpace(secret)
	}
	body, mistake := f.body(secret)
	if mistake != nil {
		wrong, f.Error = true, sentence(mistake.Error())
	} else {
		err = v.ask("PUT", "/receivers/"+url.PathEscape(f.Name), body, nil)
		wrong = v.refused(err, &f.Error)
	}
	if wrong && secret != "" {
		f.Error += " The secret has to be entered again, too."
	}
	return wrong, err
}

// addReceiver makes a receiver; one of that name that there is stays as it is.
func (s *Site) addReceiver(v *visit) error {
	f := v.receiverIn()
	f.New = true
	f.Kind = f.About().Kind
	if f.Name == "" {
		f.Error = "Give it a name."
		return v.showReceivers(http.StatusUnprocessableEntity, f)
	}
	switch err := v.get("/receivers/"+url.PathEscape(f.Name), nil, nil); {
	case err == nil:
		f.Error = "There is a receiver of this name."
		return v.showReceivers(http.StatusUnprocessableEntity, f)
	case v.refused(err, &f.Error):
		return v.showReceivers(http.StatusUnprocessableEntity, f)
	case statusOf(err) != http.StatusNotFound:
		return err
	}
	wrong, err := v.put(&f)
	if wrong {
		return v.showReceivers(http.StatusUnprocessableEntity, f)
	}
	if err != nil {
		return err
	}
	return v.done("/receivers/"+url.PathEscape(f.Name), "Receiver %s is made. Send it a test, and name it in a watch or a rule.", f.Name)
}

// A receiverPage is the page of a receiver.
type receiverPage struct {
	Receiver receiver
	Form     receiverForm
	// Test is what came of a test message; nil for none was sent.
	Test *struct {
		OK    bool
		Error string
	}
}

func (v *visit) receiverAt() (*receiverPage, error) {
	p := &receiverPage{}
	if err := v.get(v.at("/receivers", "name"), nil, &p.Receiver); err != nil {
		return nil, err
	}
	p.Form = formOf(&p.Receiver)
	return p, nil
}

// formOf is the form of a receiver as it is.
func formOf(r *receiver) receiverForm {
	set := &r.Settings
	f := receiverForm{
		Kind: r.Kind, Name: r.Name, URL: set.URL, Host: set.Host, TLS: set.TLS, Username: set.Username, From: set.From, To: strings.Join(set.To, "\n"),
		Schedule: set.Schedule, HasSecret: r.HasSecret, Paused: r.Paused,
	}
	if set.Port > 0 {
		f.Port = strconv.Itoa(set.Port)
	}
	for _, owner := range slices.Sorted(maps.Keys(set.ToOwner)) {
		address := set.ToOwner[owner]
		if a, err := mail.ParseAddress(address); err == nil { // without a name, which has spaces
			address = a.Address
		}
		f.ToOwner += owner + " " + address + "\n"
	}
	return f
}

func (v *visit) showReceiver(status int, p *receiverPage) error {
	v.show(status, "receiver", p.Receiver.Name, p)
	return nil
}

func (s *Site) receiver(v *visit) error {
	p, err := v.receiverAt()
	if err != nil {
		return err
	}
	return v.showReceiver(http.StatusOK, p)
}

func (s *Site) changeReceiver(v *visit) error {
	p, err := v.receiverAt()
	if err != nil {
		return err
	}
	p.Form = v.receiverIn()
	p.Form.Name, p.Form.Kind, p.Form.HasSecret = p.Receiver.Name, p.Receiver.Kind, p.Receiver.HasSecret
	wrong, err := v.put(&p.Form)
	if wrong {
		return v.showReceiver(http.StatusUnprocessableEntity, p)
	}
	if err != nil {
		return err
	}
	return v.done(v.at("/receivers", "name"), "The receiver is as you wrote it.")
}

// testReceiver sends a test message, and shows what came of it.
func (s *Site) testReceiver(v *visit) error {
	p, err := v.receiverAt()
	if err != nil {
		return err
	}
	err = v.ask("POST", v.at("/receivers", "name", "test"), nil, &p.Test)
	if why := ""; v.refused(err, &why) {
		return v.problem(v.at("/receivers", "name"), why)
	}
	if err != nil {
		return err
	}
	return v.showReceiver(http.StatusOK, p)
}

// pauseReceiver has what is for a receiver wait, or wait no more.
func (s *Site) pauseReceiver(v *visit) error {
	p, err := v.receiverAt()
	if err != nil {
		return err
	}
	pause := v.field("pause") != ""
	body := map[string]any{"kind": p.Receiver.Kind, "settings": p.Receiver.Settings, "paused": pause}
	said := "The receiver is told again; what waited for it is sent."
	if pause {
		said = "The receiver is paused: what is for it waits."
	}
	return v.act("PUT", v.at("/receivers", "name"), body, v.at("/receivers", "name"), "%s", said)
}

func (s *Site) deleteReceiver(v *visit) error {
	return v.remove(v.at("/receivers", "name"), "/receivers", "Receiver %s is deleted, and so are its notifications.", v.r.PathValue("name"))
}
