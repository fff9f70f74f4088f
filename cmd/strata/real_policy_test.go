package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"strata/internal/policy"
	"strata/internal/report"
)

// TestRealPolicy decides over a real image: the ready policies stop it or not, what
// VEX says of all that was found is matched to all of it, and nothing is new
// against itself.
func TestRealPolicy(t *testing.T) {
	images, mirror := shared(t, "images"), filepath.Join(shared(t, "feeds"), "osv")
	bin, cache, dir := buildStrata(t), t.TempDir(), t.TempDir()
	ref := "oci:" + filepath.Join(images, "oci") + ":node-app"
	run := func(args ...string) (int, []byte) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), bin, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "STRATA_CACHE_DIR="+cache)
		out, err := cmd.Output()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), out
	}
	saved := filepath.Join(dir, "report.json")
	if code, out := run("scan", "-q", "--mirror", mirror, "--allow-incomplete", "-f", "json="+saved, ref); code != exitPass {
		t.Fatalf("scan: exit code %d\n%s", code, out)
	}

	for name, want := range map[string]int{
		"strict": exitViolated, "lenient": exitViolated, "fixable-criticals": exitViolated, "new-only": exitViolated,
		"licenses-permissive-only": exitPass, "base-image-fresh": exitPass,
	} {
		if code, out := run("policy", "try", "--allow-incomplete", "--policy", name, saved); code != want {
			t.Errorf("%s: exit code %d, want %d\n%s", name, code, want, out)
		}
	}
	if code, out := run("policy", "try", "--allow-incomplete", "--policy", "new-only", "--fail-on", "low", "--baseline", saved, saved); code != exitPass {
		t.Errorf("new since itself: exit code %d\n%s", code, out)
	}

	_, text := run("vex", "-q", saved)
	statements := filepath.Join(dir, "vex.json")
	write := func(text []byte) {
		if err := os.WriteFile(statements, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	same := scanJSON(t, bin, cache, "--offline", "--vex", statements, ref)
	write(bytes.ReplaceAll(text, []byte(`"status": "affected"`), []byte(`"status": "fixed"`)))
	fixed := scanJSON(t, bin, cache, "--offline", "--vex", statements, "--fail-on", "low", ref)
	if active(&same.report) == 0 || active(&fixed.report) != 0 || fixed.report.Verdict.Decision != policy.Pass {
		t.Errorf("%d active findings by a VEX that says affected, %d by one that says fixed, %s", active(&same.report), active(&fixed.report), fixed.report.Verdict.Decision)
	}
	for _, r := range []*report.Report{&same.report, &fixed.report} {
		for _, p := range r.Problems {
			if p.Analyzer == policy.ByVEX {
				t.Error(p.Message)
			}
		}
	}
}

func active(r *report.Report) int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Active() && r.Findings[i].Kind != report.KindEndOfLife {
			n++
		}
	}
	return n
}
