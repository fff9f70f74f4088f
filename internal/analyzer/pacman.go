package analyzer

import (
	"context"
	"strings"

	"strata/internal/inventory"
)

// pacman reads the local database of Arch Linux's package manager: a directory
// per package with a desc file, in which a %FIELD% is followed by its values.
type pacman struct{}

func (pacman) Name() string { return "pacman" }

func (pacman) Wants(c *Candidate) bool {
	return strings.HasPrefix(c.Path, "var/lib/pacman/local/") && c.Base() == "desc"
}

func (pacman) Analyze(_ context.Context, f *File) (Result, error) {
	p := inventory.Package{Type: "alpm"}
	field := ""
	for line, err := range lines(f.Reader()) {
		if err != nil {
			return Result{}, err
		}
		value := string(line)
		switch {
		case value == "":
			field = ""
		case value[0] == '%':
			field = value
		case field == "%NAME%":
			p.Name = value
		case field == "%VERSION%":
			p.Version = value
		case field == "%ARCH%":
			p.Arch = value
		case field == "%BASE%":
			p.SourceName = value
		case field == "%LICENSE%":
			if len(p.Licenses) < maxLicenses {
				p.Licenses = append(p.Licenses, value)
			}
		}
	}
	var l listing
	err := l.add(p)
	return l.result(), err
}
