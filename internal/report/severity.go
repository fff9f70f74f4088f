package report

import (
	"fmt"
	"slices"
	"strings"

	"strata/internal/policy"
)

// Counts are numbers of findings by severity, the gravest first, in the order of
// policy.Severities; what is no severity counts as unknown.
type Counts [5]int

// Add counts n findings of severity s.
func (c *Counts) Add(s Severity, n int) { c[column(s)] += n }

// Of is the number of findings of severity s.
func (c Counts) Of(s Severity) int { return c[column(s)] }

// Total is the number of all findings.
func (c Counts) Total() int {
	var n int
	for _, v := range c {
		n += v
	}
	return n
}

// column is the place of a severity in Counts.
func column(s Severity) int { return len(Counts{}) - 1 - s.Rank() }

// ParseSeverities reads the argument of --severity. One severity means itself
// and all graver ones, as --fail-on does; several, separated by commas, mean
// exactly these. Case does not matter. The result has the gravest first.
func ParseSeverities(s string) ([]Severity, error) {
	var severities []Severity
	for word := range strings.SplitSeq(s, ",") {
		severity, err := policy.ParseSeverity(word)
		if err != nil {
			return nil, fmt.Errorf("--severity: %w; one means itself and all graver ones, several with commas exactly these", err)
		}
		severities = append(severities, severity)
	}
	all := policy.Severities()
	if len(severities) == 1 {
		return all[:column(severities[0])+1], nil
	}
	slices.SortFunc(severities, func(a, b Severity) int { return b.Rank() - a.Rank() })
	return slices.Compact(severities), nil
}
