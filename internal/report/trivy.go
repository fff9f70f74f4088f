package report

import (
	"cmp"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"strata/internal/inventory"
	"strata/internal/license"
)

// Trivy writes the reports as Trivy's JSON of schema version 2, so that what reads
// that (Jenkins' warnings-ng, DefectDojo, …) reads Strata: a result for the
// distribution's packages, one for each kind of language packages or file that
// tells of them, and licences. Findings that do not count are in
// ExperimentalModifiedFindings with the reason. Several images are one report,
// whose targets begin with the platform.
func Trivy(w io.Writer, reports []*Report, o Options) error {
	out := trivyReport{SchemaVersion: 2, ArtifactType: "container_image", Results: []trivyResult{}}
	if !o.Ended.IsZero() {
		out.CreatedAt = o.Ended.UTC().Format(time.RFC3339)
	}
	for i, r := range reports {
		t := trivyWriter{listing: newListing(r), results: map[string]*trivyResult{}}
		if len(reports) > 1 {
			t.prefix = t.report.Image.Platform + " "
		}
		if i == 0 {
			out.ArtifactName, out.Metadata = t.report.Image.Reference, t.metadata()
		}
		out.Results = append(out.Results, t.all()...)
	}
	return encodeJSON(w, out, "  ")
}

// A trivyWriter makes the results of one image.
type trivyWriter struct {
	*listing
	prefix  string
	results map[string]*trivyResult
	order   []*trivyResult
}

func (t *trivyWriter) metadata() trivyMetadata {
	image := &t.report.Image
	osName, arch, _ := strings.Cut(image.Platform, "/")
	m := trivyMetadata{ImageID: image.ConfigDigest}
	m.ImageConfig = trivyConfig{Architecture: arch, OS: osName, Created: trivyTime(image.Created), Config: trivyLabels{image.Labels}}
	m.ImageConfig.RootFS = trivyRootFS{Type: "layers", DiffIDs: []string{}}
	if image.Distro.ID != "" {
		m.OS = &trivyOS{Family: trivyFamily(image.Distro.ID), Name: image.Distro.Version, EOSL: image.Distro.Status == DistroEndOfLife}
	}
	for i := range t.report.Layers {
		l := &t.report.Layers[i]
		m.Size += max(l.Size, 0)
		m.DiffIDs = append(m.DiffIDs, l.DiffID)
		m.Layers = append(m.Layers, trivyLayer{Size: max(l.Size, 0), Digest: l.Digest, DiffID: l.DiffID})
		m.ImageConfig.History = append(m.ImageConfig.History, trivyHistory{trivyTime(l.Created), l.CreatedBy})
	}
	m.ImageConfig.RootFS.DiffIDs = append(m.ImageConfig.RootFS.DiffIDs, m.DiffIDs...)
	if name := repository(image.Reference); strings.HasPrefix(image.Reference, name+":") && name != image.Reference {
		m.RepoTags = []string{image.Reference}
		if image.Digest != "" {
			m.RepoDigests = []string{name + "@" + image.Digest}
		}
	}
	return m
}

func trivyTime(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// trivyFamily is Trivy's name for the ID of an os-release.
func trivyFamily(id string) string {
	names := map[string]string{
		"rhel": "redhat", "almalinux": "alma", "ol": "oracle", "amzn": "amazon", "sles": "suse linux enterprise server",
		"opensuse-leap": "opensuse.leap", "opensuse-tumbleweed": "opensuse.tumbleweed", "azurelinux": "azurelinux", "mariner": "cbl-mariner",
	}
	return cmp.Or(names[id], id)
}

// all are the results: packages first, as the report has them, then licences.
func (t *trivyWriter) all() []trivyResult {
	for i := range t.report.Packages {
		if p := &t.report.Packages[i]; p.State == inventory.Present && !p.ownersAffair() {
			r := t.result(p)
			r.Packages = append(r.Packages, t.pkg(p))
		}
	}
	for _, f := range t.findings {
		t.addFinding(f)
	}
	t.licenses()
	out := make([]trivyResult, 0, len(t.order))
	for _, r := range t.order {
		out = append(out, *r)
	}
	return out
}

func (t *trivyWriter) addFinding(f *Finding) {
	if f.PackageID == "" {
		return // the distribution's end of life, which Metadata.OS.EOSL tells
	}
	p := t.findingPackage(f)
	r := t.result(&p)
	v := t.vulnerability(f, &p)
	aside := t.aside(f)
	if aside == "" {
		r.Vulnerabilities = append(r.Vulnerabilities, v)
		return
	}
	m := trivyModified{Type: "vulnerability", Status: "ignored", Statement: aside, Source: "Strata", Finding: v}
	if f.Suppressed != nil {
		m.Source = string(f.Suppressed.By)
		if f.Suppressed.By == ByVEX && (f.Status == NotAffected || f.Status == StatusFixed) {
			m.Status = string(f.Status)
		}
	}
	r.Modified = append(r.Modified, m)
}

// result is the one that a package belongs to.
func (t *trivyWriter) result(p *Package) *trivyResult {
	target, class, typ := t.target(p)
	return t.resultOf(t.prefix+target, class, typ)
}

func (t *trivyWriter) resultOf(target, class, typ string) *trivyResult {
	key := class + "\x00" + typ + "\x00" + target
	if t.results[key] == nil {
		t.results[key] = &trivyResult{Target: target, Class: class, Type: typ}
		t.order = append(t.order, t.results[key])
	}
	return t.results[key]
}

// target is what Trivy calls the place of a package: the image for those of the
// distribution, a language for those that are installed, the file for others.
func (t *trivyWriter) target(p *Package) (target, class, typ string) {
	image := &t.report.Image
	if distribution(p.Type) {
		return strings.TrimSpace(image.Reference + " (" + strings.TrimSpace(trivyFamily(image.Distro.ID)+" "+image.Distro.Version) + ")"),
			"os-pkgs", cmp.Or(trivyFamily(image.Distro.ID), p.Type)
	}
	file := ""
	if len(p.Locations) > 0 {
		file = p.Locations[0].Path
	}
	target, typ = trivyLanguage(p.Type, file)
	return cmp.Or(target, file, image.Reference), "lang-pkgs", typ
}

// trivyFiles are the types of files that list packages, by their names.
func trivyFiles() map[string]string {
	return map[string]string{
		"package-lock.json": "npm", "yarn.lock": "yarn", "pnpm-lock.yaml": "pnpm", "bun.lock": "bun", "Cargo.lock": "cargo",
		"composer.lock": "composer", "installed.json": "composer-vendor", "Gemfile.lock": "bundler", "poetry.lock": "poetry",
		"Pipfile.lock": "pipenv", "uv.lock": "uv", "requirements.txt": "pip", "go.mod": "gomod", "pom.xml": "pom", "gradle.lockfile": "gradle",
		"packages.lock.json": "nuget", "packages.config": "nuget", "conan.lock": "conan", "mix.lock": "hex", "pubspec.lock": "pub",
		"Podfile.lock": "cocoapods", "Package.resolved": "swift",
	}
}

// trivyLanguage is the target of a language package, empty for its file, and the
// type of the result.
func trivyLanguage(typ, file string) (target, result string) {
	base := path.Base(file)
	if list := trivyFiles()[base]; list != "" {
		return "", list
	}
	switch typ {
	case "npm":
		return "Node.js", "node-pkg"
	case "pypi":
		return "Python", "python-pkg"
	case "gem":
		return "Ruby", "gemspec"
	case "maven":
		return "Java", "jar"
	case "conda":
		return "Conda", "conda-pkg"
	case "golang":
		return "", "gobinary"
	case "cargo":
		return "", "rustbinary"
	case "nuget":
		return "", "dotnet-core"
	case "composer":
		return "", "composer-vendor"
	}
	return "", cmp.Or(typ, "generic")
}

func (t *trivyWriter) layer(index int) trivyLayer {
	if place := t.place[index]; place != nil {
		return trivyLayer{Digest: place.Digest, DiffID: place.DiffID}
	}
	return trivyLayer{}
}

func (t *trivyWriter) pkg(p *Package) trivyPackage {
	out := trivyPackage{
		ID: p.Name + "@" + p.Version, Name: p.Name, Version: p.Version, Arch: p.Arch, Identifier: trivyIdentifier{PURL: p.PURL, UID: p.ID},
		SrcName: p.SourceName, SrcVersion: p.SourceVersion, Licenses: p.Licenses, Layer: t.layer(p.Layer),
	}
	if p.License != nil && p.License.Expression != "" {
		out.Licenses = []string{p.License.Expression}
	}
	if distribution(p.Type) {
		out.SrcName, out.SrcVersion = cmp.Or(p.SourceName, p.Name), cmp.Or(p.SourceVersion, p.Version)
	} else if len(p.Locations) > 0 {
		out.FilePath = p.Locations[0].Path
	}
	return out
}

func (t *trivyWriter) vulnerability(f *Finding, p *Package) trivyVulnerability {
	v := trivyVulnerability{
		VulnerabilityID: f.ID, VendorIDs: f.Aliases, PkgID: p.Name + "@" + p.Version, PkgName: p.Name, InstalledVersion: p.Version,
		PkgIdentifier: trivyIdentifier{PURL: p.PURL, UID: p.ID}, FixedVersion: cmp.Or(strings.Join(f.FixedVersions, ", "), f.FixedVersion), Status: trivyStatus(f), Layer: t.layer(f.Layer),
		PrimaryURL: first(links(f)), Title: cmp.Or(f.Summary, title(f)), Description: f.Summary, SeveritySource: "osv",
		Severity: strings.ToUpper(string(f.Severity)), CVSS: trivyVectors(f.CVSS), References: f.References, PublishedDate: trivyTime(f.Published),
	}
	if !slices.Contains([]string{"CRITICAL", "HIGH", "MEDIUM", "LOW"}, v.Severity) {
		v.Severity = "UNKNOWN"
	}
	if !distribution(p.Type) && len(p.Locations) > 0 {
		v.PkgPath = p.Locations[0].Path
	}
	return v
}

// trivyStatus is in Trivy's words, which are those of VEX and a few more.
func trivyStatus(f *Finding) string {
	switch {
	case f.Kind == KindEndOfLife:
		return "end_of_life"
	case f.Status != Affected && f.Status != "":
		return string(f.Status)
	case f.FixedVersion != "":
		return "fixed"
	}
	return "affected"
}

func trivyVectors(c *CVSS) map[string]trivyCVSS {
	if c == nil {
		return nil
	}
	var v trivyCVSS
	switch {
	case strings.HasPrefix(c.Version, "2"):
		v.V2Vector, v.V2Score = c.Vector, c.Score
	case strings.HasPrefix(c.Version, "3"):
		v.V3Vector, v.V3Score = c.Vector, c.Score
	default:
		v.V40Vector, v.V40Score = c.Vector, c.Score
	}
	return map[string]trivyCVSS{"osv": v}
}

// licenses adds the results of licences, of the distribution's packages and of
// each language.
func (t *trivyWriter) licenses() {
	for i := range t.report.Packages {
		p := &t.report.Packages[i]
		if p.License == nil || p.State != inventory.Present || p.ownersAffair() {
			continue
		}
		target := "OS Packages"
		if !distribution(p.Type) {
			language, _ := trivyLanguage(p.Type, "")
			target = cmp.Or(language, p.Type)
		}
		category, severity := trivyCategory(p.License.Class)
		l := trivyLicense{Severity: severity, Category: category, PkgName: p.Name, Name: cmp.Or(p.License.Expression, "unknown"), Confidence: 1}
		for _, e := range p.License.Evidence {
			if e.Kind == "text" && e.Coverage > 0 && e.Expression == p.License.Expression && !slices.ContainsFunc(p.License.Evidence, declared) {
				l.Confidence = e.Coverage / 100
			}
		}
		r := t.resultOf(t.prefix+target, "license", "")
		r.Licenses = append(r.Licenses, l)
	}
}

func declared(e LicenseEvidence) bool { return e.Kind == "declared" }

// trivyCategory is Trivy's class of a licence, and the severity that goes with it.
func trivyCategory(c license.Class) (category, severity string) {
	switch c {
	case license.PublicDomain:
		return "unencumbered", "LOW"
	case license.Permissive:
		return "notice", "LOW"
	case license.WeakCopyleft:
		return "reciprocal", "MEDIUM"
	case license.StrongCopyleft, license.Proprietary:
		return "restricted", "HIGH"
	case license.NetworkCopyleft:
		return "forbidden", "CRITICAL"
	}
	return "unknown", "UNKNOWN"
}
