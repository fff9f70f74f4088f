// Package match holds an image's inventory against the advisories and gives the
// findings: which vulnerability is in which package. It also says what could not
// be told: packages of ecosystems and releases without advisories, and versions
// that can't be compared.
//
// Packages of a distribution are matched by what the distribution says of them,
// language packages by what their ecosystem says. A language package whose files
// belong to a distribution's package is set aside, since the distribution
// patches it.
package match

import (
	"context"
	"fmt"
	"time"

	"strata/internal/advisory"
	"strata/internal/inventory"
)

// Advisories is a database of advisories.
type Advisories interface {
	// Affecting gives all that advisories say of the packages.
	Affecting(ctx context.Context, keys []advisory.Key) ([]advisory.Entry, error)
	// Facts gives what is known of advisories by their ids.
	Facts(ctx context.Context, ids []string) ([]advisory.Facts, error)
	// Coverage lists the ecosystems, with release, that have advisories.
	Coverage(ctx context.Context) ([]advisory.Coverage, error)
}

// Options of Find. The zero value is useful.
type Options struct {
	// Now decides what is at its end of life; time.Now by default.
	Now func() time.Time
	// Upgrades asks for Result.Upgrades, too. Without, it stays empty.
	Upgrades bool
}

// Status of a vulnerability in a package, in the words of VEX.
type Status string

// The statuses. Find gives Affected only; the others come from VEX documents.
const (
	Affected           Status = "affected"
	NotAffected        Status = "not_affected"
	Fixed              Status = "fixed"
	UnderInvestigation Status = "under_investigation"
)

// DistroOwned is Suppression.By of language packages and programs whose files
// belong to a package of the distribution.
const DistroOwned = "distro-owned"

// A Suppression tells why a finding doesn't count.
type Suppression struct {
	// By is "distro-owned" or "not-run"; policies add "waiver" and "vex".
	By string
	// Reason is a sentence for the reader.
	Reason string
}

// A Finding is one vulnerability in one package of the image.
type Finding struct {
	// ID is the canonical id of the vulnerability: a CVE number where it has one.
	ID string
	// Aliases are all other ids that databases have given it, sorted.
	Aliases []string
	// Advisories are the records that say so, sorted.
	Advisories []string
	// Package is the index in the image's Packages, PackageID its ID.
	Package   int
	PackageID string

	Severity   advisory.Severity
	CVSS       advisory.CVSS
	KEV        bool
	Ransomware bool
	EPSS       float64
	// FixedVersion is the smallest version that no advisory calls affected;
	// empty when none is known.
	FixedVersion string
	// FixedVersions are the smallest such versions of each branch of releases
	// (advisory.Version.Branch), in order: the first is FixedVersion.
	FixedVersions []string
	Status        Status
	// Layer, State and StateLayer are those of the package.
	Layer      int
	State      inventory.State
	StateLayer int
	// Suppressed is nil for a finding that counts.
	Suppressed *Suppression

	// Summary is one line; may be empty.
	Summary             string
	Published, Modified time.Time
	References          []string
}

// A Result is all that matching one image tells.
type Result struct {
	// Findings are sorted: worst first, then by id and package.
	Findings []Finding
	Distro   DistroStatus
	// Ended is what is past its end of life, the distribution first, then in the
	// order of packages.
	Ended []Ended
	// Coverage has one entry for each ecosystem that packages are of, sorted.
	Coverage []Coverage
	// Starter tells that nothing but the small set of advisories that comes with
	// Strata was used for some of the packages: most flaws are not in it.
	Starter bool
	// Problems name what was not, or not well, matched.
	Problems []inventory.Problem
	// Upgrades are the least newer versions of packages with findings that are
	// rid of as many as can be, sorted by package; with Options.Upgrades only.
	Upgrades []Upgrade

	// synced are the ecosystems, without release, that the database has.
	synced map[string]bool
}

// A Coverage tells what there was to match an ecosystem's packages with.
type Coverage struct {
	// Ecosystem as advisories name it ("npm", "Debian:12"); for packages that no
	// database of advisories is about, their type in parentheses ("(generic)").
	Ecosystem string
	// Packages of it in the image.
	Packages int
	// Advisories of it in the database; 0 means that the packages were not checked.
	Advisories int
	// Synced is when they were last brought up to date, Age how long ago.
	Synced time.Time
	Age    time.Duration
	// Starter tells that they are the small set that comes with Strata.
	Starter bool
}

// analyzerName is what problems of matching are signed with.
const analyzerName = "match"

// Find matches the packages of an image, those in lower layers too.
func Find(ctx context.Context, img *inventory.Image, db Advisories, o Options) (Result, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	r, err := find(ctx, img, db, o)
	if err != nil {
		return Result{}, fmt.Errorf("match: %w", err)
	}
	return r, nil
}

func find(ctx context.Context, img *inventory.Image, db Advisories, o Options) (Result, error) {
	coverage, err := db.Coverage(ctx)
	if err != nil {
		return Result{}, err
	}
	m := &matching{img: img, queries: queriesOf(img.Packages), upgrading: o.Upgrades}
	if err := m.evaluate(ctx, db); err != nil {
		return Result{}, err
	}
	if err := m.join(ctx, db); err != nil {
		return Result{}, err
	}
	r := Result{Findings: m.findings(), Coverage: coverageOf(img.Packages, coverage, o.Now()), synced: map[string]bool{}}
	for _, c := range coverage {
		r.synced[advisory.Base(c.Ecosystem)] = !c.Starter && !c.Synced.IsZero()
	}
	for _, c := range r.Coverage {
		r.Starter = r.Starter || c.Starter
	}
	r.Distro = distroStatus(img, r.Coverage, o.Now())
	r.Ended = ended(img, o.Now())
	if o.Upgrades {
		r.Upgrades = m.upgrades(r.Findings)
	}
	r.Problems = append(coverageProblems(img, &r), m.problems()...)
	return r, nil
}
