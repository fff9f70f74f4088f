package advisory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	webAttempts = 4
	// stallTimeout ends a transfer that sends nothing for so long.
	stallTimeout = 60 * time.Second
	maxRetryWait = 30 * time.Second
)

// web is a mirror behind http(s).
type web struct {
	base   string
	client *http.Client
	log    *slog.Logger
	wait   time.Duration
	stall  time.Duration
	// raw tells that names are already escaped.
	raw bool
}

func newWeb(base string, o MirrorOptions) *web {
	w := &web{base: base, client: o.Client, log: o.Log, wait: o.RetryWait, stall: stallTimeout}
	if w.client == nil {
		// No overall timeout: a large archive on a slow line is no error. What
		// stalls is ended by the reader.
		t := &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
			TLSHandshakeTimeout:   15 * time.Second,
			ResponseHeaderTimeout: 60 * time.Second,
			ForceAttemptHTTP2:     true,
			MaxIdleConnsPerHost:   8,
		}
		w.client = &http.Client{Transport: t}
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if w.wait == 0 {
		w.wait = 500 * time.Millisecond
	}
	return w
}

// open asks for a file, and again after a pause when the server or the network
// fails in a way that may pass. A transfer that breaks off is continued.
func (w *web) open(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	u := w.base + name
	if !w.raw {
		u = w.base + escapePath(name)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	t := &transfer{web: w, ctx: ctx, cancel: cancel, url: u}
	if err := t.connect(); err != nil {
		cancel(err)
		return nil, 0, err
	}
	return t, t.size, nil
}

// A transfer is one file on its way; it reconnects where it broke off.
type transfer struct {
	web    *web
	ctx    context.Context
	cancel context.CancelCauseFunc
	url    string
	// validator tells whether the file is still the same (RFC 9110, If-Range).
	validator string
	body      io.ReadCloser
	size      int64
	offset    int64
	retries   int
}

// connect requests the file from t.offset on, with retries.
func (t *transfer) connect() error {
	for {
		wait, err := t.request()
		if err == nil {
			return nil
		}
		if wait < 0 || t.retries+1 >= webAttempts || t.ctx.Err() != nil {
			return err
		}
		if err := t.pause(wait, err); err != nil {
			return err
		}
	}
}

// pause waits before the next attempt; server is what Retry-After asked for.
func (t *transfer) pause(server time.Duration, cause error) error {
	wait := t.web.wait << t.retries
	wait += time.Duration(rand.Int64N(int64(wait)/4 + 1))
	wait = min(max(wait, server), maxRetryWait)
	t.retries++
	t.web.log.Warn("retrying", "url", Redact(t.url), "attempt", t.retries+1, "wait", wait.Round(time.Millisecond), "error", cause)
	select {
	case <-t.ctx.Done():
		return context.Cause(t.ctx)
	case <-time.After(wait):
		return nil
	}
}

// request makes one attempt. A negative wait means that another would not help.
func (t *transfer) request() (wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(t.ctx, http.MethodGet, t.url, nil)
	if err != nil {
		return -1, err
	}
	req.Header.Set("User-Agent", "strata")
	// Offsets are those of the file, not of what a proxy makes of it.
	req.Header.Set("Accept-Encoding", "identity")
	if t.offset > 0 {
		if t.validator == "" {
			return -1, errors.New("the transfer broke off, and the server can't continue one: try again")
		}
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", t.offset))
		req.Header.Set("If-Range", t.validator)
	}
	resp, err := t.web.client.Do(req)
	if err != nil {
		return 0, err
	}
	switch {
	case resp.StatusCode == http.StatusOK && t.offset == 0:
		t.size, t.validator = resp.ContentLength, validatorOf(resp)
	case resp.StatusCode == http.StatusPartialContent && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", t.offset)):
	case resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusPartialContent:
		_ = resp.Body.Close()
		return -1, errors.New("the file changed during the transfer, or the server can't continue one: try again")
	default:
		_ = resp.Body.Close()
		return statusError(resp)
	}
	t.body = resp.Body
	return 0, nil
}

// validatorOf is the answer's strong entity tag, or its date.
func validatorOf(resp *http.Response) string {
	if tag := resp.Header.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return resp.Header.Get("Last-Modified")
}

func statusError(resp *http.Response) (time.Duration, error) {
	err := fmt.Errorf("server answers %s", resp.Status)
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound || code == http.StatusGone:
		return -1, fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500:
		seconds, convErr := strconv.Atoi(resp.Header.Get("Retry-After"))
		if convErr != nil || seconds < 0 {
			return 0, err
		}
		return time.Duration(min(seconds, 3600)) * time.Second, err
	}
	return -1, err
}

// Read continues the transfer when it breaks off before the announced size.
func (t *transfer) Read(p []byte) (int, error) {
	for {
		n, err := t.readWatched(p)
		t.offset += int64(n)
		if n > 0 || err == nil {
			// What follows an error shows with the next Read.
			return n, nil
		}
		if errors.Is(err, io.EOF) {
			if t.size < 0 || t.offset >= t.size {
				return 0, io.EOF
			}
			err = io.ErrUnexpectedEOF
		}
		if cause := context.Cause(t.ctx); cause != nil {
			return 0, cause
		}
		if t.retries+1 >= webAttempts {
			return 0, fmt.Errorf("after %d bytes: %w", t.offset, err)
		}
		if err := t.pause(0, err); err != nil {
			return 0, err
		}
		_ = t.body.Close()
		if err := t.connect(); err != nil {
			return 0, err
		}
	}
}

func (t *transfer) readWatched(p []byte) (int, error) {
	watch := time.AfterFunc(t.web.stall, func() {
		t.cancel(fmt.Errorf("no data for %s after %d bytes", t.web.stall, t.offset))
	})
	defer watch.Stop()
	return t.body.Read(p)
}

// Close ends the transfer.
func (t *transfer) Close() error {
	defer t.cancel(context.Canceled)
	return t.body.Close()
}
