//go:build !linux

package store

import (
	"syscall"
	"time"
)

// unansweredFor is for Linux; elsewhere the system's own patience counts.
func unansweredFor(time.Duration) func(network, address string, c syscall.RawConn) error {
	return nil
}
