package store

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/advisory"
)

// A feedRecord is a record of a mirror in a test.
type feedRecord struct {
	id, modified string
	aliases      []string
	cvss         string
	withdrawn    bool
	// packages as "ecosystem name fixed".
	packages []string
}

func (r feedRecord) json() string {
	type event map[string]string
	out := map[string]any{"id": r.id, "modified": r.modified, "aliases": r.aliases, "summary": "about " + r.id + " of " + r.modified}
	if r.cvss != "" {
		out["severity"] = []any{map[string]string{"type": "CVSS_V3", "score": r.cvss}}
	}
	if r.withdrawn {
		out["withdrawn"] = r.modified
	}
	var affected []any
	for _, p := range r.packages {
		f := strings.Split(p, " ")
		affected = append(affected, map[string]any{
			"package": map[string]string{"ecosystem": f[0], "name": f[1]},
			"ranges":  []any{map[string]any{"type": "ECOSYSTEM", "events": []event{{"introduced": "0"}, {"fixed": f[2]}}}},
		})
	}
	out["affected"] = affected
	b, err := json.Marshal(out)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// feed are the records of a mirror by ecosystem.
type feed map[string][]feedRecord

// write writes the mirror's files.
func (f feed) write(t *testing.T, dir string) {
	t.Helper()
	var names []string
	for ecosystem, records := range f {
		names = append(names, ecosystem)
		var list, archive bytes.Buffer
		w := zip.NewWriter(&archive)
		for _, r := range records {
			fmt.Fprintf(&list, "%s,%s\n", r.modified, r.id)
			entry, err := w.Create(r.id + ".json")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := entry.Write([]byte(r.json())); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, ecosystem, "modified_id.csv"), list.Bytes())
		writeFile(t, filepath.Join(dir, ecosystem, "all.zip"), archive.Bytes())
	}
	slices.Sort(names)
	writeFile(t, filepath.Join(dir, "ecosystems.txt"), []byte(strings.Join(names, "\n")))
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func openMirror(t testing.TB, location string) *advisory.Mirror {
	t.Helper()
	m, err := advisory.OpenMirror(location, advisory.MirrorOptions{RetryWait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// mustUpdate updates and fails the test when anything could not be updated.
func mustUpdate(t testing.TB, path string, m *advisory.Mirror, o UpdateOptions) UpdateSummary {
	t.Helper()
	s, err := UpdateAdvisories(t.Context(), path, m, o)
	if err := errors.Join(err, s.Err()); err != nil {
		t.Fatal(err)
	}
	return s
}

func openAdvisories(t testing.TB, path string) *Advisories {
	t.Helper()
	a, err := OpenAdvisories(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// dump is all the database holds that does not depend on when and from where it
// came, a line a row, sorted.
func dump(t testing.TB, path string) []string {
	t.Helper()
	a := openAdvisories(t, path)
	var out []string
	for _, query := range []string{
		`SELECT 'advisory', id, modified, published, summary, rating, links, same FROM advisories`,
		`SELECT 'package', ecosystem, name, advisory, ranges, versions, rating, '' FROM advisory_packages`,
		`SELECT 'feed', ecosystem, advisory, modified, '', '', '', '' FROM advisory_feed`,
		`SELECT 'vulnerability', id, aliases, rating, '', '', '', '' FROM vulnerabilities`,
		`SELECT 'link', advisory, vulnerability, '', '', '', '', '' FROM advisory_vulnerabilities`,
		`SELECT 'coverage', ecosystem, advisories, '', '', '', '', '' FROM advisory_coverage`,
		`SELECT 'source', ecosystem, records, newest, starter, '', '', '' FROM advisory_sources`,
	} {
		rows, err := a.ask(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var c [8]string
			if err := rows.Scan(&c[0], &c[1], &c[2], &c[3], &c[4], &c[5], &c[6], &c[7]); err != nil {
				t.Fatal(err)
			}
			out = append(out, strings.Join(c[:], "|"))
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(out)
	return out
}

var (
	first = feed{
		"npm": {
			{id: "GHSA-1", modified: "2024-01-03T00:00:00Z", aliases: []string{"CVE-2024-0001"}, packages: []string{"npm a 1.0.0"}},
			{id: "GHSA-2", modified: "2024-01-02T00:00:00Z", packages: []string{"npm b 1.0.0", "PyPI b 2.0"}},
			{id: "GHSA-3", modified: "2024-01-01T00:00:00Z", packages: []string{"npm c 1.0.0"}},
			{id: "GHSA-4", modified: "2024-01-01T00:00:00Z", withdrawn: true, packages: []string{"npm d 1.0.0"}},
		},
		"PyPI": {
			{id: "GHSA-2", modified: "2024-01-02T00:00:00Z", packages: []string{"npm b 1.0.0", "PyPI b 2.0"}},
			{id: "PYSEC-1", modified: "2024-01-02T00:00:00Z", aliases: []string{"CVE-2024-0001"}, packages: []string{"PyPI a 1.0"}},
		},
	}
	// later: GHSA-1 changed with an older time than others have, GHSA-2 left npm
	// and PyPI, GHSA-3 was withdrawn, GHSA-4 is back, GHSA-5 has an old time.
	later = feed{
		"npm": {
			{id: "GHSA-3", modified: "2024-02-02T00:00:00Z", withdrawn: true, packages: []string{"npm c 1.0.0"}},
			{id: "GHSA-1", modified: "2024-01-03T00:00:00.5Z", aliases: []string{"CVE-2024-0001"}, packages: []string{"npm a 1.1.0"}},
			{id: "GHSA-4", modified: "2024-01-01T00:00:01Z", packages: []string{"npm d 1.0.0"}},
			{id: "GHSA-5", modified: "2024-01-01T00:00:00Z", packages: []string{"npm e 1.0.0"}},
		},
		"PyPI": {
			{id: "PYSEC-1", modified: "2024-01-02T00:00:00Z", aliases: []string{"CVE-2024-0001"}, packages: []string{"PyPI a 1.0"}},
		},
	}
)

// An update leaves what a fresh import of the later state leaves, from a folder,
// from a server with single records, and from one with archives only.
func TestUpdateEqualsImport(t *testing.T) {
	fresh := filepath.Join(t.TempDir(), "fresh.db")
	freshDir := t.TempDir()
	later.write(t, freshDir)
	mustUpdate(t, fresh, openMirror(t, freshDir), UpdateOptions{})
	want := dump(t, fresh)

	for name, singles := range map[string]bool{"archives only": false, "single records": true} {
		t.Run(name, func(t *testing.T) {
			path, dir := filepath.Join(t.TempDir(), "a.db"), t.TempDir()
			server := httptest.NewServer(http.FileServer(http.Dir(dir)))
			defer server.Close()
			first.write(t, dir)
			mustUpdate(t, path, openMirror(t, server.URL), UpdateOptions{})
			if diff := cmp.Diff(want, dump(t, path)); diff == "" {
				t.Fatal("the first state is the later one")
			}
			later.write(t, dir)
			if singles {
				for ecosystem, records := range later {
					for _, r := range records {
						writeFile(t, filepath.Join(dir, ecosystem, r.id+".json"), []byte(r.json()))
					}
					if err := os.Remove(filepath.Join(dir, ecosystem, "all.zip")); err != nil {
						t.Fatal(err)
					}
				}
			}
			s := mustUpdate(t, path, openMirror(t, server.URL), UpdateOptions{})
			if diff := cmp.Diff(want, dump(t, path)); diff != "" {
				t.Error(diff)
			}
			if npm := s.Ecosystems[1]; npm.Ecosystem != "npm" || npm.Changed != 3 || npm.Removed != 2 || npm.Records != 3 {
				t.Errorf("summary %+v, want npm with 3 changed, 2 removed, 3 records", npm)
			}
			if s := mustUpdate(t, path, openMirror(t, server.URL), UpdateOptions{}); s.Ecosystems[1].Changed != 0 {
				t.Errorf("a second update changed %d", s.Ecosystems[1].Changed)
			}
		})
	}
}

func TestLookups(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "with ? and # 100%.db"), t.TempDir()
	first.write(t, dir)
	kev := filepath.Join(dir, "kev.json")
	writeFile(t, kev, []byte(`{"vulnerabilities":[{"cveID":"CVE-2024-0001","dateAdded":"2024-03-01","knownRansomwareCampaignUse":"Known"}]}`))
	epss := filepath.Join(dir, "epss.csv")
	writeFile(t, epss, []byte("cve,epss,percentile\nCVE-2024-0001,0.5,0.9\n"))
	now := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	mustUpdate(t, path, openMirror(t, dir), UpdateOptions{KEV: kev, EPSS: epss, Now: func() time.Time { return now }})
	a := openAdvisories(t, path)

	entries, err := a.Affecting(t.Context(), []advisory.Key{{Ecosystem: "npm", Name: "a"}, {Ecosystem: "PyPI", Name: "b"}, {Ecosystem: "npm", Name: "d"}, {Ecosystem: "npm", Name: "none"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, fmt.Sprintf("%s %s %s %s", e.Advisory, e.Key.Ecosystem, e.Key.Name, advisory.EncodeRanges(e.Affected.Ranges)))
	}
	if diff := cmp.Diff([]string{"GHSA-2 PyPI b E\ti0\tf2.0", "GHSA-1 npm a E\ti0\tf1.0.0"}, got); diff != "" {
		t.Error(diff)
	}

	facts, err := a.Facts(t.Context(), []string{"PYSEC-1", "GHSA-4", "none", "PYSEC-1"})
	if err != nil {
		t.Fatal(err)
	}
	want := []advisory.Facts{{
		ID: "PYSEC-1", Modified: time.Date(2024, 1, 2, 0, 0, 0, 0, time.UTC), Summary: "about PYSEC-1 of 2024-01-02T00:00:00Z", References: []string{},
		Vulnerabilities: []advisory.Vulnerability{{
			ID: "CVE-2024-0001", Aliases: []string{"GHSA-1", "PYSEC-1"}, KEV: true, KEVAdded: time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC), Ransomware: true,
			EPSS: 0.5, EPSSPercentile: 0.9,
		}},
	}}
	if diff := cmp.Diff(want, facts); diff != "" {
		t.Error(diff)
	}

	coverage, err := a.Coverage(t.Context())
	if diff := cmp.Diff([]advisory.Coverage{{Ecosystem: "PyPI", Advisories: 2, Synced: now}, {Ecosystem: "npm", Advisories: 3, Synced: now}}, coverage); err != nil || diff != "" {
		t.Error(err, diff)
	}
	s, err := a.Status(t.Context())
	if err != nil || s.Records != 4 || s.Vulnerabilities != 3 || !s.Oldest.Equal(now) || s.Starter || len(s.Ecosystems) != 2 || len(s.Lists) != 2 {
		t.Errorf("status %+v, %v", s, err)
	}
}

// One broken ecosystem fails with its name and keeps its data; the others are
// updated.
func TestUpdatePartly(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string){
		"no archive": func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "npm", "all.zip")); err != nil {
				t.Fatal(err)
			}
		},
		"broken archive": func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, "npm", "all.zip"), []byte("PK nothing"))
		},
		"broken list": func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, "npm", "modified_id.csv"), []byte("2024-01-03T00:00"))
		},
		"empty list": func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "npm", "modified_id.csv"), nil) },
		"cut archive": func(t *testing.T, dir string) {
			path := filepath.Join(dir, "npm", "all.zip")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			// The directory at the end is whole, the records before it are not.
			for i := range len(b) / 2 {
				b[i] = 0
			}
			writeFile(t, path, b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, dir := filepath.Join(t.TempDir(), "a.db"), t.TempDir()
			first.write(t, dir)
			mustUpdate(t, path, openMirror(t, dir), UpdateOptions{})
			before := packagesOf(t, path, "npm")
			later.write(t, dir)
			damage(t, dir)
			s, err := UpdateAdvisories(t.Context(), path, openMirror(t, dir), UpdateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Err(); err == nil || !strings.Contains(err.Error(), "npm") || strings.Contains(err.Error(), "PyPI:") {
				t.Errorf("error %v, want one of npm only", err)
			}
			if diff := cmp.Diff(before, packagesOf(t, path, "npm")); diff != "" {
				t.Errorf("npm changed: %s", diff)
			}
			if s.Ecosystems[0].Ecosystem != "PyPI" || s.Ecosystems[0].Removed != 1 {
				t.Errorf("PyPI: %+v, want one removed", s.Ecosystems[0])
			}
		})
	}
}

func packagesOf(t *testing.T, path, ecosystem string) []string {
	t.Helper()
	return slices.DeleteFunc(dump(t, path), func(line string) bool {
		return !strings.HasPrefix(line, "package|"+ecosystem+"|")
	})
}

// A record that can't be read is reported, costs no other, keeps its old state,
// and is read again by the next update.
func TestUpdateUnreadableRecord(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "a.db"), t.TempDir()
	first.write(t, dir)
	mustUpdate(t, path, openMirror(t, dir), UpdateOptions{})
	later.write(t, dir)
	for _, r := range later["npm"] {
		content := r.json()
		if r.id == "GHSA-1" {
			content = `{"id":"GHSA-1","modified":7}`
		}
		writeFile(t, filepath.Join(dir, "npm", r.id+".json"), []byte(content))
	}
	s := mustUpdate(t, path, openMirror(t, dir), UpdateOptions{Ecosystems: []string{"NPM"}})
	if npm := s.Ecosystems[0]; npm.UnreadableCount != 1 || !strings.Contains(npm.Unreadable[0], "GHSA-1") || npm.Changed != 2 {
		t.Errorf("%+v, want GHSA-1 unreadable and 2 changed", npm)
	}
	if got := packagesOf(t, path, "npm"); !slices.ContainsFunc(got, func(l string) bool { return strings.Contains(l, "|a|GHSA-1|E\ti0\tf1.0.0") }) {
		t.Errorf("the old state of GHSA-1 is gone: %q", got)
	}
	for _, r := range later["npm"] {
		writeFile(t, filepath.Join(dir, "npm", r.id+".json"), []byte(r.json()))
	}
	if s := mustUpdate(t, path, openMirror(t, dir), UpdateOptions{Ecosystems: []string{"npm"}}); s.Ecosystems[0].Changed != 1 {
		t.Errorf("%+v, want one changed", s.Ecosystems[0])
	}
}

// A list cut short must not make us forget what the archive still has.
func TestUpdateShortList(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "a.db"), t.TempDir()
	var many []feedRecord
	for i := range 200 {
		many = append(many, feedRecord{id: fmt.Sprintf("GHSA-%d", i), modified: "2024-01-01T00:00:00Z", packages: []string{"npm a 1.0.0"}})
	}
	feed{"npm": many}.write(t, dir)
	mustUpdate(t, path, openMirror(t, dir), UpdateOptions{})
	writeFile(t, filepath.Join(dir, "npm", "modified_id.csv"), []byte("2024-01-01T00:00:00Z,GHSA-0\n"))
	if s := mustUpdate(t, path, openMirror(t, dir), UpdateOptions{}); s.Ecosystems[0].Records != 200 {
		t.Errorf("%+v, want 200 records", s.Ecosystems[0])
	}
}

func TestUpdateErrors(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "a.db"), t.TempDir()
	first.write(t, dir)
	s, err := UpdateAdvisories(t.Context(), path, openMirror(t, dir), UpdateOptions{Ecosystems: []string{"nmp"}})
	if err == nil || !strings.Contains(err.Error(), "it has PyPI, npm") {
		t.Errorf("unknown ecosystem: %+v, %v", s, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a failed first update left a file: %v", err)
	}
	if _, err := UpdateAdvisories(t.Context(), path, openMirror(t, t.TempDir()), UpdateOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty mirror: error %v, want fs.ErrNotExist", err)
	}
	s = mustUpdate(t, path, openMirror(t, dir), UpdateOptions{})
	if len(s.Ecosystems) != 2 {
		t.Errorf("%+v, want both", s)
	}
	s, err = UpdateAdvisories(t.Context(), path, openMirror(t, dir), UpdateOptions{KEV: "/no/such/kev.json"})
	if err != nil || s.Err() == nil || !strings.Contains(s.Err().Error(), "KEV") {
		t.Errorf("KEV that isn't there: %v, %v, want a partial error", err, s.Err())
	}
	if _, err := OpenAdvisories(filepath.Join(t.TempDir(), "none.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no database: error %v, want fs.ErrNotExist", err)
	}
	junk := filepath.Join(t.TempDir(), "junk.db")
	writeFile(t, junk, []byte("not a database at all, but long enough to be read as one"))
	if _, err := OpenAdvisories(junk); err == nil || !strings.Contains(err.Error(), "strata db update") {
		t.Errorf("junk: error %v, want one with the way out", err)
	}
}

// A cancelled update leaves the old file as it was and nothing beside it; what a
// killed one leaves, the next removes.
func TestUpdateInterrupted(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "a.db"), t.TempDir()
	first.write(t, dir)
	mustUpdate(t, path, openMirror(t, dir), UpdateOptions{})
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	later.write(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	_, err = UpdateAdvisories(ctx, path, openMirror(t, dir), UpdateOptions{Progress: func(Progress) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file changed, or %v", err)
	}
	checkNothingBeside(t, path)

	writeFile(t, path+".new-123", []byte("left"))
	mustUpdate(t, path, openMirror(t, dir), UpdateOptions{})
	checkNothingBeside(t, path)
}

func checkNothingBeside(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); name != filepath.Base(path) && name != filepath.Base(path)+".lock" {
			t.Errorf("left behind: %s", name)
		}
	}
}

// Readers see one state from open to close while updates go on, and never wait.
func TestReadersDuringUpdates(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "a.db"), t.TempDir()
	first.write(t, dir)
	mustUpdate(t, path, openMirror(t, dir), UpdateOptions{})
	old := openAdvisories(t, path)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					if n == 0 {
						t.Error("nothing read")
					}
					return
				default:
				}
				a, err := OpenAdvisories(path)
				if err != nil {
					t.Error(err)
					return
				}
				entries, err := a.Affecting(context.Background(), []advisory.Key{{Ecosystem: "npm", Name: "a"}})
				if err := errors.Join(err, a.Close()); err != nil || len(entries) != 1 {
					t.Errorf("%d entries, %v, want 1", len(entries), err)
					return
				}
			}
		})
	}
	// Two writers at once wait for each other.
	var writers sync.WaitGroup
	for i := range 2 {
		writers.Go(func() {
			for n := range 4 {
				d := t.TempDir()
				[]feed{first, later}[(n+i)%2].write(t, d)
				if s, err := UpdateAdvisories(t.Context(), path, openMirror(t, d), UpdateOptions{}); err != nil || s.Err() != nil {
					t.Error(err, s.Err())
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	entries, err := old.Affecting(t.Context(), []advisory.Key{{Ecosystem: "npm", Name: "a"}})
	if err != nil || len(entries) != 1 || advisory.EncodeRanges(entries[0].Affected.Ranges) != "E\ti0\tf1.0.0" {
		t.Errorf("%v, %v: the reader of before sees something else", entries, err)
	}
}

// While another holds the lock, an update waits as long as its context lets it.
func TestUpdateWaits(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "a.db"), t.TempDir()
	first.write(t, dir)
	d, err := openDraft(t.Context(), path, true, discardLog)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	if _, err := UpdateAdvisories(ctx, path, openMirror(t, dir), UpdateOptions{}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "another update") {
		t.Errorf("error %v, want one that names the other update", err)
	}
	if err := d.discard(); err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, path, openMirror(t, dir), UpdateOptions{})
}

// The starter set serves until the first real update, which replaces it whole.
func TestStarter(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "a.db"), t.TempDir()
	mustUpdate(t, path, advisory.StarterMirror(), UpdateOptions{})
	s, err := openAdvisories(t, path).Status(t.Context())
	if err != nil || !s.Starter || s.Records < 25 {
		t.Fatalf("status %+v, %v, want a starter set", s, err)
	}
	// A real record of the same time as the starter's must win over it.
	whole := feedRecord{id: "GHSA-jf85-cpcp-j695", modified: "2024-01-01T00:00:00Z", packages: []string{"npm lodash 4.17.12"}}
	feed{"npm": {whole}}.write(t, dir)
	mustUpdate(t, path, openMirror(t, dir), UpdateOptions{})
	fresh := filepath.Join(t.TempDir(), "fresh.db")
	mustUpdate(t, fresh, openMirror(t, dir), UpdateOptions{})
	if diff := cmp.Diff(dump(t, fresh), dump(t, path)); diff != "" {
		t.Errorf("something of the starter set stayed: %s", diff)
	}
	if _, err := UpdateAdvisories(t.Context(), path, advisory.StarterMirror(), UpdateOptions{}); err == nil {
		t.Error("the starter set replaced whole advisories")
	}
}

func TestExportImport(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "a.db"), t.TempDir()
	first.write(t, dir)
	mustUpdate(t, path, openMirror(t, dir), UpdateOptions{})
	a := openAdvisories(t, path)
	var packed bytes.Buffer
	if err := a.Export(t.Context(), &packed); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "b.db")
	s, err := ImportAdvisories(t.Context(), other, bytes.NewReader(packed.Bytes()), nil)
	if err != nil || s.Records != 4 || s.Path != other {
		t.Fatalf("%+v, %v", s, err)
	}
	if diff := cmp.Diff(dump(t, path), dump(t, other)); diff != "" {
		t.Error(diff)
	}

	later.write(t, dir)
	mustUpdate(t, other, openMirror(t, dir), UpdateOptions{})
	want := dump(t, other)
	for name, content := range map[string][]byte{
		"nothing":        nil,
		"something else": []byte("#!/bin/sh\nexit 1\n"),
		"header only":    []byte(packMagic + "{}\n"),
		"cut":            packed.Bytes()[:packed.Len()-40],
		"changed":        flip(packed.Bytes(), packed.Len()/2),
		"newer schema":   bytes.Replace(packed.Bytes(), []byte(`"schema":1`), []byte(`"schema":9`), 1),
		"other checksum": bytes.Replace(packed.Bytes(), []byte(`"sha256":"`), []byte(`"sha256":"0`), 1),
	} {
		if _, err := ImportAdvisories(t.Context(), other, bytes.NewReader(content), nil); err == nil {
			t.Errorf("%s: imported", name)
		}
		checkNothingBeside(t, other)
	}
	if diff := cmp.Diff(want, dump(t, other)); diff != "" {
		t.Errorf("a refused import changed the database: %s", diff)
	}
}

func flip(b []byte, i int) []byte {
	out := slices.Clone(b)
	out[i] ^= 0xff
	return out
}

// A file from elsewhere must hold nothing but our tables.
func TestImportRefusesTriggers(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "a.db"), t.TempDir()
	first.write(t, dir)
	mustUpdate(t, path, openMirror(t, dir), UpdateOptions{})
	d, err := openDraft(t.Context(), path, true, discardLog)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.db.Exec(`CREATE VIEW strange AS SELECT * FROM kev`); err != nil {
		t.Fatal(err)
	}
	if err := d.publish(); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	if err := openAdvisories(t, path).Export(t.Context(), &packed); err != nil {
		t.Fatal(err)
	}
	if _, err := ImportAdvisories(t.Context(), filepath.Join(t.TempDir(), "b.db"), &packed, nil); err == nil || !strings.Contains(err.Error(), "strange") {
		t.Errorf("error %v, want one that names the view", err)
	}
}

func FuzzPackHeader(f *testing.F) {
	f.Add([]byte(packMagic + `{"size":1,"sha256":"00","schema":1}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		path := filepath.Join(t.TempDir(), "a.db")
		if s, err := ImportAdvisories(t.Context(), path, bytes.NewReader(b), nil); err == nil {
			t.Errorf("imported %+v", s)
		}
		checkNothingBeside(t, path)
	})
}

// A database that is damaged is made anew; one of a newer strata is left alone.
func TestUpdateOfOddFiles(t *testing.T) {
	dir := t.TempDir()
	first.write(t, dir)
	whole := filepath.Join(t.TempDir(), "whole.db")
	mustUpdate(t, whole, openMirror(t, dir), UpdateOptions{})
	want := dump(t, whole)
	b, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	holes := slices.Clone(b)
	for i := 4096; i < len(holes); i++ {
		holes[i] = 0xaa
	}
	for name, content := range map[string][]byte{"no database": []byte(strings.Repeat("nothing ", 1000)), "holes": holes, "empty": nil} {
		path := filepath.Join(t.TempDir(), "a.db")
		writeFile(t, path, content)
		mustUpdate(t, path, openMirror(t, dir), UpdateOptions{})
		if diff := cmp.Diff(want, dump(t, path)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}

	d, err := openDraft(t.Context(), whole, true, discardLog)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`); err != nil {
		t.Fatal(err)
	}
	if err := d.publish(); err != nil {
		t.Fatal(err)
	}
	if _, err := UpdateAdvisories(t.Context(), whole, openMirror(t, dir), UpdateOptions{}); !errors.Is(err, errNewer) {
		t.Errorf("update of a newer database: error %v, want errNewer", err)
	}
	if _, err := OpenAdvisories(whole); !errors.Is(err, errNewer) {
		t.Errorf("opening a newer database: error %v, want errNewer", err)
	}
}
