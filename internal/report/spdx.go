package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
	"github.com/spdx/tools-golang/tagvalue"

	"strata/internal/sbom"
)

// SPDX writes the packages as a bill of materials in SPDX 2.3, JSON.
//
// The document describes the image, which contains its layers, each of which
// contains the packages that it introduced and has the layer below it as
// prerequisite. Findings that count are references to advisories. What Strata knows beyond SPDX's fields are lines "strata:…: value" of
// a package's comment. The namespace depends on the content alone.
// Source: SPDX specification 2.3.
func SPDX(w io.Writer, r *Report, o SBOMOptions) error {
	return writeSPDX(w, r, o, func(doc *v2_3.Document, w io.Writer) error {
		return spdxjson.Write(doc, w, spdxjson.Indent("  "), spdxjson.EscapeHTML(false))
	})
}

// SPDXTagValue writes what SPDX does, as tags and values.
func SPDXTagValue(w io.Writer, r *Report, o SBOMOptions) error {
	return writeSPDX(w, r, o, func(doc *v2_3.Document, w io.Writer) error { return tagvalue.Write(doc, w) })
}

func writeSPDX(w io.Writer, r *Report, o SBOMOptions, encode func(*v2_3.Document, io.Writer) error) error {
	s := &spdxBill{bill: newBill(r, o), licenses: &spdxLicenses{}}
	doc := s.document()
	var buf bytes.Buffer // which never fails, as the encoder for tags does not look
	if err := spdxjson.Write(doc, &buf); err != nil {
		return err
	}
	// By the convention for those who own no web site: SPDX 2.3, section 6.5.
	doc.DocumentNamespace = "https://spdx.org/spdxdocs/" + cmp.Or(spdxName(cutEnd(doc.DocumentName, 120)), "image") + "-" + documentID(buf.Bytes())
	now := o.Now
	if now.IsZero() {
		now = time.Unix(0, 0)
	}
	doc.CreationInfo.Created = now.UTC().Format(time.RFC3339)
	buf.Reset()
	if err := encode(doc, &buf); err != nil {
		return err
	}
	_, err := w.Write(buf.Bytes())
	return err
}

// A spdxBill makes the parts of the document.
type spdxBill struct {
	*bill
	licenses      *spdxLicenses
	relationships []*v2_3.Relationship
	// advisories on packages, by package id.
	advisories map[string][]*v2_3.PackageExternalReference
}

const (
	spdxDocument = "DOCUMENT"
	spdxImage    = "Image"
	spdxDistro   = "Distro"
	noAssertion  = "NOASSERTION"
)

func (s *spdxBill) document() *v2_3.Document {
	s.relate(spdxDocument, common.TypeRelationshipDescribe, spdxImage)
	s.collectAdvisories()
	packages := []*v2_3.Package{s.image()}
	if d := s.distro(); d != nil {
		packages = append(packages, d)
	}
	for i := range s.Layers {
		packages = append(packages, s.layer(i))
	}
	for _, p := range s.packages {
		packages = append(packages, s.spdxPackage(p))
	}
	slices.SortStableFunc(packages, func(a, b *v2_3.Package) int {
		return cmp.Compare(a.PackageSPDXIdentifier, b.PackageSPDXIdentifier)
	})
	return &v2_3.Document{
		SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: spdxDocument,
		DocumentName: spdxLine(s.imageName()), DocumentComment: s.problems().text(),
		CreationInfo: &v2_3.CreationInfo{Creators: []common.Creator{
			{CreatorType: "Tool", Creator: spdxName(cmp.Or(s.Tool.Name, "strata") + "-" + cmp.Or(s.Tool.Version, "unknown"))},
		}},
		Packages: packages, OtherLicenses: s.licenses.other(), Relationships: s.relationships,
	}
}

func (s *spdxBill) relate(a common.ElementID, relationship string, b common.ElementID) {
	s.relationships = append(s.relationships, &v2_3.Relationship{
		RefA: common.MakeDocElementID("", string(a)), RefB: common.MakeDocElementID("", string(b)), Relationship: relationship,
	})
}

// unknownPackage is a package of which nothing is known yet.
func unknownPackage(id common.ElementID, name, purpose string) *v2_3.Package {
	return &v2_3.Package{
		PackageSPDXIdentifier: id, PackageName: cmp.Or(spdxLine(name), "unnamed"), PrimaryPackagePurpose: purpose,
		PackageDownloadLocation: noAssertion, PackageLicenseConcluded: noAssertion, PackageLicenseDeclared: noAssertion,
		PackageCopyrightText: noAssertion, IsFilesAnalyzedTagPresent: true,
	}
}

func (s *spdxBill) image() *v2_3.Package {
	p := unknownPackage(spdxImage, s.imageName(), "CONTAINER")
	p.PackageVersion = spdxLine(cmp.Or(s.Image.Digest, s.Image.ConfigDigest))
	p.PackageChecksums = spdxChecksum(s.Image.Digest)
	p.PackageExternalReferences = spdxPURL(imageURL(&s.Image))
	p.PackageComment = s.ofImage().text()
	return p
}

func spdxChecksum(digest string) []common.Checksum {
	if sum := sha256Hex(digest); sum != "" {
		return []common.Checksum{{Algorithm: common.SHA256, Value: sum}}
	}
	return nil
}

func spdxPURL(purl string) []*v2_3.PackageExternalReference {
	if purl == "" || len(purl) > maxLine {
		return nil
	}
	return []*v2_3.PackageExternalReference{{Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: purl}}
}

func (s *spdxBill) distro() *v2_3.Package {
	d := &s.Image.Distro
	if d.ID == "" {
		return nil
	}
	p := unknownPackage(spdxDistro, d.ID, "OPERATING-SYSTEM")
	p.PackageVersion = spdxLine(d.Version)
	var about properties
	about.add(sbom.DistroName, d.Name)
	about.add(sbom.DistroStatus, string(d.Status))
	p.PackageComment = about.text()
	s.relate(spdxImage, common.TypeRelationshipContains, spdxDistro)
	return p
}

func layerID(place int) common.ElementID { return common.ElementID(fmt.Sprintf("Layer-%04d", place)) }

func (s *spdxBill) layer(i int) *v2_3.Package {
	l := &s.Layers[i]
	p := unknownPackage(layerID(i), fmt.Sprintf("layer %d", l.Index), "ARCHIVE")
	p.PackageVersion = spdxLine(l.DiffID)
	p.PackageChecksums = spdxChecksum(l.Digest)
	p.PackageComment = ofLayer(l).text()
	s.relate(spdxImage, common.TypeRelationshipContains, p.PackageSPDXIdentifier)
	if i > 0 {
		s.relate(p.PackageSPDXIdentifier, common.TypeRelationshipHasPrerequisite, layerID(i-1))
	}
	return p
}

// notInID are the characters that a SPDX identifier can't have: SPDX 2.3, section 7.2.
var notInID = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

func (s *spdxBill) spdxPackage(p *Package) *v2_3.Package {
	id := common.ElementID(notInID.ReplaceAllString("Package-"+p.Type+"-"+cutEnd(Safe(p.Name), 80)+"-"+p.ID, "-"))
	out := unknownPackage(id, p.Name, "LIBRARY")
	if componentType(p.Type) == "application" {
		out.PrimaryPackagePurpose = "APPLICATION"
	}
	out.PackageVersion = spdxLine(p.Version)
	out.PackageExternalReferences = append(spdxPURL(purl(p)), s.advisories[p.ID]...)
	out.PackageSourceInfo = spdxLine(sourceText(p))
	out.PackageLicenseDeclared, out.PackageLicenseConcluded = s.licenses.of(p)
	out.PackageComment = withLocations(p, s.ofPackage(p)).text()
	if place, ok := s.layers[p.Layer]; ok {
		s.relate(layerID(place), common.TypeRelationshipContains, id)
	} else {
		s.relate(spdxImage, common.TypeRelationshipContains, id)
	}
	return out
}

// collectAdvisories refers to the vulnerabilities that count, in the way of SPDX
// 2.3, annex K.1.
func (s *spdxBill) collectAdvisories() {
	s.advisories = map[string][]*v2_3.PackageExternalReference{}
	for i := range s.Findings {
		f := &s.Findings[i]
		if f.Kind == KindEndOfLife || f.Suppressed != nil {
			continue
		}
		about := Safe(f.ID) + ", " + severityWord(f.Severity, len("critical"))
		if f.FixedVersion != "" {
			about += ", fixed in " + Safe(f.FixedVersion)
		}
		s.advisories[f.PackageID] = append(s.advisories[f.PackageID], &v2_3.PackageExternalReference{
			Category: common.CategorySecurity, RefType: common.TypeSecurityAdvisory, Locator: vulnerabilitySource(f.ID).URL, ExternalRefComment: spdxLine(about),
		})
	}
}

// sourceText says what a package was built from.
func sourceText(p *Package) string {
	if p.SourceName == "" {
		return ""
	}
	return strings.TrimSpace("built from the source package " + Safe(p.SourceName) + " " + Safe(p.SourceVersion))
}

// withLocations adds where a package was found, which CycloneDX has fields for.
func withLocations(p *Package, about properties) properties {
	for i := range p.Locations {
		about.add(sbom.Location, p.Locations[i].Path)
	}
	return about
}

// text is the properties as lines.
func (p properties) text() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].name + ": " + spdxLine(p[i].value)
	}
	return strings.Join(lines, "\n")
}

// maxLine is how much of a text is written: readers of tags and values have
// bounds of their own for a line.
const maxLine = 8 << 10

// spdxLine is a Safe text on one line that is no markup in the format of tags and
// values.
func spdxLine(s string) string {
	s = strings.TrimSpace(cutMiddle(Safe(s), maxLine))
	return strings.NewReplacer("<text>", "<text >", "</text>", "</text >").Replace(s)
}

// spdxName is a name that can stand in an address.
func spdxName(s string) string {
	return strings.Trim(notInID.ReplaceAllString(Safe(s), "-"), "-")
}
