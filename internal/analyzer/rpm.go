package analyzer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"

	"strata/internal/inventory"
)

// rpm reads the databases of RPM in its three formats. They are read by our own
// code, since go-rpmdb wants a file on disk, trusts the sizes in it, and reads in
// a goroutine of its own, in which a panic on a damaged file ends the process.
type rpm struct{}

func (rpm) Name() string { return "rpm" }

// rpmDirs are where the database lies: the old place, the one since Fedora 36
// and SLE 15, and that of rpm-ostree.
var rpmDirs = []string{"var/lib/rpm/", "usr/lib/sysimage/rpm/", "usr/share/rpm/"}

func inRPMDir(p string) (base string, ok bool) {
	for _, dir := range rpmDirs {
		if base, ok = strings.CutPrefix(p, dir); ok {
			return base, true
		}
	}
	return "", false
}

func (rpm) Wants(c *Candidate) bool {
	switch base, _ := inRPMDir(c.Path); base {
	case "Packages", "Packages.db", "rpmdb.sqlite":
		return true
	}
	return false
}

func (rpm) Analyze(ctx context.Context, f *File) (Result, error) {
	l := listing{Result: Result{Kind: inventory.Database, Database: "rpm"}}
	if f.Size == 0 {
		return l.result(), nil
	}
	headers, err := rpmHeaders(f)
	if err != nil {
		return l.Result, err
	}
	// Headers don't overlap, so all of them have no more bytes than the file.
	left := f.Size
	var faults rpmFaults
	for blob, err := range headers {
		if left -= int64(len(blob)); left < 0 {
			return l.result(), errors.New("the rpm database has packages that overlap: the rest is not read")
		}
		if err := ctx.Err(); err != nil {
			return l.result(), err
		}
		var h *rpmHeader
		if err == nil {
			h, err = parseRPMHeader(blob)
		}
		if err != nil {
			if faults.add(err) {
				continue
			}
			break
		}
		if err := h.list(&l); err != nil {
			return l.result(), err
		}
	}
	return l.result(), faults.err()
}

// rpmFaults are what is wrong with a database: one damaged package does not hide
// the others.
type rpmFaults struct {
	n     int
	first error
}

// maxRPMFaults is after how many faults the rest is not worth reading.
const maxRPMFaults = 1000

// add is false when it was one too many.
func (r *rpmFaults) add(err error) bool {
	if r.first == nil {
		r.first = err
	}
	r.n++
	return r.n < maxRPMFaults
}

func (r *rpmFaults) err() error {
	switch r.n {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("the rpm database is damaged, packages may be missing: %w", r.first)
	}
	return fmt.Errorf("the rpm database is damaged in %d places, packages are missing; the first: %w", r.n, r.first)
}

// rpmHeaders tells the format by its first bytes.
func rpmHeaders(f *File) (iter.Seq2[[]byte, error], error) {
	head := f.Head
	switch {
	case bytes.HasPrefix(head, []byte(sqliteMagic)):
		return sqliteBlobs(f.ReaderAt(), f.Size, "Packages"), nil
	case bytes.HasPrefix(head, []byte("RpmP")):
		return ndbBlobs(f.ReaderAt(), f.Size), nil
	case len(head) >= 512 && (binary.LittleEndian.Uint32(head[12:]) == bdbHashMagic || binary.BigEndian.Uint32(head[12:]) == bdbHashMagic):
		return bdbBlobs(f.ReaderAt(), f.Size, head), nil
	}
	return nil, errors.New("the rpm database is of no known format (Berkeley DB hash, ndb, sqlite)")
}

// Tags of RPM headers (rpm, include/rpm/rpmtag.h) that matter here.
const (
	rpmTagName       = 1000
	rpmTagVersion    = 1001
	rpmTagRelease    = 1002
	rpmTagEpoch      = 1003
	rpmTagVendor     = 1011
	rpmTagLicense    = 1014
	rpmTagArch       = 1022
	rpmTagSourceRPM  = 1044
	rpmTagDirIndexes = 1116
	rpmTagBaseNames  = 1117
	rpmTagDirNames   = 1118
)

// An rpmHeader has the entries of a header by tag.
type rpmHeader struct {
	entries map[uint32]rpmEntry
	data    []byte
}

type rpmEntry struct{ typ, offset, count uint32 }

// Types of header entries.
const (
	rpmInt32       = 4
	rpmString      = 6
	rpmStringArray = 8
	rpmI18NString  = 9
)

var errRPMHeader = errors.New("damaged rpm header")

// parseRPMHeader reads a header as the database keeps it: the number of index
// entries, the size of the data, the index, the data; big-endian.
func parseRPMHeader(b []byte) (*rpmHeader, error) {
	if len(b) < 8 {
		return nil, errRPMHeader
	}
	n, size := uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
	if 8+n*16+size > uint64(len(b)) {
		return nil, errRPMHeader
	}
	h := &rpmHeader{entries: make(map[uint32]rpmEntry, 10), data: b[8+n*16 : 8+n*16+size]}
	for i := range n {
		e := b[8+i*16:]
		switch tag := binary.BigEndian.Uint32(e); tag {
		case rpmTagName, rpmTagVersion, rpmTagRelease, rpmTagEpoch, rpmTagVendor, rpmTagLicense, rpmTagArch, rpmTagSourceRPM,
			rpmTagDirIndexes, rpmTagBaseNames, rpmTagDirNames:
			h.entries[tag] = rpmEntry{binary.BigEndian.Uint32(e[4:]), binary.BigEndian.Uint32(e[8:]), binary.BigEndian.Uint32(e[12:])}
		}
	}
	return h, nil
}

// strings gives the values of a tag, at most those that the data hold.
func (h *rpmHeader) strings(tag uint32) iter.Seq[string] {
	return func(yield func(string) bool) {
		e, ok := h.entries[tag]
		if !ok || uint64(e.offset) > uint64(len(h.data)) {
			return
		}
		count := e.count
		switch e.typ {
		case rpmString:
			count = 1
		case rpmStringArray, rpmI18NString:
		default:
			return
		}
		rest := h.data[e.offset:]
		for range count {
			i := bytes.IndexByte(rest, 0)
			if i < 0 || !yield(string(rest[:i])) {
				return
			}
			rest = rest[i+1:]
		}
	}
}

func (h *rpmHeader) string(tag uint32) string {
	for s := range h.strings(tag) {
		return s
	}
	return ""
}

// int32s gives a tag's numbers; nil when it has none or says more than it holds.
func (h *rpmHeader) int32s(tag uint32) []byte {
	e, ok := h.entries[tag]
	if !ok || e.typ != rpmInt32 || uint64(e.offset)+uint64(e.count)*4 > uint64(len(h.data)) {
		return nil
	}
	return h.data[e.offset : uint64(e.offset)+uint64(e.count)*4]
}

// pkg is the package. Keys, which RPM keeps as packages of the name gpg-pubkey,
// are such for `rpm -qa`, and so for us.
func (h *rpmHeader) pkg() (inventory.Package, bool) {
	p := inventory.Package{Type: "rpm", Name: h.string(rpmTagName), Version: h.string(rpmTagVersion), Arch: h.string(rpmTagArch)}
	if p.Name == "" || p.Version == "" {
		return p, false
	}
	if r := h.string(rpmTagRelease); r != "" {
		p.Version += "-" + r
	}
	epoch := ""
	if n := h.int32s(rpmTagEpoch); len(n) >= 4 {
		if v := binary.BigEndian.Uint32(n); v != 0 {
			epoch = strconv.FormatUint(uint64(v), 10) + ":"
		}
	}
	p.Version = epoch + p.Version
	if l := h.string(rpmTagLicense); l != "" {
		p.Licenses = []string{l}
	}
	p.SourceName, p.SourceVersion = splitSourceRPM(h.string(rpmTagSourceRPM))
	if p.SourceVersion != "" {
		// The file name has no epoch; a source package has that of its packages
		// nearly always, and advisories give it.
		p.SourceVersion = epoch + p.SourceVersion
	}
	return p, true
}

// splitSourceRPM splits "acl-2.2.53-1.el8.src.rpm" into name and version-release.
func splitSourceRPM(s string) (name, version string) {
	s, ok := strings.CutSuffix(s, ".rpm")
	if !ok {
		return "", ""
	}
	if i := strings.LastIndexByte(s, '.'); i > 0 {
		s = s[:i] // .src or .nosrc
	}
	release := strings.LastIndexByte(s, '-')
	if release <= 0 {
		return "", ""
	}
	v := strings.LastIndexByte(s[:release], '-')
	if v <= 0 {
		return "", ""
	}
	return s[:v], s[v+1:]
}

// maxRPMDirs bounds the directories of one package; texlive's have some 10,000.
const maxRPMDirs = 1 << 18

// list adds the package and the paths it owns.
func (h *rpmHeader) list(l *listing) error {
	p, ok := h.pkg()
	if !ok {
		return nil
	}
	if err := l.add(p); err != nil {
		return err
	}
	var dirs []string
	for d := range h.strings(rpmTagDirNames) {
		if len(dirs) == maxRPMDirs {
			break
		}
		dirs = append(dirs, d)
	}
	index := h.int32s(rpmTagDirIndexes)
	owner := "rpm:" + p.Name
	l.vendor(owner, p.Version, h.string(rpmTagVendor))
	for base := range h.strings(rpmTagBaseNames) {
		if len(index) < 4 {
			break
		}
		d := binary.BigEndian.Uint32(index)
		index = index[4:]
		if uint64(d) >= uint64(len(dirs)) {
			continue
		}
		if err := l.own(owner, dirs[d], base); err != nil {
			return err
		}
	}
	return nil
}

// rpmJournal notes what an rpm database has not yet written into its file.
type rpmJournal struct{}

func (rpmJournal) Name() string { return "rpm-journal" }

func (rpmJournal) Wants(c *Candidate) bool {
	base, _ := inRPMDir(c.Path)
	return base == "rpmdb.sqlite-wal" && c.Size > 0
}

func (rpmJournal) Analyze(context.Context, *File) (Result, error) {
	return Result{Notes: []string{"the rpm database has a write-ahead log that was not checkpointed: its latest changes are not read"}}, nil
}

// readAt reads n bytes at off, within a file of the size.
func readAt(r io.ReaderAt, size, off int64, n int) ([]byte, error) {
	if off < 0 || n < 0 || off > size-int64(n) {
		return nil, io.ErrUnexpectedEOF
	}
	b := make([]byte, n)
	if m, err := r.ReadAt(b, off); m < n {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}
