package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Time limits on a registry. A blob that has begun to come may take any time, as
// long as something comes.
const (
	connectTimeout = 15 * time.Second
	headerTimeout  = time.Minute
	// maxPause caps what a registry may ask us to wait by Retry-After, and the
	// back-off.
	maxPause = time.Minute
)

// newTransport makes the requests to registries, trying again where it helps.
// Its second result lets go of idle connections.
func newTransport(o Options) (http.RoundTripper, func(), error) {
	base, release := o.Transport, func() {}
	if base == nil {
		own, err := ownTransport(o)
		if err != nil {
			return nil, nil, err
		}
		base, release = own, own.CloseIdleConnections
	}
	return &retrying{next: base, retries: o.Retries, timing: o.timing, log: o.Log}, release, nil
}

func ownTransport(o Options) (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.Insecure} // asked for by the user
	if o.CAFile != "" {
		pool, err := certificates(o.CAFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = pool
	}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   connectTimeout,
		ResponseHeaderTimeout: headerTimeout,
		IdleConnTimeout:       headerTimeout,
		MaxIdleConnsPerHost:   16,
		ReadBufferSize:        64 << 10,
		ForceAttemptHTTP2:     true,
		// A digest is that of the bytes as they are sent.
		DisableCompression: true,
	}, nil
}

// certificates are the system's and those of a file.
func certificates(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("CA certificates: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA certificates: %s holds no certificate in PEM", file)
	}
	return pool, nil
}

// retrying makes a request again when a registry is busy, or the connection
// breaks before an answer.
type retrying struct {
	next    http.RoundTripper
	retries int
	timing  timing
	log     *slog.Logger
}

// RoundTrip implements http.RoundTripper. After the last try, it gives the last
// answer as it is. The body of an answer fails when nothing comes for too long.
func (t *retrying) RoundTrip(req *http.Request) (*http.Response, error) {
	for try := 0; ; try++ {
		again, err := rewound(req, try)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(req.Context())
		resp, err := t.next.RoundTrip(again.WithContext(ctx))
		if try >= t.retries || !t.worthwhile(req, resp, err) {
			if err != nil {
				cancel()
				return nil, err
			}
			resp.Body = newIdleReader(resp.Body, cancel, t.timing.idle)
			return resp, nil
		}
		pause := t.pause(resp, try)
		t.log.Warn("registry request failed, trying again", "host", req.URL.Host, "in", pause, "reason", reason(resp, err))
		cancel()
		if resp != nil {
			resp.Body.Close()
		}
		if err := sleep(req.Context(), pause); err != nil {
			return nil, err
		}
	}
}

// rewound is the request for a further try, with its body from the start.
func rewound(req *http.Request, try int) (*http.Request, error) {
	if try == 0 {
		return req, nil
	}
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		again.Body = body
	}
	return again, nil
}

func (t *retrying) worthwhile(req *http.Request, resp *http.Response, err error) bool {
	if req.Context().Err() != nil || req.Body != nil && req.GetBody == nil {
		return false
	}
	if err != nil {
		return isPassing(err)
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// isPassing tells errors of a connection that a new one may not have. A refused
// connection, an unknown host or a bad certificate stays what it is.
func isPassing(err error) bool {
	for _, e := range []error{syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, e) {
			return true
		}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return true
	}
	// The types of net/http's own HTTP/2 are not exported.
	return strings.Contains(err.Error(), "stream error: stream ID") || strings.Contains(err.Error(), "server sent GOAWAY")
}

// pause is how long to wait before the next try: what the registry asks for, else
// twice as long each time, spread so that many clients don't come back at once.
func (t *retrying) pause(resp *http.Response, try int) time.Duration {
	if resp != nil {
		if d, ok := retryAfter(resp.Header.Get("Retry-After"), t.timing.now()); ok {
			return min(d, maxPause)
		}
	}
	return t.timing.pause(try)
}

func (t timing) pause(try int) time.Duration {
	d := min(t.backoff<<min(try, 16), maxPause)
	return d/2 + rand.N(d/2+1)
}

// retryAfter reads RFC 9110, section 10.2.3: seconds or a date.
func retryAfter(header string, now time.Time) (time.Duration, bool) {
	if seconds, err := strconv.ParseUint(header, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if date, err := http.ParseTime(header); err == nil {
		return max(date.Sub(now), 0), true
	}
	return 0, false
}

func reason(resp *http.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	return resp.Status
}

// sleep waits, or returns the context's error as soon as it ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// An idleReader is the body of an answer that counts as broken when nothing comes
// for too long while it is being read. A slow reader of it may take its time.
type idleReader struct {
	body   io.ReadCloser
	cancel context.CancelFunc
	idle   time.Duration
	timer  *time.Timer
}

// newIdleReader takes the function that cancels the answer's request.
func newIdleReader(body io.ReadCloser, cancel context.CancelFunc, idle time.Duration) *idleReader {
	r := &idleReader{body: body, cancel: cancel, idle: idle, timer: time.AfterFunc(idle, cancel)}
	r.timer.Stop()
	return r
}

// Read implements io.Reader.
func (r *idleReader) Read(p []byte) (int, error) {
	r.timer.Reset(r.idle)
	n, err := r.body.Read(p)
	if !r.timer.Stop() && err != nil && err != io.EOF {
		err = errIdle{r.idle}
	}
	return n, err
}

// Close ends the request.
func (r *idleReader) Close() error {
	r.timer.Stop()
	r.cancel()
	return r.body.Close()
}

// errIdle is a timeout as net.Error has it, so that it is worth another try.
type errIdle struct{ after time.Duration }

func (e errIdle) Error() string { return fmt.Sprintf("nothing came for %v", e.after) }
func (errIdle) Timeout() bool   { return true }
func (errIdle) Temporary() bool { return true }
