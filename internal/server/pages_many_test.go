package server

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strata/internal/analyzer"
	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/jobs"
	"strata/internal/store"
)

// manyFindings is a server with an image in which 10,000 findings are: 100 versions of a
// package, in ten layers, each with 100 vulnerabilities. It gives the address of its page.
func manyFindings(t testing.TB) (b *browser, page string) {
	t.Helper()
	const layers, packages, vulnerabilities = 10, 10, 100
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	db := openTestDB(t, filepath.Join(t.TempDir(), "strata.db"))
	s := newTestServer(t, db, func(o *Options) { o.Reports = &jobs.Reports{DB: db} })
	fixes := make([]string, vulnerabilities)
	for i := range fixes {
		fixes[i] = fmt.Sprintf("1000.0.%d", i)
	}
	b = newBrowser(s, s.token)
	b.sync(t, "2026-01-01T00:00:00Z", fixes...)
	m := &image.Image{Reference: "r.example/many:1", Digest: image.Digest(fmt.Sprintf("sha256:%064x", 1)), Platform: image.Platform{OS: "linux", Architecture: "amd64"}}
	m.ConfigDigest = m.Digest
	var contents []*inventory.Layer
	for i := range layers {
		l := &inventory.Layer{DiffID: image.DiffID(fmt.Sprintf("sha256:%064x", 100+i))}
		for j := range packages {
			path := fmt.Sprintf("srv/%d/%d/package.json", i, j)
			l.Files = append(l.Files, inventory.File{Path: path, Analyzer: "npm", Packages: []inventory.Package{{Type: "npm", Ecosystem: "npm", Name: "a", Version: fmt.Sprintf("%d.0.0", 1+i*packages+j)}}})
		}
		if err := db.PutLayer(t.Context(), analyzer.SetVersion, l); err != nil {
			t.Fatal(err)
		}
		contents = append(contents, l)
		m.Layers = append(m.Layers, image.Layer{DiffID: l.DiffID, Size: 1000, CreatedBy: fmt.Sprintf("COPY %d /srv/%d", i, i)})
	}
	inv := inventory.Merge(contents)
	id, err := db.PutImage(t.Context(), store.Contents{Image: m, Inventory: &inv, AnalyzerSet: analyzer.SetVersion})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.MatchDue(t.Context(), "me"); err != nil {
		t.Fatal(err)
	}
	return b, fmt.Sprintf("/images/%d", id)
}

// sync reads advisories on the package "a", by the fixed version, and matches all packages.
func (s *testServer) sync(t testing.TB, modified string, fixes ...string) {
	t.Helper()
	if _, err := s.o.DB.SyncAdvisories(t.Context(), "me", npmMirror(t, t.TempDir(), modified, fixes...), store.UpdateOptions{Ecosystems: []string{"npm"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.o.DB.MatchDue(t.Context(), "me"); err != nil {
		t.Fatal(err)
	}
}

// A page of 10,000 findings shows the gravest, and how many there are; all are there for who
// asks for them.
func TestPageOfManyFindings(t *testing.T) {
	b, page := manyFindings(t)
	b.sees(t, page, "10 000 findings", "Show 9 800 more")
	_, _, text := b.send(t, "GET", page)
	if rows := strings.Count(text, "<tr"); rows != 201 {
		t.Errorf("%d rows, want 200 and the head", rows)
	}
	_, _, all := b.send(t, "GET", page+"?all=true")
	if rows := strings.Count(all, "<tr"); rows != 10_001 {
		t.Errorf("%d rows of all", rows)
	}
}

// What was known on a day is told, and what came and went on it.
func TestPageOfHistory(t *testing.T) {
	b, page := manyFindings(t)
	day := func(days int) string { return time.Now().UTC().AddDate(0, 0, days).Format(time.DateOnly) }
	b.sees(t, page+"?tab=history", "Tags that name this image", "!came that day")
	b.sees(t, page+"?tab=history&on="+day(0), "10 000 findings known at the end of "+day(0), "All of them came that day", "Show 9 800 more")
	b.sees(t, page+"?tab=history&on="+day(-1), "Nothing was known of it then")
	b.sees(t, page+"?tab=history&on="+day(2), "That day is still to come")
	b.sees(t, page+"?tab=history&on=soon", "Give a day as 2026-01-31")
	fixes := make([]string, 100) // all but two are withdrawn
	fixes[7], fixes[8] = "1000.0.7", "1000.0.8"
	b.sync(t, "2026-01-02T00:00:00Z", fixes...)
	b.sees(t, page+"?tab=history&on="+day(0), "200 findings known at the end of", "All of them came that day")
}

// BenchmarkPageOfManyFindings is how long the server takes for the first screen of an image
// with 10,000 findings: the goal is 200 ms.
func BenchmarkPageOfManyFindings(b *testing.B) {
	browser, page := manyFindings(b)
	for b.Loop() {
		if status, _, _ := browser.send(b, "GET", page); status != http.StatusOK {
			b.Fatal(status)
		}
	}
}
