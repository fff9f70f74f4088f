package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestChaosUnreliable is TestChaos where nothing is gone, and nothing can be relied on: the
// clocks of the instances are hours apart, the network to the database comes and goes, the
// registry gives a few bytes at a time, and the database has no connections left.
func TestChaosUnreliable(t *testing.T) {
	if os.Getenv("STRATA_CHAOS") != "full" {
		t.Skip("STRATA_CHAOS is not full: make chaos")
	}
	w := newChaosWorld(t, 150)
	w.cluster = startChaosCluster(t, startChaosPostgres(t, false), w.mirror, 0, chaosSkew, -chaosSkew)
	w.begin()
	w.clocksDiffer()
	pushed := w.push()
	w.firstImages()
	stop := w.poll()
	for n := range w.cluster.instances {
		w.killed(n)
	}
	w.flaps(0, 20*time.Second)
	w.slowRegistry(20 * time.Second)
	w.noConnections(15 * time.Second)
	writeChaosFeed(t, w.mirror, true)
	w.api.call("POST", "/api/v1/feeds/sync", nil, nil)
	w.paused(1, 13*time.Second)
	w.killed(2)
	pushed()
	w.settle()
	stop()
	w.check()
}

// chaosSkew is by how much clocks are off.
const chaosSkew = time.Hour

// skewVariable tells a program of skewedStrata by how many seconds its clock is ahead.
const skewVariable = "STRATA_CHAOS_SKEW"

// skewedStrata builds the command as it ships, but for what time.Now tells it: a program
// that is linked statically takes the time from no library that could be replaced.
func skewedStrata(t *testing.T) string {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(folder, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const reads = "\tsec, nsec, mono := runtimeNow()\n"
	before, after, found := strings.Cut(string(text), reads)
	if !found {
		t.Fatalf("time.go of %s has no more %q", folder, reads)
	}
	dir, replaced := t.TempDir(), map[string]string{}
	for name, text := range map[string]string{
		"time.go": before + reads + "\tsec += skew\n" + after,
		"skew.go": `package time

import "syscall"

var skew = func() int64 {
	text, _ := syscall.Getenv("` + skewVariable + `")
	seconds, err := atoi(text)
	if err != nil {
		panic(err)
	}
	return int64(seconds)
}()
`,
	} {
		replaced[filepath.Join(folder, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o644); err != nil {
		t.Fatal(err)
	}
	return buildStrata(t, "-trimpath", "-overlay", path)
}

// clocksDiffer makes sure that they do.
func (w *chaosWorld) clocksDiffer() {
	w.t.Helper()
	const most = 5 * time.Second
	for _, i := range w.cluster.instances {
		res, err := http.Get("http://" + i.listen + "/healthz")
		if err != nil {
			w.t.Fatal(err)
		}
		_ = res.Body.Close()
		tells, err := http.ParseTime(res.Header.Get("Date"))
		if err != nil {
			w.t.Fatal(err)
		}
		if off := time.Until(tells) - i.skew; off.Abs() > most {
			w.t.Fatalf("the clock of instance %d tells %v, want it to be ahead by %v", i.n, tells, i.skew)
		}
	}
	w.say("the clocks of two instances are %v ahead and behind", chaosSkew)
}

// flaps lets the network of an instance to the database come and go.
func (w *chaosWorld) flaps(n int, d time.Duration) {
	w.t.Helper()
	const beat = 700 * time.Millisecond
	i, cut := w.cluster.instances[n], false
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(beat) {
		cut = !cut
		i.setCut(cut)
	}
	i.setCut(false)
	took := w.cluster.eventually("the one whose network came and went is ready", func() bool { return w.cluster.ready() == chaosInstances })
	w.say("the network of instance %d came and went for %v: ready %.1f s after", n, d, took.Seconds())
	w.figure("the network of an instance to the database comes and goes: until it is ready, from its end", took.Seconds(), "s")
}

// slowRegistry lets the registry be slow, while all instances have work with it.
func (w *chaosWorld) slowRegistry(d time.Duration) {
	w.t.Helper()
	w.registry.cable.slow.Store(true)
	w.hurried.Store(true)
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
		if ready := w.cluster.ready(); ready != chaosInstances {
			w.t.Errorf("%d instances are ready while the registry is slow, want %d", ready, chaosInstances)
		}
	}
	w.hurried.Store(false)
	w.registry.cable.slow.Store(false)
	w.say("the registry was slow for %v, and all instances ready", d)
}

// noConnections lets the database have none left for the instances.
func (w *chaosWorld) noConnections(d time.Duration) {
	w.t.Helper()
	w.excuse("the database has no connections left", func() {
		w.cluster.postgres.full(func() {
			took := w.cluster.eventually("all instances say that they are not ready", func() bool { return w.cluster.ready() == 0 })
			w.figure("the database has no connections left: until all instances say that they are not ready", took.Seconds(), "s")
			time.Sleep(d)
		})
	})
}
