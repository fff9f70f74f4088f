package store

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/advisory"
)

var discardLog = slog.New(slog.DiscardHandler)

// feedsDir is the mirror of real advisories.
func feedsDir(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "feeds", name)
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("STRATA_TEST_REQUIRE") == "all" {
			t.Fatalf("no mirror of real advisories: %v", err)
		}
		t.Skipf("no mirror of real advisories: %v", err)
	}
	return dir
}

// An update from the earlier to the later state gives what an import of the
// later one gives: also the record with an old time, and those with the time of
// many others, at which a reader that stops at the first time it knows stops.
func TestRealUpdateEqualsImport(t *testing.T) {
	ecosystems := []string{"Alpine", "Go", "Maven", "npm"}
	path, fresh := filepath.Join(t.TempDir(), "a.db"), filepath.Join(t.TempDir(), "b.db")
	mustUpdate(t, path, openMirror(t, feedsDir(t, "osv")), UpdateOptions{Ecosystems: ecosystems})
	s := mustUpdate(t, path, openMirror(t, feedsDir(t, "osv-next")), UpdateOptions{})
	mustUpdate(t, fresh, openMirror(t, feedsDir(t, "osv-next")), UpdateOptions{})
	if diff := cmp.Diff(dump(t, fresh), dump(t, path)); diff != "" {
		t.Error(diff)
	}
	// Of Go's 43 new records 8 are withdrawn.
	changed := map[string]int{}
	for _, e := range s.Ecosystems {
		changed[e.Ecosystem] = e.Changed
	}
	if diff := cmp.Diff(map[string]int{"Alpine": 11, "Go": 36, "Maven": 7, "npm": 9}, changed); diff != "" {
		t.Errorf("changed: %s", diff)
	}
	a := openAdvisories(t, path)
	facts, err := a.Facts(t.Context(), []string{"GHSA-p6xc-xr62-6r2g"})
	if err != nil || len(facts) != 1 || facts[0].Vulnerabilities[0].ID != "CVE-2021-45105" {
		t.Errorf("log4j's CVE-2021-45105: %+v, %v", facts, err)
	}
	entries, err := a.Affecting(t.Context(), []advisory.Key{advisory.NewKey("Alpine:3.20.3", "musl")})
	if err != nil || !slices.ContainsFunc(entries, func(e advisory.Entry) bool { return e.Advisory == "ALPINE-CVE-2025-26519" }) {
		t.Errorf("musl's ALPINE-CVE-2025-26519: %+v, %v", entries, err)
	}
}

// TestRealAdvisories imports all of the mirror, which takes long, and looks at what it
// is good for.
func TestRealAdvisories(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	start := time.Now()
	s := mustUpdate(t, path, openMirror(t, feedsDir(t, "osv")), UpdateOptions{
		Ecosystems: []string{"all"}, KEV: filepath.Join(feedsDir(t, "kev"), "known_exploited_vulnerabilities.json"),
	})
	t.Logf("imported in %v", time.Since(start))
	db := openAdvisories(t, path)
	t.Run("import", func(t *testing.T) { checkRealImport(t, &s, db) })
	t.Run("findings", func(t *testing.T) { checkRealFindings(t, db) })
	t.Run("plans", func(t *testing.T) { checkRealPlans(t, db) })
}

// checkRealImport: all of the mirror is read, not a record is lost.
func checkRealImport(t *testing.T, s *UpdateSummary, a *Advisories) {
	records := map[string]int{}
	for _, e := range s.Ecosystems {
		records[e.Ecosystem] = e.Records
		if e.UnreadableCount > 0 {
			t.Errorf("%s: %v", e.Ecosystem, e.Unreadable)
		}
	}
	// The README's counts less the withdrawn.
	want := map[string]int{"AlmaLinux": 5633, "Alpine": 2417, "Bitnami": 7440, "Debian": 5853, "Go": 4287, "Hex": 1, "Maven": 483, "NuGet": 34,
		"Packagist": 1600, "Pub": 1, "PyPI": 6830, "RubyGems": 1254, "SwiftURL": 5, "crates.io": 1201, "npm": 224}
	if diff := cmp.Diff(want, records); diff != "" {
		t.Error(diff)
	}
	if s.Lists[0].Entries != 1404 {
		t.Errorf("KEV has %d entries, want 1404", s.Lists[0].Entries)
	}
	facts, err := a.Facts(t.Context(), []string{"GHSA-jfh8-c2jp-5v3q"})
	if err != nil || len(facts) != 1 {
		t.Fatalf("%v, %v", facts, err)
	}
	if v := facts[0].Vulnerabilities[0]; v.ID != "CVE-2021-44228" || !v.KEV || v.Rating.Severity != advisory.Critical {
		t.Errorf("Log4Shell: %+v", v)
	}
	status, err := a.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(status.Ecosystems, func(e EcosystemStatus) bool { return e.Ecosystem == "Debian" })
	if diff := cmp.Diff([]string{"10", "11", "7", "8", "9"}, status.Ecosystems[i].Releases); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkImport(b *testing.B) {
	mirror := openMirror(b, feedsDir(b, "osv"))
	dir := b.TempDir()
	for i := range b.N {
		mustUpdate(b, filepath.Join(dir, strings.Repeat("a", i+1)), mirror, UpdateOptions{Ecosystems: []string{"all"}})
	}
}

func BenchmarkUpdateWithoutChanges(b *testing.B) {
	mirror := openMirror(b, feedsDir(b, "osv"))
	path := filepath.Join(b.TempDir(), "a.db")
	mustUpdate(b, path, mirror, UpdateOptions{Ecosystems: []string{"all"}})
	for b.Loop() {
		mustUpdate(b, path, mirror, UpdateOptions{})
	}
}

// BenchmarkLookup opens the database and looks 500 packages up, as a scan does
// each time.
func BenchmarkLookup(b *testing.B) {
	path := filepath.Join(b.TempDir(), "a.db")
	mustUpdate(b, path, openMirror(b, feedsDir(b, "osv")), UpdateOptions{Ecosystems: []string{"all"}})
	keys := someKeys(b, path, 500)
	for b.Loop() {
		a, err := OpenAdvisories(path)
		if err != nil {
			b.Fatal(err)
		}
		entries, err := a.Affecting(context.Background(), keys)
		if err != nil || len(entries) < 500 {
			b.Fatal(len(entries), err)
		}
		ids := make([]string, 0, 500)
		for _, e := range entries[:500] {
			ids = append(ids, e.Advisory)
		}
		if _, err := a.Facts(context.Background(), ids); err != nil {
			b.Fatal(err)
		}
		if err := a.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// someKeys are n packages that advisories name.
func someKeys(b *testing.B, path string, n int) []advisory.Key {
	b.Helper()
	a := openAdvisories(b, path)
	rows, err := a.ask(context.Background(), `SELECT ecosystem, name FROM advisory_packages WHERE ecosystem IN ('Debian:9', 'npm', 'PyPI', 'Go') GROUP BY ecosystem, name ORDER BY name, ecosystem LIMIT $1`, n)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	var keys []advisory.Key
	for rows.Next() {
		var k advisory.Key
		if err := rows.Scan(&k.Ecosystem, &k.Name); err != nil {
			b.Fatal(err)
		}
		keys = append(keys, k)
	}
	if err := rows.Err(); err != nil || len(keys) != n {
		b.Fatal(len(keys), err)
	}
	return keys
}
