package analyzer

import (
	"bytes"
	"path"
	"regexp"
	"slices"
	"strings"

	"strata/internal/inventory"
	"strata/internal/license"
)

// pomProperties is what Maven writes into a jar about a package.
type pomProperties struct {
	group, artifact, version string
	// entry is the path of the file in the archive.
	entry string
	// licenses of the pom.xml beside it.
	licenses []string
}

// parsePomProperties reads a file of Java properties, and fills in from its path
// META-INF/maven/GROUP/ARTIFACT/pom.properties what it leaves out.
func parsePomProperties(b []byte, entry string) (pomProperties, bool) {
	p := pomProperties{entry: entry}
	for line := range bytes.Lines(b) {
		line = bytes.TrimSpace(line)
		i := bytes.IndexAny(line, "=:")
		if i < 0 || line[0] == '#' || line[0] == '!' {
			continue
		}
		value := string(bytes.TrimSpace(line[i+1:]))
		switch string(bytes.TrimSpace(line[:i])) {
		case "groupId":
			p.group = value
		case "artifactId":
			p.artifact = value
		case "version":
			p.version = value
		}
	}
	if _, rest, ok := strings.Cut(entry, "META-INF/maven/"); ok {
		if parts := strings.Split(rest, "/"); len(parts) == 3 {
			p.group = firstMavenWord(p.group, parts[0])
			p.artifact = firstMavenWord(p.artifact, parts[1])
		}
	}
	return p, mavenWord(p.group) && mavenWord(p.artifact) && mavenWord(p.version)
}

// firstMavenWord returns the first that is a mavenWord; empty when none is.
func firstMavenWord(words ...string) string {
	for _, w := range words {
		if mavenWord(w) {
			return w
		}
	}
	return ""
}

// mavenWord tells whether s can be a group, artifact or version: not empty, no
// blank, no placeholder that a build left ("${project.version}", "%name").
func mavenWord(s string) bool {
	return s != "" && !strings.ContainsAny(s, " \t${}%@:,;/\\\"'()") && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// javaManifest has the main attributes of META-INF/MANIFEST.MF (JAR file
// specification) by their names in lower case.
type javaManifest map[string]string

// parseJavaManifest reads the main section: up to the first empty line that
// follows an attribute. A line that starts with a blank continues the value.
func parseJavaManifest(b []byte) javaManifest {
	m := javaManifest{}
	var key string
	for line := range bytes.Lines(b) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			if len(m) > 0 {
				break
			}
			continue
		}
		if line[0] == ' ' {
			// Long values are rare and b is small: appending is good enough.
			if key != "" {
				m[key] += string(line[1:])
			}
			continue
		}
		k, v, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			key = ""
			continue
		}
		key = strings.ToLower(string(bytes.TrimSpace(k)))
		m[key] = string(bytes.TrimSpace(v))
	}
	return m
}

// first returns the first of the attributes that is a mavenWord once OSGi's
// parameters ("name;singleton:=true") are cut off.
func (m javaManifest) first(keys ...string) string {
	for _, k := range keys {
		v, _, _ := strings.Cut(m[k], ";")
		if v = strings.TrimSpace(v); mavenWord(v) {
			return v
		}
	}
	return ""
}

// licenses reads Bundle-License (OSGi core, 3.2.1.10):
// "Apache-2.0;link=…, MIT".
func (m javaManifest) licenses() []string {
	var out []string
	for part := range strings.SplitSeq(m["bundle-license"], ",") {
		name, _, _ := strings.Cut(part, ";")
		if name = strings.Trim(strings.TrimSpace(name), `"`); name != "" && name != "<<EXTERNAL>>" {
			out = append(out, name)
		}
	}
	return out
}

// pomLicenses reads the licences of a pom.xml (maven.apache.org, "POM Reference",
// Licenses): of each the name or, where that says nothing by itself, the address.
// What a parent declares is not in the archive.
func pomLicenses(b []byte) []string {
	_, rest, ok := bytes.Cut(b, []byte("<licenses>"))
	end := bytes.Index(rest, []byte("</licenses>"))
	if !ok || end < 0 {
		return nil
	}
	var doc struct {
		Licenses []struct {
			Name string `xml:"name"`
			URL  string `xml:"url"`
		} `xml:"license"`
	}
	if decodeXML(slices.Concat([]byte("<licenses>"), rest[:end], []byte("</licenses>")), &doc) != nil {
		return nil
	}
	var out []string
	for _, l := range doc.Licenses {
		name, address := strings.TrimSpace(l.Name), strings.TrimSpace(l.URL)
		if address != "" && !license.Normalise(name).Understood() && license.Normalise(address).Understood() {
			name = address
		}
		if name != "" && len(out) < maxLicenses {
			out = append(out, name)
		}
	}
	return out
}

// jarPackages gives the packages of one archive; name is its file name, member
// its path in the file that the layer has.
func jarPackages(name, member string, poms []pomProperties, m javaManifest) []inventory.Package {
	if len(poms) == 0 {
		p, ok := jarByName(name, m)
		if !ok {
			return nil
		}
		p.Member = member
		return []inventory.Package{p}
	}
	own := ownPom(name, poms)
	out := make([]inventory.Package, 0, len(poms))
	for i, p := range poms {
		pkg := mavenPackage(p.group, p.artifact, p.version)
		pkg.Licenses = p.licenses
		if i == own {
			if pkg.Member = member; len(pkg.Licenses) == 0 {
				pkg.Licenses = m.licenses()
			}
		} else {
			pkg.Member = joinMember(member, p.entry)
		}
		out = append(out, pkg)
	}
	return out
}

func mavenPackage(group, artifact, version string) inventory.Package {
	return inventory.Package{Type: "maven", Name: group + ":" + artifact, Version: version, Ecosystem: ecosystemMaven}
}

// ownPom tells which of the poms is that of the archive itself: the only one, or
// the one after which the file is called. -1 when it can't be told.
func ownPom(name string, poms []pomProperties) int {
	if len(poms) == 1 {
		return 0
	}
	stem := jarStem(name)
	return slices.IndexFunc(poms, func(p pomProperties) bool {
		return stem == p.artifact || strings.HasPrefix(stem, p.artifact+"-"+p.version)
	})
}

// jarStem is the file name without directory and extension.
func jarStem(name string) string {
	base := path.Base(name)
	return strings.TrimSuffix(base, path.Ext(base))
}

// jarNameRE splits "artifact-1.2.3-jre".
var jarNameRE = regexp.MustCompile(`^(.+?)[-_](v?\d[\w.+-]*)$`)

// jarByName names an archive without pom.properties, as Gradle, Ant and sbt
// build them, by its file name and manifest. Nothing is known of an archive
// without a version.
func jarByName(name string, m javaManifest) (inventory.Package, bool) {
	stem := jarStem(name)
	if strings.HasSuffix(stem, "-sources") || strings.HasSuffix(stem, "-javadoc") {
		return inventory.Package{}, false
	}
	artifact, version := jarNameVersion(stem, m)
	if artifact == "" || version == "" {
		return inventory.Package{}, false
	}
	if known, ok := jarAliases[artifact]; ok {
		artifact = known
	}
	group := mavenGroup(artifact, version)
	if group == "" {
		group = manifestGroup(artifact, m)
	}
	if group == "" {
		// Before reverse domain names became the custom, the group was called like
		// the artifact (commons-io:commons-io), and advisories still are.
		group = artifact
	}
	p := mavenPackage(group, artifact, version)
	p.Licenses = m.licenses()
	return p, true
}

// jarNameVersion finds the artifact and its version. A version in the manifest
// that the file name ends in tells best where one ends and the other begins
// ("log4j-1.2-api-2.17.1").
func jarNameVersion(stem string, m javaManifest) (artifact, version string) {
	versions := []string{"implementation-version", "bundle-version", "specification-version", "plugin-version"}
	for _, k := range versions {
		v := m.first(k)
		if a, ok := strings.CutSuffix(stem, "-"+v); ok && v != "" && mavenWord(a) {
			return a, v
		}
	}
	if s := jarNameRE.FindStringSubmatch(stem); s != nil && mavenWord(s[1]) && mavenWord(s[2]) {
		return s[1], s[2]
	}
	// A plain "postgresql.jar": Jenkins plugins and Tomcat's own are called so.
	if !mavenWord(stem) {
		return "", ""
	}
	if short := m.first("short-name"); short != "" {
		return short, m.first(versions...)
	}
	return stem, m.first(versions[:2]...)
}

// manifestGroup guesses the group from the attributes that often hold it. A name
// that ends like the artifact (org.apache.commons.commons-io) is the group with
// the artifact at its end.
func manifestGroup(artifact string, m javaManifest) string {
	for _, k := range []string{"group-id", "implementation-vendor-id", "bundle-symbolicname", "automatic-module-name", "implementation-title"} {
		g := m.first(k)
		if !strings.Contains(g, ".") || strings.ContainsAny(g, "#") {
			continue
		}
		g = strings.ToLower(g)
		for _, tail := range []string{artifact, strings.ReplaceAll(artifact, "-", ".")} {
			if head, ok := strings.CutSuffix(g, "."+strings.ToLower(tail)); ok && strings.Contains(head, ".") {
				return head
			}
		}
		return g
	}
	return ""
}
