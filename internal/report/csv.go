package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// csvHead are the names of the columns. Names and order stay; new ones are added
// at the end.
var csvHead = []string{
	"image", "platform", "kind", "id", "aliases", "severity", "cvss_score", "cvss_vector", "kev", "epss", "package_type", "package",
	"version", "fixed_version", "purl", "status", "state", "layer", "instruction", "base", "paths", "aside", "violates", "summary",
	"published", "url", "new", "fixed_versions",
}

// CSV writes the findings of all reports as comma separated values (RFC 4180), a
// head and a line each, for spreadsheets.
//
// A spreadsheet takes a cell that begins with =, +, -, @, a tab or a carriage
// return for a formula, and who names a package could have it run one (OWASP, CSV
// injection). So such a cell has an apostrophe before it, which spreadsheets do not
// show and other readers may take off.
func CSV(w io.Writer, reports []*Report) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write(csvHead); err != nil {
		return err
	}
	for _, r := range reports {
		l := newListing(r)
		for _, f := range l.findings {
			if err := out.Write(l.csvRow(f)); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

func (l *listing) csvRow(f *Finding) []string {
	p := l.findingPackage(f)
	layer, instruction, base := "", "", "false"
	if place := l.layerOf(f); place != nil {
		layer, instruction, base = strconv.Itoa(place.Index), l.instruction(place), strconv.FormatBool(place.Base)
	}
	score, vector, epss, published, isNew := "", "", "", "", ""
	if f.New != nil {
		isNew = strconv.FormatBool(*f.New)
	}
	if f.CVSS != nil {
		score, vector = strconv.FormatFloat(f.CVSS.Score, 'f', 1, 64), f.CVSS.Vector
	}
	if f.EPSS > 0 {
		epss = strconv.FormatFloat(f.EPSS, 'f', -1, 64)
	}
	if f.Published != nil {
		published = f.Published.UTC().Format(time.RFC3339)
	}
	row := []string{
		l.report.Image.Reference, l.report.Image.Platform, string(f.Kind), f.ID, strings.TrimSpace(strings.Join(f.Aliases, " ")), string(f.Severity), score, vector,
		strconv.FormatBool(f.KEV), epss, p.Type, p.Name, p.Version, f.FixedVersion, p.PURL, string(f.Status), string(f.State), layer, instruction, base,
		strings.Join(l.pathsOf(f), " "), l.aside(f), strings.Join(l.objectors(f), ", "), f.Summary, published, first(links(f)), isNew, strings.Join(f.FixedVersions, " "),
	}
	for i, cell := range row {
		row[i] = csvCell(cell)
	}
	return row
}

// csvCell is a cell on one line, which no spreadsheet takes for a formula. The
// wide forms of the signs count too, as some spreadsheets take them.
func csvCell(s string) string {
	if s != "" && strings.ContainsAny(firstRune(s), "=+-@\t\r\n＝＋－＠") {
		return "'" + Safe(s)
	}
	return Safe(s)
}

func firstRune(s string) string {
	for _, c := range s {
		return fmt.Sprintf("%c", c)
	}
	return ""
}
