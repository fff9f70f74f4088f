package advisory

import (
	"fmt"
	"testing"
)

func TestParseCVSS(t *testing.T) {
	for _, c := range []struct {
		vector, version string
		score           float64
		severity        Severity
	}{
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", "3.1", 10, Critical},
		{"CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", "3.0", 7.5, High},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", "3.1", 6.1, Medium},
		{"CVSS:3.1/AV:L/AC:H/PR:L/UI:N/S:U/C:N/I:N/A:L", "3.1", 2.5, Low},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", "3.1", 0, Low},
		{"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", "4.0", 9.3, Critical},
		{"AV:N/AC:L/Au:N/C:C/I:C/A:C", "2.0", 10, High},
	} {
		got, err := ParseCVSS(c.vector)
		if err != nil {
			t.Errorf("%s: %v", c.vector, err)
			continue
		}
		if got.Version != c.version || got.Score != c.score || got.Severity() != c.severity {
			t.Errorf("%s: %+v, %s", c.vector, got, got.Severity())
		}
	}
	for _, bad := range []string{"", "CVSS:3.1/", "CVSS:3.1/AV:N", "CVSS:9/AV:N", "7.5"} {
		if got, err := ParseCVSS(bad); err == nil {
			t.Errorf("%q: %+v, want an error", bad, got)
		}
	}
}

func TestRating(t *testing.T) {
	for name, c := range map[string]struct {
		fields, affected string
		want             string // severity version score
	}{
		"vector":                       {`"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}]`, ``, "high 3.1 7.5"},
		"the newest of several":        {`"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"},{"type":"CVSS_V4","score":"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"}]`, ``, "critical 4.0 9.3"},
		"vector before word":           {`"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}],"database_specific":{"severity":"LOW"}`, ``, "high 3.1 7.5"},
		"broken vector, GitHub's word": {`"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/none"}],"database_specific":{"severity":"MODERATE"}`, ``, "medium  0"},
		"a number":                     {`"database_specific":{"cvss_v3":9.8,"cvss_v2":1}`, ``, "critical 3.1 9.8"},
		"the entry's vector":           {``, `"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}]`, "high 3.1 7.5"},
		"another's urgency":            {`"database_specific":{"severity":"HIGH"}`, `"ecosystem_specific":{"urgency":"unimportant"}`, "high  0"},
		"the entry's word":             {`"database_specific":{"severity":"HIGH"}`, `"ecosystem_specific":{"severity":"LOW"}`, "low  0"},
		"Ubuntu's priority":            {`"severity":[{"type":"Ubuntu","score":"high"}]`, ``, "high  0"},
		"AlmaLinux's title":            {`"summary":"Important: kernel update"`, ``, "high  0"},
		"RustSec's notice":             {``, `"database_specific":{"informational":"unmaintained"}`, "low  0"},
		"odd types":                    {`"database_specific":["x"]`, `"ecosystem_specific":{"severity":7}`, "  0"},
		"nothing":                      {``, ``, "  0"},
	} {
		json := `{"id":"X-1","modified":"2024-01-01T00:00:00Z"` + comma(c.fields) + c.fields +
			`,"affected":[{"package":{"ecosystem":"npm","name":"a"},"versions":["1"]` + comma(c.affected) + c.affected + `}]}`
		r, err := Parse([]byte(json))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := fmt.Sprintf("%s %s %v", r.Rating.Severity, r.Rating.CVSS.Version, r.Rating.CVSS.Score); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func comma(s string) string {
	if s == "" {
		return ""
	}
	return ","
}

func TestRatingDistributions(t *testing.T) {
	for _, c := range []struct {
		ecosystem, specific string
		want                Severity
	}{
		{"Debian:12", `{"urgency":"unimportant"}`, Low},
		{"Debian:12", `{"urgency":"high**"}`, High},
		{"Debian:12", `{"urgency":"not yet assigned"}`, ""},
		{"Debian:12", `{"urgency":7}`, ""},
		{"Ubuntu:22.04:LTS", `{"ubuntu_priority":"medium"}`, Medium},
		{"npm", `{"urgency":"high"}`, ""},
	} {
		r, err := Parse(fmt.Appendf(nil, `{"id":"X-1","modified":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":%q,"name":"a"},"versions":["1"],"ecosystem_specific":%s}]}`, c.ecosystem, c.specific))
		if err != nil || r.Rating.Severity != c.want {
			t.Errorf("%s %s: %q, %v, want %q", c.ecosystem, c.specific, r.Rating.Severity, err, c.want)
		}
	}
}

// Malicious packages have no grade of their own.
func TestRatingMalicious(t *testing.T) {
	r, err := Parse([]byte(`{"id":"MAL-2024-1","modified":"2024-01-01T00:00:00Z"}`))
	if err != nil || r.Rating.Severity != Critical {
		t.Errorf("%+v, %v, want critical", r.Rating, err)
	}
}

func FuzzParseCVSS(f *testing.F) {
	f.Add("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H")
	f.Add("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N/E:U")
	f.Add("AV:N/AC:L/Au:N/C:C/I:C/A:C")
	f.Fuzz(func(t *testing.T, vector string) {
		c, err := ParseCVSS(vector)
		if err == nil && !(c.Score >= 0 && c.Score <= 10) {
			t.Errorf("%q scores %v", vector, c.Score)
		}
	})
}
