package remedy

import (
	"fmt"
	"slices"
	"strings"
)

// projectCommand is the command that takes the versions into a file of the
// project; empty where no one command does.
func projectCommand(file string, changes []*Change) string {
	var args []string
	for _, ch := range writables(changes) {
		switch file {
		case "go.mod":
			args = append(args, ch.Name+"@v"+strings.TrimPrefix(ch.To, "v"))
		case "composer.lock":
			args = append(args, fmt.Sprintf("'%s:^%s'", ch.Name, strings.TrimPrefix(ch.To, "v")))
		case "Cargo.lock":
			args = append(args, fmt.Sprintf("cargo update -p %s@%s --precise %s", ch.Name, ch.From, ch.To))
		case "requirements.txt":
			args = append(args, fmt.Sprintf("'%s>=%s'", ch.Name, ch.To))
		}
	}
	slices.Sort(args)
	args = slices.Compact(args)
	switch {
	case len(args) == 0 || slices.ContainsFunc(changes, func(ch *Change) bool { return !writableVersion.MatchString(ch.From) }):
		return ""
	case file == "go.mod":
		return "go get " + strings.Join(args, " ") + " && go mod tidy"
	case file == "composer.lock":
		return "composer require --update-with-all-dependencies " + strings.Join(args, " ")
	case file == "requirements.txt":
		return "pip install --upgrade " + strings.Join(args, " ")
	}
	return strings.Join(args, " && ")
}

// projectNote says where the version is decided, for files that no one command
// changes rightly.
func projectNote(file string) string {
	switch file {
	case "package-lock.json":
		return "ask for the versions in package.json; what another package brings, under its \"overrides\"; then npm install"
	case "yarn.lock":
		return "ask for the versions in package.json; what another package brings, under its \"resolutions\"; then yarn install"
	case "Gemfile.lock":
		return "ask for the versions in the Gemfile; then bundle update --conservative with their names"
	case "pom.xml or build.gradle":
		return "ask for the versions there; what another package brings, under dependencyManagement or constraints"
	case "requirements.txt":
		return "write the versions into the file, too"
	}
	return ""
}
