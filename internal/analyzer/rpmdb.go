package analyzer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
)

// maxRPMBlob bounds one package's header; those of the largest packages (kernel
// modules, texlive) have about 10 MiB.
const maxRPMBlob = 64 << 20

// ---- Berkeley DB, hash access method (db, src/dbinc/db_page.h) ----

const (
	bdbHashMagic    = 0x00061561
	bdbPageHeader   = 26
	bdbHashUnsorted = 2
	bdbOverflow     = 7
	bdbHash         = 13
	bdbOnPage       = 1 // type of an item that lies on the hash page itself
	bdbOffPage      = 3 // type of an item that lies on overflow pages
)

// minRPMBlob is that of a header with one entry. What is shorter is the counter
// that rpm keeps under key 0.
const minRPMBlob = 24

// bdbBlobs gives the values of a hash database: package headers, most of which
// lie on overflow pages. The byte order is that of the machine that wrote it.
func bdbBlobs(r io.ReaderAt, size int64, head []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var order binary.ByteOrder = binary.LittleEndian
		if binary.LittleEndian.Uint32(head[12:]) != bdbHashMagic {
			order = binary.BigEndian
		}
		pageSize := int64(order.Uint32(head[20:]))
		if pageSize < 512 || pageSize > 64<<10 || pageSize&(pageSize-1) != 0 {
			yield(nil, fmt.Errorf("berkeley db: impossible page size %d", pageSize))
			return
		}
		pages := size / pageSize
		db := bdb{r: r, size: size, order: order, pageSize: pageSize, left: 2*pages + 16}
		for n := int64(1); n < pages; n++ {
			page, err := db.page(n)
			if err != nil {
				yield(nil, err)
				return
			}
			if !db.values(page, yield) {
				return
			}
		}
		if last := int64(order.Uint32(head[32:])); last >= pages {
			yield(nil, fmt.Errorf("berkeley db: the file ends after page %d of %d", pages-1, last))
		}
	}
}

type bdb struct {
	r        io.ReaderAt
	size     int64
	order    binary.ByteOrder
	pageSize int64
	// left bounds the pages that are read, each of which is one page or belongs
	// to one value, so that values in a circle end.
	left int64
}

func (db *bdb) page(n int64) ([]byte, error) {
	if db.left--; db.left < 0 {
		return nil, errors.New("berkeley db: its pages form a circle")
	}
	b, err := readAt(db.r, db.size, n*db.pageSize, int(db.pageSize))
	if err != nil {
		return nil, fmt.Errorf("berkeley db: page %d: %w", n, err)
	}
	return b, nil
}

// values yields the values of one hash page, whose items are key, value, key,
// value, from the end of the page downwards.
func (db *bdb) values(page []byte, yield func([]byte, error) bool) bool {
	if t := page[25]; t != bdbHash && t != bdbHashUnsorted {
		return true
	}
	entries := int(db.order.Uint16(page[20:]))
	if bdbPageHeader+entries*2 > len(page) {
		return yield(nil, errors.New("berkeley db: a page claims more entries than it can have"))
	}
	for i := 1; i < entries; i += 2 {
		end, off := int(db.order.Uint16(page[bdbPageHeader+i*2-2:])), int(db.order.Uint16(page[bdbPageHeader+i*2:]))
		if blob, err := db.value(page, off, end); (err != nil || blob != nil) && !yield(blob, err) {
			return false
		}
	}
	return true
}

// value is the one that begins at off; where it lies on the page itself, it
// reaches up to end. It is nil when it can't be a package.
func (db *bdb) value(page []byte, off, end int) ([]byte, error) {
	if off >= len(page) || end > len(page) {
		return nil, errors.New("berkeley db: a value lies outside of its page")
	}
	switch page[off] {
	case bdbOnPage:
		if off+1+minRPMBlob <= end {
			return page[off+1 : end], nil
		}
	case bdbOffPage:
		if off+12 > len(page) {
			return nil, errors.New("berkeley db: a value lies outside of its page")
		}
		return db.overflow(int64(db.order.Uint32(page[off+4:])), int64(db.order.Uint32(page[off+8:])))
	}
	return nil, nil
}

// overflow joins the pages of one value.
func (db *bdb) overflow(n, length int64) ([]byte, error) {
	if length > maxRPMBlob || length > db.size {
		return nil, fmt.Errorf("berkeley db: a value claims %d bytes", length)
	}
	b := make([]byte, 0, length)
	for n != 0 && int64(len(b)) < length {
		page, err := db.page(n)
		if err != nil {
			return nil, err
		}
		used := int(db.order.Uint16(page[22:]))
		if page[25] != bdbOverflow || used == 0 || bdbPageHeader+used > len(page) {
			return nil, fmt.Errorf("berkeley db: page %d is not a page of a value", n)
		}
		b = append(b, page[bdbPageHeader:bdbPageHeader+used]...)
		n = int64(db.order.Uint32(page[16:]))
	}
	if int64(len(b)) < length {
		return nil, fmt.Errorf("berkeley db: a value has %d of its %d bytes", len(b), length)
	}
	return b[:length], nil
}

// ---- ndb (rpm, lib/backend/ndb/rpmpkg.c) ----

const (
	ndbSlotMagic = 'S' | 'l'<<8 | 'o'<<16 | 't'<<24
	ndbBlobMagic = 'B' | 'l'<<8 | 'b'<<16 | 'S'<<24
	ndbPage      = 4096
	ndbSlot      = 16
	ndbBlock     = 16
)

// ndbBlobs gives the packages of an ndb database: pages of slots, each of which
// points at a blob.
func ndbBlobs(r io.ReaderAt, size int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		le := binary.LittleEndian
		head, err := readAt(r, size, 0, 32)
		if err != nil {
			yield(nil, fmt.Errorf("ndb: header: %w", err))
			return
		}
		pages := int64(le.Uint32(head[12:]))
		if pages == 0 || pages*ndbPage > size {
			yield(nil, fmt.Errorf("ndb: %d pages of slots in a file of %d bytes", pages, size))
			return
		}
		for n := range pages {
			page, err := readAt(r, size, n*ndbPage, ndbPage)
			if err != nil {
				yield(nil, fmt.Errorf("ndb: page %d: %w", n, err))
				return
			}
			if n == 0 {
				page = page[32:]
			}
			for ; len(page) >= ndbSlot; page = page[ndbSlot:] {
				if le.Uint32(page) != ndbSlotMagic {
					yield(nil, errors.New("ndb: damaged slot"))
					return
				}
				if le.Uint32(page[4:]) == 0 {
					continue // free
				}
				if !yield(ndbBlob(r, size, int64(le.Uint32(page[8:]))*ndbBlock)) {
					return
				}
			}
		}
	}
}

func ndbBlob(r io.ReaderAt, size, off int64) ([]byte, error) {
	head, err := readAt(r, size, off, 16)
	if err != nil || binary.LittleEndian.Uint32(head) != ndbBlobMagic {
		return nil, fmt.Errorf("ndb: no package at byte %d", off)
	}
	length := int64(binary.LittleEndian.Uint32(head[12:]))
	if length > maxRPMBlob || length > size {
		return nil, fmt.Errorf("ndb: a package claims %d bytes", length)
	}
	b, err := readAt(r, size, off+16, int(length))
	if err != nil {
		return nil, fmt.Errorf("ndb: package at byte %d: %w", off, err)
	}
	return b, nil
}

// ---- SQLite (sqlite.org/fileformat2.html) ----

const (
	sqliteMagic         = "SQLite format 3\x00"
	sqliteInteriorTable = 0x05
	sqliteLeafTable     = 0x0d
	sqliteMaxDepth      = 40
)

// A sqliteFile reads the rows of tables, and nothing else of a database.
type sqliteFile struct {
	r        io.ReaderAt
	size     int64
	pageSize int64
	usable   int64
	// left bounds the pages that one reading may visit, so that pages that point
	// at each other end.
	left int64
}

var errSQLite = errors.New("sqlite: damaged database")

// sqliteBlobs gives the last column of each row of a table, which for rpm's
// Packages is the header.
func sqliteBlobs(r io.ReaderAt, size int64, table string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		db, err := openSQLite(r, size)
		if err != nil {
			yield(nil, err)
			return
		}
		root, err := db.tableRoot(table)
		if err != nil {
			yield(nil, err)
			return
		}
		db.rows(root, 0, func(record []byte, err error) bool {
			if err != nil {
				return yield(nil, err)
			}
			columns, err := sqliteColumns(record)
			if err != nil || len(columns) == 0 {
				return yield(nil, errSQLite)
			}
			return yield(columns[len(columns)-1], nil)
		})
	}
}

func openSQLite(r io.ReaderAt, size int64) (*sqliteFile, error) {
	head, err := readAt(r, size, 0, 100)
	if err != nil {
		return nil, errSQLite
	}
	db := &sqliteFile{r: r, size: size, pageSize: int64(binary.BigEndian.Uint16(head[16:]))}
	if db.pageSize == 1 {
		db.pageSize = 64 << 10
	}
	if db.pageSize < 512 || db.pageSize&(db.pageSize-1) != 0 {
		return nil, fmt.Errorf("sqlite: impossible page size %d", db.pageSize)
	}
	db.usable = db.pageSize - int64(head[20])
	if db.usable < 480 {
		return nil, errSQLite
	}
	db.left = 2*size/db.pageSize + 16
	return db, nil
}

func (db *sqliteFile) page(n int64) ([]byte, error) {
	if db.left--; db.left < 0 {
		return nil, fmt.Errorf("%w: its pages form a circle", errSQLite)
	}
	b, err := readAt(db.r, db.size, (n-1)*db.pageSize, int(db.pageSize))
	if err != nil {
		return nil, fmt.Errorf("sqlite: page %d: %w", n, err)
	}
	return b, nil
}

// tableRoot finds the table's first page in the schema, which is the table on page 1.
func (db *sqliteFile) tableRoot(table string) (root int64, err error) {
	db.rows(1, 0, func(record []byte, e error) bool {
		if e != nil {
			err = e
			return false
		}
		// type, name, tbl_name, rootpage, sql
		c, e := sqliteColumns(record)
		if e == nil && len(c) >= 4 && string(c[0]) == "table" && string(c[1]) == table {
			for _, b := range c[3] {
				root = root<<8 | int64(b)
			}
			return false
		}
		return true
	})
	if err == nil && root <= 0 {
		err = fmt.Errorf("sqlite: no table %s", table)
	}
	return root, err
}

// rows yields the records of the table b-tree at a page.
func (db *sqliteFile) rows(n int64, depth int, yield func([]byte, error) bool) bool {
	page, err := db.page(n)
	if err != nil {
		return yield(nil, err)
	}
	if depth > sqliteMaxDepth {
		return yield(nil, errSQLite)
	}
	at := 0
	if n == 1 {
		at = 100 // after the file's header
	}
	kind, cells := page[at], int(binary.BigEndian.Uint16(page[at+3:]))
	pointers := at + 8
	if kind == sqliteInteriorTable {
		pointers = at + 12
	}
	if kind != sqliteInteriorTable && kind != sqliteLeafTable || pointers+2*cells > len(page) {
		return yield(nil, fmt.Errorf("%w: page %d is not one of a table", errSQLite, n))
	}
	for i := range cells {
		off := int(binary.BigEndian.Uint16(page[pointers+2*i:]))
		if off+4 > len(page) {
			return yield(nil, errSQLite)
		}
		if kind == sqliteInteriorTable {
			if !db.rows(int64(binary.BigEndian.Uint32(page[off:])), depth+1, yield) {
				return false
			}
			continue
		}
		if !yield(db.record(page, off)) {
			return false
		}
	}
	if kind == sqliteInteriorTable {
		return db.rows(int64(binary.BigEndian.Uint32(page[at+8:])), depth+1, yield)
	}
	return true
}

// record joins a row's payload from its cell and its overflow pages.
func (db *sqliteFile) record(page []byte, off int) ([]byte, error) {
	length, n := sqliteVarint(page[off:])
	_, m := sqliteVarint(page[min(off+n, len(page)):]) // the row's id
	start := off + n + m
	if n == 0 || m == 0 || length > maxRPMBlob || int64(length) > db.size {
		return nil, errSQLite
	}
	local := db.local(int64(length))
	if int64(start)+local > int64(len(page)) {
		return nil, errSQLite
	}
	record := append(make([]byte, 0, length), page[start:int64(start)+local]...)
	if local == int64(length) {
		return record, nil
	}
	at := start + int(local)
	if at+4 > len(page) {
		return nil, errSQLite
	}
	for next := int64(binary.BigEndian.Uint32(page[at:])); uint64(len(record)) < length; {
		if next == 0 {
			return nil, errSQLite
		}
		over, err := db.page(next)
		if err != nil {
			return nil, err
		}
		next = int64(binary.BigEndian.Uint32(over))
		record = append(record, over[4:min(4+int64(length)-int64(len(record)), db.usable)]...)
	}
	return record, nil
}

// local is how much of a payload lies in the leaf's cell (file format, 1.6).
func (db *sqliteFile) local(length int64) int64 {
	most := db.usable - 35
	if length <= most {
		return length
	}
	least := (db.usable-12)*32/255 - 23
	if k := least + (length-least)%(db.usable-4); k <= most {
		return k
	}
	return least
}

// sqliteColumns splits a record (file format, 2.1).
func sqliteColumns(b []byte) ([][]byte, error) {
	headerLen, n := sqliteVarint(b)
	if n == 0 || headerLen > uint64(len(b)) || headerLen < uint64(n) {
		return nil, errSQLite
	}
	header, body := b[n:headerLen], b[headerLen:]
	var columns [][]byte
	for len(header) > 0 {
		serial, n := sqliteVarint(header)
		if n == 0 {
			return nil, errSQLite
		}
		header = header[n:]
		size := sqliteSize(serial)
		if size > uint64(len(body)) {
			return nil, errSQLite
		}
		columns = append(columns, body[:size])
		body = body[size:]
	}
	return columns, nil
}

// sqliteSize is the size of a value by its serial type.
func sqliteSize(serial uint64) uint64 {
	switch {
	case serial <= 4:
		return serial
	case serial == 5:
		return 6
	case serial == 6, serial == 7:
		return 8
	case serial >= 12:
		return (serial - 12) / 2
	}
	return 0
}

// sqliteVarint reads a big-endian number of 1 to 9 bytes; n is 0 when b is too short.
func sqliteVarint(b []byte) (v uint64, n int) {
	for n < 9 {
		if n >= len(b) {
			return 0, 0
		}
		c := b[n]
		n++
		if n == 9 {
			return v<<8 | uint64(c), n
		}
		v = v<<7 | uint64(c&0x7f)
		if c&0x80 == 0 {
			return v, n
		}
	}
	return v, n
}
