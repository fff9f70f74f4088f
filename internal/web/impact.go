package web

import (
	"maps"
	"net/http"
	"net/url"
	"strings"

	"strata/internal/license"
	"strata/internal/store"
)

// impactRoutes are the pages that tell where something is.
func (s *Site) impactRoutes() map[string]handler {
	return map[string]handler{
		"GET /vulnerabilities":      s.vulnerabilities,
		"GET /vulnerabilities/{id}": s.vulnerability,
		"GET /layers/{diff_id}":     s.layer,
		"GET /bases/{id}":           s.base,
		"GET /packages":             s.packages,
		"GET /packages/where":       s.packageWhere,
		"GET /licences":             s.licences,
		"GET /licences/where":       s.licenceWhere,
	}
}

// vulnerabilities lists findings over all images.
func (s *Site) vulnerabilities(v *visit) error {
	return showList[store.FleetFinding](v, "vulnerabilities", "Vulnerabilities", "/findings", "vulnerability", "package", "severity", "fixable", "kev")
}

// An impactPage is where something is.
type impactPage struct {
	// Name of what it is: of a vulnerability, a layer.
	Name   string
	Impact struct {
		store.Impact
		Images listPage[store.ImpactImage] `json:"images"`
	}
	Layers   listPage[store.ImpactLayer]
	Findings listPage[store.FleetFinding]
	Graph    *graph
	URL      *url.URL
	// Version of a package, where one is asked about; Image is the base image.
	Version string
	Image   *store.ImageDetail
	// Asked is the question as it was filled in, and Error what is wrong with it.
	Asked url.Values
	Error string
}

// where asks where something is: for the images.
func (v *visit) where(query url.Values) (*impactPage, error) {
	p := &impactPage{URL: v.r.URL}
	query = maps.Clone(query)
	query.Set("limit", "50")
	err := v.get("/impact", query, &p.Impact)
	if cursor := v.r.FormValue("cursor"); cursor != "" && err == nil {
		query.Set("cursor", cursor)
		p.Impact.Images = listPage[store.ImpactImage]{}
		err = v.get("/impact/images", query, &p.Impact.Images)
	}
	p.Impact.Images.URL = p.URL
	return p, err
}

// whereLayers is where, and for the layers that bring it.
func (v *visit) whereLayers(query url.Values) (*impactPage, error) {
	p, err := v.where(query)
	if err != nil {
		return p, err
	}
	query.Set("limit", "20")
	return p, v.get("/impact/layers", query, &p.Layers)
}

// vulnerability is the page of a vulnerability.
func (s *Site) vulnerability(v *visit) error {
	id := v.r.PathValue("id")
	p, err := v.whereLayers(url.Values{"vulnerability": {id}})
	if err != nil {
		return err
	}
	if err := v.get("/findings", url.Values{"vulnerability": {id}, "limit": {"100"}}, &p.Findings); err != nil {
		return err
	}
	p.Name = id
	if p.Impact.Vulnerability != "" {
		p.Name = p.Impact.Vulnerability
	}
	p.Graph = graphOf(p)
	v.show(http.StatusOK, "vulnerability", p.Name, p)
	return nil
}

// layer is the page of a layer: which images have it.
func (s *Site) layer(v *visit) error {
	p, err := v.whereLayers(url.Values{"layer": {v.r.PathValue("diff_id")}})
	if err != nil {
		return err
	}
	p.Name = v.r.PathValue("diff_id")
	v.show(http.StatusOK, "layer", "Layer "+short(p.Name), p)
	return nil
}

// base is the page of a base image: what is built upon it.
func (s *Site) base(v *visit) error {
	p, err := v.where(url.Values{"base": {v.r.PathValue("id")}})
	if err != nil {
		return err
	}
	var m store.ImageDetail
	if err := v.get("/images/"+url.PathEscape(v.r.PathValue("id")), nil, &m); err != nil {
		return err
	}
	p.Name, p.Image = imageName(&m.ImageRow), &m
	v.show(http.StatusOK, "base", "Base image "+p.Name, p)
	return nil
}

// packages lists package versions.
func (s *Site) packages(v *visit) error {
	return showList[store.PackageRow](v, "packages", "Packages", "/packages", "q", "type")
}

// packageWhere is the page of a package: of one version (purl), or of all of a name within
// a range.
func (s *Site) packageWhere(v *visit) error {
	query := v.asked("purl", "package", "type", "range")
	p, err := v.whereLayers(query)
	if status := statusOf(err); status == http.StatusBadRequest || status == http.StatusNotFound {
		p.Asked, p.Error = v.r.URL.Query(), sentence(strings.TrimPrefix(err.Error(), "impact: "))
		switch {
		case len(query) == 0:
			p.Error = "Give the name of a package, or a purl."
		case status == http.StatusNotFound:
			p.Error = "No package here is called that."
		}
		v.show(status, "package", "Package", p)
		return nil
	}
	if err != nil {
		return err
	}
	p.Asked = v.r.URL.Query()
	p.Name = p.Asked.Get("package")
	if len(p.Impact.Packages) > 0 {
		p.Name = p.Impact.Packages[0].Name
		if p.Asked.Get("purl") != "" && len(p.Impact.Packages) == 1 {
			p.Version = p.Impact.Packages[0].Version
		}
		if err := v.findingsOf(p); err != nil {
			return err
		}
	}
	v.show(http.StatusOK, "package", p.Name+" "+p.Version, p)
	return nil
}

// findingsOf reads findings in the package versions that are in question, the worst first, as
// many as a page shows: the API has those of all versions of a name.
func (v *visit) findingsOf(p *impactPage) error {
	const shown, pages = 100, 20
	here := map[string]bool{}
	for _, k := range p.Impact.Packages {
		here[k.PURL] = true
	}
	query := url.Values{"package": {p.Name}, "limit": {"200"}}
	for range pages {
		var page listPage[store.FleetFinding]
		if err := v.get("/findings", query, &page); err != nil {
			return err
		}
		for _, f := range page.Items {
			if here[f.Package.PURL] {
				p.Findings.Items = append(p.Findings.Items, f)
			}
		}
		if page.Next == "" || len(p.Findings.Items) >= shown {
			return nil
		}
		query.Set("cursor", page.Next)
	}
	return nil
}

// licences lists the licences of what is in the images.
func (s *Site) licences(v *visit) error {
	p, err := searched[store.LicenseRow](v, "/licenses", "q", "class")
	if err != nil {
		return err
	}
	data := struct {
		*searchedPage[store.LicenseRow]
		Classes []license.Class
	}{p, []license.Class{license.PublicDomain, license.Permissive, license.WeakCopyleft, license.StrongCopyleft, license.NetworkCopyleft, license.Proprietary, license.Unknown}}
	v.show(http.StatusOK, "licences", "Licences", data)
	return nil
}

// licenceWhere is the page of a licence, or of a class of licences.
func (s *Site) licenceWhere(v *visit) error {
	p, err := v.whereLayers(url.Values{"license": {v.r.FormValue("licence")}})
	if err != nil {
		return err
	}
	p.Name = v.r.FormValue("licence")
	v.show(http.StatusOK, "licence", p.Name, p)
	return nil
}
