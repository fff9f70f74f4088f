package report

import (
	"slices"
)

// FilterOptions say which findings to keep. The zero value keeps all.
type FilterOptions struct {
	// Severities to keep (ParseSeverities); empty for all.
	Severities []Severity
	// OnlyFixed keeps findings with a fixed version only.
	OnlyFixed bool
	// ActiveOnly keeps findings that count only (Finding.Active): none that were
	// set aside, none of packages that a later layer took away.
	ActiveOnly bool
}

// Filtered tells what was taken out of a report's findings, so that a short list
// is not taken for the whole.
type Filtered struct {
	// Severities that were kept; empty for all.
	Severities []Severity `json:"severities"`
	OnlyFixed  bool       `json:"only_fixed"`
	// ActiveOnly tells that findings that do not count were taken out.
	ActiveOnly bool `json:"active_only,omitempty"`
	// Hidden is how many active findings were taken out.
	Hidden int `json:"hidden"`
}

// Filter returns the report without the findings that the options take out; r
// itself does not change. What was taken out is counted in Filtered. Packages,
// problems and verdict stay: a filter is for reading, and never changes what is
// decided (so compute the verdict first).
//
// It serves every format alike, JSON too, as users of --severity and
// --only-fixed expect it: without these flags JSON has everything. That the
// table leaves out suppressed findings and those of removed packages unless
// asked for (TableOptions) is its own affair; JSON always has them, marked.
func (r *Report) Filter(o FilterOptions) *Report {
	if len(o.Severities) == 0 && !o.OnlyFixed && !o.ActiveOnly {
		return r
	}
	filtered := *r
	filtered.Filtered = &Filtered{Severities: o.Severities, OnlyFixed: o.OnlyFixed, ActiveOnly: o.ActiveOnly}
	if r.Filtered != nil {
		filtered.Filtered.Hidden = r.Filtered.Hidden
	}
	filtered.Findings = nil
	for _, f := range r.Findings {
		switch {
		case o.keeps(&f):
			filtered.Findings = append(filtered.Findings, f)
		case f.Active():
			filtered.Filtered.Hidden++
		}
	}
	return &filtered
}

// keeps is true of an end of life that counts: it has no severity to be chosen by.
func (o FilterOptions) keeps(f *Finding) bool {
	if o.ActiveOnly && !f.Active() {
		return false
	}
	if f.Kind == KindEndOfLife {
		return true
	}
	if o.OnlyFixed && f.FixedVersion == "" {
		return false
	}
	return len(o.Severities) == 0 || slices.ContainsFunc(o.Severities, func(s Severity) bool {
		return column(s) == column(f.Severity)
	})
}
