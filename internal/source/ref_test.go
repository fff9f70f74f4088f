package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"strata/internal/imagetest"
)

func TestParse(t *testing.T) {
	built := picture(t, "name: a:1\n-- layer0/x --\nx\n")
	dir := t.TempDir()
	t.Chdir(dir)
	for name, format := range map[string]imagetest.Format{"layout": imagetest.OCILayout, "o.tar": imagetest.OCIArchive, "d.tar": imagetest.DockerArchive, "with:colon.tar": imagetest.DockerArchive} {
		if err := imagetest.WriteFile(name, format, built); err != nil {
			t.Fatal(err)
		}
	}
	compressed(t, "d.tar", gzipped)
	for name, content := range map[string]string{
		"cdx.json": "\ufeff\n{\"components\":[{\"bomFormat\":1,\"x\":[{}]}],\"$schema\":\"x\",\"bomFormat\":\"CycloneDX\"}",
		"spdx2":    `{"spdxVersion":"SPDX-2.3"}`, "spdx3.json": `{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld"}`,
	} {
		writeFile(t, name, content, 0o644)
	}
	if err := os.Mkdir("alpine", 0o755); err != nil {
		t.Fatal(err)
	}
	digest := "@sha256:" + strings.Repeat("a", 64)
	for ref, want := range map[string]Ref{
		"registry:a/b:1":                  {Scheme: Registry, Path: "a/b:1"},
		"docker:alpine":                   {Scheme: Docker, Path: "alpine"},
		"docker://alpine:3" + digest:      {Scheme: Registry, Path: "alpine:3" + digest},
		"docker-daemon:alpine:3":          {Scheme: Docker, Path: "alpine:3"},
		"podman:localhost/a:1":            {Scheme: Podman, Path: "localhost/a:1"},
		"containerd:docker.io/a/b:1":      {Scheme: Containerd, Path: "docker.io/a/b:1"},
		"docker-archive:d.tar":            {Scheme: DockerArchive, Path: "d.tar"},
		"docker-archive:d.tar:h:5/a:1":    {Scheme: DockerArchive, Path: "d.tar", Tag: "h:5/a:1"},
		"docker-archive:with:colon.tar":   {Scheme: DockerArchive, Path: "with:colon.tar"},
		"oci:layout":                      {Scheme: OCI, Path: "layout"},
		"oci:layout:1":                    {Scheme: OCI, Path: "layout", Tag: "1"},
		"oci-dir:layout" + digest:         {Scheme: OCI, Path: "layout", Tag: digest},
		"oci-archive:" + dir + "/o.tar:1": {Scheme: OCIArchive, Path: dir + "/o.tar", Tag: "1"},
		"dir:alpine":                      {Scheme: Dir, Path: "alpine"},
		"dir:/":                           {Scheme: Dir, Path: "/"},
		"sbom:spdx2":                      {Scheme: SBOM, Path: "spdx2"},
		// by content
		"layout":             {Scheme: OCI, Path: "layout"},
		"./layout:1":         {Scheme: OCI, Path: "./layout", Tag: "1"},
		"layout" + digest:    {Scheme: OCI, Path: "layout", Tag: digest},
		"o.tar:1":            {Scheme: Archive, Path: "o.tar", Tag: "1"},
		"d.tar":              {Scheme: Archive, Path: "d.tar"},
		"d.tar.gz:a:1":       {Scheme: Archive, Path: "d.tar.gz", Tag: "a:1"},
		"with:colon.tar":     {Scheme: Archive, Path: "with:colon.tar"},
		"with:colon.tar:a:1": {Scheme: Archive, Path: "with:colon.tar", Tag: "a:1"},
		"alpine":             {Scheme: Dir, Path: "alpine"},
		"cdx.json":           {Scheme: SBOM, Path: "cdx.json"},
		"spdx2":              {Scheme: SBOM, Path: "spdx2"},
		"spdx3.json":         {Scheme: SBOM, Path: "spdx3.json"},
		// names
		"alpine:3.20":            {Path: "alpine:3.20"},
		"localhost:5000/a/b:1":   {Path: "localhost:5000/a/b:1"},
		"debian":                 {Path: "debian"},
		"ghcr.io/a/b" + digest:   {Path: "ghcr.io/a/b" + digest},
		"./not-there.tar":        {Path: "./not-there.tar"},
		"not-a-scheme:something": {Path: "not-a-scheme:something"},
	} {
		got, err := Parse(ref)
		if err != nil {
			t.Errorf("Parse(%q): %v", ref, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Ref{}, "String")); diff != "" || got.String != ref {
			t.Errorf("Parse(%q): %s", ref, diff)
		}
	}
	for ref, want := range map[string]string{
		"": "is empty", " ": "is empty", "a\x00b": "zero byte", "registry:": "nothing follows", "oci:": "nothing follows",
		"docker://": "nothing follows", "oci:nope:1": "no such file", "sbom:nope": "no such file", "dir:nope": "no such file",
		"containers-storage:a": "podman:NAME", "./alpine:3": "neither an archive nor an OCI layout",
	} {
		if _, err := Parse(ref); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): %v, want %q", ref, err, want)
		}
	}
}

func TestOpenTellsWhatWasTried(t *testing.T) {
	host := serve(t, &faulty{})
	o := quick()
	o.DockerHost, o.PodmanSocket = "unix://"+filepath.Join(t.TempDir(), "no.sock"), filepath.Join(t.TempDir(), "none.sock")
	_, _, err := Open(t.Context(), host+"/none:1", o)
	for _, want := range []string{"docker: the engine can't be reached", "podman: the engine", "registry: ", "MANIFEST_UNKNOWN"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open: %v, want %q", err, want)
		}
	}
	for ref, want := range map[string]string{
		"registry:2": "write registry:registry:2", "./nope.tar": "no such file", "UPPER:1": "not a valid name", "dir:/": "not an image with layers",
	} {
		o.Transport = roundTrip(nil)
		if ref == "registry:2" {
			o.Mirrors = map[string][]string{"docker.io": {"not an address"}}
		}
		if _, _, err := Open(t.Context(), ref, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%s): %v, want %q", ref, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"registry:a/b:1", "oci:/tmp:1", "docker://", "a@sha256:1", "::", "./:", "docker-archive:/:@0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 200 {
			return
		}
		r, err := Parse(s)
		if err == nil && (r.Path == "" || r.String != s) {
			t.Errorf("Parse(%q) = %+v", s, r)
		}
		if _, err := parseName(s, Options{}); err == nil {
			containerdNames(s)
		}
	})
}
