package report

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"strata/internal/inventory"
)

const (
	// minName is what a package's name keeps at least where room is short.
	minName = 14
	// maxName is what it gets at most.
	maxName = 44
	// minTail is the least room in which a path or a note is worth showing.
	minTail = 16
	// wideVersion is the width that the columns of versions have at most where
	// room is short.
	wideVersion = 18
)

// A row is a finding as the table shows it. All its text is Safe.
type row struct {
	severity         Severity
	id, name         string
	installed, fixed string
	kev, repeats     bool
	note, path       string
}

// findingsByLayer lists the active findings, the topmost layer first.
func (t *table) findingsByLayer() {
	for i := len(t.layers) - 1; i >= 0; i-- {
		if l := &t.layers[i]; len(l.findings) > 0 {
			t.layerHead(l)
			t.rows(t.rowsOf(l.findings))
		}
	}
	if len(t.loose) > 0 {
		t.line()
		t.put(bold, "Packages")
		t.line()
		t.rows(t.rowsOf(t.loose))
	}
}

func (t *table) layerHead(l *layerView) {
	t.line()
	t.put(bold, fmt.Sprintf("Layer %d", l.Index))
	t.space(2)
	if l.Base {
		t.put(dim, "base")
		t.space(2)
	}
	tally := plural(len(l.findings), "finding")
	if l.fixable > 0 {
		tally += fmt.Sprintf(", %d fixable", l.fixable)
	}
	room := t.edge - t.used - t.spaces - 2 - width(tally)
	t.put(dim, cutEnd(Safe(Instruction(l.CreatedBy)), room))
	t.to(t.edge - width(tally))
	t.put(dim, tally)
	t.line()
}

// endsOfLife lists what nobody writes security updates for.
func (t *table) endsOfLife() {
	if len(t.ended) == 0 {
		return
	}
	t.line()
	t.put(bold, "End of life")
	t.line()
	for _, f := range t.ended {
		t.space(2)
		text := Safe(f.Summary)
		if text == "" {
			text = strings.TrimSpace(Safe(f.PackageName) + " " + Safe(f.PackageVersion))
		}
		if p := t.packages[f.PackageID]; p != nil && len(p.Locations) > 0 {
			text += " (" + cutStart(Safe(p.Locations[0].Path), t.Width/2) + ")"
		}
		t.paragraph(yellow, cutEnd(text, maxMessage), 4, t.Width)
	}
}

// removedFindings lists those of packages that still ship, but do not run.
func (t *table) removedFindings() {
	if t.ShowRemoved {
		t.apart("Still in lower layers, but not in the running file system", t.removed, t.whereabouts)
	}
}

// whereabouts tells which layer has a package that is not in the final file
// system, and which took it away.
func (v *view) whereabouts(f *Finding) string {
	p := v.findingPackage(f)
	if p.StateLayer < 0 {
		return fmt.Sprintf("in layer %d", f.Layer)
	}
	verb := "removed"
	if f.State == inventory.Shadowed {
		verb = "replaced"
	}
	return fmt.Sprintf("in layer %d, %s by layer %d", f.Layer, verb, p.StateLayer)
}

// suppressedFindings lists those set aside.
func (t *table) suppressedFindings() {
	if t.ShowSuppressed {
		t.apart("Set aside", t.suppressed, func(f *Finding) string {
			return cutEnd(Safe(string(f.Suppressed.By))+": "+Safe(f.Suppressed.Reason), maxMessage)
		})
		t.packagesSetAside()
	}
}

// apart lists findings that do not count, grouped by the reason for that.
func (t *table) apart(title string, findings []*Finding, reason func(*Finding) string) {
	if len(findings) == 0 {
		return
	}
	t.line()
	t.put(bold, title)
	if tally := plural(len(findings), "finding"); t.used+2+width(tally) <= t.edge {
		t.to(t.edge - width(tally))
		t.put(dim, tally)
	}
	t.line()

	var reasons []string
	groups := map[string][]*Finding{}
	for _, f := range findings {
		r := reason(f)
		if groups[r] == nil {
			reasons = append(reasons, r)
		}
		groups[r] = append(groups[r], f)
	}
	for _, r := range reasons {
		t.space(2)
		t.paragraph(dim, r, 2, t.Width)
		t.rows(t.rowsOf(groups[r]))
	}
}

// notCounted tells how many findings do not count and are not listed.
func (t *table) notCounted() {
	var lines []string
	if len(t.removed) > 0 && !t.ShowRemoved {
		lines = append(lines, fmt.Sprintf("%s in packages that later layers removed or replaced; they still ship (--show-removed)",
			plural(len(t.removed), "finding")))
	}
	if !t.ShowSuppressed {
		lines = append(lines, t.suppressedCounts()...)
	}
	if len(lines) == 0 {
		return
	}
	t.line()
	t.put(bold, "Not counted")
	t.line()
	for _, line := range lines {
		t.space(2)
		t.paragraph(plain, line, 4, t.Width)
	}
}

func (t *table) suppressedCounts() []string {
	counts := map[SuppressedBy]int{}
	var order []SuppressedBy
	for _, f := range t.suppressed {
		if counts[f.Suppressed.By] == 0 {
			order = append(order, f.Suppressed.By)
		}
		counts[f.Suppressed.By]++
	}
	slices.Sort(order)
	lines := make([]string, 0, len(order))
	for _, by := range order {
		lines = append(lines, fmt.Sprintf("%s %s", plural(counts[by], "finding"), suppressedPhrase(by)))
	}
	lines = append(lines, t.asideCounts()...)
	for i := range lines {
		lines[i] += " (--show-suppressed)"
	}
	return lines
}

func suppressedPhrase(by SuppressedBy) string {
	switch by {
	case ByDistroOwned:
		return "in files that the distribution owns, and patches itself"
	case ByNotRun:
		return "in packages that do not run in a container, such as the headers of a kernel"
	case ByVEX:
		return "set aside by VEX"
	case ByWaiver:
		return "waived"
	case ByPolicy:
		return "that a rule of a policy ignores"
	}
	return "set aside by " + Safe(string(by))
}

func (t *table) rowsOf(findings []*Finding) []row {
	rows := make([]row, len(findings))
	for i, f := range findings {
		p := t.findingPackage(f)
		rows[i] = row{
			severity: f.Severity, id: whole(f.ID), name: whole(p.Name), installed: whole(p.Version),
			fixed: whole(f.FixedVersion), kev: f.KEV, path: packagePath(&p),
			repeats: i > 0 && findings[i-1].PackageID == f.PackageID,
		}
		if f.Status != Affected && f.Status != "" {
			rows[i].note = strings.ReplaceAll(Safe(string(f.Status)), "_", " ")
		}
		if f.New != nil && !*f.New && f.Active() {
			rows[i].note = strings.TrimPrefix(rows[i].note+", old", ", ")
		}
	}
	return rows
}

// whole is a Safe word that is not cut, unless it is absurd.
func whole(s string) string { return cutMiddle(Safe(s), maxWord) }

// packageFile is the file that tells of a package in the folder that is it.
var packageFile = regexp.MustCompile(`/(?:package\.json|METADATA|PKG-INFO)$`)

// packagePath is where a package was found; empty for those of a distribution,
// whose path is always its database.
func packagePath(p *Package) string {
	if kind := (inventory.Package{Type: p.Type}); kind.Distribution() || len(p.Locations) == 0 {
		return ""
	}
	path := Safe(packageFile.ReplaceAllString(p.Locations[0].Path, ""))
	if more := len(p.Locations) - 1; more > 0 {
		path += fmt.Sprintf(" (+%d)", more)
	}
	return path
}

// A rowLayout is the widths of the columns of findings.
type rowLayout struct {
	severity, id, name, installed, fixed, kev int
	// tail is the room for note and path; 0 where there is none.
	tail int
}

func (t *table) rowLayout(rows []row) rowLayout {
	l := rowLayout{severity: len("critical")}
	var tail int
	for i := range rows {
		r := &rows[i]
		l.id = max(l.id, width(r.id))
		l.name = max(l.name, min(width(r.name), maxName))
		l.installed = max(l.installed, width(r.installed))
		l.fixed = max(l.fixed, width(r.fix()))
		tail = max(tail, width(r.note), width(r.path))
		if r.kev {
			l.kev = len("KEV")
		}
	}
	l.shrink(t.Width)
	if room := t.Width - l.end() - 2; tail > 0 && room >= min(tail, minTail) {
		l.tail = room
	}
	return l
}

// shrink makes the columns fit by giving up what costs least: first the long
// names of severities, then the middle of long package names, at last the
// alignment of long versions.
func (l *rowLayout) shrink(width int) {
	if width < 90 {
		l.severity = len("crit")
	}
	if excess := l.end() - width; excess > max(l.name-minName, 0) {
		l.installed = min(l.installed, wideVersion)
		l.fixed = min(l.fixed, wideVersion)
	}
	l.name = max(l.name-max(l.end()-width, 0), min(l.name, minName))
}

// end is the column at which a row without note and path ends.
func (l rowLayout) end() int {
	n := 2 + l.severity + 2 + l.id + 2 + l.name + 2 + l.installed + 3 + l.fixed
	if l.kev > 0 {
		n += 2 + l.kev
	}
	return n
}

func (r *row) fix() string {
	if r.fixed == "" {
		return "no fix"
	}
	return r.fixed
}

func (t *table) rows(rows []row) {
	l := t.rowLayout(rows)
	for i := range rows {
		t.row(l, &rows[i])
	}
}

func (t *table) row(l rowLayout, r *row) {
	name := plain
	if r.repeats {
		name = dim
	}
	t.space(2)
	t.left(severityStyle(r.severity), severityWord(r.severity, l.severity), l.severity+2)
	t.left(bold, r.id, l.id+2)
	t.left(name, cutMiddle(r.name, l.name), l.name+2)
	if t.tooWide(l, r) {
		t.wideVersions(l, name, r)
		return
	}
	t.left(name, r.installed, l.installed)
	t.arrow(r)
	t.fixed(r, l.fixed)
	t.marks(l, r)
	t.line()
}

// tooWide tells whether the versions of a row do not fit in their columns, or
// the row not on its line.
func (t *table) tooWide(l rowLayout, r *row) bool {
	if width(r.installed) > l.installed || width(r.fix()) > l.fixed {
		return true
	}
	end := t.used + t.spaces + l.installed + 3 + width(r.fix())
	if r.kev {
		end += l.fixed - width(r.fix()) + 2 + l.kev
	}
	return end > t.Width
}

// wideVersions writes versions that are too long for their columns, whole: on
// the same line where they fit on it, else on one or two of their own.
func (t *table) wideVersions(l rowLayout, st style, r *row) {
	versions := width(r.installed) + 3 + width(r.fix())
	if r.kev {
		t.put(onRed, "KEV")
		t.space(2)
	}
	indent := 2 + l.severity + 2
	if t.used+t.spaces+versions > t.Width {
		t.line()
		t.space(indent)
	}
	t.put(st, r.installed)
	if indent+versions > t.Width {
		t.line()
		t.space(indent - 1)
	}
	t.arrow(r)
	t.fixed(r, 0)
	t.line()
}

func (t *table) arrow(r *row) {
	t.space(1)
	if r.fixed == "" {
		t.space(2)
		return
	}
	t.put(dim, "→")
	t.space(1)
}

func (t *table) fixed(r *row, columns int) {
	if r.fixed == "" {
		t.left(dim, r.fix(), columns)
		return
	}
	t.left(green, r.fixed, columns)
}

func (t *table) marks(l rowLayout, r *row) {
	if l.kev > 0 {
		t.space(2)
		if r.kev {
			t.put(onRed, "KEV")
		} else {
			t.space(l.kev)
		}
	}
	if l.tail == 0 {
		return
	}
	t.space(2)
	if r.note != "" {
		t.put(dim, cutEnd(r.note, l.tail))
		return
	}
	t.put(dim, cutStart(r.path, l.tail))
}

// severityWord is the severity in at most n columns.
func severityWord(s Severity, n int) string {
	words := [len(Counts{})]string{"critical", "high", "medium", "low", "unknown"}
	if n < len("critical") {
		words = [len(Counts{})]string{"crit", "high", "med", "low", "unkn"}
	}
	return words[column(s)]
}
