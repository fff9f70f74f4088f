package store

import (
	"context"
	"slices"
	"strings"
)

// A sight is which images of the fleet who asks may see.
type sight struct {
	fleet        *fleet
	scope        []string
	repositories []fleetRepository
	// known is 1 for an image in scope, 2 for one that isn't, 0 where nobody asked.
	known []uint8
}

// sightOf is the sight of who has a scope (nil for all).
func (d *DB) sightOf(ctx context.Context, f *fleet, scope []string) (*sight, error) {
	s := &sight{fleet: f, scope: scope, known: make([]uint8, len(f.at))}
	var err error
	s.repositories, err = d.repositoriesOf(ctx, f, scope)
	return s, err
}

// sees tells whether an image, by its place, is there for who asks.
func (s *sight) sees(image int32) bool {
	if s.scope == nil || !s.fleet.there[image] {
		return s.fleet.there[image]
	}
	if s.known[image] == 0 {
		s.known[image] = 2
		if slices.ContainsFunc(s.fleet.at[image].repositories, func(at int32) bool { return s.repositories[at].inScope }) {
			s.known[image] = 1
		}
	}
	return s.known[image] == 1
}

// seesAny tells whether one of the images at positions is seen.
func (s *sight) seesAny(positions []fleetPosition) bool {
	return slices.ContainsFunc(positions, func(p fleetPosition) bool { return s.sees(p.image) })
}

// imagesOf counts the images that are seen and have a layer.
func (s *sight) imagesOf(layer int64) (n int) {
	at, ok := s.fleet.layers.of[layer]
	if !ok {
		return 0
	}
	last := int32(-1)
	for _, p := range s.fleet.byLayer[at] {
		// The layers of an image are read one after another.
		if p.image != last && s.sees(p.image) {
			n++
		}
		last = p.image
	}
	return n
}

// fewSegments is up to how many segments are named in a query; who sees more of them
// sees so much of the fleet that going through it all soon fills a page.
const fewSegments = 5000

// segmentsSeen are the ids of the segments of images that are seen; ok is false where
// they are more than few.
func (s *sight) segmentsSeen() (ids []int64, ok bool) {
	for at := range s.fleet.bySegment {
		if !s.seesAny(s.fleet.bySegment[at]) {
			continue
		}
		if len(ids) == fewSegments {
			return nil, false
		}
		ids = append(ids, s.fleet.segments.ids[at])
	}
	return ids, true
}

// imagesWith counts the images that are seen and have a package version, present or
// not; those without any are left out.
func (d *DB) imagesWith(ctx context.Context, s *sight, packages []int64) (map[int64]int, error) {
	segments := map[int64][]int64{}
	for batch := range slices.Chunk(packages, 1000) {
		err := d.each(ctx, `SELECT DISTINCT package, segment FROM segment_packages WHERE package IN (`+inList(batch)+`) ORDER BY package, segment`, nil, func(scan func(...any) error) error {
			var id, segment int64
			err := scan(&id, &segment)
			segments[id] = append(segments[id], segment)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	out, counted := map[int64]int{}, map[string]int{}
	stamps := make([]int32, len(s.fleet.at))
	round := int32(0)
	for id, of := range segments {
		// What is installed together is in the same segments.
		key := inList(of)
		n, ok := counted[key]
		if !ok {
			round++
			for _, segment := range of {
				for _, p := range s.fleet.positions(segment) {
					if stamps[p.image] != round && s.sees(p.image) {
						stamps[p.image] = round
						n++
					}
				}
			}
			counted[key] = n
		}
		if n > 0 {
			out[id] = n
		}
	}
	return out, nil
}

// limitImages takes out of rows what is not in scope: the name under which an image was
// scanned first may be another's, and its base as well.
func (d *DB) limitImages(ctx context.Context, images []ImageRow, repositories string) error {
	var bases []int64
	var unnamed []int64
	for i := range images {
		r := &images[i]
		if r.Reference = ""; len(r.Names) > 0 {
			r.Reference = r.Names[0]
		} else {
			unnamed = append(unnamed, r.ID)
		}
		if r.Base != 0 {
			bases = append(bases, r.Base)
		}
	}
	seen, where := map[int64]bool{}, map[int64]string{}
	err := d.each(ctx, `SELECT mi.image, MIN(r.name || '/' || p.name) FROM manifest_images mi JOIN manifests m ON m.id = mi.manifest JOIN repositories p ON p.id = m.repository
		JOIN registries r ON r.id = p.registry WHERE mi.image IN (`+inList(append(bases, unnamed...))+`) AND m.repository IN (`+repositories+`) GROUP BY mi.image`, nil, func(scan func(...any) error) error {
		var id int64
		var name string
		err := scan(&id, &name)
		seen[id], where[id] = true, name
		return err
	})
	for i := range images {
		r := &images[i]
		if r.Reference == "" {
			r.Reference = where[r.ID] + "@" + r.Digest
		}
		if !seen[r.Base] {
			r.Base = 0
		}
	}
	return err
}

// namesOf are names of images for who has a scope: by a tag, or as which they were scanned
// where no tag names them. Images that it may not see have none.
func (d *DB) namesOf(ctx context.Context, ids []int64, scope []string) (map[int64]string, error) {
	out := map[int64]string{}
	if len(ids) == 0 {
		return out, nil
	}
	rows, err := d.imagesNamed(ctx, ids, scope)
	for i := range rows {
		out[rows[i].ID] = rows[i].Reference
		if len(rows[i].Names) > 0 {
			out[rows[i].ID] = rows[i].Names[0]
		}
	}
	return out, err
}

// imagesNamed reads images of a scope by their ids.
func (d *DB) imagesNamed(ctx context.Context, ids []int64, scope []string) ([]ImageRow, error) {
	w := &where{}
	w.add(`i.id IN (` + inList(ids) + `)`)
	if scope != nil {
		repositories, err := d.scopeRepositories(ctx, scope)
		if err != nil || repositories == "" {
			return nil, err
		}
		w.add(inRepositories("i.id", repositories))
	}
	var out []ImageRow
	err := d.each(ctx, `SELECT `+imageColumns+` FROM `+imageTables+` WHERE `+w.String(), nil, func(scan func(...any) error) error {
		r, err := scanImageRow(scan)
		out = append(out, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, d.nameImages(ctx, out, scope)
}

// inRepositories is the condition that an image is in one of the repositories.
func inRepositories(image, repositories string) string {
	return `EXISTS (SELECT 1 FROM manifest_images mi JOIN manifests m ON m.id = mi.manifest WHERE mi.image = ` + image + ` AND m.repository IN (` + repositories + `))`
}

// othersNames are the names of images, and of their bases, that are not in scope: what
// rules say of an image may have them.
func (d *DB) othersNames(ctx context.Context, ids []int64, scope []string) (map[int64][]string, error) {
	out := map[int64][]string{}
	if len(ids) == 0 {
		return out, nil
	}
	err := d.each(ctx, `SELECT DISTINCT of.id, r.name || '/' || p.name FROM images of JOIN manifest_images mi ON mi.image IN (of.id, COALESCE(of.base, of.id)) JOIN manifests m ON m.id = mi.manifest
		JOIN repositories p ON p.id = m.repository JOIN registries r ON r.id = p.registry WHERE of.id IN (`+inList(ids)+`)`, nil, func(scan func(...any) error) error {
		var id int64
		var name string
		err := scan(&id, &name)
		if !InScope(scope, name) {
			out[id] = append(out[id], name)
		}
		return err
	})
	for _, names := range out {
		slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) }) // one may begin with another
	}
	return out, err
}

// hideNames puts others' names out of a text.
func hideNames(text string, names []string) string {
	for _, name := range names {
		text = strings.ReplaceAll(text, name, "…")
	}
	return text
}
