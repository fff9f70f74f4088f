package analyzer

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// The writers of rpm databases below write just what a reader must understand,
// after the descriptions of the formats and not after our readers.

// An rpmSpec is a package to be written into a database.
type rpmSpec struct {
	name, version, release, arch, license, source, vendor string
	epoch                                                 uint32
	files                                                 []string // as "dir/|base"
	// tail is so many bytes of description, to make the header as large.
	tail int
}

// header writes the package as rpm stores it (rpm, lib/header.c, headerExport):
// number of entries, size of the data, entries, data.
func (s rpmSpec) header() []byte {
	var index, data []byte
	n := 0
	add := func(tag, typ uint32, count int, b []byte) {
		if typ == rpmInt32 {
			for len(data)%4 != 0 {
				data = append(data, 0)
			}
		}
		for _, v := range []uint32{tag, typ, uint32(len(data)), uint32(count)} {
			index = binary.BigEndian.AppendUint32(index, v)
		}
		data = append(data, b...)
		n++
	}
	str := func(tag, typ uint32, v string) {
		if v != "" {
			add(tag, typ, 1, append([]byte(v), 0))
		}
	}
	str(rpmTagName, rpmString, s.name)
	str(rpmTagVersion, rpmString, s.version)
	str(rpmTagRelease, rpmString, s.release)
	if s.epoch > 0 {
		add(rpmTagEpoch, rpmInt32, 1, binary.BigEndian.AppendUint32(nil, s.epoch))
	}
	str(1005, rpmI18NString, string(bytes.Repeat([]byte{'x'}, s.tail))) // description
	str(rpmTagVendor, rpmString, s.vendor)
	str(rpmTagLicense, rpmString, s.license)
	str(rpmTagArch, rpmString, s.arch)
	str(rpmTagSourceRPM, rpmString, s.source)
	if len(s.files) > 0 {
		var dirs []string
		var indexes, bases, names []byte
		for _, f := range s.files {
			dir, base, _ := bytes.Cut([]byte(f), []byte("|"))
			i := slices.Index(dirs, string(dir))
			if i < 0 {
				i = len(dirs)
				dirs = append(dirs, string(dir))
				names = append(append(names, dir...), 0)
			}
			indexes = binary.BigEndian.AppendUint32(indexes, uint32(i))
			bases = append(append(bases, base...), 0)
		}
		add(rpmTagDirIndexes, rpmInt32, len(s.files), indexes)
		add(rpmTagBaseNames, rpmStringArray, len(s.files), bases)
		add(rpmTagDirNames, rpmStringArray, len(dirs), names)
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(n))
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	return append(append(out, index...), data...)
}

// bdbFile is a Berkeley DB hash database of the values (db, src/dbinc/db_page.h).
// Values of more than a quarter of a page go to overflow pages.
func bdbFile(order binary.ByteOrder, pageSize int, values ...[]byte) []byte {
	pages := [][]byte{make([]byte, pageSize)}
	newPage := func(typ byte) ([]byte, uint32) {
		p := make([]byte, pageSize)
		p[25] = typ
		order.PutUint32(p[8:], uint32(len(pages)))
		pages = append(pages, p)
		return p, uint32(len(pages) - 1)
	}
	const header = 26
	var page []byte
	entries, free := 0, 0
	put := func(item []byte) {
		free -= len(item)
		copy(page[free:], item)
		order.PutUint16(page[header+2*entries:], uint16(free))
		entries++
		order.PutUint16(page[20:], uint16(entries))
	}
	for i, v := range append([][]byte{{1, 0, 0, 0}}, values...) { // the counter comes first
		item := append([]byte{1}, v...)
		if len(v) > pageSize/4 {
			first := uint32(len(pages))
			size := len(v)
			for rest := v; len(rest) > 0; {
				p, n := newPage(7)
				used := copy(p[header:], rest)
				rest = rest[used:]
				order.PutUint16(p[22:], uint16(used))
				if len(rest) > 0 {
					order.PutUint32(p[16:], n+1)
				}
			}
			item = make([]byte, 12)
			item[0] = 3
			order.PutUint32(item[4:], first)
			order.PutUint32(item[8:], uint32(size))
		}
		if page == nil || header+2*(entries+2)+5+len(item) > free {
			page, _ = newPage(13)
			entries, free = 0, pageSize
		}
		key := make([]byte, 5)
		key[0] = 1
		order.PutUint32(key[1:], uint32(i))
		put(key)
		put(item)
	}
	meta := pages[0]
	order.PutUint32(meta[12:], 0x061561)
	order.PutUint32(meta[16:], 9)
	order.PutUint32(meta[20:], uint32(pageSize))
	meta[25] = 8
	order.PutUint32(meta[32:], uint32(len(pages)-1))
	return bytes.Join(pages, nil)
}

// ndbFile is an ndb database of the values (rpm, lib/backend/ndb/rpmpkg.c): one
// page of slots, then the blobs in blocks of 16 bytes. Every second slot is free.
func ndbFile(values ...[]byte) []byte {
	le := binary.LittleEndian
	slots := []byte("RpmP")
	for _, v := range []uint32{0, 1, 1, uint32(len(values)) + 1, 0, 0, 0} { // version, generation, pages of slots, next index
		slots = le.AppendUint32(slots, v)
	}
	var blobs []byte
	slot := func(index, block, blocks uint32) {
		slots = append(slots, "Slot"...)
		for _, v := range []uint32{index, block, blocks} {
			slots = le.AppendUint32(slots, v)
		}
	}
	for i, v := range values {
		block := uint32(4096+len(blobs)) / 16
		start := len(blobs)
		blobs = append(blobs, "BlbS"...)
		for _, n := range []uint32{uint32(i + 1), 1, uint32(len(v))} {
			blobs = le.AppendUint32(blobs, n)
		}
		blobs = append(blobs, v...)
		for len(blobs)%16 != 4 {
			blobs = append(blobs, 0)
		}
		blobs = append(blobs, "\x00\x00\x00\x00\x00\x00\x00\x00BlbE"...) // checksum, length, end
		slot(uint32(i+1), block, uint32(len(blobs)-start)/16)
		slot(0, 0, 0)
	}
	for len(slots) < 4096 {
		slot(0, 0, 0)
	}
	return append(slots[:4096], blobs...)
}

// A sqliteWriter writes a database of one table (sqlite.org/fileformat2.html).
type sqliteWriter struct {
	pageSize int
	pages    [][]byte
}

// sqliteDB is a database whose table Packages has the values as its rows.
func sqliteDB(pageSize int, values ...[]byte) []byte {
	w := &sqliteWriter{pageSize: pageSize}
	w.newPage() // the schema
	var rows []sqliteCell
	for i, v := range values {
		record := append([]byte{}, 0, 0) // its length comes last; the row's id is its first column
		record = appendSQLiteVarint(record, uint64(12+2*len(v)))
		record[0] = byte(len(record))
		rows = append(rows, w.cell(i+1, append(record, v...)))
	}
	root := w.table(rows)
	// type, name, tbl_name, rootpage in two bytes, no sql
	other := append([]byte{6, 23, 23, 23, 2, 13}, "tableOtherOther\x00\x01"...)
	schema := append([]byte{6, 23, 29, 29, 2, 13}, "tablePackagesPackages"...)
	schema = append(schema, byte(root>>8), byte(root))
	copy(w.pages[0], "SQLite format 3\x00")
	binary.BigEndian.PutUint16(w.pages[0][16:], uint16(pageSize)|uint16(pageSize>>16)) // 1 means 65536
	w.fill(w.pages[0], 100, 0x0d, []sqliteCell{w.cell(1, other), w.cell(2, schema)}, 0)
	return bytes.Join(w.pages, nil)
}

// A sqliteCell is a row's cell of a leaf page.
type sqliteCell struct {
	row int
	b   []byte
}

func appendSQLiteVarint(b []byte, v uint64) []byte {
	var tmp []byte
	for tmp = []byte{byte(v & 0x7f)}; v > 0x7f; {
		v >>= 7
		tmp = append(tmp, byte(v&0x7f)|0x80)
	}
	slices.Reverse(tmp)
	return append(b, tmp...)
}

func (w *sqliteWriter) newPage() (page []byte, number int) {
	w.pages = append(w.pages, make([]byte, w.pageSize))
	return w.pages[len(w.pages)-1], len(w.pages)
}

// cell is that of a record; what doesn't fit goes to overflow pages (1.6).
func (w *sqliteWriter) cell(row int, record []byte) sqliteCell {
	b := appendSQLiteVarint(appendSQLiteVarint(nil, uint64(len(record))), uint64(row))
	u, p := w.pageSize, len(record)
	if p <= u-35 {
		return sqliteCell{row, append(b, record...)}
	}
	m := (u-12)*32/255 - 23
	local := m
	if k := m + (p-m)%(u-4); k <= u-35 {
		local = k
	}
	b = append(b, record[:local]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(w.pages)+1))
	for rest := record[local:]; len(rest) > 0; {
		page, n := w.newPage()
		rest = rest[copy(page[4:], rest):]
		if len(rest) > 0 {
			binary.BigEndian.PutUint32(page, uint32(n+1))
		}
	}
	return sqliteCell{row, b}
}

// fill writes a b-tree page, whose header begins at the offset at.
func (w *sqliteWriter) fill(page []byte, at int, kind byte, cells []sqliteCell, right int) {
	page[at] = kind
	binary.BigEndian.PutUint16(page[at+3:], uint16(len(cells)))
	pointers := at + 8
	if kind == 0x05 {
		binary.BigEndian.PutUint32(page[at+8:], uint32(right))
		pointers = at + 12
	}
	end := len(page)
	for i, c := range cells {
		end -= len(c.b)
		copy(page[end:], c.b)
		binary.BigEndian.PutUint16(page[pointers+2*i:], uint16(end))
	}
}

// table writes the b-tree of the rows and gives its root page.
func (w *sqliteWriter) table(rows []sqliteCell) int {
	type node struct{ page, last int }
	var level []node
	for first := true; first || len(rows) > 0; first = false {
		n, size := 0, 8
		for n < len(rows) && size+2+len(rows[n].b) <= w.pageSize {
			size += 2 + len(rows[n].b)
			n++
		}
		page, number := w.newPage()
		w.fill(page, 0, 0x0d, rows[:n], 0)
		last := 0
		if n > 0 {
			last = rows[n-1].row
		}
		level = append(level, node{number, last})
		rows = rows[n:]
	}
	const fan = 3 // few children to a page, so that a small table is deep
	for len(level) > 1 {
		var up []node
		for group := range slices.Chunk(level, fan) {
			var cells []sqliteCell
			for _, c := range group[:len(group)-1] {
				b := binary.BigEndian.AppendUint32(nil, uint32(c.page))
				cells = append(cells, sqliteCell{c.last, appendSQLiteVarint(b, uint64(c.last))})
			}
			page, number := w.newPage()
			end := group[len(group)-1]
			w.fill(page, 0, 0x05, cells, end.page)
			up = append(up, node{number, end.last})
		}
		level = up
	}
	return level[0].page
}
