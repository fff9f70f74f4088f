package analyzer

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVendorOfRPM(t *testing.T) {
	content := ndbFile(rpmSpec{name: "mysql-community-server", version: "8.0.35", release: "1.el9", vendor: "Oracle and/or its affiliates"}.header(),
		rpmSpec{name: "bash", version: "5.1.8", release: "6.el9", vendor: "Red Hat, Inc."}.header())
	res, err := rpm{}.Analyze(t.Context(), NewFile("usr/lib/sysimage/rpm/Packages.db", content))
	if diff := cmp.Diff([]string{"rpm:mysql-community-server"}, res.Vendors); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
}

func TestByVendor(t *testing.T) {
	for _, tt := range []struct {
		typ, version, who string
		want              bool
	}{
		{"deb", "1.25.3-1~bookworm", "NGINX Packaging <nginx-packaging@f5.com>", true},
		{"deb", "1.22.1-9+deb12u1", "Debian Nginx Maintainers <pkg-nginx-maintainers@alioth-lists.debian.net>", false},
		{"deb", "7.0.2", "MongoDB Packaging <packaging@mongodb.com>", true},
		{"deb", "16.1-1.pgdg120+1", "Debian PostgreSQL Maintainers <team+postgresql@tracker.debian.org>", true},
		{"deb", "15.18-0+deb12u1", "Debian PostgreSQL Maintainers <team+postgresql@tracker.debian.org>", false},
		{"deb", "20.20.2-1nodesource1+repack1", "NodeSource Support <support@nodesource.com>", true},
		{"deb", "1:11.1.2+maria~ubu2204", "MariaDB Developers <maria-developers@lists.launchpad.net>", true},
		{"deb", "1:2.39.5-0+deb12u3", "Jonathan Nieder <jrnieder@gmail.com>", false},
		{"deb", "1:10.11.6-0+deb12u1", "Debian MySQL Maintainers <pkg-mysql-maint@lists.alioth.debian.org>", false},
		{"apk", "1.25.3-r1", "NGINX Packaging <nginx-packaging@f5.com>", true},
		{"apk", "1.24.0-r15", "Natanael Copa <ncopa@alpinelinux.org>", false},
		{"rpm", "8.0.35-1.el8", "Oracle and/or its affiliates", true},
		{"rpm", "8.0.32-1.el8", "Oracle America", false},
		{"rpm", "15.4-1PGDG.rhel9", "", true},
		{"rpm", "3.0.7-1.el9", "Red Hat, Inc.", false},
		{"rpm", "6.0", "Microsoft Corporation", false},
		{"rpm", "1", "", false},
	} {
		if got := byVendor(tt.typ, tt.version, tt.who); got != tt.want {
			t.Errorf("%s %s by %q: %v", tt.typ, tt.version, tt.who, got)
		}
	}
}

// TestVendorsOwnNothing: a program of a package that its maker publishes is
// nobody's, and so are the language packages in it; others stay the distribution's.
func TestVendorsOwnNothing(t *testing.T) {
	const npm = "-- layer0/usr/lib/node_modules/npm/package.json --\n{\"name\": \"npm\", \"version\": \"10.8.2\"}\n"
	bash := "-- layer0/bin/bash --\n" + elfTop + "@(#)Bash version 5.2.15(1) release GNU\n"
	for name, picture := range map[string]string{
		"dpkg": "-- layer0/var/lib/dpkg/status --\nPackage: nodejs\nStatus: install ok installed\nMaintainer: NodeSource Support <support@nodesource.com>\nVersion: 20.1.0-1\n\n" +
			"Package: bash\nStatus: install ok installed\nMaintainer: Matthias Klose <doko@debian.org>\nVersion: 5.2.15-2\n" +
			"-- layer0/var/lib/dpkg/info/bash.list --\n/bin/bash\n-- layer0/var/lib/dpkg/info/nodejs.list --\n/usr/lib/node_modules/npm/package.json\n",
		"apk": "-- layer0/lib/apk/db/installed --\nP:nodejs\nV:20.1.0-r1\nm:NodeSource Support <support@nodesource.com>\nF:usr/lib/node_modules/npm\nR:package.json\n\n" +
			"P:bash\nV:5.2.15-r0\nm:Natanael Copa <ncopa@alpinelinux.org>\nF:bin\nR:bash\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, f := range runLayer(t, &Runner{Analyzers: Default(), Memory: &Memory{}}, bytes.NewReader(tarOfPicture(t, picture+npm+bash))).Files {
				for _, p := range f.Packages {
					if !p.Distribution() {
						got = append(got, p.Name+" "+f.Owner)
					}
				}
			}
			slices.Sort(got)
			want := []string{"bash deb:bash", "npm "}
			if name == "apk" {
				want[0] = "bash apk:bash"
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
