package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"

	"strata/internal/auth"
)

// declaredRoles is who may ask for which operation, from the least: a change of it is to be
// made here, too, by someone who means it. Those of viewers and developers are for a role
// over some repositories, but for the ones of "viewer of all".
func declaredRoles() map[string]string {
	return map[string]string{
		"anyone":        "list-login-methods login setup",
		"known":         "change-password create-token delete-token get-me list-tokens logout",
		"viewer":        "fix-first get-descendants get-feeds get-image get-impact get-layer get-manifest get-report list-changes list-findings list-image-findings list-image-packages list-images list-impact-images list-impact-layers list-manifests list-policy list-violations plan-image stream-events",
		"viewer of all": "list-finding-days list-licenses list-packages list-vex list-waivers list-watches",
		"developer":     "rescan-manifest submit-image submit-layer try-policy",
		"security":      "check-policy check-vex check-waivers delete-policy delete-vex delete-waivers delete-watch get-receiver list-audit list-notifications list-receivers put-policy put-vex put-waivers put-watch resend-notification sync-feeds",
		"administrator": "cancel-job crawl-registry create-hook-secret create-registry create-user delete-hook-secret delete-receiver delete-registry delete-user get-job get-registry get-user list-instances list-jobs list-registries list-schedules list-users put-receiver retry-job test-new-registry test-receiver test-registry update-registry update-user",
	}
}

// Every operation is asked for by everyone, and refused to just those who are not to have it.
func TestRolesOfOperations(t *testing.T) {
	s := newTestServer(t, openTestDB(t, t.TempDir()+"/strata.db"))
	// From the least; each may all that those before it may.
	ranks := []string{"anyone", "known", "viewer", "viewer of all", "developer", "security", "administrator"}
	least, declared := map[string]int{}, declaredRoles()
	for rank, role := range ranks {
		for _, id := range strings.Fields(declared[role]) {
			least[id] = rank
		}
	}
	all, some := "**", "registry.example/team/**"
	askers := []struct {
		name, token string
		rank        int
	}{{name: "no one", rank: 0}}
	add := func(name string, rank int, grants ...auth.Grant) {
		token := ""
		for _, g := range grants {
			token = s.newUser(t, name, g)
		}
		askers = append(askers, struct {
			name, token string
			rank        int
		}{name, token, rank})
	}
	add("viewer-some", 2, auth.Grant{Role: auth.Viewer, Repository: some})
	add("viewer", 3, auth.Grant{Role: auth.Viewer, Repository: all})
	add("developer", 4, auth.Grant{Role: auth.Developer, Repository: all})
	add("security", 5, auth.Grant{Role: auth.Security, Repository: all})
	add("administrator", 6, auth.Grant{Role: auth.Administrator, Repository: all})
	got, want := map[string]string{}, map[string]string{}
	parameter := regexp.MustCompile(`\{[^}]*\}`)
	s.operations(t, func(path string, op *huma.Operation) {
		rank, ok := least[op.OperationID]
		if !ok {
			t.Errorf("%s is not declared", op.OperationID)
			return
		}
		delete(least, op.OperationID)
		for _, a := range askers {
			// What it is about isn't there; a stream ends by the time.
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			r := httptest.NewRequestWithContext(ctx, op.Method, parameter.ReplaceAllString(path, "0"), strings.NewReader("{}"))
			r.Header.Set("Content-Type", "application/json")
			if a.token != "" {
				r.Header.Set("Authorization", "Bearer "+a.token)
			}
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			cancel()
			if a.rank >= rank {
				want[op.OperationID] += a.name + " "
			}
			if w.Code != http.StatusUnauthorized && w.Code != http.StatusForbidden {
				got[op.OperationID] += a.name + " "
			}
		}
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for id := range least {
		t.Errorf("%s is declared, and isn't there", id)
	}
}
