package policy

import (
	"fmt"
	"slices"
	"strings"
)

// A Severity is how grave a vulnerability is, in the words of the JSON report.
type Severity string

const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
	// Unknown: nobody has rated the vulnerability yet. It is no low severity.
	Unknown Severity = "unknown"
)

// Severities are all severities, the gravest first.
func Severities() []Severity { return []Severity{Critical, High, Medium, Low, Unknown} }

// Rank orders severities for sorting: 4 for critical down to 1 for low, 0 for
// unknown and for words that are no severity.
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

// rated tells whether the severity is known.
func (s Severity) rated() bool { return s.Rank() > 0 }

func (s Severity) valid() bool { return slices.Contains(Severities(), s) }

// ParseSeverity reads a severity in any case. The error lists them all.
func ParseSeverity(s string) (Severity, error) {
	if v := Severity(strings.ToLower(strings.TrimSpace(s))); v.valid() {
		return v, nil
	}
	return "", fmt.Errorf("severity %q: want one of %s", s, severityNames())
}

func severityNames() string {
	names := make([]string, 0, len(Severities()))
	for _, s := range Severities() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}
