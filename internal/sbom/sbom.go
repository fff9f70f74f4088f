// Package sbom reads bills of materials that others have written, CycloneDX and
// SPDX, as inventories to be matched. What an SBOM does not tell, such as layers
// and paths, stays unknown.
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
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/tagvalue"

	"strata/internal/inventory"
)

// maxSize of a document in bytes; those of the largest images have some 50 MiB.
const maxSize = 512 << 20

// A Document is an SBOM as an inventory.
type Document struct {
	// Format is "CycloneDX" or "SPDX".
	Format    string
	Inventory inventory.Image

	seen map[string]bool // ids of packages
}

// Read reads CycloneDX (JSON or XML) or SPDX (JSON or tag-value), told by content.
func Read(r io.Reader) (Document, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return Document{}, err
	}
	if len(b) > maxSize {
		return Document{}, fmt.Errorf("the document has more than %d bytes", maxSize)
	}
	doc, packages, err := parse(b)
	if err != nil {
		return Document{}, err
	}
	doc.seen = map[string]bool{}
	doc.Inventory.Distro = doc.distro(packages)
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
}

func parse(b []byte) (Document, []component, error) {
	trimmed := bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case bytes.HasPrefix(trimmed, []byte("{")):
		return parseJSON(trimmed)
	case bytes.HasPrefix(trimmed, []byte("<")):
		c, err := cycloneDX(trimmed, cyclonedx.BOMFileFormatXML)
		return Document{Format: "CycloneDX"}, c, err
	case bytes.Contains(trimmed[:min(len(trimmed), 4096)], []byte("SPDXVersion:")):
		c, err := spdxTagValue(trimmed)
		return Document{Format: "SPDX"}, c, err
	}
	return Document{}, nil, errors.New("neither CycloneDX (JSON, XML) nor SPDX (JSON, tag-value)")
}

func parseJSON(b []byte) (Document, []component, error) {
	var kind struct {
		BOMFormat   string `json:"bomFormat"`
		SPDXVersion string `json:"spdxVersion"`
	}
	if err := json.Unmarshal(b, &kind); err != nil {
		return Document{}, nil, fmt.Errorf("not JSON: %w", err)
	}
	switch {
	case kind.BOMFormat == "CycloneDX":
		c, err := cycloneDX(b, cyclonedx.BOMFileFormatJSON)
		return Document{Format: "CycloneDX"}, c, err
	case kind.SPDXVersion != "":
		c, err := spdxJSON(b)
		return Document{Format: "SPDX"}, c, err
	}
	return Document{}, nil, errors.New("JSON, but neither CycloneDX (bomFormat) nor SPDX 2 (spdxVersion)")
}

func cycloneDX(b []byte, format cyclonedx.BOMFileFormat) (out []component, err error) {
	var bom cyclonedx.BOM
	err = guarded("CycloneDX", func() error {
		return cyclonedx.NewBOMDecoder(bytes.NewReader(b), format).Decode(&bom)
	})
	if err != nil {
		return nil, err
	}
	var walk func(list *[]cyclonedx.Component)
	walk = func(list *[]cyclonedx.Component) {
		if list == nil {
			return
		}
		for i := range *list {
			c := &(*list)[i]
			out = append(out, component{
				purl: c.PackageURL, name: c.Name, version: c.Version, licenses: cycloneDXLicenses(c),
				os: c.Type == cyclonedx.ComponentTypeOS,
			})
			walk(c.Components)
		}
	}
	walk(bom.Components)
	return out, nil
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

func spdxJSON(b []byte) ([]component, error) {
	return spdxDocument(func() (*spdx.Document, error) { return spdxjson.Read(bytes.NewReader(b)) })
}

func spdxTagValue(b []byte) ([]component, error) {
	return spdxDocument(func() (*spdx.Document, error) { return tagvalue.Read(bytes.NewReader(b)) })
}

func spdxDocument(read func() (*spdx.Document, error)) (out []component, err error) {
	err = guarded("SPDX", func() error {
		doc, err := read()
		if err != nil {
			return err
		}
		for _, p := range doc.Packages {
			c := component{name: p.PackageName, version: p.PackageVersion, licenses: spdxLicenses(p.PackageLicenseDeclared)}
			c.os = p.PrimaryPackagePurpose == "OPERATING-SYSTEM"
			for _, ref := range p.PackageExternalReferences {
				if ref.RefType == "purl" {
					c.purl = ref.Locator
				}
			}
			out = append(out, c)
		}
		return nil
	})
	return out, err
}

func spdxLicenses(l string) []string {
	if l == "" || l == "NOASSERTION" || l == "NONE" {
		return nil
	}
	return []string{l}
}

// distro is that of the operating system's component, or else the one that the
// packages' purls name most.
func (*Document) distro(components []component) inventory.Distro {
	count := map[string]int{}
	for _, c := range components {
		if c.os && c.version != "" {
			return inventory.Distro{ID: strings.ToLower(c.name), VersionID: c.version}
		}
		if u, err := packageurl.FromString(c.purl); err == nil {
			count[u.Qualifiers.Map()["distro"]]++
		}
	}
	delete(count, "")
	best := ""
	for d, n := range count {
		if n > count[best] || n == count[best] && d < best {
			best = d
		}
	}
	id, version, _ := strings.Cut(best, "-")
	return inventory.Distro{ID: id, VersionID: version}
}

// ecosystems are OSV's names by purl type.
var ecosystems = map[string]string{
	"npm": "npm", "pypi": "PyPI", "maven": "Maven", "golang": "Go", "cargo": "crates.io", "gem": "RubyGems",
	"composer": "Packagist", "nuget": "NuGet", "hex": "Hex", "pub": "Pub", "conan": "ConanCenter",
	"swift": "SwiftURL", "cran": "CRAN", "hackage": "Hackage", "bitnami": "Bitnami", "julia": "Julia",
}

func (d *Document) add(c component) {
	if c.os || c.purl == "" {
		if !c.os && c.name != "" && c.version != "" {
			d.problem("component %q %q has no purl: it can't be matched", c.name, c.version)
		}
		return
	}
	u, err := packageurl.FromString(c.purl)
	if err != nil {
		d.problem("component %q: purl %q: %v", c.name, c.purl, err)
		return
	}
	p := inventory.ImagePackage{
		Package: packageOf(u), PURL: c.purl, State: inventory.Present, StateLayer: -1,
	}
	p.Licenses = c.licenses
	if p.Distribution() {
		p.Ecosystem, _ = d.Inventory.Distro.Ecosystem()
	}
	sum := sha256.Sum256([]byte(c.purl))
	p.ID = hex.EncodeToString(sum[:8])
	if d.seen[p.ID] {
		return
	}
	d.seen[p.ID] = true
	d.Inventory.Packages = append(d.Inventory.Packages, p)
}

func (d *Document) problem(format string, args ...any) {
	d.Inventory.Problems = append(d.Inventory.Problems, inventory.Problem{Layer: -1, Analyzer: "sbom", Message: fmt.Sprintf(format, args...)})
}

// packageOf turns a purl into a package as the analyzers would name it.
func packageOf(u packageurl.PackageURL) inventory.Package {
	q := u.Qualifiers.Map()
	p := inventory.Package{Type: u.Type, Name: u.Name, Version: u.Version, Ecosystem: ecosystems[u.Type], Arch: q["arch"]}
	switch {
	case u.Type == "maven" && u.Namespace != "":
		p.Name = u.Namespace + ":" + u.Name
	case u.Type == "rpm" && q["epoch"] != "" && q["epoch"] != "0":
		p.Version = q["epoch"] + ":" + u.Version
	case !p.Distribution() && u.Namespace != "":
		p.Name = u.Namespace + "/" + u.Name
	}
	if u.Type == "golang" && u.Name == "stdlib" {
		p.Version = strings.TrimPrefix(p.Version, "go")
	}
	// Syft names the source package so.
	p.SourceName, p.SourceVersion, _ = strings.Cut(q["upstream"], "@")
	return p
}
