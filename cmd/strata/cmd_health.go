package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"strata/internal/report"
)

// healthOptions are the flags of health.
type healthOptions struct {
	listen, tlsCert string
	ready           bool
}

func newHealthCommand(a *app) *cobra.Command {
	o := &healthOptions{}
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask the server on this machine whether it runs",
		Long: `Ask the server on this machine whether it runs: exit code 0 when it does, else 1. It is
for containers that have no other program to ask with. The settings are those of strata
serve: where the server has them from environment or strata.yaml, none need be given.`,
		Example: `  strata health
  STRATA_LISTEN=:9000 strata health --ready`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.health(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", defaultListen, "`ADDRESS` that the server listens on")
	f.StringVar(&o.tlsCert, "tls-cert", "", "`FILE` of the server's certificate: ask by https (default none: http)")
	f.BoolVar(&o.ready, "ready", false, "ask whether it can work, too: whether its database answers, and it isn't stopping")
	return cmd
}

// health asks the server, and prints what it says.
func (a *app) health(ctx context.Context, o *healthOptions) error {
	url, err := o.url()
	if err != nil {
		return err
	}
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// No proxy is asked for what is on this machine. The certificate is for the name that
	// users reach the server by, which this isn't; nothing is told that is secret.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}}
	answer, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("the server doesn't answer: %w", err)
	}
	defer answer.Body.Close()
	const most = 1 << 10
	b, err := io.ReadAll(io.LimitReader(answer.Body, most))
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	said := report.Safe(strings.TrimSpace(string(b)))
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, answer.Status, said)
	}
	_, err = fmt.Fprintln(a.stdout, said)
	return err
}

// url is what to ask. A listener on every interface is reached by loopback.
func (o *healthOptions) url() (string, error) {
	host, port, err := net.SplitHostPort(o.listen)
	if err != nil {
		return "", fmt.Errorf("--listen %s: want HOST:PORT, as in %s or :8080", o.listen, defaultListen)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	scheme, path := "http", "/healthz"
	if o.tlsCert != "" {
		scheme = "https"
	}
	if o.ready {
		path = "/readyz"
	}
	return scheme + "://" + net.JoinHostPort(host, port) + path, nil
}
