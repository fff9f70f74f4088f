package analyzer

import (
	"path"
	"regexp"
	"runtime/debug"
	"strings"

	"strata/internal/inventory"
)

// A goProduct is a product that is a Go program: the main package that was built
// tells which, for certain. How it tells its version differs.
type goProduct struct {
	// product and bitnami as of a classifier.
	product, bitnami string
	// commands are the main packages by their import paths, without the major
	// version that a path may have in it.
	commands []string
	// module is one whose version is that of the product; empty for the main one.
	module string
	// signs are tried on the executable when the build information has no version.
	signs []sign
	// tested as of a classifier.
	tested string
}

// goProducts is the table of products that are Go programs. A release that was
// built by Go 1.24 or newer has its version in the build information; an older
// one mostly has it set by the linker (-X), which leaves a text that ends with
// NUL, as no other text of a Go program does.
func goProducts() []goProduct {
	return []goProduct{
		{"etcd", "etcd", []string{"go.etcd.io/etcd", "go.etcd.io/etcd/server", "github.com/etcd-io/etcd", "github.com/coreos/etcd"},
			"go.etcd.io/etcd/api/v3", nil, fromSource},
		{"consul", "consul", []string{"github.com/hashicorp/consul"}, "", []sign{
			{anchor: "CONSUL_VERSION: ", pattern: `CONSUL_VERSION: (\d+\.\d+\.\d+)`},
			{anchor: "GitDescribe=", pattern: `GitDescribe=v?(\d+\.\d+\.\d+)`},
			{}}, fromSource},
		{"vault", "vault", []string{"github.com/hashicorp/vault"}, "", []sign{
			{anchor: "revoke1.", pattern: `revoke(1\.\d+\.\d+)`},
			{anchor: "%016x1.1", pattern: `%016x(1\.1[134]\.\d{1,2})`},
			{}}, fromSource},
		{"openbao", "openbao", []string{"github.com/openbao/openbao"}, "", []sign{{}}, fromSource},
		{"nats", "nats", []string{"github.com/nats-io/nats-server"}, "", nil, realHand + "nats-server 2.10.18, built from the module"},
		{"traefik", "", []string{"github.com/traefik/traefik/cmd/traefik", "github.com/containous/traefik/cmd/traefik"}, "", []sign{{}}, fromSource},
		{"caddy", "", []string{"github.com/caddyserver/caddy/cmd/caddy", "caddy"}, "github.com/caddyserver/caddy/v2", []sign{{}}, realHand + "caddy"},
		{"grafana", "grafana", []string{"github.com/grafana/grafana/pkg/cmd/grafana", "github.com/grafana/grafana/pkg/cmd/grafana-server"}, "", []sign{{}}, fromSource},
		{"prometheus", "prometheus", []string{"github.com/prometheus/prometheus/cmd/prometheus"}, "", []sign{{}}, realHand + "prometheus"},
		{"alertmanager", "alertmanager", []string{"github.com/prometheus/alertmanager/cmd/alertmanager"}, "", []sign{{}}, realCI + "prometheus-alertmanager"},
		{"minio", "minio", []string{"github.com/minio/minio"}, "", []sign{
			{anchor: "\x00RELEASE.20", pattern: `\x00RELEASE\.(20\d\d-\d\d-\d\dT\d\d-\d\d-\d\dZ)\x00`},
			{anchor: "\x0020", pattern: `\x00(20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ)\x00`},
		}, fromSource},
		{"influxdb", "influxdb", []string{"github.com/influxdata/influxdb/cmd/influxd"}, "", []sign{{}}, realHand + "influxdb"},
		{"cockroachdb", "", []string{"github.com/cockroachdb/cockroach/pkg/cmd/cockroach"}, "", []sign{{}}, fromSource},
		{"helm", "helm", []string{"helm.sh/helm/cmd/helm"}, "", []sign{{}}, fromSource},
		{"gitea", "gitea", []string{"code.gitea.io/gitea"}, "", []sign{{}}, fromSource},
		{"argo-cd", "argo-cd", []string{"github.com/argoproj/argo-cd/cmd"}, "", []sign{{}}, fromSource},
		{"argo-workflows", "argo-workflows", []string{"github.com/argoproj/argo-workflows/cmd/workflow-controller", "github.com/argoproj/argo-workflows/cmd/argo"}, "", []sign{{}}, fromSource},
		{"cilium", "cilium", []string{"github.com/cilium/cilium/daemon"}, "", nil, fromSource},
		{"cosign", "cosign", []string{"github.com/sigstore/cosign/cmd/cosign"}, "", []sign{{}}, fromSource},
		{"git-lfs", "git-lfs", []string{"github.com/git-lfs/git-lfs"}, "", nil, fromSource},
		{"jaeger", "jaeger", []string{"github.com/jaegertracing/jaeger/cmd/all-in-one", "github.com/jaegertracing/jaeger/cmd/jaeger"}, "", []sign{{}}, fromSource},
		{"kyverno", "kyverno", []string{"github.com/kyverno/kyverno/cmd/kyverno"}, "", []sign{{}}, fromSource},
		{"oauth2-proxy", "oauth2-proxy", []string{"github.com/oauth2-proxy/oauth2-proxy"}, "", []sign{{}}, fromSource},
		{"rclone", "rclone", []string{"github.com/rclone/rclone"}, "", nil, fromSource},
		{"syncthing", "syncthing", []string{"github.com/syncthing/syncthing/cmd/syncthing"}, "", []sign{{}}, realHand + "syncthing"},
	}
}

// goProductsByCommand makes the table to be looked up by main package.
func goProductsByCommand() map[string]*goProduct {
	table := goProducts()
	out := map[string]*goProduct{}
	for i := range table {
		for _, c := range table[i].commands {
			out[c] = &table[i]
		}
	}
	return out
}

// goMajor is the element of an import path that is a major version.
var goMajor = regexp.MustCompile(`/v\d+(/|$)`)

// goCommand is the import path of the main package without a major version.
func goCommand(b *debug.BuildInfo) string {
	p := b.Path
	if p == "" || p == "command-line-arguments" {
		p = b.Main.Path
	}
	return strings.TrimSuffix(goMajor.ReplaceAllString(p, "/"), "/")
}

var (
	// goTag is the version of a release: no pseudo-version, nothing of a dirty tree.
	goTag = regexp.MustCompile(`^v(\d+\.\d+\.\d+(?:-(?:alpha|beta|rc|preview)[\w.]*)?)(?:\+incompatible)?$`)
	// goLinked is a version that the linker was told to set, as the build
	// information quotes it.
	goLinked = regexp.MustCompile(`-X[ =]'?[\w./-]*(?:[vV]ersion|VERSION|GitDescribe|\.tag)=v?(\d+\.\d+\.\d+(?:-(?:alpha|beta|rc|preview)[\w.]*)?)['" ]?`)
)

// goProductVersion is the version that the build information tells; empty when it
// has none.
func (g *goProduct) goProductVersion(b *debug.BuildInfo) string {
	for _, m := range b.Deps {
		// The version that is asked for, also where a directory replaces the module.
		if v := goTag.FindStringSubmatch(m.Version); m.Path == g.module && v != nil {
			return v[1]
		}
	}
	if v := goTag.FindStringSubmatch(b.Main.Version); v != nil {
		return v[1]
	}
	for _, s := range b.Settings {
		if v := goLinked.FindStringSubmatch(s.Value); s.Key == "-ldflags" && v != nil {
			return v[1]
		}
	}
	return ""
}

// packages are the product, and the main module with the version where the build
// information calls it (devel).
func (g *goProduct) packages(version string, packages []inventory.Package, main string) []inventory.Package {
	for i := range packages {
		p := &packages[i]
		if p.Name == main && p.Version == develVersion && !strings.Contains(version, "T") {
			p.Version = "v" + version
		}
	}
	c := classifier{product: g.product, bitnami: g.bitnami}
	if g.bitnami == "" && main != "" {
		c.others = []inventory.KnownAs{{Ecosystem: ecosystemGo, Name: main}}
	}
	p := c.genericPackage(version)
	if g.bitnami == "minio" { // released by day: 2023-09-30T07:02:29Z is 2023.09.30
		day, _, _ := strings.Cut(version, "T")
		p.KnownAs = []inventory.KnownAs{{Ecosystem: ecosystemBitnami, Name: g.bitnami, Version: strings.ReplaceAll(day, "-", ".")}}
	}
	return append(packages, p)
}

// goMainModule is the path of the main module; that of the main package's
// directory in a program that was built without modules.
func goMainModule(b *debug.BuildInfo) string {
	if b.Main.Path != "" {
		return b.Main.Path
	}
	p, _, _ := strings.Cut(b.Path, "/cmd/")
	return path.Clean(p)
}
