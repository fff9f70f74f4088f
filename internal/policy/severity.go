package policy

import (
	"fmt"
	"slices"
	"strings"

	"strata/internal/advisory"
)

// Severities are all severities, the gravest first.
func Severities() []advisory.Severity {
	return []advisory.Severity{advisory.Critical, advisory.High, advisory.Medium, advisory.Low, advisory.Unknown}
}

// ParseSeverity reads a severity in any case, as people write it in flags and
// policies. The error lists them all.
func ParseSeverity(s string) (advisory.Severity, error) {
	if v := advisory.Severity(strings.ToLower(strings.TrimSpace(s))); valid(v) {
		return v, nil
	}
	return "", fmt.Errorf("severity %q: want one of %s", s, severityNames())
}

func valid(s advisory.Severity) bool { return slices.Contains(Severities(), s) }

// rated tells whether the severity is known. A word that is none of ours is not.
func rated(s advisory.Severity) bool { return s.Rank() > 0 }

func severityNames() string {
	names := make([]string, 0, len(Severities()))
	for _, s := range Severities() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}
