package sbom

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"

	"strata/internal/image"
	"strata/internal/inventory"
)

// Names under which a document tells what the formats have no fields for:
// properties in CycloneDX, lines "name: value" of a package's comment in SPDX.
// Package report writes them.
const (
	LayerIndex       = "strata:layer:index"
	LayerDiffID      = "strata:layer:diff_id"
	LayerDigest      = "strata:layer:digest"
	LayerInstruction = "strata:layer:instruction"
	// LayerSize is in bytes.
	LayerSize = "strata:layer:size"
	// LayerBase and LayerEmpty are "true" or absent.
	LayerBase  = "strata:layer:base"
	LayerEmpty = "strata:layer:empty"
	// State is that of inventory, StateLayer the layer that took the package away.
	State      = "strata:state"
	StateLayer = "strata:state:layer"
	Location   = "strata:location"
	Ecosystem  = "strata:ecosystem"
	// KnownAs is a name by which advisories know the package, as KnownAsText
	// writes it; there may be several.
	KnownAs       = "strata:known_as"
	SourceName    = "strata:source:name"
	SourceVersion = "strata:source:version"
	Owner         = "strata:owner"
	LicenseClass  = "strata:license:class"
	// Those of the image, of its base and of its distribution.
	ImageReference    = "strata:image:reference"
	ImageDigest       = "strata:image:digest"
	ImageConfigDigest = "strata:image:config_digest"
	ImagePlatform     = "strata:image:platform"
	BaseReference     = "strata:image:base:reference"
	BaseDigest        = "strata:image:base:digest"
	BaseBy            = "strata:image:base:by"
	DistroName        = "strata:distro:name"
	DistroStatus      = "strata:distro:status"
	// Problem is something that could not be analysed, Incomplete one that may
	// have left out packages.
	Problem    = "strata:problem"
	Incomplete = "strata:problem:incomplete"
	// Hidden is how many findings that count were left out when the document was
	// written, as was asked for.
	Hidden = "strata:findings:hidden"
	// KEV is "true" of a vulnerability known to be exploited, EPSS a probability.
	KEV  = "strata:kev"
	EPSS = "strata:epss"
)

// maxLayers of an image that a document may tell of.
const maxLayers = 4096

// maxLocations of a package that are kept.
const maxLocations = 1000

// properties are what a document tells under the names above, in order.
type properties map[string][]string

func (p properties) first(name string) string {
	if v := p[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// number is a property that is a number, -1 when it is none.
func (p properties) number(name string) int {
	n, err := strconv.Atoi(p.first(name))
	if err != nil || n < 0 {
		return -1
	}
	return n
}

func cycloneDXProperties(list *[]cyclonedx.Property) properties {
	out := properties{}
	if list != nil {
		for _, p := range *list {
			if strings.HasPrefix(p.Name, "strata:") {
				out[p.Name] = append(out[p.Name], p.Value)
			}
		}
	}
	return out
}

func commentProperties(comment string) properties {
	out := properties{}
	for line := range strings.Lines(comment) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ": ")
		if ok && strings.HasPrefix(name, "strata:") {
			out[name] = append(out[name], value)
		}
	}
	return out
}

// addLayer notes a layer of the image, which others than Strata do not tell of.
func (f *facts) addLayer(p properties) {
	index := p.number(LayerIndex)
	if index < 0 || index >= maxLayers {
		return
	}
	if f.layers == nil {
		f.layers = map[int]properties{}
	}
	f.layers[index] = p
}

// facts are what a document tells besides components.
type facts struct {
	image    properties
	layers   map[int]properties
	problems properties
}

// apply gives the document the image and its layers, as far as they are told of
// without a gap.
func (d *Document) apply(f facts) {
	d.Image = image.Image{Digest: image.Digest(f.image.first(ImageDigest)), ConfigDigest: image.Digest(f.image.first(ImageConfigDigest))}
	if p, err := image.ParsePlatform(f.image.first(ImagePlatform)); err == nil {
		d.Image.Platform = p
	}
	for i, index := range slices.Sorted(maps.Keys(f.layers)) {
		if i != index {
			d.Image.Layers, d.layers = nil, nil
			break
		}
		d.addImageLayer(index, f.layers[index])
	}
	d.Image.Base = baseOf(f, len(d.Image.Layers))
	for _, message := range f.problems[Problem] {
		d.told(message, false)
	}
	for _, message := range f.problems[Incomplete] {
		d.told(message, true)
	}
}

// baseOf is the base image: its layers are the lowest, as far as they are marked.
// It is nil when the document tells of none.
func baseOf(f facts, layers int) *image.Base {
	by := image.BaseEvidence(f.image.first(BaseBy))
	switch by {
	case image.BaseByLayers, image.BaseByAnnotation, image.BaseByHistory:
	default:
		return nil
	}
	b := &image.Base{Reference: f.image.first(BaseReference), Digest: image.Digest(f.image.first(BaseDigest)), By: by}
	for b.Layers < layers && f.layers[b.Layers].first(LayerBase) == "true" {
		b.Layers++
	}
	return b
}

func (d *Document) addImageLayer(index int, p properties) {
	size, err := strconv.ParseInt(p.first(LayerSize), 10, 64)
	if err != nil || size < 0 {
		size = -1
	}
	d.Image.Layers = append(d.Image.Layers, image.Layer{
		Index: index, Digest: image.Digest(p.first(LayerDigest)), DiffID: image.DiffID(p.first(LayerDiffID)),
		Size: size, CreatedBy: p.first(LayerInstruction),
	})
	known := &inventory.Layer{DiffID: image.DiffID(p.first(LayerDiffID)), Entries: 1}
	if p.first(LayerEmpty) == "true" {
		known.Entries = 0
	}
	d.layers = append(d.layers, known)
}

// KnownAsText writes a name by which advisories know a package: ECOSYSTEM/NAME,
// and @VERSION where that is another than the package's.
func KnownAsText(k inventory.KnownAs) string {
	text := k.Ecosystem + "/" + k.Name
	if k.Version != "" {
		text += "@" + k.Version
	}
	return text
}

// maxKnownAs is how many names a package may have.
const maxKnownAs = 10

// knownAs reads what KnownAsText wrote, and leaves out what it didn't.
func knownAs(texts []string) []inventory.KnownAs {
	var out []inventory.KnownAs
	for _, text := range texts[:min(len(texts), maxKnownAs)] {
		ecosystem, name, ok := strings.Cut(strings.ToValidUTF8(text, "\uFFFD"), "/")
		version := ""
		if i := strings.LastIndexByte(name, '@'); i > 0 {
			name, version = name[:i], name[i+1:]
		}
		if ok && ecosystem != "" && name != "" {
			out = append(out, inventory.KnownAs{Ecosystem: ecosystem, Name: name, Version: version})
		}
	}
	return out
}

// told notes a problem that those who made the document had.
func (d *Document) told(message string, incomplete bool) {
	if n := len(d.Inventory.Problems); n < maxProblems {
		d.Inventory.Problems = append(d.Inventory.Problems, inventory.Problem{
			Layer: -1, Analyzer: "sbom", Message: "the document says: " + strings.ToValidUTF8(message, "\uFFFD"), Incomplete: incomplete,
		})
	} else if incomplete {
		d.Inventory.Problems[n-1].Incomplete = true
	}
}

// place gives a package its layer and state, which the document may tell.
func (d *Document) place(p *inventory.ImagePackage, c component) {
	clean := func(name string) string { return strings.ToValidUTF8(c.strata.first(name), "\uFFFD") }
	if layer := c.strata.number(LayerIndex); layer >= 0 && layer < len(d.Image.Layers) {
		p.Layer = layer
	}
	switch state := inventory.State(c.strata.first(State)); state {
	case inventory.Shadowed, inventory.Removed:
		p.State = state
		if by := c.strata.number(StateLayer); by < len(d.Image.Layers) {
			p.StateLayer = by
		}
	}
	if e := clean(Ecosystem); e != "" {
		p.Ecosystem = e
	}
	p.KnownAs = knownAs(c.strata[KnownAs])
	if name := clean(SourceName); name != "" {
		p.SourceName, p.SourceVersion = name, clean(SourceVersion)
	}
	p.Owner = clean(Owner)
	for _, path := range c.locations[:min(len(c.locations), maxLocations)] {
		p.Locations = append(p.Locations, inventory.Location{Path: strings.ToValidUTF8(path, "\uFFFD"), Layer: p.Layer})
	}
}
