package inventory

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"strata/internal/license"
)

// A LicenseKind is how a file tells of a licence.
type LicenseKind string

const (
	// LicenseDeclared: the metadata of a package, or a copyright file in Debian's
	// machine-readable format, names the licence.
	LicenseDeclared LicenseKind = "declared"
	// LicenseText: the file has the licence's text.
	LicenseText LicenseKind = "text"
)

// LicenseAnalyzer is the name of the analyzer of licence files. A link that only
// it wants is no loss when its target was not read.
const LicenseAnalyzer = "license"

// A LicenseFile is a file of a layer that tells of licences. Merge finds the
// packages it is about.
type LicenseFile struct {
	// Path within the image, without a leading slash.
	Path string `json:"path"`
	// Member is the path within the file, for one in an archive.
	Member string      `json:"member,omitempty"`
	Kind   LicenseKind `json:"kind"`
	// Expression is an SPDX expression; empty for a text that isn't recognised.
	Expression string `json:"expression,omitempty"`
	// Coverage of a text by licences, in percent.
	Coverage float64 `json:"coverage,omitempty"`
	// Package is "type:name@version" where the file says which it is about, and is
	// no file that tells of an installed package.
	Package string `json:"package,omitempty"`
}

// A License is what is known of a package's licence.
type License struct {
	// Expression is an SPDX expression; empty when nothing is known.
	//
	// What the package declares counts. Texts confirm it, and differ visibly in the
	// evidence; they count where nothing is declared that is understood, and where
	// "BSD" leaves open which.
	Expression string
	// Evidence is what tells it: first what is declared, then texts.
	Evidence []LicenseEvidence
}

// A LicenseEvidence is one place that tells of a package's licence.
type LicenseEvidence struct {
	Location
	Kind       LicenseKind
	Expression string
	Coverage   float64
}

// DeclaredLicense is the licence of a package of which only what it declares is
// known.
func DeclaredLicense(p *Package) License {
	return License{Expression: declared(p).String()}
}

// declared reads what a package declares. Several licences are a choice where the
// ecosystem says so (npm, "licenses"; Composer's schema; Maven, "Licenses"; what
// gems mean by it), and else all hold.
func declared(p *Package) license.Expression {
	all := make([]license.Expression, 0, len(p.Licenses))
	for _, l := range p.Licenses {
		all = append(all, license.Normalise(l))
	}
	switch p.Type {
	case "npm", "composer", "maven", "gem":
		return license.Or(all...)
	}
	return license.And(all...)
}

// licenseFile is a file that tells of licences, while it lies in the image.
type licenseFile struct {
	*LicenseFile
	path  string
	layer int
	end   int // the layer that took it away; -1 for none
}

// putLicense adds a file that tells of licences, which may be one that tells of
// packages too.
func (m *merger) putLicense(at string, f *LicenseFile) {
	l := &licenseFile{LicenseFile: f, path: at, layer: m.layer, end: -1}
	m.licenses = append(m.licenses, l)
	if p, ok := m.files[at]; ok && p.layer == m.layer && !p.link {
		p.licenses = append(p.licenses, l)
		return
	}
	m.put(&place{path: at, layer: m.layer, licenses: []*licenseFile{l}})
}

// noteLink keeps links of documentation, also once they are deleted: a copyright
// file that "slim" images leave out was there.
func (m *merger) noteLink(p *Path) {
	if strings.HasPrefix(p.Path, "usr/share/doc/") || strings.HasPrefix(p.Path, "usr/share/licenses/") {
		m.docLinks[p.Path] = p.Target
	}
}

// licenseIndex finds the files that tell of a package's licences.
type licenseIndex struct {
	byPath, byDir map[string][]*licenseFile
	// byPackage are those that say themselves what they are about, in lower case:
	// "cargo:serde@1.0.200".
	byPackage map[string][]*licenseFile
	docLinks  map[string]string
	full      map[string]bool // keys with more than maxIndexed
	problems  []Problem
}

const (
	// maxIndexed is how many files of one place are looked at for each of the
	// packages that have their licence from there, maxEvidence how many of them are
	// kept. Both are far above what real images have.
	maxIndexed  = 300
	maxEvidence = 100
)

// add puts a file under a key of one of the tables, up to maxIndexed.
func (x *licenseIndex) add(to map[string][]*licenseFile, key string, l *licenseFile) {
	if len(to[key]) < maxIndexed {
		to[key] = append(to[key], l)
		return
	}
	if !x.full[key] {
		x.full[key] = true
		x.problems = append(x.problems, Problem{Path: l.path, Layer: l.layer, Analyzer: LicenseAnalyzer,
			Message: fmt.Sprintf("more than %d files there tell of licences: the rest is not counted", maxIndexed)})
	}
}

func (m *merger) licenseIndex() *licenseIndex {
	x := &licenseIndex{
		byPath: map[string][]*licenseFile{}, byDir: map[string][]*licenseFile{}, byPackage: map[string][]*licenseFile{},
		docLinks: m.docLinks, full: map[string]bool{},
	}
	for _, l := range m.licenses {
		x.add(x.byPath, l.path, l)
		if l.Member != "" {
			continue
		}
		dir := path.Dir(l.path)
		x.add(x.byDir, dir, l)
		if i := strings.Index(l.path, ".dist-info/licenses/"); i >= 0 {
			wheel := l.path[:i+len(".dist-info")]
			x.add(x.byDir, wheel, l)
		}
		for _, key := range []string{strings.ToLower(l.Package), storedPackage(dir)} {
			if key != "" {
				x.add(x.byPackage, key, l)
			}
		}
	}
	return x
}

// storedPackage tells which package's source a directory of a package manager's
// store has: those of Cargo, Go and NuGet are named for it.
func storedPackage(dir string) string {
	if _, rest, ok := strings.Cut(dir, "registry/src/"); ok { // index.crates.io-6f17d22bba15001f/serde-1.0.200
		if _, crate, ok := strings.Cut(rest, "/"); ok && !strings.Contains(crate, "/") {
			return "crate:" + strings.ToLower(crate)
		}
	}
	if _, rest, ok := strings.Cut(dir, "pkg/mod/"); ok && strings.Contains(path.Base(rest), "@") {
		return "go:" + unescapeModule(rest)
	}
	if i := strings.LastIndex(dir, "/vendor/"); i >= 0 {
		return "vendor:" + strings.ToLower(dir[i+len("/vendor/"):])
	}
	if _, rest, ok := strings.Cut(dir, ".nuget/packages/"); ok && strings.Count(rest, "/") == 1 {
		return "nuget:" + strings.ToLower(strings.Replace(rest, "/", "@", 1))
	}
	return ""
}

// unescapeModule is a path of the module cache in lower case: "!" stands before
// letters that are upper case in the name (golang.org/ref/mod, "Module cache").
func unescapeModule(p string) string { return strings.ToLower(strings.ReplaceAll(p, "!", "")) }

// of are the files that tell of the licence of a package, as it lies in the image.
func (x *licenseIndex) of(h *held) []*licenseFile {
	if h.file.Kind == Locked {
		return x.named(h) // nothing of the package need be there
	}
	var found []*licenseFile
	for _, dir := range x.dirs(h) {
		found = append(found, x.byDir[dir]...)
	}
	switch h.Type {
	case "deb", "opkg":
		found = append(found, x.byPath[x.follow("usr/share/doc/"+h.Name+"/copyright")]...)
	case "maven":
		found = append(found, x.inArchive(h)...)
	}
	found = append(found, x.named(h)...)
	return lastOf(found, h)
}

// dirs are the directories whose licence files are the package's.
func (x *licenseIndex) dirs(h *held) []string {
	dir := path.Dir(h.path)
	switch h.Type {
	case "rpm":
		upstream, _, _ := strings.Cut(h.Version, "-")
		if _, rest, ok := strings.Cut(upstream, ":"); ok {
			upstream = rest
		}
		return []string{
			x.follow("usr/share/licenses/" + h.Name), x.follow("usr/share/licenses/" + h.Name + "-" + upstream),
			"usr/share/doc/" + h.Name + "-" + upstream, "usr/share/doc/" + h.Name, "usr/share/doc/packages/" + h.Name,
		}
	case "apk", "alpm":
		return []string{x.follow("usr/share/licenses/" + h.Name)}
	case "npm":
		if path.Base(h.path) == "package.json" {
			return []string{dir, dir + "/licenses", dir + "/LICENSES"}
		}
	case "pypi", "cran", "bioconductor":
		return []string{dir}
	case "gem":
		root, stem := strings.TrimSuffix(dir, "/default"), strings.TrimSuffix(path.Base(h.path), ".gemspec")
		if root, ok := strings.CutSuffix(root, "specifications"); ok {
			return []string{root + "gems/" + stem}
		}
	case "composer":
		return []string{path.Dir(dir) + "/" + h.Name}
	case "nuget":
		// usr/share/dotnet/shared/Microsoft.NETCore.App/8.0.1/
		if root, _, ok := strings.Cut(dir, "/shared/"); ok {
			return []string{root}
		}
	case "portage", "ebuild":
		return []string{dir}
	}
	return nil
}

// inArchive are the texts in the archive that the package is.
func (x *licenseIndex) inArchive(h *held) []*licenseFile {
	var found []*licenseFile
	for _, l := range x.byPath[h.path] {
		archive := ""
		if i := strings.LastIndex(l.Member, "!/"); i >= 0 {
			archive = l.Member[:i]
		}
		if l.Member != "" && archive == h.Member {
			found = append(found, l)
		}
	}
	return found
}

// named are the files that say, or whose place says, that they are about the package.
func (x *licenseIndex) named(h *held) []*licenseFile {
	if len(x.byPackage) == 0 {
		return nil
	}
	name := strings.ToLower(h.Name)
	found := x.byPackage[h.Type+":"+name+"@"+strings.ToLower(h.Version)]
	switch h.Type {
	case "cargo":
		found = append(slices.Clip(found), x.byPackage["crate:"+name+"-"+h.Version]...)
	case "golang":
		version := strings.TrimPrefix(h.Version, "v")
		found = append(slices.Clip(found), x.byPackage["go:"+name+"@v"+version]...)
		if len(found) == 0 {
			found = x.byPackage["vendor:"+name]
		}
	}
	return found
}

// follow resolves the links of documentation in a path: Debian's packages of one
// source share a directory.
func (x *licenseIndex) follow(p string) string {
	for range maxLinks {
		target, rest := "", ""
		for dir := p; dir != "." && dir != ""; dir = path.Dir(dir) {
			if t, ok := x.docLinks[dir]; ok {
				target, rest = ResolveLink(dir, t), p[len(dir):]
				break
			}
		}
		if target == "" {
			return p
		}
		p = target + rest
	}
	return p
}

// lastOf leaves out files that were never in the image together with the package,
// and all but the last of what several layers wrote at one path. A file that a
// later layer deleted is evidence still.
func lastOf(found []*licenseFile, h *held) []*licenseFile {
	type key struct{ path, member string }
	last := map[key]*licenseFile{}
	for _, l := range found {
		if l.end >= 0 && l.end <= h.layer || h.stateLayer >= 0 && l.layer >= h.stateLayer {
			continue
		}
		k := key{l.path, l.Member}
		if old := last[k]; old == nil || l.layer > old.layer {
			last[k] = l
		}
	}
	out := make([]*licenseFile, 0, len(last))
	for _, l := range last {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *licenseFile) int {
		return cmp.Or(ComparePaths(a.path, b.path), cmp.Compare(a.Member, b.Member))
	})
	return out[:min(len(out), maxEvidence)]
}

// A said is what was noted of a package: the evidence of one with many locations
// is not gone through for each.
type said struct {
	pkg int
	LicenseEvidence
}

// addEvidence notes what tells of the licence of a package, the nth, at one of its
// locations.
func (p *ImagePackage) addEvidence(n int, h *held, at Location, files []*licenseFile, noted map[said]bool) {
	add := func(e LicenseEvidence) {
		if key := (said{n, e}); !noted[key] {
			noted[key] = true
			p.License.Evidence = append(p.License.Evidence, e)
		}
	}
	if len(h.Licenses) > 0 {
		add(LicenseEvidence{at, LicenseDeclared, declared(&h.Package).String(), 0})
	}
	for _, l := range files {
		loc := Location{Path: l.path, Layer: l.layer}
		if l.Member != "" {
			loc.Path += "!/" + l.Member
		}
		add(LicenseEvidence{loc, l.Kind, l.Expression, l.Coverage})
	}
}

// settle makes of the evidence what the licence is.
func (l *License) settle(p *Package, known map[string]license.Expression) {
	slices.SortStableFunc(l.Evidence, func(a, b LicenseEvidence) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Layer, b.Layer)) // "declared" < "text"
	})
	said := declared(p)
	var other, texts []license.Expression
	for _, e := range l.Evidence {
		x, ok := known[e.Expression]
		if !ok {
			x, _ = license.Parse(e.Expression) // of a text that isn't recognised there is none
			known[e.Expression] = x
		}
		if e.Kind == LicenseText {
			texts = append(texts, x)
		} else {
			other = append(other, x)
		}
	}
	if said.Zero() {
		said = license.And(other...)
	}
	text := license.And(texts...)
	if !text.Zero() && (said.Zero() || !said.Understood() || license.Vague(p.Licenses, text)) {
		said = text
	}
	l.Expression = said.String()
}

// inheritLicenses gives packages that tell nothing of their licence what others
// tell that are bound to have the same: those of the distribution that own their
// files, and Debian's packages of the same source, whose copyright file it is
// (Debian Policy, 12.5: it may be in the directory of another, by a link that
// "slim" images leave out).
func (img *Image) inheritLicenses(owners map[int]string) {
	byName, bySource := map[string]*ImagePackage{}, map[string]*ImagePackage{}
	for i := range img.Packages {
		p := &img.Packages[i]
		if !p.Distribution() || p.License.Expression == "" {
			continue
		}
		if name := p.Type + ":" + p.Name; byName[name] == nil || p.State == Present {
			byName[name] = p
		}
		if key := p.sourceKey(); key != "" && bySource[key] == nil {
			bySource[key] = p
		}
	}
	for i := range img.Packages {
		p := &img.Packages[i]
		from := byName[owners[i]]
		if key := p.sourceKey(); key != "" && p.License.Expression == "" {
			from = bySource[key]
		}
		if from == nil {
			continue
		}
		if p.License.Expression == "" {
			p.License.Expression = from.License.Expression
		}
		p.License.Evidence = append(p.License.Evidence, from.License.Evidence...)
	}
}

// sourceKey names the source package of one of Debian's; empty for others.
func (p *ImagePackage) sourceKey() string {
	if p.Type != "deb" && p.Type != "opkg" || p.SourceName == "" {
		return ""
	}
	return p.Type + ":" + p.SourceName + "@" + p.SourceVersion
}
