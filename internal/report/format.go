package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Format is one way to write a report.
type Format struct {
	// Name as -f takes it.
	Name string
	// Description is one line for --help.
	Description string

	write func(io.Writer, *Report, Options) error
}

// Options are those of all formats; each reads what concerns it.
type Options struct {
	Table TableOptions
	// Compact leaves out white space that only serves reading, in JSON.
	Compact bool
}

// Formats are all formats, in the order in which --help lists them. A new one is
// a line here and a function over a Report.
func Formats() []Format {
	return []Format{
		{
			Name: "table", Description: "picture of the layers, then findings by layer, for people (default)",
			write: func(w io.Writer, r *Report, o Options) error { return Table(w, r, o.Table) },
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
	}
}

// CheckFormat returns an error that lists the formats when name is none of them,
// so that a typing error is found before the scan and not after.
func CheckFormat(name string) error {
	_, err := format(name)
	return err
}

// Write writes the report in the format of that name.
func Write(w io.Writer, name string, r *Report, o Options) error {
	f, err := format(name)
	if err != nil {
		return err
	}
	if err := f.write(w, r, o); err != nil {
		return fmt.Errorf("write report as %s: %w", name, err)
	}
	return nil
}

func format(name string) (Format, error) {
	formats := Formats()
	if i := slices.IndexFunc(formats, func(f Format) bool { return f.Name == name }); i >= 0 {
		return formats[i], nil
	}
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.Name
	}
	return Format{}, fmt.Errorf("format %q: want one of %s", name, strings.Join(names, ", "))
}
