package license

import (
	"bytes"
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
	// texts by their essence.
	texts memo[[sha256.Size]byte, findings]
	// copyrights are what was read of copyright files, by their checksum.
	copyrights memo[[sha256.Size]byte, Copyright]
	// names are what Normalise made of names in copyright files.
	names memo[string, Expression]

	mu sync.Mutex
	// scanners by the number of the licence, made when first needed.
	scanners map[uint16]*scanner
}

type scanner struct {
	once    sync.Once
	scanner *licensecheck.Scanner
}

// Recognise tells which licences a text is of. It costs time in proportion to the
// text's length, up to MaxText, whatever is in it.
func (r *Recogniser) Recognise(text []byte) Text {
	f := r.find(text[:min(len(text), MaxText)])
	if f.coverage < Recognised {
		return Text{Coverage: f.coverage}
	}
	return Text{Expression: f.expression, Coverage: f.coverage}
}

// normalise is Normalise, which copyright files ask for the same names again and again.
func (r *Recogniser) normalise(name string) Expression {
	return r.names.get(name, func() Expression { return Normalise(name) })
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
	return r.texts.get(essence(text, words), func() findings { return r.recognise(text, words) })
}

// essence is a checksum of the text's words without the lines that name holders.
func essence(text []byte, words []word) [sha256.Size]byte {
	sum := sha256.New()
	var buf [4096]byte
	b := buf[:0]
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
		if b = append(b, ' '); len(b) > len(buf)/2 {
			_, _ = sum.Write(b) // never fails
			b = b[:0]
		}
	}
	_, _ = sum.Write(b)
	return [sha256.Size]byte(sum.Sum(nil))
}

func lineEnd(text []byte, from int32) int32 {
	if i := bytes.IndexByte(text[from:], '\n'); i >= 0 {
		return from + int32(i)
	}
	return int32(len(text))
}

// A candidate is a licence that the text may be of.
type candidate struct {
	text    uint16 // of the index
	license uint16
	score   float64 // the share of its grams that the text has
	at      []hit   // where, in order
	length  int     // words of the longest of its texts that it may be
}

// A hit is a gram of a candidate in the text.
type hit struct {
	word int32
	gram uint32
}

// distinct is how many grams the hits are of.
func distinct(hits []hit) int {
	seen := make(map[uint32]struct{}, len(hits))
	for _, h := range hits {
		seen[h.gram] = struct{}{}
	}
	return len(seen)
}

// telling are words without which a text is not of a licence, by the beginning of
// its id: notices of GNU licences are much alike.
var telling = map[string]string{"AGPL-": "affero", "GFDL-": "documentation", "LGPL-2.0": "library", "LGPL-2.1": "lesser", "JSON": "evil", "MPL-": "mozilla", "Apache-": "apache"}

// tells tells whether the words have those without which they are not of a licence.
func tells(id string, words []word) bool {
	for prefix, must := range telling {
		if strings.HasPrefix(id, prefix) {
			hash := hashOf(must)
			return slices.ContainsFunc(words, func(w word) bool { return w.hash == hash })
		}
	}
	return true
}

// slack is how many words more than the known ones a text may have, such as the
// names of holders.
const slack = 60

// A window is a part of the text, by the numbers of its words.
type window struct{ first, last int }

// windows are the parts of the text in which the candidate may be: where enough of
// its grams are as close together as in its own text, and not yet taken for another
// licence.
func (c *candidate) windows(taken []bool, enough, words int) []window {
	var out []window
	for rest := c.at; len(rest) > 0; {
		n := 1
		for n < len(rest) && int(rest[n].word-rest[n-1].word) <= c.length {
			n++
		}
		free := make([]hit, 0, n)
		for _, h := range rest[:n] {
			if !taken[h.word] {
				free = append(free, h)
			}
		}
		if len(free) >= enough && distinct(free) >= max(enough, 1) {
			out = append(out, window{max(0, int(rest[0].word)-c.length-slack), min(words, int(rest[n-1].word)+c.length+slack)})
		}
		rest = rest[n:]
	}
	return out
}

// maxCandidates bounds how many licences one text is compared with, maxCompared
// the sum of bytes compared, and maxHits the grams found of one licence. minScore is
// the share of a licence's grams that the text must have, minFresh the share that
// must lie outside of what was recognised before.
const (
	maxCandidates = 32
	maxCompared   = 2 << 20
	maxHits       = 5000
	minScore      = 0.55
	minFresh      = 0.25
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
		if compared > maxCompared {
			break
		}
		scanned := false
		for _, w := range c.windows(taken, int(minFresh*float64(x.grams[c.text])), len(words)) {
			if !tells(x.licenses[c.license].ID, words[w.first:w.last]) {
				continue
			}
			compared += int(words[w.last-1].end - words[w.first].start)
			for _, m := range r.scan(x, c.license, text, words, w) {
				found, scanned = place(found, m), true
			}
		}
		if !scanned {
			continue
		}
		clear(taken)
		for _, m := range found {
			for i := m.first; i < m.last; i++ {
				taken[i] = true
			}
		}
	}
	slices.SortFunc(found, func(a, b match) int { return cmp.Compare(a.first, b.first) })
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
	at := map[uint16][]hit{}
	for i := 0; i+gramWords <= len(words); i++ {
		g := gram(words, i)
		for _, e := range x.find(g) {
			if n := uint16(e); len(at[n]) < maxHits {
				at[n] = append(at[n], hit{int32(i), g})
			}
		}
	}
	best := map[uint16]candidate{} // by licence
	for n, places := range at {
		c := candidate{n, x.of[n], float64(distinct(places)) / float64(x.grams[n]), places, int(x.words[n])}
		if c.score < minScore {
			continue
		}
		old, ok := best[c.license]
		if ok && (old.score > c.score || old.score == c.score && old.text < c.text) {
			old.length = max(old.length, c.length)
			best[c.license] = old
			continue
		}
		c.length = max(c.length, old.length)
		best[c.license] = c
	}
	out := slices.Collect(maps.Values(best))
	slices.SortFunc(out, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(len(b.at), len(a.at)), cmp.Compare(a.text, b.text))
	})
	return out[:min(len(out), maxCandidates)]
}

// A match is where a licence's text lies: numbers of words.
type match struct {
	id          string
	first, last int
}

// scan looks for a licence in a part of the text.
func (r *Recogniser) scan(x *textIndex, l uint16, text []byte, words []word, w window) []match {
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
	from := int(words[w.first].start)
	var out []match
	for _, m := range s.scanner.Scan(text[from:words[w.last-1].end]).Match {
		first, last := wordsWithin(words, from+m.Start, from+m.End)
		out = append(out, match{m.ID, first, last})
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
