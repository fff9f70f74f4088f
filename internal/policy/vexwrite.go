package policy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/package-url/packageurl-go"
)

const (
	openVEXContext = "https://openvex.dev/ns/v0.2.0"
	// openVEXDocuments is the namespace of documents that have no other.
	openVEXDocuments = "https://openvex.dev/docs/public/vex-"
)

// VEXOptions are for WriteOpenVEX.
type VEXOptions struct {
	// Author of the document; required by OpenVEX.
	Author string
	// ID of the document; empty for one that is made of its content, the same for
	// the same statements, whenever they are written.
	ID string
	// Tooling names the program.
	Tooling string
	// Made is the time of the document.
	Made time.Time
}

type openVEXDocument struct {
	Context    string                    `json:"@context"`
	ID         string                    `json:"@id"`
	Author     string                    `json:"author"`
	Timestamp  string                    `json:"timestamp,omitempty"`
	Version    int                       `json:"version"`
	Tooling    string                    `json:"tooling,omitempty"`
	Statements []openVEXWrittenStatement `json:"statements"`
}

type openVEXWrittenStatement struct {
	Vulnerability   openVEXWrittenName   `json:"vulnerability"`
	Products        []openVEXWrittenName `json:"products"`
	Status          Status               `json:"status"`
	Justification   string               `json:"justification,omitempty"`
	ImpactStatement string               `json:"impact_statement,omitempty"`
	ActionStatement string               `json:"action_statement,omitempty"`
	StatusNotes     string               `json:"status_notes,omitempty"`
}

type openVEXWrittenName struct {
	ID            string               `json:"@id,omitempty"`
	Name          string               `json:"name,omitempty"`
	Aliases       []string             `json:"aliases,omitempty"`
	Identifiers   map[string]string    `json:"identifiers,omitempty"`
	Subcomponents []openVEXWrittenName `json:"subcomponents,omitempty"`
}

// WriteOpenVEX is what is known of the image's vulnerabilities as an OpenVEX
// document (OpenVEX specification 0.2.0), and of how many findings nothing is
// said. It is careful: what is present is affected, with what to do about it, also
// when it is waived, which does not make it harmless; only VEX documents and files
// that don't run make something not affected. Nothing is said of findings in
// packages that the distribution patches itself, of those in lower layers, and of
// ends of life.
func WriteOpenVEX(in *Input, o VEXOptions) (text []byte, silent int, err error) {
	in.link()
	doc := openVEXDocument{Context: openVEXContext, Author: o.Author, Version: 1}
	doc.Statements, silent = in.openVEXStatements()
	if doc.ID = o.ID; doc.ID == "" {
		content, err := json.Marshal(doc)
		if err != nil {
			return nil, 0, err
		}
		doc.ID = fmt.Sprintf("%s%x", openVEXDocuments, sha256.Sum256(content))
	}
	doc.Tooling, doc.Timestamp = o.Tooling, o.Made.UTC().Format(time.RFC3339)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err = enc.Encode(doc)
	return b.Bytes(), silent, err
}

// openVEXStatements are one for each vulnerability and what is said of it.
func (in *Input) openVEXStatements() ([]openVEXWrittenStatement, int) {
	image := in.Image.purl()
	list, silent := []openVEXWrittenStatement{}, 0
	at := map[string]int{}
	for i := range in.Findings {
		f := &in.Findings[i]
		s, ok := f.openVEX()
		if !ok {
			silent++
			continue
		}
		key := strings.Join([]string{f.ID, string(s.Status), s.Justification, s.ImpactStatement, s.ActionStatement, s.StatusNotes}, "\x00")
		n, found := at[key]
		if !found {
			n = len(list)
			at[key] = n
			s.Vulnerability = openVEXWrittenName{Name: f.ID, Aliases: f.ownAliases()}
			list = append(list, s)
		}
		list[n].add(image, f.pkg.PURL)
	}
	slices.SortStableFunc(list, func(a, b openVEXWrittenStatement) int {
		return cmp.Or(cmp.Compare(a.Vulnerability.Name, b.Vulnerability.Name), cmp.Compare(a.Status, b.Status), cmp.Compare(a.ActionStatement, b.ActionStatement))
	})
	return list, silent
}

// ownAliases are those of its ids that are of this flaw alone. Readers take any of
// them for the vulnerability, but an erratum is an alias of all that it is about.
func (f *Finding) ownAliases() []string {
	var own []string
	for _, id := range f.Aliases {
		if flawID.MatchString(id) || isCVE(f.ID) && strings.HasSuffix(id, strings.TrimPrefix(f.ID, "CVE")) {
			own = append(own, id)
		}
	}
	return own
}

// flawID are the ids of databases with a record for each flaw.
var flawID = regexp.MustCompile(`^(CVE|GHSA|GO|PYSEC|RUSTSEC|OSV|SNYK|EEF)-`)

// add adds a package: as a part of the image, or by itself where the image has
// no name.
func (s *openVEXWrittenStatement) add(image, purl string) {
	component := openVEXWrittenName{ID: purl, Identifiers: map[string]string{"purl": purl}}
	if image == "" {
		if !slices.ContainsFunc(s.Products, func(n openVEXWrittenName) bool { return n.ID == purl }) {
			s.Products = append(s.Products, component)
		}
		return
	}
	if len(s.Products) == 0 {
		s.Products = []openVEXWrittenName{{ID: image, Identifiers: map[string]string{"purl": image}}}
	}
	parts := &s.Products[0].Subcomponents
	if !slices.ContainsFunc(*parts, func(n openVEXWrittenName) bool { return n.ID == purl }) {
		*parts = append(*parts, component)
	}
}

// openVEX is what is known of a finding; false when nothing is.
func (f *Finding) openVEX() (openVEXWrittenStatement, bool) {
	s := openVEXWrittenStatement{Status: or(f.Status, Affected)}
	if !f.vulnerability() || !present(f.State) || f.pkg.PURL == "" {
		return s, false
	}
	if f.Suppressed != nil {
		switch f.Suppressed.By {
		case ByVEX:
			s.Justification, s.ImpactStatement = f.justification, f.Suppressed.Reason
			if s.Status == Fixed {
				s.Justification, s.ImpactStatement, s.StatusNotes = "", "", f.Suppressed.Reason
			}
			return s, true
		case byNotRun:
			s.Status, s.Justification, s.ImpactStatement = NotAffected, "vulnerable_code_not_in_execute_path", f.Suppressed.Reason
			return s, true
		case ByWaiver, ByPolicy:
			s.StatusNotes = "accepted for now: " + f.Suppressed.Reason
		default:
			return s, false
		}
	}
	if s.Status == Affected {
		s.ActionStatement = "No version without it is known so far."
		if f.FixedVersion != "" {
			s.ActionStatement = fmt.Sprintf("Update %s to %s or newer.", f.pkg.Name, f.FixedVersion)
		}
	}
	return s, true
}

// byNotRun is set by package match: files that do not run in a container.
const byNotRun = "not-run"

// purl of the image (purl specification, type oci); empty when it has no name or
// no digest.
func (i *Image) purl() string {
	n := i.name
	digest := or(i.Digest, n.digest)
	if n.repository == "" || digest == "" {
		return ""
	}
	name := strings.ToLower(n.repository[strings.LastIndexByte(n.repository, '/')+1:])
	q := packageurl.Qualifiers{{Key: "repository_url", Value: n.full()}}
	if n.tag != "" {
		q = append(q, packageurl.Qualifier{Key: "tag", Value: n.tag})
	}
	return packageurl.NewPackageURL("oci", "", name, digest, q, "").ToString()
}
