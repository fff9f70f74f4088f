package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"strata/internal/auth"
	"strata/internal/jobs"
	"strata/internal/match"
	"strata/internal/policy"
	"strata/internal/report"
	"strata/internal/server"
	"strata/internal/store"
)

// A submitServer is a server that takes submissions, and counts the layers it is sent.
type submitServer struct {
	url   string
	db    *store.DB
	token map[string]string
	// sent is how many layers, bytes how large they were.
	sent, bytes atomic.Int64
}

func (s *submitServer) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut:
			s.sent.Add(1)
			s.bytes.Add(r.ContentLength)
		case r.URL.Path == "/sent":
			fmt.Fprint(w, s.sent.Load())
			return
		}
		next.ServeHTTP(w, r)
	})
}

// newSubmitServer starts one in a folder, with the advisories of a cache folder, and
// with rules by which it judges. Its users are ann and bob, who may submit to
// docker.io/library and to local, and eve, who may submit to nothing.
func newSubmitServer(ctx context.Context, dir, cache string, rules []policy.Rule) (*submitServer, func(), error) {
	db, err := store.OpenDB(ctx, filepath.Join(dir, "strata.db"), store.DBOptions{})
	if err != nil {
		return nil, nil, err
	}
	a := newApp()
	a.quiet = true
	a.env = func(name string) string { return map[string]string{"STRATA_CACHE_DIR": cache}[name] }
	reports := &jobs.Reports{DB: db, Version: version(), Advisories: func(ctx context.Context) (match.Advisories, report.Advisories, error) {
		advisories, from, err := a.openAdvisoriesFor(ctx, &advisoryOptions{offline: true}, []string{"Debian", "npm", "Alpine", "Go", "PyPI"})
		return advisories, from.advisories, err
	}}
	court := &jobs.Court{DB: db, Reports: reports}
	s, err := server.New(server.Options{DB: db, Version: "test", Reports: reports, Try: court.Try, Judge: func(_ context.Context, _ string, r *report.Report) error {
		return a.decide(&decider{rules: rules}, r)
	}})
	if err != nil {
		return nil, nil, err
	}
	out := &submitServer{db: db, token: map[string]string{}}
	for name, glob := range map[string]string{"ann": "**", "bob": "**", "eve": "docker.io/other/**"} {
		g := auth.Grant{Role: auth.Developer, Repository: glob}
		id, err := db.CreateUser(ctx, &store.User{Name: name, Grants: []store.Grant{{Role: string(g.Role), Repository: glob}}})
		if err != nil {
			return nil, nil, err
		}
		out.token[name], _, err = auth.NewAccess(db).NewToken(ctx, &auth.Identity{Name: name, UserID: id, Grants: []auth.Grant{g}}, "test", g, time.Now().Add(time.Hour))
		if err != nil {
			return nil, nil, err
		}
	}
	listener := httptest.NewServer(out.count(s.Handler()))
	out.url = listener.URL
	return out, func() { listener.Close(); _ = db.Close() }, nil
}

// submitserver [POLICY] starts a server that takes submissions until the end of the
// script, and judges by the policy of that name; $SERVER is its URL, $ANN, $BOB and
// $EVE the tokens of its users.
func submitserver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: submitserver [POLICY]")
	}
	var rules []policy.Rule
	if len(args) == 1 {
		loader, err := policy.NewLoader()
		ts.Check(err)
		p, err := loadPolicy(loader, args[0])
		ts.Check(err)
		for _, p := range p {
			rules = append(rules, p.Rules...)
		}
	}
	dir := ts.MkAbs(".server")
	ts.Check(os.MkdirAll(dir, 0o755))
	s, closeServer, err := newSubmitServer(context.Background(), dir, filepath.Join(ts.Getenv("XDG_CACHE_HOME"), "strata"), rules)
	ts.Check(err)
	ts.Defer(closeServer)
	ts.Setenv("SERVER", s.url)
	for name, token := range s.token {
		ts.Setenv(strings.ToUpper(name), token)
	}
}

// sent N checks how many layers the server was sent so far.
func sent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sent N")
	}
	res, err := http.Get(ts.Getenv("SERVER") + "/sent")
	ts.Check(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	ts.Check(err)
	if string(b) != args[0] {
		ts.Fatalf("%s layers were sent, want %s", b, args[0])
	}
}
