package imagetest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// require skips the test where the program is missing, or fails it where
// STRATA_TEST_REQUIRE=all asks for every test.
func require(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("STRATA_TEST_REQUIRE") == "all" {
		t.Fatalf("%s is needed and missing: scripts/test.sh installs it", program)
	}
	t.Skipf("%s is missing: scripts/test.sh installs it", program)
}

// Another implementation reads what is built here, and finds the same image in
// every format.
func TestSkopeoReadsEveryFormat(t *testing.T) {
	require(t, "skopeo")
	m := build(t, "name: demo/app:1.0\nlabel: a=b\n-- layer0/etc/os-release --\nID=debian\n-- layer1/etc/.wh.os-release --\n")
	for _, format := range []Format{OCIArchive, DockerArchive, OCILayout} {
		p := filepath.Join(t.TempDir(), "image")
		if err := WriteFile(p, format, m); err != nil {
			t.Fatal(err)
		}
		ref := string(format) + ":" + p
		if format != DockerArchive {
			ref += ":1.0"
		}
		cmd := exec.Command("skopeo", "inspect", "--config", "--raw", ref)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		got, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", ref, err, &stderr)
		}
		if !bytes.Equal(got, m.Config) {
			t.Errorf("%s: skopeo read the configuration\n%s\nwant\n%s", format, got, m.Config)
		}
	}
}
