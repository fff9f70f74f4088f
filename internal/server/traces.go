package server

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"strata/internal/jobs"
)

// startTraces sends spans to a collector by OTLP over HTTP: endpoint is its URL
// ("http://collector:4318"). stop sends what is left.
func startTraces(ctx context.Context, endpoint, version, instance string) (t trace.Tracer, stop func(context.Context) error, err error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(tracesURL(endpoint)))
	if err != nil {
		return nil, nil, fmt.Errorf("OTLP endpoint %s: %w", endpoint, err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter, sdktrace.WithBatchTimeout(2*time.Second)),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "strata"),
			attribute.String("service.version", version), attribute.String("service.instance.id", instance))))
	return provider.Tracer("strata"), provider.Shutdown, nil
}

// tracesURL is where a collector takes spans, unless the path says so already.
func tracesURL(endpoint string) string {
	const path = "/v1/traces"
	if len(endpoint) > len(path) && endpoint[len(endpoint)-len(path):] == path {
		return endpoint
	}
	for len(endpoint) > 0 && endpoint[len(endpoint)-1] == '/' {
		endpoint = endpoint[:len(endpoint)-1]
	}
	return endpoint + path
}

// startSpan begins the span of a request; it is part of the trace that the client tells
// of (W3C traceparent). Without a collector it does nothing.
func (s *Server) startSpan(r *http.Request, note *requestNote) (context.Context, trace.Span) {
	if s.o.Tracer == nil {
		return r.Context(), trace.SpanFromContext(r.Context())
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	name := note.route
	if name == "" {
		name = r.Method
	}
	return s.o.Tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", r.Method), attribute.String("http.route", note.route), attribute.String("request.id", note.id)))
}

// traced gives each job of a work a span.
func traced(t trace.Tracer, w jobs.Work) jobs.Work {
	if t == nil {
		return w
	}
	do := w.Do
	w.Do = func(ctx context.Context, key string) error {
		ctx, span := t.Start(ctx, "job "+string(w.Kind), trace.WithAttributes(attribute.String("job.key", key)))
		defer span.End()
		err := do(ctx, key)
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		return err
	}
	return w
}
