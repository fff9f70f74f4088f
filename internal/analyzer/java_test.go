package analyzer

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pom is the path and the content of a pom.properties, for zipOf.
func pom(group, artifact, version string) []string {
	return []string{
		"META-INF/maven/" + group + "/" + artifact + "/pom.properties",
		"#Created by Apache Maven\ngroupId=" + group + "\nartifactId=" + artifact + "\nversion=" + version + "\n",
	}
}

func TestJavaArchive(t *testing.T) {
	const manifest = "META-INF/MANIFEST.MF"
	b := zipOf(t, pom("g", "b", "2")...)
	runCases(t, javaArchive{}, "maven", []analyzerCase{
		{"pom.properties", "lib/a-1.jar", zipOf(t, pom("org.x", "a", "1")...), []string{"org.x:a 1"}, ""},
		{"shaded: the others are members", "lib/a-1.jar", zipOf(t, append(pom("g", "b", "2"), pom("g", "a", "1")...)...),
			[]string{"g:b 2 in META-INF/maven/g/b/pom.properties", "g:a 1"}, ""},
		{"shaded and renamed: all are members", "lib/x.jar", zipOf(t, append(pom("g", "b", "2"), pom("g", "a", "1")...)...),
			[]string{"g:b 2 in META-INF/maven/g/b/pom.properties", "g:a 1 in META-INF/maven/g/a/pom.properties"}, ""},
		{"nested", "a.war", zipOf(t, "WEB-INF/lib/b.jar", b), []string{"g:b 2 in WEB-INF/lib/b.jar"}, ""},
		{"nested twice", "a.ear", zipOf(t, "a.war", zipOf(t, "WEB-INF/lib/b.jar", b)), []string{"g:b 2 in a.war!/WEB-INF/lib/b.jar"}, ""},
		{"nested by a name like an escape", "a.war", zipOf(t, "../../b.jar", b), []string{"g:b 2 in ../../b.jar"}, ""},
		{"placeholders are no versions", "a.jar", zipOf(t, pom("g", "a", "${project.version}")...), nil, ""},
		{"group and artifact from the path", "a.jar", zipOf(t, "META-INF/maven/g/a/pom.properties", "version=1\n"), []string{"g:a 1"}, ""},
		{"colons, comments and blanks", "a.jar", zipOf(t, "META-INF/maven/g/a/pom.properties", "!groupId=no\n groupId : g \r\nartifactId:a\nversion = 1\n"), []string{"g:a 1"}, ""},
		{"manifest: the known group", "lib/spring-core-5.2.0.RELEASE.jar", zipOf(t, manifest, "Manifest-Version: 1.0\r\nImplementation-Title: spring-core\r\nImplementation-Version: 5.2.0.RELEASE\r\n\r\n"), []string{"org.springframework:spring-core 5.2.0.RELEASE"}, ""},
		{"manifest: the vendor id", "lib/foo-bar-1.0.jar", zipOf(t, manifest, "Implementation-Vendor-Id: com.example\n"), []string{"com.example:foo-bar 1.0"}, ""},
		{"manifest: a bundle named like group and artifact, on two lines", "lib/foo-bar-1.0.jar", zipOf(t, manifest, "Bundle-SymbolicName: com.example.foo\n .bar;singleton:=true\n"), []string{"com.example:foo-bar 1.0"}, ""},
		{"manifest: its version splits the name", "lib/log4j-1.2-api-2.17.1.jar", zipOf(t, manifest, "Implementation-Version: 2.17.1\nImplementation-Vendor-Id: org.apache.logging.log4j\n"), []string{"org.apache.logging.log4j:log4j-1.2-api 2.17.1"}, ""},
		{"only a name", "lib/commons-io-2.6.jar", zipOf(t, "a.class", ""), []string{"commons-io:commons-io 2.6"}, ""},
		{"Tomcat's own", "usr/local/tomcat/lib/catalina.jar", zipOf(t, manifest, "Implementation-Title: Apache Tomcat\nImplementation-Version: 9.0.50\n"), []string{"org.apache.tomcat:tomcat-catalina 9.0.50"}, ""},
		{"Jenkins plugin", "var/lib/jenkins/plugins/git.jpi", zipOf(t, manifest, "Group-Id: org.jenkins-ci.plugins\nShort-Name: git\nPlugin-Version: 4.0.0\n"), []string{"org.jenkins-ci.plugins:git 4.0.0"}, ""},
		{"sources", "lib/a-1.0-sources.jar", zipOf(t, manifest, ""), nil, ""},
		{"nothing known", "lib/app.jar", zipOf(t, manifest, "Main-Class: x.Y\n"), nil, ""},
		{"a program before the archive", "bin/a.jar", "#!/bin/sh\nexec java -jar $0\n" + zipOf(t, pom("g", "a", "1")...), []string{"g:a 1"}, ""},
		{"empty", "a.jar", "", nil, ""},
		{"plain text", "a.jar", "plain text", nil, "not a readable zip archive"},
		{"only the end of an archive", "a.jar", "PK\x05\x06" + strings.Repeat("\xff", 18), nil, "not a readable zip archive"},
		{"an archive of nothing", "a.jar", "PK\x05\x06" + strings.Repeat("\x00", 18), nil, ""},
	})
}

// storedZip is a zip archive of one entry that is not compressed.
func storedZip(t testing.TB, name, content string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if err == nil {
		_, err = w.Write([]byte(content))
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestJavaArchiveStored(t *testing.T) {
	inner := zipOf(t, pom("g", "b", "2")...)
	got, err := analyzeText(t, javaArchive{}, "app.jar", storedZip(t, "BOOT-INF/lib/b-2.jar", inner))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"g:b 2 in BOOT-INF/lib/b-2.jar"}, nameVersions(got.Packages)); diff != "" {
		t.Error(diff)
	}
}

func TestJavaArchiveDepth(t *testing.T) {
	b := zipOf(t, pom("g", "deep", "1")...)
	for range maxJarDepth {
		b = storedZip(t, "n.jar", b)
	}
	got, err := analyzeText(t, javaArchive{}, "app.jar", b)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Packages) != 0 || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "nested more than 6 deep") {
		t.Errorf("got packages %v and notes %q, want a note of the limit", got.Packages, got.Notes)
	}
}

// TestJavaArchiveDamagedMember keeps what is sound beside it.
func TestJavaArchiveDamagedMember(t *testing.T) {
	got, err := analyzeText(t, javaArchive{}, "a.war", zipOf(t, append([]string{"lib/bad.jar", "no archive"}, pom("g", "a", "1")...)...))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"g:a 1"}, nameVersions(got.Packages)); diff != "" {
		t.Error(diff)
	}
	if len(got.Notes) != 1 || !strings.Contains(got.Notes[0], `"lib/bad.jar": not a readable zip archive`) {
		t.Errorf("notes are %q, want one of lib/bad.jar", got.Notes)
	}
}

// TestJavaArchiveBomb has 10^5 archives in archives, in 100 KiB.
func TestJavaArchiveBomb(t *testing.T) {
	b := zipOf(t, "zeros.class", strings.Repeat("\x00", 10<<20))
	for range 5 {
		var entries []string
		for k := range 10 {
			entries = append(entries, fmt.Sprintf("lib/n%d.jar", k), b)
		}
		b = zipOf(t, entries...)
	}
	got, err := analyzeText(t, javaArchive{}, "bomb.jar", b)
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(got.Notes, "\n"); !strings.Contains(notes, "limit of") {
		t.Errorf("notes are %q, want one of the limit that was reached", notes)
	}
}

// TestJavaArchiveOverlap has 2,000 entries that are all the same stored archive,
// four times over: 1.6e13 archives.
func TestJavaArchiveOverlap(t *testing.T) {
	b := storedZip(t, "x.jar", zipOf(t, pom("g", "a", "1")...))
	for range 4 {
		b = overlappingZip(b, 2000)
	}
	got, err := analyzeText(t, javaArchive{}, "bomb.jar", b)
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(got.Notes, "\n"); !strings.Contains(notes, "limit of") {
		t.Errorf("notes are %q, want one of the limit that was reached", notes)
	}
}

// overlappingZip is an archive with n entries which share one stored content.
func overlappingZip(content string, n int) string {
	le := binary.LittleEndian
	const name = "n.jar"
	local := append([]byte("PK\x03\x04"), make([]byte, 26)...)
	le.PutUint32(local[18:], uint32(len(content)))
	le.PutUint32(local[22:], uint32(len(content)))
	le.PutUint16(local[26:], uint16(len(name)))
	out := append(append(local, name...), content...)
	start := len(out)
	for range n {
		entry := append([]byte("PK\x01\x02"), make([]byte, 42)...)
		le.PutUint32(entry[20:], uint32(len(content)))
		le.PutUint32(entry[24:], uint32(len(content)))
		le.PutUint16(entry[28:], uint16(len(name)))
		out = append(append(out, entry...), name...)
	}
	end := append([]byte("PK\x05\x06"), make([]byte, 18)...)
	le.PutUint16(end[8:], uint16(n))
	le.PutUint16(end[10:], uint16(n))
	le.PutUint32(end[12:], uint32(len(out)-start))
	le.PutUint32(end[16:], uint32(start))
	return string(append(out, end...))
}

func TestJavaArchiveDirectoryLimit(t *testing.T) {
	var entries []string
	for k := range 100 {
		entries = append(entries, fmt.Sprintf("%s%d", strings.Repeat("x", 30000), k), "")
	}
	b := zipOf(t, entries...)
	if _, _, err := openZip(strings.NewReader(b), int64(len(b)), 1<<20); !errors.Is(err, errZipDirectory) {
		t.Errorf("got %v, want the limit of the directory", err)
	}
	if _, used, err := openZip(strings.NewReader(b), int64(len(b)), 4<<20); err != nil || used < 3_000_000 {
		t.Errorf("got %d bytes used and error %v, want 3 MB or more and none", used, err)
	}
}

func TestJavaArchiveCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (javaArchive{}).Analyze(ctx, NewFile("a.jar", []byte(zipOf(t, "a", "")))); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestJavaManifestLicenses(t *testing.T) {
	for manifest, want := range map[string][]string{
		"Bundle-License: \"Apache-2.0\";link=\"https://x.invalid\", MIT\n": {"Apache-2.0", "MIT"},
		"Bundle-License: <<EXTERNAL>>\n":                                   nil,
		"Main-Class: x\n\nName: a\nBundle-License: MIT\n":                  nil,
	} {
		if diff := cmp.Diff(want, parseJavaManifest([]byte(manifest)).licenses()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", manifest, diff)
		}
	}
}

func TestMavenGroup(t *testing.T) {
	for nameVersion, want := range map[string]string{
		"groovy 3.0.9": "org.codehaus.groovy", "groovy-json 4.0.1": "org.apache.groovy",
		"hibernate-core 5.6.0": "org.hibernate", "hibernate-core 6.0.0": "org.hibernate.orm", "hibernate-validator 6.0.0": "",
		"spring-security-core 5.0.0": "org.springframework.security", "unheard-of 1": "",
	} {
		artifact, version, _ := strings.Cut(nameVersion, " ")
		if got := mavenGroup(artifact, version); got != want {
			t.Errorf("mavenGroup(%s) = %q, want %q", nameVersion, got, want)
		}
	}
}

func FuzzJavaArchive(f *testing.F) {
	f.Add([]byte(zipOf(f, append(pom("g", "a", "1"), "META-INF/MANIFEST.MF", "Bundle-SymbolicName: a.b;x\n c\n\nName: x\n")...)))
	f.Add([]byte(storedZip(f, "b.jar", zipOf(f, pom("g", "a", "1")...))))
	f.Add([]byte(overlappingZip(zipOf(f, "x", ""), 3)))
	f.Fuzz(func(t *testing.T, b []byte) {
		res, _ := javaArchive{}.Analyze(t.Context(), NewFile("a-1.0.jar", b))
		requireNamed(t, res)
	})
}

func FuzzJavaNames(f *testing.F) {
	f.Add([]byte("groupId=g\nartifactId=a\nversion=1\n"), "META-INF/maven/g/a/pom.properties")
	f.Add([]byte("Bundle-SymbolicName: a.b;x\n c\n\nName: x\n"), "lib/a_b-1.0-jre.jar")
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		if p, ok := parsePomProperties(b, name); ok && (p.group == "" || p.artifact == "" || p.version == "") {
			t.Errorf("%q gives %+v", b, p)
		}
		for _, p := range jarPackages(name, "", nil, parseJavaManifest(b)) {
			if g, a, ok := strings.Cut(p.Name, ":"); !ok || g == "" || a == "" || p.Version == "" {
				t.Errorf("%q gives %+v", name, p)
			}
		}
	})
}

func BenchmarkJavaArchive(b *testing.B) {
	var entries []string
	for k := range 1000 {
		entries = append(entries, fmt.Sprintf("com/example/deep/inside/Class%d.class", k), "x")
	}
	f := NewFile("lib/a-1.jar", []byte(zipOf(b, append(entries, pom("g", "a", "1")...)...)))
	for b.Loop() {
		if res, err := (javaArchive{}).Analyze(b.Context(), f); err != nil || len(res.Packages) != 1 {
			b.Fatal(res, err)
		}
	}
}
