package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// dbRun runs `strata db …` with a cache of its own, at a fixed time.
type dbRun struct {
	cache string
	now   time.Time
	stdin []byte
}

func (d *dbRun) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{
		stdin: bytes.NewReader(d.stdin), stdout: &out, stderr: &errs,
		env: func(name string) string {
			if name == "STRATA_CACHE_DIR" {
				return d.cache
			}
			return ""
		},
		now: func() time.Time { return d.now },
		log: slog.New(slog.DiscardHandler),
	}
	code = run(t.Context(), a, append([]string{"db"}, args...))
	return code, out.String(), errs.String()
}

// writeDBMirror writes a mirror with one record of npm's and one of Debian's.
func writeDBMirror(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for ecosystem, of := range map[string]string{"npm": "npm", "Debian": "Debian:12"} {
		id := "X-" + ecosystem
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		f, err := w.Create(id + ".json")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(f, `{"id":%q,"modified":"2024-01-01T00:00:00Z","aliases":["CVE-2024-0001"],"affected":[{"package":{"ecosystem":%q,"name":"a"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]}]}`, id, of)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string][]byte{"all.zip": b.Bytes(), "modified_id.csv": []byte("2024-01-01T00:00:00Z," + id + "\n")} {
			writeTestFile(t, filepath.Join(dir, ecosystem, name), content)
		}
	}
	writeTestFile(t, filepath.Join(dir, "ecosystems.txt"), []byte("Debian\nnpm\n"))
	return dir
}

func writeTestFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDB(t *testing.T) {
	mirror := writeDBMirror(t)
	d := &dbRun{cache: t.TempDir(), now: time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)}

	if code, _, stderr := d.run(t, "status"); code != exitError || !strings.Contains(stderr, "strata db update") {
		t.Errorf("status without a database: %d, %q", code, stderr)
	}
	code, stdout, stderr := d.run(t, "update", "--mirror", mirror)
	if code != exitPass || stderr != "advisories of Debian: 1 taken in\nadvisories of npm: 1 taken in\n" {
		t.Fatalf("update: %d, %q", code, stderr)
	}
	for _, want := range []string{"Debian     1           1", "npm        1           1"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("update printed\n%s\nwithout %q", stdout, want)
		}
	}

	d.now = d.now.Add(30 * time.Hour)
	code, stdout, _ = d.run(t, "status")
	if code != exitPass || !strings.Contains(stdout, "advisories: 2, vulnerabilities: 1") || !strings.Contains(stdout, "30 h ago") || !strings.Contains(stdout, mirror) {
		t.Errorf("status: %d\n%s", code, stdout)
	}
	code, stdout, _ = d.run(t, "status", "-f", "json")
	var s statusJSON
	if err := json.Unmarshal([]byte(stdout), &s); err != nil || code != exitPass {
		t.Fatal(code, err)
	}
	if s.Advisories != 2 || s.AgeSeconds != 30*3600 || len(s.Ecosystems) != 2 || s.Ecosystems[0].Releases[0] != "12" {
		t.Errorf("status %+v", s)
	}

	// Out over stdout, into another cache over stdin.
	code, packed, _ := d.run(t, "export", "-")
	other := &dbRun{cache: t.TempDir(), now: d.now, stdin: []byte(packed)}
	if code != exitPass {
		t.Fatal("export", code)
	}
	if code, stdout, stderr := other.run(t, "import", "-"); code != exitPass || !strings.Contains(stdout, "2 advisories of 2 ecosystems") {
		t.Errorf("import: %d, %q, %q", code, stdout, stderr)
	}
	file := filepath.Join(t.TempDir(), "out.strata")
	if code, _, stderr := other.run(t, "export", file); code != exitPass {
		t.Errorf("export to a file: %d, %q", code, stderr)
	}
	if code, _, stderr := other.run(t, "import", file); code != exitPass {
		t.Errorf("import of the file: %d, %q", code, stderr)
	}
	if code, _, stderr := other.run(t, "import", filepath.Join(mirror, "ecosystems.txt")); code != exitError || !strings.Contains(stderr, "strata db export") {
		t.Errorf("import of something else: %d, %q", code, stderr)
	}
}

// What can't be had is named, the rest is taken, and the exit code says so.
func TestDBUpdatePartly(t *testing.T) {
	mirror := writeDBMirror(t)
	if err := os.Remove(filepath.Join(mirror, "npm", "all.zip")); err != nil {
		t.Fatal(err)
	}
	d := &dbRun{cache: t.TempDir(), now: time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)}
	code, stdout, stderr := d.run(t, "update", "--mirror", mirror, "--kev", filepath.Join(mirror, "none.json"))
	if code != exitError || !strings.Contains(stderr, "npm: ") || !strings.Contains(stderr, "KEV: ") || strings.Contains(stderr, "\n  Debian: ") {
		t.Errorf("update: %d, %q, want errors of npm and KEV", code, stderr)
	}
	if !strings.Contains(stdout, "Debian     1") || !strings.Contains(stdout, "not updated") {
		t.Errorf("update printed\n%s", stdout)
	}
	if _, stdout, _ := d.run(t, "status"); !strings.Contains(stdout, "advisories: 1, vulnerabilities: 1") {
		t.Errorf("status\n%s", stdout)
	}
}

func TestListLocation(t *testing.T) {
	for _, c := range []struct {
		flag   string
		public bool
		want   string
	}{
		{"", true, "https://public"}, {"", false, ""}, {"none", true, ""}, {"/kev.json", true, "/kev.json"}, {"/kev.json", false, "/kev.json"},
	} {
		if got := listLocation(c.flag, "https://public", c.public); got != c.want {
			t.Errorf("%q, public %v: %q, want %q", c.flag, c.public, got, c.want)
		}
	}
}
