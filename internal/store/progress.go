package store

import (
	"context"
	"database/sql"
	"time"
)

// A RegistryProgress is how far a registry has been read and scanned.
type RegistryProgress struct {
	Registry string `json:"registry"`
	// Crawl is what the crawl says of itself, Error what it failed with; both may be
	// empty.
	Crawl string `json:"crawl,omitempty"`
	Error string `json:"error,omitempty"`
	// CrawledAt is when it last ended well; zero for never.
	CrawledAt time.Time `json:"crawled_at,omitzero"`
	// Manifests by state.
	Due      int `json:"due"`
	Scanning int `json:"scanning"`
	Scanned  int `json:"scanned"`
	Parked   int `json:"parked"`
}

// Progress tells of every registry, by name.
func (d *DB) Progress(ctx context.Context) ([]RegistryProgress, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT r.name, r.crawl_progress, r.crawl_error, r.crawled_at,
			COUNT(CASE WHEN m.state = 'due' THEN 1 END), COUNT(CASE WHEN m.state = 'scanning' THEN 1 END),
			COUNT(CASE WHEN m.state = 'scanned' THEN 1 END), COUNT(CASE WHEN m.state = 'parked' THEN 1 END)
		FROM registries r LEFT JOIN repositories p ON p.registry = r.id LEFT JOIN manifests m ON m.repository = p.id
		GROUP BY r.id, r.name, r.crawl_progress, r.crawl_error, r.crawled_at ORDER BY r.name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []RegistryProgress
	for rows.Next() {
		var p RegistryProgress
		var crawled sql.NullInt64
		if err := rows.Scan(&p.Registry, &p.Crawl, &p.Error, &crawled, &p.Due, &p.Scanning, &p.Scanned, &p.Parked); err != nil {
			return nil, err
		}
		p.CrawledAt = fromMicros(crawled)
		out = append(out, p)
	}
	return out, rows.Err()
}

// A Scanned is one digest of a repository whose scan has ended, well or not.
type Scanned struct {
	// ID is that of the row of manifests.
	ID         int64     `json:"id"`
	Repository string    `json:"repository"`
	Digest     string    `json:"digest"`
	State      string    `json:"state"`
	Reason     string    `json:"reason,omitempty"`
	At         time.Time `json:"at"`
}

// ScannedAfter are those scanned after a time, of it those with ids above after, in
// this order, at most limit. Repository is "REGISTRY/REPOSITORY".
func (d *DB) ScannedAfter(ctx context.Context, at time.Time, after int64, limit int) ([]Scanned, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT m.id, r.name || '/' || p.name, m.digest, m.state, m.reason, m.scanned_at
		FROM manifests m JOIN repositories p ON p.id = m.repository JOIN registries r ON r.id = p.registry
		WHERE m.scanned_at IS NOT NULL AND (m.scanned_at, m.id) > ($1, $2) ORDER BY m.scanned_at, m.id LIMIT $3`, at.UnixMicro(), after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Scanned
	for rows.Next() {
		var s Scanned
		var scanned sql.NullInt64
		if err := rows.Scan(&s.ID, &s.Repository, &s.Digest, &s.State, &s.Reason, &scanned); err != nil {
			return nil, err
		}
		s.At = fromMicros(scanned)
		out = append(out, s)
	}
	return out, rows.Err()
}
