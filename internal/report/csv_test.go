package report

import (
	"bytes"
	"encoding/csv"
	"slices"
	"strings"
	"testing"
)

func readCSV(t testing.TB, doc []byte) [][]string {
	t.Helper()
	if bytes.Count(doc, []byte("\n")) != bytes.Count(doc, []byte("\r\n")) {
		t.Error("lines do not end as RFC 4180 has it")
	}
	rows, err := csv.NewReader(bytes.NewReader(doc)).ReadAll() // which holds all to one number of cells
	if err != nil {
		t.Fatalf("%v in\n%s", err, doc)
	}
	for _, row := range rows[1:] {
		for i, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Errorf("a spreadsheet would run %s %q", rows[0][i], cell)
			}
		}
	}
	return rows
}

func TestCSVIsRead(t *testing.T) {
	for name, reports := range formatCases() {
		t.Run(name, func(t *testing.T) {
			rows := readCSV(t, written(t, "csv", Options{}, reports...))
			want := 1
			for _, r := range reports {
				want += len(r.Findings)
			}
			if len(rows) != want {
				t.Errorf("%d rows, want %d", len(rows), want)
			}
		})
	}
	rows := readCSV(t, written(t, "csv", Options{}, fullSample()))
	cell := func(id, pkg, column string) string {
		for _, row := range rows {
			if row[slices.Index(rows[0], "id")] == id && row[slices.Index(rows[0], "package")] == pkg {
				return row[slices.Index(rows[0], column)]
			}
		}
		return "no row"
	}
	for _, tt := range [][4]string{
		{"CVE-2023-44487", "nodejs", "cvss_score", "7.5"}, {"CVE-2023-44487", "nodejs", "layer", "1"}, {"CVE-2023-44487", "nodejs", "base", "true"},
		{"CVE-2023-44487", "nodejs", "violates", "fail-on high"}, {"CVE-2020-11022", "jquery", "aside", "in layer 4, removed by layer 5"},
		{"GHSA-67hx-6x53-jw92", "'@babel/plugin-transform-modules-systemjs", "fixed_version", "7.23.2"}, {"EOL-debian-12", "debian", "kind", "end_of_life"},
	} {
		if got := cell(tt[0], tt[1], tt[2]); got != tt[3] {
			t.Errorf("%s of %s in %s is %q, want %q", tt[2], tt[0], tt[1], got, tt[3])
		}
	}
}

func TestCSVCell(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "lodash": "lodash", "=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@babel/core": "'@babel/core", "\t=1": `'\x09=1`, "\r": `'\x0d`,
		"＝1": "'＝1", "a=1": "a=1", "'x": "'x",
	} {
		if got := csvCell(in); got != want {
			t.Errorf("csvCell(%q) = %q, want %q", in, got, want)
		}
	}
}
