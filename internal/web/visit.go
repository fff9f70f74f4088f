package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"strata/internal/auth"
	"strata/internal/report"
)

// A handler answers one request, or returns why it can't: fail makes a page of that.
type handler func(*visit) error

// A visit is one request for a page.
type visit struct {
	*Site
	w http.ResponseWriter
	r *http.Request
	// me is who looks; nil for nobody who is known.
	me *auth.Identity
}

// page is a handler as an http.Handler. Who is not logged in is sent there first, when the
// page is for those who are.
func (s *Site) page(do handler, private bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{Site: s, w: w, r: r, me: auth.From(r.Context())}
		if private && v.me == nil {
			v.toLogin()
			return
		}
		err := v.readForm(private)
		if err == nil {
			err = do(v)
		}
		if err != nil {
			v.fail(err)
		}
	})
}

// How large a form may be, in bytes: one with a document in it, as a file and as a text, and
// one of who is not known.
const (
	maxForm      = 12 << 20
	maxLoginForm = 64 << 10
)

// readForm reads what was sent, into memory and no file.
func (v *visit) readForm(private bool) error {
	if v.r.Method != http.MethodPost {
		return nil
	}
	most := int64(maxForm)
	if !private {
		most = maxLoginForm
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, most)
	err := v.r.ParseForm()
	if err == nil {
		err = v.r.ParseMultipartForm(most)
	}
	switch {
	case err == nil || errors.Is(err, http.ErrNotMultipart):
		return nil
	case errors.As(err, new(*http.MaxBytesError)):
		return &apiError{Status: http.StatusRequestEntityTooLarge, Detail: "what was sent is larger than " + report.Size(most)}
	}
	return &apiError{Status: http.StatusBadRequest, Detail: "the form can't be read: " + err.Error()}
}

// toLogin sends a browser to the login, and from there back; a form that was sent is not
// sent again.
func (v *visit) toLogin() {
	next := v.r.URL.RequestURI()
	if v.r.Method != http.MethodGet { // to the page that the form was on
		next = "/"
		if from, err := url.Parse(v.r.Referer()); err == nil && from.Host == v.r.Host {
			next = from.RequestURI()
		}
	}
	to := "/login"
	if next != "/" {
		to += "?" + url.Values{"next": {next}}.Encode()
	}
	v.redirect(to)
}

// redirect answers a form, so that to load the page anew does not send it again.
func (v *visit) redirect(to string) { http.Redirect(v.w, v.r, to, http.StatusSeeOther) }

// An apiError is an answer of the API that is none of success: a problem document
// (RFC 9457).
type apiError struct {
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
}

// Error implements error: what the API says is wrong, for who filled in a form.
func (e *apiError) Error() string {
	var b strings.Builder
	b.WriteString(e.Detail)
	for _, x := range e.Errors {
		fmt.Fprintf(&b, "; %s: %s", strings.TrimPrefix(x.Location, "body."), x.Message)
	}
	return b.String()
}

// statusOf is the status of an error of the API; 0 for others.
func statusOf(err error) int {
	var e *apiError
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// get asks the API for something.
func (v *visit) get(path string, query url.Values, into any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return v.ask(http.MethodGet, path, nil, into)
}

// ask sends the API a request as the one who visits. Cookies that it sets are passed on.
// The body and into may be nil.
func (v *visit) ask(method, path string, body, into any) error {
	var content bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&content).Encode(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(v.r.Context(), method, "/api/v1"+path, &content)
	if err != nil {
		return err
	}
	r.RemoteAddr = v.r.RemoteAddr
	r.Header.Set("Content-Type", "application/json")
	for _, name := range []string{"Cookie", "User-Agent", "X-Forwarded-For"} {
		if values := v.r.Header.Values(name); len(values) > 0 {
			r.Header[name] = values
		}
	}
	status, header, answer := v.o.API(r)
	if status >= http.StatusBadRequest {
		e := &apiError{}
		if err := json.Unmarshal(answer, e); err != nil {
			return fmt.Errorf("%s %s: status %d: %w", method, path, status, err)
		}
		e.Status = status
		return e
	}
	for _, cookie := range header.Values("Set-Cookie") {
		v.w.Header().Add("Set-Cookie", cookie)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// fail is the one place where errors become pages.
func (v *visit) fail(err error) {
	status := 0
	if e, ok := errors.AsType[*apiError](err); ok { // the first of several that say the same
		status, err = e.Status, e
	} else if e, ok := errors.AsType[statusError](err); ok {
		status, err = e.GetStatus(), e
	}
	switch status {
	case http.StatusUnauthorized:
		v.toLogin()
		return
	case 0:
		v.o.Log.ErrorContext(v.r.Context(), "a page could not be shown", "path", v.r.URL.Path, "error", err)
		status, err = http.StatusInternalServerError, errors.New("something went wrong in the server; its log has the reason")
	}
	said := map[int]string{
		http.StatusNotFound: "Not found", http.StatusForbidden: "Not allowed", http.StatusServiceUnavailable: "Not available now",
		http.StatusTooManyRequests: "Too often", http.StatusInternalServerError: "Something went wrong",
	}
	title := said[status]
	if title == "" {
		title = "That did not work"
	}
	v.show(status, "error", title, struct {
		Status int
		Text   string
	}{status, sentence(err.Error())})
}

// A statusError is one of the API that did not come as an answer.
type statusError interface {
	error
	GetStatus() int
}

// sentence is a text that begins with a capital letter and ends with a full stop.
func sentence(s string) string {
	if s == "" {
		return s
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}
