package report

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
)

//go:embed html
var htmlFiles embed.FS

// HTML writes the reports as one page that needs nothing else: no address is
// loaded, and its policy (Content Security Policy, level 3) lets nothing run or
// style it but what it came with. It can be read, and filtered by severity,
// without its script, which adds search and sorting.
func HTML(w io.Writer, reports []*Report, o Options) error {
	style, err := htmlFiles.ReadFile("html/report.css")
	if err != nil {
		return err
	}
	script, err := htmlFiles.ReadFile("html/report.js")
	if err != nil {
		return err
	}
	page := htmlPage{
		Style: template.CSS(style), Script: template.JS(script),
		Policy: fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'", sourceHash(style), sourceHash(script)),
	}
	if !o.Ended.IsZero() {
		page.Made = o.Ended.UTC().Format("2006-01-02 15:04 UTC")
	}
	for i, r := range reports {
		page.Images = append(page.Images, newHTMLImage(r, i))
		page.Tool = strings.TrimSpace(Safe(r.Tool.Name) + " " + Safe(r.Tool.Version))
	}
	page.Title = "Strata"
	if len(page.Images) > 0 {
		page.Title = page.Images[0].Reference + " · Strata"
	}
	parsed, err := template.ParseFS(htmlFiles, "html/*.gohtml")
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if err := parsed.ExecuteTemplate(&buf, "report.gohtml", page); err != nil {
		return err
	}
	_, err = w.Write(buf.Bytes())
	return err
}

// sourceHash is how a policy names a script or style by its content.
func sourceHash(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// A htmlPage is what the template is filled with. All its text is Safe, and
// escaped by the template for where it stands.
type htmlPage struct {
	Title, Policy, Tool, Made string
	Style                     template.CSS
	Script                    template.JS
	Images                    []htmlImage
}

// A htmlImage is one report.
type htmlImage struct {
	// ID is what the identifiers of the image's elements begin with.
	ID                string
	Reference, Digest string
	Facts             []string
	Base              string
	Labels            []htmlPair
	Verdict           htmlVerdict
	Counts            []htmlCount
	Total             int
	Fixable, Known    int
	Warnings          []string
	EndOfLife         []string
	Hidden            string
	Layers            []htmlLayer
	// Groups are the findings by layer; Removed and Aside those that don't count.
	Groups         []htmlGroup
	Removed, Aside []htmlGroup
	RemovedCount   int
	RemovedTally   string
	AsideCount     int
	AsideTally     string
	Nothing        string
	Packages       []htmlPackage
	PackageCount   string
	PackagesListed int
	Licenses       []htmlLicense
	Coverage       []htmlCoverage
	Advisories     string
	Problems       []string
}

type htmlPair struct{ Name, Value string }

// A htmlVerdict is the last word. Kind is fail, warn, pass, incomplete or none.
type htmlVerdict struct {
	Word, Kind string
	Reasons    []htmlReason
}

// A htmlReason is a reason of the verdict, or, with Detail, what the one before is
// about.
type htmlReason struct {
	Text   string
	Detail bool
}

// A htmlCount is the number of findings of a severity; Share is of a bar 1000 wide.
type htmlCount struct {
	Severity      string
	Count         int
	Offset, Share int
	Letter        string
	Empty         bool
}

// A htmlLayer is a slab of the picture, or, with Rule, the border of the base.
type htmlLayer struct {
	Rule string
	// Quiet is how many layers without anything to tell the slab stands for.
	Quiet             int
	Index             int
	ID                string
	Instruction, Full string
	Size              string
	Height            int
	// Worst severity, and how many findings have it.
	Worst               string
	WorstCount          int
	Base, Empty, Unread bool
	Introduced, Taken   string
	Counts              []htmlCount
	Findings            int
	DiffID              string
	Title               string
}

// A htmlGroup is findings under one heading.
type htmlGroup struct {
	ID, Title, Note, Tally string
	Base                   bool
	Findings               []htmlFinding
}

type htmlFinding struct {
	Severity, ID, URL     string
	Package, Version, Fix string
	Path, Summary, Note   string
	KEV, Fails, New       bool
	EPSS                  string
	Score                 string
	// Rank is what the script sorts severities by.
	Rank int
}

type htmlPackage struct {
	Name, Version, Type, Layer, License, Class, Path, State, Owner string
	Findings                                                       int
	Worst                                                          string
}

type htmlLicense struct {
	Expression, Class string
	Packages          int
	Examples          string
}

type htmlCoverage struct {
	Ecosystem, Status, Kind string
	Packages, Records       int
}

// day is a date; empty for none.
func day(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format("2006-01-02")
}
