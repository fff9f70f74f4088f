package analyzer

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPythonPackage(t *testing.T) {
	const path = "usr/lib/python3/dist-packages/x-1.dist-info/METADATA"
	runCases(t, pythonPackage{}, "pypi", []analyzerCase{
		{"wheel", path, "Metadata-Version: 2.1\nName: Flask\nVersion: 0.12.2\n\nName: body\n", []string{"Flask 0.12.2"}, ""},
		{"CRLF, odd case", path, "NAME: a\r\nversion:1!2.0\r\n\r\n", []string{"a 1!2.0"}, ""},
		{"continued value before the name", path, "Metadata-Version: 1.1\nDescription: long\n        Name: not this\n\tVersion: 0\nName: a\nVersion: 1\n", []string{"a 1"}, ""},
		{"egg-info file", "usr/lib/python3/dist-packages/six-1.16.0.egg-info", "Name: six\nVersion: 1.16.0\n", []string{"six 1.16.0"}, ""},
		{"no version", path, "Name: a\n", nil, "no Name and Version"},
		{"empty", path, "", nil, "no Name and Version"},
		{"binary", path, "\x00\xff: \n:\n \n", nil, "no Name and Version"},
	})
}

func TestPythonLongDescription(t *testing.T) {
	got, err := analyzeText(t, pythonPackage{}, "x.dist-info/METADATA", "Name: a\nVersion: 1\n\n"+strings.Repeat("text\n", 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a 1"}, nameVersions(got.Packages)); diff != "" {
		t.Error(diff)
	}
}

func TestPythonLicenses(t *testing.T) {
	tests := []struct {
		headers string
		want    []string
	}{
		{"License-Expression: MIT OR Apache-2.0\nLicense: MIT\n", []string{"MIT OR Apache-2.0"}},
		{"License: BSD\nClassifier: License :: OSI Approved :: MIT License\n", []string{"BSD"}},
		{"License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n", []string{"MIT License"}},
		{"License: The whole\n  text of it\nClassifier: License :: OSI Approved\nClassifier: License :: OSI Approved :: BSD License\n", []string{"BSD License"}},
		{"Classifier: Topic :: X\n", nil},
	}
	for _, tt := range tests {
		got, ok := parsePythonMetadata([]byte("Name: a\nVersion: 1\n" + tt.headers))
		if !ok {
			t.Fatalf("%q: no package", tt.headers)
		}
		if diff := cmp.Diff(tt.want, got.Licenses); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.headers, diff)
		}
	}
}

// zipOf is a zip archive of the entries: names and contents by turns.
func zipOf(t testing.TB, entries ...string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		w, err := z.Create(entries[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(entries[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPythonEgg(t *testing.T) {
	runCases(t, pythonPackage{}, "pypi", []analyzerCase{
		{"zipped", "lib/a.egg", zipOf(t, "a.py", "", "EGG-INFO/PKG-INFO", "Name: a\nVersion: 1\n"), []string{"a 1"}, ""},
		{"without metadata", "lib/a.egg", zipOf(t, "a.py", ""), nil, ""},
		{"not a zip", "lib/a.egg", "hello", nil, "not a readable zip archive"},
	})
}

func TestConda(t *testing.T) {
	runCases(t, condaPackage{}, "conda", []analyzerCase{
		{"usual", "opt/conda/conda-meta/a.json", `{"name":"openssl","version":"3.0.1","license":"Apache-2.0"}`, []string{"openssl 3.0.1"}, ""},
		{"no package", "opt/conda/conda-meta/a.json", `{}`, nil, ""},
		{"not JSON", "opt/conda/conda-meta/a.json", `x`, nil, "not valid JSON"},
	})
}

func TestPipfileLock(t *testing.T) {
	runCases(t, pipfileLock{}, "pypi", []analyzerCase{
		{"without development", "app/Pipfile.lock", `{"default":{"a":{"version":"==1.0"},"b":{"git":"x"},"c":{"version":"*"}},"develop":{"d":{"version":"==1"}}}`, []string{"a 1.0"}, ""},
		{"not JSON", "app/Pipfile.lock", ``, nil, "not valid JSON"},
	})
}

func TestRequirements(t *testing.T) {
	runCases(t, requirementsFile{}, "pypi", []analyzerCase{
		{"pinned only", "app/requirements.txt", `
# comment==1
-r other.txt
--index-url https://x.invalid/==1
requests==2.19.1
Jinja2 == 2.10  # why
uvicorn[standard]==0.13.4 ; python_version >= "3.7"
hashed==1.0 \
    --hash=sha256:00
triple===1.0+local
wild==1.*
range>=1.0
both==1.0,<2
epoch==1!2.0
url @ https://x.invalid/a.whl
nothing
`, []string{"Jinja2 2.10", "epoch 1!2.0", "hashed 1.0", "requests 2.19.1", "triple 1.0+local", "uvicorn 0.13.4"}, ""},
		{"empty", "app/requirements.txt", "", nil, ""},
	})
}

func FuzzPythonMetadata(f *testing.F) {
	f.Add([]byte("Name: a\nVersion: 1\nLicense: x\n y\nClassifier: License :: a :: b\n\nbody"))
	f.Add([]byte(" x\n:\n\tName: a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := parsePythonMetadata(b); ok && (p.Name == "" || p.Version == "") {
			t.Errorf("%q gives %+v", b, p)
		}
		for _, p := range parseRequirements(b) {
			if p.Name == "" || p.Version == "" {
				t.Errorf("%q gives %+v", b, p)
			}
		}
	})
}
