package analyzer

import (
	"bytes"
	"context"
	"io"
	"strings"

	"strata/internal/inventory"
	"strata/internal/license"
)

// licenseFile recognises the texts of licences, and reads Debian's copyright
// files. Which package a file is of is for inventory.Merge.
type licenseFile struct{ texts *license.Recogniser }

func (licenseFile) Name() string { return inventory.LicenseAnalyzer }

// maxLicenseFile is the size from which a file is no licence, whatever its name.
const maxLicenseFile = 4 << 20

func (licenseFile) Wants(c *Candidate) bool {
	if c.Size == 0 || c.Size > maxLicenseFile {
		return false
	}
	if rest, ok := strings.CutPrefix(c.Path, "usr/share/"); ok {
		switch {
		case strings.HasPrefix(rest, "licenses/"):
			return strings.Count(rest, "/") >= 2
		case strings.HasPrefix(rest, "common-licenses/"):
			return false // Debian's collection: the texts that copyright files refer to
		}
	}
	if strings.HasPrefix(c.Path, "var/db/pkg/") {
		return false // Gentoo's, see gentooLicense
	}
	return license.KindOfFile(c.Base()) == license.LicenseText || strings.Contains(c.Path, ".dist-info/licenses/")
}

func (l licenseFile) Analyze(_ context.Context, f *File) (Result, error) {
	debian := documentation(f.Path) && f.Base() == "copyright"
	limit := int64(license.MaxText)
	if debian {
		limit = license.MaxCopyright
	}
	b, err := firstBytes(f, limit)
	if err != nil {
		return Result{}, err
	}
	if bytes.IndexByte(b[:min(len(b), headSize)], 0) >= 0 {
		return Result{}, nil // no text
	}
	found := inventory.LicenseFile{Kind: inventory.LicenseText}
	if debian {
		c := l.texts.Copyright(b)
		found.Expression, found.Coverage = c.Expression.String(), c.Coverage
		if c.Machine {
			found.Kind = inventory.LicenseDeclared
		}
	} else {
		found = textEvidence(l.texts, b)
	}
	return Result{Licenses: []inventory.LicenseFile{found}}, nil
}

// firstBytes is the file's content, up to limit.
func firstBytes(f *File, limit int64) ([]byte, error) {
	if f.memory != nil {
		return f.memory[:min(int64(len(f.memory)), limit)], nil
	}
	b := make([]byte, min(f.Size, limit))
	_, err := io.ReadFull(f.Reader(), b)
	return b, err
}

func textEvidence(texts *license.Recogniser, b []byte) inventory.LicenseFile {
	t := texts.Recognise(b)
	return inventory.LicenseFile{Kind: inventory.LicenseText, Expression: t.Expression.String(), Coverage: t.Coverage}
}

// declaredEvidence is what a manifest declares of the package "type:name@version".
func declaredEvidence(pkg string, e license.Expression) Result {
	if e.Zero() {
		return Result{}
	}
	return Result{Licenses: []inventory.LicenseFile{{Kind: inventory.LicenseDeclared, Package: validText(pkg), Expression: e.String()}}}
}

// gentooLicense reads the file LICENSE that Portage keeps of each installed
// package (PMS 7.3.2): names, all of which hold, and "|| ( A B )" for a choice.
type gentooLicense struct{}

func (gentooLicense) Name() string { return "portage-license" }

func (gentooLicense) Wants(c *Candidate) bool {
	return strings.HasPrefix(c.Path, "var/db/pkg/") && strings.HasSuffix(c.Path, "/LICENSE") && c.Size < maxLicense
}

func (gentooLicense) Analyze(_ context.Context, f *File) (Result, error) {
	b, err := f.Bytes(maxLicense)
	if err != nil {
		return Result{}, err
	}
	words := strings.Fields(string(b))
	e := gentooExpression(&words, license.And)
	return declaredEvidence("", e), nil
}

func gentooExpression(words *[]string, join func(...license.Expression) license.Expression) license.Expression {
	var all []license.Expression
	for len(*words) > 0 {
		w := (*words)[0]
		*words = (*words)[1:]
		switch {
		case w == ")":
			return join(all...)
		case w == "(":
			all = append(all, gentooExpression(words, license.And))
		case w == "||" && len(*words) > 0 && (*words)[0] == "(":
			*words = (*words)[1:]
			all = append(all, gentooExpression(words, license.Or))
		case w == "||" || strings.HasSuffix(w, "?"):
		default:
			all = append(all, license.Normalise(w))
		}
	}
	return join(all...)
}

// crateManifest reads the manifests of crates in Cargo's registry, as builder
// images have it: of the crates in an executable, only it tells the licence.
type crateManifest struct{}

func (crateManifest) Name() string { return "crate" }

func (crateManifest) Wants(c *Candidate) bool {
	if !strings.HasSuffix(c.Path, "/Cargo.toml") {
		return false
	}
	_, rest, ok := strings.Cut(c.Path, "registry/src/")
	return ok && strings.Count(rest, "/") == 2
}

func (crateManifest) Analyze(_ context.Context, f *File) (Result, error) {
	b, err := f.Bytes(maxManifestSize)
	if err != nil {
		return Result{}, err
	}
	// Cargo normalises what it publishes: a field a line, in double quotes.
	fields := map[string]string{}
	section := ""
	for line := range bytes.Lines(b) {
		s := strings.TrimSpace(string(line))
		if strings.HasPrefix(s, "[") {
			section = s
			continue
		}
		key, value, ok := strings.Cut(s, "=")
		if value = strings.TrimSpace(value); ok && section == "[package]" && len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
			fields[strings.TrimSpace(key)] = value[1 : len(value)-1]
		}
	}
	return declaredEvidence("cargo:"+fields["name"]+"@"+fields["version"], license.Normalise(fields["license"])), nil
}
