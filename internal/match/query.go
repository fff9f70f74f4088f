package match

import (
	"cmp"
	"slices"
	"strings"

	"strata/internal/advisory"
	"strata/internal/inventory"
)

// A query is one way in which advisories may name a package: distributions name
// source packages, or binary ones, each with a version of its own.
type query struct {
	pkg     int
	key     advisory.Key
	version string
}

// queriesOf are all queries for the packages; those without an ecosystem have
// none.
func queriesOf(packages []inventory.ImagePackage) []query {
	var out []query
	for i := range packages {
		p := &packages[i]
		if p.Ecosystem == "" {
			continue
		}
		for _, k := range p.KnownAs {
			out = append(out, query{pkg: i, key: advisory.NewKey(k.Ecosystem, k.Name), version: cmp.Or(k.Version, p.Version)})
		}
		if len(p.KnownAs) > 0 {
			continue
		}
		for _, n := range namesOf(&p.Package) {
			out = append(out, query{pkg: i, key: advisory.NewKey(p.Ecosystem, n.name), version: n.version})
		}
	}
	return out
}

// Keys are the names by which advisories may know the package, each once, sorted:
// an advisory that names none of them says nothing of it.
func Keys(p *inventory.ImagePackage) []advisory.Key {
	return keysOf(queriesOf([]inventory.ImagePackage{*p}))
}

type nameVersion struct{ name, version string }

// namesOf are the names, each with its version, by which the advisories of the
// package's ecosystem may know it.
func namesOf(p *inventory.Package) []nameVersion {
	binary := nameVersion{p.Name, p.Version}
	if !p.Distribution() {
		return []nameVersion{binary}
	}
	source := nameVersion{p.SourceName, p.SourceVersion}
	if source.name == "" {
		source.name = p.Name
	}
	if source.version == "" {
		source.version = p.Version
	}
	switch advisory.Base(p.Ecosystem) {
	case "AlmaLinux", "Rocky Linux", "Red Hat", "Mageia", "openEuler", "Azure Linux", "Photon OS":
		// Their errata list every binary package, with its epoch; a source rpm's
		// name has none, so that its version would be too old for ever.
		return []nameVersion{binary}
	case "SUSE", "openSUSE":
		source.version = withEpoch(source.version, p.Version)
		if source != binary {
			return []nameVersion{source, binary}
		}
	}
	return []nameVersion{source}
}

// withEpoch gives a source rpm's version the epoch of a binary made of it, when
// the two are the same beside.
func withEpoch(source, binary string) string {
	epoch, rest, ok := strings.Cut(binary, ":")
	if ok && !strings.Contains(source, ":") && rest == source {
		return epoch + ":" + source
	}
	return source
}

// keysOf are the queries' keys, each once.
func keysOf(queries []query) []advisory.Key {
	seen := make(map[advisory.Key]bool, len(queries))
	var out []advisory.Key
	for _, q := range queries {
		if !seen[q.key] {
			seen[q.key] = true
			out = append(out, q.key)
		}
	}
	slices.SortFunc(out, func(a, b advisory.Key) int {
		if c := strings.Compare(a.Ecosystem, b.Ecosystem); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}
