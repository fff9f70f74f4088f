package analyzer

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/license"
)

// SetVersion names what the default set of analyzers finds. Layers analysed
// under another version are analysed anew, so it must change whenever an
// analyzer is added or finds something else.
const SetVersion = "7"

// Default returns all analyzers.
func Default() []Analyzer {
	texts := &license.Recogniser{}
	all := append(distribution(), language(texts)...)
	return append(all, licenseFile{texts}, gentooLicense{}, crateManifest{}, nuspec{texts})
}

// A Runner drives analyzers over layers. It is safe for concurrent use; layers
// read at the same time share its Memory.
type Runner struct {
	// Analyzers to run; each sees every file.
	Analyzers []Analyzer
	// Memory holds files that need random access while they are analysed; nil for
	// one of the default size for each layer.
	Memory *Memory
	// Limits bound the work on one layer.
	Limits image.Limits
}

// Layer reads a layer's blob once and returns what is in it, and what was read.
// The error is that of image.Walk: what was found until then is dropped, for it
// is not verified. A file that can't be analysed is a Problem, not an error.
func (r *Runner) Layer(ctx context.Context, blob io.Reader, want image.Layer) (*inventory.Layer, image.Summary, error) {
	run := r.start()
	defer run.close()
	sum, err := image.Walk(ctx, blob, want, r.Limits, func(e *image.Entry, b *image.Body) error {
		return run.visit(ctx, e, b)
	})
	if err != nil {
		return nil, sum, err
	}
	l := run.finish()
	l.DiffID, l.Size, l.Entries = sum.DiffID, sum.Size, sum.Entries
	return l, sum, l.Pack()
}

// Root reads a directory as if it were one layer.
func (r *Runner) Root(ctx context.Context, dir string) (*inventory.Layer, error) {
	run := r.start()
	defer run.close()
	run.dir = true
	sum, err := image.WalkDir(ctx, dir, func(e *image.Entry, b *image.Body) error {
		err := run.visit(ctx, e, b)
		if err != nil && ctx.Err() == nil { // a file that can't be read is no reason to give up the others
			run.problem(e.Path, "", err.Error())
			return nil
		}
		return err
	}, func(path string, err error) {
		run.problem(path, "", err.Error())
	})
	if err != nil {
		return nil, err
	}
	l := run.finish()
	l.Size, l.Entries = sum.Size, sum.Entries
	return l, nil
}

func (r *Runner) start() *layerRun {
	memory := r.Memory
	if memory == nil {
		memory = &Memory{}
	}
	return &layerRun{analyzers: r.Analyzers, buffer: &buffer{memory: memory}, owners: map[string]string{}, vendors: map[string]bool{}}
}

// A layerRun is one layer on its way through the analyzers.
type layerRun struct {
	analyzers []Analyzer
	buffer    *buffer
	head      [headSize]byte
	wanted    []Analyzer // scratch

	layer inventory.Layer
	paths inventory.PathsBuilder
	found []found
	links []inventory.Link
	// spare are the contents of files that no analyzer wants by name, by path.
	spare  map[string][]byte
	spared int64
	owners map[string]string // by path
	// vendors are owners that are not the distribution's.
	vendors map[string]bool
	bytes   int   // that found and owners take, about
	full    bool  // something was left out, since they took too much
	texts   int64 // bytes of licence texts read
	huge    bool  // the layer has the right to be huge
	digests digests
	// dir tells that a directory is read: it is no layer that images have in common, and
	// most of its files need not be read whole.
	dir bool
}

// close gives back what the layer held.
func (run *layerRun) close() {
	run.buffer.close()
	if run.huge {
		run.buffer.memory.huge.Unlock()
	}
}

// found is what one analyzer found in one file, until the end of the layer tells
// whether the file is still there, and where.
type found struct {
	file   inventory.File
	silent bool // of packages
	distro *inventory.Distro
	// licenses of the file and of those in it
	licenses []inventory.LicenseFile
	ref      int // of the entry in paths
}

func (run *layerRun) visit(ctx context.Context, e *image.Entry, b *image.Body) error {
	e.Path, e.Link = validPath(e.Path), validPath(e.Link)
	ref := run.paths.Len()
	if ref == hugeLayer && !run.huge {
		if err := run.buffer.memory.takeHuge(ctx); err != nil {
			return err
		}
		run.huge = true
	}
	if !e.Dubious {
		run.paths.Add(inventory.Path{Path: e.Path, Kind: pathKind(e.Type), Target: linkTarget(e)}, -1)
	} else {
		run.problem(e.Path, "", `the entry's name has ".." in it: it is read, but hides nothing`)
		ref = -1
	}
	delete(run.digests.at, e.Path)
	switch e.Type {
	case image.HardLink:
		if content, ok := run.spare[e.Link]; ok {
			run.fileAt(ctx, e, content, ref)
			return ctx.Err()
		}
		run.linkDigest(e.Path, e.Link, ref)
		run.links = append(run.links, inventory.Link{Path: e.Path, Target: e.Link, Analyzer: run.wantedBy(e)})
	case image.Symlink:
		if by := run.wantedBy(e); by != "" {
			run.links = append(run.links, inventory.Link{Path: e.Path, Target: inventory.ResolveLink(e.Path, e.Link), Analyzer: by, Symbolic: true})
		}
	case image.File:
		return run.file(ctx, e, b, ref)
	}
	return nil
}

func pathKind(t image.EntryType) inventory.PathKind {
	switch t {
	case image.Dir:
		return inventory.PathDir
	case image.Symlink:
		return inventory.PathSymlink
	case image.Whiteout:
		return inventory.PathWhiteout
	case image.Opaque:
		return inventory.PathOpaque
	}
	return inventory.PathFile
}

func linkTarget(e *image.Entry) string {
	if e.Type == image.Symlink {
		return e.Link
	}
	return ""
}

// wantedBy is the name of the first analyzer that wants the entry for its name.
func (run *layerRun) wantedBy(e *image.Entry) string {
	if wanted := run.choose(&Candidate{Path: e.Path, Size: 1}); len(wanted) > 0 {
		return wanted[0].Name()
	}
	return ""
}

// choose gives the analyzers that want the file, until the next call.
func (run *layerRun) choose(c *Candidate) (wanted []Analyzer) {
	run.wanted = run.wanted[:0]
	asked := 0
	defer func() {
		wanted = run.wanted
		if v := recover(); v != nil {
			run.problem(c.Path, run.analyzers[asked].Name(), fmt.Sprintf("analyzer panicked: %v", v))
		}
	}()
	for i, a := range run.analyzers {
		asked = i
		if a.Wants(c) {
			run.wanted = append(run.wanted, a)
		}
	}
	return nil // set above
}

func (run *layerRun) file(ctx context.Context, e *image.Entry, b *image.Body, ref int) error {
	n, err := io.ReadFull(b, run.head[:min(e.Size, headSize)])
	if err != nil {
		return fmt.Errorf("%s: %w", e.Path, err)
	}
	c := Candidate{Path: e.Path, Size: e.Size, Mode: e.Mode, Head: run.head[:n]}
	wanted := run.choose(&c)
	if len(wanted) == 0 {
		return run.spareFile(&c, b)
	}
	defer run.buffer.release()
	f := File{Candidate: c}
	if b.At != nil {
		f.content = b.At
	} else if err := run.buffer.fill(&f, b.Reader); err != nil {
		return fmt.Errorf("%s: %w", e.Path, err)
	}
	run.analyzeAll(ctx, wanted, &f, ref)
	return ctx.Err()
}

// analyzeAll gives a file to analyzers, and keeps its digest where there is to be one.
func (run *layerRun) analyzeAll(ctx context.Context, wanted []Analyzer, f *File, ref int) {
	before := len(run.found)
	for _, a := range wanted {
		run.analyze(ctx, a, f, ref)
	}
	if !run.dir && (recorded(&f.Candidate) || tellsOfPackages(run.found[before:])) {
		run.digest(ctx, f, ref)
	}
}

// Bounds of what is kept for hard links, per file and per layer, in bytes.
const (
	maxSpareFile = 64 << 10
	maxSpare     = 16 << 20
)

// spareFile keeps a small file that nobody wants by its name, for the hard links
// that may follow: a content-addressed store (pnpm's) has a package.json under a
// hash, and the package's directory has the link.
func (run *layerRun) spareFile(c *Candidate, b *image.Body) error {
	if c.Size > maxSpareFile || run.spared+c.Size > maxSpare || len(c.Head) == 0 || c.Head[0] != '{' || path.Ext(c.Path) != "" {
		return nil
	}
	content := make([]byte, c.Size)
	n := copy(content, c.Head)
	if _, err := io.ReadFull(b, content[n:]); err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	if run.spare == nil {
		run.spare = map[string][]byte{}
	}
	run.spare[c.Path] = content
	run.spared += c.Size
	return nil
}

// fileAt analyses content that was kept under the name of a hard link to it.
func (run *layerRun) fileAt(ctx context.Context, e *image.Entry, content []byte, ref int) {
	f := NewFile(e.Path, content)
	f.Mode = e.Mode
	run.analyzeAll(ctx, run.choose(&f.Candidate), f, ref)
}

func (run *layerRun) analyze(ctx context.Context, a Analyzer, f *File, ref int) {
	if a.Name() == inventory.LicenseAnalyzer && !run.room(f) {
		return
	}
	res, err := protect(ctx, a, f)
	if err != nil && ctx.Err() == nil {
		run.problem(f.Path, a.Name(), err.Error())
		if res.Kind == inventory.Database {
			// Without its database nothing is known of the distribution's packages.
			run.layer.Problems[len(run.layer.Problems)-1].Incomplete = true
		}
	}
	for _, n := range res.Notes {
		run.problem(f.Path, a.Name(), n)
	}
	if !run.bound(&res, f.Path, a.Name()) {
		return
	}
	for _, o := range res.Owned {
		run.owners[validPath(o.Path)] = o.Owner
	}
	for _, v := range res.Vendors {
		run.vendors[v] = true
	}
	if res.silent() && len(res.Licenses) == 0 {
		return
	}
	if ref >= 0 {
		run.paths.Watch(ref)
	}
	run.found = append(run.found, found{
		file:   inventory.File{Path: f.Path, Analyzer: a.Name(), Kind: res.Kind, Database: res.Database, Packages: res.Packages},
		silent: res.silent(), licenses: res.Licenses, distro: res.Distro, ref: ref,
	})
}

// maxTexts bounds the licence texts that are read of one layer, in bytes. Real
// layers have a few megabytes.
const maxTexts = 32 << 20

// room tells whether one more licence text may be read.
func (run *layerRun) room(f *File) bool {
	before := run.texts
	run.texts += min(f.Size, license.MaxCopyright)
	if before <= maxTexts && run.texts > maxTexts {
		run.problem(f.Path, inventory.LicenseAnalyzer, fmt.Sprintf("the layer has more than %d MiB of licence texts: the rest is not read", maxTexts>>20))
	}
	return run.texts <= maxTexts
}

// maxLayerResult bounds the memory, in bytes, that is kept of one layer.
const maxLayerResult = 256 << 20

// bound makes what was found in a file fit to be kept, and is false when there
// is no more room for it.
func (run *layerRun) bound(res *Result, path, analyzer string) bool {
	kept := res.Packages[:0]
	for _, p := range res.Packages {
		if clean(&p) {
			kept = append(kept, p)
		}
	}
	odd := len(res.Packages) - len(kept)
	res.Packages = kept
	if odd > 0 {
		run.problem(path, analyzer, fmt.Sprintf("%d packages have impossible names or versions, or none, and are left out", odd))
	}
	cost := 0
	for i := range res.Packages {
		cost += packageCost(&res.Packages[i])
	}
	for i := range res.Licenses {
		cost += licenseCost(&res.Licenses[i])
	}
	for _, o := range res.Owned {
		cost += ownedCost(o.Path)
	}
	for _, v := range res.Vendors {
		cost += ownedCost(v)
	}
	if run.bytes+cost <= maxLayerResult {
		run.bytes += cost
		return true
	}
	if !run.full {
		run.full = true
		run.layer.Problems = append(run.layer.Problems, inventory.Problem{Path: path, Layer: -1, Analyzer: analyzer, Incomplete: true,
			Message: fmt.Sprintf("the layer has more packages than the %d MiB that are kept of one: the rest is left out", maxLayerResult>>20)})
	}
	return false
}

// silent tells that nothing was found which later layers could take away. An
// empty database is not silent: it says that nothing is installed.
func (r *Result) silent() bool {
	return len(r.Packages) == 0 && r.Distro == nil && r.Kind != inventory.Database
}

// protect makes an error of a panic.
func protect(ctx context.Context, a Analyzer, f *File) (res Result, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("analyzer panicked: %v", v)
		}
	}()
	return a.Analyze(ctx, f)
}

// maxProblems of one layer; a hostile layer could have millions.
const maxProblems = 200

// maxMessage bounds one, in bytes: errors may quote what they stumbled over.
const maxMessage = 1 << 10

func (run *layerRun) problem(path, analyzer, message string) {
	if len(message) > maxMessage {
		message = message[:maxMessage] + "…"
	}
	message = validText(message)
	switch n := len(run.layer.Problems); {
	case n < maxProblems:
		run.layer.Problems = append(run.layer.Problems, inventory.Problem{Path: path, Layer: -1, Analyzer: analyzer, Message: message})
	case n == maxProblems:
		run.layer.Problems = append(run.layer.Problems, inventory.Problem{Layer: -1,
			Message: fmt.Sprintf("more than %d problems in this layer; the rest is not listed", maxProblems)})
	}
}

// finish settles which of the files found are still there at the end of the
// layer, where, and who owns them.
func (run *layerRun) finish() *inventory.Layer {
	l := &run.layer
	paths, at := run.paths.Build()
	l.Paths = paths
	isFound := map[string]bool{}
	for _, f := range run.found {
		path, ok := at[f.ref]
		if f.ref < 0 {
			path, ok = f.file.Path, true
		}
		if !ok {
			continue
		}
		isFound[path] = true
		if f.distro != nil {
			l.Distros = append(l.Distros, inventory.DistroFile{Path: path, Distro: *f.distro})
			continue
		}
		for _, lic := range f.licenses {
			lic.Path = path
			l.Licenses = append(l.Licenses, lic)
		}
		if f.silent {
			continue
		}
		f.file.Path = path
		if len(f.file.Packages) > 0 && !f.file.Packages[0].Distribution() {
			f.file.Owner = run.owner(path)
		}
		l.Files = append(l.Files, f.file)
	}
	for _, link := range run.links {
		want := inventory.PathFile
		if link.Symbolic {
			want = inventory.PathSymlink
		}
		if cur, ok := paths.Find(link.Path); ok && cur.Kind == want && (link.Analyzer != "" || isFound[link.Target]) {
			link.Owner = run.owner(link.Path)
			l.Links = append(l.Links, link)
		}
	}
	slices.SortStableFunc(l.Licenses, func(a, b inventory.LicenseFile) int { return inventory.ComparePaths(a.Path, b.Path) })
	slices.SortStableFunc(l.Files, func(a, b inventory.File) int { return inventory.ComparePaths(a.Path, b.Path) })
	l.Files = oneOfEach(l.Files)
	l.Digests = run.digests.pack(paths, at)
	return l
}

// oneOfEach joins what several analyzers found in one file, since a path of a
// layer has one File. Files are sorted.
func oneOfEach(files []inventory.File) []inventory.File {
	out := files[:0]
	for _, f := range files {
		if n := len(out); n > 0 && out[n-1].Path == f.Path {
			last := &out[n-1]
			last.Packages = append(last.Packages, f.Packages...)
			last.Analyzer += ", " + f.Analyzer
			continue
		}
		out = append(out, f)
	}
	return out
}

// owner is the package of the distribution that owns the path; empty for none.
func (run *layerRun) owner(path string) string {
	owner := run.ownerAsListed(path)
	if run.vendors[owner] {
		return ""
	}
	return owner
}

// ownerAsListed looks a path up under the names that package databases may have for it:
// since the merge of / and /usr, many still list /lib/x for /usr/lib/x.
func (run *layerRun) ownerAsListed(path string) string {
	if o, ok := run.owners[path]; ok {
		return o
	}
	if rest, ok := strings.CutPrefix(path, "usr/"); ok {
		return run.owners[rest]
	}
	return run.owners["usr/"+path]
}
