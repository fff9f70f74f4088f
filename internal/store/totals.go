package store

import (
	"context"
	"strconv"
)

// A Total is one number of the whole database, for metrics.
type Total struct {
	// Name and Help say what it is: "images".
	Name, Help string
	// Label and LabelValue divide it: "state", "due"; empty where nothing does.
	Label, LabelValue string
	Value             int64
	// Counts is for what only rises; Since for a time, of which the age is told.
	Counts, Since bool
}

// ServerTotals are the numbers of the whole database.
func (d *DB) ServerTotals(ctx context.Context) ([]Total, error) {
	var out []Total
	heard := strconv.FormatInt(d.now().Add(-SilentAfter).UnixMicro(), 10)
	for _, q := range []struct {
		Total
		query string
	}{
		{Total{Name: "instances", Help: "Instances of the cluster: alive, or silent for 8 s or more; such are forgotten after an hour.", Label: "state"},
			`SELECT CASE WHEN beat_at >= ` + heard + ` THEN 'alive' ELSE 'silent' END, COUNT(*) FROM instances GROUP BY 1`},
		{Total{Name: "images", Help: "Images scanned."}, `SELECT '', COUNT(*) FROM images`},
		{Total{Name: "layers", Help: "Layers known."}, `SELECT '', COUNT(*) FROM layers`},
		{Total{Name: "layer_analyses_total", Help: "How often a layer was read and analysed, by any instance.", Counts: true}, `SELECT '', COALESCE(SUM(analyses), 0) FROM layers`},
		{Total{Name: "manifests", Help: "Digests in repositories by what is to be done with them.", Label: "state"}, `SELECT state, COUNT(*) FROM manifests GROUP BY state`},
		{Total{Name: "findings", Help: "Open findings of package versions.", Label: "severity"}, `SELECT CASE severity WHEN 4 THEN 'critical' WHEN 3 THEN 'high' WHEN 2 THEN 'medium' WHEN 1 THEN 'low' ELSE 'unknown' END, COUNT(*)
			FROM findings WHERE closed_at IS NULL GROUP BY severity`},
		{Total{Name: "violations", Help: "Open violations of policies.", Label: "decision"}, `SELECT decision, COUNT(*) FROM violations WHERE resolved_at IS NULL GROUP BY decision`},
		{Total{Name: "notifications", Help: "Notifications by state.", Label: "state"}, `SELECT state, COUNT(*) FROM notifications GROUP BY state`},
		{Total{Name: "schedule_age_seconds", Help: "Time since what happens on a schedule last ended well.", Label: "schedule", Since: true}, `SELECT name, ended_at FROM schedules WHERE ended_at IS NOT NULL AND error = ''`},
	} {
		var err error
		if out, err = d.totals(ctx, out, q.Total, q.query); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// totals appends a total for each row of a query.
func (d *DB) totals(ctx context.Context, out []Total, of Total, query string) ([]Total, error) {
	rows, err := d.db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		t := of
		if err := rows.Scan(&t.LabelValue, &t.Value); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, rows.Err()
}
