package analyzer

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
)

// Bounds of what an ELF file's headers may claim: linkers write some thirty
// sections, and -ffunction-sections leaves none of its many in a linked file.
const (
	maxELFSections = 1 << 16
	maxELFNames    = 4 << 20
)

// elfSections reads the section headers (System V ABI, "Sections") in two reads.
// debug/elf makes several of each section, and an image has thousands of files.
func elfSections(r io.ReaderAt, size int64, head []byte) ([]section, error) {
	h, err := elfHeaderOf(head)
	if err != nil || h.offset == 0 {
		return nil, err // without section headers
	}
	if h.count == 0 || h.names == uint64(elf.SHN_XINDEX) {
		// More than the header can say stands in the first section's.
		first, err := readAt(r, size, h.offset, h.entry)
		if err != nil {
			return nil, fmt.Errorf("ELF section headers: %w", err)
		}
		s := h.section(first)
		if h.count == 0 {
			h.count = s.size
		}
		if h.names == uint64(elf.SHN_XINDEX) {
			h.names = uint64(s.link)
		}
	}
	if h.count > maxELFSections {
		return nil, fmt.Errorf("ELF file with %d sections", h.count)
	}
	table, err := readAt(r, size, h.offset, int(h.count)*h.entry)
	if err != nil {
		return nil, fmt.Errorf("ELF section headers: %w", err)
	}
	if h.names >= h.count {
		return nil, fmt.Errorf("ELF section names are in section %d of %d", h.names, h.count)
	}
	strings := h.section(table[int(h.names)*h.entry:])
	if strings.size > maxELFNames {
		return nil, fmt.Errorf("ELF section names of %d bytes", strings.size)
	}
	names, err := readAt(r, size, int64(strings.offset), int(strings.size))
	if err != nil {
		return nil, fmt.Errorf("ELF section names: %w", err)
	}
	var out []section
	for ; len(table) >= h.entry; table = table[h.entry:] {
		s := h.section(table)
		if s.kind == elf.SHT_NULL || s.kind == elf.SHT_NOBITS || uint64(s.name) >= uint64(len(names)) {
			continue
		}
		name, _, _ := bytes.Cut(names[s.name:], []byte{0})
		out = append(out, section{string(name), int64(s.offset), int64(s.size)})
	}
	return out, nil
}

// An elfHeader is where a file says its section headers are.
type elfHeader struct {
	order        binary.ByteOrder
	wide         bool // 64 bits
	offset       int64
	entry        int
	count, names uint64
}

func elfHeaderOf(head []byte) (elfHeader, error) {
	h := elfHeader{order: binary.LittleEndian, wide: elf.Class(head[elf.EI_CLASS]) == elf.ELFCLASS64, entry: 40}
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		h.order = binary.BigEndian
	}
	length, at := 52, 46
	if h.wide {
		h.entry, length, at = 64, 64, 58
	}
	if len(head) < length {
		return h, io.ErrUnexpectedEOF
	}
	if h.wide {
		h.offset = int64(h.order.Uint64(head[40:]))
	} else {
		h.offset = int64(h.order.Uint32(head[32:]))
	}
	if entry := int(h.order.Uint16(head[at:])); h.offset != 0 && entry != h.entry {
		return h, fmt.Errorf("ELF section headers of %d bytes", entry)
	}
	h.count, h.names = uint64(h.order.Uint16(head[at+2:])), uint64(h.order.Uint16(head[at+4:]))
	return h, nil
}

// An elfSection is one section header.
type elfSection struct {
	name         uint32
	kind         elf.SectionType
	offset, size uint64
	link         uint32
}

func (h *elfHeader) section(b []byte) elfSection {
	s := elfSection{name: h.order.Uint32(b), kind: elf.SectionType(h.order.Uint32(b[4:]))}
	if h.wide {
		s.offset, s.size, s.link = h.order.Uint64(b[24:]), h.order.Uint64(b[32:]), h.order.Uint32(b[40:])
	} else {
		s.offset, s.size, s.link = uint64(h.order.Uint32(b[16:])), uint64(h.order.Uint32(b[20:])), h.order.Uint32(b[24:])
	}
	return s
}
