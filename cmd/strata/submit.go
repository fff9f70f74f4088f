package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"strata/internal/analyzer"
	"strata/internal/event"
	"strata/internal/image"
	"strata/internal/report"
	"strata/internal/scan"
	"strata/internal/server"
	"strata/internal/source"
	"strata/internal/store"
)

// serverOptions are the flags about a server that has the advisories.
type serverOptions struct {
	server      string
	serverToken string
}

func (o *serverOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.server, "server", "", "have the server at this `URL` hold the image against its advisories and policies; it is sent what is in the layers that it does not know")
	f.StringVar(&o.serverToken, "server-token", "", "API `TOKEN` for the server; better given as STRATA_SERVER_TOKEN")
}

// A submitter sends images to a server.
type submitter struct {
	base  *url.URL
	token string
	http  *http.Client
	// backoff is the first pause between tries; it doubles each time.
	backoff time.Duration
}

// submitter checks the flags. The token is a password: it goes over TLS, to this
// machine, or where --insecure allows it.
func (o *scanOptions) submitter() (*submitter, error) {
	u, err := url.Parse(o.server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("--server %s: want a URL, such as https://strata.example", report.Safe(o.server))
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("--server: want no password and no parameters in the URL; the token is given as STRATA_SERVER_TOKEN")
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) && !o.insecure {
		return nil, fmt.Errorf("--server %s: the token would go over plain http: use https, or --insecure", u)
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second}
	t.TLSClientConfig = &tls.Config{InsecureSkipVerify: o.insecure} //nolint:gosec // --insecure asks for it
	if o.caFile != "" {
		if t.TLSClientConfig.RootCAs, err = rootsWith(o.caFile); err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
	}
	return &submitter{base: u, token: o.serverToken, http: &http.Client{Transport: t}, backoff: 500 * time.Millisecond}, nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// rootsWith are the system's certificates, and those of a file.
func rootsWith(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificates in it", file)
	}
	return pool, nil
}

// submitted are the reports that the server makes of what the reference names.
func (a *app) submitted(ctx context.Context, ref string, o *scanOptions) (reports []*report.Report, err error) {
	parsed, err := source.Parse(ref)
	if err != nil {
		return nil, err
	}
	if parsed.Scheme == source.SBOM || parsed.Scheme == source.Dir {
		return nil, fmt.Errorf("--server: it takes images with layers, and %s is none", ref)
	}
	to, err := o.submitter()
	if err != nil {
		return nil, err
	}
	opts, err := o.open(a)
	if err != nil {
		return nil, err
	}
	images, closer, err := source.Open(ctx, ref, opts)
	if err != nil {
		return nil, timeoutCause(ctx, err)
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	for _, img := range images {
		r, err := a.submit(ctx, to, img, o)
		if err != nil {
			return nil, timeoutCause(ctx, err)
		}
		reports = append(reports, r)
	}
	return reports, nil
}

// submit has the server make the report of an image: it tells which layers it does not
// know, is sent what is in them, or why that can't be told, and is asked again.
func (a *app) submit(ctx context.Context, to *submitter, img *image.Image, o *scanOptions) (*report.Report, error) {
	submission := newSubmission(img)
	for range 2 {
		body, err := json.Marshal(submission)
		if err != nil {
			return nil, err
		}
		var answer server.SubmissionAnswer
		if err := to.send(ctx, http.MethodPost, "api/v1/submissions", "application/json", body, &answer); err != nil {
			return nil, err
		}
		if len(answer.Missing) == 0 {
			return report.ReadJSON(bytes.NewReader(answer.Report))
		}
		a.say("sending what is in %d of %d layers to %s", len(answer.Missing), len(img.Layers), to.base.Host)
		if submission.Unreadable, err = a.sendLayers(ctx, to, img, answer.Missing, o); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("server %s: it does not keep what it was sent", to.base)
}

// newSubmission names the image as its registry does: an archive may have none.
func newSubmission(img *image.Image) *server.Submission {
	registry, repository := "docker.io", img.Repository
	if host, rest, ok := strings.Cut(repository, "/"); ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		registry, repository = host, rest
	} else if !ok && repository != "" {
		repository = "library/" + repository
	}
	tag := img.Tag
	if !event.ValidName(repository, tag) {
		registry, repository, tag = "local", plainName(img.Reference), ""
	}
	return server.NewSubmission(img, registry, repository, tag, analyzer.SetVersion)
}

// plainName makes a repository's name of a path.
func plainName(ref string) string {
	name := strings.FieldsFunc(strings.ToLower(path.Base(ref)), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	if len(name) == 0 {
		return "image"
	}
	return strings.Join(name, "-")
}

// sendLayers reads the layers that the server does not know, unless this machine knows
// them, and sends what is in them. Those that can't be read it gives, with the reason.
func (a *app) sendLayers(ctx context.Context, to *submitter, img *image.Image, missing []image.DiffID, o *scanOptions) (unreadable map[image.DiffID]string, err error) {
	bars := newProgress(a, a.quiet)
	defer bars.Close()
	scanner := o.scanner(a, bars)
	if !o.noCache {
		cache, err := a.openCache(ctx)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, cache.Close()) }()
		scanner.Cache = cache
	}
	part := *img
	part.Layers = slices.DeleteFunc(slices.Clone(img.Layers), func(l image.Layer) bool { return !slices.Contains(missing, l.DiffID) })
	res, err := scanner.Image(ctx, &part)
	if err != nil {
		bars.Abort()
		return nil, err
	}
	unreadable, sent := map[image.DiffID]string{}, map[image.DiffID]bool{}
	for i, l := range res.Layers {
		if l == nil {
			unreadable[part.Layers[i].DiffID] = problemOfLayer(res, i)
			continue
		}
		if sent[l.DiffID] {
			continue
		}
		sent[l.DiffID] = true
		b, err := store.EncodeLayer(l)
		if err != nil {
			return nil, err
		}
		if err := to.send(ctx, http.MethodPut, "api/v1/submissions/layers/"+string(l.DiffID)+"?analyzer_set="+analyzer.SetVersion, "application/zstd", b, nil); err != nil {
			return nil, err
		}
	}
	return unreadable, nil
}

// problemOfLayer is why a scan could not read a layer.
func problemOfLayer(res *scan.Result, layer int) string {
	for i := range res.Inventory.Problems {
		if p := &res.Inventory.Problems[i]; p.Incomplete && p.Layer == layer {
			return p.Message
		}
	}
	return "could not be read"
}

// maxAnswer bounds what a server may answer, in bytes.
const maxAnswer = 1 << 30

// maxTries is how often a request is sent: what is behind a load balancer may be stopped
// and started anew meanwhile.
const maxTries = 6

// send sends a request, and reads the answer into out where that is not nil. All that is
// sent may be sent twice, so it is sent again where a connection broke, or the answer says
// that another time may be better, while there is time.
func (s *submitter) send(ctx context.Context, method, path, contentType string, body []byte, out any) error {
	wait := s.backoff
	for try := 1; ; try++ {
		text, after, err := s.sendOnce(ctx, method, path, contentType, body)
		var again *tryAgainError
		switch {
		case err == nil && out == nil:
			return nil
		case err == nil:
			if err := json.Unmarshal(text, out); err != nil {
				return fmt.Errorf("server %s: its answer is not that of strata serve: %w", s.base, err)
			}
			return nil
		case !errors.As(err, &again) || try == maxTries:
			return err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= max(wait, after) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(max(wait, after)):
		}
		wait *= 2
	}
}

// A tryAgainError is one of a request that may go well another time.
type tryAgainError struct{ error }

func (e *tryAgainError) Unwrap() error { return e.error }

// sendOnce gives the answer, or for a tryAgainError how long to wait at least.
func (s *submitter) sendOnce(ctx context.Context, method, path, contentType string, body []byte) (text []byte, after time.Duration, err error) {
	where := strings.TrimSuffix(s.base.String(), "/") + "/" + path
	r, err := http.NewRequestWithContext(ctx, method, where, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("User-Agent", "strata/"+version())
	if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	res, err := s.http.Do(r)
	if err != nil {
		return nil, 0, s.unsent(ctx, err)
	}
	defer res.Body.Close()
	if text, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer)); err != nil {
		return nil, 0, s.unsent(ctx, err)
	}
	if res.StatusCode < 300 {
		return text, 0, nil
	}
	err = fmt.Errorf("server %s: %s", s.base, problemOf(res, text))
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return nil, retryAfter(res.Header.Get("Retry-After"), time.Now()), &tryAgainError{err}
	}
	return nil, 0, err
}

// unsent is the error of a request without an answer.
func (s *submitter) unsent(ctx context.Context, err error) error {
	broken := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	if ctx.Err() != nil {
		return fmt.Errorf("server: %w", err)
	}
	if broken {
		return &tryAgainError{fmt.Errorf("server %s: the connection broke: %w", s.base, err)}
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("server %s: %w (give the authority's certificate by --ca-file)", s.base, err)
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return fmt.Errorf("server %s can't be reached: %w", s.base, err)
	}
	return fmt.Errorf("server: %w", err)
}

// retryAfter reads the header of this name (RFC 9110, 10.2.3): seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// problemOf says what a server answers with that refuses (RFC 9457).
func problemOf(res *http.Response, text []byte) string {
	var p struct {
		Detail string `json:"detail"`
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(text, &p) != nil || p.Detail == "" {
		return "answers with " + res.Status
	}
	out := p.Detail
	for _, e := range p.Errors {
		out += ": " + e.Message
	}
	if res.StatusCode == http.StatusUnauthorized {
		out += " (the token is given as STRATA_SERVER_TOKEN; one that was given is mistyped, expired or deleted)"
	}
	return report.Safe(out)
}
