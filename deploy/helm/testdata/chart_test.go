// Package chart_test holds the Helm chart beside it to what Helm and Kubernetes want of
// it. It is a module of its own, so that Helm and the types of Kubernetes are in no one
// else's go.mod (docs/decisions/0002-tools-module.md); `make chart` runs it.
package chart_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	yaml "go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	psa "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

const (
	dir      = "../strata"
	testdata = "."
)

var update = flag.Bool("update", false, "write golden files and README.md anew")

// oldest is the version of Kubernetes that the chart asks for.
func oldest() *chartutil.KubeVersion {
	return &chartutil.KubeVersion{Version: "v1.30.0", Major: "1", Minor: "30"}
}

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// render renders the chart as `helm install` does, NOTES.txt included.
func render(t *testing.T, values map[string]any) (map[string]string, error) {
	t.Helper()
	c := load(t)
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *oldest()
	all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "prod", Namespace: "security", Revision: 1, IsInstall: true}, capabilities)
	if err != nil {
		return nil, err
	}
	return engine.Engine{Strict: true}.Render(c, all)
}

// sets are the sets of values in testdata, by name.
func sets(t *testing.T) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob(testdata + "/*.values.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no values in %s: %v", testdata, err)
	}
	out := map[string]map[string]any{}
	for _, f := range files {
		values, err := chartutil.ReadValuesFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(f), ".values.yaml")] = values
	}
	return out
}

func TestLint(t *testing.T) {
	for name, values := range sets(t) {
		for _, m := range lint.AllWithKubeVersion(dir, values, "security", oldest()).Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %s", name, m)
			}
		}
	}
}

// TestTemplates: what is rendered is as it was, Kubernetes knows every field of it, and
// the pods may run where its standard "restricted" holds.
func TestTemplates(t *testing.T) {
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	security, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range sets(t) {
		t.Run(name, func(t *testing.T) {
			files, err := render(t, values)
			if err != nil {
				t.Fatal(err)
			}
			var all strings.Builder
			for _, file := range slices.Sorted(maps.Keys(files)) {
				text := strings.TrimSpace(files[file])
				if text == "" || path.Base(file) == "_helpers.tpl" {
					continue
				}
				fmt.Fprintf(&all, "---\n# Source: %s\n%s\n", file, text)
				if path.Ext(file) != ".yaml" || path.Base(file) == "servicemonitor.yaml" { // no type of Kubernetes itself
					continue
				}
				object, _, err := strict.Decode([]byte(text), nil, nil)
				if err != nil {
					t.Errorf("%s: %v", file, err)
					continue
				}
				if d, ok := object.(*appsv1.Deployment); ok {
					pod := d.Spec.Template
					for _, r := range security.EvaluatePod(psa.LevelVersion{Level: psa.LevelRestricted, Version: psa.LatestVersion()}, &pod.ObjectMeta, &pod.Spec) {
						if !r.Allowed {
							t.Errorf("%s: not restricted: %s: %s", file, r.ForbiddenReason, r.ForbiddenDetail)
						}
					}
				}
			}
			golden(t, filepath.Join(testdata, name+".golden.yaml"), all.String())
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; `make chart-update` writes it anew):\n%s", file, diff)
	}
}

func TestValuesThatAreRefused(t *testing.T) {
	for _, test := range []struct{ values, want string }{
		{`{}`, "secrets.existingSecret, or secrets.databaseUrl and secrets.key, must be set"},
		{`secrets: {databaseUrl: "postgres://db/strata"}`, "secrets.existingSecret, or secrets.databaseUrl and secrets.key, must be set"},
		{`secrets: {databaseUrl: strata.db}`, "databaseUrl"},
		{`secrets: {existingSecret: s}
replicaCount: 4`, "replicaCount"},
		{`secrets: {existingSecret: s}
settings: {database: "postgres://db/strata"}`, "settings"},
		{`secrets: {existingSecret: s}
antiAffinity: always`, "antiAffinity"},
		{`secrets: {existingSecret: s}
ingress: {enabled: true}`, "ingress.host must be set"},
		{`secrets: {existingSecret: s}
trustedProxies: [10.0.0.1]`, "trustedProxies"},
	} {
		values, err := chartutil.ReadValues([]byte(test.values))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := render(t, values); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v; want one of %s", test.values, err, test.want)
		}
	}
}

// TestReadme: README.md has every value with its default and effect, as values.yaml
// tells them.
func TestReadme(t *testing.T) {
	const begin, end = "| value | default | effect |\n|---|---|---|\n", "\n## "
	file := filepath.Join(dir, "README.md")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	if !ok {
		t.Fatalf("%s has no table that begins with %q", file, begin)
	}
	_, after, _ := strings.Cut(rest, end)
	golden(t, file, before+begin+table(t)+end+after)
}

// table has a row for each value of values.yaml that has a comment "# --"; each leaf
// must have one.
func table(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	var visit func(prefix string, m *yaml.Node)
	visit = func(prefix string, m *yaml.Node) {
		for i := 0; i+1 < len(m.Content); i += 2 {
			key, value := m.Content[i], m.Content[i+1]
			name := prefix + key.Value
			effect, documented := strings.CutPrefix(key.HeadComment, "# -- ")
			switch {
			case documented:
				fmt.Fprintf(&rows, "| `%s` | `%s` | %s |\n", name, inline(t, value), strings.ReplaceAll(effect, "\n# ", " "))
			case value.Kind == yaml.MappingNode && len(value.Content) > 0:
				visit(name+".", value)
			default:
				t.Errorf("values.yaml:%d: %s has no comment `# -- what it does`", key.Line, name)
			}
		}
	}
	visit("", doc.Content[0])
	return rows.String()
}

// inline is a value on one line.
func inline(t *testing.T, n *yaml.Node) string {
	t.Helper()
	var flow func(n *yaml.Node)
	flow = func(n *yaml.Node) {
		n.HeadComment, n.LineComment, n.FootComment = "", "", ""
		n.Style |= yaml.FlowStyle
		for _, c := range n.Content {
			flow(c)
		}
	}
	flow(n)
	b, err := yaml.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	return cmp.Or(strings.TrimSpace(string(b)), `""`)
}
