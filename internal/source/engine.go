package source

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"strata/internal/image"
)

// Time limits on an engine. An export may take minutes before its first byte:
// Docker writes all of it to a temporary folder first.
const (
	engineConnect = 2 * time.Second
	engineAnswer  = 10 * time.Second
	engineExport  = 15 * time.Minute
)

// An engine is a daemon that speaks the Docker Engine API, of which we use three
// requests that all versions have.
type engine struct {
	client *http.Client
	base   string
}

func newEngine(e endpoint) (*engine, error) {
	network, address, base, err := e.network()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: engineConnect}
	return &engine{base: base, client: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		},
		TLSClientConfig:       e.tls,
		TLSHandshakeTimeout:   engineAnswer,
		ResponseHeaderTimeout: engineExport,
		DisableCompression:    true,
		ReadBufferSize:        256 << 10,
	}}}, nil
}

// Close lets go of idle connections.
func (e *engine) Close() error {
	e.client.CloseIdleConnections()
	return nil
}

// engineName is what a name may be in a request's path.
var engineName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/:@-]*$`)

// openEngineAt opens an image of an engine, which has one platform of it.
func openEngineAt(ctx context.Context, at endpoint, name string, o Options) ([]*image.Image, io.Closer, error) {
	if !engineName.MatchString(name) || strings.Contains(name, "..") {
		return nil, nil, errors.New("is not a valid name of an image")
	}
	e, err := newEngine(at)
	if err != nil {
		return nil, nil, err
	}
	m, err := e.image(ctx, name, o)
	if err != nil {
		e.Close()
		return nil, nil, err
	}
	return []*image.Image{m}, e, nil
}

// inspected is what we need of GET /images/{name}/json.
type inspected struct {
	ID           string `json:"Id"`
	Created      moment
	Architecture string
	Os           string
	Variant      string
	Config       runConfig
	RootFS       struct{ Layers []image.DiffID }
}

// past is one entry of GET /images/{name}/history, newest first.
type past struct {
	Created   int64
	CreatedBy string
	Comment   string
	Size      int64
}

// image describes the image. Its manifest's digest stays empty: an engine's
// RepoDigests may as well be that of an index.
func (e *engine) image(ctx context.Context, name string, o Options) (*image.Image, error) {
	ctx, cancel := context.WithTimeout(ctx, engineAnswer)
	defer cancel()
	var i inspected
	if err := e.query(ctx, name, "json", &i); err != nil {
		return nil, err
	}
	m, err := i.image()
	if err != nil {
		return nil, err
	}
	if err := checkPlatform(m, o); err != nil {
		return nil, err
	}
	var history []past
	if err := e.query(ctx, string(m.ConfigDigest), "history", &history); err != nil {
		o.Log.Warn("history of the image can't be had", "image", name, "reason", err)
	}
	slices.Reverse(history)
	made := alignPast(history, len(m.Layers))
	for n, i := range made {
		m.Layers[n].CreatedBy, m.Layers[n].Created = history[i].CreatedBy, history[i].created()
	}
	if made != nil { // else nothing tells which steps made a layer
		for i, p := range history {
			m.History = append(m.History, image.Step{
				Created: p.created(), CreatedBy: p.CreatedBy, Comment: p.Comment, Empty: !slices.Contains(made, i),
			})
		}
	}
	m.Content = &engineStream{engine: e, id: m.ConfigDigest, layers: m.Layers, idle: o.timing.idle}
	return m, nil
}

func (i inspected) image() (*image.Image, error) {
	id := image.Digest(i.ID)
	if !strings.Contains(i.ID, ":") { // as Podman's own API has it
		id = "sha256:" + id
	}
	if err := id.Validate(); err != nil {
		return nil, fmt.Errorf("the engine's answer: image id: %w", err)
	}
	m := &image.Image{
		ConfigDigest: id, Created: i.Created.Time, Labels: i.Config.labels, Config: i.Config.run,
		Platform: image.Platform{OS: i.Os, Architecture: i.Architecture, Variant: i.Variant},
	}
	for n, d := range i.RootFS.Layers {
		if err := d.Validate(); err != nil {
			return nil, fmt.Errorf("the engine's answer: layer %d: %w", n, err)
		}
		m.Layers = append(m.Layers, image.Layer{Index: n, DiffID: d, Size: -1})
	}
	return m, nil
}

func (p past) created() time.Time {
	if p.Created <= 0 {
		return time.Time{}
	}
	return time.Unix(p.Created, 0).UTC()
}

// alignPast gives the index of the step that made each of n layers, oldest first. The engine
// doesn't say which steps made none: they are told by their instruction, else by
// their size. Where neither fits, nothing is told.
func alignPast(history []past, n int) []int {
	for _, makesLayer := range []func(past) bool{
		func(past) bool { return true },
		func(p past) bool { return !isMetadata(p.CreatedBy) },
		func(p past) bool { return p.Size > 0 },
	} {
		var made []int
		for i, p := range history {
			if makesLayer(p) {
				made = append(made, i)
			}
		}
		if len(made) == n {
			return made
		}
	}
	return nil
}

// isMetadata tells instructions that change the configuration alone, as the
// classic builder ("#(nop)") and BuildKit write them.
func isMetadata(createdBy string) bool {
	if _, nop, ok := strings.Cut(createdBy, "#(nop)"); ok {
		createdBy = nop
	}
	instruction, _, _ := strings.Cut(strings.TrimSpace(createdBy), " ")
	switch instruction {
	case "ENV", "CMD", "ENTRYPOINT", "LABEL", "EXPOSE", "USER", "ARG", "VOLUME", "STOPSIGNAL", "HEALTHCHECK", "SHELL", "MAINTAINER", "ONBUILD":
		return true
	}
	return false
}

func (e *engine) query(ctx context.Context, name, what string, answer any) error {
	resp, err := e.get(ctx, name, what)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := readDocument(resp.Body)
	if err != nil {
		return fmt.Errorf("the engine's answer: %w", err)
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		return fmt.Errorf("the engine's answer is not valid JSON: %w", err)
	}
	return nil
}

// get makes a request about an image.
func (e *engine) get(ctx context.Context, name, what string) (*http.Response, error) {
	address := e.base + (&url.URL{Path: "/images/" + name + "/" + what}).EscapedPath()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := e.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without a URL that nobody typed
		}
		return nil, fmt.Errorf("the engine can't be reached: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, answerError(resp)
}

// answerError is the error of an answer: its JSON message, as far as it has one.
func answerError(resp *http.Response) error {
	var answer struct {
		Message string `json:"message"`
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && json.Unmarshal(raw, &answer) == nil && answer.Message != "" {
		return fmt.Errorf("the engine says: %s", answer.Message)
	}
	return fmt.Errorf("the engine answers %s", resp.Status)
}

// engineStream is the Content of an image of an engine: GET /images/{name}/get
// sends everything once, as docker save does.
type engineStream struct {
	engine *engine
	id     image.Digest
	layers []image.Layer
	idle   time.Duration
}

// Each implements image.Content.
func (s *engineStream) Each(ctx context.Context, want []image.Layer, _ int, visit func(context.Context, image.Blob) error) error {
	if len(want) == 0 {
		return ctx.Err()
	}
	body, err := s.open(ctx)
	if err != nil {
		return visitFailing(ctx, want, fmt.Errorf("image %s: %w", s.id, err), visit)
	}
	defer body.Close()
	w := &walk{all: s.layers, left: slices.Clone(want), layers: len(s.layers)}
	err = w.entries(ctx, tar.NewReader(body), visit)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (s *engineStream) open(ctx context.Context) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	resp, err := s.engine.get(ctx, string(s.id), "get")
	if err != nil {
		cancel()
		return nil, err
	}
	return newIdleReader(resp.Body, cancel, max(s.idle, engineExport)), nil
}

// walk goes once through what docker save sends.
type walk struct {
	all []image.Layer
	// left are the wanted layers of which we don't know that they were visited.
	left []image.Layer
	// layers of the image that have not come by yet, at most.
	layers int
	// unknown is set once a blob was visited of which we don't know the layer.
	unknown bool
}

func (w *walk) entries(ctx context.Context, tr *tar.Reader, visit func(context.Context, image.Blob) error) error {
	for len(w.left) > 0 && w.layers > 0 {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return w.broken(ctx, err, visit)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := w.entry(ctx, h, tr, visit); err != nil {
			return err
		}
	}
	return nil
}

// broken tells of a stream that broke off. Where it isn't known which layers came
// before, all that is left to say is that some are missing.
func (w *walk) broken(ctx context.Context, err error, visit func(context.Context, image.Blob) error) error {
	err = fmt.Errorf("the engine's stream of the image broke off: %w", err)
	if w.unknown {
		return err
	}
	return visitFailing(ctx, w.left, err, visit)
}

func (w *walk) entry(ctx context.Context, h *tar.Header, r io.Reader, visit func(context.Context, image.Blob) error) error {
	name := cleanName(h.Name)
	base := path.Base(name)
	hexName := strings.TrimSuffix(base, ".tar")
	if i := slices.IndexFunc(w.left, func(l image.Layer) bool { return l.DiffID.Hex() == hexName }); i >= 0 {
		l := w.left[i]
		l.Size = h.Size
		// Duplicates of a layer come as one.
		w.left = slices.DeleteFunc(w.left, func(other image.Layer) bool { return other.DiffID == l.DiffID })
		w.layers--
		return visitPassing(ctx, l, r, visit)
	}
	if slices.ContainsFunc(w.all, func(l image.Layer) bool { return l.DiffID.Hex() == hexName }) {
		w.layers-- // known, and not wanted
		return nil
	}
	blob := path.Dir(name) == "blobs/sha256"
	if base != "layer.tar" && !blob && (!strings.HasSuffix(base, ".tar") || image.Digest("sha256:"+hexName).Validate() != nil) {
		return nil
	}
	b := bufio.NewReaderSize(r, 4096)
	head, err := b.Peek(512)
	if err != nil && err != io.EOF {
		return nil // the next header tells the same
	}
	if blob && !isLayerHead(head) {
		return nil
	}
	l := image.Layer{Index: image.Unidentified, Size: h.Size}
	if d := image.Digest("sha256:" + base); blob && d.Validate() == nil {
		l.Digest = d
	}
	w.layers--
	w.unknown = true
	return visitPassing(ctx, l, b, visit)
}
