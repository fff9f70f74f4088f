// Package scan is the pipeline from an image to its inventory: it asks the cache
// for the layers that are known, reads the others once, and merges them. What
// is wrong with the packages is for package match, what follows from it for
// package policy.
package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"

	"strata/internal/analyzer"
	"strata/internal/image"
	"strata/internal/inventory"
)

// ErrNotCached is returned by a Cache for a layer it does not have.
var ErrNotCached = errors.New("layer is not in the cache")

// A Cache keeps what is in layers, by diff id and set of analyzers. It must be
// safe for concurrent use, also by several processes.
type Cache interface {
	// Layer returns the layer, or an error that wraps ErrNotCached.
	Layer(ctx context.Context, id image.DiffID, set string) (*inventory.Layer, error)
	PutLayer(ctx context.Context, set string, l *inventory.Layer) error
}

// An Observer is told how a scan goes on. It must be safe for concurrent use.
type Observer interface {
	// LayerStarted: the layer is about to be read.
	LayerStarted(l image.Layer)
	// LayerCached: the layer is known and will not be read.
	LayerCached(l image.Layer)
	// LayerRead: n more bytes of the layer's blob were read.
	LayerRead(l image.Layer, n int64)
	// LayerDone: the layer was read, or err tells why not.
	LayerDone(l image.Layer, err error)
}

// A Scanner scans images. Its layers are shared by all scans it makes.
type Scanner struct {
	// Runner analyses the layers.
	Runner *analyzer.Runner
	// Cache of layers; nil for none: then every layer is read, once.
	Cache Cache
	// Observer may be nil.
	Observer Observer
	// Log is told of a cache that can't be written; nil discards.
	Log *slog.Logger
	// Parallel is how many layers are read at the same time; 0 means as many as
	// there are processors.
	Parallel int
	// Claim is asked before a layer is read, and may wait: where others read layers
	// for the same Cache, it lets one at a time read this one. What another has read
	// meanwhile is taken from the Cache. release is called when that is known. Layers
	// of which it is not known before they are read which they are, are not asked for.
	// nil asks nobody.
	Claim func(ctx context.Context, id image.DiffID) (release func(), err error)

	mu   sync.Mutex
	seen map[image.DiffID]*inventory.Layer // by this Scanner
}

// A Result is what is in an image.
type Result struct {
	Image *image.Image
	// Layers by index; nil for one that could not be analysed.
	Layers    []*inventory.Layer
	Inventory inventory.Image
	// Read is how many layers were read, as opposed to known.
	Read int
}

// Image scans an image. A layer that can't be had or is damaged is a Problem
// that makes the result incomplete; the error is for what leaves no result: a
// cancelled context. A cache that does not work costs only time.
func (s *Scanner) Image(ctx context.Context, img *image.Image) (*Result, error) {
	known, err := s.known(ctx, img.Layers)
	if err != nil {
		return nil, err
	}
	r := reading{scanner: s, known: known, failed: map[image.DiffID]error{}}
	want := r.missing(img.Layers)
	if len(want) > 0 {
		if err := img.Content.Each(ctx, want, s.parallel(), r.visit); err != nil {
			return nil, fmt.Errorf("scan %s: %w", img.Reference, err)
		}
	}
	res := &Result{Image: img, Layers: make([]*inventory.Layer, len(img.Layers)), Read: len(want)}
	for i, l := range img.Layers {
		res.Layers[i] = r.known[l.DiffID]
	}
	res.Inventory = inventory.Merge(res.Layers)
	for i, l := range img.Layers {
		if res.Layers[i] == nil {
			res.Inventory.Problems = append(res.Inventory.Problems, r.problem(i, l))
		}
	}
	return res, nil
}

// Known is what is in an image all of whose layers are known, without reading any
// or needing its Content; nil when one is not.
func (s *Scanner) Known(ctx context.Context, img *image.Image) (*Result, error) {
	res := &Result{Image: img, Layers: make([]*inventory.Layer, len(img.Layers))}
	for i, l := range img.Layers {
		found, err := s.lookup(ctx, l.DiffID)
		if found == nil || err != nil {
			return nil, err
		}
		res.Layers[i] = found
	}
	res.Inventory = inventory.Merge(res.Layers)
	return res, nil
}

// Root scans a directory as an image of one layer, which is never cached.
func (s *Scanner) Root(ctx context.Context, dir string) (*Result, error) {
	whole := image.Layer{Index: 0, Size: -1, CreatedBy: dir}
	s.observe(func(o Observer) { o.LayerStarted(whole) })
	l, err := s.Runner.Root(ctx, dir)
	if err == nil {
		s.observe(func(o Observer) { o.LayerRead(whole, l.Size) })
	}
	s.observe(func(o Observer) { o.LayerDone(whole, err) })
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", dir, err)
	}
	img := &image.Image{Reference: "dir:" + dir, Layers: []image.Layer{whole}}
	img.Layers[0].Size = l.Size
	layers := []*inventory.Layer{l}
	return &Result{Image: img, Layers: layers, Inventory: inventory.Merge(layers), Read: 1}, nil
}

func (s *Scanner) parallel() int {
	if s.Parallel > 0 {
		return s.Parallel
	}
	return max(2, runtime.GOMAXPROCS(0))
}

// known collects the layers that need not be read.
func (s *Scanner) known(ctx context.Context, layers []image.Layer) (map[image.DiffID]*inventory.Layer, error) {
	known := map[image.DiffID]*inventory.Layer{}
	for _, l := range layers {
		if known[l.DiffID] != nil {
			continue
		}
		found, err := s.lookup(ctx, l.DiffID)
		if err != nil {
			return nil, err
		}
		if found != nil {
			known[l.DiffID] = found
			s.observe(func(o Observer) { o.LayerCached(l) })
		}
	}
	return known, nil
}

func (s *Scanner) lookup(ctx context.Context, id image.DiffID) (*inventory.Layer, error) {
	s.mu.Lock()
	l := s.seen[id]
	s.mu.Unlock()
	if l != nil || s.Cache == nil {
		return l, nil
	}
	l, err := s.Cache.Layer(ctx, id, analyzer.SetVersion)
	if errors.Is(err, ErrNotCached) {
		return nil, nil
	}
	return l, err
}

func (s *Scanner) keep(ctx context.Context, l *inventory.Layer) {
	s.mu.Lock()
	if s.seen == nil {
		s.seen = map[image.DiffID]*inventory.Layer{}
	}
	s.seen[l.DiffID] = l
	s.mu.Unlock()
	if s.Cache == nil {
		return
	}
	err := s.Cache.PutLayer(ctx, analyzer.SetVersion, l)
	if err != nil && ctx.Err() == nil && s.Log != nil {
		// The scan is as good without; only the next one is slower.
		s.Log.Warn("layer is not kept", "layer", l.DiffID, "error", err)
	}
}

func (s *Scanner) observe(tell func(Observer)) {
	if s.Observer != nil {
		tell(s.Observer)
	}
}

// A reading is the layers of one image that have to be read.
type reading struct {
	scanner *Scanner

	mu     sync.Mutex
	known  map[image.DiffID]*inventory.Layer
	failed map[image.DiffID]error
	// stray is the first error of blobs of which is not known whose layers they are.
	stray error
}

// missing are the layers to read, each diff id once.
func (r *reading) missing(layers []image.Layer) []image.Layer {
	var want []image.Layer
	asked := map[image.DiffID]bool{}
	for _, l := range layers {
		if r.known[l.DiffID] == nil && !asked[l.DiffID] {
			asked[l.DiffID] = true
			want = append(want, l)
		}
	}
	return want
}

// visit reads one layer. Only errors that end the whole scan are returned.
func (r *reading) visit(ctx context.Context, b image.Blob) error {
	s := r.scanner
	if s.Claim != nil && b.Layer.Index != image.Unidentified {
		release, err := s.Claim(ctx, b.Layer.DiffID)
		if err != nil {
			return err
		}
		defer release()
		if found, err := s.lookup(ctx, b.Layer.DiffID); found != nil || err != nil {
			return r.another(b.Layer, found, err)
		}
	}
	s.observe(func(o Observer) { o.LayerStarted(b.Layer) })
	l, err := r.read(ctx, b)
	s.observe(func(o Observer) { o.LayerDone(b.Layer, err) })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		if b.Layer.Index != image.Unidentified {
			r.failed[b.Layer.DiffID] = err
		} else if r.stray == nil { // no loss, unless a layer is missing
			r.stray = err
		}
		return nil
	}
	r.known[l.DiffID] = l
	s.keep(ctx, l)
	return nil
}

// another takes what another scan has read of a layer meanwhile.
func (r *reading) another(l image.Layer, found *inventory.Layer, err error) error {
	if err != nil {
		return err
	}
	r.scanner.observe(func(o Observer) { o.LayerCached(l) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[l.DiffID] = found
	return nil
}

func (r *reading) read(ctx context.Context, b image.Blob) (*inventory.Layer, error) {
	rc, err := b.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	l, _, err := r.scanner.Runner.Layer(ctx, r.scanner.observed(b.Layer, rc), b.Layer)
	return l, err
}

func (r *reading) problem(index int, l image.Layer) inventory.Problem {
	p := inventory.Problem{Layer: index, Incomplete: true, Message: "the layer was not in the image's source"}
	if err := r.failed[l.DiffID]; err != nil {
		p.Message = err.Error()
	} else if r.stray != nil {
		p.Message += fmt.Sprintf(", or is what could not be read: %v", r.stray)
	}
	return p
}

// observed tells the Observer of what is read. A blob with random access keeps it.
func (s *Scanner) observed(l image.Layer, r io.Reader) io.Reader {
	if s.Observer == nil {
		return r
	}
	o := observedReader{Reader: r, observer: s.Observer, layer: l}
	if at, ok := r.(io.ReaderAt); ok {
		return &observedReaderAt{o, at}
	}
	return &o
}

type observedReader struct {
	io.Reader
	observer Observer
	layer    image.Layer
}

func (o *observedReader) Read(p []byte) (int, error) {
	n, err := o.Reader.Read(p)
	o.observer.LayerRead(o.layer, int64(n))
	return n, err
}

type observedReaderAt struct {
	observedReader
	io.ReaderAt
}
