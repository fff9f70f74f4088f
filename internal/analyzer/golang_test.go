package analyzer

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// goProgram has a dependency that a directory replaces.
const goProgram = `
-- go.mod --
module example.com/tool

go 1.21

require example.com/dep v1.2.3

replace example.com/dep => ./dep
-- main.go --
package main

import "example.com/dep"

func main() { dep.Do() }
-- dep/go.mod --
module example.com/dep
-- dep/dep.go --
package dep

func Do() { println("done") }
`

// buildGo builds the program that a txtar archive holds.
func buildGo(t *testing.T, program string, flags ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	for _, f := range txtar.Parse([]byte(program)).Files {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", slices.Concat([]string{"build", "-buildvcs=false", "-o", "tool"}, flags, []string{"."})...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOPROXY=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	binary, err := os.ReadFile(filepath.Join(dir, "tool"))
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

func TestGoBinaryStripped(t *testing.T) {
	got, err := newGoBinary().Analyze(t.Context(), NewFile("tool", buildGo(t, goProgram, "-trimpath", "-ldflags=-s -w")))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"stdlib " + goRelease(runtime.Version()), "example.com/tool (devel)", "example.com/dep (devel)"}
	if diff := cmp.Diff(want, nameVersions(got.Packages)); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	for _, p := range got.Packages {
		if p.Type != "golang" || p.Ecosystem != "Go" {
			t.Errorf("%s has type %q and ecosystem %q", p.Name, p.Type, p.Ecosystem)
		}
	}
}

// linkedProduct is a product as its makers build it: its version is a variable that
// the linker sets. Other texts look like versions, too.
const linkedProduct = `
-- go.mod --
module github.com/hashicorp/vault

go 1.21
-- main.go --
package main

var version = "0.0.0"

func main() { println(version, "9.8.7", "1.2.840.113549") }
`

// TestGoProductLinked: what -X sets is found in the executable, whether the build
// information repeats the flags or not.
func TestGoProductLinked(t *testing.T) {
	for name, flags := range map[string][]string{
		"with flags": {"-ldflags=-s -w -X main.version=1.15.4"}, "trimmed": {"-trimpath", "-ldflags=-s -w -X main.version=1.15.4"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := newGoBinary().Analyze(t.Context(), NewFile("bin/vault", buildGo(t, linkedProduct, flags...)))
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"stdlib " + goRelease(runtime.Version()), "github.com/hashicorp/vault v1.15.4", "vault 1.15.4"}
			if diff := cmp.Diff(want, nameVersions(got.Packages)); diff != "" {
				t.Errorf("packages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGoPackages(t *testing.T) {
	b := &debug.BuildInfo{
		GoVersion: "go1.22.1 X:boringcrypto",
		Main:      debug.Module{Path: "example.com/main", Version: "v0.1.0"},
		Deps: []*debug.Module{
			{Path: "example.com/a", Version: "v1.0.0"},
			{Path: "example.com/b", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/fork", Version: "v1.0.1"}},
			{Path: "example.com/c", Version: "v1.0.0", Replace: &debug.Module{Path: "../c"}},
			{Path: "example.com/d", Version: "v1.0.0", Replace: &debug.Module{Path: "./d", Version: "(devel)"}},
		},
	}
	want := []string{"stdlib 1.22.1", "example.com/main v0.1.0", "example.com/a v1.0.0", "example.com/fork v1.0.1", "example.com/c (devel)", "example.com/d (devel)"}
	if diff := cmp.Diff(want, nameVersions(goPackages(b))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := goPackages(&debug.BuildInfo{}); got != nil {
		t.Errorf("no build information gives %v", got)
	}
}

func TestGoRelease(t *testing.T) {
	for in, want := range map[string]string{
		"go1.26.8": "1.26.8", "go1.21": "1.21", "go1.26.8 X:nodwarf5": "1.26.8", "go1.17.5b7": "1.17.5",
		"go1.22.5-1-openssl-fips": "1.22.5", "go1.21rc2": "1.21.0-rc.2", "go1.14beta1": "1.14.0-beta.1",
		"devel go1.27-1a2b3c Mon Jan 2": "1.27-1a2b3c", "devel +abc": "", "": "", "unknown": "",
	} {
		if got := goRelease(in); got != want {
			t.Errorf("goRelease(%q) = %q, want %q", in, got, want)
		}
	}
}

// elf64 is an ELF executable of the given type with one named section.
func elf64(kind uint16, name, content string) []byte {
	le := binary.LittleEndian
	names := "\x00" + name + "\x00.shstrtab\x00"
	const header = 64
	contentAt := uint64(header)
	namesAt := contentAt + uint64(len(content))
	tableAt := namesAt + uint64(len(names))
	out := make([]byte, header)
	copy(out, "\x7fELF\x02\x01\x01")
	le.PutUint16(out[16:], kind)
	le.PutUint16(out[18:], 62)
	le.PutUint32(out[20:], 1)
	le.PutUint64(out[40:], tableAt)
	le.PutUint16(out[52:], header)
	le.PutUint16(out[54:], 56)
	le.PutUint16(out[58:], 64)
	le.PutUint16(out[60:], 3)
	le.PutUint16(out[62:], 2)
	out = append(append(out, content...), names...)
	section := func(name, kind uint32, at, size uint64) {
		s := make([]byte, 64)
		le.PutUint32(s[0:], name)
		le.PutUint32(s[4:], kind)
		le.PutUint64(s[24:], at)
		le.PutUint64(s[32:], size)
		out = append(out, s...)
	}
	section(0, 0, 0, 0)
	section(1, 1, contentAt, uint64(len(content)))
	section(uint32(2+len(name)), 3, namesAt, uint64(len(names)))
	return out
}

func TestGoBinaryOthers(t *testing.T) {
	const executable = 2
	whole := string(elf64(executable, ".text", "code"))
	runCases(t, newGoBinary(), "golang", []analyzerCase{
		{"of C", "bin/x", whole, nil, ""},
		{"Go's section without Go's data", "bin/x", string(elf64(executable, ".go.buildinfo", strings.Repeat("x", 64))), nil, "unreadable build information"},
		{"cut off", "bin/x", whole[:100], nil, "damaged headers"},
		{"only the magic", "bin/x", "\x7fELF", nil, ""},
		{"PE of nonsense", "bin/x.exe", "MZ" + strings.Repeat("\xfe", 300), nil, "damaged headers"},
		{"Mach-O of nonsense", "bin/x", "\xcf\xfa\xed\xfe" + strings.Repeat("\xff", 300), nil, "damaged headers"},
		{"empty", "bin/x", "", nil, ""},
	})
}

func TestExecutableFormat(t *testing.T) {
	be := []byte("\x7fELF\x02\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x16")
	assembly := make([]byte, 512)
	copy(assembly, "MZ")
	assembly[0x3c] = 0x80
	native := bytes.Clone(assembly)
	copy(assembly[0x80+24:], "\x0b\x02")
	assembly[0x80+24+112+14*8] = 8
	tests := []struct {
		name string
		head []byte
		want format
	}{
		{"executable", elf64(2, "", ""), elfFormat},
		{"shared library or position independent", elf64(3, "", ""), elfFormat},
		{"object file", elf64(1, "", ""), notExecutable},
		{"core dump", elf64(4, "", ""), notExecutable},
		{"big endian", be, elfFormat},
		{"native PE", native, peFormat},
		{".NET assembly", assembly, notExecutable},
		{"Java class, which has the magic of a fat Mach-O", []byte("\xca\xfe\xba\xbe" + strings.Repeat("\x00", 60)), notExecutable},
		{"Mach-O", []byte("\xcf\xfa\xed\xfe" + strings.Repeat("\x00", 60)), machoFormat},
		{"script", []byte("#!/bin/sh\nexec something else"), notExecutable},
		{"short", []byte("\x7fELF"), notExecutable},
	}
	for _, tt := range tests {
		if got := executableFormat(tt.head[:min(len(tt.head), headSize)]); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

func FuzzExecutable(f *testing.F) {
	f.Add(elf64(2, ".dep-v0", rustAudit(f, `{"packages":[{"name":"a","version":"1"}]}`)))
	f.Add(elf64(3, ".go.buildinfo", "\xff Go buildinf:\x08\x02"+strings.Repeat("\x00", 16)+"\x06go1.19\x00"))
	f.Add([]byte("MZ" + strings.Repeat("\x40", 300)))
	f.Add([]byte("\xcf\xfa\xed\xfe" + strings.Repeat("\x01", 300)))
	f.Fuzz(func(t *testing.T, b []byte) {
		executableFormat(b)
		for _, a := range []Analyzer{newGoBinary(), rustBinary{}} {
			res, _ := a.Analyze(t.Context(), NewFile("bin/x", b))
			requireNamed(t, res)
		}
	})
}

// BenchmarkExecutableOfAnotherLanguage rejects an executable of C, of this
// machine.
func BenchmarkExecutableOfAnotherLanguage(b *testing.B) {
	content, err := os.ReadFile("/bin/bash")
	if err != nil {
		b.Skip(err)
	}
	f := NewFile("bin/bash", content)
	for b.Loop() {
		for _, a := range []Analyzer{newGoBinary(), rustBinary{}} {
			if res, err := a.Analyze(b.Context(), f); err != nil || len(res.Packages) != 0 {
				b.Fatal(res, err)
			}
		}
	}
}
