package match

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"strata/internal/inventory"
)

// An Ended is a distribution or a product whose release nobody writes security
// updates for any more.
type Ended struct {
	// ID is "EOL-" with the name and the release: "EOL-debian-9".
	ID string
	// Package is the index in the image's Packages; -1 for the distribution.
	Package int
	// Day is the last of support, the whole of it.
	Day time.Time
	// Summary is one line: since when, and what to move to.
	Summary string
}

// A lifecycle is when the releases of a product end, by its maker's word.
type lifecycle struct {
	// products are the names of its packages of type generic.
	products []string
	// title is its name for people.
	title string
	// ends are last days of support by release, where they are known. A release is
	// the beginning of a version: "3.11", "20".
	ends map[string]string
	// current is a release that was supported when the table was made, for where
	// ends has none.
	current string
}

// lifecycles is the table of products and when their releases end: at no extra
// cost, with security updates. As of 2026-11. The days are those that the makers
// publish under the address of each row, held against the collection of
// github.com/endoflife-date; what could not be found there is left out, and so
// are releases with a day that is not settled.
func lifecycles() []lifecycle {
	return []lifecycle{
		// https://devguide.python.org/versions/ (a month is taken to its end)
		{[]string{"python"}, "Python", map[string]string{
			"2.6": "2013-10-29", "2.7": "2020-01-01", "3.3": "2017-09-29", "3.4": "2019-03-18", "3.5": "2020-09-13", "3.6": "2021-12-23",
			"3.7": "2023-06-27", "3.8": "2024-10-14", "3.9": "2025-10-31", "3.10": "2026-10-31", "3.11": "2027-10-31", "3.12": "2028-10-31",
			"3.13": "2029-10-31", "3.14": "2030-10-31"}, ""},
		// https://github.com/nodejs/release#release-schedule
		{[]string{"node"}, "Node.js", map[string]string{
			"4": "2018-04-30", "5": "2016-06-30", "6": "2019-04-30", "7": "2017-06-30", "8": "2019-12-31", "9": "2018-06-30", "10": "2021-04-30",
			"11": "2019-06-30", "12": "2022-04-30", "13": "2020-06-01", "14": "2023-04-30", "15": "2021-06-01", "16": "2023-09-11", "17": "2022-06-01",
			"18": "2025-04-30", "19": "2023-06-01", "20": "2026-04-30", "21": "2024-06-01", "22": "2027-04-30", "23": "2025-06-01", "24": "2028-04-30",
			"25": "2026-06-01"}, ""},
		// https://www.php.net/supported-versions.php, https://www.php.net/eol.php
		{[]string{"php"}, "PHP", map[string]string{
			"5.3": "2014-08-14", "5.4": "2015-09-14", "5.5": "2016-07-21", "5.6": "2018-12-31", "7.0": "2019-01-10", "7.1": "2019-12-01",
			"7.2": "2020-11-30", "7.3": "2021-12-06", "7.4": "2022-11-28", "8.0": "2023-11-26", "8.1": "2025-12-31", "8.2": "2026-12-31",
			"8.3": "2027-12-31", "8.4": "2028-12-31", "8.5": "2029-12-31"}, ""},
		// https://www.ruby-lang.org/en/downloads/branches/
		{[]string{"ruby"}, "Ruby", map[string]string{
			"1.9": "2015-02-23", "2.0": "2016-02-24", "2.1": "2017-03-31", "2.2": "2018-03-31", "2.3": "2019-03-31", "2.4": "2020-03-31",
			"2.5": "2021-03-31", "2.6": "2022-03-31", "2.7": "2023-03-31", "3.0": "2024-04-23", "3.1": "2025-03-31", "3.2": "2026-03-31",
			"3.3": "2027-03-31", "3.4": "2028-03-31", "4.0": "2029-03-31"}, ""},
		// https://go.dev/doc/devel/release: until there are two newer ones
		{[]string{"go"}, "Go", map[string]string{
			"1.10": "2019-02-25", "1.11": "2019-09-03", "1.12": "2020-02-25", "1.13": "2020-08-11", "1.14": "2021-02-16", "1.15": "2021-08-16",
			"1.16": "2022-03-15", "1.17": "2022-08-02", "1.18": "2023-02-01", "1.19": "2023-08-08", "1.20": "2024-02-06", "1.21": "2024-08-13", "1.22": "2025-02-11",
			"1.23": "2025-08-12"}, "1.26"},
		// https://openjdk.org/projects/jdk/: a feature release until the next; who
		// builds those of long support has a day of his own.
		{[]string{"openjdk", "java", "temurin", "corretto", "liberica", "sapmachine", "microsoft-openjdk", "semeru", "graalvm"}, "Java", map[string]string{
			"18": "2022-09-20", "19": "2023-03-21", "20": "2023-09-19", "22": "2024-09-17", "23": "2025-03-18"}, "25"},
		// https://dotnet.microsoft.com/platform/support/policy/dotnet-core
		{[]string{"dotnet", "aspnet-core", "dotnet-sdk"}, ".NET", map[string]string{
			"1.0": "2019-06-27", "1.1": "2019-06-27", "2.0": "2018-10-01", "2.1": "2021-08-21", "2.2": "2019-12-23", "3.0": "2020-03-03",
			"3.1": "2022-12-13", "5": "2022-05-10", "6": "2024-11-12", "7": "2024-05-14", "8": "2026-11-10", "9": "2026-11-10", "10": "2028-11-14"}, ""},
		// https://www.postgresql.org/support/versioning/
		{[]string{"postgresql"}, "PostgreSQL", map[string]string{
			"8.4": "2014-07-24", "9.0": "2015-10-08", "9.1": "2016-10-27", "9.2": "2017-11-09", "9.3": "2018-11-08", "9.4": "2020-02-13",
			"9.5": "2021-02-11", "9.6": "2021-11-11", "10": "2022-11-10", "11": "2023-11-09", "12": "2024-11-14", "13": "2025-11-13",
			"14": "2026-11-12", "15": "2027-11-11", "16": "2028-11-09", "17": "2029-11-08", "18": "2030-11-14"}, ""},
		// https://www.oracle.com/us/support/library/lifetime-support-technology-069183.pdf (extended support)
		{[]string{"mysql"}, "MySQL", map[string]string{
			"5.5": "2018-12-31", "5.6": "2021-02-28", "5.7": "2023-10-31", "8.0": "2026-04-30", "8.1": "2023-10-25", "8.2": "2023-12-14",
			"8.3": "2024-04-10", "8.4": "2032-04-30", "9.0": "2024-10-15", "9.1": "2025-01-21", "9.2": "2025-04-15", "9.3": "2025-07-22",
			"9.4": "2025-10-21", "9.5": "2026-01-20", "9.6": "2026-04-21"}, ""},
		// https://mariadb.org/about/#maintenance-policy
		{[]string{"mariadb"}, "MariaDB", map[string]string{
			"5.5": "2020-04-11", "10.0": "2019-03-31", "10.1": "2020-10-17", "10.2": "2022-05-23", "10.3": "2023-05-25", "10.4": "2024-06-18",
			"10.5": "2025-06-24", "10.6": "2026-07-06", "10.7": "2023-02-14", "10.8": "2023-05-20", "10.9": "2023-08-22", "10.10": "2023-11-17",
			"10.11": "2028-02-16", "11.1": "2024-08-21", "11.2": "2024-11-21", "11.3": "2024-05-29", "11.4": "2029-05-29", "11.5": "2024-11-21",
			"11.6": "2025-02-13"}, ""},
		// https://www.mongodb.com/legal/support-policy/lifecycles
		{[]string{"mongodb"}, "MongoDB", map[string]string{
			"3.0": "2018-02-28", "3.2": "2018-09-30", "3.4": "2020-01-31", "3.6": "2021-04-30", "4.0": "2022-04-30", "4.2": "2023-04-30",
			"4.4": "2024-02-29", "5.0": "2024-10-31", "6.0": "2025-07-31", "7.0": "2027-08-31", "8.0": "2029-10-31"}, ""},
		// https://github.com/redis/redis/security
		{[]string{"redis"}, "Redis", map[string]string{
			"5.0": "2022-04-27", "6.0": "2022-05-31", "7.0": "2024-07-29", "8.0": "2026-02-11"}, "8.6"},
		// https://valkey.io/topics/releases/
		{[]string{"valkey"}, "Valkey", map[string]string{
			"7.2": "2029-04-16", "8.0": "2027-09-15", "8.1": "2030-03-31", "9.0": "2028-10-21"}, ""},
		// https://www.elastic.co/support/eol
		{[]string{"elasticsearch", "logstash"}, "Elastic Stack", map[string]string{
			"6": "2022-02-10", "7": "2026-01-15", "8": "2027-07-15"}, "9"},
		// https://nginx.org/en/CHANGES: a stable branch until the next in April
		{[]string{"nginx"}, "nginx", map[string]string{
			"1.10": "2017-04-12", "1.12": "2018-04-17", "1.14": "2019-04-23", "1.16": "2020-04-20", "1.18": "2021-04-20", "1.19": "2021-05-25",
			"1.20": "2022-05-24", "1.21": "2022-06-21", "1.22": "2023-04-11", "1.23": "2023-05-23", "1.24": "2024-04-23", "1.25": "2024-05-29",
			"1.26": "2025-04-23", "1.27": "2025-06-24"}, "1.29"},
		// https://tomcat.apache.org/whichversion.html
		{[]string{"tomcat"}, "Tomcat", map[string]string{
			"6.0": "2016-12-31", "7.0": "2021-03-31", "8.0": "2018-06-30", "8.5": "2024-03-31", "10.0": "2022-10-31"}, "11.0"},
		// https://www.rabbitmq.com/release-information (community support)
		{[]string{"rabbitmq"}, "RabbitMQ", map[string]string{
			"3.6": "2018-05-31", "3.7": "2020-09-30", "3.8": "2022-07-31", "3.9": "2023-01-31", "3.10": "2022-09-28", "3.11": "2023-06-01",
			"3.12": "2024-02-21", "3.13": "2024-09-17", "4.0": "2025-04-15", "4.1": "2026-01-30"}, "4.2"},
		// https://openssl-library.org/policies/releasestrat/
		{[]string{"openssl"}, "OpenSSL", map[string]string{
			"1.0.1": "2016-12-31", "1.0.2": "2019-12-31", "1.1.0": "2019-09-11", "1.1.1": "2023-09-11", "3.0": "2026-09-07", "3.1": "2025-03-14",
			"3.2": "2025-11-23", "3.3": "2026-04-09", "3.4": "2026-10-22", "3.5": "2030-04-08"}, ""},
		// https://www.haproxy.org/ (a quarter is taken to its end, as the maker names no day)
		{[]string{"haproxy"}, "HAProxy", map[string]string{
			"1.7": "2021-12-31", "1.8": "2022-12-31", "1.9": "2020-09-30", "2.0": "2024-06-30", "2.1": "2021-03-31", "2.2": "2025-06-30",
			"2.3": "2022-09-30", "2.4": "2026-06-30", "2.5": "2023-06-30", "2.6": "2027-06-30", "2.7": "2024-06-30", "2.8": "2028-06-30",
			"2.9": "2025-03-31", "3.0": "2029-06-30", "3.1": "2026-03-31", "3.2": "2030-06-30", "3.3": "2027-03-31"}, ""},
	}
}

// ended finds what nobody writes security updates for any more: the distribution
// of the final file system, and the products in it that no package of the
// distribution owns, which supports its own.
func ended(img *inventory.Image, now time.Time) []Ended {
	var out []Ended
	if name, release, day := distroRelease(img.Distro); !day.IsZero() && now.After(day) {
		out = append(out, Ended{ID: "EOL-" + name + "-" + release, Package: -1, Day: day,
			Summary: fmt.Sprintf("%s has had no security updates since %s: vulnerabilities found later are in no advisory; move to %s",
				cmp.Or(img.Distro.Name, name+" "+release), day.Format(time.DateOnly), supportedRelease(releasesOf(name), distroTitle(img.Distro), "", now))})
	}
	table := lifecycles()
	for i := range img.Packages {
		p := &img.Packages[i]
		if p.Type != generic || p.Owner != "" || p.State != inventory.Present {
			continue
		}
		for _, l := range table {
			if !slices.Contains(l.products, p.Name) {
				continue
			}
			release, day := releaseEnd(numbers(p), l.ends)
			if !day.IsZero() && now.After(day) {
				out = append(out, Ended{ID: "EOL-" + p.Name + "-" + release, Package: i, Day: day,
					Summary: fmt.Sprintf("%s %s has had no security updates since %s; move to %s",
						l.title, release, day.Format(time.DateOnly), supportedRelease(l.ends, l.title, l.current, now))})
			}
		}
	}
	return out
}

// numbers is the version as releases are named: that of the advisories, for Java
// 8 calls itself 1.8.
func numbers(p *inventory.ImagePackage) string {
	for _, k := range p.KnownAs {
		if k.Name == "java" {
			return k.Version
		}
	}
	// 1.1.1w is of 1.1.1.
	return strings.TrimRight(p.Version, "abcdefghijklmnopqrstuvwxyz")
}

// supportedRelease names the newest release that is still supported, by table,
// else the one that was current when the table was made.
func supportedRelease(ends map[string]string, title, current string, now time.Time) string {
	best := ""
	for release := range ends {
		if _, day := releaseEnd(release, ends); day.After(now) && compareReleases(release, best) > 0 {
			best = release
		}
	}
	switch {
	case best == "" && current == "":
		return "a release that is supported"
	case best == "":
		return title + " " + current + " or newer"
	}
	return fmt.Sprintf("%s %s (supported until %s) or newer", title, best, ends[best])
}

// distroTitle is the distribution's name for people, without its release: that of
// "Debian GNU/Linux 9 (stretch)" is "Debian GNU/Linux".
func distroTitle(d inventory.Distro) string {
	name := d.Name
	if i := strings.IndexAny(name, "0123456789"); i >= 0 {
		name = strings.TrimSuffix(name[:i], "v")
	}
	return cmp.Or(strings.TrimSpace(name), d.ID)
}

// compareReleases compares the numbers of releases; the empty one is the least.
func compareReleases(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)) // without leading zeros
	})
}

// releaseEnd looks a version up as it is, and without its last numbers, and gives
// the release that the table has, with the end of its last day.
func releaseEnd(version string, ends map[string]string) (string, time.Time) {
	for version != "" {
		if day, ok := ends[version]; ok {
			t, err := time.Parse(time.DateOnly, day)
			if err != nil {
				return "", time.Time{}
			}
			// The whole last day is supported.
			return version, t.Add(24*time.Hour - time.Second)
		}
		i := strings.LastIndexByte(version, '.')
		if i < 0 {
			break
		}
		version = version[:i]
	}
	return "", time.Time{}
}

// releasesOf are the releases of a distribution in the table of their ends.
func releasesOf(id string) map[string]string {
	out := map[string]string{}
	for key, day := range releaseEnds {
		if release, ok := strings.CutPrefix(key, id+" "); ok {
			out[release] = day
		}
	}
	return out
}

// distroRelease is the distribution by the name and release that the table has.
func distroRelease(d inventory.Distro) (name, release string, day time.Time) {
	release, day = releaseEnd(d.VersionID, releasesOf(d.ID))
	return d.ID, release, day
}
