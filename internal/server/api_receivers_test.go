package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"strata/internal/store"
)

func TestReceiversAPI(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		var got []string
		hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got = append(got, string(body))
			if len(got) > 1 {
				http.Error(w, "no more", http.StatusTeapot)
			}
		}))
		defer hook.Close()
		s := newTestServer(t, db, func(o *Options) { o.Client = hook.Client() })
		put := map[string]any{"kind": "webhook", "settings": map[string]any{"url": hook.URL}, "secret": "whsec_c2VjcmV0"}
		if code := s.call(t, "PUT", "/api/v1/receivers/hook", put, nil); code != http.StatusOK {
			t.Fatalf("status %d", code)
		}
		var list Page[Receiver]
		if code := s.call(t, "GET", "/api/v1/receivers", nil, &list); code != http.StatusOK || len(list.Items) != 1 || !list.Items[0].HasSecret {
			t.Errorf("status %d: %+v", code, list)
		}
		var test ReceiverTest
		if code := s.call(t, "POST", "/api/v1/receivers/hook/test", nil, &test); code != http.StatusOK || !test.OK || len(got) != 1 {
			t.Errorf("status %d: %+v, %d messages", code, test, len(got))
		}
		if code := s.call(t, "POST", "/api/v1/receivers/hook/test", nil, &test); code != http.StatusOK || test.OK || !strings.Contains(test.Error, "418") {
			t.Errorf("status %d: %+v", code, test)
		}
		for name, bad := range map[string]map[string]any{
			"kind":     {"kind": "pigeon"},
			"url":      {"kind": "webhook", "settings": map[string]any{"url": "ftp://x"}},
			"schedule": {"kind": "webhook", "settings": map[string]any{"url": hook.URL, "schedule": "sometimes"}},
			"password": {"kind": "email", "settings": map[string]any{"host": "mail.example", "tls": "none", "username": "u", "from": "a@example.org", "to": []string{"b@example.org"}}},
		} {
			if code := s.call(t, "PUT", "/api/v1/receivers/bad", bad, nil); code != http.StatusUnprocessableEntity {
				t.Errorf("a wrong %s: status %d", name, code)
			}
		}
		var page Page[store.Notification]
		if code := s.call(t, "GET", "/api/v1/notifications?state=sent", nil, &page); code != http.StatusOK || len(page.Items) != 0 {
			t.Errorf("status %d: %+v", code, page)
		}
		if code := s.call(t, "POST", "/api/v1/notifications/99/resend", nil, nil); code != http.StatusNotFound {
			t.Errorf("resend of none: status %d", code)
		}
		watch := func(receivers ...string) {
			t.Helper()
			if code := s.call(t, "PUT", "/api/v1/watches/w", map[string]any{"policies": []string{}, "receivers": receivers}, nil); code != http.StatusOK {
				t.Errorf("watch: status %d", code)
			}
		}
		watch("hook")
		if code := s.call(t, "DELETE", "/api/v1/receivers/hook", nil, nil); code != http.StatusConflict {
			t.Errorf("a receiver that a watch tells: status %d", code)
		}
		watch()
		policy := func(receiver string) int {
			text := "name: p\nrules:\n  - {name: r, when: 'true', action: warn, receivers: [" + receiver + "]}\n"
			return s.call(t, "PUT", "/api/v1/policies/p", map[string]string{"text": text}, nil)
		}
		if code := policy("hok"); code != http.StatusUnprocessableEntity {
			t.Errorf("a rule that tells one who is not there: status %d", code)
		}
		if code := policy("hook"); code != http.StatusOK {
			t.Errorf("a rule that tells one: status %d", code)
		}
		if code := s.call(t, "DELETE", "/api/v1/receivers/hook", nil, nil); code != http.StatusConflict {
			t.Errorf("a receiver that a rule tells: status %d", code)
		}
		if code := s.call(t, "DELETE", "/api/v1/policies/p", nil, nil); code != http.StatusNoContent {
			t.Errorf("status %d", code)
		}
		if code := s.call(t, "DELETE", "/api/v1/receivers/hook", nil, nil); code != http.StatusNoContent {
			t.Errorf("status %d", code)
		}
	})
}
