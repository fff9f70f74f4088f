package advisory

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/osv-scalibr/semantic"
)

// maxVersionBytes bounds what version parsers, some of them quadratic, get.
const maxVersionBytes = 512

// ErrVersion is wrapped by the errors of versions that can't be compared: it is
// then not known whether they are affected.
var ErrVersion = errors.New("version can't be compared")

// A Version is a version in the order of its ecosystem.
type Version struct {
	ecosystem string
	text      string
	parsed    semantic.Version
}

// String is the version as it is compared: without what the ecosystem ignores.
func (v Version) String() string { return v.text }

// InstalledVersion reads the version of an installed package. It takes off what
// versions in advisories don't have: Go's "v", "go" and vendor suffixes, the
// platform of a RubyGem. The error wraps ErrVersion.
func InstalledVersion(ecosystem, name, text string) (Version, error) {
	text = strings.TrimSpace(text)
	switch Base(ecosystem) {
	case "Go":
		text = goVersion(name, text)
	case "RubyGems":
		text = rubyPlatform.ReplaceAllString(text, "")
	}
	return ParseVersion(ecosystem, text)
}

var (
	// A gem's full version ends with its platform (Gem::Platform): 1.10.4-x86_64-linux.
	rubyPlatform = regexp.MustCompile(`-(java|jruby|ruby|universal|x86|x64|x86_64|amd64|i[3-6]86|arm|arm64|armv\d\w*|aarch64|ppc\w*|powerpc\w*|s390x?|riscv\w*|mswin\w*|mingw\w*|linux\w*|darwin\w*|aix|freebsd|musl)\b.*$`)
	goRelease    = regexp.MustCompile(`^(\d+(?:\.\d+)*)(?:-?(rc|beta)\.?(\d+))?`)
)

// zeroPseudo is the pseudo-version that the go command gives a module replaced
// by a directory: it stands for no version at all.
const zeroPseudo = "0.0.0-00010101000000-000000000000"

func goVersion(name, text string) string {
	if name == "stdlib" || name == "toolchain" {
		return goToolchain(strings.TrimPrefix(strings.TrimPrefix(text, "go"), "v"))
	}
	text = strings.TrimSuffix(strings.TrimPrefix(text, "v"), "+dirty")
	if text == zeroPseudo || text == "(devel)" {
		return ""
	}
	return text
}

// goToolchain is the release that a toolchain is a build of ("1.22.3 X:boringcrypto",
// "1.21.0-vendor"), as advisories write it: 1.24.0-rc.2 for 1.24rc2.
func goToolchain(text string) string {
	m := goRelease.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	if m[2] == "" {
		return m[1]
	}
	return m[1] + strings.Repeat(".0", max(0, 2-strings.Count(m[1], "."))) + "-" + m[2] + "." + m[3]
}

// ParseVersion reads a version as the ecosystem writes it. The error wraps
// ErrVersion.
func ParseVersion(ecosystem, text string) (v Version, err error) {
	base := Base(ecosystem)
	if err := checkVersion(base, text); err != nil {
		return Version{}, err
	}
	// The parsers were not made for hostile input: a panic of theirs is one more
	// version that can't be compared.
	defer func() {
		if p := recover(); p != nil {
			v, err = Version{}, fmt.Errorf("%w: %s %q: %v", ErrVersion, base, text, p)
		}
	}()
	parsed, err := semantic.Parse(inOrder(base, text), orderOf(base))
	if err != nil {
		return Version{}, fmt.Errorf("%w: %s %q: %w", ErrVersion, base, text, err)
	}
	return Version{ecosystem: base, text: text, parsed: parsed}, nil
}

// inOrder writes a version in the form in which its ecosystem compares versions,
// for those that write one version in several ways.
func inOrder(base, text string) string {
	switch base {
	case "Maven":
		return mavenQualifier.ReplaceAllString(text, "-$1$2")
	case "Packagist":
		return composerVersion(text)
	case "RubyGems":
		// As Gem::Version reads it: 7.0.0-rc3 is after 7.0.0.beta.
		return strings.ReplaceAll(text, "-", ".pre.")
	}
	return text
}

// mavenQualifier is a qualifier after a dot, which Maven's ComparableVersion takes
// as one after a hyphen (9.0.0.M5 is after 9.0.0-M1), and the library as older.
var mavenQualifier = regexp.MustCompile(`\.([A-Za-z]+)(\d|$)`)

// composerNumbers are the numbers with which a version begins, unless it is one
// long number, which is a date.
var composerNumbers = regexp.MustCompile(`^\d{1,5}(\.\d+)*`)

// composerVersion is the normalised form in which Composer compares versions, and
// in which 7.0 and 7.0.0 are one: four numbers, without v, -stable and what follows +
// (Composer\Semver\VersionParser::normalize).
func composerVersion(text string) string {
	text = strings.TrimPrefix(strings.TrimPrefix(text, "v"), "V")
	text, _, _ = strings.Cut(text, "+")
	text = strings.TrimSuffix(text, "-stable")
	numbers := composerNumbers.FindString(text)
	rest := text[len(numbers):]
	if numbers == "" || strings.HasPrefix(rest, ".") || rest != "" && '0' <= rest[0] && rest[0] <= '9' {
		return text
	}
	return numbers + strings.Repeat(".0", max(0, 3-strings.Count(numbers, "."))) + rest
}

// orderOf is the ecosystem whose version order holds, for those that the
// library doesn't know by name.
func orderOf(base string) string {
	switch base {
	case "Photon OS", "Azure Linux":
		return "Red Hat"
	case "Echo", "Root":
		return "Debian"
	}
	return base
}

// checkVersion refuses what the parsers would read as a number that isn't there
// ("latest" as 0): comparing it would answer, and wrongly.
func checkVersion(base, text string) error {
	if text == "" {
		return fmt.Errorf("%w: no version", ErrVersion)
	}
	if len(text) > maxVersionBytes || plain("version", text, maxVersionBytes) != nil || strings.ContainsAny(text, " \t") {
		return fmt.Errorf("%w: %q", ErrVersion, clip(text, 80))
	}
	switch base {
	case "Maven", "Debian", "Ubuntu", "Red Hat", "AlmaLinux", "Rocky Linux", "SUSE", "openSUSE", "openEuler", "Mageia", "Photon OS", "Azure Linux":
		// Letters may come first: r09, Finchley.SR2.
		if strings.ContainsAny(text, "0123456789") || base == "Maven" {
			return nil
		}
	default:
		digits := strings.TrimLeft(text, "vV=")
		if digits != "" && digits[0] >= '0' && digits[0] <= '9' {
			return nil
		}
	}
	return fmt.Errorf("%w: %q", ErrVersion, text)
}

// Compare is -1, 0 or +1 as v is before, equal to or after w. The error wraps
// ErrVersion.
func (v Version) Compare(w Version) (c int, err error) {
	if v.text == w.text {
		return 0, nil
	}
	defer func() {
		if p := recover(); p != nil {
			c, err = 0, fmt.Errorf("%w: %q with %q: %v", ErrVersion, v.text, w.text, p)
		}
	}()
	c, err = v.parsed.Compare(w.parsed)
	if err != nil {
		return 0, fmt.Errorf("%w: %q with %q: %w", ErrVersion, v.text, w.text, err)
	}
	return max(-1, min(1, c)), nil
}

// compareTo compares v with a version of an advisory.
func (v Version) compareTo(text string) (int, error) {
	if v.text == text {
		return 0, nil
	}
	w, err := ParseVersion(v.ecosystem, text)
	if err != nil {
		return 0, err
	}
	return v.Compare(w)
}
