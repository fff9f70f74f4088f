package policy

import "time"

// A WaiverEntry is one waiver as it is written, for people.
type WaiverEntry struct {
	// Line of the file where it begins.
	Line int
	// Vulnerabilities, Packages (names and purls) and Licenses that it is for.
	Vulnerabilities, Packages, Licenses []string
	Version                             string
	// Images and Paths are its scope; empty for all.
	Images, Paths []string
	Owner, Reason string
	// Until is the first moment at which it counts no more; zero for never.
	Until time.Time
}

// Ended tells whether it counts no more.
func (e *WaiverEntry) Ended(now time.Time) bool { return !e.Until.IsZero() && !now.Before(e.Until) }

// EndsSoon tells whether it ends so soon that it is warned of.
func (e *WaiverEntry) EndsSoon(now time.Time) bool {
	return !e.Until.IsZero() && !e.Ended(now) && e.Until.Sub(now) <= endsSoon
}

// LastDay is the day on which it counts for the last time, as 2026-12-31; empty for none.
func (e *WaiverEntry) LastDay() string {
	if e.Until.IsZero() {
		return ""
	}
	return e.Until.Add(-time.Second).UTC().Format(time.DateOnly)
}

// Entries are the waivers in the order of their file.
func (w *Waivers) Entries() []WaiverEntry {
	out := make([]WaiverEntry, len(w.list))
	for i := range w.list {
		v := &w.list[i]
		e := WaiverEntry{
			Line: v.line, Vulnerabilities: v.vulnerabilities, Licenses: v.licenses, Version: v.version,
			Images: globTexts(v.images), Paths: globTexts(v.paths), Owner: v.owner, Reason: v.reason, Until: v.until,
		}
		e.Packages = globTexts(v.packages)
		for _, p := range v.purls {
			e.Packages = append(e.Packages, p.text)
		}
		out[i] = e
	}
	return out
}

func globTexts(globs []*glob) []string {
	var out []string
	for _, g := range globs {
		out = append(out, g.text)
	}
	return out
}
