package analyzer

import (
	"bytes"
	"debug/elf"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestELFSections holds our reading of section headers against debug/elf's, on
// the test's own program.
func TestELFSections(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Skip("this system's programs are not ELF")
	}
	got, err := elfSections(bytes.NewReader(data), int64(len(data)), data[:headSize])
	if err != nil {
		t.Fatal(err)
	}
	var names, wantNames []string
	for _, s := range got {
		names = append(names, s.name)
		if ws := want.Section(s.name); ws == nil || int64(ws.Offset) != s.offset || int64(ws.FileSize) != s.size {
			t.Errorf("section %+v; want %+v", s, ws)
		}
	}
	for _, s := range want.Sections {
		if s.Type != elf.SHT_NULL && s.Type != elf.SHT_NOBITS {
			wantNames = append(wantNames, s.Name)
		}
	}
	if diff := cmp.Diff(wantNames, names); diff != "" {
		t.Errorf("sections differ (-debug/elf +ours):\n%s", diff)
	}
}

func FuzzELFSections(f *testing.F) {
	head := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 200)...)
	head[40], head[58], head[60], head[62] = 64, 64, 2, 1
	f.Add(head)
	wide := bytes.Clone(head)
	wide[60], wide[62], wide[63] = 0, 0xff, 0xff
	f.Add(wide)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 20 {
			return
		}
		sections, err := elfSections(bytes.NewReader(data), int64(len(data)), data[:min(len(data), headSize)])
		if err == nil && len(sections) > len(data)/40 {
			t.Errorf("%d sections in %d bytes", len(sections), len(data))
		}
	})
}
