package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"strata/internal/auth"
	"strata/internal/imagetest"
	"strata/internal/jobs"
	"strata/internal/store"
)

// A browser looks at the pages of a test server, and keeps what they set as cookies.
type browser struct {
	*testServer
	token   string
	cookies map[string]string
}

func newBrowser(s *testServer, token string) *browser {
	return &browser{testServer: s, token: token, cookies: map[string]string{}}
}

// send asks for a page, or sends a form where there are fields, pairs of name and value.
func (b *browser) send(t testing.TB, method, path string, fields ...string) (status int, location, text string) {
	t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if b.token != "" {
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if b.cookies[c.Name] = c.Value; c.MaxAge < 0 || c.Value == "" {
			delete(b.cookies, c.Name)
		}
	}
	return w.Code, w.Header().Get("Location"), w.Body.String()
}

// sees looks at a page that must have texts, and not those that begin with "!".
func (b *browser) sees(t testing.TB, path string, texts ...string) {
	t.Helper()
	status, _, page := b.send(t, "GET", path)
	if status != http.StatusOK {
		t.Errorf("%s: status %d", path, status)
	}
	has(t, path, page, texts)
}

func has(t testing.TB, where, page string, texts []string) {
	t.Helper()
	if _, main, ok := strings.Cut(page, "<main"); ok { // the menu has words, too
		page = main
	}
	for _, text := range texts {
		unwanted, not := strings.CutPrefix(text, "!")
		if strings.Contains(page, unwanted) == not {
			t.Errorf("%s: %q: there: %v, in %s", where, unwanted, not, page)
		}
	}
}

// does sends a form that works, and sees the note on the page that comes after it.
func (b *browser) does(t testing.TB, path, to, note string, fields ...string) {
	t.Helper()
	status, location, page := b.send(t, "POST", path, fields...)
	if status != http.StatusSeeOther || location != to {
		t.Errorf("%s: status %d, to %q, want %q: %s", path, status, location, to, page)
		return
	}
	b.sees(t, to, note)
}

// fails sends a form that is wrong, and sees it again with what was filled in.
func (b *browser) fails(t testing.TB, path string, want []string, fields ...string) {
	t.Helper()
	status, _, page := b.send(t, "POST", path, fields...)
	if status != http.StatusUnprocessableEntity {
		t.Errorf("%s: status %d", path, status)
	}
	has(t, path, page, append(want, `role="alert"`))
}

func pagesServer(t *testing.T, set ...func(*Options)) *testServer {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	return newTestServer(t, openTestDB(t, filepath.Join(t.TempDir(), "strata.db")), set...)
}

func TestPagesOfRegistries(t *testing.T) {
	var asked []jobs.Job
	s := pagesServer(t, func(o *Options) {
		o.Enqueue = func(_ context.Context, j ...jobs.Job) error { asked = append(asked, j...); return nil }
	})
	registry := httptest.NewServer(&imagetest.Registry{})
	defer registry.Close()
	b := newBrowser(s, s.token)
	b.sees(t, "/registries", "No registry is connected")
	b.fails(t, "/registries", []string{`value="ftp://x"`, "want https://HOST"}, "url", "ftp://x", "name", "r", "do", "add")
	_, _, page := b.send(t, "POST", "/registries", "url", registry.URL, "name", "r", "do", "test")
	has(t, "a test of a new one", page, []string{"It can be read.", `value="` + registry.URL + `"`})
	b.does(t, "/registries", "/registries/r", "Registry r is added", "url", registry.URL, "name", "r", "username", "robot", "password", "s3cret-word", "do", "add")
	b.sees(t, "/registries", `href="/registries/r"`, registry.URL, "!s3cret-word")
	b.sees(t, "/registries/r", "There are some; they are never shown", "!s3cret-word", "!robot", "Read now")

	settings := []string{
		"url", registry.URL, "include", "team/**\r\n\r\nbase/*", "exclude_tags", "*-dev", "platforms", "linux/amd64", "rate", "2.5", "parallel", "3", "crawl_every", "30m",
		"owners", "team/** Team A\nbase/* base@example.org",
	}
	b.does(t, "/registries/r", "/registries/r", "The settings are kept", settings...)
	var now Registry
	s.call(t, "GET", "/api/v1/registries/r", nil, &now)
	if set := now.Settings; fmt.Sprint(set.Include, set.ExcludeTags, set.Platforms, set.Rate, set.Parallel, []string{set.CrawlEvery}, set.Owners) !=
		"[team/** base/*] [*-dev] [linux/amd64] 2.5 3 [30m] [{team/** Team A} {base/* base@example.org}]" || !now.HasCredentials {
		t.Errorf("%+v", now)
	}
	b.sees(t, "/registries/r", ">team/**\nbase/*</textarea>", `value="2.5"`, "team/** Team A\nbase/* base@example.org")
	for want, fields := range map[string][]string{
		"is no number": {"rate", "much"}, "is no whole number": {"parallel", "1.5"}, "Owners: &#34;x&#34;": {"owners", "x"}, "crawl_every": {"crawl_every", "often"},
	} {
		b.fails(t, "/registries/r", append([]string{want}, fields[1]), append(fields, "url", registry.URL)...)
	}
	b.fails(t, "/registries/r", []string{"give them anew", "https://elsewhere.example"}, "url", "https://elsewhere.example")
	b.does(t, "/registries/r", "/registries/r", "is paused", "url", registry.URL, "paused", "true", "forget", "true")
	b.sees(t, "/registries/r", "There are none", "!Read now")
	b.does(t, "/registries/r/read", "/registries/r", "The registry is paused")
	b.does(t, "/registries/r", "/registries/r", "read anew", "url", registry.URL)
	b.does(t, "/registries/r/read", "/registries/r", "is being read")
	if n := len(asked); n == 0 || asked[n-1].Kind != jobs.Crawl {
		t.Errorf("%v", asked)
	}

	_, _, page = b.send(t, "POST", "/registries/r/test")
	has(t, "a test", page, []string{"It can be read."})
	_, _, page = b.send(t, "POST", "/registries/r/hook")
	secret := regexp.MustCompile(`Authorization: Bearer ([A-Z0-9]{20,})`).FindStringSubmatch(page)
	has(t, "a secret", page, []string{"shown this once", "http://example.com/hooks/r", "/harbor"})
	if secret == nil {
		t.Fatalf("no secret in %s", page)
	}
	b.sees(t, "/registries/r", "!"+secret[1], "There is a secret", "http://example.com/hooks/r", "Revoke")
	b.does(t, "/registries/r/hook/revoke", "/registries/r", "No more notifications")
	b.sees(t, "/registries/r", "There is no secret", "!Revoke")

	registry.Close()
	_, _, page = b.send(t, "POST", "/registries/r/test")
	has(t, "a test of one that is gone", page, []string{"read:</p><pre>", "connection refused"})
	b.does(t, "/registries/r/delete", "/registries", "Registry r is deleted")
	if status, _, _ := b.send(t, "GET", "/registries/r"); status != http.StatusNotFound {
		t.Errorf("one that is deleted: status %d", status)
	}
}

func TestPagesOfManifests(t *testing.T) {
	w := newTwoTeams(t, openTestDB(t, filepath.Join(t.TempDir(), "strata.db")))
	team := newBrowser(w.testServer, w.newUser(t, "dev", auth.Grant{Role: auth.Developer, Repository: "r.example/team-a/*"}))
	team.sees(t, "/manifests", "r.example/team-a/shared", "!team-b", "Scan again")
	team.sees(t, fmt.Sprintf("/manifests/%d", w.ours), "r.example/team-a/shared", "Scan again", fmt.Sprintf(`href="/images/%d"`, w.shared))
	team.sees(t, "/manifests?state=parked", "Nothing was given up")
	if status, _, _ := team.send(t, "GET", fmt.Sprintf("/manifests/%d", w.theirs)); status != http.StatusNotFound {
		t.Errorf("another team's: status %d", status)
	}
	// r.example is known from what was pushed; what only clients tell of isn't read anew.
	team.does(t, fmt.Sprintf("/manifests/%d/rescan", w.ours), "/manifests?state=scanned", "A client has told of this image", "back", "/manifests?state=scanned")
	if _, to, _ := team.send(t, "POST", fmt.Sprintf("/manifests/%d/rescan", w.ours), "back", "//elsewhere.example"); to != "/manifests" {
		t.Errorf("back to %q", to)
	}
	viewer := newBrowser(w.testServer, w.newUser(t, "viewer", auth.Grant{Role: auth.Viewer, Repository: "r.example/team-a/*"}))
	viewer.sees(t, "/manifests", "r.example/team-a/shared", "!Scan again")
	if status, _, _ := viewer.send(t, "POST", fmt.Sprintf("/manifests/%d/rescan", w.ours)); status != http.StatusForbidden {
		t.Errorf("a viewer's rescan: status %d", status)
	}
}

func TestPagesOfJobs(t *testing.T) {
	s := pagesServer(t)
	q, err := jobs.New(t.Context(), jobs.Options{DB: s.o.DB, Works: []jobs.Work{
		{Kind: jobs.Crawl, MaxAttempts: 1, Do: func(context.Context, string) error { return errors.New("the registry is down") }},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Stop(context.Background()) })
	s.queue, s.o.Enqueue = q, q.Enqueue
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := q.Enqueue(t.Context(), jobs.Job{Kind: jobs.Crawl, Key: "1"}); err != nil {
		t.Fatal(err)
	}
	b := newBrowser(s, s.token)
	var parked Page[jobs.Listed]
	for end := time.Now().Add(20 * time.Second); len(parked.Items) == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		s.call(t, "GET", "/api/v1/jobs?state=parked", nil, &parked)
	}
	if len(parked.Items) != 1 {
		t.Fatal("no job was given up")
	}
	b.sees(t, "/jobs?state=parked", "the registry is down", "Retry")
	b.sees(t, "/jobs?state=running&kind=scan", "No job is like that")
	b.sees(t, "/cluster", `href="/jobs?kind=crawl&amp;state=parked"`)
	b.does(t, fmt.Sprintf("/jobs/%d/retry", parked.Items[0].ID), "/jobs?kind=crawl", "is done anew", "back", "/jobs?kind=crawl")
	if status, _, _ := b.send(t, "POST", "/jobs/9999/cancel"); status != http.StatusNotFound {
		t.Errorf("cancel of none: status %d", status)
	}
}

func TestPagesOfReceivers(t *testing.T) {
	var got int
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if got++; got > 1 {
			http.Error(w, "no more", http.StatusTeapot)
		}
	}))
	defer hook.Close()
	s := pagesServer(t, func(o *Options) { o.Client = hook.Client() })
	b := newBrowser(s, s.token)
	b.sees(t, "/receivers", "Nobody is told of anything", "Make a receiver")
	b.sees(t, "/receivers?kind=email", `name="host"`, `name="to_owner"`, `!name="url"`)
	b.sees(t, "/receivers?kind=slack", "Address of the incoming webhook", `!name="url"`)
	b.fails(t, "/receivers", []string{"want https://HOST/PATH", `value="nope"`}, "kind", "webhook", "name", "hook", "url", "nope")
	b.fails(t, "/receivers", []string{"Give it a name"}, "kind", "webhook", "url", hook.URL)
	b.fails(t, "/receivers", []string{"Port: &#34;x&#34;", `value="smtp.example"`}, "kind", "email", "name", "mail", "host", "smtp.example", "port", "x")
	b.does(t, "/receivers", "/receivers/hook", "Receiver hook is made", "kind", "webhook", "name", "hook", "url", hook.URL, "secret", "s3cret-word")
	b.fails(t, "/receivers", []string{"There is a receiver of this name"}, "kind", "webhook", "name", "hook", "url", hook.URL)
	b.sees(t, "/receivers/hook", "!s3cret-word", "There is one; left empty, it stays")
	_, _, page := b.send(t, "POST", "/receivers/hook/test")
	has(t, "a test", page, []string{"The test message was taken"})
	_, _, page = b.send(t, "POST", "/receivers/hook/test")
	has(t, "a test that fails", page, []string{"was not taken", "418"})
	b.does(t, "/receivers/hook/pause", "/receivers/hook", "is paused", "pause", "true")
	b.sees(t, "/receivers", `<span class="flag">paused</span>`)
	b.does(t, "/receivers/hook/pause", "/receivers/hook", "is told again")
	b.fails(t, "/receivers/hook", []string{"sometimes"}, "url", hook.URL, "schedule", "sometimes")
	b.does(t, "/receivers/hook", "/receivers/hook", "as you wrote it", "url", hook.URL, "schedule", "every 6h")
	b.does(t, "/receivers", "/receivers/mail", "is made", "kind", "email", "name", "mail", "host", "smtp.example", "port", "25", "tls", "none", "from", "a@example.org", "to", "b@example.org\nc@example.org", "to_owner", "Team A d@example.org")
	var now Receiver
	if s.call(t, "GET", "/api/v1/receivers/hook", nil, &now); !now.HasSecret || now.Settings.Schedule != "every 6h" || now.Paused {
		t.Errorf("%+v", now)
	}
	if s.call(t, "GET", "/api/v1/receivers/mail", nil, &now); len(now.Settings.To) != 2 || now.Settings.ToOwner["Team A"] != "d@example.org" || now.Settings.Port != 25 {
		t.Errorf("%+v", now)
	}
	s.call(t, "PUT", "/api/v1/watches/w", map[string]any{"policies": []string{}, "receivers": []string{"hook"}}, nil)
	b.does(t, "/receivers/hook/delete", "/receivers/hook", `role="alert"`)
	s.call(t, "DELETE", "/api/v1/watches/w", nil, nil)
	b.does(t, "/receivers/hook/delete", "/receivers", "Receiver hook is deleted")
	b.sees(t, "/notifications?state=failed", "No notification is in this state")

	security := newBrowser(s, s.newUser(t, "sec", auth.Grant{Role: auth.Security, Repository: "**"}))
	security.sees(t, "/receivers", "mail", "!Make a receiver")
	security.sees(t, "/receivers/mail", "!Send a test", "!Delete")
}

func TestPagesOfUsers(t *testing.T) {
	s := pagesServer(t)
	b := newBrowser(s, s.token)
	b.fails(t, "/users", []string{"at least 12 characters", `value="ann"`}, "name", "ann", "password", "short", "role", "viewer", "repository", "**")
	// A role without repositories would be one over all.
	b.fails(t, "/users", []string{"over which repositories"}, "name", "ann", "password", "good enough for ann", "role", "administrator", "repository", "")
	b.does(t, "/users", "/users", "User ann is added", "name", "ann", "password", "good enough for ann", "role", "viewer", "repository", "r/team-a/**", "role", "", "repository", "")
	b.sees(t, "/users", "r/team-a/**", "!good enough")
	b.does(t, "/users/ann", "/users/ann", "as you wrote it", "role", "developer", "repository", "r/team-a/**", "role", "viewer", "repository", "**", "email", "ann@example.org")
	var u User
	if s.call(t, "GET", "/api/v1/users/ann", nil, &u); len(u.Grants) != 2 || u.Grants[0].Role != auth.Developer || u.Email != "ann@example.org" {
		t.Errorf("%+v", u)
	}
	b.fails(t, "/users/admin", []string{"needs an administrator"}, "role", "viewer", "repository", "**")
	b.fails(t, "/users/ann/password", []string{"at least 12 characters"}, "password", "short")
	b.does(t, "/users/ann/password", "/users/ann", "The password is changed", "password", "another one for ann")

	ann := newBrowser(s, "")
	if status, _, _ := ann.send(t, "POST", "/login", "name", "ann", "password", "another one for ann"); status != http.StatusSeeOther {
		t.Fatalf("login: status %d", status)
	}
	ann.sees(t, "/account", "<b>developer</b>", "!administrator", "Make an API token")
	ann.fails(t, "/account/tokens", []string{"more than is granted", `value="ci"`}, "name", "ci", "role", "security", "repository", "**", "days", "7")
	ann.fails(t, "/account/tokens", []string{"for which repositories"}, "name", "ci", "role", "viewer", "repository", "", "days", "7")
	_, _, page := ann.send(t, "POST", "/account/tokens", "name", "ci", "role", "developer", "repository", "r/team-a/web", "days", "0")
	secret := regexp.MustCompile(`strata_[A-Za-z0-9_-]+`).FindString(page)
	has(t, "a token", page, []string{"shown this once", "for ever"})
	ann.sees(t, "/account", "!"+secret, "r/team-a/web")
	var tokens Page[Token]
	if status := s.callAs(t, secret, "GET", "/api/v1/tokens", nil, &tokens); status != http.StatusOK || len(tokens.Items) != 1 || !tokens.Items[0].ExpiresAt.IsZero() {
		t.Fatalf("status %d: %+v", status, tokens)
	}
	ann.does(t, fmt.Sprintf("/account/tokens/%d/revoke", tokens.Items[0].ID), "/account", "The token is revoked")
	if status := s.callAs(t, secret, "GET", "/api/v1/me", nil, nil); status != http.StatusUnauthorized {
		t.Errorf("a token that is revoked: status %d", status)
	}
	ann.fails(t, "/account/password", []string{"differ"}, "password", "another one for ann", "new", "the third for ann", "again", "something else")
	ann.fails(t, "/account/password", []string{"not valid"}, "password", "wrong", "new", "the third for ann", "again", "the third for ann")
	ann.does(t, "/account/password", "/login", "Your password is changed", "password", "another one for ann", "new", "the third for ann", "again", "the third for ann")

	b.does(t, "/users/ann/delete", "/users", "User ann is deleted")
	b.sees(t, "/users/admin", "!Delete")
	b.sees(t, "/audit", "delete-user", "change-password", "admin (token test)")
}

// What the menu offers someone is there for them; what it does not offer is refused.
func TestMenuOffersWhatIsAllowed(t *testing.T) {
	s := pagesServer(t)
	q, err := jobs.New(t.Context(), jobs.Options{DB: s.o.DB, Works: []jobs.Work{{Kind: jobs.Crawl, Do: func(context.Context, string) error { return nil }}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Stop(context.Background()) })
	s.queue = q
	if _, err := s.o.DB.AddRegistry(t.Context(), &store.Registry{Name: "r", URL: "https://r.example"}, nil); err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`<li><a href="(/[a-z]*)"`)
	mine := []string{"/registries", "/manifests", "/jobs", "/notifications", "/receivers", "/feeds", "/cluster", "/users", "/audit", "/account"}
	for name, g := range map[string]auth.Grant{
		"some": {Role: auth.Viewer, Repository: "r/team-a/**"}, "viewer": {Role: auth.Viewer, Repository: "**"}, "developer": {Role: auth.Developer, Repository: "**"},
		"security": {Role: auth.Security, Repository: "**"}, "administrator": {Role: auth.Administrator, Repository: "**"},
	} {
		b := newBrowser(s, s.newUser(t, name, g))
		_, _, page := b.send(t, "GET", "/account")
		offered := map[string]bool{}
		for _, m := range link.FindAllStringSubmatch(page, -1) {
			offered[m[1]] = true
		}
		for _, path := range mine {
			want := http.StatusForbidden
			if offered[path] {
				want = http.StatusOK
			}
			if status, _, _ := b.send(t, "GET", path); status != want {
				t.Errorf("%s: %s is offered: %v; status %d", name, path, offered[path], status)
			}
		}
	}
}
