package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/license"
)

// A benchFleet makes images as a company has them: few distributions with a release
// every month, runtimes upon them, applications with a layer of dependencies that
// changes now and then, and many versions of each that differ in the topmost layer.
type benchFleet struct {
	r    *rand.Rand
	n    int
	apps map[int]*benchApp
}

// A benchApp is one application: its versions come one after another.
type benchApp struct {
	stack    []benchLayer
	versions int
	distro   inventory.Distro
}

// A benchLayer is a layer and what it does to the image.
type benchLayer struct {
	diffID    image.DiffID
	createdBy string
	adds      []inventory.ImagePackage
	// upgrades are packages of the lowest layer, by index, that it replaces.
	upgrades int
	// programs are how many files it has with a digest that tell of no packages.
	programs int
}

// files are those of the layer that have a digest: programs, and one for each package
// that is not in the distribution's database.
func (l *benchLayer) files(at int) (out []inventory.ImageFile) {
	add := func(path, content string) {
		out = append(out, inventory.ImageFile{SHA256: sha256.Sum256([]byte(content)), Location: inventory.Location{Path: path, Layer: at}, State: inventory.Present, StateLayer: -1})
	}
	for i := range l.programs {
		add(fmt.Sprintf("usr/lib/x86_64-linux-gnu/program-%d.so.%d", i, i%7), fmt.Sprintf("%s %d", l.diffID, i))
	}
	seen := map[string]bool{}
	for i := range l.adds {
		if p := &l.adds[i]; p.Type != "deb" && !seen[p.Locations[0].Path] {
			seen[p.Locations[0].Path] = true
			add(p.Locations[0].Path, p.PURL)
		}
	}
	return out
}

const versionsPerApp = 50

func newBenchFleet() *benchFleet {
	return &benchFleet{r: rand.New(rand.NewPCG(4, 4)), apps: map[int]*benchApp{}}
}

func benchDiffID(format string, args ...any) image.DiffID {
	k := keyOf(fmt.Sprintf(format, args...))
	return image.DiffID(fmt.Sprintf("sha256:%x%x", k, k))
}

func keyOf(s string) rowKey {
	return packageKey(&inventory.ImagePackage{Package: inventory.Package{Name: s}})
}

func benchPackage(typ, ecosystem, name, version, at string) inventory.ImagePackage {
	e, _ := license.Parse([]string{"MIT", "Apache-2.0", "BSD-3-Clause", "GPL-2.0-or-later"}[len(name)%4])
	p := inventory.ImagePackage{
		Package: inventory.Package{Type: typ, Ecosystem: ecosystem, Name: name, Version: version}, PURL: "pkg:" + typ + "/" + name + "@" + version,
		State: inventory.Present, StateLayer: -1, Locations: []inventory.Location{{Path: at}}, License: inventory.License{Expression: e.String()},
	}
	if typ == "deb" {
		p.Arch = "amd64"
	}
	return p
}

// base is the lowest layer: a distribution as it was in a month.
func (f *benchFleet) base(distro, month int) benchLayer {
	l := benchLayer{diffID: benchDiffID("base %d %d", distro, month), createdBy: fmt.Sprintf("ADD rootfs-%d-%d.tar.xz /", distro, month), programs: 600}
	for i := range 80 + 20*distro {
		version := fmt.Sprintf("%d.%d-1", 1+i%5, i%17)
		if i%6 == 0 { // what is rebuilt every month
			version = fmt.Sprintf("%d.%d-%d", 1+i%5, i%17, 1+month)
		}
		l.adds = append(l.adds, benchPackage("deb", "Debian:12", fmt.Sprintf("d%d-lib%d", distro%4, i), version, "var/lib/dpkg/status"))
	}
	if distro%4 != 0 || month > 0 {
		l.adds = append(l.adds, benchPackage("deb", "Debian:12", "tzdata", "2026a-1", "var/lib/dpkg/status"))
	}
	l.adds = append(l.adds, benchPackage("deb", "Debian:12", "libc6", "2.36-9", "var/lib/dpkg/status"))
	return l
}

func (f *benchFleet) runtime(runtime, version int) benchLayer {
	l := benchLayer{diffID: benchDiffID("runtime %d %d", runtime, version), createdBy: fmt.Sprintf("RUN install-runtime %d.%d", runtime, version), programs: 20}
	for i := range 20 + 10*runtime {
		l.adds = append(l.adds, benchPackage("npm", "npm", fmt.Sprintf("runtime%d-m%d", runtime, i), fmt.Sprintf("%d.%d.0", 1+version, i), fmt.Sprintf("usr/lib/node_modules/r%d/package.json", i)))
	}
	return l
}

// app is an application upon a stack of its own choice.
func (f *benchFleet) app(n int) *benchApp {
	if a := f.apps[n]; a != nil {
		return a
	}
	distro, month, runtime := f.r.IntN(8), f.r.IntN(6), f.r.IntN(5)
	a := &benchApp{distro: inventory.Distro{ID: "debian", VersionID: "12"}}
	a.stack = append(a.stack, f.base(distro, month), f.runtime(runtime, f.r.IntN(2)))
	if n%5 == 0 {
		up := benchLayer{diffID: benchDiffID("upgrade %d %d", distro, month), createdBy: "RUN apt-get update && apt-get -y upgrade", upgrades: 12}
		a.stack = append(a.stack, up)
	}
	for i := range 3 {
		a.stack = append(a.stack, benchLayer{diffID: benchDiffID("config %d %d", n, i), createdBy: fmt.Sprintf("COPY config/%d /etc/app/", i)})
	}
	f.apps[n] = a
	return a
}

// grow gives the next image, and the layers that are new with it.
func (f *benchFleet) grow() Contents {
	n := f.n % max(1, f.n/versionsPerApp+1)
	if f.n%versionsPerApp == 0 {
		n = f.n / versionsPerApp
	}
	a := f.app(n)
	v := a.versions
	a.versions++
	f.n++
	deps := benchLayer{diffID: benchDiffID("deps %d %d", n, v/5), createdBy: "RUN npm ci --omit=dev"}
	r := rand.New(rand.NewPCG(uint64(n), 9))
	for i := range 40 + n%7*25 {
		name, version := r.IntN(5000), r.IntN(20)
		if i%10 == 0 {
			version += v / 5
		}
		deps.adds = append(deps.adds, benchPackage("npm", "npm", fmt.Sprintf("m%d", name), fmt.Sprintf("%d.%d.0", 1+version/4, version), fmt.Sprintf("app/node_modules/m%d/package.json", name)))
	}
	code := benchLayer{diffID: benchDiffID("code %d %d", n, v), createdBy: "COPY . /app", programs: 1,
		adds: []inventory.ImagePackage{benchPackage("npm", "npm", fmt.Sprintf("app%d", n), fmt.Sprintf("1.%d.0", v), "app/package.json")}}
	return benchImage(slices.Concat(a.stack, []benchLayer{deps, code}), a.distro, n, v)
}

// benchImage puts an image together of its layers.
func benchImage(stack []benchLayer, distro inventory.Distro, n, v int) Contents {
	m := &image.Image{
		Reference: fmt.Sprintf("registry.example/team%d/app%d:1.%d.0", n%40, n, v), Repository: fmt.Sprintf("registry.example/team%d/app%d", n%40, n), Tag: fmt.Sprintf("1.%d.0", v),
		Digest: image.Digest(benchDiffID("manifest %d %d", n, v)), ConfigDigest: image.Digest(benchDiffID("config of %d %d", n, v)),
		Platform: image.Platform{OS: "linux", Architecture: "amd64"}, Created: time.Date(2026, 1, 1, 0, 0, n*60+v, 0, time.UTC),
		Labels: map[string]string{"org.opencontainers.image.source": fmt.Sprintf("https://git.example/team%d/app%d", n%40, n), "org.opencontainers.image.revision": benchDiffID("commit %d %d", n, v).Hex()[:40]},
	}
	inv := &inventory.Image{Distro: distro}
	for i, l := range stack {
		m.Layers = append(m.Layers, image.Layer{Index: i, DiffID: l.diffID, Digest: image.Digest(benchDiffID("blob %s", l.diffID)), CreatedBy: l.createdBy, Size: 1 << 20})
		for j := range l.upgrades {
			old := &inv.Packages[6*j]
			old.State, old.StateLayer = inventory.Shadowed, i
			next := *old
			next.Version, next.Layer, next.State, next.StateLayer = old.Version+"+deb12u1", i, inventory.Present, -1
			next.PURL = "pkg:deb/" + next.Name + "@" + next.Version
			inv.Packages = append(inv.Packages, next)
		}
		for _, p := range l.adds {
			p.Layer = i
			p.Locations = []inventory.Location{{Path: p.Locations[0].Path, Layer: i}}
			inv.Packages = append(inv.Packages, p)
		}
		inv.Files = append(inv.Files, l.files(i)...)
	}
	return Contents{Image: m, Inventory: inv, AnalyzerSet: "bench"}
}

// layersOf are the inventories of the layers of an image, as they are kept.
func layersOf(c *Contents, known map[image.DiffID]bool) []*inventory.Layer {
	var out []*inventory.Layer
	for i, l := range c.Image.Layers {
		if known[l.DiffID] {
			continue
		}
		known[l.DiffID] = true
		in := &inventory.Layer{DiffID: l.DiffID, Size: 3 << 20, Entries: 500}
		db := inventory.File{Path: "var/lib/dpkg/status", Analyzer: "dpkg", Kind: inventory.Database, Database: "dpkg"}
		var b inventory.PathsBuilder
		for j := range c.Inventory.Packages {
			p := &c.Inventory.Packages[j]
			switch {
			case p.Layer != i:
			case p.Type == "deb":
				db.Packages = append(db.Packages, p.Package)
			default:
				in.Files = append(in.Files, inventory.File{Path: p.Locations[0].Path, Analyzer: "npm", Packages: []inventory.Package{p.Package}})
				b.Add(inventory.Path{Path: p.Locations[0].Path, Kind: inventory.PathFile}, -1)
			}
		}
		if len(db.Packages) > 0 {
			in.Files = append(in.Files, db)
			b.Add(inventory.Path{Path: db.Path, Kind: inventory.PathFile}, -1)
		}
		var digests []inventory.FileDigest
		for _, f := range c.Inventory.Files {
			if f.Layer == i {
				digests = append(digests, inventory.FileDigest{Path: f.Path, SHA256: f.SHA256})
				b.Add(inventory.Path{Path: f.Path, Kind: inventory.PathFile}, -1)
			}
		}
		in.Paths, _ = b.Build()
		in.Digests = inventory.PackDigests(in.Paths, digests)
		out = append(out, in)
	}
	return out
}

// TestFleetBenchmark measures a fleet of STRATA_BENCH_IMAGES images on both engines, and
// prints the figures beside the goals of `strata serve`: see scripts/bench-fleet.sh.
// STRATA_BENCH_ENGINES ("postgres") restricts it. STRATA_BENCH_POSTGRES is the URL of an
// empty database on a server whose settings are those of production; without it, the
// tests' own is measured, which writes nothing through to the disk.
func TestFleetBenchmark(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("STRATA_BENCH_IMAGES"))
	if err != nil || n < 100 {
		t.Skip("STRATA_BENCH_IMAGES, a number of at least 100, is not given: make bench-fleet")
	}
	engines := os.Getenv("STRATA_BENCH_ENGINES")
	if engines == "" || engines == "postgres" {
		t.Run("postgres", func(t *testing.T) {
			location := os.Getenv("STRATA_BENCH_POSTGRES")
			if location == "" {
				location = testPostgres(t)
			}
			benchEngine(t, "PostgreSQL", openTestDB(t, location), n)
		})
	}
	if engines == "" || engines == "sqlite" {
		t.Run("sqlite", func(t *testing.T) {
			benchEngine(t, "SQLite", openTestDB(t, filepath.Join(t.TempDir(), "strata.db")), n)
		})
	}
}

func benchSay(engine, what, value, goal string) {
	fmt.Printf("fleet\t%s\t%s\t%s\t%s\n", engine, what, value, goal)
}

func benchEngine(t *testing.T, engine string, db *DB, n int) {
	ctx := t.Context()
	f := newBenchFleet()
	start := time.Now()
	benchFill(ctx, t, db, f, n)
	benchSay(engine, "ingest, layers new and known", fmt.Sprintf("%.0f images/s", float64(n)/time.Since(start).Seconds()), "")
	benchPlaces(t, db)
	benchFindings(t, db)
	benchVacuum(ctx, t, db)
	for _, table := range []string{"images", "image_layers", "layers", "segments", "segment_packages", "segment_hidden", "segment_files", "files", "packages", "findings"} {
		goal := ""
		if table == "segment_packages" {
			goal = ">= 1,000,000 for 100,000 images"
		}
		benchSay(engine, "rows of "+table, fmt.Sprint(benchCount(t, db, `SELECT COUNT(*) FROM `+table)), goal)
	}
	benchSay(engine, "packages of images", fmt.Sprint(benchCount(t, db, `SELECT SUM(s.packages) FROM image_layers il JOIN segments s ON s.id = il.segment`)), "")
	benchSize(t, db, engine, n)
	benchKnown(ctx, t, db, f, engine)
	benchImpact(ctx, t, db, engine)
	benchLists(ctx, t, db, engine)
	benchNews(ctx, t, db, engine, n)
}

func benchCount(t *testing.T, db *DB, query string, args ...any) (n int64) {
	t.Helper()
	if err := db.db.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// benchWriters is how many workers put images at the same time.
const benchWriters = 4

func benchFill(ctx context.Context, t *testing.T, db *DB, f *benchFleet, n int) {
	work := make(chan func() error, 16)
	var wg sync.WaitGroup
	for range benchWriters {
		wg.Go(func() {
			for do := range work {
				if err := do(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	known := map[image.DiffID]bool{}
	for range n {
		c := f.grow()
		layers := layersOf(&c, known)
		work <- func() error {
			for _, l := range layers {
				if err := db.PutLayer(ctx, "bench", l); err != nil {
					return err
				}
			}
			_, err := db.PutImage(ctx, c)
			return err
		}
	}
	close(work)
	wg.Wait()
}

// benchPlaces names all images by registry, repository and tag.
func benchPlaces(t *testing.T, db *DB) {
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := db.db.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`INSERT INTO registries (id, name, url, kind, settings, created_at, updated_at) VALUES (1, 'registry.example', '', 'crawled', '{}', 0, 0)`)
	rows := map[string][]int64{}
	err := db.each(t.Context(), `SELECT id, reference FROM images ORDER BY id`, nil, func(scan func(...any) error) error {
		var id int64
		var reference string
		if err := scan(&id, &reference); err != nil {
			return err
		}
		name := reference[len("registry.example/"):]
		name = name[:slices.Index([]byte(name), ':')]
		rows[name] = append(rows[name], id)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.inTx(t.Context(), func(tx *sql.Tx) error {
		var repositories [][]any
		id := int64(0)
		for name := range rows {
			id++
			repositories = append(repositories, []any{id, 1, name, "team" + name[4:6] + "@example.com", 0})
		}
		if err := insertRows(t.Context(), tx, "repositories", []string{"id", "registry", "name", "owner", "seen_at"}, "", repositories); err != nil {
			return err
		}
		var manifests, of, tags [][]any
		for i := range repositories {
			for _, image := range rows[repositories[i][2].(string)] {
				manifests = append(manifests, []any{image, repositories[i][0], fmt.Sprintf("sha256:%064x", image), "scanned", 0})
				of = append(of, []any{image, image})
				tags = append(tags, []any{repositories[i][0], fmt.Sprintf("1.%d.0", image), image, 0})
			}
		}
		if err := insertRows(t.Context(), tx, "manifests", []string{"id", "repository", "digest", "state", "found_at"}, "", manifests); err != nil {
			return err
		}
		if err := insertRows(t.Context(), tx, "manifest_images", []string{"manifest", "image"}, "", of); err != nil {
			return err
		}
		return insertRows(t.Context(), tx, "tags", []string{"repository", "name", "manifest", "from_at"}, "", tags)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// benchFindings opens findings: of each name's older versions, with some flaws that are
// in nearly all images and most in few.
func benchFindings(t *testing.T, db *DB) {
	type pkg struct {
		id   int64
		name string
	}
	byName := map[string][]int64{}
	err := db.each(t.Context(), `SELECT id, name FROM packages ORDER BY id`, nil, func(scan func(...any) error) error {
		var p pkg
		if err := scan(&p.id, &p.name); err != nil {
			return err
		}
		byName[p.name] = append(byName[p.name], p.id)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var vulnerabilities, names, findings [][]any
	id := int64(0)
	r := rand.New(rand.NewPCG(1, 2))
	for name, packages := range byName {
		flaws := r.IntN(3)
		if name == "libc6" || name == "tzdata" {
			flaws = 20
		}
		for range flaws {
			id++
			cve := fmt.Sprintf("CVE-2026-%d", 100_000+id)
			vulnerabilities = append(vulnerabilities, []any{id, cve})
			names = append(names, []any{cve, id}, []any{fmt.Sprintf("GHSA-%d", id), id})
			for _, p := range packages[:1+r.IntN(len(packages))] {
				findings = append(findings, []any{p, id, r.IntN(5), 5.0, false, []string{"", "99.0"}[r.IntN(2)], "GHSA", "", 1})
			}
		}
	}
	err = db.inTx(t.Context(), func(tx *sql.Tx) error {
		if err := insertRows(t.Context(), tx, "found_vulnerabilities", []string{"id", "name"}, "", vulnerabilities); err != nil {
			return err
		}
		if err := insertRows(t.Context(), tx, "vulnerability_names", []string{"name", "vulnerability"}, "", names); err != nil {
			return err
		}
		if err := insertRows(t.Context(), tx, "findings", []string{"package", "vulnerability", "severity", "score", "kev", "fixed_version", "advisories", "aside", "opened_at"}, "", findings); err != nil {
			return err
		}
		_, err := tx.ExecContext(t.Context(), `UPDATE packages SET matched_at = 1`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	benchVacuum(t.Context(), t, db) // as autovacuum does in days
	images, err := db.ids(t.Context(), `SELECT id FROM images ORDER BY id`)
	for batch := range slices.Chunk(images, 1000) {
		if err == nil {
			err = db.inTx(t.Context(), func(tx *sql.Tx) error { return countImages(t.Context(), tx, batch) })
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	// Ids that were given must not be given again.
	if db.pool != nil {
		for _, table := range []string{"found_vulnerabilities", "repositories", "manifests", "registries"} {
			benchCount(t, db, `SELECT setval(pg_get_serial_sequence('`+table+`', 'id'), (SELECT MAX(id) FROM `+table+`))`)
		}
	}
}

func benchVacuum(ctx context.Context, t *testing.T, db *DB) {
	query := `ANALYZE`
	if db.pool != nil {
		query = `VACUUM ANALYZE`
	}
	if _, err := db.db.ExecContext(ctx, query); err != nil {
		t.Fatal(err)
	}
}

func benchSize(t *testing.T, db *DB, engine string, n int) {
	var bytes int64
	if db.pool != nil {
		bytes = benchCount(t, db, `SELECT pg_database_size(current_database())`)
	} else {
		bytes = benchCount(t, db, `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`)
	}
	benchSay(engine, "storage for an image", fmt.Sprintf("%.1f KB", float64(bytes)/float64(n)/1000), "<= 20 KB")
	if db.pool == nil || os.Getenv("STRATA_BENCH_TABLES") == "" {
		return
	}
	_ = db.each(t.Context(), `SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r' ORDER BY 2 DESC LIMIT 10`, nil, func(scan func(...any) error) error {
		var name string
		var size int64
		err := scan(&name, &size)
		benchSay(engine, "storage of "+name, fmt.Sprintf("%.2f KB an image", float64(size)/float64(n)/1000), "")
		return err
	})
}

// benchKnown puts images of layers that are all known: builds that change no layer.
func benchKnown(ctx context.Context, t *testing.T, db *DB, f *benchFleet, engine string) {
	const images = 2000
	contents := make([]Contents, images)
	again := newBenchFleet()
	for i := range contents {
		c := again.grow()
		m := *c.Image
		m.Digest, m.ConfigDigest = image.Digest(benchDiffID("again %d", i)), image.Digest(benchDiffID("again config %d", i))
		contents[i] = Contents{Image: &m, Inventory: c.Inventory, AnalyzerSet: c.AnalyzerSet}
	}
	var wg sync.WaitGroup
	start := time.Now()
	for w := range benchWriters {
		wg.Go(func() {
			for i := w; i < images; i += benchWriters {
				if _, err := db.PutImage(ctx, contents[i]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	benchSay(engine, "ingest of known layers", fmt.Sprintf("%.0f images/s", images/time.Since(start).Seconds()), ">= 500 images/s")
	benchSay(engine, "their findings, each", fmt.Sprint(benchCount(t, db, `SELECT CAST(AVG(critical + high + medium + low + unknown) AS INTEGER) FROM image_counts WHERE critical > 0`)), "")
}

// benchImpact asks for vulnerabilities that are in few and in many images.
func benchImpact(ctx context.Context, t *testing.T, db *DB, engine string) {
	start := time.Now()
	if err := db.readFleet(ctx, func(*fleet) error { return nil }); err != nil {
		t.Fatal(err)
	}
	benchSay(engine, "reading the fleet, once", fmt.Sprintf("%.0f ms", ms(time.Since(start))), "")
	var names []string
	err := db.each(ctx, `SELECT name FROM found_vulnerabilities ORDER BY id`, nil, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 5))
	byHits := map[int][]string{}
	for _, i := range r.Perm(len(names))[:min(len(names), 3000)] {
		impact, err := db.Impact(ctx, ImpactQuery{Vulnerability: names[i]})
		if err != nil {
			t.Fatal(err)
		}
		decade := len(strconv.Itoa(impact.Totals.Images))
		if len(byHits[decade]) < 30 {
			byHits[decade] = append(byHits[decade], names[i])
		}
	}
	for _, name := range []string{"libc6", "tzdata"} { // in all
		err := db.each(ctx, `SELECT DISTINCT v.name FROM found_vulnerabilities v JOIN findings f ON f.vulnerability = v.id JOIN packages p ON p.id = f.package WHERE p.name = $1`, []any{name}, func(scan func(...any) error) error {
			var cve string
			err := scan(&cve)
			byHits[len(strconv.Itoa(len(db.fleet.at)))] = append(byHits[len(strconv.Itoa(len(db.fleet.at)))], cve)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var all []time.Duration
	most := 0
	for decade := range 8 {
		var times []time.Duration
		for range 10 {
			for _, name := range byHits[decade] {
				start := time.Now()
				impact, images, err := db.FirstImpact(ctx, ImpactQuery{Vulnerability: name}, 50)
				if err != nil || len(images) == 0 && impact.Totals.Images > 0 {
					t.Fatal(name, err)
				}
				times = append(times, time.Since(start))
				most = max(most, impact.Totals.Images)
			}
		}
		all = append(all, times...)
		if len(times) > 0 {
			benchSay(engine, fmt.Sprintf("impact, %d-digit number of images", decade), fmt.Sprintf("p50 %.1f ms, p99 %.1f ms (%d questions)", ms(quantile(times, 50)), ms(quantile(times, 99)), len(times)), "")
		}
	}
	benchSay(engine, fmt.Sprintf("impact, totals and first page, 1 to %d images", most), fmt.Sprintf("p50 %.1f ms, p99 %.1f ms", ms(quantile(all, 50)), ms(quantile(all, 99))), "p99 <= 50 ms (PostgreSQL)")
	start = time.Now()
	if _, err := db.ImpactLayers(ctx, ImpactQuery{Vulnerability: byHits[len(strconv.Itoa(len(db.fleet.at)))][0]}, nil, 50); err != nil {
		t.Fatal(err)
	}
	benchSay(engine, "impact, layers of the widest", fmt.Sprintf("%.1f ms", ms(time.Since(start))), "")
	benchFiles(ctx, t, db, engine)
	for range 2 {
		start = time.Now()
		first, err := db.FixFirst(ctx, FixFirstQuery{Limit: 20})
		if err != nil || len(first.Items) == 0 {
			t.Fatal(err)
		}
		benchSay(engine, "fix first", fmt.Sprintf("%.0f ms", ms(time.Since(start))), "")
	}
}

// benchFiles asks for files: some at random, and the one that is in most images.
func benchFiles(ctx context.Context, t *testing.T, db *DB, engine string) {
	layer := newBenchFleet().base(0, 0)
	files := layer.files(0)
	for i := range 40 {
		deps := benchPackage("npm", "npm", fmt.Sprintf("runtime%d-m%d", i%5, i), fmt.Sprintf("1.%d.0", i), "")
		files = append(files, inventory.ImageFile{SHA256: sha256.Sum256([]byte(deps.PURL))})
	}
	var times []time.Duration
	most := 0
	for i := range files {
		start := time.Now()
		impact, images, err := db.FirstImpact(ctx, ImpactQuery{File: fmt.Sprintf("sha256:%x", files[i].SHA256)}, 50)
		if errors.Is(err, ErrNotFound) {
			continue // a runtime that no application has
		}
		if err != nil || len(images) == 0 || len(images[0].Files) == 0 {
			t.Fatal(err, images)
		}
		times, most = append(times, time.Since(start)), max(most, impact.Totals.Images)
	}
	benchSay(engine, fmt.Sprintf("impact of files, up to %d images", most), fmt.Sprintf("p50 %.1f ms, p99 %.1f ms (%d questions)", ms(quantile(times, 50)), ms(quantile(times, 99)), len(times)), "")
}

// benchLists asks for lists over the whole fleet, as one who may see all of it, and as one
// who may see a team's repositories.
func benchLists(ctx context.Context, t *testing.T, db *DB, engine string) {
	var team string
	if err := db.db.QueryRowContext(ctx, `SELECT r.name || '/' || p.name FROM repositories p JOIN registries r ON r.id = p.registry ORDER BY p.id LIMIT 1`).Scan(&team); err != nil {
		t.Fatal(err)
	}
	for _, scope := range [][]string{nil, {team}} {
		who := map[bool]string{true: "", false: ", of a team"}[scope == nil]
		for _, q := range []struct {
			what string
			ask  func() error
		}{
			{"findings, first page", func() error {
				rows, err := db.Findings(ctx, FindingQuery{Scope: scope, Limit: 50})
				if err == nil && len(rows) == 0 {
					err = ErrNotFound
				}
				return err
			}},
			{"findings that are exploited", func() error { _, err := db.Findings(ctx, FindingQuery{Scope: scope, KEV: true, Limit: 50}); return err }},
			{"findings of a package", func() error {
				_, err := db.Findings(ctx, FindingQuery{Scope: scope, Package: "libc6", Limit: 50})
				return err
			}},
			{"fix first", func() error { _, err := db.FixFirst(ctx, FixFirstQuery{Scope: scope}); return err }},
			{"impact of a class of licences", func() error {
				_, _, err := db.FirstImpact(ctx, ImpactQuery{License: string(license.Permissive), Scope: scope}, 50)
				return err
			}},
			{"its layers", func() error {
				_, err := db.ImpactLayers(ctx, ImpactQuery{License: string(license.Permissive), Scope: scope}, nil, 50)
				return err
			}},
		} {
			var times []time.Duration
			for range 3 {
				start := time.Now()
				if err := q.ask(); err != nil {
					t.Fatal(q.what, err)
				}
				times = append(times, time.Since(start))
			}
			benchSay(engine, q.what+who, fmt.Sprintf("%.0f ms", ms(quantile(times, 50))), "")
		}
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func quantile(times []time.Duration, percent int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(len(sorted)-1, len(sorted)*percent/100)]
}

// benchWatch lets a watch look at all images, which has judged them all today.
func benchWatch(t *testing.T, db *DB) {
	tomorrow := time.Now().Add(20 * time.Hour).UnixMicro()
	err := db.inTx(t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(t.Context(), `INSERT INTO watches (name, scope, policies, receivers, created_at, updated_at) VALUES ('all', '{}', '[]', '[]', 0, 0)`); err != nil {
			return err
		}
		_, err := tx.ExecContext(t.Context(), `INSERT INTO watched_images (watch, image, decision, judged_at, due_at) SELECT w.id, i.id, 'pass', 1, $1 + i.id FROM watches w CROSS JOIN images i`, tomorrow)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// benchNews lets one advisory come that hits a tenth of the fleet, all of which is watched.
func benchNews(ctx context.Context, t *testing.T, db *DB, engine string, n int) {
	benchWatch(t, db)
	var name, version string
	best := int64(-1)
	err := db.each(ctx, `SELECT p.name, p.version, COUNT(DISTINCT il.image) FROM packages p JOIN segment_packages sp ON sp.package = p.id JOIN image_layers il ON il.segment = sp.segment
		WHERE p.type = 'npm' AND (p.name LIKE 'runtime%' OR p.name LIKE 'm1%') GROUP BY p.name, p.version`, nil, func(scan func(...any) error) error {
		var a, b string
		var images int64
		if err := scan(&a, &b, &images); err != nil {
			return err
		}
		if d := abs(images - int64(n)/10); best < 0 || d < best {
			best, name, version = d, a, b
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	news := feed{"npm": {{id: "GHSA-first", modified: "2026-01-01T00:00:00Z", packages: []string{"npm nothing 1.0.0"}}}}
	sync := func() {
		news.write(t, dir)
		if _, err := db.SyncAdvisories(ctx, "bench", openMirror(t, dir), UpdateOptions{Ecosystems: []string{"all"}}); err != nil {
			t.Fatal(err)
		}
	}
	sync()
	benchSeen(ctx, t, db)
	news["npm"] = append(news["npm"], feedRecord{id: "GHSA-news", aliases: []string{"CVE-2026-1"}, modified: "2026-01-02T00:00:00Z", cvss: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", packages: []string{"npm " + name + " " + version + "1"}})
	start := time.Now()
	sync()
	synced := time.Since(start)
	start = time.Now()
	s, err := db.MatchDue(ctx, "bench")
	if err != nil {
		t.Fatal(err)
	}
	matched := time.Since(start)
	impact, err := db.Impact(ctx, ImpactQuery{Vulnerability: "CVE-2026-1"})
	if err != nil || impact.Totals.Images == 0 {
		t.Fatal(impact, err)
	}
	benchSay(engine, fmt.Sprintf("one new advisory, in %d images: matched, counted, due and seen", impact.Totals.Images), fmt.Sprintf("%.0f ms (%d package versions; before it, %.0f ms to read the feed)", ms(matched)+ms(time.Since(start)-matched), s.Rematched, ms(synced)), "<= 1000 ms")
}

// benchSeen marks the advisories as seen, as after the first match of all packages: the
// made findings would not survive that.
func benchSeen(ctx context.Context, t *testing.T, db *DB) {
	a, err := db.Advisories(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, now, _, err := a.news(ctx, newsMark{})
	if err = errors.Join(err, a.Close()); err == nil {
		err = db.setNewsSeen(ctx, now)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func abs(n int64) int64 { return max(n, -n) }
