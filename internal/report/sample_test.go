package report

import (
	"fmt"
	"time"

	"strata/internal/advisory"
	"strata/internal/inventory"
	"strata/internal/policy"
)

// sample is a report with something of everything: a base image, an empty
// layer, packages present, shadowed, removed and set aside, exploited ones,
// problems, an ecosystem without advisories, and a policy violated.
func sample() *Report {
	published := time.Date(2021, 2, 15, 13, 15, 0, 0, time.UTC)
	updated := time.Date(2026, 11, 20, 6, 0, 0, 0, time.UTC)
	r := &Report{
		Tool: Tool{Name: "strata", Version: "0.1.0"},
		Image: Image{
			Reference: "registry.example:5000/shop/node-app:1.4", Digest: digest(9), ConfigDigest: digest(8), Platform: "linux/amd64",
			Created: &published, Labels: map[string]string{"org.opencontainers.image.title": "node-app \x1b[31m"},
			Base:   &Base{Reference: "docker.io/library/node:18-bookworm-slim", Digest: digest(7), Layers: 2, By: BaseByLayers, Created: &published},
			Distro: Distro{ID: "debian", Version: "12", Name: "Debian GNU/Linux 12 (bookworm)", Status: DistroSupported},
		},
		Layers: []Layer{
			{Index: 0, Digest: digest(0), DiffID: digest(10), CreatedBy: "# debian.sh --arch 'amd64' out/ 'bookworm' '@1759104000'", Size: 29_700_000, Base: true, Created: &published},
			{Index: 1, Digest: digest(1), DiffID: digest(11), CreatedBy: "/bin/sh -c apt-get update && apt-get install -y --no-install-recommends nodejs npm && rm -rf /var/lib/apt/lists/*", Size: 61_400_000, Base: true},
			{Index: 2, Digest: digest(2), DiffID: digest(12), CreatedBy: "WORKDIR /app # buildkit", Size: 93, Empty: true},
			{Index: 3, Digest: digest(3), DiffID: digest(13), CreatedBy: "COPY package.json package-lock.json ./ # buildkit", Size: 41_210},
			{Index: 4, Digest: digest(4), DiffID: digest(14), CreatedBy: "RUN |1 NODE_ENV=production /bin/sh -c npm ci --omit=dev   # buildkit", Size: 212_000_000},
			{Index: 5, Digest: digest(5), DiffID: digest(15), CreatedBy: "RUN /bin/sh -c set -eux; npm install lodash@4.17.21; \trm -rf node_modules/jquery # buildkit", Size: 1_480_000},
			{Index: 6, Digest: digest(6), DiffID: digest(16), CreatedBy: "COPY --from=build /out/server /usr/local/bin/server # buildkit", Size: 18_900_000},
		},
		Problems: []Problem{
			{Path: "app/vendor/legacy.jar", Layer: 4, Analyzer: "java/archive", Message: "zip: not a valid zip file"},
		},
		Advisories: Advisories{
			Source: "https://advisories.example/osv", Updated: &updated, AgeHours: 79,
			Coverage: []Coverage{
				{Ecosystem: "Debian:12", Type: "deb", Packages: 4, Records: 5853, Status: Covered},
				{Ecosystem: "npm", Type: "npm", Packages: 6, Records: 224, Status: Covered},
				{Ecosystem: "Go", Type: "golang", Packages: 2, Records: 4296, Status: Covered},
				{Ecosystem: "Hackage", Type: "hackage", Packages: 1, Records: 0, Status: NoData},
			},
		},
	}
	b := builder{r}
	libc := b.pkg("deb", "libc6", "2.36-9+deb12u4", 0, "var/lib/dpkg/status")
	openssl := b.pkg("deb", "libssl3", "3.0.11-1~deb12u2", 0, "var/lib/dpkg/status")
	b.pkg("deb", "zlib1g", "1:1.2.13.dfsg-1", 0, "var/lib/dpkg/status")
	nodejs := b.pkg("deb", "nodejs", "18.13.0+dfsg1-1", 1, "var/lib/dpkg/status")
	b.pkg("npm", "lodash", "4.17.21", 5, "app/node_modules/lodash/package.json")
	oldLodash := b.pkg("npm", "lodash", "4.17.4", 4, "app/node_modules/lodash/package.json")
	oldLodash.State, oldLodash.StateLayer = inventory.Shadowed, 5
	jquery := b.pkg("npm", "jquery", "1.8.3", 4, "app/node_modules/jquery/package.json")
	jquery.State, jquery.StateLayer = inventory.Removed, 5
	minimist := b.pkg("npm", "minimist", "0.0.8", 4, "app/node_modules/mkdirp/node_modules/minimist/package.json", "app/node_modules/optimist/node_modules/minimist/package.json")
	babel := b.pkg("npm", "@babel/plugin-transform-modules-systemjs", "7.0.0", 4, "app/node_modules/@babel/plugin-transform-modules-systemjs/package.json")
	semver := b.pkg("npm", "semver", "7.3.5", 1, "usr/share/nodejs/semver/package.json")
	semver.Owner = "node-semver"
	crypto := b.pkg("golang", "golang.org/x/crypto", "v0.0.0-20200622213623-75b288015ac9", 6, "usr/local/bin/server")
	stdlib := b.pkg("golang", "stdlib", "1.20.3", 6, "usr/local/bin/server")
	aeson := b.pkg("hackage", "aeson", "2.0.3.0", 6, "usr/local/share/tool/plan.json")
	aeson.Licenses = []string{"BSD-3-Clause"}

	b.finding(libc, "CVE-2023-4911", advisory.High, "2.36-9+deb12u3", kev)
	b.finding(libc, "CVE-2019-9192", advisory.Low, "")
	b.finding(openssl, "CVE-2023-5678", advisory.Medium, "3.0.13-1~deb12u1")
	b.finding(openssl, "DSA-5764-1", advisory.Unknown, "3.0.14-1~deb12u2")
	b.finding(nodejs, "CVE-2023-44487", advisory.High, "18.19.0+dfsg-6~deb12u1", kev, func(f *Finding) {
		f.Summary = "A server can be exhausted by requests that are cancelled at once"
		f.CVSS = &CVSS{Version: "3.1", Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", Score: 7.5}
		f.EPSS = 0.944
		f.Published = &published
		f.Aliases = []string{"GHSA-qppj-fm5r-hxr3"}
		f.References = []string{"https://www.example/advisory/1"}
	})
	b.finding(oldLodash, "CVE-2019-10744", advisory.Critical, "4.17.12")
	b.finding(oldLodash, "CVE-2021-23337", advisory.High, "4.17.21")
	b.finding(jquery, "CVE-2020-11022", advisory.Medium, "3.5.0")
	b.finding(minimist, "CVE-2021-44906", advisory.Critical, "1.2.6")
	b.finding(minimist, "CVE-2020-7598", advisory.Medium, "1.2.3")
	b.finding(babel, "GHSA-67hx-6x53-jw92", advisory.Critical, "7.23.2")
	b.finding(semver, "CVE-2022-25883", advisory.High, "7.5.2", func(f *Finding) {
		f.Suppressed = &Suppression{By: ByDistroOwned, Reason: "its files are of the deb package node-semver"}
	})
	b.finding(minimist, "CVE-2099-0001", advisory.High, "", func(f *Finding) {
		f.Suppressed = &Suppression{By: ByWaiver, Reason: "not reachable, until 2027-01-01 (alice)"}
	})
	b.finding(crypto, "CVE-2020-29652", advisory.High, "v0.0.0-20201216223049-8b5274cf687f")
	b.finding(crypto, "CVE-2024-45337", advisory.Critical, "v0.31.0")
	b.finding(stdlib, "CVE-2023-24538", advisory.Critical, "1.20.4")
	b.finding(stdlib, "CVE-2023-39319", advisory.Medium, "1.20.8", func(f *Finding) { f.Status = UnderInvestigation })

	rule, err := policy.FailOn(advisory.High)
	if err != nil {
		panic(err)
	}
	r.Verdict = policy.Evaluate(r.PolicyInput(time.Time{}), policy.AsWritten, rule)
	return r
}

// A builder fills a report.
type builder struct{ *Report }

// pkg adds a package of a layer; what it returns may be changed until the next.
func (b builder) pkg(typ, name, version string, layer int, paths ...string) *Package {
	p := Package{
		ID: fmt.Sprintf("p%d", len(b.Packages)), Type: typ, Name: name, Version: version, PURL: "pkg:" + typ + "/" + name + "@" + version,
		Layer: layer, State: inventory.Present, StateLayer: -1,
	}
	p.Ecosystem = map[string]string{"deb": "Debian:12", "npm": "npm", "golang": "Go", "hackage": "Hackage"}[typ]
	for _, path := range paths {
		p.Locations = append(p.Locations, Location{Path: path, Layer: layer})
	}
	b.Packages = append(b.Packages, p)
	return &b.Packages[len(b.Packages)-1]
}

func (b builder) finding(p *Package, id string, s Severity, fixed string, change ...func(*Finding)) {
	f := Finding{
		ID: id, PackageID: p.ID, PackageName: p.Name, PackageVersion: p.Version, PackageType: p.Type, Severity: s,
		FixedVersion: fixed, Status: Affected, Layer: p.Layer, State: p.State,
	}
	for _, c := range change {
		c(&f)
	}
	b.Findings = append(b.Findings, f)
}

func kev(f *Finding) { f.KEV = true }

// digest is a digest made of one digit.
func digest(n int) string { return fmt.Sprintf("sha256:%064x", n*0x1234567) }
