package server

import (
	"context"
	"net/http"
	"testing"

	"strata/internal/jobs"
	"strata/internal/store"
)

func TestPoliciesAPI(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		var asked []jobs.Kind
		s := newTestServer(t, db, func(o *Options) {
			o.Enqueue = func(_ context.Context, all ...jobs.Job) error {
				for _, j := range all {
					asked = append(asked, j.Kind)
				}
				return nil
			}
		})
		text := map[string]string{"text": "name: a\nrules:\n  - name: b\n    when: finding.kev\n    action: fail\n"}
		var d store.Document
		if code := s.call(t, "PUT", "/api/v1/policies/a", text, &d); code != http.StatusOK || d.Version != 1 {
			t.Fatalf("status %d: %+v", code, d)
		}
		if code := s.call(t, "PUT", "/api/v1/policies/a", text, &d); code != http.StatusOK || d.Version != 2 {
			t.Errorf("status %d: %+v", code, d)
		}
		if code := s.call(t, "PUT", "/api/v1/policies/b", map[string]string{"text": "rules: [{name: x, when: nothing.here}]"}, nil); code != http.StatusUnprocessableEntity {
			t.Errorf("a wrong policy: status %d", code)
		}
		if code := s.call(t, "POST", "/api/v1/policies/b/check", text, nil); code != http.StatusNoContent {
			t.Errorf("check: status %d", code)
		}
		var list DocumentList
		if code := s.call(t, "GET", "/api/v1/policies", nil, &list); code != http.StatusOK || len(list.Items) != 1 || len(list.Ready) == 0 {
			t.Errorf("status %d: %+v", code, list)
		}
		if code := s.call(t, "PUT", "/api/v1/watches/w", map[string]any{"policies": []string{"missing"}}, nil); code != http.StatusUnprocessableEntity {
			t.Errorf("a watch by a policy that isn't there: status %d", code)
		}
		if code := s.call(t, "PUT", "/api/v1/watches/w", map[string]any{"policies": []string{"a"}, "scope": map[string]any{"repositories": []string{"r/**"}}}, nil); code != http.StatusOK {
			t.Errorf("status %d", code)
		}
		if code := s.call(t, "DELETE", "/api/v1/policies/a", nil, nil); code != http.StatusConflict {
			t.Errorf("a policy in use: status %d", code)
		}
		if code := s.call(t, "DELETE", "/api/v1/watches/w", nil, nil); code != http.StatusNoContent {
			t.Errorf("status %d", code)
		}
		if code := s.call(t, "DELETE", "/api/v1/policies/a", nil, nil); code != http.StatusNoContent {
			t.Errorf("status %d", code)
		}
		if code := s.call(t, "PUT", "/api/v1/waivers/x", map[string]string{"text": "waivers:\n  - vulnerability: CVE-2026-1\n    reason: r\n    owner: o\n    until: 2030-01-01\n"}, nil); code != http.StatusOK {
			t.Errorf("waivers: status %d", code)
		}
		if code := s.call(t, "DELETE", "/api/v1/vex/x", nil, nil); code != http.StatusNotFound {
			t.Errorf("of another kind: status %d", code)
		}
		var page Page[store.Violation]
		if code := s.call(t, "GET", "/api/v1/violations?watch=w&vulnerability=cve-1", nil, &page); code != http.StatusOK || len(page.Items) != 0 {
			t.Errorf("status %d: %+v", code, page)
		}
		if len(asked) == 0 || asked[0] != jobs.Judge {
			t.Errorf("asked for %v", asked)
		}
	})
}
