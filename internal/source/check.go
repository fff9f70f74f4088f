package source

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// RegistryAddress is the host of a registry's URL, with the port, and whether it is
// plain http.
func RegistryAddress(address string) (host string, plain bool) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return strings.TrimSuffix(address, "/"), false
	}
	return u.Host, u.Scheme == "http"
}

// Check tells whether a registry can be read with these options: it answers, takes the
// credentials, and lists its repositories, of which it gives the first few. The error
// says in words what is wrong and what can be done; it wraps ErrNoCatalog when only the
// list is refused.
func Check(ctx context.Context, host string, o Options) (repositories []string, err error) {
	o.Retries = -1 // who asks wants to know what happens, now
	o = o.defaulted()
	const few = 10
	err = catalog(ctx, host, o, 1, func(names []string) error {
		repositories = names[:min(len(names), few)]
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", host, explained(err, o))
	}
	return repositories, nil
}

// secondTry is in the text of a failure when plain http was tried after https, as
// go-containerregistry does at addresses of this machine and of private networks.
var secondTry = regexp.MustCompile(`; (Get "|GET )http://`)

// oneTry is that of two failures which tells more: the answer of what speaks plain http,
// or else why https failed.
func oneTry(err error) error {
	var https *url.Error
	var answer *transport.Error
	switch {
	case !secondTry.MatchString(err.Error()), !errors.As(err, &https):
		return err
	case speaksHTTP(https) && errors.As(err, &answer):
		return answer
	}
	return https
}

// speaksHTTP tells from a failure of https that it is spoken with plain http.
func speaksHTTP(err error) bool {
	text := err.Error()
	return strings.Contains(text, "server gave HTTP response to HTTPS client") || strings.Contains(text, "first record does not look like a TLS handshake")
}

// explained adds to a failure what it means and what can be done.
func explained(err error, o Options) error {
	err = oneTry(err)
	var answer *transport.Error
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var timeout net.Error
	switch {
	case errors.As(err, &dns):
		return fmt.Errorf("its name can't be resolved: check the URL, and the DNS of the machine that Strata runs on: %w", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens at its address: check the port, and that the registry runs: %w", err)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Errorf("there is no way to its address from the machine that Strata runs on: %w", err)
	case errors.As(err, &unknown):
		return fmt.Errorf("its certificate is of an authority that is not trusted: give the authority's certificate (ca), or accept any (insecure): %w", err)
	case errors.As(err, &hostname):
		return fmt.Errorf("its certificate is for another name: use that name in the URL, or accept any certificate (insecure): %w", err)
	case errors.As(err, &invalid):
		return fmt.Errorf("its certificate is not valid: renew it, or accept any (insecure): %w", err)
	case errors.As(err, &answer):
		return explainedAnswer(err, answer, o)
	case speaksHTTP(err), strings.Contains(err.Error(), "plain http with"):
		return fmt.Errorf("it speaks plain http: write http:// in the URL and allow it (insecure): %w", err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("it does not answer in time: check the address, and firewalls in between: %w", err)
	}
	return err
}

func explainedAnswer(err error, answer *transport.Error, o Options) error {
	given := o.Username != "" || o.Password != "" || o.Token != ""
	listing := errors.Is(err, ErrNoCatalog)
	switch status := answer.StatusCode; {
	case status == http.StatusTooManyRequests:
		return fmt.Errorf("it asks for fewer requests: give credentials, which often may ask more, or lower the rate: %w", err)
	case listing && given && status == http.StatusUnauthorized: // a registry without tokens says so of a wrong password
		return fmt.Errorf("it refuses these credentials, or does not list its repositories to them: check name and password; where they are right, use ones that may list (registry:catalog:*), or name the repositories in the settings: %w", err)
	case listing && given:
		return fmt.Errorf("it answers, but does not list its repositories to these credentials: use ones that may (registry:catalog:*), or name the repositories in the settings: %w", err)
	case listing && status == http.StatusUnauthorized:
		return fmt.Errorf("it asks for credentials: give some that may pull and list its repositories: %w", err)
	case listing:
		return fmt.Errorf("it answers, but does not list its repositories: give credentials that may, or name the repositories in the settings: %w", err)
	case (status == http.StatusUnauthorized || status == http.StatusForbidden) && given:
		return fmt.Errorf("it refuses the credentials: check name and password, or that the token has not expired: %w", err)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fmt.Errorf("it asks for credentials: give some that may pull and list its repositories: %w", err)
	case status == http.StatusNotFound:
		return fmt.Errorf("there is a web server, but no registry (/v2/) at this address: check the URL: %w", err)
	case status >= http.StatusInternalServerError:
		return fmt.Errorf("it has a failure of its own: look at its log: %w", err)
	}
	return err
}
