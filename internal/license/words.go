package license

import (
	"hash/fnv"
	"slices"
)

// A word is one word of a text, by which texts are compared: letters and digits
// count, in lower case, and nothing else.
type word struct {
	hash       uint32
	start, end int32 // in the text, in bytes
}

// wordByte is the lower case of a byte of a word; 0 for what lies between words.
func wordByte(c byte) byte {
	switch {
	case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c >= 0x80:
		return c
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	}
	return 0
}

// appendWords appends the words of the text.
func appendWords(words []word, text []byte) []word {
	const prime = 16777619 // of FNV-1a
	words = slices.Grow(words, len(text)/5)
	for i := 0; i < len(text); {
		c := wordByte(text[i])
		if c == 0 {
			i++
			continue
		}
		start := i
		h := uint32(2166136261)
		for c != 0 {
			h = (h ^ uint32(c)) * prime
			if i++; i == len(text) {
				break
			}
			c = wordByte(text[i])
		}
		words = append(words, word{h, int32(start), int32(i)})
	}
	return words
}

// gramWords is how many words in a row make a gram.
const gramWords = 4

// gram is the hash of the gram that begins with the i-th word.
func gram(words []word, i int) uint32 {
	h := uint64(1469598103934665603)
	for _, w := range words[i : i+gramWords] {
		h = (h ^ uint64(w.hash)) * 1099511628211
		h ^= h >> 29
	}
	return uint32(h >> 32)
}

// hashOf is the hash of a word in lower case.
func hashOf(s string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s)) // never fails
	return h.Sum32()
}
