package analyzer

import (
	"context"
	"errors"

	"strata/internal/inventory"
)

// apk reads the database of Alpine's package manager (apk-package(5),
// "installed" database): paragraphs of one-letter fields.
type apk struct{}

func (apk) Name() string { return "apk" }

func (apk) Wants(c *Candidate) bool {
	return c.Path == "lib/apk/db/installed" || c.Path == "usr/lib/apk/db/installed"
}

func (apk) Analyze(ctx context.Context, f *File) (Result, error) {
	l := listing{Result: Result{Kind: inventory.Database, Database: "apk"}}
	var p apkPackage
	for line, err := range lines(f.Reader()) {
		if err != nil {
			return l.result(), err
		}
		if len(line) == 0 {
			err = errors.Join(l.add(p.done()), ctx.Err())
			p = apkPackage{}
		} else if len(line) > 1 && line[1] == ':' {
			err = p.field(&l, line[0], string(line[2:]))
		}
		if err != nil {
			return l.result(), err
		}
	}
	err := l.add(p.done())
	l.requireNamed(f)
	return l.result(), err
}

// An apkPackage is a paragraph as far as it was read.
type apkPackage struct {
	inventory.Package
	owner string // "apk:" and the name
	dir   string // of the files that follow
}

func (p *apkPackage) field(l *listing, name byte, value string) error {
	switch name {
	case 'P':
		p.Name, p.owner = value, "apk:"+value
	case 'V':
		p.Version = value
	case 'A':
		p.Arch = value
	case 'L':
		if value != "" {
			p.Licenses = []string{value}
		}
	case 'o':
		p.SourceName = value
	case 'm':
		if p.owner != "" {
			l.vendor(p.owner, p.Version, value)
		}
	case 'F':
		p.dir = value
		if value != "" {
			p.dir += "/"
		}
	case 'R':
		if p.owner != "" {
			return l.own(p.owner, p.dir, value)
		}
	}
	return nil
}

func (p *apkPackage) done() inventory.Package {
	p.Type, p.SourceVersion = "apk", p.Version
	if p.SourceName == "" {
		p.SourceName = p.Name
	}
	return p.Package
}
