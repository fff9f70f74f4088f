package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// MaxVEX is how many bytes a VEX document has at most.
	MaxVEX = 64 << 20
	// maxStatements is how many statements it makes at most, and maxProducts how
	// many products these name together.
	maxStatements = 200_000
	maxProducts   = 2_000_000
)

// A VEX is a document that says which vulnerabilities affect which products
// (Vulnerability Exploitability eXchange). Any number of images may be held against it
// at the same time.
type VEX struct {
	// File that it was read from, and Author as it names itself.
	File, Author string
	statements   []statement
	remarks      []string
}

// Len is how many statements it makes.
func (v *VEX) Len() int { return len(v.statements) }

// Statuses counts the statements by the status that they give.
func (v *VEX) Statuses() map[Status]int {
	out := map[Status]int{}
	for i := range v.statements {
		out[v.statements[i].status]++
	}
	return out
}

// A statement is of one vulnerability in some products.
type statement struct {
	// names of the vulnerability: its id and aliases.
	names    []string
	products []vexProduct
	status   Status
	// justification is a word of VEX, note a sentence of the author.
	justification, note string
	when                time.Time

	file, author string
	// applied tells that it matched, met that its vulnerability is in the image.
	applied, met bool
}

// A vexProduct is a product as a statement names it.
type vexProduct struct {
	// names that are no purls: references of images, digests.
	names []string
	// label is what people call it; nothing is matched by it.
	label string
	purls []*purlPattern
	// within is the product that this one must be part of; nil for none.
	within *vexProduct
	// platforms are CPEs of operating systems that it is for.
	platforms []string
	// versions that are meant; empty for all.
	versions []string
}

func (v *VEX) remark(format string, args ...any) {
	v.remarks = append(v.remarks, v.File+": "+fmt.Sprintf(format, args...))
}

// ParseVEX reads a document of OpenVEX (0.0.1 to 0.2.0, also as the predicate of
// an in-toto statement), of CycloneDX in JSON (1.4 and newer, by the analysis of
// its vulnerabilities), or of CSAF 2.0.
func ParseVEX(file string, text []byte) (*VEX, error) {
	if len(text) > MaxVEX {
		return nil, fmt.Errorf("%s: has more than %d MiB", file, MaxVEX>>20)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	v := &VEX{File: file}
	if err := v.parse(text); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	products := 0
	for i := range v.statements {
		s := &v.statements[i]
		s.file, s.author = v.File, v.Author
		products += len(s.products)
	}
	if len(v.statements) > maxStatements || products > maxProducts {
		return nil, fmt.Errorf("%s: makes more than %d statements or names more than %d products", file, maxStatements, maxProducts)
	}
	return v, nil
}

var errUnknownVEX = errors.New("neither OpenVEX, CycloneDX nor CSAF")

func (v *VEX) parse(text []byte) error {
	var head struct {
		Context   json.RawMessage `json:"@context"`
		BOMFormat string          `json:"bomFormat"`
		Document  *struct {
			Version string `json:"csaf_version"`
		} `json:"document"`
		Predicate     json.RawMessage `json:"predicate"`
		PredicateType string          `json:"predicateType"`
		Subject       []struct {
			Name   string            `json:"name"`
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	var wrongType *json.UnmarshalTypeError
	switch err := json.Unmarshal(text, &head); {
	case errors.As(err, &wrongType):
		return errUnknownVEX // its text would tell of this struct
	case err != nil:
		return fmt.Errorf("not JSON: %w", err)
	}
	switch {
	case bytes.Contains(head.Context, []byte("openvex")):
		return v.openVEX(text, nil)
	case strings.Contains(head.PredicateType, "openvex"):
		var subjects []vexProduct
		for _, s := range head.Subject {
			subject := newProduct(s.Name)
			for algorithm, digest := range s.Digest {
				subject.names = append(subject.names, algorithm+":"+digest)
			}
			subjects = append(subjects, subject)
		}
		return v.openVEX(head.Predicate, subjects)
	case head.BOMFormat == "CycloneDX":
		return v.cycloneDX(text)
	case head.Document != nil:
		if head.Document.Version != "2.0" {
			return fmt.Errorf("CSAF %s: only 2.0 can be read", or(head.Document.Version, "without version"))
		}
		return v.csaf(text)
	}
	return errUnknownVEX
}

// ApplyVEX gives findings the status that the documents say, and sets those aside
// that do not affect the image or are fixed in it. Of several statements about
// one finding the latest counts; of the same time, the last. What is returned
// names the statements that match nothing in the image.
func ApplyVEX(in *Input, documents ...*VEX) []Remark {
	in.link()
	var all []*statement
	documents = slices.Clone(documents)
	for n, d := range documents {
		// A copy notes what matches in this image.
		d = &VEX{File: d.File, Author: d.Author, statements: slices.Clone(d.statements), remarks: d.remarks}
		documents[n] = d
		for i := range d.statements {
			all = append(all, &d.statements[i])
		}
	}
	slices.SortStableFunc(all, func(a, b *statement) int { return a.when.Compare(b.when) })
	byName := map[string][]*statement{}
	for _, s := range all {
		for _, name := range s.names {
			byName[name] = append(byName[name], s)
		}
	}
	order := make(map[*statement]int, len(all))
	for i, s := range all {
		order[s] = i
	}
	for i := range in.Findings {
		f := &in.Findings[i]
		var last *statement
		for _, name := range f.ids() {
			for _, s := range byName[name] {
				if !sameFlaw(s.names, f.ids()) {
					continue
				}
				s.met = true
				if s.about(in, f.pkg) {
					s.applied = true
					if last == nil || order[s] >= order[last] {
						last = s
					}
				}
			}
		}
		if last != nil {
			last.apply(f)
		}
	}
	var remarks []Remark
	for _, d := range documents {
		for _, message := range append(slices.Clone(d.remarks), d.unmatched()...) {
			remarks = append(remarks, Remark{By: ByVEX, Message: message})
		}
	}
	return remarks
}

// vexJustifications are why something is not affected (OpenVEX specification,
// status justifications). CSAF has the same.
var vexJustifications = []string{
	"component_not_present", "vulnerable_code_not_present", "vulnerable_code_not_in_execute_path",
	"vulnerable_code_cannot_be_controlled_by_adversary", "inline_mitigations_already_exist",
}

// apply says of a finding what the statement does.
func (s *statement) apply(f *Finding) {
	f.Status, f.byVEX, f.justification = s.status, true, ""
	if slices.Contains(vexJustifications, s.justification) {
		f.justification = s.justification
	}
	if f.Suppressed == nil && (s.status == NotAffected || s.status == Fixed) {
		f.Suppressed = &Suppression{By: ByVEX, Reason: s.reason()}
	}
}

func (s *statement) reason() string {
	reason := strings.ReplaceAll(string(s.status), "_", " ")
	if s.justification != "" {
		reason += ": " + strings.ReplaceAll(s.justification, "_", " ")
	}
	if s.note != "" {
		reason += ": " + shorten(strings.Join(strings.Fields(s.note), " "))
	}
	from := []string{s.file}
	if s.author != "" {
		from = append([]string{s.author}, from...)
	}
	return reason + " (" + strings.Join(from, ", ") + ")"
}

// about tells whether the statement is about a package of the image.
func (s *statement) about(in *Input, p *Package) bool {
	return slices.ContainsFunc(s.products, func(product vexProduct) bool { return product.covers(in, p) })
}

// covers tells whether a package is the product, is in the product, which is the
// whole image, or is the named part of a product in the image.
func (v *vexProduct) covers(in *Input, p *Package) bool {
	if v.within != nil {
		return v.isPackage(in, p) && v.within.contains(in, p)
	}
	return v.isPackage(in, p) || v.isImage(&in.Image)
}

func (v *vexProduct) isPackage(in *Input, p *Package) bool {
	if len(v.versions) > 0 && !slices.Contains(v.versions, p.Version) {
		return false
	}
	return slices.ContainsFunc(v.purls, func(u *purlPattern) bool {
		return u.matches(p) && (len(v.platforms) == 0 || u.url.Version != "" || in.Image.onPlatform(v.platforms))
	})
}

// isImage tells whether the product is the image, by a purl or a name with a
// slash or a tag: a bare "nginx" rather is the program than the image.
func (v *vexProduct) isImage(i *Image) bool {
	if slices.ContainsFunc(v.purls, func(u *purlPattern) bool { return u.matchesImage(i) }) {
		return true
	}
	if len(v.names) == 0 { // as of the thousands of products of a CSAF document
		return false
	}
	names := append(i.names(), i.Digest, i.ConfigDigest)
	return slices.ContainsFunc(v.names, func(n string) bool { return strings.ContainsAny(n, "/:") && slices.Contains(names, n) })
}

// contains tells whether a package belongs to the product: the product is the
// image, or was found in the same file, as the modules of a binary are.
func (v *vexProduct) contains(in *Input, part *Package) bool {
	if v.isImage(&in.Image) {
		return true
	}
	for i := range in.Packages {
		whole := &in.Packages[i]
		if v.isPackage(in, whole) && slices.ContainsFunc(part.Paths, func(path string) bool { return slices.Contains(whole.Paths, path) }) {
			return true
		}
	}
	return false
}

// cpeDistros are products of CPEs as os-release(5) names them.
var cpeDistros = map[string]string{
	"redhat:enterprise_linux": "rhel", "canonical:ubuntu_linux": "ubuntu", "debian:debian_linux": "debian",
	"suse:sles": "sles", "suse:linux_enterprise_server": "sles", "opensuse:leap": "opensuse-leap",
	"oracle:linux": "ol", "almalinux:almalinux": "almalinux", "rocky:rocky": "rocky", "alpinelinux:alpine_linux": "alpine",
}

// onPlatform tells whether the distribution is one of the CPEs, by name and main
// version. It takes both forms, cpe:/o:v:p:1 and cpe:2.3:o:v:p:1.
func (i *Image) onPlatform(cpes []string) bool {
	for _, c := range cpes {
		parts := strings.Split(strings.TrimPrefix(strings.TrimPrefix(c, "cpe:2.3:"), "cpe:/"), ":")
		if len(parts) < 4 || cpeDistros[parts[1]+":"+parts[2]] != i.Distro.ID {
			continue
		}
		want, _, _ := strings.Cut(parts[3], ".")
		got, _, _ := strings.Cut(i.Distro.Version, ".")
		if i.Distro.ID != "" && want == got {
			return true
		}
	}
	return false
}

// unmatched names the statements that match nothing, those first whose
// vulnerability the image has.
func (v *VEX) unmatched() []string {
	var other, absent []string
	for i := range v.statements {
		s := &v.statements[i]
		switch {
		case s.applied:
		case s.met:
			other = append(other, s.names[0]+" of "+s.productNames())
		default:
			absent = append(absent, s.names[0])
		}
	}
	var remarks []string
	if len(other) > 0 {
		remarks = append(remarks, fmt.Sprintf("%s: %s about vulnerabilities of this image, but in products that it has not: %s",
			v.File, plural(len(other), "statement"), listed(other)))
	}
	if len(absent) > 0 {
		slices.Sort(absent)
		remarks = append(remarks, fmt.Sprintf("%s: %s matching nothing in this image: %s", v.File, plural(len(absent), "statement"), listed(slices.Compact(absent))))
	}
	return remarks
}

func (s *statement) productNames() string {
	const few = 3
	var names []string
	for i := range s.products {
		name := s.products[i].name()
		switch {
		case slices.Contains(names, name):
		case len(names) == few:
			return strings.Join(names, ", ") + " and more"
		default:
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "no product"
	}
	return strings.Join(names, ", ")
}

func (v *vexProduct) name() string {
	name := or(v.label, "a product without purl")
	switch {
	case len(v.purls) > 0:
		name = v.purls[0].text
	case len(v.names) > 0:
		name = v.names[0]
	}
	if v.within != nil {
		name += " in " + v.within.name()
	}
	return name
}

// newProduct makes a product of identifiers, each of which may be a purl.
func newProduct(ids ...string) vexProduct {
	var p vexProduct
	for _, id := range ids {
		if id == "" {
			continue
		}
		if u, err := parsePURL(id); err == nil {
			p.purls = append(p.purls, u)
		} else {
			p.names = append(p.names, id)
		}
	}
	return p
}

// sortStatements gives a stable order to what was read of maps.
func sortStatements(list []statement) {
	slices.SortStableFunc(list, func(a, b statement) int {
		return cmp.Or(cmp.Compare(a.status, b.status), cmp.Compare(a.justification, b.justification))
	})
}
