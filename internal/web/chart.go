package web

import (
	"fmt"
	"strings"

	"strata/internal/store"
)

// A chart is a picture of open findings by day: areas upon each other, the gravest lowest,
// so that what matters most stands on the ground.
type chart struct {
	Width, Height int
	// Areas of severities, drawn one after another.
	Areas []chartArea
	// Most is the value at the top, First and Last are the days at the ends.
	Most        int
	First, Last store.FindingDay
}

// A chartArea is one severity: Points of a polygon.
type chartArea struct{ Severity, Points string }

// chartOf draws the days from the first on which anything was known; nil for fewer than two.
func chartOf(days []store.FindingDay) *chart {
	for len(days) > 0 && total(&days[0].Counts) == 0 {
		days = days[1:]
	}
	if len(days) < 2 {
		return nil
	}
	c := &chart{Width: 600, Height: 120, First: days[0], Last: days[len(days)-1]}
	for i := range days {
		c.Most = max(c.Most, total(&days[i].Counts))
	}
	below := make([]int, len(days))
	for _, s := range []struct {
		name string
		of   func(*store.Counts) int
	}{
		{"critical", func(n *store.Counts) int { return n.Critical }}, {"high", func(n *store.Counts) int { return n.High }},
		{"medium", func(n *store.Counts) int { return n.Medium }}, {"low", func(n *store.Counts) int { return n.Low }},
		{"unknown", func(n *store.Counts) int { return n.Unknown }},
	} {
		var up, down []string
		for i := range days {
			x := i * c.Width / (len(days) - 1)
			down = append(down, fmt.Sprintf("%d,%d", x, c.y(below[i])))
			below[i] += s.of(&days[i].Counts)
			up = append(up, fmt.Sprintf("%d,%d", x, c.y(below[i])))
		}
		for i := range down {
			up = append(up, down[len(down)-1-i])
		}
		c.Areas = append(c.Areas, chartArea{s.name, strings.Join(up, " ")})
	}
	return c
}

func (c *chart) y(n int) int { return c.Height - n*c.Height/max(1, c.Most) }

func total(n *store.Counts) int { return n.Critical + n.High + n.Medium + n.Low + n.Unknown }
