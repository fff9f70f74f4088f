package server

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"strata/internal/auth"
	"strata/internal/jobs"
	"strata/internal/store"
)

const metricsRoute = "GET /metrics"

// metrics are what is counted in this instance, and what the database tells of all.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	jobs     *prometheus.CounterVec
	jobTime  *prometheus.HistogramVec
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "strata_http_requests_total", Help: "Requests answered by this instance."}, []string{"method", "route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "strata_http_request_duration_seconds", Help: "How long this instance took to answer.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
		}, []string{"route"}),
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "strata_jobs_total", Help: "Jobs done by this instance, by kind and result (done, failed)."}, []string{"kind", "result"}),
		jobTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "strata_job_duration_seconds", Help: "How long jobs took.", Buckets: []float64{.01, .1, .5, 1, 5, 30, 120, 600},
		}, []string{"kind"}),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.jobs, m.jobTime, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &totalsCollector{s: s})
	return m
}

// request counts one. Methods that HTTP has not are one, so that no client can make
// series without end.
func (m *metrics) request(method, route string, status int, took time.Duration) {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
	default:
		method = "other"
	}
	if _, path, ok := strings.Cut(route, " "); ok {
		route = path
	}
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

// counted counts the jobs of a work.
func (m *metrics) counted(w jobs.Work) jobs.Work {
	do := w.Do
	w.Do = func(ctx context.Context, key string) error {
		began := time.Now()
		err := do(ctx, key)
		result := "done"
		if err != nil {
			result = "failed"
		}
		m.jobs.WithLabelValues(string(w.Kind), result).Inc()
		m.jobTime.WithLabelValues(string(w.Kind)).Observe(time.Since(began).Seconds())
		return err
	}
	return w
}

// A totalsCollector asks the database when it is scraped.
type totalsCollector struct{ s *Server }

// Describe implements prometheus.Collector: what there is depends on the rows.
func (c *totalsCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *totalsCollector) Collect(out chan<- prometheus.Metric) {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	totals, err := c.s.o.DB.ServerTotals(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(prometheus.NewDesc("strata_database", "The totals in the database.", nil, nil), err)
		return
	}
	for _, t := range totals {
		out <- constant(t, c.s.o.Now())
	}
}

// constant is a total as Prometheus has it.
func constant(t store.Total, now time.Time) prometheus.Metric {
	kind, value := prometheus.GaugeValue, float64(t.Value)
	var labels, values []string
	if t.Label != "" {
		labels, values = []string{t.Label}, []string{t.LabelValue}
	}
	if t.Counts {
		kind = prometheus.CounterValue
	}
	if t.Since {
		value = now.Sub(time.UnixMicro(t.Value)).Seconds()
	}
	return prometheus.MustNewConstMetric(prometheus.NewDesc("strata_"+t.Name, t.Help, labels, nil), kind, value, values...)
}

// registerMetrics answers Prometheus. The numbers tell of all repositories: who scrapes
// needs a token of a viewer of all, unless they are opened to anyone.
func (s *Server) registerMetrics() {
	handler := promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	s.mux.HandleFunc(metricsRoute, func(w http.ResponseWriter, r *http.Request) {
		who := auth.From(r.Context())
		switch {
		case s.o.OpenMetrics || who.May(auth.Viewer):
			handler.ServeHTTP(w, r)
		case who == nil:
			w.Header().Set("WWW-Authenticate", `Bearer realm="strata"`)
			s.answer(w, r, huma.Error401Unauthorized("metrics need a token of a viewer of all repositories, or --open-metrics"))
		default:
			s.answer(w, r, huma.Error403Forbidden("metrics need the role viewer over all repositories"))
		}
	})
}
