package inventory

import (
	"testing"

	"github.com/package-url/packageurl-go"
)

func TestPackageURL(t *testing.T) {
	debian, fedora, alpine := Distro{ID: "debian", VersionID: "12"}, Distro{ID: "fedora", VersionID: "35"}, Distro{ID: "alpine", VersionID: "3.19.1"}
	tests := []struct {
		pkg    Package
		distro Distro
		want   string
	}{
		{Package{Type: "deb", Name: "curl", Version: "7.88.1-10+deb12u5", Arch: "amd64"}, debian, "pkg:deb/debian/curl@7.88.1-10%2Bdeb12u5?arch=amd64&distro=debian-12"},
		{Package{Type: "deb", Name: "libstdc++6", Version: "1:2.3~rc1-4"}, debian, "pkg:deb/debian/libstdc%2B%2B6@1:2.3~rc1-4?distro=debian-12"},
		{Package{Type: "deb", Name: "curl", Version: "1", Arch: "amd64"}, Distro{ID: "debian"}, "pkg:deb/debian/curl@1?arch=amd64"},
		{Package{Type: "deb", Name: "curl", Version: "1"}, Distro{}, "pkg:deb/curl@1"},
		{Package{Type: "rpm", Name: "curl", Version: "7.79.1-1.fc35", Arch: "i386"}, fedora, "pkg:rpm/fedora/curl@7.79.1-1.fc35?arch=i386&distro=fedora-35"},
		{Package{Type: "rpm", Name: "bind-libs", Version: "32:9.16.23-1.el9", Arch: "x86_64"}, Distro{ID: "rhel", VersionID: "9.2"}, "pkg:rpm/redhat/bind-libs@9.16.23-1.el9?arch=x86_64&distro=rhel-9.2&epoch=32"},
		{Package{Type: "rpm", Name: "curl", Version: "7.56.1-1.1", Arch: "i386"}, Distro{ID: "opensuse-leap", VersionID: "15.5"}, "pkg:rpm/opensuse/curl@7.56.1-1.1?arch=i386&distro=opensuse-leap-15.5"},
		{Package{Type: "apk", Name: "curl", Version: "7.83.0-r0", Arch: "x86"}, alpine, "pkg:apk/alpine/curl@7.83.0-r0?arch=x86&distro=alpine-3.19.1"},
		{Package{Type: "alpm", Name: "containers-common", Version: "1:0.47.4-4", Arch: "x86_64"}, Distro{ID: "arch"}, "pkg:alpm/arch/containers-common@1:0.47.4-4?arch=x86_64"},
		{Package{Type: "npm", Name: "foobar", Version: "12.3.1"}, debian, "pkg:npm/foobar@12.3.1"},
		{Package{Type: "npm", Name: "@angular/animation", Version: "12.3.1"}, debian, "pkg:npm/%40angular/animation@12.3.1"},
		{Package{Type: "golang", Name: "google.golang.org/genproto", Version: "v0.0.0-20200101000000-abcdef012345"}, Distro{}, "pkg:golang/google.golang.org/genproto@v0.0.0-20200101000000-abcdef012345"},
		{Package{Type: "golang", Name: "github.com/docker/docker", Version: "v24.0.7+incompatible"}, Distro{}, "pkg:golang/github.com/docker/docker@v24.0.7%2Bincompatible"},
		{Package{Type: "golang", Name: "stdlib", Version: "1.21.0"}, Distro{}, "pkg:golang/stdlib@1.21.0"},
		{Package{Type: "maven", Name: "org.apache.xmlgraphics:batik-anim", Version: "1.9.1"}, Distro{}, "pkg:maven/org.apache.xmlgraphics/batik-anim@1.9.1"},
		{Package{Type: "maven", Name: "thing", Version: "1"}, Distro{}, "pkg:maven/thing@1"},
		{Package{Type: "pypi", Name: "Django_Allauth", Version: "12.23"}, Distro{}, "pkg:pypi/django-allauth@12.23"},
		{Package{Type: "composer", Name: "laravel/laravel", Version: "5.5.0"}, Distro{}, "pkg:composer/laravel/laravel@5.5.0"},
		{Package{Type: "gem", Name: "ruby-advisory-db-check", Version: "0.12.4"}, Distro{}, "pkg:gem/ruby-advisory-db-check@0.12.4"},
		{Package{Type: "nuget", Name: "EnterpriseLibrary.Common", Version: "6.0.1304"}, Distro{}, "pkg:nuget/EnterpriseLibrary.Common@6.0.1304"},
		{Package{Type: "cargo", Name: "rand", Version: "0.7.2"}, Distro{}, "pkg:cargo/rand@0.7.2"},
		{Package{Type: "swift", Name: "github.com/Alamofire/Alamofire", Version: "5.4.3"}, Distro{}, "pkg:swift/github.com/Alamofire/Alamofire@5.4.3"},
		{Package{Type: "ebuild", Name: "dev-libs/openssl", Version: "3.0.13-r2"}, Distro{}, "pkg:ebuild/dev-libs/openssl@3.0.13-r2"},
		{Package{Type: "npm", Name: "a b?c#d@e/../f", Version: "1 2"}, Distro{}, "pkg:npm/a%20b%3Fc%23d%40e/../f@1%202"},
	}
	for _, tt := range tests {
		got := packageURL(&tt.pkg, tt.distro)
		if got != tt.want {
			t.Errorf("%s %s:\n got %s\nwant %s", tt.pkg.Type, tt.pkg.Name, got, tt.want)
		}
		u, err := packageurl.FromString(got)
		if err != nil {
			t.Errorf("%s can't be read: %v", got, err)
		} else if q := u.Qualifiers.Map(); q["arch"] != tt.pkg.Arch {
			t.Errorf("%s has the architecture %q; want %q", got, q["arch"], tt.pkg.Arch)
		}
	}
}
