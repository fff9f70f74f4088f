package remedy

import (
	"regexp"
	"slices"
	"strings"

	"strata/internal/advisory"
)

// A manager is a package manager as instructions call it.
type manager struct {
	// kind tells managers apart; programs are the names of its commands.
	kind     string
	programs []string
	// types are the purl types of its packages.
	types []string
	// installs are its subcommands that install what is named. With none, every
	// call does.
	installs []string
	// values are flags that are followed by a value of their own.
	values []string
	// split takes an argument apart: name, operator, version.
	split *regexp.Regexp
	// want writes an argument that asks for the version or a later one. It gets
	// how the argument asked before: "" for any version.
	want func(name, operator, version string) string
	// more is a command that upgrades packages that the instruction doesn't name;
	// empty where they are named as further arguments.
	more string
	// locked tells that what a call without arguments installs is in a file of
	// the project, with the file's usual name.
	locked string
}

var (
	debSpec      = regexp.MustCompile(`^([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9]+)?(?:(=|/)(.*))?$`)
	apkSpec      = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._+-]*?)(?:([=<>~]+)(.*)|@.*)?$`)
	rpmSpec      = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._+-]*?)(?:(-)(\d[^-]*-[^-]*))?$`)
	zypperSpec   = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._+-]*?)(?:([=<>]+)(.*))?$`)
	pipSpec      = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*(?:\[[^\]]*\])?)(?:\s*([=~<>!]=?=?)\s*(.*))?$`)
	npmSpec      = regexp.MustCompile(`^((?:@[^/@]+/)?[^/@:]+)(?:(@)(.*))?$`)
	gemSpec      = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)(?:(:)(.*))?$`)
	goSpec       = regexp.MustCompile(`^([A-Za-z0-9][^@\s]*\.[^@\s]*)(?:(@)(.*))?$`)
	composerSpec = regexp.MustCompile(`^([a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._-]*)(?:([:=])(.*))?$`)
	cargoSpec    = regexp.MustCompile(`^([A-Za-z0-9_-]+)(?:(@)(.*))?$`)
)

// managers are those known. What each is told is the practice that goes on
// working when the next version comes, docs/fix.md has the reasons.
func managers() []manager {
	at := func(name, _, version string) string { return name + "@" + version }
	least := func(name, _, version string) string { return "'" + name + ">=" + version + "'" }
	dnf := []string{"--enablerepo", "--disablerepo", "--setopt", "--installroot", "--releasever", "-c", "--config", "-x", "--exclude", "--repo", "--repoid"}
	return []manager{
		{kind: "apt", programs: []string{"apt-get", "apt", "aptitude"}, types: []string{"deb"}, installs: []string{"install"},
			values: []string{"-t", "--target-release", "-o", "--option", "-c", "-a"}, split: debSpec, want: debWant,
			more: "apt-get install -y --only-upgrade"},
		{kind: "apk", programs: []string{"apk"}, types: []string{"apk"}, installs: []string{"add"},
			values: []string{"-t", "--virtual", "-X", "--repository", "-p", "--root", "--arch", "--keys-dir", "--cache-dir", "--repositories-file", "--wait"}, split: apkSpec, want: least},
		{kind: "dnf", programs: []string{"dnf", "dnf5", "dnf-3"}, types: []string{"rpm"}, installs: []string{"install"}, values: dnf, split: rpmSpec, want: rpmWant, more: "dnf upgrade -y"},
		{kind: "yum", programs: []string{"yum"}, types: []string{"rpm"}, installs: []string{"install"}, values: dnf, split: rpmSpec, want: rpmWant, more: "yum update -y"},
		{kind: "microdnf", programs: []string{"microdnf"}, types: []string{"rpm"}, installs: []string{"install"}, values: dnf, split: rpmSpec, want: rpmWant, more: "microdnf update -y"},
		{kind: "tdnf", programs: []string{"tdnf"}, types: []string{"rpm"}, installs: []string{"install"}, values: dnf, split: rpmSpec, want: rpmWant, more: "tdnf update -y"},
		{kind: "zypper", programs: []string{"zypper"}, types: []string{"rpm"}, installs: []string{"install", "in"},
			values: []string{"-r", "--repo", "--from", "-t", "--type", "-C", "--capability", "-R", "--root", "-c", "--config"}, split: zypperSpec, want: least,
			more: "zypper --non-interactive update"},
		{kind: "pip", programs: []string{"pip", "pip3", "pip2"}, types: []string{"pypi"}, installs: []string{"install"},
			values: []string{"-r", "--requirement", "-c", "--constraint", "-i", "--index-url", "--extra-index-url", "-t", "--target", "--prefix", "--root", "-f", "--find-links", "--no-binary", "--only-binary", "-e", "--editable", "--trusted-host", "--python", "--timeout", "--retries"},
			split:  pipSpec, want: pipWant, locked: "requirements.txt"},
		{kind: "npm", programs: []string{"npm", "pnpm"}, types: []string{"npm"}, installs: []string{"install", "i", "add"},
			values: []string{"--prefix", "--registry", "-w", "--workspace", "--cache", "--filter", "-C"}, split: npmSpec, want: at, locked: "package-lock.json"},
		{kind: "yarn", programs: []string{"yarn"}, types: []string{"npm"}, installs: []string{"add"}, values: []string{"--registry", "--cwd"}, split: npmSpec, want: at, locked: "yarn.lock"},
		{kind: "gem", programs: []string{"gem"}, types: []string{"gem"}, installs: []string{"install", "i"},
			values: []string{"-i", "--install-dir", "-n", "--bindir", "-s", "--source", "-P"}, split: gemSpec, want: func(name, _, version string) string { return name + ":" + version }},
		{kind: "bundle", programs: []string{"bundle", "bundler"}, types: []string{"gem"}, locked: "Gemfile.lock"},
		{kind: "go", programs: []string{"go"}, types: []string{"golang"}, installs: []string{"install", "get"}, split: goSpec, want: at,
			values: []string{"-ldflags", "-tags", "-gcflags", "-mod", "-o", "-p"}, locked: "go.mod"},
		{kind: "composer", programs: []string{"composer", "composer.phar"}, types: []string{"composer"}, installs: []string{"require"}, values: []string{"-d", "--working-dir"},
			split: composerSpec, want: func(name, _, version string) string { return name + ":^" + strings.TrimPrefix(version, "v") }, locked: "composer.lock"},
		{kind: "cargo", programs: []string{"cargo"}, types: []string{"cargo"}, installs: []string{"install"}, values: []string{"--root", "--git", "--branch", "--tag", "--features", "--path"}, split: cargoSpec, want: at, locked: "Cargo.lock"},
		{kind: "maven", programs: []string{"mvn", "mvnw", "gradle", "gradlew"}, types: []string{"maven"}, locked: "pom.xml or build.gradle"},
		{kind: "dotnet", programs: []string{"dotnet"}, types: []string{"nuget"}, locked: "the project file"},
	}
}

var lastNumber = regexp.MustCompile(`\d+$`)

// debWant asks for the fixed version and for later ones of its line: an archive
// keeps only the newest version of each release, so that the exact version would
// soon not be found. apt_preferences(5) matches a trailing * as a prefix.
func debWant(name, _, version string) string {
	line := lastNumber.ReplaceAllString(version, "")
	if line == "" {
		line = version
	}
	return name + "=" + line + "*"
}

// rpmWant asks for the newest release of the fixed version, for the same reason.
// An argument with an epoch has another form, so there is none.
func rpmWant(name, _, version string) string {
	if _, rest, ok := strings.Cut(version, ":"); ok {
		version = rest
	}
	version, _, _ = strings.Cut(version, "-")
	return name + "-" + version + "-*"
}

// pipWant keeps an exact version exact.
func pipWant(name, operator, version string) string {
	if operator == "==" || operator == "===" {
		return name + "==" + version
	}
	return "'" + name + ">=" + version + "'"
}

var pipBound = regexp.MustCompile(`^(<=?|!=)\s*([0-9A-Za-z][0-9A-Za-z.*+!]*)$`)

// keepBounds adds to what asks for a version the upper bounds and exclusions of
// what stood there (PEP 440, version specifiers), as far as the version fits them:
// an argument that has them is not for the next major version.
func keepBounds(want, specifiers, version string) string {
	quoted, ok := strings.CutSuffix(want, "'")
	v, err := advisory.ParseVersion("PyPI", version)
	if !ok || err != nil {
		return want
	}
	for clause := range strings.SplitSeq(specifiers, ",") {
		m := pipBound.FindStringSubmatch(strings.TrimSpace(clause))
		if m == nil {
			continue
		}
		if m[1] != "!=" {
			bound, err := advisory.ParseVersion("PyPI", m[2])
			if err != nil {
				continue
			}
			if c, err := v.Compare(bound); err != nil || c > 0 || c == 0 && m[1] == "<" {
				continue
			}
		}
		quoted += "," + m[1] + m[2]
	}
	return quoted + "'"
}

// A call is a command of an instruction that calls a package manager.
type call struct {
	manager *manager
	command command
	// named are the packages among its arguments.
	named []named
	// install tells that it installs them; files that it installs what files of the
	// project say.
	install, files bool
	// version is the value of a flag that tells the version of the one package.
	version *word
}

// A named package is an argument of a call.
type named struct {
	word                    word
	name, operator, version string
}

// calls are those of the commands that call a package manager.
func calls(known []manager, list []command) []call {
	var out []call
	for _, c := range list {
		words := c.words
		if len(words) > 3 && strings.HasPrefix(c.name(), "python") && words[1].text == "-m" {
			words = words[2:]
		} else if len(words) > 2 && c.name() == "uv" && words[1].text == "pip" {
			words = words[1:]
		}
		program := words[0].text[strings.LastIndexByte(words[0].text, '/')+1:]
		if strings.HasPrefix(program, "pip3.") {
			program = "pip"
		}
		m := slices.IndexFunc(known, func(m manager) bool { return slices.Contains(m.programs, program) })
		if m >= 0 {
			out = append(out, known[m].call(c, words[1:]))
		}
	}
	return out
}

// call reads the arguments.
func (m *manager) call(c command, args []word) call {
	out := call{manager: m, command: c}
	sub := ""
	var rest []word
	for i := 0; i < len(args); i++ {
		text := args[i].text
		switch {
		case (m.kind == "gem" || m.kind == "cargo") && (text == "-v" || text == "--version") && i+1 < len(args):
			i++
			out.version = &args[i]
		case slices.Contains(m.values, text):
			i++
			out.files = out.files || text == "-r" || text == "--requirement"
		case strings.HasPrefix(text, "-"):
		case sub == "" && (m.kind == "yarn" && text == "global" || m.kind == "composer" && text == "global"):
		case sub == "":
			sub = text
		default:
			rest = append(rest, args[i])
		}
	}
	out.install = slices.Contains(m.installs, sub)
	if !out.install {
		out.files = m.locked != ""
		return out
	}
	for _, w := range rest {
		p := m.split.FindStringSubmatch(w.text)
		if p == nil {
			continue
		}
		out.named = append(out.named, named{word: w, name: p[1], operator: p[2], version: p[3]})
	}
	out.files = out.files || m.locked != "" && len(rest) == 0
	return out
}

// sameName tells whether an argument names the package: case and separators are
// of no account to pip (PEP 503), and extras are no part of the name.
func (m *manager) sameName(arg, pkg string) bool {
	switch m.kind {
	case "pip":
		arg, _, _ = strings.Cut(arg, "[")
		return pep503(arg) == pep503(pkg)
	case "go":
		return arg == pkg || strings.HasPrefix(arg, pkg+"/")
	}
	return arg == pkg
}

var separators = regexp.MustCompile(`[-_.]+`)

func pep503(s string) string { return strings.ToLower(separators.ReplaceAllString(s, "-")) }
