package policy

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

type cycloneComponent struct {
	Ref        string             `json:"bom-ref"`
	Type       string             `json:"type"`
	Name       string             `json:"name"`
	Version    string             `json:"version"`
	PURL       string             `json:"purl"`
	Components []cycloneComponent `json:"components"`
}

type cycloneVulnerability struct {
	ID         string `json:"id"`
	References []struct {
		ID string `json:"id"`
	} `json:"references"`
	Published time.Time `json:"published"`
	Updated   time.Time `json:"updated"`
	Analysis  *struct {
		State         string    `json:"state"`
		Justification string    `json:"justification"`
		Response      []string  `json:"response"`
		Detail        string    `json:"detail"`
		FirstIssued   time.Time `json:"firstIssued"`
		LastUpdated   time.Time `json:"lastUpdated"`
	} `json:"analysis"`
	Affects []struct {
		Ref      string `json:"ref"`
		Versions []struct {
			Version string `json:"version"`
			Range   string `json:"range"`
			Status  string `json:"status"`
		} `json:"versions"`
	} `json:"affects"`
}

// cycloneStates are the states of impact analysis (CycloneDX 1.6,
// vulnerabilities[].analysis.state) as statuses of VEX.
var cycloneStates = map[string]Status{
	"not_affected": NotAffected, "false_positive": NotAffected, "resolved": Fixed, "resolved_with_pedigree": Fixed,
	"exploitable": Affected, "in_triage": UnderInvestigation,
}

// cycloneDX reads the analyses of a CycloneDX document. A product is named by the
// bom-ref of a component, of this document or by BOM-Link of another, where the
// reference itself often is a purl.
func (v *VEX) cycloneDX(text []byte) error {
	var doc struct {
		Metadata struct {
			Timestamp time.Time         `json:"timestamp"`
			Component *cycloneComponent `json:"component"`
			Supplier  struct {
				Name string `json:"name"`
			} `json:"supplier"`
		} `json:"metadata"`
		Components      []cycloneComponent     `json:"components"`
		Vulnerabilities []cycloneVulnerability `json:"vulnerabilities"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("CycloneDX: %w", err)
	}
	v.Author = doc.Metadata.Supplier.Name
	products := map[string]vexProduct{}
	collectComponents(doc.Components, products)
	if c := doc.Metadata.Component; c != nil {
		root := newProduct(c.PURL)
		root.label = c.Name
		if c.Type == "container" {
			root.names = append(root.names, c.Name)
		}
		if c.Type == "container" && c.Version != "" {
			root.names = append(root.names, c.Name+":"+c.Version, c.Name+"@"+c.Version, c.Version)
		}
		products[c.Ref] = root
		collectComponents(c.Components, products)
	}
	unanalysed := 0
	for i := range doc.Vulnerabilities {
		of := &doc.Vulnerabilities[i]
		if of.Analysis == nil || of.Analysis.State == "" {
			unanalysed++
			continue
		}
		s, err := of.statement(products)
		if err != nil {
			v.remark("%s is not looked at: %v", or(of.ID, "a vulnerability without id"), err)
			continue
		}
		if s.when.IsZero() {
			s.when = latest(doc.Metadata.Timestamp, of.Updated)
		}
		v.statements = append(v.statements, s)
	}
	if unanalysed > 0 {
		v.remark("%s of vulnerabilities without analysis: they say nothing of the image", entries(unanalysed))
	}
	return nil
}

func collectComponents(components []cycloneComponent, into map[string]vexProduct) {
	for i := range components {
		c := &components[i]
		if c.Ref != "" {
			p := newProduct(c.PURL)
			p.label = c.Name
			into[c.Ref] = p
		}
		collectComponents(c.Components, into)
	}
}

func (c *cycloneVulnerability) statement(products map[string]vexProduct) (statement, error) {
	a := c.Analysis
	s := statement{status: cycloneStates[a.State], justification: a.Justification, note: a.Detail, when: latest(a.FirstIssued, a.LastUpdated)}
	if s.status == "" {
		return s, fmt.Errorf("state %q is none of CycloneDX", a.State)
	}
	if a.State == "false_positive" {
		s.justification = firstOf(s.justification, "false positive")
	}
	if c.ID == "" {
		return s, fmt.Errorf("it has no id")
	}
	s.names = []string{c.ID}
	for _, r := range c.References {
		if r.ID != "" && !slices.Contains(s.names, r.ID) {
			s.names = append(s.names, r.ID)
		}
	}
	for _, affected := range c.Affects {
		p, ok := products[affected.Ref]
		if !ok {
			p = linkedProduct(affected.Ref)
		}
		for _, version := range affected.Versions {
			if version.Range != "" {
				return s, fmt.Errorf("the range %q of versions can't be compared", version.Range)
			}
			p.versions = append(p.versions, version.Version)
		}
		s.products = append(s.products, p)
	}
	return s, nil
}

// linkedProduct is what a reference to a component elsewhere names: BOM-Link has
// it after the #, percent-encoded (CycloneDX, BOM-Link).
func linkedProduct(ref string) vexProduct {
	if strings.HasPrefix(ref, "urn:cdx:") {
		_, ref, _ = strings.Cut(ref, "#")
		if decoded, err := url.PathUnescape(ref); err == nil && !strings.HasPrefix(ref, "pkg:") {
			ref = decoded
		}
	}
	return newProduct(ref)
}
