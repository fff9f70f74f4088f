package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"strata/internal/advisory"
	"strata/internal/image"
	"strata/internal/inventory"
)

// An ImpactImage is an image that has what was asked for.
type ImpactImage struct {
	ImageRow
	// State is the best of the packages that count: present, shadowed or removed; for
	// an image in which all is set aside, of those.
	State inventory.State `json:"state"`
	// Aside tells that all of it is set aside; such images come where they were asked for.
	Aside bool `json:"aside,omitempty"`
	// Owners of the repositories that it is in.
	Owners []string `json:"owners,omitempty"`
	// BaseReference is the name of the known image that it is built upon.
	BaseReference string `json:"base_reference,omitempty"`
	// Held are the packages in question, Files the places of the file in question: at most
	// 100.
	Held  []ImpactHeld `json:"packages"`
	Files []ImpactFile `json:"files,omitempty"`
}

// An ImpactHeld is a package in question in an image.
type ImpactHeld struct {
	PackageID int64  `json:"package_id"`
	Name      string `json:"name"`
	Version   string `json:"version"`
	// Layer introduced it, by the instruction CreatedBy; Base tells that it is one of
	// the base image.
	Layer     int    `json:"layer"`
	DiffID    string `json:"diff_id"`
	CreatedBy string `json:"created_by,omitempty"`
	Base      bool   `json:"base,omitempty"`
	// State is what became of it, by StateLayer (-1 while it is present).
	State      inventory.State `json:"state"`
	StateLayer int             `json:"state_layer"`
	// Owned tells that its files belong to a package of the distribution.
	Owned bool `json:"owned,omitempty"`
	// Aside is why it does not count: "distro-owned", "not-run" or "twin".
	Aside        string            `json:"aside,omitempty"`
	Severity     advisory.Severity `json:"severity,omitempty"`
	FixedVersion string            `json:"fixed_version,omitempty"`
}

// ImpactImages lists the images that have something, the newest first: those with an
// id below after (0 for the first page), one more than limit when there are more.
// aside asks for those, too, in which all of it is set aside.
func (d *DB) ImpactImages(ctx context.Context, q ImpactQuery, aside bool, after int64, limit int) (out []ImpactImage, err error) {
	err = d.ask(ctx, &q, func(a *asked) error {
		out, err = d.impactImages(ctx, a, aside, after, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("impact: %w", err)
	}
	return out, nil
}

// FirstImpact is Impact and the first page of ImpactImages in one.
func (d *DB) FirstImpact(ctx context.Context, q ImpactQuery, limit int) (i *Impact, images []ImpactImage, err error) {
	i = &Impact{}
	err = d.ask(ctx, &q, func(a *asked) error {
		i.fill(a)
		images, err = d.impactImages(ctx, a, false, 0, limit)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("impact: %w", err)
	}
	return i, images, nil
}

func (d *DB) impactImages(ctx context.Context, a *asked, aside bool, after int64, limit int) ([]ImpactImage, error) {
	ids := a.newest(aside, after, limit+1)
	if len(ids) == 0 {
		return []ImpactImage{}, nil
	}
	rows, documents, err := d.imagesByID(ctx, ids, a.scope)
	if err != nil {
		return nil, err
	}
	if err := d.markNoData(ctx, rows); err != nil {
		return nil, err
	}
	byPlace := map[int32]*ImpactImage{}
	out := make([]ImpactImage, 0, len(ids))
	for i := range rows {
		r := &rows[i]
		place := a.fleet.images.of[r.ID]
		m := a.marks[place]
		out = append(out, ImpactImage{ImageRow: *r, State: rankState(cmp.Or(m.counted, m.aside)), Aside: m.counted == 0, Owners: a.owners(place), Held: []ImpactHeld{}})
		byPlace[place] = &out[len(out)-1]
	}
	slices.SortFunc(a.held, func(x, y heldSegment) int { return cmp.Compare(x.segment, y.segment) })
	for i := range a.held {
		a.hits(&a.held[i], func(place int32) bool { return byPlace[place] != nil }, func(h *hit) {
			m := byPlace[h.image]
			if a.file != "" {
				m.addFile(a.fileRow(h, documents[m.ID], m.BaseLayers))
			} else if len(m.Held) < maxLayerPackages {
				m.Held = append(m.Held, a.heldRow(h, documents[m.ID], m.BaseLayers))
			}
		})
	}
	for i := range out {
		slices.SortFunc(out[i].Held, func(x, y ImpactHeld) int {
			return cmp.Or(cmp.Compare(x.Layer, y.Layer), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Version, y.Version), cmp.Compare(x.PackageID, y.PackageID), cmp.Compare(x.Aside, y.Aside), cmp.Compare(x.StateLayer, y.StateLayer))
		})
	}
	if err := d.describeHeld(ctx, out, a.scope); err != nil {
		return nil, err
	}
	return out, nil
}

// newest are the ids of images with marks, in falling order.
func (a *asked) newest(aside bool, after int64, limit int) []int64 {
	var ids []int64
	for place, m := range a.marks {
		if m.counted > 0 || aside && m.aside > 0 {
			if id := a.fleet.images.ids[place]; after == 0 || id < after {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids[:min(len(ids), limit)]
}

func rankState(rank uint8) inventory.State {
	return []inventory.State{inventory.Removed, inventory.Removed, inventory.Shadowed, inventory.Present}[rank]
}

// owners of the repositories of an image that are in scope, each once.
func (a *asked) owners(place int32) (out []string) {
	for _, at := range a.fleet.at[place].repositories {
		if r := &a.repositories[at]; r.inScope && r.owner != "" && !slices.Contains(out, r.owner) {
			out = append(out, r.owner)
		}
	}
	slices.Sort(out)
	return out
}

func (a *asked) heldRow(h *hit, m *image.Image, baseLayers int) ImpactHeld {
	out := ImpactHeld{PackageID: h.pkg.id, Owned: h.pkg.owned, Layer: int(h.position), Base: int(h.position) < baseLayers, State: h.state, StateLayer: int(h.stateAt), Aside: h.aside}
	if m != nil && out.Layer < len(m.Layers) {
		out.DiffID, out.CreatedBy = string(m.Layers[out.Layer].DiffID), m.Layers[out.Layer].CreatedBy
	}
	if p := a.packages[h.pkg.id]; p != nil {
		out.Name, out.Version, out.Severity, out.FixedVersion = p.Name, p.Version, p.Severity, p.FixedVersion
	}
	return out
}

// imagesByID reads images and their documents, the newest first.
func (d *DB) imagesByID(ctx context.Context, ids []int64, scope []string) (out []ImageRow, documents map[int64]*image.Image, err error) {
	documents = map[int64]*image.Image{}
	err = d.each(ctx, `SELECT doc.document, `+imageColumns+` FROM `+imageTables+` JOIN image_documents doc ON doc.image = i.id WHERE i.id IN (`+inList(ids)+`) ORDER BY i.id DESC`, nil, func(scan func(...any) error) error {
		var doc []byte
		r, err := scanImageRow(func(into ...any) error { return scan(append([]any{&doc}, into...)...) })
		if err != nil {
			return err
		}
		if documents[r.ID], err = d.decodeDocument(doc); err != nil {
			return fmt.Errorf("image %d: %w", r.ID, err)
		}
		out = append(out, r)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return out, documents, d.nameImages(ctx, out, scope)
}

// describeHeld adds the names of bases, and those of packages that the question does
// not name itself (of a licence).
func (d *DB) describeHeld(ctx context.Context, images []ImpactImage, scope []string) error {
	bases, packages := map[int64]bool{}, map[int64]bool{}
	for i := range images {
		if images[i].Base != 0 {
			bases[images[i].Base] = true
		}
		for _, h := range images[i].Held {
			if h.Name == "" {
				packages[h.PackageID] = true
			}
		}
	}
	references, err := d.namesOf(ctx, sortedIDs(bases), scope)
	if err != nil {
		return err
	}
	names, err := d.namesOfPackages(ctx, sortedIDs(packages))
	if err != nil {
		return err
	}
	for i := range images {
		images[i].BaseReference = references[images[i].Base]
		for j := range images[i].Held {
			if h := &images[i].Held[j]; h.Name == "" {
				h.Name, h.Version = names[h.PackageID].Name, names[h.PackageID].Version
			}
		}
	}
	return nil
}

func (d *DB) namesOfPackages(ctx context.Context, ids []int64) (map[int64]ImpactPackage, error) {
	out := map[int64]ImpactPackage{}
	if len(ids) == 0 {
		return out, nil
	}
	return out, d.each(ctx, `SELECT id, type, name, version, purl, ecosystem FROM packages WHERE id IN (`+inList(ids)+`)`, nil, func(scan func(...any) error) error {
		var p ImpactPackage
		err := scan(&p.ID, &p.Type, &p.Name, &p.Version, &p.PURL, &p.Ecosystem)
		out[p.ID] = p
		return err
	})
}

// An ImpactLayer is a layer that introduces what was asked for.
type ImpactLayer struct {
	ID     int64  `json:"id"`
	DiffID string `json:"diff_id"`
	// CreatedBy is the instruction that made it, in one of the images that have it.
	CreatedBy string `json:"created_by,omitempty"`
	// Base tells that it is of the base of that image, Example the name of the image.
	Base    bool   `json:"base,omitempty"`
	Example string `json:"example,omitempty"`
	// Images that have the layer and count.
	Images int `json:"images"`
	// Packages in question that it introduces, and Paths of the file in question: at most
	// 100.
	Packages []ImpactPackage `json:"packages"`
	Paths    []string        `json:"paths,omitempty"`
}

// A LayerKey is where a page of layers ends.
type LayerKey struct {
	Images int   `json:"n"`
	ID     int64 `json:"i"`
}

// Key is that of a row.
func (l *ImpactLayer) Key() *LayerKey { return &LayerKey{l.Images, l.ID} }

// ImpactLayers lists the layers that introduce something, those in most images first,
// behind after (nil for the first page); one more than limit when there are more.
func (d *DB) ImpactLayers(ctx context.Context, q ImpactQuery, after *LayerKey, limit int) (out []ImpactLayer, err error) {
	err = d.ask(ctx, &q, func(a *asked) error {
		var held []*heldLayer
		for _, l := range a.layers() {
			if k := after; k == nil || len(l.images) < k.Images || len(l.images) == k.Images && a.fleet.layers.ids[l.layer] > k.ID {
				held = append(held, l)
			}
		}
		slices.SortFunc(held, func(x, y *heldLayer) int {
			return cmp.Or(cmp.Compare(len(y.images), len(x.images)), cmp.Compare(a.fleet.layers.ids[x.layer], a.fleet.layers.ids[y.layer]))
		})
		out, err = d.layerRows(ctx, a, held[:min(len(held), limit+1)])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("impact: %w", err)
	}
	return out, nil
}

func (d *DB) layerRows(ctx context.Context, a *asked, held []*heldLayer) ([]ImpactLayer, error) {
	out := make([]ImpactLayer, 0, len(held))
	packages := map[int64]bool{}
	var examples []fleetPosition
	for _, l := range held {
		examples = append(examples, l.example)
		for _, id := range l.packages {
			packages[id] = true
		}
	}
	layers, err := d.describeLayers(ctx, a.fleet, a.scope, examples)
	if err != nil {
		return nil, err
	}
	names := map[int64]ImpactPackage{}
	if a.file == "" {
		if names, err = d.namesOfPackages(ctx, sortedIDs(packages)); err != nil {
			return nil, err
		}
	}
	for i, l := range held {
		row := layers[i]
		row.Images, row.Packages = len(l.images), []ImpactPackage{}
		if a.file != "" {
			row.Paths = a.pathsOf(l.packages)
			out = append(out, row)
			continue
		}
		slices.Sort(l.packages)
		for _, id := range l.packages {
			p := names[id]
			if of := a.packages[id]; of != nil {
				p = *of
			}
			row.Packages = append(row.Packages, p)
		}
		out = append(out, row)
	}
	return out, nil
}

// describeLayers tells of layers by where they are in one of the images that have them.
func (d *DB) describeLayers(ctx context.Context, f *fleet, scope []string, at []fleetPosition) ([]ImpactLayer, error) {
	var images []int64
	for _, p := range at {
		images = append(images, f.images.ids[p.image])
	}
	slices.Sort(images)
	rows, documents, err := d.imagesByID(ctx, slices.Compact(images), scope)
	if err != nil {
		return nil, err
	}
	byID := map[int64]*ImageRow{}
	for i := range rows {
		byID[rows[i].ID] = &rows[i]
	}
	out := make([]ImpactLayer, len(at))
	for i, p := range at {
		id := f.images.ids[p.image]
		out[i].ID = f.layers.ids[f.at[p.image].layers[p.position].layer]
		m, r := documents[id], byID[id]
		if m == nil || int(p.position) >= len(m.Layers) {
			continue // it was deleted this moment
		}
		l := &m.Layers[p.position]
		out[i].DiffID, out[i].CreatedBy, out[i].Base = string(l.DiffID), l.CreatedBy, int(p.position) < r.BaseLayers
		if out[i].Example = r.Reference; len(r.Names) > 0 {
			out[i].Example = r.Names[0]
		}
	}
	return out, nil
}
