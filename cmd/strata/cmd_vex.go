package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"strata/internal/policy"
	"strata/internal/report"
)

// vexOptions are the flags of vex.
type vexOptions struct {
	imageOptions
	advisoryOptions
	policyOptions

	author, id, output string
}

func newVEXCommand(a *app) *cobra.Command {
	o := &vexOptions{}
	cmd := &cobra.Command{
		Use:   "vex [flags] REFERENCE|REPORT.json",
		Short: "Write what is known of an image's vulnerabilities, as OpenVEX",
		Example: `  strata vex --author security@example.com app:1.2 > app.vex.json
  strata vex report.json                     of a report of strata scan -f json`,
		Long: `Write an OpenVEX document of an image, scanned or from a saved report: a
statement for each vulnerability, with the packages that it is in.

It is careful. What is present is "affected", with what to do about it, also when
it is waived: that does not make it harmless. "not_affected" and "fixed" are what
VEX documents say (--vex), and files that do not run. Nothing is said of packages
that the distribution patches itself, and of what is only in lower layers.`,
		Args: oneArgument("reference or report"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.writeVEX(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	flagGroup(f, "Document", o.documentFlags)
	flagGroup(f, "Waivers and VEX", o.setAsideFlags)
	flagGroup(f, "Advisories", o.advisoryOptions.flags)
	o.imageOptions.flags(f)
	return cmd
}

func (o *vexOptions) documentFlags(f *pflag.FlagSet) {
	f.StringVar(&o.author, "author", "Unknown Author", "`NAME` or address of who answers for the statements")
	f.StringVar(&o.id, "id", "", "`IRI` of the document (default one made of its content, the same for the same statements)")
	f.StringVarP(&o.output, "output", "o", "", "write to `FILE` instead of standard output")
}

func (a *app) writeVEX(ctx context.Context, ref string, o *vexOptions) error {
	if err := errors.Join(o.imageOptions.check(), o.advisoryOptions.check()); err != nil {
		return err
	}
	if err := writable(o.output); err != nil {
		return err
	}
	made, err := a.madeAt()
	if err != nil {
		return err
	}
	decider, err := a.decider(&o.policyOptions)
	if err != nil {
		return err
	}
	r, err := a.oneReport(ctx, ref, o)
	if err != nil {
		return err
	}
	in, remarks := a.setAside(decider, r)
	for _, remark := range append(remarks, decider.remarks...) {
		a.say("! %s", report.Safe(remark.Message))
	}
	text, silent, err := policy.WriteOpenVEX(in, policy.VEXOptions{Author: o.author, ID: o.id, Tooling: "strata " + version(), Made: made})
	if err != nil {
		return err
	}
	if silent > 0 {
		a.say("nothing is said of %s: packages that the distribution patches, lower layers, ends of life", counted(silent, "finding"))
	}
	err = a.create(output{path: o.output}, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err == nil && r.Incomplete() {
		a.say("! a part of the image or the advisories could not be had: statements may be missing")
		return exitCode(exitIncomplete)
	}
	return err
}

// oneReport is a saved report, or that of a scan of one image.
func (a *app) oneReport(ctx context.Context, ref string, o *vexOptions) (*report.Report, error) {
	saved, err := savedReport(ref)
	if err != nil {
		return nil, err
	}
	if saved != nil {
		if saved.Filtered != nil {
			return nil, errFiltered(ref)
		}
		return saved, nil
	}
	o.noFetch = o.offline
	ctx, cancel := o.limit(ctx)
	defer cancel()
	reports, err := a.reports(ctx, ref, &o.imageOptions, &o.advisoryOptions)
	if err != nil {
		return nil, err
	}
	if len(reports) != 1 {
		return nil, errors.New("--all-platforms: a VEX document is about one image; give --platform")
	}
	return reports[0], nil
}

func errFiltered(path string) error {
	return fmt.Errorf("%s: was filtered when it was written, so findings are missing; scan again without --severity and --only-fixed", path)
}
