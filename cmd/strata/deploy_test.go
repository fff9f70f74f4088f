package main

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"strata/internal/imagetest"
	"strata/internal/server"
)

// deploy is what ships to run Strata.
const deploy = "../../deploy"

// serveFlags are the settings that `strata serve` has.
func serveFlags(t *testing.T) map[string]*pflag.Flag {
	t.Helper()
	flags := map[string]*pflag.Flag{}
	cmd, _, err := newRootCommand(newApp()).Find([]string{"serve"})
	if err != nil {
		t.Fatal(err)
	}
	note := func(f *pflag.Flag) { flags[f.Name] = f }
	cmd.Flags().VisitAll(note)
	cmd.InheritedFlags().VisitAll(note)
	return flags
}

// checkEnvironment wants each variable of strata serve to be one of its settings.
func checkEnvironment(t *testing.T, place string, names []string) {
	t.Helper()
	flags := serveFlags(t)
	known := []string{"STRATA_KEY"}
	for name := range flags {
		known = append(known, envName(name))
	}
	found := 0
	for _, name := range names {
		if strings.HasPrefix(name, "STRATA_") {
			found++
			if !slices.Contains(known, name) {
				t.Errorf("%s: %s is no setting of strata serve", place, name)
			}
		}
	}
	if found == 0 {
		t.Errorf("%s sets nothing: this test looks in the wrong place", place)
	}
}

func readDeployed[T any](t *testing.T, name string) (out T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(deploy, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, &out); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out
}

// A composeFile is what the tests ask of compose.yaml.
type composeFile struct {
	Services map[string]struct {
		Command     []string
		Environment map[string]string
		Volumes     []string
		Secrets     []string
		ReadOnly    bool     `yaml:"read_only"`
		CapDrop     []string `yaml:"cap_drop"`
	}
	Secrets map[string]struct{ File string }
}

// What ships gives strata serve only settings that it has.
func TestDeployedSettings(t *testing.T) {
	compose := readDeployed[composeFile](t, "compose/compose.yaml")
	for _, name := range []string{"strata-1", "strata-2", "strata-3"} {
		s := compose.Services[name]
		var names []string
		for variable := range s.Environment {
			names = append(names, variable)
		}
		checkEnvironment(t, "compose.yaml: "+name, names)
		if diff := cmp.Diff([]string{"serve"}, s.Command); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	variable := regexp.MustCompile(`STRATA_[A-Z_]+`)
	for _, file := range []string{"docker/Dockerfile", "systemd/strata.service"} {
		b, err := os.ReadFile(filepath.Join(deploy, file))
		if err != nil {
			t.Fatal(err)
		}
		checkEnvironment(t, file, variable.FindAllString(string(b), -1))
	}
	goldens, err := filepath.Glob(deploy + "/helm/testdata/*.golden.yaml")
	if err != nil || len(goldens) == 0 {
		t.Fatalf("no golden files of the chart: %v", err)
	}
	for _, file := range goldens {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		checkEnvironment(t, file, variable.FindAllString(string(b), -1))
		checkSettings(t, file, b)
	}
}

// checkSettings reads strata.yaml of the chart's ConfigMap as strata serve would.
func checkSettings(t *testing.T, file string, rendered []byte) {
	t.Helper()
	flags := serveFlags(t)
	for document := range strings.SplitSeq(string(rendered), "---\n") {
		if !strings.Contains(document, "kind: ConfigMap") {
			continue
		}
		var c struct {
			Data map[string]string
		}
		if err := yaml.Unmarshal([]byte(document), &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		var settings map[string]yaml.Node
		if err := yaml.Unmarshal([]byte(c.Data["strata.yaml"]), &settings); err != nil || len(settings) == 0 {
			t.Fatalf("%s: settings %q: %v", file, c.Data, err)
		}
		for key, value := range settings {
			if slices.Contains(server.DeclaredKinds(), key) {
				continue
			}
			if flags[key] == nil {
				t.Errorf("%s: %s is no setting of strata serve", file, key)
			} else if err := setFrom(flags[key], &value); err != nil {
				t.Errorf("%s: %s: %v", file, key, err)
			}
		}
		return
	}
	t.Errorf("%s has no settings", file)
}

// Documents about running a server name no command and no flag that there isn't.
func TestDeployDocuments(t *testing.T) {
	commands := 0
	files := []string{"../../docs/operations.md", "../../docs/serve.md"}
	err := filepath.WalkDir(deploy, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".md" || filepath.Base(path) == "strata.service" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// In code: a line that is set in, or between backquotes; in a container it is /strata.
	call := regexp.MustCompile("(?:^    |`|/)strata ([a-z][a-z-]*(?: [a-z][a-z-]*)*)([^`|;&#]*)")
	flag := regexp.MustCompile(`(?:^|\s)--([a-z][a-z-]*[a-z])\b`)
	root := newRootCommand(newApp())
	alone := regexp.MustCompile("`--([a-z][a-z-]*[a-z])[` =]")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		number := 0
		for line := range strings.Lines(string(b)) {
			number++
			for _, m := range call.FindAllStringSubmatch(line, -1) {
				cmd, _, err := root.Find(strings.Fields(m[1]))
				if err != nil || cmd == root {
					t.Errorf("%s:%d: there is no command strata %s", file, number, m[1])
					continue
				}
				for _, f := range flag.FindAllStringSubmatch(m[2], -1) {
					if f[1] != "help" && cmd.Flag(f[1]) == nil && cmd.InheritedFlags().Lookup(f[1]) == nil {
						t.Errorf("%s:%d: %s has no flag --%s", file, number, cmd.CommandPath(), f[1])
					}
				}
				commands++
			}
			for _, m := range alone.FindAllStringSubmatch(line, -1) {
				if !anyFlag(root, m[1]) {
					t.Errorf("%s:%d: there is no flag --%s", file, number, m[1])
				}
			}
		}
	}
	if commands < 10 {
		t.Errorf("%d commands in %v: this test doesn't see them", commands, files)
	}
}

func anyFlag(c *cobra.Command, name string) bool {
	if c.Flag(name) != nil {
		return true
	}
	return slices.ContainsFunc(c.Commands(), func(sub *cobra.Command) bool { return anyFlag(sub, name) })
}

// systemd takes every line of the unit, and finds it well closed.
func TestSystemdUnit(t *testing.T) {
	analyze := program(t, "systemd-analyze")
	text, err := os.ReadFile(deploy + "/systemd/strata.service")
	if err != nil {
		t.Fatal(err)
	}
	// It wants the program to be there.
	unit := filepath.Join(t.TempDir(), "strata.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/strata", strataBinary(t))), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", unit).CombinedOutput()
	if err != nil || strings.Contains(string(out), "strata.service") {
		t.Errorf("verify: %v\n%s", err, out)
	}
	const mostExposed = "15" // of 100
	out, err = exec.Command(analyze, "security", "--offline=true", "--threshold="+mostExposed, "--no-pager", unit).CombinedOutput()
	if err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
}

// TestComposeFile: Compose takes the file, and all that it mounts is there, or is made by
// secrets.sh.
func TestComposeFile(t *testing.T) {
	compose := program(t, "docker-compose")
	if out, err := exec.Command(compose, "-f", deploy+"/compose/compose.yaml", "config", "-q").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	file := readDeployed[composeFile](t, "compose/compose.yaml")
	made := makeSecrets(t)
	for name, s := range file.Secrets {
		if _, err := os.Stat(filepath.Join(made, s.File)); err != nil {
			t.Errorf("secret %s: %v", name, err)
		}
	}
	for name, s := range file.Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) {
			t.Errorf("%s may write to its root file system, or has capabilities", name)
		}
		for _, secret := range s.Secrets {
			if _, ok := file.Secrets[secret]; !ok {
				t.Errorf("%s: there is no secret %s", name, secret)
			}
		}
		for _, v := range s.Volumes {
			if from, _, _ := strings.Cut(v, ":"); strings.HasPrefix(from, "./") {
				if _, err := os.Stat(filepath.Join(deploy, "compose", from)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

// makeSecrets runs a copy of secrets.sh, and gives the folder that it is in.
func makeSecrets(t *testing.T) string {
	t.Helper()
	program(t, "openssl")
	dir := t.TempDir()
	script, err := os.ReadFile(deploy + "/compose/secrets.sh")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "secrets.sh")
	if err := os.WriteFile(path, script, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", path, "localhost").CombinedOutput(); err != nil {
		t.Fatalf("secrets.sh: %v\n%s", err, out)
	}
	return dir
}

// dockerEngine is the program of an engine that answers.
func dockerEngine(t *testing.T) string {
	t.Helper()
	docker := program(t, "docker")
	if err := exec.Command(docker, "version").Run(); err != nil {
		missing(t, "no Docker engine answers")
	}
	return docker
}

func runDocker(t *testing.T, docker string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), docker, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// buildImage makes an image of a binary, as `make image` does, until the test ends.
func buildImage(t *testing.T, docker, binary string) (name string) {
	t.Helper()
	dir, name := t.TempDir(), "strata-test-"+strings.ToLower(rand.Text())
	for _, d := range []string{"bin", "deploy/docker/empty"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/strata"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"bin/ca-certificates.crt": "", "deploy/docker/empty/.keep": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = exec.Command(docker, "rmi", "-f", name).Run() })
	runDocker(t, docker, "build", "-q", "-f", deploy+"/docker/Dockerfile", "--target", "prebuilt", "-t", name, dir)
	return name
}

// TestImage: the image runs as a server and scans, with a root file system that can't be
// written to, without capabilities, and not as root.
func TestImage(t *testing.T) {
	t.Parallel()
	docker := dockerEngine(t)
	run := func(args ...string) string { t.Helper(); return runDocker(t, docker, args...) }
	image := buildImage(t, docker, buildStrata(t))

	// A scan of an image with the advisories of a mirror.
	in := t.TempDir()
	if err := imagetest.WriteFile(filepath.Join(in, "app.tar"), imagetest.OCIArchive, worldImage(t, "")); err != nil {
		t.Fatal(err)
	}
	if err := writeMirror(filepath.Join(in, "mirror"), "testdata/world/osv"); err != nil {
		t.Fatal(err)
	}
	closed := []string{"--rm", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none"}
	scan := run(slices.Concat([]string{"run", "-v", in + ":/in:ro"}, closed, []string{image, "scan", "--mirror", "/in/mirror", "/in/app.tar"})...)
	if !strings.Contains(scan, "CVE-2024-0001") {
		t.Errorf("the scan found nothing:\n%s", scan)
	}

	// A server, which is asked as Docker asks it.
	id := run(slices.Concat([]string{"run", "-d"}, closed, []string{image})...)
	t.Cleanup(func() { _ = exec.Command(docker, "rm", "-f", "-v", id).Run() })
	check := run("inspect", "-f", "{{json .Config.Healthcheck.Test}} {{.Config.User}}", id)
	if want := `["CMD","/strata","health"] 65532:65532`; check != want {
		t.Errorf("health check and user %s; want %s", check, want)
	}
	waitFor(t, func() error {
		out, err := exec.Command(docker, "exec", id, "/strata", "health", "--ready").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	run("stop", id)
}
