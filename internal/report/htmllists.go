package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

func (h *htmlWriter) packageRows() []htmlPackage {
	counts := map[string]*Counts{}
	for i := range h.report.Findings {
		if f := &h.report.Findings[i]; f.Kind != KindEndOfLife && f.Suppressed == nil {
			if counts[f.PackageID] == nil {
				counts[f.PackageID] = &Counts{}
			}
			counts[f.PackageID].Add(f.Severity, 1)
		}
	}
	rows := make([]htmlPackage, 0, len(h.report.Packages))
	for i := range h.report.Packages {
		p := &h.report.Packages[i]
		row := htmlPackage{Name: whole(p.Name), Version: whole(p.Version), Type: Safe(p.Type), Path: packagePath(p), Owner: whole(p.Owner)}
		if h.place[p.Layer] != nil {
			row.Layer = fmt.Sprint(p.Layer)
		}
		if !inFinalImage(p.State) {
			row.State = Safe(string(p.State))
			if p.StateLayer >= 0 {
				row.State += fmt.Sprintf(" by layer %d", p.StateLayer)
			}
		}
		row.License, row.Class = licenseWords(p)
		if c := counts[p.ID]; c != nil {
			row.Findings, row.Worst = c.Total(), worst(*c)
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b htmlPackage) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
	return rows
}

// maxExpression is how much of a licence is shown: some have a dozen parts.
const maxExpression = 2000

// licenseWords are a package's licence and its class.
func licenseWords(p *Package) (expression, class string) {
	if p.License != nil {
		return cutMiddle(Safe(p.License.Expression), maxExpression), Safe(string(p.License.Class))
	}
	return cutMiddle(Safe(strings.Join(p.Licenses, ", ")), maxExpression), ""
}

// maxExamples is how many packages are named with a licence.
const maxExamples = 6

// licenseRows count the packages of the final file system by licence.
func (h *htmlWriter) licenseRows() []htmlLicense {
	type key struct{ expression, class string }
	names := map[key][]string{}
	for i := range h.report.Packages {
		p := &h.report.Packages[i]
		if !inFinalImage(p.State) {
			continue
		}
		expression, class := licenseWords(p)
		k := key{cmp.Or(expression, "not known"), class}
		names[k] = append(names[k], whole(p.Name))
	}
	var out []htmlLicense
	for k, packages := range names {
		slices.Sort(packages)
		examples := slices.Compact(packages)
		row := htmlLicense{Expression: k.expression, Class: k.class, Packages: len(packages), Examples: strings.Join(examples[:min(len(examples), maxExamples)], ", ")}
		if len(examples) > maxExamples {
			row.Examples += ", " + ellipsis
		}
		out = append(out, row)
	}
	slices.SortFunc(out, func(a, b htmlLicense) int {
		return cmp.Or(b.Packages-a.Packages, cmp.Compare(a.Expression, b.Expression), cmp.Compare(a.Class, b.Class))
	})
	if len(out) == 1 && out[0].Expression == "not known" {
		return nil // nobody looked
	}
	return out
}

func (h *htmlWriter) coverageRows() []htmlCoverage {
	var out []htmlCoverage
	for i := range h.report.Advisories.Coverage {
		c := &h.report.Advisories.Coverage[i]
		row := htmlCoverage{Ecosystem: coverageName(c), Packages: h.coveragePackages(c), Records: c.Records, Status: strings.ReplaceAll(Safe(string(c.Status)), "_", " "), Kind: "warn"}
		switch c.Status {
		case Covered:
			row.Kind = "pass"
		case NoData:
			row.Status, row.Kind = "no advisories: not checked", "fail"
		case Partial:
			row.Status = "a part of the advisories"
		case EndOfLife:
			row.Status = "end of life: no new advisories"
		}
		out = append(out, row)
	}
	return out
}

func (h *htmlWriter) advisoryLine() string {
	a := &h.report.Advisories
	if a.Source == "" {
		return ""
	}
	line := Safe(a.Source)
	if a.Updated != nil && !a.Starter {
		line += ", updated " + age(a.AgeHours)
	}
	return line
}

func (h *htmlWriter) problems() []string {
	problems := slices.Clone(h.report.Problems)
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(count(b.Incomplete)-count(a.Incomplete), count(b.Layer < 0)-count(a.Layer < 0))
	})
	out := make([]string, len(problems))
	for i := range problems {
		out[i] = h.table.problem(&problems[i])
	}
	return out
}
