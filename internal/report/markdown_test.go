package report

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"strata/internal/advisory"
)

// TestMarkdownInARealReader renders what is written with the reader that GitHub
// has, and looks for what a hostile name could bring in.
func TestMarkdownInARealReader(t *testing.T) {
	cmark := tool(t, "cmark-gfm")
	for name, reports := range formatCases() {
		for _, format := range []string{"markdown", "github-summary"} {
			t.Run(format+" "+name, func(t *testing.T) {
				checkRendered(t, render(t, cmark, string(written(t, format, formatOptions(), reports...))))
			})
		}
	}
}

func render(t *testing.T, cmark, text string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), cmark, "--unsafe", "-e", "table", "-e", "autolink", "-e", "strikethrough", "-e", "tasklist")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

var (
	htmlTag = regexp.MustCompile(`<(/?[a-zA-Z][a-zA-Z0-9]*)([^>]*)>`)
	code    = regexp.MustCompile(`(?s)<code>.*?</code>`)
	mention = regexp.MustCompile(`@[A-Za-z0-9]|#[0-9]`)
	ours    = regexp.MustCompile(`^ href="https://(nvd\.nist\.gov/vuln/detail/CVE-|github\.com/advisories/GHSA-|osv\.dev/vulnerability/)[A-Za-z0-9.-]+"$`)
)

func checkRendered(t *testing.T, html string) {
	t.Helper()
	allowed := []string{"h3", "p", "strong", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "code", "a", "details", "summary"}
	for _, m := range htmlTag.FindAllStringSubmatch(html, -1) {
		tag := strings.TrimPrefix(m[1], "/")
		if !slices.Contains(allowed, tag) {
			t.Errorf("tag %s", m[0])
		}
		if tag == "a" && m[2] != "" && !ours.MatchString(m[2]) {
			t.Errorf("link %s", m[0])
		}
	}
	text := code.ReplaceAllString(html, "")
	text = htmlTag.ReplaceAllString(text, "")
	if m := mention.FindString(text); m != "" {
		t.Errorf("%q is outside of code", m)
	}
	for _, table := range strings.Split(html, "<table>")[1:] {
		table, _, _ = strings.Cut(table, "</table>")
		rows := strings.Split(table, "<tr>")[1:]
		columns := strings.Count(rows[0], "<th")
		for _, row := range rows[1:] {
			if n := strings.Count(row, "<td"); n != columns {
				t.Errorf("a row of %d cells in a table of %d:\n%s", n, columns, row)
			}
			if strings.Contains(row, "<td></td>\n<td></td>\n<td></td>\n<td></td>\n<td></td>") {
				t.Errorf("a row was cut short:\n%s", row)
			}
		}
	}
}

// TestMarkdownText gives texts to the reader, which must give the same back as
// plain text.
func TestMarkdownText(t *testing.T) {
	cmark := tool(t, "cmark-gfm")
	for _, text := range []string{
		"plain words, (in brackets); 2.36-9+deb12u4", "*bold* _it_ ~~no~~ `code` \\ back", "[a](https://evil.example) ![b](c)", "<b>x</b> <!-- x --> &amp; &#65;",
		"https://evil.example/x www.evil.example ftp://a.b", "mail me@evil.example", "# head", "- item", "+ item", "1. item", "1) item", "> quote", "a | b | c", "=== x", "--- x",
		"@octocat and @org/team #123 !4 ~label %5 $6 GH-7", ":smile: a::b", "x^2", "^1", "    indented", "100% sure! 3 # 4", "trailing \\",
	} {
		html := render(t, cmark, "x "+mdText(text)+"\n\n"+mdText(text)+"\n")
		html = strings.ReplaceAll(html, "<!-- -->", "")
		for i, got := range strings.Split(strings.TrimSpace(html), "\n") {
			want := strings.TrimSpace(text)
			if i == 0 {
				want = "x " + want
			}
			got = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&amp;", "&").Replace(strings.TrimSuffix(strings.TrimPrefix(got, "<p>"), "</p>"))
			if got != want {
				t.Errorf("%q is read as %q", want, got)
			}
		}
		cell := render(t, cmark, "| a | b |\n|---|---|\n| "+mdText(text)+" | "+mdCode(text)+" |\n")
		if n := strings.Count(cell, "<td"); n != 2 || !strings.Contains(cell, "<td><code>") {
			t.Errorf("%q makes of a row of two cells %d:\n%s", text, n, cell)
		}
	}
}

// TestMarkdownLimits: a comment has 65,536 characters, a summary 1 MiB, and what
// is left out is told.
func TestMarkdownLimits(t *testing.T) {
	huge := largeReport(20_000)
	for format, limit := range map[string]int{"markdown": 65_536, "github-summary": 1 << 20} {
		doc := string(written(t, format, formatOptions(), huge))
		if len(doc) > limit || len(doc) < limit*9/10 {
			t.Errorf("%s: %d bytes of %d", format, len(doc), limit)
		}
		if !regexp.MustCompile(`\d+ more findings left out for want of room`).MatchString(doc) {
			t.Errorf("%s: nothing tells what was left out", format)
		}
		var many []*Report
		for i := range 40 {
			r := largeReport(500)
			r.Image.Platform = fmt.Sprint(i)
			many = append(many, r)
		}
		if doc := string(written(t, format, formatOptions(), many...)); len(doc) > limit {
			t.Errorf("%s: %d bytes of %d for many images", format, len(doc), limit)
		}
	}
	for name, reports := range formatCases() {
		if doc := written(t, "markdown", formatOptions(), reports...); len(doc) > 65_536 {
			t.Errorf("%s: %d bytes", name, len(doc))
		}
	}
}

// TestMarkdownIsNoAllClear where not all was checked.
func TestMarkdownIsNoAllClear(t *testing.T) {
	const allClear = "No known vulnerabilities"
	for name, change := range map[string]func(*Report){
		"an ecosystem unchecked": func(r *Report) { r.Advisories.Coverage[1].Status = NoData },
		"a layer not read":       func(r *Report) { r.Problems = []Problem{{Layer: 1, Incomplete: true}} },
		"starter advisories":     func(r *Report) { r.Advisories.Starter = true },
		"end of life":            func(r *Report) { r.Image.Distro.Status = DistroEndOfLife },
		"no packages":            func(r *Report) { r.Packages = nil },
		"only licences":          func(r *Report) { r.Scanners = []Scanner{ScanLicenses} },
		"all filtered out":       func(r *Report) { r.Filtered = &Filtered{Hidden: 3} },
	} {
		r := cleanReport()
		if doc := string(written(t, "markdown", Options{}, r)); !strings.Contains(doc, allClear) {
			t.Fatalf("no all clear in\n%s", doc)
		}
		change(r)
		if doc := string(written(t, "markdown", Options{}, r)); strings.Contains(doc, allClear) {
			t.Errorf("%s: all clear in\n%s", name, doc)
		}
	}
}

func TestMarkdownMarksWhatFails(t *testing.T) {
	r := sample()
	b := builder{r}
	b.finding(&r.Packages[0], "CVE-2001-0001", advisory.Critical, "")
	doc := string(written(t, "markdown", Options{}, r))
	if strings.Contains(doc, "**critical** | [CVE-2001-0001]") || !strings.Contains(doc, "| critical | [CVE-2001-0001]") || !strings.Contains(doc, "| **critical** | [CVE-2021-44906]") {
		t.Error(doc)
	}
}
