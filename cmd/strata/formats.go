package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"strata/internal/report"
)

// formatOptions are the flags of single formats.
type formatOptions struct {
	gitlabSchema string
	// started is when the command began, which some formats tell.
	started time.Time
}

func (o *formatOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.gitlabSchema, "gitlab-schema", report.DefaultGitLabSchema, "follow this `VERSION` of GitLab's schema in -f gitlab: "+strings.Join(report.GitLabSchemas(), ", "))
}

// check finds mistakes in them before any work is done.
func (o *formatOptions) check() error {
	if err := report.CheckGitLabSchema(o.gitlabSchema); err != nil {
		return fmt.Errorf("--gitlab-schema: %w", err)
	}
	return nil
}

// options are what the formats are told of the scan.
func (o *scanOptions) options(a *app, table report.TableOptions) report.Options {
	return report.Options{
		Table: table, Started: o.started, Ended: a.now(), AllowIncomplete: o.incomplete,
		GitLabSchema: o.gitlabSchema, SBOM: report.SBOMOptions{IncludeRemoved: o.showRemoved, Now: a.now()},
	}
}
