package store

import (
	"context"
	"fmt"
	"time"
)

// A FindingDay is how many findings were open at the end of a day, UTC: pairs of a
// vulnerability and a package version that is in an image, whatever number of images.
type FindingDay struct {
	Day    time.Time `json:"day"`
	Counts Counts    `json:"counts"`
}

// FindingDays are the days up to today, the first first. What was closed since package
// versions left with their last image is not among them.
func (d *DB) FindingDays(ctx context.Context, days int) ([]FindingDay, error) {
	const day = 24 * time.Hour
	today := d.now().UTC().Truncate(day)
	first := today.Add(-time.Duration(days-1) * day)
	out := make([]FindingDay, days)
	for i := range out {
		out[i].Day = first.Add(time.Duration(i) * day)
	}
	// What was open before the first day counts for it, and from each day on what changed.
	err := d.each(ctx, `SELECT CASE WHEN opened_at < $1 THEN 0 ELSE (opened_at - $1) / 86400000000 END, severity, COUNT(*) FROM findings WHERE aside = '' GROUP BY 1, 2
		UNION ALL
		SELECT CASE WHEN closed_at < $1 THEN 0 ELSE (closed_at - $1) / 86400000000 END, severity, -COUNT(*) FROM findings WHERE aside = '' AND closed_at IS NOT NULL GROUP BY 1, 2`,
		[]any{first.UnixMicro()}, func(scan func(...any) error) error {
			var at int
			var rank, n int
			if err := scan(&at, &rank, &n); err != nil {
				return err
			}
			for i := max(0, at); i < len(out); i++ {
				out[i].Counts.Add(rank, n)
			}
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("findings by day: %w", err)
	}
	return out, nil
}
