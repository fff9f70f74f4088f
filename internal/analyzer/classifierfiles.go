package analyzer

import (
	"bytes"
	"context"
	"regexp"
	"strings"

	"strata/internal/inventory"
)

// A textClassifier knows one product by a file of text that ships with it.
type textClassifier struct {
	// product, bitnami, others and tested are those of a classifier.
	product string
	// file is the end of its path.
	file string
	// head is a text that the first bytes of the file have; empty for any.
	head string
	// pattern captures the version in the file's first 64 KiB; empty for the name
	// of the directory that the file is in.
	pattern string
	bitnami string
	others  []inventory.KnownAs
	tested  string
}

// textClassifiers is the table of products that are known by files of text.
func textClassifiers() []textClassifier {
	return []textClassifier{
		{"wordpress", "wp-includes/version.php", "", `\$wp_version = '([^']+)'`, "wordpress", nil, realHand + "wordpress"},
		{"drupal", "core/lib/Drupal.php", "", `const VERSION = '(\d+\.\d+\.\d+[^']*)'`, "drupal", nil, fromSource},
		{"nextcloud", "version.php", "OC_Version", `\$OC_VersionString = '(\d+\.\d+\.\d+[^']*)'`, "nextcloud", nil, fromSource},
		{"moodle", "version.php", "MOODLE", `\$release\s*= '(\d+\.\d+(?:\.\d+)?)`, "moodle", nil, fromSource},
		// The library of a toolchain is what its programs were built with, and they
		// tell so; what is left are flaws of the go command.
		{"go", "VERSION", "go1.", `^go(1\.\d+(?:\.\d+)?(?:(?:rc|beta)\d+)?)`, "", []inventory.KnownAs{{Ecosystem: ecosystemGo, Name: "toolchain"}}, realHand + "golang-1.19-go"},
		{"erlang", "OTP_VERSION", "", `^(\d+(?:\.\d+)+)`, "", nil, realCI + "erlang-base"},
		{"elixir", "elixir/ebin/elixir.app", "", `\{vsn, ?"(\d+\.\d+\.\d+[^"]*)"`, "", nil, realCI + "elixir"},
		{"rabbitmq", "ebin/rabbit.app", "", `\{vsn, ?"(\d+\.\d+\.\d+[^"]*)"`, "rabbitmq", nil, realHand + "rabbitmq-server"},
		{"r", "library/base/DESCRIPTION", "", `(?m)^Version: (\d+\.\d+\.\d+)`, "", nil, realHand + "r-base-core"},
		{"dotnet", "Microsoft.NETCore.App.deps.json", "", "", "dotnet", nil, fromSource},
		{"aspnet-core", "Microsoft.AspNetCore.App.deps.json", "", "", "aspnet-core", nil, fromSource},
		{"dotnet-sdk", "dotnet.runtimeconfig.json", "", "", "dotnet-sdk", nil, fromSource},

		// Servers in Java, by the name of the jar that holds them. Their Maven
		// packages are found besides (javaArchive).
		{"elasticsearch", "elasticsearch-#.jar", "", "", "elasticsearch", []inventory.KnownAs{{Ecosystem: ecosystemMaven, Name: "org.elasticsearch:elasticsearch"}}, fromSource},
		{"opensearch", "opensearch-#.jar", "", "", "", []inventory.KnownAs{{Ecosystem: ecosystemMaven, Name: "org.opensearch:opensearch"}}, fromSource},
		{"logstash", "logstash-core-#.jar", "", "", "logstash", nil, fromSource},
		{"cassandra", "apache-cassandra-#.jar", "", "", "cassandra", []inventory.KnownAs{{Ecosystem: ecosystemMaven, Name: "org.apache.cassandra:cassandra-all"}}, fromSource},
		{"kafka", "kafka_2.11-#.jar", "", "", "kafka", nil, fromSource},
		{"kafka", "kafka_2.12-#.jar", "", "", "kafka", nil, fromSource},
		{"kafka", "kafka_2.13-#.jar", "", "", "kafka", nil, fromSource},
		{"solr", "solr-core-#.jar", "", "", "solr", nil, fromSource},
		{"jenkins", "jenkins-core-#.jar", "", "", "jenkins", nil, fromSource},
		{"neo4j", "neo4j-kernel-#.jar", "", "", "neo4j", nil, fromSource},
		{"activemq", "activemq-broker-#.jar", "", "", "activemq", nil, fromSource},
		{"flink", "flink-dist-#.jar", "", "", "flink", nil, fromSource},
		{"spark", "spark-core_2.12-#.jar", "", "", "spark", nil, fromSource},
		{"spark", "spark-core_2.13-#.jar", "", "", "spark", nil, fromSource},
		{"nifi", "nifi-framework-api-#.jar", "", "", "nifi", nil, fromSource},
		// Many programs have ZooKeeper's jar as a client: the server is in a
		// directory of its own.
		{"zookeeper", "zookeeper-#.jar", "", "", "zookeeper", nil, fromSource},
	}
}

// classifyText finds the products of the table of text classifiers, Java by its
// release file and Tomcat by its manifest.
type classifyText struct {
	byBase map[string][]*textClassifier
	// jars by their names without the version, "elasticsearch-".
	jars map[string]*textClassifier
}

func newClassifyText() classifyText {
	t := classifyText{byBase: map[string][]*textClassifier{}, jars: map[string]*textClassifier{}}
	table := textClassifiers()
	for i := range table {
		c := &table[i]
		if stem, ok := strings.CutSuffix(c.file, "#.jar"); ok {
			t.jars[stem] = c
			continue
		}
		base := c.file[strings.LastIndexByte(c.file, '/')+1:]
		t.byBase[base] = append(t.byBase[base], c)
	}
	return t
}

func (classifyText) Name() string { return "release-file" }

// Wants refuses what has no first bytes: a link is not wanted for its name.
func (t classifyText) Wants(c *Candidate) bool {
	if len(c.Head) == 0 {
		return false
	}
	base := c.Base()
	if strings.HasPrefix(c.Path, bitnamiRoot) {
		return bitnamiComponents(c.Path, base)
	}
	return t.classifierOf(c, base) != nil || javaRelease(c, base) || tomcatJar(base)
}

// classifierOf is the row of the table for the file; nil for none.
func (t classifyText) classifierOf(c *Candidate, base string) *textClassifier {
	for _, row := range t.byBase[base] {
		if pathEndsWith(c.Path, row.file) && bytes.Contains(c.Head, []byte(row.head)) {
			return row
		}
	}
	stem, _, ok := jarVersion(base)
	if !ok {
		return nil
	}
	row := t.jars[stem]
	if row == nil || row.product == "zookeeper" && !strings.Contains(c.Path[:len(c.Path)-len(base)], "zookeeper") {
		return nil
	}
	return row
}

// pathEndsWith tells whether the last elements of a path are those of end.
func pathEndsWith(p, end string) bool {
	rest, ok := strings.CutSuffix(p, end)
	return ok && (rest == "" || rest[len(rest)-1] == '/')
}

// jarVersion cuts the name of a jar where its version begins.
func jarVersion(base string) (stem, version string, ok bool) {
	name, ok := strings.CutSuffix(base, ".jar")
	if !ok {
		return "", "", false
	}
	for i := 1; i+1 < len(name); i++ {
		if name[i] == '-' && '0' <= name[i+1] && name[i+1] <= '9' {
			return base[:i+1], name[i+1:], true
		}
	}
	return "", "", false
}

// jarRelease is the version in a jar's name, if it is one of a release.
var jarRelease = regexp.MustCompile(`^\d+(?:\.\d+)+(?:-(?:alpha|beta|rc|M)\d*)?$`)

// releaseDirectory is the name of a directory that is a version.
var releaseDirectory = regexp.MustCompile(`^\d+\.\d+\.\d+(?:-(?:preview|rc)[\w.]*)?$`)

// maxReleaseText is how much of a text is searched for a version, in bytes.
const maxReleaseText = 64 << 10

func (t classifyText) Analyze(_ context.Context, f *File) (Result, error) {
	base := f.Base()
	switch {
	case javaRelease(&f.Candidate, base):
		return javaReleasePackage(f)
	case bitnamiComponents(f.Path, base):
		return bitnamiPackages(f)
	case tomcatJar(base):
		return tomcatPackage(f)
	}
	row := t.classifierOf(&f.Candidate, base)
	if row == nil {
		return Result{}, nil
	}
	version, err := row.version(f, base)
	if err != nil || version == "" {
		return Result{}, err
	}
	c := classifier{product: row.product, bitnami: row.bitnami, others: row.others}
	return Result{Packages: []inventory.Package{c.genericPackage(version)}}, nil
}

func (row *textClassifier) version(f *File, base string) (string, error) {
	if row.pattern != "" {
		return versionInText(f, row.pattern)
	}
	if _, version, ok := jarVersion(base); ok {
		return jarRelease.FindString(version), nil
	}
	return releaseDirectory.FindString(parentBase(f.Path)), nil
}

// versionInText is what the pattern captures in the beginning of the file.
func versionInText(f *File, pattern string) (string, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return "", err
	}
	b, err := beginning(f)
	if err != nil {
		return "", err
	}
	m := re.FindSubmatch(b)
	if m == nil {
		return "", nil
	}
	return string(m[1]), nil
}

// beginning is the file's first maxReleaseText bytes.
func beginning(f *File) ([]byte, error) {
	if f.memory != nil {
		return f.memory[:min(len(f.memory), maxReleaseText)], nil
	}
	b := make([]byte, min(f.Size, maxReleaseText))
	n, err := f.ReaderAt().ReadAt(b, 0)
	if n == len(b) {
		err = nil
	}
	return b[:n], err
}

// tomcatJar: catalina.jar is the server, whichever way it was installed.
func tomcatJar(base string) bool { return base == "catalina.jar" }

// tomcatPackage reads the version in the manifest of Tomcat's own jar.
func tomcatPackage(f *File) (Result, error) {
	z, _, err := openZip(f.ReaderAt(), f.Size, maxZipDirectory)
	if err != nil {
		return Result{}, nil // javaArchive has told.
	}
	for _, e := range z.File {
		if e.Name != "META-INF/MANIFEST.MF" || e.UncompressedSize64 > maxJarText {
			continue
		}
		b, err := readZipEntry(e, maxJarText)
		if err != nil {
			return Result{}, nil
		}
		m := parseJavaManifest(b)
		if version := m["implementation-version"]; m["implementation-title"] == "Apache Tomcat" && mavenWord(version) {
			c := classifier{product: "tomcat", bitnami: "tomcat", others: []inventory.KnownAs{{Ecosystem: ecosystemMaven, Name: "org.apache.tomcat:tomcat"}}}
			return Result{Packages: []inventory.Package{c.genericPackage(version)}}, nil
		}
	}
	return Result{}, nil
}
