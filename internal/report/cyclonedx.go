package report

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"

	"strata/internal/sbom"
)

// CycloneDX writes the packages as a bill of materials in CycloneDX 1.6, JSON. The
// findings of the report are its vulnerabilities: a report without has none.
//
// The image is the component that the document is about, with its layers as
// components of its own; each package tells the layer that introduced it by
// properties "strata:layer:…". The serial number depends on the content alone.
// Source: CycloneDX 1.6 (ECMA-424), JSON and XML reference.
func CycloneDX(w io.Writer, r *Report, o SBOMOptions) error {
	return writeCycloneDX(w, r, o, cyclonedx.BOMFileFormatJSON)
}

// CycloneDXXML writes what CycloneDX does, as XML.
func CycloneDXXML(w io.Writer, r *Report, o SBOMOptions) error {
	return writeCycloneDX(w, r, o, cyclonedx.BOMFileFormatXML)
}

func writeCycloneDX(w io.Writer, r *Report, o SBOMOptions, format cyclonedx.BOMFileFormat) error {
	c := &cycloneDX{bill: newBill(r, o)}
	bom := c.document()
	var buf bytes.Buffer
	// The number is made of the document without number and time.
	if err := encodeCycloneDX(&buf, bom, cyclonedx.BOMFileFormatJSON); err != nil {
		return err
	}
	bom.SerialNumber = "urn:uuid:" + documentID(buf.Bytes())
	if !o.Now.IsZero() {
		bom.Metadata.Timestamp = o.Now.UTC().Format(time.RFC3339)
	}
	buf.Reset()
	if err := encodeCycloneDX(&buf, bom, format); err != nil {
		return err
	}
	_, err := w.Write(buf.Bytes())
	return err
}

func encodeCycloneDX(buf *bytes.Buffer, bom *cyclonedx.BOM, format cyclonedx.BOMFileFormat) error {
	err := cyclonedx.NewBOMEncoder(buf, format).SetPretty(true).SetEscapeHTML(false).Encode(bom)
	if err == nil && format == cyclonedx.BOMFileFormatXML {
		err = buf.WriteByte('\n')
	}
	return err
}

// A cycloneDX makes the parts of the document.
type cycloneDX struct{ *bill }

// imageRef refers to the component that the document is about.
const imageRef = "image"

func (c *cycloneDX) document() *cyclonedx.BOM {
	bom := cyclonedx.NewBOM()
	bom.XMLNS = "http://cyclonedx.org/schema/bom/1.6"
	bom.JSONSchema = "http://cyclonedx.org/schema/bom-1.6.schema.json"
	bom.SpecVersion = cyclonedx.SpecVersion1_6
	bom.Metadata = &cyclonedx.Metadata{
		Lifecycles: &[]cyclonedx.Lifecycle{{Phase: cyclonedx.LifecyclePhasePostBuild}},
		Tools: &cyclonedx.ToolsChoice{Components: &[]cyclonedx.Component{{
			Type: cyclonedx.ComponentTypeApplication, Name: cmp.Or(Safe(c.Tool.Name), "strata"), Version: Safe(c.Tool.Version),
		}}},
		Component:  c.image(),
		Properties: asCycloneDX(c.problems()),
	}
	components := append([]cyclonedx.Component{}, c.distro()...) // never null
	for _, p := range c.packages {
		components = append(components, c.component(p))
	}
	bom.Components = &components
	// Nothing is told of what depends on what, save that the image has it all.
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: imageRef}}
	bom.Compositions = c.compositions()
	bom.Vulnerabilities = c.vulnerabilities()
	return bom
}

func asCycloneDX(p properties) *[]cyclonedx.Property {
	if len(p) == 0 {
		return nil
	}
	out := make([]cyclonedx.Property, len(p))
	for i := range p {
		out[i] = cyclonedx.Property{Name: p[i].name, Value: p[i].value}
	}
	return &out
}

func (c *cycloneDX) image() *cyclonedx.Component {
	image := &cyclonedx.Component{
		BOMRef: imageRef, Type: cyclonedx.ComponentTypeContainer, Name: c.imageName(),
		Version: Safe(cmp.Or(c.Image.Digest, c.Image.ConfigDigest)), PackageURL: imageURL(&c.Image),
		Hashes: sha256Hash(c.Image.Digest), Properties: asCycloneDX(c.ofImage()),
	}
	var layers []cyclonedx.Component
	for i := range c.Layers {
		layers = append(layers, layerComponent(i, &c.Layers[i]))
	}
	if layers != nil {
		image.Components = &layers
	}
	return image
}

func layerComponent(place int, l *Layer) cyclonedx.Component {
	return cyclonedx.Component{
		BOMRef: fmt.Sprintf("layer-%d", place), Type: cyclonedx.ComponentTypeFile,
		Name: fmt.Sprintf("layer %d", l.Index), Version: Safe(l.DiffID), Hashes: sha256Hash(l.Digest), Properties: asCycloneDX(ofLayer(l)),
	}
}

// sha256Hash is the hash that a digest is; nil for another or none.
func sha256Hash(digest string) *[]cyclonedx.Hash {
	if sum := sha256Hex(digest); sum != "" {
		return &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: sum}}
	}
	return nil
}

// sha256Hex is the hexadecimal part of a sha256 digest; empty for another.
func sha256Hex(digest string) string {
	sum, ok := strings.CutPrefix(digest, "sha256:")
	if b, err := hex.DecodeString(sum); !ok || err != nil || len(b) != 32 {
		return ""
	}
	return sum
}

// distro is the operating system as a component; none for an image without.
func (c *cycloneDX) distro() []cyclonedx.Component {
	d := &c.Image.Distro
	if d.ID == "" {
		return nil
	}
	var p properties
	p.add(sbom.DistroName, d.Name)
	p.add(sbom.DistroStatus, string(d.Status))
	return []cyclonedx.Component{{
		BOMRef: "distro", Type: cyclonedx.ComponentTypeOS, Name: Safe(d.ID), Version: Safe(d.Version), Properties: asCycloneDX(p),
	}}
}

func (c *cycloneDX) component(p *Package) cyclonedx.Component {
	group, name := groupAndName(p)
	out := cyclonedx.Component{
		BOMRef: c.refs[p.ID], Type: componentType(p.Type), Group: Safe(group), Name: cmp.Or(Safe(name), "unnamed"), Version: Safe(p.Version),
		PackageURL: purl(p), Licenses: cycloneDXLicenses(p), Properties: asCycloneDX(c.ofPackage(p)), Evidence: occurrences(p),
	}
	if !inFinalImage(p.State) {
		out.Scope = cyclonedx.ScopeExcluded
	}
	return out
}

// componentType: programs that were recognised by themselves are applications.
func componentType(typ string) cyclonedx.ComponentType {
	switch typ {
	case "generic", "bitnami":
		return cyclonedx.ComponentTypeApplication
	}
	return cyclonedx.ComponentTypeLibrary
}

// groupAndName takes names apart where the ecosystem has groups.
func groupAndName(p *Package) (group, name string) {
	separator := ""
	switch p.Type {
	case "maven":
		separator = ":"
	case "npm", "composer":
		separator = "/"
	default:
		return "", p.Name
	}
	if group, name, ok := strings.Cut(p.Name, separator); ok {
		return group, name
	}
	return "", p.Name
}

// occurrences are where the package was found.
func occurrences(p *Package) *cyclonedx.Evidence {
	var found []cyclonedx.EvidenceOccurrence
	for i := range p.Locations {
		if path := Safe(p.Locations[i].Path); path != "" {
			found = append(found, cyclonedx.EvidenceOccurrence{Location: path})
		}
	}
	if found == nil {
		return nil
	}
	return &cyclonedx.Evidence{Occurrences: &found}
}

// cycloneDXLicenses are one expression, or else the names that are declared.
func cycloneDXLicenses(p *Package) *cyclonedx.Licenses {
	if p.License != nil && p.License.Expression != "" {
		acknowledgement := cyclonedx.LicenseAcknowledgementConcluded
		if declared := declaredExpressions(p); len(declared) == 1 && declared[0] == p.License.Expression {
			acknowledgement = cyclonedx.LicenseAcknowledgementDeclared
		}
		return &cyclonedx.Licenses{{Expression: Safe(p.License.Expression), Acknowledgement: &acknowledgement}}
	}
	var names cyclonedx.Licenses
	for _, l := range p.Licenses {
		if name := Safe(l); name != "" {
			names = append(names, cyclonedx.LicenseChoice{License: &cyclonedx.License{Name: name, Acknowledgement: cyclonedx.LicenseAcknowledgementDeclared}})
		}
	}
	if names == nil {
		return nil
	}
	return &names
}

// compositions say whether the list of components can be complete.
func (c *cycloneDX) compositions() *[]cyclonedx.Composition {
	aggregate := cyclonedx.CompositionAggregateUnknown
	if slices.ContainsFunc(c.Problems, aboutContent) {
		aggregate = cyclonedx.CompositionAggregateIncomplete
	}
	return &[]cyclonedx.Composition{{Aggregate: aggregate, Assemblies: &[]cyclonedx.BOMReference{imageRef}}}
}
