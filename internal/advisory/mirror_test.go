package advisory

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// zipOf packs records by id.
func zipOf(t *testing.T, records map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for id, json := range records {
		f, err := w.Create(id + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, json); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// writeMirror writes files by path and gives the folder.
func writeMirror(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const recordA = `{"id":"A-1","modified":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"Red Hat:9","name":"a"},"versions":["1"]}]}`

// A mirror reads the same from a folder, from a folder with escaped names, and
// over http.
func TestMirror(t *testing.T) {
	files := func(ecosystem string) map[string]string {
		return map[string]string{
			"ecosystems.txt":               "Red Hat\nRed Hat:enterprise_linux:9\n\n../x\n",
			ecosystem + "/modified_id.csv": "2024-01-01T00:00:00Z,A-1\n",
			ecosystem + "/all.zip":         string(zipOf(t, map[string]string{"A-1": recordA})),
			ecosystem + "/A-1.json":        recordA,
		}
	}
	plainDir, escapedDir := writeMirror(t, files("Red Hat")), writeMirror(t, files("Red%20Hat"))
	server := httptest.NewServer(http.FileServer(http.Dir(plainDir)))
	defer server.Close()
	for name, location := range map[string]string{"folder": plainDir, "escaped": escapedDir, "http": server.URL, "file URL": "file://" + plainDir} {
		t.Run(name, func(t *testing.T) {
			m, err := OpenMirror(location, MirrorOptions{TempDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			checkMirror(t, m)
		})
	}
}

func checkMirror(t *testing.T, m *Mirror) {
	t.Helper()
	ctx := t.Context()
	ecosystems, err := m.Ecosystems(ctx)
	if diff := cmp.Diff([]string{"Red Hat"}, ecosystems); err != nil || diff != "" {
		t.Error(err, diff)
	}
	changes, err := m.Modified(ctx, "Red Hat")
	if diff := cmp.Diff([]Change{{"A-1", time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)}}, changes); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if b, err := m.Record(ctx, "Red Hat", "A-1"); err != nil || string(b) != recordA {
		t.Errorf("record %q, %v", b, err)
	}
	a, err := m.Archive(ctx, "Red Hat")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	i, ok := a.Lookup("A-1")
	if !ok || a.Len() != 1 {
		t.Fatalf("archive of %d records, A-1 is there: %v", a.Len(), ok)
	}
	if r, err := a.Read(i); err != nil || r.ID != "A-1" {
		t.Errorf("%+v, %v", r, err)
	}
	for what, err := range map[string]error{
		"ecosystem": second(m.Modified(ctx, "npm")), "record": second(m.Record(ctx, "Red Hat", "B-1")), "archive": second(m.Archive(ctx, "npm")),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("missing %s: error %v, want fs.ErrNotExist", what, err)
		}
	}
	for what, err := range map[string]error{"ecosystem": second(m.Modified(ctx, "../npm")), "id": second(m.Record(ctx, "npm", "../../x"))} {
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s that leads elsewhere: error %v, want a refusal", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestOpenMirrorErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for location, want := range map[string]string{"/no/such/folder": "want a directory", file: "not a directory", "https://": "not a URL"} {
		if _, err := OpenMirror(location, MirrorOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", location, err, want)
		}
	}
}

// A server that fails for a while is asked again; one that forbids is not.
func TestMirrorRetries(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := requests.Add(1)
		switch {
		case strings.HasPrefix(r.URL.Path, "/forbidden/"):
			w.WriteHeader(http.StatusForbidden)
		case n <= 2:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			fmt.Fprint(w, "2024-01-01T00:00:00Z,A-1\n")
		}
	}))
	defer server.Close()
	m, err := OpenMirror(server.URL, MirrorOptions{RetryWait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if changes, err := m.Modified(t.Context(), "npm"); err != nil || len(changes) != 1 || requests.Load() != 3 {
		t.Errorf("%v, %v after %d requests, want one row after 3", changes, err, requests.Load())
	}
	requests.Store(0)
	if _, err := m.Modified(t.Context(), "forbidden"); err == nil || requests.Load() != 1 {
		t.Errorf("error %v after %d requests, want one after 1", err, requests.Load())
	}
}

// A transfer that breaks off is continued where it broke.
func TestMirrorContinues(t *testing.T) {
	content := strings.Repeat("2024-01-01T00:00:00Z,A-1\n", 4000)
	var ranges []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Header.Get("Range"))
		w.Header().Set("ETag", `"x"`)
		if len(ranges) == 1 {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			fmt.Fprint(w, content[:len(content)/2])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "x.csv", time.Time{}, strings.NewReader(content))
	}))
	defer server.Close()
	m, err := OpenMirror(server.URL, MirrorOptions{RetryWait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	changes, err := m.Modified(t.Context(), "npm")
	if err != nil || len(changes) != 4000 {
		t.Fatalf("%d rows, %v, want 4000", len(changes), err)
	}
	if len(ranges) != 2 || !strings.HasPrefix(ranges[1], "bytes=") {
		t.Errorf("requested ranges %q, want a second one", ranges)
	}
}

// A server that says nothing more doesn't hold us for ever.
func TestMirrorStalls(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "x")
		w.(http.Flusher).Flush()
		<-release
	}))
	defer server.Close()
	defer close(release)
	w := newWeb(server.URL+"/", MirrorOptions{RetryWait: time.Millisecond})
	w.stall = 20 * time.Millisecond
	r, _, err := w.open(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); err == nil || !strings.Contains(err.Error(), "no data for") {
		t.Errorf("error %v, want one of the stall", err)
	}
}

func TestMirrorCancelled(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer server.Close()
	m, err := OpenMirror(server.URL, MirrorOptions{RetryWait: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := m.Modified(ctx, "npm"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the deadline's", err)
	}
}

func TestArchiveErrors(t *testing.T) {
	dir := writeMirror(t, map[string]string{
		"ecosystems.txt":    "broken\n",
		"broken/all.zip":    "PK\x03\x04 not really",
		"empty/all.zip":     string(zipOf(t, nil)),
		"other/all.zip":     string(zipOf(t, map[string]string{"B-1": recordA})),
		"traversal/all.zip": string(zipOf(t, map[string]string{"../../A-1": recordA})),
	})
	m, err := OpenMirror(dir, MirrorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for ecosystem, want := range map[string]string{"broken": "not a valid zip", "empty": "no record"} {
		if _, err := m.Archive(t.Context(), ecosystem); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", ecosystem, err, want)
		}
	}
	a, err := m.Archive(t.Context(), "other")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.Read(0); err == nil || !strings.Contains(err.Error(), `holds the record "A-1"`) {
		t.Errorf("record under another's name: error %v", err)
	}
	a, err = m.Archive(t.Context(), "traversal")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if a.ID(0) != "A-1" {
		t.Errorf("id %q, want the last element only", a.ID(0))
	}
}

func TestParseModified(t *testing.T) {
	got, err := ParseModified(strings.NewReader("2024-01-02T00:00:00.5Z,Alpine/A-1\r\n\n2024-01-01T01:00:00+01:00,B-1"))
	want := []Change{{"A-1", time.Date(2024, 1, 2, 0, 0, 0, 5e8, time.UTC)}, {"B-1", time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, bad := range []string{"x", "x,A-1", "2024-01-01T00:00:00Z,", "2024-01-01T00:00:00Z,..", "2024-01-01T00:00:00Z,a b"} {
		if got, err := ParseModified(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: %v, want an error", bad, got)
		}
	}
}

func FuzzParseModified(f *testing.F) {
	f.Add([]byte("2024-01-02T00:00:00.5Z,Alpine/A-1\r\n2024-01-01T01:00:00+01:00,B-1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, err := ParseModified(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, r := range rows {
			if ValidateID(r.ID) != nil || strings.Contains(r.ID, "/") {
				t.Errorf("id %q", r.ID)
			}
		}
	})
}

// The starter set is read through the same code as any mirror, whole.
func TestStarterMirror(t *testing.T) {
	m := StarterMirror()
	ecosystems, err := m.Ecosystems(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	for _, e := range ecosystems {
		a, err := m.Archive(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		for i := range a.Len() {
			r, err := a.Read(i)
			if err != nil {
				t.Fatal(err)
			}
			records++
			if len(r.Affected) == 0 || r.Summary == "" || r.Rating.Severity.Rank() == 0 || len(Group([]Names{r.Names()}).Of[r.ID]) == 0 {
				t.Errorf("%s lacks something: %+v", r.ID, r)
			}
			for _, a := range r.Affected {
				if Base(a.Ecosystem) != e {
					t.Errorf("%s: %s in the folder of %s", r.ID, a.Ecosystem, e)
				}
			}
		}
	}
	if records < 25 {
		t.Errorf("%d records, want 25 at least", records)
	}
}

// Passwords in URLs are neither shown nor stored.
func TestRedact(t *testing.T) {
	m, err := OpenMirror("https://user:secret@e.org/osv", MirrorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for in, got := range map[string]string{
		"the mirror": m.Location(), "a list": Redact("https://user:secret@e.org/kev.json"), "a token": Redact("https://secret@e.org/osv"),
	} {
		if strings.Contains(got, "secret") || !strings.Contains(got, "e.org") {
			t.Errorf("%s: %q", in, got)
		}
	}
	if got := Redact("/srv/a:b@c.json"); got != "/srv/a:b@c.json" {
		t.Errorf("path: %q", got)
	}
}
