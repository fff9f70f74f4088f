package server

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/auth"
	"strata/internal/jobs"
	"strata/internal/policy"
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
		if code := s.call(t, "PUT", "/api/v1/watches/w", map[string]any{"policies": []string{"a"}, "receivers": []string{"missing"}}, nil); code != http.StatusUnprocessableEntity {
			t.Errorf("a watch for a receiver that isn't there: status %d", code)
		}
		var watch store.Watch
		if code := s.call(t, "PUT", "/api/v1/watches/w", map[string]any{"policies": []string{"a"}, "scope": map[string]any{"repositories": []string{"r/**"}}}, &watch); code != http.StatusOK {
			t.Errorf("status %d", code)
		}
		if watch.CreatedAt.IsZero() || !watch.UpdatedAt.Equal(watch.CreatedAt) {
			t.Errorf("a new watch: %+v", watch)
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
		long := map[string]string{"text": "waivers:\n  - vulnerability: CVE-2026-1\n    reason: r\n    owner: o\n    until: 2030-01-01\n" + strings.Repeat("# \"\n", 1<<19)}
		if code := s.call(t, "PUT", "/api/v1/waivers/long", long, nil); code != http.StatusOK {
			t.Errorf("2 MiB of text: status %d", code)
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

func TestTryPolicyAPI(t *testing.T) {
	var asked *jobs.Trial
	s := newTestServer(t, openTestDB(t, t.TempDir()+"/strata.db"), func(o *Options) {
		o.Try = func(_ context.Context, trial *jobs.Trial) (*jobs.Tried, error) {
			asked = trial
			if trial.Name == "bad" {
				return nil, store.ErrInvalid
			}
			return &jobs.Tried{Mistakes: []policy.Mistake{{Line: 4, Column: 11, Message: "m"}}}, nil
		}
	})
	viewer := s.newUser(t, "vic", auth.Grant{Role: auth.Viewer, Repository: "**"})
	developer := s.newUser(t, "dev", auth.Grant{Role: auth.Developer, Repository: "r.example/team-a/**"})
	const path = "/api/v1/policies/try"
	if code := s.callAs(t, viewer, "POST", path, map[string]any{"text": ""}, nil); code != http.StatusForbidden {
		t.Errorf("a viewer: status %d", code)
	}
	var got jobs.Tried
	body := map[string]any{"text": "x", "name": "n", "mode": "warn", "seconds": 3, "scope": map[string]any{"tags": []string{"1"}}}
	if code := s.callAs(t, developer, "POST", path, body, &got); code != http.StatusOK || len(got.Mistakes) != 1 || got.Mistakes[0].Line != 4 {
		t.Errorf("status %d: %+v", code, got)
	}
	want := &jobs.Trial{Name: "n", Text: "x", Scope: &store.WatchScope{Tags: []string{"1"}}, Mode: policy.WarnOnly, Sight: []string{"r.example/team-a/**"},
		MaxImages: 1000, MaxItems: 50, MaxTime: 3 * time.Second}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if code := s.call(t, "POST", path, map[string]any{"text": "x", "name": "bad"}, nil); code != http.StatusUnprocessableEntity || asked.Sight != nil {
		t.Errorf("a name that can't be: status %d, %+v", code, asked)
	}
	for range maxTrying {
		s.trying <- struct{}{}
	}
	if code := s.call(t, "POST", path, map[string]any{"text": "x", "seconds": 1}, nil); code != http.StatusServiceUnavailable {
		t.Errorf("others are tried: status %d", code)
	}
	if code := s.call(t, "POST", path, map[string]any{"text": "x", "check": true}, nil); code != http.StatusOK || !asked.CheckOnly {
		t.Errorf("a check while others are tried: status %d, %+v", code, asked)
	}
}

// A document is replaced where it is still what was read, and nowhere else: two who add to
// it at the same time lose nothing of each other.
func TestReplaceDocument(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		s := newTestServer(t, db)
		for _, path := range []string{"/api/v1/waivers/x", "/api/v1/policies/x"} {
			text := map[bool]string{true: "waivers: []\n", false: "rules: [{name: a, when: finding.kev, action: fail}]\n"}[strings.Contains(path, "waivers")]
			put := func(comment, replaces string, want int) (d store.Document) {
				t.Helper()
				var out struct{ Digest string }
				if code := s.call(t, "PUT", path, map[string]string{"text": text + comment, "replaces": replaces}, &out); code != want {
					t.Errorf("%s %q: status %d, want %d", path, replaces, code, want)
				}
				return store.Document{Digest: out.Digest}
			}
			put("", "sha256:0", http.StatusConflict)
			first := put("", store.NoDocument, http.StatusOK)
			put("# a", store.NoDocument, http.StatusConflict)
			second := put("# a", first.Digest, http.StatusOK)
			put("# b", first.Digest, http.StatusConflict)
			put("# c", second.Digest, http.StatusOK)
			put("# d", "", http.StatusOK)
		}
		var codes [8]int
		var all sync.WaitGroup
		var list DocumentList
		s.call(t, "GET", "/api/v1/waivers", nil, &list)
		for i := range codes {
			all.Go(func() {
				codes[i] = s.call(t, "PUT", "/api/v1/waivers/x", map[string]string{"text": "waivers: []\n# " + strings.Repeat("x", i+1), "replaces": list.Items[0].Digest}, nil)
			})
		}
		all.Wait()
		slices.Sort(codes[:])
		if codes[0] != http.StatusOK || codes[1] != http.StatusConflict {
			t.Errorf("at the same time: %v", codes)
		}
	})
}
