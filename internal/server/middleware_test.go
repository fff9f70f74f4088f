package server

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/auth"
	"strata/internal/store"
)

func TestEveryOperationIsForSomeone(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		s := newTestServer(t, db)
		// What each role may not: the tokens of those below it, over all and over some.
		tokens := map[auth.Role]string{}
		for _, role := range []auth.Role{auth.Viewer, auth.Developer, auth.Security} {
			tokens[role] = s.newUser(t, string(role), auth.Grant{Role: role, Repository: "**"})
		}
		some := s.newUser(t, "some", auth.Grant{Role: auth.Administrator, Repository: "registry.example/team/**"})
		below := map[auth.Role]auth.Role{auth.Developer: auth.Viewer, auth.Security: auth.Developer, auth.Administrator: auth.Security}
		parameter := regexp.MustCompile(`\{[^}]*\}`)
		s.operations(t, func(path string, op *huma.Operation) {
			role, ok := op.Metadata["role"].(auth.Role)
			if !ok {
				t.Errorf("%s has no role", op.OperationID)
				return
			}
			path = parameter.ReplaceAllString(path, "1")
			if role == auth.Anyone {
				if !slices.Contains(publicOperations, op.OperationID) {
					t.Errorf("%s is for anyone", op.OperationID)
				}
				return
			}
			if got := s.callAs(t, "", op.Method, path, nil, nil); got != http.StatusUnauthorized {
				t.Errorf("%s without credentials: status %d", op.OperationID, got)
			}
			if lesser, ok := below[role]; ok {
				if got := s.callAs(t, tokens[lesser], op.Method, path, nil, nil); got != http.StatusForbidden {
					t.Errorf("%s as %s: status %d", op.OperationID, lesser, got)
				}
			}
			if scoped, _ := op.Metadata["scoped"].(bool); !scoped && role != auth.Known {
				if got := s.callAs(t, some, op.Method, path, nil, nil); got != http.StatusForbidden {
					t.Errorf("%s as administrator of some repositories: status %d", op.OperationID, got)
				}
			}
		})
	})
}

func TestOperationsWithoutRoleAreForNoOne(t *testing.T) {
	s := newTestServer(t, openTestDB(t, t.TempDir()+"/strata.db"))
	huma.Register(s.api, huma.Operation{Method: "GET", Path: "/api/v1/forgotten", OperationID: "forgotten"}, s.listLicenses)
	if got := s.call(t, "GET", "/api/v1/forgotten", nil, nil); got != http.StatusForbidden {
		t.Errorf("status %d", got)
	}
}

func TestTokens(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		s := newTestServer(t, db)
		if got := s.call(t, "GET", "/api/v1/licenses", nil, nil); got != http.StatusOK {
			t.Errorf("status %d", got)
		}
		for _, token := range []string{"strata_x", s.token[:len(s.token)-1] + "!", s.token + "A", "x"} {
			if got := s.callAs(t, token, "GET", "/api/v1/licenses", nil, nil); got != http.StatusUnauthorized {
				t.Errorf("%s: status %d", token, got)
			}
		}
		u, err := db.UserNamed(t.Context(), "admin")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.CreateUser(t.Context(), &store.User{Name: "second", Grants: u.Grants}); err != nil {
			t.Fatal(err)
		}
		u.Disabled = true
		if err := db.UpdateUser(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		if got := s.call(t, "GET", "/api/v1/licenses", nil, nil); got != http.StatusUnauthorized {
			t.Errorf("disabled: status %d", got)
		}
	})
}

func TestAnswersAreProblems(t *testing.T) {
	s := newTestServer(t, openTestDB(t, t.TempDir()+"/strata.db"))
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/licenses", nil))
	if got := w.Header().Get("Content-Type"); got != problemType {
		t.Errorf("Content-Type %q: %s", got, w.Body)
	}
}

func TestCursor(t *testing.T) {
	type key struct {
		Name string
		ID   int64
	}
	c := encodeCursor("images", key{"ü/x", 1 << 60})
	var got key
	if err := decodeCursor("images", c, &got); err != nil || got != (key{"ü/x", 1 << 60}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"x", c + "A", "W10", encodeCursor("layers", key{}), encodeCursor("images", "x")} {
		if err := decodeCursor("images", bad, &got); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if err := decodeCursor("images", "", &got); err != nil || got.Name != "ü/x" {
		t.Errorf("the first page: %v, %v", got, err)
	}
}
