// Package remedy plans what to change so that an image has the fewest findings
// after the fewest changes: a newer base image, the instruction of a layer with
// the version to ask for, the packages of a lock file. It reads the Dockerfile
// when there is one, and writes the changes as a diff.
//
// It is pure: advisories were asked by package match, known images come from
// package store, and it changes no file. A plan is over one image; its parts
// are such that plans of many images can be joined by base and by change.
package remedy

import (
	"strata/internal/advisory"
	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/match"
)

// SchemaVersion is that of the plan's JSON form, docs/plan.schema.json.
const SchemaVersion = "1"

// An Input is what a plan is made of.
type Input struct {
	// Image with its Base, where that is known.
	Image     *image.Image
	Inventory *inventory.Image
	// Match of the inventory, with its Upgrades. Suppressed findings are left out
	// of the plan.
	Match *match.Result
	// Candidates are images that may stand in the place of the base.
	Candidates []Candidate
	// Dockerfile that the image was built from; nil without one. Target is the
	// stage that was built, the last for the empty string.
	Dockerfile *Dockerfile
	Target     string
}

// A Candidate is an image that may become the base.
type Candidate struct {
	Image     *image.Image
	Inventory *inventory.Image
	Match     *match.Result
}

// A Plan is an ordered list of changes, and what stays. Arrays are never null in
// its JSON form.
type Plan struct {
	SchemaVersion string `json:"schema_version"`
	// Image that the plan is for.
	Image Subject `json:"image"`
	// Before counts the active findings as the image is, After those that stay when
	// all steps are done.
	Before Counts `json:"before"`
	After  Counts `json:"after"`
	// Steps in the order in which they remove most risk.
	Steps []Step `json:"steps"`
	// Stays are the active findings that no step removes, by package, each with the
	// reason.
	Stays []Stay `json:"stays"`
	// Rebuilds are packages that a later layer replaced or removed and that still
	// ship in the lower one.
	Rebuilds []Rebuild `json:"rebuilds"`
	// Diff changes the Dockerfile, for `patch -p1` and `git apply`; empty without
	// a Dockerfile, or when it stays as it is.
	Diff string `json:"diff,omitempty"`
	// Notes are what the reader should know of the plan as a whole.
	Notes []string `json:"notes"`
	// Incomplete tells that a layer or the advisories could not be had, so that
	// findings may be missing. New leaves it to the caller.
	Incomplete bool `json:"incomplete"`
}

// A Subject names the image.
type Subject struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
	Platform  string `json:"platform"`
	// Base is the reference of the base image; empty when it has no name, or none
	// is known. BaseLayers is how many layers are its.
	Base       string `json:"base"`
	BaseLayers int    `json:"base_layers"`
}

// Counts are numbers of findings by severity.
type Counts struct {
	Critical int `json:"critical"`
	High     int `json:"high"`
	Medium   int `json:"medium"`
	Low      int `json:"low"`
	Unknown  int `json:"unknown"`
}

// Total is the number of all.
func (c Counts) Total() int { return c.Critical + c.High + c.Medium + c.Low + c.Unknown }

// add counts n findings of a severity.
func (c *Counts) add(s advisory.Severity, n int) {
	switch s {
	case advisory.Critical:
		c.Critical += n
	case advisory.High:
		c.High += n
	case advisory.Medium:
		c.Medium += n
	case advisory.Low:
		c.Low += n
	default:
		c.Unknown += n
	}
}

// StepKind tells what a step changes.
type StepKind string

const (
	// StepBase: the base image is taken in a newer version.
	StepBase StepKind = "base"
	// StepInstruction: the instruction of a layer asks for newer packages.
	StepInstruction StepKind = "instruction"
	// StepProject: a file of the project, such as a lock file, does.
	StepProject StepKind = "project"
	// StepUpgrade: a new instruction upgrades packages that lower layers brought.
	StepUpgrade StepKind = "upgrade"
)

// A Step is one change.
type Step struct {
	// Number counts from 1.
	Number int      `json:"number"`
	Kind   StepKind `json:"kind"`
	// Title is the change in one line.
	Title string `json:"title"`
	// Layer is the index of the layer that changes; -1 for the base and for a new
	// instruction.
	Layer int `json:"layer"`
	// Instruction is the layer's as it is, Proposed as it should be: empty when its
	// text stays. For the base they are the references.
	Instruction string `json:"instruction"`
	Proposed    string `json:"proposed"`
	// File and Line are where that stands, with a Dockerfile; else empty and 0.
	File string `json:"file"`
	Line int    `json:"line"`
	// Command does it in the project, where one command can; else empty.
	Command string `json:"command"`
	// Major tells that it leaves a line of releases, so that more may change than
	// the findings.
	Major bool `json:"major"`
	// Changes are the packages, those that remove most risk first. Empty for the
	// base.
	Changes []Change `json:"changes"`
	// Alternatives are other bases, for the base.
	Alternatives []Alternative `json:"alternatives"`
	// Fixes are the findings that the step removes, Brings those that come by it.
	Fixes  []Ref `json:"fixes"`
	Brings []Ref `json:"brings"`
	// Risk is how much is removed by it (Risk), less what comes.
	Risk float64 `json:"risk"`
	// After counts the active findings after this step and those before it.
	After Counts   `json:"after"`
	Notes []string `json:"notes"`
}

// A Change is one package at another version.
type Change struct {
	PackageID string `json:"package_id"`
	// Type is the purl type.
	Type string `json:"type"`
	Name string `json:"name"`
	From string `json:"from"`
	// To is the least version to ask for.
	To string `json:"to"`
	// Major tells that To is of another branch of releases than From. Then InBranch
	// is the best version within the branch, if any helps, and InBranchFixes are the
	// vulnerabilities that it is rid of.
	Major         bool     `json:"major"`
	InBranch      string   `json:"in_branch"`
	InBranchFixes []string `json:"in_branch_fixes"`
	// Named tells that the instruction names the package. Else it came along, and
	// File, when not empty, is the file of the project that decides its version.
	Named bool   `json:"named"`
	File  string `json:"file"`
	// Path is where the package lies in the image.
	Path string `json:"path"`
	// Fixes and Leaves are ids of the package's vulnerabilities, Brings are those
	// that only the new version has.
	Fixes  []string `json:"fixes"`
	Leaves []string `json:"leaves"`
	Brings []string `json:"brings"`

	index int
	risk  float64
	// sourceVersion tells that the package has another version than its source
	// package, of which To is one.
	sourceVersion bool
	// added tells that it was added to an instruction that doesn't name it.
	added bool
	// fixes and leaves are the findings, by their index.
	fixes, leaves []int
}

// An Alternative is another base that has fewer findings, too.
type Alternative struct {
	Reference string  `json:"reference"`
	Major     bool    `json:"major"`
	Risk      float64 `json:"risk"`
	// After counts the findings that such a base would leave in the base's layers.
	After Counts `json:"after"`
}

// A Ref names a finding.
type Ref struct {
	ID       string            `json:"id"`
	Severity advisory.Severity `json:"severity"`
	KEV      bool              `json:"kev"`
	EPSS     float64           `json:"epss"`
	Type     string            `json:"type"`
	Package  string            `json:"package"`
	Version  string            `json:"version"`
}

// A StayReason is why a finding stays.
type StayReason string

const (
	// StayNoFix: no version without it is known.
	StayNoFix StayReason = "no_fix"
	// StayEndOfLife: nobody writes fixes for the distribution's release any more.
	StayEndOfLife StayReason = "end_of_life"
	// StayBase: it comes with the base, and no known base is without it.
	StayBase StayReason = "base"
	// StayNoManager: the image has no package manager to upgrade it with.
	StayNoManager StayReason = "no_package_manager"
	// StayLeft: the version that fixes the others still has it.
	StayLeft StayReason = "left_by_upgrade"
	// StayUnclear: there is a fix, and versions could not be compared.
	StayUnclear StayReason = "unclear"
)

// A Stay is a package with findings that no step removes.
type Stay struct {
	PackageID string     `json:"package_id"`
	Type      string     `json:"type"`
	Name      string     `json:"name"`
	Version   string     `json:"version"`
	Layer     int        `json:"layer"`
	Reason    StayReason `json:"reason"`
	// Text says it for people, with what can be done.
	Text     string `json:"text"`
	Findings []Ref  `json:"findings"`
}

// A Rebuild is a package that still ships in a lower layer.
type Rebuild struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	// Layer holds it, StateLayer replaced or removed it, as State says.
	Layer      int             `json:"layer"`
	StateLayer int             `json:"state_layer"`
	State      inventory.State `json:"state"`
	Findings   []Ref           `json:"findings"`
	// Text is what to do.
	Text string `json:"text"`
}

// Risk weighs a finding, so that plans can be ordered. By severity it is 100 for
// critical, 40 for high, 10 for medium, 1 for low and 5 for unknown; times 1 to
// 5 as the EPSS probability goes from 0 to 1; and 500 more for one that CISA
// knows to be exploited (KEV). The numbers say no more than that one exploited
// flaw outweighs any handful of others, and a critical one several that are
// high: severity alone orders poorly (FIRST, EPSS user guide).
func Risk(severity advisory.Severity, kev bool, epss float64) float64 {
	weight := map[advisory.Severity]float64{advisory.Critical: 100, advisory.High: 40, advisory.Medium: 10, advisory.Low: 1}[severity]
	if weight == 0 {
		weight = 5
	}
	weight *= 1 + 4*min(max(epss, 0), 1)
	if kev {
		weight += 500
	}
	return weight
}

// risk is that of the finding.
func (r *Ref) risk() float64 { return Risk(r.Severity, r.KEV, r.EPSS) }

func risks(refs []Ref) float64 {
	sum := 0.0
	for i := range refs {
		sum += refs[i].risk()
	}
	return sum
}
