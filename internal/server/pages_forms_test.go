package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"strata/internal/image"
	"strata/internal/imagetest"
	"strata/internal/inventory"
	"strata/internal/jobs"
	"strata/internal/store"
)

// What is sent by somebody who is not known is small, and nothing larger is read.
func TestFormsAreBounded(t *testing.T) {
	s := pagesServer(t)
	stranger, admin := newBrowser(s, ""), newBrowser(s, s.token)
	for _, c := range []struct {
		who  *browser
		path string
		size int
		want int
	}{
		{stranger, "/login", 10_000, http.StatusUnprocessableEntity}, {stranger, "/login", 100_000, http.StatusRequestEntityTooLarge},
		{stranger, "/setup", 100_000, http.StatusRequestEntityTooLarge}, {admin, "/policies/new", 13 << 20, http.StatusRequestEntityTooLarge},
	} {
		status, _, page := c.who.send(t, "POST", c.path, "name", "x", "text", strings.Repeat("x", c.size))
		if status != c.want {
			t.Errorf("%s with %d bytes: status %d, want %d: %.200s", c.path, c.size, status, c.want, page)
		}
		if status == http.StatusRequestEntityTooLarge {
			has(t, c.path, page, []string{"is larger than"})
		}
	}
}

// Browsers say whence a form comes only where they may.
func TestReferrerPolicy(t *testing.T) {
	s := pagesServer(t)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/login", nil))
	if got := w.Header().Get("Referrer-Policy"); got != "same-origin" {
		t.Errorf("%q: the origin of forms would be null (Fetch, \"append a request Origin header\")", got)
	}
}

// Patterns that can name nothing are refused wherever they are written, and what was filled in
// beside them stays.
func TestPatternsThatNameNothing(t *testing.T) {
	s := pagesServer(t)
	b := newBrowser(s, s.token)
	registry := httptest.NewServer(&imagetest.Registry{})
	defer registry.Close()
	b.does(t, "/registries", "/registries/r", "Registry r is added", "url", registry.URL, "name", "r", "do", "add")
	const what = "no name has a &#39;[&#39;"
	for _, field := range []string{"include", "exclude", "repositories", "tags", "exclude_tags"} {
		b.fails(t, "/registries/r", []string{what}, "url", registry.URL, field, "team/[")
	}
	b.fails(t, "/registries/r", []string{what}, "url", registry.URL, "owners", "team[ a@example.com")
	b.fails(t, "/watches/new", []string{what}, "name", "w", "repositories", "r/[", "policy", "fixable-criticals")
	b.fails(t, "/account/tokens", []string{what}, "name", "t", "role", "viewer", "repository", "[", "days", "7")
	b.fails(t, "/users", []string{what, `value="ann"`}, "name", "ann", "password", "correct-horse-battery", "role", "viewer", "repository", "[")
	b.fails(t, "/users", []string{"want a mail address"}, "name", "ann", "email", "nonsense", "password", "correct-horse-battery", "role", "viewer", "repository", "**")
}

// A password alone is kept, and a user alone is asked for one.
func TestRegistryPasswordWithoutUser(t *testing.T) {
	s := pagesServer(t)
	b := newBrowser(s, s.token)
	b.does(t, "/registries", "/registries/r", "Registry r is added", "url", "https://r.example", "name", "r", "password", "s3cret", "do", "add")
	b.sees(t, "/registries/r", "There are some; they are never shown")
	b.fails(t, "/registries", []string{"Enter the password of the user"}, "url", "https://q.example", "name", "q", "username", "robot", "do", "add")
}

// A role without repositories is pointed at, and the others are not lost.
func TestRolesWithoutRepositories(t *testing.T) {
	b := newBrowser(pagesServer(t), "")
	b.token = b.testServer.token
	b.fails(t, "/users", []string{"over which repositories", `value="r/b/**"`, `value="r/c/**"`}, "name", "ann", "password", "correct-horse-battery",
		"role", "viewer", "repository", "", "role", "developer", "repository", "r/b/**", "role", "viewer", "repository", " r/c/** ")
	b.fails(t, "/users", []string{"which role it is over r/b/**"}, "name", "ann", "password", "correct-horse-battery", "role", "", "repository", "r/b/**")
}

// All images that have something are on the pages that follow each other.
func TestPagesOfImpact(t *testing.T) {
	s := pagesServer(t)
	const images = 60
	for i := range images {
		putNamed(t, s.o.DB, "r.example", fmt.Sprintf("team/app%d", i), "1", i+1)
	}
	s.sync(t, "2026-01-01T00:00:00Z", "1000.0.0")
	b, seen := newBrowser(s, s.token), map[string]bool{}
	next, name := regexp.MustCompile(`href="([^"]*)" rel="next"`), regexp.MustCompile(`class="name" href="/images/([0-9]+)"`)
	for path, pages := "/vulnerabilities/GHSA-test-0", 0; path != "" && pages < 5; pages++ {
		_, _, page := b.send(t, "GET", path)
		for _, m := range name.FindAllStringSubmatch(page, -1) {
			seen[m[1]] = true
		}
		path = ""
		if m := next.FindStringSubmatch(page); m != nil {
			path = strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	if len(seen) != images {
		t.Errorf("%d images on all pages, want %d", len(seen), images)
	}
}

// Of two images the one that was built first is before, whichever was looked at.
func TestPageOfCompareBegins(t *testing.T) {
	s := pagesServer(t, func(o *Options) { o.Reports = &jobs.Reports{DB: o.DB} })
	var ids []int64
	for i, built := range []time.Time{time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} {
		digest := image.Digest(fmt.Sprintf("sha256:%064x", i+1))
		id, err := s.o.DB.PutImage(t.Context(), store.Contents{Image: &image.Image{Reference: fmt.Sprintf("r.example/app:%d", i), Digest: digest, ConfigDigest: digest, Created: built}, Inventory: &inventory.Image{}, AnalyzerSet: "test"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	b, want := newBrowser(s, s.token), fmt.Sprintf("/compare?a=%d&b=%d", ids[1], ids[0])
	for _, asked := range [][2]int64{{ids[0], ids[1]}, {ids[1], ids[0]}} {
		if status, to, page := b.send(t, "GET", fmt.Sprintf("/compare?order=built&a=%d&b=%d", asked[0], asked[1])); to != want {
			t.Errorf("status %d, to %q, want %q: %.300s", status, to, want, page)
		}
	}
	b.sees(t, want, "Before", "r.example/app:1")
}
