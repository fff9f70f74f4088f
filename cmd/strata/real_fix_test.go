package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"strata/internal/remedy"
	"strata/internal/report"
)

// TestRealBases: images that were built on a real base are recognised, after that
// was scanned.
func TestRealBases(t *testing.T) {
	images := shared(t, "images")
	bin, cache := buildStrata(t), t.TempDir()
	layout := "oci:" + filepath.Join(images, "oci") + ":"
	base := func(ref string) *report.Base {
		t.Helper()
		run := scanJSON(t, bin, cache, "--offline", ref)
		for _, l := range run.report.Layers {
			if b := run.report.Image.Base; l.Base != (b != nil && l.Index < b.Layers) {
				t.Errorf("%s: layer %d is marked %v, base %+v", ref, l.Index, l.Base, b)
			}
		}
		return run.report.Image.Base
	}
	if b := base(layout + "debian12-slim"); b != nil {
		t.Errorf("a distribution's own image has base %+v", b)
	}
	if b := base(layout + "node-app"); b == nil || b.Layers != 1 || b.By != report.BaseByLayers || !strings.HasSuffix(b.Reference, ":debian12-slim") {
		t.Errorf("node-app: base %+v, want debian12-slim by its layer", b)
	}
	if b := base(layout + "rpm-fedora35"); b == nil || b.Layers != 1 || b.By != report.BaseByHistory {
		t.Errorf("rpm-fedora35: base %+v, want one layer by history", b)
	}
	if b := base(layout + "go-app"); b != nil {
		t.Errorf("go-app, built from scratch, has base %+v", b)
	}

	fleet := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), program(t, "python3"), filepath.Join(images, "fleet.py"), images, fleet, "oci").CombinedOutput(); err != nil {
		t.Fatalf("fleet.py: %v\n%s", err, out)
	}
	for name, want := range map[string]string{"team-a/web:1.0": ":debian12-slim", "team-a/billing:2.0": ":debian12-slim", "team-b/web:1.0": ""} {
		b := base("oci:" + filepath.Join(fleet, "oci") + ":" + name)
		if (b == nil) != (want == "") || b != nil && (!strings.HasSuffix(b.Reference, want) || b.Layers != 1) {
			t.Errorf("%s: base %+v, want %q", name, b, want)
		}
	}
	// One image of the fleet that stands on another.
	base("oci:" + filepath.Join(fleet, "oci") + ":team-c/ledger:1.0")
	if b := base("oci:" + filepath.Join(fleet, "oci") + ":team-c/ledger:1.1"); b == nil || b.Reference != "team-c/ledger:1.0" || b.Layers != 2 {
		t.Errorf("team-c/ledger:1.1: base %+v, want ledger:1.0", b)
	}
}

// debRepository writes packages of a version as an archive that apt reads.
func debRepository(t *testing.T, dir, version string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	var index bytes.Buffer
	for name, fields := range map[string]string{"strata-demo": "Depends: libstrata-demo\n", "libstrata-demo": ""} {
		root := filepath.Join(t.TempDir(), name)
		control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: test <test@example.org>\n%sDescription: test\n", name, version, fields)
		for path, text := range map[string]string{"DEBIAN/control": control, "usr/share/" + name + "/version": version + "\n"} {
			file := filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		deb := filepath.Join(dir, name+".deb")
		if out, err := exec.CommandContext(t.Context(), program(t, "dpkg-deb"), "--build", "--root-owner-group", root, deb).CombinedOutput(); err != nil {
			t.Fatalf("dpkg-deb: %v\n%s", err, out)
		}
		b, err := os.ReadFile(deb)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&index, "%sFilename: ./%s.deb\nSize: %d\nSHA256: %x\n\n", control, name, len(b), sha256.Sum256(b))
	}
	if err := os.WriteFile(filepath.Join(dir, "Packages"), index.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fixedDockerfile is built twice: from an archive with old packages, and, after
// strata fix changed it, from one with new ones.
const fixedDockerfile = `ARG BASE=%s
FROM ${BASE} AS app
COPY repository /repository
RUN rm -rf /etc/apt/sources.list.d/* && echo "deb [trusted=yes] file:/repository ./" > /etc/apt/sources.list
RUN apt-get update && \
    # from the archive above
    apt-get install -y --no-install-recommends \
      strata-demo \
    && rm -rf /var/lib/apt/lists/*
`

// TestRealFix: what strata fix makes of the Dockerfile of a real image is applied,
// built with Docker, and then the image is without the findings.
func TestRealFix(t *testing.T) {
	images := shared(t, "images")
	skopeo, docker, patch := program(t, "skopeo"), program(t, "docker"), program(t, "patch")
	bin, dir, cache := buildStrata(t), t.TempDir(), t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "DOCKER_BUILDKIT=0", "STRATA_CACHE_DIR="+cache, "STRATA_OFFLINE=true", "STRATA_DB_MAX_AGE=1000h")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
		}
		return string(out)
	}
	base, built := fmt.Sprintf("strata.test/fixbase:%d", os.Getpid()), fmt.Sprintf("strata.test/fixed:%d", os.Getpid())
	run(skopeo, "copy", "--insecure-policy", "oci:"+filepath.Join(images, "oci")+":debian12-slim", "docker-archive:"+dir+"/base.tar:"+base)
	run(docker, "load", "-i", dir+"/base.tar")
	t.Cleanup(func() { _ = exec.Command(docker, "rmi", "-f", built, built+"-again", base).Run() })

	records := filepath.Join(dir, "records", "Debian")
	if err := os.MkdirAll(records, 0o755); err != nil {
		t.Fatal(err)
	}
	for id, name := range map[string]string{"DEBIAN-CVE-2026-0001": "strata-demo", "DEBIAN-CVE-2026-0002": "libstrata-demo"} {
		record := fmt.Sprintf(`{"id": %q, "modified": "2026-01-01T00:00:00Z", "affected": [{"package": {"ecosystem": "Debian:12", "name": %q}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.0-1+deb12u1"}]}]}]}`, id, name)
		if err := os.WriteFile(filepath.Join(records, id+".json"), []byte(record), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeMirror(filepath.Join(dir, "mirror"), filepath.Dir(records)); err != nil {
		t.Fatal(err)
	}
	run(bin, "db", "update", "--mirror", filepath.Join(dir, "mirror"), "--ecosystem", "all")

	context := filepath.Join(dir, "context")
	debRepository(t, filepath.Join(context, "repository"), "1.0-1")
	if err := os.WriteFile(filepath.Join(context, "Dockerfile"), fmt.Appendf(nil, fixedDockerfile, base), 0o644); err != nil {
		t.Fatal(err)
	}
	run(docker, "build", "-q", "-t", built, context)
	run(bin, "scan", "-q", "docker:"+base)
	before := run(bin, "scan", "-f", "json", "docker:"+built)
	if n := strings.Count(before, `"package_name": "strata-demo"`) + strings.Count(before, `"package_name": "libstrata-demo"`); n != 2 {
		t.Fatalf("%d findings before; want 2", n)
	}

	var plan remedy.Plan
	if err := json.Unmarshal([]byte(run(bin, "fix", "-f", "json", "--dockerfile", "context/Dockerfile", "docker:"+built)), &plan); err != nil {
		t.Fatal(err)
	}
	if plan.Image.Base != base || plan.Before.Total() != 2 || plan.After.Total() != 0 || len(plan.Steps) != 1 || plan.Steps[0].Line != 5 {
		t.Errorf("plan %+v", plan)
	}
	diff := run(bin, "fix", "-f", "diff", "--dockerfile", "context/Dockerfile", "docker:"+built)
	if err := os.WriteFile(filepath.Join(dir, "fix.diff"), []byte(diff), 0o644); err != nil {
		t.Fatal(err)
	}
	run(patch, "-p1", "--fuzz=0", "-i", "fix.diff")
	// The archive has moved on, beyond the version that was asked for.
	debRepository(t, filepath.Join(context, "repository"), "1.0-1+deb12u3")
	run(docker, "build", "-q", "-t", built+"-again", context)
	if after := run(bin, "scan", "-f", "json", "docker:"+built+"-again"); !strings.Contains(after, `"findings": []`) {
		t.Errorf("the image that was built as planned has findings; the diff was\n%s", diff)
	}
}
