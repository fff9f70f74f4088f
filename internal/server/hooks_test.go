package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/jobs"
	"strata/internal/store"
)

const hookSecret = "a secret of the registry"

// hookServer is a server with one registry, "r", and what it gives the queue.
func hookServer(t *testing.T, db *store.DB) (s *testServer, queued *[]jobs.Job) {
	t.Helper()
	queued = &[]jobs.Job{}
	s = newTestServer(t, db, func(o *Options) {
		o.Enqueue = func(_ context.Context, work ...jobs.Job) error {
			*queued = append(*queued, work...)
			return nil
		}
	})
	id, _, err := db.RegistryOf(t.Context(), "registry.example")
	if err != nil {
		t.Fatal(err)
	}
	s.hooked = func(_ context.Context, name string) (*hookedRegistry, error) {
		switch name {
		case "r":
			return &hookedRegistry{ID: id, Secret: hookSecret,
				Wants: func(repository, _ string) bool { return strings.HasPrefix(repository, "team/") },
				Digest: func(_ context.Context, repository, tag string) (string, error) {
					if tag == "gone" {
						return "", store.ErrNotFound
					}
					return "sha256:" + strings.Repeat("d", 64), nil
				}}, nil
		case "without":
			return &hookedRegistry{ID: id}, nil
		}
		return nil, fmt.Errorf("registry %s: %w", name, store.ErrNotFound)
	}
	return s, queued
}

// hook sends a notification; headers are pairs.
func (s *testServer) hook(t *testing.T, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func pushOf(repository, tag, digest string) string {
	return fmt.Sprintf(`{"events": [{"action": "push", "timestamp": "2026-03-01T10:00:00Z", "target": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "repository": %q, "tag": %q, "digest": %q}}]}`, repository, tag, digest)
}

func TestHooks(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		s, queued := hookServer(t, db)
		digest := "sha256:" + strings.Repeat("a", 64)
		w := s.hook(t, "POST", "/hooks/r/distribution", pushOf("team/web", "1", digest), "Authorization", "Bearer "+hookSecret)
		var got HookAnswer
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusAccepted {
			t.Fatalf("status %d, %s", w.Code, w.Body)
		}
		if diff := cmp.Diff(HookAnswer{Taken: []HookEvent{{"pushed", "team/web", "1", digest}}}, got); diff != "" {
			t.Error(diff)
		}
		if len(*queued) != 1 || (*queued)[0].Kind != jobs.Scan || (*queued)[0].Priority != jobs.ForPush {
			t.Errorf("queued %+v", *queued)
		}
		// The form is recognised; what the filters leave out is not taken.
		w = s.hook(t, "POST", "/hooks/r", pushOf("other/web", "1", digest), "Authorization", "Bearer "+hookSecret)
		if want := `{"taken":[],"ignored":1}`; w.Code != http.StatusAccepted || strings.TrimSpace(w.Body.String()) != want {
			t.Errorf("status %d, %s", w.Code, w.Body)
		}
		if len(*queued) != 1 {
			t.Errorf("queued %+v", *queued)
		}
		// A sender that tells no digest: the registry is asked; a tag it doesn't have is nothing.
		w = s.hook(t, "POST", "/hooks/r?token="+strings.ReplaceAll(hookSecret, " ", "+"), `{"repository": "team/web", "docker_url": "quay.io/team/web", "updated_tags": ["2", "gone"]}`)
		if want := `{"taken":[{"action":"pushed","repository":"team/web","tag":"2","digest":"sha256:` + strings.Repeat("d", 64) + `"}],"ignored":0}`; strings.TrimSpace(w.Body.String()) != want {
			t.Errorf("status %d, %s", w.Code, w.Body)
		}
		// A deletion gives the queue nothing.
		before := len(*queued)
		w = s.hook(t, "POST", "/hooks/r", `{"events": [{"action": "delete", "target": {"repository": "team/web", "tag": "1"}}]}`, "Authorization", hookSecret)
		if w.Code != http.StatusAccepted || !strings.Contains(w.Body.String(), "deleted") || len(*queued) != before {
			t.Errorf("status %d, %s, queued %+v", w.Code, w.Body, *queued)
		}
	})
}

// TestHookAccess: each way to prove the secret works, and nothing else does; who may
// not doesn't learn which registries there are.
func TestHookAccess(t *testing.T) {
	s, _ := hookServer(t, openTestDB(t, t.TempDir()+"/strata.db"))
	body := pushOf("team/web", "1", "sha256:"+strings.Repeat("a", 64))
	sign := func(secret, body string) string {
		mac := hmac.New(sha256.New, []byte(secret))
		_, _ = io.WriteString(mac, body)
		return "sha256=" + hex.EncodeToString(mac.Sum(nil))
	}
	basic := func(user, password string) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth(user, password)
		return r.Header.Get("Authorization")
	}
	token := "?token=a+secret+of+the+registry"
	var refused []string
	for name, c := range map[string]struct {
		path    string
		headers []string
		want    int
	}{
		"raw":                     {"/hooks/r", []string{"Authorization", hookSecret}, 202},
		"bearer":                  {"/hooks/r", []string{"Authorization", "bearer " + hookSecret}, 202},
		"basic":                   {"/hooks/r", []string{"Authorization", basic("anyone", hookSecret)}, 202},
		"token":                   {"/hooks/r" + token, nil, 202},
		"token beside a JWT":      {"/hooks/r" + token, []string{"Authorization", "Bearer eyJ.x.y"}, 202},
		"signature":               {"/hooks/r", []string{"X-Hub-Signature-256", sign(hookSecret, body)}, 202},
		"nothing":                 {"/hooks/r", nil, 401},
		"empty":                   {"/hooks/r?token=", []string{"Authorization", "Bearer "}, 401},
		"wrong":                   {"/hooks/r?token=x", []string{"Authorization", "Bearer x"}, 401},
		"API token":               {"/hooks/r", []string{"Authorization", "Bearer " + s.token}, 401},
		"signature of other":      {"/hooks/r", []string{"X-Hub-Signature-256", sign(hookSecret, body+" ")}, 401},
		"signature, other secret": {"/hooks/r", []string{"X-Hub-Signature-256", sign("x", body)}, 401},
		"bad signature, token":    {"/hooks/r" + token, []string{"X-Hub-Signature-256", "sha256=00"}, 401},
		"sha1":                    {"/hooks/r", []string{"X-Hub-Signature-256", "sha1=00"}, 401},
		"no secret":               {"/hooks/without", []string{"Authorization", "Bearer "}, 401},
		"no secret, empty mac":    {"/hooks/without", []string{"X-Hub-Signature-256", sign("", body)}, 401},
		"no registry":             {"/hooks/none", []string{"Authorization", "Bearer x"}, 401},
	} {
		w := s.hook(t, "POST", c.path, body, c.headers...)
		if w.Code != c.want {
			t.Errorf("%s: status %d, want %d: %s", name, w.Code, c.want, w.Body)
		}
		if w.Code == 401 {
			refused = append(refused, w.Body.String())
		}
	}
	for _, r := range refused {
		if r != refused[0] {
			t.Errorf("answers differ: %s, %s", r, refused[0])
		}
	}
	auth := []string{"Authorization", "Bearer " + hookSecret}
	if w := s.hook(t, "POST", "/hooks/r", strings.Repeat(" ", 1<<20+1), auth...); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: %d", w.Code)
	}
	for _, path := range []string{"/hooks/r", "/hooks/r/harbor", "/hooks/r/gitlab"} {
		if w := s.hook(t, "POST", path, `{"a": 1}`, auth...); w.Code != http.StatusBadRequest {
			t.Errorf("%s, not understood: %d", path, w.Code)
		}
	}
}

// visited answers in the place of SNS, and keeps what was asked.
type visited struct {
	urls   []string
	status int
}

func (v *visited) RoundTrip(r *http.Request) (*http.Response, error) {
	v.urls = append(v.urls, r.URL.String())
	return &http.Response{StatusCode: v.status, Status: http.StatusText(v.status), Body: http.NoBody, Request: r, Header: http.Header{"Location": {"http://127.0.0.1/"}}}, nil
}

func TestHookHandshakes(t *testing.T) {
	s, _ := hookServer(t, openTestDB(t, t.TempDir()+"/strata.db"))
	v := &visited{status: 200}
	s.visitTransport = v
	auth := []string{"Authorization", "Bearer " + hookSecret}
	azure := `[{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "512d38b6"}}]`
	if w := s.hook(t, "POST", "/hooks/r/azure", azure, auth...); w.Code != 200 || strings.TrimSpace(w.Body.String()) != `{"validationResponse":"512d38b6"}` {
		t.Errorf("azure: %d %s", w.Code, w.Body)
	}
	if w := s.hook(t, "POST", "/hooks/r/azure", azure); w.Code != 401 {
		t.Errorf("azure, no secret: %d", w.Code)
	}
	if w := s.hook(t, "OPTIONS", "/hooks/r", "", append(auth, "WebHook-Request-Origin", "eventgrid.azure.net")...); w.Code != 200 || w.Header().Get("WebHook-Allowed-Origin") != "eventgrid.azure.net" {
		t.Errorf("CloudEvents: %d %v", w.Code, w.Header())
	}
	if w := s.hook(t, "OPTIONS", "/hooks/r", "", "WebHook-Request-Origin", "x"); w.Code != 401 {
		t.Errorf("CloudEvents, no secret: %d", w.Code)
	}
	sns := func(url string, headers ...string) int {
		return s.hook(t, "POST", "/hooks/r/aws", `{"Type": "SubscriptionConfirmation", "TopicArn": "arn:aws:sns:eu-west-1:1:ecr", "SubscribeURL": "`+url+`"}`, headers...).Code
	}
	good := "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription"
	if code := sns(good); code != 401 || len(v.urls) != 0 {
		t.Errorf("no secret: %d, visited %q", code, v.urls)
	}
	if code := sns("https://169.254.169.254/", auth...); code != 400 || len(v.urls) != 0 {
		t.Errorf("other URL: %d, visited %q", code, v.urls)
	}
	if code := sns(good, auth...); code != 200 || len(v.urls) != 1 || v.urls[0] != good {
		t.Errorf("%d, visited %q", code, v.urls)
	}
	if v.status = 302; sns(good, auth...) != 502 || len(v.urls) != 2 {
		t.Errorf("redirects are followed: %q", v.urls)
	}
}
