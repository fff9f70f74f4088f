package policy

import (
	"time"

	"strata/internal/advisory"
	"strata/internal/inventory"
	"strata/internal/license"
)

// An Input is everything that policies may look at, of one image. VEX, waivers
// and rules that ignore change its findings and packages (Suppressed, Status,
// New); whoever filled it takes these back by position.
type Input struct {
	Image    Image
	Layers   []Layer
	Packages []Package
	Findings []Finding
	// Now is the time of the decision.
	Now time.Time
	// Classes of licences; the zero value is the built-in table.
	Classes license.Classes
	// NoVulnerabilities and NoLicenses tell that these were not looked for, so that
	// rules about them can't be asked.
	NoVulnerabilities, NoLicenses bool
	// Compared tells that a baseline was applied, so that New means something.
	Compared bool

	linked bool
	// spent is what evaluations of rules have cost.
	spent uint64
}

// An Image is what rules see of the image.
type Image struct {
	Reference, Digest, ConfigDigest, Platform string
	// Distro as in os-release(5); its Status is that of the report.
	Distro Distro
	// Created is zero when not known.
	Created time.Time
	Labels  map[string]string
	// Base is nil when not known.
	Base *Base

	layers   []*Layer
	packages []*Package
	findings []*Finding
	name     imageName
	now      time.Time
}

// A Distro is the image's distribution.
type Distro struct{ ID, Version, Name, Status string }

// A Base is the image that the image was built from.
type Base struct {
	Reference, Digest, By string
	Layers                int
	Created               time.Time

	name imageName
	now  time.Time
}

// A Layer is what rules see of a layer.
type Layer struct {
	Index          int
	Digest, DiffID string
	// CreatedBy as recorded, Instruction as a Dockerfile has it.
	CreatedBy, Instruction string
	Size                   int64
	Empty, Base            bool
	Created                time.Time
	// Old tells that the baseline has the layer.
	Old bool

	now time.Time
}

// A Package is what rules see of a package.
type Package struct {
	ID                        string
	Type, Name, Version, Arch string
	PURL, Ecosystem           string
	SourceName, SourceVersion string
	Owner                     string
	State                     inventory.State
	Layer, StateLayer         int
	Paths                     []string
	Licenses                  []string
	License                   *License
	// Suppressed packages are seen by no rule over packages and licences.
	Suppressed *Suppression
	// Old tells that the baseline has a package of this type and name.
	Old bool

	layer, stateLayer *Layer
	findings          []*Finding
	parsed            *purlPattern
}

// A License is what rules see of a package's licence.
type License struct {
	// Expression is an SPDX expression; empty when nothing is known.
	Expression string
	Class      license.Class
	// Paths of the files that tell it.
	Paths []string
	// Suppressed licences are seen by no rule over licences.
	Suppressed *Suppression
	// Old tells that the baseline has it, of a package of this type and name.
	Old bool

	pkg *Package
}

// Finding kinds, as in the report.
const (
	kindVulnerability = "vulnerability"
	kindEndOfLife     = "end_of_life"
)

// A Finding is what rules see of a finding: one vulnerability in one package
// version of one image, or the end of life of something in it.
type Finding struct {
	// Kind is "vulnerability" when empty, or "end_of_life".
	Kind string
	// ID of the vulnerability, its other ids, and PackageID of the package it is
	// in; empty when it is in none.
	ID        string
	Aliases   []string
	PackageID string
	Severity  advisory.Severity
	// Score by CVSS, 0 to 10; Vector is empty when there is none.
	Score  float64
	Vector string
	KEV    bool
	EPSS   float64
	// FixedVersion is empty when there is none.
	FixedVersion string
	// Status in the words of VEX; affected when empty.
	Status Status
	// Layer is that of the package, and State its state. Rules look at present
	// packages only, unless they say otherwise: what a later layer shadowed or
	// removed does not run.
	Layer int
	State inventory.State
	// Suppressed findings were set aside; nil for those that count.
	Suppressed *Suppression
	Summary    string
	// Published is zero when not known.
	Published time.Time
	// Old tells that the baseline has it.
	Old bool

	// byVEX tells that VEX gave the status, with a justification in OpenVEX's words.
	byVEX         bool
	justification string
	pkg           *Package
	layer         *Layer
	now           time.Time
}

// A Suppression tells why a finding, package or licence was set aside.
type Suppression struct {
	// By is one of the report's words: waiver, vex, policy, distro-owned, ...
	By string
	// Reason is a sentence for people.
	Reason string
}

// What sets aside in this package.
const (
	ByWaiver = "waiver"
	ByVEX    = "vex"
	ByPolicy = "policy"
)

// What else makes a Remark, besides ByVEX.
const (
	OfWaivers  = "waivers"
	OfBaseline = "baseline"
)

// A Status is what is known of a vulnerability in a product, in the words of VEX
// (OpenVEX specification, status labels).
type Status string

// The statuses.
const (
	Affected           Status = "affected"
	NotAffected        Status = "not_affected"
	Fixed              Status = "fixed"
	UnderInvestigation Status = "under_investigation"
)

// A Remark is something that the user should know of the files that were applied:
// a waiver that ended, a statement that matched nothing.
type Remark struct {
	// By is what makes it: OfWaivers, OfBaseline or ByVEX.
	By string
	// Message names the file and the way out.
	Message string
}

// active tells whether the finding counts: its package is present, as far as is
// known, and nobody has set it aside.
func (f *Finding) active() bool { return f.Suppressed == nil && present(f.State) }

// counts tells whether the finding is a vulnerability that counts and that the
// baseline does not have.
func (in *Input) counts(f *Finding) bool {
	return f.active() && f.vulnerability() && (!in.Compared || !f.Old)
}

func (f *Finding) vulnerability() bool { return f.Kind != kindEndOfLife }

func present(s inventory.State) bool { return s != inventory.Shadowed && s != inventory.Removed }

// link ties findings to packages and packages to layers, which every step needs.
// It is done once, by the step that comes first.
func (in *Input) link() {
	if in.linked {
		return
	}
	in.linked = true
	in.Image.now, in.Image.name = in.Now, parseImageName(in.Image.Reference)
	if b := in.Image.Base; b != nil {
		b.now, b.name = in.Now, parseImageName(b.Reference)
	}
	layers := make(map[int]*Layer, len(in.Layers))
	for i := range in.Layers {
		l := &in.Layers[i]
		l.now = in.Now
		layers[l.Index] = l
		in.Image.layers = append(in.Image.layers, l)
	}
	nowhere := &Layer{Index: -1, now: in.Now}
	layerOf := func(i int) *Layer {
		if l := layers[i]; l != nil {
			return l
		}
		return nowhere
	}
	packages := make(map[string]*Package, len(in.Packages))
	for i := range in.Packages {
		p := &in.Packages[i]
		p.layer, p.stateLayer = layerOf(p.Layer), layerOf(p.StateLayer)
		if p.License != nil {
			p.License.pkg = p
		}
		packages[p.ID] = p
	}
	none := &Package{Layer: -1, StateLayer: -1, layer: nowhere, stateLayer: nowhere}
	for i := range in.Findings {
		f := &in.Findings[i]
		f.now, f.layer = in.Now, layerOf(f.Layer)
		if f.pkg = packages[f.PackageID]; f.pkg == nil {
			f.pkg = none
			continue
		}
		f.pkg.findings = append(f.pkg.findings, f)
	}
}
