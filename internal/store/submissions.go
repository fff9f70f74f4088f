package store

import (
	"context"
	"fmt"
	"net/url"
	"strings"
)

// RegistryOf is the id and name of the registry that images of a host belong to: the
// one that is crawled, where there is one with that host, or one of kind "submitted"
// with the host's name, which is made when it isn't there.
func (d *DB) RegistryOf(ctx context.Context, host string) (id int64, name string, err error) {
	id, name, err = d.registryOf(ctx, host)
	if err != nil {
		return 0, "", fmt.Errorf("registry of %s: %w", host, err)
	}
	return id, name, nil
}

func (d *DB) registryOf(ctx context.Context, host string) (id int64, name string, err error) {
	rows, err := d.db.QueryContext(ctx, `SELECT id, name, url FROM registries WHERE kind = 'crawled' ORDER BY id`)
	if err != nil {
		return 0, "", err
	}
	defer rows.Close()
	for rows.Next() {
		var address string
		if err := rows.Scan(&id, &name, &address); err != nil {
			return 0, "", err
		}
		if hostOf(address) == hostOf(host) {
			return id, name, nil
		}
	}
	if err := rows.Err(); err != nil {
		return 0, "", err
	}
	now := d.now().UnixMicro()
	// A name that a registry with another host has is not its own: what is submitted
	// must not be taken for what was read there.
	for _, name = range []string{host, host + " (submitted)"} {
		var kind string
		err = d.db.QueryRowContext(ctx, `INSERT INTO registries (name, url, kind, settings, created_at, updated_at) VALUES ($1, $2, 'submitted', '{}', $3, $4)
			ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id, kind`, name, host, now, now).Scan(&id, &kind)
		if err != nil || kind == "submitted" {
			return id, name, err
		}
	}
	return 0, "", fmt.Errorf("%w: its name is taken", ErrConflict)
}

// hostOf is the host of a registry's URL, or of a name without a scheme. Docker Hub
// has several.
func hostOf(address string) string {
	host := address
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		host = u.Host
	}
	host, _, _ = strings.Cut(strings.ToLower(host), "/")
	switch host {
	case "", "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return host
}
