package advisory

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	got, err := Parse([]byte(`{"schema_version":"1.7.3","id":"GHSA-aaaa-bbbb-cccc","modified":"2024-03-02T01:00:00.5Z","published":"2024-01-01T00:00:00Z",
		"aliases":["CVE-2024-1","CVE-2024-1","GHSA-aaaa-bbbb-cccc"],"summary":" First\u001b[31m line\nsecond","details":"long","unknown":{"x":[1]},
		"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
		"affected":[{"package":{"ecosystem":"npm","name":"a","purl":"pkg:npm/a"},
			"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.2.3"}]},{"type":"GIT","repo":"x","events":[{"introduced":"0"}]}],"versions":["1.0.0"]},
			{"package":{"ecosystem":"npm","name":"only-git"},"ranges":[{"type":"GIT","repo":"x","events":[{"introduced":"0"}]}]},
			{"ranges":[{"type":"GIT","repo":"x","events":[{"introduced":"0"}]}]}],
		"references":[{"type":"WEB","url":"https://e.org/1"},{"type":"ADVISORY","url":"https://e.org/2"},{"type":"WEB","url":"javascript:alert(1)"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Record{
		ID: "GHSA-aaaa-bbbb-cccc", Aliases: []string{"CVE-2024-1"}, Summary: "First[31m line",
		Published: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), Modified: time.Date(2024, 3, 2, 1, 0, 0, 5e8, time.UTC),
		Rating: Rating{Critical, CVSS{"3.1", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8}},
		Affected: []Affected{{Ecosystem: "npm", Name: "a", Versions: []string{"1.0.0"},
			Ranges: []Range{{Semver: true, Events: []Event{{Introduced, "0"}, {Fixed, "1.2.3"}}}}}},
		References: []string{"https://e.org/2", "https://e.org/1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Records of distributions that predate the field upstream have their CVEs as
// related; those of languages mean something else by it.
func TestParseRelated(t *testing.T) {
	record := `{"id":"X-1","modified":"2024-01-01T00:00:00Z","related":["CVE-2024-0001","Y-2"],
		"affected":[{"package":{"ecosystem":"ECO","name":"a"},"versions":["1"]}]}`
	for ecosystem, want := range map[string][]string{"AlmaLinux:9": {"CVE-2024-0001"}, "npm": nil} {
		r, err := Parse([]byte(strings.Replace(record, "ECO", ecosystem, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, r.Upstream); diff != "" {
			t.Errorf("%s: %s", ecosystem, diff)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for name, c := range map[string]struct{ json, want string }{
		"not JSON":            {`{`, "unexpected end"},
		"no id":               {`{"modified":"2024-01-01T00:00:00Z"}`, "no id"},
		"id that leads away":  {`{"id":"../x","modified":"2024-01-01T00:00:00Z"}`, "not a record id"},
		"no modified":         {`{"id":"A"}`, "modified"},
		"wrong type":          {`{"id":"A","modified":"2024-01-01T00:00:00Z","affected":"all"}`, "affected"},
		"control in name":     {`{"id":"A","modified":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"a\nb"},"versions":["1"]}]}`, "control characters"},
		"version that's long": {`{"id":"A","modified":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"a"},"versions":["` + strings.Repeat("1", 600) + `"]}]}`, "more than the limit"},
	} {
		if _, err := Parse([]byte(c.json)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"id":"A","modified":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"a"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1"}]}],"versions":["1"]}]}`))
	f.Add([]byte(`{"id":"A","modified":"2024-01-01T00:00:00Z","database_specific":{"severity":1,"cvss_v3":9},"severity":[{"type":"CVSS_V2","score":"AV:N"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			return
		}
		if strings.ContainsAny(r.Summary, "\n\r\x1b") {
			t.Errorf("summary %q is not one plain line", r.Summary)
		}
		for _, e := range r.Entries() {
			got, err := DecodeRanges(EncodeRanges(e.Affected.Ranges))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(e.Affected.Ranges, got); diff != "" {
				t.Errorf("ranges changed by storage: %s", diff)
			}
		}
		rating, err := DecodeRating(EncodeRating(r.Rating))
		if err != nil || rating != r.Rating {
			t.Errorf("rating %+v became %+v, %v", r.Rating, rating, err)
		}
	})
}
