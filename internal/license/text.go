package license

import (
	"cmp"
	"crypto/sha256"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/google/licensecheck"
)

// A Text is what was recognised in a text.
type Text struct {
	// Expression has the licences whose texts were found, joined by AND; zero when
	// too little of the text is of any.
	Expression Expression
	// Coverage is how much of the text is of known licences, 0 to 100 percent.
	Coverage float64
}

// Recognised is the coverage from which a text counts as that of the licences
// found in it. What is left over are names of holders and addresses; below it,
// conditions may be among it that change everything.
const Recognised = 75

// MaxText is how much of a text is looked at, in bytes. The longest licence has
// some 50 KiB; what is longer is a collection.
const MaxText = 256 << 10

// A Recogniser recognises licences by their texts, with google/licensecheck. The
// zero Recogniser is ready; it is safe for concurrent use. It knows texts again
// that it has seen, also with other names of holders.
type Recogniser struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]findings
	// scanners by the number of the licence, made when first needed.
	scanners map[uint16]*scanner
}

type scanner struct {
	once    sync.Once
	scanner *licensecheck.Scanner
}

// maxKnown bounds the memory of texts.
const maxKnown = 4096

// Recognise tells which licences a text is of. It costs time in proportion to the
// text's length, up to MaxText, whatever is in it.
func (r *Recogniser) Recognise(text []byte) Text {
	f := r.find(text[:min(len(text), MaxText)])
	if f.coverage < Recognised {
		return Text{Coverage: f.coverage}
	}
	return Text{Expression: f.expression, Coverage: f.coverage}
}

// findings are the licences of which a text has the whole text or notice, and how
// much of it is theirs.
type findings struct {
	expression Expression
	coverage   float64
}

// find finds the licences in a text, or knows them from before.
func (r *Recogniser) find(text []byte) findings {
	words := appendWords(nil, text)
	key := essence(text, words)
	r.mu.Lock()
	known, ok := r.known[key]
	r.mu.Unlock()
	if ok {
		return known
	}
	found := r.recognise(text, words)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil || len(r.known) >= maxKnown {
		r.known = map[[sha256.Size]byte]findings{}
	}
	r.known[key] = found
	return found
}

// essence is a checksum of the text's words without the lines that name holders.
func essence(text []byte, words []word) [sha256.Size]byte {
	b := make([]byte, 0, len(text))
	copyright, line := hashOf("copyright"), int32(-1)
	skip := false
	for _, w := range words {
		if w.start > line { // the first word of a line
			line = lineEnd(text, w.start)
			skip = w.hash == copyright
		}
		if skip {
			continue
		}
		for _, c := range text[w.start:w.end] {
			b = append(b, wordByte(c))
		}
		b = append(b, ' ')
	}
	return sha256.Sum256(b)
}

func lineEnd(text []byte, from int32) int32 {
	for i := from; i < int32(len(text)); i++ {
		if text[i] == '\n' {
			return i
		}
	}
	return int32(len(text))
}

// A candidate is a licence that the text may be of.
type candidate struct {
	text    uint16 // of the index
	license uint16
	score   float64 // the share of its grams that the text has
	at      []int32 // where: numbers of words
}

// maxCandidates bounds how many licences one text is compared with, and
// maxCompared the sum of bytes compared.
const (
	maxCandidates = 32
	maxCompared   = 4 << 20
	minScore      = 0.45
)

func (r *Recogniser) recognise(text []byte, words []word) findings {
	x, err := readTextIndex()
	if err != nil || len(words) == 0 {
		return findings{} // a test holds that the index is that of licensecheck
	}
	taken := make([]bool, len(words))
	var found []match
	compared := 0
	for _, c := range x.candidates(words) {
		if compared += len(text); compared > maxCompared {
			break
		}
		// Unless some of it lies outside of what was recognised already.
		fresh := 0
		for _, i := range c.at {
			if !taken[i] {
				fresh++
			}
		}
		if float64(fresh) < minScore*float64(x.grams[c.text]) {
			continue
		}
		for _, m := range r.scan(x, c.license, text) {
			m.first, m.last = wordsWithin(words, m.start, m.end)
			found = place(found, m)
		}
		clear(taken)
		for _, m := range found {
			for i := m.first; i < m.last; i++ {
				taken[i] = true
			}
		}
	}
	slices.SortFunc(found, func(a, b match) int { return cmp.Compare(a.start, b.start) })
	covered := 0
	for _, t := range taken {
		if t {
			covered++
		}
	}
	return findings{expressionOf(found), math.Round(1000*float64(covered)/float64(len(words))) / 10}
}

// candidates are the licences that the text may be of, the likeliest first.
func (x *textIndex) candidates(words []word) []candidate {
	at := map[uint16][]int32{}
	seen := map[uint64]bool{}
	for i := 0; i+gramWords <= len(words); i++ {
		for _, e := range x.find(gram(words, i)) {
			if !seen[e] {
				seen[e] = true
				at[uint16(e)] = append(at[uint16(e)], int32(i))
			}
		}
	}
	best := map[uint16]candidate{} // by licence
	for n, places := range at {
		c := candidate{n, x.of[n], float64(len(places)) / float64(x.grams[n]), places}
		if old, ok := best[c.license]; c.score >= minScore && (!ok || c.score > old.score || c.score == old.score && c.text < old.text) {
			best[c.license] = c
		}
	}
	out := slices.Collect(maps.Values(best))
	slices.SortFunc(out, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(len(b.at), len(a.at)), cmp.Compare(a.text, b.text))
	})
	return out[:min(len(out), maxCandidates)]
}

// A match is where a licence's text lies.
type match struct {
	id          string
	start, end  int
	first, last int // words
}

func (r *Recogniser) scan(x *textIndex, l uint16, text []byte) []match {
	r.mu.Lock()
	if r.scanners == nil {
		r.scanners = map[uint16]*scanner{}
	}
	s := r.scanners[l]
	if s == nil {
		s = &scanner{}
		r.scanners[l] = s
	}
	r.mu.Unlock()
	s.once.Do(func() { s.scanner, _ = licensecheck.NewScanner(x.licenses[l : l+1]) })
	if s.scanner == nil {
		return nil // a test holds that each can be compiled
	}
	var out []match
	for _, m := range s.scanner.Scan(text).Match {
		out = append(out, match{id: m.ID, start: m.Start, end: m.End})
	}
	return out
}

func wordsWithin(words []word, start, end int) (first, last int) {
	first, _ = slices.BinarySearchFunc(words, int32(start), func(w word, s int32) int { return cmp.Compare(w.start, s) })
	last, _ = slices.BinarySearchFunc(words, int32(end), func(w word, e int32) int { return cmp.Compare(w.start, e) })
	return first, last
}

// place adds a match, unless it lies in another. Those that lie in it give way: of
// licences that begin alike the longer one counts.
func place(found []match, m match) []match {
	if m.first >= m.last || slices.ContainsFunc(found, func(f match) bool {
		overlap := min(f.last, m.last) - max(f.first, m.first)
		return overlap > 0 && f.last-f.first >= m.last-m.first
	}) {
		return found
	}
	found = slices.DeleteFunc(found, func(f match) bool { return min(f.last, m.last) > max(f.first, m.first) })
	return append(found, m)
}

// expressionOf joins what was found in a text. The full text of a GNU licence does
// not tell whether later versions may be chosen; the words that apply it do, and
// where they are there too, they count.
func expressionOf(found []match) Expression {
	applied := map[string]bool{}
	for _, m := range found {
		for _, suffix := range []string{"-only", "-or-later"} {
			if stem, ok := strings.CutSuffix(m.id, suffix); ok {
				applied[stem] = true
			}
		}
	}
	var all []Expression
	for _, m := range found {
		if !applied[m.id] {
			all = append(all, textID(m.id))
		}
	}
	return And(all...)
}

// textID is the expression for an id of licensecheck.
func textID(id string) Expression {
	if id == "GPL-2.0-or-3.0" {
		return Or(termOf("GPL-2.0-only"), termOf("GPL-3.0-only"))
	}
	if e, ok := listed(id); ok {
		return e
	}
	return termOf(unlisted(id))
}
