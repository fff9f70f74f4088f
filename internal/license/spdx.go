package license

import (
	"strings"
	"sync"

	"github.com/github/go-spdx/v2/spdxexp/spdxlicenses"
)

// lists are the ids of the SPDX licence list, by the id in lower case.
type lists struct {
	licenses   map[string]string
	exceptions map[string]string
}

// spdx gives the lists: those of the release of SPDX that go-spdx carries.
var spdx = sync.OnceValue(func() lists {
	l := lists{licenses: map[string]string{}, exceptions: map[string]string{}}
	for _, ids := range [][]string{spdxlicenses.GetDeprecated(), spdxlicenses.GetLicenses()} {
		for _, id := range ids {
			l.licenses[strings.ToLower(id)] = id
		}
	}
	for _, id := range spdxlicenses.GetExceptions() {
		l.exceptions[strings.ToLower(id)] = id
	}
	return l
})

// successors are what SPDX names in place of ids that it has deprecated, besides
// those of GNU licences, which follow a rule (gnuID).
var successors = map[string]Term{
	"BSD-2-Clause-FreeBSD":             {"BSD-2-Clause-Views", ""},
	"BSD-2-Clause-NetBSD":              {"BSD-2-Clause", ""},
	"bzip2-1.0.5":                      {"bzip2-1.0.6", ""},
	"eCos-2.0":                         {"GPL-2.0-or-later", "eCos-exception-2.0"},
	"GPL-2.0-with-autoconf-exception":  {"GPL-2.0-only", "Autoconf-exception-2.0"},
	"GPL-2.0-with-bison-exception":     {"GPL-2.0-or-later", "Bison-exception-2.2"},
	"GPL-2.0-with-classpath-exception": {"GPL-2.0-only", "Classpath-exception-2.0"},
	"GPL-2.0-with-font-exception":      {"GPL-2.0-only", "Font-exception-2.0"},
	"GPL-2.0-with-GCC-exception":       {"GPL-2.0-only", "GCC-exception-2.0"},
	"GPL-3.0-with-autoconf-exception":  {"GPL-3.0-only", "Autoconf-exception-3.0"},
	"GPL-3.0-with-GCC-exception":       {"GPL-3.0-only", "GCC-exception-3.1"},
	"Nunit":                            {"zlib-acknowledgement", ""},
	"StandardML-NJ":                    {"SMLNJ", ""},
	"wxWindows":                        {"LGPL-2.0-or-later", "WxWindows-exception-3.1"},
}

// listed is the licence with the id, in whatever case, by its current name; false
// for one that SPDX does not list and that is no LicenseRef-.
func listed(id string) (Expression, bool) {
	if reference(id) {
		return termOf(id), true
	}
	name, plus := strings.CutSuffix(id, "+")
	known, ok := spdx().licenses[strings.ToLower(name)]
	if !ok {
		return Expression{}, false
	}
	if next, deprecated := successors[known]; deprecated {
		return Expression{term: next}, true
	}
	if gnu, ok := gnuID(known, plus); ok {
		return termOf(gnu), true
	}
	if plus {
		known += "+"
	}
	return termOf(known), true
}

// gnuID gives the ids of GNU licences, GPL-2.0 and GPL-2.0+, their present form.
func gnuID(id string, orLater bool) (string, bool) {
	family, _, _ := strings.Cut(id, "-")
	switch family {
	case "GPL", "LGPL", "AGPL", "GFDL":
	default:
		return "", false
	}
	stem := strings.TrimSuffix(id, "-only")
	if rest, ok := strings.CutSuffix(stem, "-or-later"); ok {
		stem, orLater = rest, true
	}
	out := stem + "-only"
	if orLater {
		out = stem + "-or-later"
	}
	_, ok := spdx().licenses[strings.ToLower(out)]
	return out, ok
}
