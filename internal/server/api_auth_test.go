package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"strata/internal/auth"
	"strata/internal/store"
)

// browse sends a request as a browser does: with its cookies, from a site.
func (s *testServer) browse(t *testing.T, cookies []*http.Cookie, site, method, path string, body any) *httptest.ResponseRecorder {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(method, path, strings.NewReader(string(b)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Sec-Fetch-Site", site)
	for _, c := range cookies {
		if c.MaxAge >= 0 {
			r.AddCookie(c)
		}
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

const goodPassword = "correct horse battery"

func TestSetupAndLogin(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		now := time.Now()
		clock := func() time.Time { return now }
		inner, err := New(Options{DB: db, Now: clock, PublicURL: "https://strata.example"})
		if err != nil {
			t.Fatal(err)
		}
		s := &testServer{Server: inner}
		token, err := s.access.SetupToken(t.Context())
		if err != nil || token == "" {
			t.Fatal(token, err)
		}
		type m map[string]string
		setup := func(token, password string) *httptest.ResponseRecorder {
			return s.browse(t, nil, "same-origin", "POST", "/api/v1/setup", m{"token": token, "name": "ann", "password": password})
		}
		if w := setup("x", goodPassword); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "restart the server") {
			t.Errorf("wrong token: %d %s", w.Code, w.Body)
		}
		if w := setup(token, "short"); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("short password: %d %s", w.Code, w.Body)
		}
		if w := setup(token, goodPassword); w.Code != http.StatusCreated {
			t.Fatalf("setup: %d %s", w.Code, w.Body)
		}
		if w := setup(token, goodPassword); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "strata admin user NAME --reset") {
			t.Errorf("second use: %d %s", w.Code, w.Body)
		}
		if token, err := s.access.SetupToken(t.Context()); err != nil || token != "" {
			t.Errorf("%q, %v", token, err)
		}

		login := func(name, password string) *httptest.ResponseRecorder {
			return s.browse(t, nil, "same-origin", "POST", "/api/v1/login", m{"name": name, "password": password})
		}
		wrong, unknown := login("ann", "wrong password"), login("bob", goodPassword)
		if wrong.Code != http.StatusUnauthorized || unknown.Code != http.StatusUnauthorized || wrong.Body.String() != unknown.Body.String() {
			t.Errorf("wrong password: %d %s; unknown user: %d %s", wrong.Code, wrong.Body, unknown.Code, unknown.Body)
		}
		in := login("ann", goodPassword)
		cookies := in.Result().Cookies()
		if in.Code != http.StatusOK || len(cookies) != 1 {
			t.Fatalf("%d %s", in.Code, in.Body)
		}
		if c := cookies[0]; c.Name != "__Host-strata" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" {
			t.Errorf("cookie %+v", c)
		}
		if w := s.browse(t, cookies, "none", "GET", "/api/v1/me", nil); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"administrator"`) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		// Another site can make the browser send the cookie, but not have anything changed.
		create := m{"name": "ci", "role": "viewer"}
		if w := s.browse(t, cookies, "cross-site", "POST", "/api/v1/tokens", create); w.Code != http.StatusForbidden {
			t.Errorf("from another site: %d %s", w.Code, w.Body)
		}
		if w := s.browse(t, nil, "cross-site", "POST", "/api/v1/login", m{"name": "ann", "password": goodPassword}); w.Code != http.StatusForbidden {
			t.Errorf("login from another site: %d %s", w.Code, w.Body)
		}
		made := s.browse(t, cookies, "same-origin", "POST", "/api/v1/tokens", create)
		var ci Token
		if err := json.Unmarshal(made.Body.Bytes(), &ci); err != nil || made.Code != http.StatusCreated || !strings.HasPrefix(ci.Secret, "strata_") {
			t.Fatalf("%d %s", made.Code, made.Body)
		}
		if got := s.callAs(t, ci.Secret, "GET", "/api/v1/images", nil, nil); got != http.StatusOK {
			t.Errorf("token: %d", got)
		}
		if got := s.callAs(t, ci.Secret, "POST", "/api/v1/tokens", m{"name": "more", "role": "viewer"}, nil); got != http.StatusForbidden {
			t.Errorf("a token makes a token: %d", got)
		}
		// What is old is not good any more.
		now = now.Add(91 * 24 * time.Hour)
		if got := s.callAs(t, ci.Secret, "GET", "/api/v1/images", nil, nil); got != http.StatusUnauthorized {
			t.Errorf("expired token: %d", got)
		}
		if w := s.browse(t, cookies, "none", "GET", "/api/v1/me", nil); w.Code != http.StatusUnauthorized {
			t.Errorf("expired session: %d", w.Code)
		}
		now = now.Add(-91 * 24 * time.Hour)
		if w := s.browse(t, cookies, "same-origin", "PUT", "/api/v1/me/password", m{"password": goodPassword, "new_password": "another horse battery"}); w.Code != http.StatusNoContent {
			t.Errorf("password: %d %s", w.Code, w.Body)
		}
		if w := s.browse(t, cookies, "none", "GET", "/api/v1/me", nil); w.Code != http.StatusUnauthorized {
			t.Errorf("session from before: %d", w.Code)
		}
		cookies = login("ann", "another horse battery").Result().Cookies()
		s.browse(t, cookies, "same-origin", "POST", "/api/v1/logout", nil)
		if w := s.browse(t, cookies, "none", "GET", "/api/v1/me", nil); w.Code != http.StatusUnauthorized {
			t.Errorf("after logout: %d", w.Code)
		}
		entries, err := db.AuditLog(t.Context(), 0, 100)
		if err != nil || len(entries) != 5 || entries[len(entries)-1].Action != "setup" || entries[len(entries)-1].Actor != "ann (session)" {
			t.Errorf("%+v, %v", entries, err)
		}
	})
}

func TestLoginsAreLimited(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		// The database has the clock that failures are noted with.
		s := newTestServer(t, db)
		for range 20 {
			if _, err := db.AddLoginFailure(t.Context(), "user ann", "address 203.0.113.1"); err != nil {
				t.Fatal(err)
			}
		}
		w := s.browse(t, nil, "same-origin", "POST", "/api/v1/login", map[string]string{"name": "Ann", "password": goodPassword})
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "900" || w.Header().Get("Content-Type") != problemType {
			t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
		}
		if w := s.browse(t, nil, "same-origin", "POST", "/api/v1/login", map[string]string{"name": "bob", "password": goodPassword}); w.Code != http.StatusUnauthorized {
			t.Errorf("another user: %d %s", w.Code, w.Body)
		}
		// A login that was right is no failure of its address.
		if got := s.call(t, "POST", "/api/v1/users", map[string]any{"name": "eve", "password": goodPassword}, nil); got != http.StatusCreated {
			t.Fatal(got)
		}
		before, _ := db.LoginFailures(t.Context(), "address 192.0.2.1", time.Time{})
		if w := s.browse(t, nil, "same-origin", "POST", "/api/v1/login", map[string]string{"name": "eve", "password": goodPassword}); w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if after, err := db.LoginFailures(t.Context(), "address 192.0.2.1", time.Time{}); err != nil || before != 1 || after != 1 {
			t.Errorf("failures %d, then %d, %v", before, after, err)
		}
		if err := db.DeleteExpiredCredentials(t.Context(), auth.DefaultIdle); err != nil {
			t.Fatal(err)
		}
	})
}

func TestUsers(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		s := newTestServer(t, db)
		type m map[string]any
		var u User
		grants := []m{{"role": "developer", "repository": "r/team/**"}}
		if got := s.call(t, "POST", "/api/v1/users", m{"name": "ann", "password": goodPassword, "grants": grants}, &u); got != http.StatusCreated || len(u.Grants) != 1 || u.Grants[0].Role != auth.Developer {
			t.Fatalf("%d %+v", got, u)
		}
		if got := s.call(t, "POST", "/api/v1/users", m{"name": "ann", "password": goodPassword}, nil); got != http.StatusConflict {
			t.Errorf("again: %d", got)
		}
		if got := s.call(t, "POST", "/api/v1/users", m{"name": "bob", "password": goodPassword, "grants": []m{{"role": "king"}}}, nil); got != http.StatusUnprocessableEntity {
			t.Errorf("a role that isn't one: %d", got)
		}
		var page Page[User]
		if got := s.call(t, "GET", "/api/v1/users?limit=1", nil, &page); got != http.StatusOK || len(page.Items) != 1 || page.Items[0].Name != "admin" || page.Next == "" {
			t.Fatalf("%d %+v", got, page)
		}
		if got := s.call(t, "GET", "/api/v1/users?limit=1&cursor="+page.Next, nil, &page); got != http.StatusOK || page.Items[0].Name != "ann" {
			t.Errorf("%d %+v", got, page)
		}
		if got := s.call(t, "GET", "/api/v1/tokens?cursor="+encodeCursor("users", "ann"), nil, nil); got != http.StatusBadRequest {
			t.Errorf("the cursor of another list: %d", got)
		}
		if got := s.call(t, "PATCH", "/api/v1/users/ann", m{"disabled": true, "email": "a@b.example"}, &u); got != http.StatusOK || !u.Disabled || u.Email != "a@b.example" || len(u.Grants) != 1 {
			t.Errorf("%d %+v", got, u)
		}
		// There is always someone who administers the server.
		for _, change := range []m{{"disabled": true}, {"grants": grants}} {
			if got := s.call(t, "PATCH", "/api/v1/users/admin", change, nil); got != http.StatusConflict {
				t.Errorf("the last administrator, %v: %d", change, got)
			}
		}
		if got := s.call(t, "DELETE", "/api/v1/users/admin", nil, nil); got != http.StatusConflict {
			t.Errorf("the last administrator deleted: %d", got)
		}
		if got := s.call(t, "DELETE", "/api/v1/users/ann", nil, nil); got != http.StatusNoContent {
			t.Errorf("%d", got)
		}
		if got := s.call(t, "DELETE", "/api/v1/users/ann", nil, nil); got != http.StatusNotFound {
			t.Errorf("%d", got)
		}
		var log Page[store.AuditEntry]
		if got := s.call(t, "GET", "/api/v1/audit", nil, &log); got != http.StatusOK || len(log.Items) != 3 || log.Items[0].Action != "delete-user" || log.Items[0].Actor != "admin (token test)" || log.Items[0].Target != "ann" {
			t.Errorf("%d %+v", got, log)
		}
	})
}

func TestTokensAreLimited(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		s := newTestServer(t, db)
		type m map[string]any
		var made Token
		if got := s.call(t, "POST", "/api/v1/tokens", m{"name": "ci", "role": "developer", "repository": "r/team/**"}, &made); got != http.StatusCreated || made.Repository != "r/team/**" || time.Until(made.ExpiresAt) > 91*24*time.Hour || time.Until(made.ExpiresAt) < 89*24*time.Hour {
			t.Fatalf("%d %+v", got, made)
		}
		var me Me
		if got := s.callAs(t, made.Secret, "GET", "/api/v1/me", nil, &me); got != http.StatusOK || len(me.Grants) != 1 || me.Grants[0] != (Grant{auth.Developer, "r/team/**"}) {
			t.Errorf("%d %+v", got, me)
		}
		if got := s.callAs(t, made.Secret, "GET", "/api/v1/users", nil, nil); got != http.StatusForbidden {
			t.Errorf("users: %d", got)
		}
		other := s.newUser(t, "other", auth.Grant{Role: auth.Security, Repository: "**"})
		var page Page[Token]
		if got := s.callAs(t, other, "GET", "/api/v1/tokens", nil, &page); got != http.StatusOK || len(page.Items) != 1 || page.Items[0].User != "other" || page.Items[0].Secret != "" {
			t.Errorf("%d %+v", got, page)
		}
		path := "/api/v1/tokens/" + jsonNumber(made.ID)
		if got := s.callAs(t, other, "DELETE", path, nil, nil); got != http.StatusNotFound {
			t.Errorf("another's: %d", got)
		}
		if got := s.call(t, "DELETE", path, nil, nil); got != http.StatusNoContent {
			t.Errorf("%d", got)
		}
		if got := s.callAs(t, made.Secret, "GET", "/api/v1/me", nil, nil); got != http.StatusUnauthorized {
			t.Errorf("deleted: %d", got)
		}
	})
}

func jsonNumber(n int64) string { b, _ := json.Marshal(n); return string(b) }
