package analyzer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"strata/internal/inventory"
)

// dpkg reads the status file of Debian's package manager (dpkg-query(1),
// deb-control(5)), and the single files that distroless images have instead.
type dpkg struct{}

func (dpkg) Name() string { return "dpkg" }

const (
	dpkgStatus  = "var/lib/dpkg/status"
	dpkgStatusD = "var/lib/dpkg/status.d/"
	dpkgInfo    = "var/lib/dpkg/info/"
	dpkgDigests = ".md5sums"
)

func (dpkg) Wants(c *Candidate) bool {
	if !strings.HasPrefix(c.Path, "var/lib/dpkg/s") {
		return false
	}
	return c.Path == dpkgStatus ||
		strings.HasPrefix(c.Path, dpkgStatusD) && !strings.HasSuffix(c.Path, dpkgDigests)
}

func (dpkg) Analyze(ctx context.Context, f *File) (Result, error) {
	var l listing
	if f.Path == dpkgStatus {
		l.Kind, l.Database = inventory.Database, "dpkg"
	}
	err := stanzas(ctx, f.Reader(), func(s *stanza) error {
		if !s.unpacked() {
			l.named = true
			return nil
		}
		l.vendor("deb:"+s.name, s.version, s.maintainer)
		return l.add(s.pkg("deb"))
	})
	l.requireNamed(f)
	return l.result(), err
}

// opkg reads the status file of OpenWrt's and Yocto's package manager, which has
// dpkg's format.
type opkg struct{}

func (opkg) Name() string { return "opkg" }

func (opkg) Wants(c *Candidate) bool {
	switch c.Path {
	case "usr/lib/opkg/status", "var/lib/opkg/status", "opt/lib/opkg/status":
		return true
	}
	return false
}

func (opkg) Analyze(ctx context.Context, f *File) (Result, error) {
	l := listing{Result: Result{Kind: inventory.Database, Database: "opkg"}}
	err := stanzas(ctx, f.Reader(), func(s *stanza) error {
		if !s.unpacked() {
			l.named = true
			return nil
		}
		return l.add(s.pkg("opkg"))
	})
	l.requireNamed(f)
	return l.result(), err
}

// A stanza is what matters of one paragraph of a control file.
type stanza struct {
	name, version, arch, source, status, maintainer string
}

// unpacked tells whether files of the package are in the file system, by the
// last word of its status (dpkg(1), "Package states"): also those of a package
// whose configuration failed or is still to come ship with the image. Without a
// status, as in status.d, what is listed is there.
func (s *stanza) unpacked() bool {
	state := s.status[strings.LastIndexByte(s.status, ' ')+1:]
	return state != "not-installed" && state != "config-files"
}

func (s *stanza) pkg(typ string) inventory.Package {
	p := inventory.Package{Type: typ, Name: s.name, Version: s.version, Arch: s.arch}
	// Source is "name" or "name (version)", and left out when both are the same.
	name, version, ok := strings.Cut(s.source, "(")
	if ok {
		version, _, _ = strings.Cut(version, ")")
		p.SourceVersion = strings.TrimSpace(version)
	}
	p.SourceName = strings.TrimSpace(name)
	if p.SourceName == "" {
		p.SourceName = s.name
	}
	if p.SourceVersion == "" {
		p.SourceVersion = s.version
	}
	return p
}

// stanzas reads a control file, and ends with the first error of each.
func stanzas(ctx context.Context, r io.Reader, each func(*stanza) error) error {
	var s stanza
	for line, err := range lines(r) {
		if err != nil {
			return err
		}
		if len(line) == 0 {
			if err := errors.Join(each(&s), ctx.Err()); err != nil {
				return err
			}
			s = stanza{}
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			continue // continues a field that is of no interest
		}
		if field := s.field(line); field != nil {
			_, value, _ := bytes.Cut(line, []byte(":"))
			*field = string(bytes.TrimSpace(value))
		}
	}
	return each(&s)
}

// field tells where the value of a line goes; most lines are of no interest, so
// they are told by their first bytes.
func (s *stanza) field(line []byte) *string {
	switch line[0] | 0x20 {
	case 'p':
		return s.named(line, "package", &s.name)
	case 'v':
		return s.named(line, "version", &s.version)
	case 'm':
		return s.named(line, "maintainer", &s.maintainer)
	case 'a':
		return s.named(line, "architecture", &s.arch)
	case 's':
		if f := s.named(line, "source", &s.source); f != nil {
			return f
		}
		return s.named(line, "status", &s.status)
	}
	return nil
}

// named returns f when the line is the field of that name; names have no case.
func (*stanza) named(line []byte, name string, f *string) *string {
	if len(line) > len(name) && line[len(name)] == ':' && strings.EqualFold(string(line[:len(name)]), name) {
		return f
	}
	return nil
}

// dpkgList reads the lists of files that packages own, and the lists of digests
// that distroless images have instead.
type dpkgList struct{}

func (dpkgList) Name() string { return "dpkg-list" }

func (dpkgList) Wants(c *Candidate) bool {
	if !strings.HasPrefix(c.Path, "var/lib/dpkg/") {
		return false
	}
	return strings.HasPrefix(c.Path, dpkgInfo) && strings.HasSuffix(c.Path, ".list") ||
		strings.HasPrefix(c.Path, dpkgStatusD) && strings.HasSuffix(c.Path, dpkgDigests)
}

func (dpkgList) Analyze(_ context.Context, f *File) (Result, error) {
	name := strings.TrimSuffix(strings.TrimSuffix(f.Base(), ".list"), dpkgDigests)
	digests := strings.HasSuffix(f.Path, dpkgDigests)
	name, _, _ = strings.Cut(name, ":") // foo:amd64.list
	owner := "deb:" + name
	var l listing
	for line, err := range lines(f.Reader()) {
		if digests {
			_, line, _ = bytes.Cut(line, []byte("  "))
		}
		if err == nil {
			err = l.own(owner, "", string(line))
		}
		if err != nil {
			return l.result(), err
		}
	}
	return l.result(), nil
}
