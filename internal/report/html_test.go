package report

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/advisory"
)

func writeHTML(t *testing.T, reports ...*Report) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := HTML(&buf, reports, Options{Ended: billOptions().Now}); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestHTMLGolden(t *testing.T) {
	golden(t, "sample.html", writeHTML(t, billSample()))
}

// tags are the elements of a page, each as its name and attributes.
func tags(t *testing.T, page []byte) []xml.StartElement {
	t.Helper()
	// The reader of XML reads this page, once what is no XML is out of it.
	for _, element := range []string{"style", "script"} {
		page = regexp.MustCompile(`(?s)<`+element+`>.*?</`+element+`>`).ReplaceAll(page, nil)
	}
	d := xml.NewDecoder(bytes.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var found []xml.StartElement
	for {
		token, err := d.Token()
		if err == io.EOF {
			return found
		}
		if err != nil {
			t.Fatalf("%v", err)
		}
		if start, ok := token.(xml.StartElement); ok {
			found = append(found, start.Copy())
		}
	}
}

// checkPage fails for a page that loads anything, that has a style, script or
// handler it did not come with, or whose links lead to nowhere.
func checkPage(t *testing.T, page []byte) {
	t.Helper()
	ids, links := map[string]int{}, map[string]bool{}
	for _, e := range tags(t, page) {
		if !slices.Contains(strings.Fields(`html head meta title body a nav small main footer p code article header div svg rect h1 ul li section dl dt dd abbr
			h2 h3 table caption thead tbody tr th td span b i em fieldset legend input label output details summary`), e.Name.Local) {
			t.Errorf("an element <%s> in the page", e.Name.Local)
		}
		for _, a := range e.Attr {
			switch name := a.Name.Local; {
			case name == "id":
				ids[a.Value]++
			case name == "href" && strings.HasPrefix(a.Value, "#"):
				links[a.Value[1:]] = true
			case name == "href":
				if !regexp.MustCompile(`^https://(nvd\.nist\.gov/vuln/detail|github\.com/advisories|osv\.dev/vulnerability)/[A-Za-z0-9:._-]*$`).MatchString(a.Value) {
					t.Errorf("a link to %q", a.Value)
				}
			case name == "src" || name == "style" || name == "srcset" || name == "action" || strings.HasPrefix(name, "on"):
				t.Errorf("<%s> has %s=%q", e.Name.Local, name, a.Value)
			}
		}
	}
	for id, n := range ids {
		if n > 1 {
			t.Errorf("%d elements have the id %s", n, id)
		}
	}
	for link := range links {
		if ids[link] == 0 {
			t.Errorf("a link leads to #%s, which isn't there", link)
		}
	}
}

func TestHTMLNeedsNothing(t *testing.T) {
	pages := documents()
	delete(pages, "hostile") // it has a layer's number twice, and so the id
	pages["incomplete"], pages["many layers"], pages["clean"] = incompleteReport(), manyLayersReport(), cleanReport()
	for name, r := range pages {
		t.Run(name, func(t *testing.T) { checkPage(t, writeHTML(t, r)) })
	}
	t.Run("two images", func(t *testing.T) { checkPage(t, writeHTML(t, billSample(), incompleteReport())) })
	page := string(writeHTML(t, billSample()))
	if strings.Count(page, "<style") != 1 || strings.Count(page, "<script") != 1 || !strings.Contains(page, `content="default-src &#39;none&#39;;`) {
		t.Error("the page has not one style, one script and a policy")
	}
}

// TestHTMLTellsAll: what the report has is in the page.
func TestHTMLTellsAll(t *testing.T) {
	r := billSample()
	r.Findings = append(r.Findings, Finding{Kind: KindEndOfLife, ID: "EOL-debian-9", PackageName: "debian", PackageVersion: "9", PackageType: "distro", Summary: "no updates since 2022"})
	fresh := true
	r.Findings[0].New = &fresh
	page := string(writeHTML(t, r))
	for _, want := range []string{
		`<span class="new">new</span>`, `<li class="about">`,
		"CVE-2023-4911", "18.19.0&#43;dfsg-6~deb12u1", "CVE-2020-11022", "in layer 4, removed by layer 5", "waiver: not reachable, until 2027-01-01 (alice)",
		"zip: not a valid zip file", "no advisory data for Hackage", "base image: debian:12", "strong-copyleft", "LicenseRef-zlib-like", "owned by node-semver",
		"<b>End of life</b> debian 9: no updates since 2022", "94.4 %", ">not read<", `<p class="stamp">Fail</p>`, "2026-11-25 12:00 UTC",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in the page", want)
		}
	}
	if n := strings.Count(page, `<tr class="f `); n != len(r.Findings)-1 {
		t.Errorf("%d rows of findings, want %d", n, len(r.Findings)-1)
	}
}

func TestHTMLNeverAllClear(t *testing.T) {
	for name, tt := range map[string]struct {
		report *Report
		want   string
	}{
		"incomplete":    {incompleteReport(), "the scan is incomplete"},
		"unchecked":     {uncheckedReport(), "Nothing was checked"},
		"filtered":      {sample().Filter(FilterOptions{Severities: []Severity{advisory.Unknown}, OnlyFixed: true}), "hidden by the filter"},
		"no verdict":    {&Report{}, "no policy was asked for one"},
		"clean of all":  {cleanReport(), "No known vulnerabilities in 13 packages"},
		"odd decisions": {hostileReport(), "unknown decision"},
	} {
		if page := string(writeHTML(t, tt.report)); !strings.Contains(page, tt.want) {
			t.Errorf("%s: %q is not in the page", name, tt.want)
		}
	}
}

// TestHTMLIsSmall: BenchmarkFormats has the time that the page takes.
func TestHTMLIsSmall(t *testing.T) {
	if page := writeHTML(t, largeReport(2000)); len(page) > 2<<20 {
		t.Errorf("2,000 findings are %d bytes", len(page))
	}
}

// FuzzHTML puts a string wherever an image has a say.
func FuzzHTML(f *testing.F) {
	f.Add("</script><script>alert(1)</script>")
	f.Add("javascript:alert(1)\" onload=\"x' style=x")
	f.Add("\u202e{{.}}\xff&lt;!--")
	f.Fuzz(func(t *testing.T, s string) {
		r := reportOf(s)
		r.Packages[0].License = &License{Expression: s, Evidence: []LicenseEvidence{{Path: s}}}
		r.Image.Labels = map[string]string{s: s}
		r.Image.Base = &Base{Reference: s, Digest: s}
		r.Findings[0].Kind = KindEndOfLife
		page := writeHTML(t, r)
		checkPage(t, page)
		checkSafe(t, strings.ReplaceAll(string(page), "\t", " "))
	})
}

// browse opens a page in Chromium, and returns the document as it is then, and
// what the console says.
func browse(t *testing.T, page []byte, fragment string) (dom, console string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "page.html")
	if err := os.WriteFile(path, page, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool(t, "chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
		"--user-data-dir="+filepath.Join(dir, "profile"), "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0",
		"--virtual-time-budget=5000", "--dump-dom", "file://"+path+fragment)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, log.String())
	}
	var lines []string
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "CONSOLE") {
			lines = append(lines, line)
		}
	}
	return out.String(), strings.Join(lines, "")
}

// TestHTMLInChromium: the page is quiet under its own policy, and its script runs.
func TestHTMLInChromium(t *testing.T) {
	dom, console := browse(t, writeHTML(t, billSample(), hostileReport()), "#i0-removed")
	if console != "" {
		t.Errorf("the console says:\n%s", console)
	}
	if n := strings.Count(dom, `<th scope="col" class="s"><button type="button">Severity</button></th>`); n == 0 {
		t.Error("the script did not run: no head of a table is a button")
	}
	if !regexp.MustCompile(`id="i0-removed">\s*<details open="">`).MatchString(dom) {
		t.Error("the link into a closed part did not open it")
	}
	if regexp.MustCompile(`<input[^>]* hidden`).MatchString(dom) {
		t.Error("a search field stayed hidden")
	}
	// That the console is quiet means something only if it isn't where the policy is broken.
	broken := bytes.Replace(writeHTML(t, billSample()), []byte("<footer>"), []byte(`<script>alert(1)</script><img src="http://x.invalid/a.png"><footer style="color:red">`), 1)
	if _, console := browse(t, broken, ""); strings.Count(console, "Content Security Policy") < 3 {
		t.Errorf("the policy lets through what the page did not come with; the console says:\n%s", console)
	}
}

// TestHTMLScript drives the page: search, filters and sorting.
func TestHTMLScript(t *testing.T) {
	const drive = `<script>
addEventListener("load", () => {
  const said = [];
  const findings = document.querySelector(".findings");
  const visible = () => Array.from(document.querySelectorAll(".findings .f")).filter((r) => getComputedStyle(r).display !== "none").length;
  const output = () => findings.querySelector(".shown").textContent;
  const tell = (what) => said.push(what + ": " + visible() + " rows, " + (output() || "all shown"));
  const search = (text) => { const s = findings.querySelector(".search"); s.value = text; s.dispatchEvent(new Event("input")); };
  const later = (f) => new Promise((done) => setTimeout(() => { f(); done(); }, 300));
  (async () => {
    tell("at first");
    search("LODASH"); await later(() => tell("nothing of that name is active"));
    search("minimist 2021"); await later(() => tell("both words"));
    search(""); await later(() => tell("all again"));
    findings.querySelector(".f-critical").click(); tell("no critical");
    findings.querySelector(".f-kev").click(); tell("only exploited");
    findings.querySelector(".f-kev").click(); findings.querySelector(".f-critical").click(); tell("as at first");
    const table = document.querySelector(".findings .found");
    const column = (n) => Array.from(table.tBodies[0].rows, (r) => r.cells[n].textContent.trim().split(/\s/)[0]).join(" ");
    const heads = table.querySelectorAll("thead button");
    heads[0].click(); said.push(column(0)); heads[0].click(); said.push(column(0)); heads[1].click(); said.push(column(1));
    document.title = said.join("|");
  })();
});
</script></body>`
	page := regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`).ReplaceAll(writeHTML(t, billSample()), nil)
	dom, console := browse(t, bytes.Replace(page, []byte("</body>"), []byte(drive), 1), "")
	if console != "" {
		t.Errorf("the console says:\n%s", console)
	}
	title := regexp.MustCompile(`<title>(.*?)</title>`).FindStringSubmatch(dom)
	if title == nil {
		t.Fatal("no title")
	}
	want := []string{
		"at first: 12 rows, all shown", "nothing of that name is active: 0 rows, 0 of 12 shown", "both words: 1 rows, 1 of 12 shown", "all again: 12 rows, all shown",
		"no critical: 8 rows, 8 of 12 shown", "only exploited: 2 rows, 2 of 12 shown", "as at first: 12 rows, all shown",
		"critical critical high medium", "medium high critical critical", "CVE-2020-29652 CVE-2023-24538 CVE-2023-39319 CVE-2024-45337",
	}
	if diff := cmp.Diff(want, strings.Split(title[1], "|")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestHTMLFilterWithoutScript: the filters work by style alone.
func TestHTMLFilterWithoutScript(t *testing.T) {
	page := writeHTML(t, billSample())
	page = regexp.MustCompile(`(?s)<script>.*</script>`).ReplaceAll(page, nil)
	page = regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`).ReplaceAll(page, nil)
	page = bytes.Replace(page, []byte(`class="f-critical" checked`), []byte(`class="f-critical"`), 1)
	const count = `<script>addEventListener("load", () => { document.title = "shown " + Array.from(document.querySelectorAll(".findings .f")).filter((r) => getComputedStyle(r).display !== "none").length; });</script></body>`
	dom, _ := browse(t, bytes.Replace(page, []byte("</body>"), []byte(count), 1), "")
	if want := fmt.Sprintf("<title>shown %d</title>", 8); !strings.Contains(dom, want) {
		t.Errorf("not %s", want)
	}
}
