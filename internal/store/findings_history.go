package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"strata/internal/advisory"
)

// A PackageFinding is one vulnerability in one package version, as it was rated from
// one time to another.
type PackageFinding struct {
	ID            int64             `json:"id"`
	Vulnerability string            `json:"vulnerability"`
	Package       PackageVersion    `json:"package"`
	Severity      advisory.Severity `json:"severity"`
	// Score is that of CVSS; 0 for none.
	Score float64 `json:"score,omitempty"`
	KEV   bool    `json:"kev"`
	// FixedVersion is empty when no fix is known.
	FixedVersion string   `json:"fixed_version,omitempty"`
	Advisories   []string `json:"advisories"`
	// Suppressed is why it does not count whatever the image is ("not-run"), or empty.
	Suppressed string    `json:"suppressed,omitempty"`
	OpenedAt   time.Time `json:"opened_at"`
	// ClosedAt is nil for one that holds; ClosedReason says why it does not.
	ClosedAt     *time.Time `json:"closed_at,omitempty"`
	ClosedReason string     `json:"closed_reason,omitempty"`
}

// A PackageVersion names a package.
type PackageVersion struct {
	Type      string `json:"type"`
	Ecosystem string `json:"ecosystem,omitempty"`
	Name      string `json:"name"`
	Version   string `json:"version"`
	PURL      string `json:"purl,omitempty"`
}

// findingColumns are those that scanFinding reads, of findings f, packages k and
// found_vulnerabilities v.
const findingColumns = `f.id, v.name, k.type, k.ecosystem, k.name, k.version, k.purl, f.severity, f.score, f.kev, f.fixed_version, f.advisories, f.aside, f.opened_at, f.closed_at, f.closed_reason`

func scanFinding(scan func(...any) error, more ...any) (PackageFinding, error) {
	var f PackageFinding
	var rank int
	var advisories string
	var opened, closed sql.NullInt64
	k := &f.Package
	err := scan(append([]any{&f.ID, &f.Vulnerability, &k.Type, &k.Ecosystem, &k.Name, &k.Version, &k.PURL, &rank, &f.Score, &f.KEV, &f.FixedVersion,
		&advisories, &f.Suppressed, &opened, &closed, &f.ClosedReason}, more...)...)
	f.Severity, f.Advisories, f.OpenedAt = advisory.SeverityOfRank(rank), strings.Fields(advisories), fromMicros(opened)
	if closed.Valid {
		t := fromMicros(closed)
		f.ClosedAt = &t
	}
	return f, err
}

// FindingsAt gives the findings that an image had at a time, the worst first: in the
// package versions that are present, by what was known of these then. What a package
// of the distribution owns is left out, and what a program's file tells of twice is
// given once, as in the counts of the image; Suppressed ones are in. Nothing is known
// of the time before a package version was first matched.
func (d *DB) FindingsAt(ctx context.Context, imageID int64, at time.Time) ([]PackageFinding, error) {
	rows, err := d.db.QueryContext(ctx, `WITH present AS (`+presentIn(strconv.FormatInt(imageID, 10))+`)
		SELECT `+findingColumns+` FROM present p JOIN findings f ON f.package = p.package JOIN packages k ON k.id = f.package JOIN found_vulnerabilities v ON v.id = f.vulnerability
		WHERE f.opened_at <= $1 AND (f.closed_at IS NULL OR f.closed_at > $1) AND NOT EXISTS (
			SELECT 1 FROM image_layers tl JOIN segment_twins t ON t.segment = tl.segment AND t.package = p.package
			JOIN findings o ON o.package = t.twin AND o.vulnerability = f.vulnerability AND o.opened_at <= $1 AND (o.closed_at IS NULL OR o.closed_at > $1) WHERE tl.image = p.image)
		ORDER BY f.severity DESC, f.score DESC, v.name, k.name, k.version, f.id`, at.UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("findings of image %d: %w", imageID, err)
	}
	defer rows.Close()
	var out []PackageFinding
	for rows.Next() {
		f, err := scanFinding(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("findings of image %d: %w", imageID, err)
		}
		out = append(out, f)
	}
	return out, rows.Err()
}
