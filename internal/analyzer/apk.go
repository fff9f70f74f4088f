package analyzer

import (
	"context"
	"strings"

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
	res := Result{Kind: inventory.Database, Database: "apk"}
	var p inventory.Package
	dir := ""
	done := func() {
		if p.Name != "" && p.Version != "" {
			if p.SourceName == "" {
				p.SourceName = p.Name
			}
			p.SourceVersion = p.Version
			res.Packages = append(res.Packages, p)
		}
		p, dir = inventory.Package{Type: "apk"}, ""
	}
	done()
	for line, err := range lines(f.Reader()) {
		if err != nil {
			return res, err
		}
		if len(line) == 0 {
			done()
			if err := ctx.Err(); err != nil {
				return res, err
			}
			continue
		}
		if len(line) < 2 || line[1] != ':' {
			continue
		}
		value := string(line[2:])
		switch line[0] {
		case 'P':
			p.Name = value
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
		case 'F':
			dir = value
		case 'R':
			if owned, ok := ownedPath(strings.TrimPrefix(dir+"/"+value, "/")); ok {
				res.Owned = append(res.Owned, Owned{owned, "apk:" + p.Name})
			}
		}
	}
	done()
	return res, nil
}
