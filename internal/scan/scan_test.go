package scan_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/analyzer"
	"strata/internal/image"
	"strata/internal/imagetest"
	"strata/internal/inventory"
	"strata/internal/scan"
)

// A memory is the Content of an image in memory, which counts what is opened.
type memory struct {
	blobs map[image.DiffID][]byte
	// unidentified blobs are visited besides, or instead: see sending.
	sending bool
	// wrap may change what reading a layer gives.
	wrap func(context.Context, image.Layer, io.Reader) io.Reader

	mu     sync.Mutex
	opened map[image.DiffID]int
	now    atomic.Int64 // visits under way
	most   atomic.Int64
}

func (m *memory) Each(ctx context.Context, want []image.Layer, parallel int, visit func(context.Context, image.Blob) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if m.sending {
		want = nil
		for id := range m.blobs { // all it has, in no order, without a word
			want = append(want, image.Layer{Index: image.Unidentified, Digest: image.Digest(id), Size: -1})
		}
	}
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for _, l := range want {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		if !m.sending && m.blobs[l.DiffID] == nil {
			<-slots
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			n := m.now.Add(1)
			defer m.now.Add(-1)
			for old := m.most.Load(); n > old && !m.most.CompareAndSwap(old, n); old = m.most.Load() {
			}
			if err := visit(ctx, m.blob(l)); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (m *memory) blob(l image.Layer) image.Blob {
	id := l.DiffID
	if m.sending {
		id, l.Digest = image.DiffID(l.Digest), ""
	}
	return image.Blob{Layer: l, Open: func(ctx context.Context) (io.ReadCloser, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.opened == nil {
			m.opened = map[image.DiffID]int{}
		}
		m.opened[id]++
		var r io.Reader = bytes.NewReader(m.blobs[id])
		if m.wrap != nil {
			r = m.wrap(ctx, l, r)
		}
		return io.NopCloser(r), nil
	}}
}

// build makes the image of a picture and its content.
func build(t testing.TB, picture string) (*image.Image, *memory) {
	t.Helper()
	spec, err := imagetest.Parse([]byte(picture))
	if err != nil {
		t.Fatal(err)
	}
	built, err := spec.Build()
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{blobs: map[image.DiffID][]byte{}}
	img := &image.Image{Reference: "test:1", Content: m}
	for i, blob := range built.Blobs {
		id := image.DiffID(built.DiffID(i))
		m.blobs[id] = blob
		img.Layers = append(img.Layers, image.Layer{Index: i, Digest: image.Digest(built.BlobDigest(i)), DiffID: id, Size: int64(len(blob))})
	}
	return img, m
}

func scanner() *scan.Scanner {
	return &scan.Scanner{Runner: &analyzer.Runner{Analyzers: analyzer.Default()}}
}

// describe is a line for each package and each problem.
func describe(r *scan.Result) []string {
	var out []string
	for _, p := range r.Inventory.Packages {
		s := fmt.Sprintf("%s %s @%d %s", p.Name, p.Version, p.Layer, p.State)
		if p.StateLayer >= 0 {
			s += fmt.Sprintf("@%d", p.StateLayer)
		}
		out = append(out, s)
	}
	for _, p := range r.Inventory.Problems {
		s := fmt.Sprintf("! @%d %s", p.Layer, p.Message)
		if p.Incomplete {
			s += " (incomplete)"
		}
		out = append(out, s)
	}
	return out
}

func requireResult(t *testing.T, r *scan.Result, err error, want ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, describe(r)); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

const npm = `{"name":"%s","version":"%s"}`

// three layers: a package, its newer version, and one that deletes another.
var threeLayers = fmt.Sprintf(`
compression: layer1: zstd
compression: layer2: none
-- layer0/etc/os-release --
ID=alpine
VERSION_ID=3.19.1
-- layer0/lib/apk/db/installed --
P:musl
V:1.2.4-r2

P:zlib
V:1.3-r2
-- layer0/app/node_modules/a/package.json --
%s
-- layer1/app/node_modules/a/package.json --
%s
-- layer2/lib/apk/db/installed --
P:musl
V:1.2.4-r2
`, fmt.Sprintf(npm, "a", "1.0.0"), fmt.Sprintf(npm, "a", "2.0.0"))

var threeLayersWant = []string{"musl 1.2.4-r2 @0 present", "zlib 1.3-r2 @0 removed@2", "a 1.0.0 @0 shadowed@1", "a 2.0.0 @1 present"}

func TestScan(t *testing.T) {
	img, m := build(t, threeLayers)
	r, err := scanner().Image(t.Context(), img)
	requireResult(t, r, err, threeLayersWant...)
	if r.Read != 3 || len(r.Layers) != 3 || r.Image != img || len(m.opened) != 3 {
		t.Errorf("read %d, layers %d, opened %v", r.Read, len(r.Layers), m.opened)
	}
	if r.Inventory.Packages[0].Ecosystem != "Alpine:v3.19" || r.Inventory.Distro.ID != "alpine" {
		t.Errorf("ecosystem %q, distribution %s", r.Inventory.Packages[0].Ecosystem, r.Inventory.Distro)
	}
}

func TestScanNoLayers(t *testing.T) {
	r, err := scanner().Image(t.Context(), &image.Image{Reference: "scratch", Content: &memory{}})
	requireResult(t, r, err)
}

// TestScanEachLayerOnce: a layer that an image has twice is read once, and so is
// one that several images have.
func TestScanEachLayerOnce(t *testing.T) {
	img, m := build(t, "layers: 4\n-- layer1/app/node_modules/a/package.json --\n"+fmt.Sprintf(npm, "a", "1.0.0")+"\n")
	s := scanner()
	r, err := s.Image(t.Context(), img)
	requireResult(t, r, err, "a 1.0.0 @1 present")
	if r.Read != 2 || len(m.opened) != 2 {
		t.Errorf("read %d, opened %v; want each of 2 once", r.Read, m.opened)
	}
	for _, l := range r.Layers {
		if l == nil {
			t.Error("a layer is missing")
		}
	}
	related, m2 := build(t, "-- layer1/app/node_modules/a/package.json --\n"+fmt.Sprintf(npm, "a", "1.0.0")+"\n-- layer2/app/node_modules/b/package.json --\n"+fmt.Sprintf(npm, "b", "2.0.0")+"\n")
	r, err = s.Image(t.Context(), related)
	requireResult(t, r, err, "a 1.0.0 @1 present", "b 2.0.0 @2 present")
	if r.Read != 1 || len(m2.opened) != 1 || m2.opened[related.Layers[2].DiffID] != 1 {
		t.Errorf("read %d, opened %v; want only the new layer", r.Read, m2.opened)
	}
	for id, n := range m.opened {
		if n != 1 {
			t.Errorf("layer %s was opened %d times", id, n)
		}
	}
}

// A mapCache is a Cache in memory.
type mapCache struct {
	mu     sync.Mutex
	layers map[string]*inventory.Layer
	getErr error
	putErr error
}

func (c *mapCache) Layer(_ context.Context, id image.DiffID, set string) (*inventory.Layer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.layers[set+string(id)]; l != nil {
		return l, c.getErr
	}
	return nil, fmt.Errorf("%w: %s", scan.ErrNotCached, id)
}

func (c *mapCache) PutLayer(_ context.Context, set string, l *inventory.Layer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.layers == nil {
		c.layers = map[string]*inventory.Layer{}
	}
	c.layers[set+string(l.DiffID)] = l
	return c.putErr
}

func TestScanCache(t *testing.T) {
	cache := &mapCache{}
	for i := range 2 {
		img, m := build(t, threeLayers)
		s := scanner() // a new one knows nothing but the cache
		s.Cache = cache
		watch := &observer{}
		s.Observer = watch
		r, err := s.Image(t.Context(), img)
		requireResult(t, r, err, threeLayersWant...)
		if want := 3 - 3*i; r.Read != want || len(m.opened) != want || watch.cached != 3*i {
			t.Errorf("scan %d: read %d, opened %v, cached %d", i, r.Read, m.opened, watch.cached)
		}
	}
}

// TestScanCacheErrors: what can't be kept is found all the same, and logged; one
// that fails in another way than by not having a layer ends the scan.
func TestScanCacheErrors(t *testing.T) {
	full := errors.New("disk full")
	img, _ := build(t, threeLayers)
	var log bytes.Buffer
	cache := &mapCache{putErr: full}
	for _, logger := range []*slog.Logger{nil, slog.New(slog.NewTextHandler(&log, nil))} {
		s := scanner()
		s.Cache, s.Log = cache, logger
		cache.layers = nil
		r, err := s.Image(t.Context(), img)
		requireResult(t, r, err, threeLayersWant...)
	}
	if n := strings.Count(log.String(), "disk full"); n != 3 {
		t.Errorf("%d of 3 layers are logged:\n%s", n, &log)
	}
	cache.putErr, cache.getErr = nil, full
	s := scanner()
	s.Cache = cache
	if _, err := s.Image(t.Context(), img); !errors.Is(err, full) {
		t.Errorf("error %v; want that of the cache", err)
	}
}

// TestScanDamagedLayer: what is wrong with one layer is a problem, and the others
// are found.
func TestScanDamagedLayer(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(img *image.Image, m *memory)
		want  string
	}{
		{"missing", func(img *image.Image, m *memory) { delete(m.blobs, img.Layers[1].DiffID) }, "the layer was not in the image's source"},
		{"cut", func(img *image.Image, m *memory) {
			id := img.Layers[1].DiffID
			m.blobs[id] = m.blobs[id][:len(m.blobs[id])-5]
		}, "layer is damaged"},
		{"another digest", func(img *image.Image, m *memory) { img.Layers[1].Digest = img.Layers[0].Digest }, "layer is not what the image says"},
		{"another diff id", func(img *image.Image, m *memory) {
			id := image.DiffID("sha256:" + strings.Repeat("0", 64))
			m.blobs[id] = m.blobs[img.Layers[1].DiffID]
			img.Layers[1].DiffID = id
		}, "layer is not what the image says"},
		{"an error while it is read", func(img *image.Image, m *memory) {
			m.wrap = func(_ context.Context, l image.Layer, r io.Reader) io.Reader {
				if l.Index == 1 {
					return io.MultiReader(io.LimitReader(r, 100), failing{})
				}
				return r
			}
		}, "connection reset"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			img, m := build(t, threeLayers)
			tt.spoil(img, m)
			s := scanner()
			s.Cache = &mapCache{}
			r, err := s.Image(t.Context(), img)
			if err != nil {
				t.Fatal(err)
			}
			got := describe(r)
			last := got[len(got)-1]
			if !strings.HasPrefix(last, "! @1 ") || !strings.Contains(last, tt.want) || !strings.HasSuffix(last, "(incomplete)") {
				t.Errorf("the last line is %q; want a problem of layer 1 with %q", last, tt.want)
			}
			want := []string{"musl 1.2.4-r2 @0 present", "zlib 1.3-r2 @0 removed@2", "a 1.0.0 @0 present"}
			if diff := cmp.Diff(want, got[:len(got)-1]); diff != "" {
				t.Errorf("packages (-want +got):\n%s", diff)
			}
			if r.Layers[1] != nil || r.Layers[0] == nil || r.Layers[2] == nil {
				t.Error("layers are not those that could be read")
			}
			// What is damaged is not remembered.
			good, _ := build(t, threeLayers)
			r, err = s.Image(t.Context(), good)
			requireResult(t, r, err, threeLayersWant...)
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// TestScanSendingSource: blobs come in an order of their own, without a name, and
// with others among them.
func TestScanSendingSource(t *testing.T) {
	img, m := build(t, threeLayers)
	m.sending = true
	m.blobs["config"] = []byte(`{"architecture":"amd64"}`)
	m.blobs["other"] = imageOther(t)
	r, err := scanner().Image(t.Context(), img)
	requireResult(t, r, err, threeLayersWant...)

	// A layer that can't be read has no name: its error is told all the same.
	id := img.Layers[1].DiffID
	m.blobs[id] = m.blobs[id][:len(m.blobs[id])-5]
	delete(m.blobs, "config")
	r, err = scanner().Image(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	if last := r.Inventory.Problems[len(r.Inventory.Problems)-1]; !last.Incomplete || last.Layer != 1 || !strings.Contains(last.Message, "not in the image's source") || !strings.Contains(last.Message, "damaged") {
		t.Errorf("problem %+v; want one of layer 1 that tells why", last)
	}
}

func imageOther(t *testing.T) []byte {
	other, m := build(t, "-- layer0/app/node_modules/other/package.json --\n"+fmt.Sprintf(npm, "other", "1.0.0")+"\n")
	return m.blobs[other.Layers[0].DiffID]
}

// TestScanParallel: no more layers are read at the same time than asked for.
func TestScanParallel(t *testing.T) {
	var picture strings.Builder
	for i := range 12 {
		fmt.Fprintf(&picture, "-- layer%d/f%d --\nx\n", i, i)
	}
	for parallel, most := range map[int]int64{1: 1, 3: 3, 0: int64(max(2, runtime.GOMAXPROCS(0)))} {
		img, m := build(t, picture.String())
		m.wrap = func(_ context.Context, _ image.Layer, r io.Reader) io.Reader {
			time.Sleep(5 * time.Millisecond)
			return r
		}
		s := scanner()
		s.Parallel = parallel
		if _, err := s.Image(t.Context(), img); err != nil {
			t.Fatal(err)
		}
		if n := m.most.Load(); n > most || n < 1 {
			t.Errorf("with %d in parallel, %d layers were read at the same time", parallel, n)
		}
	}
}

// stalled is a reader that gives nothing until its context ends.
type stalled struct{ ctx context.Context }

func (s stalled) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

// TestScanCancelled: a scan ends at once when its context does, whatever it waits
// for, and leaves nothing running.
func TestScanCancelled(t *testing.T) {
	before := runtime.NumGoroutine()
	stop := errors.New("user pressed a key")
	for name, wrap := range map[string]func(context.Context, image.Layer, io.Reader) io.Reader{
		"while a source stalls": func(ctx context.Context, _ image.Layer, r io.Reader) io.Reader {
			return io.MultiReader(io.LimitReader(r, 50), stalled{ctx})
		},
		"while a layer never ends": func(context.Context, image.Layer, io.Reader) io.Reader { return endless{} },
	} {
		img, m := build(t, threeLayers)
		m.wrap = wrap
		for i := range img.Layers {
			img.Layers[i].Size = -1
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(50*time.Millisecond, func() { cancel(stop) })
		start := time.Now()
		r, err := scanner().Image(ctx, img)
		if d := time.Since(start); d > time.Second {
			t.Errorf("%s: took %v", name, d)
		}
		if !errors.Is(err, stop) || r != nil {
			t.Errorf("%s: %v, error %v; want the cause and no result", name, r, err)
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		stacks := make([]byte, 1<<16)
		t.Errorf("%d goroutines are left of %d:\n%s", n, before, stacks[:runtime.Stack(stacks, true)])
	}
}

// endless is a blob that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// An observer counts what it is told.
type observer struct {
	mu                    sync.Mutex
	started, cached, done int
	failed                []int
	bytes                 map[int]int64
}

func (o *observer) LayerStarted(image.Layer) { o.mu.Lock(); o.started++; o.mu.Unlock() }
func (o *observer) LayerCached(image.Layer)  { o.mu.Lock(); o.cached++; o.mu.Unlock() }
func (o *observer) LayerRead(l image.Layer, n int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes == nil {
		o.bytes = map[int]int64{}
	}
	o.bytes[l.Index] += n
}
func (o *observer) LayerDone(l image.Layer, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done++
	if err != nil {
		o.failed = append(o.failed, l.Index)
	}
}

func TestScanObserver(t *testing.T) {
	img, m := build(t, threeLayers)
	id := img.Layers[2].DiffID // not compressed, so it has random access
	m.blobs[id] = m.blobs[id][:512]
	s := scanner()
	watch := &observer{}
	s.Observer = watch
	if _, err := s.Image(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	if watch.started != 3 || watch.done != 3 || watch.cached != 0 || !slices.Equal(watch.failed, []int{2}) {
		t.Errorf("told of %+v", watch)
	}
	for i, l := range img.Layers {
		if n := watch.bytes[i]; n != int64(len(m.blobs[l.DiffID])) {
			t.Errorf("layer %d: told of %d bytes of %d", i, n, len(m.blobs[l.DiffID]))
		}
	}
}

// TestScanShared: scans at the same time by one Scanner give what each alone
// gives. (Run it with -race.)
func TestScanShared(t *testing.T) {
	s := scanner()
	s.Cache = &mapCache{}
	var wg sync.WaitGroup
	for range 6 {
		img, _ := build(t, threeLayers)
		wg.Go(func() {
			r, err := s.Image(t.Context(), img)
			if err != nil {
				t.Error(err)
				return
			}
			if diff := cmp.Diff(threeLayersWant, describe(r)); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
	wg.Wait()
}

func TestScanRoot(t *testing.T) {
	dir := t.TempDir()
	module := filepath.Join(dir, "app/node_modules/a")
	if err := errors.Join(os.MkdirAll(module, 0o755), os.WriteFile(filepath.Join(module, "package.json"), fmt.Appendf(nil, npm, "a", "1.0.0"), 0o644)); err != nil {
		t.Fatal(err)
	}
	s := scanner()
	cache, watch := &mapCache{}, &observer{}
	s.Cache, s.Observer = cache, watch
	for range 2 { // nothing of a directory is remembered
		r, err := s.Root(t.Context(), dir)
		requireResult(t, r, err, "a 1.0.0 @0 present")
		if len(r.Image.Layers) != 1 || r.Image.Layers[0].Size <= 0 || r.Read != 1 {
			t.Errorf("layers %+v, read %d", r.Image.Layers, r.Read)
		}
	}
	if len(cache.layers) > 0 || watch.started != 2 || watch.done != 2 {
		t.Errorf("%d layers in the cache, told of %+v", len(cache.layers), watch)
	}
	if _, err := s.Root(t.Context(), filepath.Join(dir, "missing")); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("error %v; want one with the directory", err)
	}
}
