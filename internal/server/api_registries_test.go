package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"strata/internal/auth"
	"strata/internal/imagetest"
	"strata/internal/jobs"
	"strata/internal/store"
)

func TestRegistriesAPI(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		var asked []jobs.Job
		s := newTestServer(t, db, func(o *Options) {
			o.PublicURL = "http://strata.example"
			o.Enqueue = func(_ context.Context, j ...jobs.Job) error { asked = append(asked, j...); return nil }
		})
		registry := httptest.NewServer(&imagetest.Registry{})
		defer registry.Close()
		body := map[string]any{"name": "harbor", "url": registry.URL, "settings": map[string]any{"include": []string{"team/**"}}, "credentials": map[string]any{"username": "robot", "password": "s3cret-word"}}
		var made Registry
		if status := s.call(t, "POST", "/api/v1/registries", body, &made); status != http.StatusCreated || !made.HasCredentials || made.Kind != "crawled" || made.Settings.Include[0] != "team/**" {
			t.Fatalf("%d %+v", status, made)
		}
		if len(asked) != 1 || asked[0].Kind != jobs.Crawl {
			t.Errorf("%v", asked)
		}
		if status := s.call(t, "POST", "/api/v1/registries", body, nil); status != http.StatusConflict {
			t.Errorf("twice: %d", status)
		}
		body["name"] = "no/slash"
		if status := s.call(t, "POST", "/api/v1/registries", body, nil); status != http.StatusUnprocessableEntity {
			t.Errorf("a wrong name: %d", status)
		}
		var text json.RawMessage
		for _, path := range []string{"/api/v1/registries", "/api/v1/registries/harbor", "/api/v1/audit"} {
			if status := s.call(t, "GET", path, nil, &text); status != http.StatusOK || bytes.Contains(text, []byte("s3cret-word")) || !bytes.Contains(text, []byte("harbor")) {
				t.Errorf("%s: %d %s", path, status, text)
			}
		}
		var test RegistryTest
		if status := s.call(t, "POST", "/api/v1/registries/harbor/test", nil, &test); status != http.StatusOK || !test.OK {
			t.Errorf("%d %+v", status, test)
		}
		body["name"], body["url"] = "x", "https://registry.invalid"
		if status := s.call(t, "POST", "/api/v1/registry-tests", body, &test); status != http.StatusOK || test.OK || !strings.Contains(test.Error, "can't be resolved") {
			t.Errorf("%d %+v", status, test)
		}
		// Credentials that are kept are not to be had by another address.
		if status := s.call(t, "PATCH", "/api/v1/registries/harbor", map[string]any{"url": "https://elsewhere.example"}, nil); status != http.StatusUnprocessableEntity {
			t.Errorf("credentials for another host: %d", status)
		}
		if status := s.call(t, "PATCH", "/api/v1/registries/harbor", map[string]any{"paused": true}, &made); status != http.StatusOK || !made.Paused || !made.HasCredentials || len(made.Settings.Include) != 1 {
			t.Errorf("%d %+v", status, made)
		}
		if status := s.call(t, "POST", "/api/v1/registries/harbor/crawl", nil, nil); status != http.StatusConflict {
			t.Errorf("crawl of a paused one: %d", status)
		}
		if status := s.call(t, "PATCH", "/api/v1/registries/harbor", map[string]any{"paused": false, "url": "https://elsewhere.example", "credentials": map[string]any{}}, &made); status != http.StatusOK || made.HasCredentials || made.Paused {
			t.Errorf("%d %+v", status, made)
		}
		if status := s.call(t, "POST", "/api/v1/registries/harbor/crawl", nil, nil); status != http.StatusAccepted {
			t.Errorf("crawl: %d", status)
		}
		var secret HookSecret
		if status := s.call(t, "POST", "/api/v1/registries/harbor/hook-secret", nil, &secret); status != http.StatusOK || len(secret.Secret) < 20 || secret.URL != "http://strata.example/hooks/harbor" {
			t.Errorf("%d %+v", status, secret)
		}
		viewer := s.newUser(t, "viewer", auth.Grant{Role: auth.Security, Repository: "**"})
		if status := s.callAs(t, viewer, "GET", "/api/v1/registries", nil, nil); status != http.StatusForbidden {
			t.Errorf("as security: %d", status)
		}
		if status := s.call(t, "DELETE", "/api/v1/registries/harbor", nil, nil); status != http.StatusNoContent {
			t.Errorf("delete: %d", status)
		}
		if status := s.call(t, "GET", "/api/v1/registries/harbor", nil, nil); status != http.StatusNotFound {
			t.Errorf("deleted: %d", status)
		}
	})
}

func TestJobsAPI(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		s := newTestServer(t, db)
		if status := s.call(t, "GET", "/api/v1/jobs", nil, nil); status != http.StatusServiceUnavailable {
			t.Errorf("without a queue: %d", status)
		}
		broken := make(chan bool, 1)
		running := make(chan bool, 1)
		q, err := jobs.New(t.Context(), jobs.Options{DB: db, Works: []jobs.Work{
			{Kind: jobs.Crawl, MaxAttempts: 1, Do: func(context.Context, string) error { return errors.New("the registry is down") }},
			{Kind: jobs.Scan, Do: func(ctx context.Context, _ string) error {
				running <- true
				<-ctx.Done()
				broken <- true
				return ctx.Err()
			}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = q.Stop(context.Background()) })
		s.queue, s.o.Enqueue = q, q.Enqueue
		if err := q.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := q.Enqueue(t.Context(), jobs.Job{Kind: jobs.Crawl, Key: "1"}, jobs.Job{Kind: jobs.Scan, Key: "1"}); err != nil {
			t.Fatal(err)
		}
		<-running
		job := func(query string) jobs.Listed {
			t.Helper()
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				var page Page[jobs.Listed]
				if status := s.call(t, "GET", "/api/v1/jobs?"+query, nil, &page); status != http.StatusOK {
					t.Fatalf("%s: %d", query, status)
				}
				if len(page.Items) == 1 {
					return page.Items[0]
				}
			}
			t.Fatal("never one job of " + query)
			return jobs.Listed{}
		}
		if j := job("kind=crawl&state=parked"); j.Reason != "the registry is down" || j.Key != "1" {
			t.Errorf("%+v", j)
		}
		j := job("kind=scan&state=running")
		if status := s.call(t, "POST", "/api/v1/jobs/"+strconv.FormatInt(j.ID, 10)+"/cancel", nil, nil); status != http.StatusOK {
			t.Errorf("cancel: %d", status)
		}
		select {
		case <-broken:
		case <-time.After(20 * time.Second):
			t.Error("the job was not broken off")
		}
		if cancelled := job("kind=scan&state=cancelled"); cancelled.ID != j.ID {
			t.Errorf("%+v", cancelled)
		}
		if status := s.call(t, "POST", "/api/v1/jobs/"+strconv.FormatInt(j.ID, 10)+"/retry", nil, nil); status != http.StatusOK {
			t.Errorf("retry: %d", status)
		}
		<-running
		if status := s.call(t, "POST", "/api/v1/jobs/"+strconv.FormatInt(j.ID, 10)+"/cancel", nil, nil); status != http.StatusOK {
			t.Errorf("cancel: %d", status)
		}
		<-broken
		if status := s.call(t, "GET", "/api/v1/jobs/99999", nil, nil); status != http.StatusNotFound {
			t.Errorf("none: %d", status)
		}
	})
}

func TestManifestsAPI(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		var asked []jobs.Job
		s := newTestServer(t, db, func(o *Options) {
			o.Enqueue = func(_ context.Context, j ...jobs.Job) error { asked = append(asked, j...); return nil }
		})
		registry, err := db.AddRegistry(t.Context(), &store.Registry{Name: "r", URL: "r.example"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var ids []int64
		for i, repository := range []string{"team/app", "other/app"} {
			due, err := db.SeenTags(t.Context(), registry, repository, "", time.Now(), []store.CrawledTag{{Name: "1", Digest: "sha256:" + strings.Repeat(strconv.Itoa(i), 64)}})
			if err != nil {
				t.Fatal(err)
			}
			m, err := db.ClaimManifest(t.Context(), due[0], "me", time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if err := db.ScanEnded(t.Context(), m, store.ScanOutcome{State: "parked", Reason: "the registry is down"}); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, due[0])
		}
		team := s.newUser(t, "dev", auth.Grant{Role: auth.Developer, Repository: "r/team/**"})
		var page Page[store.Manifest]
		if status := s.callAs(t, team, "GET", "/api/v1/manifests?state=parked", nil, &page); status != http.StatusOK || len(page.Items) != 1 || page.Items[0].Repository != "r/team/app" || page.Items[0].Reason == "" {
			t.Errorf("%d %+v", status, page)
		}
		path := func(id int64) string { return "/api/v1/manifests/" + strconv.FormatInt(id, 10) }
		var one ManifestDetail
		if status := s.callAs(t, team, "GET", path(ids[0]), nil, &one); status != http.StatusOK || len(one.History) != 1 || one.Tags[0] != "1" {
			t.Errorf("%d %+v", status, one)
		}
		if status := s.callAs(t, team, "POST", path(ids[1])+"/rescan", nil, nil); status != http.StatusNotFound {
			t.Errorf("another's: %d", status)
		}
		if status := s.callAs(t, team, "POST", path(ids[0])+"/rescan", nil, nil); status != http.StatusAccepted {
			t.Errorf("rescan: %d", status)
		}
		if len(asked) != 1 || asked[0].Key != strconv.FormatInt(ids[0], 10) || asked[0].Kind != jobs.Scan {
			t.Errorf("%v", asked)
		}
		if m, err := db.Manifest(t.Context(), ids[0]); err != nil || m.State != "due" || m.Reason != "" {
			t.Errorf("%+v, %v", m, err)
		}
	})
}
