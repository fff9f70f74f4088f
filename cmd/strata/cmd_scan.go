package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"strata/internal/analyzer"
	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/match"
	"strata/internal/policy"
	"strata/internal/report"
	"strata/internal/sbom"
	"strata/internal/scan"
	"strata/internal/source"
	"strata/internal/store"
)

const scanExamples = `  strata scan alpine:3.19                    of Docker, Podman or its registry
  strata scan registry:ghcr.io/org/app:1.2   of a registry, and nowhere else
  strata scan app.tar                        of docker save, or an OCI archive
  strata scan oci:layout:1.2                 of an OCI layout
  strata scan dir:/                          a root file system
  strata scan sbom:app.cdx.json              a bill of materials: matching only
  strata scan --fail-on high -f table -f json=report.json app:1.2
  strata scan --all-platforms --offline registry.example:5000/app`

// scanOptions are the flags of scan.
type scanOptions struct {
	sourceOptions
	advisoryOptions

	formats        []string
	output         string
	color          string
	severity       string
	onlyFixed      bool
	showRemoved    bool
	showSuppressed bool
	failOn         string
	exitCode       int
	incomplete     bool
	timeout        time.Duration
	memory         byteSize
	parallel       int
	noCache        bool
}

func newScanCommand(a *app) *cobra.Command {
	o := &scanOptions{memory: 512 << 20}
	cmd := &cobra.Command{
		Use:     "scan [flags] REFERENCE",
		Short:   "Scan an image, layer by layer",
		Example: scanExamples,
		Long: `Scan an image: what each layer brings, what is wrong with it, and what fixes it.

REFERENCE is an image's name, or one of
  registry:NAME  docker:NAME  podman:NAME  containerd:NAME
  docker-archive:PATH[:NAME]  oci:PATH[:TAG]  oci-archive:PATH[:TAG]
  dir:PATH  sbom:PATH
A plain path is recognised by its content; PATH:TAG picks an image of a layout.

A layer that was read once, in whatever image, is known by its content and is
not read again. Advisories older than --db-max-age are brought up to date first.

Without --fail-on, findings do not change the exit code.

` + exitHelp,
		Args: oneArgument("reference"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.scan(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	flagGroup(f, "Report", o.reportFlags)
	flagGroup(f, "Exit code", o.verdictFlags)
	flagGroup(f, "Where the image is", o.sourceOptions.flags)
	flagGroup(f, "Advisories", o.advisoryOptions.flags)
	flagGroup(f, "Work", o.workFlags)
	return cmd
}

func (o *scanOptions) reportFlags(f *pflag.FlagSet) {
	f.StringArrayVarP(&o.formats, "format", "f", nil, "`FORMAT[=FILE]` of the report: "+formatNames()+"; may be given several times (default table)")
	f.StringVarP(&o.output, "output", "o", "", "write the report to `FILE` instead of standard output")
	f.StringVar(&o.severity, "severity", "", "show findings of this `SEVERITY` (critical, high, medium, low, unknown) and graver ones; several, separated by commas, are exactly these")
	f.BoolVar(&o.onlyFixed, "only-fixed", false, "show only findings that a newer version fixes")
	f.BoolVar(&o.showRemoved, "show-removed", false, "list findings of packages that a later layer replaced or removed")
	f.BoolVar(&o.showSuppressed, "show-suppressed", false, "list findings that were set aside, with the reason")
	f.StringVar(&o.color, "color", "auto", "colours in tables: `WHEN` is auto, always or never")
}

func (o *scanOptions) verdictFlags(f *pflag.FlagSet) {
	f.StringVar(&o.failOn, "fail-on", "", "fail when a finding has this `SEVERITY` or a graver one, shown or not")
	f.IntVar(&o.exitCode, "exit-code", exitViolated, "exit with `N` when the image fails")
	f.BoolVar(&o.incomplete, "allow-incomplete", false, "accept that a layer or the advisories could not be had")
}

func (o *scanOptions) workFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.noCache, "no-cache", false, "read every layer anew, and keep nothing of them")
	f.DurationVar(&o.timeout, "timeout", 0, "give up after this `DURATION`, such as 10m (default none)")
	f.Var(&o.memory, "memory", "use this `SIZE` of memory at most, however large the image")
	f.IntVar(&o.parallel, "parallel", 0, "read `N` layers at the same time (default the number of processors)")
}

func formatNames() string {
	var names []string
	for _, f := range report.Formats() {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

// scan runs the command: open, read, match, decide, report.
func (a *app) scan(ctx context.Context, ref string, o *scanOptions) (err error) {
	outputs, err := o.check()
	if err != nil {
		return err
	}
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("gave up after --timeout %s", o.timeout))
		defer cancel()
	}
	tuneMemory(o.memory)

	results, err := a.inventories(ctx, ref, o)
	if err != nil {
		return timeoutCause(ctx, err)
	}
	db, origin, err := a.openAdvisoriesFor(ctx, &o.advisoryOptions, ecosystemsOf(results))
	if err != nil {
		return timeoutCause(ctx, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	var reports []*report.Report
	for _, res := range results {
		r, err := a.matched(ctx, res, db, origin)
		if err != nil {
			return timeoutCause(ctx, err)
		}
		if r.Verdict, err = o.verdict(r); err != nil {
			return err
		}
		reports = append(reports, r)
	}
	if err := a.write(outputs, reports, o); err != nil {
		return err
	}
	return o.result(reports)
}

// matched holds a scanned image against the advisories.
func (a *app) matched(ctx context.Context, res *scan.Result, db *store.Advisories, from origin) (*report.Report, error) {
	found, err := match.Find(ctx, &res.Inventory, db, match.Options{Now: a.now})
	if err != nil {
		return nil, err
	}
	return report.New(report.Scanned{
		Tool: report.Tool{Name: "strata", Version: version()}, Image: res.Image, Layers: res.Layers,
		Inventory: &res.Inventory, Match: &found, Advisories: from.advisories, Problems: from.problems,
	}), nil
}

// timeoutCause names the flag rather than the mechanism.
func timeoutCause(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
	}
	return err
}

// check finds mistakes in the flags before any work is done.
func (o *scanOptions) check() ([]output, error) {
	if _, err := o.filter(); err != nil {
		return nil, err
	}
	if _, err := o.rules(); err != nil {
		return nil, err
	}
	if o.exitCode < 0 || o.exitCode > 255 {
		return nil, fmt.Errorf("--exit-code %d: want a number from 0 to 255", o.exitCode)
	}
	if o.memory < 64<<20 {
		return nil, fmt.Errorf("--memory %s: want at least 64MiB", &o.memory)
	}
	if o.timeout < 0 {
		return nil, fmt.Errorf("--timeout %s: want a time to come", o.timeout)
	}
	if o.maxAge < 0 {
		return nil, fmt.Errorf("--db-max-age %s: want 0s, which always updates, or more", o.maxAge)
	}
	if o.parallel < 0 {
		return nil, fmt.Errorf("--parallel %d: want a number of layers, or 0 for the number of processors", o.parallel)
	}
	if !slices.Contains([]string{"auto", "always", "never"}, o.color) {
		return nil, fmt.Errorf("--color %s: want auto, always or never", o.color)
	}
	return o.outputs()
}

// filter is what the report shows; all, when no flag narrows it.
func (o *scanOptions) filter() (report.FilterOptions, error) {
	filter := report.FilterOptions{OnlyFixed: o.onlyFixed}
	if o.severity == "" {
		return filter, nil
	}
	var err error
	filter.Severities, err = report.ParseSeverities(o.severity)
	return filter, err
}

func (o *scanOptions) rules() ([]policy.Rule, error) {
	if o.failOn == "" {
		return nil, nil
	}
	s, err := policy.ParseSeverity(o.failOn)
	if err != nil {
		return nil, fmt.Errorf("--fail-on: %w", err)
	}
	rule, err := policy.FailOn(s)
	return []policy.Rule{rule}, err
}

func (o *scanOptions) verdict(r *report.Report) (policy.Verdict, error) {
	rules, err := o.rules()
	if err != nil {
		return policy.Verdict{}, err
	}
	return policy.Evaluate(r.PolicyFindings(), rules...), nil
}

// result is the exit code over all images.
func (o *scanOptions) result(reports []*report.Report) error {
	code := exitPass
	for _, r := range reports {
		switch {
		case r.Verdict.Decision == policy.Fail && o.exitCode != exitPass:
			return exitCode(o.exitCode)
		case r.Incomplete() && !o.incomplete:
			code = exitIncomplete
		}
	}
	if code != exitPass {
		return exitCode(code)
	}
	return nil
}

// inventories reads what the reference names: one result for each image.
func (a *app) inventories(ctx context.Context, ref string, o *scanOptions) (results []*scan.Result, err error) {
	parsed, err := source.Parse(ref)
	if err != nil {
		return nil, err
	}
	if parsed.Scheme == source.SBOM {
		return a.readSBOM(parsed.Path)
	}
	opts, err := o.open(a)
	if err != nil {
		return nil, err
	}
	bars := newProgress(a, a.quiet)
	defer bars.Close()
	scanner := &scan.Scanner{
		Runner:   &analyzer.Runner{Analyzers: analyzer.Default(), Memory: &analyzer.Memory{Limit: int64(o.memory) / 4}},
		Observer: bars, Parallel: o.parallel, Log: a.log,
	}
	if parsed.Scheme == source.Dir {
		res, err := scanner.Root(ctx, parsed.Path)
		return []*scan.Result{res}, err
	}
	if !o.noCache {
		cache, err := a.openCache(ctx)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, cache.Close()) }()
		scanner.Cache = cache
	}
	images, closer, err := source.Open(ctx, ref, opts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	for _, img := range images {
		res, err := scanner.Image(ctx, img)
		if err != nil {
			bars.Abort()
			return nil, err
		}
		results = append(results, res)
	}
	return results, nil
}

func (a *app) openCache(ctx context.Context) (*store.Cache, error) {
	dir, err := a.cacheDir()
	if err != nil {
		return nil, err
	}
	return store.OpenCache(ctx, filepath.Join(dir, "layers.db"))
}

func (a *app) readSBOM(path string) ([]*scan.Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	doc, err := sbom.Read(f)
	if err != nil {
		return nil, fmt.Errorf("sbom %s: %w", path, err)
	}
	img := &image.Image{Reference: "sbom:" + path, Layers: []image.Layer{{Index: 0, Size: -1, CreatedBy: doc.Format}}}
	return []*scan.Result{{Image: img, Layers: []*inventory.Layer{{Entries: len(doc.Inventory.Packages)}}, Inventory: doc.Inventory}}, nil
}

// An output is one format and where it goes; an empty path is standard output.
type output struct{ format, path string }

func (o *scanOptions) outputs() ([]output, error) {
	specs := o.formats
	if len(specs) == 0 {
		specs = []string{"table"}
	}
	var outs []output
	for _, spec := range specs {
		format, path, hasPath := strings.Cut(spec, "=")
		if err := report.CheckFormat(format); err != nil {
			return nil, fmt.Errorf("--format: %w", err)
		}
		if hasPath && path == "" {
			return nil, fmt.Errorf("--format %s: no file follows the =", spec)
		}
		if !hasPath {
			path = o.output
		}
		if err := writable(path); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(outs, func(x output) bool { return x.path == path }) {
			where := "standard output"
			if path != "" {
				where = path
			}
			return nil, fmt.Errorf("--format: two reports would go to %s; give one a file, as in -f json=report.json", where)
		}
		outs = append(outs, output{format, path})
	}
	if o.output != "" && !slices.ContainsFunc(outs, func(x output) bool { return x.path == o.output }) {
		return nil, fmt.Errorf("--output %s: nothing is left for it, as every --format has a file", o.output)
	}
	return outs, nil
}

// writable finds out before the scan, rather than after, that a report can't be
// where it is wanted.
func writable(path string) error {
	if path == "" {
		return nil
	}
	if f, err := os.Stat(path); err == nil && f.IsDir() {
		return fmt.Errorf("report file %s: is a directory", path)
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return fmt.Errorf("report file %s: there is no folder %s", path, filepath.Dir(path))
	}
	return nil
}

func (a *app) write(outputs []output, reports []*report.Report, o *scanOptions) error {
	filter, err := o.filter()
	if err != nil {
		return err
	}
	for _, out := range outputs {
		if err := a.writeOne(out, reports, filter, o); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) writeOne(out output, reports []*report.Report, filter report.FilterOptions, o *scanOptions) (err error) {
	w := a.stdout
	if out.path != "" {
		f, err := os.Create(out.path)
		if err != nil {
			return fmt.Errorf("report file: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		w = f
	}
	table := report.TableOptions{
		Width: terminalWidth(w), Color: useColor(w, o.color, a.env),
		ShowRemoved: o.showRemoved, ShowSuppressed: o.showSuppressed,
	}
	for i, r := range reports {
		if i > 0 && out.format == "table" {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		if err := report.Write(w, out.format, r.Filter(filter), report.Options{Table: table}); err != nil {
			return err
		}
	}
	return nil
}
