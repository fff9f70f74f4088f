package remedy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"strata/internal/inventory"
	"strata/internal/match"
)

// stays says of every finding that no step removes why not.
func (p *planner) stays() {
	type group struct {
		pkg    int
		reason StayReason
	}
	by := map[group][]int{}
	var order []group
	for _, f := range p.active {
		if !p.open[f] {
			continue
		}
		g := group{p.Match.Findings[f].Package, p.reason(f)}
		if by[g] == nil {
			order = append(order, g)
		}
		by[g] = append(by[g], f)
	}
	for _, g := range order {
		ip := &p.Inventory.Packages[g.pkg]
		p.plan.Stays = append(p.plan.Stays, Stay{
			PackageID: ip.ID, Type: ip.Type, Name: ip.Name, Version: ip.Version, Layer: ip.Layer, Reason: g.reason,
			Text: p.stayText(g.reason, g.pkg, by[g]), Findings: p.refs(by[g]),
		})
	}
	slices.SortStableFunc(p.plan.Stays, func(a, b Stay) int {
		return cmp.Or(cmp.Compare(risks(b.Findings), risks(a.Findings)), cmp.Compare(a.Name, b.Name))
	})
}

func (p *planner) reason(f int) StayReason {
	finding := &p.Match.Findings[f]
	ip := p.pkg(f)
	switch {
	case finding.FixedVersion == "" && ip.Distribution() && p.Match.Distro.Status == match.EndOfLife:
		return StayEndOfLife
	case finding.FixedVersion == "":
		return StayNoFix
	case p.left(f):
		return StayLeft
	case len(p.upgrades[finding.Package]) == 0:
		return StayUnclear
	case ip.Distribution():
		return StayNoManager
	}
	return StayBase
}

// left tells that the package is upgraded, and the finding stays.
func (p *planner) left(f int) bool {
	for _, u := range p.upgrades[p.Match.Findings[f].Package] {
		if slices.Contains(u.Leaves, p.Match.Findings[f].ID) {
			return true
		}
	}
	return false
}

func (p *planner) stayText(r StayReason, pkg int, findings []int) string {
	switch r {
	case StayEndOfLife:
		return "the distribution's release is past its end of life, and no fix will come: build on a newer release"
	case StayNoFix:
		return "no version without it is known"
	case StayLeft:
		return "the version that fixes the others still has it"
	case StayUnclear:
		return fmt.Sprintf("%s is said to be fixed in %s, but no one version answers for all that is said of the package", plural(len(findings), "finding"), p.Match.Findings[findings[0]].FixedVersion)
	case StayNoManager:
		return "the image has no package manager to upgrade it with: only a newer base helps"
	}
	if p.Inventory.Packages[pkg].Layer < p.base {
		return "it comes with the base image, and no known base is without it: give one with --candidate, or look for one with --tags"
	}
	return "nothing tells which instruction decides its version"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// rebuilds lists what is gone from the file system and still ships.
func (p *planner) rebuilds() {
	by := map[int][]int{}
	for i := range p.Match.Findings {
		if planned(p.Match, p.Inventory, i) && !present(&p.Match.Findings[i]) {
			by[p.Match.Findings[i].Package] = append(by[p.Match.Findings[i].Package], i)
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(by)) {
		ip := &p.Inventory.Packages[pkg]
		p.plan.Rebuilds = append(p.plan.Rebuilds, Rebuild{
			Type: ip.Type, Name: ip.Name, Version: ip.Version, Layer: ip.Layer, StateLayer: ip.StateLayer, State: ip.State,
			Findings: p.refs(by[pkg]), Text: p.rebuildText(ip),
		})
	}
	slices.SortStableFunc(p.plan.Rebuilds, func(a, b Rebuild) int {
		return cmp.Or(cmp.Compare(a.Layer, b.Layer), cmp.Compare(a.StateLayer, b.StateLayer), cmp.Compare(risks(b.Findings), risks(a.Findings)), cmp.Compare(a.Name, b.Name))
	})
}

func (p *planner) rebuildText(ip *inventory.ImagePackage) string {
	verb := "removed"
	if ip.State == inventory.Shadowed {
		verb = "replaced"
	}
	if ip.Layer < p.base {
		return fmt.Sprintf("it is in the base image, and %s only %s it: a base without it, or a last stage that copies what it needs, is rid of it", p.layerName(ip.StateLayer), verb)
	}
	return fmt.Sprintf("%s only %s it: do that in the instruction of %s, or copy the result into a last stage", p.layerName(ip.StateLayer), verb, p.layerName(ip.Layer))
}

// layerName is a layer with the line that made it.
func (p *planner) layerName(layer int) string {
	at, ok := p.places[layer]
	if !ok {
		return fmt.Sprintf("layer %d", layer)
	}
	return fmt.Sprintf("layer %d (line %d)", layer, p.Dockerfile.Stages[at.stage].Instructions[at.n].Line)
}
