package server

import (
	"encoding/json"
	"strings"
	"testing"

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
		if log, err := db.AuditLog(t.Context(), 0, 1); err != nil || log[0].Actor != "strata.yaml (settings)" {
			t.Errorf("%+v, %v", log, err)
		}
		watch := []Declaration{{Kind: "watches", Name: "all", Body: json.RawMessage(`{"name": "all", "policies": ["strict"]}`)}}
		for range 2 {
			if err := s.declare(t.Context(), watch); err != nil {
				t.Fatal(err)
			}
		}
		if w, err := db.Watches(t.Context()); err != nil || len(w) != 1 || w[0].Name != "all" {
			t.Errorf("%+v, %v", w, err)
		}
		bad := []Declaration{{Kind: "registries", Name: "x", Place: "strata.yaml:3", Body: json.RawMessage(`{"name": "x", "nonsense": 1}`)}}
		if err := s.declare(t.Context(), bad); err == nil || !strings.HasPrefix(err.Error(), `strata.yaml:3: registries "x": `) {
			t.Errorf("%v", err)
		}
	})
}
