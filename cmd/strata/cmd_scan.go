package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"strata/internal/policy"
	"strata/internal/report"
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
	imageOptions
	advisoryOptions
	outputOptions
	formatOptions
	policyOptions
	serverOptions

	scanners       []string
	color          string
	severity       string
	onlyFixed      bool
	activeOnly     bool
	showRemoved    bool
	showSuppressed bool
}

func newScanCommand(a *app) *cobra.Command {
	o := &scanOptions{}
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

Without --fail-on or a policy, findings do not change the exit code.

` + formatHelp() + "\n" + exitHelp,
		Args: oneArgument("reference"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.scan(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	flagGroup(f, "Scan", func(f *pflag.FlagSet) {
		f.StringSliceVar(&o.scanners, "scanners", []string{"vuln", "license"}, "look for `WHAT`: vuln (vulnerabilities) and license; without vuln, no advisories are needed")
	})
	flagGroup(f, "Report", o.reportFlags)
	o.policyOptions.flags(f)
	flagGroup(f, "Advisories", o.advisoryOptions.flags)
	flagGroup(f, "Server", o.serverOptions.flags)
	o.imageOptions.flags(f)
	return cmd
}

func (o *scanOptions) reportFlags(f *pflag.FlagSet) {
	o.outputOptions.flags(f, formatNames(report.Formats()))
	f.StringVar(&o.severity, "severity", "", "show findings of this `SEVERITY` (critical, high, medium, low, unknown) and graver ones; several, separated by commas, are exactly these")
	f.BoolVar(&o.onlyFixed, "only-fixed", false, "show only findings that a newer version fixes")
	f.BoolVar(&o.activeOnly, "active-only", false, "show only findings that count: none set aside, none of packages that a later layer replaced or removed")
	f.BoolVar(&o.showRemoved, "show-removed", false, "list findings of packages that a later layer replaced or removed")
	f.BoolVar(&o.showSuppressed, "show-suppressed", false, "list findings that were set aside, with the reason")
	o.formatOptions.flags(f)
	f.StringVar(&o.color, "color", "auto", "colours in tables: `WHEN` is auto, always or never")
}

func formatNames(formats []report.Format) string {
	var names []string
	for _, f := range formats {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

// scan runs the command: open, read, match, decide, report.
func (a *app) scan(ctx context.Context, ref string, o *scanOptions) (err error) {
	o.started = a.now()
	outputs, err := o.check()
	if err != nil {
		return err
	}
	decider, err := a.decider(&o.policyOptions)
	if err != nil {
		return err
	}
	if decider.classes, err = o.table(); err != nil {
		return err
	}
	ctx, cancel := o.limit(ctx)
	defer cancel()
	scan := func(ref string) ([]*report.Report, error) { return a.scanned(ctx, ref, o) }
	if err := readBaseline(decider, o.baseline, scan); err != nil {
		return err
	}
	reports, err := scan(ref)
	if err != nil {
		return err
	}
	for _, r := range reports {
		of := r.Verdict // the server's, or none
		if err := a.decide(decider, r); err != nil {
			return err
		}
		r.Verdict = policy.Both(of, r.Verdict)
	}
	if err := a.write(outputs, reports, o); err != nil {
		return err
	}
	return o.result(reports)
}

// scanned are the reports with what was to be looked for.
func (a *app) scanned(ctx context.Context, ref string, o *scanOptions) ([]*report.Report, error) {
	wanted, err := scanners(o.scanners)
	if err != nil {
		return nil, err
	}
	o.noFetch = o.offline
	if o.server != "" {
		return a.scannedByServer(ctx, ref, o, wanted)
	}
	if !slices.Contains(wanted, report.ScanVulnerabilities) {
		return a.withoutAdvisories(ctx, ref, &o.imageOptions)
	}
	reports, err := a.reports(ctx, ref, &o.imageOptions, &o.advisoryOptions)
	for _, r := range reports {
		if !slices.Contains(wanted, report.ScanLicenses) {
			r.WithoutLicenses()
		}
	}
	return reports, err
}

// scannedByServer are the reports that a server makes.
func (a *app) scannedByServer(ctx context.Context, ref string, o *scanOptions, wanted []report.Scanner) ([]*report.Report, error) {
	if !slices.Contains(wanted, report.ScanVulnerabilities) {
		return nil, errors.New("--server: it is asked for vulnerabilities; --scanners license needs none")
	}
	reports, err := a.submitted(ctx, ref, o)
	for _, r := range reports {
		if !slices.Contains(wanted, report.ScanLicenses) {
			r.WithoutLicenses()
		}
	}
	return reports, err
}

// check finds mistakes in the flags before any work is done.
func (o *scanOptions) check() ([]output, error) {
	if err := o.imageOptions.check(); err != nil {
		return nil, err
	}
	if err := o.advisoryOptions.check(); err != nil {
		return nil, err
	}
	if _, err := scanners(o.scanners); err != nil {
		return nil, err
	}
	return o.checkReport()
}

// checkReport finds those in the flags of the report.
func (o *scanOptions) checkReport() ([]output, error) {
	if _, err := o.filter(); err != nil {
		return nil, err
	}
	if err := checkColor(o.color); err != nil {
		return nil, err
	}
	outputs, err := o.outputs("table", report.CheckFormat)
	if err != nil {
		return nil, err
	}
	for _, out := range outputs {
		if o.allPlatforms && report.CheckSBOMFormat(out.format) == nil {
			return nil, fmt.Errorf("--format %s: each image has a document of its own; `strata sbom --all-platforms --vulnerabilities -f %s -o app-%s` writes them", out.format, out.format, platformMark)
		}
	}
	return outputs, o.formatOptions.check(outputs)
}

// filter is what the report shows; all, when no flag narrows it.
func (o *scanOptions) filter() (report.FilterOptions, error) {
	filter := report.FilterOptions{OnlyFixed: o.onlyFixed, ActiveOnly: o.activeOnly}
	if o.severity == "" {
		return filter, nil
	}
	var err error
	filter.Severities, err = report.ParseSeverities(o.severity)
	return filter, err
}

func (a *app) write(outputs []output, reports []*report.Report, o *scanOptions) error {
	filter, err := o.filter()
	if err != nil {
		return err
	}
	for _, out := range outputs {
		err := a.create(out, func(w io.Writer) error { return a.writeAll(w, out.format, reports, filter, o) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *app) writeAll(w io.Writer, format string, reports []*report.Report, filter report.FilterOptions, o *scanOptions) error {
	table := report.TableOptions{
		Width: terminalWidth(w), Color: useColor(w, o.color, a.env),
		ShowRemoved: o.showRemoved, ShowSuppressed: o.showSuppressed, AllowIncomplete: o.incomplete,
	}
	filtered := make([]*report.Report, len(reports))
	for i, r := range reports {
		filtered[i] = r.Filter(filter)
	}
	return report.WriteAll(w, format, filtered, o.options(a, table))
}
