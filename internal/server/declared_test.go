package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"

	"strata/internal/auth"
	"strata/internal/store"
)

// What is declared is made, then changed, then left, and refused as the API refuses it.
func TestDeclared(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		s := newTestServer(t, db)
		ctx := auth.With(t.Context(), &auth.Identity{Name: "strata.yaml", Via: "settings", Grants: []auth.Grant{{Role: auth.Administrator, Repository: "**"}}})
		apply := func(body string) error {
			return s.declareOne(ctx, Declaration{Kind: "users", Name: "ann", Body: json.RawMessage(body)})
		}
		const password = `"password": "correct horse battery"`
		if err := apply(`{"name": "ann", ` + password + `}`); err != nil {
			t.Fatal(err)
		}
		if err := apply(`{"name": "ann", "email": "a@b.example", ` + password + `}`); err != nil {
			t.Fatal(err)
		}
		if u, err := db.UserNamed(t.Context(), "ann"); err != nil || u.Email != "a@b.example" {
			t.Errorf("%+v, %v", u, err)
		}
		if err := apply(`{"name": "ann", "grants": [{"role": "king"}]}`); err == nil || !strings.Contains(err.Error(), "body.grants[0].role") {
			t.Errorf("%v", err)
		}
		// What is refused may be a secret: it is in the log then.
		if err := apply(`{"name": "ann", "pasword": "correct horse battery"}`); err == nil || strings.Contains(err.Error(), "correct horse") || !strings.Contains(err.Error(), "body") {
			t.Errorf("%v", err)
		}
		if log, err := db.AuditLog(t.Context(), 0, 1); err != nil || log[0].Actor != "strata.yaml (settings)" {
			t.Errorf("%+v, %v", log, err)
		}
		watch := []Declaration{{Kind: "watches", Name: "all", Place: "strata.yaml:7", Body: json.RawMessage(`{"name": "all", "policies": ["strict"]}`)}}
		for range 2 {
			if err := s.declare(t.Context(), watch); err != nil {
				t.Fatal(err)
			}
		}
		if w, err := db.Watches(t.Context()); err != nil || len(w) != 1 || w[0].Name != "all" {
			t.Errorf("%+v, %v", w, err)
		}
		var list List[ListedWatch]
		if status := s.call(t, "GET", "/api/v1/watches", nil, &list); status != http.StatusOK || list.Items[0].Declared != "strata.yaml:7" {
			t.Errorf("status %d: not told that it is declared: %+v", status, list)
		}
		bad := []Declaration{{Kind: "registries", Name: "x", Place: "strata.yaml:3", Body: json.RawMessage(`{"name": "x", "nonsense": 1}`)}}
		if err := s.declare(t.Context(), bad); err == nil || !strings.HasPrefix(err.Error(), `strata.yaml:3: registries "x": `) {
			t.Errorf("%v", err)
		}
	})
}

// Policies of the settings are there as long as they are in the settings, and are changed
// there alone.
func TestDeclaredPolicies(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		s := newTestServer(t, db)
		text := func(action string) string {
			return "name: x\nrules:\n  - name: b\n    when: finding.kev\n    action: " + action + "\n"
		}
		start := func(p *DeclaredPolicies) {
			t.Helper()
			if err := errors.Join(s.declarePolicies(t.Context(), p), s.withdrawPolicies(t.Context(), p)); err != nil {
				t.Fatal(err)
			}
		}
		check := func(step string, policies, changes []string) {
			t.Helper()
			all, err := db.Documents(t.Context(), true)
			if err != nil {
				t.Fatal(err)
			}
			var got, log []string
			for _, d := range all {
				got = append(got, fmt.Sprintf("%s %d %s %s", d.Name, d.Version, d.File, d.UpdatedBy))
			}
			entries, err := db.AuditLog(t.Context(), 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries[:len(entries)-seen(entries)] {
				log = append(log, e.Action+" "+e.Target+" "+e.Detail)
			}
			if err := db.Audit(t.Context(), "test", "seen", "", ""); err != nil {
				t.Fatal(err)
			}
			slices.Sort(log)
			if diff := cmp.Diff(policies, got) + cmp.Diff(changes, log); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step, diff)
			}
		}
		if code := s.call(t, "PUT", "/api/v1/policies/b", map[string]string{"text": text("fail")}, nil); code != http.StatusOK {
			t.Fatal(code)
		}
		two := &DeclaredPolicies{File: "/etc/strata.yaml", Listed: true, Policies: []DeclaredPolicy{{Name: "b", Text: text("fail")}, {Name: "a", Text: text("fail")}}}
		var instances sync.WaitGroup // that start at once
		for range 4 {
			instances.Go(func() { start(two) })
		}
		instances.Wait()
		check("declared", []string{"a 1 /etc/strata.yaml strata.yaml", "b 2 /etc/strata.yaml strata.yaml"},
			[]string{"put-policy a /etc/strata.yaml", "put-policy b ", "put-policy b /etc/strata.yaml"})
		for method, body := range map[string]any{"PUT": map[string]string{"text": text("warn")}, "DELETE": nil} {
			var problem huma.ErrorModel
			if code := s.call(t, method, "/api/v1/policies/a", body, &problem); code != http.StatusConflict || !strings.Contains(problem.Detail, "declared in /etc/strata.yaml") {
				t.Errorf("%s: status %d, %s", method, code, problem.Detail)
			}
		}
		start(&DeclaredPolicies{})
		start(&DeclaredPolicies{File: "/home/ann/strata.yaml"})
		check("other settings, without policies", []string{"a 1 /etc/strata.yaml strata.yaml", "b 2 /etc/strata.yaml strata.yaml"}, nil)
		if code := s.call(t, "PUT", "/api/v1/watches/w", map[string]any{"policies": []string{"b"}}, nil); code != http.StatusOK {
			t.Fatal(code)
		}
		two.Policies = []DeclaredPolicy{{Name: "a", Text: text("warn")}}
		start(two)
		check("one changed, one left that a watch asks for", []string{"a 2 /etc/strata.yaml strata.yaml", "b 2  strata.yaml"},
			[]string{"put-policy a /etc/strata.yaml", "put-watch w ", "release-policy b no longer in /etc/strata.yaml, but a watch asks for it"})
		start(&DeclaredPolicies{File: "/srv/strata.yaml", Listed: true})
		check("another file, with an empty list", []string{"b 2  strata.yaml"}, []string{"delete-policy a no longer in /srv/strata.yaml"})
		wrong := &DeclaredPolicies{File: "f", Policies: []DeclaredPolicy{{Name: "strict", Text: text("fail"), Place: "strata.yaml:3"}}}
		if err := s.declarePolicies(t.Context(), wrong); err == nil || !strings.HasPrefix(err.Error(), `strata.yaml:3: policies: name "strict"`) {
			t.Errorf("%v", err)
		}
	})
}

// seen is how many of the oldest entries of an audit log were looked at.
func seen(entries []store.AuditEntry) int {
	i := slices.IndexFunc(entries, func(e store.AuditEntry) bool { return e.Action == "seen" })
	if i < 0 {
		return 0
	}
	return len(entries) - i
}
