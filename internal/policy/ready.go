package policy

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
)

// readyFiles are the policies that come with the program.
//
//go:embed ready/*.yaml
var readyFiles embed.FS

// ReadyNames are the names of the policies that come with the program, sorted.
func ReadyNames() []string {
	entries, err := readyFiles.ReadDir("ready")
	if err != nil {
		return nil // embedded: it can't be missing
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), path.Ext(e.Name())))
	}
	slices.Sort(names)
	return names
}

// ReadyText is the YAML of a policy that comes with the program. The error
// suggests a name.
func ReadyText(name string) ([]byte, error) {
	if !slices.Contains(ReadyNames(), name) {
		return nil, fmt.Errorf("no policy is called %q%s", name, suggest(name, ReadyNames(), "; there are "+strings.Join(ReadyNames(), ", ")))
	}
	return readyFiles.ReadFile("ready/" + name + ".yaml")
}

// Ready loads a policy that comes with the program.
func (l *Loader) Ready(name string) (Policy, error) {
	text, err := ReadyText(name)
	if err != nil {
		return Policy{}, err
	}
	policies, err := l.Load(name+".yaml", text)
	if err != nil {
		return Policy{}, err
	}
	return policies[0], nil
}
