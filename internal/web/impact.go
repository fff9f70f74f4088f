package web

import (
	"errors"
	"net/http"
	"net/url"

	"strata/internal/store"
)

// impactRoutes are the pages that tell where something is.
func (s *Site) impactRoutes() map[string]handler {
	return map[string]handler{
		"GET /vulnerabilities":      s.vulnerabilities,
		"GET /vulnerabilities/{id}": s.vulnerability,
		"GET /layers/{diff_id}":     s.layer,
	}
}

// vulnerabilities lists findings over all images.
func (s *Site) vulnerabilities(v *visit) error {
	data := struct {
		listPage[store.FleetFinding]
		Query url.Values
	}{Query: v.r.URL.Query()}
	data.URL = v.r.URL
	if err := v.get("/findings", v.asked("vulnerability", "package", "severity", "fixable", "kev", "cursor"), &data.listPage); err != nil {
		return err
	}
	v.show(http.StatusOK, "vulnerabilities", "Vulnerabilities", data)
	return nil
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
}

// where asks where something is.
func (v *visit) where(query url.Values) (*impactPage, error) {
	p := &impactPage{URL: v.r.URL}
	query.Set("limit", "50")
	layers := url.Values{}
	for name, values := range query {
		layers[name] = values
	}
	layers.Set("limit", "20")
	if cursor := v.r.FormValue("cursor"); cursor != "" {
		query.Set("cursor", cursor)
	}
	return p, errors.Join(v.get("/impact", query, &p.Impact), v.get("/impact/layers", layers, &p.Layers))
}

// vulnerability is the page of a vulnerability.
func (s *Site) vulnerability(v *visit) error {
	id := v.r.PathValue("id")
	p, err := v.where(url.Values{"vulnerability": {id}})
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
	p, err := v.where(url.Values{"layer": {v.r.PathValue("diff_id")}})
	if err != nil {
		return err
	}
	p.Name = v.r.PathValue("diff_id")
	v.show(http.StatusOK, "layer", "Layer "+short(p.Name), p)
	return nil
}
