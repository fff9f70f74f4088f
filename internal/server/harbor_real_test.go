package server

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"strata/internal/advisory"
	"strata/internal/analyzer"
	"strata/internal/jobs"
	"strata/internal/match"
	"strata/internal/report"
	"strata/internal/store"
)

// realShared is a folder of ../shared; without it the test is skipped, or fails where
// nothing may be.
func realShared(t *testing.T, name string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("../../../shared", name))
	if err == nil {
		_, err = os.Stat(dir)
	}
	if err != nil {
		if os.Getenv("STRATA_TEST_REQUIRE") == "all" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return dir
}

// workingServer is a server whose queue scans, with the real advisories of Debian and npm.
func workingServer(t *testing.T) (s *testServer, url string) {
	t.Helper()
	feeds := realShared(t, "feeds")
	mirror, err := advisory.OpenMirror(filepath.Join(feeds, "osv"), advisory.MirrorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "advisories.db")
	if _, err := store.UpdateAdvisories(t.Context(), path, mirror, store.UpdateOptions{Ecosystems: []string{"Debian", "npm"}}); err != nil {
		t.Fatal(err)
	}
	advisories, err := store.OpenAdvisories(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = advisories.Close() })
	db, err := store.OpenDB(t.Context(), filepath.Join(t.TempDir(), "strata.db"), store.DBOptions{Key: bytes.Repeat([]byte{1}, store.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	scans := &jobs.Scans{DB: db, Registries: &jobs.Registries{DB: db}, Runner: &analyzer.Runner{Analyzers: analyzer.Default(), Memory: &analyzer.Memory{Limit: 128 << 20}}}
	q, err := jobs.New(t.Context(), jobs.Options{DB: db, Works: []jobs.Work{scans.Work()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := q.Stop(ctx); err != nil {
			t.Error(err)
		}
		_ = db.Close()
	})
	s = newTestServer(t, db, func(o *Options) {
		o.Enqueue = q.Enqueue
		o.Reports = &jobs.Reports{DB: db, Version: "test", Advisories: func(context.Context) (match.Advisories, report.Advisories, error) {
			return advisories, report.Advisories{}, nil
		}}
	})
	listener := httptest.NewServer(s.Handler())
	t.Cleanup(listener.Close)
	return s, listener.URL
}

// TestRealPushIsScanned: an image that is pushed to a real registry is scanned within
// seconds, through the registry's notification.
func TestRealPushIsScanned(t *testing.T) {
	images := realShared(t, "images")
	s, url := workingServer(t)
	address := realRegistry(t, url+"/hooks/prod", hookSecret)
	id, err := s.o.DB.AddRegistry(t.Context(), &store.Registry{Name: "prod", URL: "http://" + address}, nil)
	if err == nil {
		err = s.o.DB.SetHookSecret(t.Context(), id, hookSecret)
	}
	if err != nil {
		t.Fatal(err)
	}
	copyImage(t, "oci:"+filepath.Join(images, "oci")+":node-app", "docker://"+address+"/team/node-app:1")
	pushed := time.Now()
	eventually(t, "the pushed image is scanned", func() bool {
		list, err := s.o.DB.Manifests(t.Context(), nil, "scanned", 0, 10)
		return err == nil && len(list) == 1 && list[0].Repository == "prod/team/node-app"
	})
	t.Logf("scanned %v after the push", time.Since(pushed).Round(time.Millisecond))
}

// A harborClient asks as Harbor does: it takes 302 for "not yet", and follows nothing.
type harborClient struct {
	t          *testing.T
	base, user string
}

func (c *harborClient) ask(method, path, accept, body string) (*http.Response, []byte) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("X-ScannerAdapter-API-Key", c.user)
	r.Header.Set("Accept", accept)
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		c.t.Fatal(err)
	}
	return res, b.Bytes()
}

// report waits for a report, as long as Harbor is told to.
func (c *harborClient) report(id, accept, query string, into any) []byte {
	c.t.Helper()
	var got []byte
	eventually(c.t, "report "+accept, func() bool {
		res, b := c.ask("GET", "/scan/"+id+"/report"+query, accept, "")
		if res.StatusCode == http.StatusFound {
			if n, err := strconv.Atoi(res.Header.Get("Refresh-After")); err != nil || n <= 0 {
				c.t.Fatalf("Refresh-After %q", res.Header.Get("Refresh-After"))
			}
			return false
		}
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != accept {
			c.t.Fatalf("%s: status %d, %s: %.500s", accept, res.StatusCode, res.Header.Get("Content-Type"), b)
		}
		got = b
		return true
	})
	if err := json.Unmarshal(got, into); err != nil {
		c.t.Fatal(err)
	}
	return got
}

// TestRealHarbor goes through what Harbor does with a scanner, with a registry that
// wants the credentials that come with the request, and only these.
func TestRealHarbor(t *testing.T) {
	images := realShared(t, "images")
	s, url := workingServer(t)
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	if out, err := exec.CommandContext(t.Context(), program(t, "htpasswd"), "-Bbc", passwords, "robot", "secret").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Its notifications are refused, since Strata doesn't know it: they are not needed.
	address := realRegistry(t, url+"/hooks/none", hookSecret, "auth: {htpasswd: {realm: r, path: "+passwords+"}}\n")
	copyImage(t, "oci:"+filepath.Join(images, "oci")+":node-app", "docker://"+address+"/library/node-app:1", "--dest-creds=robot:secret")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, "http://"+address+"/v2/library/node-app/manifests/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("robot", "secret")
	r.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	digest := res.Header.Get("Docker-Content-Digest")
	asks := func(authorization string) string {
		b, err := json.Marshal(map[string]any{
			"registry": map[string]string{"url": "http://" + address, "authorization": authorization},
			"artifact": report.HarborArtifact{Repository: "library/node-app", Digest: digest, Tag: "1", MimeType: "application/vnd.oci.image.manifest.v1+json"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	c := &harborClient{t: t, base: url + "/scanner/api/v1", user: s.token}
	began := time.Now()
	res, body := c.ask("POST", "/scan", "*/*", asks(r.Header.Get("Authorization")))
	var accepted struct{ ID string }
	if err := json.Unmarshal(body, &accepted); err != nil || res.StatusCode != http.StatusAccepted || accepted.ID == "" {
		t.Fatalf("status %d: %s", res.StatusCode, body)
	}
	var got, former report.HarborReport
	c.report(accepted.ID, harborReport11, "", &got)
	t.Logf("reported %d vulnerabilities %v after the request", len(got.Vulnerabilities), time.Since(began).Round(time.Millisecond))
	c.report(accepted.ID, harborReport10, "", &former)
	if len(got.Vulnerabilities) < 50 || len(former.Vulnerabilities) != len(got.Vulnerabilities) || got.Artifact.Digest != digest || got.GeneratedAt.IsZero() || got.Scanner.Name == "" {
		t.Errorf("%d and %d vulnerabilities, %+v, %+v", len(got.Vulnerabilities), len(former.Vulnerabilities), got.Artifact, got.Scanner)
	}
	severities := []string{"Unknown", "Negligible", "Low", "Medium", "High", "Critical"}
	for _, v := range got.Vulnerabilities {
		if v.ID == "" || v.Package == "" || v.Version == "" || len(v.Links) == 0 || !slices.Contains(severities, v.Severity) {
			t.Errorf("%+v", v)
		}
	}
	for mediaType, mark := range map[string]string{report.HarborSPDX: "spdxVersion", report.HarborCycloneDX: "bomFormat"} {
		var bill struct {
			MediaType string `json:"media_type"`
			SBOM      map[string]any
		}
		c.report(accepted.ID, harborBill, "?sbom_media_type="+strings.ReplaceAll(mediaType, "+", "%2B"), &bill)
		if bill.MediaType != mediaType || bill.SBOM[mark] == nil {
			t.Errorf("%s: %q", mediaType, bill.MediaType)
		}
	}
	if res, _ := c.ask("GET", "/scan/"+accepted.ID+"/report", harborBill, ""); res.StatusCode != http.StatusBadRequest {
		t.Errorf("a bill of no format: status %d", res.StatusCode)
	}
	var raw map[string]any
	if c.report(accepted.ID, harborRaw, "", &raw); raw["schema_version"] == nil {
		t.Error("the raw report is not that of strata scan")
	}
	// The scan has ended: what it was pulled with is known no more.
	req, err := s.o.DB.ScanRequest(t.Context(), accepted.ID)
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := s.o.DB.ScanAuthorization(t.Context(), req.Manifest); err != nil || kept != "" {
		t.Errorf("kept %q, %v", kept, err)
	}
	// Asked again, it is known at once, and pulled by no one.
	res, body = c.ask("POST", "/scan", "*/*", asks("Basic d3Jvbmc6d3Jvbmc="))
	if err := json.Unmarshal(body, &accepted); err != nil || res.StatusCode != http.StatusAccepted {
		t.Fatal(res.StatusCode, err)
	}
	if res, _ := c.ask("GET", "/scan/"+accepted.ID+"/report", harborReport11, ""); res.StatusCode != 200 {
		t.Errorf("of an image that is known: status %d", res.StatusCode)
	}
}
