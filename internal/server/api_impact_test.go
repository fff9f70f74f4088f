package server

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/analyzer"
	"strata/internal/auth"
	"strata/internal/store"
)

// Impact by the API: in sum, by page, in the scope of who asks.
func TestImpactAPI(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		s := newTestServer(t, db)
		var ids []int64
		for i, name := range []string{"team-a/web", "team-a/api", "team-b/api", "team-b/web", "team-b/job"} {
			ids = append(ids, putNamed(t, db, "r.example", name, "1", i+1))
		}
		var all store.ImpactTotals
		for _, question := range []string{"license=permissive", "license=mit"} {
			var got ImpactAnswer
			if code := s.call(t, "GET", "/api/v1/impact?limit=2&"+question, nil, &got); code != http.StatusOK || got.Totals.Images != 5 || got.Totals.Present != 5 || got.Totals.Repositories != 5 || len(got.Images.Items) != 2 || got.Images.Next == "" {
				t.Fatalf("%s: status %d: %+v", question, code, got)
			}
			all = got.Totals
			n, cursor := 2, got.Images.Next
			for cursor != "" {
				var page Page[store.ImpactImage]
				if code := s.call(t, "GET", "/api/v1/impact/images?limit=2&"+question+"&cursor="+url.QueryEscape(cursor), nil, &page); code != http.StatusOK {
					t.Fatalf("status %d", code)
				}
				n, cursor = n+len(page.Items), page.Next
			}
			if n != 5 {
				t.Errorf("%s: pages have %d images", question, n)
			}
		}
		var layers Page[store.ImpactLayer]
		if code := s.call(t, "GET", "/api/v1/impact/layers?license=MIT", nil, &layers); code != http.StatusOK || len(layers.Items) != all.Layers || layers.Items[0].DiffID == "" || len(layers.Items[0].Packages) == 0 {
			t.Errorf("status %d: %+v", code, layers)
		}
		var layer ImpactAnswer
		if code := s.call(t, "GET", "/api/v1/layers/"+layers.Items[0].DiffID, nil, &layer); code != http.StatusOK || layer.Totals.Images != layers.Items[0].Images {
			t.Errorf("status %d: %+v", code, layer)
		}
		var first store.FixFirst
		if code := s.call(t, "GET", "/api/v1/fix-first", nil, &first); code != http.StatusOK || first.Layers != 0 || len(first.Items) != 0 {
			t.Errorf("status %d: %+v", code, first)
		}
		digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("1"))) // of putNamed
		var file ImpactAnswer
		if code := s.call(t, "GET", "/api/v1/impact?file="+digest, nil, &file); code != http.StatusOK || file.Totals.Images != 1 || file.File != digest || file.Note == "" || len(file.Images.Items) != 1 || len(file.Images.Items[0].Files) != 1 || file.Images.Items[0].Files[0].Path != "bin/program" {
			t.Errorf("status %d: %+v", code, file)
		}
		if code := s.call(t, "GET", "/api/v1/impact/layers?file="+digest, nil, &layers); code != http.StatusOK || len(layers.Items) != 1 || !slices.Equal(layers.Items[0].Paths, []string{"bin/program"}) {
			t.Errorf("status %d: %+v", code, layers)
		}
		other := s.newUser(t, "b", auth.Grant{Role: auth.Viewer, Repository: "r.example/team-b/*"})
		var problem huma.ErrorModel
		if code := s.callAs(t, other, "GET", "/api/v1/impact?file="+digest, nil, &problem); code != http.StatusNotFound || !strings.Contains(problem.Detail, analyzer.Recorded) {
			t.Errorf("status %d: %+v", code, problem)
		}
		for path, want := range map[string]int{
			"/impact": 400, "/impact?file=sha256:1": 400, "/impact?license=MIT&vulnerability=CVE-1": 400, "/impact?vulnerability=CVE-2026-1": 404, "/impact?package=none": 404,
			"/impact/images?license=MIT&cursor=x": 400, "/bases/999999/descendants": 404, "/layers/sha256:1": 404,
		} {
			if code := s.call(t, "GET", "/api/v1"+path, nil, nil); code != want {
				t.Errorf("%s: status %d, want %d", path, code, want)
			}
		}
		token := s.newUser(t, "a", auth.Grant{Role: auth.Viewer, Repository: "r.example/team-a/*"})
		var mine ImpactAnswer
		if code := s.callAs(t, token, "GET", "/api/v1/impact?license=MIT", nil, &mine); code != http.StatusOK || mine.Totals.Images != 2 || mine.Totals.Repositories != 2 || len(mine.Images.Items) != 2 {
			t.Errorf("status %d: %+v", code, mine)
		}
		for _, m := range mine.Images.Items {
			if m.ID != ids[0] && m.ID != ids[1] {
				t.Errorf("image %d of another's", m.ID)
			}
		}
	})
}
