package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/package-url/packageurl-go"

	"strata/internal/advisory"
	"strata/internal/image"
	"strata/internal/license"
)

// subjectOf resolves what a question is about.
func (d *DB) subjectOf(ctx context.Context, q *ImpactQuery) (*subject, error) {
	asked := 0
	for _, is := range []bool{q.Vulnerability != "", q.PURL != "" || q.Name != "", q.License != "", q.File != "", q.Base != "", q.Layer != ""} {
		if is {
			asked++
		}
	}
	switch {
	case asked != 1:
		return nil, fmt.Errorf("%w: want one of a vulnerability, a package, a licence, a file, a base image and a layer", ErrQuery)
	case q.PURL != "" && (q.Name != "" || q.Type != ""):
		return nil, fmt.Errorf("%w: a purl has the name and type of the package", ErrQuery)
	case q.PURL == "" && q.Name == "" && (q.Range != "" || q.Type != ""):
		return nil, fmt.Errorf("%w: a range and a type are of a package, which is not named", ErrQuery)
	case q.Vulnerability != "":
		return d.vulnerabilitySubject(ctx, q.Vulnerability)
	case q.License != "":
		return d.licenseSubject(ctx, q.License)
	case q.File != "":
		return d.fileSubject(ctx, q.File)
	case q.Base != "" || q.Layer != "":
		return &subject{stacks: true}, nil
	}
	return d.packageSubject(ctx, q)
}

// vulnerabilitySubject are the package versions with an open finding. A name may be
// that of several vulnerabilities (an advisory on more than one): then all are asked
// for, and a package counts with the worst.
func (d *DB) vulnerabilitySubject(ctx context.Context, name string) (*subject, error) {
	s := &subject{packages: map[int64]*ImpactPackage{}}
	var ids []int64
	err := d.each(ctx, `SELECT v.id, v.name, v.summary FROM vulnerability_names n JOIN found_vulnerabilities v ON v.id = n.vulnerability WHERE n.name = $1 ORDER BY v.name`,
		[]any{strings.ToUpper(strings.TrimSpace(name))}, func(scan func(...any) error) error {
			var id int64
			var canonical, summary string
			if err := scan(&id, &canonical, &summary); err != nil {
				return err
			}
			if len(ids) == 0 {
				s.vulnerability, s.name, s.summary = id, canonical, summary
			} else {
				s.name += ", " + canonical
			}
			ids = append(ids, id)
			return nil
		})
	if err != nil {
		return nil, err
	}
	s.unknown = fmt.Errorf("%s: %w: no package that is known has it", name, ErrNotFound)
	if len(ids) == 0 {
		return nil, s.unknown
	}
	err = d.each(ctx, `SELECT f.package, f.severity, f.fixed_version, f.aside, p.type, p.name, p.version, p.purl, p.ecosystem
		FROM findings f JOIN packages p ON p.id = f.package WHERE f.closed_at IS NULL AND f.vulnerability IN (`+inList(ids)+`)`, nil, func(scan func(...any) error) error {
		p := &ImpactPackage{}
		var rank int
		if err := scan(&p.ID, &rank, &p.FixedVersion, &p.Aside, &p.Type, &p.Name, &p.Version, &p.PURL, &p.Ecosystem); err != nil {
			return err
		}
		p.Severity = advisory.SeverityOfRank(rank)
		if old := s.packages[p.ID]; old == nil || old.Aside != "" && p.Aside == "" || (old.Aside == "") == (p.Aside == "") && old.Severity.Rank() < rank {
			s.packages[p.ID] = p
		}
		return nil
	})
	return s, err
}

// licenseSubject are the packages under licences: of a class; else those whose
// expression is the one in question or has it as a term.
func (d *DB) licenseSubject(ctx context.Context, text string) (*subject, error) {
	s := &subject{packages: map[int64]*ImpactPackage{}, licenses: map[int64]bool{}}
	text = strings.TrimSpace(text)
	class, classErr := license.ParseClass(strings.ToLower(text))
	err := d.each(ctx, `SELECT id, expression, class FROM licenses`, nil, func(scan func(...any) error) error {
		var id int64
		var expression, of string
		if err := scan(&id, &expression, &of); err != nil {
			return err
		}
		if classErr == nil && of == string(class) || strings.EqualFold(expression, text) || hasTerm(expression, text) {
			s.licenses[id] = true
		}
		return nil
	})
	s.unknown = fmt.Errorf("licence %s: %w: no package that is known has it", text, ErrNotFound)
	if err == nil && len(s.licenses) == 0 {
		err = s.unknown
	}
	return s, err
}

// hasTerm tells whether one of the licences of an expression is the one in question,
// in any case of letters.
func hasTerm(expression, text string) bool {
	e, err := license.Parse(expression)
	if err != nil {
		return false
	}
	for t := range e.Terms() {
		if strings.EqualFold(t.String(), text) || strings.EqualFold(t.License, text) {
			return true
		}
	}
	return false
}

// packageSubject are the versions of a package that are in a range.
func (d *DB) packageSubject(ctx context.Context, q *ImpactQuery) (*subject, error) {
	names, typ, fits := []string{q.Name}, q.Type, func(string) bool { return true }
	if q.PURL != "" {
		u, err := packageurl.FromString(q.PURL)
		if err != nil {
			return nil, fmt.Errorf("%w: purl %s: %w", ErrQuery, q.PURL, err)
		}
		if u.Version != "" && q.Range != "" {
			return nil, fmt.Errorf("%w: a purl with a version takes no range", ErrQuery)
		}
		names, typ, fits = []string{u.Name, u.Namespace + "/" + u.Name, u.Namespace + ":" + u.Name}, "", func(purl string) bool { return samePackage(&u, purl) }
	}
	bounds, err := parseRange(q.Range)
	if err != nil {
		return nil, err
	}
	s := &subject{packages: map[int64]*ImpactPackage{}, others: map[int64]string{}, uncompared: map[int64]string{}}
	w := &where{}
	named, values := packagesNamed(names)
	w.add(`p.id IN (`+named+`)`, values...)
	if typ != "" {
		w.add(`p.type = ?`, typ)
	}
	err = d.each(ctx, `SELECT p.id, p.type, p.name, p.version, p.purl, p.ecosystem FROM packages p WHERE `+w.String(), w.args, func(scan func(...any) error) error {
		p := &ImpactPackage{}
		if err := scan(&p.ID, &p.Type, &p.Name, &p.Version, &p.PURL, &p.Ecosystem); err != nil {
			return err
		}
		if !fits(p.PURL) {
			return nil
		}
		in, err := inRange(p, bounds)
		switch {
		case err != nil:
			s.uncompared[p.ID] = p.Version
		case in:
			s.packages[p.ID] = p
		default:
			s.others[p.ID] = p.Version
		}
		return nil
	})
	s.unknown = fmt.Errorf("package %s%s: %w", q.PURL, q.Name, ErrNotFound)
	if err == nil && len(s.packages)+len(s.others)+len(s.uncompared) == 0 {
		err = s.unknown
	}
	return s, err
}

// samePackage tells whether a purl is of the package that another one names: with the
// version and the qualifiers that this one has, whatever else.
func samePackage(want *packageurl.PackageURL, purl string) bool {
	have, err := packageurl.FromString(purl)
	if err != nil || have.Type != want.Type || have.Name != want.Name || have.Namespace != want.Namespace && (want.Namespace != "" || !distributionType(want.Type)) ||
		want.Version != "" && want.Version != have.Version || want.Subpath != "" && want.Subpath != have.Subpath {
		return false
	}
	qualifiers := have.Qualifiers.Map()
	for _, q := range want.Qualifiers {
		if qualifiers[q.Key] != q.Value {
			return false
		}
	}
	return true
}

// distributionType tells that the namespace of a purl is a distribution, which may be
// left out to ask for all of them.
func distributionType(typ string) bool {
	return typ == "deb" || typ == "rpm" || typ == "apk" || typ == "alpm"
}

// A versionBound is one part of a range.
type versionBound struct{ operator, version string }

// parseRange reads ">=1.2, <1.4.2"; no operator is =.
func parseRange(text string) (out []versionBound, err error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		b := versionBound{operator: "=", version: part}
		for _, operator := range []string{">=", "<=", "!=", "==", ">", "<", "="} {
			if rest, ok := strings.CutPrefix(part, operator); ok {
				b = versionBound{strings.Replace(operator, "==", "=", 1), strings.TrimSpace(rest)}
				break
			}
		}
		if b.version == "" {
			return nil, fmt.Errorf("%w: range %q: want a list such as >=1.2,<1.4.2", ErrQuery, text)
		}
		if !strings.ContainsAny(b.version, "0123456789") { // some orders take any word, and nothing is in such a range
			return nil, fmt.Errorf("%w: range %q: %q is no version", ErrQuery, text, b.version)
		}
		out = append(out, b)
	}
	return out, nil
}

// inRange tells whether a version is within all bounds, in the order of its ecosystem.
// The error tells that it can't be compared.
func inRange(p *ImpactPackage, bounds []versionBound) (bool, error) {
	if len(bounds) == 0 {
		return true, nil
	}
	ecosystem := p.Ecosystem
	if ecosystem == "" {
		return false, advisory.ErrVersion
	}
	v, err := advisory.InstalledVersion(ecosystem, p.Name, p.Version)
	if err != nil {
		return false, err
	}
	for _, b := range bounds {
		w, err := advisory.InstalledVersion(ecosystem, p.Name, b.version)
		if err != nil {
			return false, err
		}
		c, err := v.Compare(w)
		if err != nil {
			return false, err
		}
		if !map[string]bool{"<": c < 0, "<=": c <= 0, "=": c == 0, "!=": c != 0, ">=": c >= 0, ">": c > 0}[b.operator] {
			return false, nil
		}
	}
	return true, nil
}

// positionsOf finds the layers of a question about a base or a layer.
func (d *DB) positionsOf(ctx context.Context, a *asked, q *ImpactQuery) error {
	if q.Base != "" {
		return d.uponBase(ctx, a, q.Base)
	}
	f := a.fleet
	chainID, isChain := strings.CutPrefix(q.Layer, "chain:")
	table, column, key := "layers", "diff_id", q.Layer
	if isChain {
		table, column, key = "chains", "chain_id", chainID
	}
	var id int64
	err := d.db.QueryRowContext(ctx, `SELECT id FROM `+table+` WHERE `+column+` = $1`, key).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("layer %s: %w", key, ErrNotFound)
	}
	if err != nil {
		return err
	}
	if isChain {
		a.positions = f.uponChain(id)
	} else if at, ok := f.layers.of[id]; ok {
		a.positions = f.byLayer[at]
	}
	if !a.seesAny(a.positions) {
		return fmt.Errorf("layer %s: %w", key, ErrNotFound)
	}
	return nil
}

// uponChain are the topmost layers of stacks with a chain id.
func (f *fleet) uponChain(id int64) (out []fleetPosition) {
	chain, ok := f.chains.of[id]
	if !ok {
		return nil
	}
	for image := range f.at {
		if i := slices.IndexFunc(f.at[image].layers, func(l fleetLayer) bool { return l.chain == chain }); i >= 0 {
			out = append(out, fleetPosition{int32(image), int32(i)})
		}
	}
	return out
}

// uponBase are the images with all layers of a base image, or of one of several with
// the name, but for these themselves.
func (d *DB) uponBase(ctx context.Context, a *asked, name string) error {
	byReference := ` OR reference = $1`
	if a.scope != nil { // as it was scanned may be another's name
		byReference = ""
	}
	named := name
	if repository, tag, _ := image.SplitReference(name); tag == "" || !InScope(a.scope, repository) {
		named = ""
	}
	bases, err := d.ids(ctx, `SELECT id FROM images WHERE digest = $1 OR config_digest = $1`+byReference+` UNION
		SELECT mi.image FROM registries r JOIN repositories p ON p.registry = r.id JOIN tags t ON t.repository = p.id AND t.to_at IS NULL JOIN manifest_images mi ON mi.manifest = t.manifest
		WHERE r.name || '/' || p.name || ':' || t.name = $2`, name, named)
	if err != nil {
		return err
	}
	if id, err := strconv.ParseInt(name, 10, 64); err == nil {
		bases = append(bases, id)
	}
	f, found := a.fleet, false
	for _, id := range bases {
		at, ok := f.images.of[id]
		if !ok || !a.sees(at) || len(f.at[at].layers) == 0 {
			continue
		}
		found = true
		layers := f.at[at].layers
		top := layers[len(layers)-1]
		for _, p := range f.byLayer[top.layer] {
			m := &f.at[p.image]
			if p.image == at || !f.there[p.image] || m.layers[p.position].chain != top.chain || slices.Contains(bases, f.images.ids[p.image]) {
				continue
			}
			a.positions = append(a.positions, p)
		}
	}
	if !found {
		return fmt.Errorf("image %s: %w", name, ErrNotFound)
	}
	return nil
}
