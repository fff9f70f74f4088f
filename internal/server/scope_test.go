package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/analyzer"
	"strata/internal/auth"
	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/jobs"
	"strata/internal/match"
	"strata/internal/report"
	"strata/internal/store"
)

// A twoTeams is a registry of two teams. team-a has web, upon a base that is team-b's,
// and shared, which team-b has as secret and was scanned as first. What is team-b's alone
// has "team-b" or "66.6" in what names it.
type twoTeams struct {
	*testServer
	web, shared, base, other int64
	// manifests of shared in both repositories, and of other.
	ours, theirs, others int64
	otherLayer, digest   string
}

func (w *twoTeams) put(t *testing.T, name string, n int, layers []*inventory.Layer, base *image.Base) (id int64, digest string) {
	t.Helper()
	db := w.o.DB
	inv := inventory.Merge(layers)
	digest = fmt.Sprintf("sha256:%064x", 1000+n)
	m := &image.Image{Reference: "r.example/" + name, Digest: image.Digest(digest), ConfigDigest: image.Digest(digest), Base: base}
	for i, l := range layers {
		if err := db.PutLayer(t.Context(), analyzer.SetVersion, l); err != nil {
			t.Fatal(err)
		}
		m.Layers = append(m.Layers, image.Layer{Index: i, DiffID: l.DiffID, Size: 10, CreatedBy: "COPY app /app"})
	}
	id, err := db.PutImage(t.Context(), store.Contents{Image: m, Inventory: &inv, AnalyzerSet: "test"})
	if err != nil {
		t.Fatal(err)
	}
	w.tag(t, name, digest, id)
	return id, digest
}

// tag puts an image into a repository, and gives the manifest.
func (w *twoTeams) tag(t *testing.T, name, digest string, id int64) int64 {
	t.Helper()
	registry, _, err := w.o.DB.RegistryOf(t.Context(), "r.example")
	if err != nil {
		t.Fatal(err)
	}
	repository, tag, _ := strings.Cut(name, ":")
	due, err := w.o.DB.Pushed(t.Context(), registry, 2, []store.Named{{Repository: repository, Tag: tag, Digest: digest}})
	if err != nil || len(due) != 1 {
		t.Fatal(due, err)
	}
	claimed, err := w.o.DB.ClaimManifest(t.Context(), due[0], "me", time.Minute)
	if err == nil {
		err = w.o.DB.ScanEnded(t.Context(), claimed, store.ScanOutcome{State: "scanned", Images: []int64{id}})
	}
	if err != nil {
		t.Fatal(err)
	}
	return due[0]
}

func newTwoTeams(t *testing.T, db *store.DB) *twoTeams {
	reports := &jobs.Reports{DB: db, Advisories: func(context.Context) (match.Advisories, report.Advisories, error) {
		return noAdvisories{}, report.Advisories{}, nil
	}}
	court := &jobs.Court{DB: db, Reports: reports}
	later := func() time.Time { return time.Now().Add(time.Minute) }
	w := &twoTeams{testServer: newTestServer(t, db, func(o *Options) { o.Reports, o.Judge, o.Try, o.Now = reports, court.Judge, court.Try, later })}
	layer := func(n int, name, version string) *inventory.Layer {
		return &inventory.Layer{DiffID: image.DiffID(fmt.Sprintf("sha256:%064x", n)), Entries: 1, Files: []inventory.File{{Path: fmt.Sprintf("app%d/package.json", n), Analyzer: "npm",
			Packages: []inventory.Package{{Type: "npm", Ecosystem: "npm", Name: name, Version: version, Licenses: []string{"MIT"}}}}}}
	}
	lowest := layer(1, "a", "1.0.0")
	var digest string
	w.base, digest = w.put(t, "team-b/base:1", 1, []*inventory.Layer{lowest}, nil)
	base := &image.Base{Reference: "r.example/team-b/base:1", Digest: image.Digest(digest), Layers: 1, By: image.BaseByLayers}
	w.web, _ = w.put(t, "team-a/web:1", 2, []*inventory.Layer{lowest, layer(2, "a", "3.0.0")}, base)
	w.shared, w.digest = w.put(t, "team-b/secret:1", 3, []*inventory.Layer{lowest, layer(3, "a", "4.0.0")}, base)
	w.ours = w.tag(t, "team-a/shared:1", w.digest, w.shared)
	for i := range 4 {
		w.other, _ = w.put(t, fmt.Sprintf("team-b/api:%d", i), 100+i, []*inventory.Layer{lowest, layer(100+i, "a", fmt.Sprintf("66.6.%d", i)), layer(200+i, "team-b-sdk", "1.0.0")}, base)
	}
	w.otherLayer = fmt.Sprintf("sha256:%064x", 103)
	all, err := db.Manifests(t.Context(), nil, "", 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		switch m.Repository {
		case "r.example/team-b/secret":
			w.theirs = m.ID
		case "r.example/team-b/api":
			w.others = m.ID
		}
	}
	w.addNews(t)
	w.addDecisions(t)
	return w
}

// addNews has advisories on all versions of a, and takes one back.
func (w *twoTeams) addNews(t *testing.T) {
	dir := t.TempDir()
	for i, fix := range []string{"99.0.0", ""} {
		if _, err := w.o.DB.SyncAdvisories(t.Context(), "me", npmMirror(t, dir, fmt.Sprintf("2026-01-0%dT00:00:00Z", i+1), "98.0.0", fix), store.UpdateOptions{Ecosystems: []string{"npm"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.o.DB.MatchDue(t.Context(), "me"); err != nil {
			t.Fatal(err)
		}
	}
}

// addDecisions has watches of all and of team-b's images object to all of them.
func (w *twoTeams) addDecisions(t *testing.T) {
	for _, d := range []store.Document{
		{Name: "p", Kind: store.PolicyDocument, Text: "name: p\n# team-b alone\nrules:\n  - name: b\n    when: finding.kev\n    action: fail\n"},
		{Name: "w", Kind: store.WaiversDocument, Text: "waivers:\n  - vulnerability: CVE-2026-1\n    package: team-b-sdk\n    reason: r\n    owner: o\n    until: 2030-01-01\n"},
	} {
		if err := w.o.DB.PutDocument(t.Context(), &d); err != nil {
			t.Fatal(err)
		}
	}
	for name, scope := range map[string][]string{"all": nil, "team-b": {"r.example/team-b/*"}} {
		if err := w.o.DB.PutWatch(t.Context(), &store.Watch{Name: name, Policies: []string{"p"}, Scope: store.WatchScope{Repositories: scope}}); err != nil {
			t.Fatal(err)
		}
	}
	due, err := w.o.DB.TakeJudgings(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range due {
		v := store.Violation{Policy: "p", Rule: "b", Decision: "fail", Message: "it is upon r.example/team-b/base:1"}
		if j.Image == w.shared {
			v.Message = "r.example/team-b/secret:1, " + v.Message
		}
		if kept, err := w.o.DB.PutJudgment(t.Context(), j, "fail", time.Time{}, []store.Violation{v}); err != nil || !kept {
			t.Fatal(kept, err)
		}
	}
}

// Of what is not in its scope, a developer of some repositories is told nothing, whatever
// operation it asks.
func TestScopeOfEveryOperation(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		w := newTwoTeams(t, db)
		token := w.newUser(t, "a", auth.Grant{Role: auth.Developer, Repository: "r.example/team-a/*"})
		// asked are the questions by operation; each ends with how many items there are, or
		// "status" where it is none.
		image := func(id int64, rest string) string { return fmt.Sprintf("/images/%d%s", id, rest) }
		manifest := func(id int64) string { return fmt.Sprintf("/manifests/%d", id) }
		asked := map[string]map[string]int{
			"list-findings":       {"/findings": 3, "/findings?limit=1": 1, "/findings?package=a": 3, "/findings?package=team-b-sdk": 0, "/findings?vulnerability=GHSA-test-0": 3},
			"list-changes":        {"/changes": 3, "/changes?limit=2": 2},
			"list-images":         {"/images": 2, "/images?q=team-b": 0, "/images?q=secret": 0, "/images?repository=team-b/secret": 0, "/images?repository=team-a/shared": 1, "/images?sort=newest": 2},
			"get-image":           {image(w.web, ""): 0, image(w.shared, ""): 0, image(w.other, ""): 404, image(w.base, ""): 404},
			"list-manifests":      {"/manifests": 2},
			"get-manifest":        {manifest(w.ours): 0, manifest(w.theirs): 404, manifest(w.others): 404},
			"list-image-findings": {image(w.shared, "/findings"): 2, image(w.other, "/findings"): 404}, "list-image-packages": {image(w.shared, "/packages"): 2, image(w.other, "/packages"): 404},
			"get-report": {image(w.web, "/report"): 0, image(w.shared, "/report?format=table"): 0, image(w.shared, "/report?format=cyclonedx"): 0, image(w.other, "/report"): 404},
			"plan-image": {image(w.web, "/plan"): 0, image(w.shared, "/plan"): 0, image(w.other, "/plan"): 404, image(w.base, "/plan"): 404},
			"get-impact": {"/impact?vulnerability=GHSA-test-0": 0, "/impact?package=a": 0, "/impact?package=a&range=>66": 0, "/impact?package=team-b-sdk": 404, "/impact?license=MIT": 0, "/impact?license=permissive": 0,
				"/impact?base=r.example/team-b/secret:1": 404, "/impact?base=r.example/team-a/shared:1": 0, "/impact?base=" + w.digest: 0, "/impact?layer=" + w.otherLayer: 404},
			"list-impact-images": {"/impact/images?vulnerability=GHSA-test-0": 2, "/impact/images?license=MIT": 2, "/impact/images?package=team-b-sdk": 404},
			"list-impact-layers": {"/impact/layers?vulnerability=GHSA-test-0": 3, "/impact/layers?license=MIT": 3},
			"get-descendants":    {fmt.Sprintf("/bases/%d/descendants", w.base): 404, fmt.Sprintf("/bases/%d/descendants", w.shared): 0},
			"get-layer":          {"/layers/" + w.otherLayer: 404, fmt.Sprintf("/layers/sha256:%064x", 1): 0},
			"fix-first":          {"/fix-first": 3, "/fix-first?bases=true": 0},
			"list-policy":        {"/policies": 1},
			"list-violations":    {"/violations": 2, "/violations?watch=team-b": 0},
			"get-feeds":          {"/feeds": 0}, "list-instances": {"/instances": 403}, "list-tokens": {"/tokens": 1}, "get-me": {"/me": 0},
			"try-policy":      {"/policies/try": 2},
			"rescan-manifest": {manifest(w.others) + "/rescan": 404, manifest(w.theirs) + "/rescan": 404},
		}
		// These tell nothing, or what the user has just told; events are asked for below.
		others := []string{"stream-events", "submit-image", "submit-layer", "logout", "change-password", "create-token", "delete-token"}
		w.operations(t, func(_ string, op *huma.Operation) {
			questions := asked[op.OperationID]
			role := op.Metadata["role"].(auth.Role)
			if len(questions) == 0 && role != auth.Anyone && (isScoped(op) || role == auth.Known) && !slices.Contains(others, op.OperationID) {
				t.Errorf("%s: is for who may see some repositories, and not in this test", op.OperationID)
			}
			for path, want := range questions {
				w.ask(t, token, op.Method, path, want)
			}
		})
		out := httptest.NewRecorder()
		events := &stream{s: w.Server, w: out, scope: []string{"r.example/team-a/*"}, told: map[string]store.RegistryProgress{}}
		if err := events.poll(t.Context()); err != nil || strings.Count(out.Body.String(), "event: scanned") != 2 || strings.Contains(out.Body.String(), "team-b") || strings.Contains(out.Body.String(), "event: registry") {
			t.Errorf("events: %v: %s", err, out.Body)
		}
	})
}

// A plan names the base, and what may stand in its place, as who asks knows them: where they
// were scanned first is another's.
func TestPlanNamesNoOthers(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		w := newTwoTeams(t, db)
		w.o.Reports.Advisories = nil // those of the database
		token := w.newUser(t, "a", auth.Grant{Role: auth.Developer, Repository: "r.example/team-a/*"})
		mended, digest := w.put(t, "team-b/base:2", 50, []*inventory.Layer{{DiffID: image.DiffID(fmt.Sprintf("sha256:%064x", 50)), Entries: 1, Files: []inventory.File{{Path: "app/package.json", Analyzer: "npm",
			Packages: []inventory.Package{{Type: "npm", Ecosystem: "npm", Name: "b", Version: "1.0.0"}}}}}}, nil)
		if _, err := db.MatchDue(t.Context(), "me"); err != nil {
			t.Fatal(err)
		}
		w.tag(t, "team-a/base:2", digest, mended)
		first, err := db.Image(t.Context(), w.base, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.tag(t, "team-a/base:1", first.Digest, w.base)
		var plan struct {
			Image struct{ Base string }
			Steps []struct{ Kind, Proposed string }
		}
		r := fmt.Sprintf("/api/v1/images/%d/plan", w.web)
		if status := w.callAs(t, token, "POST", r, map[string]string{}, &plan); status != http.StatusOK {
			t.Fatal(status)
		}
		if plan.Image.Base != "r.example/team-a/base:1" || len(plan.Steps) == 0 || plan.Steps[0].Kind != "base" || plan.Steps[0].Proposed != "r.example/team-a/base:2" {
			t.Errorf("%+v", plan)
		}
		w.ask(t, token, "POST", fmt.Sprintf("/images/%d/plan", w.web), 0)
	})
}

// ask asks as a limited user; want is a status that is none of success, or how many items
// there are.
func (w *twoTeams) ask(t *testing.T, token, method, path string, want int) {
	t.Helper()
	at, query, _ := strings.Cut(path, "?")
	if query != "" {
		key, value, _ := strings.Cut(query, "&range=")
		if value != "" {
			key += "&range=" + url.QueryEscape(value)
		}
		at += "?" + key
	}
	trial := `{"text": "rules:\n  - name: x\n    when: image.layers.size() > 0\n    message: \"{{image.reference}} upon {{image.base.reference}}\"\n    action: fail\n"}`
	if strings.HasSuffix(at, "/plan") {
		trial = `{"dockerfile": "FROM scratch\nCOPY . /app\n"}`
	}
	r := httptest.NewRequestWithContext(t.Context(), method, "/api/v1"+at, strings.NewReader(trial))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	out := httptest.NewRecorder()
	w.Handler().ServeHTTP(out, r)
	body := out.Body.String()
	if want >= http.StatusBadRequest {
		if out.Code != want {
			t.Errorf("%s: status %d, want %d: %s", path, out.Code, want, body)
		}
		return
	}
	if out.Code != http.StatusOK {
		t.Errorf("%s: status %d: %s", path, out.Code, body)
		return
	}
	for _, secret := range []string{"team-b", "66.6", w.otherLayer} {
		if strings.Contains(body, secret) {
			t.Errorf("%s: tells of %s: %s", path, secret, body)
		}
	}
	var answer any
	if !strings.HasPrefix(out.Header().Get("Content-Type"), "application/json") {
		return
	}
	if err := json.Unmarshal(out.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	if top, ok := answer.(map[string]any); ok {
		if items, ok := top["items"].([]any); ok && len(items) != want {
			t.Errorf("%s: %d items, want %d: %s", path, len(items), want, body)
		}
	}
	w.boundNumbers(t, path, answer)
}

// boundNumbers looks for numbers of more than the limited user's images, which are upon
// three layers.
func (w *twoTeams) boundNumbers(t *testing.T, path string, value any) {
	most := map[string]float64{"images": 2, "layers": 3, "repositories": 2, "packages": 3, "present": 2, "bases": 1, "base": 0, "healed": 9}
	switch v := value.(type) {
	case []any:
		for _, x := range v {
			w.boundNumbers(t, path, x)
		}
	case map[string]any:
		for k, x := range v {
			if n, ok := x.(float64); ok && most[k] > 0 && n > most[k] || ok && k == "base" && n != 0 {
				t.Errorf("%s: %s is %v", path, k, n)
			}
			w.boundNumbers(t, path, x)
		}
	}
}
