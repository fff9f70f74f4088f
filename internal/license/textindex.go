package license

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"slices"
	"sort"
	"sync"

	"github.com/google/licensecheck"
)

// licensecheck knows the texts of some four hundred licences, and compiling all
// of them takes longer than the rest of a scan. So only those are compiled that a
// text may be: the index has, of each licence's text, a few rows of four words
// that are in few others. TestTextIndex makes it, by -update, from the texts that
// licensecheck brings.
//
//go:embed textindex.bin
var textIndexFile []byte

// A textIndex tells which of licensecheck's licences a text may be.
type textIndex struct {
	licenses []licensecheck.License
	// of is the number of the licence of each text: some licences have several.
	of []uint16
	// words of each text: how many it has.
	words []uint16
	// grams of each text: how many the index has.
	grams []int
	// entries are sorted: the hash of a gram in the upper 32 bits, the text below.
	entries []uint64
	// maybe has a bit for the upper bits of each hash: most words are of no entry.
	maybe []uint64
}

const maybeBits = 18

func (x *textIndex) has(hash uint32) bool {
	bit := hash >> (32 - maybeBits)
	return x.maybe[bit/64]&(1<<(bit%64)) != 0
}

// find gives the texts that have the gram.
func (x *textIndex) find(hash uint32) []uint64 {
	if !x.has(hash) {
		return nil
	}
	key := uint64(hash) << 32
	i := sort.Search(len(x.entries), func(i int) bool { return x.entries[i] >= key })
	j := i
	for j < len(x.entries) && x.entries[j]>>32 == uint64(hash) {
		j++
	}
	return x.entries[i:j]
}

var errTextIndex = errors.New("the index of licence texts is not of this version of licensecheck: go test ./internal/license -run TestTextIndex -update")

// readTextIndex reads the embedded index.
var readTextIndex = sync.OnceValues(func() (*textIndex, error) {
	x := &textIndex{licenses: textLicenses(), maybe: make([]uint64, 1<<maybeBits/64)}
	b := textIndexFile
	if len(b) < 4 || int(binary.LittleEndian.Uint16(b)) != len(x.licenses) {
		return nil, errTextIndex
	}
	texts := int(binary.LittleEndian.Uint16(b[2:]))
	b = b[4:]
	if len(b) < 4*texts || (len(b)-4*texts)%6 != 0 {
		return nil, errTextIndex
	}
	x.of, x.words, x.grams = make([]uint16, texts), make([]uint16, texts), make([]int, texts)
	for i := range x.of {
		x.of[i], x.words[i] = binary.LittleEndian.Uint16(b[4*i:]), binary.LittleEndian.Uint16(b[4*i+2:])
		if int(x.of[i]) >= len(x.licenses) {
			return nil, errTextIndex
		}
	}
	b = b[4*texts:]
	x.entries = make([]uint64, 0, len(b)/6)
	for ; len(b) > 0; b = b[6:] {
		hash, n := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:])
		if int(n) >= texts {
			return nil, errTextIndex
		}
		x.entries = append(x.entries, uint64(hash)<<32|uint64(n))
		x.grams[n]++
		bit := hash >> (32 - maybeBits)
		x.maybe[bit/64] |= 1 << (bit % 64)
	}
	return x, nil
})

// textLicenses are the licences of licensecheck that have texts.
func textLicenses() []licensecheck.License {
	return slices.DeleteFunc(licensecheck.BuiltinLicenses(), func(l licensecheck.License) bool { return l.LRE == "" })
}
