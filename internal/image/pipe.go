package image

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// A plainReader reads the uncompressed layer.
type plainReader struct {
	io.Reader
	compressed bool
	close      func()
}

func (p *plainReader) Close() {
	if p.close != nil {
		p.close()
	}
}

// decompress tells the compression from the first bytes, since media types lie.
// estargz is gzip in several members, zstd:chunked is zstd with skippable frames.
func decompress(blob io.Reader, limits Limits) (*plainReader, error) {
	head := make([]byte, len(zstdMagic))
	n, err := io.ReadFull(blob, head)
	if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	head = head[:n]
	whole := io.MultiReader(bytes.NewReader(head), blob)
	p := &plainReader{}
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		// The decompressor reads byte by byte, so it wants a buffer.
		z, err := gzip.NewReader(bufio.NewReaderSize(whole, 128<<10))
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		p.Reader, p.compressed, p.close = z, true, func() { _ = z.Close() }
	case bytes.HasPrefix(head, zstdMagic):
		z, err := zstd.NewReader(whole, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(uint64(limits.Window)), zstd.WithDecoderMaxMemory(uint64(limits.Size)))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		p.Reader, p.compressed, p.close = z, true, z.Close
	default:
		p.Reader = whole
	}
	return p, nil
}

const (
	// chunkSize is large enough that handing chunks over costs nothing, and small
	// enough that a chunk stays in the processor's cache for its second reader.
	chunkSize = 256 << 10
	// chunks is how far the decompressor may run ahead of the slower reader.
	chunks = 8
)

// A chunk is a piece of the uncompressed layer that is read by several readers.
type chunk struct {
	b    []byte
	refs atomic.Int32
}

// A pipe hands the uncompressed layer to the hash and to the tar reader, which
// run concurrently. It is the tar reader's io.Reader, and its io.Seeker in
// forward direction: what the tar reader skips is not copied.
type pipe struct {
	free   chan *chunk
	toHash chan *chunk // nil when nothing is hashed here
	toTar  chan *chunk
	hashed chan struct{}
	// err and size are of the producer, valid once toTar is closed.
	err  error
	size int64

	// Of the tar reader: the current chunk, the unread rest of it, the position.
	cur  *chunk
	rest []byte
	pos  int64
}

func startPipe(ctx context.Context, r io.Reader, h hash.Hash, limit int64) *pipe {
	p := &pipe{
		free:   make(chan *chunk, chunks),
		toTar:  make(chan *chunk, chunks),
		hashed: make(chan struct{}),
	}
	for range chunks {
		p.free <- &chunk{}
	}
	if h != nil {
		p.toHash = make(chan *chunk, chunks)
	}
	go p.hash(h)
	go p.produce(ctx, r, limit)
	return p
}

func (p *pipe) produce(ctx context.Context, r io.Reader, limit int64) {
	defer func() {
		if p.toHash != nil {
			close(p.toHash)
		}
		close(p.toTar)
	}()
	for {
		var c *chunk
		select {
		case c = <-p.free:
		case <-ctx.Done():
			p.err = ctx.Err()
			return
		}
		if c.b == nil {
			c.b = make([]byte, chunkSize)
		}
		n, err := readChunk(r, c.b[:cap(c.b)])
		c.b = c.b[:n]
		if p.size += int64(n); p.size > limit {
			p.err = fmt.Errorf("%w: more than %d bytes uncompressed", ErrLimit, limit)
			return
		}
		if n > 0 {
			c.refs.Store(1)
			if p.toHash != nil {
				c.refs.Store(2)
				p.toHash <- c
			}
			p.toTar <- c
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			p.err = err
			return
		}
	}
}

// readChunk fills b, unless the reader ends. A decompressor that panics on
// hostile input is an error like any other. (io.ReadFull would tell a short last
// chunk by the same error as a truncated stream.)
func readChunk(r io.Reader, b []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("decompressor panicked: %v", v)
		}
	}()
	for n < len(b) && err == nil {
		var m int
		m, err = r.Read(b[n:])
		n += m
	}
	return n, err
}

func (p *pipe) hash(h hash.Hash) {
	defer close(p.hashed)
	if p.toHash == nil {
		return
	}
	for c := range p.toHash {
		h.Write(c.b)
		p.release(c)
	}
}

func (p *pipe) release(c *chunk) {
	if c.refs.Add(-1) == 0 {
		p.free <- c
	}
}

// next makes rest non-empty, or returns the producer's error or io.EOF.
func (p *pipe) next() error {
	if len(p.rest) > 0 {
		return nil
	}
	if p.cur != nil {
		p.release(p.cur)
		p.cur = nil
	}
	c, ok := <-p.toTar
	if !ok {
		if p.err != nil {
			return p.err
		}
		return io.EOF
	}
	p.cur, p.rest = c, c.b
	return nil
}

// Read implements io.Reader for the tar reader.
func (p *pipe) Read(b []byte) (int, error) {
	if err := p.next(); err != nil {
		return 0, err
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	p.pos += int64(n)
	return n, nil
}

// Seek implements io.Seeker as far as archive/tar uses it: to tell the position
// and to skip forward. Skipping past the end is told by the next Read.
func (p *pipe) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekCurrent || offset < 0 {
		return 0, errors.ErrUnsupported
	}
	for offset > 0 {
		if err := p.next(); err != nil {
			return p.pos, nil
		}
		n := min(offset, int64(len(p.rest)))
		p.rest = p.rest[n:]
		p.pos += n
		offset -= n
	}
	return p.pos, nil
}

// finish reads what the tar reader has left, up to the end of the stream, and
// returns the size of the whole and the error that ended it early, if any.
func (p *pipe) finish() (int64, error) {
	for {
		p.rest = nil
		if err := p.next(); err != nil {
			break
		}
	}
	<-p.hashed
	return p.size, p.err
}

// stop ends the goroutines; after finish it does nothing.
func (p *pipe) stop(cancel context.CancelFunc) {
	cancel()
	_, _ = p.finish()
}
