package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"strata/internal/advisory"
)

// An ImageRow is an image in lists.
type ImageRow struct {
	ID       int64  `json:"id"`
	Digest   string `json:"digest"`
	Platform string `json:"platform"`
	Distro   string `json:"distro,omitempty"`
	// Ecosystem is whose advisories the distribution's packages are held against, with the
	// release; empty where nobody has any.
	Ecosystem string `json:"-"`
	// NoData tells that there are no advisories for the release of its distribution: what
	// is wrong with the distribution's packages is not known, and not in the counts.
	NoData bool `json:"no_data,omitempty" doc:"there are no advisories for its distribution: the counts say nothing of the distribution's packages"`
	// Reference is what it was scanned as; for who may not see all, a name in its scope.
	Reference string `json:"reference"`
	Layers    int    `json:"layers"`
	// Size of the layers as they are stored, in bytes.
	Size int64 `json:"size"`
	// Base is the id of the known image that is its base, and BaseLayers how many of
	// the layers are the base's. 0 where who asks may not see the base.
	Base       int64 `json:"base,omitempty"`
	BaseLayers int   `json:"base_layers,omitempty"`
	// Incomplete tells that a layer could not be read.
	Incomplete bool   `json:"incomplete,omitempty"`
	Problems   int    `json:"problems"`
	Counts     Counts `json:"counts"`
	// CreatedAt is when it was built, as it says itself.
	CreatedAt time.Time `json:"created_at,omitzero"`
	ScannedAt time.Time `json:"scanned_at"`
	// Names are REGISTRY/REPOSITORY:TAG, of which there may be more than these.
	Names []string `json:"names"`
}

// Counts are the findings of an image by severity: pairs of vulnerability and package
// version that is present, without those that are set aside.
type Counts struct {
	Critical int `json:"critical"`
	High     int `json:"high"`
	Medium   int `json:"medium"`
	Low      int `json:"low"`
	Unknown  int `json:"unknown"`
}

// An ImageQuery asks for images. The zero value asks for all, the worst first.
type ImageQuery struct {
	// Text is part of the reference, a tag's name or the digest.
	Text string
	// Registry and Repository are names in full; Tag and Platform too.
	Registry, Repository, Tag, Platform string
	// Severity is the least rank of a finding that it must have; 0 asks nothing.
	Severity int
	// Newest sorts by the time of the scan instead.
	Newest bool
	// Untagged asks for images, too, that no tag names now.
	Untagged bool
	// Scope are globs over REGISTRY/REPOSITORY; nil for all.
	Scope []string
	// After is the last row of the page before: nil for the first page.
	After *ImageKey
	// Limit of rows; 50 when it is 0.
	Limit int
}

// An ImageKey is where a page ends.
type ImageKey struct {
	Counts    Counts `json:"c"`
	ScannedAt int64  `json:"s"`
	ID        int64  `json:"i"`
}

// Key is that of a row.
func (r *ImageRow) Key() *ImageKey {
	return &ImageKey{Counts: r.Counts, ScannedAt: r.ScannedAt.UnixMicro(), ID: r.ID}
}

// maxNames is how many names an image has in a list.
const maxNames = 20

const imageColumns = `i.id, i.digest, i.platform, i.distro, i.ecosystem, i.reference, i.layers, i.size, COALESCE(i.base, 0), i.base_layers, i.incomplete, i.problems,
	c.critical, c.high, c.medium, c.low, c.unknown, i.created_at, i.scanned_at`

// imageTables are those of imageColumns.
const imageTables = `images i JOIN image_counts c ON c.image = i.id`

func scanImageRow(scan func(...any) error) (r ImageRow, err error) {
	var created, scanned sql.NullInt64
	err = scan(&r.ID, &r.Digest, &r.Platform, &r.Distro, &r.Ecosystem, &r.Reference, &r.Layers, &r.Size, &r.Base, &r.BaseLayers, &r.Incomplete, &r.Problems,
		&r.Counts.Critical, &r.Counts.High, &r.Counts.Medium, &r.Counts.Low, &r.Counts.Unknown, &created, &scanned)
	r.CreatedAt, r.ScannedAt = fromMicros(created), fromMicros(scanned)
	return r, err
}

// A where collects conditions of a query, and their arguments.
type where struct {
	conditions []string
	args       []any
}

// add adds a condition, in which each ? is one of the values.
func (w *where) add(condition string, values ...any) {
	for _, v := range values {
		w.args = append(w.args, v)
		condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(w.args)), 1)
	}
	w.conditions = append(w.conditions, condition)
}

// clone is a where to which more can be added.
func (w *where) clone() *where {
	return &where{conditions: slices.Clone(w.conditions), args: slices.Clone(w.args)}
}

func (w *where) String() string {
	if len(w.conditions) == 0 {
		return "1 = 1"
	}
	return strings.Join(w.conditions, " AND ")
}

// Images lists images. It gives one row more than the limit when there are more.
func (d *DB) Images(ctx context.Context, q ImageQuery) ([]ImageRow, error) {
	out, err := d.imageRows(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	return out, nil
}

func (d *DB) imageRows(ctx context.Context, q ImageQuery) ([]ImageRow, error) {
	w, err := d.imageConditions(ctx, &q)
	if err != nil || w == nil {
		return nil, err
	}
	order := "c.critical DESC, c.high DESC, c.medium DESC, c.low DESC, c.unknown DESC, c.image DESC"
	if q.Newest {
		order = "i.scanned_at DESC, i.id DESC"
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 50
	}
	rows, err := d.db.QueryContext(ctx, `SELECT `+imageColumns+` FROM `+imageTables+` WHERE `+w.String()+` ORDER BY `+order+` LIMIT `+strconv.Itoa(limit+1), w.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []ImageRow
	for rows.Next() {
		r, err := scanImageRow(rows.Scan)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	return out, d.describeImages(ctx, out, q.Scope)
}

// imageConditions is nil when nothing can be found.
func (d *DB) imageConditions(ctx context.Context, q *ImageQuery) (*where, error) {
	w, inScope := &where{}, ""
	if q.Scope != nil {
		in, err := d.scopeRepositories(ctx, q.Scope)
		if err != nil || in == "" {
			return nil, err
		}
		w.add(inRepositories("i.id", in))
		// Nor is it told by which name outside of the scope an image can be found.
		inScope = ` AND m.repository IN (` + in + `)`
	}
	named := &where{args: w.args}
	if q.Registry != "" {
		named.add(`r.name = ?`, q.Registry)
	}
	if q.Repository != "" {
		named.add(`p.name = ?`, q.Repository)
	}
	if q.Tag != "" {
		named.add(`t.name = ?`, q.Tag)
	}
	w.args = named.args
	if len(named.conditions) > 0 || !q.Untagged {
		kind := "JOIN"
		if q.Untagged && q.Tag == "" {
			kind = "LEFT JOIN"
		}
		w.conditions = append(w.conditions, `EXISTS (SELECT 1 FROM manifest_images mi JOIN manifests m ON m.id = mi.manifest JOIN repositories p ON p.id = m.repository
			JOIN registries r ON r.id = p.registry `+kind+` tags t ON t.manifest = m.id AND t.to_at IS NULL WHERE mi.image = i.id AND `+named.String()+inScope+`)`)
	}
	if q.Platform != "" {
		w.add(`i.platform = ?`, q.Platform)
	}
	if q.Text != "" {
		like := likePart(q.Text)
		reference := `LOWER(i.reference)`
		if q.Scope != nil {
			reference = `''`
		}
		w.add(`(`+reference+` LIKE ? ESCAPE '\' OR i.digest LIKE ? ESCAPE '\' OR EXISTS (SELECT 1 FROM manifest_images mi JOIN manifests m ON m.id = mi.manifest JOIN repositories p ON p.id = m.repository
			JOIN registries r ON r.id = p.registry JOIN tags t ON t.manifest = m.id AND t.to_at IS NULL WHERE mi.image = i.id AND LOWER(r.name || '/' || p.name || ':' || t.name) LIKE ? ESCAPE '\'`+inScope+`))`, like, like, like)
	}
	if q.Severity > 0 {
		sum := []string{"c.low", "c.medium", "c.high", "c.critical"}[min(q.Severity, 4)-1:]
		w.add(strings.Join(sum, " + ") + ` > 0`)
	}
	if k := q.After; k != nil && q.Newest {
		w.add(`(i.scanned_at, i.id) < (?, ?)`, k.ScannedAt, k.ID)
	} else if k != nil {
		w.add(`(c.critical, c.high, c.medium, c.low, c.unknown, c.image) < (?, ?, ?, ?, ?, ?)`, k.Counts.Critical, k.Counts.High, k.Counts.Medium, k.Counts.Low, k.Counts.Unknown, k.ID)
	}
	return w, nil
}

// likePart is the pattern of LIKE for what has a text in it, in lower case.
func likePart(text string) string { return "%" + likeEscape(strings.ToLower(text)) + "%" }

// likeEscape makes a text stand for itself in LIKE with \ as the escape.
func likeEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}

// scopeRepositories are the ids of the repositories that globs name, with commas; empty
// for none. Lists of globs besides must name them too, but for empty ones.
func (d *DB) scopeRepositories(ctx context.Context, scope []string, besides ...[]string) (string, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT p.id, r.name || '/' || p.name FROM repositories p JOIN registries r ON r.id = p.registry`)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var in strings.Builder
	for rows.Next() {
		var id int64
		var name string
		if err := rows.Scan(&id, &name); err != nil {
			return "", err
		}
		if MatchName(scope, name) && !slices.ContainsFunc(besides, func(globs []string) bool { return len(globs) > 0 && !MatchName(globs, name) }) {
			if in.Len() > 0 {
				in.WriteByte(',')
			}
			in.WriteString(strconv.FormatInt(id, 10))
		}
	}
	return in.String(), rows.Err()
}

// joinIDs are ids with commas, for IN.
func joinIDs[T any](rows []T, id func(*T) int64) string {
	var b strings.Builder
	for i := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(id(&rows[i]), 10))
	}
	return b.String()
}

// describeImages adds to images what is not in their rows.
func (d *DB) describeImages(ctx context.Context, images []ImageRow, scope []string) error {
	return errors.Join(d.nameImages(ctx, images, scope), d.markNoData(ctx, images))
}

// markNoData marks the images for whose distribution there are no advisories now, of
// which their reports have a problem.
func (d *DB) markNoData(ctx context.Context, images []ImageRow) error {
	if len(images) == 0 {
		return nil
	}
	covered, err := d.covered(ctx)
	if err != nil {
		return err
	}
	for i := range images {
		r := &images[i]
		r.NoData = r.Distro != "" && !covered[advisory.Canonical(r.Ecosystem)]
	}
	return nil
}

// covered has the ecosystems, with release, for which there are advisories.
func (d *DB) covered(ctx context.Context) (out map[string]bool, err error) {
	a := &Advisories{ask: d.db.QueryContext, close: func() error { return nil }, path: "PostgreSQL"}
	if d.pool == nil { // elsewhere; on PostgreSQL this needs no transaction of its own
		if a, err = d.Advisories(ctx); err != nil {
			return nil, err
		}
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	coverage, err := a.Coverage(ctx)
	out = map[string]bool{}
	for _, c := range coverage {
		out[c.Ecosystem] = c.Advisories > 0 && !c.Synced.IsZero()
	}
	return out, err
}

// nameImages adds the names of the images, and takes out what is not in scope.
func (d *DB) nameImages(ctx context.Context, images []ImageRow, scope []string) error {
	if len(images) == 0 {
		return nil
	}
	byID := map[int64]*ImageRow{}
	for i := range images {
		images[i].Names = []string{}
		byID[images[i].ID] = &images[i]
	}
	in, inScope, repositories := joinIDs(images, func(r *ImageRow) int64 { return r.ID }), "", ""
	if scope != nil {
		var err error
		if repositories, err = d.scopeRepositories(ctx, scope); err != nil {
			return err
		}
		inScope = ` AND m.repository IN (` + cmp.Or(repositories, "NULL") + `)`
	}
	rows, err := d.db.QueryContext(ctx, `SELECT image, repository, tag FROM (
			SELECT mi.image AS image, r.name || '/' || p.name AS repository, t.name AS tag,
				ROW_NUMBER() OVER (PARTITION BY mi.image ORDER BY t.from_at DESC, t.id DESC) AS place
			FROM manifest_images mi JOIN manifests m ON m.id = mi.manifest JOIN repositories p ON p.id = m.repository JOIN registries r ON r.id = p.registry
			JOIN tags t ON t.manifest = m.id AND t.to_at IS NULL WHERE mi.image IN (`+in+`)`+inScope+`) named
		WHERE place <= `+strconv.Itoa(maxNames)+` ORDER BY image, place`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var repository, tag string
		if err := rows.Scan(&id, &repository, &tag); err != nil {
			return err
		}
		byID[id].Names = append(byID[id].Names, repository+":"+tag)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || scope == nil {
		return err
	}
	return d.limitImages(ctx, images, cmp.Or(repositories, "NULL"))
}

// An ImageDetail is an image with all that lists leave out.
type ImageDetail struct {
	ImageRow
	ConfigDigest string            `json:"config_digest"`
	Labels       map[string]string `json:"labels,omitempty"`
	LayerRows    []LayerRow        `json:"layer_list"`
	// Tags that name it, or did.
	Tags []TagRow `json:"tags"`
}

// A LayerRow is a layer of an image.
type LayerRow struct {
	Index  int    `json:"index"`
	DiffID string `json:"diff_id"`
	Digest string `json:"digest,omitempty"`
	// CreatedBy is the instruction that made it.
	CreatedBy string `json:"created_by"`
	// Size as it is stored, in bytes; -1 when not known.
	Size int64 `json:"size"`
	// Base tells that it is one of the base's.
	Base bool `json:"base"`
	// Introduces and Hides are numbers of package versions.
	Introduces int `json:"introduces"`
	Hides      int `json:"hides"`
	// Images that have the layer, this one among them: of those that who asks may see.
	Images int `json:"images"`
}

// A TagRow is the time in which a tag named an image.
type TagRow struct {
	// Repository is REGISTRY/REPOSITORY.
	Repository string    `json:"repository"`
	Owner      string    `json:"owner,omitempty"`
	Name       string    `json:"name"`
	From       time.Time `json:"from"`
	To         time.Time `json:"to,omitzero"`
}

// Image tells all of an image; ErrNotFound for one that isn't there, or not in scope.
func (d *DB) Image(ctx context.Context, id int64, scope []string) (*ImageDetail, error) {
	out, err := d.imageDetail(ctx, id, scope)
	if err != nil {
		return nil, fmt.Errorf("image %d: %w", id, err)
	}
	return out, nil
}

func (d *DB) imageDetail(ctx context.Context, id int64, scope []string) (*ImageDetail, error) {
	row, err := scanImageRow(d.db.QueryRowContext(ctx, `SELECT `+imageColumns+` FROM `+imageTables+` WHERE i.id = $1`, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	out := &ImageDetail{ImageRow: row}
	seen, err := d.tagRows(ctx, out, scope)
	if err != nil {
		return nil, err
	}
	if scope != nil && !seen {
		return nil, ErrNotFound
	}
	one := []ImageRow{row}
	if err := d.describeImages(ctx, one, scope); err != nil {
		return nil, err
	}
	out.ImageRow = one[0]
	m, err := d.loadImage(ctx, id)
	if err != nil {
		return nil, err
	}
	out.ConfigDigest, out.Labels = string(m.ConfigDigest), m.Labels
	for _, l := range m.Layers {
		out.LayerRows = append(out.LayerRows, LayerRow{Index: l.Index, DiffID: string(l.DiffID), Digest: string(l.Digest), CreatedBy: l.CreatedBy, Size: l.Size, Base: l.Index < row.BaseLayers})
	}
	return out, d.countLayers(ctx, id, out.LayerRows, scope)
}

// InImageScope tells whether one of the repositories of an image is in scope.
func (d *DB) InImageScope(ctx context.Context, id int64, scope []string) (bool, error) {
	if scope == nil {
		return true, nil
	}
	seen, err := d.tagRows(ctx, &ImageDetail{ImageRow: ImageRow{ID: id}}, scope)
	if err != nil {
		return false, fmt.Errorf("image %d: %w", id, err)
	}
	return seen, nil
}

// tagRows adds the tags; seen tells that some repository of the image is in scope.
func (d *DB) tagRows(ctx context.Context, out *ImageDetail, scope []string) (seen bool, err error) {
	rows, err := d.db.QueryContext(ctx, `SELECT r.name || '/' || p.name, p.owner, COALESCE(t.name, ''), t.from_at, t.to_at
		FROM manifest_images mi JOIN manifests m ON m.id = mi.manifest JOIN repositories p ON p.id = m.repository JOIN registries r ON r.id = p.registry
		LEFT JOIN tags t ON t.manifest = m.id WHERE mi.image = $1 ORDER BY 1, t.from_at, t.id`, out.ID)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	out.Tags = []TagRow{}
	for rows.Next() {
		var t TagRow
		var from, to sql.NullInt64
		if err := rows.Scan(&t.Repository, &t.Owner, &t.Name, &from, &to); err != nil {
			return false, err
		}
		if !InScope(scope, t.Repository) {
			continue
		}
		seen = true
		if t.Name != "" {
			t.From, t.To = fromMicros(from), fromMicros(to)
			out.Tags = append(out.Tags, t)
		}
	}
	return seen, rows.Err()
}

// countLayers adds the numbers of each layer of an image.
func (d *DB) countLayers(ctx context.Context, id int64, layers []LayerRow, scope []string) error {
	return d.readFleet(ctx, func(f *fleet) error {
		s, err := d.sightOf(ctx, f, scope)
		if err != nil {
			return err
		}
		return d.each(ctx, `SELECT il.position, il.layer, s.packages, (SELECT COUNT(*) FROM segment_hidden sh WHERE sh.segment = il.segment)
			FROM image_layers il JOIN segments s ON s.id = il.segment WHERE il.image = $1`, []any{id}, func(scan func(...any) error) error {
			var position int
			var layer int64
			var l LayerRow
			if err := scan(&position, &layer, &l.Introduces, &l.Hides); err != nil {
				return err
			}
			if position < len(layers) {
				at := &layers[position]
				at.Introduces, at.Hides, at.Images = l.Introduces, l.Hides, s.imagesOf(layer)
			}
			return nil
		})
	})
}
