package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"strata/internal/image"
)

// randomAccess is the Content of places that open any layer at any time.
type randomAccess struct {
	open func(context.Context, image.Layer) (io.ReadCloser, error)
}

// Each implements image.Content.
func (c randomAccess) Each(ctx context.Context, want []image.Layer, parallel int, visit func(context.Context, image.Blob) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(parallel, 1))
	for _, l := range want {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return visit(ctx, image.Blob{Layer: l, Open: func(ctx context.Context) (io.ReadCloser, error) {
				if err := readable(l); err != nil {
					return nil, err
				}
				r, err := c.open(ctx, l)
				if err != nil {
					return nil, explain(l, err)
				}
				return r, nil
			}})
		})
	}
	return g.Wait()
}

// readable refuses layers whose bytes would be of no use.
func readable(l image.Layer) error {
	if strings.HasSuffix(l.MediaType, "+encrypted") {
		return fmt.Errorf("layer %d is encrypted (%s): decrypt the image first", l.Index, l.MediaType)
	}
	return nil
}

// explain adds to the error of a layer that can't be opened the reason that its
// media type tells (OCI image-spec, layer.md, non-distributable layers).
func explain(l image.Layer, err error) error {
	if strings.Contains(l.MediaType, "nondistributable") || strings.Contains(l.MediaType, ".foreign.") {
		return fmt.Errorf("layer %d is not distributable, its registry need not have it (%s): %w", l.Index, l.MediaType, err)
	}
	return err
}

// failing is a Blob of a layer that can't be opened.
func failing(l image.Layer, err error) image.Blob {
	return image.Blob{Layer: l, Open: func(context.Context) (io.ReadCloser, error) { return nil, err }}
}

// visitFailing visits layers that can't be opened.
func visitFailing(ctx context.Context, layers []image.Layer, err error, visit func(context.Context, image.Blob) error) error {
	for _, l := range layers {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := visit(ctx, failing(l, err)); err != nil {
			return err
		}
	}
	return nil
}

// visitPassing visits a layer that is now passing by in a stream. What visit
// leaves unread is for the caller to skip; what it keeps doesn't read any more.
func visitPassing(ctx context.Context, l image.Layer, r io.Reader, visit func(context.Context, image.Blob) error) error {
	p := &passing{r: r}
	defer p.Close()
	return visit(ctx, image.Blob{Layer: l, Open: func(context.Context) (io.ReadCloser, error) {
		if p.opened.Swap(true) {
			return nil, errors.New("the layer was opened already, and can be read only once")
		}
		if err := readable(l); err != nil {
			return nil, err
		}
		return p, nil
	}})
}

// passing is the reader of a layer within a stream, until the stream moves on.
type passing struct {
	r              io.Reader
	opened, closed atomic.Bool
}

func (p *passing) Read(b []byte) (int, error) {
	if p.closed.Load() {
		return 0, errors.New("the layer has passed by: it was read after its visit")
	}
	return p.r.Read(b)
}

func (p *passing) Close() error {
	p.closed.Store(true)
	return nil
}

// contextReader ends reads when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}
