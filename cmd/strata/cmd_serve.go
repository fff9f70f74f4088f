package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"strata/internal/auth"
	"strata/internal/jobs"
	"strata/internal/server"
	"strata/internal/store"
)

// defaultListen is reached from this machine alone.
const defaultListen = "127.0.0.1:8080"

// serveOptions are the flags of serve.
type serveOptions struct {
	listen, publicURL      string
	tlsCert, tlsKey        string
	trustedProxies         []string
	database, dataDir      string
	key                    keyFlags
	advisories             mirrorFlags
	syncEvery, crawlEvery  time.Duration
	keep                   retentionFlags
	workers                int
	memory                 byteSize
	allowPrivate           bool
	logFormat, otlp        string
	openMetrics            bool
	shutdown               time.Duration
	openID                 auth.OpenID
	openIDSecret           string
	openIDScopes, openIDTo []string
}

func newServeCommand(a *app) *cobra.Command {
	o := &serveOptions{memory: 2 << 30}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Watch registries: a service that scans what they hold",
		Long: `Run Strata as a service with a JSON API: it reads registries, scans every image,
keeps the advisories up to date, and tells which images a vulnerability is in.

On the embedded database it is one process that needs nothing else. With the URL of
a PostgreSQL database any number of instances work together. The first start prints
how to make the first administrator. docs/serve.md tells of configuration, security
and backups.`,
		Example: `  strata serve
  strata serve --listen :8443 --tls-cert cert.pem --tls-key key.pem
  strata serve --database postgres://strata@db.example/strata --key-file /run/secrets/strata.key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	flagGroup(f, "Listener", o.listenerFlags)
	flagGroup(f, "Data", o.dataFlags)
	o.advisories.register(cmd)
	flagGroup(f, "Work", o.workFlags)
	flagGroup(f, "Retention", o.keep.flags)
	flagGroup(f, "Observation", o.observationFlags)
	flagGroup(f, "Login with OpenID Connect", o.openIDFlags)
	return cmd
}

func (o *serveOptions) listenerFlags(f *pflag.FlagSet) {
	f.StringVar(&o.listen, "listen", defaultListen, "`ADDRESS` to listen on; :8080 is every interface of this machine")
	f.StringVar(&o.publicURL, "public-url", "", "`URL` by which users and registries reach the server, where it isn't the listener's: of the proxy before it")
	f.StringVar(&o.tlsCert, "tls-cert", "", "`FILE` of the certificate, with those between (PEM); read again when it changes (default none: http)")
	f.StringVar(&o.tlsKey, "tls-key", "", "`FILE` of the certificate's key (PEM)")
	f.StringArrayVar(&o.trustedProxies, "trusted-proxy", nil, "`NETWORK` such as 10.0.0.0/8 of proxies whose X-Forwarded-For is believed; may be given several times")
	f.DurationVar(&o.shutdown, "shutdown-timeout", 30*time.Second, "how long requests and jobs may take to end when the server is stopped")
}

func (o *serveOptions) dataFlags(f *pflag.FlagSet) {
	f.StringVar(&o.database, "database", "", "`URL` postgres://…, or path of an SQLite file (default strata.db in the data folder)")
	f.StringVar(&o.dataDir, "data-dir", "", "`FOLDER` of database, key and advisories (default strata in the user's data folder)")
	o.key.flags(f)
}

func (o *serveOptions) workFlags(f *pflag.FlagSet) {
	f.DurationVar(&o.syncEvery, "sync-every", 6*time.Hour, "how often advisories are brought up to date; 0 never does")
	f.DurationVar(&o.crawlEvery, "crawl-every", time.Hour, "how often each registry is read; 0 leaves it to notifications")
	f.IntVar(&o.workers, "workers", 0, "jobs that this instance does at a time; -1 does none (default one for each processor)")
	f.Var(&o.memory, "memory", "use this `SIZE` of memory at most")
	f.BoolVar(&o.allowPrivate, "allow-private-addresses", false, "let notifications go to addresses that are not public: receivers in your own network")
}

func (o *serveOptions) observationFlags(f *pflag.FlagSet) {
	f.StringVar(&o.logFormat, "log-format", "text", "`FORMAT` of the log on standard error: text or json")
	f.BoolVar(&o.openMetrics, "open-metrics", false, "give /metrics to anyone (default to tokens of viewers of all repositories)")
	f.StringVar(&o.otlp, "otlp-endpoint", "", "`URL` of an OpenTelemetry collector to send traces to, such as http://collector:4318")
}

func (o *serveOptions) openIDFlags(f *pflag.FlagSet) {
	f.StringVar(&o.openID.Issuer, "oidc-issuer", "", "`URL` of the provider (default none)")
	f.StringVar(&o.openID.ClientID, "oidc-client-id", "", "`ID` of this server at the provider")
	f.StringVar(&o.openIDSecret, "oidc-client-secret-file", "", "`FILE` of the client's secret")
	f.StringArrayVar(&o.openIDScopes, "oidc-scope", nil, "`NAME` of a scope to ask for besides openid, profile and email; may be given several times")
	f.StringVar(&o.openID.RoleClaim, "oidc-role-claim", "groups", "`CLAIM` that has a user's groups; realm_access.roles is a claim in a claim")
	f.StringArrayVar(&o.openIDTo, "oidc-role", nil, "what a group may do: `GROUP=ROLE[:REPOSITORIES]`, as in appsec=security or web=viewer:*/web/**; * is everyone; may be given several times")
}

// serve runs the server until the process is told to end.
func (a *app) serve(ctx context.Context, o *serveOptions) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	log, err := a.serverLog(o.logFormat)
	if err != nil {
		return err
	}
	run, err := o.runOptions(log)
	if err != nil {
		return err
	}
	if run.Declared, err = a.declarations(); err != nil {
		return err
	}
	if run.Policies, err = a.declaredPolicies(); err != nil {
		return err
	}
	tuneMemory(o.memory)
	dir, err := a.dataDir(o.dataDir)
	if err != nil {
		return err
	}
	keys, err := a.serverKeys(o, dir, log)
	if err != nil {
		return err
	}
	location := o.database
	if location == "" {
		location = filepath.Join(dir, "strata.db")
	}
	var db *store.DB
	run.Open = func(ctx context.Context, run *server.RunOptions) error {
		err := o.open(ctx, run, location, keys, dir, log)
		db = run.DB
		return err
	}
	defer func() {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	run.Started = func(url, setup string) {
		log.Info("listening", "url", url, "version", version(), "workers", run.Workers)
		a.sayFirstSteps(url, setup)
	}
	return listenError(server.Run(ctx, *run))
}

// listenError adds the way out to an address that can't be had.
func listenError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "listen" {
		return fmt.Errorf("%w\ngive another address by --listen, such as 127.0.0.1:8081", err)
	}
	return err
}

// open opens the database, and makes what works on it.
func (o *serveOptions) open(ctx context.Context, run *server.RunOptions, location string, keys [][]byte, dir string, log *slog.Logger) error {
	options := keyOptions(keys)
	options.Alone = true
	db, err := store.OpenDB(ctx, location, options)
	if err != nil {
		return openError(err, o.key.file)
	}
	if err := warnOfLostSecrets(ctx, db, log); err != nil {
		return errors.Join(err, db.Close())
	}
	run.DB = db
	layers := &jobs.Layers{DB: db, Limit: int(o.memory) / 8}
	run.Reports = &jobs.Reports{DB: db, Cache: layers, Version: version()}
	court := &jobs.Court{DB: db, Reports: run.Reports, Log: log}
	run.Judge, run.Try = court.Judge, court.Try
	run.Works = o.works(db, layers, court, dir, log)
	return nil
}

// check says what of the flags doesn't go together.
func (o *serveOptions) check() error {
	switch {
	case (o.tlsCert == "") != (o.tlsKey == ""):
		return errors.New("--tls-cert and --tls-key go together")
	case o.memory < 64<<20:
		return fmt.Errorf("--memory %s: want at least 64MiB", &o.memory)
	case o.workers < -1:
		return fmt.Errorf("--workers %d: want 1 or more, 0 for one each processor, or -1 for none", o.workers)
	case o.syncEvery < 0 || o.crawlEvery < 0:
		return errors.New("--sync-every and --crawl-every: want a duration such as 6h, or 0")
	case o.keep.check() != nil:
		return o.keep.check()
	case o.shutdown <= 0:
		return errors.New("--shutdown-timeout: want a duration such as 30s")
	case o.openID.Issuer == "" && (o.openID.ClientID != "" || o.openIDSecret != "" || len(o.openIDTo) > 0):
		return errors.New("--oidc-client-id, --oidc-client-secret-file and --oidc-role want --oidc-issuer")
	case o.openID.Issuer != "" && o.openID.ClientID == "":
		return errors.New("--oidc-issuer wants --oidc-client-id")
	case o.openID.Issuer != "" && o.publicURL == "":
		return errors.New("--oidc-issuer wants --public-url: the provider sends users back to it")
	case o.openID.Issuer != "" && len(o.openIDTo) == 0:
		return errors.New("--oidc-issuer wants --oidc-role: without one no user of the provider may do anything")
	}
	if _, _, err := net.SplitHostPort(o.listen); err != nil {
		return fmt.Errorf("--listen %s: want HOST:PORT, as in %s or :8080", o.listen, defaultListen)
	}
	return server.CheckPublicURL(strings.TrimSuffix(o.publicURL, "/"))
}

func (o *serveOptions) runOptions(log *slog.Logger) (*server.RunOptions, error) {
	run := &server.RunOptions{
		Options: server.Options{Version: version(), Log: log, PublicURL: strings.TrimSuffix(o.publicURL, "/"), OpenMetrics: o.openMetrics},
		Listen:  o.listen, TLSCert: o.tlsCert, TLSKey: o.tlsKey, OTLPEndpoint: o.otlp, AllowPrivateAddresses: o.allowPrivate,
		ShutdownTimeout: o.shutdown, Workers: o.workers,
	}
	if run.Workers == 0 {
		run.Workers = runtime.GOMAXPROCS(0)
	}
	var err error
	if run.Host, err = os.Hostname(); err != nil {
		return nil, err
	}
	for _, p := range o.trustedProxies {
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			return nil, fmt.Errorf("--trusted-proxy %s: want a network such as 10.0.0.0/8", p)
		}
		run.TrustedProxies = append(run.TrustedProxies, prefix)
	}
	if o.openID.Issuer != "" {
		if run.OpenID, err = o.provider(run.PublicURL); err != nil {
			return nil, err
		}
	}
	return run, nil
}

// provider is the OpenID provider that the flags tell of.
func (o *serveOptions) provider(publicURL string) (*auth.OpenID, error) {
	p := &o.openID
	p.RedirectURL = publicURL + server.OpenIDCallback
	p.Scopes = o.openIDScopes
	p.Roles = map[string][]auth.Grant{}
	for _, text := range o.openIDTo {
		group, g, err := parseGrant(text)
		if err != nil {
			return nil, fmt.Errorf("--oidc-role %s: %w", text, err)
		}
		if group == "*" {
			p.Everyone = append(p.Everyone, g)
		} else {
			p.Roles[group] = append(p.Roles[group], g)
		}
	}
	if o.openIDSecret != "" {
		const most = 4 << 10
		b, err := readBounded(o.openIDSecret, most)
		if err != nil {
			return nil, fmt.Errorf("--oidc-client-secret-file: %w", err)
		}
		p.ClientSecret = strings.TrimSpace(string(b))
	}
	return p, nil
}

// parseGrant reads GROUP=ROLE[:REPOSITORIES].
func parseGrant(text string) (group string, g auth.Grant, err error) {
	group, what, ok := strings.Cut(text, "=")
	if !ok || group == "" {
		return "", g, errors.New("want GROUP=ROLE or GROUP=ROLE:REPOSITORIES")
	}
	role, glob, ok := strings.Cut(what, ":")
	if !ok {
		glob = "**"
	}
	g.Repository = glob
	g.Role, err = auth.ParseRole(role)
	return group, g, err
}

// serverLog writes to standard error, with the time: no one sees when it came.
func (a *app) serverLog(format string) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	for _, level := range []slog.Level{slog.LevelError, slog.LevelInfo, slog.LevelDebug} {
		if a.log.Enabled(context.Background(), level) {
			options.Level = level
		}
	}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(a.stderr, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(a.stderr, options)), nil
	}
	return nil, fmt.Errorf("--log-format %q: want text or json", format)
}

// sayFirstSteps tells whoever starts the first server how to become its administrator.
// It is no line of the log, in whatever format that is: a log is kept, and read by many.
func (a *app) sayFirstSteps(url, setup string) {
	if setup == "" {
		return
	}
	fmt.Fprintf(a.stderr, `
There is no administrator yet. Make the first one within 24 hours, with a password of
12 characters or more: in a browser, or by the API. The token is good once and is not
shown again.

  %s/setup?token=%s

  curl -sS %s/api/v1/setup -H 'Content-Type: application/json' \
    -d '{"token": "%s", "name": "admin", "password": "…"}'

`, url, setup, url, setup)
}
