package server

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/jobs"
	"strata/internal/match"
	"strata/internal/report"
	"strata/internal/store"
)

// putNamed keeps an image of one npm package under a tag, and gives its id.
func putNamed(t *testing.T, db *store.DB, registry, repository, tag string, n int) int64 {
	t.Helper()
	l := &inventory.Layer{DiffID: image.DiffID(fmt.Sprintf("sha256:%064x", n)), Entries: 1, Files: []inventory.File{{Path: "app/node_modules/a/package.json", Analyzer: "npm",
		Packages: []inventory.Package{{Type: "npm", Ecosystem: "npm", Name: "a", Version: fmt.Sprintf("%d.0.0", n), Licenses: []string{"MIT"}}}}}}
	inv := inventory.Merge([]*inventory.Layer{l})
	inv.Files = []inventory.ImageFile{{SHA256: sha256.Sum256(fmt.Append(nil, n)), Location: inventory.Location{Path: "bin/program"}, State: inventory.Present, StateLayer: -1}}
	digest := image.Digest(fmt.Sprintf("sha256:%064x", 1000+n))
	id, err := db.PutImage(t.Context(), store.Contents{Image: &image.Image{Reference: registry + "/" + repository + ":" + tag, Digest: digest, ConfigDigest: digest,
		Platform: image.Platform{OS: "linux", Architecture: "amd64"}, Layers: []image.Layer{{DiffID: l.DiffID, Size: 10, CreatedBy: "COPY app /app"}}}, Inventory: &inv, AnalyzerSet: "test"})
	if err != nil {
		t.Fatal(err)
	}
	owner, _, err := db.RegistryOf(t.Context(), registry)
	if err != nil {
		t.Fatal(err)
	}
	due, err := db.Pushed(t.Context(), owner, 2, []store.Named{{Repository: repository, Tag: tag, Digest: string(digest)}})
	if err != nil || len(due) != 1 {
		t.Fatal(due, err)
	}
	if err := db.SetManifestImages(t.Context(), due[0], []int64{id}); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestImagesAPI(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		s := newTestServer(t, db)
		var ids []int64
		for i := range 5 {
			ids = append(ids, putNamed(t, db, "r.example", []string{"team-a/web", "team-b/api"}[i%2], fmt.Sprintf("1.%d", i), i+1))
		}
		var got []int64
		for cursor, pages := "", 0; pages < 10; pages++ {
			var page Page[store.ImageRow]
			if code := s.call(t, "GET", "/api/v1/images?sort=newest&limit=2&cursor="+cursor, nil, &page); code != http.StatusOK {
				t.Fatal(code)
			}
			for _, r := range page.Items {
				got = append(got, r.ID)
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, ids) {
			t.Errorf("pages have %v, want %v", got, ids)
		}
		for query, want := range map[string]int{"q=TEAM-B": 2, "repository=team-a/web": 3, "tag=1.3": 1, "severity=low": 0, "platform=linux/arm64": 0, "registry=r.example&q=1.0": 1, "q=%25": 0} {
			var page Page[store.ImageRow]
			if code := s.call(t, "GET", "/api/v1/images?"+query, nil, &page); code != http.StatusOK || len(page.Items) != want {
				t.Errorf("%s: status %d, %d images, want %d", query, code, len(page.Items), want)
			}
		}
		var detail store.ImageDetail
		if code := s.call(t, "GET", fmt.Sprintf("/api/v1/images/%d", ids[0]), nil, &detail); code != http.StatusOK || len(detail.LayerRows) != 1 ||
			detail.LayerRows[0].Introduces != 1 || detail.LayerRows[0].CreatedBy != "COPY app /app" || len(detail.Tags) != 1 || detail.Tags[0].Name != "1.0" || detail.Names[0] != "r.example/team-a/web:1.0" {
			t.Errorf("status %d: %+v", code, detail)
		}
		var licenses Page[store.LicenseRow]
		if code := s.call(t, "GET", "/api/v1/licenses?class=permissive", nil, &licenses); code != http.StatusOK || len(licenses.Items) != 1 || licenses.Items[0].Packages != 5 {
			t.Errorf("status %d: %+v", code, licenses)
		}
		for q, want := range map[string]int{"mi": 1, "M_T": 0, "GPL": 0} {
			if code := s.call(t, "GET", "/api/v1/licenses?q="+q, nil, &licenses); code != http.StatusOK || len(licenses.Items) != want {
				t.Errorf("%s: status %d: %+v", q, code, licenses)
			}
		}
		var packages Page[store.PackageRow]
		if code := s.call(t, "GET", "/api/v1/packages?name=a&limit=3", nil, &packages); code != http.StatusOK || len(packages.Items) != 3 || packages.Next == "" || packages.Items[0].Images != 1 {
			t.Errorf("status %d: %+v", code, packages)
		}
	})
}

func TestReportETag(t *testing.T) {
	db := openTestDB(t, t.TempDir()+"/strata.db")
	source, hours := "first", 0.0
	s := newTestServer(t, db, func(o *Options) {
		o.Reports = &jobs.Reports{DB: db, Advisories: func(context.Context) (match.Advisories, report.Advisories, error) {
			hours++
			return noAdvisories{}, report.Advisories{Source: source, AgeHours: hours}, nil
		}}
	})
	id := putNamed(t, db, "r.example", "team-a/web", "1", 1)
	get := func(format, etag string) *httptest.ResponseRecorder {
		req := httptest.NewRequest("GET", fmt.Sprintf("/api/v1/images/%d/report?format=%s", id, format), nil)
		req.Header.Set("Authorization", "Bearer "+s.token)
		req.Header.Set("If-None-Match", etag)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, req)
		return w
	}
	first := get("json", "")
	if first.Code != http.StatusOK || !strings.Contains(first.Body.String(), `"schema_version"`) {
		t.Fatalf("status %d: %s", first.Code, first.Body)
	}
	etag := first.Header().Get("ETag")
	if again := get("json", `"x", W/`+etag); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
		t.Errorf("the same: status %d: %s", again.Code, again.Body)
	}
	source = "changed"
	if again := get("json", etag); again.Code != http.StatusOK || again.Header().Get("ETag") == etag {
		t.Errorf("changed: status %d", again.Code)
	}
	for _, f := range report.Formats() {
		want := http.StatusOK
		if f.Name == "template" {
			want = http.StatusBadRequest
		}
		if w := get(f.Name, ""); w.Code != want {
			t.Errorf("%s: status %d: %s", f.Name, w.Code, w.Body)
		}
	}
	if w := get("nothing", ""); w.Code != http.StatusBadRequest {
		t.Errorf("no format: status %d", w.Code)
	}
}
