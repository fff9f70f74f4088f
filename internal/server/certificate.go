package server

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// A certificate is in two files, which whoever renews it replaces.
type certificate struct {
	cert, key string

	mu      sync.Mutex
	held    *tls.Certificate
	changed time.Time
	looked  time.Time
}

// get is the certificate as it is in the files now; they are looked at once in a minute.
// When the new one can't be read, the old one is kept as long as it is good.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held != nil && time.Since(c.looked) < time.Minute {
		return c.held, nil
	}
	c.looked = time.Now()
	st, err := os.Stat(c.cert)
	if err == nil && c.held != nil && st.ModTime().Equal(c.changed) {
		return c.held, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.cert, c.key)
	}
	if err != nil {
		if c.held != nil {
			return c.held, nil
		}
		return nil, fmt.Errorf("certificate: %w", err)
	}
	c.held, c.changed = &pair, st.ModTime()
	return c.held, nil
}
