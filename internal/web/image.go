package web

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"strata/internal/advisory"
	"strata/internal/inventory"
	"strata/internal/remedy"
	"strata/internal/report"
	"strata/internal/store"
)

// A listPage is one page of a list.
type listPage[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
	// URL of the page, for addresses of other pages and orders.
	URL *url.URL `json:"-"`
}

// imageRoutes are the pages of images.
func (s *Site) imageRoutes() map[string]handler {
	return map[string]handler{
		"GET /images":      s.images,
		"GET /images/{id}": s.image,
		"GET /compare":     s.compare,

		"POST /images/{id}/plan": s.plan,
	}
}

// images is the list of images.
func (s *Site) images(v *visit) error {
	return showList[store.ImageRow](v, "images", "Images", "/images", "q", "registry", "repository", "tag", "platform", "severity", "sort", "untagged")
}

// A searchedPage is one page of a list, with what it was asked for.
type searchedPage[T any] struct {
	listPage[T]
	Query url.Values
}

// searched asks the API for a page of a list: for the place that the address names, and what
// of its query the list may be asked.
func searched[T any](v *visit, path string, asked ...string) (*searchedPage[T], error) {
	p := &searchedPage[T]{Query: v.r.URL.Query()}
	p.URL = v.r.URL
	return p, v.get(path, v.asked(append(asked, "cursor")...), &p.listPage)
}

// showList shows a page that is a list and no more.
func showList[T any](v *visit, name, title, path string, asked ...string) error {
	p, err := searched[T](v, path, asked...)
	if err != nil {
		return err
	}
	v.show(http.StatusOK, name, title, p)
	return nil
}

// asked is what of the query goes on to the API, without what is empty.
func (v *visit) asked(names ...string) url.Values {
	out := url.Values{}
	for _, name := range names {
		if value := strings.TrimSpace(v.r.URL.Query().Get(name)); value != "" {
			out.Set(name, value)
		}
	}
	return out
}

// A stackLayer is a layer in the picture of an image.
type stackLayer struct {
	store.LayerRow
	Instruction string
	// Worst finding in what it introduces and ships; empty for none. Findings is how many.
	Worst    advisory.Severity
	Findings int
	// Height is a class of heights, 1 to 9, by the logarithm of the size.
	Height   int
	Selected bool
}

// An imagePage is all that the page of an image shows.
type imagePage struct {
	Image  store.ImageDetail
	Report *report.Report
	// Base is what the base image is called, where it is known here.
	Base string
	// Counts are of what counts, by severity; Aside is how many findings are set aside, which
	// lists of images count all the same.
	Counts store.Counts
	Aside  int
	// Stack are the layers, the topmost first, as they lie upon each other.
	Stack []stackLayer
	// Layer is the one that is looked at; nil for all.
	Layer *stackLayer
	Tab   string
	// Findings, Packages are those of the tab, of Layer where there is one.
	Findings []*report.Finding
	Packages []report.Package
	Licenses []licenseRow
	// More is how many are not shown, of All; Ended is how many of these are about what is past
	// its end of life, which is no vulnerability.
	More, All, Ended int
	// Plan says how to remedy it, PlanError what is wrong with the Dockerfile that was given.
	Plan       *remedy.Plan
	PlanError  string
	Dockerfile string
	// Others are images of its repositories, to compare it with.
	Others []store.ImageRow
	// Then are the findings that were known at the end of the day On, which is empty where
	// nobody asked; Came are those that were not at its beginning, Went those that were then
	// and are not among them. ThenError is what is wrong with the day.
	Then, Came, Went []store.PackageFinding
	On, ThenError    string
	URL              *url.URL
	Filter           imageFilter
}

// An imageFilter is what of an image is shown.
type imageFilter struct {
	Severity string
	Text     string
	// Gone shows what later layers shadow or remove, and what is set aside.
	Gone bool
}

// A licenseRow is a licence in an image.
type licenseRow struct {
	Expression string
	Class      string
	Packages   []report.Package
}

// tabs are those of the page of an image.
func tabs() []string {
	return []string{"findings", "packages", "licences", "fix", "compare", "verdict", "history", "downloads"}
}

// image is the page of an image.
func (s *Site) image(v *visit) error {
	p, err := v.imagePage(v.r.FormValue("tab"))
	if err != nil {
		return err
	}
	switch p.Tab {
	case "fix":
		err = v.ask("POST", fmt.Sprintf("/images/%d/plan", p.Image.ID), struct{}{}, &p.Plan)
	case "compare":
		err = v.others(p)
	case "history":
		err = v.then(p)
	}
	if err != nil {
		return err
	}
	v.show(http.StatusOK, "image", imageName(&p.Image.ImageRow), p)
	return nil
}

// then reads what was known on a day, and what changed on it.
func (v *visit) then(p *imagePage) error {
	if p.On = v.r.FormValue("on"); p.On == "" {
		return nil
	}
	day, err := time.Parse(time.DateOnly, p.On)
	switch {
	case err != nil:
		p.ThenError = "Give a day as 2026-01-31."
		return nil
	case day.After(v.o.Now()):
		p.ThenError = "That day is still to come."
		return nil
	}
	at := func(day time.Time, into *listPage[store.PackageFinding]) error {
		return v.get(fmt.Sprintf("/images/%d/findings", p.Image.ID), url.Values{"at": {day.Format(time.DateOnly)}}, into)
	}
	var before, after listPage[store.PackageFinding]
	if err := errors.Join(at(day.AddDate(0, 0, -1), &before), at(day, &after)); err != nil {
		return err
	}
	p.Came, p.Went = notAmong(after.Items, before.Items), notAmong(before.Items, after.Items)
	p.Then = cutRows(p, after.Items)
	return nil
}

// notAmong are those of some findings that are not among others.
func notAmong(some, others []store.PackageFinding) (out []store.PackageFinding) {
	there := map[int64]bool{}
	for i := range others {
		there[others[i].ID] = true
	}
	for i := range some {
		if !there[some[i].ID] {
			out = append(out, some[i])
		}
	}
	return out
}

// plan is the page of an image with the plan for a Dockerfile that is given.
func (s *Site) plan(v *visit) error {
	p, err := v.imagePage("fix")
	if err != nil {
		return err
	}
	p.Dockerfile = v.r.PostFormValue("dockerfile")
	p.URL = &url.URL{Path: fmt.Sprintf("/images/%d", p.Image.ID), RawQuery: "tab=fix"}
	err = v.ask("POST", fmt.Sprintf("/images/%d/plan", p.Image.ID), map[string]string{"dockerfile": p.Dockerfile}, &p.Plan)
	status := http.StatusOK
	if v.wrong(err, &p.PlanError) {
		status = http.StatusUnprocessableEntity
	} else if err != nil {
		return err
	}
	v.show(status, "image", imageName(&p.Image.ImageRow), p)
	return nil
}

// imagePage reads what the page of an image shows, whatever the tab.
func (v *visit) imagePage(tab string) (*imagePage, error) {
	id, err := strconv.ParseInt(v.r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, notFound("image " + v.r.PathValue("id"))
	}
	p := &imagePage{URL: v.r.URL, Tab: tab, Filter: imageFilter{Severity: v.r.FormValue("severity"), Text: v.r.FormValue("q"), Gone: v.r.FormValue("gone") != ""}}
	if !slices.Contains(tabs(), p.Tab) {
		p.Tab = tabs()[0]
	}
	if err := v.get(fmt.Sprintf("/images/%d", id), nil, &p.Image); err != nil {
		return nil, err
	}
	if p.Report, err = v.o.Report(v.r.Context(), id); err != nil {
		return nil, err
	}
	if p.Image.Base != 0 {
		var base store.ImageDetail
		if err := v.get(fmt.Sprintf("/images/%d", p.Image.Base), nil, &base); err != nil {
			return nil, err
		}
		p.Base = imageName(&base.ImageRow)
	}
	p.stack(v.r.FormValue("layer"))
	p.pick()
	return p, nil
}

func notFound(what string) error {
	return &apiError{Status: http.StatusNotFound, Detail: what + " is not there"}
}

// imageName is what people call an image.
func imageName(r *store.ImageRow) string {
	if len(r.Names) > 0 {
		return r.Names[0]
	}
	return r.Reference
}

// stack makes the picture of the layers.
func (p *imagePage) stack(selected string) {
	worst, counts := map[int]advisory.Severity{}, map[int]int{}
	for i := range p.Report.Findings {
		f := &p.Report.Findings[i]
		if f.Kind == report.KindEndOfLife {
			continue
		}
		if f.State == inventory.Present && f.Suppressed != nil && slices.Contains([]report.SuppressedBy{report.ByWaiver, report.ByVEX, report.ByPolicy}, f.Suppressed.By) {
			p.Aside++
		}
		if !f.Active() {
			continue
		}
		p.Counts.Add(f.Severity.Rank(), 1)
		counts[f.Layer]++
		if f.Severity.Rank() > worst[f.Layer].Rank() || counts[f.Layer] == 1 {
			worst[f.Layer] = f.Severity
		}
	}
	for i := range slices.Backward(p.Image.LayerRows) {
		l := &p.Image.LayerRows[i]
		p.Stack = append(p.Stack, stackLayer{
			LayerRow: *l, Instruction: cmp.Or(report.Instruction(l.CreatedBy), "no instruction was recorded"),
			Worst: worst[l.Index], Findings: counts[l.Index], Height: heightOf(l.Size), Selected: selected == strconv.Itoa(l.Index),
		})
	}
	for i := range p.Stack {
		if p.Stack[i].Selected {
			p.Layer = &p.Stack[i]
		}
	}
}

// heightOf is a class of heights, 1 to 9: each is of three times as much as the one before,
// from 10 kB.
func heightOf(bytes int64) int {
	const least = 10_000
	if bytes < least {
		return 1
	}
	return min(9, 1+int(math.Log(float64(bytes)/least)/math.Log(3)))
}

// shownAtOnce is how many rows of an image a page shows: more is for who asks for more.
const shownAtOnce = 200

// pick takes what the tab shows.
func (p *imagePage) pick() {
	switch p.Tab {
	case "findings":
		for i := range p.Report.Findings {
			if f := &p.Report.Findings[i]; p.wants(f) {
				p.Findings = append(p.Findings, f)
				if f.Kind == report.KindEndOfLife {
					p.Ended++
				}
			}
		}
		slices.SortStableFunc(p.Findings, func(a, b *report.Finding) int {
			return cmp.Or(gravity(b)-gravity(a), cmp.Compare(b.EPSS, a.EPSS))
		})
		p.Findings = cutRows(p, p.Findings)
	case "packages":
		for i := range p.Report.Packages {
			k := &p.Report.Packages[i]
			if p.Layer != nil && k.Layer != p.Layer.Index && k.StateLayer != p.Layer.Index || !p.Filter.Gone && p.Layer == nil && k.State != inventory.Present || !contains(p.Filter.Text, k.Name, k.Version, k.PURL) {
				continue
			}
			p.Packages = append(p.Packages, *k)
		}
		p.Packages = cutRows(p, p.Packages)
	case "licences":
		p.licenses()
	}
}

// gravity orders findings: those that are known to be exploited before all.
func gravity(f *report.Finding) int {
	const exploited = 10 // above any rank
	if f.KEV {
		return exploited + f.Severity.Rank()
	}
	return f.Severity.Rank()
}

// cutRows leaves as many rows as a page shows, and says how many there are.
func cutRows[T any](p *imagePage, rows []T) []T {
	p.All = len(rows)
	most := shownAtOnce
	if p.URL.Query().Get("all") != "" {
		most = len(rows)
	}
	if len(rows) > most {
		p.More = len(rows) - most
		rows = rows[:most]
	}
	return rows
}

// wants tells whether a finding is shown.
func (p *imagePage) wants(f *report.Finding) bool {
	if p.Layer != nil && f.Layer != p.Layer.Index {
		return false
	}
	if !p.Filter.Gone && (f.Suppressed != nil || !f.Active() && p.Layer == nil) { // a layer shows what others hide
		return false
	}
	if p.Filter.Severity != "" && f.Severity.Rank() < advisory.Severity(p.Filter.Severity).Rank() {
		return false
	}
	return contains(p.Filter.Text, append([]string{f.ID, f.PackageName, f.Summary}, f.Aliases...)...)
}

// licenses groups the packages by what licence they have.
func (p *imagePage) licenses() {
	at := map[string]int{}
	for i := range p.Report.Packages {
		k := &p.Report.Packages[i]
		if k.State != inventory.Present || p.Layer != nil && k.Layer != p.Layer.Index || k.License == nil {
			continue
		}
		expression := k.License.Expression
		n, ok := at[expression]
		if !ok {
			n = len(p.Licenses)
			at[expression] = n
			p.Licenses = append(p.Licenses, licenseRow{Expression: expression, Class: string(k.License.Class)})
		}
		p.Licenses[n].Packages = append(p.Licenses[n].Packages, *k)
	}
	slices.SortStableFunc(p.Licenses, func(a, b licenseRow) int { return cmp.Compare(len(b.Packages), len(a.Packages)) })
}

// Hidden are the packages that a layer shadows or removes.
func (p *imagePage) Hidden() (out []report.Package) {
	if p.Layer == nil {
		return nil
	}
	for i := range p.Report.Packages {
		if p.Report.Packages[i].StateLayer == p.Layer.Index {
			out = append(out, p.Report.Packages[i])
		}
	}
	return out
}

// vulnerabilityName tells whether a text is like the name of a vulnerability: CVE-2021-44228.
func vulnerabilityName(text string) bool {
	prefix, rest, ok := strings.Cut(strings.ToUpper(text), "-")
	return ok && rest != "" && slices.Contains([]string{"CVE", "GHSA", "OSV", "DSA", "DLA", "USN", "RHSA", "ALSA", "PYSEC", "RUSTSEC", "GO"}, prefix)
}

// search goes to what a text names, or lists what it may mean.
func (s *Site) search(v *visit) error {
	text := v.field("q")
	data := struct {
		Text     string
		Images   listPage[store.ImageRow]
		Findings listPage[store.FleetFinding]
		Packages listPage[store.PackageRow]
		Licences listPage[store.LicenseRow]
		// Vulnerability tells that the text is the name of one.
		Vulnerability bool
	}{Text: text, Vulnerability: vulnerabilityName(text)}
	if text == "" {
		v.show(http.StatusOK, "search", "Search", data)
		return nil
	}
	err := errors.Join(
		v.get("/images", url.Values{"q": {text}, "limit": {"20"}, "untagged": {"true"}}, &data.Images),
		v.get("/findings", url.Values{"vulnerability": {text}, "limit": {"20"}}, &data.Findings),
		v.mayGet("/packages", url.Values{"name": {text}, "limit": {"20"}}, &data.Packages),
		v.mayGet("/licenses", url.Values{"q": {text}, "limit": {"20"}}, &data.Licences),
	)
	if err != nil {
		return err
	}
	if len(data.Packages.Items) == 0 { // by another part of the name: log4j of org.apache.logging.log4j:log4j-core
		if err := v.mayGet("/packages", url.Values{"q": {text}, "limit": {"20"}}, &data.Packages); err != nil {
			return err
		}
	}
	if len(data.Findings.Items) > 0 && len(data.Images.Items) == 0 {
		v.redirect("/vulnerabilities/" + url.PathEscape(data.Findings.Items[0].Vulnerability))
		return nil
	}
	v.show(http.StatusOK, "search", "Search: "+text, data)
	return nil
}
