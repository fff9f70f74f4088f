package match

import (
	"context"
	"fmt"

	"strata/internal/inventory"
)

// Packages matches package versions that are in no image in particular, and gives the
// findings of each, in the order of Find: those that Find gives for the package in an
// image, but for what depends on the image. So none is set aside as the distribution's
// (DistroOwned), and a program has also what is found in another package of its file.
// Of a package only what names it and its version counts; ID, layers and locations of
// the findings are empty.
func Packages(ctx context.Context, packages []inventory.ImagePackage, db Advisories) ([][]Finding, error) {
	bare := make([]inventory.ImagePackage, len(packages))
	for i := range packages {
		bare[i] = packages[i]
		p := &bare[i]
		p.ID, p.Owner, p.Locations, p.Layer, p.State, p.StateLayer = "", "", nil, 0, inventory.Present, -1
	}
	m := &matching{img: &inventory.Image{Packages: bare}, queries: queriesOf(bare)}
	err := m.evaluate(ctx, db)
	if err == nil {
		err = m.join(ctx, db)
	}
	if err != nil {
		return nil, fmt.Errorf("match: %w", err)
	}
	out := make([][]Finding, len(packages))
	for _, f := range m.findings() {
		out[f.Package] = append(out[f.Package], f)
	}
	return out, nil
}

// Known tells which of the advisories a database still has.
func Known(ctx context.Context, ids []string, db Advisories) (map[string]bool, error) {
	facts, err := db.Facts(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("match: %w", err)
	}
	known := make(map[string]bool, len(facts))
	for _, f := range facts {
		known[f.ID] = true
	}
	return known, nil
}
