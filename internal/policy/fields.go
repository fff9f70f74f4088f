package policy

import (
	"slices"
	"time"

	"cel.dev/cel-go/cel"

	"strata/internal/inventory"
	"strata/internal/license"
)

// A field is one thing that rules can read. Checking, reading and documentation
// of fields are all from these tables, so that they cannot differ.
type field struct {
	name string
	typ  *cel.Type
	doc  string
	// values are all that a string can be; empty when it can be anything.
	values []string
	// get reads it of the Go value behind the type.
	get func(any) any
	// known tells whether it has a value; nil when it always has.
	known func(any) bool
}

// A fieldSet is a type that rules know, with its fields in the order in which
// they are documented.
type fieldSet struct {
	// name of the type, as errors have it.
	name string
	// variable of this type at the top level; empty for none.
	variable string
	doc      string
	fields   []field
}

func of[T any](name string, typ *cel.Type, doc string, get func(*T) any) field {
	return field{name: name, typ: typ, doc: doc, get: func(v any) any {
		if t, ok := v.(*T); ok && t != nil {
			return get(t)
		}
		var zero T
		return get(&zero)
	}}
}

// oneOf limits the values of a field, which comparisons are checked against.
func (f field) oneOf(values ...string) field { f.values = values; return f }

// whenKnown gives the field a test for has().
func whenKnown[T any](f field, known func(*T) bool) field {
	f.known = func(v any) bool {
		t, ok := v.(*T)
		return ok && t != nil && known(t)
	}
	return f
}

// The types, as CEL knows them.
var (
	findingType = cel.ObjectType("Finding")
	packageType = cel.ObjectType("Package")
	licenseType = cel.ObjectType("License")
	layerType   = cel.ObjectType("Layer")
	imageType   = cel.ObjectType("Image")
	distroType  = cel.ObjectType("Distro")
	baseType    = cel.ObjectType("Base")
	stringsType = cel.ListType(cel.StringType)
)

var severityWords = []string{"critical", "high", "medium", "low", "unknown"}

var findingFields = fieldSet{name: "Finding", variable: "finding", doc: "A vulnerability in a package of the image, or an end of life.", fields: []field{
	of("id", cel.StringType, "Canonical id: the CVE where there is one.", func(f *Finding) any { return f.ID }),
	of("aliases", stringsType, "Its other ids.", func(f *Finding) any { return f.Aliases }),
	of("ids", stringsType, "Id and aliases together.", func(f *Finding) any { return f.ids() }),
	of("kind", cel.StringType, "What it is about. A rule that reads it sees ends of life too; others see vulnerabilities only.", func(f *Finding) any { return or(f.Kind, kindVulnerability) }).oneOf(kindVulnerability, kindEndOfLife),
	of("severity", cel.StringType, "Severity as reported.", func(f *Finding) any { return severityWord(f) }).oneOf(severityWords...),
	of("severity_rank", cel.IntType, "4 for critical, 3 high, 2 medium, 1 low, 0 unknown; compare it with severity(\"high\").", func(f *Finding) any { return f.Severity.Rank() }),
	of("score", cel.DoubleType, "CVSS base score, 0 to 10; 0 when there is none.", func(f *Finding) any { return f.Score }),
	of("vector", cel.StringType, "CVSS vector; empty when there is none.", func(f *Finding) any { return f.Vector }),
	of("kev", cel.BoolType, "CISA knows it to be exploited.", func(f *Finding) any { return f.KEV }),
	of("epss", cel.DoubleType, "Probability, 0 to 1, that it will be exploited within 30 days; 0 when not known.", func(f *Finding) any { return f.EPSS }),
	of("fixable", cel.BoolType, "A version without it is known.", func(f *Finding) any { return f.FixedVersion != "" }),
	of("fixed_version", cel.StringType, "Version to update to; empty when there is none.", func(f *Finding) any { return f.FixedVersion }),
	of("status", cel.StringType, "What VEX says of it; affected when nothing does.", func(f *Finding) any { return string(or(f.Status, Affected)) }).oneOf(string(Affected), string(NotAffected), string(Fixed), string(UnderInvestigation)),
	of("state", cel.StringType, "Whether its package is in the final file system; rules see others only with include.", func(f *Finding) any { return stateWord(f.State) }).oneOf("present", "shadowed", "removed"),
	of("suppressed", cel.BoolType, "It was set aside; rules see such only with include.", func(f *Finding) any { return f.Suppressed != nil }),
	of("suppressed_by", cel.StringType, "What set it aside: waiver, vex, policy, distro-owned, not-run; empty for nothing.", func(f *Finding) any {
		if f.Suppressed == nil {
			return ""
		}
		return f.Suppressed.By
	}),
	whenKnown(of("published", cel.TimestampType, "When the advisory was published; 1970-01-01 when not known: ask has(finding.published).", func(f *Finding) any { return orEpoch(f.Published) }), func(f *Finding) bool { return !f.Published.IsZero() }),
	of("age_days", cel.IntType, "Days since it was published; -1 when not known.", func(f *Finding) any { return ageDays(f.Published, f.now) }),
	of("new", cel.BoolType, "The baseline does not have it; true without a baseline.", func(f *Finding) any { return !f.Old }),
	of("summary", cel.StringType, "One line of the advisory.", func(f *Finding) any { return f.Summary }),
	of("layer", layerType, "The layer that brought its package.", func(f *Finding) any { return f.layer }),
	of("package", packageType, "The package it is in; that of a distribution's end of life has no name.", func(f *Finding) any { return f.pkg }),
}}

var packageFields = fieldSet{name: "Package", variable: "package", doc: "A package version in the image.", fields: []field{
	of("type", cel.StringType, "purl type: deb, apk, rpm, npm, pypi, maven, golang, ...", func(p *Package) any { return p.Type }),
	of("name", cel.StringType, "Name as its ecosystem writes it.", func(p *Package) any { return p.Name }),
	of("version", cel.StringType, "Version in full.", func(p *Package) any { return p.Version }),
	of("arch", cel.StringType, "Architecture of a distribution's package.", func(p *Package) any { return p.Arch }),
	of("purl", cel.StringType, "Package URL.", func(p *Package) any { return p.PURL }),
	of("ecosystem", cel.StringType, "OSV's ecosystem, with release: npm, Debian:12.", func(p *Package) any { return p.Ecosystem }),
	of("source_name", cel.StringType, "Name of the distribution's source package; that of the package where there is no other.", func(p *Package) any { return or(p.SourceName, p.Name) }),
	of("source_version", cel.StringType, "Version of the source package, likewise.", func(p *Package) any { return or(p.SourceVersion, p.Version) }),
	of("distribution", cel.BoolType, "It is one of the operating system's distribution.", func(p *Package) any {
		kind := inventory.Package{Type: p.Type}
		return kind.Distribution()
	}),
	of("owner", cel.StringType, "The distribution's package that owns its files; empty for none.", func(p *Package) any { return p.Owner }),
	of("state", cel.StringType, "Whether it is in the final file system; rules see others only with include.", func(p *Package) any { return stateWord(p.State) }).oneOf("present", "shadowed", "removed"),
	of("new", cel.BoolType, "The baseline has no package of this type and name; true without a baseline.", func(p *Package) any { return !p.Old }),
	of("paths", stringsType, "Where it was found.", func(p *Package) any { return p.Paths }),
	of("licenses", stringsType, "Licences as declared, each an SPDX expression or free text.", func(p *Package) any { return p.Licenses }),
	of("license", licenseType, "What was made of its licences.", func(p *Package) any { return p.License }),
	of("layer", layerType, "The layer that introduced it.", func(p *Package) any { return p.layer }),
	of("state_layer", layerType, "The layer that shadowed or removed it; index -1 while present.", func(p *Package) any { return p.stateLayer }),
}}

var licenseFields = fieldSet{name: "License", variable: "license", doc: "The licence of a package.", fields: []field{
	of("expression", cel.StringType, "SPDX licence expression, normalised; empty when nothing is known.", func(l *License) any { return l.Expression }),
	of("class", cel.StringType, "What it asks of those who pass the software on: of an OR the least, of an AND the most.", func(l *License) any { return string(or(l.Class, license.Unknown)) }).oneOf(licenseClasses()...),
	of("ids", stringsType, "SPDX ids in the expression, each once, without exceptions.", func(l *License) any { return licenseIDs(l.Expression) }),
	of("known", cel.BoolType, "Something is known of it, and understood.", func(l *License) any { return l.Expression != "" && or(l.Class, license.Unknown) != license.Unknown }),
	of("new", cel.BoolType, "The baseline has no package of this type and name with this licence; true without a baseline.", func(l *License) any { return !l.Old }),
	of("paths", stringsType, "Files that tell it.", func(l *License) any { return l.Paths }),
}}

var layerFields = fieldSet{name: "Layer", variable: "layer", doc: "A filesystem layer.", fields: []field{
	of("index", cel.IntType, "Counts from 0, the lowest; -1 for none.", func(l *Layer) any { return l.Index }),
	of("base", cel.BoolType, "It is one of the base image.", func(l *Layer) any { return l.Base }),
	of("digest", cel.StringType, "Digest of the blob.", func(l *Layer) any { return l.Digest }),
	of("diff_id", cel.StringType, "Digest of the uncompressed tar.", func(l *Layer) any { return l.DiffID }),
	of("created_by", cel.StringType, "The build history's line, as recorded.", func(l *Layer) any { return l.CreatedBy }),
	of("instruction", cel.StringType, "The instruction as a Dockerfile has it: RUN npm ci.", func(l *Layer) any { return l.Instruction }),
	of("size", cel.IntType, "Bytes of the blob; -1 when not known.", func(l *Layer) any { return l.Size }),
	of("empty", cel.BoolType, "It changes no file.", func(l *Layer) any { return l.Empty }),
	of("new", cel.BoolType, "The baseline does not have it; true without a baseline.", func(l *Layer) any { return !l.Old }),
	whenKnown(of("created", cel.TimestampType, "When it was built; 1970-01-01 when not known: ask has(layer.created).", func(l *Layer) any { return orEpoch(built(l.Created)) }), func(l *Layer) bool { return !built(l.Created).IsZero() }),
	of("age_days", cel.IntType, "Days since it was built; -1 when not known.", func(l *Layer) any { return ageDays(built(l.Created), l.now) }),
}}

var imageFields = fieldSet{name: "Image", variable: "image", doc: "The image.", fields: []field{
	of("reference", cel.StringType, "What was asked for.", func(i *Image) any { return i.Reference }),
	of("registry", cel.StringType, "Host of its registry: docker.io; empty when the reference is no image's name.", func(i *Image) any { return i.name.registry }),
	of("repository", cel.StringType, "Its name in the registry, without tag: library/alpine.", func(i *Image) any { return i.name.repository }),
	of("tag", cel.StringType, "Tag of the reference; empty for none.", func(i *Image) any { return i.name.tag }),
	of("digest", cel.StringType, "Digest of the manifest; empty where the source has none.", func(i *Image) any { return or(i.Digest, i.name.digest) }),
	of("platform", cel.StringType, "os/architecture[/variant].", func(i *Image) any { return i.Platform }),
	of("distro", distroType, "The distribution.", func(i *Image) any { return &i.Distro }),
	of("labels", cel.MapType(cel.StringType, cel.StringType), "Labels of the configuration: image.labels[\"team\"], \"team\" in image.labels.", func(i *Image) any { return i.Labels }),
	whenKnown(of("created", cel.TimestampType, "When it was built; 1970-01-01 when not known: ask has(image.created).", func(i *Image) any { return orEpoch(built(i.Created)) }), func(i *Image) bool { return !built(i.Created).IsZero() }),
	of("age_days", cel.IntType, "Days since it was built; -1 when not known.", func(i *Image) any { return ageDays(built(i.Created), i.now) }),
	whenKnown(of("base", baseType, "The base image; ask has(image.base).", func(i *Image) any { return i.Base }), func(i *Image) bool { return i.Base != nil }),
	of("layers", cel.ListType(layerType), "Its layers, lowest first.", func(i *Image) any { return i.layers }),
	of("packages", cel.ListType(packageType), "Its packages that are present: image.packages.exists(p, p.name == \"curl\").", func(i *Image) any { return i.packages }),
	of("findings", cel.ListType(findingType), "Its vulnerabilities that count: image.findings.filter(f, f.fixable).size() > 20.", func(i *Image) any { return i.findings }),
}}

var distroFields = fieldSet{name: "Distro", doc: "The distribution of the image: image.distro.", fields: []field{
	of("id", cel.StringType, "ID of os-release: debian.", func(d *Distro) any { return d.ID }),
	of("version", cel.StringType, "VERSION_ID of os-release: 12.", func(d *Distro) any { return d.Version }),
	of("name", cel.StringType, "Name for people.", func(d *Distro) any { return d.Name }),
	of("status", cel.StringType, "Whether it has advisories, and new ones; empty when not known.", func(d *Distro) any { return d.Status }).oneOf("", "supported", "end_of_life", "no_data"),
}}

var baseFields = fieldSet{name: "Base", doc: "The image that the image was built from: image.base.", fields: []field{
	of("reference", cel.StringType, "Its name with tag; empty where only its layers are known.", func(b *Base) any { return b.Reference }),
	of("registry", cel.StringType, "Host of its registry.", func(b *Base) any { return b.name.registry }),
	of("repository", cel.StringType, "Its name in the registry, without tag.", func(b *Base) any { return b.name.repository }),
	of("tag", cel.StringType, "Tag of the reference; empty for none.", func(b *Base) any { return b.name.tag }),
	of("digest", cel.StringType, "Digest of its manifest; empty when not known.", func(b *Base) any { return b.Digest }),
	of("layers", cel.IntType, "How many of the image's layers, from the lowest, are its.", func(b *Base) any { return b.Layers }),
	of("by", cel.StringType, "How it was recognised.", func(b *Base) any { return b.By }).oneOf("", "layers", "annotation", "history"),
	whenKnown(of("created", cel.TimestampType, "When it was built; 1970-01-01 when not known: ask has(image.base.created).", func(b *Base) any { return orEpoch(built(b.Created)) }), func(b *Base) bool { return !built(b.Created).IsZero() }),
	of("age_days", cel.IntType, "Days since it was built; -1 when not known.", func(b *Base) any { return ageDays(built(b.Created), b.now) }),
}}

// fieldSets are all types, in the order in which they are documented.
func fieldSets() []*fieldSet {
	return []*fieldSet{&findingFields, &packageFields, &licenseFields, &layerFields, &imageFields, &distroFields, &baseFields}
}

func licenseClasses() []string {
	var words []string
	for _, c := range license.All() {
		words = append(words, string(c))
	}
	return words
}

// licenseIDs are the licences in an SPDX expression, each once, without
// exceptions; none when it is no expression.
func licenseIDs(expression string) []string {
	var ids []string
	for _, t := range licenseTerms(expression) {
		if !slices.Contains(ids, t.License) {
			ids = append(ids, t.License)
		}
	}
	return ids
}

func licenseTerms(expression string) []license.Term {
	e, err := license.Parse(expression)
	if err != nil {
		return nil
	}
	return slices.Collect(e.Terms())
}

func severityWord(f *Finding) string {
	if !valid(f.Severity) {
		return "unknown"
	}
	return string(f.Severity)
}

func stateWord(s inventory.State) string { return string(or(s, inventory.Present)) }

// or is the first that is not empty.
func or[T ~string](a, b T) T {
	if a == "" {
		return b
	}
	return a
}

// built is a time of building that can be believed: builds that are to be
// reproducible say 1970 or 1980 instead.
func built(t time.Time) time.Time {
	if t.Year() <= 1980 {
		return time.Time{}
	}
	return t
}

// orEpoch is a time that CEL can compute with.
func orEpoch(t time.Time) time.Time {
	if t.Year() < 1970 || t.Year() > 9000 {
		return time.Unix(0, 0).UTC()
	}
	return t
}

func ageDays(t, now time.Time) int {
	if t.IsZero() {
		return -1
	}
	return max(int(now.Sub(t).Hours()/24), 0)
}
