package jobs

import (
	"container/list"
	"context"
	"sync"

	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/store"
)

// Layers is the database as a scan.Cache, with what is in the layers asked for last
// in memory: images on the same layers are seen again and again.
type Layers struct {
	DB *store.DB
	// Limit is how many bytes of memory layers may take, about; 0 means 64 MiB.
	Limit int

	mu    sync.Mutex
	size  int
	order list.List // of *heldLayer, the last used first
	held  map[layerName]*list.Element
}

type layerName struct {
	id  image.DiffID
	set string
}

type heldLayer struct {
	layerName
	layer *inventory.Layer
	size  int
}

// Layer implements scan.Cache.
func (c *Layers) Layer(ctx context.Context, id image.DiffID, set string) (*inventory.Layer, error) {
	name := layerName{id, set}
	if l := c.get(name); l != nil {
		return l, nil
	}
	l, err := c.DB.Layer(ctx, id, set)
	if err == nil {
		c.put(name, l)
	}
	return l, err
}

// PutLayer implements scan.Cache.
func (c *Layers) PutLayer(ctx context.Context, set string, l *inventory.Layer) error {
	if err := c.DB.PutLayer(ctx, set, l); err != nil {
		return err
	}
	c.put(layerName{l.DiffID, set}, l)
	return nil
}

func (c *Layers) get(name layerName) *inventory.Layer {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.held[name]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return held(e).layer
}

// held is what an element of order has; nothing else is put there.
func held(e *list.Element) *heldLayer {
	h, _ := e.Value.(*heldLayer)
	return h
}

func (c *Layers) put(name layerName, l *inventory.Layer) {
	limit := c.Limit
	if limit == 0 {
		limit = 64 << 20
	}
	h := &heldLayer{layerName: name, layer: l, size: layerSize(l)}
	if h.size > limit/2 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held = map[layerName]*list.Element{}
	}
	if c.held[name] != nil {
		return
	}
	c.held[name] = c.order.PushFront(h)
	for c.size += h.size; c.size > limit; {
		back := c.order.Back()
		oldest := held(back)
		c.order.Remove(back)
		delete(c.held, oldest.layerName)
		c.size -= oldest.size
	}
}

// layerSize is about how many bytes of memory a layer takes.
func layerSize(l *inventory.Layer) int {
	const perPackage, perFile, perPath = 400, 200, 100
	n := 1000 + len(l.Packed) + perPath*len(l.Paths) + perFile*(len(l.Links)+len(l.Licenses)+len(l.Problems))
	for i := range l.Files {
		n += perFile + perPackage*len(l.Files[i].Packages)
	}
	return n
}
