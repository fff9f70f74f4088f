package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/license"
	"strata/internal/match"
)

// Contents is what a scan found in an image, as PutImage keeps it.
type Contents struct {
	Image     *image.Image
	Inventory *inventory.Image
	// AnalyzerSet that saw its layers.
	AnalyzerSet string
	// Layers are what is in its layers, of which reports are made: what is not kept yet, as it
	// could not be when the layer was read, or was lost with a database, is kept with the image.
	// Those that could not be had are nil; without any, none is looked for.
	Layers []*inventory.Layer
	// Incomplete tells that a layer could not be had.
	Incomplete bool
	// Submitter is the user who says that the image is so; 0 for what the server has read
	// itself. What is submitted is kept beside that, never in its place.
	Submitter int64
	// Claim is what the image was scanned for; nil for none. When another has claimed it
	// since, nothing is written: what that one found may be newer, or more.
	Claim *ClaimedManifest
}

// PutImage keeps what is in an image, and gives its id. All of it is named by
// content, so images with layers in common share rows, and instances may write the
// same at the same time. What the image had before is replaced. Package versions that
// were never seen before are due to be matched (MatchDue); the counts of the image are
// those of the findings of the others. ErrConflict when its claim has passed.
func (d *DB) PutImage(ctx context.Context, c Contents) (id int64, err error) {
	err = d.retryTx(ctx, func() error {
		id, err = d.putContents(ctx, &c)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("image %s: %w", c.Image.Reference, err)
	}
	return id, nil
}

// retryTx does something again when PostgreSQL broke it off in favour of another
// transaction.
func (d *DB) retryTx(ctx context.Context, do func() error) error {
	const attempts = 8
	for i := 1; ; i++ {
		err := do()
		var pg *pgconn.PgError
		if err == nil || i == attempts || !errors.As(err, &pg) || !slices.Contains([]string{"40P01", "40001", "23503"}, pg.Code) {
			return err // https://www.postgresql.org/docs/15/errcodes-appendix.html: deadlock, serialization failure, and what retention deleted between the look and the use
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Duration(rand.Int64N(int64(i) * int64(20*time.Millisecond)))):
		}
	}
}

// imageKey is the digest by which an image is known: some have no manifest.
func imageKey(m *image.Image) string {
	if m.Digest != "" {
		return string(m.Digest)
	}
	return string(m.ConfigDigest)
}

// key is what the image's row is known by.
func (c *Contents) key() string {
	if c.Submitter != 0 {
		return fmt.Sprintf("submitted:%d:%s", c.Submitter, imageKey(c.Image))
	}
	return imageKey(c.Image)
}

// An ingest is the work of putting one image.
type ingest struct {
	*DB
	tx       *sql.Tx
	c        *Contents
	segments []segment
	packages map[rowKey]*inventory.ImagePackage

	segmentIDs map[rowKey]int64
	layerIDs   map[string]int64
	chainIDs   map[string]int64
}

func (d *DB) putContents(ctx context.Context, c *Contents) (id int64, err error) {
	if imageKey(c.Image) == "" {
		return 0, errors.New("it has neither a digest nor a configuration")
	}
	if len(c.Image.Layers) > maxImageLayers {
		return 0, fmt.Errorf("%d layers, at most %d can be kept", len(c.Image.Layers), maxImageLayers)
	}
	kept := *c.Image
	kept.Content = nil
	doc, err := json.Marshal(kept)
	if err != nil {
		return 0, err
	}
	in := &ingest{DB: d, c: c, segmentIDs: map[rowKey]int64{}, layerIDs: map[string]int64{}, chainIDs: map[string]int64{}}
	in.segments, in.packages = segmentsOf(len(c.Image.Layers), c.Inventory)
	err = d.inTx(ctx, func(tx *sql.Tx) error {
		in.tx = tx
		if err := stillClaimed(ctx, tx, c.Claim); err != nil {
			return err
		}
		if err := d.byKey(ctx, tx); err != nil {
			return err
		}
		if err := in.names(ctx); err != nil {
			return err
		}
		if err := in.missingSegments(ctx); err != nil {
			return err
		}
		if err := in.missingInventories(ctx); err != nil {
			return err
		}
		if id, err = in.image(ctx, d.enc.EncodeAll(doc, nil)); err != nil {
			return err
		}
		if err := in.layers(ctx, id); err != nil {
			return err
		}
		if err := d.shareCounts(ctx, tx); err != nil {
			return err
		}
		if err := countLike(ctx, tx, id); err != nil {
			return err
		}
		return d.touchImages(ctx, tx, "id = $1", id)
	})
	return id, err
}

// names finds the ids of layers, chains and segments, and makes those of layers and
// chains that are not there. An id of 0 is a segment that is to be written.
func (in *ingest) names(ctx context.Context) error {
	var diffIDs, chains []string
	for i, chain := range in.c.Image.ChainIDs() {
		diffIDs, chains = append(diffIDs, string(in.c.Image.Layers[i].DiffID)), append(chains, string(chain))
	}
	if err := in.idsOf(ctx, "layers", "diff_id", diffIDs, in.layerIDs); err != nil {
		return err
	}
	if err := in.idsOf(ctx, "chains", "chain_id", chains, in.chainIDs); err != nil {
		return err
	}
	hashes := make([]any, len(in.segments))
	for i := range in.segments {
		hashes[i] = in.segments[i].hash[:]
	}
	return in.keyIDs(ctx, "segments", "hash", hashes, in.segmentIDs)
}

// missingInventories keeps what is in the layers where the database does not have it.
func (in *ingest) missingInventories(ctx context.Context) error {
	layers := map[string]*inventory.Layer{}
	for _, l := range in.c.Layers {
		if l != nil {
			layers[string(l.DiffID)] = l
		}
	}
	there := map[string]int64{}
	for batch := range slices.Chunk(slices.Sorted(maps.Keys(layers)), lookupBatch) {
		list, args := oneOf(batch)
		args = append(args, in.c.AnalyzerSet)
		if err := collect(ctx, in.tx, `SELECT l.diff_id, l.id FROM layers l JOIN inventories i ON i.layer = l.id WHERE l.diff_id IN `+list+` AND i.analyzer_set = $`+strconv.Itoa(len(args)), args, there); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(layers)) {
		if _, ok := there[id]; ok {
			continue
		}
		blob, err := (&Cache{enc: in.enc}).encode(layers[id])
		if err == nil {
			err = in.putLayer(ctx, in.tx, in.c.AnalyzerSet, layers[id], blob)
		}
		if err != nil {
			return fmt.Errorf("layer %s: %w", id, err)
		}
	}
	return nil
}

// idsOf finds the ids of texts in a column that is unique, and inserts those missing,
// in an order that is the same for all.
func (in *ingest) idsOf(ctx context.Context, table, column string, texts []string, into map[string]int64) error {
	texts = slices.Compact(slices.Sorted(slices.Values(texts)))
	for range 2 {
		for batch := range slices.Chunk(texts, lookupBatch) {
			list, args := oneOf(batch)
			if err := collect(ctx, in.tx, `SELECT `+column+`, id FROM `+table+` WHERE `+column+` IN `+list, args, into); err != nil {
				return err
			}
		}
		missing := slices.DeleteFunc(slices.Clone(texts), func(s string) bool { return into[s] != 0 })
		if len(missing) == 0 {
			return nil
		}
		for batch := range slices.Chunk(missing, lookupBatch) {
			if err := collect(ctx, in.tx, `INSERT INTO `+table+` (`+column+`) VALUES `+valueRows(len(batch), 1)+` ON CONFLICT (`+column+`) DO NOTHING RETURNING `+column+`, id`, anys(batch), into); err != nil {
				return err
			}
		}
	}
	return nil
}

// byKey lets all that a transaction asks be answered by indexes: it looks for rows by
// keys that are unique. PostgreSQL keeps the plan of a statement, and would read whole
// tables long after a fleet has filled them, as was good when they were empty.
func (d *DB) byKey(ctx context.Context, tx *sql.Tx) error {
	if d.pool == nil {
		return nil
	}
	_, err := tx.ExecContext(ctx, `SET LOCAL enable_seqscan = off`)
	return err
}

// oneOf is the list of an IN of up to lookupBatch values, with its arguments. It is
// filled up with the last to one of few lengths: a statement of few texts is planned
// few times.
func oneOf[T any](values []T) (list string, args []any) {
	length := 1
	for length < len(values) {
		length *= 2
	}
	length = max(len(values), min(length, lookupBatch))
	args = anys(values)
	for len(args) < length {
		args = append(args, args[len(values)-1])
	}
	return "(" + placeholders(1, length) + ")", args
}

func anys[T any](values []T) []any {
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}

// collect reads rows of a text and an id.
func collect(ctx context.Context, tx *sql.Tx, query string, args []any, into map[string]int64) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		var id int64
		if err := rows.Scan(&s, &id); err != nil {
			return err
		}
		into[s] = id
	}
	return rows.Err()
}

// keyIDs is collect for a column of keys.
func (in *ingest) keyIDs(ctx context.Context, table, column string, keys []any, into map[rowKey]int64) error {
	for batch := range slices.Chunk(keys, lookupBatch) {
		list, args := oneOf(batch)
		if err := collectKeys(ctx, in.tx, `SELECT `+column+`, id FROM `+table+` WHERE `+column+` IN `+list, args, into); err != nil {
			return err
		}
	}
	return nil
}

func collectKeys(ctx context.Context, tx *sql.Tx, query string, args []any, into map[rowKey]int64) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key []byte
		var id int64
		if err := rows.Scan(&key, &id); err != nil {
			return err
		}
		into[rowKey(key)] = id
	}
	return rows.Err()
}

// missingSegments writes the segments that are not there, with their packages.
func (in *ingest) missingSegments(ctx context.Context) error {
	var missing []*segment
	for i := range in.segments {
		if s := &in.segments[i]; in.segmentIDs[s.hash] == 0 && !slices.ContainsFunc(missing, func(m *segment) bool { return m.hash == s.hash }) {
			missing = append(missing, s)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.SortFunc(missing, func(a, b *segment) int { return a.hash.compare(b.hash) })
	packageIDs, err := in.packageRows(ctx, missing)
	if err != nil {
		return err
	}
	licenseIDs, err := in.licenseRows(ctx, missing)
	if err != nil {
		return err
	}
	fileIDs, err := in.fileRows(ctx, missing)
	if err != nil {
		return err
	}
	names := rowIDs{packageIDs, licenseIDs, fileIDs}
	for _, s := range missing {
		if err := in.segment(ctx, s, &names); err != nil {
			return err
		}
	}
	return nil
}

// rowIDs are the ids of what segments refer to.
type rowIDs struct {
	packages map[rowKey]int64
	licenses map[string]int64
	files    map[string]int64
}

// segment writes one segment, unless another instance has meanwhile: then it has
// committed all of it, since the insert waited for that.
func (in *ingest) segment(ctx context.Context, s *segment, names *rowIDs) error {
	var id int64
	err := in.tx.QueryRowContext(ctx, `INSERT INTO segments (hash, packages) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING RETURNING id`, s.hash[:], len(s.packages)).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return in.keyIDs(ctx, "segments", "hash", []any{s.hash[:]}, in.segmentIDs)
	}
	if err != nil {
		return err
	}
	in.segmentIDs[s.hash] = id
	var rows [][]any
	for _, p := range s.packages {
		var licenseID any
		if p.license != "" {
			licenseID = names.licenses[p.license]
		}
		rows = append(rows, []any{id, names.packages[p.pkg], p.owned, licenseID})
	}
	if err := insertRows(ctx, in.tx, "segment_packages", []string{"segment", "package", "owned", "license"}, "", rows); err != nil {
		return err
	}
	rows = nil
	for _, t := range s.twins {
		rows = append(rows, []any{id, names.packages[t.pkg], names.packages[t.twin]})
	}
	if err := insertRows(ctx, in.tx, "segment_twins", []string{"segment", "package", "twin"}, "", rows); err != nil {
		return err
	}
	rows = nil
	for _, h := range s.hidden {
		rows = append(rows, []any{id, names.packages[h.pkg], h.owned, h.from, string(h.state), h.partly})
	}
	if err := insertRows(ctx, in.tx, "segment_hidden", []string{"segment", "package", "owned", "from_position", "state", "partly"}, "", rows); err != nil {
		return err
	}
	return in.files(ctx, id, s, names.files)
}

// insertRows inserts rows into a table, many with a statement; end is what follows.
func insertRows(ctx context.Context, tx *sql.Tx, table string, columns []string, end string, rows [][]any) error {
	for batch := range slices.Chunk(rows, max(1, 600/len(columns))) {
		head := `INSERT INTO ` + table + ` (` + strings.Join(columns, ", ") + `) VALUES `
		if _, err := tx.ExecContext(ctx, head+valueRows(len(batch), len(columns))+end, slices.Concat(batch...)...); err != nil {
			return err
		}
	}
	return nil
}

// packageRows are the ids of all package versions in the segments; those that were
// never seen are inserted, in an order that is the same for all.
func (in *ingest) packageRows(ctx context.Context, segments []*segment) (map[rowKey]int64, error) {
	ids := map[rowKey]int64{}
	for _, s := range segments {
		for _, p := range s.packages {
			ids[p.pkg] = 0
		}
		for _, h := range s.hidden {
			ids[h.pkg] = 0
		}
		for _, t := range s.twins {
			ids[t.twin] = 0
		}
	}
	keys := slices.SortedFunc(maps.Keys(ids), rowKey.compare)
	args := make([]any, len(keys))
	for i, k := range keys {
		args[i] = k[:]
	}
	if err := in.keyIDs(ctx, "packages", "key", args, ids); err != nil {
		return nil, err
	}
	missing := slices.DeleteFunc(keys, func(k rowKey) bool { return ids[k] != 0 })
	fresh := map[rowKey]int64{}
	for batch := range slices.Chunk(missing, 50) {
		values := make([]any, 0, 10*len(batch))
		for _, k := range batch {
			p := in.packages[k]
			known, err := knownAsText(p)
			if err != nil {
				return nil, err
			}
			values = append(values, k[:], p.Type, p.Ecosystem, p.Name, p.Version, p.Arch, p.PURL, p.SourceName, p.SourceVersion, known)
		}
		if err := collectKeys(ctx, in.tx, `INSERT INTO packages (key, type, ecosystem, name, version, arch, purl, source_name, source_version, known_as) VALUES `+
			valueRows(len(batch), 10)+` ON CONFLICT (key) DO NOTHING RETURNING key, id`, values, fresh); err != nil {
			return nil, err
		}
	}
	maps.Copy(ids, fresh)
	// What another instance inserted meanwhile.
	args = nil
	for _, k := range missing {
		if ids[k] == 0 {
			args = append(args, k[:])
		}
	}
	if err := in.keyIDs(ctx, "packages", "key", args, ids); err != nil {
		return nil, err
	}
	return ids, in.packageKeys(ctx, fresh)
}

// packageKeys writes by which names advisories may know package versions.
func (in *ingest) packageKeys(ctx context.Context, fresh map[rowKey]int64) error {
	var rows [][]any
	for _, k := range slices.SortedFunc(maps.Keys(fresh), rowKey.compare) {
		for _, name := range match.Keys(in.packages[k]) {
			rows = append(rows, []any{name.Ecosystem, name.Name, fresh[k]})
		}
	}
	return insertRows(ctx, in.tx, "package_keys", []string{"ecosystem", "name", "package"}, " ON CONFLICT DO NOTHING", rows)
}

// licenseRows are the ids of the licences in the segments.
func (in *ingest) licenseRows(ctx context.Context, segments []*segment) (map[string]int64, error) {
	expressions := map[string]bool{}
	for _, s := range segments {
		for _, p := range s.packages {
			if p.license != "" {
				expressions[p.license] = true
			}
		}
	}
	sorted := slices.Sorted(maps.Keys(expressions))
	var rows [][]any
	for _, e := range sorted {
		rows = append(rows, []any{e, licenseClass(e)})
	}
	if err := insertRows(ctx, in.tx, "licenses", []string{"expression", "class"}, " ON CONFLICT (expression) DO NOTHING", rows); err != nil {
		return nil, err
	}
	ids := map[string]int64{}
	for batch := range slices.Chunk(sorted, lookupBatch) {
		list, args := oneOf(batch)
		if err := collect(ctx, in.tx, `SELECT expression, id FROM licenses WHERE expression IN `+list, args, ids); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// licenseClass is the class of an expression, by the built-in table.
func licenseClass(expression string) string {
	e, err := license.Parse(expression)
	if err != nil {
		return string(license.Unknown)
	}
	return string(license.Classes{}.OrDefault().Of(e))
}

// image writes the row of the image, and its document.
func (in *ingest) image(ctx context.Context, doc []byte) (id int64, err error) {
	m := in.c.Image
	labels, err := json.Marshal(m.Labels)
	if err != nil {
		return 0, err
	}
	if m.Labels == nil {
		labels = []byte("{}")
	}
	var size, top, base int64
	for _, l := range m.Layers {
		size += max(0, l.Size)
	}
	if chains := m.ChainIDs(); len(chains) > 0 {
		top = in.chainIDs[string(chains[len(chains)-1])]
	}
	baseLayers := 0
	if m.Base != nil {
		baseLayers = m.Base.Layers
		if base, err = in.baseID(ctx, m); err != nil {
			return 0, err
		}
	}
	distro := in.c.Inventory.Distro
	name := distro.ID
	if distro.VersionID != "" {
		name += " " + distro.VersionID
	}
	ecosystem, _ := distro.Ecosystem()
	now := in.now().UnixMicro()
	err = in.tx.QueryRowContext(ctx, `INSERT INTO images (digest, config_digest, platform, reference, distro, ecosystem, analyzer_set, layers, top, size, base, base_layers, labels, incomplete, problems, created_at, found_at, scanned_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
		ON CONFLICT (digest) DO UPDATE SET reference = excluded.reference, distro = excluded.distro, ecosystem = excluded.ecosystem, analyzer_set = excluded.analyzer_set, base = excluded.base, base_layers = excluded.base_layers,
			incomplete = excluded.incomplete, problems = excluded.problems, scanned_at = excluded.scanned_at
		RETURNING id`,
		in.c.key(), string(m.ConfigDigest), m.Platform.String(), m.Reference, name, ecosystem, in.c.AnalyzerSet, len(m.Layers), top, size, zeroIsNull(base), baseLayers,
		string(labels), in.c.Incomplete, len(in.c.Inventory.Problems), micros(m.Created), now, now).Scan(&id)
	if err != nil {
		return 0, err
	}
	_, err = in.tx.ExecContext(ctx, `INSERT INTO image_documents (image, document) VALUES ($1, $2) ON CONFLICT (image) DO UPDATE SET document = excluded.document`, id, doc)
	return id, err
}

func zeroIsNull(id int64) any {
	if id == 0 {
		return nil
	}
	return id
}

// baseID is the image that is the base, where it is one that is known: by its stack,
// and of those the one with the digest.
func (in *ingest) baseID(ctx context.Context, m *image.Image) (id int64, err error) {
	if m.Base.Layers <= 0 || m.Base.Layers > len(m.Layers) {
		return 0, nil
	}
	top := in.chainIDs[string(m.ChainIDs()[m.Base.Layers-1])]
	err = in.tx.QueryRowContext(ctx, `SELECT id FROM images WHERE top = $1 AND digest <> $2 ORDER BY CASE WHEN digest = $3 THEN 0 ELSE 1 END, id DESC LIMIT 1`,
		top, in.c.key(), string(m.Base.Digest)).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

// layers writes the layers of the image, in the place of those it had.
func (in *ingest) layers(ctx context.Context, id int64) error {
	if _, err := in.tx.ExecContext(ctx, `DELETE FROM image_layers WHERE image = $1`, id); err != nil {
		return err
	}
	var rows [][]any
	for i, chain := range in.c.Image.ChainIDs() {
		rows = append(rows, []any{id, i, in.layerIDs[string(in.c.Image.Layers[i].DiffID)], in.chainIDs[string(chain)], in.segmentIDs[in.segments[i].hash]})
	}
	return insertRows(ctx, in.tx, "image_layers", []string{"image", "position", "layer", "chain", "segment"}, "", rows)
}

// presentIn is the part of a query that gives the package versions present in images of a
// list, each once, as (image, package): those that no layer above hides in full, and whose
// findings are not set aside by an owner.
func presentIn(images string) string {
	return presentPackages(`il.image IN (`+images+`)`, `h.image IN (`+images+`)`)
}

// presentOf is presentIn for package versions of a list, in all images.
func presentOf(packages string) string {
	return presentPackages(`sp.package IN (`+packages+`)`, `sh.package IN (`+packages+`)`)
}

// presentPackages has the list twice, for what is there and for what hides it: PostgreSQL
// does not conclude one from the other, and would go through all that is hidden in the
// fleet.
func presentPackages(condition, hidden string) string {
	return `SELECT DISTINCT il.image AS image, sp.package AS package FROM image_layers il JOIN segment_packages sp ON sp.segment = il.segment
		WHERE ` + condition + ` AND NOT sp.owned AND NOT EXISTS (
			SELECT 1 FROM image_layers h JOIN segment_hidden sh ON sh.segment = h.segment
			WHERE h.image = il.image AND h.position > il.position AND sh.package = sp.package AND sh.owned = sp.owned AND sh.from_position = il.position AND NOT sh.partly AND ` + hidden + `)`
}

// lockCounts makes transactions that change findings or counts wait for each other,
// on PostgreSQL; on SQLite all writers do.
func lockCounts(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO schedules (name, due_at) VALUES ('counts', 0) ON CONFLICT (name) DO UPDATE SET due_at = 0`)
	return err
}

// shareCounts makes a transaction that counts the findings of a new image wait for those
// that have lockCounts, and these for it; others like it go on. Only PostgreSQL has, and
// needs, such a lock.
func (d *DB) shareCounts(ctx context.Context, tx *sql.Tx) error {
	if d.pool == nil {
		return nil
	}
	_, err := tx.ExecContext(ctx, `SELECT due_at FROM schedules WHERE name = 'counts' FOR SHARE`)
	return err
}

// countImages writes the numbers of findings of images, from the findings that are
// open. See presentIn for what counts; what a program's file tells of twice
// counts once (segment_twins).
func countImages(ctx context.Context, tx *sql.Tx, ids []int64) error {
	if err := lockCounts(ctx, tx); err != nil {
		return err
	}
	return countLocked(ctx, tx, ids)
}

// countLocked is countImages for who has a lock on counts.
func countLocked(ctx context.Context, tx *sql.Tx, ids []int64) error {
	for batch := range slices.Chunk(ids, lookupBatch) {
		in := placeholders(1, len(batch)) // one text for each number of images, which is planned once
		_, err := tx.ExecContext(ctx, `WITH present AS (`+presentIn(in)+`),
			found AS (SELECT p.image AS image, f.severity AS severity, COUNT(*) AS n FROM present p JOIN findings f ON f.package = p.package AND f.closed_at IS NULL AND f.aside = ''
				WHERE NOT EXISTS (SELECT 1 FROM image_layers tl JOIN segment_twins t ON t.segment = tl.segment AND t.package = p.package
					JOIN findings o ON o.package = t.twin AND o.vulnerability = f.vulnerability AND o.closed_at IS NULL WHERE tl.image = p.image)
				GROUP BY p.image, f.severity)
			INSERT INTO image_counts (image, `+countColumns(`%[2]s`)+`) SELECT id, `+countColumns(`COALESCE((SELECT n FROM found WHERE found.image = images.id AND found.severity = %[1]d), 0)`)+`
			FROM images WHERE id IN (`+in+`) `+countsAnew, anys(batch)...)
		if err != nil {
			return err
		}
	}
	return nil
}

// countLike is countLocked for one image. Most that are pushed again are made of just
// what another one is: then its counts are taken.
func countLike(ctx context.Context, tx *sql.Tx, id int64) error {
	result, err := tx.ExecContext(ctx, `INSERT INTO image_counts (image, `+countColumns(`%[2]s`)+`) SELECT $1, `+countColumns(`o.%[2]s`)+` FROM image_counts o
		WHERE o.image = (SELECT l.id FROM (SELECT t.id AS id FROM images i JOIN images t ON t.top = i.top AND t.id <> i.id WHERE i.id = $1 ORDER BY t.id DESC LIMIT 3) l
			WHERE NOT EXISTS (SELECT 1 FROM image_layers a WHERE a.image = $1 AND NOT EXISTS (
				SELECT 1 FROM image_layers b WHERE b.image = l.id AND b.position = a.position AND b.segment = a.segment)) LIMIT 1) `+countsAnew, id)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return countLocked(ctx, tx, []int64{id})
}

// countsAnew puts counts in the place of those that an image has.
const countsAnew = `ON CONFLICT (image) DO UPDATE SET unknown = excluded.unknown, low = excluded.low, medium = excluded.medium, high = excluded.high, critical = excluded.critical`

// countColumns is an expression for each severity, of its rank and the name of its column.
func countColumns(expression string) string {
	var out []string
	for rank, column := range []string{"unknown", "low", "medium", "high", "critical"} {
		out = append(out, fmt.Sprintf(expression, rank, column))
	}
	return strings.Join(out, ", ")
}
