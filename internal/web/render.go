package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"strata/internal/auth"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// pages are the templates, each with the frame around it, by the name of its file.
type pages struct {
	byName map[string]*template.Template
}

// readPages parses the templates: what begins with an underscore is part of all others.
func (s *Site) readPages() (*pages, error) {
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, err
	}
	p := &pages{byName: map[string]*template.Template{}}
	for _, name := range names {
		base := strings.TrimSuffix(path.Base(name), ".html")
		if strings.HasPrefix(base, "_") {
			continue
		}
		t, err := template.New("_frame.html").Funcs(s.functions()).ParseFS(templateFiles, "templates/_*.html", name)
		if err != nil {
			return nil, fmt.Errorf("page %s: %w", base, err)
		}
		p.byName[base] = t
	}
	return p, nil
}

// A frame is what every page is made of.
type frame struct {
	Title string
	// Section is the part of the menu that the page belongs to.
	Section string
	Me      *auth.Identity
	Version string
	// Note is what was done by the form that led here.
	Note string
	// Problem is why what led here was not done.
	Problem string
	// Data is that of the page.
	Data any
}

// May tells whether who looks has a role over all repositories.
func (f *frame) May(role string) bool { return f.Me.May(auth.Role(role)) }

// contentPolicy lets a page use what is of this server alone, and no script or style that
// is in the page itself.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// show writes a page. Nothing is sent before the whole page could be made.
func (v *visit) show(status int, name, title string, data any) {
	section, _, _ := strings.Cut(strings.TrimPrefix(v.r.URL.Path, "/"), "/")
	f := &frame{Title: title, Section: section, Me: v.me, Version: v.o.Version, Data: data}
	f.Note, f.Problem = v.takeNote()
	var b bytes.Buffer
	if err := v.pages.byName[name].Execute(&b, f); err != nil {
		v.o.Log.ErrorContext(v.r.Context(), "a page could not be made", "page", name, "error", err)
		http.Error(v.w, "something went wrong in the server; its log has the reason", http.StatusInternalServerError)
		return
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", contentPolicy)
	v.w.WriteHeader(status)
	_, _ = v.w.Write(b.Bytes()) // who went away needs no page
}

// noteCookie keeps what a form did until the page that comes after it is shown.
const noteCookie = "strata-note"

// done leaves a note for the next page, and sends the browser there.
func (v *visit) done(to, format string, args ...any) error {
	return v.leaveNote(to, "+"+fmt.Sprintf(format, args...))
}

// problem is done for what was not, with the reason.
func (v *visit) problem(to, why string) error { return v.leaveNote(to, "-"+why) }

func (v *visit) leaveNote(to, note string) error {
	const (
		while   = 60  // seconds
		longest = 600 // characters: browsers keep no cookie of more than 4 kB
	)
	text := hex.EncodeToString([]byte(cutText(longest, note)))
	http.SetCookie(v.w, &http.Cookie{Name: noteCookie, Value: text, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: while})
	v.redirect(to)
	return nil
}

func (v *visit) takeNote() (note, problem string) {
	if v.r.Header.Get("Sec-Fetch-Dest") == "empty" { // a page that reads a part of itself anew
		return "", ""
	}
	c, err := v.r.Cookie(noteCookie)
	if err != nil {
		return "", ""
	}
	http.SetCookie(v.w, &http.Cookie{Name: noteCookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: -1})
	text, err := hex.DecodeString(c.Value)
	if err != nil {
		return "", ""
	}
	if why, ok := strings.CutPrefix(string(text), "-"); ok {
		return "", why
	}
	return strings.TrimPrefix(string(text), "+"), ""
}

// assets are the files that pages use. Their addresses change with their content, so that
// browsers keep them for good.
type assets struct {
	byAddress map[string][]byte
	address   map[string]string
}

func readAssets() (*assets, error) {
	a := &assets{byAddress: map[string][]byte{}, address: map[string]string{}}
	entries, err := fs.ReadDir(staticFiles, "static")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		content, err := fs.ReadFile(staticFiles, "static/"+e.Name())
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		name, ext, _ := strings.Cut(e.Name(), ".")
		address := name + "-" + hex.EncodeToString(sum[:6]) + "." + ext
		a.address[e.Name()], a.byAddress[address] = "/static/"+address, content
	}
	return a, nil
}

// ServeHTTP implements http.Handler.
func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	content, ok := a.byAddress[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
}
