package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"strata/internal/image"
	"strata/internal/license"
	"strata/internal/report"
	"strata/internal/scan"
	"strata/internal/source"
)

const licensesExamples = `  strata licenses app:1.2
  strata licenses -f csv=licences.csv -f notice=NOTICES.txt app:1.2
  strata licenses -f html -o notices.html app.tar
  strata licenses --license-class permissive=LicenseRef-acme,LicenseRef-acme-* app:1.2
  strata policy list                          ready policies, one of them about licences`

// licensesOptions are the flags of licenses.
type licensesOptions struct {
	imageOptions
	outputOptions

	color          string
	includeRemoved bool
	incomplete     bool
}

func newLicensesCommand(a *app) *cobra.Command {
	o := &licensesOptions{}
	cmd := &cobra.Command{
		Use:     "licenses [flags] REFERENCE",
		Aliases: []string{"licences"},
		Short:   "Tell the licences of an image's packages, with their texts",
		Example: licensesExamples,
		Long: `Tell the licences of an image's packages, by class. REFERENCE is as for
` + "`strata scan`" + `. No advisories are needed.

A licence is what the package declares, as an SPDX expression; licence texts that
come with the package confirm it, and answer where nothing is declared. What SPDX
does not list is shown as LicenseRef-. Of a choice (OR) the class is that which asks
least, of licences that all hold (AND) that which asks most.

-f notice and -f html write an attribution document with the texts in the image,
for which the layers that have them are read once more.

To fail on licences, use ` + "`strata scan --policy licenses-permissive-only`" + `.

Exit codes:
  0  written
  1  error
  3  written, but incomplete: a layer could not be had
     (--allow-incomplete accepts it)`,
		Args: oneArgument("reference"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.licenses(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	flagGroup(f, "Report", o.reportFlags)
	o.imageOptions.flags(f)
	return cmd
}

func (o *licensesOptions) reportFlags(f *pflag.FlagSet) {
	var names []string
	for _, format := range report.LicenseFormats() {
		names = append(names, format.Name)
	}
	o.outputOptions.flags(f, strings.Join(names, ", "))
	f.BoolVar(&o.includeRemoved, "include-removed", false, "list packages too that a later layer replaced or removed")
	f.BoolVar(&o.incomplete, "allow-incomplete", false, "accept that a layer could not be had")
	f.StringVar(&o.color, "color", "auto", "colours in tables: `WHEN` is auto, always or never")
}

// licenses runs the command.
func (a *app) licenses(ctx context.Context, ref string, o *licensesOptions) error {
	if err := errors.Join(o.check(), checkColor(o.color)); err != nil {
		return err
	}
	outputs, err := o.outputs("table", func(name string) error {
		format, err := report.FindLicenseFormat(name)
		if err == nil && format.Alone && o.allPlatforms {
			return fmt.Errorf("%s: a page is of one image, and --all-platforms may find several; give --platform", name)
		}
		return err
	})
	if err != nil {
		return err
	}
	ctx, cancel := o.limit(ctx)
	defer cancel()
	reports, err := a.withoutAdvisories(ctx, ref, &o.imageOptions)
	if err != nil {
		return err
	}
	texts, err := a.noticeTexts(ctx, ref, o, outputs, reports)
	if err != nil {
		return timeoutCause(ctx, err)
	}
	for _, out := range outputs {
		if err := a.create(out, func(w io.Writer) error { return a.writeLicenses(w, out.format, reports, texts, o) }); err != nil {
			return err
		}
	}
	for _, r := range reports {
		if r.Incomplete() && !o.incomplete {
			a.say("incomplete: a layer could not be had")
			return exitCode(exitIncomplete)
		}
	}
	return nil
}

func (a *app) writeLicenses(w io.Writer, name string, reports []*report.Report, texts []map[report.Location][]byte, o *licensesOptions) error {
	format, err := report.FindLicenseFormat(name)
	if err != nil {
		return err
	}
	for i, r := range reports {
		options := report.LicenseOptions{Removed: o.includeRemoved, Continued: i > 0, Table: report.TableOptions{Width: terminalWidth(w), Color: useColor(w, o.color, a.env)}}
		if format.Texts {
			options.Texts = texts[i]
		}
		if i > 0 && !format.Rows {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		if err := format.Write(w, r, options); err != nil {
			return err
		}
	}
	return nil
}

// Bounds of the texts in a notice, in bytes.
const (
	maxNoticeText = license.MaxCopyright
	maxNotice     = 256 << 20
)

// noticeTexts reads the texts that notices need, for each report, where one of the
// outputs is a notice.
func (a *app) noticeTexts(ctx context.Context, ref string, o *licensesOptions, outputs []output, reports []*report.Report) (texts []map[report.Location][]byte, err error) {
	needed := false
	for _, out := range outputs {
		format, err := report.FindLicenseFormat(out.format)
		needed = needed || err == nil && format.Texts
	}
	texts = make([]map[report.Location][]byte, len(reports))
	parsed, err := source.Parse(ref)
	if err != nil || !needed || parsed.Scheme == source.SBOM {
		return texts, err
	}
	want := func(r *report.Report) scan.FileRequest {
		return scan.FileRequest{
			Wanted: r.NoticeFiles(o.includeRemoved), MaxFile: maxNoticeText, MaxTotal: maxNotice,
			Beside: func(base string) bool { return license.KindOfFile(base) == license.Notice },
		}
	}
	if parsed.Scheme == source.Dir {
		texts[0], err = scan.RootFiles(parsed.Path, want(reports[0]))
		return texts, err
	}
	opts, err := o.open(a)
	if err != nil {
		return nil, err
	}
	images, closer, err := source.Open(ctx, ref, opts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	if len(images) != len(reports) {
		return nil, fmt.Errorf("%s changed while it was read: try again", ref)
	}
	for i, img := range images {
		if string(img.ConfigDigest) != reports[i].Image.ConfigDigest {
			return nil, fmt.Errorf("%s changed while it was read: try again, or name it by its digest", ref)
		}
		texts[i], err = scan.Files(ctx, img, image.Limits{}, want(reports[i]))
		if err != nil && !o.incomplete {
			return nil, err
		}
	}
	return texts, nil
}
