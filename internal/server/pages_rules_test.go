package server

import (
	"context"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"strata/internal/auth"
	"strata/internal/jobs"
	"strata/internal/policy"
	"strata/internal/store"
)

// rulesServer is a server for the pages of rules, with a trial that knows the mistake in
// "kevv", and the time of the tests.
func rulesServer(t *testing.T) *testServer {
	t.Helper()
	return newTestServer(t, openTestDB(t, t.TempDir()+"/strata.db"), func(o *Options) {
		o.Now = func() time.Time { return time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC) }
		o.Try = func(_ context.Context, trial *jobs.Trial) (*jobs.Tried, error) {
			out := &jobs.Tried{Images: 9, Judged: 4, Cut: "time", Fail: 2, Warn: 1, Pass: 1, Items: []jobs.TriedImage{{Image: 7, Name: "r/app:1", Decision: policy.Fail,
				Violations: []jobs.TriedViolation{{Rule: "r", Decision: policy.Fail, Message: "because", Findings: []jobs.TriedFinding{{Vulnerability: "CVE-2026-1", Package: "npm/x"}}}}}}}
			if strings.Contains(trial.Text, "kevv") {
				out = &jobs.Tried{Mistakes: []policy.Mistake{{Line: 3, Column: 11, Message: "no field kevv"}}}
			}
			return out, nil
		}
	})
}

// form sends a form, or asks for a page where it is nil, as the browser of the token's owner.
// It gives the status, where it leads, and the text of the page.
func (s *testServer) form(t *testing.T, token, path string, form url.Values) (status int, to, page string) {
	t.Helper()
	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
	}
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	// Pages ask the API by the context, as they do with the cookie of a session.
	s.Handler().ServeHTTP(w, r)
	return w.Code, w.Header().Get("Location"), html.UnescapeString(w.Body.String())
}

// pageTests sends forms, one after the other, and looks at the answers.
func (s *testServer) pageTests(t *testing.T, tests []pageTest) {
	t.Helper()
	for _, test := range tests {
		status, to, page := s.form(t, s.token, test.path, test.form)
		if status != test.status || to != test.to {
			t.Errorf("%s %v: status %d to %q, want %d to %q", test.path, test.form, status, to, test.status, test.to)
		}
		for _, want := range test.want {
			if !strings.Contains(page, want) {
				t.Errorf("%s %v: the page has no %q:\n%s", test.path, test.form, want, page)
			}
		}
	}
}

// A pageTest is a form, or a page where that is nil, and what the answer is to be.
type pageTest struct {
	path   string
	form   url.Values
	status int
	to     string
	want   []string
}

const rulesText = "rules:\r\n  - name: a\r\n    when: finding.kev\r\n    action: fail\r\n"

func TestPolicyPages(t *testing.T) {
	s := rulesServer(t)
	wrong := strings.Replace(rulesText, "kev", "kevv", 1)
	s.pageTests(t, []pageTest{
		{"/policies", nil, 200, "", []string{"no policy of your own", "kev-now", `href="/policies/new"`}},
		{"/policies/strict", nil, 200, "", []string{"can't be changed", "Copy as a new policy"}},
		{"/policies/missing", nil, 404, "", []string{"is not there"}},
		{"/policies/new?from=strict", nil, 200, "", []string{`value="my-strict"`, "\ndescription: >"}},
		{"/policies/new", url.Values{"do": {"check"}, "text": {wrong}}, 200, "", []string{"Line 3, column 11", "no field kevv", "<code>    when: finding.kevv</code>", `role="alert"`}},
		{"/policies/new", url.Values{"do": {"check"}, "text": {rulesText}}, 200, "", []string{"No mistakes."}},
		{"/policies/new", url.Values{"do": {"try"}, "text": {rulesText}}, 200, "", []string{"Tried on 4 of 9 images", "would fail <b>2 images</b>, warn of <b>1</b>", "the time for it was over", `/images/7?tab=verdict`, "because", "CVE-2026-1"}},
		{"/policies/new", url.Values{"do": {"save"}, "name": {"shop"}, "text": {wrong}}, 422, "", []string{"no field kevv", `value="shop"`}},
		{"/policies/new", url.Values{"do": {"save"}, "name": {""}, "text": {rulesText}}, 422, "", []string{"Give it a name."}},
		{"/policies/new", url.Values{"do": {"save"}, "name": {"new"}, "text": {rulesText}}, 422, "", []string{"take another name"}},
		{"/policies/new", url.Values{"do": {"save"}, "name": {"strict"}, "text": {rulesText}, "was": {"none"}}, 422, "", []string{"comes with the program"}},
		{"/policies/new", url.Values{"do": {"save"}, "name": {"shop"}, "text": {rulesText}, "was": {"none"}}, 303, "/policies/shop", nil},
		{"/policies/new", url.Values{"do": {"save"}, "name": {"shop"}, "text": {rulesText}, "was": {"none"}}, 422, "", []string{"is there already"}},
		{"/policies/shop", nil, 200, "", []string{"version 1", "no watch asks for it", `value="save"`}},
		{"/policies/shop", url.Values{"do": {"save"}, "text": {rulesText + "# x"}, "was": {"sha256:0"}}, 422, "", []string{"changed since you began", `value="over"`, "# x"}},
		{"/policies/shop", url.Values{"do": {"over"}, "text": {rulesText + "# x"}, "was": {"sha256:0"}}, 303, "/policies/shop", nil},
		{"/watches/new", url.Values{"name": {"w"}, "policy": {"shop"}}, 303, "/watches", nil},
		{"/policies/shop", url.Values{"do": {"delete"}}, 409, "", []string{"watch w asks for it"}},
		{"/watches/w", url.Values{"do": {"delete"}}, 303, "/watches", nil},
		{"/policies/shop", url.Values{"do": {"delete"}}, 303, "/policies", nil},
	})
	if err := s.declarePolicies(t.Context(), &DeclaredPolicies{File: "/etc/strata.yaml", Listed: true, Policies: []DeclaredPolicy{{Name: "declared", Text: rulesText}}}); err != nil {
		t.Fatal(err)
	}
	s.pageTests(t, []pageTest{
		{"/policies", nil, 200, "", []string{"from settings"}},
		{"/policies/declared", nil, 200, "", []string{"It is declared in <code>/etc/strata.yaml</code>"}},
		{"/policies/declared", url.Values{"do": {"save"}, "text": {rulesText}}, 403, "", []string{"not to be changed here"}},
	})
	for role, has := range map[auth.Role]string{auth.Viewer: "", auth.Developer: "Check Try it"} {
		token := s.newUser(t, string(role), auth.Grant{Role: role, Repository: "**"})
		if code := s.call(t, "PUT", "/api/v1/policies/own", map[string]string{"text": rulesText}, nil); code != http.StatusOK {
			t.Fatal(code)
		}
		_, _, page := s.form(t, token, "/policies/own", nil)
		for _, button := range []string{"Save", "Check", "Try it", "Delete own"} {
			if strings.Contains(page, ">"+button+"</button>") != strings.Contains(has, button) {
				t.Errorf("%s: the button %s is offered, or not", role, button)
			}
		}
		if status, _, _ := s.form(t, token, "/policies/own", url.Values{"do": {"over"}, "text": {rulesText + "# theirs"}}); status == http.StatusSeeOther {
			t.Errorf("%s has saved a policy", role)
		}
	}
	team := s.newUser(t, "team", auth.Grant{Role: auth.Viewer, Repository: "r/team/**"})
	if _, _, page := s.form(t, team, "/policies/own", nil); strings.Contains(page, "finding.kev") {
		t.Error("who may see some repositories sees the text")
	}
}

func TestWatchPages(t *testing.T) {
	s := rulesServer(t)
	full := url.Values{"name": {"w"}, "policy": {"strict", "kev-now"}, "repositories": {"r/a/**\r\nr/b"}, "tags": {"v*"}, "labels": {"team=a\r\n"}, "base": {"debian:*"}, "mode": {"warn"}, "paused": {"true"}}
	s.pageTests(t, []pageTest{
		{"/watches", nil, 200, "", []string{"Make the first watch"}},
		{"/watches/new?policy=strict", nil, 200, "", []string{`value="strict" checked`, "no receiver yet", `href="/receivers"`}},
		{"/watches/new", url.Values{"name": {"w"}}, 422, "", []string{"Choose at least one policy", `value="w"`}},
		{"/watches/new", url.Values{"policy": {"strict"}}, 422, "", []string{"Give it a name."}},
		{"/watches/new", url.Values{"name": {"w"}, "policy": {"missing"}, "tags": {"v*"}}, 422, "", []string{"there is none called missing", "v*"}},
		{"/watches/new", url.Values{"name": {"w"}, "policy": {"strict"}, "receiver": {"missing"}}, 422, "", []string{"there is none called missing"}},
		{"/watches/new", url.Values{"name": {"w"}, "policy": {"strict"}, "labels": {"team"}}, 422, "", []string{"team has no value"}},
		{"/watches/new", full, 303, "/watches", nil},
		{"/watches/new", full, 422, "", []string{"is there already"}},
		{"/watches", nil, 200, "", []string{"images in r/a/** or r/b, with a tag v*, labelled team=a, built on debian:*", "paused", "only warns", `/violations?watch=w">0`}},
		{"/watches/w", nil, 200, "", []string{"team=a", `value="kev-now" checked`, `value="warn" checked`, "Delete this watch"}},
		{"/watches/w", url.Values{"policy": {"lenient"}}, 303, "/watches", nil},
		{"/watches", nil, 200, "", []string{"all images that have a tag", "lenient", "as written"}},
		{"/watches/x", url.Values{"policy": {"lenient"}}, 404, "", nil},
	})
	viewer := s.newUser(t, "vic", auth.Grant{Role: auth.Viewer, Repository: "**"})
	if _, _, page := s.form(t, viewer, "/watches", nil); strings.Contains(page, "/watches/new") || strings.Contains(page, `href="/watches/w"`) {
		t.Error("a viewer is offered to change watches")
	}
	for _, form := range []url.Values{nil, {"do": {"delete"}}, {"policy": {"strict"}}} {
		if status, _, _ := s.form(t, viewer, "/watches/w", form); status != http.StatusForbidden {
			t.Errorf("a viewer, %v: status %d", form, status)
		}
	}
	s.pageTests(t, []pageTest{{"/watches/w", url.Values{"do": {"delete"}}, 303, "/watches", nil}, {"/watches/w", nil, 404, "", nil}})
}

func TestWaiverPages(t *testing.T) {
	s := rulesServer(t)
	one := url.Values{"vulnerability": {"CVE-2026-1"}, "package": {"pkg:npm/left-pad"}, "images": {"r/app:*"}, "reason": {"not: reachable"}, "until": {"2026-12-01"}, "owner": {"ann"}}
	with := func(name, value string) url.Values {
		out := url.Values{}
		for k, v := range one {
			out[k] = slices.Clone(v)
		}
		out.Set(name, value)
		return out
	}
	const vex = `{"@context":"https://openvex.dev/ns/v0.2.0","author":"Supplier","statements":[{"vulnerability":{"name":"CVE-2026-1"},"products":["pkg:npm/x"],"status":"not_affected","justification":"component_not_present"}]}`
	s.pageTests(t, []pageTest{
		{"/waivers?vulnerability=CVE-2026-1&image=r/app:1", nil, 200, "", []string{`value="CVE-2026-1"`, `value="r/app:1"`, "Nothing is waived"}},
		{"/waivers", with("reason", ""), 422, "", []string{"Give a reason", `value="CVE-2026-1"`, `role="alert"`}},
		{"/waivers", with("until", ""), 422, "", []string{"Give the last day", "2026-12-26"}},
		{"/waivers", with("until", "2026-11-25"), 422, "", []string{"is over"}},
		{"/waivers", url.Values{"reason": {"r"}, "until": {"2026-12-01"}}, 422, "", []string{"would waive everything"}},
		{"/waivers", with("package", "pkg:x"), 422, "", []string{"purl"}},
		{"/waivers", with("images", "["), 422, "", []string{"a [ without ]"}},
		{"/waivers", one, 303, "/waivers", nil},
		{"/waivers", with("until", "2027-06-01"), 303, "/waivers", nil},
		{"/waivers/new", url.Values{"do": {"save"}, "name": {"legal"}, "was": {"none"}, "text": {"# ours\r\nwaivers:\r\n  - {license: MIT, reason: r, until: 2026-01-01}\r\n"}}, 303, "/waivers", nil},
		{"/waivers/new", url.Values{"do": {"save"}, "name": {"legal"}, "was": {"none"}, "text": {"waivers: []"}}, 422, "", []string{"is there already"}},
		{"/waivers/legal", url.Values{"do": {"check"}, "text": {"waivers:\n  - {license: MIT}"}}, 200, "", []string{"Line 2, column 5", "has no reason"}},
		{"/waivers/legal", url.Values{"do": {"save"}, "text": {"waivers:\n  - {license: MIT}"}}, 422, "", []string{"has no reason"}},
		{"/waivers", nil, 200, "", []string{"3 waivers, those first that end soon; 1 ended", "1 waiver ends within two weeks", "r/app:*", "not: reachable", "licence MIT"}},
		{"/waivers?q=licence", nil, 200, "", []string{"No waiver has that in it"}},
		{"/waivers/ui", url.Values{"do": {"remove"}, "index": {"0"}, "was": {"sha256:0"}}, 409, "", []string{"nothing is removed"}},
		{"/waivers", url.Values{"do": {"vex"}, "name": {"supplier"}, "text": {"{}"}}, 422, "", []string{"neither OpenVEX", `value="supplier"`}},
		{"/waivers", url.Values{"do": {"vex"}, "name": {"supplier"}}, 422, "", []string{"Choose a file"}},
		{"/waivers", url.Values{"do": {"vex"}, "name": {"supplier"}, "text": {vex}}, 303, "/waivers#vex", nil},
		{"/waivers", url.Values{"do": {"vex"}, "name": {"supplier"}, "text": {vex}}, 422, "", []string{"is there already"}},
		{"/waivers", url.Values{"do": {"vex"}, "name": {"supplier"}, "text": {vex}, "replace": {"true"}}, 303, "/waivers#vex", nil},
		{"/waivers", nil, 200, "", []string{"Supplier", "1 not affected"}},
		{"/waivers/vex/supplier", nil, 200, "", []string{"component_not_present"}},
	})
	var list DocumentList
	s.call(t, "GET", "/api/v1/waivers", nil, &list)
	ui := list.Items[slices.IndexFunc(list.Items, func(d store.Document) bool { return d.Name == "ui" })]
	s.pageTests(t, []pageTest{{"/waivers/ui", url.Values{"do": {"remove"}, "index": {"0"}, "was": {ui.Digest}}, 303, "/waivers", nil}})
	s.call(t, "GET", "/api/v1/waivers", nil, &list)
	for _, d := range list.Items {
		if want := map[string]int{"ui": 1, "legal": 1}[d.Name]; strings.Count(d.Text, "reason: ") != want || d.Name == "legal" && !strings.HasPrefix(d.Text, "# ours\nwaivers:\n") {
			t.Errorf("%s: %s", d.Name, d.Text)
		}
	}
	viewer := s.newUser(t, "vic", auth.Grant{Role: auth.Viewer, Repository: "**"})
	if _, _, page := s.form(t, viewer, "/waivers", nil); strings.Contains(page, "Set something aside") || strings.Contains(page, "Remove") || strings.Contains(page, "Add a VEX") || !strings.Contains(page, "CVE-2026-1") {
		t.Error("a viewer is offered to set aside")
	}
	if status, _, page := s.form(t, viewer, "/waivers", one); status != http.StatusUnprocessableEntity || !strings.Contains(page, "needs the role security") && strings.Contains(page, "Set something aside") {
		t.Errorf("a viewer has waived: status %d", status)
	}
	s.pageTests(t, []pageTest{
		{"/waivers/vex/supplier", url.Values{"x": {""}}, 303, "/waivers#vex", nil},
		{"/waivers/legal", url.Values{"do": {"delete"}}, 303, "/waivers", nil},
		{"/waivers/legal", nil, 404, "", nil},
		{"/waivers/vex/supplier", nil, 404, "", nil},
		{"/violations", nil, 200, "", []string{"No watch objects to anything."}},
		{"/violations?resolved=true&watch=w", nil, 200, "", []string{"Nothing like that was resolved."}},
	})
}
