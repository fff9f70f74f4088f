package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"strata/internal/license"
)

const (
	// maxWaivers is how many a file has at most.
	maxWaivers = 20_000
	// endsSoon is how long before its end a waiver is warned of.
	endsSoon = 14 * 24 * time.Hour
	// maxListed is how many names a remark lists.
	maxListed = 30
)

// A waiver is one entry of a file: all that it names must fit for it to apply.
type waiver struct {
	line int
	// vulnerabilities and licenses are what is waived, by any of their ids. With
	// either, an id may be of both, as in .trivyignore. With neither, everything
	// about the packages is.
	vulnerabilities, licenses []string
	either                    bool
	// packages by name, purls, and the version of either.
	packages []*glob
	purls    []*purlPattern
	version  string
	// images, paths and layers are the scope; empty for all.
	images, paths []*glob
	// types of packages, and patterns of names, as in Grype's rules.
	types            []string
	name, sourceName *regexp.Regexp
	// fixable tells that it is for findings with a fix or without; nil for both.
	fixable *bool
	// status of VEX that the finding must have been given.
	status Status
	// findings tells that it says nothing of packages and licences as such.
	findings bool

	owner, reason string
	// until is the first moment at which it counts no more; zero for never.
	until time.Time

	applied int
	// unmet are the vulnerabilities that nothing in the image has.
	unmet map[string]bool
}

// Waivers are what one file sets aside. Any number of images may be held against them
// at the same time.
type Waivers struct {
	// File that they were read from.
	File    string
	list    []waiver
	remarks []string
}

// Len is how many there are.
func (w *Waivers) Len() int { return len(w.list) }

func (w *Waivers) remark(format string, args ...any) {
	w.remarks = append(w.remarks, fmt.Sprintf(format, args...))
}

// what is waived, in few words.
func (w *waiver) what() string {
	var words []string
	words = append(words, w.vulnerabilities...)
	if !w.either {
		words = append(words, w.licenses...)
	}
	for _, g := range w.packages {
		words = append(words, g.text)
	}
	for _, p := range w.purls {
		words = append(words, p.text)
	}
	for _, re := range []*regexp.Regexp{w.name, w.sourceName} {
		if re != nil {
			words = append(words, strings.TrimSuffix(strings.TrimPrefix(re.String(), "^(?:"), ")$"))
		}
	}
	words = append(words, w.types...)
	for _, g := range w.paths {
		words = append(words, g.text)
	}
	if len(words) == 0 {
		return "(all that fits)"
	}
	return strings.Join(words, " ")
}

// ended tells whether it counts no more.
func (w *waiver) ended(now time.Time) bool { return !w.until.IsZero() && !now.Before(w.until) }

// lastDay is the day on which it counts for the last time.
func (w *waiver) lastDay() string { return w.until.Add(-time.Second).UTC().Format(time.DateOnly) }

// because is the reason of what it sets aside.
func (w *waiver) because(file string) string {
	var who []string
	if w.owner != "" {
		who = append(who, w.owner)
	}
	if !w.until.IsZero() {
		who = append(who, "until "+w.lastDay())
	}
	who = append(who, fmt.Sprintf("%s:%d", file, w.line))
	return or(w.reason, "waived") + " (" + strings.Join(who, ", ") + ")"
}

// ApplyWaivers sets aside what the files waive, and returns what is to be said of
// the waivers themselves: those that ended, which do not count, or end soon, and
// those that match nothing. One for other images is not for this one to judge.
func ApplyWaivers(in *Input, files ...*Waivers) []Remark {
	in.link()
	var remarks []Remark
	for _, file := range files {
		for _, message := range file.forImage().apply(in) {
			remarks = append(remarks, Remark{By: OfWaivers, Message: message})
		}
	}
	return remarks
}

// forImage is a copy that notes what matches in one image.
func (w *Waivers) forImage() *Waivers {
	return &Waivers{File: w.File, list: slices.Clone(w.list), remarks: w.remarks}
}

// NextEnd is when the next of them ends after a moment; the zero time for never. What
// was decided by them has to be decided anew then.
func (w *Waivers) NextEnd(after time.Time) time.Time {
	var next time.Time
	for i := range w.list {
		if until := w.list[i].until; until.After(after) && (next.IsZero() || until.Before(next)) {
			next = until
		}
	}
	return next
}

func (w *Waivers) apply(in *Input) []string {
	index := w.index(in)
	for i := range in.Findings {
		f := &in.Findings[i]
		for _, at := range index.of(f) {
			if v := &w.list[at]; v.waives(f) {
				v.meet(f)
				if f.Suppressed == nil && !v.ended(in.Now) {
					f.Suppressed = &Suppression{By: ByWaiver, Reason: v.because(w.File)}
				}
			}
		}
	}
	for i := range in.Packages {
		w.applyToPackage(in, index, &in.Packages[i])
	}
	return append(slices.Clone(w.remarks), w.remarksOn(in, index)...)
}

// applyToPackage waives packages as such, and their licences.
func (w *Waivers) applyToPackage(in *Input, index *waiverIndex, p *Package) {
	if p.License != nil && p.License.Expression != "" {
		w.applyToLicense(in, index, p)
	}
	for _, at := range index.general {
		v := &w.list[at]
		if v.findings || !v.fitsPackage(p) {
			continue
		}
		v.applied++
		if p.Suppressed == nil && !v.ended(in.Now) {
			p.Suppressed = &Suppression{By: ByWaiver, Reason: v.because(w.File)}
		}
	}
}

// applyToLicense waives a licence by its whole expression, or when all in it that
// asks for more than notices is waived.
func (w *Waivers) applyToLicense(in *Input, index *waiverIndex, p *Package) {
	terms := licenseTerms(p.License.Expression)
	var by *waiver
	left := 0
	for _, t := range terms {
		left += count(index.asksForMore(t))
	}
	waived := map[license.Term]bool{}
	for _, at := range index.licenses {
		v := &w.list[at]
		if !v.fitsPackage(p) {
			continue
		}
		if v.waivesLicense(p.License.Expression) {
			v.applied++
			if !v.ended(in.Now) {
				by, left = v, 0
			}
			continue
		}
		for _, t := range terms {
			if !v.waivesLicense(t.License) && !v.waivesLicense(t.String()) {
				continue
			}
			v.applied++
			if !v.ended(in.Now) && !waived[t] {
				waived[t], by = true, v
				left -= count(index.asksForMore(t))
			}
		}
	}
	if by != nil && left <= 0 && p.License.Suppressed == nil {
		p.License.Suppressed = &Suppression{By: ByWaiver, Reason: by.because(w.File)}
	}
}

func (w *waiver) waivesLicense(id string) bool {
	return slices.ContainsFunc(w.licenses, func(l string) bool { return strings.EqualFold(l, id) })
}

// asksForMore tells whether a licence asks for more than to keep notices, or
// nobody knows what it asks.
func (x *waiverIndex) asksForMore(t license.Term) bool {
	e, err := license.Parse(t.String())
	if err != nil {
		return true
	}
	class := x.classes.Of(e)
	return class != license.PublicDomain && class != license.Permissive
}

// count is 1 for true.
func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A waiverIndex finds the waivers of an image that can concern a finding.
type waiverIndex struct {
	byID              map[string][]int
	general, licenses []int
	classes           license.Classes
}

// index leaves out those whose scope is other images.
func (w *Waivers) index(in *Input) *waiverIndex {
	index := &waiverIndex{byID: map[string][]int{}, classes: in.Classes.OrDefault()}
	names := in.Image.names()
	for i := range w.list {
		v := &w.list[i]
		v.applied = 0
		if len(v.images) > 0 && !matchAny(v.images, names) {
			continue
		}
		v.unmet = map[string]bool{}
		for _, id := range v.vulnerabilities {
			v.unmet[id] = true
			index.byID[id] = append(index.byID[id], i)
		}
		if len(v.licenses) > 0 {
			index.licenses = append(index.licenses, i)
		}
		if len(v.vulnerabilities)+len(v.licenses) == 0 {
			index.general = append(index.general, i)
		}
	}
	return index
}

func (x *waiverIndex) of(f *Finding) []int {
	if len(f.Aliases) == 0 && len(x.general) == 0 {
		return x.byID[f.ID]
	}
	found := slices.Clone(x.byID[f.ID])
	for _, a := range f.Aliases {
		found = append(found, x.byID[a]...)
	}
	found = append(found, x.general...)
	slices.Sort(found)
	return slices.Compact(found)
}

// meet notes that it applies to a finding.
func (w *waiver) meet(f *Finding) {
	w.applied++
	for _, id := range f.ids() {
		delete(w.unmet, id)
	}
}

// waives tells whether a finding, of which it names the vulnerability if any, is
// one that it is for.
func (w *waiver) waives(f *Finding) bool {
	if w.fixable != nil && *w.fixable != (f.FixedVersion != "") {
		return false
	}
	if w.status != "" && (!f.byVEX || or(f.Status, Affected) != w.status) {
		return false
	}
	return w.fitsPackage(f.pkg)
}

func (w *waiver) fitsPackage(p *Package) bool {
	if len(w.packages)+len(w.purls) > 0 && !matchAny(w.packages, []string{p.Name}) &&
		!slices.ContainsFunc(w.purls, func(u *purlPattern) bool { return u.matches(p) }) {
		return false
	}
	return (w.version == "" || w.version == p.Version) &&
		(len(w.types) == 0 || slices.Contains(w.types, p.Type)) &&
		(w.name == nil || w.name.MatchString(p.Name)) &&
		(w.sourceName == nil || p.SourceName != "" && w.sourceName.MatchString(p.SourceName)) &&
		(len(w.paths) == 0 || matchAny(w.paths, p.locations()))
}

// remarksOn tells of waivers that ended, end soon, or match nothing.
func (w *Waivers) remarksOn(in *Input, index *waiverIndex) []string {
	concerned := map[int]bool{}
	for _, list := range index.byID {
		for _, i := range list {
			concerned[i] = true
		}
	}
	for _, i := range slices.Concat(index.general, index.licenses) {
		concerned[i] = true
	}
	var ended, soon, unused []string
	for i := range w.list {
		v := &w.list[i]
		switch {
		case !concerned[i]:
		case v.ended(in.Now):
			count := "nothing in this image"
			if v.applied > 0 {
				count = matches(v.applied) + " in this image"
			}
			ended = append(ended, fmt.Sprintf("%s (line %d%s, ended %s, for %s)", v.what(), v.line, owned(v), v.lastDay(), count))
		case v.applied == 0:
			unused = append(unused, fmt.Sprintf("%s (line %d)", v.what(), v.line))
		case len(v.unmet) > 0 && !v.either:
			unused = append(unused, fmt.Sprintf("%s (of line %d)", strings.Join(slices.Sorted(maps.Keys(v.unmet)), " "), v.line))
		case !v.until.IsZero() && v.until.Sub(in.Now) <= endsSoon:
			soon = append(soon, fmt.Sprintf("%s (line %d%s, until %s)", v.what(), v.line, owned(v), v.lastDay()))
		}
	}
	var remarks []string
	say := func(list []string, format string) {
		if len(list) > 0 {
			remarks = append(remarks, fmt.Sprintf(format, w.File, plural(len(list), "waiver"))+": "+listed(list))
		}
	}
	say(ended, "%s: %s no longer counting, renew or remove")
	say(soon, "%s: %s ending within two weeks")
	say(unused, "%s: %s matching nothing in this image")
	return remarks
}

func matches(n int) string {
	if n == 1 {
		return "1 match"
	}
	return fmt.Sprintf("%d matches", n)
}

func owned(w *waiver) string {
	if w.owner == "" {
		return ""
	}
	return ", " + w.owner
}

// listed joins the first of the names and counts the rest.
func listed(names []string) string {
	if len(names) <= maxListed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), len(names)-maxListed)
}
