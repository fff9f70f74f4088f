package server

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"strata/internal/advisory"
	"strata/internal/jobs"
	"strata/internal/store"
)

// npmMirror is a mirror with advisories on the npm package "a", by the fixed version;
// none where it is empty.
func npmMirror(t testing.TB, dir, modified string, fixes ...string) *advisory.Mirror {
	t.Helper()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "npm"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("ecosystems.txt", "npm\n")
	list := ""
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	for i, fixed := range fixes {
		id := fmt.Sprintf("GHSA-test-%d", i)
		list += fmt.Sprintf("%s,%s\n", modified, id)
		withdrawn := ""
		if fixed == "" {
			withdrawn = fmt.Sprintf(`"withdrawn": %q, `, modified)
		}
		record := fmt.Sprintf(`{"id": %q, "modified": %q, %s"aliases": ["CVE-2026-000%d"], "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
			"affected": [{"package": {"ecosystem": "npm", "name": "a"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": %q}]}]}]}`, id, modified, withdrawn, i, fixed)
		write("npm/"+id+".json", record)
		f, err := z.Create(id + ".json")
		if err == nil {
			_, err = f.Write([]byte(record))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	write("npm/all.zip", archive.String())
	write("npm/modified_id.csv", list)
	m, err := advisory.OpenMirror(dir, advisory.MirrorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestFindingsAPI(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		var asked []jobs.Job
		s := newTestServer(t, db, func(o *Options) {
			o.Enqueue = func(_ context.Context, j ...jobs.Job) error { asked = append(asked, j...); return nil }
		})
		var ids []int64
		for i := range 3 {
			ids = append(ids, putNamed(t, db, "r.example", "team/web", fmt.Sprintf("1.%d", i), i+1))
		}
		sync := func(m *advisory.Mirror) {
			t.Helper()
			if _, err := db.SyncAdvisories(t.Context(), "me", m, store.UpdateOptions{Ecosystems: []string{"npm"}}); err != nil {
				t.Fatal(err)
			}
			if _, err := db.MatchDue(t.Context(), "me"); err != nil {
				t.Fatal(err)
			}
		}
		dir := t.TempDir()
		sync(npmMirror(t, dir, "2026-01-01T00:00:00Z", "3.0.0", "9.0.0"))
		var page Page[store.FleetFinding]
		seen := 0
		for cursor := ""; ; cursor = page.Next {
			page = Page[store.FleetFinding]{}
			if code := s.call(t, "GET", "/api/v1/findings?severity=critical&limit=2&cursor="+cursor, nil, &page); code != http.StatusOK {
				t.Fatal(code)
			}
			if seen += len(page.Items); page.Next == "" {
				break
			}
		}
		if seen != 5 {
			t.Errorf("%d findings on all pages, want 5", seen)
		}
		for query, want := range map[string]int{"vulnerability=ghsa-test-0": 2, "package=b": 0, "kev=true": 0, "fixable=true": 5} {
			page = Page[store.FleetFinding]{}
			if code := s.call(t, "GET", "/api/v1/findings?"+query, nil, &page); code != http.StatusOK || len(page.Items) != want {
				t.Errorf("%s: status %d, %d findings, want %d", query, code, len(page.Items), want)
			}
		}
		var before, after struct{ Items []store.PackageFinding }
		if code := s.call(t, "GET", fmt.Sprintf("/api/v1/images/%d/findings", ids[0]), nil, &before); code != http.StatusOK || len(before.Items) != 2 {
			t.Fatalf("status %d, %+v", code, before)
		}
		sync(npmMirror(t, dir, "2026-01-02T00:00:00Z", "", "9.0.1"))
		if code := s.call(t, "GET", fmt.Sprintf("/api/v1/images/%d/findings", ids[0]), nil, &after); code != http.StatusOK || len(after.Items) != 1 || after.Items[0].FixedVersion != "9.0.1" {
			t.Errorf("after the advisory was withdrawn: status %d, %+v", code, after)
		}
		if code := s.call(t, "GET", fmt.Sprintf("/api/v1/images/%d/findings?at=2020-01-01", ids[0]), nil, &after); code != http.StatusOK || len(after.Items) != 0 {
			t.Errorf("in 2020: status %d, %+v", code, after)
		}
		var changes Page[store.FindingChange]
		kinds := map[string]int{}
		if code := s.call(t, "GET", "/api/v1/changes", nil, &changes); code != http.StatusOK {
			t.Fatal(code)
		}
		for _, c := range changes.Items {
			kinds[c.Change]++
		}
		if kinds[store.Withdrawn] != 2 || kinds[store.Changed] != 3 || len(kinds) != 2 {
			t.Errorf("changes %v, want 2 withdrawn and 3 changed", kinds)
		}
		var feeds store.Feeds
		if code := s.call(t, "GET", "/api/v1/feeds", nil, &feeds); code != http.StatusOK || feeds.Records != 1 || len(feeds.Feeds) != 1 || len(feeds.Missing) != 0 {
			t.Errorf("status %d, feeds %+v", code, feeds)
		}
		if code := s.call(t, "POST", "/api/v1/feeds/sync", nil, nil); code != http.StatusAccepted || len(asked) != 1 || asked[0].Kind != jobs.Sync {
			t.Errorf("status %d, jobs %v", code, asked)
		}
	})
}
