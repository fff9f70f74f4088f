package inventory

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"strata/internal/license"
)

// image groups what the layers hold into the packages of the image.
func (m *merger) image() Image {
	installed := m.installedDirs()
	licenses := m.licenseIndex()
	img := Image{Distro: m.distro, Files: m.imageFiles(), Problems: append(m.problems, licenses.problems...)}
	owners := map[int]string{}
	expressions := map[string]license.Expression{}
	type key struct {
		same
		layer, stateLayer int
		state             State
		owner             string
	}
	byKey := map[key]int{}
	type located struct {
		pkg int
		Location
	}
	places, noted := map[located]bool{}, map[said]bool{}
	// A lock file is judged once for each type of its packages, which may be thousands.
	type lock struct{ typ, path, owner string }
	judged := map[lock]bool{}
	for _, h := range m.all {
		if h.distro.Zero() {
			h.distro = m.distro
		}
		if h.file.Kind == Locked {
			l := lock{h.Type, h.path, h.file.Owner}
			if _, ok := judged[l]; !ok {
				judged[l] = superseded(h, installed)
			}
			if judged[l] {
				continue
			}
		}
		id := h.same()
		id.member = ""
		k := key{id, h.layer, h.stateLayer, h.state, h.file.Owner}
		i, ok := byKey[k]
		if !ok {
			i = len(img.Packages)
			byKey[k] = i
			img.Packages = append(img.Packages, imagePackage(h))
		}
		loc := Location{Path: h.path, Layer: h.layer}
		if h.Member != "" {
			loc.Path += "!/" + h.Member
		}
		if at := (located{i, loc}); !places[at] {
			places[at] = true
			img.Packages[i].Locations = append(img.Packages[i].Locations, loc)
		}
		img.Packages[i].addEvidence(i, h, loc, licenses.of(h), noted)
		if h.file.Owner != "" {
			owners[i] = h.file.Owner
		}
	}
	for i := range img.Packages {
		p := &img.Packages[i]
		p.License.settle(&p.Package, expressions)
		slices.SortFunc(p.Locations, func(a, b Location) int { return cmp.Compare(a.Path, b.Path) })
		p.ID = packageID(p)
	}
	img.inheritLicenses(owners)
	slices.SortFunc(img.Packages, func(a, b ImagePackage) int {
		return cmp.Or(cmp.Compare(a.Layer, b.Layer), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Version, b.Version), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.StateLayer, b.StateLayer),
			cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.ID, b.ID))
	})
	slices.SortStableFunc(img.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Layer, b.Layer), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message))
	})
	return img
}

func imagePackage(h *held) ImagePackage {
	p := ImagePackage{Package: h.Package, Layer: h.layer, State: h.state, StateLayer: h.stateLayer}
	p.Member = ""
	if _, name, ok := strings.Cut(h.file.Owner, ":"); ok {
		p.Owner = name
	}
	if p.Distribution() && p.Ecosystem == "" {
		p.Ecosystem, _ = h.distro.Ecosystem()
	}
	p.PURL = packageURL(&p.Package, h.distro)
	return p
}

// packageID is short, and the same for the same package in the same image.
func packageID(p *ImagePackage) string {
	h := sha256.New()
	for _, s := range []string{p.PURL, p.Name, strconv.Itoa(p.Layer), string(p.State), strconv.Itoa(p.StateLayer), p.Owner} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// installedDirs are the directories in which packages are installed, by type.
func (m *merger) installedDirs() map[string][]string {
	dirs := map[string]map[string]bool{}
	for _, h := range m.all {
		if h.file.Kind == Locked || h.file.Owner != "" {
			continue
		}
		if dirs[h.Type] == nil {
			dirs[h.Type] = map[string]bool{}
		}
		dir, _ := parent(h.path)
		dirs[h.Type][dir] = true
	}
	out := map[string][]string{}
	for typ, set := range dirs {
		for dir := range set {
			out[typ] = append(out[typ], dir)
		}
	}
	return out
}

// installsBeside are the package types that are installed below the directory
// of the lock file. The others go to a place of their own.
var installsBeside = map[string]bool{"npm": true, "composer": true}

// superseded tells whether a package that a lock file asks for is believed no
// more, since what is installed is known: a lock file also lists what was left
// out (development packages), and it may be older or newer than what it locks.
func superseded(h *held, installed map[string][]string) bool {
	if h.file.Owner != "" {
		return true // the distribution's, which has packages for what it needs
	}
	dir, _ := parent(h.path)
	up, _ := parent(dir)
	self, siblings := false, false
	for _, d := range installed[h.Type] {
		if !installsBeside[h.Type] || dir == "" || below(d, dir) {
			return true
		}
		self = self || d == dir
		siblings = siblings || d != dir && below(d, up) && !strings.Contains(d[len(up)+1:], "/")
	}
	// A package among packages, under whatever name their directory has: the lock
	// file is what its developers worked with.
	return self && siblings && up != ""
}
