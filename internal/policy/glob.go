package policy

import (
	"fmt"
	"regexp"
	"strings"
)

// maxPattern is the length of a pattern in characters.
const maxPattern = 1000

// A glob matches names and paths: * is anything but a slash, ** anything, ? one
// character, [a-z] one of some, {a,b} one of several.
type glob struct {
	text string
	re   *regexp.Regexp
}

func newGlob(pattern string) (*glob, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("pattern has more than %d characters", maxPattern)
	}
	var b strings.Builder
	depth := 0
	b.WriteString(`^(?s:`)
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case strings.HasPrefix(pattern[i:], "**/"):
			b.WriteString(`(?:.*/)?`)
			i += 2
		case strings.HasPrefix(pattern[i:], "**"):
			b.WriteString(`.*`)
			i++
		case c == '*':
			b.WriteString(`[^/]*`)
		case c == '?':
			b.WriteString(`[^/]`)
		case c == '[':
			end := strings.IndexByte(pattern[i:], ']')
			if end < 2 {
				return nil, fmt.Errorf("pattern %q: a [ without ]", pattern)
			}
			set := pattern[i+1 : i+end]
			if set[0] == '!' {
				set = "^" + set[1:]
			}
			b.WriteString("[" + strings.ReplaceAll(strings.ReplaceAll(set, `\`, `\\`), "[", `\[`) + "]")
			i += end
		case c == '{':
			depth++
			b.WriteString(`(?:`)
		case c == '}' && depth > 0:
			depth--
			b.WriteString(`)`)
		case c == ',' && depth > 0:
			b.WriteString(`|`)
		case c == '\\' && i+1 < len(pattern):
			i++
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		default:
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		}
	}
	b.WriteString(`)$`)
	if depth > 0 {
		return nil, fmt.Errorf("pattern %q: a { without }", pattern)
	}
	re, err := regexp.Compile(b.String())
	if err != nil {
		return nil, fmt.Errorf("pattern %q: can't be understood", pattern)
	}
	return &glob{pattern, re}, nil
}

// match tells whether it matches one of the names.
func (g *glob) match(names ...string) bool {
	for _, n := range names {
		if g.re.MatchString(n) {
			return true
		}
	}
	return false
}

// matchAny tells whether one of the globs matches one of the names.
func matchAny(globs []*glob, names []string) bool {
	for _, g := range globs {
		if g.match(names...) {
			return true
		}
	}
	return false
}

// names are all by which an image may be meant: what was asked for, its full
// name with and without tag and digest, and Docker Hub's short ones.
func (i *Image) names() []string {
	n := i.name
	names := []string{i.Reference}
	if n.repository == "" {
		return names
	}
	repositories := []string{n.full()}
	if n.registry == dockerHub {
		repositories = append(repositories, n.repository, strings.TrimPrefix(n.repository, "library/"))
	}
	for _, r := range repositories {
		names = append(names, r)
		if n.tag != "" {
			names = append(names, r+":"+n.tag)
		}
		for _, digest := range []string{n.digest, i.Digest} {
			if digest != "" {
				names = append(names, r+"@"+digest)
			}
		}
	}
	return names
}

// locations are the paths of a package, with and without a leading slash.
func (p *Package) locations() []string {
	paths := make([]string, 0, 2*len(p.Paths))
	for _, path := range p.Paths {
		paths = append(paths, path, "/"+path)
	}
	return paths
}
