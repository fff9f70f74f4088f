// Package sbom reads bills of materials, CycloneDX and SPDX, as inventories to be
// matched. What an SBOM does not tell stays unknown; those that Strata wrote tell
// of the layers too.
//
// Writing SBOMs is for package report.
package sbom

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/tagvalue"

	"strata/internal/image"
	"strata/internal/inventory"
)

// Bounds of a document. Those of the largest images have some 50 MiB; an object is
// a few bytes in a document, and hundreds in memory.
const (
	maxSize    = 256 << 20 // bytes
	maxObjects = 2 << 20
)

// maxProblems that are listed.
const maxProblems = 200

// A Document is an SBOM as an inventory.
type Document struct {
	// Format is "CycloneDX" or "SPDX".
	Format    string
	Inventory inventory.Image
	// Image has what the document tells of it, and its layers, which only Strata's
	// own documents tell.
	Image image.Image

	layers []*inventory.Layer
	seen   map[string]bool // purls, with layer and state where they are told
}

// Layers are the image's layers as a scan would have them: what is in them is in
// the Inventory alone.
func (d *Document) Layers() []*inventory.Layer { return d.layers }

// Read reads CycloneDX (JSON or XML) or SPDX 2 (JSON or tag-value), told by content.
// Components that can't be matched, for they have no purl or no version, are
// problems of the inventory; the error is for what is no SBOM.
func Read(r io.Reader) (Document, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return Document{}, err
	}
	if len(b) > maxSize {
		return Document{}, fmt.Errorf("the document has more than %d bytes", maxSize)
	}
	doc, packages, told, err := parse(b)
	if err != nil {
		return Document{}, err
	}
	doc.seen = map[string]bool{}
	doc.apply(told)
	doc.Inventory.Distro = distroOf(packages)
	for _, c := range packages {
		doc.add(c)
	}
	slices.SortFunc(doc.Inventory.Packages, func(a, b inventory.ImagePackage) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.ID, b.ID))
	})
	return doc, nil
}

// A component is what the two formats tell of a package.
type component struct {
	purl, name, version string
	licenses            []string
	os                  bool // it is the operating system
	file                bool // it is a file, a container or anything else that is no package
	// source is the distribution's source package, where not the purl tells it.
	source, sourceVersion string
	// locations are paths in the image, strata what Strata tells besides.
	locations []string
	strata    properties
}

func parse(b []byte) (Document, []component, facts, error) {
	trimmed := bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), " \t\r\n")
	for _, mark := range []string{"{", "<", "PackageName:"} {
		if n := bytes.Count(trimmed, []byte(mark)); n > maxObjects {
			return Document{}, nil, facts{}, fmt.Errorf("the document has %d objects, more than %d", n, maxObjects)
		}
	}
	switch {
	case bytes.HasPrefix(trimmed, []byte("{")):
		return parseJSON(trimmed)
	case bytes.HasPrefix(trimmed, []byte("<")):
		c, told, err := cycloneDX(trimmed, cyclonedx.BOMFileFormatXML)
		return Document{Format: "CycloneDX"}, c, told, err
	case bytes.Contains(trimmed[:min(len(trimmed), 4096)], []byte("SPDXVersion:")):
		c, told, err := spdxTagValue(trimmed)
		return Document{Format: "SPDX"}, c, told, err
	}
	return Document{}, nil, facts{}, errors.New("neither CycloneDX (JSON, XML) nor SPDX (JSON, tag-value)")
}

func parseJSON(b []byte) (Document, []component, facts, error) {
	var kind struct {
		BOMFormat   string `json:"bomFormat"`
		SPDXVersion string `json:"spdxVersion"`
	}
	if err := json.Unmarshal(b, &kind); err != nil {
		return Document{}, nil, facts{}, fmt.Errorf("not JSON: %w", err)
	}
	switch {
	case kind.BOMFormat == "CycloneDX":
		c, told, err := cycloneDX(b, cyclonedx.BOMFileFormatJSON)
		return Document{Format: "CycloneDX"}, c, told, err
	case kind.SPDXVersion != "":
		c, told, err := spdxJSON(b)
		return Document{Format: "SPDX"}, c, told, err
	}
	return Document{}, nil, facts{}, errors.New("JSON, but neither CycloneDX (bomFormat) nor SPDX 2 (spdxVersion)")
}

func cycloneDX(b []byte, format cyclonedx.BOMFileFormat) (out []component, told facts, err error) {
	var bom cyclonedx.BOM
	err = guarded("CycloneDX", func() error {
		return cyclonedx.NewBOMDecoder(bytes.NewReader(b), format).Decode(&bom)
	})
	if err != nil {
		return nil, facts{}, err
	}
	var walk func(list *[]cyclonedx.Component)
	walk = func(list *[]cyclonedx.Component) {
		if list == nil {
			return
		}
		for i := range *list {
			c := &(*list)[i]
			out = append(out, cycloneDXComponent(c))
			walk(c.Components)
		}
	}
	walk(bom.Components)
	return out, cycloneDXFacts(bom.Metadata), nil
}

// cycloneDXFacts are what the component that the document is about tells.
func cycloneDXFacts(m *cyclonedx.Metadata) (told facts) {
	if m == nil {
		return told
	}
	told.problems = cycloneDXProperties(m.Properties)
	if m.Component == nil {
		return told
	}
	told.image = cycloneDXProperties(m.Component.Properties)
	if m.Component.Components != nil {
		for i := range *m.Component.Components {
			told.addLayer(cycloneDXProperties((*m.Component.Components)[i].Properties))
		}
	}
	return told
}

func cycloneDXComponent(c *cyclonedx.Component) component {
	out := component{purl: c.PackageURL, name: c.Name, version: c.Version, licenses: cycloneDXLicenses(c)}
	switch c.Type {
	case cyclonedx.ComponentTypeOS:
		out.os = true
	case cyclonedx.ComponentTypeLibrary, cyclonedx.ComponentTypeApplication, cyclonedx.ComponentTypeFramework, cyclonedx.ComponentTypePlatform, "":
	default:
		out.file = true
	}
	if c.Properties != nil {
		out.trivySource(*c.Properties)
	}
	out.strata = cycloneDXProperties(c.Properties)
	if c.Evidence != nil && c.Evidence.Occurrences != nil {
		for _, o := range *c.Evidence.Occurrences {
			out.locations = append(out.locations, o.Location)
		}
	}
	return out
}

// trivySource takes the source package from where Trivy writes it.
func (c *component) trivySource(properties []cyclonedx.Property) {
	var version, release, epoch string
	for _, p := range properties {
		switch p.Name {
		case "aquasecurity:trivy:SrcName":
			c.source = p.Value
		case "aquasecurity:trivy:SrcVersion":
			version = p.Value
		case "aquasecurity:trivy:SrcRelease":
			release = "-" + p.Value
		case "aquasecurity:trivy:SrcEpoch":
			epoch = p.Value + ":"
		}
	}
	if version != "" {
		c.sourceVersion = epoch + version + release
	}
}

func cycloneDXLicenses(c *cyclonedx.Component) (out []string) {
	if c.Licenses == nil {
		return nil
	}
	for _, l := range *c.Licenses {
		switch {
		case l.Expression != "":
			out = append(out, l.Expression)
		case l.License != nil:
			out = append(out, cmp.Or(l.License.ID, l.License.Name))
		}
	}
	return out
}

// guarded makes an error of a library's panic on hostile input.
func guarded(format string, read func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%s: reader panicked: %v", format, v)
		}
	}()
	if err := read(); err != nil {
		return fmt.Errorf("%s: %w", format, err)
	}
	return nil
}

func spdxJSON(b []byte) ([]component, facts, error) {
	return spdxDocument(func() (*spdx.Document, error) { return spdxjson.Read(bytes.NewReader(b)) })
}

func spdxTagValue(b []byte) ([]component, facts, error) {
	return spdxDocument(func() (*spdx.Document, error) { return tagvalue.Read(bytes.NewReader(b)) })
}

func spdxDocument(read func() (*spdx.Document, error)) (out []component, told facts, err error) {
	err = guarded("SPDX", func() error {
		doc, err := read()
		if err != nil {
			return err
		}
		told.problems = commentProperties(doc.DocumentComment)
		for _, p := range doc.Packages {
			c := spdxComponent(p)
			switch p.PrimaryPackagePurpose {
			case "CONTAINER":
				if len(told.image) == 0 {
					told.image = c.strata
				}
			case "ARCHIVE":
				told.addLayer(c.strata)
			}
			out = append(out, c)
		}
		return nil
	})
	return out, told, err
}

func spdxComponent(p *spdx.Package) component {
	c := component{name: p.PackageName, version: p.PackageVersion, licenses: spdxLicenses(p.PackageLicenseDeclared, p.PackageLicenseConcluded)}
	switch p.PrimaryPackagePurpose {
	case "OPERATING-SYSTEM":
		c.os = true
	case "FILE", "CONTAINER", "DEVICE", "SOURCE", "ARCHIVE":
		c.file = true
	}
	for _, ref := range p.PackageExternalReferences {
		if ref.RefType == "purl" {
			c.purl = ref.Locator
		}
	}
	c.strata = commentProperties(p.PackageComment)
	c.locations = c.strata[Location]
	return c
}

// spdxLicenses is the first of the licences that says something.
func spdxLicenses(licenses ...string) []string {
	for _, l := range licenses {
		if l != "" && l != "NOASSERTION" && l != "NONE" {
			return []string{l}
		}
	}
	return nil
}

// ecosystems are OSV's names by purl type.
var ecosystems = map[string]string{
	"npm": "npm", "pypi": "PyPI", "maven": "Maven", "golang": "Go", "cargo": "crates.io", "gem": "RubyGems",
	"composer": "Packagist", "nuget": "NuGet", "hex": "Hex", "pub": "Pub", "conan": "ConanCenter",
	"swift": "SwiftURL", "cran": "CRAN", "hackage": "Hackage", "bitnami": "Bitnami", "julia": "Julia",
}

func (d *Document) add(c component) {
	if c.os || c.purl == "" {
		if !c.os && !c.file && c.name != "" && c.version != "" {
			d.problem("component %q %q has no purl: it can't be matched", c.name, c.version)
		}
		return
	}
	u, err := packageurl.FromString(c.purl)
	if err != nil {
		d.problem("component %q: purl %q: %v", c.name, c.purl, err)
		return
	}
	if u.Type == "oci" || u.Type == "docker" {
		return // the image itself
	}
	key := c.purl
	if c.strata[LayerIndex] != nil {
		key += "\x00" + c.strata.first(LayerIndex) + "\x00" + c.strata.first(State)
	}
	if d.seen[key] {
		return
	}
	d.seen[key] = true
	p := inventory.ImagePackage{
		Package: packageOf(u, c), PURL: c.purl, State: inventory.Present, StateLayer: -1,
	}
	if p.Version == "" {
		d.problem("component %q: purl %q has no version: it can't be matched", c.name, c.purl)
		return
	}
	if p.Distribution() {
		p.Ecosystem, _ = d.packageDistro(u).Ecosystem()
	}
	d.place(&p, c)
	sum := sha256.Sum256([]byte(key))
	p.ID = hex.EncodeToString(sum[:8])
	d.Inventory.Packages = append(d.Inventory.Packages, p)
}

func (d *Document) problem(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	switch n := len(d.Inventory.Problems); {
	case n > maxProblems:
		return
	case n == maxProblems:
		message = fmt.Sprintf("more than %d components can't be matched; the rest is not listed", maxProblems)
	}
	d.Inventory.Problems = append(d.Inventory.Problems, inventory.Problem{Layer: -1, Analyzer: "sbom", Message: message})
}
