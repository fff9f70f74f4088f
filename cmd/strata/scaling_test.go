package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/internal/imagetest"
)

// TestScaling measures what one, two and three instances do on one PostgreSQL: how many
// images a second they scan, and what an image and an answer cost in processor time of the
// instances and of PostgreSQL, by which one can reckon beyond this machine. It is run by
// scripts/scaling.sh; STRATA_SCALING is the number of images.
func TestScaling(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("STRATA_SCALING"))
	if err != nil || n < 10 {
		t.Skip("STRATA_SCALING, a number of at least 10 images, is not given: make scaling")
	}
	registry := startChaosRegistry(t)
	for i := range n {
		if err := registry.push(scalingImage(t, i)); err != nil {
			t.Fatal(err)
		}
	}
	mirror := t.TempDir()
	writeChaosFeed(t, mirror, false)
	for instances := 1; instances <= 3; instances++ {
		s := &scaling{t: t, postgres: startChaosPostgres(t, false)}
		for range instances {
			s.start(mirror)
		}
		s.scan("http://"+registry.address, n)
		s.answers("/api/v1/images?limit=50", "a page of images")
		s.answers(chaosImpact, "an impact")
		for _, i := range s.instances {
			i.stop(t)
		}
	}
}

// scalingImage is one of a fleet in which bases, runtimes and dependencies are shared as
// companies do: 3 layers, about 200 packages, and 6 MB to read for each new layer of
// dependencies.
func scalingImage(t *testing.T, n int) *imagetest.Image {
	t.Helper()
	layer := func(by, prefix string, packages int) imagetest.Layer {
		l := imagetest.Layer{CreatedBy: by, Compression: imagetest.Gzip}
		for i := range packages {
			name := fmt.Sprintf("%s-%d", prefix, i)
			l.Entries = append(l.Entries, imagetest.File(prefix+"/node_modules/"+name+"/package.json", fmt.Sprintf(`{"name": %q, "version": "1.0.0", "license": "MIT"}`, name)))
		}
		return l
	}
	base, dependencies := layer("ADD base /", fmt.Sprintf("base%d", n%4), 100), layer("RUN npm ci", fmt.Sprintf("deps%d", n/5), 100)
	for i := range 6 {
		dependencies.Entries = append(dependencies.Entries, imagetest.File(fmt.Sprintf("data/%d", i), strings.Repeat(fmt.Sprintf("%d of %d of %d ", i, n/5, n), 70_000)))
	}
	img, err := (&imagetest.Spec{Name: fmt.Sprintf("team%d/app%d:v%d", n%10, n/5, n), Layers: []imagetest.Layer{base, dependencies, layer("COPY . /app", fmt.Sprintf("app%d", n), 1)}}).Build()
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// A scaling is a number of instances on a database of their own.
type scaling struct {
	t         *testing.T
	postgres  *chaosPostgres
	instances []*servingProcess
	token     string
}

func (s *scaling) start(mirror string) {
	s.t.Helper()
	database := "postgres://postgres@127.0.0.1:" + s.postgres.ports[0] + "/strata?sslmode=disable"
	i := startMember(s.t, database, "--workers", "2", "--mirror", mirror, "--kev", "none", "--epss", "none", "--ecosystem", "npm", "--sync-every", "1h", "--crawl-every", "1h", "--allow-private-addresses")
	if s.token == "" {
		s.token = i.setup(s.t)
	}
	s.instances = append(s.instances, i)
}

// used is the processor time of the instances and of PostgreSQL so far.
func (s *scaling) used() (instances, postgres time.Duration) {
	s.t.Helper()
	for _, i := range s.instances {
		own, _ := processorTime(s.t, i.Process.Pid)
		instances += own
	}
	for j := range s.postgres.ports {
		text, err := os.ReadFile(filepath.Join(s.postgres.data(j), "postmaster.pid"))
		if err != nil {
			s.t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		pid, err := strconv.Atoi(first)
		if err != nil {
			s.t.Fatal(err)
		}
		own, ended := processorTime(s.t, pid)
		postgres += own + ended
		for _, child := range childrenOf(s.t, pid) {
			own, _ := processorTime(s.t, child)
			postgres += own
		}
	}
	return instances, postgres
}

// processorTime is that of a process, and of those it started that have ended: proc(5),
// the fields utime to cstime of /proc/PID/stat, in hundredths of a second on Linux.
func processorTime(t *testing.T, pid int) (own, ended time.Duration) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0 // it has ended since, and is counted by the one that started it
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	tick := func(i int) time.Duration {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(n) * 10 * time.Millisecond
	}
	return tick(11) + tick(12), tick(13) + tick(14)
}

func childrenOf(t *testing.T, pid int) (out []int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range strings.Fields(string(text)) {
		child, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, child)
	}
	return out
}

func (s *scaling) say(what, value string) {
	fmt.Printf("scaling\t%d\t%s\t%s\n", len(s.instances), what, value)
}

// scan lets the instances scan all images of a registry.
func (s *scaling) scan(registry string, n int) {
	s.t.Helper()
	sql := s.postgres.sql
	waitUntil(s.t, "the feed is read", time.Minute, func() bool {
		return sql("SELECT count(*) FROM schedules WHERE name = 'sync' AND ended_at IS NOT NULL")[0] == "1"
	})
	instances, postgres := s.used()
	wal := sql("SELECT pg_current_wal_lsn()")[0]
	start := time.Now()
	if status, body := s.instances[0].do(s.t, s.token, "POST", "/api/v1/registries", map[string]any{"name": "fleet", "url": registry, "settings": map[string]any{"rate": 10000}}); status != http.StatusCreated {
		s.t.Fatalf("%d %s", status, body)
	}
	waitUntil(s.t, "all are scanned and matched", 20*time.Minute, func() bool {
		return sql("SELECT count(*) FROM manifests WHERE state = 'scanned'")[0] == strconv.Itoa(n) && sql("SELECT count(*) FROM packages WHERE matched_at IS NULL")[0] == "0"
	})
	took := time.Since(start)
	instancesAfter, postgresAfter := s.used()
	each := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000/float64(n)) }
	s.say("images a second, found to matched", fmt.Sprintf("%.1f", float64(n)/took.Seconds()))
	s.say("an image, processor time of instances", each(instancesAfter-instances))
	s.say("an image, processor time of PostgreSQL and its replica", each(postgresAfter-postgres))
	s.say("an image, log of PostgreSQL", sql("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '" + wal + "')::bigint / 1000 / " + strconv.Itoa(n))[0]+" KB")
	for j, i := range s.instances {
		s.say(fmt.Sprintf("jobs of instance %d", j+1), sql("SELECT count(*) FROM river_job WHERE kind = 'scan' AND attempted_by[array_upper(attempted_by, 1)] = '" + instanceID(s.t, i, s.token) + "'")[0])
	}
}

// instanceID is by which name an instance is known to the others.
func instanceID(t *testing.T, i *servingProcess, token string) string {
	t.Helper()
	status, body := i.do(t, token, "GET", "/api/v1/instances", nil)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	return thisInstance(t, body)
}

// thisInstance is the id of the one that answered with a list of instances.
func thisInstance(t *testing.T, list []byte) string {
	t.Helper()
	var page struct {
		Items []struct {
			ID   string
			This bool
		}
	}
	if err := json.Unmarshal(list, &page); err != nil {
		t.Fatalf("%v: %s", err, list)
	}
	for _, item := range page.Items {
		if item.This {
			return item.ID
		}
	}
	t.Fatalf("no instance is this one: %s", list)
	return ""
}

// answers asks all instances at once.
func (s *scaling) answers(path, what string) {
	s.t.Helper()
	const each, clients = 100, 2
	instances, postgres := s.used()
	start := time.Now()
	var wg sync.WaitGroup
	for _, i := range s.instances {
		for range clients {
			wg.Go(func() {
				for range each {
					if status, body := i.do(s.t, s.token, "GET", path, nil); status != http.StatusOK {
						s.t.Errorf("%s: %d %s", path, status, body)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	took := time.Since(start)
	instancesAfter, postgresAfter := s.used()
	n := float64(each * clients * len(s.instances))
	s.say(what+", answers a second", fmt.Sprintf("%.0f", n/took.Seconds()))
	s.say(what+", processor time of instances", fmt.Sprintf("%.2f ms", (instancesAfter-instances).Seconds()*1000/n))
	s.say(what+", processor time of PostgreSQL", fmt.Sprintf("%.2f ms", (postgresAfter-postgres).Seconds()*1000/n))
}
