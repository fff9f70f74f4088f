package web

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"strata/internal/inventory"
	"strata/internal/report"
	"strata/internal/store"
)

// others finds the images to compare one with: those of its repositories.
func (v *visit) others(p *imagePage) error {
	asked := map[string]bool{}
	for i := range p.Image.Tags { // also those that name it no more
		name := p.Image.Tags[i].Repository
		registry, repository, _ := strings.Cut(name, "/")
		if asked[name] {
			continue
		}
		asked[name] = true
		var page listPage[store.ImageRow]
		if err := v.get("/images", url.Values{"registry": {registry}, "repository": {repository}, "sort": {"newest"}, "untagged": {"true"}, "limit": {"100"}}, &page); err != nil {
			return err
		}
		for _, m := range page.Items {
			if m.ID != p.Image.ID && !slices.ContainsFunc(p.Others, func(o store.ImageRow) bool { return o.ID == m.ID }) {
				p.Others = append(p.Others, m)
			}
		}
	}
	return nil
}

// A comparePage holds two images against each other: A is the one before, B the one after.
type comparePage struct {
	A, B store.ImageDetail
	// Layers of both, beside each other: those that both have come once.
	Layers []layerPair
	// Packages that differ in what the images ship.
	Packages []packageChange
	// Gone are findings that A alone has, Come those that B alone has.
	Gone, Come []report.Finding
	Both       int
}

// A layerPair is a layer of one of the images, or of both.
type layerPair struct{ A, B *store.LayerRow }

// A packageChange is a package that one of the images has in another version, or not.
type packageChange struct {
	Type, Name string
	A, B       []string
}

// compare is the page of two images: a before, b after; with order=built the one that was built
// first is before.
func (s *Site) compare(v *visit) error {
	ids := [2]int64{}
	for i, name := range []string{"a", "b"} {
		var err error
		if ids[i], err = strconv.ParseInt(v.r.FormValue(name), 10, 64); err != nil {
			return notFound("image " + v.r.FormValue(name))
		}
	}
	p := &comparePage{}
	err := errors.Join(v.get("/images/"+strconv.FormatInt(ids[0], 10), nil, &p.A), v.get("/images/"+strconv.FormatInt(ids[1], 10), nil, &p.B))
	if err != nil {
		return err
	}
	if v.r.FormValue("order") == "built" { // whoever chose them did not say which was before
		if p.A.CreatedAt.After(p.B.CreatedAt) {
			ids[0], ids[1] = ids[1], ids[0]
		}
		v.redirect(fmt.Sprintf("/compare?a=%d&b=%d", ids[0], ids[1]))
		return nil
	}
	a, err := v.o.Report(v.r.Context(), ids[0])
	if err != nil {
		return err
	}
	b, err := v.o.Report(v.r.Context(), ids[1])
	if err != nil {
		return err
	}
	p.layers()
	p.packages(a, b)
	p.findings(a, b)
	v.show(http.StatusOK, "compare", "Compare "+imageName(&p.A.ImageRow)+" with "+imageName(&p.B.ImageRow), p)
	return nil
}

// layers puts the layers side by side: the same DiffID in the same order is the same layer
// (the longest common subsequence), what is between is each image's own.
func (p *comparePage) layers() {
	a, b := p.A.LayerRows, p.B.LayerRows
	longest := make([][]int, len(a)+1)
	for i := range longest {
		longest[i] = make([]int, len(b)+1)
	}
	for i := range slices.Backward(a) {
		for j := range slices.Backward(b) {
			if a[i].DiffID == b[j].DiffID {
				longest[i][j] = longest[i+1][j+1] + 1
			} else {
				longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i].DiffID == b[j].DiffID:
			p.Layers = append(p.Layers, layerPair{&a[i], &b[j]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && longest[i+1][j] >= longest[i][j+1]:
			p.Layers = append(p.Layers, layerPair{A: &a[i]})
			i++
		default:
			p.Layers = append(p.Layers, layerPair{B: &b[j]})
			j++
		}
	}
	slices.Reverse(p.Layers) // the topmost first, as they lie upon each other
}

// packages finds what differs in the packages that the images ship.
func (p *comparePage) packages(a, b *report.Report) {
	at := map[string]*packageChange{}
	var order []*packageChange
	note := func(r *report.Report, versions func(*packageChange) *[]string) {
		for i := range r.Packages {
			k := &r.Packages[i]
			if k.State != inventory.Present {
				continue
			}
			c := at[k.Type+" "+k.Name]
			if c == nil {
				c = &packageChange{Type: k.Type, Name: k.Name}
				at[k.Type+" "+k.Name] = c
				order = append(order, c)
			}
			if list := versions(c); !slices.Contains(*list, k.Version) {
				*list = append(*list, k.Version)
			}
		}
	}
	note(a, func(c *packageChange) *[]string { return &c.A })
	note(b, func(c *packageChange) *[]string { return &c.B })
	for _, c := range order {
		slices.Sort(c.A)
		slices.Sort(c.B)
		if !slices.Equal(c.A, c.B) {
			p.Packages = append(p.Packages, *c)
		}
	}
	slices.SortFunc(p.Packages, func(x, y packageChange) int {
		return cmp.Or(cmp.Compare(x.Type, y.Type), cmp.Compare(x.Name, y.Name))
	})
}

// findings finds which are in one of the images alone: a vulnerability in a package, of
// whatever version.
func (p *comparePage) findings(a, b *report.Report) {
	key := func(f *report.Finding) string { return f.ID + " " + f.PackageType + " " + f.PackageName }
	of := func(r *report.Report) map[string]bool {
		out := map[string]bool{}
		for i := range r.Findings {
			if compared(&r.Findings[i]) {
				out[key(&r.Findings[i])] = true
			}
		}
		return out
	}
	inA, inB := of(a), of(b)
	only := func(r *report.Report, other map[string]bool) (out []report.Finding) {
		seen := map[string]bool{}
		for i := range r.Findings {
			f := &r.Findings[i]
			if k := key(f); compared(f) && !other[k] && !seen[k] {
				seen[k] = true
				out = append(out, *f)
			}
		}
		slices.SortStableFunc(out, func(x, y report.Finding) int { return y.Severity.Rank() - x.Severity.Rank() })
		return out
	}
	p.Gone, p.Come = only(a, inB), only(b, inA)
	for k := range inA {
		if inB[k] {
			p.Both++
		}
	}
}

// compared tells whether a finding counts for a comparison: the end of life of a
// distribution is not one of a package.
func compared(f *report.Finding) bool { return f.Active() && f.Kind != report.KindEndOfLife }
