package scan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/analyzer"
	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/license"
	"strata/internal/scan"
)

// Texts of licences, shortened by nothing.
const (
	iscText = `Permission to use, copy, modify, and/or distribute this software for any
purpose with or without fee is hereby granted, provided that the above
copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES
WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF
MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR
ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES
WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN
ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF
OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.
`
	bsdText = `Copyright (c) 2020, Somebody

Redistribution and use in source and binary forms, with or without modification, are permitted provided that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this list of conditions and the following disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following disclaimer in the documentation and/or other materials provided with the distribution.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
`
	dep5 = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: x\nLicense: "
)

// licenseLines are the packages of an image, one a line with its licence and the
// evidence for it.
func licenseLines(inv inventory.Image) string {
	var lines []string
	for i := range inv.Packages {
		p := &inv.Packages[i]
		line := fmt.Sprintf("%s %s %s, layer %d %s: %s", p.Type, p.Name, p.Version, p.Layer, p.State, p.License.Expression)
		for _, e := range p.License.Evidence {
			line += fmt.Sprintf(" [%s %d %s %s]", e.Path, e.Layer, e.Kind, e.Expression)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func TestLicensesOfLayers(t *testing.T) {
	status := func(packages ...string) string {
		out := "-- layer0/etc/os-release --\nID=debian\nVERSION_ID=12\n-- layer0/var/lib/dpkg/status --\n"
		for _, p := range packages {
			name, source, _ := strings.Cut(p, "/")
			out += "Package: " + name + "\nStatus: install ok installed\nVersion: 1\nSource: " + source + "\n\n"
		}
		return out
	}
	npm := func(layer int, name, version, license string) string {
		return fmt.Sprintf("-- layer%d/app/node_modules/%s/package.json --\n{\"name\":%q,\"version\":%q%s}\n", layer, name, name, version, license)
	}
	mit := `,"license":"MIT"`
	for name, tt := range map[string]struct{ picture, want string }{
		"a copyright file in another layer, deleted by a third": {
			status("a/a") + "-- layer1/usr/share/doc/a/copyright --\n" + dep5 + "GPL-2+\n-- layer2/usr/share/doc/.wh.a --\n",
			"deb a 1, layer 0 present: GPL-2.0-or-later [usr/share/doc/a/copyright 1 declared GPL-2.0-or-later]\n",
		},
		"linked directories of documentation": {
			status("a/s", "b/s") + "-- layer0/usr/share/doc/a/copyright --\n" + dep5 + "Expat\n-- layer0/usr/share/doc/b -> a --\n",
			"deb a 1, layer 0 present: MIT [usr/share/doc/a/copyright 0 declared MIT]\ndeb b 1, layer 0 present: MIT [usr/share/doc/a/copyright 0 declared MIT]\n",
		},
		"a link that is left out: the copyright file of the same source": {
			status("a/s", "b/s", "c/c") + "-- layer0/usr/share/doc/a/copyright --\n" + dep5 + "Expat\n",
			"deb a 1, layer 0 present: MIT [usr/share/doc/a/copyright 0 declared MIT]\ndeb b 1, layer 0 present: MIT [usr/share/doc/a/copyright 0 declared MIT]\ndeb c 1, layer 0 present: \n",
		},
		"free text": {
			status("a/a") + "-- layer0/usr/share/doc/a/copyright --\nA is free software under the GPL, version 2 or any later version, see\n/usr/share/common-licenses/GPL-2.\n",
			"deb a 1, layer 0 present: GPL-2.0-or-later [usr/share/doc/a/copyright 0 text GPL-2.0-or-later]\n",
		},
		"npm: declared, confirmed by the text beside it only": {
			npm(0, "a", "1.0.0", `,"license":"ISC"`) + "-- layer0/app/node_modules/a/LICENSE --\n" + iscText + "-- layer0/app/node_modules/a/lib/LICENSE --\n" + bsdText,
			"npm a 1.0.0, layer 0 present: ISC [app/node_modules/a/package.json 0 declared ISC] [app/node_modules/a/LICENSE 0 text ISC]\n",
		},
		"nothing declared: the text answers": {
			npm(0, "a", "1.0.0", "") + "-- layer0/app/node_modules/a/license.md --\n" + iscText,
			"npm a 1.0.0, layer 0 present: ISC [app/node_modules/a/license.md 0 text ISC]\n",
		},
		"a text that is not recognised is evidence all the same": {
			npm(0, "a", "1.0.0", "") + "-- layer0/app/node_modules/a/LICENSE --\nDo as you are told.\n",
			"npm a 1.0.0, layer 0 present:  [app/node_modules/a/LICENSE 0 text ]\n",
		},
		"disagreement is visible": {
			npm(0, "a", "1.0.0", mit) + "-- layer0/app/node_modules/a/LICENSE --\n" + iscText,
			"npm a 1.0.0, layer 0 present: MIT [app/node_modules/a/package.json 0 declared MIT] [app/node_modules/a/LICENSE 0 text ISC]\n",
		},
		"BSD leaves open which": {
			npm(0, "a", "1.0.0", `,"license":"BSD"`) + "-- layer0/app/node_modules/a/LICENSE --\n" + bsdText,
			"npm a 1.0.0, layer 0 present: BSD-2-Clause [app/node_modules/a/package.json 0 declared BSD-3-Clause] [app/node_modules/a/LICENSE 0 text BSD-2-Clause]\n",
		},
		"a pointer to a file": {
			npm(0, "a", "1.0.0", `,"license":"SEE LICENSE IN LICENSE"`) + "-- layer0/app/node_modules/a/LICENSE --\n" + iscText,
			"npm a 1.0.0, layer 0 present: ISC [app/node_modules/a/package.json 0 declared LicenseRef-SEE-LICENSE-IN-LICENSE] [app/node_modules/a/LICENSE 0 text ISC]\n",
		},
		"a new version has not the text of the old": {
			npm(0, "a", "1.0.0", mit) + "-- layer0/app/node_modules/a/LICENSE --\n" + iscText +
				"-- layer1/app/node_modules/a/.wh..wh..opq --\n" + npm(1, "a", "2.0.0", mit),
			"npm a 1.0.0, layer 0 shadowed: MIT [app/node_modules/a/package.json 0 declared MIT] [app/node_modules/a/LICENSE 0 text ISC]\n" +
				"npm a 2.0.0, layer 1 present: MIT [app/node_modules/a/package.json 1 declared MIT]\n",
		},
		"a new version over the old keeps a text that was not written again": {
			npm(0, "a", "1.0.0", mit) + "-- layer0/app/node_modules/a/LICENSE --\n" + iscText + npm(1, "a", "2.0.0", mit),
			"npm a 1.0.0, layer 0 shadowed: MIT [app/node_modules/a/package.json 0 declared MIT] [app/node_modules/a/LICENSE 0 text ISC]\n" +
				"npm a 2.0.0, layer 1 present: MIT [app/node_modules/a/package.json 1 declared MIT] [app/node_modules/a/LICENSE 0 text ISC]\n",
		},
		"a wheel's licenses directory": {
			"-- layer0/usr/lib/python3/site-packages/x-1.dist-info/METADATA --\nName: x\nVersion: 1\nClassifier: License :: OSI Approved :: MIT License\n-- layer0/usr/lib/python3/site-packages/x-1.dist-info/licenses/sub/COPY --\n" + iscText,
			"pypi x 1, layer 0 present: MIT [usr/lib/python3/site-packages/x-1.dist-info/METADATA 0 declared MIT] [usr/lib/python3/site-packages/x-1.dist-info/licenses/sub/COPY 0 text ISC]\n",
		},
		"a gem's directory": {
			"-- layer0/usr/lib/ruby/gems/3.1/specifications/x-1.0.gemspec --\ns.name = \"x\"\ns.version = \"1.0\"\n-- layer0/usr/lib/ruby/gems/3.1/gems/x-1.0/LICENSE.txt --\n" + iscText,
			"gem x 1.0, layer 0 present: ISC [usr/lib/ruby/gems/3.1/gems/x-1.0/LICENSE.txt 0 text ISC]\n",
		},
		"composer's vendor directory, a choice": {
			"-- layer0/srv/vendor/composer/installed.json --\n{\"packages\":[{\"name\":\"a/b\",\"version\":\"1\",\"license\":[\"MIT\",\"GPL-2.0\"]}]}\n-- layer0/srv/vendor/a/b/LICENSE --\n" + iscText,
			"composer a/b 1, layer 0 present: MIT OR GPL-2.0-only [srv/vendor/composer/installed.json 0 declared MIT OR GPL-2.0-only] [srv/vendor/a/b/LICENSE 0 text ISC]\n",
		},
		"members of archives": {
			"-- layer0/a-1.0.jar!/META-INF/LICENSE --\n" + iscText + "-- layer0/a-1.0.jar!/lib/b-2.0.jar!/META-INF/maven/g/b/pom.properties --\ngroupId=g\nartifactId=b\nversion=2.0\n" +
				"-- layer0/a-1.0.jar!/lib/b-2.0.jar!/META-INF/maven/g/b/pom.xml --\n<project><licenses><license><name>Some</name><url>http://www.apache.org/licenses/LICENSE-2.0.txt</url></license></licenses></project>\n",
			"maven a:a 1.0, layer 0 present: ISC [a-1.0.jar!/META-INF/LICENSE 0 text ISC]\nmaven g:b 2.0, layer 0 present: Apache-2.0 [a-1.0.jar!/lib/b-2.0.jar 0 declared Apache-2.0]\n",
		},
		"a package of the distribution's owner": {
			status("node-a/node-a") + "-- layer0/var/lib/dpkg/info/node-a.list --\n/usr/share/nodejs/a/package.json\n-- layer0/usr/share/nodejs/a/package.json --\n{\"name\":\"a\",\"version\":\"1.0.0\"}\n-- layer0/usr/share/doc/node-a/copyright --\n" + dep5 + "Expat\n",
			"deb node-a 1, layer 0 present: MIT [usr/share/doc/node-a/copyright 0 declared MIT]\nnpm a 1.0.0, layer 0 present: MIT [usr/share/doc/node-a/copyright 0 declared MIT]\n",
		},
		"Alpine's licences": {
			"-- layer0/lib/apk/db/installed --\nP:a\nV:1\nL:MIT BSD GPL2+\n\n-- layer0/usr/share/licenses/a/COPYING --\n" + iscText,
			"apk a 1, layer 0 present: MIT AND BSD-3-Clause AND GPL-2.0-or-later [lib/apk/db/installed 0 declared MIT AND BSD-3-Clause AND GPL-2.0-or-later] [usr/share/licenses/a/COPYING 0 text ISC]\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			img, _ := build(t, tt.picture)
			res, err := (&scan.Scanner{Runner: newRunner()}).Image(t.Context(), img)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, licenseLines(res.Inventory)); diff != "" {
				t.Errorf("licences (-want +got):\n%s", diff)
			}
			for _, p := range res.Inventory.Problems {
				t.Errorf("problem: %+v", p)
			}
		})
	}
}

func newRunner() *analyzer.Runner {
	return &analyzer.Runner{Analyzers: analyzer.Default(), Memory: &analyzer.Memory{}}
}

// TestFiles reads texts again, with the notices beside them, also from a source
// that sends its layers without telling which they are.
func TestFiles(t *testing.T) {
	img, content := build(t, "-- layer0/a/LICENSE --\nfirst\n-- layer0/a/NOTICE --\nnote\n-- layer0/a/x.js --\nno\n-- layer1/a/LICENSE --\nsecond\n-- layer1/a/NOTICE.js --\nno\n-- layer1/b.jar!/META-INF/LICENSE --\nin a jar\n-- layer1/large/LICENSE --\n"+strings.Repeat("x", 100)+"\n")
	request := scan.FileRequest{
		Wanted: map[inventory.Location]bool{
			{Path: "a/LICENSE", Layer: 0}: true, {Path: "a/LICENSE", Layer: 1}: true, {Path: "b.jar!/META-INF/LICENSE", Layer: 1}: true,
			{Path: "gone", Layer: 1}: true, {Path: "large/LICENSE", Layer: 1}: true,
		},
		Beside:  func(base string) bool { return license.KindOfFile(base) == license.Notice },
		MaxFile: 50, MaxTotal: 60,
	}
	want := map[inventory.Location][]byte{
		{Path: "a/LICENSE", Layer: 0}: []byte("first\n"), {Path: "a/NOTICE", Layer: 0}: []byte("note\n"), {Path: "a/LICENSE", Layer: 1}: []byte("second\n"),
		{Path: "b.jar!/META-INF/LICENSE", Layer: 1}: []byte("in a jar\n"),
	}
	for _, sending := range []bool{false, true} {
		content.sending = sending
		got, err := scan.Files(t.Context(), img, image.Limits{}, request)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("sending %t: files (-want +got):\n%s", sending, diff)
		}
	}
	delete(content.blobs, img.Layers[1].DiffID)
	for _, sending := range []bool{false, true} {
		content.sending = sending
		if _, err := scan.Files(t.Context(), img, image.Limits{}, request); err == nil {
			t.Errorf("sending %t: a layer that is not there is no error", sending)
		}
	}
}

// TestRealLicenses: what package managers say of licences is found as they say
// it, and all but a few of a distribution's packages have one that SPDX lists.
func TestRealLicenses(t *testing.T) {
	dir := realImages(t)
	for name, ref := range map[string]string{
		"debian12-slim": "oci:oci:debian12-slim", "node-app": "oci:oci:node-app", "alpine-311": "alpine-311.tar.gz", "rpm-centos7": "oci:oci:rpm-centos7",
		"rpm-fedora35": "oci:oci:rpm-fedora35", "rpm-mariner2": "oci:oci:rpm-mariner2", "rpm-sle15": "oci:oci:rpm-sle15", "rpm-ubi8": "oci:oci:rpm-ubi8",
	} {
		t.Run(name, func(t *testing.T) {
			inv := scanReal(t, dir, ref)
			declared := map[string]string{}
			explained, all := 0, 0
			for i := range inv.Packages {
				p := &inv.Packages[i]
				declared[p.Type+" "+p.Name+" "+p.Version] = strings.Join(p.Licenses, " / ")
				if p.Type != "deb" && p.Type != "apk" && p.Type != "rpm" && p.Type != "npm" || p.Name == "gpg-pubkey" {
					continue
				}
				all++
				if e, err := license.Parse(p.License.Expression); err == nil && e.Understood() {
					explained++
				} else {
					t.Logf("not explained: %s %s: declared %q, expression %q", p.Type, p.Name, p.Licenses, p.License.Expression)
				}
			}
			if 100*explained < 98*all || all < 14 {
				t.Errorf("%d of %d packages are explained by an SPDX expression, want 98 %%", explained, all)
			}
			for _, p := range readTruth(t, dir, name).Packages {
				if got, ok := declared[p.Type+" "+p.Name+" "+p.Version]; p.License != "" && (!ok || got != p.License) {
					t.Errorf("%s %s %s declares %q, the truth is %q", p.Type, p.Name, p.Version, got, p.License)
				}
			}
		})
	}
}
