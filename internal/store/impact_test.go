package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/advisory"
	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/license"
)

// A testFinding is one in a package version, as findings has it.
type testFinding struct {
	severity int
	fixed    string
	aside    string
}

// A testWorld is a fleet in registries, with findings, and what is known of it apart
// from the rows that questions are answered of.
type testWorld struct {
	*testFleet
	db  *DB
	ids []int64
	// repositories of each image; owners and registries of repositories.
	repositories [][]string
	owner        map[string]string
	// packageIDs by key.
	packageIDs map[rowKey]int64
	packages   map[int64]*inventory.ImagePackage
	// findings that are open: by vulnerability, then package.
	findings map[string]map[int64]testFinding
}

func newTestWorld(t *testing.T, db *DB, seed uint64, images int) *testWorld {
	w := &testWorld{testFleet: newTestFleet(seed, images), db: db, owner: map[string]string{}, packageIDs: map[rowKey]int64{}, packages: map[int64]*inventory.ImagePackage{}, findings: map[string]map[int64]testFinding{}}
	w.repositories = make([][]string, images)
	w.ids = w.put(t, db)
	for r := range 2 {
		w.exec(t, `INSERT INTO registries (name, url, kind, settings, created_at, updated_at) VALUES ($1, '', 'crawled', '{}', 0, 0)`, fmt.Sprintf("r%d.example", r))
	}
	for i := range images {
		for range w.r.IntN(3) {
			w.place(t, i)
		}
	}
	w.readPackages(t)
	for v := range 8 {
		w.addVulnerability(t, fmt.Sprintf("CVE-2026-%04d", v))
	}
	return w
}

func (w *testWorld) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := w.db.db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

func (w *testWorld) one(t *testing.T, query string, args ...any) (id int64) {
	t.Helper()
	if err := w.db.db.QueryRowContext(t.Context(), query, args...).Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

// place puts an image into a repository.
func (w *testWorld) place(t *testing.T, i int) {
	registry, name := w.r.IntN(2), fmt.Sprintf("team%d/app%d", w.r.IntN(3), w.r.IntN(4))
	full := fmt.Sprintf("r%d.example/%s", registry, name)
	if slices.Contains(w.repositories[i], full) {
		return
	}
	if _, ok := w.owner[full]; !ok {
		w.owner[full] = []string{"", "ann@x.example", "bob@x.example"}[w.r.IntN(3)]
		w.exec(t, `INSERT INTO repositories (registry, name, owner, seen_at) SELECT id, $1, $2, 0 FROM registries WHERE name = $3`, name, w.owner[full], fmt.Sprintf("r%d.example", registry))
	}
	repository := w.one(t, `SELECT p.id FROM repositories p JOIN registries r ON r.id = p.registry WHERE r.name || '/' || p.name = $1`, full)
	manifest := w.one(t, `INSERT INTO manifests (repository, digest, state, found_at) VALUES ($1, $2, 'scanned', 0) RETURNING id`, repository, string(w.images[i].Image.Digest))
	if err := w.db.SetManifestImages(t.Context(), manifest, []int64{w.ids[i]}); err != nil {
		t.Fatal(err)
	}
	w.repositories[i] = append(w.repositories[i], full)
}

func (w *testWorld) readPackages(t *testing.T) {
	err := w.db.each(t.Context(), `SELECT key, id FROM packages`, nil, func(scan func(...any) error) error {
		var key []byte
		var id int64
		if err := scan(&key, &id); err != nil {
			return err
		}
		w.packageIDs[rowKey(key)] = id
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range w.images {
		for i := range c.Inventory.Packages {
			p := &c.Inventory.Packages[i]
			w.packages[w.packageIDs[packageKey(p)]] = p
		}
	}
}

// addVulnerability opens findings of a vulnerability in some package versions, and has
// some that are closed.
func (w *testWorld) addVulnerability(t *testing.T, name string) {
	v := w.one(t, `INSERT INTO found_vulnerabilities (name, summary) VALUES ($1, 'what it is') RETURNING id`, name)
	for _, n := range []string{name, "GHSA-" + name[4:]} {
		w.exec(t, `INSERT INTO vulnerability_names (name, vulnerability) VALUES ($1, $2)`, n, v)
	}
	open := map[int64]testFinding{}
	for _, id := range sortedIDs(w.packages) {
		if w.r.IntN(4) > 0 {
			continue
		}
		f := testFinding{severity: w.r.IntN(5), fixed: []string{"", "9.9"}[w.r.IntN(2)], aside: []string{"", "", "", "not-run"}[w.r.IntN(4)]}
		var closed any
		if w.r.IntN(5) == 0 {
			closed = 7
		} else {
			open[id] = f
		}
		w.exec(t, `INSERT INTO findings (package, vulnerability, severity, score, kev, fixed_version, advisories, aside, opened_at, closed_at) VALUES ($1, $2, $3, 0, $4, $5, '', $6, 1, $7)`,
			id, v, f.severity, false, f.fixed, f.aside, closed)
	}
	w.findings[name] = open
}

// A bruteHit is what an image has of a package in question.
type bruteHit struct {
	pkg            int64
	layer, stateAt int
	state          inventory.State
	aside          string
	owned          bool
}

// brute goes through the inventories that Merge made.
func (w *testWorld) brute(i int, wanted func(id int64, p *inventory.ImagePackage) bool, findings map[int64]testFinding) (hits []bruteHit) {
	inv := w.images[i].Inventory
	for j := range inv.Packages {
		p := &inv.Packages[j]
		id := w.packageIDs[packageKey(p)]
		if !wanted(id, p) {
			continue
		}
		h := bruteHit{pkg: id, layer: p.Layer, stateAt: p.StateLayer, state: p.State, owned: p.Owner != "" && !p.Distribution()}
		if p.State == inventory.Present {
			h.stateAt = -1
		}
		switch {
		case findings == nil:
		case h.owned:
			h.aside = "distro-owned"
		case findings[id].aside != "":
			h.aside = findings[id].aside
		case w.toldTwice(i, id, findings):
			h.aside = "twin"
		}
		hits = append(hits, h)
	}
	slices.SortFunc(hits, func(a, b bruteHit) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return slices.Compact(hits)
}

// toldTwice tells that the file of a program tells of another package with the finding.
func (w *testWorld) toldTwice(i int, id int64, findings map[int64]testFinding) bool {
	inv := w.images[i].Inventory
	paths := map[string]bool{}
	for j := range inv.Packages {
		if p := &inv.Packages[j]; p.Type == "generic" && w.packageIDs[packageKey(p)] == id {
			for _, l := range p.Locations {
				paths[l.Path] = true
			}
		}
	}
	for j := range inv.Packages {
		p := &inv.Packages[j]
		if _, found := findings[w.packageIDs[packageKey(p)]]; p.Type == "generic" || !found {
			continue
		}
		for _, l := range p.Locations {
			if paths[l.Path] {
				return true
			}
		}
	}
	return false
}

// A bruteAnswer is all that a question tells, computed from the inventories.
type bruteAnswer struct {
	totals ImpactTotals
	images []string
	layers []string
}

func (w *testWorld) visible(i int, scope []string) bool {
	return scope == nil || slices.ContainsFunc(w.repositories[i], func(r string) bool { return MatchName(scope, r) })
}

var bruteRank = map[inventory.State]int{inventory.Removed: 1, inventory.Shadowed: 2, inventory.Present: 3}

// answer sums up what images have; line tells of a hit, and name of what is held.
func (w *testWorld) answer(t *testing.T, scope []string, hitsOf func(i int) []bruteHit, findings map[int64]testFinding, line func(i int, h bruteHit) string, name func(int64) string) (a bruteAnswer) {
	layers, layerHolds := map[string]map[int]bool{}, map[string]map[string]bool{}
	lines := func(i int, hits []bruteHit) string {
		var out []string
		for _, h := range hits {
			out = append(out, line(i, h))
		}
		slices.Sort(out)
		return strings.Join(out, "; ")
	}
	repositories, registries, owners, bases := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[int64]bool{}
	for i := range w.images {
		hits := hitsOf(i)
		if len(hits) == 0 || !w.visible(i, scope) {
			continue
		}
		best, aside, worst := 0, 0, 0
		for _, h := range hits {
			if h.aside != "" {
				aside = max(aside, bruteRank[h.state])
				continue
			}
			best, worst = max(best, bruteRank[h.state]), max(worst, findings[h.pkg].severity)
		}
		states := []string{"", "removed", "shadowed", "present"}
		if best == 0 {
			a.totals.Aside++
			a.images = append(a.images, fmt.Sprintf("%d aside %s %s", w.ids[i], states[aside], lines(i, hits)))
			continue
		}
		a.images = append(a.images, fmt.Sprintf("%d %s %s", w.ids[i], states[best], lines(i, hits)))
		a.totals.Images++
		*[]*int{nil, &a.totals.Removed, &a.totals.Shadowed, &a.totals.Present}[best]++
		if findings != nil {
			*[]*int{&a.totals.Severity.Unknown, &a.totals.Severity.Low, &a.totals.Severity.Medium, &a.totals.Severity.High, &a.totals.Severity.Critical}[worst]++
		}
		if base := w.one(t, `SELECT COALESCE(base, 0) FROM images WHERE id = $1`, w.ids[i]); base != 0 && slices.Contains(w.ids, base) && w.visible(slices.Index(w.ids, base), scope) {
			bases[base] = true
		}
		for _, h := range hits {
			if h.aside != "" {
				continue
			}
			l := string(w.images[i].Image.Layers[h.layer].DiffID)
			if layers[l] == nil {
				layers[l], layerHolds[l] = map[int]bool{}, map[string]bool{}
			}
			layers[l][i], layerHolds[l][name(h.pkg)] = true, true
		}
		for _, r := range w.repositories[i] {
			if scope != nil && !MatchName(scope, r) {
				continue
			}
			registry, _, _ := strings.Cut(r, "/")
			repositories[r], registries[registry] = true, true
			if w.owner[r] != "" {
				owners[w.owner[r]] = true
			}
		}
	}
	for l, images := range layers {
		a.layers = append(a.layers, fmt.Sprintf("%s %d %v", l, len(images), slices.Sorted(maps.Keys(layerHolds[l]))))
	}
	slices.Sort(a.images)
	slices.Sort(a.layers)
	a.totals.Layers, a.totals.Repositories, a.totals.Registries, a.totals.Owners, a.totals.Bases = len(layers), len(repositories), len(registries), len(owners), len(bases)
	return a
}

func (w *testWorld) line(i int, h bruteHit, findings map[int64]testFinding) string {
	p, f, l := w.packages[h.pkg], findings[h.pkg], w.images[i].Image.Layers[h.layer]
	severity := ""
	if findings != nil {
		severity = string(advisory.SeverityOfRank(f.severity))
	}
	return fmt.Sprintf("%s@%s layer %d %s %q %s by %d owned=%v aside %q %s fix %q", p.Name, p.Version, h.layer, l.DiffID, l.CreatedBy, h.state, h.stateAt, h.owned, h.aside, severity, f.fixed)
}

// bruteFiles goes through the layers of an image, and tells where a content is and was:
// what is held is the path, by its place in paths.
func (w *testWorld) bruteFiles(t *testing.T, i int, content [sha256.Size]byte, paths []string) (hits []bruteHit) {
	now := map[string]bruteHit{} // by path, of any content
	contents := map[string][sha256.Size]byte{}
	end := func(p string, state inventory.State, at int) {
		h := now[p]
		if h.state, h.stateAt = state, at; contents[p] == content {
			hits = append(hits, h)
		}
		delete(now, p)
	}
	for at, ref := range w.images[i].Image.Layers {
		l := w.layers[ref.DiffID]
		files, err := l.FileDigests(l.Paths)
		if err != nil {
			t.Fatal(err)
		}
		for p := range now {
			entry, there := l.Paths.Find(p)
			again := slices.ContainsFunc(files, func(f inventory.FileDigest) bool { return f.Path == p && f.SHA256 == contents[p] })
			marked := slices.ContainsFunc(l.Paths, func(e inventory.Path) bool {
				return e.Kind == inventory.PathWhiteout && e.Path == p || e.Kind == inventory.PathOpaque && strings.HasPrefix(p, e.Path+"/")
			})
			switch {
			case again:
			case there && entry.Kind == inventory.PathFile:
				end(p, inventory.Shadowed, at)
			case marked:
				end(p, inventory.Removed, at)
			}
		}
		for _, f := range files {
			if _, goesOn := now[f.Path]; !goesOn {
				now[f.Path] = bruteHit{pkg: int64(slices.Index(paths, f.Path)), layer: at, state: inventory.Present, stateAt: -1}
				contents[f.Path] = f.SHA256
			}
		}
	}
	for p, h := range now {
		if contents[p] == content {
			hits = append(hits, h)
		}
	}
	return hits
}

// checkFiles holds questions about files against the layers.
func (w *testWorld) checkFiles(t *testing.T, scope []string) (images int) {
	t.Helper()
	var paths []string
	for _, l := range w.layers {
		for _, p := range l.Paths {
			paths = append(paths, p.Path)
		}
	}
	slices.Sort(paths)
	for _, n := range []int{0, 1, testContents} { // the last is nowhere
		content := testContent(n)
		want := w.answer(t, scope, func(i int) []bruteHit { return w.bruteFiles(t, i, content, paths) }, nil, func(i int, h bruteHit) string {
			l := w.images[i].Image.Layers[h.layer]
			return fmt.Sprintf("%s layer %d %s %q %s by %d", paths[h.pkg], h.layer, l.DiffID, l.CreatedBy, h.state, h.stateAt)
		}, func(id int64) string { return paths[id] })
		images += want.totals.Images
		q := ImpactQuery{File: fmt.Sprintf("sha256:%x", content), Scope: scope}
		if diff := want.diff(w.asked(t.Context(), t, q)); diff != "" {
			t.Fatalf("%+v (-brute force +database):\n%s", q, diff)
		}
	}
	return images
}

// asked is the same from the database, through all pages.
func (w *testWorld) asked(ctx context.Context, t *testing.T, q ImpactQuery) (a bruteAnswer) {
	t.Helper()
	i, first, err := w.db.FirstImpact(ctx, q, 3)
	if errors.Is(err, ErrNotFound) {
		return a
	}
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	a.totals = i.Totals
	for after, page := int64(0), 0; ; page++ {
		rows, err := w.db.ImpactImages(ctx, q, true, after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if page == 0 {
			counted := slices.DeleteFunc(slices.Clone(rows), func(r ImpactImage) bool { return r.Aside })
			if n := min(len(counted), len(first)); !cmp.Equal(counted[:n], first[:n]) {
				t.Errorf("%+v: first page: %s", q, cmp.Diff(counted[:n], first[:n]))
			}
		}
		for _, r := range rows[:min(3, len(rows))] {
			var lines []string
			for _, h := range r.Held {
				lines = append(lines, fmt.Sprintf("%s@%s layer %d %s %q %s by %d owned=%v aside %q %s fix %q", h.Name, h.Version, h.Layer, h.DiffID, h.CreatedBy, h.State, h.StateLayer, h.Owned, h.Aside, h.Severity, h.FixedVersion))
			}
			for _, f := range r.Files {
				lines = append(lines, fmt.Sprintf("%s layer %d %s %q %s by %d", f.Path, f.Layer, f.DiffID, f.CreatedBy, f.State, f.StateLayer))
			}
			slices.Sort(lines)
			aside := ""
			if r.Aside {
				aside = "aside "
			}
			a.images = append(a.images, fmt.Sprintf("%d %s%s %s", r.ID, aside, r.State, strings.Join(lines, "; ")))
			after = r.ID
		}
		if len(rows) <= 3 {
			break
		}
	}
	for after := (*LayerKey)(nil); ; {
		rows, err := w.db.ImpactLayers(ctx, q, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows[:min(2, len(rows))] {
			holds := r.Paths
			for _, p := range r.Packages {
				holds = append(holds, fmt.Sprint(p.ID))
			}
			slices.Sort(holds)
			a.layers = append(a.layers, fmt.Sprintf("%s %d %v", r.DiffID, r.Images, holds))
			after = r.Key()
		}
		if len(rows) <= 2 {
			break
		}
	}
	slices.Sort(a.images)
	slices.Sort(a.layers)
	return a
}

func (a bruteAnswer) diff(b bruteAnswer) string {
	return cmp.Diff(a.totals, b.totals) + cmp.Diff(a.images, b.images) + cmp.Diff(a.layers, b.layers)
}

// check holds all questions against the recomputation, and gives how many images were
// in the answers.
func (w *testWorld) check(t *testing.T, scope []string) (images int) {
	t.Helper()
	compare := func(q ImpactQuery, wanted func(int64, *inventory.ImagePackage) bool, findings map[int64]testFinding) {
		t.Helper()
		q.Scope = scope
		want := w.answer(t, scope, func(i int) []bruteHit { return w.brute(i, wanted, findings) }, findings,
			func(i int, h bruteHit) string { return w.line(i, h, findings) }, func(id int64) string { return fmt.Sprint(id) })
		images += want.totals.Images
		if diff := want.diff(w.asked(t.Context(), t, q)); diff != "" {
			t.Fatalf("%+v (-brute force +database):\n%s", q, diff)
		}
	}
	for name, findings := range w.findings {
		has := func(id int64, _ *inventory.ImagePackage) bool { _, ok := findings[id]; return ok }
		compare(ImpactQuery{Vulnerability: strings.ToLower(name)}, has, findings)
		compare(ImpactQuery{Vulnerability: "ghsa-" + name[4:]}, has, findings)
	}
	for i := range 6 {
		name := fmt.Sprintf("lib%d", i)
		compare(ImpactQuery{Name: name, Type: "deb"}, func(_ int64, p *inventory.ImagePackage) bool { return p.Name == name }, nil)
		compare(ImpactQuery{Name: name, Range: ">=1.2-1, <1.3-1"}, func(_ int64, p *inventory.ImagePackage) bool {
			return p.Name == name && p.Version == "1.2-1" && p.Ecosystem != ""
		}, nil)
	}
	compare(ImpactQuery{Name: "m1", Type: "npm", Range: "<2.0.0"}, func(_ int64, p *inventory.ImagePackage) bool {
		return p.Name == "m1" && p.Version != "2.0.0"
	}, nil)
	for id, p := range w.packages {
		if id%3 == 0 && p.PURL != "" {
			compare(ImpactQuery{PURL: p.PURL}, func(_ int64, o *inventory.ImagePackage) bool { return o.PURL == p.PURL }, nil)
		}
	}
	for _, expression := range []string{"MIT", "ISC"} {
		compare(ImpactQuery{License: expression}, func(_ int64, p *inventory.ImagePackage) bool { return p.License.Expression == expression }, nil)
	}
	compare(ImpactQuery{License: string(license.Permissive)}, func(_ int64, p *inventory.ImagePackage) bool { return p.License.Expression != "" }, nil)
	return images + w.checkFiles(t, scope)
}

// Impact says of random fleets what a recomputation from the merged inventories says:
// for vulnerabilities, packages, ranges, licences and files, in sum and by page, in any scope.
// Images that come, change and go are seen at once.
func TestImpactIsWhatInventoriesSay(t *testing.T) {
	scopes := [][]string{nil, {"r0.example/**"}, {"*/team1/*", "r1.example/team0/app0"}, {}}
	onEngines(t, func(t *testing.T, db *DB) {
		w := newTestWorld(t, db, uint64(3+rand.IntN(1000)), 25)
		for _, scope := range scopes {
			if n := w.check(t, scope); n == 0 && len(scope) != 0 || scope == nil && n < 100 {
				t.Errorf("scope %v: %d images in all answers", scope, n)
			}
		}
		for range 5 { // images that come later
			c := w.grow()
			id, err := db.PutImage(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			w.ids, w.repositories = append(w.ids, id), append(w.repositories, nil)
			w.place(t, len(w.ids)-1)
		}
		w.readPackages(t)
		w.addVulnerability(t, "CVE-2026-9999")
		w.check(t, nil)
		w.replace(t, 0)
		w.check(t, scopes[1])
		w.deleteRegistry(t, "r1.example")
		w.check(t, nil)
		w.check(t, scopes[2])
		w.retain(t)
		w.check(t, nil)
	})
}

// retain deletes the images that are in no registry.
func (w *testWorld) retain(t *testing.T) {
	t.Helper()
	now := w.db.now
	w.db.now = func() time.Time { return now().Add(48 * time.Hour) }
	w.exec(t, `INSERT INTO tags (repository, name, manifest, from_at) SELECT repository, digest, id, 0 FROM manifests`)
	gone, err := w.db.Retain(t.Context(), 24*time.Hour, 0)
	if err != nil || gone.Images == 0 {
		t.Fatalf("%+v: %v", gone, err)
	}
	if n := w.one(t, `SELECT COUNT(*) FROM files f WHERE NOT EXISTS (SELECT 1 FROM segment_files sf WHERE sf.file = f.id)`); n > 0 {
		t.Errorf("%d files are left that no layer introduces", n)
	}
	for i := len(w.ids) - 1; i >= 0; i-- {
		if len(w.repositories[i]) == 0 {
			w.ids, w.images, w.repositories = slices.Delete(w.ids, i, i+1), slices.Delete(w.images, i, i+1), slices.Delete(w.repositories, i, i+1)
		}
	}
}

// replace gives an image other content under its digest.
func (w *testWorld) replace(t *testing.T, i int) {
	t.Helper()
	old := w.images[i].Image.Digest
	c := w.grow()
	w.images = w.images[:len(w.images)-1]
	c.Image.Digest = old
	if id, err := w.db.PutImage(t.Context(), c); err != nil || id != w.ids[i] {
		t.Fatalf("id %d, want %d: %v", id, w.ids[i], err)
	}
	w.images[i] = c
	w.readPackages(t)
}

func (w *testWorld) deleteRegistry(t *testing.T, name string) {
	t.Helper()
	if err := w.db.DeleteRegistry(t.Context(), w.one(t, `SELECT id FROM registries WHERE name = $1`, name)); err != nil {
		t.Fatal(err)
	}
	for i := range w.repositories {
		w.repositories[i] = slices.DeleteFunc(w.repositories[i], func(r string) bool { return strings.HasPrefix(r, name+"/") })
	}
}

// Images upon a base or a layer are those whose layers say so.
func TestDescendants(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		w := newTestWorld(t, db, uint64(rand.IntN(1000)), 30)
		found := 0
		for i, c := range w.images {
			base := c.Image.Layers
			var upon []int64
			for j, o := range w.images {
				layers := o.Image.Layers
				if j != i && len(layers) >= len(base) && slices.EqualFunc(layers[:len(base)], base, func(a, b image.Layer) bool { return a.DiffID == b.DiffID }) {
					upon = append(upon, w.ids[j])
				}
			}
			found += len(upon)
			w.wantImages(t, ImpactQuery{Base: string(c.Image.Digest)}, upon)
			w.wantImages(t, ImpactQuery{Base: fmt.Sprint(w.ids[i])}, upon)
			chains := c.Image.ChainIDs()
			w.wantImages(t, ImpactQuery{Layer: "chain:" + string(chains[len(chains)-1])}, append(upon, w.ids[i]))
			l := base[len(base)-1].DiffID
			var with []int64
			for j, o := range w.images {
				if slices.ContainsFunc(o.Image.Layers, func(x image.Layer) bool { return x.DiffID == l }) {
					with = append(with, w.ids[j])
				}
			}
			w.wantImages(t, ImpactQuery{Layer: string(l)}, with)
		}
		if found == 0 {
			t.Error("no image is upon another")
		}
	})
}

func (w *testWorld) wantImages(t *testing.T, q ImpactQuery, want []int64) {
	t.Helper()
	i, rows, err := w.db.FirstImpact(t.Context(), q, 1000)
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	var got []int64
	for _, r := range rows {
		got = append(got, r.ID)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || i.Totals.Images != len(want) {
		t.Errorf("%+v: images %v, %d in sum, want %v", q, got, i.Totals.Images, want)
	}
}

// Questions that can't be asked, and what is not known.
func TestImpactQuestions(t *testing.T) {
	db := openTestDB(t, t.TempDir()+"/strata.db")
	for _, c := range []struct {
		query ImpactQuery
		want  error
	}{
		{ImpactQuery{}, ErrQuery},
		{ImpactQuery{Vulnerability: "CVE-1", License: "MIT"}, ErrQuery},
		{ImpactQuery{Range: "<1"}, ErrQuery},
		{ImpactQuery{PURL: "npm/lodash"}, ErrQuery},
		{ImpactQuery{PURL: "pkg:npm/lodash@1", Range: "<1"}, ErrQuery},
		{ImpactQuery{Name: "lodash", Range: "<"}, ErrQuery},
		{ImpactQuery{Name: "lodash"}, ErrNotFound},
		{ImpactQuery{Vulnerability: "CVE-1"}, ErrNotFound},
		{ImpactQuery{License: "MIT"}, ErrNotFound},
		{ImpactQuery{Base: "debian:12"}, ErrNotFound},
		{ImpactQuery{Layer: "sha256:1"}, ErrNotFound},
		{ImpactQuery{File: "sha256:1"}, ErrQuery},
		{ImpactQuery{File: "/usr/bin/true"}, ErrQuery},
		{ImpactQuery{File: fmt.Sprintf("SHA256:%064X", 10), License: "MIT"}, ErrQuery},
		{ImpactQuery{File: fmt.Sprintf("SHA256:%064X", 10)}, ErrNotFound},
	} {
		if _, err := db.Impact(t.Context(), c.query); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.query, err, c.want)
		}
	}
}

// Names are compared as their ecosystems do.
func TestImpactNames(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		for i, p := range []struct{ typ, ecosystem, name, purl, key string }{
			{"pypi", "PyPI", "Flask", "pkg:pypi/flask@1", "flask"},
			{"npm", "npm", "Flask", "pkg:npm/Flask@1", "Flask"},
			{"nuget", "NuGet", "Newtonsoft.Json", "pkg:nuget/Newtonsoft.Json@1", "newtonsoft.json"},
			{"deb", "Debian:12", "python3-flask", "pkg:deb/debian/python3-flask@1", "flask"}, // by its source
		} {
			if _, err := db.db.ExecContext(t.Context(), `INSERT INTO packages (id, key, type, ecosystem, name, version, arch, purl, source_name, source_version, known_as) VALUES ($1, $2, $3, $4, $5, '1', '', $6, '', '', '')`,
				i+1, []byte{byte(i)}, p.typ, p.ecosystem, p.name, p.purl); err != nil {
				t.Fatal(err)
			}
			if _, err := db.db.ExecContext(t.Context(), `INSERT INTO package_keys (ecosystem, name, package) VALUES ($1, $2, $3)`, p.ecosystem, p.key, i+1); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			query ImpactQuery
			want  []int64
		}{
			{ImpactQuery{Name: "flask"}, []int64{1}},
			{ImpactQuery{Name: "FLASK"}, []int64{1}},
			{ImpactQuery{Name: "Flask"}, []int64{1, 2}},
			{ImpactQuery{Name: "Flask", Type: "npm"}, []int64{2}},
			{ImpactQuery{PURL: "pkg:pypi/flask"}, []int64{1}},
			{ImpactQuery{PURL: "pkg:pypi/Flask@1"}, []int64{1}},
			{ImpactQuery{PURL: "pkg:npm/flask"}, nil},
			{ImpactQuery{Name: "newtonsoft.json"}, []int64{3}},
			{ImpactQuery{Name: "python3-flask"}, []int64{4}},
		} {
			s, err := db.packageSubject(t.Context(), &c.query)
			if err != nil && !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
			var got []int64
			if err == nil {
				got = sortedIDs(s.packages)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%+v: %v, want %v", c.query, got, c.want)
			}
		}
		rows, err := db.PackageVersions(t.Context(), PackageQuery{Prefix: "fla", Limit: 10})
		if err != nil || len(rows) != 2 {
			t.Errorf("packages that begin with fla: %+v, %v", rows, err)
		}
	})
}

func TestVersionRange(t *testing.T) {
	for _, c := range []struct {
		ecosystem, version, bounds string
		want                       bool
	}{
		{"npm", "4.17.20", "<4.17.21", true},
		{"npm", "4.17.21", "<4.17.21", false},
		{"npm", "4.9.0", ">=4.10.0", false},
		{"PyPI", "1.0rc1", "<1.0", true},
		{"Debian:12", "1:1.2.11.dfsg-4", ">=1:1.2.9, <1:1.2.12", true},
		{"Go", "v1.9.0", ">1.10.0", false},
		{"npm", "1.2.3", "1.2.3", true},
		{"npm", "1.2.3", "!=1.2.3", false},
		{"npm", "1.2.3", "==1.2.3,<=1.2.3", true},
	} {
		bounds, err := parseRange(c.bounds)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := inRange(&ImpactPackage{Ecosystem: c.ecosystem, Version: c.version}, bounds); err != nil || got != c.want {
			t.Errorf("%s %s in %s: %v, %v", c.ecosystem, c.version, c.bounds, got, err)
		}
	}
	if _, err := inRange(&ImpactPackage{Version: "1"}, []versionBound{{"<", "2"}}); !errors.Is(err, advisory.ErrVersion) {
		t.Errorf("without ecosystem: %v", err)
	}
}

// FixFirst says what a recomputation says of what each layer, and each base, introduces.
func TestFixFirstIsWhatInventoriesSay(t *testing.T) {
	onEngines(t, func(t *testing.T, db *DB) {
		w := newTestWorld(t, db, 21, 30)
		for _, scope := range [][]string{nil, {"r0.example/**"}} {
			for _, bases := range []bool{false, true} {
				got, err := db.FixFirst(t.Context(), FixFirstQuery{Bases: bases, Scope: scope, Limit: 100})
				if err != nil {
					t.Fatal(err)
				}
				var lines []string
				for i, l := range got.Items {
					key := l.DiffID
					if bases {
						key = fmt.Sprint(l.BaseID)
					}
					lines = append(lines, fmt.Sprintf("%s heals %d (%d critical, %d high) in %d images, at most %d", key, l.Healed, l.Critical, l.High, l.Images, l.Findings))
					if i > 0 && l.Healed > got.Items[i-1].Healed {
						t.Errorf("row %d is better than the one before", i)
					}
				}
				slices.Sort(lines)
				want := w.healed(t, scope, bases)
				if diff := cmp.Diff(want[:min(len(want), 100)], lines); diff != "" || len(want) > 100 || len(want) == 0 && scope == nil {
					t.Errorf("bases %v, scope %v: %d wanted (-brute force +database):\n%s", bases, scope, len(want), diff)
				}
			}
		}
	})
}

// healed goes through the inventories: each package version that a layer introduces and
// that is present, with each of its findings.
func (w *testWorld) healed(t *testing.T, scope []string, bases bool) (out []string) {
	type sum struct {
		all, critical, high int
		byImage             map[int]int
	}
	sums := map[string]*sum{}
	for i, c := range w.images {
		if !w.visible(i, scope) {
			continue
		}
		base := w.one(t, `SELECT COALESCE(base, 0) FROM images WHERE id = $1`, w.ids[i])
		below := slices.Index(w.ids, base)
		done := map[string]bool{}
		for j := range c.Inventory.Packages {
			p := &c.Inventory.Packages[j]
			id := w.packageIDs[packageKey(p)]
			at := fmt.Sprint(id, " ", p.Layer)
			if p.State != inventory.Present || p.Owner != "" && !p.Distribution() || done[at] {
				continue
			}
			done[at] = true
			key := string(c.Image.Layers[p.Layer].DiffID)
			if bases {
				if below < 0 || !w.visible(below, scope) || p.Layer >= len(w.images[below].Image.Layers) {
					continue
				}
				key = fmt.Sprint(base)
			}
			for _, findings := range w.findings {
				f, ok := findings[id]
				if !ok || f.aside != "" || f.fixed == "" || w.toldTwice(i, id, findings) {
					continue
				}
				if sums[key] == nil {
					sums[key] = &sum{byImage: map[int]int{}}
				}
				s := sums[key]
				s.all++
				s.byImage[i]++
				if f.severity == 4 {
					s.critical++
				}
				if f.severity == 3 {
					s.high++
				}
			}
		}
	}
	for key, s := range sums {
		most := 0
		for _, n := range s.byImage {
			most = max(most, n)
		}
		out = append(out, fmt.Sprintf("%s heals %d (%d critical, %d high) in %d images, at most %d", key, s.all, s.critical, s.high, len(s.byImage), most))
	}
	slices.Sort(out)
	return out
}
