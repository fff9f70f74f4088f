package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// maxBody bounds every request's body. Most handlers take much less: 1 MiB, unless
// their operation says otherwise.
const maxBody = 256 << 20

// A requestNote is what is told of a request in logs, traces and metrics.
type requestNote struct {
	id string
	// route is the pattern that the request was matched by; empty for none.
	route string
	// who asks, by name.
	who string
}

type noteKey struct{}

// noteOf is the note of the request of the context; never nil.
func noteOf(ctx context.Context) *requestNote {
	if n, ok := ctx.Value(noteKey{}).(*requestNote); ok {
		return n
	}
	return &requestNote{}
}

// frame is what goes around every request: an id, limits, headers, the log, metrics, a
// span, and an answer even when the handler panics.
func (s *Server) frame(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := s.o.Now()
		_, route := s.mux.Handler(r)
		note := &requestNote{id: requestID(r), route: route}
		ctx, span := s.startSpan(r, note)
		defer span.End()
		r = r.WithContext(context.WithValue(ctx, noteKey{}, note))
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		seen := &seenWriter{ResponseWriter: w}
		s.headers(seen.Header(), note)
		defer func() {
			if p := recover(); p != nil {
				s.panicked(seen, r, p)
			}
			s.finished(r, note, seen, span, s.o.Now().Sub(began))
		}()
		next.ServeHTTP(seen, r)
	})
}

// panicked answers in the place of a handler that couldn't. http.ErrAbortHandler is
// how handlers cut off what they have begun.
func (s *Server) panicked(w *seenWriter, r *http.Request, p any) {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	s.o.Log.ErrorContext(r.Context(), "panic in a handler", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if w.status != 0 {
		return
	}
	if s.page(r) {
		s.site.Broken(w, r)
		return
	}
	s.answer(w, r, huma.Error500InternalServerError("something went wrong in the server; its log has the reason"))
}

func (s *Server) finished(r *http.Request, note *requestNote, w *seenWriter, span trace.Span, took time.Duration) {
	status := w.status
	if status == 0 {
		status = http.StatusOK
	}
	s.metrics.request(r.Method, note.route, status, took)
	span.SetAttributes(attribute.Int("http.response.status_code", status))
	level := slog.LevelInfo
	if strings.HasSuffix(note.route, "z") || note.route == metricsRoute {
		level = slog.LevelDebug // asked for every few seconds, by machines
	}
	s.o.Log.LogAttrs(r.Context(), level, "request", slog.String("method", r.Method), slog.String("path", loggedPath(r, note)),
		slog.Int("status", status), slog.Duration("took", took), slog.Int64("bytes", w.bytes),
		slog.String("address", s.clientAddress(r)), slog.String("user", note.who))
}

// loggedPath is the path of a request for the log: without its query, and outside of
// the API the pattern alone, since addresses for webhooks may have a secret in them.
func loggedPath(r *http.Request, note *requestNote) string {
	if strings.HasPrefix(r.URL.Path, "/api/v1/") || note.route == "" {
		return r.URL.Path
	}
	_, path, _ := strings.Cut(note.route, " ")
	if path == "" {
		path = note.route
	}
	return path
}

// headers are those of every answer; pages set a policy of their own.
func (s *Server) headers(h http.Header, note *requestNote) {
	h.Set("X-Request-Id", note.id)
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // without any, browsers don't tell whence forms come
	h.Set("Cache-Control", "no-store")
	if s.o.secure() {
		h.Set("Strict-Transport-Security", "max-age=63072000")
	}
}

// plainWord are the characters that a request id of a client may have.
const plainWord = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// requestID is the one that a proxy gave, when it is a plain word, or a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	const longest = 64
	if id == "" || len(id) > longest || strings.Trim(id, plainWord) != "" {
		return rand.Text()
	}
	return id
}

// clientAddress is where a request comes from: what the next proxy tells, if it is one
// that is trusted, and so on (X-Forwarded-For, from the right).
func (s *Server) clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && s.trusted(host); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		host = hop.String()
	}
	return host
}

func (s *Server) trusted(host string) bool {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, p := range s.o.TrustedProxies {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

// A seenWriter knows what was answered.
type seenWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (w *seenWriter) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *seenWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *seenWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush implements http.Flusher.
func (w *seenWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// route answers by the pattern that matches; where none does, with a problem document.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	handler, pattern := s.mux.Handler(r)
	if pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	// Whether another method would be answered is for the mux to say.
	said := &headerWriter{header: http.Header{}}
	handler.ServeHTTP(said, r)
	switch said.status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", said.header.Get("Allow"))
		if r.Method == http.MethodGet && s.page(r) { // the address of what answered a form
			s.site.NotFound(w, r)
			return
		}
		s.answer(w, r, huma.Error405MethodNotAllowed("here is only "+said.header.Get("Allow")))
	default:
		if s.page(r) {
			s.site.NotFound(w, r)
			return
		}
		s.answer(w, r, huma.Error404NotFound("nothing is at this path; /api/v1/openapi.json lists what there is"))
	}
}

// page tells whether a browser asks for a page.
func (s *Server) page(r *http.Request) bool {
	return ofBrowser(r) && !strings.HasPrefix(r.URL.Path, "/api/")
}

// ofBrowser tells whether who asks shows pages.
func ofBrowser(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }

// A headerWriter keeps the head of an answer and forgets the rest.
type headerWriter struct {
	header http.Header
	status int
}

// Header implements http.ResponseWriter.
func (w *headerWriter) Header() http.Header         { return w.header }
func (w *headerWriter) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader implements http.ResponseWriter.
func (w *headerWriter) WriteHeader(status int) { w.status = status }

// A requestLog adds the id of the request to what is logged about it.
type requestLog struct{ slog.Handler }

// Handle implements slog.Handler.
func (h requestLog) Handle(ctx context.Context, r slog.Record) error {
	if n, ok := ctx.Value(noteKey{}).(*requestNote); ok {
		r.AddAttrs(slog.String("request", n.id))
	}
	if c := trace.SpanContextFromContext(ctx); c.HasTraceID() {
		r.AddAttrs(slog.String("trace", c.TraceID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h requestLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return requestLog{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h requestLog) WithGroup(name string) slog.Handler { return requestLog{h.Handler.WithGroup(name)} }
