package store

import (
	"errors"
	"strings"
	"syscall"
	"time"
)

// unansweredFor ends a connection whose other side acknowledges nothing for so long
// (RFC 5482); keepalives alone don't, as long as something is on its way.
func unansweredFor(d time.Duration) func(network, address string, c syscall.RawConn) error {
	const userTimeout = 18 // TCP_USER_TIMEOUT, tcp(7)
	return func(network, _ string, c syscall.RawConn) error {
		if !strings.HasPrefix(network, "tcp") {
			return nil
		}
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, userTimeout, int(d.Milliseconds()))
		})
		return errors.Join(err, failed)
	}
}
