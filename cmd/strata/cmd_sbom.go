package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"strata/internal/report"
)

const sbomExamples = `  strata sbom app:1.2                         CycloneDX on standard output
  strata sbom -f spdx -o app.spdx.json app.tar
  strata sbom -f cyclonedx=app.cdx.json -f spdx=app.spdx.json dir:/
  strata sbom --all-platforms -o 'app-{platform}.cdx.json' registry.example/app
  strata sbom --vulnerabilities -o app.cdx.json app:1.2
  strata scan sbom:app.cdx.json               later, without the image`

// sbomOptions are the flags of sbom.
type sbomOptions struct {
	imageOptions
	advisoryOptions
	outputOptions

	includeRemoved  bool
	vulnerabilities bool
	incomplete      bool
}

func newSBOMCommand(a *app) *cobra.Command {
	o := &sbomOptions{}
	cmd := &cobra.Command{
		Use:     "sbom [flags] REFERENCE",
		Short:   "Write a bill of materials, with the layer of each package",
		Example: sbomExamples,
		Long: `Write what is in an image as a bill of materials, CycloneDX 1.6 or SPDX 2.3.
REFERENCE is as for ` + "`strata scan`" + `. No advisories are needed.

It lists the packages of the final file system. Those that a later layer replaced
or removed still ship: --include-removed adds them, marked by their state and, in
CycloneDX, by the scope "excluded".

Each package tells the layer that introduced it, so that
` + "`strata scan sbom:FILE`" + ` gives its findings by layer without the image. The same
image has the same document but for the time, which SOURCE_DATE_EPOCH sets.

Exit codes:
  0  written
  1  error
  3  written, but incomplete: a layer could not be had
     (--allow-incomplete accepts it)`,
		Args: oneArgument("reference"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.sbom(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	flagGroup(f, "Document", o.documentFlags)
	o.imageOptions.flags(f)
	flagGroup(f, "Advisories, with --vulnerabilities", o.advisoryOptions.flags)
	return cmd
}

func (o *sbomOptions) documentFlags(f *pflag.FlagSet) {
	o.outputOptions.flags(f, formatNames(report.SBOMFormats()))
	f.BoolVar(&o.includeRemoved, "include-removed", false, "list packages too that a later layer replaced or removed")
	f.BoolVar(&o.vulnerabilities, "vulnerabilities", false, "add the vulnerabilities found: in SPDX, as references to advisories")
	f.BoolVar(&o.incomplete, "allow-incomplete", false, "accept that a layer could not be had")
}

// sbom runs the command.
func (a *app) sbom(ctx context.Context, ref string, o *sbomOptions) error {
	outputs, err := o.check()
	if err != nil {
		return err
	}
	made, err := a.madeAt()
	if err != nil {
		return err
	}
	ctx, cancel := o.limit(ctx)
	defer cancel()
	reports, err := a.contents(ctx, ref, o)
	if err != nil {
		return err
	}
	bill := report.SBOMOptions{IncludeRemoved: o.includeRemoved, Now: made}
	for _, out := range outputs {
		if err := a.writeBills(out, reports, bill); err != nil {
			return err
		}
	}
	for _, r := range reports {
		if r.Incomplete() && !o.incomplete {
			a.say("incomplete: the document says what could not be read")
			return exitCode(exitIncomplete)
		}
	}
	return nil
}

// check finds mistakes in the flags before any work is done.
func (o *sbomOptions) check() ([]output, error) {
	if err := errors.Join(o.imageOptions.check(), o.advisoryOptions.check()); err != nil {
		return nil, err
	}
	outputs, err := o.outputs(report.FormatCycloneDX, report.CheckSBOMFormat)
	if err != nil {
		return nil, err
	}
	for _, out := range outputs {
		if o.allPlatforms && out.path != "" && !strings.Contains(out.path, platformMark) {
			return nil, fmt.Errorf("--all-platforms: each image has a document of its own; write %s into the name of the file, as in -o app-%s.json", platformMark, platformMark)
		}
	}
	return outputs, nil
}

// contents are reports of what is in the images, with findings when they are
// asked for.
func (a *app) contents(ctx context.Context, ref string, o *sbomOptions) ([]*report.Report, error) {
	o.noFetch = o.offline
	if o.vulnerabilities {
		return a.reports(ctx, ref, &o.imageOptions, &o.advisoryOptions)
	}
	return a.withoutAdvisories(ctx, ref, &o.imageOptions)
}

// platformMark in the name of a file stands for the platform of the image.
const platformMark = "{platform}"

// writeBills writes the document of each image, to a file of its own where the
// name tells the platform.
func (a *app) writeBills(out output, reports []*report.Report, bill report.SBOMOptions) error {
	write := func(w io.Writer, r *report.Report) error {
		return report.Write(w, out.format, r, report.Options{SBOM: bill})
	}
	if !strings.Contains(out.path, platformMark) {
		return a.create(out, func(w io.Writer) error {
			for _, r := range reports {
				if err := write(w, r); err != nil {
					return err
				}
			}
			return nil
		})
	}
	used := map[string]bool{}
	for _, r := range reports {
		path := strings.ReplaceAll(out.path, platformMark, fileWord(r.Image.Platform))
		if used[path] {
			return fmt.Errorf("two images are for %s: write them one by one, by their digests", report.Safe(r.Image.Platform))
		}
		used[path] = true
		if err := a.create(output{out.format, path}, func(w io.Writer) error { return write(w, r) }); err != nil {
			return err
		}
	}
	return nil
}

// fileWord is a word of an image as part of a file's name: nothing in it leads
// elsewhere.
func fileWord(s string) string {
	word := strings.Map(func(c rune) rune {
		if c < 0x80 && (c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z') {
			return c
		}
		return '-'
	}, s)
	if word == "" {
		return "unknown"
	}
	return word
}

// madeAt is the time that documents give as theirs: SOURCE_DATE_EPOCH where it is
// set, by which builds are made reproducible
// (https://reproducible-builds.org/specs/source-date-epoch/), else now.
func (a *app) madeAt() (time.Time, error) {
	epoch := a.env("SOURCE_DATE_EPOCH")
	if epoch == "" {
		return a.now(), nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil || seconds < 0 || seconds > 253402300799 { // the last second of 9999
		return time.Time{}, errors.New("SOURCE_DATE_EPOCH: want seconds since the beginning of 1970")
	}
	return time.Unix(seconds, 0), nil
}
