package analyzer

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"strata/internal/inventory"
)

// described is "name version arch source=name version licences" of each package.
func described(packages []inventory.Package) []string {
	var out []string
	for _, p := range packages {
		s := p.Name + " " + p.Version
		if p.Arch != "" {
			s += " " + p.Arch
		}
		if p.SourceName != "" {
			s += " source=" + p.SourceName + " " + p.SourceVersion
		}
		if len(p.Licenses) > 0 {
			s += " licences=" + strings.Join(p.Licenses, "|")
		}
		out = append(out, s)
	}
	return out
}

// described of what owns which path.
func owners(owned []Owned) []string {
	var out []string
	for _, o := range owned {
		out = append(out, o.Path+" "+o.Owner)
	}
	return out
}

func TestDistributionWants(t *testing.T) {
	tests := []struct{ path, want string }{
		{"var/lib/dpkg/status", "dpkg"},
		{"var/lib/dpkg/status.d/base-files", "dpkg"},
		{"var/lib/dpkg/status.d/base-files.md5sums", "dpkg-list"},
		{"var/lib/dpkg/status-old", ""},
		{"var/lib/dpkg/available", ""},
		{"srv/var/lib/dpkg/status", ""},
		{"var/lib/dpkg/info/libc6:amd64.list", "dpkg-list"},
		{"var/lib/dpkg/info/libc6:amd64.md5sums", ""},
		{"usr/lib/opkg/status", "opkg"},
		{"lib/apk/db/installed", "apk"},
		{"usr/lib/apk/db/installed", "apk"},
		{"lib/apk/db/scripts.tar", ""},
		{"var/lib/pacman/local/bash-5.2-1/desc", "pacman"},
		{"var/lib/pacman/local/bash-5.2-1/files", ""},
		{"var/lib/rpm/Packages", "rpm"},
		{"var/lib/rpm/Name", ""},
		{"usr/lib/sysimage/rpm/Packages.db", "rpm"},
		{"usr/share/rpm/rpmdb.sqlite", "rpm"},
		{"usr/lib/sysimage/rpm/rpmdb.sqlite-wal", "rpm-journal"},
		{"etc/os-release", "os-release"},
		{"usr/lib/os-release", "os-release"},
		{"etc/centos-release", "os-release"},
		{"etc/redhat-release", "os-release"},
		{"nix/store/0c1m-etc-os-release", "os-release"},
		{"usr/lib/os-release.d/x", ""},
		{"etc/os-release.bak", ""},
		{"etc/lsb-release", ""},
	}
	for _, tt := range tests {
		got := ""
		for _, a := range distribution() {
			if a.Wants(&Candidate{Path: tt.path, Size: 100}) {
				got += a.Name()
			}
		}
		if got != tt.want {
			t.Errorf("%s is wanted by %q; want %q", tt.path, got, tt.want)
		}
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	tests := []struct {
		name, content string
		want          []string
	}{
		{"nothing", "", nil},
		{"an empty line", "\n", []string{""}},
		{"without a newline at the end", "a\nb", []string{"a", "b"}},
		{"of Windows", "a\r\n\r\nb\r\n", []string{"a", "", "b"}},
		{"a long one is cut", long + "yyy\nb\n", []string{long, "b"}},
		{"a long one at the end is cut", long + "yyy", []string{long}},
		{"one just as long as the buffer", long[1:] + "\nb", []string{long[1:], "b"}},
		{"one as long as three buffers", long + long + long + "\nb", []string{long, "b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for line, err := range lines(strings.NewReader(tt.content)) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(line))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLinesError: a file that can't be read to its end is not one that ends.
func TestLinesError(t *testing.T) {
	broken := errors.New("broken")
	for name, content := range map[string]string{"in a line": "a\nb", "in a long line": "a\n" + strings.Repeat("x", 3*maxLine)} {
		var last error
		n := 0
		for _, err := range lines(io.MultiReader(strings.NewReader(content), iotest.ErrReader(broken))) {
			last = err
			n++
		}
		if !errors.Is(last, broken) || n > 4 {
			t.Errorf("%s: the last of %d lines has the error %v", name, n, last)
		}
	}
}

func TestDpkg(t *testing.T) {
	const status, distroless = "var/lib/dpkg/status", "var/lib/dpkg/status.d/base-files"
	tests := []struct {
		name, path, content string
		want                []string
	}{
		{"nothing", status, "", nil},
		{"usual", status, "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nSource: glibc\nVersion: 2.36-9+deb12u4\nDescription: GNU C Library\n Package: not-this\n .\n Version: 0\n\n" +
			"Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2+b2\nSource: bash (5.2.15-2)\n",
			[]string{"libc6 2.36-9+deb12u4 amd64 source=glibc 2.36-9+deb12u4", "bash 5.2.15-2+b2 amd64 source=bash 5.2.15-2"}},
		{"two architectures of one package", status, "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\nPackage: libc6\nStatus: install ok installed\nArchitecture: i386\nVersion: 1\n\n",
			[]string{"libc6 1 amd64 source=libc6 1", "libc6 1 i386 source=libc6 1"}},
		{"removed, but not its configuration", status, "Package: a\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: b\nStatus: purge ok not-installed\nVersion: 1\n", nil},
		{"marked for removal, but there", status, "Package: a\nStatus: deinstall ok installed\nVersion: 1\n", []string{"a 1 source=a 1"}},
		{"there, but not configured", status, "Package: a\nStatus: install ok unpacked\nVersion: 1\n\nPackage: b\nStatus: install reinstreq half-configured\nVersion: 2\n\nPackage: c\nStatus: install ok triggers-pending\nVersion: 3\n",
			[]string{"a 1 source=a 1", "b 2 source=b 2", "c 3 source=c 3"}},
		{"without a status", status, "Package: a\nVersion: 1\n", []string{"a 1 source=a 1"}},
		{"an epoch", status, "Package: a\nStatus: install ok installed\nVersion: 1:2.3~rc1-4\n", []string{"a 1:2.3~rc1-4 source=a 1:2.3~rc1-4"}},
		{"line ends of Windows", status, "Package: a\r\nStatus: install ok installed\r\nVersion: 1\r\n\r\nPackage: b\r\nStatus: install ok installed\r\nVersion: 2\r\n",
			[]string{"a 1 source=a 1", "b 2 source=b 2"}},
		{"no newline at the end", status, "Package: a\nStatus: install ok installed\nVersion: 1", []string{"a 1 source=a 1"}},
		{"many empty lines", status, "\n\n\nPackage: a\nStatus: install ok installed\nVersion: 1\n\n\n\n\nPackage: b\nStatus: install ok installed\nVersion: 1\n\n\n", []string{"a 1 source=a 1", "b 1 source=b 1"}},
		{"names of fields have no case, and spaces don't count", status, "PACKAGE:a\nstatus:\tinstall ok installed \nVERSION:   1 \nsource:  b  ( 2 ) \n", []string{"a 1 source=b 2"}},
		{"fields that only look alike", status, "Package: a\nPackage-Type: udeb\nStatus: install ok installed\nVersion: 1\nVersion-Extra: 3\nSource-Code: x\nArchitectures: y\nPackages: z\n", []string{"a 1 source=a 1"}},
		{"without a version", status, "Package: a\nStatus: install ok installed\n\nVersion: 1\nStatus: install ok installed\n", nil},
		{"a long line", status, "Package: a\nStatus: install ok installed\nConffiles: " + strings.Repeat("/etc/x 0123456789abcdef ", 20_000) + "\nVersion: 1\n", []string{"a 1 source=a 1"}},
		{"distroless", distroless, "Package: base-files\nVersion: 12.4\nArchitecture: amd64\n", []string{"base-files 12.4 amd64 source=base-files 12.4"}},
		{"no control file", status, "\x00\x01\x02 binary\n: x\n:\n", nil},
		{"a source that closes no parenthesis", status, "Package: a\nStatus: install ok installed\nVersion: 1\nSource: b (2\n", []string{"a 1 source=b 2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := analyzeText(t, dpkg{}, tt.path, tt.content)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, described(res.Packages)); diff != "" {
				t.Errorf("packages (-want +got):\n%s", diff)
			}
			wantKind, wantDatabase := inventory.Database, "dpkg"
			if tt.path == distroless {
				wantKind, wantDatabase = inventory.Installed, ""
			}
			if res.Kind != wantKind || res.Database != wantDatabase {
				t.Errorf("kind %q, database %q; want %q, %q", res.Kind, res.Database, wantKind, wantDatabase)
			}
		})
	}
}

func TestOpkg(t *testing.T) {
	res, err := analyzeText(t, opkg{}, "usr/lib/opkg/status", "Package: busybox\nVersion: 1.36.1-1\nDepends: libc\nStatus: install user installed\nArchitecture: mips_24kc\nInstalled-Time: 1\n\n"+
		"Package: gone\nVersion: 1\nStatus: deinstall user not-installed\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"busybox 1.36.1-1 mips_24kc source=busybox 1.36.1-1"}, described(res.Packages)); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	if res.Packages[0].Type != "opkg" || res.Database != "opkg" || res.Kind != inventory.Database {
		t.Errorf("type %q, database %q, kind %q", res.Packages[0].Type, res.Database, res.Kind)
	}
}

func TestDpkgList(t *testing.T) {
	const files = "/.\n/usr\n/usr/bin\n/usr/bin/tool\n/usr/share/doc/x/copyright\n/usr/share/nodejs/a/package.json\n/usr/lib/python3/dist-packages/a.dist-info/METADATA\n/lib/x86_64-linux-gnu/libx.so.1.2\n/etc/x.conf"
	for path, owner := range map[string]string{"foo.list": "deb:foo", "foo:amd64.list": "deb:foo", "libstdc++6:i386.list": "deb:libstdc++6"} {
		res, err := analyzeText(t, dpkgList{}, "var/lib/dpkg/info/"+path, files)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"usr/bin/tool " + owner, "usr/share/nodejs/a/package.json " + owner,
			"usr/lib/python3/dist-packages/a.dist-info/METADATA " + owner, "lib/x86_64-linux-gnu/libx.so.1.2 " + owner}
		if diff := cmp.Diff(want, owners(res.Owned)); diff != "" {
			t.Errorf("%s: owned (-want +got):\n%s", path, diff)
		}
		if !res.silent() {
			t.Errorf("%s: a list of files is taken for packages", path)
		}
	}
}

func TestApk(t *testing.T) {
	const musl = "C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:x86_64\nS:1\nT:the musl c library\nL:MIT\no:musl\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\nZ:Q1x=\nR:libc.musl-x86_64.so.1\n"
	tests := []struct {
		name, content string
		want, owned   []string
	}{
		{"nothing", "", nil, nil},
		{"usual", musl + "\nP:ssl_client\nV:1.36.1-r15\nA:x86_64\nL:GPL-2.0-only\no:busybox\nF:usr\nF:usr/bin\nR:ssl_client\nF:\nR:README\n\n",
			[]string{"musl 1.2.4-r2 x86_64 source=musl 1.2.4-r2 licences=MIT", "ssl_client 1.36.1-r15 x86_64 source=busybox 1.36.1-r15 licences=GPL-2.0-only"},
			[]string{"lib/ld-musl-x86_64.so.1 apk:musl", "lib/libc.musl-x86_64.so.1 apk:musl", "usr/bin/ssl_client apk:ssl_client"}},
		{"without a newline at the end", "P:a\nV:1", []string{"a 1 source=a 1"}, nil},
		{"line ends of Windows", "P:a\r\nV:1\r\n\r\nP:b\r\nV:2\r\n", []string{"a 1 source=a 1", "b 2 source=b 2"}, nil},
		{"without a version", "P:a\n\nV:1\n", nil, nil},
		{"lower case fields are others", "p:so:x=1\nP:a\nv:9\nV:1\nl:x\n", []string{"a 1 source=a 1"}, nil},
		{"an empty licence", "P:a\nV:1\nL:\n", []string{"a 1 source=a 1"}, nil},
		{"files of one package don't go on in the next", "P:a\nV:1\nF:usr/bin\n\nP:b\nV:1\nR:tool\n", []string{"a 1 source=a 1", "b 1 source=b 1"}, nil},
		{"files before a name have no owner", "F:usr/bin\nR:tool\nP:a\nV:1\n", []string{"a 1 source=a 1"}, nil},
		{"odd lines", "P\n:\nP:a\n\x00\nV:1\nX\n", []string{"a 1 source=a 1"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := analyzeText(t, apk{}, "lib/apk/db/installed", tt.content)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, described(res.Packages)); diff != "" {
				t.Errorf("packages (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.owned, owners(res.Owned)); diff != "" {
				t.Errorf("owned (-want +got):\n%s", diff)
			}
			if res.Kind != inventory.Database || res.Database != "apk" {
				t.Errorf("kind %q, database %q", res.Kind, res.Database)
			}
		})
	}
}

func TestPacman(t *testing.T) {
	tests := []struct {
		name, content string
		want          []string
	}{
		{"nothing", "", nil},
		{"usual", "%NAME%\nlibgcc\n\n%VERSION%\n1:14.1.1-1\n\n%BASE%\ngcc\n\n%DESC%\n%NAME% is no field here\nbut text\n\n%ARCH%\nx86_64\n\n%LICENSE%\nGPL-3.0-or-later\nLGPL\n\n%DEPENDS%\nglibc\n",
			[]string{"libgcc 1:14.1.1-1 x86_64 source=gcc  licences=GPL-3.0-or-later|LGPL"}},
		{"without a base", "%NAME%\na\n\n%VERSION%\n1-1\n", []string{"a 1-1"}},
		{"without a newline at the end", "%NAME%\na\n\n%VERSION%\n1-1", []string{"a 1-1"}},
		{"without a version", "%NAME%\na\n", nil},
		{"an empty field", "%NAME%\n\n%VERSION%\n1\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := analyzeText(t, pacman{}, "var/lib/pacman/local/x/desc", tt.content)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, described(res.Packages)); diff != "" {
				t.Errorf("packages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOSRelease(t *testing.T) {
	const etc = "etc/os-release"
	tests := []struct {
		name, path, content string
		want                *inventory.Distro
	}{
		{"Debian", etc, "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n",
			&inventory.Distro{ID: "debian", VersionID: "12", Codename: "bookworm", Name: "Debian GNU/Linux 12 (bookworm)"}},
		{"the Red Hat family", etc, "ID=\"centos\"\nID_LIKE=\"rhel fedora\"\nVERSION_ID=\"7\"\nCPE_NAME=\"cpe:/o:centos:centos:7\"\n",
			&inventory.Distro{ID: "centos", IDLike: []string{"rhel", "fedora"}, VersionID: "7", CPE: "cpe:/o:centos:centos:7"}},
		{"rolling", etc, "ID=arch\nPRETTY_NAME=\"Arch Linux\"\n", &inventory.Distro{ID: "arch", Name: "Arch Linux"}},
		{"upper case", etc, "ID=openEuler\nVERSION_ID=22.03\n", &inventory.Distro{ID: "openeuler", VersionID: "22.03"}},
		{"quotes", etc, "ID='alpine'\nVERSION_ID=3.19.1\nPRETTY_NAME=\"say \\\"hi\\\" \\$HOME \\\\\"\n", &inventory.Distro{ID: "alpine", VersionID: "3.19.1", Name: `say "hi" $HOME \`}},
		{"a backslash in single quotes is one", etc, "ID=x\nPRETTY_NAME='a\\b'\n", &inventory.Distro{ID: "x", Name: `a\b`}},
		{"quotes that don't close", etc, "ID=\"x\nVERSION_ID=\"\n", &inventory.Distro{ID: `"x`, VersionID: `"`}},
		{"comments, spaces, other line ends", etc, "# ID=no\r\n\r\n  ID=debian  \r\n#VERSION_ID=1\r\nVERSION_ID=12\r\nnonsense\r\n=\r\n", &inventory.Distro{ID: "debian", VersionID: "12"}},
		{"the last of two counts", etc, "ID=a\nID=b\n", &inventory.Distro{ID: "b"}},
		{"elsewhere", "nix/store/abc-etc-os-release", "ID=nixos\nVERSION_ID=\"24.05\"\n", &inventory.Distro{ID: "nixos", VersionID: "24.05"}},
		{"without an id", etc, "VERSION_ID=5\n", &inventory.Distro{VersionID: "5"}},
		{"one that tells nothing is none", etc, "\n# nothing\n", nil},
		{"an empty one is none", etc, "", nil},
		{"CentOS 6", "etc/centos-release", "CentOS release 6.10 (Final)\n", &inventory.Distro{ID: "centos", VersionID: "6.10", Name: "CentOS release 6.10"}},
		{"CentOS 7", "etc/redhat-release", "CentOS Linux release 7.9.2009 (Core)\n", &inventory.Distro{ID: "centos", VersionID: "7.9.2009", Name: "CentOS Linux release 7.9.2009"}},
		{"RHEL 6", "etc/redhat-release", "Red Hat Enterprise Linux Server release 6.9 (Santiago)\n", &inventory.Distro{ID: "rhel", VersionID: "6.9", Name: "Red Hat Enterprise Linux Server release 6.9"}},
		{"Fedora", "etc/redhat-release", "Fedora release 20 (Heisenbug)\n", &inventory.Distro{ID: "fedora", VersionID: "20", Name: "Fedora release 20"}},
		{"Rocky", "etc/redhat-release", "Rocky Linux release 9.3 (Blue Onyx)\n", &inventory.Distro{ID: "rocky", VersionID: "9.3", Name: "Rocky Linux release 9.3"}},
		{"Alma", "etc/redhat-release", "AlmaLinux release 8.5 (Arctic Sphynx)\n", &inventory.Distro{ID: "almalinux", VersionID: "8.5", Name: "AlmaLinux release 8.5"}},
		{"one that nobody knows", "etc/redhat-release", "Somebody's Linux release 1\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := analyzeText(t, osRelease{}, tt.path, tt.content)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, res.Distro); diff != "" {
				t.Errorf("distribution (-want +got):\n%s", diff)
			}
		})
	}
}

// TestListingBounds: databases that never end are read up to a bound, with a
// word about it.
func TestListingBounds(t *testing.T) {
	repeated := func(first, again string, n int) string { return first + strings.Repeat(again, n) }
	tests := []struct {
		name    string
		a       Analyzer
		content string
		wantErr string // also nil, when the bound is one of lengths
	}{
		{"dpkg packages", dpkg{}, repeated("", "Package: a\nVersion: 1\n\n", 800_000), "more than"},
		{"apk packages", apk{}, repeated("", "P:a\nV:1\n\n", 800_000), "more than"},
		{"apk files", apk{}, repeated("P:a\nV:1\nF:usr/bin\n", "R:x\n", 1_500_000), "more than"},
		{"apk files in a long directory", apk{}, repeated("P:a\nV:1\nF:"+strings.Repeat("bin/", 10_000)+"\n", "R:x\n", 1_000_000), ""},
		{"apk files of a long name", apk{}, repeated("P:"+strings.Repeat("a", 50_000)+"\nV:1\nF:bin\n", "R:x\n", 1_000_000), ""},
		{"dpkg files", dpkgList{}, repeated("", "/bin/x\n", 1_500_000), "more than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := analyzeText(t, tt.a, "var/lib/dpkg/status", tt.content)
			if tt.wantErr == "" && err != nil || !strings.Contains(fmt.Sprint(err), tt.wantErr) {
				t.Errorf("error %v; want one with %q", err, tt.wantErr)
			}
			size := 0
			for i := range res.Packages {
				size += packageCost(&res.Packages[i])
			}
			for _, o := range res.Owned {
				size += ownedCost(o.Path)
			}
			if size > maxListing {
				t.Errorf("%d bytes are kept", size)
			}
			if tt.wantErr != "" && size < maxListing/2 {
				t.Errorf("only %d bytes are kept of what was read", size)
			}
		})
	}
}

// TestImpossibleNames: what can't be a package is left out with a word, what
// can't be stored is made so that it can.
func TestImpossibleNames(t *testing.T) {
	long := strings.Repeat("x", maxName+1)
	res, err := analyzeText(t, apk{}, "lib/apk/db/installed", "P:"+long+"\nV:1\n\nP:a\nV:"+long+"\n\nP:b\xff\x00\nV:1\nA:"+long+"\no:"+long+"\nL:"+strings.Repeat("y", 2*maxLicense)+"\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b\uFFFD\uFFFD 1 licences=" + strings.Repeat("y", maxLicense)}, described(res.Packages)); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"2 packages have impossible names or versions, or none, and are left out"}, res.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

// TestDatabaseOfNothing: a database without packages is one, unless it is no
// database at all.
func TestDatabaseOfNothing(t *testing.T) {
	const garbage = "\x00\x01\x02 this is no database\n\n\nof packages"
	tests := []struct {
		a       Analyzer
		content string
		notes   int
	}{
		{dpkg{}, "", 0}, {dpkg{}, "\n\n", 0}, {dpkg{}, garbage, 1}, {dpkg{}, "Package: a\nStatus: deinstall ok config-files\nVersion: 1\n", 0}, {dpkg{}, "Package: a\nStatus: install ok installed\n", 1},
		{opkg{}, garbage, 1}, {opkg{}, "Package: a\nStatus: deinstall user not-installed\nVersion: 1\n", 0},
		{apk{}, "", 0}, {apk{}, garbage, 1}, {apk{}, "P:a\nV:1\n", 0},
	}
	for _, tt := range tests {
		res, err := analyzeText(t, tt.a, dpkgStatus, tt.content)
		if err != nil || len(res.Notes) != tt.notes {
			t.Errorf("%s of %q: notes %q, error %v; want %d notes", tt.a.Name(), tt.content, res.Notes, err, tt.notes)
		}
		if res.silent() {
			t.Errorf("%s of %q: it is no database", tt.a.Name(), tt.content)
		}
	}
}

// requireSound holds what an analyzer of a distribution found to what the rest
// of Strata relies on; no more than one package for every minBytes of the file.
func requireSound(t *testing.T, res Result, size, minBytes int) {
	t.Helper()
	requireNamed(t, res)
	if len(res.Packages) > size/minBytes {
		t.Errorf("%d packages in %d bytes", len(res.Packages), size)
	}
	for _, p := range res.Packages {
		for _, s := range []string{p.Name, p.Version, p.Arch, p.SourceName, p.SourceVersion} {
			if len(s) > maxName || s != validText(s) {
				t.Errorf("package %+v has a text that can't be stored", p)
			}
		}
	}
	for _, o := range res.Owned {
		if len(o.Path) > maxPath || strings.HasPrefix(o.Path, "/") || !strings.Contains(o.Owner, ":") {
			t.Errorf("owned path %+v", o)
		}
	}
}

func FuzzDpkg(f *testing.F) {
	f.Add([]byte("Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc (2)\nVersion: 1:2.36-9\nDescription: x\n y\n\nPackage: b\nVersion: 1"), true)
	f.Add([]byte("Package: a\r\nStatus: deinstall ok config-files\r\nVersion: 1\r\n\r\n"), true)
	f.Add([]byte("package:\xff\nVERSION:\x00\n \n\t\n:"), false)
	f.Add([]byte("/.\n/usr/bin/x\n//a.jar\n\n"), false)
	f.Fuzz(func(t *testing.T, b []byte, database bool) {
		path := dpkgStatus
		if !database {
			path = dpkgStatusD + "x"
		}
		for _, a := range []Analyzer{dpkg{}, opkg{}, dpkgList{}} {
			res, err := a.Analyze(t.Context(), NewFile(path, b))
			if err != nil {
				t.Errorf("%s: %v: nothing in so small a file is an error", a.Name(), err)
			}
			requireSound(t, res, len(b), len("Package:aVersion:1"))
		}
	})
}

func FuzzApk(f *testing.F) {
	f.Add([]byte("P:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\no:musl\nF:lib\nR:ld-musl-x86_64.so.1\n\nP:a\nV:1"))
	f.Add([]byte("F:\nR:bin/x\n:\nP:\xff\nV:\x00\nF:/\nR:/bin/x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		res, err := apk{}.Analyze(t.Context(), NewFile("lib/apk/db/installed", b))
		if err != nil {
			t.Error(err)
		}
		requireSound(t, res, len(b), len("P:aV:1"))
	})
}

func FuzzOSRelease(f *testing.F) {
	f.Add([]byte("ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME='x'\nID_LIKE=\"a b\"\n"), true)
	f.Add([]byte("ID=\"\\\n\\=\nVERSION_ID=\\"), true)
	f.Add([]byte("CentOS Linux release 7.9.2009 (Core)\n"), false)
	f.Fuzz(func(t *testing.T, b []byte, modern bool) {
		path := "etc/redhat-release"
		if modern {
			path = "etc/os-release"
		}
		res, err := osRelease{}.Analyze(t.Context(), NewFile(path, b))
		if err != nil || len(res.Packages) > 0 {
			t.Errorf("%v, %v", res, err)
		}
		d := res.Distro
		if d == nil {
			return
		}
		if d.Zero() {
			t.Error("a distribution of which nothing is known")
		}
		for _, s := range append([]string{d.ID, d.VersionID, d.Codename, d.Name, d.CPE}, d.IDLike...) {
			if len(s) > maxName || s != validText(s) || strings.Contains(s, "\n") {
				t.Errorf("text %q can't be stored", s)
			}
		}
		if d.ID != strings.ToLower(d.ID) {
			t.Errorf("id %q is not in lower case", d.ID)
		}
		d.Ecosystem()
	})
}
