package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"strata/internal/image"
)

// resumed reads a registry's blob. When the connection breaks, or nothing comes
// for too long, it asks for the rest by a Range (RFC 9110, section 14).
type resumed struct {
	ctx        context.Context
	repository *repository
	digest     image.Digest
	// size is that of the blob's descriptor, -1 when it isn't known.
	size int64

	body io.ReadCloser
	// length of body as announced, -1 when it wasn't.
	length int64
	// offset counts the bytes given.
	offset int64
	// failures since progress was last made, at offset progress.
	failures int
	progress int64
	err      error
}

// worthProgress is how many bytes must come for failures to count anew: a blob of
// many gigabytes may break any number of times, one that doesn't come at all only
// a few.
const worthProgress = 1 << 20

// Read implements io.Reader.
func (b *resumed) Read(p []byte) (int, error) {
	for b.err == nil {
		n, err := b.body.Read(p)
		b.offset += int64(n)
		if err == io.EOF && b.cutOff() {
			err = io.ErrUnexpectedEOF
		}
		if err == nil || err == io.EOF {
			b.err = err
			return n, err
		}
		b.err = b.resume(err)
		if n > 0 {
			return n, nil
		}
	}
	return 0, b.err
}

// cutOff tells whether a body that ended without an error ended early: one
// without a length, as HTTP/1.0 has them.
func (b *resumed) cutOff() bool {
	return b.length < 0 && b.size >= 0 && b.offset < b.size
}

// resume asks for the rest after a failure, nil when it comes.
func (b *resumed) resume(why error) error {
	b.body.Close()
	if b.offset == b.size {
		return io.EOF
	}
	if b.offset-b.progress >= worthProgress {
		b.failures, b.progress = 0, b.offset
	}
	for {
		if b.ctx.Err() != nil {
			return b.ctx.Err()
		}
		if b.failures >= b.repository.o.Retries {
			return fmt.Errorf("blob %s: broke off after %d bytes: %w", b.digest, b.offset, why)
		}
		b.repository.o.Log.Warn("blob broke off, going on", "digest", b.digest, "offset", b.offset, "reason", why)
		if err := sleep(b.ctx, b.repository.o.timing.pause(b.failures)); err != nil {
			return err
		}
		b.failures++
		err := b.request()
		if err == nil {
			return nil
		}
		// What the registry says is its last word; what the network says isn't.
		var answer *transport.Error
		if errors.As(err, &answer) {
			return fmt.Errorf("blob %s: broke off after %d bytes, and does not go on: %w", b.digest, b.offset, err)
		}
		why = err
	}
}

// errWrongRange is the error of a server that sends another part than asked for.
var errWrongRange = errors.New("the registry sent another part of the blob than asked for")

// request asks for the blob from the offset on.
func (b *resumed) request() error {
	header, statuses := http.Header{}, []int{http.StatusOK}
	if b.offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", b.offset))
		statuses = append(statuses, http.StatusPartialContent)
	}
	resp, err := b.repository.get(b.ctx, "blobs/"+string(b.digest), header, statuses...)
	if err != nil {
		return err
	}
	b.body, b.length = resp.Body, resp.ContentLength
	if err := b.seek(resp); err != nil {
		b.body.Close()
		return err
	}
	return nil
}

// seek makes sure that what comes is what follows the offset. A server that
// doesn't know ranges sends everything again.
func (b *resumed) seek(resp *http.Response) error {
	if b.offset == 0 {
		return nil
	}
	if resp.StatusCode == http.StatusOK {
		_, err := io.CopyN(io.Discard, b.body, b.offset)
		if err == io.EOF {
			err = errWrongRange
		}
		return err
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", b.offset)) {
		return errWrongRange
	}
	return nil
}

// Close implements io.Closer.
func (b *resumed) Close() error { return b.body.Close() }
