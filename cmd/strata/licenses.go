package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"strata/internal/license"
	"strata/internal/match"
	"strata/internal/report"
)

// licenseOptions are the flags about licences.
type licenseOptions struct {
	classes []string
}

func (o *licenseOptions) flags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.classes, "license-class", nil, "`CLASS=ID[,ID...]` puts licences into a class (public-domain, permissive, weak-copyleft, strong-copyleft, network-copyleft, proprietary, unknown), whatever the built-in table says; an id may end in *; may be given several times")
}

// table is the built-in table with what the flags change.
func (o *licenseOptions) table() (license.Classes, error) {
	changes := map[license.Class][]string{}
	for _, spec := range o.classes {
		class, ids, ok := strings.Cut(spec, "=")
		if !ok || strings.TrimSpace(ids) == "" {
			return license.Classes{}, fmt.Errorf("--license-class %s: want CLASS=ID, such as permissive=LicenseRef-acme", spec)
		}
		c, err := license.ParseClass(class)
		if err != nil {
			return license.Classes{}, fmt.Errorf("--license-class %s: %w", spec, err)
		}
		changes[c] = append(changes[c], strings.Split(ids, ",")...)
	}
	classes, err := license.DefaultClasses().With(changes)
	if err != nil {
		return classes, fmt.Errorf("--license-class: %w", err)
	}
	return classes, nil
}

// scanners are what to look for.
func scanners(names []string) ([]report.Scanner, error) {
	known := []report.Scanner{report.ScanVulnerabilities, report.ScanLicenses}
	var out []report.Scanner
	for _, n := range names {
		s := report.Scanner(strings.ToLower(strings.TrimSpace(n)))
		if !slices.Contains(known, s) {
			return nil, fmt.Errorf("--scanners %s: want vuln, license or both, separated by a comma", n)
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("--scanners: want vuln, license or both, separated by a comma")
	}
	return out, nil
}

// withoutAdvisories reads what the reference names: one report for each image,
// with its packages and licences, and no findings.
func (a *app) withoutAdvisories(ctx context.Context, ref string, o *imageOptions) ([]*report.Report, error) {
	classes, err := o.table()
	if err != nil {
		return nil, err
	}
	results, err := a.inventories(ctx, ref, o)
	if err != nil {
		return nil, timeoutCause(ctx, err)
	}
	var reports []*report.Report
	for _, res := range results {
		s := scannedOf(res, &match.Result{})
		s.Scanners, s.Classes = []report.Scanner{report.ScanLicenses}, classes
		reports = append(reports, report.New(s))
	}
	return reports, nil
}
