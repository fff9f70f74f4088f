package license

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// All returns the classes, from that which asks least.
func All() []Class {
	return []Class{PublicDomain, Permissive, WeakCopyleft, StrongCopyleft, NetworkCopyleft, Proprietary, Unknown}
}

// ParseClass reads the name of a class.
func ParseClass(s string) (Class, error) {
	c := Class(strings.ToLower(strings.TrimSpace(s)))
	if slices.Contains(All(), c) {
		return c, nil
	}
	names := make([]string, 0, len(All()))
	for _, c := range All() {
		names = append(names, string(c))
	}
	return Unknown, fmt.Errorf("no class of licences is called %q: want one of %s", cut(s), strings.Join(names, ", "))
}

// burden orders classes for AND, by which the gravest counts. What is not known is
// graver than what asks for no more than notices, but does not hide what is
// known to ask for more.
func (c Class) burden() int {
	return slices.Index([]Class{PublicDomain, Permissive, Unknown, WeakCopyleft, StrongCopyleft, NetworkCopyleft, Proprietary}, c)
}

// cost orders classes for OR, by which one may choose: what is not known can't be.
func (c Class) cost() int { return slices.Index(All(), c) }

// Classes tells the class of each licence. The zero Classes has the table below;
// With changes it.
type Classes struct {
	own map[string]Class // by id in lower case, or a beginning of one and "*"
}

// classTable has the ids of SPDX, and LicenseRef-s of this package, that are
// neither permissive nor unknown; an id may end in * for all that begin so. Sources:
// the conditions of choosealicense.com, and the texts themselves.
var classTable = map[Class]string{
	PublicDomain: `0BSD CC0-1.0 Unlicense* blessing SAX-PD* ANTLR-PD* CC-PDDC CC-PDM-1.0 PDDL-1.0 NIST-PD* NCBI-PD NTIA-PD libselinux-1.0
		WTFPL WTFNMFPL MIT-0 DL-DE-ZERO-2.0 GLWTPL diffmark LicenseRef-public-domain* LicenseRef-PD-* LicenseRef-SDBM-PUBLIC-DOMAIN`,
	Permissive: `LicenseRef-permissive* LicenseRef-BSD-* LicenseRef-MIT-* LicenseRef-Expat-* LicenseRef-ISC-* LicenseRef-X11-* LicenseRef-FSF-* LicenseRef-g10-permissive
		LicenseRef-NTP-* LicenseRef-TCGL LicenseRef-BSLA LicenseRef-RRA-KEEP-THIS-NOTICE LicenseRef-REGCOMP LicenseRef-TinySCHEME LicenseRef-TEXT-TABS LicenseRef-HSIEH-*
		LicenseRef-config-h LicenseRef-DONT-CHANGE-THE-GPL LicenseRef-GooglePatentClause LicenseRef-GooglePatentsFile`,
	WeakCopyleft: `LGPL-* LGPLLR MPL-* EPL-* CDDL-* CPL-1.0 IPL-1.0 APSL-1.* MS-RL NPL-* SPL-1.0 Nokia NOSL Motosoto Interbase-1.0 CUA-OPL-1.0 ErlPL-1.1 gSOAP-1.3b
		LPL-* LPPL-* CECILL-C SISSL* SugarCRM-1.1.3 Zimbra-* NASA-1.3 RSCPL OCCT-PL OSET-PL-2.1 CATOSL-1.1 CC-SA-1.0 CC-BY-SA-* ODbL-1.0 CDLA-Sharing-1.0 OFL-* LiLiQ-R-1.1
		GFDL-* BitTorrent-1.1 RHeCos-1.1 APL-1.0 Arphic-1999 CERN-OHL-W-2.0 ESA-PL-weak-copyleft-2.4 OPUBL-1.0 OPL-1.0 SNIA Linux-man-pages-copyleft* TPL-1.0 YPL-1.* CAPEC-tou
		BitTorrent-1.0 OGDL-Taiwan-1.0 MMPL-1.0.1 Ubuntu-font-1.0 OLDAP-1.* FreeImage Ruby Frameworx-1.0 OGTSL ClArtistic TORQUE-1.1 OpenPBS-2.3 Imlib2 FDK-AAC CDL-1.0`,
	StrongCopyleft: `GPL-* CECILL-1.* CECILL-2.* copyleft-next-* D-FSL-1.0 Sleepycat TMate QPL-1.0* LiLiQ-Rplus-1.1 SimPL-2.0 TGPPL-1.0 NGPL CERN-OHL-S-2.0 CERN-OHL-1.*
		TAPR-OHL-1.0 BSD-Protection LAL-1.* ESA-PL-strong-copyleft-2.4 SMAIL-GPL IPA OCLC-2.0 GL2PS TOSL Glide LicenseRef-SMAIL-GPL LicenseRef-GPL*`,
	NetworkCopyleft: `AGPL-* SSPL-1.0 OSL-* NPOSL-3.0 RPL-* RPSL-1.0 APSL-2.0 EUPL-* CPAL-1.0 CAL-1.0* Parity-* Watcom-1.0 VSL-1.0 UCL-1.0`,
	Proprietary: `CC-BY-NC-* CC-BY-ND-* BUSL-1.1 Elastic-2.0 PolyForm-* Aladdin* CPOL-1.02 ADSL FSL-1.1-* SUL-1.0 C-UDA-1.0 MS-LPL UnRAR Hippocratic-2.1
		BSD-3-Clause-No-Military-License IEC-Code-Components-EULA NCGL-UK-2.0 PPL BSD-3-Clause-No-Nuclear-License* Unicode-TOU JPL-image OLFL-1.3 LicenseRef-Prosperity* LicenseRef-CommonsClause LicenseRef-Anti996
		LicenseRef-Proprietary* LicenseRef-UNLICENSED LicenseRef-Commercial* LicenseRef-non-commercial* LicenseRef-Restricted LicenseRef-Freeware LicenseRef-Microsoft*`,
	Unknown: `any-OSI any-OSI-perl-modules`,
}

// builtinClasses is classTable by id in lower case.
func builtinClasses() map[string]Class {
	out := map[string]Class{}
	for class, ids := range classTable {
		for id := range strings.FieldsSeq(ids) {
			out[strings.ToLower(id)] = class
		}
	}
	return out
}

// softened are the exceptions by which a copyleft licence asks for less, with the
// class that is left at most. What only permits to link with one other thing
// (OpenSSL) or with free software softens nothing.
var softened = map[Class]string{
	// Programs may be linked with it under terms of one's own choice.
	WeakCopyleft: `Classpath-exception-2.0 Classpath-exception-2.0-short GCC-exception-2.0 GCC-exception-2.0-note GCC-exception-3.1 GNU-compiler-exception
		OpenJDK-assembly-exception-1.0 Independent-modules-exception eCos-exception-2.0 freertos-exception-2.0 WxWindows-exception-3.1 FLTK-exception
		LGPL-3.0-linking-exception OCaml-LGPL-linking-exception GPL-3.0-linking-exception GPL-3.0-linking-source-exception GPL-3.0-interface-exception GNAT-exception
		gnu-javamail-exception i2p-gpl-java-exception mif-exception LZMA-exception SWI-exception erlang-otp-linking-exception Simple-Library-Usage-exception
		Fawkes-Runtime-exception SANE-exception KiCad-libraries-exception Linux-syscall-note polyparse-exception CGAL-linking-exception Qwt-exception-1.0 mxml-exception u-boot-exception-2.0`,
	// What it makes, or is put into, is one's own.
	Permissive: `Autoconf-exception-2.0 Autoconf-exception-3.0 Autoconf-exception-generic Autoconf-exception-generic-3.0 Autoconf-exception-macro Bison-exception-1.24
		Bison-exception-2.2 Texinfo-exception Libtool-exception Font-exception-2.0 PS-or-PDF-font-exception-20170817 GNOME-examples-exception Bootloader-exception`,
}

func softenedTo(exception string) (Class, bool) {
	for class, ids := range softened {
		for id := range strings.FieldsSeq(ids) {
			if id == exception {
				return class, true
			}
		}
	}
	return Unknown, false
}

// DefaultClasses is the table as it comes.
func DefaultClasses() Classes { return Classes{own: builtinClasses()} }

// OrDefault is the table, built once for many calls of Of.
func (c Classes) OrDefault() Classes { return Classes{own: c.table()} }

// With gives the table with ids put into other classes. An id is SPDX's or a
// LicenseRef-, and may end in * for all that begin so; a full id counts more than
// a beginning, and a longer beginning more than a shorter. An unknown class or id
// is an error.
func (c Classes) With(classes map[Class][]string) (Classes, error) {
	out := Classes{own: maps.Clone(c.table())}
	for _, name := range slices.Sorted(maps.Keys(classes)) {
		class, err := ParseClass(string(name))
		if err != nil {
			return c, err
		}
		for _, id := range classes[name] {
			key, err := classKey(id)
			if err != nil {
				return c, fmt.Errorf("class %s: %w", class, err)
			}
			out.own[key] = class
		}
	}
	return out, nil
}

func classKey(id string) (string, error) {
	id = strings.TrimSpace(id)
	if stem, ok := strings.CutSuffix(id, "*"); ok {
		if stem == "" || strings.ContainsFunc(stem, func(r rune) bool { return !idChar(r) }) {
			return "", fmt.Errorf("%q is no beginning of an SPDX id", cut(id))
		}
		return strings.ToLower(id), nil
	}
	if _, known := spdx().licenses[strings.ToLower(id)]; !known && !reference(id) {
		return "", fmt.Errorf("%q is no SPDX id and no LicenseRef- (see https://spdx.org/licenses)", cut(id))
	}
	e, _ := listed(id)
	if e.op == single && e.term.Exception == "" {
		id = e.term.License
	}
	return strings.ToLower(id), nil
}

func (c Classes) table() map[string]Class {
	if c.own == nil {
		return builtinClasses()
	}
	return c.own
}

// Of is the class of an expression: OR takes the best of its sides, AND the worst,
// and an exception softens its licence (the tables above). An expression that
// says nothing is Unknown.
func (c Classes) Of(e Expression) Class {
	return c.OrDefault().of(e)
}

func (c Classes) of(e Expression) Class {
	switch e.op {
	case and:
		return slices.MaxFunc(c.each(e.args), func(a, b Class) int { return a.burden() - b.burden() })
	case or:
		return slices.MinFunc(c.each(e.args), func(a, b Class) int { return a.cost() - b.cost() })
	}
	if e.Zero() {
		return Unknown
	}
	return c.term(e.term)
}

func (c Classes) each(es []Expression) []Class {
	out := make([]Class, len(es))
	for i, e := range es {
		out[i] = c.of(e)
	}
	return out
}

func (c Classes) term(t Term) Class {
	class := c.id(strings.TrimSuffix(t.License, "+"))
	if class == Unknown || class == Proprietary {
		return class
	}
	if most, ok := softenedTo(t.Exception); ok && most.burden() < class.burden() {
		return most
	}
	return class
}

func (c Classes) id(id string) Class {
	key := strings.ToLower(id)
	if class, ok := c.own[key]; ok {
		return class
	}
	for n := len(key); n > 0; n-- {
		if class, ok := c.own[key[:n]+"*"]; ok {
			return class
		}
	}
	if _, rest, ok := strings.Cut(id, ":"+refPrefix); ok {
		return c.id(refPrefix + rest)
	}
	// An exception that SPDX doesn't list: that of the licence.
	if name, ok := strings.CutPrefix(id, refPrefix); ok {
		if base, _, ok := strings.Cut(name, "-with-"); ok && base != name {
			if e, ok := listed(base); ok {
				return c.of(e)
			}
		}
		return Unknown
	}
	if _, ok := spdx().licenses[key]; ok {
		return Permissive // what SPDX lists and the table doesn't name
	}
	return Unknown
}
