package web

import (
	"net/http"
	"net/url"
	"strings"

	"strata/internal/advisory"
	"strata/internal/policy"
	"strata/internal/store"
)

// A violationGroup is what is objected to in one image.
type violationGroup struct {
	Image     int64
	Reference string
	Rules     []ruleGroup
}

// A ruleGroup is what one rule of a watch objects to in an image.
type ruleGroup struct {
	Watch, Policy, Rule, Decision string
	// Message is that of all; empty where they differ.
	Message string
	Items   []store.Violation
}

// manyObjections is how many a rule shows without being asked.
const manyObjections = 8

// Open tells whether the objections are shown without being asked for.
func (g *ruleGroup) Open() bool { return len(g.Items) <= manyObjections }

// A violationsPage lists violations.
type violationsPage struct {
	listPage[store.Violation]
	Query  url.Values
	Groups []violationGroup
	// Watches and Policies can be chosen; none where who looks may not know them.
	Watches, Policies []string
	Resolved          bool
}

// violations is the list of violations.
func (s *Site) violations(v *visit) error {
	p := &violationsPage{Query: v.r.URL.Query()}
	p.URL, p.Resolved = v.r.URL, p.Query.Get("resolved") != ""
	query := v.asked("watch", "policy", "vulnerability", "image", "cursor")
	if p.Resolved {
		query.Set("resolved", "true")
	}
	query.Set("limit", "100")
	if err := v.get("/violations", query, &p.listPage); err != nil {
		return err
	}
	for i := range p.Items {
		p.add(&p.Items[i])
	}
	watches, err := v.watchList()
	if err != nil {
		return err
	}
	for i := range watches {
		p.Watches = append(p.Watches, watches[i].Name)
	}
	var policies documentList
	if err := v.mayGet("/policies", nil, &policies); err != nil {
		return err
	}
	for i := range policies.Items {
		p.Policies = append(p.Policies, policies.Items[i].Name)
	}
	p.Policies = append(p.Policies, policy.ReadyNames()...)
	v.show(http.StatusOK, "violations", "Violations", p)
	return nil
}

// add puts a violation to those of its image and rule, which the newest has brought to the
// top.
func (p *violationsPage) add(x *store.Violation) {
	var image *violationGroup
	for i := range p.Groups {
		if p.Groups[i].Image == x.Image {
			image = &p.Groups[i]
		}
	}
	if image == nil {
		p.Groups = append(p.Groups, violationGroup{Image: x.Image, Reference: x.Reference})
		image = &p.Groups[len(p.Groups)-1]
	}
	for i := range image.Rules {
		g := &image.Rules[i]
		if g.Watch == x.Watch && g.Policy == x.Policy && g.Rule == x.Rule && g.Decision == x.Decision {
			if g.Message != x.Message {
				g.Message = ""
			}
			g.Items = append(g.Items, *x)
			return
		}
	}
	image.Rules = append(image.Rules, ruleGroup{Watch: x.Watch, Policy: x.Policy, Rule: x.Rule, Decision: x.Decision, Message: x.Message, Items: []store.Violation{*x}})
}

// Severity is that of a rank.
func (p *violationsPage) Severity(rank int) advisory.Severity { return advisory.SeverityOfRank(rank) }

// Rest is what the message says behind the name of the vulnerability, where it begins with
// that as those without words of their own do; else empty.
func (p *violationsPage) Rest(x store.Violation) string {
	rest, ok := strings.CutPrefix(x.Message, x.Vulnerability+" ")
	if !ok || x.Vulnerability == "" {
		return ""
	}
	return rest
}
