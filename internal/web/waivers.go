package web

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"strata/internal/policy"
	"strata/internal/store"
)

// formWaivers is the document that the form adds waivers to.
const formWaivers = "ui"

// A waiverRow is a waiver in the list.
type waiverRow struct {
	policy.WaiverEntry
	// Document that it is in, of which it is the Index-th, and the digest of that.
	Document, Digest string
	Index            int
	Ended, Soon      bool
}

// A waiverForm is a waiver to be added, as it was filled in.
type waiverForm struct {
	Vulnerability, Package, Version, Images, Owner, Reason, Until string
	// Open tells that the form is what the page was asked for.
	Open  bool
	Error string
}

// A vexForm is a VEX document to be added, as it was filled in.
type vexForm struct {
	Name, Text string
	Replace    bool
	Error      string
}

// A vexRow is a VEX document in the list.
type vexRow struct {
	store.Document
	Author     string
	Statements int
	// Statuses are what it says, in words.
	Statuses []string
}

// A waiversPage is what is set aside, and by whom.
type waiversPage struct {
	Rows []waiverRow
	// Soon and Ended are how many end soon or have ended; Text is what was looked for.
	Soon, Ended int
	Text        string
	// More is how many are not shown, of All.
	More, All int
	Documents []waiversRow
	VEX       []vexRow
	Form      waiverForm
	VEXForm   vexForm
	// Error is of what was done in the list.
	Error string
	URL   *url.URL
}

// A waiversRow is a document of waivers in the list.
type waiversRow struct {
	store.Document
	Waivers int
	Error   string
}

// waivers is the page of what is set aside. Its form begins with what the address says, so
// that other pages can link to it.
func (s *Site) waivers(v *visit) error {
	value := v.r.FormValue
	form := waiverForm{Vulnerability: value("vulnerability"), Package: value("package"), Version: value("version"), Images: value("image"), Owner: v.me.Name}
	form.Open = form.Vulnerability != "" || form.Package != "" || form.Images != ""
	return v.showWaivers(http.StatusOK, &waiversPage{Form: form})
}

// showWaivers fills the page with what there is, and shows it.
func (v *visit) showWaivers(status int, p *waiversPage) error {
	var waivers, vex documentList
	if err := errors.Join(v.get("/waivers", nil, &waivers), v.get("/vex", nil, &vex)); err != nil {
		return err
	}
	p.URL, p.Text = v.r.URL, v.r.URL.Query().Get("q")
	p.list(waivers.Items, v.o.Now())
	for i := range vex.Items {
		p.VEX = append(p.VEX, vexRowOf(&vex.Items[i]))
	}
	if p.Form.Owner == "" {
		p.Form.Owner = v.me.Name
	}
	v.show(status, "waivers", "Waivers", p)
	return nil
}

// list takes the waivers of the documents: those first that end soon, those last that have
// ended.
func (p *waiversPage) list(documents []store.Document, now time.Time) {
	for i := range documents {
		d := &documents[i]
		row := waiversRow{Document: *d}
		w, err := policy.ParseWaivers(d.Name, []byte(d.Text))
		if err != nil { // checked when it was written, by an older version
			row.Error = err.Error()
			p.Documents = append(p.Documents, row)
			continue
		}
		row.Waivers = w.Len()
		p.Documents = append(p.Documents, row)
		for n, e := range w.Entries() {
			p.add(waiverRow{WaiverEntry: e, Document: d.Name, Digest: d.Digest, Index: n, Ended: e.Ended(now), Soon: e.EndsSoon(now)})
		}
	}
	slices.SortStableFunc(p.Rows, func(a, b waiverRow) int {
		return cmp.Or(cmp.Compare(a.order(), b.order()), a.Until.Compare(b.Until))
	})
	p.All = len(p.Rows)
	if p.URL.Query().Get("all") == "" && p.All > shownAtOnce {
		p.Rows, p.More = p.Rows[:shownAtOnce], p.All-shownAtOnce
	}
}

func (p *waiversPage) add(row waiverRow) {
	words := slices.Concat(row.Vulnerabilities, row.Packages, row.Licenses, row.Images, []string{row.Owner, row.Reason, row.Document})
	if !contains(p.Text, words...) {
		return
	}
	if row.Soon {
		p.Soon++
	}
	if row.Ended {
		p.Ended++
	}
	p.Rows = append(p.Rows, row)
}

// order of a waiver in the list: soon, some day, never, ended.
func (r *waiverRow) order() int {
	switch {
	case r.Soon:
		return 0
	case r.Ended:
		return 3
	case r.Until.IsZero():
		return 2
	}
	return 1
}

// vexRowOf tells of a VEX document.
func vexRowOf(d *store.Document) vexRow {
	row := vexRow{Document: *d}
	v, err := policy.ParseVEX(d.Name, []byte(d.Text))
	if err != nil { // checked when it was written, by an older version
		row.Statuses = []string{err.Error()}
		return row
	}
	row.Author, row.Statements = v.Author, v.Len()
	statuses := v.Statuses()
	for _, status := range []policy.Status{policy.NotAffected, policy.Fixed, policy.Affected, policy.UnderInvestigation} {
		if n := statuses[status]; n > 0 {
			row.Statuses = append(row.Statuses, number(n)+" "+strings.ReplaceAll(string(status), "_", " "))
		}
	}
	return row
}

// addExceptions adds a waiver, or a VEX document.
func (s *Site) addExceptions(v *visit) error {
	if v.r.PostFormValue("do") == "vex" {
		return v.addVEX()
	}
	form := waiverForm{
		Vulnerability: v.field("vulnerability"), Package: v.field("package"), Version: v.field("version"), Images: unixLines(v.field("images")),
		Owner: v.field("owner"), Reason: v.field("reason"), Until: v.field("until"), Open: true,
	}
	entry := form.entry(v.o.Now())
	if form.Error == "" {
		if err := v.addWaiver(&form, entry); err != nil {
			return err
		}
	}
	if form.Error != "" {
		return v.showWaivers(http.StatusUnprocessableEntity, &waiversPage{Form: form})
	}
	return v.done("/waivers", "The waiver is added. Images that it is for are judged anew.")
}

// entry is the waiver that was filled in. The form wants more than the file: an end, and one
// that is still to come.
func (f *waiverForm) entry(now time.Time) *policy.WaiverEntry {
	e := &policy.WaiverEntry{
		Vulnerabilities: listed(f.Vulnerability), Packages: listed(f.Package), Version: f.Version, Images: listed(f.Images), Owner: f.Owner, Reason: f.Reason,
	}
	day, err := time.Parse(time.DateOnly, f.Until)
	e.Until = day.AddDate(0, 0, 1)
	switch {
	case len(e.Vulnerabilities)+len(e.Packages) == 0:
		f.Error = "Name a vulnerability or a package: a waiver without either would waive everything."
	case f.Reason == "":
		f.Error = "Give a reason, for those who come after."
	case err != nil:
		f.Error = "Give the last day on which it counts, such as " + now.AddDate(0, 1, 0).Format(time.DateOnly) + "."
	case e.Ended(now):
		f.Error = "The day " + f.Until + " is over: the waiver would never count."
	}
	return e
}

// addWaiver adds a waiver to the form's document. Where somebody else has written it in
// between, it is read anew, so that nothing is lost.
func (v *visit) addWaiver(form *waiverForm, e *policy.WaiverEntry) error {
	var err error
	for range 5 {
		var list documentList
		if err := v.get("/waivers", nil, &list); err != nil {
			return err
		}
		before := &store.Document{Digest: store.NoDocument}
		if d := list.named(formWaivers); d != nil {
			before = d
		}
		text, wrong := policy.AddWaiver(formWaivers, []byte(before.Text), e, v.o.Now())
		if wrong != nil {
			form.Error = sentence(policy.Mistakes(wrong)[0].Message)
			return nil
		}
		err = v.ask("PUT", "/waivers/"+formWaivers, map[string]string{"text": string(text), "replaces": before.Digest}, nil)
		if statusOf(err) != http.StatusConflict {
			break
		}
	}
	if v.wrong(err, &form.Error) {
		return nil
	}
	return err
}

// addVEX adds a VEX document, from a file or as a text.
func (v *visit) addVEX() error {
	form := vexForm{Name: v.field("name"), Text: v.r.PostFormValue("text"), Replace: v.r.PostFormValue("replace") != ""}
	file, head, err := v.r.FormFile("file")
	if err == nil {
		defer file.Close()
		text, err := io.ReadAll(file)
		if err != nil {
			return err
		}
		if len(text) > 0 {
			form.Text = string(text)
			base := path.Base(strings.ReplaceAll(head.Filename, `\`, "/"))
			form.Name = cmp.Or(form.Name, strings.TrimSuffix(base, path.Ext(base)))
		}
	}
	f := textForm{Name: form.Name, Text: form.Text, Was: store.NoDocument, Error: nameMistake(form.Name)}
	if f.Error == "" && strings.TrimSpace(form.Text) == "" {
		f.Error = "Choose a file, or paste the document."
	}
	saved := false
	if f.Error == "" {
		if saved, err = f.save(v, "/vex", form.Replace); err != nil {
			return err
		}
	}
	if !saved {
		form.Error = f.Error
		return v.showWaivers(http.StatusUnprocessableEntity, &waiversPage{VEXForm: form})
	}
	return v.done("/waivers#vex", "VEX document %s is added. What it says counts in all images that it names.", form.Name)
}

// A vexPage is a VEX document.
type vexPage struct {
	vexRow
	// Cut is how many characters of the text are not shown.
	Cut int
}

// vexDocument is the page of a VEX document.
func (s *Site) vexDocument(v *visit) error {
	var list documentList
	if err := v.get("/vex", nil, &list); err != nil {
		return err
	}
	name := v.r.PathValue("name")
	d := list.named(name)
	if d == nil {
		return notFound("VEX document " + name)
	}
	p := vexPage{vexRow: vexRowOf(d)}
	const most = 200_000
	if text := []rune(p.Text); len(text) > most {
		p.Text, p.Cut = string(text[:most]), len(text)-most
	}
	v.show(http.StatusOK, "vex", "VEX document "+name, p)
	return nil
}

// deleteVEX deletes a VEX document.
func (s *Site) deleteVEX(v *visit) error {
	name := v.r.PathValue("name")
	if err := v.ask("DELETE", "/vex/"+url.PathEscape(name), nil, nil); err != nil {
		return err
	}
	return v.done("/waivers#vex", "VEX document %s is deleted. What it set aside counts again.", name)
}

// A waiversEditor is the page of a document of waivers.
type waiversEditor struct {
	Form     textForm
	New      bool
	Checked  bool
	Waivers  int
	Document *store.Document
}

// editWaivers is the page of the document of the address, as it is saved.
func (v *visit) editWaivers() (*waiversEditor, error) {
	p := &waiversEditor{}
	name := v.r.PathValue("name")
	if name == newName {
		p.New, p.Form = true, textForm{Text: "waivers:\n  - vulnerability: \n    reason: \n    until: " + v.o.Now().AddDate(0, 3, 0).Format(time.DateOnly) + "\n", Was: store.NoDocument}
		return p, nil
	}
	var list documentList
	if err := v.get("/waivers", nil, &list); err != nil {
		return nil, err
	}
	if p.Document = list.named(name); p.Document == nil {
		return nil, notFound("the document of waivers " + name)
	}
	p.Form = textForm{Name: name, Text: p.Document.Text, Was: p.Document.Digest}
	return p, nil
}

func (v *visit) showEditor(status int, p *waiversEditor) error {
	title := "Waivers " + p.Form.Name
	if p.New {
		title = "New document of waivers"
	}
	v.show(status, "waiversdocument", title, p)
	return nil
}

// waiversDocument is the page of a document of waivers.
func (s *Site) waiversDocument(v *visit) error {
	p, err := v.editWaivers()
	if err != nil {
		return err
	}
	return v.showEditor(http.StatusOK, p)
}

// changeWaivers saves a document of waivers, checks or deletes it, or takes one waiver out.
func (s *Site) changeWaivers(v *visit) error {
	p, err := v.editWaivers()
	if err != nil {
		return err
	}
	do := v.r.PostFormValue("do")
	switch do {
	case "remove":
		return v.removeWaiver(p.Document)
	case "delete":
		if err := v.ask("DELETE", "/waivers/"+url.PathEscape(p.Form.Name), nil, nil); err != nil {
			return err
		}
		return v.done("/waivers", "The document %s is deleted. What it set aside counts again.", p.Form.Name)
	}
	p.Form.Text, p.Form.Was = unixLines(v.r.PostFormValue("text")), v.r.PostFormValue("was")
	if p.New {
		p.Form.Name = v.field("name")
	}
	p.check()
	if p.New && do != "check" {
		p.Form.Error = nameMistake(p.Form.Name)
	}
	if do != "check" && p.Form.Error == "" && len(p.Form.Mistakes) == 0 {
		saved, err := p.Form.save(v, "/waivers", do == "over")
		if err != nil {
			return err
		}
		if saved {
			return v.done("/waivers", "The document %s is saved, with %s. Images are judged anew.", p.Form.Name, count(p.Waivers, "waiver"))
		}
	}
	status := http.StatusOK
	if do != "check" {
		status = http.StatusUnprocessableEntity
	}
	return v.showEditor(status, p)
}

// check looks for mistakes in the text.
func (p *waiversEditor) check() {
	p.Checked = true
	w, err := policy.ParseWaivers(p.Form.Name, []byte(p.Form.Text))
	if err != nil {
		p.Form.Mistakes = policy.Mistakes(err)
		return
	}
	p.Waivers = w.Len()
}

// removeWaiver takes one waiver out of a document, when that is still what the page showed.
func (v *visit) removeWaiver(d *store.Document) error {
	if d == nil {
		return notFound("the waiver")
	}
	p := &waiversPage{}
	index, err := strconv.Atoi(v.r.PostFormValue("index"))
	if err != nil || v.r.PostFormValue("was") != d.Digest {
		p.Error = fmt.Sprintf("The document %s was changed since the page was shown, so nothing is removed. Look again.", d.Name)
		return v.showWaivers(http.StatusConflict, p)
	}
	text, err := policy.RemoveWaiver(d.Name, []byte(d.Text), index)
	if err != nil {
		p.Error = sentence(err.Error())
		return v.showWaivers(http.StatusUnprocessableEntity, p)
	}
	err = v.ask("PUT", "/waivers/"+url.PathEscape(d.Name), map[string]string{"text": string(text), "replaces": d.Digest}, nil)
	if v.wrong(err, &p.Error) {
		return v.showWaivers(statusOf(err), p)
	}
	if err != nil {
		return err
	}
	return v.done("/waivers", "The waiver is removed from %s. What it set aside counts again.", d.Name)
}
