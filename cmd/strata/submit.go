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
	"strings"
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
	return &submitter{base: u, token: o.serverToken, http: &http.Client{Transport: t}}, nil
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
// know, is sent what is in them, and is asked again.
func (a *app) submit(ctx context.Context, to *submitter, img *image.Image, o *scanOptions) (*report.Report, error) {
	body, err := json.Marshal(newSubmission(img))
	if err != nil {
		return nil, err
	}
	var answer server.SubmissionAnswer
	for range 2 {
		if err := to.send(ctx, http.MethodPost, "api/v1/submissions", "application/json", body, &answer); err != nil {
			return nil, err
		}
		if len(answer.Missing) == 0 {
			return report.ReadJSON(bytes.NewReader(answer.Report))
		}
		a.say("sending what is in %d of %d layers to %s", len(answer.Missing), len(img.Layers), to.base.Host)
		if err := a.sendLayers(ctx, to, img, answer.Missing, o); err != nil {
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
// them, and sends what is in them.
func (a *app) sendLayers(ctx context.Context, to *submitter, img *image.Image, missing []image.DiffID, o *scanOptions) (err error) {
	bars := newProgress(a, a.quiet)
	defer bars.Close()
	scanner := o.scanner(a, bars)
	if !o.noCache {
		cache, err := a.openCache(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, cache.Close()) }()
		scanner.Cache = cache
	}
	part := *img
	part.Layers = slices.DeleteFunc(slices.Clone(img.Layers), func(l image.Layer) bool { return !slices.Contains(missing, l.DiffID) })
	res, err := scanner.Image(ctx, &part)
	if err != nil {
		bars.Abort()
		return err
	}
	sent := map[image.DiffID]bool{}
	for i, l := range res.Layers {
		if l == nil {
			return fmt.Errorf("layer %d could not be read, so that the server can't judge the image: %s", part.Layers[i].Index, report.Safe(problemsOf(res)))
		}
		if sent[l.DiffID] {
			continue
		}
		sent[l.DiffID] = true
		b, err := store.EncodeLayer(l)
		if err != nil {
			return err
		}
		if err := to.send(ctx, http.MethodPut, "api/v1/submissions/layers/"+string(l.DiffID)+"?analyzer_set="+analyzer.SetVersion, "application/zstd", b, nil); err != nil {
			return err
		}
	}
	return nil
}

// problemsOf are the messages of a scan about whole layers.
func problemsOf(res *scan.Result) string {
	var out []string
	for _, p := range res.Inventory.Problems {
		if p.Incomplete {
			out = append(out, p.Message)
		}
	}
	return strings.Join(out, "; ")
}

// maxAnswer bounds what a server may answer, in bytes.
const maxAnswer = 1 << 30

// send sends a request, and reads the answer into out where that is not nil.
func (s *submitter) send(ctx context.Context, method, path, contentType string, body []byte, out any) error {
	where := strings.TrimSuffix(s.base.String(), "/") + "/" + path
	r, err := http.NewRequestWithContext(ctx, method, where, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("User-Agent", "strata/"+version())
	if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	res, err := s.http.Do(r)
	if err != nil {
		if _, ok := errors.AsType[net.Error](err); ok && ctx.Err() == nil {
			return fmt.Errorf("server %s can't be reached: %w", s.base, err)
		}
		return fmt.Errorf("server: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("server %s: %w", s.base, err)
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("server %s: %s", s.base, problemOf(res, text))
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("server %s: its answer is not that of strata serve: %w", s.base, err)
	}
	return nil
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
		out += " (the token is given as STRATA_SERVER_TOKEN)"
	}
	return report.Safe(out)
}
