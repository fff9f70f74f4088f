package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"strata/internal/auth"
	"strata/internal/jobs"
	"strata/internal/store"
)

// harborServer is a server with a key, and what it gives the queue.
func harborServer(t *testing.T) (s *testServer, queued *[]jobs.Job) {
	t.Helper()
	db, err := store.OpenDB(t.Context(), t.TempDir()+"/strata.db", store.DBOptions{Key: bytes.Repeat([]byte{1}, store.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	queued = &[]jobs.Job{}
	return newTestServer(t, db, func(o *Options) {
		o.Enqueue = func(_ context.Context, work ...jobs.Job) error {
			*queued = append(*queued, work...)
			return nil
		}
	}), queued
}

// asHarbor sends a request as Harbor does.
func (s *testServer) asHarbor(t *testing.T, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	return s.hook(t, method, "/scanner/api/v1"+path, body, headers...)
}

func harborAsks(digest string) string {
	return fmt.Sprintf(`{"registry": {"url": "https://core.harbor.example", "authorization": "Basic cm9ib3Q6c2VjcmV0"},
		"artifact": {"repository": "library/mongo", "digest": %q, "tag": "3.14-xenial", "mime_type": "application/vnd.docker.distribution.manifest.v2+json"},
		"enabled_capabilities": [{"type": "vulnerability", "produces_mime_types": ["application/vnd.security.vulnerability.report; version=1.1"]},
			{"type": "sbom", "parameters": {"sbom_media_types": ["application/spdx+json"]}}]}`, digest)
}

func TestHarborScan(t *testing.T) {
	s, queued := harborServer(t)
	key := []string{"X-ScannerAdapter-API-Key", s.token}
	w := s.asHarbor(t, "GET", "/metadata", "", key...)
	var metadata struct {
		Scanner      map[string]string
		Capabilities []struct {
			Type     string
			Consumes []string       `json:"consumes_mime_types"`
			Produces []string       `json:"produces_mime_types"`
			More     map[string]any `json:"additional_attributes"`
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &metadata); err != nil || w.Code != 200 || w.Header().Get("Content-Type") != harborMetadata {
		t.Fatal(w.Code, w.Header(), err)
	}
	if metadata.Scanner["name"] == "" || len(metadata.Capabilities) != 2 || len(metadata.Capabilities[0].Produces) != 3 || len(metadata.Capabilities[1].Consumes) != 2 || metadata.Capabilities[1].More["sbom_media_types"] == nil {
		t.Errorf("%+v", metadata)
	}
	digest := "sha256:" + strings.Repeat("a", 64)
	w = s.asHarbor(t, "POST", "/scan", harborAsks(digest), append(key, "Content-Type", "application/vnd.scanner.adapter.scan.request+json; version=1.1")...)
	var got struct{ ID string }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 202 || got.ID == "" || w.Header().Get("Content-Type") != harborAccepted {
		t.Fatal(w.Code, w.Body, err)
	}
	if len(*queued) != 1 || (*queued)[0].Kind != jobs.Scan {
		t.Errorf("queued %+v", *queued)
	}
	w = s.asHarbor(t, "GET", "/scan/"+got.ID+"/report", "", append(key, "Accept", harborReport11)...)
	if w.Code != http.StatusFound || w.Header().Get("Refresh-After") == "" {
		t.Error(w.Code, w.Header())
	}
	if w := s.asHarbor(t, "GET", "/scan/none/report", "", key...); w.Code != 404 {
		t.Error(w.Code, w.Body)
	}
	if w := s.asHarbor(t, "GET", "/scan/"+got.ID+"/report", "", append(key, "Accept", "text/html")...); w.Code != 501 {
		t.Error(w.Code, w.Body)
	}
	// Whoever may not see the repository doesn't learn that there is a scan.
	other := s.newUser(t, "other", auth.Grant{Role: auth.Developer, Repository: "core.harbor.example/other/**"})
	if w := s.asHarbor(t, "GET", "/scan/"+got.ID+"/report", "", "Authorization", "Bearer "+other); w.Code != 404 {
		t.Error(w.Code, w.Body)
	}
	if w := s.asHarbor(t, "POST", "/scan", harborAsks(digest), "Authorization", "Bearer "+other); w.Code != 403 {
		t.Error(w.Code, w.Body)
	}
}

func TestHarborRefused(t *testing.T) {
	s, queued := harborServer(t)
	basic := httptest.NewRequest("GET", "/", nil)
	basic.SetBasicAuth("harbor", s.token)
	for name, c := range map[string]struct {
		headers []string
		want    int
	}{
		"key": {[]string{"X-ScannerAdapter-API-Key", s.token}, 200}, "bearer": {[]string{"Authorization", "Bearer " + s.token}, 200},
		"basic": {[]string{"Authorization", basic.Header.Get("Authorization")}, 200},
		"none":  {nil, 401}, "wrong key": {[]string{"X-ScannerAdapter-API-Key", "x"}, 401}, "wrong bearer": {[]string{"Authorization", "Bearer x"}, 401},
		"wrong basic": {[]string{"Authorization", "Basic eDp5"}, 401}, "a cookie": {[]string{"Cookie", "strata=x"}, 401},
	} {
		if w := s.asHarbor(t, "GET", "/metadata", "", c.headers...); w.Code != c.want {
			t.Errorf("%s: %d, want %d: %s", name, w.Code, c.want, w.Body)
		}
	}
	good := harborAsks("sha256:" + strings.Repeat("a", 64))
	for name, c := range map[string]struct {
		body string
		want int
	}{
		"no JSON":          {"{", 400},
		"no registry":      {strings.Replace(good, "https://core.harbor.example", "", 1), 422},
		"registry, scheme": {strings.Replace(good, "https://core", "file://core", 1), 422},
		"registry, user":   {strings.Replace(good, "https://core", "https://u:p@core", 1), 422},
		"repository":       {strings.Replace(good, "library/mongo", "../mongo", 1), 422},
		"digest":           {harborAsks("sha256:x"), 422},
		"header":           {strings.Replace(good, "Basic cm9", `Basic\r\nX: cm9`, 1), 422},
		"chart":            {strings.Replace(good, "application/vnd.docker.distribution.manifest.v2+json", "application/vnd.cncf.helm.config.v1+json", 1), 501},
		"capability":       {strings.Replace(good, `"sbom"`, `"malware"`, 1), 501},
		"bill":             {strings.Replace(good, "application/spdx+json", "text/plain", 1), 501},
		"too large":        {strings.Repeat(" ", maxHarborRequest+1), 413},
	} {
		w := s.asHarbor(t, "POST", "/scan", c.body, "X-ScannerAdapter-API-Key", s.token)
		var body struct{ Error struct{ Message string } }
		if err := json.Unmarshal(w.Body.Bytes(), &body); w.Code != c.want || err != nil || body.Error.Message == "" || w.Header().Get("Content-Type") != harborError {
			t.Errorf("%s: %d, want %d: %s", name, w.Code, c.want, w.Body)
		}
	}
	if len(*queued) > 0 {
		t.Error(*queued)
	}
}
