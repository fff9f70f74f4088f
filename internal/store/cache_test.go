package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/scan"
)

var _ scan.Cache = (*Cache)(nil)

func openTestCache(t testing.TB, path string) *Cache {
	t.Helper()
	c, err := OpenCache(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// diffID is one of which n are different.
func diffID(n int) image.DiffID { return image.DiffID(fmt.Sprintf("sha256:%064x", n)) }

// fullLayer has a value in every field.
func fullLayer(n int) *inventory.Layer {
	pkg := inventory.Package{Type: "deb", Name: "libstdc++6", Version: "1:12.2~rc-1", Arch: "amd64", SourceName: "gcc-12", SourceVersion: "12.2",
		Ecosystem: "Debian:12", Licenses: []string{"GPL-3.0", "custom <&>"}, Member: "a/b.jar", KnownAs: []inventory.KnownAs{{Ecosystem: "Bitnami", Name: "x", Version: "1"}}}
	var paths inventory.PathsBuilder
	for _, p := range []inventory.Path{
		{Path: "", Kind: inventory.PathDir}, {Path: "a", Kind: inventory.PathDir}, {Path: "a/b", Kind: inventory.PathFile}, {Path: "a/l", Kind: inventory.PathSymlink, Target: "../x"},
		{Path: "a/gone", Kind: inventory.PathWhiteout}, {Path: "a", Kind: inventory.PathOpaque}, {Path: "ü\nz\"", Kind: inventory.PathFile},
	} {
		paths.Add(p, -1)
	}
	listing, _ := paths.Build()
	return &inventory.Layer{
		DiffID: diffID(n), Size: 1 << 40, Entries: 7,
		Files:    []inventory.File{{Path: "a/b", Analyzer: "dpkg", Kind: inventory.Database, Database: "dpkg", Packages: []inventory.Package{pkg, {Type: "npm", Name: "@a/b", Version: "1"}}, Owner: "deb:x"}},
		Links:    []inventory.Link{{Path: "a/l", Target: "x", Analyzer: "npm", Symbolic: true, Owner: "deb:y"}, {Path: "h", Target: "a/b"}},
		Distros:  []inventory.DistroFile{{Path: "etc/os-release", Distro: inventory.Distro{ID: "debian", IDLike: []string{"x"}, VersionID: "12", Codename: "bookworm", Name: "Debian", CPE: "cpe:/o"}}},
		Licenses: []inventory.LicenseFile{{Path: "a/b", Member: "META-INF/LICENSE", Kind: inventory.LicenseText, Expression: "MIT OR LicenseRef-x", Coverage: 99.5, Package: "cargo:x@1"}},
		Problems: []inventory.Problem{{Path: "p", Layer: -1, Analyzer: "npm", Message: "odd \x1b[31m\u2028", Incomplete: true}},
		Digests:  inventory.PackDigests(listing, []inventory.FileDigest{{Path: "a/b", SHA256: testContent(n)}}),
		Paths:    listing,
	}
}

// requireFull fails when a field of v, at any depth, is zero, so that the round
// trip is one of every field that will be.
func requireFull(t *testing.T, v reflect.Value, name string) {
	t.Helper()
	if v.IsZero() {
		t.Errorf("the test's layer has nothing in %s", name)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		requireFull(t, v.Elem(), name)
	case reflect.Slice:
		if v.Type() != reflect.TypeFor[inventory.Paths]() {
			requireFull(t, v.Index(0), name+"[0]")
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name == "Packed" {
				continue // another form of the listing
			}
			requireFull(t, v.Field(i), name+"."+v.Type().Field(i).Name)
		}
	}
}

func TestCacheRoundTrip(t *testing.T) {
	c := openTestCache(t, filepath.Join(t.TempDir(), "sub dir", "cache?%.db"))
	full := fullLayer(1)
	requireFull(t, reflect.ValueOf(full), "Layer")
	for _, want := range []*inventory.Layer{full, {DiffID: diffID(2)}} {
		for range 2 { // again is no error
			if err := c.PutLayer(t.Context(), "1", want); err != nil {
				t.Fatal(err)
			}
		}
		got, err := c.Layer(t.Context(), want.DiffID, "1")
		if err != nil {
			t.Fatal(err)
		}
		if len(want.Paths) == 0 {
			want.Paths = inventory.Paths{}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("layer (-put +got):\n%s", diff)
		}
	}
}

// TestCacheIsAFile: what one process puts, another finds; a layer that is put
// again is the newer.
func TestCacheIsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.db")
	first := openTestCache(t, path)
	l := fullLayer(1)
	if err := first.PutLayer(t.Context(), "1", l); err != nil {
		t.Fatal(err)
	}
	l.Entries = 99
	if err := errors.Join(first.PutLayer(t.Context(), "1", l), first.Close()); err != nil {
		t.Fatal(err)
	}
	got, err := openTestCache(t, path).Layer(t.Context(), l.DiffID, "1")
	if err != nil || got.Entries != 99 {
		t.Errorf("%+v, error %v", got, err)
	}
}

func TestCacheMisses(t *testing.T) {
	c := openTestCache(t, filepath.Join(t.TempDir(), "cache.db"))
	if err := c.PutLayer(t.Context(), "1", fullLayer(1)); err != nil {
		t.Fatal(err)
	}
	exec := func(query string, args ...any) {
		if _, err := c.db.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	var good []byte
	if err := c.db.QueryRowContext(t.Context(), "SELECT inventory FROM layers").Scan(&good); err != nil {
		t.Fatal(err)
	}
	encoded := func(plain string) []byte { return c.enc.EncodeAll([]byte(plain), nil) }
	doc, err := json.Marshal(fullLayer(2))
	if err != nil {
		t.Fatal(err)
	}
	for name, blob := range map[string][]byte{
		"of another layer": good, "empty": {}, "not compressed": []byte("{}"), "cut": good[:len(good)/2], "nothing in it": encoded(""),
		"a length that lies": encoded("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01{}"), "a length of nothing": encoded("\x80"), "no JSON": encoded("\x02{]\x00"),
		"no listing": encoded(string(append([]byte{byte(len(doc) | 0x80), byte(len(doc) >> 7)}, doc...))),
	} {
		exec("INSERT OR REPLACE INTO layers VALUES ($1, '1', $2, '')", string(diffID(2)), blob)
		if l, err := c.Layer(t.Context(), diffID(2), "1"); !errors.Is(err, scan.ErrNotCached) || l != nil || !strings.Contains(err.Error(), "damaged") || strings.Contains(err.Error(), "%!") {
			t.Errorf("%s: %v, error %v; want scan.ErrNotCached that says damaged", name, l, err)
		}
		want := fullLayer(2)
		if err := c.PutLayer(t.Context(), "1", want); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := c.Layer(t.Context(), diffID(2), "1"); err != nil {
			t.Errorf("%s: put again: %v", name, err)
		}
	}
	for name, miss := range map[string]struct {
		id  image.DiffID
		set string
	}{"another layer": {diffID(3), "1"}, "another set of analyzers": {diffID(1), "2"}, "no layer": {"", "1"}} {
		if l, err := c.Layer(t.Context(), miss.id, miss.set); !errors.Is(err, scan.ErrNotCached) || l != nil {
			t.Errorf("%s: %v, error %v; want scan.ErrNotCached", name, l, err)
		}
	}
}

// TestCacheSets: two sets of analyzers have a layer each.
func TestCacheSets(t *testing.T) {
	c := openTestCache(t, filepath.Join(t.TempDir(), "cache.db"))
	for i, set := range []string{"1", "2"} {
		l := fullLayer(1)
		l.Entries = i
		if err := c.PutLayer(t.Context(), set, l); err != nil {
			t.Fatal(err)
		}
	}
	for i, set := range []string{"1", "2"} {
		if l, err := c.Layer(t.Context(), diffID(1), set); err != nil || l.Entries != i {
			t.Errorf("set %s: %+v, error %v", set, l, err)
		}
	}
}

func TestCacheOfAnotherVersionIsEmptied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.db")
	old := openTestCache(t, path)
	if err := old.PutLayer(t.Context(), "1", fullLayer(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := old.db.ExecContext(t.Context(), "ALTER TABLE layers ADD COLUMN more; PRAGMA user_version = 999"); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	c := openTestCache(t, path)
	if _, err := c.Layer(t.Context(), diffID(1), "1"); !errors.Is(err, scan.ErrNotCached) {
		t.Errorf("error %v; want scan.ErrNotCached", err)
	}
	if err := c.PutLayer(t.Context(), "1", fullLayer(1)); err != nil {
		t.Error(err)
	}
}

// TestOpenCacheOfGarbage: a file that is no database, or was damaged, is made anew.
func TestOpenCacheOfGarbage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.db")
	c := openTestCache(t, path)
	if err := errors.Join(c.PutLayer(t.Context(), "1", fullLayer(1)), c.Close()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"text": strings.Repeat("this is no database ", 500), "cut": string(whole[:len(whole)/2]), "empty": "",
		"a page of zeros": string(whole[:4096]) + strings.Repeat("\x00", len(whole)-4096),
	} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := OpenCache(t.Context(), path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := c.Layer(t.Context(), diffID(1), "1"); !errors.Is(err, scan.ErrNotCached) {
			t.Errorf("%s: error %v; want scan.ErrNotCached", name, err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOpenCacheErrors: the error names the file and the way out.
func TestOpenCacheErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(file, "below-a-file.db"), dir} {
		c, err := OpenCache(t.Context(), path)
		if err == nil {
			_ = c.Close()
			t.Errorf("%s: no error", path)
			continue
		}
		if s := err.Error(); !strings.Contains(s, path) || !strings.Contains(s, "--cache-dir") {
			t.Errorf("error %v; want one with the file and the way out", err)
		}
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("the folder is gone: %v", err)
	}
}

func TestCacheCancelled(t *testing.T) {
	c := openTestCache(t, filepath.Join(t.TempDir(), "cache.db"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Layer(ctx, diffID(1), "1"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v; want context.Canceled", err)
	}
	if err := c.PutLayer(ctx, "1", fullLayer(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v; want context.Canceled", err)
	}
}

func TestCacheConcurrentUse(t *testing.T) {
	c := openTestCache(t, filepath.Join(t.TempDir(), "cache.db"))
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			if err := hammer(t.Context(), c, worker, 30); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// hammer puts and gets layers, some of which others put and get as well.
func hammer(ctx context.Context, c *Cache, seed, n int) error {
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	for range n {
		want := fullLayer(r.IntN(20))
		if err := c.PutLayer(ctx, "1", want); err != nil {
			return err
		}
		got, err := c.Layer(ctx, want.DiffID, "1")
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("layer (-put +got):\n%s", diff)
		}
		if _, err := c.Layer(ctx, diffID(r.IntN(40)), "1"); err != nil && !errors.Is(err, scan.ErrNotCached) {
			return err
		}
	}
	return nil
}

// cacheProcess is the environment variable by which a test starts this binary as
// another user of the cache: "FILE N OPENINGS", where no openings are no end.
const cacheProcess = "STRATA_TEST_CACHE_PROCESS"

// TestCacheProcess is no test, but what startCacheProcess runs.
func TestCacheProcess(t *testing.T) {
	args := strings.Fields(os.Getenv(cacheProcess))
	if len(args) != 3 {
		t.Skip("is run by other tests in processes of their own")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		t.Fatal(err)
	}
	openings, err := strconv.Atoi(args[2])
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < openings || openings == 0; i++ {
		c, err := OpenCache(t.Context(), args[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(hammer(t.Context(), c, os.Getpid()+i, n), c.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// startCacheProcess starts a process that opens the cache so often, and each time
// puts and gets n layers.
func startCacheProcess(t *testing.T, path string, n, openings int) (cmd *exec.Cmd, output *strings.Builder) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	output = &strings.Builder{}
	cmd = exec.Command(self, "-test.run", "^TestCacheProcess$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d", cacheProcess, path, n, openings))
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, output
}

// TestCacheManyProcesses: several processes use one file, from its making on,
// and none ever sees a lock.
func TestCacheManyProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.db")
	type process struct {
		cmd    *exec.Cmd
		output *strings.Builder
	}
	var all []process
	for range 6 {
		cmd, output := startCacheProcess(t, path, 10, 8)
		all = append(all, process{cmd, output})
	}
	for _, p := range all {
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("%v:\n%s", err, p.output)
		}
	}
	c := openTestCache(t, path)
	requireIntact(t, c)
	n := 0
	for i := range 20 {
		if _, err := c.Layer(t.Context(), diffID(i), "1"); err == nil {
			n++
		}
	}
	if n != 20 {
		t.Errorf("%d of 20 layers are there", n)
	}
}

// TestCacheOfGarbageManyProcesses: several processes find a damaged file at the
// same time, and each can go on.
func TestCacheOfGarbageManyProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.db")
	for range 5 {
		if err := os.WriteFile(path, []byte(strings.Repeat("this is no database ", 500)), 0o644); err != nil {
			t.Fatal(err)
		}
		var wait []func()
		for range 6 {
			cmd, output := startCacheProcess(t, path, 0, 1)
			wait = append(wait, func() {
				if err := cmd.Wait(); err != nil {
					t.Errorf("%v:\n%s", err, output)
				}
			})
		}
		for _, w := range wait {
			w()
		}
		requireIntact(t, openTestCache(t, path))
	}
}

// TestCacheKilledProcess: a process that is killed in the middle of its work
// leaves a cache that works.
func TestCacheKilledProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.db")
	for i := range 6 {
		cmd, output := startCacheProcess(t, path, 5, 0)
		deadline := time.Now().Add(10 * time.Second)
		for _, err := os.Stat(path); err != nil && time.Now().Before(deadline); _, err = os.Stat(path) {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(i*17) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatalf("%v:\n%s", err, output)
		}
		_ = cmd.Wait() // it says that it was killed
		c, err := OpenCache(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		requireIntact(t, c)
		if err := errors.Join(hammer(t.Context(), c, i, 3), c.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func requireIntact(t *testing.T, c *Cache) {
	t.Helper()
	var verdict string
	if err := c.db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("the file is not intact: %s, error %v", verdict, err)
	}
}

// TestCacheWaitsForAWriter: a scan waits while another process writes for long.
func TestCacheWaitsForAWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.db")
	c := openTestCache(t, path)
	other, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(300*time.Millisecond, func() { _ = tx.Rollback() })
	start := time.Now()
	if _, err := c.Layer(t.Context(), diffID(1), "1"); !errors.Is(err, scan.ErrNotCached) || time.Since(start) > 200*time.Millisecond {
		t.Errorf("a reader has to wait, for %v, error %v", time.Since(start), err)
	}
	if err := c.PutLayer(t.Context(), "1", fullLayer(1)); err != nil || time.Since(start) < 250*time.Millisecond {
		t.Errorf("a writer did not wait, but %v, error %v", time.Since(start), err)
	}
}

func FuzzCacheDecode(f *testing.F) {
	c := openTestCache(f, filepath.Join(f.TempDir(), "cache.db"))
	good, err := c.encode(fullLayer(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, true)
	f.Add([]byte("\x02{}\x00"), false)
	f.Fuzz(func(t *testing.T, b []byte, encoded bool) {
		if !encoded {
			b = c.enc.EncodeAll(b, nil)
		}
		l, err := c.decode(b)
		if err != nil {
			return
		}
		again, err := c.encode(l)
		if err != nil {
			t.Fatal(err)
		}
		second, err := c.decode(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(l, second); diff != "" {
			t.Errorf("layer (-first +second):\n%s", diff)
		}
	})
}
