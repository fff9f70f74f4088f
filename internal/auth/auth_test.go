package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/argon2"

	"github.com/google/go-cmp/cmp"

	"strata/internal/store"
)

func TestPasswordHash(t *testing.T) {
	hash := HashPassword("correct horse battery")
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=65536,t=3,p=4$") {
		t.Error(hash)
	}
	if ok, outdated := verifyPassword(hash, "correct horse battery"); !ok || outdated {
		t.Errorf("ok %v, outdated %v", ok, outdated)
	}
	if ok, _ := verifyPassword(hash, "correct horse batterx"); ok {
		t.Error("another password is taken")
	}
	salt := []byte("saltsaltsaltsalt")
	weak := fmt.Sprintf("$argon2id$v=19$m=8,t=1,p=1$%s$%s", base64.RawStdEncoding.EncodeToString(salt),
		base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte("x"), salt, 1, 8, 1, 32)))
	if ok, outdated := verifyPassword(weak, "x"); !ok || !outdated {
		t.Errorf("weak: ok %v, outdated %v", ok, outdated)
	}
	for _, bad := range []string{"", "x", "$argon2id$v=19$m=999999999,t=3,p=4$c2FsdA$dGFnZ3RhZ2d0YWdndGFnZw", "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$", "$argon2i$v=19$m=8,t=1,p=1$c2FsdA$dGFnZ3RhZ2d0YWdndGFnZw"} {
		if ok, _ := verifyPassword(bad, ""); ok {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, bad := range []string{"", "short", "ann-the-administrator", strings.Repeat("a", 20), strings.Repeat("ab", 300)} {
		if CheckPassword("Ann-the-Administrator", bad) == nil {
			t.Errorf("%q may be a password", bad)
		}
	}
}

func TestTokenSecret(t *testing.T) {
	s := newTokenSecret()
	if !wellFormed(s) || !strings.HasPrefix(s, "strata_") || len(s) != len("strata_")+49 {
		t.Error(s)
	}
	b := []byte(s)
	for i := range b {
		was := b[i]
		b[i] ^= 1
		if wellFormed(string(b)) {
			t.Errorf("with another character %d it is well formed", i)
		}
		b[i] = was
	}
}

// What a token may is never more than what both the user and it were granted.
func TestLimit(t *testing.T) {
	for _, c := range []struct {
		user []store.Grant
		by   store.Grant
		want []Grant
	}{
		{[]store.Grant{{Role: "administrator", Repository: "**"}}, store.Grant{Role: "viewer", Repository: "r/team/**"}, []Grant{{Viewer, "r/team/**"}}},
		{[]store.Grant{{Role: "viewer", Repository: "r/team/**"}}, store.Grant{Role: "administrator", Repository: "**"}, []Grant{{Viewer, "r/team/**"}}},
		{[]store.Grant{{Role: "viewer", Repository: "r/team/**"}}, store.Grant{Role: "viewer", Repository: "r/other/**"}, nil},
		{[]store.Grant{{Role: "viewer", Repository: "r/team/*"}}, store.Grant{Role: "viewer", Repository: "r/team/**"}, []Grant{{Viewer, "r/team/*"}}},
		{[]store.Grant{{Role: "viewer", Repository: "r/*"}}, store.Grant{Role: "viewer", Repository: "r/**"}, []Grant{{Viewer, "r/*"}}},
		{[]store.Grant{{Role: "viewer", Repository: "*/x"}}, store.Grant{Role: "viewer", Repository: "**/x"}, nil},
		{[]store.Grant{{Role: "viewer", Repository: "r/*"}}, store.Grant{Role: "viewer", Repository: "r/web"}, []Grant{{Viewer, "r/web"}}},
		{nil, store.Grant{Role: "administrator", Repository: "**"}, nil},
	} {
		if diff := cmp.Diff(c.want, limit(c.user, c.by)); diff != "" {
			t.Errorf("%v by %v: %s", c.user, c.by, diff)
		}
	}
}

func TestScope(t *testing.T) {
	i := &Identity{Grants: []Grant{{Developer, "r/team/**"}, {Viewer, "**"}}}
	if !i.May(Viewer) || i.May(Developer) || i.May(Administrator) {
		t.Error("May")
	}
	if diff := cmp.Diff([]string{"r/team/**"}, i.Scope(Developer)); diff != "" {
		t.Error(diff)
	}
	var none *Identity
	if none.May(Viewer) || none.Scope(Viewer) != nil {
		t.Error("no one may something")
	}
	if _, err := ParseRole("known"); err == nil {
		t.Error("known can be granted")
	}
}

// Of tries at the same moment no more are made than of those one after the other; an IPv6
// network counts as one address.
func TestTriesAtTheSameMoment(t *testing.T) {
	db, err := store.OpenDB(t.Context(), filepath.Join(t.TempDir(), "strata.db"), store.DBOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	a := NewAccess(db)
	for who, most := range map[[2]string]int{{"user ann", ""}: failuresOf, {"", "2001:db8:1:2:"}: failuresFrom} {
		var made atomic.Int64
		var all sync.WaitGroup
		for i := range 2 * failuresFrom {
			address := fmt.Sprintf("198.51.100.%d", i)
			if who[1] != "" {
				address = fmt.Sprintf("%s:%x", who[1], i)
			}
			all.Go(func() {
				switch _, err := a.try(t.Context(), who[0], byAddress(address)); {
				case err == nil:
					made.Add(1)
				case !errors.Is(err, ErrTooOften):
					t.Error(err)
				}
			})
		}
		all.Wait()
		// Those that see each other may all give way.
		if n := int(made.Load()); n > most || n == 0 {
			t.Errorf("%v: %d tries, want at most %d", who, n, most)
		}
	}
	for address, want := range map[string]string{
		"192.0.2.1": "address 192.0.2.1", "::ffff:192.0.2.1": "address 192.0.2.1", "fe80::1%eth0": "address fe80::/64", "x": "address x",
	} {
		if got := byAddress(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
