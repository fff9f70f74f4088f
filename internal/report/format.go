package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A Format is one way to write a report.
type Format struct {
	// Name as -f takes it.
	Name string
	// Description is one line for --help.
	Description string
	// Aliases are names of the format in other programs, which -f takes too.
	Aliases []string
	// Appends tells that a file it is written to keeps what was in it.
	Appends bool

	// write writes one report. writeAll, where there is one, writes all those of
	// a scan of several images as one document; where there is none they stand one
	// after the other, with between in between.
	write    func(io.Writer, *Report, Options) error
	writeAll func(io.Writer, []*Report, Options) error
	between  string
}

// Options are those of all formats; each reads what concerns it.
type Options struct {
	Table TableOptions
	// Compact leaves out white space that only serves reading, in JSON.
	Compact bool
	// Started and Ended are when the scan was done, for formats that tell it.
	// Without them it is the Unix epoch where the format must have a time, and no
	// time elsewhere: nothing here looks at a clock.
	Started, Ended time.Time
	// AllowIncomplete tells that a layer or advisories that could not be had are
	// no error (JUnit).
	AllowIncomplete bool
	// GitLabSchema is the version of GitLab's schema to follow, one of
	// GitLabSchemas; DefaultGitLabSchema when empty.
	GitLabSchema string
	// Template is the text of the Go template (CheckTemplate).
	Template string
	SBOM     SBOMOptions
}

// Formats are all formats, in the order in which --help lists them. A new one is
// a line here and a function over a Report.
func Formats() []Format {
	return []Format{
		{
			Name: "table", Description: "picture of the layers, then findings by layer, for people (default)",
			write:   func(w io.Writer, r *Report, o Options) error { return Table(w, r, o.Table) },
			between: "\n",
		},
		{
			Name: "json", Description: "everything, for programs: docs/report.schema.json",
			write: func(w io.Writer, r *Report, o Options) error {
				if o.Compact {
					return CompactJSON(w, r)
				}
				return JSON(w, r)
			},
		},
		{
			Name: "sarif", Description: "SARIF 2.1.0, for GitHub code scanning and others",
			writeAll: func(w io.Writer, all []*Report, _ Options) error { return SARIF(w, all) },
		},
		{Name: "junit", Description: "JUnit XML, for the test reports of Jenkins, GitLab, Azure", writeAll: JUnit},
		{Name: "gitlab", Description: "GitLab's container scanning report", writeAll: GitLab},
		{Name: "html", Description: "one page with the picture of the layers, for people", writeAll: HTML},
		{
			Name: "gitlab-codequality", Description: "GitLab's code quality report",
			writeAll: func(w io.Writer, all []*Report, _ Options) error { return CodeQuality(w, all) },
		},
		{
			Name: "github", Description: "annotations of a GitHub Actions run, for its log",
			writeAll: func(w io.Writer, all []*Report, _ Options) error { return GitHubAnnotations(w, all) },
		},
		{
			Name: "github-summary", Description: "Markdown for $GITHUB_STEP_SUMMARY, to which it is appended", Appends: true,
			writeAll: func(w io.Writer, all []*Report, _ Options) error { return GitHubSummary(w, all) },
		},
		{
			Name: "markdown", Description: "Markdown for a comment on a pull or merge request",
			writeAll: func(w io.Writer, all []*Report, _ Options) error { return Markdown(w, all) },
		},
		{
			Name: "csv", Description: "findings as comma separated values, for spreadsheets",
			writeAll: func(w io.Writer, all []*Report, _ Options) error { return CSV(w, all) },
		},
		{Name: "trivy", Description: "Trivy's JSON, schema version 2, for what reads that", writeAll: Trivy},
		{Name: "template", Description: "what the Go template of --template FILE makes of it", writeAll: Template},
		{
			Name: FormatCycloneDX, Description: "bill of materials with layers and vulnerabilities, CycloneDX 1.6 as JSON", Aliases: []string{"cyclonedx-json"},
			write: func(w io.Writer, r *Report, o Options) error { return CycloneDX(w, r, o.SBOM) },
		},
		{
			Name: FormatCycloneDXXML, Description: "the same as XML",
			write: func(w io.Writer, r *Report, o Options) error { return CycloneDXXML(w, r, o.SBOM) },
		},
		{
			Name: FormatSPDX, Description: "bill of materials with layers, SPDX 2.3 as JSON", Aliases: []string{"spdx-json"},
			write: func(w io.Writer, r *Report, o Options) error { return SPDX(w, r, o.SBOM) },
		},
		{
			Name: FormatSPDXTagValue, Description: "the same as tags and values", Aliases: []string{"spdx-tv"},
			write: func(w io.Writer, r *Report, o Options) error { return SPDXTagValue(w, r, o.SBOM) },
		},
	}
}

// CheckFormat returns an error that lists the formats when name is none of them,
// so that a typing error is found before the scan and not after.
func CheckFormat(name string) error {
	_, err := format(Formats(), name)
	return err
}

// CheckSBOMFormat is CheckFormat for the formats that are bills of materials.
func CheckSBOMFormat(name string) error {
	_, err := format(SBOMFormats(), name)
	return err
}

// Appends tells whether a file to which the format is written keeps what was in
// it; it is false for a format that there is not.
func Appends(name string) bool {
	f, err := format(Formats(), name)
	return err == nil && f.Appends
}

// Write writes the report in the format of that name.
func Write(w io.Writer, name string, r *Report, o Options) error {
	return WriteAll(w, name, []*Report{r}, o)
}

// WriteAll writes the reports of several images, as a scan of all platforms gives
// them, in the format of that name: as one document where the format's readers
// want one, else one after the other.
func WriteAll(w io.Writer, name string, reports []*Report, o Options) error {
	f, err := format(Formats(), name)
	if err != nil {
		return err
	}
	if err := f.writeReports(w, reports, o); err != nil {
		return fmt.Errorf("write report as %s: %w", name, err)
	}
	return nil
}

func (f *Format) writeReports(w io.Writer, reports []*Report, o Options) error {
	if f.writeAll != nil {
		return f.writeAll(w, reports, o)
	}
	for i, r := range reports {
		if i > 0 {
			if _, err := io.WriteString(w, f.between); err != nil {
				return err
			}
		}
		if err := f.write(w, r, o); err != nil {
			return err
		}
	}
	return nil
}

func format(formats []Format, name string) (Format, error) {
	if i := slices.IndexFunc(formats, func(f Format) bool { return f.Name == name || slices.Contains(f.Aliases, name) }); i >= 0 {
		return formats[i], nil
	}
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.Name
	}
	return Format{}, fmt.Errorf("format %q: want one of %s", name, strings.Join(names, ", "))
}
