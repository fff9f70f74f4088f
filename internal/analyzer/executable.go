package analyzer

import (
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/binary"
	"io"
)

// format is that of an executable or a shared library.
type format int

const (
	notExecutable format = iota
	elfFormat
	peFormat
	machoFormat
)

// executableFormat tells from a file's first bytes whether it is a linked
// executable or shared library that can hold compiled code of Go or Rust.
// Object files, core dumps and .NET assemblies can't.
func executableFormat(head []byte) format {
	switch {
	case len(head) < 20:
		return notExecutable
	case string(head[:4]) == elf.ELFMAG:
		kind := uint16(head[16]) | uint16(head[17])<<8
		if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
			kind = uint16(head[16])<<8 | uint16(head[17])
		}
		if elf.Type(kind) == elf.ET_EXEC || elf.Type(kind) == elf.ET_DYN {
			return elfFormat
		}
	case string(head[:2]) == "MZ":
		if !dotnetAssembly(head) {
			return peFormat
		}
	case machoMagic(head):
		return machoFormat
	}
	return notExecutable
}

func machoMagic(head []byte) bool {
	switch binary.LittleEndian.Uint32(head) {
	case macho.Magic32, macho.Magic64:
		return true
	}
	switch binary.BigEndian.Uint32(head) {
	case macho.Magic32, macho.Magic64:
		return true
	}
	return false
}

// dotnetAssembly tells whether a PE file's optional header, when it lies within
// head, has a CLR header (ECMA-335 II.25.2.3.3): an image with .NET has
// hundreds of these.
func dotnetAssembly(head []byte) bool {
	const (
		offsetOfPE     = 0x3c
		signatureAndFH = 4 + 20
		directories32  = 96
		directories64  = 112
		clrDirectory   = 14 * 8
		magic64        = 0x20b
	)
	if len(head) < offsetOfPE+4 {
		return false
	}
	start := binary.LittleEndian.Uint32(head[offsetOfPE:])
	if int64(start)+signatureAndFH+directories64+clrDirectory+8 > int64(len(head)) {
		return false
	}
	optional := head[start+signatureAndFH:]
	directories := directories32
	if binary.LittleEndian.Uint16(optional) == magic64 {
		directories = directories64
	}
	return binary.LittleEndian.Uint64(optional[directories+clrDirectory:]) != 0
}

// An executable is the outline of a linked file.
type executable struct {
	format format
	// sections are empty for a file from which even the section headers were cut.
	sections []section
}

// A section is a named part of an executable, as the file stores it.
type section struct {
	name         string
	offset, size int64
}

// has tells whether x has a section of that name.
func (x *executable) has(name string) bool {
	_, ok := x.section(name)
	return ok
}

// section returns the first section of that name.
func (x *executable) section(name string) (section, bool) {
	for _, s := range x.sections {
		if s.name == name {
			return s, true
		}
	}
	return section{}, false
}

// openExecutable gives the outline of f, which is read once however many
// analyzers ask for it.
func openExecutable(f *File) (*executable, error) {
	if f.outline == nil && f.outlineErr == nil {
		f.outline, f.outlineErr = readExecutable(f)
	}
	return f.outline, f.outlineErr
}

// readExecutable reads the headers of f, and nothing else.
func readExecutable(f *File) (*executable, error) {
	head := make([]byte, min(f.Size, headSize))
	if _, err := io.ReadFull(f.Reader(), head); err != nil {
		return nil, err
	}
	x := &executable{format: executableFormat(head)}
	headers := f.ReaderAt()
	if f.memory == nil {
		headers = &pageReader{r: headers}
	}
	switch x.format {
	case elfFormat:
		sections, err := elfSections(f.ReaderAt(), f.Size, head)
		if err != nil {
			return nil, err
		}
		x.sections = sections
	case peFormat:
		e, err := pe.NewFile(headers)
		if err != nil {
			return nil, err
		}
		for _, s := range e.Sections {
			// The stored size is rounded up to the alignment of the file.
			x.sections = append(x.sections, section{s.Name, int64(s.Offset), int64(min(s.Size, s.VirtualSize))})
		}
	case machoFormat:
		e, err := macho.NewFile(headers)
		if err != nil {
			return nil, err
		}
		for _, s := range e.Sections {
			x.sections = append(x.sections, section{s.Name, int64(s.Offset), int64(s.Size)})
		}
	}
	return x, nil
}

// A pageReader reads a page at a time and keeps the last: headers are read in
// small pieces that lie side by side, each of which would be a system call.
type pageReader struct {
	r    io.ReaderAt
	off  int64
	page []byte
}

const pageSize = 8 << 10

// ReadAt implements io.ReaderAt.
func (p *pageReader) ReadAt(b []byte, off int64) (int, error) {
	if len(b) > pageSize/2 || off < 0 {
		return p.r.ReadAt(b, off)
	}
	if off < p.off || off+int64(len(b)) > p.off+int64(len(p.page)) {
		if cap(p.page) == 0 {
			p.page = make([]byte, pageSize)
		}
		n, err := p.r.ReadAt(p.page[:pageSize], off)
		if n < len(b) {
			p.page = p.page[:0]
			return copy(b, p.page[:n]), err
		}
		p.off, p.page = off, p.page[:n]
	}
	return copy(b, p.page[off-p.off:]), nil
}
