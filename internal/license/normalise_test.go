package license

import (
	"strings"
	"testing"
)

// TestNormalise has what packages really declare, by where it is from. "" stands
// for declarations that say nothing.
func TestNormalise(t *testing.T) {
	for where, tests := range map[string][][2]string{
		"SPDX": {
			{"MIT", "MIT"}, {"mit", "MIT"}, {"apache-2.0", "Apache-2.0"}, {"GPL-2.0", "GPL-2.0-only"}, {"GPL-2.0+", "GPL-2.0-or-later"}, {"LGPL-2.1+", "LGPL-2.1-or-later"},
			{"gpl-3.0-OR-later", "GPL-3.0-or-later"}, {"AGPL-3.0", "AGPL-3.0-only"}, {"GFDL-1.3", "GFDL-1.3-only"}, {"GFDL-1.3+", "GFDL-1.3-or-later"}, {"Apache-2.0+", "Apache-2.0+"},
			{"GPL-2.0-only+", "GPL-2.0-or-later"}, {"MIT OR Apache-2.0", "MIT OR Apache-2.0"}, {"mit or apache-2.0", "MIT OR Apache-2.0"}, {"(MIT)", "MIT"},
			{"MIT AND (Apache-2.0 OR BSD-3-Clause)", "MIT AND (Apache-2.0 OR BSD-3-Clause)"}, {"MIT OR MIT", "MIT"}, {"(MIT AND ISC) OR Zlib", "MIT AND ISC OR Zlib"},
			{"GPL-2.0-with-classpath-exception", "GPL-2.0-only WITH Classpath-exception-2.0"}, {"GPL-2.0 with classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"},
			{"GPL-2.0-with-GCC-exception", "GPL-2.0-only WITH GCC-exception-2.0"}, {"BSD-2-Clause-FreeBSD", "BSD-2-Clause-Views"}, {"BSD-2-Clause-NetBSD", "BSD-2-Clause"}, {"Nunit", "zlib-acknowledgement"},
			{"eCos-2.0", "GPL-2.0-or-later WITH eCos-exception-2.0"}, {"wxWindows", "LGPL-2.0-or-later WITH WxWindows-exception-3.1"}, {"bzip2-1.0.5", "bzip2-1.0.6"}, {"StandardML-NJ", "SMLNJ"},
			{"LicenseRef-scancode-acme", "LicenseRef-scancode-acme"}, {"DocumentRef-a:LicenseRef-b", "DocumentRef-a:LicenseRef-b"}, {"MIT OR LicenseRef-x", "MIT OR LicenseRef-x"},
		},
		"npm": {
			{"(MIT OR Apache-2.0)", "MIT OR Apache-2.0"}, {"(AFL-2.1 OR BSD-3-Clause)", "AFL-2.1 OR BSD-3-Clause"}, {"MIT/X11", "MIT"}, {"BSD", "BSD-3-Clause"}, {"Apache 2.0", "Apache-2.0"}, {"Apache2", "Apache-2.0"},
			{"Apache License, Version 2.0", "Apache-2.0"}, {"The MIT License", "MIT"}, {"The MIT License (MIT)", "MIT"}, {"MIT License", "MIT"}, {"MIT License (MIT)", "MIT"}, {"MIT Licence", "MIT"}, {"mit license", "MIT"}, {"MIT*", "LicenseRef-MIT"},
			{"ISC License", "ISC"}, {"MIT,GPL", "MIT AND GPL-1.0-or-later"}, {"MIT or GPL", "MIT OR GPL-1.0-or-later"}, {"MIT AND BSD", "MIT AND BSD-3-Clause"}, {"MIT/Apache-2.0", "MIT OR Apache-2.0"}, {"BSD-2-Clause/MIT", "BSD-2-Clause OR MIT"},
			{"Public Domain", "LicenseRef-public-domain"}, {"UNLICENSED", "LicenseRef-UNLICENSED"}, {"SEE LICENSE IN LICENSE.md", "LicenseRef-SEE-LICENSE-IN-LICENSE.md"}, {"BSD-like", "BSD-3-Clause"}, {"WTFPL", "WTFPL"}, {"Unlicense", "Unlicense"},
			{"BSD 3-Clause", "BSD-3-Clause"}, {"3-clause BSD", "BSD-3-Clause"}, {"New BSD", "BSD-3-Clause"}, {"Simplified BSD", "BSD-2-Clause"}, {"http://opensource.org/licenses/MIT", "MIT"}, {"CC0", "CC0-1.0"}, {"GPLv3", "GPL-3.0-only"}, {"LGPL", "LGPL-2.0-or-later"}, {"AGPLv3", "AGPL-3.0-only"},
		},
		"PyPI": {
			{"License :: OSI Approved :: MIT License", "MIT"}, {"OSI Approved :: Apache Software License", "LicenseRef-OSI-Approved-Apache-Software-License"}, {"Apache Software License", "Apache-2.0"}, {"BSD License", "BSD-3-Clause"}, {"ISC License (ISCL)", "ISC"},
			{"GNU General Public License v2 (GPLv2)", "GPL-2.0-only"}, {"GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"}, {"GNU General Public License v3 (GPLv3)", "GPL-3.0-only"}, {"GNU General Public License v3 or later (GPLv3+)", "GPL-3.0-or-later"}, {"GNU General Public License (GPL)", "GPL-1.0-or-later"},
			{"GNU Lesser General Public License v2 (LGPLv2)", "LGPL-2.0-only"}, {"GNU Lesser General Public License v2 or later (LGPLv2+)", "LGPL-2.0-or-later"}, {"GNU Lesser General Public License v3 (LGPLv3)", "LGPL-3.0-only"}, {"GNU Lesser General Public License v3 or later (LGPLv3+)", "LGPL-3.0-or-later"}, {"GNU Library or Lesser General Public License (LGPL)", "LGPL-2.0-or-later"},
			{"GNU Affero General Public License v3", "AGPL-3.0-only"}, {"GNU Affero General Public License v3 or later (AGPLv3+)", "AGPL-3.0-or-later"}, {"Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"}, {"Mozilla Public License 1.1 (MPL 1.1)", "MPL-1.1"}, {"Python Software Foundation License", "PSF-2.0"},
			{"PSF-2.0", "PSF-2.0"}, {"Zope Public License", "ZPL-2.1"}, {"ZPL 2.1", "ZPL-2.1"}, {"The Unlicense (Unlicense)", "Unlicense"}, {"Public Domain", "LicenseRef-public-domain"}, {"Eclipse Public License 1.0 (EPL-1.0)", "EPL-1.0"}, {"Boost Software License 1.0 (BSL-1.0)", "BSL-1.0"}, {"Academic Free License (AFL)", "AFL-3.0"},
			{"CC0 1.0 Universal (CC0 1.0) Public Domain Dedication", "CC0-1.0"}, {"Other/Proprietary License", "LicenseRef-Proprietary"}, {"UNKNOWN", ""}, {"Apache License 2.0", "Apache-2.0"}, {"Apache 2", "Apache-2.0"}, {"BSD-3-Clause OR Apache-2.0", "BSD-3-Clause OR Apache-2.0"}, {"LGPLv2+", "LGPL-2.0-or-later"},
			{"Dual License", ""}, {"MIT OR GPL-2.0-or-later OR (LGPL-2.1-or-later AND ISC)", "MIT OR GPL-2.0-or-later OR LGPL-2.1-or-later AND ISC"}, {"Universal Permissive License (UPL)", "UPL-1.0"}, {"Historical Permission Notice and Disclaimer (HPND)", "HPND"}, {"European Union Public Licence 1.2 (EUPL 1.2)", "EUPL-1.2"},
		},
		"rpm": {
			{"GPLv2+", "GPL-2.0-or-later"}, {"GPLv2", "GPL-2.0-only"}, {"GPL+", "GPL-1.0-or-later"}, {"LGPLv2+", "LGPL-2.0-or-later"}, {"LGPLv2.1+", "LGPL-2.1-or-later"}, {"GPLv2+ and LGPLv2+", "GPL-2.0-or-later AND LGPL-2.0-or-later"}, {"GPLv2+, LGPLv2+, MIT", "GPL-2.0-or-later AND LGPL-2.0-or-later AND MIT"},
			{"(GPLv2+ or AFL) and GPLv2+", "(GPL-2.0-or-later OR AFL-3.0) AND GPL-2.0-or-later"}, {"BSD with advertising", "BSD-4-Clause"}, {"ASL 2.0", "Apache-2.0"}, {"MIT and (BSD or ASL 2.0)", "MIT AND (BSD-3-Clause OR Apache-2.0)"}, {"GPLv3+ with exceptions", "LicenseRef-GPL-3.0-or-later-with-exceptions"},
			{"GPLv3+ and GPLv3+ with exceptions and BSD", "GPL-3.0-or-later AND LicenseRef-GPL-3.0-or-later-with-exceptions AND BSD-3-Clause"}, {"zlib and Boost", "Zlib AND BSL-1.0"}, {"OpenLDAP", "OLDAP-2.8"}, {"OpenSSL and ASL 2.0", "OpenSSL AND Apache-2.0"}, {"Vim and MIT", "Vim AND MIT"}, {"MPLv2.0", "MPL-2.0"}, {"MPLv1.1", "MPL-1.1"},
			{"BSD and LGPLv2 and Sleepycat", "BSD-3-Clause AND LGPL-2.0-only AND Sleepycat"}, {"GPLv3+ and GFDL", "GPL-3.0-or-later AND GFDL-1.1-or-later"}, {"Python", "Python-2.0"}, {"CC0", "CC0-1.0"}, {"BSD AND Public Domain AND (ASL 2.0 OR CC0 1.0 OR OpenSSL)", "BSD-3-Clause AND LicenseRef-public-domain AND (Apache-2.0 OR CC0-1.0 OR OpenSSL)"}, {"BSD 2-Clause and GPLv2", "BSD-2-Clause AND GPL-2.0-only"},
			{"GNU General Public License", "GPL-1.0-or-later"}, {"GPLv2+ WITH exceptions", "LicenseRef-GPL-2.0-or-later-with-exceptions"}, {"Artistic-1.0 or GPL-2.0+", "Artistic-1.0 OR GPL-2.0-or-later"}, {"SUSE-Public-Domain", "LicenseRef-public-domain"}, {"SUSE-GPL-2.0-with-OSI-exception", "LicenseRef-GPL-2.0-only-with-OSI-exception"},
			{"LGPL-2.1-or-later AND LGPL-2.1-or-later WITH GCC-exception-2.0 AND GPL-2.0-or-later", "LGPL-2.1-or-later AND LGPL-2.1-or-later WITH GCC-exception-2.0 AND GPL-2.0-or-later"}, {"pubkey", ""}, {"Inner-Net", "Inner-Net-2.0"}, {"GPL+ or Artistic", "GPL-1.0-or-later OR Artistic-1.0-Perl"}, {"LGPLv3+ or GPLv2+", "LGPL-3.0-or-later OR GPL-2.0-or-later"},
		},
		"Debian": {
			{"Expat", "MIT"}, {"GPL-2", "GPL-2.0-only"}, {"GPL-2+", "GPL-2.0-or-later"}, {"GPL-3+", "GPL-3.0-or-later"}, {"LGPL-2.1+", "LGPL-2.1-or-later"}, {"BSD-3-clause", "BSD-3-Clause"}, {"BSD-2-clause", "BSD-2-Clause"}, {"BSD-3-clause~Google", "BSD-3-Clause"}, {"public-domain", "LicenseRef-public-domain"},
			{"GPL-1+ or Artistic", "GPL-1.0-or-later OR Artistic-1.0-Perl"}, {"GPL-1+ or Artistic, and Unicode", "(GPL-1.0-or-later OR Artistic-1.0-Perl) AND Unicode-DFS-2016"}, {"Expat or GPL-1+ or Artistic", "MIT OR GPL-1.0-or-later OR Artistic-1.0-Perl"}, {"LGPLv3+_or_GPLv2+", "LGPL-3.0-or-later OR GPL-2.0-or-later"}, {"GFDL-NIV-1.3+", "GFDL-1.3-no-invariants-or-later"},
			{"GPL-2+ with Autoconf exception", "GPL-2.0-or-later WITH Autoconf-exception-2.0"}, {"GPL-3+ with autoconf exception", "GPL-3.0-or-later WITH Autoconf-exception-3.0"}, {"GPL-3+ with Bison exception", "GPL-3.0-or-later WITH Bison-exception-2.2"}, {"GPL-3+-WITH-BISON-EXCEPTION", "GPL-3.0-or-later WITH Bison-exception-2.2"}, {"GPL-2 with Linux-syscall-note exception", "GPL-2.0-only WITH Linux-syscall-note"},
			{"ISC and/or LGPL-2.1+", "ISC AND LGPL-2.1-or-later"}, {"Apache-2", "Apache-2.0"}, {"Artistic-2", "Artistic-2.0"}, {"CC0-1.0", "CC0-1.0"}, {"MPL-1.1 or GPL-2+ or LGPL-2.1+", "MPL-1.1 OR GPL-2.0-or-later OR LGPL-2.1-or-later"}, {"BSD-4-clause-UC", "BSD-4-Clause-UC"}, {"GPL-2+ with distribution exception", "LicenseRef-GPL-2.0-or-later-with-distribution-exception"},
			{"permissive-like-automake-output", "LicenseRef-permissive-like-automake-output"}, {"GPL3+ with autoconf exception", "GPL-3.0-or-later WITH Autoconf-exception-3.0"}, {"zlib", "Zlib"}, {"none", ""}, {"CC0 license", "CC0-1.0"}, {"X11", "X11"},
		},
		"apk and others": {
			{"MPL-2.0 GPL-2.0-or-later", "MPL-2.0 AND GPL-2.0-or-later"}, {"MIT BSD GPL2+", "MIT AND BSD-3-Clause AND GPL-2.0-or-later"}, {"GPL2", "GPL-2.0-only"}, {"custom:BSD", "BSD-3-Clause"}, {"custom", "LicenseRef-custom"}, {"GPL (>= 2)", "GPL-2.0-or-later"}, {"GPL-2 | GPL-3", "GPL-2.0-only OR GPL-3.0-only"}, {"MIT + file LICENSE", "MIT"},
			{"GPL-3 | file LICENSE", "GPL-3.0-only"}, {"LGPL (>= 2.1)", "LGPL-2.1-or-later"}, {"Artistic-2.0", "Artistic-2.0"}, {"Apache License (>= 2)", "Apache-2.0+"}, {"Apache License (== 2.0)", "Apache-2.0"}, {"MIT/Apache-2.0", "MIT OR Apache-2.0"}, {"Apache-2.0/MIT", "Apache-2.0 OR MIT"}, {"Ruby", "Ruby"}, {"Nonstandard", "LicenseRef-Nonstandard"}, {"proprietary", "LicenseRef-Proprietary"},
		},
		"Maven and NuGet": {
			{"The Apache Software License, Version 2.0", "Apache-2.0"}, {"Apache License 2.0", "Apache-2.0"}, {"http://www.apache.org/licenses/LICENSE-2.0.txt", "Apache-2.0"}, {"https://www.apache.org/licenses/LICENSE-2.0", "Apache-2.0"}, {"Eclipse Public License - v 1.0", "EPL-1.0"}, {"Eclipse Public License v2.0", "EPL-2.0"}, {"EPL 2.0", "EPL-2.0"},
			{"GNU Lesser General Public License", "LGPL-2.0-or-later"}, {"GNU Lesser General Public License, version 2.1", "LGPL-2.1-only"}, {"GPL2 w/ CPE", "GPL-2.0-only WITH Classpath-exception-2.0"}, {"GPLv2+CE", "GPL-2.0-only WITH Classpath-exception-2.0"},
			{"CDDL + GPLv2 with classpath exception", "CDDL-1.0 OR GPL-2.0-only WITH Classpath-exception-2.0"}, {"CDDL+GPLv2 with classpath exception", "CDDL-1.0 OR GPL-2.0-only WITH Classpath-exception-2.0"}, {"CDDL/GPLv2+CE", "CDDL-1.0 OR GPL-2.0-only WITH Classpath-exception-2.0"}, {"CDDL v1.1 / GPL v2 dual license", "CDDL-1.1 OR GPL-2.0-only WITH Classpath-exception-2.0"}, {"Dual license consisting of the CDDL v1.1 and GPL v2", "CDDL-1.1 OR GPL-2.0-only WITH Classpath-exception-2.0"},
			{"GPLv2 with classpath exception", "GPL-2.0-only WITH Classpath-exception-2.0"}, {"The BSD License", "BSD-3-Clause"}, {"The New BSD License", "BSD-3-Clause"}, {"Bouncy Castle Licence", "MIT"}, {"CDDL 1.1", "CDDL-1.1"},
			{"Eclipse Distribution License - v 1.0", "BSD-3-Clause"}, {"https://opensource.org/licenses/mit-license.php", "MIT"}, {"http://www.opensource.org/licenses/bsd-license.php", "BSD-2-Clause"}, {"http://www.gnu.org/licenses/lgpl.html", "LGPL-3.0-or-later"}, {"http://www.eclipse.org/legal/epl-v10.html", "EPL-1.0"}, {"https://licenses.nuget.org/MIT", "MIT"}, {"https://licenses.nuget.org/MIT%20OR%20Apache-2.0", "MIT OR Apache-2.0"},
			{"https://www.mozilla.org/en-US/MPL/2.0/", "MPL-2.0"}, {"https://acme.example/eula", "LicenseRef-https-acme.example-eula"}, {"http://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"}, {"Common Development and Distribution License (CDDL) v1.0", "CDDL-1.0"}, {"GNU General Public License, version 2 with the GNU Classpath Exception", "GPL-2.0-only WITH Classpath-exception-2.0"},
		},
		"free text": {
			{"Copyright 2020 Acme. All rights reserved", "LicenseRef-Copyright-2020-Acme.-All-rights-reserved"}, {"(", "LicenseRef-28"}, {"MIT)", "MIT"}, {"  ", ""}, {"\x00\xff", "LicenseRef-"}, {"and", "LicenseRef-and"},
		},
	} {
		for _, tt := range tests {
			got := Normalise(tt[0]).String()
			if strings.HasSuffix(tt[1], "LicenseRef-") || strings.HasPrefix(tt[1], "LicenseRef-28") { // a checksum follows
				if !strings.HasPrefix(got, refPrefix) {
					t.Errorf("%s: Normalise(%q) = %q, want a LicenseRef-", where, tt[0], got)
				}
				continue
			}
			if got != tt[1] {
				t.Errorf("%s: Normalise(%q) = %q, want %q", where, tt[0], got, tt[1])
			}
		}
	}
}

// TestAliasesAreReachable: a key that keyWords does not make is never found, and
// an expression that can't be read is none.
func TestAliasesAreReachable(t *testing.T) {
	for key, expression := range aliases {
		if made := strings.Join(keyWords(key), " "); made != key {
			t.Errorf("alias %q is looked up as %q", key, made)
		}
		if _, err := Parse(expression); err != nil && expression != "" {
			t.Errorf("alias %q: %v", key, err)
		}
	}
	for key, expression := range addresses {
		if e, ok := address("http://www." + key); !ok || e.String() != Normalise(expression).String() {
			t.Errorf("address %q gives %q, want %q", key, e, expression)
		}
	}
	for key, id := range exceptionAliases {
		for _, base := range []string{"GPL-2.0-only", "GPL-3.0-or-later"} {
			if got := exceptionID(key+" exception", base); got == "" || spdx().exceptions[strings.ToLower(got)] == "" {
				t.Errorf("exception %q of %s gives %q (%q)", key, base, got, id)
			}
		}
	}
}

func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"MIT OR (Apache-2.0 AND BSD)", "GPL-2+ with x, and (y or z)", "((((", "http://a/b, c", "GPL (>= 2) | file LICENSE", "a and/or b ~c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := Normalise(s)
		if e.Zero() {
			return
		}
		// What it makes is an expression that stays as it is.
		again, err := Parse(e.String())
		if err != nil || again.String() != e.String() {
			t.Errorf("Normalise(%q) = %q, which reads as %q, %v", s, e, again, err)
		}
		DefaultClasses().Of(e)
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"MIT OR (Apache-2.0 AND BSD-3-Clause WITH x)", "((MIT))", "GPL-2.0+ WITH Classpath-exception-2.0 AND LicenseRef-a", "MIT MIT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Parse(s)
		if err != nil {
			return
		}
		if again, err := Parse(e.String()); err != nil || again.String() != e.String() {
			t.Errorf("Parse(%q) = %q, which reads as %q, %v", s, e, again, err)
		}
	})
}
