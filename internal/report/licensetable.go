package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"strata/internal/license"
)

// licenses tells in a few lines what licences the packages of the final file
// system have: how many of each class, and by name those that are noteworthy.
func (t *table) licenses() {
	counts := t.licenseCounts()
	if len(counts) == 0 {
		return
	}
	const head = "Licences  "
	t.line()
	t.put(bold, head)
	for _, class := range license.All() {
		if n := counts[class]; n > 0 {
			t.item(classStyle(class), fmt.Sprintf("%d %s", n, classWords(class)), " · ", len(head), t.Width)
		}
	}
	t.line()
	for _, class := range slices.Backward(license.All()) {
		if names := t.noteworthy(class); len(names) > 0 {
			t.to(2)
			t.left(classStyle(class), classWords(class), len("network copyleft")+2)
			t.paragraph(plain, shortList(names, maxNamed), len("network copyleft")+4, t.Width)
		}
	}
}

// licenseCounts are the packages in the final file system by the class of their
// licence.
func (v *view) licenseCounts() map[license.Class]int {
	counts := map[license.Class]int{}
	for i := range v.report.Packages {
		if p := &v.report.Packages[i]; p.License != nil && inFinalImage(p.State) {
			counts[p.License.Class]++
		}
	}
	return counts
}

// noteworthy are the packages whose licence somebody should have seen: what is
// proprietary or not known, and copyleft among what was added to the
// distribution and the base image.
func (t *table) noteworthy(class license.Class) []string {
	switch class {
	case license.PublicDomain, license.Permissive, license.WeakCopyleft:
		return nil
	}
	var names []string
	for i := range t.report.Packages {
		p := &t.report.Packages[i]
		if p.License == nil || p.License.Class != class || !inFinalImage(p.State) || p.License.Suppressed != nil {
			continue
		}
		if l := t.place[p.Layer]; class != license.Proprietary && (distribution(p.Type) || p.Owner != "" || l != nil && l.Base) {
			continue
		}
		name := cutMiddle(Safe(p.Name), maxName)
		if class != license.Unknown || p.License.Expression != "" {
			name += " (" + cutEnd(Safe(p.License.Expression), maxName) + ")"
		}
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a), strings.ToLower(b)), cmp.Compare(a, b))
	})
	return slices.Compact(names)
}

// classWords is a class as people write it.
func classWords(c license.Class) string { return strings.ReplaceAll(Safe(string(c)), "-", " ") }

func classStyle(c license.Class) style {
	switch c {
	case license.Proprietary:
		return magenta
	case license.NetworkCopyleft:
		return red
	case license.StrongCopyleft:
		return yellow
	case license.Unknown:
		return grey
	}
	return plain
}
