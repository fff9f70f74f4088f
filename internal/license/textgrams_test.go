package license

import (
	"cmp"
	"encoding/binary"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/licensecheck"
)

// sampleTexts are the texts that licensecheck is tested with, without what its
// tests have before them, in the order of their names.
func sampleTexts(t testing.TB) [][]byte {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/licensecheck").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "testdata", "*.t*"))
	if err != nil || len(files) < 500 {
		t.Fatal("the texts of licensecheck's tests:", len(files), err)
	}
	var out [][]byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, text, ok := strings.Cut(string(b), "\n\n"); ok {
			out = append(out, []byte(text))
		}
	}
	return out
}

// maxGrams is how many rows of words the index has of each text at most.
const maxGrams = 48

// A sample is a text of a licence: its rows of words, and how many words it has.
type sample struct {
	grams map[uint32]bool
	words int
}

func sampleOf(text []byte) sample {
	words := appendWords(nil, text)
	s := sample{map[uint32]bool{}, len(words)}
	for j := 0; j+gramWords <= len(words); j++ {
		s.grams[gram(words, j)] = true
	}
	return s
}

// samplesOf are, by the number of the licence, what texts its pattern matches:
// those that are to be had, else the longest words of the pattern itself.
func samplesOf(licenses []licensecheck.License, texts [][]byte) [][]sample {
	number := map[string][]int{}
	for i, l := range licenses {
		number[l.ID] = append(number[l.ID], i)
	}
	out := make([][]sample, len(licenses))
	for _, text := range texts {
		for _, m := range licensecheck.Scan(text).Match {
			if m.IsURL {
				continue
			}
			for _, n := range number[m.ID] {
				out[n] = append(out[n], sampleOf(text[m.Start:m.End]))
			}
		}
	}
	for i, l := range licenses {
		if len(out[i]) == 0 {
			s := sample{grams: map[uint32]bool{}}
			for _, run := range literalRuns(l.LRE) {
				part := sampleOf([]byte(run))
				maps.Copy(s.grams, part.grams)
				s.words += part.words
			}
			out[i] = []sample{s}
		}
	}
	return out
}

// literalRuns are the parts of a pattern that stand for themselves (licensecheck,
// "License Regular Expressions").
func literalRuns(lre string) []string {
	for {
		before, rest, ok := strings.Cut(lre, "//**")
		if !ok {
			break
		}
		_, after, _ := strings.Cut(rest, "**//")
		lre = before + " " + after
	}
	lre = strings.NewReplacer("))??", "\x00", "((", "\x00", "))", "\x00", "||", "\x00").Replace(lre)
	return strings.Split(lre, "\x00")
}

// buildTextIndex makes the file of the index. Of each text those rows of words are
// chosen that most texts of its licence have, and few other licences.
func buildTextIndex(licenses []licensecheck.License, texts [][]byte) []byte {
	samples := samplesOf(licenses, texts)
	share := make([]map[uint32]float64, len(licenses))
	frequency := map[uint32]int{}
	for i, of := range samples {
		share[i] = map[uint32]float64{}
		for _, s := range of {
			for g := range s.grams {
				share[i][g] += 1 / float64(len(of))
			}
		}
		for g, x := range share[i] {
			if x >= 0.3 {
				frequency[g]++
			}
		}
	}
	var entries []uint64
	var of []byte
	count := 0
	for i := range licenses {
		weight := func(g uint32) float64 { return share[i][g] / (1 + math.Log2(float64(max(1, frequency[g])))) }
		var chosen [][]uint32
		var length []int
		for _, s := range samples[i] {
			grams := make([]uint32, 0, len(s.grams))
			for g := range s.grams {
				grams = append(grams, g)
			}
			slices.SortFunc(grams, func(a, b uint32) int { return cmp.Or(cmp.Compare(weight(b), weight(a)), cmp.Compare(a, b)) })
			grams = grams[:min(len(grams), maxGrams)]
			if len(grams) == 0 {
				continue
			}
			if n := slices.IndexFunc(chosen, func(c []uint32) bool { return 10*overlap(c, s) >= 7*len(c) }); n >= 0 {
				length[n] = max(length[n], s.words) // it finds this text too
				continue
			}
			chosen, length = append(chosen, grams), append(length, s.words)
			for _, g := range grams {
				entries = append(entries, uint64(g)<<32|uint64(count))
			}
			count++
		}
		for _, n := range length {
			of = binary.LittleEndian.AppendUint16(of, uint16(i))
			of = binary.LittleEndian.AppendUint16(of, uint16(min(n, math.MaxUint16)))
		}
	}
	slices.Sort(entries)
	b := binary.LittleEndian.AppendUint16(nil, uint16(len(licenses)))
	b = binary.LittleEndian.AppendUint16(b, uint16(count))
	b = append(b, of...)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint32(b, uint32(e>>32))
		b = binary.LittleEndian.AppendUint16(b, uint16(e))
	}
	return b
}

func overlap(grams []uint32, s sample) int {
	n := 0
	for _, g := range grams {
		if s.grams[g] {
			n++
		}
	}
	return n
}
