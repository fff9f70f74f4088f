package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

type csafProduct struct {
	ID     string `json:"product_id"`
	Name   string `json:"name"`
	Helper struct {
		PURL string `json:"purl"`
		CPE  string `json:"cpe"`
	} `json:"product_identification_helper"`
}

type csafBranch struct {
	Branches []csafBranch `json:"branches"`
	Product  *csafProduct `json:"product"`
}

type csafVulnerability struct {
	CVE string `json:"cve"`
	IDs []struct {
		Text string `json:"text"`
	} `json:"ids"`
	ProductStatus map[string][]string `json:"product_status"`
	Flags         []csafNote          `json:"flags"`
	Threats       []csafNote          `json:"threats"`
	Remediations  []csafNote          `json:"remediations"`
}

// A csafNote is a flag, threat or remediation, for products or groups of them.
type csafNote struct {
	Label    string   `json:"label"`
	Category string   `json:"category"`
	Details  string   `json:"details"`
	Products []string `json:"product_ids"`
	Groups   []string `json:"group_ids"`
}

// csafStatuses are the product statuses (CSAF 2.0, 3.2.3.9) as statuses of VEX.
// What is recommended says nothing.
var csafStatuses = map[string]Status{
	"known_not_affected": NotAffected, "fixed": Fixed, "first_fixed": Fixed,
	"known_affected": Affected, "first_affected": Affected, "last_affected": Affected,
	"under_investigation": UnderInvestigation,
}

// A csafTree is what the products of a document are.
type csafTree struct {
	products map[string]vexProduct
	groups   map[string][]string
}

// csaf reads a CSAF 2.0 document, whatever its profile: an advisory has the
// product statuses that a VEX has.
func (v *VEX) csaf(text []byte) error {
	var doc struct {
		Document struct {
			Publisher struct {
				Name string `json:"name"`
			} `json:"publisher"`
			Tracking struct {
				Current time.Time `json:"current_release_date"`
			} `json:"tracking"`
		} `json:"document"`
		Tree struct {
			Branches         []csafBranch  `json:"branches"`
			FullProductNames []csafProduct `json:"full_product_names"`
			Relationships    []struct {
				Category  string      `json:"category"`
				Product   csafProduct `json:"full_product_name"`
				Reference string      `json:"product_reference"`
				RelatesTo string      `json:"relates_to_product_reference"`
			} `json:"relationships"`
			Groups []struct {
				ID       string   `json:"group_id"`
				Products []string `json:"product_ids"`
			} `json:"product_groups"`
		} `json:"product_tree"`
		Vulnerabilities []csafVulnerability `json:"vulnerabilities"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("CSAF: %w", err)
	}
	v.Author = doc.Document.Publisher.Name
	tree := &csafTree{products: map[string]vexProduct{}, groups: map[string][]string{}}
	tree.branches(doc.Tree.Branches)
	for i := range doc.Tree.FullProductNames {
		tree.add(&doc.Tree.FullProductNames[i])
	}
	// A relationship may build on another one; they are few deep, in any order.
	for range 3 {
		for _, r := range doc.Tree.Relationships {
			tree.relate(&r.Product, r.Reference, r.RelatesTo)
		}
	}
	for _, g := range doc.Tree.Groups {
		tree.groups[g.ID] = g.Products
	}
	for i := range doc.Vulnerabilities {
		of := &doc.Vulnerabilities[i]
		if of.names() == nil {
			v.remark("vulnerability %d is not looked at: it has no id", i+1)
			continue
		}
		v.statements = append(v.statements, of.statements(tree, doc.Document.Tracking.Current)...)
	}
	return nil
}

func (t *csafTree) branches(list []csafBranch) {
	for i := range list {
		if p := list[i].Product; p != nil {
			t.add(p)
		}
		t.branches(list[i].Branches)
	}
}

func (t *csafTree) add(p *csafProduct) {
	product := newProduct(p.Helper.PURL)
	if p.Helper.CPE != "" {
		product.platforms = []string{p.Helper.CPE}
	}
	product.label = p.Name
	t.products[p.ID] = product
}

// relate makes the product of a relationship: a component that is part of, or
// installed with, another product, which is an image or a platform.
func (t *csafTree) relate(p *csafProduct, component, whole string) {
	part, ok := t.products[component]
	of, known := t.products[whole]
	if !ok || !known {
		return
	}
	part.platforms = nil
	if len(of.purls) == 0 {
		// A platform, such as a release of an operating system: told by its CPE. One
		// without is one that can't be told, and only a version makes the part sure.
		part.platforms = append([]string{"(no CPE)"}, of.platforms...)
	} else {
		of.within = nil // which nothing is matched by: else products within each other grow with each relationship
		part.within = &of
	}
	if u := newProduct(p.Helper.PURL); len(u.purls) > 0 {
		part.purls = u.purls
	}
	part.label = p.Name
	t.products[p.ID] = part
}

func (c *csafVulnerability) names() []string {
	var names []string
	if c.CVE != "" {
		names = append(names, c.CVE)
	}
	for _, id := range c.IDs {
		if id.Text != "" {
			names = append(names, id.Text)
		}
	}
	return names
}

// statements are one for each status and justification.
func (c *csafVulnerability) statements(t *csafTree, when time.Time) []statement {
	labels := t.notes(c.Flags, func(n *csafNote) string { return n.Label })
	impacts := t.notes(c.Threats, func(n *csafNote) string {
		if n.Category != "impact" {
			return ""
		}
		return n.Details
	})
	type key struct {
		status      Status
		label, note string
	}
	byKey := map[key]*statement{}
	var out []*statement
	for _, word := range slices.Sorted(maps.Keys(c.ProductStatus)) {
		status := csafStatuses[word]
		if status == "" {
			continue
		}
		for _, id := range c.ProductStatus[word] {
			product, ok := t.products[id]
			if !ok {
				product = vexProduct{label: id}
			}
			k := key{status, "", ""}
			if status == NotAffected {
				k.label, k.note = or(labels[id], labels[everyProduct]), or(impacts[id], impacts[everyProduct])
			}
			s := byKey[k]
			if s == nil {
				s = &statement{names: c.names(), status: status, justification: k.label, note: k.note, when: when}
				byKey[k] = s
				out = append(out, s)
			}
			s.products = append(s.products, product)
		}
	}
	list := make([]statement, len(out))
	for i, s := range out {
		list[i] = *s
	}
	sortStatements(list)
	return list
}

// everyProduct is the key of notes that name no product.
const everyProduct = ""

// notes are the texts by product.
func (t *csafTree) notes(list []csafNote, text func(*csafNote) string) map[string]string {
	out := map[string]string{}
	for i := range list {
		n := &list[i]
		ids := slices.Clone(n.Products)
		for _, g := range n.Groups {
			ids = append(ids, t.groups[g]...)
		}
		if len(ids) == 0 {
			ids = []string{everyProduct}
		}
		if s := text(n); s != "" {
			for _, id := range ids {
				out[id] = s
			}
		}
	}
	return out
}
