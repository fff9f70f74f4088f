package main

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRealScanServer: a server that has the advisories gives the report of a scan on
// this machine, to a runner that has none; what it was sent once it is not sent again.
func TestRealScanServer(t *testing.T) {
	images, feeds := shared(t, "images"), shared(t, "feeds")
	bin, cache := buildStrata(t), t.TempDir()
	mirror := filepath.Join(feeds, "osv")
	for _, name := range []string{"node-app", "go-app"} {
		t.Run(name, func(t *testing.T) {
			layout := "oci:" + filepath.Join(images, "oci") + ":" + name
			local := scanJSON(t, bin, cache, "--mirror", mirror, "--no-cache", layout)
			if len(local.report.Findings) == 0 {
				t.Fatalf("no findings: exit code %d\n%s", local.code, local.stderr)
			}
			s, closeServer, err := newSubmitServer(t.Context(), t.TempDir(), cache, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer closeServer()
			remote := func() strataRun {
				t.Helper()
				r := scanJSON(t, bin, t.TempDir(), "--server", s.url, "--server-token", s.token["ann"], layout)
				if diff := cmp.Diff(summarise(local), summarise(r)); diff != "" {
					t.Errorf("differs from a scan on this machine (-local +server), exit code %d:\n%.3000s\n%s", r.code, diff, r.stderr)
				}
				return r
			}
			first := remote()
			sent := s.sent.Load()
			if sent == 0 || int(sent) > len(local.report.Layers) {
				t.Errorf("%d layers were sent of %d", sent, len(local.report.Layers))
			}
			second := remote()
			if again := s.sent.Load(); again != sent {
				t.Errorf("%d layers were sent again", again-sent)
			}
			t.Logf("%d packages, %d findings; on this machine %v, by the server %v with %d layers sent (%d kB), again %v",
				len(local.report.Packages), len(local.report.Findings), local.took, first.took, sent, s.bytes.Load()>>10, second.took)
		})
	}
}
