package analyzer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
)

const (
	// searchWindow is how much of a file is held at once, in bytes, where the file
	// does not lie in memory anyway.
	searchWindow = 256 << 10
	// searchBefore and searchAfter are how much around an anchor a pattern sees.
	searchBefore = 1 << 10
	searchAfter  = 1 << 10
	// maxAnchor is how long an anchor may be.
	maxAnchor = 64
	// maxTries bounds how often a pattern is tried on one file: a hostile one may
	// be nothing but anchors.
	maxTries = 2000
)

// linkedVersion is a version that is the whole of a text between two NULs. The
// empty sign stands for it: Go's linker leaves its -X so.
var linkedVersion = regexp.MustCompile(`\x00v?(\d+\.\d+\.\d+(?:-(?:alpha|beta|rc|dev|preview)[\w.]*)?)(?:[-+~][\w.+~-]*)?\x00`)

// A searchSign is a sign, ready to be searched for.
type searchSign struct {
	anchor  []byte
	pattern *regexp.Regexp
	// prefix is what the version must begin with, up to a dot or its end.
	prefix string
}

// compileSigns readies the signs for a file of that name.
func compileSigns(signs []sign, base string) ([]searchSign, error) {
	out := make([]searchSign, 0, len(signs))
	for _, s := range signs {
		re, err := regexp.Compile(s.pattern)
		if err != nil {
			return nil, err
		}
		c := searchSign{anchor: []byte(s.anchor), pattern: re}
		if s == (sign{}) {
			c.pattern = linkedVersion
		}
		if s.named {
			c.prefix = versionIn(base)
		}
		out = append(out, c)
	}
	return out, nil
}

// searchBuffers are the windows of searches that go on at the same time.
func searchBuffers() *sync.Pool {
	return &sync.Pool{New: func() any { return new([searchWindow]byte) }}
}

// findVersion gives the version by the surest of the signs that the file has;
// empty for none.
func findVersion(ctx context.Context, f *File, signs []sign, buffers *sync.Pool) (string, error) {
	compiled, err := compileSigns(signs, f.Base())
	if err != nil {
		return "", err
	}
	s := search{signs: compiled, buffers: buffers}
	version, _, err := s.file(ctx, f)
	return version, err
}

// A search looks for several signs in one pass over a file, of which it holds no
// more than a window.
type search struct {
	signs   []searchSign
	buffers *sync.Pool

	found []string // by sign
	tries []int    // by sign
}

// file gives the version by the first of the signs that the file has, and which
// it is; an empty version for none.
func (s *search) file(ctx context.Context, f *File) (version string, by int, err error) {
	if len(s.signs) == 0 {
		return "", 0, nil
	}
	s.found, s.tries = make([]string, len(s.signs)), make([]int, len(s.signs))
	for _, r := range searchRanges(f) {
		if f.memory != nil {
			s.text(f.memory[r.offset:r.offset+r.size], true)
		} else if err := s.stream(ctx, io.NewSectionReader(f.ReaderAt(), r.offset, r.size)); err != nil {
			return "", 0, err
		}
		if len(s.found) > 0 && s.found[0] != "" {
			break // no other sign is surer
		}
	}
	for i, v := range s.found {
		if v != "" {
			return v, i, nil
		}
	}
	return "", 0, nil
}

// stream searches a part of a file window by window. Windows overlap by what a
// pattern may see, so that nothing is missed at their edges.
func (s *search) stream(ctx context.Context, r io.Reader) error {
	const overlap = searchBefore + searchAfter + maxAnchor
	window, ok := s.buffers.Get().(*[searchWindow]byte)
	if !ok {
		return errors.New("no window to search in")
	}
	defer s.buffers.Put(window)
	kept := 0
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, window[kept:])
		last := err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return fmt.Errorf("searching for a version: %w", err)
		}
		text := window[:kept+n]
		s.text(text, last)
		if last || s.found[0] != "" {
			return nil
		}
		kept = copy(window[:], text[len(text)-overlap:])
	}
}

// text searches what is in memory for the signs that were not found yet, up to
// the surest that was. More follows what is not the last text.
func (s *search) text(b []byte, last bool) {
	for i := range s.signs {
		if s.found[i] == "" {
			s.found[i] = s.find(i, b, last)
		}
		if s.found[i] != "" {
			return
		}
	}
}

// find gives the version by one sign.
func (s *search) find(sign int, b []byte, last bool) string {
	want := &s.signs[sign]
	for at := 0; s.tries[sign] < maxTries; {
		i := want.index(b[at:])
		if i < 0 {
			return ""
		}
		i += at
		end := i + len(want.anchor) + searchAfter
		if end > len(b) && !last {
			return "" // the next window shows all that belongs to it
		}
		s.tries[sign]++
		from, to := max(0, i-searchBefore), min(len(b), end)
		if want.prefix != "" {
			from = i // the pattern begins with the anchor, and not every number is it
		}
		if v := want.version(b[from:to]); v != "" {
			return v
		}
		at = i + max(1, len(want.anchor))
	}
	return ""
}

// index is where the next anchor is; -1 when there is none.
func (s *searchSign) index(b []byte) int {
	if len(s.anchor) > 0 {
		return bytes.Index(b, s.anchor)
	}
	for i := 0; i+2 < len(b); i++ {
		if b[i] != 0 {
			continue
		}
		c := b[i+1]
		if c == 'v' {
			c = b[i+2]
		}
		if '0' <= c && c <= '9' && linkedVersion.Match(b[i:min(len(b), i+maxAnchor)]) {
			return i
		}
	}
	return -1
}

// version is what the pattern captures.
func (s *searchSign) version(text []byte) string {
	m := s.pattern.FindSubmatch(text)
	for _, group := range m[min(1, len(m)):] {
		v := string(group)
		if v == "" || s.prefix != "" && !beginsWithVersion(v, s.prefix) {
			continue
		}
		return v
	}
	return ""
}

// beginsWithVersion tells whether v is the version prefix or one of its
// releases: 3.11.2 of 3.11, but not 3.110.
func beginsWithVersion(v, prefix string) bool {
	rest, ok := strings.CutPrefix(v, prefix)
	return ok && (rest == "" || rest[0] < '0' || rest[0] > '9')
}

// searchRanges are the parts of a file that can hold constant texts: all but the
// code and what describes it, which is most of a program.
func searchRanges(f *File) []section {
	whole := []section{{size: f.Size}}
	x, err := openExecutable(f)
	if err != nil || x.format != elfFormat {
		return whole
	}
	var out []section
	from := int64(0)
	skip := slices.DeleteFunc(slices.Clone(x.sections), func(s section) bool {
		return !codeSection(s.name) || s.offset < 0 || s.size <= 0 || s.size > f.Size || s.offset > f.Size-s.size
	})
	slices.SortFunc(skip, func(a, b section) int {
		if a.offset < b.offset {
			return -1
		}
		if a.offset > b.offset {
			return 1
		}
		return 0
	})
	for _, s := range skip {
		if s.offset > from {
			out = append(out, section{offset: from, size: s.offset - from})
		}
		from = max(from, s.offset+s.size)
	}
	if from < f.Size {
		out = append(out, section{offset: from, size: f.Size - from})
	}
	return out
}

// codeSection tells whether an ELF section has code, or describes it for the
// linker and the debugger.
func codeSection(name string) bool {
	switch name {
	case ".text", ".eh_frame", ".eh_frame_hdr", ".gcc_except_table", ".symtab", ".strtab", ".gnu.hash", ".gopclntab", ".init_array", ".plt":
		return true
	}
	return strings.HasPrefix(name, ".rel") || strings.HasPrefix(name, ".debug_") || strings.HasPrefix(name, ".gnu.version")
}
