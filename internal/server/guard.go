package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// errPrivate is wrapped by the error of a request to an address that is not public.
var errPrivate = errors.New("a private address: --allow-private-addresses permits them")

// special are the networks that are not the public internet's, besides those that
// package netip knows: IANA's registries of special-purpose addresses (RFC 6890), and
// the forms in which IPv6 carries an IPv4 address (6to4, Teredo).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
	// The metadata service of Amazon's cloud over IPv6 is in fd00::/8, which is private.
}

var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// isPublic tells whether an address is one of the public internet.
func isPublic(a netip.Addr) bool {
	a = a.Unmap()
	if nat64.Contains(a) { // the last four bytes are the address that it stands for (RFC 6052)
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// guardedClient sends requests to addresses that users give. Unless private addresses
// are allowed it refuses to connect to any that is not public: it looks at the address
// that is dialled, after names are resolved, so that neither a name, nor a redirect, nor
// one that resolves to something else the second time gets around it. Since a proxy
// would connect in its place, it uses none then.
func guardedClient(allowPrivate bool, timeout time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	t := &http.Transport{
		DialContext: dialer.DialContext, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: timeout, MaxResponseHeaderBytes: 64 << 10,
	}
	if allowPrivate {
		t.Proxy = http.ProxyFromEnvironment
	} else {
		dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error { return refusePrivate(address) }
	}
	return &http.Client{Transport: t, Timeout: timeout, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		const most = 3
		if len(via) >= most {
			return errors.New("too many redirects")
		}
		if r.URL.Scheme != "https" && via[0].URL.Scheme == "https" {
			return errors.New("redirected from https to " + r.URL.Scheme)
		}
		return nil
	}}
}

func refusePrivate(address string) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	if !isPublic(a.Addr()) {
		return fmt.Errorf("%s is %w", a.Addr(), errPrivate)
	}
	return nil
}
