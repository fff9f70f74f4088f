package report

import (
	"fmt"
	"slices"
	"strings"
)

// An asidePackage is a package that was set aside, or its licence.
type asidePackage struct {
	why     *Suppression
	name    string
	license bool
}

// asidePackages are the packages of the final file system that somebody set aside,
// wholly or for their licence, which leaves no other trace where nothing was found
// in them.
func (v *view) asidePackages() []asidePackage {
	var out []asidePackage
	for i := range v.report.Packages {
		p := &v.report.Packages[i]
		if !inFinalImage(p.State) {
			continue
		}
		name := cutMiddle(Safe(p.Name), maxName) + " " + whole(p.Version)
		if p.Suppressed != nil {
			out = append(out, asidePackage{why: p.Suppressed, name: name})
		}
		if p.License != nil && p.License.Suppressed != nil {
			out = append(out, asidePackage{why: p.License.Suppressed, name: name + " (" + cutEnd(Safe(p.License.Expression), maxName) + ")", license: true})
		}
	}
	return out
}

// asideCounts tell of them in a line for each kind.
func (v *view) asideCounts() []string {
	var order []string
	counts := map[string]int{}
	for _, p := range v.asidePackages() {
		kind := "%s " + strings.ReplaceAll(suppressedPhrase(p.why.By), "%", "%%")
		if p.license {
			kind = "licences of " + kind
		}
		if counts[kind] == 0 {
			order = append(order, kind)
		}
		counts[kind]++
	}
	slices.Sort(order)
	lines := make([]string, len(order))
	for i, kind := range order {
		lines[i] = fmt.Sprintf(kind, plural(counts[kind], "package"))
	}
	return lines
}

// maxAside is how many packages a list of those set aside names for each reason.
const maxAside = 40

// packagesSetAside lists them by the reason.
func (t *table) packagesSetAside() {
	var reasons []string
	names := map[string][]string{}
	for _, p := range t.asidePackages() {
		reason := cutEnd(Safe(string(p.why.By))+": "+Safe(p.why.Reason), maxMessage)
		if p.license {
			reason = "licences, " + reason
		}
		if names[reason] == nil {
			reasons = append(reasons, reason)
		}
		names[reason] = append(names[reason], p.name)
	}
	if len(reasons) == 0 {
		return
	}
	t.line()
	t.put(bold, "Packages and licences set aside")
	t.line()
	for _, r := range reasons {
		t.space(2)
		t.paragraph(dim, r, 2, t.Width)
		t.space(4)
		t.paragraph(plain, shortList(names[r], maxAside), 4, t.Width)
	}
}
