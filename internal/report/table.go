package report

import (
	"fmt"
	"io"
	"strings"
)

// TableOptions say how the table looks and what it shows. The zero value is fit
// for a file.
type TableOptions struct {
	// Width in columns; 0 for DefaultWidth. The table keeps to it from MinWidth
	// on, save that ids and versions are never cut.
	Width int
	// Color uses ANSI colours.
	Color bool
	// ShowRemoved lists findings of packages that a later layer shadowed or
	// removed, ShowSuppressed those set aside; else they are only counted.
	ShowRemoved, ShowSuppressed bool
	// AllowIncomplete tells that what could not be had does not change the exit code.
	AllowIncomplete bool
}

const (
	// DefaultWidth is the table's width where no terminal tells one.
	DefaultWidth = 100
	// MinWidth is the narrowest that the table can be.
	MinWidth = 60
	// maxWidth keeps the ends of lines in sight of their beginnings.
	maxWidth = 220
	// maxWord is the width beyond which even what is never cut is cut: no honest
	// id or version is near it, and a hostile one could fill the screen.
	maxWord = 200
)

// Table writes the report for people: a picture of the layer stack, the findings
// by layer, what is wrong with the answer itself (problems, old or missing
// advisories), the sum, and the verdict last, where the eye is when the program
// ends.
//
// What comes from the image is made Safe. No findings are never shown as all
// clear where packages were not checked or layers not read.
func Table(w io.Writer, r *Report, o TableOptions) error {
	if o.Width == 0 {
		o.Width = DefaultWidth
	}
	o.Width = min(max(o.Width, MinWidth), maxWidth)
	t := &table{TableOptions: o, view: newView(r), edge: o.Width}
	t.color = o.Color

	t.head()
	t.stack()
	t.findingsByLayer()
	t.endsOfLife()
	t.removedFindings()
	t.suppressedFindings()
	t.notCounted()
	t.licenses()
	t.warnings()
	t.sum()
	t.verdict()
	_, err := w.Write(t.buf.Bytes())
	return err
}

// A table is one being written.
type table struct {
	TableOptions
	*view
	canvas
	// edge is the column at which the picture ends, and with it what is aligned
	// to the right.
	edge int
}

// head names the image.
func (t *table) head() {
	r := t.report
	reference := cutMiddle(Safe(r.Image.Reference), maxWord)
	if reference == "" {
		reference = "(no name)"
	}
	t.put(bold, reference)
	t.line()

	facts := []string{t.distro()}
	if r.Image.Platform != "" {
		facts = append(facts, Safe(r.Image.Platform))
	}
	if len(r.Layers) > 0 {
		facts = append(facts, plural(len(r.Layers), "layer"))
	}
	facts = append(facts, plural(t.present, "package"))
	if gone := t.listed - t.present; gone > 0 {
		facts = append(facts, fmt.Sprintf("%d more in lower layers", gone))
	}
	if d := shortDigest(r.Image.Digest); d != "" {
		facts = append(facts, d)
	}
	for _, fact := range facts {
		t.item(dim, fact, " · ", 0, t.Width)
	}
	t.line()
	t.base()
}

func (t *table) distro() string {
	d := t.report.Image.Distro
	name := Safe(d.Name)
	if name == "" {
		name = strings.TrimSpace(Safe(d.ID) + " " + Safe(d.Version))
	}
	if name == "" {
		return "no distribution"
	}
	if d.Status == DistroEndOfLife {
		name += " (end of life)"
	}
	return cutEnd(name, 60)
}

// shortDigest is enough of a digest to tell it from others.
func shortDigest(digest string) string {
	const enough = len("sha256:") + 12
	return columns().Truncate(Safe(digest), enough, "")
}
