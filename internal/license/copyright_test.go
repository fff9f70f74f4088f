package license

import (
	"strings"
	"testing"
)

func TestCopyright(t *testing.T) {
	const head = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nSource: x\n\n"
	isc := `Permission to use, copy, modify, and distribute this software for any
 purpose with or without fee is hereby granted, provided that the above
 copyright notice and this permission notice appear in all copies.
 .
 THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES
 WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF
 MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR
 ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES
 WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN
 ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF
 OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.
`
	for name, tt := range map[string]struct {
		text, want string
		machine    bool
	}{
		"usual":                       {head + "Files: *\nCopyright: x\nLicense: GPL-2+\n\nFiles: a/*\nCopyright: y\nLicense: Expat\n text\n\nLicense: GPL-2+\n text\n", "GPL-2.0-or-later AND MIT", true},
		"packaging is not installed":  {head + "Files: *\nLicense: Expat\n\nFiles: debian/* debian/patches/x\nLicense: GPL-3+\n", "MIT", true},
		"only packaging":              {head + "Files: debian/*\nLicense: GPL-3+\n", "GPL-3.0-or-later", true},
		"the header alone":            {"Format: x\nLicense: BSD-2-clause\n text\n", "BSD-2-Clause", true},
		"no files":                    {head + "License: Expat\n text\n", "MIT", true},
		"an own name with a text":     {head + "Files: *\nLicense: our-terms\n\nLicense: our-terms\n " + isc, "ISC", true},
		"an own name, unknown text":   {head + "Files: *\nLicense: our-terms\n\nLicense: our-terms\n be nice\n", "LicenseRef-our-terms", true},
		"the name in the next line":   {head + "Files: *\nLicense:\n Expat\n", "MIT", true},
		"names have no case":          {"format: x\n\nfiles: *\nLICENSE: Expat\n", "MIT", true},
		"carriage returns and a mark": {"\xef\xbb\xbfFormat: x\r\n\r\nFiles: *\r\nLicense: Expat\r\n", "MIT", true},
		"precedence of commas":        {head + "Files: *\nLicense: GPL-1+ or Artistic, and Expat\n", "(GPL-1.0-or-later OR Artistic-1.0-Perl) AND MIT", true},
		"a reference, any later":      {"This is free software; version 2 or any later version.\nSee /usr/share/common-licenses/GPL-2.\n", "GPL-2.0-or-later", false},
		"a reference, this version":   {"This is free software.\nSee `/usr/share/common-licenses/LGPL-2.1'.\n", "LGPL-2.1-only", false},
		"a name in words":             {"The overall license is the GNU Lesser General Public\nLicense, version 2.1 (or, at your option, any later version); see it.\n", "LGPL-2.1-or-later", false},
		"nothing":                     {"It was packaged by me.\n", "", false},
		"empty":                       {"", "", false},
		"a text among others":         {strings.Repeat("The story of this package is long. ", 40) + "\n\n" + strings.ReplaceAll(isc, "\n .\n", "\n\n"), "ISC", false},
		"fields without a licence":    {head + "Files: *\nCopyright: x\n", "", true},
		"a paragraph without an end":  {"Format: x\n\nFiles: *\nLicense: Expat", "MIT", true},
	} {
		t.Run(name, func(t *testing.T) {
			c := (&Recogniser{}).Copyright([]byte(tt.text))
			if c.Expression.String() != tt.want || c.Machine != tt.machine {
				t.Errorf("Copyright = %q, machine-readable %v; want %q, %v", c.Expression, c.Machine, tt.want, tt.machine)
			}
		})
	}
}

func FuzzCopyright(f *testing.F) {
	f.Add([]byte("Format: x\n\nFiles: *\nLicense: GPL-2+ or y, and z\n a\n .\n b\n\nLicense: y\n c"))
	f.Add([]byte("see /usr/share/common-licenses/GPL-2, GNU General Public License version 3"))
	r := &Recogniser{}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := r.Copyright(b)
		if c.Coverage < 0 || c.Coverage > 100 {
			t.Errorf("coverage %v", c.Coverage)
		}
		if s := c.Expression.String(); s != "" {
			if again, err := Parse(s); err != nil || again.String() != s {
				t.Errorf("%q reads as %q, %v", s, again, err)
			}
		}
	})
}
