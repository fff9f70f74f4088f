package analyzer

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"strings"

	"strata/internal/license"
)

// nuspec reads the manifests of packages in NuGet's store, as SDK images have it:
// what an application's deps.json lists tells no licence.
type nuspec struct{ texts *license.Recogniser }

func (nuspec) Name() string { return "nuspec" }

func (nuspec) Wants(c *Candidate) bool {
	return strings.HasSuffix(c.Path, ".nuspec") && c.Size < maxNuspec
}

// maxNuspec is far above any: a manifest has a few kilobytes.
const maxNuspec = 1 << 20

func (nuspec) Analyze(_ context.Context, f *File) (Result, error) {
	b, err := f.Bytes(maxNuspec)
	if err != nil {
		return Result{}, err
	}
	// learn.microsoft.com, ".nuspec reference": license is an expression or names a
	// file in the package; licenseUrl is older.
	var doc struct {
		Metadata struct {
			ID      string `xml:"id"`
			Version string `xml:"version"`
			License struct {
				Type string `xml:"type,attr"`
				Text string `xml:",chardata"`
			} `xml:"license"`
			URL string `xml:"licenseUrl"`
		} `xml:"metadata"`
	}
	if err := decodeXML(b, &doc); err != nil {
		return Result{}, err
	}
	m := doc.Metadata
	said := m.URL
	switch m.License.Type {
	case "expression":
		said = m.License.Text
	case "file":
		said = "" // its text is beside the manifest
	}
	return declaredEvidence("nuget:"+strings.TrimSpace(m.ID)+"@"+strings.TrimSpace(m.Version), license.Normalise(strings.TrimSpace(said))), nil
}

// decodeXML decodes b into v, whatever encoding it says it has: what matters is
// ASCII.
func decodeXML(b []byte, v any) error {
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(b, utf8BOM)))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	d.Strict = false
	return d.Decode(v)
}
