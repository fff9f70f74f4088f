package analyzer

import (
	"bytes"
	"context"
	"regexp"
	"strings"

	"strata/internal/inventory"
)

// osRelease reads os-release files (os-release(5)), and for distributions older
// than it the one-line files that they had instead.
type osRelease struct{}

func (osRelease) Name() string { return "os-release" }

func (osRelease) Wants(c *Candidate) bool {
	if c.Size > 1<<20 {
		return false
	}
	switch c.Path {
	case "etc/redhat-release", "etc/centos-release", "etc/system-release":
		return true
	}
	return isOSRelease(c.Path)
}

// isOSRelease: distributions such as NixOS keep the file elsewhere, and link to it.
// (etc/centos-release ends like it, but is none.)
func isOSRelease(p string) bool {
	dir, ok := strings.CutSuffix(p, "os-release")
	return ok && (dir == "" || strings.HasSuffix(dir, "/") || strings.HasSuffix(dir, "-"))
}

func (osRelease) Analyze(_ context.Context, f *File) (Result, error) {
	b, err := f.Bytes(1 << 20)
	if err != nil {
		return Result{}, err
	}
	var d inventory.Distro
	if isOSRelease(f.Path) {
		d = parseOSRelease(b)
	} else {
		d = parseRedHatRelease(b)
	}
	if d.Zero() { // it tells nothing, so that another file may
		return Result{}, nil
	}
	return Result{Distro: &d}, nil
}

func parseOSRelease(b []byte) inventory.Distro {
	var d inventory.Distro
	for line := range bytes.Lines(b) {
		key, value, ok := strings.Cut(strings.TrimSpace(string(line)), "=")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		value = unquote(validText(value[:min(len(value), maxName)]))
		switch key {
		case "ID":
			d.ID = strings.ToLower(value)
		case "ID_LIKE":
			d.IDLike = strings.Fields(strings.ToLower(value))
		case "VERSION_ID":
			d.VersionID = value
		case "VERSION_CODENAME":
			d.Codename = value
		case "PRETTY_NAME":
			d.Name = value
		case "CPE_NAME":
			d.CPE = value
		}
	}
	return d
}

// unquote undoes shell quoting as far as os-release(5) allows it.
func unquote(s string) string {
	if len(s) >= 2 && s[len(s)-1] == s[0] {
		switch s[0] {
		case '\'':
			return s[1 : len(s)-1]
		case '"':
			s = s[1 : len(s)-1]
		}
	}
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

var redHatRelease = regexp.MustCompile(`^(CentOS|Red Hat Enterprise Linux|Fedora|Oracle Linux|Scientific Linux|AlmaLinux|Rocky Linux)\b.*?release ([0-9][0-9.]*)`)

var redHatIDs = map[string]string{
	"CentOS": "centos", "Red Hat Enterprise Linux": "rhel", "Fedora": "fedora",
	"Oracle Linux": "ol", "Scientific Linux": "scientific",
	"AlmaLinux": "almalinux", "Rocky Linux": "rocky",
}

// parseRedHatRelease reads "CentOS Linux release 7.9.2009 (Core)". The zero
// Distro is for one that is not known.
func parseRedHatRelease(b []byte) inventory.Distro {
	m := redHatRelease.FindSubmatch(b[:min(len(b), maxName)])
	if m == nil {
		return inventory.Distro{}
	}
	return inventory.Distro{ID: redHatIDs[string(m[1])], VersionID: string(m[2]), Name: validText(string(m[0]))}
}
