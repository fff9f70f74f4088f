package advisory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	cvss20 "github.com/pandatix/go-cvss/20"
	cvss30 "github.com/pandatix/go-cvss/30"
	cvss31 "github.com/pandatix/go-cvss/31"
	cvss40 "github.com/pandatix/go-cvss/40"
)

// Severity is a coarse grade. The zero value means the same as Unknown.
type Severity string

// The severities, worst first.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
	Unknown  Severity = "unknown"
)

// Rank orders severities: 4 for critical down to 1 for low, 0 for unknown.
func (s Severity) Rank() int {
	switch s {
	case Critical:
		return 4
	case High:
		return 3
	case Medium:
		return 2
	case Low:
		return 1
	}
	return 0
}

// SeverityOfRank is the reverse of Severity.Rank: Unknown for what is no rank.
func SeverityOfRank(rank int) Severity {
	for _, s := range []Severity{Critical, High, Medium, Low} {
		if s.Rank() == rank {
			return s
		}
	}
	return Unknown
}

// A CVSS is a score of the Common Vulnerability Scoring System
// (https://www.first.org/cvss/). The zero CVSS means that there is none.
type CVSS struct {
	// Version is "2.0", "3.0", "3.1" or "4.0".
	Version string
	// Vector may be empty: some databases have only the number.
	Vector string
	// Score from 0 to 10: the base score of versions 2 and 3, the score of all
	// the vector's metrics for version 4.
	Score float64
}

// A Rating is how bad a flaw is. The zero Rating means that no one has told.
type Rating struct {
	Severity Severity
	CVSS     CVSS
}

// ParseCVSS scores a vector of any version: "CVSS:3.1/AV:N/…", and version 2's,
// which has no prefix.
func ParseCVSS(vector string) (c CVSS, err error) {
	if len(vector) > 512 {
		return CVSS{}, fmt.Errorf("CVSS vector of %d bytes: too long", len(vector))
	}
	// The library is young, the vectors are anyone's: a record with a vector it
	// chokes on must not end the import.
	defer func() {
		if p := recover(); p != nil {
			c, err = CVSS{}, fmt.Errorf("CVSS vector %q: %v", vector, p)
		}
	}()
	c = CVSS{Vector: vector}
	switch {
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		v, err := cvss40.ParseVector(vector)
		if err != nil {
			return CVSS{}, fmt.Errorf("CVSS vector %q: %w", vector, err)
		}
		c.Version, c.Score = "4.0", v.Score()
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		v, err := cvss31.ParseVector(vector)
		if err != nil {
			return CVSS{}, fmt.Errorf("CVSS vector %q: %w", vector, err)
		}
		c.Version, c.Score = "3.1", v.BaseScore()
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		v, err := cvss30.ParseVector(vector)
		if err != nil {
			return CVSS{}, fmt.Errorf("CVSS vector %q: %w", vector, err)
		}
		c.Version, c.Score = "3.0", v.BaseScore()
	default:
		v, err := cvss20.ParseVector(strings.Trim(vector, "()"))
		if err != nil {
			return CVSS{}, fmt.Errorf("CVSS vector %q: %w", vector, err)
		}
		c.Version, c.Score = "2.0", v.BaseScore()
	}
	return c, nil
}

// Severity grades the score by the scale of CVSS 3 and 4; for version 2, which
// has no critical, by NVD's (https://nvd.nist.gov/vuln-metrics/cvss). A score of
// 0 is low: the record says there is something.
func (c CVSS) Severity() Severity {
	switch {
	case c.Version == "":
		return Unknown
	case c.Score >= 9 && c.Version != "2.0":
		return Critical
	case c.Score >= 7:
		return High
	case c.Score >= 4:
		return Medium
	}
	return Low
}

// severityWords are the words of the databases we know: GitHub, Debian's
// urgency, Ubuntu's priority, Red Hat's and AlmaLinux's ratings, SUSE's.
var severityWords = map[string]Severity{
	"critical": Critical, "emergency": Critical,
	"high": High, "important": High,
	"medium": Medium, "moderate": Medium,
	"low": Low, "negligible": Low, "unimportant": Low, "minor": Low,
}

// SeverityOf reads a database's own word: "MODERATE", "important", "high**",
// "end-of-life". Words that grade nothing are Unknown.
func SeverityOf(word string) Severity {
	word = strings.ToLower(strings.TrimRight(strings.TrimSpace(word), "*"))
	if s, ok := severityWords[word]; ok {
		return s
	}
	return Unknown
}

// rating of the record as a whole: a CVSS vector, then a number, then a word.
func (w *wireRecord) rating() Rating {
	if r := rateSeverities(w.Severity); r != (Rating{}) {
		return r
	}
	specific := looseObject(w.DatabaseSpecific)
	for _, n := range [...]struct{ key, version string }{{"cvss_v4", "4.0"}, {"cvss_v3", "3.1"}, {"cvss_v2", "2.0"}} {
		if score := looseNumber(specific, n.key); score > 0 && score <= 10 {
			c := CVSS{Version: n.version, Score: score}
			return Rating{Severity: c.Severity(), CVSS: c}
		}
	}
	if s := SeverityOf(looseString(specific, "severity")); s != Unknown {
		return Rating{Severity: s}
	}
	if strings.HasPrefix(w.ID, "MAL-") {
		// OpenSSF's malicious packages carry no grade, and need none.
		return Rating{Severity: Critical}
	}
	if word, _, ok := strings.Cut(w.Summary, ": "); ok {
		// AlmaLinux and Rocky Linux begin the title with it, as Red Hat does.
		if s := SeverityOf(word); s != Unknown {
			return Rating{Severity: s}
		}
	}
	return Rating{}
}

// rating of one entry, or the zero Rating when the record's own holds for it.
func (w *wireAffected) rating(record Rating) Rating {
	if r := rateSeverities(w.Severity); r != (Rating{}) && r != record {
		return r
	}
	if record.CVSS != (CVSS{}) {
		return Rating{}
	}
	if s := w.word(); s != Unknown && s != record.Severity {
		return Rating{Severity: s}
	}
	return Rating{}
}

// word is what the entry's free-form objects say: "urgency" (Debian),
// "ubuntu_priority", "severity", and RustSec's mark of notices that are no flaws.
func (w *wireAffected) word() Severity {
	for _, raw := range [...]json.RawMessage{w.EcosystemSpecific, w.DatabaseSpecific} {
		// Most of these objects are long and about other things.
		if !bytes.Contains(raw, []byte(`urgency`)) && !bytes.Contains(raw, []byte(`priority`)) &&
			!bytes.Contains(raw, []byte(`severity`)) && !bytes.Contains(raw, []byte(`informational`)) {
			continue
		}
		m := looseObject(raw)
		for _, key := range wordKeys(Base(w.Package.Ecosystem)) {
			if s := SeverityOf(looseString(m, key)); s != Unknown {
				return s
			}
		}
		switch looseString(m, "informational") {
		case "unmaintained", "notice":
			return Low
		}
	}
	return Unknown
}

// wordKeys are where an entry of the ecosystem has its word. Urgency and priority
// are how fast a distribution means to act: in another's entry they grade nothing.
func wordKeys(base string) []string {
	if IsDistribution(base) {
		return []string{"urgency", "ubuntu_priority", "priority", "severity"}
	}
	return []string{"severity"}
}

// rateSeverities takes the newest version of CVSS among the vectors; only where
// there is none that can be read, a word (type "Ubuntu").
func rateSeverities(list []wireSeverity) Rating {
	var best CVSS
	word := Unknown
	for _, s := range list {
		if !strings.HasPrefix(s.Type, "CVSS_") {
			if g := SeverityOf(s.Score); g.Rank() > word.Rank() {
				word = g
			}
			continue
		}
		if c, err := ParseCVSS(s.Score); err == nil && c.Version > best.Version {
			best = c
		}
	}
	switch {
	case best != (CVSS{}):
		return Rating{Severity: best.Severity(), CVSS: best}
	case word != Unknown:
		return Rating{Severity: word}
	}
	return Rating{}
}
