package analyzer

import (
	"cmp"
	"slices"
	"strings"

	"strata/internal/inventory"
)

// notTheApplications are directories below which a lock file belongs to a
// dependency, to a package manager's cache or to a test, not to the application
// of the image.
var notTheApplications = []string{
	"node_modules", "bower_components", ".npm", ".yarn", ".pnpm-store",
	"site-packages", "dist-packages",
	"gems", "vendor", ".cargo", ".cache",
	"testdata", "fixtures",
}

// applicationLock tells whether the lock file at path may be that of the
// image's application.
func applicationLock(path string) bool {
	if documentation(path) {
		return false
	}
	for _, dir := range notTheApplications {
		if hasDir(path, dir) {
			return false
		}
	}
	return true
}

// distinct sorts packages by name and version and drops what occurs twice: lock
// files list a package for every place or group that needs it, in the order of
// a map.
func distinct(packages []inventory.Package) []inventory.Package {
	order := func(a, b inventory.Package) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	}
	slices.SortStableFunc(packages, order)
	return slices.CompactFunc(packages, func(a, b inventory.Package) bool { return order(a, b) == 0 })
}

// developmentGroup tells by its name whether a group of dependencies is for
// development only.
func developmentGroup(name string) bool {
	switch strings.ToLower(name) {
	case "dev", "devel", "develop", "development", "test", "tests", "testing",
		"lint", "typing", "doc", "docs", "build-requires":
		return true
	}
	return false
}
