package license

import (
	"strings"
	"testing"
)

func TestClassOfExpressions(t *testing.T) {
	for expression, want := range map[string]Class{
		"": Unknown, "MIT": Permissive, "CC0-1.0": PublicDomain, "LGPL-2.1-or-later": WeakCopyleft, "GPL-2.0-only": StrongCopyleft, "AGPL-3.0-or-later": NetworkCopyleft,
		"SSPL-1.0": NetworkCopyleft, "BUSL-1.1": Proprietary, "LicenseRef-UNLICENSED": Proprietary, "LicenseRef-acme": Unknown, "LicenseRef-public-domain": PublicDomain,
		"Apache-2.0+": Permissive, "MPL-2.0+": WeakCopyleft, "DocumentRef-x:LicenseRef-Proprietary": Proprietary, "any-OSI": Unknown,
		"UCL-1.0": NetworkCopyleft, "TOSL": StrongCopyleft, "PPL": Proprietary, "BSD-3-Clause-No-Nuclear-License-2014": Proprietary, "BSD-3-Clause-No-Nuclear-Warranty": Permissive,
		// OR takes the best, AND the worst.
		"MIT OR GPL-3.0-only": Permissive, "MIT AND GPL-3.0-only": StrongCopyleft, "MIT AND (GPL-2.0-only OR LGPL-2.1-only)": WeakCopyleft, "AGPL-3.0-only OR LicenseRef-Proprietary": NetworkCopyleft,
		"GPL-2.0-only AND LicenseRef-Proprietary": Proprietary,
		// What is not known can't be chosen, is graver than permissive, and hides no copyleft.
		"MIT OR LicenseRef-x": Permissive, "GPL-2.0-only OR LicenseRef-x": StrongCopyleft, "MIT AND LicenseRef-x": Unknown, "GPL-2.0-only AND LicenseRef-x": StrongCopyleft,
		// Exceptions soften, those that SPDX doesn't list and those for one library don't.
		"GPL-2.0-only WITH Classpath-exception-2.0": WeakCopyleft, "GPL-3.0-or-later WITH GCC-exception-3.1": WeakCopyleft, "GPL-3.0-or-later WITH Bison-exception-2.2": Permissive,
		"GPL-2.0-only WITH Linux-syscall-note": WeakCopyleft, "Apache-2.0 WITH LLVM-exception": Permissive, "GPL-2.0-or-later WITH openvpn-openssl-exception": StrongCopyleft,
		"LicenseRef-GPL-2.0-or-later-with-exceptions": StrongCopyleft, "LicenseRef-LGPL-2.0-or-later-with-exceptions": WeakCopyleft,
		"GPL-2.0-only WITH Classpath-exception-2.0 AND MIT": WeakCopyleft,
	} {
		var e Expression
		if expression != "" {
			var err error
			if e, err = Parse(expression); err != nil {
				t.Fatal(err)
			}
		}
		if got := DefaultClasses().Of(e); got != want {
			t.Errorf("class of %q is %s, want %s", expression, got, want)
		}
		if got := (Classes{}).Of(e); got != want {
			t.Errorf("class of %q by the zero Classes is %s, want %s", expression, got, want)
		}
	}
}

// TestClassesNameKnownLicenses: every id of the tables is one of SPDX's, the
// beginning of one, or a LicenseRef-.
func TestClassesNameKnownLicenses(t *testing.T) {
	for class, ids := range classTable {
		for id := range strings.FieldsSeq(ids) {
			stem, beginning := strings.CutSuffix(strings.ToLower(id), "*")
			known := strings.HasPrefix(id, refPrefix) || spdx().licenses[stem] != ""
			for lower := range spdx().licenses {
				known = known || beginning && strings.HasPrefix(lower, stem)
			}
			if !known {
				t.Errorf("%s: %q is no SPDX id", class, id)
			}
		}
	}
	for _, ids := range softened {
		for id := range strings.FieldsSeq(ids) {
			if spdx().exceptions[strings.ToLower(id)] != id {
				t.Errorf("softened: %q is no exception of SPDX", id)
			}
		}
	}
}

// TestClassesOfWellKnownLicenses is a table made apart from the one it tests: by
// the conditions of choosealicense.com ("disclose source, same license" by file,
// library, program or network use) and, for the last, by licences that neither
// OSI nor FSF takes for free.
func TestClassesOfWellKnownLicenses(t *testing.T) {
	for class, ids := range map[Class]string{
		PublicDomain:    "0BSD CC0-1.0 MIT-0 Unlicense WTFPL PDDL-1.0 blessing SAX-PD",
		Permissive:      "AFL-3.0 Apache-1.1 Apache-2.0 Artistic-2.0 BlueOak-1.0.0 BSD-2-Clause BSD-2-Clause-Patent BSD-3-Clause BSD-3-Clause-Clear BSD-4-Clause BSL-1.0 CC-BY-4.0 CECILL-B curl ECL-2.0 FTL HPND ICU IJG ISC Libpng MIT MulanPSL-2.0 NCSA NTP OLDAP-2.8 OpenSSL PHP-3.01 PostgreSQL PSF-2.0 Python-2.0 TCL Unicode-3.0 UPL-1.0 Vim W3C X11 XFree86-1.1 Zlib ZPL-2.1 bzip2-1.0.6 FSFAP FSFULLR",
		WeakCopyleft:    "CC-BY-SA-4.0 CDDL-1.0 CDDL-1.1 CECILL-C CERN-OHL-W-2.0 CPL-1.0 EPL-1.0 EPL-2.0 ErlPL-1.1 GFDL-1.3-or-later IPL-1.0 LGPL-2.0-only LGPL-2.1-or-later LGPL-3.0-only LPPL-1.3c MPL-1.1 MPL-2.0 MS-RL NASA-1.3 ODbL-1.0 OFL-1.1 SISSL",
		StrongCopyleft:  "CECILL-2.1 CERN-OHL-S-2.0 GPL-1.0-or-later GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later Sleepycat QPL-1.0 copyleft-next-0.3.1 SimPL-2.0",
		NetworkCopyleft: "AGPL-1.0-only AGPL-3.0-only AGPL-3.0-or-later CPAL-1.0 EUPL-1.2 OSL-3.0 RPL-1.5 SSPL-1.0 Parity-7.0.0 APSL-2.0",
		Proprietary:     "BUSL-1.1 CC-BY-NC-4.0 CC-BY-NC-SA-4.0 CC-BY-ND-4.0 Elastic-2.0 PolyForm-Noncommercial-1.0.0 FSL-1.1-MIT SUL-1.0 Hippocratic-2.1 UnRAR Aladdin",
	} {
		for id := range strings.FieldsSeq(ids) {
			e, err := Parse(id)
			if err != nil {
				t.Error(err)
			} else if got := DefaultClasses().Of(e); got != class {
				t.Errorf("class of %s is %s, want %s", id, got, class)
			}
		}
	}
}

func TestClassesWith(t *testing.T) {
	c, err := DefaultClasses().With(map[Class][]string{Permissive: {"LicenseRef-acme*", "gpl-2.0"}, Proprietary: {"LicenseRef-acme-pro"}})
	if err != nil {
		t.Fatal(err)
	}
	for expression, want := range map[string]Class{"LicenseRef-acme-x": Permissive, "LicenseRef-acme-pro": Proprietary, "GPL-2.0-only": Permissive, "GPL-2.0-or-later": StrongCopyleft} {
		e, err := Parse(expression)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Of(e); got != want {
			t.Errorf("class of %s is %s, want %s", expression, got, want)
		}
	}
	for _, wrong := range []map[Class][]string{{"nice": {"MIT"}}, {Permissive: {"MITT"}}, {Permissive: {"*"}}, {Permissive: {""}}} {
		if _, err := DefaultClasses().With(wrong); err == nil {
			t.Errorf("With(%v): no error", wrong)
		}
	}
	if got := DefaultClasses().Of(termOf("LicenseRef-acme-x")); got != Unknown {
		t.Errorf("With changed the default: %s", got)
	}
}
