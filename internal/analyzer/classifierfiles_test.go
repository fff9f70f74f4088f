package analyzer

import (
	"archive/zip"
	"bytes"
	"fmt"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/inventory"
)

// describePackages is "type name version" and the names that advisories have.
func describePackages(packages []inventory.Package) []string {
	var out []string
	for _, p := range packages {
		s := p.Type + " " + p.Name + " " + p.Version
		if len(p.KnownAs) == 0 && p.Ecosystem != "" {
			s += " = " + p.Ecosystem
		}
		for _, k := range p.KnownAs {
			s += strings.TrimRight(" = "+k.Ecosystem+" "+k.Name+" "+k.Version, " ")
		}
		out = append(out, s)
	}
	return out
}

func TestClassifyText(t *testing.T) {
	texts := newClassifyText()
	for _, tt := range []struct {
		path, content string
		want          []string // nil for a file that is not wanted
	}{
		{"var/www/html/wp-includes/version.php", "<?php\n/**\n * @global string $wp_version\n */\n$wp_version = '6.1.9';\n", []string{"generic wordpress 6.1.9 = Bitnami"}},
		{"var/www/html/other/version.php", "$wp_version = '6.1.9';", nil},
		{"var/www/core/lib/Drupal.php", "class Drupal {\n  const VERSION = '10.1.5';", []string{"generic drupal 10.1.5 = Bitnami"}},
		{"var/www/nextcloud/version.php", "<?php\n$OC_Version = array(27,1,2,0);\n$OC_VersionString = '27.1.2';", []string{"generic nextcloud 27.1.2 = Bitnami"}},
		{"var/www/moodle/version.php", "<?php\ndefined('MOODLE_INTERNAL') || die();\n$release  = '4.1.2 (Build: 20230313)';", []string{"generic moodle 4.1.2 = Bitnami"}},
		{"usr/local/go/VERSION", "go1.22.5\ntime 2024-06-27T20:11:12Z\n", []string{"generic go 1.22.5 = Go toolchain"}},
		{"app/VERSION", "1.22.5\n", nil},
		{"usr/lib/erlang/releases/25/OTP_VERSION", "25.3.2.6\n", []string{"generic erlang 25.3.2.6"}},
		{"usr/lib/elixir/lib/elixir/ebin/elixir.app", "{application,elixir,\n[{description,\"elixir\"},\n{vsn,\"1.14.0\"},", []string{"generic elixir 1.14.0"}},
		{"opt/rabbitmq/plugins/rabbit-3.12.1/ebin/rabbit.app", "{application, 'rabbit', [\n\t{vsn, \"3.12.1\"},", []string{"generic rabbitmq 3.12.1 = Bitnami"}},
		{"usr/lib/R/library/base/DESCRIPTION", "Package: base\nVersion: 4.2.2\nPriority: base\n", []string{"generic r 4.2.2"}},
		{"usr/share/dotnet/shared/Microsoft.NETCore.App/8.0.1/Microsoft.NETCore.App.deps.json", "{}", []string{"generic dotnet 8.0.1 = Bitnami"}},
		{"usr/share/dotnet/shared/Microsoft.AspNetCore.App/9.0.0-rc.2.24474.3/Microsoft.AspNetCore.App.deps.json", "{}", []string{"generic aspnet-core 9.0.0-rc.2.24474.3 = Bitnami"}},
		{"app/Microsoft.NETCore.App.deps.json", "{}", []string{}},
		{"usr/share/dotnet/sdk/8.0.101/dotnet.runtimeconfig.json", "{}", []string{"generic dotnet-sdk 8.0.101 = Bitnami"}},
		{"usr/share/elasticsearch/lib/elasticsearch-8.9.0.jar", "PK", []string{"generic elasticsearch 8.9.0 = Bitnami elasticsearch = Maven org.elasticsearch:elasticsearch"}},
		{"usr/share/elasticsearch/lib/elasticsearch-core-8.9.0.jar", "PK", nil},
		{"usr/share/opensearch/lib/opensearch-2.9.0.jar", "PK", []string{"generic opensearch 2.9.0 = Maven org.opensearch:opensearch"}},
		{"opt/kafka/libs/kafka_2.13-3.5.1.jar", "PK", []string{"generic kafka 3.5.1 = Bitnami"}},
		{"opt/kafka/libs/zookeeper-3.6.4.jar", "PK", nil},
		{"apache-zookeeper-3.8.2-bin/lib/zookeeper-3.8.2.jar", "PK", []string{"generic zookeeper 3.8.2 = Bitnami"}},
		{"opt/cassandra/lib/apache-cassandra-4.1.3.jar", "PK", []string{"generic cassandra 4.1.3 = Bitnami cassandra = Maven org.apache.cassandra:cassandra-all"}},
		{"opt/x/elasticsearch-8.9.0-sources-of-it.jar", "PK", []string{}},
		{"opt/java/openjdk/release", "IMPLEMENTOR=\"Eclipse Adoptium\"\nJAVA_VERSION=\"17.0.8.1\"\nOS_NAME=\"Linux\"\n", []string{"generic temurin 17.0.8.1 = Bitnami java 17.0.8"}},
		{"usr/lib/jvm/java-8/release", "JAVA_VERSION=\"1.8.0_392\"\n", []string{"generic openjdk 1.8.0_392 = Bitnami java 8.0.392"}},
		{"usr/lib/jvm/x/release", "IMPLEMENTOR=\"Azul Systems, Inc.\"\nJAVA_VERSION=\"21\"\n", []string{"generic zulu 21 = Bitnami java 21"}},
		{"usr/lib/jvm/g/release", "GRAALVM_VERSION=\"23.0.1\"\nJAVA_VERSION=\"21.0.1\"\n", []string{"generic graalvm 21.0.1 = Bitnami java 21.0.1"}},
		{"usr/lib/jvm/y/release", "JAVA_VERSION=\"${VERSION}\"\n", []string{}},
		{"etc/release", "NAME=x", nil},
		{"opt/bitnami/.bitnami_components.json", `{"postgresql":{"arch":"amd64","type":"NAMI","version":"15.4.0-0"},"gosu":{"version":"1.16.0-11"}}`,
			[]string{"generic gosu 1.16.0 = Bitnami", "generic postgresql 15.4.0 = Bitnami"}},
		{"opt/bitnami/redis/.spdx-redis.spdx", `{"packages":[{"name":"redis","versionInfo":"7.2.1","externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:bitnami/redis@7.2.1-0"}]},{"name":"x","versionInfo":"1"}]}`,
			[]string{"generic redis 7.2.1 = Bitnami"}},
		{"opt/bitnami/redis/.spdx-redis.spdx", "SPDXVersion: SPDX-2.3", []string{}},
		{"srv/.bitnami_components.json", "{}", nil},
		{"opt/bitnami/java/release", "JAVA_VERSION=\"17.0.8\"\n", nil},
		{"opt/bitnami/kafka/libs/kafka_2.13-3.5.1.jar", "PK", nil},
		{"opt/tomcat/lib/catalina.jar", "no zip", []string{}},
	} {
		f := NewFile(tt.path, []byte(tt.content))
		if got := texts.Wants(&f.Candidate); got != (tt.want != nil) {
			t.Errorf("%s is wanted: %v", tt.path, got)
			continue
		}
		if texts.Wants(&Candidate{Path: tt.path, Size: 1}) {
			t.Errorf("%s is wanted for its name alone", tt.path)
		}
		if tt.want == nil {
			continue
		}
		res, err := texts.Analyze(t.Context(), f)
		if err != nil {
			t.Errorf("%s: %v", tt.path, err)
		}
		got := describePackages(res.Packages)
		if len(got) == 0 {
			got = []string{}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.path, diff)
		}
	}
}

func TestClassifyTomcat(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	m, err := w.Create("META-INF/MANIFEST.MF")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(m, "Manifest-Version: 1.0\r\nImplementation-Title: Apache Tomcat\r\nImplementation-Version: 10.1.13\r\n\r\n")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	res, err := newClassifyText().Analyze(t.Context(), NewFile("opt/tomcat/lib/catalina.jar", b.Bytes()))
	want := []string{"generic tomcat 10.1.13 = Bitnami tomcat = Maven org.apache.tomcat:tomcat"}
	if diff := cmp.Diff(want, describePackages(res.Packages)); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
}

// TestClassifierTablesAreSound: no product has two rows by the same file, and
// each row tells how it was tried, by which the test on real packages is meant
// where it says so.
func TestClassifierTablesAreSound(t *testing.T) {
	tested := map[string][]string{}
	seen := map[string]bool{}
	for _, c := range textClassifiers() {
		if c.product == "" || seen[c.product+" "+c.file] {
			t.Errorf("%q by %s: no product, or twice", c.product, c.file)
		}
		seen[c.product+" "+c.file] = true
		tested[c.product] = append(tested[c.product], c.tested)
		if c.pattern != "" && regexp.MustCompile(c.pattern).NumSubexp() != 1 {
			t.Errorf("%s: the pattern must capture the version and nothing else", c.product)
		}
	}
	for _, c := range classifiers() {
		tested[c.product] = append(tested[c.product], c.tested)
		for _, s := range c.signs {
			if regexp.MustCompile(s.pattern).NumSubexp() != 1 {
				t.Errorf("%s: the pattern %s must capture the version and nothing else", c.product, s.pattern)
			}
		}
	}
	for _, g := range goProducts() {
		tested[g.product] = append(tested[g.product], g.tested)
	}
	for product, how := range tested {
		for _, tested := range how {
			ci, isCI := strings.CutPrefix(tested, realCI)
			if !isCI {
				if tested != fromSource && !strings.HasPrefix(tested, realHand) {
					t.Errorf("%s: %q tells not how it was tried", product, tested)
				}
				continue
			}
			ci, _, _ = strings.Cut(ci, ";")
			for name := range strings.SplitSeq(ci, ", ") {
				ok := false
				for pattern, products := range debianPackages {
					ok = ok || regexp.MustCompile(`^(?:`+pattern+`)$`).MatchString(name) && slices.Contains(products, product)
				}
				if !ok {
					t.Errorf("%s: TestRealClassifiers has no package %s of it", product, name)
				}
			}
		}
	}
}

// build is the build information of a Go program.
func build(path, main, version string, settings ...string) *debug.BuildInfo {
	b := &debug.BuildInfo{GoVersion: "go1.22.5", Path: path, Main: debug.Module{Path: main, Version: version}}
	for i := 0; i+1 < len(settings); i += 2 {
		b.Settings = append(b.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
	}
	return b
}

func TestGoProducts(t *testing.T) {
	products := goProductsByCommand()
	etcd := build("go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3", "(devel)")
	etcd.Deps = []*debug.Module{{Path: "go.etcd.io/etcd/api/v3", Version: "v3.5.9", Replace: &debug.Module{Path: "../api", Version: "(devel)"}}}
	caddy := build("caddy", "caddy", "(devel)")
	caddy.Deps = []*debug.Module{{Path: "github.com/caddyserver/caddy/v2", Version: "v2.7.6"}}
	for _, tt := range []struct {
		name  string
		build *debug.BuildInfo
		// text is what the executable holds besides.
		text, want string
	}{
		{"the main module's version", build("github.com/nats-io/nats-server/v2", "github.com/nats-io/nats-server/v2", "v2.11.1"), "", "nats 2.11.1"},
		{"the version of a module that is replaced", etcd, "", "etcd 3.5.9"},
		{"the version of a module that was built in", caddy, "", "caddy 2.7.6"},
		{"what the linker was told", build("github.com/traefik/traefik/v2/cmd/traefik", "github.com/traefik/traefik/v2", "(devel)", "-ldflags",
			"-s -w -X github.com/traefik/traefik/v2/pkg/version.Version=2.10.4 -X x.BuildDate=1.2.3"), "", "traefik 2.10.4"},
		{"what the linker set", build("github.com/prometheus/prometheus/cmd/prometheus", "", ""), "go1.19.8\x00\x00\x002.42.0+ds\x00\x00debian", "prometheus 2.42.0"},
		{"no pseudo-version, no dirty one", build("github.com/hashicorp/vault", "github.com/hashicorp/vault", "v0.0.0-20240101000000-0123456789ab+dirty"), "\x00v1.15.4\x00", "vault 1.15.4"},
		{"the day of a release", build("github.com/minio/minio", "github.com/minio/minio", "(devel)"), "\x00RELEASE.2023-09-30T07-02-29Z\x00", "minio 2023-09-30T07-02-29Z"},
		{"nothing of the kind", build("github.com/grafana/grafana/pkg/cmd/grafana", "github.com/grafana/grafana", "(devel)"), "x1.2.3\x001.2.840.113549\x00a1.2.3\x00", "grafana "},
		{"another program of a product's module", build("go.etcd.io/etcd/etcdctl/v3", "go.etcd.io/etcd/etcdctl/v3", "v3.5.9"), "", ""},
		{"a fork", build("example.com/fork/consul", "example.com/fork/consul", "v1.0.0"), "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if p := products[goCommand(tt.build)]; p != nil {
				version := p.goProductVersion(tt.build)
				if version == "" {
					var err error
					if version, err = findVersion(t.Context(), NewFile("x", []byte(elfTop+tt.text)), p.signs, searchBuffers()); err != nil {
						t.Fatal(err)
					}
				}
				got = p.product + " " + version
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestGoProductPackages: the main module gets the version, and what is released
// by day has the day as advisories write it.
func TestGoProductPackages(t *testing.T) {
	products := goProductsByCommand()
	devel := func(path string) []inventory.Package {
		return []inventory.Package{{Type: "golang", Name: path, Version: develVersion, Ecosystem: ecosystemGo}}
	}
	for _, tt := range []struct {
		command, version string
		want             []string
	}{
		{"github.com/hashicorp/consul", "1.16.0", []string{"golang github.com/hashicorp/consul v1.16.0 = Go", "generic consul 1.16.0 = Bitnami"}},
		{"github.com/traefik/traefik/cmd/traefik", "2.10.4", []string{"golang github.com/traefik/traefik/cmd/traefik v2.10.4 = Go", "generic traefik 2.10.4 = Go github.com/traefik/traefik/cmd/traefik"}},
		{"github.com/minio/minio", "2023-09-30T07:02:29Z", []string{"golang github.com/minio/minio (devel) = Go", "generic minio 2023-09-30T07:02:29Z = Bitnami minio 2023.09.30"}},
	} {
		got := products[tt.command].packages(tt.version, devel(tt.command), tt.command)
		if diff := cmp.Diff(tt.want, describePackages(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.command, diff)
		}
	}
}

// FuzzClassifyText: no content of the files that are read as text panics or
// gives a package without name or version.
func FuzzClassifyText(f *testing.F) {
	texts := newClassifyText()
	paths := []string{"a/wp-includes/version.php", "x/release", "opt/bitnami/.bitnami_components.json", "opt/bitnami/x/.spdx-x.spdx", "lib/catalina.jar", "go/VERSION", "ebin/rabbit.app", "lib/kafka_2.13-3.5.1.jar"}
	for _, s := range []string{"JAVA_VERSION=\"1.8.0_392\"", `{"a":{"version":"1-2"}}`, `{"packages":[]}`, "PK\x05\x06", "go1.2", "$wp_version = '1'", `{vsn, "1.2.3"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, p := range paths {
			file := NewFile(p, content)
			if !texts.Wants(&file.Candidate) {
				continue
			}
			res, _ := texts.Analyze(t.Context(), file)
			for _, p := range res.Packages {
				if p.Type != "generic" {
					t.Errorf("%+v", p)
				}
			}
		}
	})
}
