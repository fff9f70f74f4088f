package policy

import "fmt"

// An objection gathers the findings that a rule objects to.
type objection struct {
	count              int
	findings, packages []string
	keys               []FindingKey
	layers             []int
	seenFinding        map[string]bool
	seenPackage        map[string]bool
}

func (o *objection) add(f *Finding) {
	if o.seenFinding == nil {
		o.seenFinding = map[string]bool{}
	}
	o.count++
	o.keys = append(o.keys, FindingKey{ID: f.ID, PackageID: f.PackageID})
	if !o.seenFinding[f.ID] {
		o.seenFinding[f.ID] = true
		o.findings = append(o.findings, f.ID)
	}
	o.addPackage(f.PackageID)
}

// addPackage adds a package, or none for an empty id.
func (o *objection) addPackage(id string) {
	if o.seenPackage == nil {
		o.seenPackage = map[string]bool{}
	}
	if id != "" && !o.seenPackage[id] {
		o.seenPackage[id] = true
		o.packages = append(o.packages, id)
	}
}

// violation puts the findings, described by what, into words.
func (o *objection) violation(d Decision, what string) Violation {
	return Violation{
		Decision: d, FindingIDs: o.findings, PackageIDs: o.packages, Findings: o.keys, Layers: o.layers,
		Message: fmt.Sprintf("%s %s in %s", plural(o.count, "finding"), what, plural(len(o.packages), "package")),
	}
}

// plural is a number with its noun: "1 finding", "2 findings".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
