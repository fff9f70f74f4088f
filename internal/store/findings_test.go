package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/inventory"
	"strata/internal/match"
)

// onEnginesWithClock is onEngines with a clock that goes on by a millisecond whenever
// it is looked at.
func onEnginesWithClock(t *testing.T, test func(t *testing.T, db *DB)) {
	onEngines(t, func(t *testing.T, db *DB) {
		var ticks atomic.Int64
		start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		db.now = func() time.Time { return start.Add(time.Duration(ticks.Add(1)) * time.Millisecond) }
		test(t, db)
	})
}

// wantFindings are the findings of an image by match.Find on all of it, that count: each
// pair of vulnerability and package version once.
func wantFindings(ctx context.Context, t testing.TB, a match.Advisories, inv *inventory.Image) []string {
	t.Helper()
	r, err := match.Find(ctx, inv, a, match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range r.Findings {
		p := &inv.Packages[f.Package]
		if p.State == inventory.Present && f.Suppressed == nil {
			out = append(out, fmt.Sprintf("%s %s/%s@%s %s %.1f %v %s %v", f.ID, p.Type, p.Name, p.Version, f.Severity, f.CVSS.Score, f.KEV, f.FixedVersion, f.Advisories))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func findingLines(findings []PackageFinding) []string {
	var out []string
	for _, f := range findings {
		if f.Suppressed == "" {
			out = append(out, fmt.Sprintf("%s %s/%s@%s %s %.1f %v %s %v", f.Vulnerability, f.Package.Type, f.Package.Name, f.Package.Version, f.Severity, f.Score, f.KEV, f.FixedVersion, f.Advisories))
		}
	}
	slices.Sort(out)
	return out
}

// checkCounts holds the counts of an image against what was found in it.
func checkCounts(t testing.TB, db *DB, id int64, findings []PackageFinding) {
	t.Helper()
	var got, want [5]int
	for _, f := range findings {
		if f.Suppressed == "" {
			want[f.Severity.Rank()]++
		}
	}
	if err := db.db.QueryRowContext(t.Context(), `SELECT unknown, low, medium, high, critical FROM image_counts WHERE image = $1`, id).Scan(&got[0], &got[1], &got[2], &got[3], &got[4]); err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("image %d: counts %v, want %v", id, got, want)
	}
}

// A newsFeed is a mirror that is edited at random.
type newsFeed struct {
	r    *rand.Rand
	dir  string
	feed feed
	kev  []string
	tick int
}

func (n *newsFeed) edit() {
	n.tick++
	stamp := time.Date(2026, 1, 1, 0, 0, n.tick, 0, time.UTC).Format(time.RFC3339)
	ecosystem := []string{"Debian", "npm", "Bitnami", "Go"}[n.r.IntN(4)]
	records := n.feed[ecosystem]
	if len(records) > 1 && n.r.IntN(3) > 0 {
		i := 1 + n.r.IntN(len(records)-1)
		old := records[i]
		switch n.r.IntN(4) {
		case 0:
			n.feed[ecosystem] = slices.Delete(slices.Clone(records), i, i+1)
			return
		case 1:
			old.modified, old.withdrawn = stamp, !old.withdrawn
			records[i] = old
			return
		}
		records[i] = n.record(ecosystem, old.id, stamp)
		return
	}
	id := fmt.Sprintf("%s-%d", map[string]string{"Debian": "DSA", "npm": "GHSA-n", "Bitnami": "BIT", "Go": "GO"}[ecosystem], n.tick)
	n.feed[ecosystem] = append(records, n.record(ecosystem, id, stamp))
}

func (n *newsFeed) record(ecosystem, id, stamp string) feedRecord {
	r := feedRecord{id: id, modified: stamp, cvss: []string{"", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"}[n.r.IntN(3)]}
	if n.r.IntN(4) > 0 {
		r.aliases = []string{fmt.Sprintf("CVE-2026-%04d", 1000+n.r.IntN(6))}
	}
	for range 1 + n.r.IntN(2) {
		switch ecosystem {
		case "Debian":
			r.packages = append(r.packages, fmt.Sprintf("Debian:12 lib%d 1.%d-1", n.r.IntN(6), 1+n.r.IntN(4)))
		case "npm":
			r.packages = append(r.packages, fmt.Sprintf("npm m%d %d.0.0", n.r.IntN(3), 1+n.r.IntN(3)))
		case "Bitnami":
			r.packages = append(r.packages, fmt.Sprintf("Bitnami server %d.0", 1+n.r.IntN(4)))
		case "Go":
			r.packages = append(r.packages, fmt.Sprintf("Go example.org/server %d.0.0", 1+n.r.IntN(4)))
		}
	}
	return r
}

func (n *newsFeed) publish(t *testing.T) UpdateOptions {
	t.Helper()
	n.feed.write(t, n.dir)
	if n.r.IntN(3) == 0 {
		n.kev = nil
		for i := range 6 {
			if n.r.IntN(3) == 0 {
				n.kev = append(n.kev, fmt.Sprintf(`{"cveID": "CVE-2026-%04d", "dateAdded": "2026-01-01", "knownRansomwareCampaignUse": "Unknown"}`, 1000+i))
			}
		}
	}
	list := `{"cveID": "CVE-1999-0001", "dateAdded": "2026-01-01"}`
	for _, k := range n.kev {
		list += ", " + k
	}
	kev := filepath.Join(n.dir, "kev.json")
	writeFile(t, kev, []byte(`{"catalogVersion": "1", "vulnerabilities": [`+list+`]}`))
	return UpdateOptions{Ecosystems: []string{"all"}, KEV: kev}
}

// Over random edits of advisories while images come, the findings and counts of each
// image are those that matching its whole inventory gives; and later it can be told
// what they were at each moment.
func TestFindingsFollowAdvisories(t *testing.T) {
	onEnginesWithClock(t, func(t *testing.T, db *DB) {
		for seed := range uint64(2) {
			checkFindingsFollow(t, db, seed)
		}
	})
}

func checkFindingsFollow(t *testing.T, db *DB, seed uint64) {
	ctx := t.Context()
	n := &newsFeed{r: rand.New(rand.NewPCG(seed, 2)), dir: t.TempDir(), feed: feed{}}
	for _, e := range []string{"Debian", "npm", "Bitnami", "Go"} {
		n.feed[e] = []feedRecord{{id: "X-" + e, modified: "2026-01-01T00:00:00Z", packages: []string{e + " nothing 1"}}}
	}
	fleet := newTestFleet(seed, 0)
	type moment struct {
		at   time.Time
		want map[int64][]string
	}
	var moments []moment
	ids := map[int64]*inventory.Image{}
	rematched := 0
	for step := range 14 {
		for range 2 {
			c := fleet.grow()
			id, err := db.PutImage(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			ids[id] = c.Inventory
		}
		for range 1 + n.r.IntN(6) {
			n.edit()
		}
		if step == 0 {
			for range 25 {
				n.edit()
			}
		}
		if step%5 == 4 {
			// Package versions that are first seen between two syncs.
			mustMatch(t, db)
		}
		s, err := db.SyncAdvisories(ctx, "me", openMirror(t, n.dir), n.publish(t))
		if err := errors.Join(err, s.Err()); err != nil {
			t.Fatal(err)
		}
		rematched += mustMatch(t, db).Rematched
		m := moment{db.now(), map[int64][]string{}}
		a, err := db.Advisories(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for id, inv := range ids {
			m.want[id] = wantFindings(ctx, t, a, inv)
			findings, err := db.FindingsAt(ctx, id, m.at)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(m.want[id], findingLines(findings)); diff != "" {
				t.Fatalf("seed %d, step %d, image %d (-want +got):\n%s", seed, step, id, diff)
			}
			checkCounts(t, db, id, findings)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		moments = append(moments, m)
	}
	all := 0
	for step, m := range moments {
		for id, want := range m.want {
			findings, err := db.FindingsAt(ctx, id, m.at)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, findingLines(findings)); diff != "" {
				t.Fatalf("seed %d, image %d at step %d (-want +got):\n%s", seed, id, step, diff)
			}
			all += len(want)
		}
	}
	if all == 0 || rematched == 0 {
		t.Fatalf("%d findings, %d matched again: the test tests nothing", all, rematched)
	}
}

func mustMatch(t testing.TB, db *DB) MatchSummary {
	t.Helper()
	s, err := db.MatchDue(t.Context(), "me")
	if err != nil {
		t.Fatal(err)
	}
	return s
}
