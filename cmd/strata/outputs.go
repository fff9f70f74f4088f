package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"strata/internal/report"
)

// An output is one format and where it goes; an empty path is standard output.
type output struct{ format, path string }

// stdoutPath is standard output where a file is asked for.
const stdoutPath = "-"

// outputOptions are the flags of commands that write a report.
type outputOptions struct {
	formats []string
	output  string
}

// flags adds them: names are the formats there are, of which the first is the
// default.
func (o *outputOptions) flags(f *pflag.FlagSet, names string) {
	first, _, _ := strings.Cut(names, ",")
	f.StringArrayVarP(&o.formats, "format", "f", nil, "`FORMAT[=FILE]` of the report: "+names+"; may be given several times (default "+first+")")
	f.StringVarP(&o.output, "output", "o", "", "write the report to `FILE` instead of standard output, which - means")
}

// outputs are what the flags ask for; check returns an error for a format that
// does not exist, and fallback is the format when none is given.
func (o *outputOptions) outputs(fallback string, check func(format string) error) ([]output, error) {
	specs := o.formats
	if len(specs) == 0 {
		specs = []string{fallback}
	}
	var outs []output
	for _, spec := range specs {
		format, path, hasPath := strings.Cut(spec, "=")
		if err := check(format); err != nil {
			return nil, fmt.Errorf("--format: %w", err)
		}
		if hasPath && path == "" {
			return nil, fmt.Errorf("--format %s: no file follows the =", spec)
		}
		if !hasPath {
			path = o.output
		}
		if path == stdoutPath {
			path = ""
		}
		if err := writable(path); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(outs, func(x output) bool { return x.path == path }) {
			where := "standard output"
			if path != "" {
				where = path
			}
			return nil, fmt.Errorf("--format: two reports would go to %s; give one a file, as in -f json=report.json", where)
		}
		outs = append(outs, output{format, path})
	}
	if o.output != "" && o.output != stdoutPath && !slices.ContainsFunc(outs, func(x output) bool { return x.path == o.output }) {
		return nil, fmt.Errorf("--output %s: nothing is left for it, as every --format has a file", o.output)
	}
	return outs, nil
}

// writable finds out before the scan, rather than after, that a report can't be
// where it is wanted.
func writable(path string) error {
	if path == "" {
		return nil
	}
	if f, err := os.Stat(path); err == nil && f.IsDir() {
		return fmt.Errorf("report file %s: is a directory", path)
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return fmt.Errorf("report file %s: there is no folder %s", path, filepath.Dir(path))
	}
	return nil
}

// create calls write with where the output goes. A file is written anew, unless
// the format is one that is added to what is there; it is not touched before all
// that goes into it is there, so that an error leaves no part of a report behind.
func (a *app) create(out output, write func(io.Writer) error) (err error) {
	if out.path == "" || out.path == stdoutPath {
		return write(a.stdout)
	}
	var text bytes.Buffer
	if err := write(&text); err != nil {
		return err
	}
	mode := os.O_TRUNC
	if report.Appends(out.format) {
		mode = os.O_APPEND
	}
	f, err := os.OpenFile(out.path, os.O_WRONLY|os.O_CREATE|mode, 0o666)
	if err != nil {
		return fmt.Errorf("report file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = text.WriteTo(f)
	return err
}
