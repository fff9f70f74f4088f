package license

import (
	"bytes"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/licensecheck"
)

var update = flag.Bool("update", false, "refresh the index of licence texts")

func TestTextIndex(t *testing.T) {
	want := buildTextIndex(textLicenses(), sampleTexts(t))
	if *update {
		if err := os.WriteFile("textindex.bin", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want, textIndexFile) {
		t.Error(errTextIndex)
	}
}

// TestRecogniseAgreesWithLicensecheck: comparing a text only with the licences
// that the index names gives what comparing it with all gives, for nearly all of
// the texts with which licensecheck is tested.
func TestRecogniseAgreesWithLicensecheck(t *testing.T) {
	r := &Recogniser{}
	texts, differ := sampleTexts(t), 0
	for _, text := range texts {
		whole := licensecheck.Scan(text)
		var all []match
		for _, m := range whole.Match {
			if !m.IsURL {
				all = append(all, match{id: m.ID})
			}
		}
		want := ""
		if whole.Percent >= Recognised {
			want = expressionOf(all).String()
		}
		got := r.Recognise(text)
		if sortedTerms(got.Expression.String()) != sortedTerms(want) || got.Coverage-whole.Percent > 12 || whole.Percent-got.Coverage > 12 {
			differ++
			t.Logf("%.40q: %.0f %% %s, licensecheck has %.0f %% %s", text, got.Coverage, got.Expression, whole.Percent, want)
		}
	}
	if 100*differ > 2*len(texts) {
		t.Errorf("%d of %d texts differ", differ, len(texts))
	}
}

func sortedTerms(e string) string {
	terms := strings.Split(e, " AND ")
	slices.Sort(terms)
	return strings.Join(terms, " AND ")
}

func TestRecogniseKnowsTextsAgain(t *testing.T) {
	r := &Recogniser{}
	text := func(holder string) []byte {
		return []byte("The MIT License\n\nCopyright (c) 2020 " + holder + "\n\n" + `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`)
	}
	for _, holder := range []string{"Alice", "Bob and others"} {
		if got := r.Recognise(text(holder)); got.Expression.String() != "MIT" || got.Coverage < 90 {
			t.Errorf("%+v", got)
		}
	}
	if len(r.texts.known) != 1 || len(r.scanners) > 2 {
		t.Errorf("%d texts known, %d licences compiled: want 1 and few", len(r.texts.known), len(r.scanners))
	}
	if got := r.Recognise(append(text("Carol"), strings.Repeat("You must also wear a hat. ", 100)...)); !got.Expression.Zero() || got.Coverage > 50 {
		t.Errorf("with conditions of its own: %+v", got)
	}
}

// hostileTexts are made to be slow to recognise.
func hostileTexts(t testing.TB) map[string][]byte {
	var all []byte
	for _, text := range sampleTexts(t) {
		all = append(all, text[:min(len(text), 300)]...)
	}
	begin := "Redistribution and use in source and binary forms, with or without modification, are permitted provided that "
	return map[string][]byte{
		"zeros": make([]byte, 8<<20), "one word": bytes.Repeat([]byte("license "), 1<<20), "beginnings": bytes.Repeat([]byte(begin), 1<<16), "all texts begin": bytes.Repeat(all, 4),
		"one long word": bytes.Repeat([]byte("x"), 8<<20), "bytes": bytes.Repeat([]byte{0xff, 0x80, ' '}, 1<<20), "parentheses": bytes.Repeat([]byte("Format: x\n\nFiles: *\nLicense: ((((\n\n"), 1<<16),
	}
}

// TestRecogniseHostile: what only looks like a licence is none.
func TestRecogniseHostile(t *testing.T) {
	for name, text := range hostileTexts(t) {
		r := &Recogniser{}
		if got := r.Recognise(text); !got.Expression.Zero() {
			t.Errorf("%s: recognised as %s", name, got.Expression)
		}
		if got := r.Copyright(text).Expression.String(); len(got) > 1000 {
			t.Errorf("%s: as a copyright file, %d bytes of an expression", name, len(got))
		}
	}
}

func BenchmarkRecogniseHostile(b *testing.B) {
	for name, text := range hostileTexts(b) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r := &Recogniser{}
				r.Recognise(text)
				r.Copyright(text)
			}
		})
	}
}

func FuzzRecognise(f *testing.F) {
	f.Add([]byte("MIT License\n\nPermission is hereby granted, free of charge, to any person"))
	r := &Recogniser{}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := r.Recognise(b); got.Coverage < 0 || got.Coverage > 100 || !got.Expression.Zero() && got.Coverage < Recognised {
			t.Errorf("%+v", got)
		}
	})
}

func TestKindOfFile(t *testing.T) {
	for name, want := range map[string]FileKind{
		"LICENSE": LicenseText, "License": LicenseText, "licence.md": LicenseText, "COPYING": LicenseText, "COPYING.LESSER": LicenseText, "COPYING.LIB": LicenseText, "LICENSE-MIT": LicenseText, "LICENSE.APACHE2": LicenseText, "LICENSE-2.0.txt": LicenseText,
		"LICENSE_1_0.txt": LicenseText, "UNLICENSE": LicenseText, "copyright": LicenseText, "MIT-LICENSE.txt": LicenseText, "GPL-LICENSE": LicenseText, "LICENSES.txt": LicenseText,
		"NOTICE": Notice, "NOTICE.txt": Notice, "notice.md": Notice,
		"license.js": NoLicense, "LICENSE.py": NoLicense, "LicenseManager.class": NoLicense, "licensed": NoLicense, "README": NoLicense, "copyright.go": NoLicense, "noticeable": NoLicense, "notice.js": NoLicense, "": NoLicense, "x-license.jar": NoLicense,
	} {
		if got := KindOfFile(name); got != want {
			t.Errorf("KindOfFile(%q) = %d, want %d", name, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { KindOfFile("MIT-LICENSE.txt") }); n > 0 {
		t.Errorf("KindOfFile allocates %v times", n)
	}
}
