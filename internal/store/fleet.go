package store

import (
	"context"
	"database/sql"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A fleet is which layers, segments and repositories images have, in memory: about
// 40 bytes for a layer of an image. Questions over all images are answered of it,
// since a database would have to read a row for each image each time. It is never
// older than the question: the database numbers what changes (image_changes).
//
// Images, segments, layers, chains and repositories have places: small numbers in the
// order in which they were first seen.
type fleet struct {
	mu sync.RWMutex
	// changes are those that it has seen. Of these only what is not settled is kept.
	changes fleetChanges

	images       places
	segments     places
	layers       places
	chains       places
	repositories places

	// gone is how many places of images are of none: with many, all is loaded anew.
	gone int
	// at is what is at the place of an image, and there tells whether something is: it was
	// not deleted, and has no other place.
	at    []fleetImage
	there []bool
	// bySegment and byLayer are where segments and layers are, by their place. layersOf
	// has, beside each position of bySegment, the place of the layer.
	bySegment, byLayer [][]fleetPosition
	layersOf           [][]int32
}

// places gives numbers to ids.
type places struct {
	of  map[int64]int32
	ids []int64
}

// place of an id; it is given one where it has none.
func (p *places) place(id int64) int32 {
	if at, ok := p.of[id]; ok {
		return at
	}
	if p.of == nil {
		p.of = map[int64]int32{}
	}
	at := int32(len(p.ids))
	p.of[id], p.ids = at, append(p.ids, id)
	return at
}

type fleetImage struct {
	base   int64
	layers []fleetLayer
	// repositories that it is in, each once.
	repositories []int32
}

type fleetLayer struct{ segment, layer, chain int32 }

// A fleetPosition is a layer of an image.
type fleetPosition struct{ image, position int32 }

// touchImages tells all instances that layers or repositories of the images of a
// condition on images have changed; before they are deleted, too. It makes nobody wait
// but for who changes the same images.
func (d *DB) touchImages(ctx context.Context, tx *sql.Tx, condition string, args ...any) error {
	// On PostgreSQL, the transaction's own number; on SQLite, where writers come one after
	// another, the next one.
	revision := `(SELECT COALESCE(MAX(revision), 0) + 1 FROM image_changes)`
	if d.pool != nil {
		revision = `CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)`
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO image_changes (image, revision) SELECT id, `+revision+` FROM images WHERE `+condition+` ORDER BY id
		ON CONFLICT (image) DO UPDATE SET revision = excluded.revision`, args...)
	return err
}

// fleetChanges is what the database knows of changes of images.
type fleetChanges struct {
	// epoch is another one after a restart or failover of the server, by which
	// transactions can be lost and their numbers given again.
	epoch int64
	// settled: what has a lesser revision is committed or never will be.
	settled int64
	// of images, by id: the revision of the last change of each.
	of map[int64]int64
}

// from is the revision from which on changes are to be read. Before the first load that is
// none: all images are read then.
func (c *fleetChanges) from() int64 {
	if c.epoch == 0 {
		return math.MaxInt64
	}
	return c.settled
}

// fleetChanges reads the changes with a revision, and later ones.
func (d *DB) fleetChanges(ctx context.Context, from int64) (c fleetChanges, err error) {
	settled, epoch := `(SELECT COALESCE(MAX(revision), 0) + 1 FROM image_changes)`, `1`
	if d.pool != nil {
		settled = `CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)`
		epoch = `CAST(EXTRACT(EPOCH FROM pg_postmaster_start_time()) * 1000000 AS BIGINT)`
	}
	c.of = map[int64]int64{}
	err = d.each(ctx, `SELECT image, revision FROM image_changes WHERE revision >= $1 UNION ALL SELECT 0, `+settled+` UNION ALL SELECT -1, `+epoch, []any{from}, func(scan func(...any) error) error {
		var image, revision int64
		if err := scan(&image, &revision); err != nil {
			return err
		}
		switch image {
		case 0:
			c.settled = revision
		case -1:
			c.epoch = revision
		default:
			c.of[image] = revision
		}
		return nil
	})
	return c, err
}

// upToDate tells whether the fleet has seen all of these changes, and none of those it saw
// needs to be remembered any more.
func (f *fleet) upToDate(c fleetChanges) bool {
	if f.changes.epoch != c.epoch {
		return false
	}
	for image, revision := range c.of {
		if revision >= f.changes.settled && f.changes.of[image] != revision {
			return false
		}
	}
	return len(f.changes.of) == 0 || f.changes.settled >= c.settled
}

// forgetOtherServers deletes changes whose numbers are of a PostgreSQL server that the
// database was copied from, and not yet given by this one. No instance has seen them.
func (d *DB) forgetOtherServers(ctx context.Context) error {
	_, err := d.db.ExecContext(ctx, `DELETE FROM image_changes WHERE revision >= CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT) AS BIGINT)`)
	return err
}

// imagesOfManifests is a condition on images: those of the manifests of another one, m.
func imagesOfManifests(condition string) string {
	return `id IN (SELECT mi.image FROM manifest_images mi JOIN manifests m ON m.id = mi.manifest WHERE ` + condition + `)`
}

// readFleet brings the fleet up to date and lets a function read it.
func (d *DB) readFleet(ctx context.Context, read func(*fleet) error) error {
	f := &d.fleet
	f.mu.RLock()
	from := f.changes.from()
	f.mu.RUnlock()
	c, err := d.fleetChanges(ctx, from)
	if err != nil {
		return err
	}
	f.mu.RLock()
	fresh := f.upToDate(c)
	if !fresh {
		f.mu.RUnlock()
		if err := d.loadFleet(ctx); err != nil {
			return err
		}
		f.mu.RLock()
	}
	defer f.mu.RUnlock()
	return read(f)
}

// loadFleet reads what changed; what comes while it reads is read again later.
func (d *DB) loadFleet(ctx context.Context) error {
	f := &d.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := d.fleetChanges(ctx, f.changes.from())
	if err != nil {
		return err
	}
	if f.changes.epoch != c.epoch || f.gone > 10_000 && f.gone > len(f.at)/4 {
		f.clear()
		if err := d.loadImages(ctx, f, ""); err != nil {
			f.clear()
			return err
		}
		f.changes = c
		return nil
	}
	var changed []int64
	for image, revision := range c.of {
		if f.changes.of[image] != revision {
			changed = append(changed, image)
		}
	}
	slices.Sort(changed)
	for batch := range slices.Chunk(changed, 10_000) {
		for _, id := range batch {
			f.drop(id)
		}
		if err := d.loadImages(ctx, f, joinIDs(batch, func(id *int64) int64 { return *id })); err != nil {
			return err // those dropped are read by the next question: their changes are not noted
		}
	}
	maps.DeleteFunc(c.of, func(_, revision int64) bool { return revision < c.settled })
	f.changes = c
	return nil
}

// ids reads a column.
func (d *DB) ids(ctx context.Context, query string, args ...any) (out []int64, err error) {
	err = d.each(ctx, query, args, func(scan func(...any) error) error {
		var id int64
		if err := scan(&id); err != nil {
			return err
		}
		out = append(out, id)
		return nil
	})
	return out, err
}

// each gives the rows of a query to a function.
func (d *DB) each(ctx context.Context, query string, args []any, row func(scan func(...any) error) error) error {
	rows, err := d.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// loadImages reads images, all or those with the ids.
func (d *DB) loadImages(ctx context.Context, f *fleet, ids string) error {
	in := func(column string) string {
		if ids == "" {
			return ""
		}
		return ` WHERE ` + column + ` IN (` + ids + `)`
	}
	err := d.each(ctx, `SELECT id, COALESCE(base, 0) FROM images`+in("id")+` ORDER BY id`, nil, func(scan func(...any) error) error {
		var id, base int64
		if err := scan(&id, &base); err != nil {
			return err
		}
		*f.image(id) = fleetImage{base: base}
		f.there[f.images.of[id]] = true
		return nil
	})
	if err != nil {
		return err
	}
	err = d.each(ctx, `SELECT image, layer, chain, segment FROM image_layers`+in("image")+` ORDER BY image, position`, nil, func(scan func(...any) error) error {
		var image, layer, chain, segment int64
		if err := scan(&image, &layer, &chain, &segment); err != nil {
			return err
		}
		f.addLayer(image, layer, chain, segment)
		return nil
	})
	if err != nil {
		return err
	}
	return d.each(ctx, `SELECT DISTINCT mi.image, m.repository FROM manifest_images mi JOIN manifests m ON m.id = mi.manifest`+in("mi.image")+` ORDER BY mi.image, m.repository`, nil,
		func(scan func(...any) error) error {
			var image, repository int64
			if err := scan(&image, &repository); err != nil {
				return err
			}
			m := f.image(image)
			m.repositories = append(m.repositories, f.repositories.place(repository))
			return nil
		})
}

func (f *fleet) image(id int64) *fleetImage {
	at := f.images.place(id)
	for len(f.at) <= int(at) {
		f.at, f.there = append(f.at, fleetImage{}), append(f.there, false)
	}
	return &f.at[at]
}

func (f *fleet) addLayer(image, layer, chain, segment int64) {
	m := f.image(image)
	l := fleetLayer{f.segments.place(segment), f.layers.place(layer), f.chains.place(chain)}
	at := fleetPosition{f.images.of[image], int32(len(m.layers))}
	m.layers = append(m.layers, l)
	for len(f.bySegment) < len(f.segments.ids) {
		f.bySegment, f.layersOf = append(f.bySegment, nil), append(f.layersOf, nil)
	}
	for len(f.byLayer) < len(f.layers.ids) {
		f.byLayer = append(f.byLayer, nil)
	}
	f.bySegment[l.segment], f.layersOf[l.segment] = append(f.bySegment[l.segment], at), append(f.layersOf[l.segment], l.layer)
	f.byLayer[l.layer] = append(f.byLayer[l.layer], at)
}

// drop takes an image out, if it is there. Its place stays, gone, and it gets another.
func (f *fleet) drop(id int64) {
	at, ok := f.images.of[id]
	if !ok {
		return
	}
	delete(f.images.of, id)
	f.at[at], f.there[at] = fleetImage{}, false
	f.gone++
}

// positions of a segment by its id.
func (f *fleet) positions(segment int64) []fleetPosition {
	if at, ok := f.segments.of[segment]; ok {
		return f.bySegment[at]
	}
	return nil
}

// A fleetRepository is where images are.
type fleetRepository struct {
	registry        int64
	registryName    string
	name, owner     string
	id              int64
	inScope, exists bool
}

// repositoriesOf reads the repositories of the fleet, by their place.
func (d *DB) repositoriesOf(ctx context.Context, f *fleet, scope []string) ([]fleetRepository, error) {
	out := make([]fleetRepository, len(f.repositories.ids))
	err := d.each(ctx, `SELECT p.id, r.id, r.name, p.name, p.owner FROM repositories p JOIN registries r ON r.id = p.registry`, nil, func(scan func(...any) error) error {
		var r fleetRepository
		if err := scan(&r.id, &r.registry, &r.registryName, &r.name, &r.owner); err != nil {
			return err
		}
		if at, ok := f.repositories.of[r.id]; ok {
			r.exists, r.name = true, r.registryName+"/"+r.name
			r.inScope = InScope(scope, r.name)
			out[at] = r
		}
		return nil
	})
	return out, err
}

// inList are ids with commas, for IN; "NULL", which nothing is in, for none.
func inList(ids []int64) string {
	if len(ids) == 0 {
		return "NULL"
	}
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(id, 10))
	}
	return b.String()
}

// clear forgets all.
func (f *fleet) clear() {
	f.images, f.segments, f.layers, f.chains, f.repositories = places{}, places{}, places{}, places{}, places{}
	f.at, f.there, f.bySegment, f.byLayer, f.layersOf, f.changes, f.gone = nil, nil, nil, nil, nil, fleetChanges{}, 0
}
