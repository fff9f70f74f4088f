package advisory

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseKEV(t *testing.T) {
	got, err := ParseKEV(strings.NewReader(`{"title":"x","vulnerabilities":[
		{"cveID":"CVE-2024-0001","dateAdded":"2024-02-03","knownRansomwareCampaignUse":"Known"},
		{"cveID":"CVE-2024-0002","dateAdded":"soon","knownRansomwareCampaignUse":"Unknown"},{"cveID":"nothing"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []KEV{{"CVE-2024-0001", time.Date(2024, 2, 3, 0, 0, 0, 0, time.UTC), true}, {CVE: "CVE-2024-0002"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"", "<html>", "{}", `{"vulnerabilities":[{"cveID":"x"}]}`} {
		if _, err := ParseKEV(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestParseEPSS(t *testing.T) {
	const csv = "#model_version:v2025.03.14,score_date:2026-08-21T00:00:00+0000\ncve,epss,percentile\nCVE-2024-0001,0.00043,0.1\nCVE-2024-0002,0.97,0.999\n"
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(csv)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"plain": csv, "gzip": packed.String()} {
		var got []EPSS
		if err := ParseEPSS(strings.NewReader(content), func(e EPSS) error { got = append(got, e); return nil }); err != nil {
			t.Fatal(name, err)
		}
		if diff := cmp.Diff([]EPSS{{"CVE-2024-0001", 0.00043, 0.1}, {"CVE-2024-0002", 0.97, 0.999}}, got); diff != "" {
			t.Error(name, diff)
		}
	}
	for _, bad := range []string{"", "cve,epss,percentile\n", "a,b\n1,2\n", "cve,epss,percentile\nCVE-2024-0001,7,0\n", "cve,epss,percentile\nnone,0.1,0\n", "cve,epss,percentile\nCVE-2024-0001,NaN,0\n"} {
		if err := ParseEPSS(strings.NewReader(bad), func(EPSS) error { return nil }); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func FuzzParseEPSS(f *testing.F) {
	f.Add([]byte("cve,epss,percentile\nCVE-2024-0001,0.00043,0.1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = ParseEPSS(bytes.NewReader(b), func(e EPSS) error {
			if !(e.Score >= 0 && e.Score <= 1) || CVE(e.CVE) != e.CVE {
				t.Errorf("%+v", e)
			}
			return nil
		})
	})
}

func FuzzParseKEV(f *testing.F) {
	f.Add([]byte(`{"vulnerabilities":[{"cveID":"CVE-2024-0001","dateAdded":"2024-02-03"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ParseKEV(bytes.NewReader(b))
		if err == nil && len(list) == 0 {
			t.Error("neither entries nor an error")
		}
	})
}
