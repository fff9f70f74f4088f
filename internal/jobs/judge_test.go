package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/analyzer"
	"strata/internal/match"
	"strata/internal/policy"
	"strata/internal/report"
	"strata/internal/scan"
	"strata/internal/store"
)

// courtTest is a court over images of pictures.
type courtTest struct {
	*Court
	t   *testing.T
	db  *store.DB
	now time.Time
}

func newCourtTest(t *testing.T, location string) *courtTest {
	t.Helper()
	c := &courtTest{t: t, now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	now := func() time.Time { return c.now }
	db, err := store.OpenDB(t.Context(), location, store.DBOptions{Now: now, Key: bytes.Repeat([]byte{7}, store.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	advisories := starterAdvisories(t)
	c.db = db
	c.Court = &Court{DB: db, Reports: &Reports{DB: db, Version: "1", Advisories: func(context.Context) (match.Advisories, report.Advisories, error) {
		return advisories, report.Advisories{}, nil
	}}}
	return c
}

// put keeps the image of a picture under a name, and has it judged by whom it concerns.
func (c *courtTest) put(name, picture string) int64 {
	c.t.Helper()
	img := pictureImage(c.t, picture)
	scanner := scan.Scanner{Runner: &analyzer.Runner{Analyzers: analyzer.Default()}, Cache: c.db}
	res, err := scanner.Image(c.t.Context(), img)
	if err != nil {
		c.t.Fatal(err)
	}
	id, err := c.db.PutImage(c.t.Context(), store.Contents{Image: img, Inventory: &res.Inventory, AnalyzerSet: analyzer.SetVersion})
	if err != nil {
		c.t.Fatal(err)
	}
	registry, rest, _ := strings.Cut(name, "/")
	repository, tag, _ := strings.Cut(rest, ":")
	rid, _, err := c.db.RegistryOf(c.t.Context(), registry)
	if err != nil {
		c.t.Fatal(err)
	}
	due, err := c.db.Pushed(c.t.Context(), rid, 2, []store.Named{{Repository: repository, Tag: tag, Digest: string(img.Digest)}})
	if err != nil || len(due) != 1 {
		c.t.Fatal(due, err)
	}
	if err := c.db.SetManifestImages(c.t.Context(), due[0], []int64{id}); err != nil {
		c.t.Fatal(err)
	}
	if err := c.db.DueWatches(c.t.Context(), []int64{id}); err != nil {
		c.t.Fatal(err)
	}
	return id
}

// judge judges what is due, some time later.
func (c *courtTest) judge() {
	c.t.Helper()
	c.now = c.now.Add(time.Minute)
	if err := c.Do(c.t.Context(), ""); err != nil {
		c.t.Fatal(err)
	}
}

// lines are the violations, open or resolved.
func (c *courtTest) lines(resolved bool) []string {
	c.t.Helper()
	rows, err := c.db.Violations(c.t.Context(), store.ViolationQuery{Resolved: resolved, Limit: 100})
	if err != nil {
		c.t.Fatal(err)
	}
	out := []string{}
	for _, v := range rows {
		out = append(out, fmt.Sprintf("%d %s/%s %s %s %s", v.Image, v.Policy, v.Rule, v.Decision, v.Vulnerability, v.Package))
	}
	slices.Sort(out)
	return out
}

func (c *courtTest) document(kind, name, text string) {
	c.t.Helper()
	d := &store.Document{Kind: kind, Name: name, Text: text, UpdatedBy: "test"}
	if _, err := CheckDocument(d); err != nil {
		c.t.Fatal(err)
	}
	c.now = c.now.Add(time.Second)
	if err := c.db.PutDocument(c.t.Context(), d); err != nil {
		c.t.Fatal(err)
	}
}

const (
	noLodash = `name: no-lodash
rules:
  - name: lodash
    when: package.name == "lodash"
    action: fail
`
	lodashPicture = "-- layer0/app/node_modules/lodash/package.json --\n{\"name\":\"lodash\",\"version\":\"4.17.4\"}\n"
	otherPicture  = "-- layer0/app/node_modules/other/package.json --\n{\"name\":\"other\",\"version\":\"1.0.0\"}\n"
)

func TestJudge(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		c := newCourtTest(t, location)
		c.document(store.PolicyDocument, "no-lodash", noLodash)
		bad := c.put("r.example/team-a/web:1", lodashPicture)
		c.put("r.example/team-a/api:1", otherPicture)
		watch := &store.Watch{Name: "team-a", Scope: store.WatchScope{Repositories: []string{"r.example/team-a/*"}}, Policies: []string{"no-lodash"}}
		if err := c.db.PutWatch(t.Context(), watch); err != nil {
			t.Fatal(err)
		}
		c.judge()
		want := []string{fmt.Sprintf("%d no-lodash/lodash fail  npm/lodash", bad)}
		check := func(step string, open, resolved []string) {
			t.Helper()
			if diff := cmp.Diff(open, c.lines(false)); diff != "" {
				t.Errorf("%s: open (-want +got):\n%s", step, diff)
			}
			if diff := cmp.Diff(resolved, c.lines(true)); diff != "" {
				t.Errorf("%s: resolved (-want +got):\n%s", step, diff)
			}
		}
		check("first", want, []string{})
		for range 3 {
			c.now = c.now.Add(25 * time.Hour)
			c.judge()
		}
		check("judged again and again", want, []string{})

		c.document(store.WaiversDocument, "waivers", "waivers:\n  - package: lodash\n    reason: not used\n    owner: team-a\n    until: "+c.now.AddDate(0, 0, 10).Format(time.DateOnly)+"\n")
		c.judge()
		check("waived", []string{}, want)
		next, err := c.db.NextJudging(t.Context())
		if err != nil || next.After(c.now.Add(24*time.Hour)) {
			t.Errorf("judged next at %v: %v", next, err)
		}
		c.now = c.now.AddDate(0, 0, 12)
		c.judge()
		check("the waiver has ended", want, want)

		watch.Scope.Repositories = []string{"r.example/team-b/*"}
		c.now = c.now.Add(time.Hour)
		if err := c.db.PutWatch(t.Context(), watch); err != nil {
			t.Fatal(err)
		}
		c.judge()
		check("out of scope", []string{}, append(want, want...))
	})
}

// An image whose tag moves away leaves the scope, and one that gets it comes in.
func TestWatchesFollowTags(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		c := newCourtTest(t, location)
		c.document(store.PolicyDocument, "no-lodash", noLodash)
		if err := c.db.PutWatch(t.Context(), &store.Watch{Name: "live", Scope: store.WatchScope{Tags: []string{"live"}}, Policies: []string{"no-lodash"}}); err != nil {
			t.Fatal(err)
		}
		bad := c.put("r.example/a/b:live", lodashPicture)
		c.judge()
		if got := c.lines(false); len(got) != 1 {
			t.Fatalf("%v", got)
		}
		c.now = c.now.Add(time.Minute)
		other := c.put("r.example/a/b:next", otherPicture)
		m, err := c.db.LoadImage(t.Context(), other)
		if err != nil {
			t.Fatal(err)
		}
		registry, _, err := c.db.RegistryOf(t.Context(), "r.example")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.db.Pushed(t.Context(), registry, 2, []store.Named{{Repository: "a/b", Tag: "live", Digest: string(m.Digest)}}); err != nil {
			t.Fatal(err)
		}
		c.judge()
		if open, resolved := c.lines(false), c.lines(true); len(open) != 0 || len(resolved) != 1 || !strings.HasPrefix(resolved[0], fmt.Sprint(bad)) {
			t.Errorf("open %v, resolved %v", open, resolved)
		}
	})
}

// A judgment that was overtaken by news writes nothing.
func TestJudgmentOvertaken(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		c := newCourtTest(t, location)
		if err := c.db.PutWatch(t.Context(), &store.Watch{Name: "all", Policies: []string{}}); err != nil {
			t.Fatal(err)
		}
		id := c.put("r.example/a/b:1", lodashPicture)
		due, err := c.db.TakeJudgings(t.Context(), 10)
		if err != nil || len(due) != 1 {
			t.Fatal(due, err)
		}
		if again, err := c.db.TakeJudgings(t.Context(), 10); err != nil || len(again) != 0 {
			t.Errorf("taken twice: %v, %v", again, err)
		}
		c.now = c.now.Add(time.Second)
		if err := c.db.DueWatches(t.Context(), []int64{id}); err != nil {
			t.Fatal(err)
		}
		kept, err := c.db.PutJudgment(t.Context(), due[0], "fail", time.Time{}, []store.Violation{{Policy: "p", Rule: "r", Message: "old"}})
		if err != nil || kept || len(c.lines(false)) != 0 {
			t.Errorf("kept %v, %v: %v", kept, err, c.lines(false))
		}
	})
}

func TestWatchScope(t *testing.T) {
	for name, tt := range map[string]struct {
		scope store.WatchScope
		want  bool
	}{
		"all":              {store.WatchScope{}, true},
		"repository":       {store.WatchScope{Repositories: []string{"r.example/**"}}, true},
		"other repository": {store.WatchScope{Repositories: []string{"r.example/*"}}, false},
		"tag":              {store.WatchScope{Tags: []string{"1.*"}}, true},
		"other tag":        {store.WatchScope{Tags: []string{"2.*"}}, false},
		"label":            {store.WatchScope{Labels: map[string]string{"team": "*"}}, true},
		"other label":      {store.WatchScope{Labels: map[string]string{"team": "b"}}, false},
		"base":             {store.WatchScope{Base: []string{"debian:*"}}, true},
		"other base":       {store.WatchScope{Base: []string{"alpine:*"}}, false},
	} {
		if got := tt.scope.Names("r.example/team/web:1.2", map[string]string{"team": "a"}, "debian:12"); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestJudgeByName(t *testing.T) {
	c := newCourtTest(t, t.TempDir()+"/strata.db")
	c.document(store.PolicyDocument, "no-lodash", noLodash)
	id := c.put("r.example/a/b:1", lodashPicture)
	for _, w := range []store.Watch{
		{Name: "lenient", Policies: []string{"no-lodash"}, Mode: "warn"},
		{Name: "strict", Policies: []string{"no-lodash"}, Scope: store.WatchScope{Tags: []string{"release-*"}}},
		{Name: "paused", Policies: []string{"no-lodash"}, Paused: true},
	} {
		if err := c.db.PutWatch(t.Context(), &w); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"r.example/a/b:1": "warn", "r.example/a/b:release-1": "fail"} {
		r, err := c.Reports.Report(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Judge(t.Context(), name, r); err != nil {
			t.Fatal(err)
		}
		if got := string(r.Verdict.Decision); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// What one watch ignores the next one sees, and the report tells of it.
func TestJudgeIgnoredByOne(t *testing.T) {
	c := newCourtTest(t, t.TempDir()+"/strata.db")
	c.document(store.PolicyDocument, "no-lodash", noLodash)
	c.document(store.PolicyDocument, "blind", "name: blind\nrules:\n  - name: lodash\n    when: package.name == \"lodash\"\n    action: ignore\n    message: not reached\n")
	id := c.put("r.example/a/b:1", lodashPicture)
	watch := func(name, policy string) {
		if err := c.db.PutWatch(t.Context(), &store.Watch{Name: name, Policies: []string{policy}}); err != nil {
			t.Fatal(err)
		}
	}
	judged := func() (decision string, setAside bool) {
		r, err := c.Reports.Report(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Judge(t.Context(), "r.example/a/b:1", r); err != nil {
			t.Fatal(err)
		}
		return string(r.Verdict.Decision), slices.ContainsFunc(r.Packages, func(p report.Package) bool { return p.Name == "lodash" && p.Suppressed != nil })
	}
	watch("a", "blind")
	if decision, setAside := judged(); decision != "pass" || !setAside {
		t.Errorf("of one that ignores it: %s, set aside: %v", decision, setAside)
	}
	watch("b", "no-lodash")
	if decision, setAside := judged(); decision != "fail" || setAside {
		t.Errorf("with one that does not: %s, set aside: %v", decision, setAside)
	}
}

// Packages of which no licence is known are in the reports of two watches, too.
func TestKeepSetAsideWithoutLicence(t *testing.T) {
	aside := &policy.Suppression{By: policy.ByPolicy}
	in := &policy.Input{Packages: []policy.Package{{}, {License: &policy.License{Suppressed: aside}}, {License: &policy.License{Suppressed: aside}}}}
	other := &policy.Input{Packages: []policy.Package{{}, {License: &policy.License{Suppressed: aside}}, {License: &policy.License{}}}}
	keepSetAside(in, other)
	if in.Packages[0].License != nil || in.Packages[1].License.Suppressed == nil || in.Packages[2].License.Suppressed != nil {
		t.Errorf("%+v", in.Packages)
	}
}

// The report of an image and its violations know it by the same name, that of the server,
// whatever the registry's address is.
func TestReportIsJudgedByName(t *testing.T) {
	c := newCourtTest(t, t.TempDir()+"/strata.db")
	c.document(store.WaiversDocument, "waivers", "waivers:\n  - package: lodash\n    scope: {images: [r.example/a/b]}\n    reason: not used\n")
	id := c.put("r.example/a/b:1", lodashPicture)
	r, err := c.Reports.Report(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	const scanned = "127.0.0.1:5000/a/b:1"
	r.Image.Reference = scanned
	if err := c.Judge(t.Context(), "r.example/a/b:1", r); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(r.Packages, func(p report.Package) bool { return p.Name == "lodash" && p.Suppressed != nil }) {
		t.Errorf("what is waived by name counts: %+v", r.Packages)
	}
	if r.Image.Reference != scanned {
		t.Errorf("the report is of %s", r.Image.Reference)
	}
}

func TestCheckDocument(t *testing.T) {
	for _, d := range []store.Document{
		{Kind: store.PolicyDocument, Name: "x", Text: "name: x\nrules:\n  - name: a\n    when: findng.kev\n"},
		{Kind: store.PolicyDocument, Name: "a/b", Text: noLodash},
		{Kind: store.WaiversDocument, Name: "x", Text: "waivers: [1]"},
		{Kind: store.VEXDocument, Name: "x", Text: "{}"},
	} {
		if _, err := CheckDocument(&d); err == nil {
			t.Errorf("%+v: no error", d)
		} else {
			t.Log(err)
		}
	}
}

func TestTry(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		c := newCourtTest(t, location)
		bad := c.put("r.example/team-a/web:1", lodashPicture)
		other := c.put("r.example/team-a/api:1", otherPicture)
		c.put("r.example/team-b/web:1", strings.Replace(lodashPicture, "4.17.4", "4.17.5", 1))
		const noOther = "name: no-other\nrules:\n  - name: other\n    when: package.name == 'other'\n    action: warn\n    message: 'not {{package.name}} in {{image.reference}}'\n"
		try := func(trial Trial) *Tried {
			t.Helper()
			trial.MaxTime, trial.MaxImages, trial.MaxItems = time.Minute, max(trial.MaxImages, 1), 10
			got, err := c.Try(t.Context(), &trial)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		check := func(step string, want, got *Tried) {
			t.Helper()
			want.Mistakes = []policy.Mistake{}
			want.Incomplete = want.Judged // there are no advisories for npm
			for i := range want.Items {
				want.Items[i].Incomplete = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step, diff)
			}
		}
		objects := func(decision policy.Decision, version string) []TriedViolation {
			return []TriedViolation{{Policy: "no-lodash", Rule: "lodash", Decision: decision, Message: "1 package", Findings: []TriedFinding{{Package: "npm/lodash", Version: version}}}}
		}
		other1 := []TriedViolation{{Policy: "no-other", Rule: "other", Decision: policy.Warn, Message: "not other in r.example/team-a/api:1", Findings: []TriedFinding{{Package: "npm/other", Version: "1.0.0"}}}}
		teamA := &store.WatchScope{Repositories: []string{"r.example/team-a/*"}}

		check("no watch yet", &Tried{
			Images: 2, Judged: 2, Fail: 1, Pass: 1, Changed: 1, Stricter: 1, Rules: []TriedRule{{Policy: "no-lodash", Rule: "lodash", Images: 1}},
			Items: []TriedImage{{Image: bad, Name: "r.example/team-a/web:1", Decision: policy.Fail, Then: policy.Fail, Violations: objects(policy.Fail, "4.17.4")}},
		}, try(Trial{Text: noLodash, Scope: teamA, MaxImages: 9}))

		c.document(store.PolicyDocument, "mine", noLodash)
		if err := c.db.PutWatch(t.Context(), &store.Watch{Name: "w", Scope: *teamA, Policies: []string{"mine"}}); err != nil {
			t.Fatal(err)
		}
		check("another text of a policy that a watch asks for", &Tried{
			Images: 3, Judged: 3, Warn: 1, Pass: 2, Changed: 2, Stricter: 1, Milder: 1, Rules: []TriedRule{{Policy: "no-other", Rule: "other", Images: 1}},
			Items: []TriedImage{
				{Image: other, Name: "r.example/team-a/api:1", Decision: policy.Warn, Now: policy.Pass, Then: policy.Warn, Violations: other1},
				{Image: bad, Name: "r.example/team-a/web:1", Decision: policy.Pass, Now: policy.Fail, Then: policy.Pass, Violations: []TriedViolation{}},
			},
		}, try(Trial{Name: "mine", Text: noOther, MaxImages: 9}))
		c.judge()
		if open := c.lines(false); !slices.Equal(open, []string{fmt.Sprintf("%d no-lodash/lodash fail  npm/lodash", bad)}) {
			t.Errorf("something is kept: %v", open)
		}
		check("besides it, in sight of one repository", &Tried{
			Images: 1, Judged: 1, Warn: 1, Rules: []TriedRule{{Policy: "no-lodash", Rule: "lodash", Images: 1}},
			Items: []TriedImage{{Image: bad, Name: "r.example/team-a/web:1", Decision: policy.Warn, Now: policy.Fail, Then: policy.Fail, Violations: objects(policy.Warn, "4.17.4")}},
		}, try(Trial{Text: noLodash, Mode: policy.WarnOnly, Sight: []string{"r.example/team-a/web"}, MaxImages: 9}))

		if got := try(Trial{Text: noLodash, MaxImages: 2}); got.Images != 3 || got.Judged != 2 || got.Cut != "images" {
			t.Errorf("at most two: %+v", got)
		}
		got, err := c.Try(t.Context(), &Trial{Text: noLodash, MaxImages: 9, MaxItems: 9, MaxTime: time.Nanosecond})
		if err != nil || got.Images != 3 || got.Judged != 0 || got.Cut != "time" {
			t.Errorf("no time: %+v, %v", got, err)
		}
		// What was tried is saved, and does what was said.
		c.document(store.PolicyDocument, "mine", noOther)
		c.judge()
		if open := c.lines(false); !slices.Equal(open, []string{fmt.Sprintf("%d no-other/other warn  npm/other", other)}) {
			t.Errorf("saved: %v", open)
		}
	})
}

func TestTryMistakes(t *testing.T) {
	c := newCourtTest(t, t.TempDir()+"/strata.db")
	for text, want := range map[string][]policy.Mistake{
		noLodash: {},
		"name: x\nrules:\n  - name: a\n    when: findng.kev\n    action: fail\n": {{File: "policy", Line: 4, Column: 11, Message: `rule "a": when: nothing is called "findng"; did you mean "finding"?`}},
		"rules:\n  - name: a\n   when: x\n":                                      {{Line: 1, Message: "did not find expected '-' indicator"}},
		"":                                                                       {{Message: "policy: is empty; want a policy with rules"}},
	} {
		got, err := c.Try(t.Context(), &Trial{Text: text, CheckOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Mistakes); diff != "" || got.Images != 0 {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	if _, err := c.Try(t.Context(), &Trial{Name: "strict", Text: noLodash}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("a name that is taken: %v", err)
	}
}
