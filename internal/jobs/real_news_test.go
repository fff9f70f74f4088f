package jobs

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/advisory"
	"strata/internal/match"
	"strata/internal/notify"
	"strata/internal/report"
	"strata/internal/store"
)

const everythingFixable = `name: known
rules:
  - name: any
    when: finding.severity in ["critical", "high", "medium", "low", "unknown"]
    action: fail
`

// TestRealNews scans a real fleet by the advisories of osv, and lets them become those of
// osv-next: just the findings and violations appear and end that a fresh look at each
// image gives, and the registry is asked for nothing.
func TestRealNews(t *testing.T) {
	fleet := startFleet(t)
	feeds, err := filepath.Abs("../../../shared/feeds")
	if err != nil {
		t.Fatal(err)
	}
	old, next := advisoriesOf(t, filepath.Join(feeds, "osv")), advisoriesOf(t, filepath.Join(feeds, "osv"), filepath.Join(feeds, "osv-next"))
	onEngines(t, func(t *testing.T, location string) {
		in := startInstance(t, location)
		id := in.add(t, store.Registry{Name: "fleet", URL: "http://" + fleet.proxied, Settings: store.RegistrySettings{Rate: 1000}})
		if r := in.crawled(t, id); r.CrawlError != "" {
			t.Fatal(r.CrawlError)
		}
		in.states(t)
		n := &newsTest{t: t, db: in.db, syncs: &Syncs{DB: in.db, Instance: "one", Enqueue: func(context.Context, ...Job) error { return nil }},
			court: &Court{DB: in.db, Reports: &Reports{DB: in.db}}}
		document := &store.Document{Kind: store.PolicyDocument, Name: "known", Text: everythingFixable}
		if _, err := CheckDocument(document); err != nil {
			t.Fatal(err)
		}
		if err := in.db.PutDocument(t.Context(), document); err != nil {
			t.Fatal(err)
		}
		told := &hook{refuse: -1}
		receiver := httptest.NewServer(told)
		defer receiver.Close()
		secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte("secret"))
		if err := in.db.PutReceiver(t.Context(), &store.Receiver{Name: "hook", Kind: "webhook", Settings: store.ReceiverSettings{URL: receiver.URL}}, &secret); err != nil {
			t.Fatal(err)
		}
		n.deliver = DeliverWork(DeliverOptions{DB: in.db, Sender: notify.NewSender(http.DefaultClient), Settle: time.Nanosecond})
		if err := in.db.PutWatch(t.Context(), &store.Watch{Name: "all", Policies: []string{"known"}, Receivers: []string{"hook"}}); err != nil {
			t.Fatal(err)
		}
		n.advance(filepath.Join(feeds, "osv"), []string{"Alpine", "Debian", "Go", "Maven", "npm", "PyPI", "RubyGems"})
		before := n.expected(old)
		if diff := cmp.Diff(before, n.violations(false)); diff != "" {
			t.Fatalf("by osv (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(flawsOf(before), told.flaws(t)); diff != "" {
			t.Errorf("told of by osv (-want +got):\n%s", diff)
		}
		fleet.manifests.Store(0)
		fleet.blobs.Store(0)
		fleet.heads.Store(0)
		n.advance(filepath.Join(feeds, "osv-next"), []string{"Alpine", "Go", "Maven", "npm"})
		after := n.expected(next)
		if slices.Equal(before, after) {
			t.Fatal("osv-next has no news for the fleet: nothing is tested")
		}
		if diff := cmp.Diff(after, n.violations(false)); diff != "" {
			t.Errorf("by osv-next (-want +got):\n%s", diff)
		}
		gone := slices.DeleteFunc(slices.Clone(before), func(s string) bool { _, still := slices.BinarySearch(after, s); return still })
		if diff := cmp.Diff(gone, n.violations(true)); diff != "" {
			t.Errorf("resolved (-want +got):\n%s", diff)
		}
		n.checkCounts(next)
		news := slices.DeleteFunc(slices.Clone(after), func(s string) bool { _, old := slices.BinarySearch(before, s); return old })
		if diff := cmp.Diff(flawsOf(news), told.flaws(t)); diff != "" {
			t.Errorf("told of by osv-next (-want +got):\n%s", diff)
		}
		// Every job again changes nothing.
		n.advance(filepath.Join(feeds, "osv-next"), []string{"Alpine", "Go", "Maven", "npm"})
		if diff := cmp.Diff(after, n.violations(false)); diff != "" {
			t.Errorf("again (-want +got):\n%s", diff)
		}
		if again := told.flaws(t); len(again) > 0 {
			t.Errorf("told of again: %v", again)
		}
		if h, m, b := fleet.heads.Load(), fleet.manifests.Load(), fleet.blobs.Load(); h+m+b > 0 {
			t.Errorf("the registry was asked for %d heads, %d manifests and %d blobs", h, m, b)
		}
		t.Logf("%d violations before, %d after, %d resolved", len(before), len(after), len(gone))
	})
}

type newsTest struct {
	t     *testing.T
	db    *store.DB
	syncs *Syncs
	court *Court
	// deliver tells receivers.
	deliver Work
}

// advance does the jobs that follow from a state of the feeds.
func (n *newsTest) advance(mirror string, ecosystems []string) {
	n.t.Helper()
	n.syncs.Mirror, n.syncs.Ecosystems = mirror, ecosystems
	began := time.Now()
	if err := n.syncs.Sync(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
	synced := time.Now()
	if err := n.syncs.Match(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
	matched := time.Now()
	if err := n.court.Do(n.t.Context(), ""); err != nil {
		n.t.Fatal(err)
	}
	for range 2 { // routed, and then due
		if err := n.deliver.Do(n.t.Context(), ""); err != nil {
			n.t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	n.t.Logf("%s: synced in %v, matched in %v, judged in %v", filepath.Base(mirror), synced.Sub(began).Round(time.Millisecond), matched.Sub(synced).Round(time.Millisecond), time.Since(matched).Round(time.Millisecond))
}

// advisoriesOf is a file of the advisories of mirrors, one after the other.
func advisoriesOf(t *testing.T, mirrors ...string) *store.Advisories {
	t.Helper()
	path := filepath.Join(t.TempDir(), "advisories.db")
	for _, dir := range mirrors {
		m, err := advisory.OpenMirror(dir, advisory.MirrorOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ecosystems := []string{"Alpine", "Go", "Maven", "npm"}
		if filepath.Base(dir) == "osv" {
			ecosystems = append(ecosystems, "Debian", "PyPI", "RubyGems")
		}
		s, err := store.UpdateAdvisories(t.Context(), path, m, store.UpdateOptions{Ecosystems: ecosystems})
		if err != nil || s.Err() != nil {
			t.Fatal(err, s.Err())
		}
	}
	db, err := store.OpenAdvisories(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// images are all images with a tag.
func (n *newsTest) images() []store.ImageRow {
	n.t.Helper()
	rows, err := n.db.Images(n.t.Context(), store.ImageQuery{Limit: 500})
	if err != nil || len(rows) == 0 {
		n.t.Fatal(len(rows), err)
	}
	return rows
}

// expected are the violations that a fresh look at each image gives: findings in present
// packages that are not set aside, and ends of life, each vulnerability and package name
// once an image.
func (n *newsTest) expected(advisories *store.Advisories) []string {
	n.t.Helper()
	reports := &Reports{DB: n.db, Advisories: func(context.Context) (match.Advisories, report.Advisories, error) {
		return advisories, report.Advisories{}, nil
	}}
	var out []string
	for _, row := range n.images() {
		r, err := reports.Report(n.t.Context(), row.ID)
		if err != nil {
			n.t.Fatal(err)
		}
		names := map[string]string{}
		for _, p := range r.Packages {
			names[p.ID] = p.Type + "/" + p.Name
		}
		for _, f := range r.Findings {
			if f.State == "present" && f.Suppressed == nil && f.Kind == report.KindVulnerability {
				out = append(out, fmt.Sprintf("%d %s %s", row.ID, f.ID, names[f.PackageID]))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// violations are those that are kept, of vulnerabilities.
func (n *newsTest) violations(resolved bool) []string {
	n.t.Helper()
	out := []string{}
	q := store.ViolationQuery{Resolved: resolved, Limit: 10_000}
	for {
		rows, err := n.db.Violations(n.t.Context(), q)
		if err != nil {
			n.t.Fatal(err)
		}
		more := len(rows) > q.Limit
		for _, v := range rows[:min(len(rows), q.Limit)] {
			if v.Policy == "known" && v.Vulnerability != "" && v.Package != "" && !endOfLife(v.Vulnerability) {
				out = append(out, fmt.Sprintf("%d %s %s", v.Image, v.Vulnerability, v.Package))
			}
			q.After = v.ID
		}
		if !more {
			slices.Sort(out)
			return slices.Compact(out)
		}
	}
}

// endOfLife tells the ids of ends of life from those of vulnerabilities.
func endOfLife(id string) bool { return len(id) > 4 && id[:4] == "EOL-" }

// checkCounts holds the numbers of each image against its report.
func (n *newsTest) checkCounts(advisories *store.Advisories) {
	n.t.Helper()
	for _, row := range n.images() {
		img, err := n.db.LoadImage(n.t.Context(), row.ID)
		if err != nil {
			n.t.Fatal(err)
		}
		res, err := (&Reports{DB: n.db}).Known(n.t.Context(), img, nil)
		if err != nil {
			n.t.Fatal(err)
		}
		found, err := match.Find(n.t.Context(), &res.Inventory, advisories, match.Options{})
		if err != nil {
			n.t.Fatal(err)
		}
		var want store.Counts
		seen := map[string]bool{}
		for _, f := range found.Findings {
			p := &res.Inventory.Packages[f.Package]
			key := f.ID + " " + p.Type + " " + p.Ecosystem + " " + p.Name + " " + p.Version + " " + p.Arch + " " + p.PURL + p.SourceName + p.SourceVersion
			if f.State != "present" || f.Suppressed != nil || seen[key] {
				continue
			}
			seen[key] = true
			switch f.Severity {
			case advisory.Critical:
				want.Critical++
			case advisory.High:
				want.High++
			case advisory.Medium:
				want.Medium++
			case advisory.Low:
				want.Low++
			default:
				want.Unknown++
			}
		}
		if want != row.Counts {
			n.t.Errorf("%s: counts %+v, its report has %+v", row.Reference, row.Counts, want)
		}
	}
}

// flawsOf are the vulnerabilities of violations, each once.
func flawsOf(violations []string) []string {
	out := []string{}
	for _, v := range violations {
		out = append(out, strings.Fields(v)[1])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// flaws are the vulnerabilities that it was told of since it was last asked, and each
// time that one was.
func (h *hook) flaws(t *testing.T) []string {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []string{}
	for _, body := range h.bodies {
		for _, m := range regexp.MustCompile(`"vulnerability":"([^"]+)"`).FindAllStringSubmatch(body, -1) {
			if !endOfLife(m[1]) {
				out = append(out, m[1])
			}
		}
	}
	h.bodies = nil
	slices.Sort(out)
	return out
}
