package store

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"

	"strata/internal/inventory"
)

// A rowKey names content: the first half of its SHA-256.
type rowKey [16]byte

func (k rowKey) compare(other rowKey) int { return bytes.Compare(k[:], other[:]) }

// packageKey is that of all that matching depends on.
func packageKey(p *inventory.ImagePackage) rowKey {
	h := sha256.New()
	write := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	for _, s := range []string{p.Type, p.Ecosystem, p.Name, p.Version, p.Arch, p.PURL, p.SourceName, p.SourceVersion} {
		write(s)
	}
	for _, k := range p.KnownAs {
		write(k.Ecosystem)
		write(k.Name)
		write(k.Version)
	}
	return rowKey(h.Sum(nil)[:16])
}

// A segment is what one layer adds to an image and hides from it, as rows
// (docs/decisions/0018-images-are-segments.md).
type segment struct {
	hash     rowKey
	packages []segmentPackage
	twins    []segmentTwin
	hidden   []segmentHidden

	files       []segmentFile
	hiddenFiles []segmentFileHidden
}

type segmentPackage struct {
	pkg     rowKey
	owned   bool
	license string
}

type segmentTwin struct{ pkg, twin rowKey }

type segmentHidden struct {
	pkg    rowKey
	owned  bool
	from   int
	state  inventory.State
	partly bool
}

// segmentsOf takes an image apart: a segment for each of its layers, and the package
// versions that are in them, by key.
func segmentsOf(layers int, inv *inventory.Image) ([]segment, map[rowKey]*inventory.ImagePackage) {
	segments := make([]segment, layers)
	packages := make(map[rowKey]*inventory.ImagePackage, len(inv.Packages))
	keys := make([]rowKey, len(inv.Packages))
	byPath := map[string][]rowKey{}
	for i := range inv.Packages {
		p := &inv.Packages[i]
		keys[i] = packageKey(p)
		packages[keys[i]] = p
		if p.Type != genericType {
			for _, l := range p.Locations {
				byPath[l.Path] = append(byPath[l.Path], keys[i])
			}
		}
	}
	for i := range inv.Packages {
		segments[inv.Packages[i].Layer].introduce(keys[i], &inv.Packages[i], byPath)
	}
	hide(segments, keys, inv.Packages)
	splitFiles(segments, inv.Files)
	for i := range segments {
		segments[i].seal()
	}
	return segments, packages
}

// genericType is the type of programs that are known by their content.
const genericType = "generic"

func (s *segment) introduce(key rowKey, p *inventory.ImagePackage, byPath map[string][]rowKey) {
	s.packages = append(s.packages, segmentPackage{key, p.DistroOwned(), p.License.Expression})
	if p.Type != genericType {
		return
	}
	for _, l := range p.Locations {
		for _, twin := range byPath[l.Path] {
			s.twins = append(s.twins, segmentTwin{key, twin})
		}
	}
}

// hide writes into the segment of the layer that shadowed or removed a package what
// it hid. It hid it in part where more of the same package, from the same layer, is
// present still, or was hidden later.
func hide(segments []segment, keys []rowKey, packages []inventory.ImagePackage) {
	type same struct {
		key   rowKey
		owned bool
		layer int
	}
	last := map[same]int{} // the layer that hid the last of it
	for i := range packages {
		p := &packages[i]
		k := same{keys[i], p.DistroOwned(), p.Layer}
		until := p.StateLayer
		if p.State == inventory.Present {
			until = len(segments)
		}
		last[k] = max(last[k], until)
	}
	for i := range packages {
		p := &packages[i]
		if p.State == inventory.Present || p.StateLayer < 0 || p.StateLayer >= len(segments) {
			continue
		}
		k := same{keys[i], p.DistroOwned(), p.Layer}
		s := &segments[p.StateLayer]
		s.hidden = append(s.hidden, segmentHidden{k.key, k.owned, p.Layer, p.State, last[k] > p.StateLayer})
	}
}

// seal sorts the rows, takes doubles out, and gives the segment the hash of them.
// Doubles are what differs in something that is not kept here, such as the owner's
// name: the licence that sorts last stays.
func (s *segment) seal() {
	slices.SortFunc(s.packages, func(a, b segmentPackage) int {
		return cmp.Or(a.pkg.compare(b.pkg), compareBools(a.owned, b.owned), strings.Compare(b.license, a.license))
	})
	s.packages = slices.CompactFunc(s.packages, func(a, b segmentPackage) bool { return a.pkg == b.pkg && a.owned == b.owned })
	slices.SortFunc(s.twins, func(a, b segmentTwin) int { return cmp.Or(a.pkg.compare(b.pkg), a.twin.compare(b.twin)) })
	s.twins = slices.Compact(s.twins)
	slices.SortFunc(s.hidden, func(a, b segmentHidden) int {
		return cmp.Or(a.pkg.compare(b.pkg), compareBools(a.owned, b.owned), cmp.Compare(a.from, b.from), cmp.Compare(a.state, b.state))
	})
	s.hidden = slices.Compact(s.hidden)
	h := sha256.New()
	for _, p := range s.packages {
		h.Write(p.pkg[:])
		h.Write(flag(p.owned))
		h.Write([]byte(p.license + "\x00"))
	}
	h.Write([]byte("twins"))
	for _, t := range s.twins {
		h.Write(t.pkg[:])
		h.Write(t.twin[:])
	}
	h.Write([]byte("hidden"))
	for _, x := range s.hidden {
		h.Write(x.pkg[:])
		h.Write(flag(x.owned))
		h.Write(flag(x.partly))
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(x.from)))
		h.Write([]byte(x.state + "\x00"))
	}
	s.hashFiles(h)
	s.hash = rowKey(h.Sum(nil)[:16])
}

func flag(b bool) []byte {
	if b {
		return []byte{1}
	}
	return []byte{0}
}

func compareBools(a, b bool) int { return int(flag(a)[0]) - int(flag(b)[0]) }

// knownAsText is how a package version's other names are kept: JSON, or nothing.
func knownAsText(p *inventory.ImagePackage) (string, error) {
	if len(p.KnownAs) == 0 {
		return "", nil
	}
	b, err := json.Marshal(p.KnownAs)
	return string(b), err
}
