package analyzer

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"strata/internal/inventory"
)

// pythonPackage reads the metadata of installed Python distributions: wheels
// (*.dist-info/METADATA), eggs (*.egg-info, EGG-INFO/PKG-INFO, also in a zipped
// .egg). PyPA, "Recording installed projects" and "Core metadata".
type pythonPackage struct{}

func (pythonPackage) Name() string { return "python" }

func (pythonPackage) Wants(c *Candidate) bool {
	p := c.Path
	switch {
	case strings.HasSuffix(p, ".dist-info/METADATA"):
		// pip renames what it is about to remove to "~name" and never looks at it again.
		return !strings.HasPrefix(parentBase(p), "~")
	case strings.HasSuffix(p, ".egg-info/PKG-INFO"), strings.HasSuffix(p, "EGG-INFO/PKG-INFO"),
		strings.HasSuffix(p, ".egg-info"), strings.HasSuffix(p, ".egg"):
		return !documentation(p)
	}
	return false
}

// maxPythonHeader is how much of a METADATA file is read: the long description,
// which follows the headers, does not matter.
const maxPythonHeader = 1 << 20

func (pythonPackage) Analyze(_ context.Context, f *File) (Result, error) {
	var headers []byte
	var err error
	if strings.HasSuffix(f.Path, ".egg") {
		headers, err = eggHeaders(f)
	} else {
		headers, err = io.ReadAll(io.LimitReader(f.Reader(), maxPythonHeader))
	}
	if err != nil {
		return Result{}, err
	}
	if headers == nil {
		return Result{}, nil
	}
	p, ok := parsePythonMetadata(headers)
	if !ok {
		return Result{}, fmt.Errorf("no Name and Version among the headers in its first %d bytes", len(headers))
	}
	return Result{Packages: []inventory.Package{p}}, nil
}

// eggHeaders reads EGG-INFO/PKG-INFO of a zipped egg; nil when it has none.
func eggHeaders(f *File) ([]byte, error) {
	z, _, err := openZip(f.ReaderAt(), f.Size, maxZipDirectory)
	if err != nil {
		return nil, err
	}
	for _, e := range z.File {
		if e.Name == "EGG-INFO/PKG-INFO" {
			return readZipEntry(e, maxPythonHeader)
		}
	}
	return nil, nil
}

// readZipEntry inflates at most limit bytes of e.
func readZipEntry(e *zip.File, limit int64) ([]byte, error) {
	r, err := e.Open()
	if err != nil {
		return nil, fmt.Errorf("%q in the archive: %w", e.Name, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit))
	if err != nil {
		return nil, fmt.Errorf("%q in the archive: %w", e.Name, err)
	}
	return b, nil
}

// parsePythonMetadata reads the headers of core metadata.
func parsePythonMetadata(b []byte) (inventory.Package, bool) {
	p := inventory.Package{Type: "pypi", Ecosystem: ecosystemPyPI}
	var expression, licence string
	var classifiers []string
	eachHeader(b, func(key, value string) {
		switch {
		case strings.EqualFold(key, "Name"):
			p.Name = value
		case strings.EqualFold(key, "Version"):
			p.Version = value
		case strings.EqualFold(key, "License-Expression"):
			expression = value
		case strings.EqualFold(key, "License"):
			licence = value
		case strings.EqualFold(key, "Classifier"):
			if c, ok := licenseClassifier(value); ok {
				classifiers = append(classifiers, c)
			}
		}
	})
	p.Licenses = pythonLicenses(expression, licence, classifiers)
	return p, p.Name != "" && p.Version != ""
}

// pythonLicenses chooses the most exact of the three places where a package
// can name its licence: PEP 639 says that an expression overrules the rest, and
// many put the whole text of the licence into License.
func pythonLicenses(expression, licence string, classifiers []string) []string {
	const longestName = 100
	switch {
	case expression != "":
		return []string{expression}
	case licence != "" && licence != "UNKNOWN" && len(licence) <= longestName && !strings.Contains(licence, "\n"):
		return []string{licence}
	}
	return classifiers
}

// licenseClassifier turns "License :: OSI Approved :: MIT License" into
// "MIT License".
func licenseClassifier(c string) (string, bool) {
	rest, ok := strings.CutPrefix(c, "License :: ")
	if !ok || rest == "OSI Approved" {
		return "", false
	}
	if i := strings.LastIndex(rest, " :: "); i >= 0 {
		rest = rest[i+len(" :: "):]
	}
	return rest, true
}

// eachHeader calls f for each header of a block in the manner of RFC 822, up to
// the first empty line. A line that starts with a blank continues the value,
// which then holds a newline.
func eachHeader(b []byte, f func(key, value string)) {
	var key string
	var value []byte
	flush := func() {
		if key != "" {
			f(key, string(value))
		}
		key, value = "", nil
	}
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			if key != "" {
				value = append(append(value, '\n'), bytes.TrimSpace(line)...)
			}
			continue
		}
		flush()
		k, v, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		key, value = string(bytes.TrimSpace(k)), append([]byte(nil), bytes.TrimSpace(v)...)
	}
	flush()
}

// condaPackage reads conda-meta/*.json, one file for each installed conda
// package. OSV has no conda ecosystem; a Python package of conda also brings
// its METADATA, under which it is matched.
type condaPackage struct{}

func (condaPackage) Name() string { return "conda" }

func (condaPackage) Wants(c *Candidate) bool {
	return strings.HasSuffix(c.Path, ".json") && parentBase(c.Path) == "conda-meta"
}

func (condaPackage) Analyze(_ context.Context, f *File) (Result, error) {
	var m struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		License string `json:"license"`
	}
	if err := decodeJSON(f, maxLockSize, &m); err != nil {
		return Result{}, err
	}
	if m.Name == "" || m.Version == "" {
		return Result{}, nil
	}
	p := inventory.Package{Type: "conda", Name: m.Name, Version: m.Version}
	if m.License != "" {
		p.Licenses = []string{m.License}
	}
	return Result{Packages: []inventory.Package{p}}, nil
}
