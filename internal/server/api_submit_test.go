package server

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/advisory"
	"strata/internal/analyzer"
	"strata/internal/auth"
	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/jobs"
	"strata/internal/match"
	"strata/internal/report"
	"strata/internal/store"
)

func diffID(c string) image.DiffID { return image.DiffID("sha256:" + strings.Repeat(c, 64)) }

// npmLayer has one package.
func npmLayer(c, version string) *inventory.Layer {
	return &inventory.Layer{DiffID: diffID(c), Entries: 1, Files: []inventory.File{{Path: c + "/package.json", Analyzer: "npm",
		Packages: []inventory.Package{{Type: "npm", Name: "pkg-" + c, Version: version, Ecosystem: "npm"}}}},
		Paths: inventory.Paths{{Path: c + "/package.json", Kind: inventory.PathFile}}}
}

// noAdvisories has none.
type noAdvisories struct{}

func (noAdvisories) Affecting(context.Context, []advisory.Key) ([]advisory.Entry, error) {
	return nil, nil
}
func (noAdvisories) Facts(context.Context, []string) ([]advisory.Facts, error) { return nil, nil }
func (noAdvisories) Coverage(context.Context) ([]advisory.Coverage, error)     { return nil, nil }

// submitTo is a server that has read layer "c" itself, and judges by no policy.
func submitTo(t *testing.T, db *store.DB) *testServer {
	t.Helper()
	if err := db.PutLayer(t.Context(), analyzer.SetVersion, npmLayer("c", "9.9.9")); err != nil {
		t.Fatal(err)
	}
	return newTestServer(t, db, func(o *Options) {
		o.Reports = &jobs.Reports{DB: db, Advisories: func(context.Context) (match.Advisories, report.Advisories, error) {
			return noAdvisories{}, report.Advisories{}, nil
		}}
		o.Judge = func(_ context.Context, name string, r *report.Report) error {
			r.Verdict.Rules = []string{"judged as " + name}
			return nil
		}
	})
}

func imageOf(layers ...string) *Submission {
	m := &image.Image{Reference: "web:1", ConfigDigest: image.Digest(diffID("f")), Platform: image.Platform{OS: "linux", Architecture: "amd64"}, Created: time.Unix(1, 0).UTC(),
		Labels: map[string]string{"a": "b"}, History: []image.Step{{CreatedBy: "RUN x"}}}
	for i, l := range layers {
		m.Layers = append(m.Layers, image.Layer{Index: i, DiffID: diffID(l), Size: -1})
	}
	return NewSubmission(m, "registry.example", "team/web", "1", analyzer.SetVersion)
}

// put sends what is in a layer.
func (s *testServer) put(t *testing.T, token string, id image.DiffID, b []byte) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "PUT", "/api/v1/submissions/layers/"+string(id)+"?analyzer_set="+analyzer.SetVersion, bytes.NewReader(b))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/zstd")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w.Code
}

func encoded(t *testing.T, l *inventory.Layer) []byte {
	t.Helper()
	b, err := store.EncodeLayer(l)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSubmissions: a user's layers count for the user's images, the server's own come
// before them, and nobody else sees them.
func TestSubmissions(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		s := submitTo(t, db)
		ann := s.newUser(t, "ann", auth.Grant{Role: auth.Developer, Repository: "registry.example/team/**"})
		bob := s.newUser(t, "bob", auth.Grant{Role: auth.Developer, Repository: "**"})
		submit := func(token string, in *Submission) (*SubmissionAnswer, int) {
			t.Helper()
			var out SubmissionAnswer
			code := s.callAs(t, token, "POST", "/api/v1/submissions", in, &out)
			return &out, code
		}
		missing := func(token string, want ...image.DiffID) {
			t.Helper()
			out, code := submit(token, imageOf("a", "b", "a"))
			if diff := cmp.Diff(want, out.Missing); diff != "" || code != 200 || out.Report != nil {
				t.Fatalf("status %d, report %s, missing (-want +got)\n%s", code, out.Report, diff)
			}
		}
		missing(ann, diffID("a"), diffID("b"))
		if code := s.put(t, ann, diffID("a"), encoded(t, npmLayer("a", "1.0.0"))); code != http.StatusNoContent {
			t.Fatal(code)
		}
		missing(ann, diffID("b"))
		missing(bob, diffID("a"), diffID("b"))
		for _, c := range []string{"b", "c"} {
			if code := s.put(t, ann, diffID(c), encoded(t, npmLayer(c, "1.0.0"))); code != http.StatusNoContent {
				t.Fatal(code)
			}
		}
		out, code := submit(ann, imageOf("a", "b", "c"))
		if code != 200 || len(out.Missing) > 0 {
			t.Fatal(code, out.Missing)
		}
		r, err := report.ReadJSON(bytes.NewReader(out.Report))
		if err != nil {
			t.Fatal(err)
		}
		got := r.Verdict.Rules
		for _, p := range r.Packages {
			got = append(got, p.Name+" "+p.Version)
		}
		// The server has read layer c itself: what ann says of it is not asked.
		if diff := cmp.Diff([]string{"judged as registry.example/team/web:1", "pkg-a 1.0.0", "pkg-b 1.0.0", "pkg-c 9.9.9"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSubmissionsRefused(t *testing.T) {
	s := submitTo(t, openTestDB(t, t.TempDir()+"/strata.db"))
	viewer := s.newUser(t, "viewer", auth.Grant{Role: auth.Viewer, Repository: "**"})
	other := s.newUser(t, "other", auth.Grant{Role: auth.Developer, Repository: "registry.example/other/**"})
	change := func(do func(*Submission)) *Submission {
		in := imageOf("a")
		do(in)
		return in
	}
	for name, c := range map[string]struct {
		token string
		in    *Submission
		want  int
	}{
		"no one":         {"", imageOf("a"), 401},
		"viewer":         {viewer, imageOf("a"), 403},
		"other scope":    {other, imageOf("a"), 403},
		"no layers":      {s.token, imageOf(), 422},
		"bad diff id":    {s.token, change(func(s *Submission) { s.Image.Layers[0].DiffID = "sha256:x" }), 422},
		"bad config":     {s.token, change(func(s *Submission) { s.Image.ConfigDigest = "" }), 422},
		"bad repository": {s.token, change(func(s *Submission) { s.Repository = "team/../web" }), 422},
		"bad tag":        {s.token, change(func(s *Submission) { s.Tag = "a/b" }), 422},
		"bad platform":   {s.token, change(func(s *Submission) { s.Image.Platform = "linux" }), 422},
		"other version":  {s.token, change(func(s *Submission) { s.AnalyzerSet = "0" }), 409},
		"too large":      {s.token, change(func(s *Submission) { s.Image.Labels = map[string]string{"a": strings.Repeat("x", maxSubmission)} }), 413},
	} {
		if code := s.callAs(t, c.token, "POST", "/api/v1/submissions", c.in, nil); code != c.want {
			t.Errorf("%s: status %d, want %d", name, code, c.want)
		}
	}
	good := encoded(t, npmLayer("a", "1"))
	for name, c := range map[string]struct {
		token string
		body  []byte
		want  int
	}{
		"no one": {"", good, 401}, "viewer": {viewer, good, 403}, "damaged": {s.token, good[:9], 422},
		"another layer's": {s.token, encoded(t, npmLayer("b", "1")), 422}, "too large": {s.token, make([]byte, store.MaxSubmittedLayer+1), 413},
	} {
		if code := s.put(t, c.token, diffID("a"), c.body); code != c.want {
			t.Errorf("layer, %s: status %d, want %d", name, code, c.want)
		}
	}
}
