package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// An openVEXName is a vulnerability or component, which version 0.0.1 of OpenVEX
// writes as a text, later ones as an object.
type openVEXName struct {
	ID            string            `json:"@id"`
	Name          string            `json:"name"`
	Aliases       []string          `json:"aliases"`
	Identifiers   map[string]string `json:"identifiers"`
	Hashes        map[string]string `json:"hashes"`
	Subcomponents []openVEXName     `json:"subcomponents"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *openVEXName) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &n.ID)
	}
	type plain openVEXName
	return json.Unmarshal(b, (*plain)(n))
}

// product is the component as a product of a statement.
func (n *openVEXName) product() vexProduct {
	ids := []string{n.ID, n.Identifiers["purl"]}
	for algorithm, hash := range n.Hashes {
		if algorithm == "sha-256" {
			ids = append(ids, "sha256:"+hash)
		}
	}
	return newProduct(ids...)
}

type openVEXStatement struct {
	Vulnerability   openVEXName   `json:"vulnerability"`
	Products        []openVEXName `json:"products"`
	Subcomponents   []openVEXName `json:"subcomponents"` // of 0.0.1
	Status          string        `json:"status"`
	Justification   string        `json:"justification"`
	ImpactStatement string        `json:"impact_statement"`
	ActionStatement string        `json:"action_statement"`
	StatusNotes     string        `json:"status_notes"`
	Timestamp       time.Time     `json:"timestamp"`
	LastUpdated     time.Time     `json:"last_updated"`
}

// openVEX reads a document of OpenVEX (OpenVEX specification 0.2.0). The subjects
// are products of statements that name none.
func (v *VEX) openVEX(text []byte, subjects []vexProduct) error {
	var doc struct {
		Author      string             `json:"author"`
		Timestamp   time.Time          `json:"timestamp"`
		LastUpdated time.Time          `json:"last_updated"`
		Statements  []openVEXStatement `json:"statements"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("OpenVEX: %w", err)
	}
	v.Author = doc.Author
	for i := range doc.Statements {
		s, err := doc.Statements[i].read(subjects)
		if err != nil {
			v.remark("statement %d is not looked at: %v", i+1, err)
			continue
		}
		if s.when.IsZero() {
			s.when = latest(doc.Timestamp, doc.LastUpdated)
		}
		v.statements = append(v.statements, s)
	}
	return nil
}

func (o *openVEXStatement) read(subjects []vexProduct) (statement, error) {
	s := statement{
		status: Status(o.Status), justification: o.Justification, when: latest(o.Timestamp, o.LastUpdated),
		note: firstOf(o.ImpactStatement, o.StatusNotes, o.ActionStatement),
	}
	for _, name := range append([]string{o.Vulnerability.Name, lastSegment(o.Vulnerability.ID)}, o.Vulnerability.Aliases...) {
		if name != "" && !slices.Contains(s.names, name) {
			s.names = append(s.names, name)
		}
	}
	if len(s.names) == 0 {
		return s, fmt.Errorf("it names no vulnerability")
	}
	if !slices.Contains([]Status{Affected, NotAffected, Fixed, UnderInvestigation}, s.status) {
		return s, fmt.Errorf("status %q is none of OpenVEX", o.Status)
	}
	for i := range o.Products {
		whole := o.Products[i].product()
		parts := append(slices.Clone(o.Products[i].Subcomponents), o.Subcomponents...)
		if len(parts) == 0 {
			s.products = append(s.products, whole)
		}
		for j := range parts {
			part := parts[j].product()
			part.within = &whole
			s.products = append(s.products, part)
		}
	}
	if len(o.Products) == 0 {
		s.products = subjects
	}
	return s, nil
}

// lastSegment is the id at the end of an address: vulnerabilities are also named
// by the page that tells of them.
func lastSegment(id string) string {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i] == '/' {
			return id[i+1:]
		}
	}
	return id
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
