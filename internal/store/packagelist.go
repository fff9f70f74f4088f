package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"strata/internal/advisory"
	"strata/internal/inventory"
)

// An ImagePackageRow is a package version in an image.
type ImagePackageRow struct {
	PackageID int64  `json:"package_id"`
	Type      string `json:"type"`
	Name      string `json:"name"`
	Version   string `json:"version"`
	PURL      string `json:"purl"`
	Ecosystem string `json:"ecosystem,omitempty"`
	License   string `json:"license,omitempty"`
	// Layer introduced it; State is what became of it, by StateLayer (-1 while present).
	Layer      int             `json:"layer"`
	State      inventory.State `json:"state"`
	StateLayer int             `json:"state_layer"`
	// Owned tells that its files belong to a package of the distribution.
	Owned bool `json:"owned,omitempty"`
	// Findings that are open, set aside or not.
	Findings int `json:"findings"`
}

// imageHeld is the part of a query that gives all package versions of images, as
// (image, position, package, owned, license, state, state_position): those present, and
// those that a layer hid. The images are those of a condition on il.image.
func imageHeld(condition string) string {
	return `SELECT il.image AS image, il.position AS position, sp.package AS package, sp.owned AS owned, sp.license AS license, 'present' AS state, -1 AS state_position
		FROM image_layers il JOIN segment_packages sp ON sp.segment = il.segment
		WHERE ` + condition + ` AND NOT EXISTS (SELECT 1 FROM image_layers h JOIN segment_hidden sh ON sh.segment = h.segment
			WHERE h.image = il.image AND h.position > il.position AND sh.package = sp.package AND sh.owned = sp.owned AND sh.from_position = il.position AND NOT sh.partly)
		UNION ALL
		SELECT il.image, sh.from_position, sh.package, sh.owned, sp.license, sh.state, il.position
		FROM image_layers il JOIN segment_hidden sh ON sh.segment = il.segment
		JOIN image_layers o ON o.image = il.image AND o.position = sh.from_position
		JOIN segment_packages sp ON sp.segment = o.segment AND sp.package = sh.package AND sp.owned = sh.owned
		WHERE ` + condition
}

// ImagePackages lists the packages of an image by layer, type and name.
func (d *DB) ImagePackages(ctx context.Context, id int64) ([]ImagePackageRow, error) {
	in := `il.image = ` + strconv.FormatInt(id, 10)
	rows, err := d.db.QueryContext(ctx, `SELECT p.id, p.type, p.name, p.version, p.purl, p.ecosystem, COALESCE(l.expression, ''), held.position, held.state, held.state_position, held.owned,
			(SELECT COUNT(*) FROM findings f WHERE f.package = p.id AND f.closed_at IS NULL)
		FROM (`+imageHeld(in)+`) held JOIN packages p ON p.id = held.package LEFT JOIN licenses l ON l.id = held.license
		ORDER BY held.position, p.type, p.name, p.version, p.id, held.state_position`)
	if err != nil {
		return nil, fmt.Errorf("packages of image %d: %w", id, err)
	}
	defer rows.Close()
	out := []ImagePackageRow{}
	for rows.Next() {
		var r ImagePackageRow
		if err := rows.Scan(&r.PackageID, &r.Type, &r.Name, &r.Version, &r.PURL, &r.Ecosystem, &r.License, &r.Layer, &r.State, &r.StateLayer, &r.Owned, &r.Findings); err != nil {
			return nil, fmt.Errorf("packages of image %d: %w", id, err)
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// A PackageRow is a package version, wherever it is.
type PackageRow struct {
	ID        int64  `json:"id"`
	Type      string `json:"type"`
	Name      string `json:"name"`
	Version   string `json:"version"`
	PURL      string `json:"purl"`
	Ecosystem string `json:"ecosystem,omitempty"`
	// Findings that are open.
	Findings int `json:"findings"`
	// Images that have it, present or not.
	Images int `json:"images"`
}

// A PackageKey is where a page of packages ends.
type PackageKey struct {
	Name string `json:"n"`
	Type string `json:"t"`
	ID   int64  `json:"i"`
}

// A PackageQuery asks for package versions. The zero value, but for the limit, asks for all.
type PackageQuery struct {
	// Prefix is what the name begins with, Text a part of it, both in any case.
	Prefix, Text string
	// Type as in a purl.
	Type string
	// After is where the page before ended.
	After *PackageKey
	Limit int
}

// PackageVersions lists package versions by name and type; one more than the limit when there
// are more.
func (d *DB) PackageVersions(ctx context.Context, q PackageQuery) ([]PackageRow, error) {
	w := &where{}
	if q.Prefix != "" {
		w.add(`LOWER(p.name) LIKE ? ESCAPE '\'`, strings.ToLower(likeEscape(q.Prefix))+"%")
	}
	if q.Text != "" {
		w.add(`LOWER(p.name) LIKE ? ESCAPE '\'`, likePart(q.Text))
	}
	if q.Type != "" {
		w.add(`p.type = ?`, q.Type)
	}
	if q.After != nil {
		w.add(`(p.name, p.type, p.id) > (?, ?, ?)`, q.After.Name, q.After.Type, q.After.ID)
	}
	rows, err := d.db.QueryContext(ctx, `SELECT p.id, p.type, p.name, p.version, p.purl, p.ecosystem, (SELECT COUNT(*) FROM findings f WHERE f.package = p.id AND f.closed_at IS NULL),
			(SELECT COUNT(DISTINCT il.image) FROM segment_packages sp JOIN image_layers il ON il.segment = sp.segment WHERE sp.package = p.id)
		FROM packages p WHERE `+w.String()+` ORDER BY p.name, p.type, p.id LIMIT `+strconv.Itoa(q.Limit+1), w.args...)
	if err != nil {
		return nil, fmt.Errorf("packages: %w", err)
	}
	defer rows.Close()
	var out []PackageRow
	for rows.Next() {
		var r PackageRow
		if err := rows.Scan(&r.ID, &r.Type, &r.Name, &r.Version, &r.PURL, &r.Ecosystem, &r.Findings, &r.Images); err != nil {
			return nil, fmt.Errorf("packages: %w", err)
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// A LicenseRow is a licence expression, with how many package versions have it.
type LicenseRow struct {
	ID         int64  `json:"id"`
	Expression string `json:"expression"`
	Class      string `json:"class"`
	Packages   int    `json:"packages"`
}

// A LicenseQuery asks for licences. The zero value, but for the limit, asks for all.
type LicenseQuery struct {
	Class string
	// Text is a part of the expression, in any case.
	Text string
	// After is the expression of the last one of the page before.
	After string
	Limit int
}

// Licenses lists the licences by expression; one more than the limit when there are more.
func (d *DB) Licenses(ctx context.Context, q LicenseQuery) ([]LicenseRow, error) {
	w := &where{}
	if q.Class != "" {
		w.add(`l.class = ?`, q.Class)
	}
	if q.Text != "" {
		w.add(`LOWER(l.expression) LIKE ? ESCAPE '\'`, likePart(q.Text))
	}
	if q.After != "" {
		w.add(`l.expression > ?`, q.After)
	}
	rows, err := d.db.QueryContext(ctx, `SELECT l.id, l.expression, l.class, (SELECT COUNT(DISTINCT sp.package) FROM segment_packages sp WHERE sp.license = l.id)
		FROM licenses l WHERE `+w.String()+` ORDER BY l.expression LIMIT `+strconv.Itoa(q.Limit+1), w.args...)
	if err != nil {
		return nil, fmt.Errorf("licences: %w", err)
	}
	defer rows.Close()
	var out []LicenseRow
	for rows.Next() {
		var r LicenseRow
		if err := rows.Scan(&r.ID, &r.Expression, &r.Class, &r.Packages); err != nil {
			return nil, fmt.Errorf("licences: %w", err)
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// packagesNamed selects the ids of the packages that have one of the names, as their
// ecosystems compare these: Flask is flask on PyPI. The marks are for the values.
func packagesNamed(names []string) (query string, values []any) {
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", ")
	query, values = `SELECT id FROM packages WHERE name IN (`+marks+`)`, anys(names)
	for _, ecosystem := range advisory.Normalizing() {
		for _, name := range names {
			values = append(values, advisory.NormalizeName(ecosystem, name))
		}
		// What is of another ecosystem and known to its advisories, too, has another name.
		query += ` UNION ALL SELECT n.id FROM package_keys k JOIN packages n ON n.id = k.package AND n.ecosystem = k.ecosystem WHERE k.ecosystem = '` + ecosystem + `' AND k.name IN (` + marks + `)`
	}
	return query, values
}
