package inventory

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Merge makes the view of an image from its layers, lowest first. A nil layer is
// one that could not be analysed: it counts, and what it did is not known.
//
// The file system is that of the OCI image-spec, layer.md: a layer's whiteouts
// and opaque marks hide only what lies below, an entry replaces what a lower
// layer has at its path, and one that is no directory hides the directory that
// was there. A package version is introduced by the layer in which it first
// appears at its place, and ends in the layer that hides, deletes or rewrites
// the file that told of it.
func Merge(layers []*Layer) Image {
	m := merger{files: map[string]*place{}, children: map[string]map[string]bool{}, links: map[string]string{}, docLinks: map[string]string{}}
	for i, l := range layers {
		if l != nil {
			m.apply(i, l)
		}
	}
	return m.image()
}

// A place is a path of the merged file system at which something of interest
// lies: a file that tells of packages, an os-release or a symbolic link.
type place struct {
	path   string
	layer  int   // that put it there
	file   *File // nil for a link or os-release
	held   []*held
	distro *Distro
	link   bool
	target string
	// licenses are what the file tells of licences.
	licenses []*licenseFile
	// content is the file by its digest, where it has one.
	content *ImageFile
}

// held is one package version at one path: what the image's packages are made of.
type held struct {
	Package
	path       string
	file       *File
	layer      int // introduced
	state      State
	stateLayer int
	distro     Distro // in effect when it was last present
}

// same is what makes two helds one package version.
type same struct{ typ, name, version, arch, member string }

func (h *held) same() same { return same{h.Type, h.Name, h.Version, h.Arch, h.Member} }

type merger struct {
	files map[string]*place // by path

	// children are, by directory, the paths directly in it at or below which a
	// place is.
	children map[string]map[string]bool
	links    map[string]string // symbolic links by path: their targets
	all      []*held

	distro   Distro
	problems []Problem

	licenses []*licenseFile
	docLinks map[string]string
	contents []*ImageFile

	// Of the layer being applied.
	layer   int
	ended   []*held
	started []*held
	// deleted are databases whose file went and was not replaced, by name.
	deleted map[string]*place
	// over are contents that the layer takes away.
	over []*ImageFile
}

func (m *merger) apply(index int, l *Layer) {
	m.layer, m.ended, m.started, m.deleted, m.over = index, nil, nil, map[string]*place{}, nil
	for _, p := range l.Problems {
		p.Layer = index
		m.problems = append(m.problems, p)
	}
	listing, err := l.Listing()
	if err != nil {
		m.problems = append(m.problems, Problem{Layer: index, Incomplete: true, Message: err.Error()})
	}
	for i := range listing {
		m.hide(&listing[i])
	}
	// The links that are left are those that entries of the layer go through.
	paths, moved := m.followLinks(listing)
	if moved != nil {
		for i := range paths {
			m.hide(&paths[i])
		}
	}
	for i := range l.Distros {
		m.put(&place{path: moved.of(l.Distros[i].Path), layer: index, distro: &l.Distros[i].Distro})
	}
	for i := range l.Files {
		m.putFile(moved.of(l.Files[i].Path), &l.Files[i])
	}
	for i := range l.Licenses {
		m.putLicense(moved.of(l.Licenses[i].Path), &l.Licenses[i])
	}
	for i := range paths {
		if paths[i].Kind == PathSymlink {
			m.put(&place{path: paths[i].Path, layer: index, link: true, target: paths[i].Target})
			m.noteLink(&paths[i])
		}
	}
	for _, link := range l.Links {
		link.Path, link.Target = moved.of(link.Path), moved.of(link.Target)
		m.putLink(link)
	}
	placed := m.putContents(l, listing, moved)
	m.settle()
	m.settleContents(placed, paths)
	m.distro = m.currentDistro()
	for _, h := range m.all {
		if h.state == Present {
			h.distro = m.distro
		}
	}
}

// A relocation tells where entries of a layer lie that go through symbolic links
// of lower layers.
type relocation []struct{ from, to string }

func (r relocation) of(p string) string {
	for _, x := range r {
		if below(p, x.from) {
			return path.Join(x.to, p[len(x.from)+1:])
		}
	}
	return p
}

// followLinks moves the entries of a layer that lie below a symbolic link of a
// lower layer to where it leads, as unpacking does. A file of a lower layer that
// has entries below it has become a directory.
func (m *merger) followLinks(paths Paths) (Paths, relocation) {
	if len(m.files) == 0 {
		return paths, nil
	}
	var moved relocation
	last := ""
	for i := range paths {
		p := paths[i].Path
		if !paths[i].Kind.content() {
			continue
		}
		// The entry before has had its directories looked at; only new ones count.
		for dir, ok := parent(p); ok && dir != "" && dir != last && !below(last, dir); dir, ok = parent(dir) {
			if target, isLink := m.links[dir]; isLink {
				moved = append(moved, struct{ from, to string }{dir, m.realPath(ResolveLink(dir, target))})
			} else {
				m.hideAt(dir, false)
			}
		}
		last = p
	}
	if len(moved) == 0 {
		return paths, nil
	}
	var b PathsBuilder
	for _, p := range paths {
		p.Path = moved.of(p.Path)
		b.Add(p, -1)
	}
	out, _ := b.Build()
	return out, moved
}

// realPath follows the symbolic links in the directories of p.
func (m *merger) realPath(p string) string {
	for range maxLinks {
		dir, again := p, false
		for ok := true; ok && dir != ""; dir, ok = parent(dir) {
			if target, isLink := m.links[dir]; isLink {
				p = path.Join(ResolveLink(dir, target), p[len(dir):])
				again = true
				break
			}
		}
		if !again {
			break
		}
	}
	return p
}

// hide ends what one entry of the layer takes away from the layers below.
func (m *merger) hide(e *Path) {
	switch e.Kind {
	case PathOpaque:
		m.hideBelow(e.Path)
	case PathWhiteout, PathFile, PathSymlink:
		m.hideAt(e.Path, e.Kind == PathWhiteout)
		m.hideBelow(e.Path)
	case PathDir:
		m.hideAt(e.Path, false)
	}
}

func (m *merger) hideAt(p string, deleted bool) {
	if old, ok := m.files[p]; ok && old.layer < m.layer {
		m.remove(old, deleted)
	}
}

// hideBelow ends everything in a directory. What the root loses is lost, but a
// smaller directory that goes takes at most the list of a package manager.
func (m *merger) hideBelow(dir string) {
	if len(m.children[dir]) == 0 {
		return
	}
	for _, old := range m.placesBelow(dir, nil) {
		m.remove(old, dir != "")
	}
}

func (m *merger) placesBelow(dir string, found []*place) []*place {
	for child := range m.children[dir] {
		if p, ok := m.files[child]; ok && p.layer < m.layer {
			found = append(found, p)
		}
		found = m.placesBelow(child, found)
	}
	return found
}

func (m *merger) put(p *place) {
	if old, ok := m.files[p.path]; ok {
		m.remove(old, false)
	}
	m.files[p.path] = p
	if p.link {
		m.links[p.path] = p.target
	}
	child := p.path
	for dir, ok := parent(child); ok; dir, ok = parent(child) {
		known := len(m.children[dir]) > 0
		if !known {
			m.children[dir] = map[string]bool{}
		}
		m.children[dir][child] = true
		if known {
			break
		}
		child = dir
	}
}

// remove takes a place out of the file system and ends its packages. A database
// of the distribution's package manager that is deleted, and not replaced by the
// same layer, is remembered: deleting the list removes no package.
func (m *merger) remove(p *place, deleted bool) {
	delete(m.files, p.path)
	delete(m.links, p.path)
	child := p.path
	for dir, ok := parent(child); ok && len(m.children[child]) == 0; dir, ok = parent(child) {
		delete(m.children[dir], child)
		if _, isPlace := m.files[dir]; isPlace {
			break
		}
		child = dir
	}
	if deleted && len(p.held) > 0 && p.file.Database != "" && p.held[0].Distribution() {
		m.deleted[p.file.Database] = p
	}
	m.ended = append(m.ended, p.held...)
	for _, l := range p.licenses {
		l.end = m.layer
	}
	if p.content != nil {
		m.over = append(m.over, p.content)
		p.content = nil // a database that is put back is not there for all that
	}
}

func (m *merger) putFile(at string, f *File) {
	p := &place{path: at, layer: m.layer, file: f}
	for _, pkg := range f.Packages {
		p.held = append(p.held, &held{Package: pkg, path: at, file: f, layer: m.layer, state: Present, stateLayer: -1})
	}
	m.started = append(m.started, p.held...)
	m.put(p)
}

// putLink gives a file a second name, under which it is a package's just as well.
func (m *merger) putLink(l Link) {
	target := l.Target
	if l.Symbolic {
		target = m.realPath(target)
	}
	old, ok := m.files[target]
	if ok {
		for _, known := range old.licenses {
			f := *known.LicenseFile
			f.Path = l.Path
			m.putLicense(l.Path, &f)
		}
	}
	if !ok || old.file == nil {
		if !l.Symbolic && (!ok || len(old.licenses) == 0) && l.Analyzer != LicenseAnalyzer {
			m.problems = append(m.problems, Problem{Path: l.Path, Layer: m.layer, Analyzer: l.Analyzer,
				Message: fmt.Sprintf("is a hard link to %s, which was not read", l.Target)})
		}
		return
	}
	f := *old.file
	if l.Owner != "" {
		f.Owner = l.Owner
	}
	at, link := l.Path, m.links[l.Path]
	m.putFile(at, &f)
	if l.Symbolic {
		p := m.files[at]
		p.link, p.target = true, link
		m.links[at] = link
	}
}

// settle pairs what ended in the layer with what started: the same version at
// the same place goes on, another version shadows, the rest was removed.
func (m *merger) settle() {
	m.continueSame()
	m.keepDeletedDatabases()
	versions := map[string][]string{} // that start, by slot
	for _, h := range m.started {
		versions[slot(h)] = append(versions[slot(h)], h.Version)
	}
	for _, h := range m.ended {
		h.stateLayer = m.layer
		h.state = Removed
		// The same version under another path was moved, not upgraded.
		if slices.ContainsFunc(versions[slot(h)], func(v string) bool { return v != h.Version }) {
			h.state = Shadowed
		}
	}
	m.all = append(m.all, m.started...)
}

// continueSame lets a package go on that the layer only wrote again: in the same
// file, or in another file of the same database.
func (m *merger) continueSame() {
	type key struct {
		where string
		same
	}
	at := func(h *held) key {
		if h.file.Database != "" {
			return key{"database " + h.file.Database, h.same()}
		}
		return key{h.path, h.same()}
	}
	before := map[key]*held{}
	for _, h := range m.ended {
		before[at(h)] = h
	}
	if len(before) == 0 {
		return
	}
	goesOn := map[*held]bool{}
	m.started = slices.DeleteFunc(m.started, func(h *held) bool {
		old, ok := before[at(h)]
		if !ok || goesOn[old] {
			return false
		}
		goesOn[old] = true
		m.replaceHeld(h, old)
		return true
	})
	m.ended = slices.DeleteFunc(m.ended, func(h *held) bool { return goesOn[h] })
}

// replaceHeld puts old, which goes on, where the layer has written it as new.
func (m *merger) replaceHeld(written, old *held) {
	file := written.file
	if file.Owner == "" && old.file.Owner != "" {
		// A file that was only touched (chown -R) is the distribution's still.
		kept := *file
		kept.Owner, file = old.file.Owner, &kept
	}
	old.path, old.file = written.path, file
	old.Licenses = written.Licenses
	p := m.files[written.path]
	for i := range p.held {
		if p.held[i] == written {
			p.held[i] = old
		}
	}
}

// keepDeletedDatabases: a layer that deletes a package manager's database, as
// "slim" images do, has uninstalled nothing.
func (m *merger) keepDeletedDatabases() {
	for name, p := range m.deleted {
		if slices.ContainsFunc(m.started, func(h *held) bool { return h.file.Database == name }) {
			continue
		}
		m.ended = slices.DeleteFunc(m.ended, func(h *held) bool { return slices.Contains(p.held, h) })
		m.put(p)
		m.problems = append(m.problems, Problem{Path: p.path, Layer: m.layer, Message: fmt.Sprintf(
			"the %s package database is deleted in layer %d; its %d packages are reported as it last listed them", name, m.layer, len(p.held))})
	}
}

// slot names the place in which one version of a package takes the other's: a
// package manager's database, or the directory that the package's own lies in.
func slot(h *held) string {
	where := h.file.Database
	if where == "" {
		where = path.Dir(path.Dir(h.path))
		if h.Type == "maven" || h.Type == "golang" {
			where = path.Dir(h.path)
		}
	}
	return strings.Join([]string{where, h.Type, h.Name, h.Arch}, "\x00")
}

// osReleases in the order of os-release(5), then what was there before it.
var osReleases = []string{"etc/os-release", "usr/lib/os-release", "etc/redhat-release", "etc/centos-release", "etc/system-release"}

func (m *merger) currentDistro() Distro {
	for _, p := range osReleases {
		at := m.realPath(p)
		if place, ok := m.files[at]; ok && place.distro != nil {
			return *place.distro
		}
	}
	return Distro{}
}
