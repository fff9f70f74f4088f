package server

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/auth"
	"strata/internal/imagetest"
	"strata/internal/store"
)

// A testServer is a server that is called in the test's process.
type testServer struct {
	*Server
	// token is an administrator's.
	token string
}

// onEngines runs a test on both engines, each with an empty database.
func onEngines(t *testing.T, test func(t *testing.T, db *store.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, openTestDB(t, filepath.Join(t.TempDir(), "strata.db"))) })
	t.Run("postgres", func(t *testing.T) {
		location, err := imagetest.Postgres(t)
		if err != nil {
			if os.Getenv("STRATA_TEST_REQUIRE") == "all" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
		test(t, openTestDB(t, location))
	})
}

func openTestDB(t testing.TB, location string) *store.DB {
	t.Helper()
	db, err := store.OpenDB(t.Context(), location, store.DBOptions{Key: bytes.Repeat([]byte{7}, store.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// newTestServer makes a server with an administrator, "admin", whose token call
// sends. The options are those of New; the database is the argument.
func newTestServer(t testing.TB, db *store.DB, options ...func(*Options)) *testServer {
	t.Helper()
	o := Options{DB: db, Version: "test"}
	for _, set := range options {
		set(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ts := &testServer{Server: s}
	ts.token = ts.newUser(t, "admin", auth.Grant{Role: auth.Administrator, Repository: "**"})
	return ts
}

// newUser makes a user with a grant, and gives a token that has it, too.
func (s *testServer) newUser(t testing.TB, name string, g auth.Grant) (token string) {
	t.Helper()
	id, err := s.o.DB.CreateUser(t.Context(), &store.User{Name: name, Grants: []store.Grant{{Role: string(g.Role), Repository: g.Repository}}})
	if err != nil {
		t.Fatal(err)
	}
	token, _, err = s.access.NewToken(t.Context(), &auth.Identity{Name: name, UserID: id, Grants: []auth.Grant{g}}, "test", g, s.o.Now().AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// call sends a request as the administrator, with the body as JSON where it isn't
// nil, and reads the answer into out where it isn't nil. It gives the status.
func (s *testServer) call(t testing.TB, method, path string, body, out any) int {
	t.Helper()
	return s.callAs(t, s.token, method, path, body, out)
}

// callAs is call with a token, or none where it is empty.
func (s *testServer) callAs(t testing.TB, token, method, path string, body, out any) int {
	t.Helper()
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			t.Fatal(err)
		}
	}
	r := httptest.NewRequestWithContext(t.Context(), method, path, &b)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if out != nil {
		if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
			t.Fatalf("%s %s: status %d, %v: %s", method, path, w.Code, err, w.Body)
		}
	}
	return w.Code
}

// publicOperations are those that anyone may ask for: each is argued for where it is.
var publicOperations = []string{"setup", "login", "list-login-methods"}

// operations yields every operation of the API.
func (s *testServer) operations(t testing.TB, visit func(path string, op *huma.Operation)) {
	t.Helper()
	n := 0
	for path, item := range s.api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete, item.Patch, item.Head, item.Options} {
			if op != nil {
				visit(path, op)
				n++
			}
		}
	}
	if n == 0 {
		t.Fatal("no operations")
	}
}
