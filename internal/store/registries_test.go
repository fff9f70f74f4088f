package store

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRegistries(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		secret := Credentials{Username: "robot", Password: "s3cret-word"}
		id, err := db.AddRegistry(ctx, &Registry{Name: "harbor", URL: "harbor.example/", Settings: RegistrySettings{Include: []string{"team/**"}, Platforms: []string{"linux/amd64"}}}, &secret)
		if err != nil {
			t.Fatal(err)
		}
		r, err := db.RegistryNamed(ctx, "harbor")
		if err != nil || r.ID != id || r.URL != "https://harbor.example" || r.Kind != Crawled || !r.HasCredentials || r.HasHookSecret || r.CrawlDueAt.IsZero() || !slices.Equal(r.Settings.Include, []string{"team/**"}) {
			t.Fatalf("%+v, %v", r, err)
		}
		if got, err := db.RegistryCredentials(ctx, id); err != nil || got != secret {
			t.Errorf("%+v, %v", got, err)
		}
		var sealed []byte
		if err := db.db.QueryRowContext(ctx, `SELECT credentials FROM registries WHERE id = $1`, id).Scan(&sealed); err != nil || bytes.Contains(sealed, []byte("s3cret")) || bytes.Contains(sealed, []byte("robot")) {
			t.Errorf("not sealed: %q, %v", sealed, err)
		}
		// What is sealed for one registry is of no use in the row of another.
		other, err := db.AddRegistry(ctx, &Registry{Name: "other", URL: "http://other.example:5000"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.db.ExecContext(ctx, `UPDATE registries SET credentials = $1 WHERE id = $2`, sealed, other); err != nil {
			t.Fatal(err)
		}
		if _, err := db.RegistryCredentials(ctx, other); !errors.Is(err, ErrSealed) {
			t.Errorf("swapped: %v", err)
		}
		if _, err := db.AddRegistry(ctx, &Registry{Name: "harbor", URL: "x.example"}, nil); !errors.Is(err, ErrConflict) {
			t.Errorf("twice: %v", err)
		}
		if err := db.SetHookSecret(ctx, id, "hook"); err != nil {
			t.Fatal(err)
		}
		if s, err := db.HookSecret(ctx, id); s != "hook" || err != nil {
			t.Errorf("%q, %v", s, err)
		}
		r.Paused = true
		if err := db.UpdateRegistry(ctx, r, nil); err != nil {
			t.Fatal(err)
		}
		if got, err := db.RegistryCredentials(ctx, id); err != nil || got != secret {
			t.Errorf("an update without credentials: %+v, %v", got, err)
		}
		if due, err := db.DueRegistries(ctx); err != nil || !slices.Equal(due, []int64{other}) {
			t.Errorf("due: %v, %v", due, err)
		}
		if err := db.UpdateRegistry(ctx, r, &Credentials{}); err != nil {
			t.Fatal(err)
		}
		if got, err := db.RegistryCredentials(ctx, id); err != nil || got != (Credentials{}) {
			t.Errorf("taken away: %+v, %v", got, err)
		}
		if all, err := db.Registries(ctx, "harbor", 10); err != nil || len(all) != 1 || all[0].Name != "other" {
			t.Errorf("%v, %v", all, err)
		}
		if err := db.DeleteRegistry(ctx, id); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Registry(ctx, id); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	})
}

func TestRegistryCheck(t *testing.T) {
	for want, r := range map[string]Registry{
		"name":          {Name: "a/b", URL: "x.example"},
		"URL":           {Name: "a", URL: "https://x.example/path"},
		"ftp":           {Name: "a", URL: "ftp://x.example"},
		"credentials":   {Name: "a", URL: "https://me:secret@x.example"},
		"platform":      {Name: "a", URL: "x.example", Settings: RegistrySettings{Platforms: []string{"linux"}}},
		"certificate":   {Name: "a", URL: "x.example", Settings: RegistrySettings{CA: "none"}},
		"crawl_every":   {Name: "a", URL: "x.example", Settings: RegistrySettings{CrawlEvery: "1s"}},
		"empty":         {Name: "a", URL: "x.example", Settings: RegistrySettings{Include: []string{""}}},
		"no name has a": {Name: "a", URL: "x.example", Settings: RegistrySettings{Tags: []string{"v[12]"}}},
	} {
		if _, err := r.check(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	s := RegistrySettings{Include: []string{"team/**"}, Exclude: []string{"team/old/*"}, Tags: []string{"v*"}, ExcludeTags: []string{"*-dev"},
		Owners: []RegistryOwner{{"team/web", "web@x.example"}, {"**", "all@x.example"}}}
	for name, want := range map[string]bool{"team/web:v1": true, "team/web:v1-dev": false, "team/web:latest": false, "team/old/x:v1": false, "other:v1": false, "team/web:": true} {
		repository, tag, _ := strings.Cut(name, ":")
		if s.Wants(repository, tag) != want {
			t.Errorf("%s: want %v", name, want)
		}
	}
	if s.Owner("team/web") != "web@x.example" || s.Owner("x") != "all@x.example" || s.Every(time.Hour) != time.Hour {
		t.Error("owner or time")
	}
}

func TestClaimManifest(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		now := time.Now()
		db.now = func() time.Time { return now }
		registry, err := db.AddRegistry(ctx, &Registry{Name: "r", URL: "r.example"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		digest := "sha256:" + strings.Repeat("a", 64)
		due, err := db.SeenTags(ctx, registry, "team/app", "me@x.example", now, []CrawledTag{{"1", digest, "application/x"}, {"2", digest, ""}})
		if err != nil || len(due) != 1 {
			t.Fatalf("%v, %v", due, err)
		}
		first, err := db.ClaimManifest(ctx, due[0], "me", time.Minute)
		if err != nil || first == nil || first.Repository != "team/app" || first.Digest != digest || first.Tag != "2" || first.Registry != registry || first.Attempts != 1 {
			t.Fatalf("%+v, %v", first, err)
		}
		if again, err := db.ClaimManifest(ctx, due[0], "me", time.Minute); again != nil || err != nil {
			t.Errorf("claimed twice: %+v, %v", again, err)
		}
		if left, err := db.DueManifests(ctx, 0, 10); len(left) != 0 || err != nil {
			t.Errorf("%v, %v", left, err)
		}
		// The first is not heard of for too long; another takes over, and the first wakes up.
		now = now.Add(2 * time.Minute)
		if left, err := db.DueManifests(ctx, 0, 10); len(left) != 1 || err != nil {
			t.Errorf("%v, %v", left, err)
		}
		second, err := db.ClaimManifest(ctx, due[0], "me", time.Minute)
		if err != nil || second == nil || second.Fence <= first.Fence || second.Attempts != 2 {
			t.Fatalf("%+v, %v", second, err)
		}
		if err := db.KeepManifest(ctx, first, time.Minute); !errors.Is(err, ErrConflict) {
			t.Errorf("kept by the first: %v", err)
		}
		if err := db.ScanEnded(ctx, first, ScanOutcome{State: "parked", Reason: "zombie"}); !errors.Is(err, ErrConflict) {
			t.Errorf("ended by the first: %v", err)
		}
		if err := db.ScanEnded(ctx, second, ScanOutcome{State: "due", Reason: "the registry is down", RetryAt: now.Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
		if m, err := db.ClaimManifest(ctx, due[0], "me", time.Minute); m != nil || err != nil {
			t.Errorf("claimed before it is due: %+v, %v", m, err)
		}
		if ids, err := db.Rescan(ctx, 1, due[0]); err != nil || len(ids) != 1 {
			t.Errorf("%v, %v", ids, err)
		}
		third, err := db.ClaimManifest(ctx, due[0], "me", time.Minute)
		if err != nil || third == nil || third.Attempts != 1 {
			t.Fatalf("%+v, %v", third, err)
		}
		// It is known to be gone before its claim has run out; another is not.
		if err := db.ExpireClaims(ctx, "another"); err != nil {
			t.Fatal(err)
		}
		if m, err := db.ClaimManifest(ctx, due[0], "another", time.Minute); m != nil || err != nil {
			t.Errorf("claimed while it is: %+v, %v", m, err)
		}
		if err := db.ExpireClaims(ctx, "me"); err != nil {
			t.Fatal(err)
		}
		fourth, err := db.ClaimManifest(ctx, due[0], "me", time.Minute)
		if err != nil || fourth == nil || fourth.Fence <= third.Fence {
			t.Fatalf("%+v, %v", fourth, err)
		}
		if err := db.ScanEnded(ctx, third, ScanOutcome{State: "parked", Reason: "zombie"}); !errors.Is(err, ErrConflict) {
			t.Errorf("ended by the third: %v", err)
		}
		if err := db.ScanEnded(ctx, fourth, ScanOutcome{State: "scanned", MediaType: "application/y"}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.ExpireClaims(ctx, "me"), db.ExpireClaims(ctx, "")); err != nil {
			t.Fatal(err)
		}
		m, err := db.Manifest(ctx, due[0])
		if err != nil || m.State != "scanned" || m.Reason != "" || m.ScannedAt.IsZero() || m.Repository != "r/team/app" || !slices.Equal(m.Tags, []string{"1", "2"}) || m.MediaType != "application/y" {
			t.Errorf("%+v, %v", m, err)
		}
		if all, err := db.Manifests(ctx, []string{"other/**"}, "", 0, 10); len(all) != 0 || err != nil {
			t.Errorf("out of scope: %v, %v", all, err)
		}
		if all, err := db.Manifests(ctx, nil, "scanned", 0, 10); len(all) != 1 || err != nil {
			t.Errorf("%v, %v", all, err)
		}
	})
}

func TestRetireTags(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		registry, err := db.AddRegistry(ctx, &Registry{Name: "r", URL: "r.example"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-time.Hour)
		digest := func(s string) string { return "sha256:" + strings.Repeat(s, 64) }
		if _, err := db.SeenTags(ctx, registry, "app", "", at, []CrawledTag{{"1", digest("a"), ""}, {"2", digest("b"), ""}}); err != nil {
			t.Fatal(err)
		}
		// While a crawl goes on, tag 3 is pushed: what the crawl did not see of it counts not.
		if _, err := db.Pushed(ctx, registry, 2, []Named{{Repository: "app", Tag: "3", Digest: digest("c")}}); err != nil {
			t.Fatal(err)
		}
		if n, err := db.RetireTags(ctx, registry, "app", at.Add(time.Minute), []string{"2", "3"}); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		got, err := db.Tagged(ctx, registry, "app")
		if err != nil || len(got) != 2 || got["1"] != digest("a") || got["3"] != digest("c") {
			t.Errorf("%v, %v", got, err)
		}
		if gone, err := db.Manifests(ctx, nil, "gone", 0, 10); err != nil || len(gone) != 1 || gone[0].Digest != digest("b") {
			t.Errorf("%v, %v", gone, err)
		}
		if n, err := db.RetireRepository(ctx, registry, "app", time.Time{}); n != 2 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if live, err := db.LiveRepositories(ctx, registry); len(live) != 0 || err != nil {
			t.Errorf("%v, %v", live, err)
		}
		var history int
		if err := db.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM tags WHERE to_at IS NOT NULL`).Scan(&history); history != 3 || err != nil {
			t.Errorf("history: %d, %v", history, err)
		}
	})
}

func TestTakeDue(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		now := time.Now()
		db.now = func() time.Time { return now }
		take := func() bool {
			t.Helper()
			due, err := db.TakeDue(t.Context(), "x", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			return due
		}
		if !take() || take() {
			t.Error("the first time it is due, once")
		}
		now = now.Add(61 * time.Minute)
		if !take() || take() {
			t.Error("after an hour it is due, once")
		}
		if err := db.ScheduleStarted(t.Context(), "x", "me"); err != nil {
			t.Fatal(err)
		}
		if err := db.ScheduleEnded(t.Context(), "x", errors.New("no network")); err != nil {
			t.Fatal(err)
		}
		all, err := db.Schedules(t.Context())
		if err != nil || len(all) != 1 || all[0].Error != "no network" || all[0].StartedAt.IsZero() || all[0].EndedAt.IsZero() {
			t.Errorf("%+v, %v", all, err)
		}
	})
}
