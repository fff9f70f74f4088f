package source

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// DefaultRate is how many requests a second go to a registry where nothing is said.
const DefaultRate = 50

// maxHold caps how long a registry may hold up all requests by Retry-After.
const maxHold = 10 * time.Minute

// Limits of a Limited transport. The zero value is useful.
type Limits struct {
	// Host of the registry: what goes elsewhere (storage that it redirects to) is not
	// held up; empty is every host.
	Host string
	// Rate is how many requests a second; 0 is DefaultRate.
	Rate float64
	// CA holds certificates in PEM to trust besides the system's.
	CA []byte
	// Insecure allows certificates that can't be verified.
	Insecure bool
	// Next makes the requests; nil means a transport of our own, with CA and Insecure.
	Next http.RoundTripper
}

// A Limited transport shares a rate among all requests to a registry, for
// Options.Transport. When the registry answers 429 or 503 with Retry-After (RFC 9110,
// section 10.2.3), all wait until then. It is safe for concurrent use.
type Limited struct {
	host  string
	next  http.RoundTripper
	close func()
	rate  float64
	burst float64
	now   func() time.Time

	mu     sync.Mutex
	tokens float64
	at     time.Time
	until  time.Time
}

// NewLimited makes one.
func NewLimited(l Limits) (*Limited, error) {
	t := &Limited{host: l.Host, next: l.Next, close: func() {}, rate: l.Rate, now: time.Now}
	if t.rate <= 0 {
		t.rate = DefaultRate
	}
	t.burst = max(1, t.rate)
	t.tokens = t.burst
	if t.next != nil {
		return t, nil
	}
	own, err := ownTransport(Options{Insecure: l.Insecure})
	if err != nil {
		return nil, err
	}
	if len(l.CA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(l.CA) {
			return nil, errors.New("the CA holds no certificate in PEM")
		}
		own.TLSClientConfig.RootCAs = pool
	}
	t.next, t.close = own, own.CloseIdleConnections
	return t, nil
}

// CloseIdleConnections lets go of them.
func (t *Limited) CloseIdleConnections() { t.close() }

// RoundTrip implements http.RoundTripper.
func (t *Limited) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.host != "" && req.URL.Host != t.host {
		return t.next.RoundTrip(req)
	}
	if err := sleep(req.Context(), t.reserve()); err != nil {
		return nil, fmt.Errorf("waiting for its turn: %w", err)
	}
	// Others may have been told to wait meanwhile.
	if err := sleep(req.Context(), t.held()); err != nil {
		return nil, fmt.Errorf("the registry asks to wait: %w", err)
	}
	resp, err := t.next.RoundTrip(req)
	if err == nil && (resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable) {
		if d, ok := retryAfter(resp.Header.Get("Retry-After"), t.now()); ok {
			t.hold(min(d, maxHold))
		}
	}
	return resp, err
}

// reserve takes a token and tells how long to wait for it.
func (t *Limited) reserve() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if !t.at.IsZero() {
		t.tokens = min(t.burst, t.tokens+now.Sub(t.at).Seconds()*t.rate)
	}
	t.at = now
	t.tokens--
	if t.tokens >= 0 {
		return 0
	}
	return time.Duration(-t.tokens / t.rate * float64(time.Second))
}

func (t *Limited) held() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, t.until.Sub(t.now()))
}

func (t *Limited) hold(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if until := t.now().Add(d); until.After(t.until) {
		t.until = until
	}
}
