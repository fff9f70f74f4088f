// Package advisory reads security advisories in the OSV schema
// (https://ossf.github.io/osv-schema/), tells whether they speak of a package's
// version, by each ecosystem's own version order, rates their severity, and
// joins records of one flaw into one vulnerability. It also reads the two lists
// that rank vulnerabilities, CISA's KEV and FIRST's EPSS, and the mirrors from
// which all of them come.
//
// It knows neither packages in images (package inventory) nor how advisories
// are kept (package store).
package advisory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of a record. They are far above what real records need (the largest
// have some megabytes of enumerated versions) and keep hostile ones small.
const (
	// MaxRecordBytes is the size of one record's JSON.
	MaxRecordBytes = 32 << 20

	maxIDBytes      = 256
	maxNameBytes    = 1024
	maxAffected     = 50_000
	maxEvents       = 50_000
	maxIDs          = 5_000
	maxSummaryRunes = 240
	maxReferences   = 3
	maxURLBytes     = 400
)

// A Record is one advisory, reduced to what Strata uses of it. Texts longer than
// a line (details, credits) are not kept.
type Record struct {
	ID string
	// Aliases are ids of the same flaw in other databases.
	Aliases []string
	// Upstream are the flaws that a distribution's advisory passes on; often
	// several. Records of distributions that predate the field name them as
	// related; Parse puts the CVEs of those here.
	Upstream  []string
	Published time.Time
	Modified  time.Time
	// Withdrawn is the zero time for a record in force.
	Withdrawn time.Time
	// Summary is one line without control characters; may be empty.
	Summary string
	// Rating is that of the record; an Affected may have its own.
	Rating     Rating
	Affected   []Affected
	References []string
}

// An Affected says which versions of one package a record speaks of.
type Affected struct {
	// Ecosystem as the record writes it, with its suffix: "Debian:12".
	Ecosystem string
	// Name as the record writes it.
	Name     string
	Ranges   []Range
	Versions []string
	// Rating is set only where it differs from the record's.
	Rating Rating
}

// Key is where the entry is looked up.
func (a *Affected) Key() Key { return NewKey(a.Ecosystem, a.Name) }

// A wireRecord is the JSON of a record: the fields we read, all others skipped.
type wireRecord struct {
	ID               string          `json:"id"`
	Modified         string          `json:"modified"`
	Published        string          `json:"published"`
	Withdrawn        string          `json:"withdrawn"`
	Aliases          []string        `json:"aliases"`
	Upstream         []string        `json:"upstream"`
	Related          []string        `json:"related"`
	Summary          string          `json:"summary"`
	Severity         []wireSeverity  `json:"severity"`
	Affected         []wireAffected  `json:"affected"`
	References       []wireReference `json:"references"`
	DatabaseSpecific json.RawMessage `json:"database_specific"`
}

type wireSeverity struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

type wireReference struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

type wireAffected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
	} `json:"package"`
	Severity          []wireSeverity  `json:"severity"`
	Ranges            []wireRange     `json:"ranges"`
	Versions          []string        `json:"versions"`
	EcosystemSpecific json.RawMessage `json:"ecosystem_specific"`
	DatabaseSpecific  json.RawMessage `json:"database_specific"`
}

type wireRange struct {
	Type   string      `json:"type"`
	Events []wireEvent `json:"events"`
}

type wireEvent struct {
	Introduced   string `json:"introduced"`
	Fixed        string `json:"fixed"`
	LastAffected string `json:"last_affected"`
	Limit        string `json:"limit"`
}

// Parse reads the JSON of one OSV record. Unknown fields are skipped; a known
// one of the wrong type, a missing id or modification time, and anything over
// the limits is an error. Affected entries without a package, or with neither
// version ranges nor versions (GIT ranges are not versions), are left out.
func Parse(b []byte) (Record, error) {
	if len(b) > MaxRecordBytes {
		return Record{}, fmt.Errorf("OSV record: %d bytes, more than the limit of %d", len(b), MaxRecordBytes)
	}
	var w wireRecord
	if err := json.Unmarshal(b, &w); err != nil {
		return Record{}, fmt.Errorf("OSV record: %w", err)
	}
	r, err := w.record()
	if err != nil {
		return Record{}, fmt.Errorf("OSV record %q: %w", clip(w.ID, maxIDBytes), err)
	}
	return r, nil
}

func (w *wireRecord) record() (Record, error) {
	if err := ValidateID(w.ID); err != nil {
		return Record{}, err
	}
	r := Record{ID: w.ID, Summary: oneLine(w.Summary, maxSummaryRunes), References: w.references()}
	var err error
	if r.Modified, err = time.Parse(time.RFC3339Nano, w.Modified); err != nil {
		return Record{}, fmt.Errorf("modified: %w", err)
	}
	// Two fields that a reader can do without: a wrong one is as good as none.
	r.Published, _ = time.Parse(time.RFC3339Nano, w.Published)
	if w.Withdrawn != "" {
		// But a record is withdrawn even when it doesn't say well since when.
		if r.Withdrawn, err = time.Parse(time.RFC3339Nano, w.Withdrawn); err != nil {
			r.Withdrawn = r.Modified
		}
	}
	if r.Aliases, err = ids(w.Aliases, w.ID); err != nil {
		return Record{}, fmt.Errorf("aliases: %w", err)
	}
	if r.Upstream, err = ids(w.Upstream, w.ID); err != nil {
		return Record{}, fmt.Errorf("upstream: %w", err)
	}
	if err := w.affected(&r); err != nil {
		return Record{}, err
	}
	if len(r.Upstream) == 0 && len(r.Aliases) == 0 && r.distribution() {
		related, err := ids(w.Related, w.ID)
		if err != nil {
			return Record{}, fmt.Errorf("related: %w", err)
		}
		r.Upstream = slices.DeleteFunc(related, func(id string) bool { return CVE(id) == "" })
	}
	return r, nil
}

// distribution tells whether all the record's packages are those of operating
// systems' distributions.
func (r *Record) distribution() bool {
	for i := range r.Affected {
		if !IsDistribution(Base(r.Affected[i].Ecosystem)) {
			return false
		}
	}
	return len(r.Affected) > 0
}

func (w *wireRecord) affected(r *Record) error {
	if len(w.Affected) > maxAffected {
		return fmt.Errorf("%d affected entries, more than the limit of %d", len(w.Affected), maxAffected)
	}
	r.Rating = w.rating()
	for i := range w.Affected {
		a, err := w.Affected[i].affected()
		if err != nil {
			return fmt.Errorf("affected[%d]: %w", i, err)
		}
		if len(a.Ranges) == 0 && len(a.Versions) == 0 {
			continue
		}
		a.Rating = w.Affected[i].rating(r.Rating)
		r.Affected = append(r.Affected, a)
	}
	liftRating(r)
	return nil
}

// liftRating makes the rating that all entries share the record's.
func liftRating(r *Record) {
	if len(r.Affected) == 0 {
		return
	}
	shared := r.Affected[0].Rating
	for i := range r.Affected {
		if r.Affected[i].Rating != shared {
			return
		}
	}
	if shared == (Rating{}) {
		return
	}
	r.Rating = shared
	for i := range r.Affected {
		r.Affected[i].Rating = Rating{}
	}
}

func (w *wireAffected) affected() (Affected, error) {
	a := Affected{Ecosystem: w.Package.Ecosystem, Name: w.Package.Name}
	if a.Ecosystem == "" || a.Name == "" {
		return Affected{}, nil
	}
	if err := plain("ecosystem", a.Ecosystem, maxNameBytes); err != nil {
		return Affected{}, err
	}
	if err := plain("package name", a.Name, maxNameBytes); err != nil {
		return Affected{}, err
	}
	for _, wr := range w.Ranges {
		r, err := wr.asRange()
		if err != nil {
			return Affected{}, fmt.Errorf("%s: %w", a.Name, err)
		}
		if len(r.Events) > 0 {
			a.Ranges = append(a.Ranges, r)
		}
	}
	for _, v := range w.Versions {
		if err := plain("version", v, maxVersionBytes); err != nil {
			return Affected{}, fmt.Errorf("%s: %w", a.Name, err)
		}
		if v != "" {
			a.Versions = append(a.Versions, v)
		}
	}
	return a, nil
}

// asRange gives the zero Range for GIT and unknown types, whose events are not
// versions.
func (w *wireRange) asRange() (Range, error) {
	if w.Type != "SEMVER" && w.Type != "ECOSYSTEM" {
		return Range{}, nil
	}
	if len(w.Events) > maxEvents {
		return Range{}, fmt.Errorf("range of %d events, more than the limit of %d", len(w.Events), maxEvents)
	}
	r := Range{Semver: w.Type == "SEMVER"}
	for _, e := range w.Events {
		for _, kv := range [...]Event{{Introduced, e.Introduced}, {Fixed, e.Fixed}, {LastAffected, e.LastAffected}, {Limit, e.Limit}} {
			if kv.Version == "" {
				continue
			}
			if err := plain("version", kv.Version, maxVersionBytes); err != nil {
				return Range{}, err
			}
			r.Events = append(r.Events, kv)
		}
	}
	return r, nil
}

// references keeps the few links that tell most: the advisory's own first.
func (w *wireRecord) references() []string {
	var first, rest []string
	for _, ref := range w.References {
		u, err := url.Parse(ref.URL)
		if err != nil || len(ref.URL) > maxURLBytes || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || plain("url", ref.URL, maxURLBytes) != nil {
			continue
		}
		if ref.Type == "ADVISORY" {
			first = append(first, ref.URL)
		} else if len(rest) < maxReferences {
			rest = append(rest, ref.URL)
		}
	}
	all := append(first, rest...)
	return all[:min(len(all), maxReferences)]
}

// ids copies a list of ids without empty ones, duplicates and self.
func ids(list []string, self string) ([]string, error) {
	if len(list) > maxIDs {
		return nil, fmt.Errorf("%d ids, more than the limit of %d", len(list), maxIDs)
	}
	var out []string
	for _, id := range list {
		id = strings.TrimSpace(id)
		if id == "" || id == self || slices.Contains(out, id) {
			continue
		}
		if err := ValidateID(id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, nil
}

// ValidateID tells whether id can be the id of a record: it is used as a file
// name, so it must not lead anywhere.
func ValidateID(id string) error {
	switch {
	case id == "":
		return errors.New("no id")
	case strings.ContainsAny(id, "/\\\x00") || strings.HasPrefix(id, "."):
		return fmt.Errorf("id %q: not a record id", clip(id, maxIDBytes))
	case strings.ContainsFunc(id, unicode.IsSpace):
		return fmt.Errorf("id %q: contains white space", clip(id, maxIDBytes))
	}
	return plain("id", id, maxIDBytes)
}

// plain tells whether s is short UTF-8 without control characters.
func plain(what, s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("%s of %d bytes, more than the limit of %d", what, len(s), limit)
	}
	for _, c := range s {
		if c < ' ' || c == 0x7f || c == utf8.RuneError {
			return fmt.Errorf("%s %q: contains control characters", what, s)
		}
	}
	return nil
}

// oneLine makes a text one line that is safe to print: its first non-empty
// line, without control characters, cut to limit runes.
func oneLine(s string, limit int) string {
	s = strings.TrimSpace(s)
	s, _, _ = strings.Cut(s, "\n")
	s = strings.TrimSpace(strings.Map(func(c rune) rune {
		switch {
		case c == '\t':
			return ' '
		case !unicode.IsPrint(c):
			return -1
		}
		return c
	}, s))
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	runes := []rune(s)[:limit-1]
	return strings.TrimSpace(string(runes)) + "…"
}

func clip(s string, n int) string { return s[:min(len(s), n)] }

// looseObject decodes an object whose form no schema fixes: what doesn't fit is
// as if it weren't there.
func looseObject(raw json.RawMessage) map[string]json.RawMessage {
	if len(raw) == 0 || !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		return nil
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

func looseString(m map[string]json.RawMessage, key string) string {
	var s string
	if json.Unmarshal(m[key], &s) != nil {
		return ""
	}
	return s
}

func looseNumber(m map[string]json.RawMessage, key string) float64 {
	var f float64
	if json.Unmarshal(m[key], &f) != nil {
		return 0
	}
	return f
}
