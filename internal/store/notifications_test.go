package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/notify"
)

// violate makes n images in the repositories of an owner, each with an open violation.
func violate(t *testing.T, db *DB, n int, owner, vulnerability string) {
	t.Helper()
	var registry, repository, watch int64
	one := func(to *int64, query string, args ...any) {
		t.Helper()
		if err := db.db.QueryRowContext(t.Context(), query, args...).Scan(to); err != nil {
			t.Fatal(err)
		}
	}
	one(&registry, `INSERT INTO registries (name, url, kind, settings, created_at, updated_at) VALUES ('hub', 'https://hub.example', 'crawled', '{}', 1, 1) ON CONFLICT (name) DO UPDATE SET updated_at = 1 RETURNING id`)
	one(&repository, `INSERT INTO repositories (registry, name, owner, seen_at) VALUES ($1, $2, $3, 1) ON CONFLICT (registry, name) DO UPDATE SET seen_at = 1 RETURNING id`, registry, owner+"/app", owner)
	one(&watch, `SELECT id FROM watches`)
	for i := range n {
		var manifest, image, id int64
		digest := fmt.Sprintf("sha256:%s-%s-%d", owner, vulnerability, i)
		one(&manifest, `INSERT INTO manifests (repository, digest, state, found_at) VALUES ($1, $2, 'scanned', 1) RETURNING id`, repository, digest)
		one(&image, `INSERT INTO images (digest, config_digest, platform, reference, analyzer_set, layers, top, size, found_at, scanned_at)
			VALUES ($1, 'c', 'linux/amd64', 'r', 'a', 1, 1, 1, 1, 1) RETURNING id`, digest)
		if _, err := db.db.ExecContext(t.Context(), `INSERT INTO manifest_images (manifest, image) VALUES ($1, $2)`, manifest, image); err != nil {
			t.Fatal(err)
		}
		one(&id, `INSERT INTO tags (repository, name, manifest, from_at) VALUES ($1, $2, $3, 1) RETURNING id`, repository, fmt.Sprintf("%s-%d", vulnerability, i), manifest)
		one(&id, `INSERT INTO violations (watch, image, policy, rule, subject, decision, vulnerability, severity, message, first_seen_at, last_seen_at)
			VALUES ($1, $2, 'p', 'r', $3, 'fail', $4, 3, 'm', 1, 1) RETURNING id`, watch, image, []byte(vulnerability), vulnerability)
	}
}

func receiverAndWatch(t *testing.T, db *DB, schedule string) {
	t.Helper()
	secret := "whsec_c2VjcmV0"
	r := &Receiver{Name: "hook", Kind: "webhook", Settings: ReceiverSettings{URL: "https://hook.example/x", Schedule: schedule}}
	if err := db.PutReceiver(t.Context(), r, &secret); err != nil {
		t.Fatal(err)
	}
	if err := db.PutWatch(t.Context(), &Watch{Name: "all", Receivers: []string{"hook", "nobody"}}); err != nil {
		t.Fatal(err)
	}
}

// Many images of one owner make one message, whoever routes, and each is told once.
func TestRouteOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		receiverAndWatch(t, db, "")
		violate(t, db, 30, "ann", "CVE-1")
		violate(t, db, 2, "bob", "CVE-1")
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if _, err := db.RouteViolations(t.Context(), 0); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		violate(t, db, 1, "ann", "CVE-2")
		if n, err := db.RouteViolations(t.Context(), 0); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		got, err := db.ClaimNotifications(t.Context(), "me", 10, time.Minute)
		if err != nil || len(got) != 3 {
			t.Fatalf("%d notifications, %v", len(got), err)
		}
		counts := map[string]int{}
		for _, n := range got {
			var groups []notify.Group
			if err := json.Unmarshal([]byte(n.Payload), &groups); err != nil || len(groups) != 1 {
				t.Fatalf("%s %v", n.Payload, err)
			}
			g := groups[0]
			counts[g.Vulnerability+g.Owner] = g.ImageCount
			if len(g.Images) != min(g.ImageCount, namesInGroup) {
				t.Errorf("%d names of %d", len(g.Images), g.ImageCount)
			}
		}
		if fmt.Sprint(counts) != "map[CVE-1ann:30 CVE-1bob:2 CVE-2ann:1]" {
			t.Error(counts)
		}
		if again, err := db.ClaimNotifications(t.Context(), "me", 10, time.Minute); err != nil || len(again) != 0 {
			t.Errorf("claimed twice: %v, %v", again, err)
		}
	})
}

// People who would be told of too much at once get one message; programs get each.
func TestRouteSeveral(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		receiverAndWatch(t, db, "")
		mail := &Receiver{Name: "mail", Kind: "email", Settings: ReceiverSettings{Host: "mail.example", From: "s@mail.example", To: []string{"all@mail.example"}, ToOwner: map[string]string{"ann": "ann@mail.example"}}}
		if err := db.PutReceiver(t.Context(), mail, nil); err != nil {
			t.Fatal(err)
		}
		if err := db.PutWatch(t.Context(), &Watch{Name: "all", Receivers: []string{"hook", "mail"}}); err != nil {
			t.Fatal(err)
		}
		for i := range mostApart + 1 {
			violate(t, db, 1, "ann", fmt.Sprintf("CVE-%d", i))
		}
		violate(t, db, 1, "bob", "CVE-0")
		if _, err := db.RouteViolations(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			claimed, err := db.ClaimNotifications(t.Context(), "me", 100, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if len(claimed) == 0 {
				break
			}
			for i := range claimed {
				n := &claimed[i]
				got = append(got, fmt.Sprintf("%s %s: %s (%d)", n.ReceiverName, n.Recipient, n.Subject, strings.Count(n.Payload, `"policy"`)))
				if err := db.NotificationSent(t.Context(), n.ID, n.Fence); err != nil {
					t.Fatal(err)
				}
			}
		}
		slices.Sort(got)
		want := []string{"hook : CVE-0 (ann) (1)", "hook : CVE-0 (bob) (1)", "hook : CVE-1 (ann) (1)", "hook : CVE-2 (ann) (1)", "hook : CVE-3 (ann) (1)", "hook : CVE-4 (ann) (1)", "hook : CVE-5 (ann) (1)",
			"mail all@mail.example: CVE-0 (bob) (1)", "mail ann@mail.example: 6 findings, CVE-0 the gravest (6)"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// One that dies after it has sent: the same delivery goes again, and what it records later
// counts for nothing.
func TestDeliveryAfterCrash(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		receiverAndWatch(t, db, "")
		violate(t, db, 1, "ann", "CVE-1")
		if _, err := db.RouteViolations(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		dead, err := db.ClaimNotifications(t.Context(), "dead", 1, time.Minute)
		if err != nil || len(dead) != 1 {
			t.Fatalf("%v %v", dead, err)
		}
		if err := db.ExpireClaims(t.Context(), "another"); err != nil {
			t.Fatal(err)
		}
		if none, err := db.ClaimNotifications(t.Context(), "me", 1, time.Minute); err != nil || len(none) != 0 {
			t.Errorf("claimed while it is sent: %v %v", none, err)
		}
		if err := db.ExpireClaims(t.Context(), "dead"); err != nil {
			t.Fatal(err)
		}
		next, err := db.ClaimNotifications(t.Context(), "me", 1, time.Minute)
		if err != nil || len(next) != 1 || next[0].Delivery != dead[0].Delivery || next[0].Payload != dead[0].Payload {
			t.Fatalf("%v %v", next, err)
		}
		if err := db.NotificationSent(t.Context(), dead[0].ID, dead[0].Fence); !errors.Is(err, ErrConflict) {
			t.Error(err)
		}
		if err := db.NotificationFailed(t.Context(), next[0].ID, next[0].Fence, "no", time.Time{}); err != nil {
			t.Error(err)
		}
		if err := db.ResendNotification(t.Context(), next[0].ID); err != nil {
			t.Error(err)
		}
		last, err := db.ClaimNotifications(t.Context(), "me", 1, time.Minute)
		if err != nil || len(last) != 1 || last[0].Attempts != 3 || last[0].Delivery != dead[0].Delivery {
			t.Fatalf("%v %v", last, err)
		}
		if err := db.NotificationSent(t.Context(), last[0].ID, last[0].Fence); err != nil {
			t.Error(err)
		}
		if list, err := db.Notifications(t.Context(), "sent", 0, 5); err != nil || len(list) != 1 || list[0].ReceiverName != "hook" {
			t.Errorf("%v %v", list, err)
		}
	})
}

// A digest waits for its hour. What is left without violations, as when a watch is deleted,
// is no message.
func TestDigest(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		receiverAndWatch(t, db, "daily 08:00 Europe/Berlin")
		for _, cve := range []string{"CVE-1", "CVE-2"} {
			violate(t, db, 1, "ann", cve)
			if _, err := db.RouteViolations(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
		}
		if list, err := db.Notifications(t.Context(), "", 0, 5); err != nil || len(list) != 1 || !list[0].DueAt.After(time.Now()) {
			t.Errorf("%v %v", list, err)
		}
		if err := db.DeleteWatch(t.Context(), "all"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.RouteViolations(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if list, err := db.Notifications(t.Context(), "", 0, 5); err != nil || len(list) != 0 {
			t.Errorf("%+v %v", list, err)
		}
	})
}

// What the image had that a tag named before is no news when the tag moves, unless it
// was resolved in between.
func TestRebuiltIsNoNews(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		receiverAndWatch(t, db, "")
		violate(t, db, 1, "ann", "CVE-1")
		rebuild := func(n int, at int64, vulnerabilities ...string) {
			t.Helper()
			one := func(query string, args ...any) (id int64) {
				t.Helper()
				if err := db.db.QueryRowContext(t.Context(), query, args...).Scan(&id); err != nil {
					t.Fatal(err)
				}
				return id
			}
			digest := fmt.Sprintf("sha256:rebuilt-%d", n)
			repository := one(`SELECT id FROM repositories`)
			manifest := one(`INSERT INTO manifests (repository, digest, state, found_at) VALUES ($1, $2, 'scanned', 1) RETURNING id`, repository, digest)
			image := one(`INSERT INTO images (digest, config_digest, platform, reference, analyzer_set, layers, top, size, found_at, scanned_at)
				VALUES ($1, 'c', 'linux/amd64', 'r', 'a', 1, 1, 1, 1, 1) RETURNING id`, digest)
			one(`INSERT INTO manifest_images (manifest, image) VALUES ($1, $2) RETURNING image`, manifest, image)
			if err := db.inTx(t.Context(), func(tx *sql.Tx) error { return moveTag(t.Context(), tx, repository, manifest, "CVE-1-0", at) }); err != nil {
				t.Fatal(err)
			}
			for _, v := range vulnerabilities {
				one(`INSERT INTO violations (watch, image, policy, rule, subject, decision, vulnerability, severity, message, first_seen_at, last_seen_at)
					VALUES ((SELECT id FROM watches), $1, 'p', 'r', $2, 'fail', $3, 3, 'm', $4, $4) RETURNING id`, image, []byte(v), v, at)
			}
			if _, err := db.db.ExecContext(t.Context(), `UPDATE violations SET resolved_at = $1 WHERE image <> $2 AND resolved_at IS NULL`, at, image); err != nil {
				t.Fatal(err)
			}
		}
		told := func(when string, want ...string) {
			t.Helper()
			if _, err := db.RouteViolations(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			claimed, err := db.ClaimNotifications(t.Context(), "me", 10, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, n := range claimed {
				got = append(got, n.Subject)
				if err := db.NotificationSent(t.Context(), n.ID, n.Fence); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s", when, diff)
			}
		}
		told("at first", "CVE-1 (ann)")
		rebuild(2, 10, "CVE-1", "CVE-2")
		told("rebuilt with one more", "CVE-2 (ann)")
		rebuild(3, 20, "CVE-1", "CVE-2")
		told("rebuilt")
		rebuild(4, 30, "CVE-2")
		told("one is fixed")
		rebuild(5, 40, "CVE-1", "CVE-2")
		told("and back", "CVE-1 (ann)")
	})
}

func TestNextDigest(t *testing.T) {
	tests := []struct{ schedule, now, want string }{
		{"", "2026-03-28T12:00:00Z", "2026-03-28T12:00:00Z"},
		{"immediately", "2026-03-28T12:00:00Z", "2026-03-28T12:00:00Z"},
		{"every 6h", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"},
		{"every 6h", "2027-01-01T00:00:00Z", "2027-01-01T06:00:00Z"},
		{"daily 08:00", "2026-12-31T07:59:59Z", "2026-12-31T08:00:00Z"},
		{"daily 08:00", "2026-12-31T08:00:00Z", "2027-01-01T08:00:00Z"},
		{"daily 08:00 Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T06:00:00Z"}, // the night before summer time
		{"daily 08:00 Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T07:00:00Z"}, // and before it ends
		{"daily 00:00 Asia/Tokyo", "2026-11-26T14:59:59Z", "2026-11-26T15:00:00Z"},
		{"daily 00:30 Pacific/Kiritimati", "2026-11-26T10:29:00Z", "2026-11-26T10:30:00Z"}, // there it is the 27th
		{"daily 23:30 Pacific/Pago_Pago", "2026-11-27T10:31:00Z", "2026-11-28T10:30:00Z"},  // there it was the 26th
		{"daily 01:30 America/New_York", "2026-11-01T05:00:00Z", "2026-11-01T05:30:00Z"},
		{"daily 01:30 America/New_York", "2026-11-01T05:31:00Z", "2026-11-02T06:30:00Z"}, // it comes twice that day, and counts once
	}
	for _, test := range tests {
		now, err := time.Parse(time.RFC3339, test.now)
		if err != nil {
			t.Fatal(err)
		}
		if at, err := nextDigest(test.schedule, now); err != nil || at.UTC().Format(time.RFC3339) != test.want {
			t.Errorf("%s, at %s: %v, %v; want %s", test.schedule, test.now, at.UTC(), err, test.want)
		}
	}
	for _, schedule := range []string{"every", "every 6", "every 1s", "every -6h", "daily", "daily 24:00", "daily 8", "daily 08:00 Mars", "weekly", "daily 08:00 Europe/Berlin now"} {
		if at, err := nextDigest(schedule, time.Unix(0, 0)); err == nil {
			t.Errorf("%s: %v", schedule, at)
		}
	}
}

// From one digest to the next is about a day, also where an hour is missing or comes twice.
func TestDigestsAreDaily(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo"} {
		for _, clock := range []string{"00:00", "00:30", "02:30", "23:59"} {
			at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			for range 400 {
				next, err := nextDigest("daily "+clock+" "+zone, at)
				if gap := next.Sub(at); err != nil || gap <= 0 || gap > 26*time.Hour || gap < 22*time.Hour && at.YearDay() != 1 {
					t.Fatalf("%s %s: %v after %v, %v", clock, zone, next, at, err)
				}
				at = next
			}
		}
	}
}
