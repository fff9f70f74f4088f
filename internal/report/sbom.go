package report

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/package-url/packageurl-go"

	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/sbom"
)

// Formats of bills of materials, as -f takes them.
const (
	FormatCycloneDX    = "cyclonedx"
	FormatCycloneDXXML = "cyclonedx-xml"
	FormatSPDX         = "spdx"
	FormatSPDXTagValue = "spdx-tag-value"
)

// SBOMFormats are the formats that are bills of materials.
func SBOMFormats() []Format {
	return slices.DeleteFunc(Formats(), func(f Format) bool {
		return !slices.Contains([]string{FormatCycloneDX, FormatCycloneDXXML, FormatSPDX, FormatSPDXTagValue}, f.Name)
	})
}

// SBOMOptions are those of the bills of materials. The zero value is useful.
//
// A bill lists what is in the final file system. What a later layer replaced or
// removed still ships, but whoever reads a bill takes what it lists for
// installed, so it is left out unless asked for, and then it is marked. A program
// that a package of the distribution owns is that package, and not listed twice.
type SBOMOptions struct {
	// IncludeRemoved lists packages that a later layer replaced or removed too.
	// Their state is told, and CycloneDX has them with scope "excluded".
	IncludeRemoved bool
	// Now is when the bill is made; the zero time is written as none in CycloneDX,
	// and as the beginning of 1970 in SPDX, which must have one.
	Now time.Time
}

// A bill is what both formats write of a report, in order, with every text fit
// to be written.
type bill struct {
	*Report
	SBOMOptions
	packages []*Package
	// refs are the packages' references in the document, by package id.
	refs map[string]string
	// layers are the places in Layers by index.
	layers map[int]int
}

func newBill(r *Report, o SBOMOptions) *bill {
	b := &bill{Report: r, SBOMOptions: o, refs: map[string]string{}, layers: map[int]int{}}
	for i := range r.Layers {
		b.layers[r.Layers[i].Index] = i
	}
	for i := range r.Packages {
		p := &r.Packages[i]
		if !p.ownersAffair() && (inFinalImage(p.State) || o.IncludeRemoved) {
			b.packages = append(b.packages, p)
		}
	}
	b.nameReferences()
	return b
}

func inFinalImage(s inventory.State) bool {
	return s != inventory.Shadowed && s != inventory.Removed
}

// nameReferences calls each package by its purl; those of one purl, or without
// one, by their id too.
func (b *bill) nameReferences() {
	count := map[string]int{}
	for _, p := range b.packages {
		count[p.PURL]++
	}
	for _, p := range b.packages {
		ref := purl(p)
		if count[p.PURL] > 1 || ref == "" {
			ref += "#" + Safe(p.ID)
		}
		b.refs[p.ID] = ref
	}
}

// purl is that of the package; empty where it is none that a document can have,
// as it may be in a report that was made of a bill of others.
func purl(p *Package) string {
	if !strings.HasPrefix(p.PURL, "pkg:") || strings.ContainsFunc(p.PURL, notInAddress) {
		return ""
	}
	return p.PURL
}

// A property is one of the names above with its value, which is Safe.
type property struct{ name, value string }

type properties []property

// add adds a property that has a value.
func (p *properties) add(name, value string) {
	if value = Safe(value); value != "" {
		*p = append(*p, property{name, value})
	}
}

// ofPackage is what Strata tells of a package.
func (b *bill) ofPackage(p *Package) properties {
	var out properties
	if i, ok := b.layers[p.Layer]; ok {
		l := &b.Layers[i]
		out.add(sbom.LayerIndex, strconv.Itoa(l.Index))
		out.add(sbom.LayerDiffID, l.DiffID)
		out.add(sbom.LayerInstruction, cutEnd(Safe(Instruction(l.CreatedBy)), maxInstruction))
	}
	if inFinalImage(p.State) {
		out.add(sbom.State, string(inventory.Present))
	} else {
		out.add(sbom.State, string(p.State))
		if p.StateLayer >= 0 {
			out.add(sbom.StateLayer, strconv.Itoa(p.StateLayer))
		}
	}
	out.add(sbom.Ecosystem, p.Ecosystem)
	for _, k := range p.KnownAs {
		out.add(sbom.KnownAs, sbom.KnownAsText(k))
	}
	out.add(sbom.SourceName, p.SourceName)
	out.add(sbom.SourceVersion, p.SourceVersion)
	out.add(sbom.Owner, p.Owner)
	if p.License != nil {
		out.add(sbom.LicenseClass, string(p.License.Class))
	}
	return out
}

// ofLayer is what Strata tells of a layer.
func ofLayer(l *Layer) properties {
	var out properties
	out.add(sbom.LayerIndex, strconv.Itoa(l.Index))
	out.add(sbom.LayerDiffID, l.DiffID)
	out.add(sbom.LayerDigest, l.Digest)
	out.add(sbom.LayerInstruction, Instruction(l.CreatedBy))
	if l.Size >= 0 {
		out.add(sbom.LayerSize, strconv.FormatInt(l.Size, 10))
	}
	if l.Base {
		out.add(sbom.LayerBase, "true")
	}
	if l.Empty {
		out.add(sbom.LayerEmpty, "true")
	}
	return out
}

// ofImage is what Strata tells of the image.
func (b *bill) ofImage() properties {
	var out properties
	out.add(sbom.ImageReference, b.Image.Reference)
	out.add(sbom.ImageDigest, b.Image.Digest)
	out.add(sbom.ImageConfigDigest, b.Image.ConfigDigest)
	out.add(sbom.ImagePlatform, b.Image.Platform)
	if base := b.Image.Base; base != nil {
		out.add(sbom.BaseReference, base.Reference)
		out.add(sbom.BaseDigest, base.Digest)
		out.add(sbom.BaseBy, string(base.By))
	}
	return out
}

// aboutContent tells whether a problem is one of reading the image, so that packages
// may be missing: what there were no advisories for is in the bill all the same.
func aboutContent(p Problem) bool { return !isRemark(p) && !aboutAdvisories(p) }

// problems are what could not be analysed or was left out, so that nobody takes
// the bill for complete.
func (b *bill) problems() properties {
	var out properties
	if f := b.Filtered; f != nil && f.Hidden > 0 {
		out.add(sbom.Hidden, strconv.Itoa(f.Hidden))
	}
	for i := range b.Problems {
		p := &b.Problems[i]
		if isRemark(*p) {
			continue // of the verdict, which a bill does not have
		}
		where := Safe(p.Path)
		if p.Layer >= 0 {
			where = strings.TrimSpace(fmt.Sprintf("layer %d %s", p.Layer, where))
		}
		if where != "" {
			where += ": "
		}
		name := sbom.Problem
		if p.Incomplete && aboutContent(*p) {
			name = sbom.Incomplete
		}
		out.add(name, where+cutEnd(Safe(p.Message), maxMessage))
	}
	return out
}

// imageName is what a document calls the image: never empty.
func (b *bill) imageName() string {
	if name := Safe(b.Image.Reference); name != "" {
		return name
	}
	return "image"
}

// imageURL is the image's purl, by the purl type "oci": only an image that is
// named by its repository and has a manifest has one.
func imageURL(img *Image) string {
	repository, tag, ok := repositoryOf(img.Reference)
	if !ok || img.Digest == "" {
		return ""
	}
	var q packageurl.Qualifiers
	if _, arch, ok := strings.Cut(img.Platform, "/"); ok {
		arch, _, _ = strings.Cut(arch, "/")
		q = append(q, packageurl.Qualifier{Key: "arch", Value: arch})
	}
	q = append(q, packageurl.Qualifier{Key: "repository_url", Value: strings.ToLower(repository)})
	if tag != "" {
		q = append(q, packageurl.Qualifier{Key: "tag", Value: tag})
	}
	name := repository[strings.LastIndexByte(repository, '/')+1:]
	return packageurl.NewPackageURL("oci", "", strings.ToLower(name), img.Digest, q, "").ToString()
}

// repositoryOf takes a reference apart; it is not ok for those that name a file.
func repositoryOf(ref string) (repository, tag string, ok bool) {
	if scheme, rest, found := strings.Cut(ref, ":"); found {
		switch scheme {
		case "registry", "docker", "podman", "containerd":
			ref = rest
		case "docker-archive", "oci", "oci-archive", "dir", "sbom":
			return "", "", false
		}
	}
	ref, tag, _ = image.SplitReference(ref)
	// A path to an archive or layout begins with a dot or slash, or ends in ".tar".
	if ref == "" || ref[0] == '.' || ref[0] == '/' || strings.Contains(ref, ".tar") || strings.HasSuffix(ref, "/") {
		return "", "", false
	}
	return ref, tag, true
}

// documentID is a UUID made of a document's content: the same content has the same
// id (RFC 9562, version 8, appendix B.2).
func documentID(content []byte) string {
	sum := sha256.Sum256(content)
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[0:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// declaredExpressions are the SPDX expressions that the package's own metadata
// give, each once.
func declaredExpressions(p *Package) []string {
	if p.License == nil {
		return nil
	}
	var out []string
	for i := range p.License.Evidence {
		e := &p.License.Evidence[i]
		if e.Kind == "declared" && e.Expression != "" && !slices.Contains(out, e.Expression) {
			out = append(out, e.Expression)
		}
	}
	return out
}
