package analyzer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/inventory"
)

var rpmSpecs = []rpmSpec{
	{name: "bash", version: "5.1.8", release: "6.el9", arch: "x86_64", license: "GPLv3+", source: "bash-5.1.8-6.el9.src.rpm", tail: 6000,
		files: []string{"/usr/bin/|bash", "/usr/bin/|sh", "/usr/share/doc/bash/|README", "/usr/lib/python3/site-packages/x.dist-info/|METADATA"}},
	{name: "openssl-libs", version: "3.0.7", release: "24.el9", epoch: 1, arch: "x86_64", source: "openssl-3.0.7-24.el9.src.rpm", tail: 100},
	{name: "gpg-pubkey", version: "fd431d51", release: "4ae0493b", tail: 1500},
	{name: "python3-six", version: "1.15.0", release: "9.el9", arch: "noarch", source: "python-six-1.15.0-9.el9.src.rpm", tail: 20_000},
	{name: "tiny", version: "1"},
}

var rpmWant = []string{
	"bash 5.1.8-6.el9 x86_64 source=bash 5.1.8-6.el9 licences=GPLv3+",
	"gpg-pubkey fd431d51-4ae0493b",
	"openssl-libs 1:3.0.7-24.el9 x86_64 source=openssl 1:3.0.7-24.el9",
	"python3-six 1.15.0-9.el9 noarch source=python-six 1.15.0-9.el9",
	"tiny 1",
}

func headers(specs ...rpmSpec) [][]byte {
	var out [][]byte
	for _, s := range specs {
		out = append(out, s.header())
	}
	return out
}

// rpmDatabases are the headers in each format.
func rpmDatabases(headers ...[]byte) map[string][]byte {
	return map[string][]byte{
		"bdb, little-endian":     bdbFile(binary.LittleEndian, 4096, headers...),
		"bdb, big-endian":        bdbFile(binary.BigEndian, 4096, headers...),
		"bdb, small pages":       bdbFile(binary.LittleEndian, 512, headers...),
		"bdb, values on page":    bdbFile(binary.LittleEndian, 32<<10, headers...),
		"ndb":                    ndbFile(headers...),
		"sqlite":                 sqliteDB(4096, headers...),
		"sqlite, smallest pages": sqliteDB(512, headers...),
		"sqlite, largest pages":  sqliteDB(64<<10, headers...),
	}
}

func analyzeRPM(t testing.TB, b []byte) (Result, error) {
	t.Helper()
	return rpm{}.Analyze(t.Context(), NewFile("var/lib/rpm/Packages", b))
}

func TestRPM(t *testing.T) {
	for name, db := range rpmDatabases(headers(rpmSpecs...)...) {
		t.Run(name, func(t *testing.T) {
			res, err := analyzeRPM(t, db)
			if err != nil || len(res.Notes) > 0 {
				t.Fatalf("error %v, notes %q", err, res.Notes)
			}
			got := described(res.Packages)
			slices.Sort(got)
			if diff := cmp.Diff(rpmWant, got); diff != "" {
				t.Errorf("packages (-want +got):\n%s", diff)
			}
			want := []string{"usr/bin/bash rpm:bash", "usr/bin/sh rpm:bash", "usr/lib/python3/site-packages/x.dist-info/METADATA rpm:bash"}
			if diff := cmp.Diff(want, owners(res.Owned)); diff != "" {
				t.Errorf("owned (-want +got):\n%s", diff)
			}
			if res.Kind != inventory.Database || res.Database != "rpm" || res.Packages[0].Type != "rpm" {
				t.Errorf("kind %q, database %q, type %q", res.Kind, res.Database, res.Packages[0].Type)
			}
		})
	}
}

// TestRPMMany has so many packages that tables have pages of pages.
func TestRPMMany(t *testing.T) {
	var specs []rpmSpec
	var want []string
	for i := range 120 {
		s := rpmSpec{name: fmt.Sprintf("p%03d", i), version: "1", release: "2", tail: 37 * i}
		specs = append(specs, s)
		want = append(want, s.name+" 1-2")
	}
	for name, db := range rpmDatabases(headers(specs...)...) {
		res, err := analyzeRPM(t, db)
		got := nameVersions(res.Packages)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: error %v, packages (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestRPMOfNothing(t *testing.T) {
	dbs := rpmDatabases()
	dbs["no bytes"] = nil
	for name, db := range dbs {
		res, err := analyzeRPM(t, db)
		if err != nil || len(res.Packages) > 0 || res.silent() {
			t.Errorf("%s: %v, %+v; want a database without packages", name, err, res)
		}
	}
}

// TestRPMDamaged: what is wrong is said, and what is not damaged is found.
func TestRPMDamaged(t *testing.T) {
	all := headers(rpmSpecs...)
	le := binary.LittleEndian
	change := func(db []byte, f func([]byte)) []byte {
		db = bytes.Clone(db)
		f(db)
		return db
	}
	u32 := func(db []byte, off int, v uint32) []byte {
		return change(db, func(b []byte) { le.PutUint32(b[off:], v) })
	}
	bdb, ndb, sqlite := bdbFile(le, 4096, all...), ndbFile(all...), sqliteDB(512, all...)
	lying := bytes.Clone(all[0])
	binary.BigEndian.PutUint32(lying, 0xFFFFFFFF)
	const none = 0
	tests := []struct {
		name    string
		db      []byte
		want    int // packages
		wantErr string
	}{
		{"no format", []byte(strings.Repeat("nonsense", 100)), none, "no known format"},
		{"short", []byte("RpmP"), none, "header"},
		{"a header that lies", ndbFile(lying, all[4]), 1, "damaged rpm header"},
		{"a header of no bytes", ndbFile(nil, all[4]), 1, "damaged rpm header"},
		{"several", ndbFile(lying, all[4], lying), 1, "in 2 places"},

		{"bdb: page size", u32(bdb, 20, 100), none, "page size 100"},
		{"bdb: page size of 4 GiB", u32(bdb, 20, 0x80000000), none, "page size"},
		{"bdb: a value of 4 GiB", change(bdb, func(b []byte) {
			page := bdbHashPage(b)
			le.PutUint32(page[le.Uint16(page[26+6:])+8:], 0xFFFFFFFF)
		}), 4, "claims 4294967295 bytes"},
		{"bdb: more entries than fit", change(bdb, func(b []byte) { le.PutUint16(bdbHashPage(b)[20:], 0xFFFF) }), none, "more entries"},
		{"bdb: entries outside of the page", change(bdb, func(b []byte) { le.PutUint16(bdbHashPage(b)[28:], 0xFFFF) }), 5, "outside of its page"},
		{"bdb: cut", bdb[:len(bdb)-4096], 4, "in 2 places"},
		{"bdb: cut in a page", bdb[:len(bdb)-1], 4, "in 2 places"},

		{"ndb: no pages of slots", u32(ndb, 12, 0), none, "0 pages of slots"},
		{"ndb: 4 billion pages of slots", u32(ndb, 12, 0xFFFFFFFF), none, "4294967295 pages of slots"},
		{"ndb: a blob outside of the file", u32(ndb, 32+8, 0xFFFFFFF0), 4, "no package at byte"},
		{"ndb: a blob of 4 GiB", u32(ndb, 4096+12, 0xFFFFFFFF), 4, "claims 4294967295 bytes"},
		{"ndb: no slot", u32(ndb, 32, 0), none, "damaged slot"},
		{"ndb: cut", ndb[:len(ndb)-40], 4, "unexpected EOF"},

		{"sqlite: page size", change(sqlite, func(b []byte) { b[16], b[17] = 0, 100 }), none, "page size 100"},
		{"sqlite: no table", change(sqlite, func(b []byte) { copy(b[bytes.Index(b, []byte("PackagesPack")):], "Wackages") }), none, "no table Packages"},
		{"sqlite: cut", sqlite[:len(sqlite)-512], none, "unexpected EOF"},
		{"sqlite: only its header", sqlite[:100], none, "unexpected EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := analyzeRPM(t, tt.db)
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error %v; want one with %q", err, tt.wantErr)
			}
			if len(res.Packages) != tt.want {
				t.Errorf("found %v; want %d packages", nameVersions(res.Packages), tt.want)
			}
		})
	}
}

// bdbHashPage is the first page of items.
func bdbHashPage(db []byte) []byte {
	for n := 4096; n < len(db); n += 4096 {
		if db[n+25] == 13 {
			return db[n : n+4096]
		}
	}
	panic("no hash page")
}

// TestRPMBombs: databases in circles, and such whose packages overlap, end soon
// and take no more memory than the file is large.
func TestRPMBombs(t *testing.T) {
	le := binary.LittleEndian
	big := rpmSpec{name: "big", version: "1", tail: 4 << 20}.header()

	// Every slot points at one large blob.
	ndb := ndbFile(big)
	for off := 48; off < 4096; off += 16 {
		copy(ndb[off:], ndb[32:48])
	}
	// Every value is the same chain of pages.
	bdb := bdbFile(le, 4096, big)
	hash := bdbHashPage(bdb)
	item := le.Uint16(hash[26+3*2:])
	for i := range uint16(1500) {
		le.PutUint16(hash[26+2*i:], item)
	}
	le.PutUint16(hash[20:], 1500)
	// A value of two pages, each with one byte, that follow each other for ever.
	circle := bdbFile(le, 64<<10, rpmSpec{name: "a", version: "1", tail: 100_000}.header())
	circle = append(circle, make([]byte, 8<<20)...)
	pages := len(circle) >> 16
	for n := 1; n < pages; n++ {
		p := circle[n<<16:]
		switch p[25] {
		case 7:
			le.PutUint16(p[22:], 1)
			le.PutUint32(p[16:], uint32(n))
		case 13:
			le.PutUint32(p[le.Uint16(p[26+6:])+8:], 8<<20)
		}
	}
	// All cells of a page are the same row, with overflow pages and without.
	same := func(size int) []byte {
		db := sqliteDB(64<<10, rpmSpec{name: "a", version: "1", tail: size}.header())
		for n := 1; n < len(db)>>16; n++ {
			if p := db[n<<16:]; p[0] == 0x0d {
				for i := range 25_000 {
					copy(p[8+2*i:], p[8:10])
				}
				binary.BigEndian.PutUint16(p[3:], 25_000)
			}
		}
		return db
	}
	// An interior page is its own child, many times.
	loop := sqliteDB(512, headers(slices.Repeat(rpmSpecs, 10)...)...)
	for n := 1; n < len(loop)/512; n++ {
		if p := loop[n*512 : (n+1)*512]; p[0] == 0x05 {
			binary.BigEndian.PutUint16(p[3:], 200)
			binary.BigEndian.PutUint32(p[8:], uint32(n+1))
			for i := range 200 {
				binary.BigEndian.PutUint16(p[12+2*i:], 504)
			}
			binary.BigEndian.PutUint32(p[504:], uint32(n+1))
		}
	}
	for name, db := range map[string][]byte{"ndb": ndb, "bdb": bdb, "bdb circle": circle,
		"sqlite": same(1000), "sqlite overflow": same(1 << 20), "sqlite loop": loop,
		"directories of nothing": ndbFile(hollowHeader(2 << 20))} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			res, err := analyzeRPM(t, db)
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("took %v", d)
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20+20*uint64(len(db)) {
				t.Errorf("%d MiB were allocated in all for a file of %d KiB", n>>20, len(db)>>10)
			}
			if err == nil && name != "directories of nothing" {
				t.Error("no error")
			}
			requireSound(t, res, len(db), 32)
			t.Logf("%d packages, error %v", len(res.Packages), err)
		})
	}
}

// hollowHeader is a package with so many directories without a name.
func hollowHeader(n int) []byte {
	b := binary.BigEndian.AppendUint32(nil, 3)
	b = binary.BigEndian.AppendUint32(b, uint32(n+4))
	for _, e := range [][4]uint32{{rpmTagName, rpmString, 0, 1}, {rpmTagVersion, rpmString, 0, 1}, {rpmTagDirNames, rpmStringArray, 4, 0xFFFFFFFF}} {
		for _, v := range e {
			b = binary.BigEndian.AppendUint32(b, v)
		}
	}
	return append(append(b, "aaa\x00"...), make([]byte, n)...)
}

// TestRPMHugeClaims: sizes in a file are believed no further than the file's own.
func TestRPMHugeClaims(t *testing.T) {
	le := binary.LittleEndian
	bdb := bdbFile(le, 4096, rpmSpec{name: "a", version: "1", tail: 5000}.header())
	hash := bdbHashPage(bdb)
	le.PutUint32(hash[le.Uint16(hash[26+6:])+8:], 60<<20)
	ndb := ndbFile(rpmSpecs[0].header())
	le.PutUint32(ndb[4096+12:], 60<<20)
	sqlite := sqliteDB(512, bytes.Repeat([]byte{1}, 16200))
	row := bytes.Index(sqlite, []byte{0xfe, 0x4d, 1}) // the size of the record, 16205, and the row's id
	copy(sqlite[row:], []byte{0xff, 0xff, 0xff, 0x7f})
	for name, db := range map[string][]byte{"bdb": bdb, "ndb": ndb, "sqlite": sqlite} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := analyzeRPM(t, db)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d KiB were allocated for a file of %d KiB", name, n>>10, len(db)>>10)
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSplitSourceRPM(t *testing.T) {
	tests := []struct{ in, name, version string }{
		{"acl-2.2.53-1.el8.src.rpm", "acl", "2.2.53-1.el8"},
		{"java-1.8.0-openjdk-1.8.0.322.b06-2.el8_5.nosrc.rpm", "java-1.8.0-openjdk", "1.8.0.322.b06-2.el8_5"},
		{"(none)", "", ""}, {"", "", ""}, {".rpm", "", ""}, {"-.rpm", "", ""}, {"--.rpm", "", ""}, {"a-1.src.rpm", "", ""}, {"-1-2.src.rpm", "", ""},
	}
	for _, tt := range tests {
		if name, version := splitSourceRPM(tt.in); name != tt.name || version != tt.version {
			t.Errorf("splitSourceRPM(%q) = %q, %q; want %q, %q", tt.in, name, version, tt.name, tt.version)
		}
	}
}

func TestRPMJournal(t *testing.T) {
	c := &Candidate{Path: "var/lib/rpm/rpmdb.sqlite-wal"}
	if (rpmJournal{}).Wants(c) {
		t.Error("an empty log is wanted")
	}
	res, err := analyzeText(t, rpmJournal{}, c.Path, "x")
	if err != nil || len(res.Notes) != 1 || !res.silent() {
		t.Errorf("%+v, %v; want a note and nothing else", res, err)
	}
}

// shortReader has fewer bytes than it was said to have.
type shortReader struct{ *bytes.Reader }

func TestReadAt(t *testing.T) {
	r := shortReader{bytes.NewReader([]byte("0123456789"))}
	tests := []struct {
		size, off int64
		n         int
		want      string
		err       error
	}{
		{10, 2, 3, "234", nil}, {10, 0, 10, "0123456789", nil}, {10, 10, 0, "", nil},
		{10, 8, 3, "", io.ErrUnexpectedEOF}, {10, -1, 1, "", io.ErrUnexpectedEOF}, {10, 1<<63 - 2, 9, "", io.ErrUnexpectedEOF}, {10, 0, -1, "", io.ErrUnexpectedEOF},
		{20, 8, 5, "", io.ErrUnexpectedEOF}, // the file is shorter than its size
	}
	for _, tt := range tests {
		b, err := readAt(r, tt.size, tt.off, tt.n)
		if string(b) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("readAt(%d of %d, %d) = %q, %v; want %q, %v", tt.off, tt.size, tt.n, b, err, tt.want, tt.err)
		}
	}
}

func FuzzRPM(f *testing.F) {
	// Small ones, which the fuzzer gets further with.
	all := headers(rpmSpec{name: "a", version: "1", tail: 300, files: []string{"/bin/|x"}}, rpmSpec{name: "b", version: "2", epoch: 1})
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		f.Add(bdbFile(order, 512, all...))
	}
	f.Add(ndbFile(all...))
	f.Add(sqliteDB(512, all...))
	f.Add(sqliteDB(512, headers(slices.Repeat(rpmSpecs[4:], 20)...)...))
	f.Add([]byte("RpmP"))
	f.Add(rpmSpecs[0].header())
	f.Fuzz(func(t *testing.T, b []byte) {
		res, err := analyzeRPM(t, b)
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
		requireSound(t, res, len(b), 32)
		res, _ = analyzeRPM(t, ndbFile(b))
		requireSound(t, res, len(b)+8192, 32)
	})
}

// TestRealRPM finds exactly the packages of real databases in all formats.
func TestRealRPM(t *testing.T) {
	images := sharedImages(t)
	for _, ref := range []string{"rpm-centos7", "rpm-ubi8", "rpm-fedora35", "rpm-mariner2", "rpm-sle15"} {
		t.Run(ref, func(t *testing.T) {
			var want truth
			readJSON(t, filepath.Join(images, "truth", ref+".json"), &want)
			wanted := map[string]bool{}
			for _, p := range want.Packages {
				if p.Type == "rpm" {
					wanted[p.Name+" "+p.Version] = true
				}
			}
			got := map[string]bool{}
			for i, blob := range layersOf(t, filepath.Join(images, "oci"), ref) {
				layer := runLayerFile(t, blob)
				for _, p := range layer.Problems {
					t.Errorf("layer %d: problem %+v", i, p)
				}
				for _, file := range layer.Files {
					for _, p := range file.Packages {
						if p.Type == "rpm" {
							got[p.Name+" "+p.Version] = true
						}
					}
				}
			}
			if len(wanted) == 0 {
				t.Fatal("the truth lists no package")
			}
			if diff := cmp.Diff(wanted, got); diff != "" {
				t.Errorf("packages (-truth +found):\n%s", diff)
			}
		})
	}
}
