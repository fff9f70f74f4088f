package match

import (
	"time"

	"strata/internal/inventory"
)

// A DistroState tells what can be expected of the advisories of a distribution.
type DistroState string

// The states, of which the worst holds.
const (
	// Supported: the release gets security updates.
	Supported DistroState = "supported"
	// EndOfLife: it no longer does.
	EndOfLife DistroState = "end_of_life"
	// NoData: the database has no advisories for the release: no findings mean nothing.
	NoData DistroState = "no_data"
	// UnknownDistro: the image has no distribution, or one that isn't known.
	UnknownDistro DistroState = "unknown"
)

// A DistroStatus is the state of an image's distribution.
type DistroStatus struct {
	Status DistroState
	// EndOfLife is the day on which general security support ended or will end;
	// zero when not known.
	EndOfLife time.Time
}

func distroStatus(img *inventory.Image, coverage []Coverage, now time.Time) DistroStatus {
	s := DistroStatus{Status: UnknownDistro, EndOfLife: endOfLife(img.Distro)}
	var packages, covered bool
	for i := range img.Packages {
		p := &img.Packages[i].Package
		if !p.Distribution() {
			continue
		}
		packages = true
		for _, c := range coverage {
			covered = covered || c.Ecosystem == EcosystemOf(p) && c.Advisories > 0
		}
		if covered {
			break
		}
	}
	switch {
	case img.Distro.ID == "":
	case packages && !covered:
		s.Status = NoData
	case s.EndOfLife.IsZero():
		if covered {
			// Its advisories are there, so it is supported as far as we know.
			s.Status = Supported
		}
	case now.After(s.EndOfLife):
		s.Status = EndOfLife
	default:
		s.Status = Supported
	}
	return s
}

// releaseEnds are the last days of security support that comes with the
// distribution at no extra cost (Debian with LTS, Ubuntu without Pro), as its
// makers have announced them. Stand: 2026-08.
var releaseEnds = map[string]string{
	"debian 7": "2018-05-31", "debian 8": "2020-06-30", "debian 9": "2022-06-30", "debian 10": "2024-06-30",
	"debian 11": "2026-08-31", "debian 12": "2028-06-30", "debian 13": "2030-06-30",

	"ubuntu 14.04": "2019-04-25", "ubuntu 16.04": "2021-04-30", "ubuntu 18.04": "2023-05-31", "ubuntu 20.04": "2025-05-31",
	"ubuntu 22.04": "2027-05-31", "ubuntu 24.04": "2029-05-31", "ubuntu 26.04": "2031-05-31", "ubuntu 23.04": "2024-01-25",
	"ubuntu 23.10": "2024-07-11", "ubuntu 24.10": "2025-07-10", "ubuntu 25.04": "2026-01-15", "ubuntu 25.10": "2026-07-31",

	"alpine 3.3": "2017-11-01", "alpine 3.4": "2018-05-01", "alpine 3.5": "2018-11-01", "alpine 3.6": "2019-05-01",
	"alpine 3.7": "2019-11-01", "alpine 3.8": "2020-05-01", "alpine 3.9": "2020-11-01", "alpine 3.10": "2021-05-01",
	"alpine 3.11": "2021-11-01", "alpine 3.12": "2022-05-01", "alpine 3.13": "2022-11-01", "alpine 3.14": "2023-05-01",
	"alpine 3.15": "2023-11-01", "alpine 3.16": "2024-05-23", "alpine 3.17": "2024-11-22", "alpine 3.18": "2025-05-09",
	"alpine 3.19": "2025-11-01", "alpine 3.20": "2026-04-01", "alpine 3.21": "2026-11-01", "alpine 3.22": "2027-05-01",
	"alpine 3.23": "2027-11-01",

	"centos 6": "2020-11-30", "centos 7": "2024-06-30", "centos 8": "2021-12-31",
	"rhel 6": "2020-11-30", "rhel 7": "2024-06-30", "rhel 8": "2029-05-31", "rhel 9": "2032-05-31", "rhel 10": "2035-05-31",
	"almalinux 8": "2029-05-31", "almalinux 9": "2032-05-31", "almalinux 10": "2035-05-31",
	"rocky 8": "2029-05-31", "rocky 9": "2032-05-31", "rocky 10": "2035-05-31",
	"ol 7": "2024-12-31", "ol 8": "2029-07-31", "ol 9": "2032-06-30",
	"amzn 1": "2023-12-31", "amzn 2018": "2023-12-31", "amzn 2": "2026-06-30", "amzn 2023": "2029-06-30",
	"fedora 35": "2022-12-13", "fedora 36": "2023-05-16", "fedora 37": "2023-12-05", "fedora 38": "2024-05-21",
	"fedora 39": "2024-11-26", "fedora 40": "2025-05-13", "fedora 41": "2025-12-15", "fedora 42": "2026-05-13",

	"opensuse-leap 15.3": "2022-12-31", "opensuse-leap 15.4": "2023-12-07", "opensuse-leap 15.5": "2024-12-31", "opensuse-leap 15.6": "2026-04-30",
	"sles 12.5": "2024-10-31", "sles 15.3": "2022-12-31", "sles 15.4": "2023-12-31", "sles 15.5": "2024-12-31", "sles 15.6": "2025-12-31",
	"mariner 1.0": "2023-07-31", "mariner 2.0": "2025-07-31",
}

// endOfLife is the last day of support of a distribution's release.
func endOfLife(d inventory.Distro) time.Time {
	_, _, day := distroRelease(d)
	return day
}
