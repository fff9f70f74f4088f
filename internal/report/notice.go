package report

import (
	"cmp"
	"fmt"
	"html/template"
	"io"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"strata/internal/license"
)

// A noticeText is a text of the image with the packages that it is of.
type noticeText struct {
	// Paths that have it, each once.
	Paths    []string
	Packages []*Package
	Text     string

	seen map[string]bool // of the paths
}

// A notice is an attribution document.
type notice struct {
	Image     string
	Digest    string
	Tool      string
	Packages  int
	Texts     []*noticeText
	Without   []*Package // without a text
	texts     map[string]*noticeText
	mentioned map[*Package]bool
	// safe are the texts of files as they are written, which many packages may share.
	safe map[Location]string
}

// newNotice groups the texts: packages that come with the same one share it.
func newNotice(l *licenseReport) *notice {
	n := &notice{
		Image: Safe(l.report.Image.Reference), Digest: Safe(l.report.Image.Digest), Tool: Safe(strings.TrimSpace(l.report.Tool.Name + " " + l.report.Tool.Version)),
		Packages: len(l.packages), texts: map[string]*noticeText{}, mentioned: map[*Package]bool{}, safe: map[Location]string{},
	}
	beside := map[Location][]Location{} // notices by directory
	for at := range l.Texts {
		if !strings.Contains(at.Path, "!/") && license.KindOfFile(path.Base(at.Path)) == license.Notice {
			dir := Location{Path: path.Dir(at.Path), Layer: at.Layer}
			beside[dir] = append(beside[dir], at)
		}
	}
	for _, p := range l.packages {
		for _, e := range p.License.Evidence {
			at := Location{Path: e.Path, Layer: e.Layer}
			if b, ok := l.Texts[at]; ok && noticeEvidence(&e) {
				n.add(p, at, b)
			}
			more := beside[Location{Path: path.Dir(e.Path), Layer: e.Layer}]
			slices.SortFunc(more, func(a, b Location) int { return cmp.Compare(a.Path, b.Path) })
			for _, at := range more {
				n.add(p, at, l.Texts[at])
			}
		}
		if !n.mentioned[p] {
			n.Without = append(n.Without, p)
		}
	}
	return n
}

// noticeEvidence tells whether a file is a text to pass on: a licence, or one of
// Debian's copyright files.
func noticeEvidence(e *LicenseEvidence) bool {
	return e.Kind == "text" || path.Base(e.Path) == "copyright"
}

func (n *notice) add(p *Package, at Location, b []byte) {
	text, known := n.safe[at]
	if !known {
		text = safeText(b)
		n.safe[at] = text
	}
	if text == "" {
		return
	}
	n.mentioned[p] = true
	t := n.texts[text]
	if t == nil {
		t = &noticeText{Text: text, seen: map[string]bool{}}
		n.texts[text] = t
		n.Texts = append(n.Texts, t)
	}
	if shown := Safe(at.Path); !t.seen[shown] {
		t.seen[shown] = true
		t.Paths = append(t.Paths, shown)
	}
	if last := len(t.Packages) - 1; last < 0 || t.Packages[last] != p { // one is added after the other
		t.Packages = append(t.Packages, p)
	}
}

// safeText is a text of an image in lines that are safe to look at. Tabs become
// spaces, form feeds are left out.
func safeText(b []byte) string {
	var out strings.Builder
	replacer := strings.NewReplacer("\t", "    ", "\f", "", "\ufeff", "", "\u00a0", " ")
	for line := range strings.Lines(strings.ToValidUTF8(string(b), string(utf8.RuneError))) {
		line = replacer.Replace(strings.TrimRight(line, "\r\n \t"))
		out.WriteString(Safe(line))
		out.WriteByte('\n')
	}
	return strings.Trim(out.String(), "\n")
}

// NoticeFiles are the files whose texts a notice of the report has. removed adds
// those of packages that are in lower layers only.
func (r *Report) NoticeFiles(removed bool) map[Location]bool {
	files := map[Location]bool{}
	for i := range r.Packages {
		p := &r.Packages[i]
		if p.License == nil || !removed && !inFinalImage(p.State) {
			continue
		}
		for j := range p.License.Evidence {
			if e := &p.License.Evidence[j]; noticeEvidence(e) {
				files[Location{Path: e.Path, Layer: e.Layer}] = true
			}
		}
	}
	return files
}

// packageLine names a package with its licence.
func packageLine(p *Package) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s", Safe(p.Name), Safe(p.Version))) + " (" + Safe(p.Type) + ") – " + Safe(licenseWord(p))
}

// licenseNotice writes the attribution document as a text.
func licenseNotice(w io.Writer, l *licenseReport) error {
	n := newNotice(l)
	var b strings.Builder
	rule := strings.Repeat("=", 80) + "\n"
	fmt.Fprintf(&b, "NOTICES\n\n%s\n", n.Image)
	if n.Digest != "" {
		fmt.Fprintf(&b, "%s\n", n.Digest)
	}
	fmt.Fprintf(&b, "\n%s, with the licence texts and notices that come with them in the image.\n\n", plural(n.Packages, "package"))
	for _, t := range n.Texts {
		b.WriteString(rule)
		for _, p := range t.Packages {
			b.WriteString(packageLine(p) + "\n")
		}
		fmt.Fprintf(&b, "\nfrom %s\n\n%s\n\n", shortList(t.Paths, maxNamed), t.Text)
	}
	if len(n.Without) > 0 {
		fmt.Fprintf(&b, "%s%s without a text in the image; what is known of the licence:\n\n", rule, plural(len(n.Without), "package"))
		for _, p := range n.Without {
			b.WriteString(packageLine(p) + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// noticePage is the attribution document as a page. It runs and loads nothing.
var noticePage = template.Must(template.New("notice").Funcs(template.FuncMap{"line": packageLine}).Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Notices: {{.Image}}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; background: #fff; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f4f5f7; padding: 1rem; border-radius: .4rem; font-size: .85rem; }
summary { cursor: pointer; } h1, p, li, summary { overflow-wrap: anywhere; } .from { color: #57606a; font-size: .85rem; }
@media (prefers-color-scheme: dark) { body { color: #e6e8eb; background: #14171b; } pre { background: #1e2329; } .from { color: #9aa4af; } }
</style>
</head>
<body>
<h1>Notices</h1>
<p>{{.Image}}{{with .Digest}}<br>{{.}}{{end}}</p>
<p>{{.Packages}} packages, with the licence texts and notices that come with them in the image.</p>
{{range .Texts}}<section>
<ul>{{range .Packages}}<li>{{line .}}</li>{{end}}</ul>
<details><summary>Text <span class="from">from {{range $i, $p := .Paths}}{{if $i}}, {{end}}{{$p}}{{end}}</span></summary><pre>{{.Text}}</pre></details>
</section>
{{end}}{{with .Without}}<h2>Without a text in the image</h2>
<ul>{{range .}}<li>{{line .}}</li>{{end}}</ul>
{{end}}<p class="from">{{.Tool}}</p>
</body>
</html>
`))

func licenseHTML(w io.Writer, l *licenseReport) error { return noticePage.Execute(w, newNotice(l)) }
