package inventory

import (
	"testing"

	"github.com/google/osv-scalibr/inventory/osvecosystem"
)

func TestEcosystem(t *testing.T) {
	tests := []struct {
		distro Distro
		want   string // empty for none
	}{
		{Distro{}, ""},
		{Distro{Name: "Something"}, ""},
		{Distro{ID: "debian", VersionID: "12"}, "Debian:12"},
		{Distro{ID: "debian", VersionID: "12.5"}, "Debian:12"},
		{Distro{ID: "debian", Codename: "trixie"}, ""},
		{Distro{ID: "ubuntu", VersionID: "22.04"}, "Ubuntu:22.04:LTS"},
		{Distro{ID: "ubuntu", VersionID: "24.04"}, "Ubuntu:24.04:LTS"},
		{Distro{ID: "ubuntu", VersionID: "23.04"}, "Ubuntu:23.04"},
		{Distro{ID: "ubuntu", VersionID: "24.10"}, "Ubuntu:24.10"},
		{Distro{ID: "ubuntu"}, ""},
		{Distro{ID: "alpine", VersionID: "3.19.1"}, "Alpine:v3.19"},
		{Distro{ID: "alpine", VersionID: "3.21.0_alpha20240807"}, "Alpine:v3.21"},
		{Distro{ID: "alpine", VersionID: "3.3_rc1"}, "Alpine:v3.3"},
		{Distro{ID: "alpine", VersionID: "edge"}, ""},
		{Distro{ID: "almalinux", VersionID: "9.4"}, "AlmaLinux:9"},
		{Distro{ID: "rocky", VersionID: "8.10"}, "Rocky Linux:8"},
		{Distro{ID: "rhel", VersionID: "9.2"}, "Red Hat:enterprise_linux:9"},
		{Distro{ID: "sles", VersionID: "15.4"}, "SUSE:Linux Enterprise Server 15 SP4"},
		{Distro{ID: "sles", VersionID: "15"}, "SUSE:Linux Enterprise Server 15"},
		{Distro{ID: "sles", VersionID: "15.0"}, "SUSE:Linux Enterprise Server 15"},
		{Distro{ID: "sles_sap", VersionID: "12.5"}, "SUSE:Linux Enterprise Server 12 SP5"},
		{Distro{ID: "sled", VersionID: "15.5"}, "SUSE:Linux Enterprise Server 15 SP5"},
		{Distro{ID: "sles", VersionID: "16.0"}, "SUSE:Linux Enterprise Server 16.0"},
		{Distro{ID: "sles"}, ""},
		{Distro{ID: "opensuse-leap", VersionID: "15.5"}, "openSUSE:Leap 15.5"},
		{Distro{ID: "opensuse-leap"}, ""},
		{Distro{ID: "opensuse-tumbleweed", VersionID: "20240101"}, "openSUSE:Tumbleweed"},
		{Distro{ID: "mageia", VersionID: "9"}, "Mageia:9"},
		{Distro{ID: "openeuler", VersionID: "22.03", Name: "openEuler 22.03 (LTS-SP1)"}, "openEuler:22.03-LTS-SP1"},
		{Distro{ID: "openeuler", VersionID: "24.03", Name: "openEuler 24.03 (LTS)"}, "openEuler:24.03-LTS"},
		{Distro{ID: "openeuler", VersionID: "23.09", Name: "openEuler 23.09"}, "openEuler:23.09"},
		{Distro{ID: "openeuler", Name: "openEuler (LTS)"}, ""},
		{Distro{ID: "photon", VersionID: "4.0"}, "Photon OS:4.0"},
		{Distro{ID: "azurelinux", VersionID: "3.0"}, "Azure Linux:3"},
		{Distro{ID: "mariner", VersionID: "2.0"}, "Azure Linux:2"},
		{Distro{ID: "wolfi", VersionID: "20230201"}, "Wolfi"},
		{Distro{ID: "chainguard", VersionID: "20230214"}, "Chainguard"},
		{Distro{ID: "minimos"}, "MinimOS"},
		{Distro{ID: "alpaquita", VersionID: "23"}, "Alpaquita:23"},
		{Distro{ID: "alpaquita", VersionID: "stream"}, "Alpaquita:stream"},
		{Distro{ID: "bellsoft-hardened-containers", VersionID: "23"}, "BellSoft Hardened Containers:23"},
		// Relatives have versions, and so advisories, of their own.
		{Distro{ID: "centos", VersionID: "7"}, ""},
		{Distro{ID: "fedora", VersionID: "40"}, ""},
		{Distro{ID: "ol", VersionID: "9.3"}, ""},
		{Distro{ID: "amzn", VersionID: "2023"}, ""},
		{Distro{ID: "arch"}, ""},
		{Distro{ID: "raspbian", VersionID: "12", IDLike: []string{"debian"}}, ""},
		{Distro{ID: "linuxmint", VersionID: "21", IDLike: []string{"ubuntu", "debian"}}, ""},
	}
	for _, tt := range tests {
		got, ok := tt.distro.Ecosystem()
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: ecosystem %q, %v; want %q", tt.distro, got, ok, tt.want)
		}
		if !ok {
			continue
		}
		if _, err := osvecosystem.Parse(got); err != nil {
			t.Errorf("%s: the OSV schema has no ecosystem %q: %v", tt.distro, got, err)
		}
	}
}

func TestDistroString(t *testing.T) {
	tests := map[string]Distro{
		"unknown distribution": {}, "debian 12": {ID: "debian", VersionID: "12", Name: "Debian GNU/Linux 12"},
		"arch": {ID: "arch"}, "Something 5": {Name: "Something", VersionID: "5"},
	}
	for want, d := range tests {
		if got := d.String(); got != want {
			t.Errorf("%#v is %q; want %q", d, got, want)
		}
		if d.Zero() != (want == "unknown distribution") {
			t.Errorf("%#v: Zero is %v", d, d.Zero())
		}
	}
}
