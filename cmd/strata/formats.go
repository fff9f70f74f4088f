package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"strata/internal/policy"
	"strata/internal/report"
)

// formatOptions are the flags of single formats.
type formatOptions struct {
	gitlabSchema string
	// templateFile is that of the Go template, and template its text.
	templateFile, template string
	// started is when the command began, which some formats tell.
	started time.Time
}

func (o *formatOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.gitlabSchema, "gitlab-schema", report.DefaultGitLabSchema, "follow this `VERSION` of GitLab's schema in -f gitlab: "+strings.Join(report.GitLabSchemas(), ", "))
	f.StringVar(&o.templateFile, "template", "", "`FILE` of the Go template that -f template fills in (docs/formats.md)")
}

// formatHelp is a line for each format, with its description.
func formatHelp() string {
	const column = 22
	var b strings.Builder
	b.WriteString("Formats:\n")
	for _, f := range report.Formats() {
		for i, line := range wrap(f.Description, helpWidth-column) {
			name := f.Name
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(&b, "  %-*s%s\n", column-2, name, line)
		}
	}
	return b.String()
}

// check finds mistakes in them before any work is done, and reads the template.
func (o *formatOptions) check(outputs []output) error {
	if err := report.CheckGitLabSchema(o.gitlabSchema); err != nil {
		return fmt.Errorf("--gitlab-schema: %w", err)
	}
	wanted := slices.ContainsFunc(outputs, func(out output) bool { return out.format == "template" })
	switch {
	case wanted && o.templateFile == "":
		return errors.New("--format template: give its file too, as in -f template --template FILE")
	case !wanted && o.templateFile != "":
		return fmt.Errorf("--template %s: nothing is made of it without -f template", o.templateFile)
	case !wanted:
		return nil
	}
	text, err := readBounded(o.templateFile, policy.MaxFile)
	if err != nil {
		return fmt.Errorf("--template: %w", err)
	}
	if err := report.CheckTemplate(string(text)); err != nil {
		return fmt.Errorf("--template %s: %w", o.templateFile, err)
	}
	o.template = string(text)
	return nil
}

// options are what the formats are told of the scan.
func (o *scanOptions) options(a *app, table report.TableOptions) report.Options {
	return report.Options{
		Table: table, Started: o.started, Ended: a.now(), AllowIncomplete: o.incomplete,
		GitLabSchema: o.gitlabSchema, Template: o.template, SBOM: report.SBOMOptions{IncludeRemoved: o.showRemoved, Now: a.now()},
	}
}
