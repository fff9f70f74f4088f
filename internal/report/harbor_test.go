package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"strata/internal/advisory"
	"strata/internal/inventory"
)

// TestHarbor: only what counts, each vulnerability of a package version once, and with
// all that the scanner specification has fields for.
func TestHarbor(t *testing.T) {
	finding := func(id, pkg string, s Severity, change ...func(*Finding)) Finding {
		f := Finding{ID: id, PackageID: pkg, PackageName: pkg, PackageVersion: "1.0", PackageType: "npm", Severity: s, Status: Affected, State: inventory.Present, References: []string{"https://a.example/" + id}}
		for _, do := range change {
			do(&f)
		}
		return f
	}
	r := &Report{Tool: Tool{Name: "strata", Version: "1"}, Layers: []Layer{{Index: 0, Digest: "sha256:l", DiffID: "sha256:d"}}, Findings: []Finding{
		finding("CVE-1", "a", advisory.High, func(f *Finding) {
			f.FixedVersion, f.Summary, f.CVSS, f.KEV = "1.1", "bad\x1b[31m", &CVSS{"3.1", "CVSS:3.1/AV:N", 8.1}, true
		}),
		finding("CVE-1", "a", advisory.High),
		finding("CVE-2", "a", advisory.Low, func(f *Finding) { f.References, f.CVSS = nil, &CVSS{"2.0", "AV:N/AC:L", 3} }),
		finding("CVE-3", "b", "", func(f *Finding) { f.CVSS = &CVSS{"4.0", "CVSS:4.0/AV:N", 5} }),
		finding("CVE-4", "b", advisory.Critical, func(f *Finding) { f.Suppressed = &Suppression{By: "waiver"} }),
		finding("CVE-5", "b", advisory.Critical, func(f *Finding) { f.State = inventory.Removed }),
		finding("EOL", "b", advisory.Critical, func(f *Finding) { f.Kind = KindEndOfLife }),
	}}
	a := HarborArtifact{Repository: "library/mongo", Digest: "sha256:x", Tag: "3"}
	now := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	b, err := json.Marshal(r.Harbor(a, now))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		GeneratedAt     time.Time `json:"generated_at"`
		Artifact        HarborArtifact
		Severity        string
		Vulnerabilities []map[string]any
	}
	var fields struct {
		Vulnerabilities []struct {
			CVSS       map[string]any `json:"preferred_cvss"`
			Links      []string
			Attributes struct{ Layer map[string]any } `json:"vendor_attributes"`
		}
	}
	if err := errors.Join(json.Unmarshal(b, &got), json.Unmarshal(b, &fields)); err != nil {
		t.Fatal(err)
	}
	if got.Severity != "High" || got.Artifact != a || !got.GeneratedAt.Equal(now) || len(got.Vulnerabilities) != 3 {
		t.Errorf("%s", b)
	}
	severities := []string{"Unknown", "Negligible", "Low", "Medium", "High", "Critical"}
	for i, v := range got.Vulnerabilities {
		for _, field := range []string{"id", "package", "version", "severity", "links"} {
			if v[field] == nil || v[field] == "" {
				t.Errorf("vulnerability %d has no %s", i, field)
			}
		}
		if s, ok := v["severity"].(string); !ok || !slices.Contains(severities, s) {
			t.Errorf("severity %q", v["severity"])
		}
	}
	first, second, third := fields.Vulnerabilities[0], fields.Vulnerabilities[1], fields.Vulnerabilities[2]
	if got.Vulnerabilities[0]["fix_version"] != "1.1" || first.CVSS["score_v3"] != 8.1 || first.Attributes.Layer["digest"] != "sha256:l" {
		t.Errorf("%+v", first)
	}
	if second.CVSS["vector_v2"] != "AV:N/AC:L" || second.Links[0] != "https://osv.dev/vulnerability/CVE-2" {
		t.Errorf("%+v", second)
	}
	if third.CVSS != nil || got.Vulnerabilities[2]["severity"] != "Unknown" {
		t.Errorf("%+v", third)
	}
	if none := (&Report{}).Harbor(a, now); none.Severity != "Unknown" || none.Vulnerabilities == nil {
		t.Errorf("%+v", none)
	}
}

func TestHarborBill(t *testing.T) {
	for mediaType, mark := range map[string]string{HarborSPDX: "spdxVersion", HarborCycloneDX: "bomFormat"} {
		bill, err := sample().HarborBill(HarborArtifact{Repository: "a"}, mediaType, time.Unix(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(bill)
		var doc struct{ SBOM map[string]any }
		if err != nil || json.Unmarshal(b, &doc) != nil || doc.SBOM[mark] == nil || !bytes.Contains(b, []byte(`"media_type":"`+mediaType+`"`)) {
			t.Errorf("%s: %v %.200s", mediaType, err, b)
		}
	}
	if _, err := sample().HarborBill(HarborArtifact{}, "text/plain", time.Unix(0, 0)); err == nil || !strings.Contains(err.Error(), "text/plain") {
		t.Error(err)
	}
}
