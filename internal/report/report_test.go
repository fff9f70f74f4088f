package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"strata/internal/advisory"
	"strata/internal/license"
	"strata/internal/policy"
)

func TestJSONRoundTrip(t *testing.T) {
	for name, write := range map[string]func(*bytes.Buffer, *Report) error{
		"indented": func(b *bytes.Buffer, r *Report) error { return JSON(b, r) },
		"compact":  func(b *bytes.Buffer, r *Report) error { return CompactJSON(b, r) },
	} {
		t.Run(name, func(t *testing.T) {
			var buf bytes.Buffer
			if err := write(&buf, sample()); err != nil {
				t.Fatal(err)
			}
			got, err := ReadJSON(&buf)
			if err != nil {
				t.Fatal(err)
			}
			want := sample()
			want.SchemaVersion = SchemaVersion
			for i := range want.Findings {
				want.Findings[i].Kind = KindVulnerability
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadJSONRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"what is no JSON":        {"layers:", "read JSON report"},
		"nothing":                {"", "EOF"},
		"JSON of something else": {`{"bomFormat":"CycloneDX"}`, "no schema_version"},
		"another version":        {`{"schema_version":"2"}`, `"2"`},
		"a report of licences":   {`{"schema_version":"1","packages":[]}`, "no findings in it"},
		"several reports":        {`{"schema_version":"1","findings":[]} {"schema_version":"1","findings":[]}`, "more than one report"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ReadJSON(strings.NewReader(tt.in)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestJSONHasNoNull(t *testing.T) {
	r := &Report{Packages: []Package{{}}, Findings: []Finding{{}}, Verdict: policy.Verdict{Violations: []policy.Violation{{Decision: policy.Fail}}}}
	var buf bytes.Buffer
	if err := JSON(&buf, r); err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(buf.String(), "\n") {
		if strings.Contains(line, "null") && !strings.Contains(line, `"cvss"`) && !strings.Contains(line, `"suppressed"`) {
			t.Errorf("null in %s", line)
		}
	}
	validate(t, buf.Bytes())
}

func TestJSONKeepsNamesApart(t *testing.T) {
	r := &Report{Packages: []Package{{ID: "1", Name: "caf\xe9"}, {ID: "2", Name: "caf\xe8"}, {ID: "3", Name: "a\u202e\u009b\x1b\U000e0041"}}}
	var buf bytes.Buffer
	if err := CompactJSON(&buf, r); err != nil {
		t.Fatal(err)
	}
	checkSafe(t, buf.String())
	got, err := ReadJSON(&buf)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`caf\xe9`, `caf\xe8`, "a\u202e\u009b\x1b\U000e0041"}
	for i, name := range want {
		if got.Packages[i].Name != name {
			t.Errorf("name %q, want %q", got.Packages[i].Name, name)
		}
	}
	if r.Packages[0].Name != "caf\xe9" {
		t.Error("JSON changed the report it wrote")
	}
}

// TestJSONFollowsItsSchema holds the contract, and the schema against reports
// that break it.
func TestJSONFollowsItsSchema(t *testing.T) {
	golden, err := os.ReadFile("testdata/report.json")
	if err != nil {
		t.Fatal(err)
	}
	validate(t, golden)
	for name, r := range map[string]*Report{
		"empty": {}, "filtered": sample().Filter(FilterOptions{OnlyFixed: true}), "unchecked": uncheckedReport(), "incomplete": incompleteReport(),
	} {
		t.Run(name, func(t *testing.T) {
			var buf bytes.Buffer
			if err := JSON(&buf, r); err != nil {
				t.Fatal(err)
			}
			validate(t, buf.Bytes())
		})
	}
	for name, change := range map[string][2]string{
		"a severity that is none": {`"severity": "critical"`, `"severity": "grave"`},
		"a null array":            {`"aliases": []`, `"aliases": null`},
		"a key missing":           {`"package_id":`, `"package":`},
		"a number as text":        {`"layer": 0`, `"layer": "0"`},
	} {
		t.Run(name, func(t *testing.T) {
			broken := strings.Replace(string(golden), change[0], change[1], 1)
			if broken == string(golden) {
				t.Fatalf("the golden report has no %s", change[0])
			}
			if err := validationError(t, []byte(broken)); err == nil {
				t.Error("the schema lets it through")
			}
		})
	}
}

func validate(t *testing.T, doc []byte) {
	t.Helper()
	if err := validationError(t, doc); err != nil {
		t.Errorf("the report breaks docs/report.schema.json: %v", err)
	}
}

func validationError(t *testing.T, doc []byte) error {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("../../docs/report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		t.Fatal(err)
	}
	return schema.Validate(v)
}

func TestParseSeverities(t *testing.T) {
	tests := []struct {
		in   string
		want []Severity
	}{
		{"critical", []Severity{advisory.Critical}},
		{"HIGH", []Severity{advisory.Critical, advisory.High}},
		{"unknown", policy.Severities()},
		{"low,critical", []Severity{advisory.Critical, advisory.Low}},
		{"high, high,unknown", []Severity{advisory.High, advisory.Unknown}},
	}
	for _, tt := range tests {
		got, err := ParseSeverities(tt.in)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.in, diff)
		}
	}
	for _, in := range []string{"", "moderate", "high,", "high;low"} {
		if got, err := ParseSeverities(in); err == nil {
			t.Errorf("ParseSeverities(%q) = %v, want an error", in, got)
		}
	}
}

func TestFilter(t *testing.T) {
	tests := []struct {
		name       string
		options    FilterOptions
		keep, hide int
	}{
		{"nothing asked for", FilterOptions{}, 17, 0},
		{"one severity", FilterOptions{Severities: []Severity{advisory.Critical}}, 5, 8},
		{"unknown alone", FilterOptions{Severities: []Severity{advisory.Unknown}}, 1, 11},
		{"only fixed", FilterOptions{OnlyFixed: true}, 15, 1},
		{"both", FilterOptions{Severities: []Severity{advisory.Low}, OnlyFixed: true}, 0, 12},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := sample()
			got := r.Filter(tt.options)
			if len(got.Findings) != tt.keep {
				t.Errorf("kept %d findings, want %d", len(got.Findings), tt.keep)
			}
			var hidden int
			if got.Filtered != nil {
				hidden = got.Filtered.Hidden
			}
			if hidden != tt.hide {
				t.Errorf("hid %d active findings, want %d", hidden, tt.hide)
			}
			if diff := cmp.Diff(sample(), r); diff != "" {
				t.Errorf("the report itself changed (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(r.Verdict, got.Verdict); diff != "" {
				t.Errorf("the verdict changed (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNeverAllClear: the table says that nothing is known to be wrong only when
// everything was looked at.
func TestNeverAllClear(t *testing.T) {
	const allClear = "No known vulnerabilities"
	tests := map[string]struct {
		change func(*Report)
		want   string
	}{
		"all was checked":          {func(*Report) {}, allClear},
		"an ecosystem unchecked":   {func(r *Report) { r.Advisories.Coverage[1].Status = NoData }, "6 were not"},
		"nothing checked":          {func(r *Report) { allStatus(r, NoData) }, "Nothing was checked"},
		"a status nobody knows":    {func(r *Report) { allStatus(r, "hm") }, "Nothing was checked"},
		"coverage not told":        {func(r *Report) { r.Advisories.Coverage = nil }, "Nothing was checked"},
		"packages of no ecosystem": {func(r *Report) { r.Advisories.Coverage = r.Advisories.Coverage[:3] }, "1 were not"},
		"a layer not read":         {func(r *Report) { r.Problems = []Problem{{Layer: 1, Incomplete: true}} }, "incomplete"},
		"starter advisories only":  {func(r *Report) { r.Advisories.Starter = true }, "starter set"},
		"advisories in part":       {func(r *Report) { r.Advisories.Coverage[0].Status = Partial }, "by the advisories there are"},
		"end of life":              {func(r *Report) { r.Image.Distro.Status = DistroEndOfLife }, "by the advisories there are"},
		"not looked for":           {func(r *Report) { r.Scanners = []Scanner{ScanLicenses} }, "not looked for"},
		"no packages":              {func(r *Report) { r.Packages = nil }, "nothing was checked"},
		"all filtered out":         {func(r *Report) { r.Filtered = &Filtered{Hidden: 3, OnlyFixed: true} }, "3 more findings"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := cleanReport()
			tt.change(r)
			var buf bytes.Buffer
			if err := Table(&buf, r, TableOptions{}); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(buf.String(), tt.want) {
				t.Errorf("no %q in\n%s", tt.want, buf.String())
			}
			if tt.want != allClear && strings.Contains(buf.String(), allClear) {
				t.Errorf("all clear in\n%s", buf.String())
			}
		})
	}
}

func allStatus(r *Report, s CoverageStatus) {
	for i := range r.Advisories.Coverage {
		r.Advisories.Coverage[i].Status = s
	}
}

func TestVerdictLines(t *testing.T) {
	tests := map[string]struct {
		verdict policy.Verdict
		change  func(*Report)
		want    string
	}{
		"no policy": {policy.Verdict{Decision: policy.Pass}, nil, "No policy was asked"},
		"pass":      {policy.Verdict{Decision: policy.Pass, Rules: []string{"fail-on high"}}, nil, "PASS  fail-on high: no objection"},
		"warn":      {policy.Verdict{Decision: policy.Warn, Rules: []string{"r"}, Violations: []policy.Violation{{Rule: "r", Message: "hm"}}}, nil, "WARN  r: hm"},
		"fail":      {policy.Verdict{Decision: policy.Fail, Rules: []string{"r"}, Violations: []policy.Violation{{Rule: "r", Message: "no"}}}, nil, "FAIL  r: no"},
		"incomplete": {policy.Verdict{Decision: policy.Pass, Rules: []string{"r"}}, func(r *Report) {
			r.Problems = []Problem{{Layer: -1, Message: "gone", Incomplete: true}}
		}, "INCOMPLETE  r: no objection to what could be had"},
		"what fails stands first": {policy.Verdict{Decision: policy.Fail, Violations: append(slices.Repeat([]policy.Violation{{Decision: policy.Warn, Rule: "w", Message: "hm"}}, 10),
			policy.Violation{Decision: policy.Fail, Rule: "f", Message: "no"})}, nil, "FAIL  f: no"},
		"many violations": {policy.Verdict{Decision: policy.Fail, Violations: make([]policy.Violation, 30)}, nil, "and 20 more violations"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := cleanReport()
			r.Verdict = tt.verdict
			if tt.change != nil {
				tt.change(r)
			}
			var buf bytes.Buffer
			if err := Table(&buf, r, TableOptions{}); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(buf.String(), tt.want) {
				t.Errorf("no %q in\n%s", tt.want, buf.String())
			}
		})
	}
}

// TestPackagesSetAside: a package or licence that somebody waived is told of, also
// where nothing was found in it.
func TestPackagesSetAside(t *testing.T) {
	r := cleanReport()
	r.Packages[0].Suppressed = &Suppression{By: ByWaiver, Reason: "going away"}
	r.Packages[1].License = &License{Expression: "GPL-3.0-only", Class: license.StrongCopyleft, Suppressed: &Suppression{By: ByPolicy, Reason: "policy p, rule r"}}
	for _, tt := range []struct {
		options TableOptions
		want    []string
	}{
		{TableOptions{}, []string{"  1 package waived (--show-suppressed)\n", "  licences of 1 package that a rule of a policy ignores (--show-suppressed)\n"}},
		{TableOptions{ShowSuppressed: true}, []string{"  waiver: going away\n    " + r.Packages[0].Name, "  licences, policy: policy p, rule r\n    " + r.Packages[1].Name + " " + r.Packages[1].Version + " (GPL-3.0-only)\n"}},
	} {
		var buf bytes.Buffer
		if err := Table(&buf, r, tt.options); err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.want {
			if !strings.Contains(buf.String(), want) {
				t.Errorf("no %q in\n%s", want, buf.String())
			}
		}
	}
}

// TestAccepted: who accepts what is missing sees that in the verdict.
func TestAccepted(t *testing.T) {
	for _, accepted := range []bool{false, true} {
		var buf bytes.Buffer
		if err := Table(&buf, incompleteReport(), TableOptions{AllowIncomplete: accepted}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(buf.String(), "accepted, by --allow-incomplete"); got != accepted {
			t.Errorf("accepted %v, want %v, in\n%s", got, accepted, buf.String())
		}
	}
}

func TestFormats(t *testing.T) {
	for _, f := range Formats() {
		t.Run(f.Name, func(t *testing.T) {
			if f.Description == "" {
				t.Error("no description")
			}
			if err := CheckFormat(f.Name); err != nil {
				t.Error(err)
			}
			var buf bytes.Buffer
			if err := Write(&buf, f.Name, sample(), Options{Template: sampleTemplate}); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(buf.String(), "CVE-2023-4911") {
				t.Errorf("a finding is not in\n%s", buf.String())
			}
			if err := Write(full{}, f.Name, sample(), Options{Template: sampleTemplate}); !errors.Is(err, errFull) {
				t.Errorf("error %v, want one that wraps the writer's", err)
			}
		})
	}
	for _, err := range []error{CheckFormat("yaml"), Write(&bytes.Buffer{}, "yaml", sample(), Options{})} {
		if err == nil || !strings.Contains(err.Error(), "table, json") || !strings.Contains(err.Error(), "yaml") {
			t.Errorf("error %v, want one that lists the formats", err)
		}
	}
	var indented, compact bytes.Buffer
	for _, w := range []struct {
		buf     *bytes.Buffer
		compact bool
	}{{&indented, false}, {&compact, true}} {
		if err := Write(w.buf, "json", sample(), Options{Compact: w.compact}); err != nil {
			t.Fatal(err)
		}
	}
	if bytes.Count(compact.Bytes(), []byte("\n")) != 1 || indented.Len() <= compact.Len() {
		t.Error("compact JSON is not one line")
	}
}

var errFull = errors.New("disk full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
