package advisory

import (
	"errors"
	"fmt"
	"slices"
)

// An EventKind is a kind of event in a range.
type EventKind byte

// The events of the OSV schema.
const (
	// Introduced: this version and later ones are affected. "0" is before all.
	Introduced EventKind = 'i'
	// Fixed: this version and later ones are not.
	Fixed EventKind = 'f'
	// LastAffected: later versions are not affected.
	LastAffected EventKind = 'a'
	// Limit: this version and later ones are not spoken of. "*" is after all.
	Limit EventKind = 'l'
)

// An Event is a version at which something changes.
type Event struct {
	Kind    EventKind
	Version string
}

// A Range is a list of events in any order.
type Range struct {
	// Semver tells that versions are semantic versions whatever the ecosystem.
	Semver bool
	Events []Event
}

// A Verdict is what an affected entry says of a version.
type Verdict struct {
	// Affected by a range or by the enumerated versions.
	Affected bool
	// Open tells that it is affected by a range without an end only, so that the
	// record knew of no fix.
	Open bool
	// Past tells that it is not affected, and that a range ended at or before it:
	// the record knows of a fix that the version has.
	Past bool
	// Err is set when a comparison failed and nothing else says it is affected:
	// it is not known then.
	Err error
}

// Evaluate tells whether the version is affected, as the evaluation section of
// the OSV schema says.
func (a *Affected) Evaluate(v Version) Verdict {
	if slices.Contains(a.Versions, v.text) {
		return Verdict{Affected: true}
	}
	verdict := Verdict{}
	for i := range a.Ranges {
		in, open, past, err := a.Ranges[i].contains(v)
		verdict.Past = verdict.Past || past
		switch {
		case err != nil:
			verdict.Err = errors.Join(verdict.Err, err)
		case in && !open:
			return Verdict{Affected: true}
		case in:
			verdict.Affected, verdict.Open = true, true
		}
	}
	if verdict.Affected {
		return Verdict{Affected: true, Open: true}
	}
	if len(a.Ranges) == 0 && a.enumerates(v) {
		return Verdict{Affected: true}
	}
	return verdict
}

// enumerates compares with the enumerated versions by the ecosystem's order, in
// which 1.0 and 1.0.0 may be one version. Where there are ranges, they have
// said that already.
func (a *Affected) enumerates(v Version) bool {
	for _, text := range a.Versions {
		if c, err := v.compareTo(text); err == nil && c == 0 {
			return true
		}
	}
	return false
}

// contains tells whether v is in the range, whether the part it is in has no end
// (open), and whether it is in none and after the end of one (past).
func (r *Range) contains(v Version) (in, open, past bool, err error) {
	v, events, err := r.sorted(v)
	if err != nil {
		return false, false, false, err
	}
	if !beforeLimits(v, events) {
		return false, false, false, nil
	}
	open = true
	for i := 0; i < len(events); {
		j := i + 1
		for j < len(events) && events[j].sameAs(events[i]) {
			j++
		}
		if events[i].before(v) {
			was := in
			in = step(in, events[i:j], v)
			lasted := slices.ContainsFunc(events[i:j], func(e event) bool { return e.Kind == LastAffected })
			past = past || !in && (was || lasted)
		}
		i = j
	}
	for _, e := range events {
		if e.endsAfter(v) {
			open = false
		}
	}
	return in, in && open, past && !in, nil
}

// step applies the events of one version, which is at or before v. An end closes
// what was open before it, and a start at the same version opens anew; when
// nothing was open, the start comes first.
func step(affected bool, at []event, v Version) bool {
	kinds := [...]EventKind{Introduced, Fixed, LastAffected}
	if affected {
		kinds = [...]EventKind{Fixed, LastAffected, Introduced}
	}
	for _, kind := range kinds {
		for _, e := range at {
			if e.Kind != kind {
				continue
			}
			switch kind {
			case Introduced:
				affected = true
			case Fixed:
				affected = false
			case LastAffected:
				// v itself may be the last one.
				if c, err := e.compare(v); err == nil && c < 0 {
					affected = false
				}
			}
		}
	}
	return affected
}

// An event with its version parsed. The first ("0") and the endless ("*") have
// none.
type event struct {
	Event
	parsed   Version
	infinite int
}

// endsAfter tells whether the event ends a range that v is in.
func (e event) endsAfter(v Version) bool {
	c, err := e.compare(v)
	switch {
	case err != nil:
		return false
	case e.Kind == LastAffected:
		return c >= 0
	}
	return c > 0 && (e.Kind == Fixed || e.Kind == Limit && e.infinite == 0)
}

// compare is the order of e's version and v.
func (e event) compare(v Version) (int, error) {
	if e.infinite != 0 {
		return e.infinite, nil
	}
	return e.parsed.Compare(v)
}

// before tells whether the event's version is at or before v. Comparing can't
// fail once sorted has compared all events with v.
func (e event) before(v Version) bool {
	c, err := e.compare(v)
	return err == nil && c <= 0
}

func (e event) sameAs(f event) bool {
	if e.infinite != 0 || f.infinite != 0 {
		return e.infinite == f.infinite
	}
	c, err := e.parsed.Compare(f.parsed)
	return err == nil && c == 0
}

// sorted parses the events and puts them in order. Its error wraps ErrVersion.
func (r *Range) sorted(v Version) (Version, []event, error) {
	order := v.ecosystem
	if r.Semver && !knownOrder(order) {
		// The one case in which the type of range decides.
		order = "Bitnami"
		w, err := ParseVersion(order, v.text)
		if err != nil {
			return Version{}, nil, err
		}
		v = w
	}
	events := make([]event, 0, len(r.Events))
	for _, raw := range r.Events {
		e := event{Event: raw}
		switch {
		case raw.Kind == Introduced && raw.Version == "0":
			e.infinite = -1
		case raw.Kind == Limit && raw.Version == "*":
			e.infinite = +1
		default:
			p, err := ParseVersion(order, raw.Version)
			if err != nil {
				return Version{}, nil, fmt.Errorf("advisory's %w", err)
			}
			if _, err := p.Compare(v); err != nil {
				return Version{}, nil, err
			}
			e.parsed = p
		}
		events = append(events, e)
	}
	slices.SortStableFunc(events, func(a, b event) int {
		if a.infinite != 0 || b.infinite != 0 {
			return a.infinite - b.infinite
		}
		c, err := a.parsed.Compare(b.parsed)
		if err != nil {
			return 0
		}
		return c
	})
	return v, events, nil
}

// knownOrder tells whether the ecosystem has a version order of its own.
func knownOrder(base string) bool {
	_, err := ParseVersion(base, "1")
	return err == nil
}

// beforeLimits tells whether v is before any of the limits; without limits it is.
func beforeLimits(v Version, events []event) bool {
	limited := false
	for _, e := range events {
		if e.Kind != Limit {
			continue
		}
		limited = true
		if c, err := e.compare(v); err == nil && c > 0 {
			return true
		}
	}
	return !limited
}
