package analyzer

import (
	"archive/zip"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// missing skips a test for want of something, unless everything is required.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("STRATA_TEST_REQUIRE") == "all" {
		t.Fatalf("STRATA_TEST_REQUIRE=all: "+format, args...)
	}
	t.Skipf(format, args...)
}

// debianPackages are packages of Debian, as patterns of their names, since some
// have a version in them, with the products that their files tell of. All are of
// the package's own version.
var debianPackages = map[string][]string{
	`apache2-bin`:             {"httpd"},
	`bash`:                    {"bash"},
	`busybox`:                 {"busybox"},
	`busybox-static`:          {"busybox"},
	`curl`:                    {"curl"},
	`elixir`:                  {"elixir"},
	`erlang-base`:             {"erlang"},
	`gpgv`:                    {"gnupg"},
	`haproxy`:                 {"haproxy"},
	`libcurl4(t64)?`:          {"curl"},
	`libexpat1`:               {"expat"},
	`liblua5\.4-0`:            {"lua"},
	`libnode\d+`:              {"node"},
	`libperl5\.\d+(t64)?`:     {"perl"},
	`libpython3\.\d+`:         {"python"},
	`libruby3\.\d`:            {"ruby"},
	`libsqlite3-0`:            {"sqlite"},
	`libssl3(t64)?`:           {"openssl"},
	`lighttpd`:                {"lighttpd"},
	`lua5\.4`:                 {"lua"},
	`mariadb-server-core`:     {"mariadb"},
	`memcached`:               {"memcached"},
	`nginx`:                   {"nginx"},
	`openssl`:                 {"openssl"},
	`perl-base`:               {"perl"},
	`php8\.\d-cli`:            {"php"},
	`postgresql-\d+`:          {"postgresql"},
	`prometheus-alertmanager`: {"alertmanager"},
	`python3\.\d+-minimal`:    {"python"},
	`redis-tools`:             {"redis"},
	`tini`:                    {"tini"},
	`varnish`:                 {"varnish"},
	`zlib1g`:                  {"zlib"},
	// What is none of the products, or only uses one, gives nothing.
	`coreutils`:   nil,
	`ruby3\.\d`:   nil,
	`sqlite3`:     nil,
	`dash`:        nil,
	`libuv1`:      nil,
	`python3-pip`: nil,
}

// TestRealClassifiers holds the classifiers against Debian's packages: unpacked
// into a directory without a package database, their programs tell the version
// that the packages have, and nothing else.
func TestRealClassifiers(t *testing.T) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		missing(t, "no packages to be had without apt-get")
	}
	dir := t.TempDir()
	// apt-get downloads as a user of its own.
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "apt-get", append([]string{"download", "-q"}, debianNames(t)...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		missing(t, "apt-get download: %v\n%s", err, out)
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		t.Fatal(err)
	}
	if len(debs) < len(debianPackages) {
		t.Errorf("%d packages for the %d names", len(debs), len(debianPackages))
	}
	for _, deb := range debs {
		name := debField(t, deb, "Package")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			if out, err := exec.CommandContext(t.Context(), "dpkg-deb", "-x", deb, root).CombinedOutput(); err != nil {
				t.Fatalf("dpkg-deb: %v\n%s", err, out)
			}
			var want []string
			for pattern, products := range debianPackages {
				if regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString(name) {
					for _, p := range products {
						want = append(want, p+" "+upstreamVersion(debField(t, deb, "Version")))
					}
				}
			}
			l, err := (&Runner{Analyzers: Default(), Memory: &Memory{}}).Root(t.Context(), root)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range l.Files {
				for _, p := range f.Packages {
					if p.Type == "generic" {
						got = append(got, p.Name+" "+p.Version)
					}
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// debianNames are the names of the packages in this release of Debian, the newest
// where a pattern has several.
func debianNames(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "apt-cache", "pkgnames").Output()
	if err != nil {
		missing(t, "apt-cache: %v", err)
	}
	var all []string
	for pattern := range debianPackages {
		re := regexp.MustCompile(`^(?:` + pattern + `)$`)
		for name := range strings.FieldsSeq(string(out)) {
			if re.MatchString(name) {
				all = append(all, name)
			}
		}
	}
	// Names of packages that are only mentioned have no version: apt-cache shows none,
	// and ends with an error.
	shown, _ := exec.CommandContext(t.Context(), "apt-cache", append([]string{"show", "--no-all-versions"}, all...)...).Output()
	var known []string
	for _, m := range regexp.MustCompile(`(?m)^Package: (\S+)$`).FindAllSubmatch(shown, -1) {
		known = append(known, string(m[1]))
	}
	slices.Sort(known)
	var names []string
	for pattern := range debianPackages {
		re := regexp.MustCompile(`^(?:` + pattern + `)$`)
		best := ""
		for _, name := range known {
			if re.MatchString(name) {
				best = name
			}
		}
		if best == "" {
			missing(t, "no package %s in the lists of apt (run apt-get update)", pattern)
		}
		names = append(names, best)
	}
	slices.Sort(names)
	return names
}

func debField(t *testing.T, deb, field string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "dpkg-deb", "-f", deb, field).Output()
	if err != nil {
		t.Fatalf("dpkg-deb -f %s: %v", deb, err)
	}
	return strings.TrimSpace(string(out))
}

// upstreamVersion is a Debian version without what Debian adds to it.
func upstreamVersion(v string) string {
	if _, rest, ok := strings.Cut(v, ":"); ok {
		v = rest
	}
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		v = v[:i]
	}
	if _, rest, ok := strings.Cut(v, "+really"); ok {
		v = rest
	}
	return regexp.MustCompile(`[.+~]?(?:dfsg|ds|repack|really|rc|b\d).*$|\+.*$`).ReplaceAllString(v, "")
}

func TestUpstreamVersion(t *testing.T) {
	for v, want := range map[string]string{
		"15.20-0+deb12u1": "15.20", "5:7.0.15-1~deb12u10": "7.0.15", "1:1.2.13.dfsg-1": "1.2.13", "3.1.7+really3.1.2-0+deb12u1": "3.1.2",
		"1.14.0.dfsg-2": "1.14.0", "1:25.2.3+dfsg-1+deb12u4": "25.2.3", "18.20.4+dfsg-1~deb12u3": "18.20.4",
	} {
		if got := upstreamVersion(v); got != want {
			t.Errorf("%s is %s, want %s", v, got, want)
		}
	}
}

// absentFromBitnami are names of the tables that OSV's Bitnami had, and has not
// in the mirror that the test reads; empty while it has all.
var absentFromBitnami = []string{}

// TestRealBitnamiNames: each name by which a table looks up Bitnami's advisories
// is one that they have.
func TestRealBitnamiNames(t *testing.T) {
	path, err := filepath.Abs("../../../shared/feeds/osv/Bitnami/all.zip")
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.OpenReader(path)
	if err != nil {
		missing(t, "no advisories of Bitnami: %v", err)
	}
	defer z.Close()
	known := map[string]bool{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		var record struct {
			Affected []struct {
				Package struct{ Name string }
			}
		}
		b, err := io.ReadAll(r)
		if err != nil || json.Unmarshal(b, &record) != nil {
			continue
		}
		for _, a := range record.Affected {
			known[a.Package.Name] = true
		}
	}
	names := []string{"java", "tomcat"} // of classifierjava.go
	for _, c := range classifiers() {
		names = append(names, c.bitnami)
	}
	for _, c := range textClassifiers() {
		names = append(names, c.bitnami)
	}
	for _, g := range goProducts() {
		names = append(names, g.bitnami)
	}
	for _, n := range names {
		if n != "" && !known[n] && !slices.Contains(absentFromBitnami, n) {
			t.Errorf("no advisory of Bitnami is about %q", n)
		}
	}
}
