package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/imagetest"
)

// TestChaos runs three instances over a PostgreSQL pair behind HAProxy, with a real
// registry. While images are pushed and clients ask, what can fail does: instances are
// killed and paused, cut off from their database, the database is restarted, gone, and
// replaced by its replica. In the end a checker, which knows what was pushed, holds all
// against one calm server that saw the same: not a byte of a report may differ, no
// notification may be missing, or be there twice, and no client may have noticed.
//
// STRATA_CHAOS=short takes a minute and a half; full is what scripts/chaos.sh runs.
func TestChaos(t *testing.T) {
	if os.Getenv("STRATA_CHAOS") == "" {
		t.Skip("STRATA_CHAOS is not short or full: make chaos")
	}
	w := newChaosWorld(t, 80)
	if os.Getenv("STRATA_CHAOS") == "full" {
		w.least, w.full = 600, true
	}
	w.cluster = startChaosCluster(t, startChaosPostgres(t, w.full && os.Getuid() == 0), w.mirror)
	w.begin()
	pushed := w.push()
	w.firstImages()
	stop := w.poll()
	w.faults()
	pushed()
	w.settle()
	stop()
	w.check()
}

// A chaosWorld is all that a run has.
type chaosWorld struct {
	t *testing.T
	// full lets all faults of TestChaos happen, not only those that take little time.
	full     bool
	start    time.Time
	mirror   string
	registry *chaosRegistry
	receiver *chaosReceiver
	cluster  *chaosCluster
	api      *chaosAPI
	// calmAPI is that of the calm server, once it was started; stopCalm ends it.
	calmAPI  *chaosAPI
	stopCalm func()
	// least is how many images are pushed at least.
	least int

	mu sync.Mutex
	// excused are times in which the database was away, and a client may be told so.
	excused [][2]time.Time
	asked   []chaosAnswer
	pushed  atomic.Int64
	// hurried lets images be pushed without a pause, so that every instance has work.
	hurried atomic.Bool
	// digests are of the images whose push has begun, and hit is how many of these have
	// what chaosImpact asks for. told is the most images that an answer to it had.
	digests   map[string]bool
	hit, told int
}

// newChaosWorld makes one in which at least so many images are pushed; it has no cluster yet.
func newChaosWorld(t *testing.T, least int) *chaosWorld {
	t.Helper()
	w := &chaosWorld{t: t, least: least, start: time.Now(), digests: map[string]bool{}, registry: startChaosRegistry(t), receiver: startChaosReceiver(t), mirror: filepath.Join(t.TempDir(), "mirror")}
	writeChaosFeed(t, w.mirror, false)
	return w
}

// chaosImpact is a question that clients ask.
const chaosImpact = "/api/v1/impact?vulnerability=GHSA-base-0000-0001"

// A chaosAnswer is what one question of a client came to.
type chaosAnswer struct {
	from, to time.Time
	what     string
	fault    string
}

// say prints a figure, for docs/reliability.md.
func (w *chaosWorld) say(format string, args ...any) {
	fmt.Printf("chaos\t%6.1f s\t%s\n", time.Since(w.start).Seconds(), fmt.Sprintf(format, args...))
}

// figure prints a number that a run came to; scripts/chaos.sh puts those of several runs
// together.
func (w *chaosWorld) figure(what string, value float64, unit string) {
	fmt.Printf("figure\t%s\t%.3f\t%s\n", what, value, unit)
}

// begin makes the administrator and tells the cluster what to watch.
func (w *chaosWorld) begin() {
	w.t.Helper()
	w.api = &chaosAPI{t: w.t, client: w.cluster.client, url: w.cluster.url}
	w.api.token = makeAdministrator(w.t, w.api.client, w.api.url, w.setupToken())
	w.api.setUp("http://"+w.registry.cable.address(), w.receiver.url, 0)
	var hook struct{ Secret, URL string }
	w.api.call("POST", "/api/v1/registries/fleet/hook-secret", nil, &hook)
	w.registry.start(w.cluster.url+"/hooks/fleet/distribution", hook.Secret, w.cluster.cert)
	w.cluster.eventually("all instances are ready", func() bool { return w.cluster.ready() == chaosInstances })
}

// setupToken is what the first instance that made the tables printed.
func (w *chaosWorld) setupToken() (token string) {
	w.t.Helper()
	w.cluster.eventually("a setup token is printed", func() bool {
		for _, i := range w.cluster.instances {
			if token = setupToken(i.log.String()); token != "" {
				return true
			}
		}
		return false
	})
	return token
}

// push pushes images one after another until pushed is called, and at least as many as are
// wanted; that waits for the last.
func (w *chaosWorld) push() (pushed func()) {
	const pace = 400 * time.Millisecond
	enough, done := make(chan struct{}), make(chan struct{})
	more := func(n int) bool {
		wait := pace
		if w.hurried.Load() {
			wait = 0
		}
		select {
		case <-enough:
			return n < w.least
		case <-time.After(wait):
			return true
		}
	}
	go func() {
		defer close(done)
		for n := 0; more(n); n++ {
			m := chaosImage(w.t, n)
			w.pushing(n, m)
			for w.registry.push(m) != nil {
				time.Sleep(time.Second) // as one who pushes does
			}
			w.pushed.Add(1)
		}
	}()
	return func() {
		close(enough)
		<-done
		w.say("%d images were pushed", w.pushed.Load())
	}
}

// firstImages waits for what clients ask about.
func (w *chaosWorld) firstImages() {
	w.t.Helper()
	w.eventually("the first images are there", func() bool {
		status, _, err := w.api.try("GET", chaosImpact, nil)
		return err == nil && status == http.StatusOK
	})
}

// pushing notes an image that the cluster may know from now on.
func (w *chaosWorld) pushing(n int, m *imagetest.Image) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.digests[imagetest.Digest(m.Manifest)] = true
	if n%chaosBases == 0 {
		w.hit++
	}
}

// poll lets clients ask through the balancer until it is stopped.
func (w *chaosWorld) poll() (stop func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	questions := []string{"/api/v1/images?limit=20", chaosImpact, "/api/v1/violations?limit=20", "/api/v1/me"}
	for _, what := range questions {
		wg.Go(func() {
			for {
				select {
				case <-end:
					return
				case <-time.After(50 * time.Millisecond):
					w.ask(what)
				}
			}
		})
	}
	return func() { close(end); wg.Wait() }
}

func (w *chaosWorld) ask(what string) {
	a := chaosAnswer{from: time.Now(), what: what}
	w.mu.Lock()
	told := w.told
	w.mu.Unlock()
	status, text, err := w.api.try("GET", what, nil)
	a.to = time.Now()
	switch {
	case err != nil:
		a.fault = err.Error()
	case status != http.StatusOK:
		a.fault = fmt.Sprintf("status %d: %.200s", status, text)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.fault == "" {
		a.fault = w.wrong(what, text, told)
	}
	w.asked = append(w.asked, a)
}

// wrong tells what is wrong with an answer, where something is: it must be of what was
// pushed, and know at least what any instance has told before the question (told).
func (w *chaosWorld) wrong(what string, text []byte, told int) string {
	type item struct{ Digest, Policy, Vulnerability string }
	var answer struct {
		Name   string
		Totals struct{ Images int }
		Images struct{ Items []item }
		Items  []item
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Sprintf("wrong: %v: %.200s", err, text)
	}
	for _, item := range slices.Concat(answer.Items, answer.Images.Items) {
		if item.Digest != "" && !w.digests[item.Digest] || item.Policy != "" && !strings.HasPrefix(item.Vulnerability, "GHSA-") || item.Digest+item.Policy == "" {
			return fmt.Sprintf("wrong: nobody pushed what it tells of: %+v", item)
		}
	}
	switch n := answer.Totals.Images; what {
	case chaosImpact:
		if n < told || n > w.hit {
			return fmt.Sprintf("wrong: %d images, want at least %d, which was told before, and at most the %d that were pushed", n, told, w.hit)
		}
		w.told = max(w.told, n)
	case "/api/v1/me":
		if answer.Name != "admin" {
			return fmt.Sprintf("wrong: %.200s", text)
		}
	}
	return ""
}

// excuse does something to the database, during which clients may be told that it is
// away, and until all instances are ready again.
func (w *chaosWorld) excuse(what string, do func()) {
	w.t.Helper()
	from := time.Now()
	do()
	w.cluster.eventually("instances are ready after: "+what, func() bool { return w.cluster.ready() == chaosInstances })
	to := time.Now().Add(time.Second) // what the balancer takes to see it
	w.mu.Lock()
	w.excused = append(w.excused, [2]time.Time{from.Add(-100 * time.Millisecond), to})
	w.mu.Unlock()
	w.say("%s: %.1f s until all instances were ready again", what, to.Sub(from).Seconds()-1)
	w.figure(what+": until all instances are ready", to.Sub(from).Seconds()-1, "s")
}

// faults lets happen what can.
func (w *chaosWorld) faults() {
	w.t.Helper()
	c := w.cluster
	w.killed(0)
	w.excuse("PostgreSQL is restarted", func() { c.postgres.restart("fast") })
	w.paused(1, 13*time.Second)
	writeChaosFeed(w.t, w.mirror, true)
	w.api.call("POST", "/api/v1/feeds/sync", nil, nil)
	w.say("the feed has news")
	w.killed(2)
	w.excuse("PostgreSQL fails over to its replica", c.postgres.failover)
	if !w.full {
		return
	}
	w.excuse("the old primary follows", c.postgres.follow)
	w.cutOff(0, 15*time.Second)
	w.receiver.refuses.Store(true)
	w.stopped(1)
	w.receiver.refuses.Store(false)
	w.excuse("PostgreSQL crashes", func() { c.postgres.restart("immediate") })
	w.excuse("the database is away for a minute", func() {
		for _, i := range c.instances {
			i.setCut(true)
		}
		w.startCalm() // while the machine has little to do
		time.Sleep(time.Minute)
		for _, i := range c.instances {
			i.setCut(false)
		}
	})
	if c.postgres.disk == nil {
		w.say("left out: a full disk, which only root can have made on Linux")
	} else {
		w.excuse("the disk of the database is full for 20 s", func() { c.postgres.fullDisk(20 * time.Second) })
	}
	w.registry.cable.setCut(true)
	w.say("the registry is gone")
	time.Sleep(10 * time.Second)
	w.registry.cable.setCut(false)
	w.killed(1)
	w.paused(0, 20*time.Second)
	w.excuse("PostgreSQL fails over back", c.postgres.failover)
	w.killed(0)
	w.killed(2)
}

// An ending is how an instance is ended: held still while it has work, killed, and in the
// end started again.
type ending struct {
	what                    string
	hold, goOn, kill, start func(*chaosInstance)
}

// killed kills an instance, as the loss of a machine does.
func (w *chaosWorld) killed(n int) {
	w.t.Helper()
	w.ended(n, ending{
		what: "an instance is killed",
		hold: func(i *chaosInstance) { i.signal(syscall.SIGSTOP) }, goOn: func(i *chaosInstance) { i.signal(syscall.SIGCONT) },
		kill: (*chaosInstance).kill, start: (*chaosInstance).start,
	})
}

// ended ends an instance in the middle of its work, waits until others have what it had,
// and starts it again.
func (w *chaosWorld) ended(n int, e ending) {
	w.t.Helper()
	i := w.cluster.instances[n]
	had := w.caught(i, e.hold, e.goOn)
	e.kill(i)
	w.takenOver(e.what, n, had)
	e.start(i)
	w.cluster.eventually("it is ready", func() bool { return w.cluster.ready() == chaosInstances })
}

// caught holds an instance still while it works on something, which it gives.
func (w *chaosWorld) caught(i *chaosInstance, hold, goOn func(*chaosInstance)) (had []string) {
	w.t.Helper()
	id := w.instance(i)
	w.hurried.Store(true)
	defer w.hurried.Store(false)
	w.cluster.eventually("it has work", func() bool {
		hold(i)
		if had = w.workOf(id); len(had) > 0 {
			return true
		}
		goOn(i)
		return false
	})
	return had
}

// instance is the id by which the others know one.
func (w *chaosWorld) instance(i *chaosInstance) string {
	w.t.Helper()
	var list json.RawMessage
	own := &chaosAPI{t: w.t, client: w.api.client, url: "http://" + i.listen, token: w.api.token}
	own.call("GET", "/api/v1/instances", nil, &list)
	return thisInstance(w.t, list)
}

// takenOver waits until nothing is left as it was of what an instance had at work.
func (w *chaosWorld) takenOver(what string, n int, had []string) {
	w.t.Helper()
	const late, goal = 10 * time.Second, 15 * time.Second
	began, why := time.Now(), []string(nil)
	took := w.cluster.eventually("its work is taken over", func() bool {
		now := w.scanning()
		if why == nil && time.Since(began) > late {
			why = w.jobs()
		}
		return !slices.ContainsFunc(had, func(m string) bool { return slices.Contains(now, m) })
	})
	w.say("%s (%d), with %d at work: done or taken over within %.1f s", what, n, len(had), took.Seconds())
	w.figure(what+": until its work is taken over", took.Seconds(), "s")
	if took > goal {
		w.t.Errorf("%s: its work was taken over after %v, want %v: %v; after %v there were\n%s", what, took, goal, had, late, strings.Join(why, "\n"))
	}
}

// jobs are those that are not done: how many scans wait in each queue, and those that are
// worked on, with by whom and for how long.
func (w *chaosWorld) jobs() []string {
	w.t.Helper()
	return w.cluster.postgres.sql(`SELECT concat_ws(' ', queue, state, count(*)) FROM river_job WHERE kind = 'scan' AND state NOT IN ('running', 'completed') GROUP BY queue, state
		UNION ALL SELECT concat_ws(' ', queue, 'manifest', args->>'key', 'by', attempted_by[array_upper(attempted_by, 1)], 'for', now() - attempted_at) FROM river_job WHERE kind = 'scan' AND state = 'running'`)
}

// eventually waits for what is to be done, and tells what is left when that takes long.
func (w *chaosWorld) eventually(what string, done func() bool) time.Duration {
	w.t.Helper()
	const late = time.Minute
	began, told := time.Now(), false
	return w.cluster.eventually(what, func() bool {
		if !told && time.Since(began) > late {
			told = true
			w.say("%s: after %v these are left:\n%s", what, late, strings.Join(w.left(), "\n"))
		}
		return done()
	})
}

// left are the manifests that are not scanned, and the jobs that are not done, with in how
// many seconds they are due.
func (w *chaosWorld) left() []string {
	w.t.Helper()
	return slices.Concat(
		w.cluster.postgres.sql(`SELECT concat_ws(' ', 'manifests', state, attempts, count(*), 'due in', min(due_at / 1000000 - extract(epoch FROM now())::bigint), max(due_at / 1000000 - extract(epoch FROM now())::bigint), max(left(reason, 100)))
			FROM manifests WHERE state <> 'scanned' GROUP BY state, attempts`),
		w.cluster.postgres.sql(`SELECT concat_ws(' ', 'jobs', kind, state, queue, priority, count(*), 'due in', min(scheduled_at - now()), max(scheduled_at - now()), max(left(errors[array_upper(errors, 1)]->>'error', 100)))
			FROM river_job WHERE state NOT IN ('completed', 'cancelled') GROUP BY kind, state, queue, priority`),
		w.cluster.postgres.sql(`SELECT concat_ws(' ', 'leader', leader_id, expires_at - now()) FROM river_leader`))
}

// scanning are the manifests that are worked on, with their fences.
func (w *chaosWorld) scanning() []string {
	w.t.Helper()
	return w.cluster.postgres.sql("SELECT id || '/' || fence FROM manifests WHERE state = 'scanning'")
}

// workOf are those that an instance works on.
func (w *chaosWorld) workOf(instance string) []string {
	w.t.Helper()
	return w.cluster.postgres.sql(`SELECT m.id || '/' || m.fence FROM manifests m JOIN river_job j ON j.kind = 'scan' AND j.args->>'key' = m.id::text
		WHERE m.state = 'scanning' AND j.state = 'running' AND j.attempted_by[array_upper(j.attempted_by, 1)] = '` + instance + `'`)
}

// paused stops an instance for longer than its leases last, and lets it go on.
func (w *chaosWorld) paused(n int, d time.Duration) {
	w.t.Helper()
	i := w.cluster.instances[n]
	i.signal(syscall.SIGSTOP)
	time.Sleep(d)
	i.signal(syscall.SIGCONT)
	took := w.cluster.eventually("the paused one is ready", func() bool { return w.cluster.ready() == chaosInstances })
	w.say("instance %d is paused for %v: ready %.1f s after it goes on", n, d, took.Seconds())
	w.figure("an instance is paused past its leases: until it is ready again", took.Seconds(), "s")
}

// cutOff takes an instance its network to the database.
func (w *chaosWorld) cutOff(n int, d time.Duration) {
	w.t.Helper()
	i := w.cluster.instances[n]
	i.setCut(true)
	took := w.cluster.eventually("the balancer leaves it out", func() bool { return w.cluster.ready() == chaosInstances-1 })
	time.Sleep(d)
	i.setCut(false)
	again := w.cluster.eventually("it is ready again", func() bool { return w.cluster.ready() == chaosInstances })
	w.say("instance %d is cut off from the database for %v: not ready after %.1f s, ready %.1f s after", n, d, took.Seconds(), again.Seconds())
	w.figure("an instance is cut off from the database: until it says that it is not ready", took.Seconds(), "s")
	w.figure("an instance is cut off from the database: until it is ready again", again.Seconds(), "s")
}

// stopped ends an instance as an upgrade does, and starts it again.
func (w *chaosWorld) stopped(n int) {
	w.t.Helper()
	i := w.cluster.instances[n]
	from := time.Now()
	i.signal(syscall.SIGTERM)
	if code := i.code(w.t); code != exitPass {
		w.t.Errorf("instance %d: exit code %d", n, code)
	}
	w.say("instance %d is told to stop: gone after %.1f s", n, time.Since(from).Seconds())
	w.figure("an instance is told to stop: until it is gone", time.Since(from).Seconds(), "s")
	i.start()
	w.cluster.eventually("it is ready", func() bool { return w.cluster.ready() == chaosInstances })
}

// settle waits until all that was pushed is scanned, and all who are to be told are.
func (w *chaosWorld) settle() {
	w.t.Helper()
	w.api.call("POST", "/api/v1/registries/fleet/crawl", nil, nil)
	sql := w.cluster.postgres.sql
	took := w.eventually("all images are scanned", func() bool {
		return sql("SELECT count(*) FROM images WHERE id IN (SELECT image FROM manifest_images)")[0] == fmt.Sprint(w.pushed.Load()) &&
			sql("SELECT count(*) FROM manifests WHERE state <> 'scanned'")[0] == "0" && sql("SELECT count(*) FROM packages WHERE matched_at IS NULL")[0] == "0"
	})
	w.say("all %d images are scanned, %.1f s after the last fault and push", w.pushed.Load(), took.Seconds())
	w.figure("images pushed", float64(w.pushed.Load()), "")
	w.figure("all images are scanned, after the last fault and push", took.Seconds(), "s")
	w.cluster.eventually("the news is there", func() bool {
		return sql("SELECT count(*) FROM vulnerability_names WHERE name = 'GHSA-NEWS-0000-0005'")[0] == "1"
	})
	quiet := 0
	w.cluster.eventually("all are told", func() bool {
		quiet++
		if sql("SELECT count(*) FROM watched_images WHERE due_at IS NOT NULL AND due_at <= extract(epoch FROM now()) * 1000000")[0] != "0" ||
			sql("SELECT count(*) FROM notifications WHERE state <> 'sent'")[0] != "0" {
			quiet = 0
		}
		return quiet > 50
	})
}

// check holds all against a calm server.
func (w *chaosWorld) check() {
	w.t.Helper()
	got := w.api.result()
	calm := w.calm()
	if pushed := int(w.pushed.Load()); len(calm.Reports) != pushed {
		w.t.Errorf("the calm server has %d images, want %d", len(calm.Reports), pushed)
	}
	if diff := cmp.Diff(calm, got); diff != "" {
		w.t.Errorf("not as on a calm server (-calm +chaos):\n%.5000s", diff)
	}
	w.checkNotifications()
	w.checkClients()
	for _, i := range w.cluster.instances {
		if f := faultsOf(i.log.String()); len(f) > 0 {
			w.t.Errorf("instance %d:\n%s", i.n, strings.Join(f[:min(len(f), 20)], "\n"))
		}
	}
	w.say("%d images, %d violations: as on a calm server, each byte", len(got.Reports), len(got.Violations))
}

// startCalm starts the calm server: one on SQLite that is left in peace.
func (w *chaosWorld) startCalm() {
	w.t.Helper()
	s := startServer(w.t, w.t.TempDir(), "--mirror", w.mirror, "--kev", "none", "--epss", "none", "--ecosystem", "npm", "--crawl-every", "1h", "--sync-every", "1h")
	const fast = 1000
	w.calmAPI = &chaosAPI{t: w.t, client: &http.Client{Timeout: time.Minute}, url: s.url, token: s.setup(w.t)}
	w.calmAPI.setUp("http://"+w.registry.address, "", fast)
	w.stopCalm = func() { s.stop(w.t) }
}

// calm is what the calm server knows of all that was pushed and told.
func (w *chaosWorld) calm() chaosResult {
	w.t.Helper()
	if w.calmAPI == nil {
		w.startCalm()
	}
	defer w.stopCalm()
	a := w.calmAPI
	a.call("POST", "/api/v1/feeds/sync", nil, nil)
	a.call("POST", "/api/v1/registries/fleet/crawl", nil, nil)
	var before string
	w.cluster.eventually("the calm server has all", func() bool {
		type manifest struct{ State string }
		for _, m := range chaosPages[manifest](a, "/api/v1/manifests?") {
			if m.State != "scanned" {
				return false
			}
		}
		_, now, _ := a.try("GET", "/api/v1/images?limit=200", nil)
		_, violations, _ := a.try("GET", "/api/v1/violations?limit=200", nil)
		same := before == string(now)+string(violations)
		before = string(now) + string(violations)
		time.Sleep(time.Second)
		return same && len(chaosPages[struct{}](a, "/api/v1/images?")) == int(w.pushed.Load())
	})
	return a.result()
}

// checkNotifications wants each violation told of in one notification, and that the
// receiver has each of these.
func (w *chaosWorld) checkNotifications() {
	w.t.Helper()
	sql := w.cluster.postgres.sql
	ids := sql("SELECT delivery FROM notifications ORDER BY 1")
	if len(slices.Compact(slices.Clone(ids))) != len(ids) {
		w.t.Errorf("a delivery id is there twice: %v", ids)
	}
	for what, query := range map[string]string{
		"that nobody was told of": `SELECT count(*) FROM violations v WHERE NOT EXISTS (SELECT 1 FROM notification_violations n WHERE n.violation = v.id)`,
		"that are told of twice":  `SELECT count(*) FROM (SELECT 1 FROM notification_violations GROUP BY violation, owner HAVING count(*) > 1) twice`,
	} {
		if n := sql(query)[0]; n != "0" {
			w.t.Errorf("%s violations %s", n, what)
		}
	}
	w.receiver.mu.Lock()
	defer w.receiver.mu.Unlock()
	again := 0
	for _, id := range ids {
		if w.receiver.got[id] == 0 {
			w.t.Errorf("notification %s was never delivered", id)
		}
		again += max(0, w.receiver.got[id]-1)
	}
	if len(w.receiver.got) != len(ids) {
		w.t.Errorf("the receiver got %d notifications, there are %d", len(w.receiver.got), len(ids))
	}
	w.say("%d notifications, each delivered; %d were delivered again under the same id", len(ids), again)
	w.figure("notifications", float64(len(ids)), "")
	w.figure("notifications delivered again, under the same id", float64(again), "")
}

// checkClients wants that clients were not disturbed while there was a database.
func (w *chaosWorld) checkClients() {
	w.t.Helper()
	var faults []chaosAnswer
	excused, asked := 0, len(w.asked)
	var times []time.Duration
	for _, a := range w.asked {
		times = append(times, a.to.Sub(a.from))
		if a.fault == "" {
			continue
		}
		if slices.ContainsFunc(w.excused, func(e [2]time.Time) bool { return a.to.After(e[0]) && a.from.Before(e[1]) }) && !strings.HasPrefix(a.fault, "wrong") {
			excused++
			continue
		}
		faults = append(faults, a)
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	for _, f := range faults[:min(len(faults), 10)] {
		w.say("a client was failed at %.1f s: %s: %s", f.to.Sub(w.start).Seconds(), f.what, f.fault)
	}
	w.say("%d answers to clients, %d failed while the database was away, %d besides; p50 %v, p99 %v", asked, excused, len(faults), times[asked/2].Round(time.Millisecond), times[asked*99/100].Round(time.Millisecond))
	if w.told != w.hit {
		w.t.Errorf("clients were told of %d images with a vulnerability that %d have", w.told, w.hit)
	}
	w.figure("answers to clients", float64(asked), "")
	w.figure("answers that failed while the database was away", float64(excused), "")
	w.figure("answers that failed besides", float64(len(faults)), "")
	w.figure("answers to clients, half of them within", times[asked/2].Seconds()*1000, "ms")
	w.figure("answers to clients, 99 of 100 within", times[asked*99/100].Seconds()*1000, "ms")
	for _, f := range faults {
		if strings.HasPrefix(f.fault, "wrong") {
			w.t.Errorf("at %.1f s: %s: %s", f.to.Sub(w.start).Seconds(), f.what, f.fault)
		}
	}
	if len(faults)*1000 > asked {
		w.t.Errorf("%d of %d answers to clients failed though the database was there, more than 1 in 1000", len(faults), asked)
	}
}
