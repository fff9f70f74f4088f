package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/inventory"
	"strata/internal/report"
)

// shared is a folder of ../shared, which holds real images and feeds.
func shared(t *testing.T, name string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("../../../shared", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		missing(t, "no real "+name+" at "+dir)
	}
	return dir
}

// missing skips the test, or fails it where nothing may be skipped.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("STRATA_TEST_REQUIRE") == "all" {
		t.Fatalf("%s, and STRATA_TEST_REQUIRE=all", what)
	}
	t.Skip(what)
}

// program finds a program that the test needs.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name+" is not installed")
	}
	return path
}

// buildStrata builds the command as it ships.
func buildStrata(t *testing.T, flags ...string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "strata")
	cmd := exec.CommandContext(t.Context(), "go", slices.Concat([]string{"build"}, flags, []string{"-o", bin, "."})...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// A run is one run of the command.
type strataRun struct {
	code   int
	stderr string
	report report.Report
	rssMB  int64
	took   time.Duration
}

// scanJSON runs strata scan in a world of its own, and reads its JSON.
func scanJSON(t *testing.T, bin, cache string, args ...string) strataRun {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, append([]string{"scan", "-f", "json"}, args...)...)
	cmd.Env = append(os.Environ(), "STRATA_CACHE_DIR="+cache, "TMPDIR="+t.TempDir())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	err := cmd.Run()
	run := strataRun{took: time.Since(start), stderr: stderr.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		run.code = exit.ExitCode()
	case err != nil:
		t.Fatal(err)
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		run.rssMB = usage.Maxrss >> 10
	}
	if stdout.Len() > 0 {
		if err := json.Unmarshal(stdout.Bytes(), &run.report); err != nil {
			t.Fatalf("strata scan %s: not JSON: %v\n%.500s", args, err, stdout.String())
		}
	}
	return run
}

func (r *strataRun) packages() []string {
	var out []string
	for _, p := range r.report.Packages {
		out = append(out, p.Name+"@"+p.Version)
	}
	return out
}

// What a sound scanner does with the hostile images, beyond finding the sound
// layer's package: expect.json in words.
var (
	hostileRefused = map[string]string{"config-garbage": "configuration", "config-mismatch": "0 diff_ids", "manifest-garbage": "manifest"}
	hostileDamaged = map[string]string{
		"huge-size": "unexpected EOF", "negative-size": "tar", "truncated-gzip": "unexpected EOF", "not-a-tar": "tar",
		"wrong-diff-id": "diff_id", "wrong-digest": "digest", "wrong-size": "descriptor", "missing-blob": "not in the archive",
	}
	hostileFinds = map[string][]string{
		"jar-200k": {"org.example:late@1.2.3"}, "dpkg-long-line": {"before@1.0-1", "after@3.0-1"}, "deep-dirs": {"deep@1.0.0"},
	}
)

// TestRealHostile: bombs, lies and damage cost bounded time and memory, are
// named, and hide nothing of the sound layer. It is measured on the real binary.
func TestRealHostile(t *testing.T) {
	if testing.Short() {
		t.Skip("bombs of 10 GiB take a minute")
	}
	dir := filepath.Join(shared(t, "images"), "hostile")
	bin, cache := buildStrata(t), t.TempDir()
	big := t.TempDir()
	bombs := exec.CommandContext(t.Context(), program(t, "python3"), filepath.Join(shared(t, "images"), "hostile.py"), big, "gzip-bomb", "million-entries")
	if out, err := bombs.CombinedOutput(); err != nil {
		t.Fatalf("hostile.py: %v\n%s", err, out)
	}
	var expect map[string]struct {
		MaxRSS     int64 `json:"max_rss_mb"`
		MaxSeconds int   `json:"max_seconds"`
	}
	b, err := os.ReadFile(filepath.Join(dir, "expect.json"))
	if err == nil {
		err = json.Unmarshal(b, &expect)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, limits := range expect {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name+".oci.tar")
			if _, err := os.Stat(path); err != nil {
				path = filepath.Join(big, name+".oci.tar")
			}
			run := scanJSON(t, bin, cache, "--offline", "--no-cache", path)
			t.Logf("%s: exit %d, %d MB, %s", name, run.code, run.rssMB, run.took.Round(10*time.Millisecond))
			if run.rssMB > limits.MaxRSS || run.took > time.Duration(limits.MaxSeconds)*time.Second {
				t.Errorf("took %d MB and %s; at most %d MB and %d s", run.rssMB, run.took, limits.MaxRSS, limits.MaxSeconds)
			}
			if strings.Contains(run.stderr, "panic") || strings.Contains(run.stderr, "goroutine ") {
				t.Errorf("panicked: %s", run.stderr)
			}
			if want, ok := hostileRefused[name]; ok {
				if run.code != exitError || !strings.Contains(run.stderr, want) {
					t.Errorf("exit %d, %q; want %d and an error with %q", run.code, run.stderr, exitError, want)
				}
				return
			}
			for _, want := range append([]string{"good@1.0.0"}, hostileFinds[name]...) {
				if n := countOf(run.packages(), want); n != 1 {
					t.Errorf("found %s %d times; want once. All: %.200q", want, n, run.packages())
				}
			}
			var damage []string
			for _, p := range run.report.Problems {
				if p.Layer >= 0 && p.Incomplete {
					damage = append(damage, p.Message)
				}
			}
			if want := hostileDamaged[name]; (want != "") != (len(damage) == 1) || want != "" && !strings.Contains(damage[0], want) {
				t.Errorf("damaged layers %q; want one with %q if that is not empty", damage, want)
			}
			if hostileDamaged[name] != "" && (run.code != exitIncomplete || slices.Contains(run.packages(), "other@1.0.0")) {
				t.Errorf("exit %d with packages %q; want %d, and nothing of the damaged layer", run.code, run.packages(), exitIncomplete)
			}
		})
	}
	if pwned, _ := filepath.Glob("/tmp/pwned*"); len(pwned) > 0 {
		t.Errorf("written outside: %q", pwned)
	}
}

func countOf(list []string, s string) (n int) {
	for _, x := range list {
		if x == s {
			n++
		}
	}
	return n
}

// TestRealSameEverywhere: one image, from wherever it is read, gives the same
// packages and findings, against the real feeds.
func TestRealSameEverywhere(t *testing.T) {
	images, feeds := shared(t, "images"), shared(t, "feeds")
	skopeo, docker := program(t, "skopeo"), program(t, "docker")
	bin, cache, dir := buildStrata(t), t.TempDir(), t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
	}
	layout := "oci:" + filepath.Join(images, "oci") + ":node-app"
	name := fmt.Sprintf("strata.test/node-app:%d", os.Getpid())
	run(skopeo, "copy", "--insecure-policy", layout, "docker-archive:"+dir+"/docker.tar:"+name)
	run(skopeo, "copy", "--insecure-policy", layout, "oci-archive:"+dir+"/oci.tar:"+"v1")
	registry := startRegistry(t, dir)
	run(skopeo, "copy", "--insecure-policy", "--dest-tls-verify=false", layout, "docker://"+registry+"/team/node-app:1")
	run(docker, "load", "-i", dir+"/docker.tar")
	t.Cleanup(func() { _ = exec.Command(docker, "rmi", name).Run() })
	run("docker", "save", "-o", dir+"/saved.tar", name)

	mirror := filepath.Join(feeds, "osv")
	want := summarise(scanJSON(t, bin, cache, "--mirror", mirror, "--no-cache", layout))
	if len(want) < 500 {
		t.Fatalf("%d packages and findings of node-app; want 500 and more", len(want))
	}
	for _, ref := range []string{
		"docker-archive:" + dir + "/docker.tar", "oci-archive:" + dir + "/oci.tar", dir + "/saved.tar",
		"registry:" + registry + "/team/node-app:1", registry + "/team/node-app:1", "docker:" + name, name,
	} {
		t.Run(strings.ReplaceAll(ref, "/", "_"), func(t *testing.T) {
			got := scanJSON(t, bin, cache, "--mirror", mirror, "--no-cache", ref)
			if diff := cmp.Diff(want, summarise(got)); diff != "" {
				t.Errorf("differs from the layout's (-layout +%s):\n%s\n%s", ref, diff, got.stderr)
			}
		})
	}
}

// summarise is what must be the same wherever an image comes from.
func summarise(run strataRun) []string {
	var out []string
	for _, l := range run.report.Layers {
		out = append(out, "layer "+l.DiffID+" "+l.CreatedBy)
	}
	for _, p := range run.report.Packages {
		out = append(out, fmt.Sprintf("package %s %s %s layer %d %s %v", p.ID, p.PURL, p.State, p.Layer, p.Owner, p.Locations))
	}
	for _, f := range run.report.Findings {
		out = append(out, fmt.Sprintf("finding %s %s %s %s suppressed %t", f.ID, f.PackageID, f.Severity, f.FixedVersion, f.Suppressed != nil))
	}
	return out
}

// startRegistry starts Debian's docker-registry on the loopback.
func startRegistry(t *testing.T, dir string) string {
	t.Helper()
	bin := program(t, "docker-registry")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "registry.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: %s, secret: test}\n", dir, addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, "serve", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 100 {
		res, err := http.Get("http://" + addr + "/v2/")
		if err == nil {
			return addr + closed(res)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("docker-registry does not answer")
	return ""
}

func closed(res *http.Response) string {
	_ = res.Body.Close()
	return ""
}

// changes are what the layers of a real build do to a real image: the ways in
// which packages come, go, move and hide.
const changes = `FROM %s
RUN rm -rf /app/node_modules/express && mkdir /app/node_modules/express && echo hi > /app/node_modules/express/x
RUN mv /app/node_modules/moment /app/node_modules/moment2
RUN mv /app/node_modules /app/nm && ln -s nm /app/node_modules
RUN rm /app/node_modules/ws/package.json && mkdir -p /app/node_modules/new && echo '{"name":"new","version":"1.0.0"}' > /app/node_modules/new/package.json
RUN dpkg --remove --force-depends node-jquery && dpkg --purge --force-depends node-ws
RUN mv /usr/share/nodejs/tar /opt/tar && ln -s /opt/tar /usr/share/nodejs/tar
RUN rm -rf /app/nm/axios && touch /app/nm/axios
RUN cp -al /app/nm /app/nm3
RUN chmod 600 /app/nm/qs/package.json && touch /app/nm/debug/package.json
`

// TestRealBuild: what Strata calls present is what a container of a real build
// has, by its own package manager and file system.
func TestRealBuild(t *testing.T) {
	images := shared(t, "images")
	skopeo, docker := program(t, "skopeo"), program(t, "docker")
	bin, dir := buildStrata(t), t.TempDir()
	output := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	base, built := fmt.Sprintf("strata.test/base:%d", os.Getpid()), fmt.Sprintf("strata.test/built:%d", os.Getpid())
	output(skopeo, "copy", "--insecure-policy", "oci:"+filepath.Join(images, "oci")+":node-app", "docker-archive:"+dir+"/base.tar:"+base)
	output(docker, "load", "-i", dir+"/base.tar")
	t.Cleanup(func() { _ = exec.Command(docker, "rmi", "-f", built, base).Run() })
	context := filepath.Join(dir, "context")
	if err := os.Mkdir(context, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(context, "Dockerfile"), fmt.Appendf(nil, changes, base), 0o600); err != nil {
		t.Fatal(err)
	}
	output(docker, "build", "-q", "-t", built, context)

	got := map[string][]string{}
	var owners []string
	run := scanJSON(t, bin, t.TempDir(), "--offline", "docker:"+built)
	for _, p := range run.report.Packages {
		if p.State != "present" {
			continue
		}
		if p.Type == "generic" { // a program by its content: each is of a package
			owners = append(owners, p.Owner)
			continue
		}
		for _, l := range p.Locations {
			what := l.Path
			if p.Type == "deb" {
				what = p.Name + " " + p.Version
			}
			got[p.Type] = append(got[p.Type], what)
		}
	}
	// Only files with a version are packages.
	files := output(docker, "run", "--rm", built, "sh", "-c", "find /app /opt /usr -name package.json | xargs grep -l '\"version\"' | sed s,^/,,")
	debs := output(docker, "run", "--rm", built, "dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\n")
	want, installed := map[string][]string{}, map[string]bool{}
	for _, f := range strings.Fields(files) {
		if f != "app/package.json" { // which is private
			want["npm"] = append(want["npm"], f)
		}
	}
	for line := range strings.Lines(debs) {
		if deb, ok := strings.CutPrefix(strings.TrimSpace(line), "installed "); ok {
			want["deb"] = append(want["deb"], deb)
			name, _, _ := strings.Cut(deb, " ")
			installed[name] = true
		}
	}
	if len(owners) == 0 {
		t.Error("no program was found by its content")
	}
	for _, o := range owners {
		if !installed[o] {
			t.Errorf("a program is said to be of the package %q, which is not installed", o)
		}
	}
	for _, sets := range []map[string][]string{got, want} {
		for typ := range sets {
			slices.Sort(sets[typ])
			sets[typ] = slices.Compact(sets[typ])
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("present packages differ (-container +strata):\n%s", diff)
	}
}

// TestRealSBOM: a bill of materials of a real image, in each format, has the
// findings of the image when it is scanned.
func TestRealSBOM(t *testing.T) {
	images, mirror := shared(t, "images"), filepath.Join(shared(t, "feeds"), "osv")
	bin, cache, dir := buildStrata(t), t.TempDir(), t.TempDir()
	for _, name := range []string{"debian12-slim", "node-app", "go-app", "rpm-fedora35", "rpm-mariner2", "rpm-centos7", "rpm-ubi8", "rpm-sle15"} {
		ref := "oci:" + filepath.Join(images, "oci") + ":" + name
		want := scanJSON(t, bin, cache, "--mirror", mirror, ref)
		if len(want.report.Packages) == 0 {
			t.Fatalf("%s: no packages", name)
		}
		for _, format := range []string{"cyclonedx", "cyclonedx-xml", "spdx", "spdx-tag-value"} {
			t.Run(name+"/"+format, func(t *testing.T) {
				path := filepath.Join(dir, name+"."+format)
				cmd := exec.CommandContext(t.Context(), bin, "sbom", "-q", "-f", format, "-o", path, ref)
				cmd.Env = append(os.Environ(), "STRATA_CACHE_DIR="+cache)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("strata sbom: %v\n%s", err, out)
				}
				got := scanJSON(t, bin, cache, "--mirror", mirror, "sbom:"+path)
				if diff := cmp.Diff(present(&want.report), present(&got.report)); diff != "" {
					t.Errorf("differs from the image's (-image +document):\n%s", diff)
				}
			})
		}
	}
}

// present are the packages and findings of the final file system; programs that a
// package of the distribution owns are that package.
func present(r *report.Report) []string {
	var out []string
	for _, p := range r.Packages {
		if p.State == inventory.Present && (p.Type != "generic" || p.Owner == "") {
			out = append(out, fmt.Sprintf("%s %s %s, layer %d, %s %s, owner %s", p.PURL, p.Name, p.Version, p.Layer, p.Ecosystem, p.SourceName, p.Owner))
		}
	}
	for _, f := range r.Findings {
		if f.State == inventory.Present {
			out = append(out, fmt.Sprintf("%s in %s %s, layer %d: %s, fixed in %q, suppressed %t", f.ID, f.PackageName, f.PackageVersion, f.Layer, f.Severity, f.FixedVersion, f.Suppressed != nil))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
