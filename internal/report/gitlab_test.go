package report

import (
	"bytes"
	"strings"
	"testing"
)

func readGitLab(t testing.TB, doc []byte) gitlabReport {
	t.Helper()
	var r gitlabReport
	decodeStrictly(t, doc, &r)
	return r
}

// TestGitLabFollowsItsSchema holds what is written against what GitLab's schemas
// ask (testdata/schema/README.md), and that against documents that break it.
func TestGitLabFollowsItsSchema(t *testing.T) {
	schema := compileSchema(t, "gitlab-container-scanning.json")
	for _, version := range GitLabSchemas() {
		for name, reports := range formatCases() {
			t.Run(version+" "+name, func(t *testing.T) {
				doc := written(t, "gitlab", Options{GitLabSchema: version}, reports...)
				if err := schema.Validate(parseJSON(t, doc)); err != nil {
					t.Error(err)
				}
				r := readGitLab(t, doc)
				if r.Version != version || !strings.Contains(r.Schema, "/v"+version+"/") {
					t.Errorf("version %s, schema %s", r.Version, r.Schema)
				}
				ids := map[string]bool{}
				for _, v := range r.Vulnerabilities {
					if ids[v.ID] {
						t.Errorf("id %s twice", v.ID)
					}
					ids[v.ID] = true
				}
			})
		}
	}
	good := string(written(t, "gitlab", formatOptions(), fullSample()))
	for _, change := range [][2]string{
		{`"severity": "Critical"`, `"severity": "critical"`}, {`"operating_system"`, `"os"`}, {"2026-11-23T13:00:00", "2026-11-23T13:00:00Z"},
		{`"type": "container_scanning"`, `"type": "sast"`}, {`"url": "https:`, `"url": "javascript:`},
	} {
		broken := strings.Replace(good, change[0], change[1], 1)
		if broken == good || schema.Validate(parseJSON(t, []byte(broken))) == nil {
			t.Errorf("the schema lets %s through", change[1])
		}
	}
}

func TestGitLabIDsStay(t *testing.T) {
	ids := func(r *Report) map[string]string {
		out := map[string]string{}
		for _, v := range readGitLab(t, written(t, "gitlab", formatOptions(), r)).Vulnerabilities {
			out[v.Identifiers[0].Value+" "+v.Location.Dependency.Package.Name] = v.ID
		}
		return out
	}
	base := ids(sample())
	changed := sample()
	changed.Image.Reference = "registry.example:5000/shop/node-app:9"
	shiftLayers(changed, 2)
	setVersion(changed, "minimist", "0.2.0")
	for key, id := range ids(changed) {
		if base[key] != id {
			t.Errorf("%s has another id", key)
		}
	}
	arm := ids(armReport())
	for key, id := range base {
		if arm[key] == id {
			t.Errorf("%s has the same id on another platform", key)
		}
	}
}

func TestGitLabHasWhatCounts(t *testing.T) {
	r := readGitLab(t, written(t, "gitlab", formatOptions(), fullSample()))
	for _, v := range r.Vulnerabilities {
		switch id := v.Identifiers[0].Value; id {
		case "CVE-2099-0001", "CVE-2022-25883", "CVE-2020-11022":
			t.Errorf("%s does not count", id)
		case "CVE-2023-44487":
			if v.Location.Dependency.Package.Name == "nodejs" && (v.Severity != "High" || len(v.CVSS) != 1 || len(v.Identifiers) != 2) {
				t.Errorf("%+v", v)
			}
		}
	}
	if r.Scan.Status != "success" || r.Scan.StartTime != "2026-11-23T12:59:57" || r.Scan.EndTime != "2026-11-23T13:00:00" {
		t.Errorf("scan %+v", r.Scan)
	}
	if r := readGitLab(t, written(t, "gitlab", formatOptions(), incompleteReport())); r.Scan.Status != "failure" {
		t.Errorf("a layer was not read, and the status is %s", r.Scan.Status)
	}
}

func TestGitLabVectors(t *testing.T) {
	for vector, want := range map[string]bool{
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H": true, "AV:N/AC:L/Au:N/C:P/I:N/A:N": true, "(AV:N/AC:L/Au:N/C:P/I:N/A:N)": true,
		"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N": false, "CVSS:3.1/AV:N": false, "": false,
	} {
		if got := len(gitlabVectors(&CVSS{Vector: vector})) == 1; got != want {
			t.Errorf("%q: taken %v, want %v", vector, got, want)
		}
	}
}

func TestCheckGitLabSchema(t *testing.T) {
	if err := CheckGitLabSchema("14.0.0"); err == nil || !strings.Contains(err.Error(), "15.0.7, 15.1.4, 15.2.1") {
		t.Errorf("error %v", err)
	}
	if err := Write(&bytes.Buffer{}, "gitlab", sample(), Options{GitLabSchema: "1"}); err == nil {
		t.Error("a schema that there is not is taken")
	}
}
