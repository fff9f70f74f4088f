package report

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"strata/internal/license"
)

// LicenseOptions are those of the reports of licences.
type LicenseOptions struct {
	Table TableOptions
	// Removed adds packages that a later layer replaced or removed: they ship too.
	Removed bool
	// Texts of files in the image, for notices.
	Texts map[Location][]byte
	// Continued tells that the report stands behind that of another image, and
	// needs no head of its own (CSV).
	Continued bool
}

// A LicenseFormat is one way to write what licences an image's packages have.
type LicenseFormat struct {
	// Name as -f takes it, and one line for --help.
	Name, Description string
	// Texts tells that the format needs the texts, Alone that a document is of one
	// image, and Rows that those of several go on without a line between.
	Texts, Alone, Rows bool

	write func(io.Writer, *licenseReport) error
}

// LicenseFormats are all of them; the first is the default.
func LicenseFormats() []LicenseFormat {
	return []LicenseFormat{
		{Name: "table", Description: "licences by class, for people (default)", write: licenseTable},
		{Name: "json", Description: "packages with licence, class and evidence", write: licenseJSON},
		{Name: "csv", Description: "a line for each package", Rows: true, write: licenseCSV},
		{Name: "markdown", Description: "a table of packages", write: licenseMarkdown},
		{Name: "notice", Description: "attribution document: the texts that come with the packages", Texts: true, write: licenseNotice},
		{Name: "html", Description: "the same as a page", Texts: true, Alone: true, write: licenseHTML},
	}
}

// FindLicenseFormat gives the format of that name; the error lists them.
func FindLicenseFormat(name string) (LicenseFormat, error) {
	var names []string
	for _, f := range LicenseFormats() {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return LicenseFormat{}, fmt.Errorf("format %q: want one of %s", name, strings.Join(names, ", "))
}

// Write writes the licences of the report's packages.
func (f LicenseFormat) Write(w io.Writer, r *Report, o LicenseOptions) error {
	if err := f.write(w, newLicenseReport(r, o)); err != nil {
		return fmt.Errorf("write licences as %s: %w", f.Name, err)
	}
	return nil
}

// A licenseReport is what all formats are made from.
type licenseReport struct {
	LicenseOptions
	report   *Report
	packages []*Package // that have License, by name
}

func newLicenseReport(r *Report, o LicenseOptions) *licenseReport {
	l := &licenseReport{LicenseOptions: o, report: r}
	for i := range r.Packages {
		if p := &r.Packages[i]; p.License != nil && (o.Removed || inFinalImage(p.State)) {
			l.packages = append(l.packages, p)
		}
	}
	slices.SortStableFunc(l.packages, func(a, b *Package) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Layer, b.Layer))
	})
	return l
}

// licenseWord is a licence's expression, or that there is none.
func licenseWord(p *Package) string { return cmp.Or(p.License.Expression, "none found") }

// byLicense are the packages of one class by their expression, the commonest first.
func (l *licenseReport) byLicense(class license.Class) (order []string, packages map[string][]*Package) {
	packages = map[string][]*Package{}
	for _, p := range l.packages {
		if p.License.Class == class {
			word := licenseWord(p)
			if packages[word] == nil {
				order = append(order, word)
			}
			packages[word] = append(packages[word], p)
		}
	}
	slices.SortStableFunc(order, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(packages[b]), len(packages[a])), cmp.Compare(a, b))
	})
	return order, packages
}

// licenseTable writes a section for each class, what asks most first, with a line
// for each licence and the packages that have it.
func licenseTable(w io.Writer, l *licenseReport) error {
	if l.Table.Width == 0 {
		l.Table.Width = DefaultWidth
	}
	l.Table.Width = min(max(l.Table.Width, MinWidth), maxWidth)
	t := &table{TableOptions: l.Table, view: newView(l.report), edge: l.Table.Width}
	t.color = l.Table.Color
	t.head()
	for _, class := range slices.Backward(license.All()) {
		order, packages := l.byLicense(class)
		if len(order) == 0 {
			continue
		}
		n := 0
		for _, word := range order {
			n += len(packages[word])
		}
		t.line()
		t.put(bold, cutEnd(classWords(class), t.Width))
		t.put(dim, fmt.Sprintf("  %s", plural(n, "package")))
		t.line()
		for _, word := range order {
			t.to(2)
			t.right(plain, strconv.Itoa(len(packages[word])), 4)
			t.space(2)
			t.paragraph(classStyle(class), cutEnd(Safe(word), maxLicenseWord), 8, t.Width)
			names := make([]string, 0, len(packages[word]))
			for _, p := range packages[word] {
				names = append(names, cutMiddle(Safe(p.Name), maxName))
			}
			names = slices.Compact(names) // they are by name
			t.to(8)
			t.paragraph(dim, shortList(names, maxLicenseNames), 8, t.Width)
		}
	}
	t.line()
	t.licenseSum(l)
	t.warnings()
	_, err := w.Write(t.buf.Bytes())
	return err
}

// maxLicenseNames is how many packages are named of one licence, and
// maxLicenseWord how much of its expression is shown.
const (
	maxLicenseNames = 12
	maxLicenseWord  = 300
)

func (t *table) licenseSum(l *licenseReport) {
	known := 0
	for _, p := range l.packages {
		if p.License.Expression != "" {
			known++
		}
	}
	t.paragraph(bold, fmt.Sprintf("%s, for %d of them a licence was found", plural(len(l.packages), "package"), known), 0, t.Width)
}

// licenseJSON writes the packages as the report has them.
func licenseJSON(w io.Writer, l *licenseReport) error {
	r := *l.report
	r.Packages = nil
	for _, p := range l.packages {
		r.Packages = append(r.Packages, *p)
	}
	n := normal(r)
	return encodeJSON(w, struct {
		SchemaVersion string    `json:"schema_version"`
		Tool          Tool      `json:"tool"`
		Image         Image     `json:"image"`
		Packages      []Package `json:"packages"`
		Problems      []Problem `json:"problems"`
	}{n.SchemaVersion, n.Tool, n.Image, n.Packages, n.Problems}, "  ")
}

// licenseCSV writes a line for each package; cells are as in CSV.
func licenseCSV(w io.Writer, l *licenseReport) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if !l.Continued {
		if err := out.Write([]string{"package_type", "package", "version", "purl", "license", "class", "declared", "evidence", "layer", "state", "image", "platform"}); err != nil {
			return err
		}
	}
	for _, p := range l.packages {
		row := []string{p.Type, p.Name, p.Version, p.PURL, p.License.Expression, string(p.License.Class), strings.Join(p.Licenses, "; "), evidencePaths(p, bare), strconv.Itoa(p.Layer), string(p.State), l.report.Image.Reference, l.report.Image.Platform}
		for i, cell := range row {
			row[i] = csvCell(cell)
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// evidencePaths are the files that tell of a package's licence.
func evidencePaths(p *Package, q quote) string {
	paths := make([]string, 0, len(p.License.Evidence))
	for _, e := range p.License.Evidence {
		if word := q(e.Path); !slices.Contains(paths, word) {
			paths = append(paths, word)
		}
	}
	return strings.Join(paths, " ")
}

// licenseMarkdown writes a table with a row for each package.
func licenseMarkdown(w io.Writer, l *licenseReport) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Licences of %s\n\n| Class | Packages |\n|---|---:|\n", mdText(l.report.Image.Reference))
	for _, class := range license.All() {
		n := 0
		for _, p := range l.packages {
			n += count(p.License.Class == class)
		}
		if n > 0 {
			fmt.Fprintf(&b, "| %s | %d |\n", classWords(class), n)
		}
	}
	b.WriteString("\n| Package | Version | Licence | Class |\n|---|---|---|---|\n")
	for _, p := range l.packages {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", mdCode(p.Name), mdCode(p.Version), mdText(licenseWord(p)), classWords(p.License.Class))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
